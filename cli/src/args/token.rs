//! The commands of `muster token`.
//!
//! The help says how an agent is given the token, because that is the next thing that one needs to know.

use clap::Subcommand;
use muster_runtime::config::Span;

/// The commands on join tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Create a token with which machines may join a pool
    #[command(after_help = "\
Example:
  muster token create render --uses 10 --expires 2h > token
  muster-agent --controller https://HOST:7141 --token-file token --root /var/lib/muster   # on each machine

The token is written once and never again. Keep it as you keep a password.")]
    Create {
        /// The pool
        pool: String,
        /// How many machines may join with it
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
        uses: u32,
        /// How long it works, for example 2h [default: 24h]
        #[arg(long, value_name = "TIME")]
        expires: Option<Span>,
    },
    /// List the tokens of a pool
    #[command(after_help = "Example:\n  muster token list render")]
    List {
        /// The pool
        pool: String,
    },
    /// Revoke a token; nodes that joined with it stay
    #[command(after_help = "Example:\n  muster token revoke render k3j9x2ab")]
    Revoke {
        /// The pool
        pool: String,
        /// The token's id, as 'muster token list' shows it
        token: String,
    },
}

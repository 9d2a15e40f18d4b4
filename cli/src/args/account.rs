//! The commands of `muster account`.
//!
//! An empty name means the caller's own account, as in the API.

use clap::{Subcommand, ValueEnum};

/// One of an account's two keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeyChoice {
    /// The first.
    Primary,
    /// The second.
    Secondary,
}

/// The commands on accounts.
#[derive(Debug, Subcommand)]
pub(crate) enum AccountCommand {
    /// Create an account and show its keys (operators only)
    #[command(after_help = "Example:\n  muster account create render --display-name 'Render team'")]
    Create {
        /// The name: 3 to 24 lower-case letters and digits
        name: String,
        /// A name for people
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        display_name: String,
        /// Let it manage other accounts
        #[arg(long)]
        operator: bool,
    },
    /// Show an account; your own without a name
    #[command(after_help = "Examples:\n  muster account show\n  muster account show render")]
    Show {
        /// The account
        #[arg(default_value = "")]
        name: String,
    },
    /// Show the two keys of an account, or replace one
    #[command(after_help = "\
Examples:
  muster account keys
  muster account keys --regenerate secondary

To replace keys without a gap: regenerate the secondary one, give it to all clients, then regenerate the primary one.")]
    Keys {
        /// The account; your own without a name
        #[arg(default_value = "")]
        name: String,
        /// Replace this key; what was signed with the old one stops working at once
        #[arg(long, value_enum, value_name = "primary|secondary", hide_possible_values = true)]
        regenerate: Option<KeyChoice>,
    },
}

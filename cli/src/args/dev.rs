//! The options of `muster dev`.
//!
//! Defaults that depend on the machine or on what lies in the folder are said in the help and found in `dev/`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

/// Options of `muster dev`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  muster dev --nodes 3
  muster dev --nodes 2 --slots 4 --data /tmp/cluster --listen 127.0.0.1:9000
  muster dev --writable /srv/shared

When the cluster is ready, one line says so. Then, in another terminal:
  source DIR/env
  muster run --pool default -- echo hello

Tasks are separated as strongly as this machine can: usually they see the rest of it read-only
and have a /tmp of their own; --writable gives them more.

Ctrl-C stops everything. Starting again on the same folder carries on with the same state.
Pools that you create get local nodes too, up to --max-nodes in all. The binaries
muster-controller and muster-agent are looked for beside this one, or in the folder MUSTER_BIN_DIR.")]
pub(crate) struct DevArgs {
    /// How many nodes the pool 'default' has [default: 1 at first, then as before]
    #[arg(long, value_name = "N")]
    pub nodes: Option<u32>,
    /// How many tasks a node of the pool 'default' runs at one time; counts when the pool is made
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub slots: u32,
    /// The folder of the cluster [default: ~/.local/share/muster/dev, for root /var/lib/muster-dev]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Where the controller listens for clients; port 0 picks a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7140")]
    pub listen: SocketAddr,
    /// The most nodes that are run here, in all pools
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub max_nodes: u32,
    /// A directory outside of the folder that tasks may write to; may be given several times
    #[arg(long, value_name = "DIR")]
    pub writable: Vec<PathBuf>,
}

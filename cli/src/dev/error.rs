//! Why a local cluster does not start or go on.
//!
//! One enum for the whole of `dev/`: its caller does nothing with it but tell it and exit. Each text names the folder, log
//! or process and what to do.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use muster_client::NodesError;

use crate::exit::{Exit, Failure};

/// Why a local cluster does not start or go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum DevError {
    /// A binary is not where it should be.
    #[error(
        "there is no {name} in {folder}; build it (cargo build), or set MUSTER_BIN_DIR to the folder that has it"
    )]
    NoBinary { name: &'static str, folder: PathBuf },
    /// It is not known where this binary lies.
    #[error("cannot tell where this program lies; set MUSTER_BIN_DIR to the folder of muster-controller")]
    NoFolder,
    /// There is no place for the cluster's data.
    #[error("HOME is not set; give a folder: muster dev --data DIR")]
    NoHome,
    /// The folder cannot be used.
    #[error("cannot use {path}")]
    Folder {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// Tasks could not reach their own directories.
    #[error(
        "tasks run as an unprivileged user, who may not enter {closed}; choose another folder with --data, or run: \
         chmod o+x {closed}",
        closed = .path.display()
    )]
    Closed { path: PathBuf },
    /// A directory for tasks that is none.
    #[error(
        "--writable {path} is not a directory whose path is text without a comma; make it, or name another"
    )]
    Writable { path: PathBuf },
    /// Another `muster dev` has the folder.
    #[error("another 'muster dev' runs on {path}; stop it, or give another folder with --data")]
    Taken { path: PathBuf },
    /// A process of an earlier run does not go away.
    #[error("{name} of an earlier run (process {pid}) does not stop; end it by hand: kill -9 {pid}")]
    Leftover { name: String, pid: i32 },
    /// A process cannot be started.
    #[error("cannot start {program}")]
    Spawn {
        program: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A process ended before it was ready.
    #[error("{name} ended before it was ready ({status}); the end of its log, {log}:\n{tail}")]
    Died { name: String, status: String, log: PathBuf, tail: String },
    /// A process is not ready in time.
    #[error("{name} is not ready after {limit:?}; the end of its log, {log}:\n{tail}")]
    Late { name: String, limit: Duration, log: PathBuf, tail: String },
    /// What the controller says about itself cannot be read.
    #[error("cannot read {path}, which the controller wrote")]
    Ready {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The nodes do not come.
    #[error("the nodes of pool '{pool}' are not ready after {limit:?}; see the logs in {logs}")]
    NodesLate { pool: String, limit: Duration, logs: PathBuf },
    /// The nodes cannot come.
    #[error("the nodes do not become ready; see the logs in {logs}")]
    Nodes {
        logs: PathBuf,
        #[source]
        source: NodesError,
    },
}

impl From<DevError> for Failure {
    fn from(error: DevError) -> Self {
        let exit = match &error {
            DevError::NoBinary { .. }
            | DevError::NoFolder
            | DevError::NoHome
            | DevError::Closed { .. }
            | DevError::Writable { .. } => Exit::Usage,
            DevError::Taken { .. } | DevError::Leftover { .. } => Exit::Conflict,
            DevError::Folder { .. }
            | DevError::Spawn { .. }
            | DevError::Died { .. }
            | DevError::Late { .. }
            | DevError::Ready { .. }
            | DevError::NodesLate { .. }
            | DevError::Nodes { .. } => Exit::Failed,
        };
        Self::new(exit, error)
    }
}

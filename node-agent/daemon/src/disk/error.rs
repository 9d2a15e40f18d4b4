//! What can go wrong with the bounds of task directories.
//!
//! That a bound cannot be had is the node's fault and not the task's, so another node may do better; that the node bounds
//! nothing at all is said to whoever asked for a limit.

use super::tool::ToolError;
use muster_model::Cause;
use muster_model::cause::FailureInfo;
use muster_model::state::DiskLimit;
use std::io;
use std::path::PathBuf;

/// Why a directory cannot be bounded, or a bound not be lifted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DiskError {
    #[error(
        "the task asks for disk_bytes = {bytes} and the node bounds no task directory (its setting disk_limit is none): \
         leave disk_bytes out, or use a node whose disk_limit is auto"
    )]
    NotBounded { bytes: u64 },
    #[error("cannot {what} {path}")]
    Io {
        what: &'static str,
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("cannot bound a task directory")]
    Tool(#[from] ToolError),
    #[error("{path} is not on a file system that the kernel lists as mounted")]
    NoMount { path: PathBuf },
    #[error("this node cannot do disk_limit = {means}: {why}; choose another, or auto")]
    Unavailable { means: DiskLimit, why: String },
    #[error("{path} shows a size of {found} bytes though it was limited to {wanted}")]
    NoEffect { path: PathBuf, wanted: u64, found: u64 },
    #[error("'{given}' is no means of disk limits: use auto, none, {allowed}")]
    UnknownChoice { given: String, allowed: String },
}

impl DiskError {
    /// An error of the operating system, with what was to be done.
    pub(super) fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |cause| Self::Io { what, path, cause }
    }

    /// The failure that is reported for an attempt.
    pub(crate) fn failure(&self) -> FailureInfo {
        let cause = match self {
            Self::NotBounded { .. } => Cause::LaunchFailed,
            Self::Io { cause, .. } if is_full(cause) => Cause::DiskFull,
            Self::Io { .. }
            | Self::Tool(_)
            | Self::NoMount { .. }
            | Self::Unavailable { .. }
            | Self::NoEffect { .. }
            | Self::UnknownChoice { .. } => Cause::Internal,
        };
        FailureInfo::new(cause, words(self))
    }
}

/// Whether an error says that there is no room.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// An error with what caused it.
pub(super) fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

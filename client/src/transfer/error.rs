//! Why a transfer did not succeed.
//!
//! One enum for both directions: each variant names the file, the limit or the rule, and what to do.

use std::io;
use std::path::PathBuf;

use muster_model::PathError;

use crate::error::{CallError, ErrorKind, Refusal};

/// Why a transfer did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// A local file or folder cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A local file or folder cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A name on this disk is not one that the file store can have.
    #[error("{path} cannot be uploaded under its name")]
    Name {
        /// The local file.
        path: PathBuf,
        /// Which rule it breaks.
        #[source]
        source: PathError,
    },
    /// A name on this disk is not text.
    #[error("{path} cannot be uploaded: its name is not UTF-8; rename it")]
    NotUtf8 {
        /// The local file.
        path: PathBuf,
    },
    /// It is a socket, a device or the like.
    #[error("{path} is neither a file nor a folder and cannot be uploaded")]
    NotAFile {
        /// Which.
        path: PathBuf,
    },
    /// A symbolic link leads back to a folder above it, or folders are nested beyond all use.
    #[error(
        "{path} leads back to a folder above it (or is nested more than {max} folders deep); remove the link"
    )]
    Loop {
        /// The folder.
        path: PathBuf,
        /// The deepest that is followed.
        max: usize,
    },
    /// More files than one transfer takes.
    #[error("{path} holds more than {max} files; put them into an archive, or upload folder by folder")]
    TooMany {
        /// The folder given.
        path: PathBuf,
        /// The most files.
        max: usize,
    },
    /// A local file changed while it was being uploaded.
    #[error("{path} was changed while it was being uploaded; try again when nobody writes to it")]
    Changed {
        /// Which.
        path: PathBuf,
    },
    /// A call failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The controller refused one name.
    #[error("'{container}/{path}' was refused: {refusal}")]
    Refused {
        /// The container.
        container: String,
        /// The path in it.
        path: String,
        /// Why.
        refusal: Box<Refusal>,
    },
    /// What arrived is not what was announced.
    #[error("'{name}' arrived damaged: its SHA-256 is {found}, it should be {wanted}; try again")]
    Corrupt {
        /// Container and path.
        name: String,
        /// The digest announced.
        wanted: String,
        /// The digest of what arrived.
        found: String,
    },
    /// The store names a file with a path that would leave the target folder.
    #[error(
        "the controller names a file '{name}', which is not a path inside of a folder; nothing was written for it"
    )]
    Path {
        /// The path as it came.
        name: String,
        /// Which rule it breaks.
        #[source]
        source: PathError,
    },
    /// A blocking helper thread was lost, at shutdown.
    #[error("the transfer was cut off by the end of the program")]
    CutOff,
}

impl TransferError {
    /// What kind of wrong it is, for exit codes.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => ErrorKind::NotFound,
            Self::Name { .. } | Self::NotUtf8 { .. } | Self::NotAFile { .. } | Self::TooMany { .. } => {
                ErrorKind::Usage
            }
            Self::Call(error) => error.kind(),
            Self::Refused { refusal, .. } => refusal.kind(),
            Self::Read { .. }
            | Self::Write { .. }
            | Self::Loop { .. }
            | Self::Changed { .. }
            | Self::Corrupt { .. }
            | Self::Path { .. }
            | Self::CutOff => ErrorKind::Failure,
        }
    }
}

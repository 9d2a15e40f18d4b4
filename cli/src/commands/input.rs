//! Files that a person names on the command line: '-' is standard input, documents are read whole.
//!
//! Invariant: no more than a bound of any document is held. Files without a bound (tasks, values of sweeps) are opened here
//! and read by the client library.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use muster_client::json::{Json, JsonError, from_text};

use crate::exit::{Exit, Failure};

/// The most bytes of a document that describes one thing: what a request may have, and what JSON adds to it.
const DOCUMENT_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Why a file is of no use.
#[derive(Debug, thiserror::Error)]
pub(super) enum InputError {
    /// It cannot be opened or read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It is too long.
    #[error("{path} has more than {DOCUMENT_BYTES_MAX} bytes")]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// It does not describe the thing.
    #[error("{path} is not the JSON of a {what}")]
    Json {
        /// The file.
        path: PathBuf,
        /// The thing.
        what: &'static str,
        /// Where and why.
        #[source]
        source: JsonError,
    },
}

/// A failure to read a file, with its exit code.
pub(super) fn unreadable(path: &Path, source: io::Error) -> Failure {
    let exit = if source.kind() == io::ErrorKind::NotFound { Exit::NotFound } else { Exit::Failed };
    Failure::new(exit, InputError::Read { path: path.to_owned(), source })
}

/// Opens a file, or standard input for '-'.
pub(super) fn open(path: &Path) -> Result<Box<dyn Read>, Failure> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdin().lock()));
    }
    Ok(Box::new(File::open(path).map_err(|source| unreadable(path, source))?))
}

/// Reads a message of the API from a file in JSON.
pub(super) fn document<M: Json>(path: &Path, what: &'static str) -> Result<M, Failure> {
    let mut text = String::new();
    let most = DOCUMENT_BYTES_MAX + 1;
    open(path)?.take(most).read_to_string(&mut text).map_err(|source| unreadable(path, source))?;
    if text.len() as u64 >= most {
        return Err(Failure::new(Exit::Usage, InputError::TooLong { path: path.to_owned() }));
    }
    let wrong = |source| Failure::new(Exit::Usage, InputError::Json { path: path.to_owned(), what, source });
    from_text(&text).map_err(wrong)
}

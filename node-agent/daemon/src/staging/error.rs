//! What can go wrong while a file is staged, and the cause and words that whoever wrote the task reads.
//!
//! Errors are cloned, because one download may fail for many attempts. URLs are shown without what may be a secret in them:
//! user, password, query.

use crate::workdir::is_full;
use muster_model::cause::FailureInfo;
use muster_model::{Cause, Digest, FilePath};
use std::fmt;
use std::io;
use std::sync::Arc;

/// Where a content comes from, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// A URL without its secrets.
    Url(Box<str>),
    /// The file store.
    Store(Digest),
}

impl Place {
    /// A URL to show: scheme, host, port and path.
    pub(super) fn of_url(url: &reqwest::Url) -> Self {
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let shown = format!("{}://{}{port}{}", url.scheme(), url.host_str().unwrap_or(""), url.path());
        Self::Url(shown.into())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => f.write_str(url),
            Self::Store(digest) => write!(f, "the file store (content {digest})"),
        }
    }
}

/// Why a content cannot be had.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum FetchError {
    #[error("{from} does not exist (status {status})")]
    NotFound { from: Place, status: u16 },
    #[error("the file store does not have the content {digest}")]
    NotStored { digest: Digest },
    #[error("{from} refused to give it (status {status}): check the rights of the URL")]
    Denied { from: Place, status: u16 },
    #[error("the controller refused to give {from}: {reason}")]
    Forbidden { from: Place, reason: Box<str> },
    #[error(
        "{from} leads to '{to}', which this node does not fetch from: only http and https, not link-local addresses"
    )]
    NotAllowed { from: Place, to: Box<str> },
    #[error("{from} was redirected more than {limit} times")]
    Redirects { from: Place, limit: usize },
    #[error("{from} is no URL")]
    NoUrl { from: Place },
    #[error(
        "{from} cannot be fetched by this node, which has no certificate authorities: {reason}; install them (on many systems \
         the package ca-certificates)"
    )]
    NoAuthorities { from: Place, reason: Box<str> },
    #[error("{from} has the SHA-256 {found}, the task asks for {wanted}")]
    WrongDigest { from: Place, wanted: Digest, found: Digest },
    #[error("{from} has {found} bytes, {wanted} were announced")]
    WrongSize { from: Place, wanted: u64, found: u64 },
    #[error("{from} could not be fetched in {tries} tries: {last}")]
    Network { from: Place, tries: u32, last: Box<str> },
    #[error("the disk of the node is full")]
    DiskFull,
    #[error("cannot {operation} in the cache of the node: {cause}")]
    Cache { operation: &'static str, cause: Arc<io::Error> },
}

impl FetchError {
    /// An error of the cache's disk.
    pub(super) fn cache(operation: &'static str) -> impl Fn(io::Error) -> Self {
        move |cause| {
            if is_full(&cause) { Self::DiskFull } else { Self::Cache { operation, cause: Arc::new(cause) } }
        }
    }

    const fn cause(&self) -> Cause {
        match self {
            Self::NotFound { .. } | Self::NotStored { .. } | Self::NoUrl { .. } => Cause::StagingNotFound,
            Self::Denied { .. }
            | Self::Forbidden { .. }
            | Self::NotAllowed { .. }
            | Self::Redirects { .. } => Cause::StagingDenied,
            Self::WrongDigest { .. } | Self::WrongSize { .. } => Cause::StagingCorrupt,
            Self::Network { .. } | Self::NoAuthorities { .. } => Cause::StagingNetwork,
            Self::DiskFull => Cause::DiskFull,
            Self::Cache { .. } => Cause::Internal,
        }
    }

    /// Whether another attempt's rights might do better.
    pub(super) const fn is_about_rights(&self) -> bool {
        matches!(self.cause(), Cause::StagingDenied | Cause::StagingNotFound)
    }
}

/// Why a resource file cannot be staged.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum StageError {
    #[error("resource file '{file}': {cause}")]
    Fetch { file: FilePath, cause: FetchError },
    #[error("resource file '{file}': the disk of the node is full")]
    DiskFull { file: FilePath },
    #[error(
        "resource file '{file}' cannot be put into the working directory: {cause}; is its path that of another file or folder?"
    )]
    Write { file: FilePath, cause: Arc<io::Error> },
}

impl StageError {
    pub(super) fn write(file: &FilePath) -> impl Fn(io::Error) -> Self {
        let file = file.clone();
        move |cause| {
            let file = file.clone();
            if is_full(&cause) {
                Self::DiskFull { file }
            } else {
                Self::Write { file, cause: Arc::new(cause) }
            }
        }
    }

    /// The failure that is reported.
    pub(super) fn failure(&self) -> FailureInfo {
        let (cause, file) = match self {
            Self::Fetch { file, cause } => (cause.cause(), file),
            Self::DiskFull { file } => (Cause::DiskFull, file),
            Self::Write { file, cause } if is_the_path_s(cause) => (Cause::LaunchFailed, file),
            Self::Write { file, .. } => (Cause::Internal, file),
        };
        let words = if cause == Cause::DiskFull {
            format!("{self}: free some, or use a node with a larger disk")
        } else {
            self.to_string()
        };
        FailureInfo::new(cause, words).with("file", file)
    }
}

/// Whether a file cannot be written because of the path that the task gives it; else it is the node's disk.
fn is_the_path_s(error: &io::Error) -> bool {
    use io::ErrorKind::{AlreadyExists, InvalidFilename, IsADirectory, NotADirectory};
    let is_a_link = error.raw_os_error() == Some(nix::libc::ELOOP);
    is_a_link || matches!(error.kind(), AlreadyExists | InvalidFilename | IsADirectory | NotADirectory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_in_urls_are_not_shown() {
        let url = "https://user:pw@h.example:8443/a/b.bin?sig=secret#x".parse().unwrap();
        assert_eq!(Place::of_url(&url).to_string(), "https://h.example:8443/a/b.bin");
    }

    #[test]
    fn a_full_disk_is_told_from_other_errors() {
        let file = FilePath::parse("a").unwrap();
        let full = StageError::write(&file)(nix::errno::Errno::ENOSPC.into());
        assert_eq!(full.failure().cause, Cause::DiskFull);
        let taken = StageError::write(&file)(nix::errno::Errno::EEXIST.into());
        assert_eq!(taken.failure().cause, Cause::LaunchFailed);
        assert!(taken.failure().message.contains("'a'"), "{}", taken.failure().message);
        let broken = StageError::write(&file)(nix::errno::Errno::EIO.into());
        assert_eq!(broken.failure().cause, Cause::Internal, "a broken disk is no fault of the task");
    }
}

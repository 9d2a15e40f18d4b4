//! What can go wrong with content, in words that name the content, the figures and the way out.
//!
//! Paths of the controller's disk are in the messages for its operator; whoever answers a client leaves them out. A
//! full disk has a variant of its own, because only it is put right by deleting files.

use muster_model::Digest;
use std::io;
use std::path::PathBuf;

/// The largest content: what every object store takes as one object.
pub const BLOB_BYTES_MAX: u64 = 5 * 1024 * 1024 * 1024 * 1024;

/// Why blobs cannot live where the settings say.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// The local folder cannot be used.
    #[error("cannot use the folder '{}' for file content: make it writable or set 'data_dir' to another", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// The local folder cannot be used by the object store library.
    #[error("cannot use the folder '{}' for file content", folder.display())]
    FolderRefused {
        /// The folder.
        folder: PathBuf,
        /// What the library said.
        #[source]
        cause: object_store::Error,
    },
    /// Not a URL.
    #[error(
        "blob_store_url '{given}' is not a URL: write s3://BUCKET/PREFIX, az://CONTAINER/PREFIX, gs://BUCKET/PREFIX or file:///FOLDER, or leave it out for a folder below data_dir"
    )]
    NotUrl {
        /// The setting.
        given: String,
    },
    /// A scheme that no object store of ours has.
    #[error("blob_store_url '{given}' has the scheme '{scheme}': use s3, az, gs or file")]
    Scheme {
        /// The setting.
        given: String,
        /// Its scheme.
        scheme: String,
    },
    /// A scheme that this build leaves out.
    #[error(
        "blob_store_url '{given}' needs a muster-controller built with the cargo feature '{feature}': build it with `--features {feature}`, or leave blob_store_url out for a folder below data_dir"
    )]
    Feature {
        /// The setting.
        given: String,
        /// The feature.
        feature: &'static str,
    },
    /// The library refuses the URL or the credentials in the environment.
    #[error(
        "blob_store_url '{given}' cannot be used: check it and the store's credentials in the environment"
    )]
    Refused {
        /// The setting.
        given: String,
        /// What the library said.
        #[source]
        cause: object_store::Error,
    },
}

/// Why content could not be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// Not here.
    #[error("the content {digest} is not in the store: upload it again")]
    NotFound {
        /// Which.
        digest: Digest,
    },
    /// The content is not what was announced.
    #[error(
        "the content has SHA-256 {found}, announced was {announced}: it changed on the way or while it was read"
    )]
    DigestMismatch {
        /// What was announced.
        announced: Digest,
        /// What came.
        found: Digest,
    },
    /// The content is shorter or longer than announced.
    #[error(
        "the content has {found} bytes or more, announced were {announced}: it changed while it was read"
    )]
    SizeMismatch {
        /// What was announced.
        announced: u64,
        /// What came until it was clear.
        found: u64,
    },
    /// Larger than any store takes.
    #[error("the content is larger than {BLOB_BYTES_MAX} bytes, the most that the store takes: split it")]
    TooLarge,
    /// Resuming where nothing was left.
    #[error(
        "the upload cannot go on at byte {offset}: {available} bytes are left of it; ask FindMissingFiles, or start at 0"
    )]
    NothingToResume {
        /// Where it wants to go on.
        offset: u64,
        /// What is left.
        available: u64,
    },
    /// Another call uploads the same content and holds its partial file.
    #[error(
        "the content {digest} is being uploaded by another call: start at 0, or go on here when that has ended"
    )]
    UploadUnderWay {
        /// Which.
        digest: Digest,
    },
    /// No room. What had been written is removed.
    #[error(
        "the disk of the file store is full ('{}'): delete files or containers, or give it more room; what was uploaded of this file is removed", folder.display()
    )]
    DiskFull {
        /// The folder that is full.
        folder: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// The local disk failed.
    #[error("cannot {action} '{}'", path.display())]
    Disk {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// The object store failed.
    #[error("the object store cannot {action} the content {digest}")]
    Store {
        /// What was tried.
        action: &'static str,
        /// On what.
        digest: Digest,
        /// What the library said.
        #[source]
        cause: object_store::Error,
    },
    /// The store has fewer bytes than it should.
    #[error(
        "the stored content {digest} ends {missing} bytes early: the store is damaged, restore or upload it again"
    )]
    Damaged {
        /// Which.
        digest: Digest,
        /// How much is missing.
        missing: u64,
    },
    /// The controller stops.
    #[error("the work on the content was broken off because the controller is stopping: try again")]
    BrokenOff,
}

impl BlobError {
    /// A disk error, with "no room" told apart from all others.
    pub(super) fn disk(action: &'static str, path: &std::path::Path, cause: io::Error) -> Self {
        let is_full = matches!(cause.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        if is_full {
            let folder = path.parent().unwrap_or(path).to_path_buf();
            return Self::DiskFull { folder, cause };
        }
        Self::Disk { action, path: path.to_path_buf(), cause }
    }
}

//! Parts that tasks, start tasks, jobs and pools share.
//!
//! Resource files and output files name places and never hold bytes; paths in them cannot leave the folder that they are
//! meant for, because `FilePath` cannot.

use crate::digest::Digest;
use crate::id::{ContainerName, UserName};
use crate::path::FilePath;
use crate::state::{AutoUserScope, ElevationLevel, UploadCondition};

/// One variable of a task's environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvironmentSetting {
    /// Not empty, without '=' and NUL.
    pub name: String,
    /// Without NUL.
    pub value: String,
}

/// A name and a value for people and tools; Muster gives it no meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataItem {
    /// Not empty.
    pub name: String,
    /// Any text.
    pub value: String,
}

/// How often a failed task is tried again for the user's own failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RetryLimit {
    /// This many times after the first; 0 is at most once.
    Times(u32),
    /// Until it succeeds (-1 on the wire).
    Unlimited,
}

impl RetryLimit {
    /// Whether another try is allowed after `retries` retries.
    #[must_use]
    pub const fn allows_another(self, retries: u32) -> bool {
        match self {
            Self::Times(limit) => retries < limit,
            Self::Unlimited => true,
        }
    }
}

/// Where the bytes of a resource file are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileSource {
    /// Any `http` or `https` URL.
    Http(String),
    /// A file of the account's file store.
    FileStore {
        /// The container.
        container: ContainerName,
        /// The file in it.
        path: FilePath,
    },
    /// All files of a container whose names start with a prefix; their names are kept below `file_path`.
    FileStorePrefix {
        /// The container.
        container: ContainerName,
        /// The prefix; empty for all.
        prefix: String,
    },
}

/// A file that must be in the working directory before the command starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceFile {
    /// Where it comes from.
    pub source: FileSource,
    /// Where it goes, below the task's working directory. `None` only for a prefix: directly in it.
    pub file_path: Option<FilePath>,
    /// Permission bits, at most 0o777.
    pub mode: u32,
    /// What its bytes must be.
    pub digest: Option<Digest>,
}

/// Where an output file goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileDestination {
    /// The account's file store.
    FileStore {
        /// The container.
        container: ContainerName,
        /// File name for a plain pattern, folder for a pattern with wildcards; `None`: the matched path itself.
        path: Option<FilePath>,
    },
}

/// Files to keep when the task ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputFile {
    /// Relative to the working directory; `*`, `**`, `?`, `[a-c]`, `[!x]`; `../stdout.txt` and `../stderr.txt` are allowed.
    pub pattern: String,
    /// Where they go.
    pub destination: FileDestination,
    /// When.
    pub condition: UploadCondition,
}

/// As whom a task runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserIdentity {
    /// A user that the node chooses.
    Auto {
        /// How far it reaches.
        scope: AutoUserScope,
        /// With which rights.
        elevation: ElevationLevel,
    },
    /// One of the pool's user accounts.
    Named(UserName),
}

impl Default for UserIdentity {
    /// The reference's default on Linux: the pool's unprivileged user.
    fn default() -> Self {
        Self::Auto { scope: AutoUserScope::Pool, elevation: ElevationLevel::NonAdmin }
    }
}

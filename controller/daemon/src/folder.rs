//! The data folder: where everything durable lies, and the lock that keeps a second controller out.
//!
//! The lock is the system's (flock): it goes with the process, however that ends, and leaves nothing to clean up.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It cannot be made or written.
    #[error(
        "cannot use the data folder {path}: make it writable for this user, or set 'data_dir' to another"
    )]
    Use {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// Another controller has it.
    #[error("another controller{} runs on the data folder {path}: stop it, or set 'data_dir' to another folder", shown(.holder))]
    Taken {
        /// The folder.
        path: PathBuf,
        /// The process id of the other one, as it wrote it down.
        holder: String,
    },
}

fn shown(holder: &str) -> String {
    if holder.is_empty() { String::new() } else { format!(" (process {holder})") }
}

/// A data folder that is ours as long as this lives.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    _lock: File,
}

impl DataFolder {
    /// Makes the folder if need be and takes its lock.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let failed = |cause| FolderError::Use { path: path.to_owned(), cause };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        let lock = path.join("lock");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(lock).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(FolderError::Taken { path: path.to_owned(), holder: holder_of(&mut file) });
            }
            Err(TryLockError::Error(cause)) => return Err(failed(cause)),
        }
        let mut note = || -> io::Result<()> {
            file.set_len(0)?;
            file.rewind()?;
            file.write_all(std::process::id().to_string().as_bytes())
        };
        if let Err(error) = note() {
            // Only a message of another start would be shorter by it, and a controller must start on a full disk.
            tracing::warn!(path = %path.display(), %error, "the process id could not be written into the lock file");
        }
        Ok(Self { path: path.to_owned(), _lock: file })
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The database.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.path.join("muster.db")
    }

    /// Content, when no object store is set.
    #[must_use]
    pub fn blobs(&self) -> PathBuf {
        self.path.join("blobs")
    }

    /// Certificates.
    #[must_use]
    pub fn tls(&self) -> PathBuf {
        self.path.join("tls")
    }
}

/// What the holder of the lock wrote down of itself: digits, or nothing.
fn holder_of(file: &mut File) -> String {
    let mut text = String::new();
    // Only for a message; without it the message is shorter.
    let _ = file.take(20).read_to_string(&mut text);
    text.retain(|c| c.is_ascii_digit());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_controller_on_the_same_folder_is_refused_until_the_first_has_ended() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        let first = DataFolder::open(&path).unwrap();
        let error = DataFolder::open(&path).unwrap_err().to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        drop(first);
        DataFolder::open(&path).unwrap();
    }
}

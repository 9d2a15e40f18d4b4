//! Files that hold certificates and keys: written whole and durable, keys readable by their owner alone.
//!
//! Knows paths and permission bits and nothing of what the files say. After a crash at any moment a file is as it was or
//! as it was to be.

use super::error::CaError;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Longest PEM file that is read: a chain of certificates is a few KiB.
const PEM_BYTES_MAX: u64 = 256 * 1024;

/// Makes a folder that only its owner may enter; one that exists is left as it is.
pub(super) fn make_private_folder(path: &Path) -> Result<(), CaError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|cause| CaError::Write { path: path.to_owned(), cause })
}

/// Writes a file so that after a crash there is either all of it or nothing, with these permission bits.
pub(super) fn write_whole(path: &Path, content: &[u8], mode: u32) -> Result<(), CaError> {
    let attempt = || -> io::Result<()> {
        let unfinished = path.with_extension("unfinished");
        // One that an earlier crash left may have other bits.
        match fs::remove_file(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&unfinished)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&unfinished, path)?;
        path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    };
    attempt().map_err(|cause| CaError::Write { path: path.to_owned(), cause })
}

/// Removes a file that is there.
pub(super) fn remove(path: &Path) -> Result<(), CaError> {
    fs::remove_file(path).map_err(|cause| CaError::Write { path: path.to_owned(), cause })
}

/// Reads a PEM file; `None` when it does not exist.
pub(super) fn read(path: &Path) -> Result<Option<String>, CaError> {
    let failed = |cause| CaError::Read { path: path.to_owned(), cause };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut text = String::new();
    file.take(PEM_BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
    Ok(Some(text))
}

/// As `read`, for a key: refused when anybody but its owner may read it.
pub(super) fn read_key(path: &Path) -> Result<Option<String>, CaError> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.permissions().mode() & 0o077 != 0 => {
            Err(CaError::KeyReadable { path: path.to_owned(), mode: metadata.permissions().mode() & 0o777 })
        }
        // Whatever else is wrong with it, reading says so.
        Ok(_) | Err(_) => read(path),
    }
}

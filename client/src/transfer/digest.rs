//! The SHA-256 of a local file, and of a part of one that is already there.
//!
//! Hashing blocks, so it runs on the runtime's threads for that. It reads in large pieces and holds one at a time.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use muster_model::Digest;
use sha2::{Digest as _, Sha256};

use super::error::TransferError;

/// How much is read at one time: large enough that the calls cost nothing.
const PIECE_BYTES: usize = 256 * 1024;

/// The digest and size of a file.
///
/// # Errors
/// [`TransferError::Read`] when it cannot be read.
pub async fn digest_file(path: &Path) -> Result<(Digest, u64), TransferError> {
    let (digest, size) = partial_digest(path).await?;
    Ok((finish(digest), size))
}

/// The state of the hash after all bytes of a file, to go on with, and how many there were.
pub(super) async fn partial_digest(path: &Path) -> Result<(Sha256, u64), TransferError> {
    let path = path.to_owned();
    let work = move || hash(&path).map_err(|source| TransferError::Read { path, source });
    tokio::task::spawn_blocking(work).await.map_err(|_| TransferError::CutOff)?
}

fn hash(path: &Path) -> io::Result<(Sha256, u64)> {
    let mut file = File::open(path)?;
    let mut digest = Sha256::new();
    let mut piece = vec![0; PIECE_BYTES];
    let mut size = 0;
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok((digest, size)),
            Ok(read) => {
                digest.update(&piece[..read]);
                size += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The digest of what went into a hash.
pub(super) fn finish(digest: Sha256) -> Digest {
    Digest::from_bytes(digest.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_is_hashed_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("abc");
        std::fs::write(&path, "abc").unwrap();
        let (digest, size) = digest_file(&path).await.unwrap();
        assert_eq!(size, 3);
        assert_eq!(digest.to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert!(matches!(digest_file(&folder.path().join("none")).await, Err(TransferError::Read { .. })));
    }
}

//! A content that is arriving: written and hashed at once, and able to go on where it broke off.
//!
//! It knows nothing of where the bytes come from.
//!
//! Invariant: a file gets its name in the cache only when its digest and size are what they should be.

use super::error::{FetchError, Place};
use crate::workdir::Dir;
use muster_model::Digest;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{Seek, Write};

/// A content that is arriving. Its file is removed unless it is finished.
pub(super) struct Download<'a> {
    dir: &'a Dir,
    name: String,
    file: File,
    hash: Sha256,
    written: u64,
    finished: bool,
}

impl<'a> Download<'a> {
    /// Begins one as a file of this name.
    pub(super) fn begin(dir: &'a Dir, name: String) -> Result<Self, FetchError> {
        let file = dir.create_file(&name, 0o600).map_err(FetchError::cache("create a file"))?;
        Ok(Self { dir, name, file, hash: Sha256::new(), written: 0, finished: false })
    }

    /// Bytes that have arrived.
    pub(super) const fn written(&self) -> u64 {
        self.written
    }

    /// Takes the next bytes. Blocks while the disk does; other work of the process goes on meanwhile.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), FetchError> {
        tokio::task::block_in_place(|| {
            self.file.write_all(bytes).map_err(FetchError::cache("write"))?;
            self.hash.update(bytes);
            Ok(())
        })?;
        self.written = self.written.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        Ok(())
    }

    /// Forgets what has arrived: the other side begins anew.
    pub(super) fn restart(&mut self) -> Result<(), FetchError> {
        let failed = FetchError::cache("truncate a file");
        self.file.set_len(0).map_err(&failed)?;
        self.file.rewind().map_err(&failed)?;
        self.hash = Sha256::new();
        self.written = 0;
        Ok(())
    }

    /// Checks that all has arrived as it should, and gives the content its place. Returns its digest and size.
    pub(super) fn finish(
        mut self,
        from: &Place,
        wanted: Option<Digest>,
        size: Option<u64>,
        blobs: &Dir,
    ) -> Result<(Digest, u64), FetchError> {
        if let Some(size) = size.filter(|size| *size != self.written) {
            return Err(FetchError::WrongSize { from: from.clone(), wanted: size, found: self.written });
        }
        let found = Digest::from_bytes(self.hash.clone().finalize().into());
        if let Some(wanted) = wanted.filter(|wanted| *wanted != found) {
            return Err(FetchError::WrongDigest { from: from.clone(), wanted, found });
        }
        let mode = nix::sys::stat::Mode::from_bits_truncate(0o444);
        nix::sys::stat::fchmod(&self.file, mode)
            .map_err(|errno| FetchError::cache("protect a file")(errno.into()))?;
        let renamed = self.dir.rename(&self.name, blobs, &found.to_string());
        renamed.map_err(FetchError::cache("rename a file"))?;
        self.finished = true;
        Ok((found, self.written))
    }
}

impl Drop for Download<'_> {
    fn drop(&mut self) {
        if !self.finished
            && let Err(error) = self.dir.remove_file(&self.name)
        {
            tracing::debug!(name = self.name, %error, "an unfinished download stays until the next start");
        }
    }
}

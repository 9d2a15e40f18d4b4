//! SQLite's write-ahead log as its documentation describes it, read to know where the last whole commit ends, and torn.
//!
//! ```text
//! header  32 bytes: magic, version, page size, checkpoint, two salts, two checksums
//! frame   24 bytes: page, pages of the database after a commit (else 0), the salts, checksums over all so far; then the page
//! ```
//! A disk that loses its power keeps every byte before the last fsync and any mixture behind it: old bytes, new ones, zeros,
//! half a sector. The store syncs at each commit, before it acknowledges; so bytes behind the last *acknowledged* commit are
//! what may be torn, and no others. [`Log::tear`] refuses to touch what lies before the place that it is given.

use anyhow::{Context, ensure};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const HEADER: usize = 32;
const FRAME_HEAD: usize = 24;
/// The checksums are over little-endian words, or with the lowest bit set over big-endian ones.
const MAGIC: u32 = 0x377f_0682;

/// A log as it lies on disk.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    bytes: Vec<u8>,
    page: usize,
    salts: [u8; 8],
    /// Where each whole commit ends.
    commits: Vec<usize>,
}

/// How a write was torn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tear {
    /// The file ends in the middle.
    Cut,
    /// From somewhere on it holds zeros: the length came to the disk, the data did not.
    Zeros,
    /// Somewhere a sector has other bytes.
    Garbled,
    /// Behind the end stands the beginning of a frame that looks right: of a commit that was not finished.
    Begun,
}

impl Tear {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Cut, Self::Zeros, Self::Garbled, Self::Begun];
}

impl Log {
    /// Reads the log of a database at rest: nobody may have it open. `None` when there is none.
    ///
    /// # Errors
    /// When it cannot be read or is no such log.
    pub fn read(database: &Path) -> anyhow::Result<Option<Self>> {
        let mut path = database.as_os_str().to_owned();
        path.push("-wal");
        let path = PathBuf::from(path);
        let Ok(bytes) = fs::read(&path) else { return Ok(None) };
        if bytes.len() < HEADER {
            return Ok(None);
        }
        let magic = be(&bytes, 0);
        ensure!(magic & !1 == MAGIC, "{} is no write-ahead log: {magic:#x}", path.display());
        let page = usize::try_from(be(&bytes, 8))?;
        ensure!(page.is_power_of_two() && page >= 512, "pages of {page} bytes");
        let mut salts = [0; 8];
        salts.copy_from_slice(&bytes[16..24]);
        let mut log = Self { path, bytes, page, salts, commits: Vec::new() };
        log.find_commits(magic & 1 == 1);
        Ok(Some(log))
    }

    fn find_commits(&mut self, big_endian: bool) {
        let mut sum = checksum([0, 0], &self.bytes[..24], big_endian);
        if sum != [be(&self.bytes, 24), be(&self.bytes, 28)] {
            return;
        }
        let mut at = HEADER;
        while let Some(frame) = self.bytes.get(at..at + FRAME_HEAD + self.page) {
            sum = checksum(checksum(sum, &frame[..8], big_endian), &frame[FRAME_HEAD..], big_endian);
            if frame[8..16] != self.salts || sum != [be(frame, 16), be(frame, 20)] {
                break;
            }
            at += frame.len();
            if be(frame, 4) != 0 {
                self.commits.push(at);
            }
        }
    }

    /// What tells this run of the log from one that was begun anew after a checkpoint.
    #[must_use]
    pub fn salts(&self) -> [u8; 8] {
        self.salts
    }

    /// Where the last whole commit ends.
    #[must_use]
    pub fn end(&self) -> usize {
        self.commits.last().copied().unwrap_or(HEADER)
    }

    /// How many whole commits it holds.
    #[must_use]
    pub fn commits(&self) -> usize {
        self.commits.len()
    }

    /// Where each whole commit behind a place ends.
    #[must_use]
    pub fn commits_behind(&self, place: usize) -> Vec<usize> {
        self.commits.iter().copied().filter(|end| *end > place).collect()
    }

    /// Tears the log somewhere behind `from`, the end of the last acknowledged commit; where. `chance` draws a number below
    /// the one that it is given.
    ///
    /// # Errors
    /// When the file cannot be written, or `from` is not the end of a commit.
    pub fn tear(
        &self,
        from: usize,
        tear: Tear,
        mut chance: impl FnMut(usize) -> usize,
    ) -> anyhow::Result<usize> {
        ensure!(from == HEADER || self.commits.contains(&from), "no commit ends at {from}");
        let file = OpenOptions::new().write(true).open(&self.path);
        let file = file.with_context(|| format!("cannot open {}", self.path.display()))?;
        // What is there beyond `from`: whole commits that nobody was told of, then what a former run of the log left.
        let length = self.end().saturating_sub(from);
        let whole = self.bytes.len();
        let place = from + chance(length.max(1));
        let offset = u64::try_from(place)?;
        match tear {
            Tear::Cut => file.set_len(offset)?,
            Tear::Zeros => {
                file.set_len(offset)?;
                file.set_len(u64::try_from(whole.max(place + self.page))?)?;
            }
            Tear::Garbled => {
                let noise: Vec<u8> = (0..512).map(|_| chance(256).to_le_bytes()[0]).collect();
                file.write_all_at(&noise, offset)?;
            }
            Tear::Begun => {
                let frame = self.begun(chance(self.page));
                let end = u64::try_from(self.end())?;
                file.set_len(end)?;
                file.write_all_at(&frame, end)?;
                file.sync_all()?;
                return Ok(self.end());
            }
        }
        file.sync_all()?;
        Ok(place)
    }

    /// The beginning of a frame with the right salts, `bytes` long beyond its head, that says it ends a commit.
    fn begun(&self, bytes: usize) -> Vec<u8> {
        let mut frame = vec![0x5a; FRAME_HEAD + bytes];
        frame[..4].copy_from_slice(&2_u32.to_be_bytes());
        frame[4..8].copy_from_slice(&2_u32.to_be_bytes());
        frame[8..16].copy_from_slice(&self.salts);
        frame
    }
}

/// A big-endian word.
fn be(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_be_bytes(word)
}

fn checksum(mut sum: [u32; 2], bytes: &[u8], big_endian: bool) -> [u32; 2] {
    for pair in bytes.chunks_exact(8) {
        let word = |at: usize| {
            let word = be(pair, at);
            if big_endian { word } else { word.swap_bytes() }
        };
        sum[0] = sum[0].wrapping_add(word(0)).wrapping_add(sum[1]);
        sum[1] = sum[1].wrapping_add(word(4)).wrapping_add(sum[0]);
    }
    sum
}

//! The agent's journal: an append-only file of the core's records, replayed at start.
//!
//! ```text
//! muster-agent-journal 1 <boot id>\n
//! { length: u32 le, check: first 8 bytes of SHA-256(payload), payload = { length: u32 le, record }* }*
//! ```
//!
//! One frame holds the records of some turns, so a turn is replayed wholly or not at all. A frame is written with one write(2) and
//! not synced: it survives the agent; after the death of the machine the attempts are gone anyway. Compaction writes the
//! shortest journal into a new file, synced, and renames it. Room for the ends of what runs is taken beforehand
//! ([`Journal::reserve`]): on a full disk nothing begins, while they can be recorded. `scribe` is the thread that writes.

mod scribe;

pub(crate) use scribe::{Scribe, Told};

use crate::workdir::{Dir, is_full};
use nix::fcntl::FallocateFlags;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

/// Name of the file in the agent's directory.
const NAME: &str = "journal";
/// Name under which a new one is made.
const NEW_NAME: &str = "journal.new";
/// First words of the file.
const MAGIC: &str = "muster-agent-journal 1 ";
/// The same of all versions.
const MAGIC_OF_ALL: &str = "muster-agent-journal ";
/// Longest first line: those words and a boot id.
const LINE_BYTES_MAX: usize = 200;
/// Largest frame that is believed: a thousand plans of the largest size that fits into a message.
const FRAME_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Bytes before each payload.
const FRAME_HEAD: usize = 12;
/// Size from which compaction is worth its synced write: some tens of thousands of short tasks.
const COMPACT_FROM_BYTES: u64 = 16 * 1024 * 1024;
/// How much room is taken ahead: the ends of some sixty tasks with as much output as is kept, of thousands with little ...
const RESERVE_BYTES: u64 = 8 * 1024 * 1024;
/// ... but of a small disk this part at most, and at least so much.
const RESERVE_PART: u64 = 64;
const RESERVE_BYTES_MIN: u64 = 64 * 1024;
/// A part of it more is taken when that has to be done, so that it is not done for each frame.
const RESERVE_STEP_PART: u64 = 8;
/// Name under which a journal is kept of which not all could be read.
const DAMAGED_NAME: &str = "journal.damaged";
/// How many times the size of the last compacted journal is let pass before the next compaction.
const COMPACT_FACTOR: u64 = 4;

/// Why the journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JournalError {
    #[error("cannot {operation} the journal of the agent; is its disk full or read-only?")]
    Io {
        operation: &'static str,
        #[source]
        cause: io::Error,
    },
    #[error(
        "the journal of the agent was written by another version: end its tasks with that version, or remove the file \
         'journal' in the agent's directory and lose them"
    )]
    Version,
}

/// An open journal.
#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
    size: u64,
    compact_at: u64,
    /// How much room is taken ahead.
    reserve: u64,
    /// Up to where room is taken.
    allocated: u64,
    /// The file system cannot take room ahead.
    no_reserve: bool,
}

/// Records that are written together.
#[derive(Debug)]
pub(crate) struct Frame(Vec<u8>);

/// What was found on disk.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// The boot under which it was written; `None` if there was no journal.
    pub(crate) boot_id: Option<String>,
    /// The records, oldest first.
    pub(crate) records: Vec<Vec<u8>>,
    /// Bytes that could be read.
    pub(crate) whole_bytes: u64,
    /// Bytes behind them that could not: records may be lost.
    pub(crate) lost_bytes: usize,
    /// That is more than a write which was cut short leaves.
    pub(crate) is_damaged: bool,
}

impl JournalError {
    /// Whether there was no room.
    pub(crate) fn is_full(&self) -> bool {
        match self {
            Self::Io { cause, .. } => is_full(cause),
            Self::Version => false,
        }
    }
}

fn failed(operation: &'static str) -> impl Fn(io::Error) -> JournalError {
    move |cause| JournalError::Io { operation, cause }
}

/// Reads what is on disk. A file that begins like no journal of any version is one of which nothing could be read.
pub(crate) fn read(dir: &Dir) -> Result<Found, JournalError> {
    let mut bytes = Vec::new();
    match dir.open_file(NAME) {
        Ok((mut file, _)) => file.read_to_end(&mut bytes).map_err(failed("read"))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::default()),
        Err(error) => return Err(failed("open")(error)),
    };
    let found = decode(&bytes)?;
    if found.is_damaged {
        keep_aside(dir, &bytes);
    }
    Ok(found)
}

fn decode(bytes: &[u8]) -> Result<Found, JournalError> {
    let line_end = bytes.iter().take(LINE_BYTES_MAX).position(|byte| *byte == b'\n');
    let line = line_end.and_then(|end| std::str::from_utf8(bytes.get(..end)?).ok());
    let Some(line) = line.filter(|line| line.starts_with(MAGIC_OF_ALL)) else {
        return Ok(Found { lost_bytes: bytes.len(), is_damaged: true, ..Found::default() });
    };
    let boot_id = line.strip_prefix(MAGIC).ok_or(JournalError::Version)?.to_owned();
    let mut rest = bytes.get(line.len().saturating_add(1)..).unwrap_or_default();
    let mut records = Vec::new();
    while let Some((payload, after)) = split_frame(rest) {
        records.extend(split_records(payload));
        rest = after;
    }
    Ok(Found {
        boot_id: Some(boot_id),
        records,
        whole_bytes: length_of(bytes).saturating_sub(length_of(rest)),
        lost_bytes: rest.len(),
        is_damaged: !is_cut_short(rest),
    })
}

/// Whether these bytes are what a write that was cut short leaves: the begin of a frame, or space that was never written.
fn is_cut_short(rest: &[u8]) -> bool {
    let written = rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let Some((length, _)) = rest.split_first_chunk::<4>() else { return true };
    let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
    let end = length.saturating_add(FRAME_HEAD);
    // A whole frame whose content is wrong is cut short only if nothing came after it.
    written == 0 || end > rest.len() || (written <= end && length > 0 && written < end)
}

/// Keeps a copy of a damaged journal for people to look at. Nothing rests on it.
fn keep_aside(dir: &Dir, bytes: &[u8]) {
    let kept =
        dir.remove_file(DAMAGED_NAME).and_then(|()| dir.create_file(DAMAGED_NAME, 0o600)?.write_all(bytes));
    if let Err(error) = kept {
        tracing::warn!(%error, "cannot keep a copy of the damaged journal");
    }
}

/// The payload of the frame at the front, if it is whole and unharmed.
fn split_frame(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (check, rest) = rest.split_first_chunk::<8>()?;
    let length =
        usize::try_from(u32::from_le_bytes(*length)).ok().filter(|length| *length <= FRAME_BYTES_MAX)?;
    let (payload, rest) = rest.split_at_checked(length)?;
    (check_of(payload) == *check).then_some((payload, rest))
}

fn split_records(mut payload: &[u8]) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    while let Some((length, rest)) = payload.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let Some((record, rest)) = rest.split_at_checked(length) else { break };
        records.push(record.to_vec());
        payload = rest;
    }
    records
}

fn check_of(payload: &[u8]) -> [u8; 8] {
    let digest: [u8; 32] = Sha256::digest(payload).into();
    let mut check = [0; 8];
    check.copy_from_slice(&digest[..8]);
    check
}

impl Frame {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self(vec![0; FRAME_HEAD])
    }

    /// Adds a record.
    pub(crate) fn append(&mut self, record: &[u8]) {
        // A record is bounded by the size of a message, far below 4 GiB.
        let length = u32::try_from(record.len()).unwrap_or(u32::MAX);
        self.0.extend_from_slice(&length.to_le_bytes());
        self.0.extend_from_slice(record);
    }

    /// Whether there are no records in it.
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.len() == FRAME_HEAD
    }

    /// Its size in bytes.
    pub(crate) const fn len(&self) -> usize {
        self.0.len()
    }

    /// The bytes as they are on disk; none of an empty one.
    fn seal(mut self) -> Vec<u8> {
        let Some((head, payload)) = self.0.split_first_chunk_mut::<FRAME_HEAD>() else { return Vec::new() };
        if payload.is_empty() {
            return Vec::new();
        }
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        head[..4].copy_from_slice(&length.to_le_bytes());
        head[4..].copy_from_slice(&check_of(payload));
        self.0
    }
}

impl Journal {
    /// Writes a journal that holds just these records, and opens it. What was there is replaced in one step.
    pub(crate) fn create(dir: &Dir, boot_id: &str, records: &[Vec<u8>]) -> Result<Self, JournalError> {
        let made = Self::make(dir, boot_id, records);
        if made.is_err() {
            // What there is of it takes room that is needed.
            let _gone = dir.remove_file(NEW_NAME);
        }
        made
    }

    fn make(dir: &Dir, boot_id: &str, records: &[Vec<u8>]) -> Result<Self, JournalError> {
        dir.remove_file(NEW_NAME).map_err(failed("remove an unfinished copy of"))?;
        let mut file = dir.create_file(NEW_NAME, 0o600).map_err(failed("create"))?;
        let mut journal_bytes = format!("{MAGIC}{boot_id}\n").into_bytes();
        let mut frame = Frame::new();
        records.iter().for_each(|record| frame.append(record));
        journal_bytes.extend(frame.seal());
        file.write_all(&journal_bytes).and_then(|()| file.sync_all()).map_err(failed("write"))?;
        dir.rename(NEW_NAME, dir, NAME).map_err(failed("replace"))?;
        nix::unistd::fsync(dir.as_fd()).map_err(|errno| failed("sync the directory of")(errno.into()))?;
        Ok(Self::at(file, length_of(&journal_bytes)))
    }

    /// Goes on behind what could be read of a journal of this boot: for a disk that has no room for a new one.
    pub(crate) fn reopen(dir: &Dir, found: &Found) -> Result<Self, JournalError> {
        let file = dir.append_file(NAME, 0o600).map_err(failed("open"))?;
        // Where it is written is told with each write; a file that only appends would not care.
        nix::fcntl::fcntl(&file, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::empty()))
            .map_err(|errno| failed("set up")(errno.into()))?;
        if found.lost_bytes > 0 {
            // Else what lies behind could one day be read as what came next.
            file.set_len(found.whole_bytes).map_err(failed("shorten"))?;
        }
        Ok(Self::at(file, found.whole_bytes))
    }

    fn at(file: File, size: u64) -> Self {
        let compact_at = size.saturating_mul(COMPACT_FACTOR).max(COMPACT_FROM_BYTES);
        let bytes = nix::sys::statvfs::fstatvfs(&file)
            .map_or(0, |disk| disk.blocks().saturating_mul(disk.fragment_size()));
        let reserve = (bytes / RESERVE_PART).clamp(RESERVE_BYTES_MIN, RESERVE_BYTES);
        Self { file, size, compact_at, reserve, allocated: size, no_reserve: false }
    }

    /// Writes a frame. It is safe when this comes back. A frame for which there was no room can be written again.
    fn write(&mut self, frame: &[u8]) -> Result<(), JournalError> {
        self.file.write_all_at(frame, self.size).map_err(failed("append to"))?;
        self.size = self.size.saturating_add(length_of(frame));
        Ok(())
    }

    /// Takes room for the next records before it is needed. False if there is none, or will be none in a moment: what was taken
    /// is for the ends of what runs.
    fn reserve(&mut self) -> Result<bool, JournalError> {
        Ok(self.take_room()? && self.free_bytes() >= self.reserve / RESERVE_STEP_PART)
    }

    /// What the file system has free for this process; all of it where it does not tell.
    fn free_bytes(&self) -> u64 {
        let is_root = nix::unistd::geteuid().is_root();
        nix::sys::statvfs::fstatvfs(&self.file).map_or(u64::MAX, |disk| {
            let blocks = if is_root { disk.blocks_free() } else { disk.blocks_available() };
            blocks.saturating_mul(disk.fragment_size())
        })
    }

    fn take_room(&mut self) -> Result<bool, JournalError> {
        if self.no_reserve || self.allocated >= self.size.saturating_add(self.reserve) {
            return Ok(true);
        }
        let wanted = self.size.saturating_add(self.reserve).saturating_add(self.reserve / RESERVE_STEP_PART);
        let (Ok(from), Ok(length)) =
            (i64::try_from(self.size), i64::try_from(wanted.saturating_sub(self.size)))
        else {
            return Ok(true);
        };
        match nix::fcntl::fallocate(&self.file, FallocateFlags::FALLOC_FL_KEEP_SIZE, from, length) {
            Ok(()) => self.allocated = wanted,
            Err(nix::errno::Errno::EOPNOTSUPP | nix::errno::Errno::ENOSYS) => self.no_reserve = true,
            // Interrupted: the next time does it.
            Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => {
                let error = failed("take room for")(errno.into());
                return if error.is_full() { Ok(false) } else { Err(error) };
            }
        }
        Ok(true)
    }

    /// Lets the journal grow on, because there was no room for a new one.
    const fn postpone_compaction(&mut self) {
        self.compact_at = self.size.saturating_add(COMPACT_FROM_BYTES);
    }

    /// Whether the journal has grown so much that a new one should take its place.
    const fn wants_compaction(&self) -> bool {
        self.size >= self.compact_at
    }
}

fn length_of(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workdir::Layout;

    fn layout() -> (tempfile::TempDir, Layout) {
        let temporary = tempfile::tempdir().unwrap();
        let layout = Layout::open(temporary.path()).unwrap();
        (temporary, layout)
    }

    fn write(journal: &mut Journal, records: &[&[u8]]) {
        let mut frame = Frame::new();
        records.iter().for_each(|record| frame.append(record));
        journal.write(&frame.seal()).unwrap();
    }

    #[test]
    fn what_was_written_comes_back_whole_and_every_cut_in_the_last_frame_leaves_all_before_it() {
        let (temporary, layout) = layout();
        let mut journal = Journal::create(layout.agent(), "boot-1", &[b"one".to_vec()]).unwrap();
        write(&mut journal, &[b"two", b""]);
        let before = usize::try_from(journal.size).unwrap();
        write(&mut journal, &[b"three", b"four"]);
        let whole = read(layout.agent()).unwrap();
        assert_eq!(whole.boot_id.as_deref(), Some("boot-1"));
        assert_eq!(whole.records, [&b"one"[..], b"two", b"", b"three", b"four"]);
        assert_eq!((whole.lost_bytes, whole.is_damaged), (0, false));
        let bytes = std::fs::read(temporary.path().join("agent/journal")).unwrap();
        for cut in before..bytes.len() {
            // The file ends there, or its space was taken and never written.
            for padding in [0, bytes.len() - cut, 5_000] {
                let torn = [&bytes[..cut], &vec![0; padding]].concat();
                let found = decode(&torn).unwrap();
                assert_eq!(found.records, [&b"one"[..], b"two", b""], "cut at {cut}, then {padding} zeros");
                assert!(!found.is_damaged, "cut at {cut}, then {padding} zeros");
                assert_eq!(found.lost_bytes, torn.len() - before);
            }
        }
    }

    #[test]
    fn every_changed_byte_is_noticed_and_costs_nothing_that_came_before() {
        let (temporary, layout) = layout();
        let mut journal = Journal::create(layout.agent(), "boot-1", &[]).unwrap();
        write(&mut journal, &[b"good"]);
        let first = usize::try_from(journal.size).unwrap();
        write(&mut journal, &[b"harmed"]);
        let second = usize::try_from(journal.size).unwrap();
        write(&mut journal, &[b"later"]);
        let bytes = std::fs::read(temporary.path().join("agent/journal")).unwrap();
        for place in first..second {
            let mut changed = bytes.clone();
            changed[place] ^= 0x41;
            let found = decode(&changed).unwrap();
            assert_eq!(found.records, [b"good".to_vec()], "byte {place}");
            assert_eq!(found.lost_bytes, bytes.len() - first);
            // A length that points beyond the end looks like a frame that was cut short.
            assert!(found.is_damaged || place < first + 4, "byte {place}");
        }
    }

    #[test]
    fn damage_is_kept_aside_and_the_next_journal_does_not_run_into_it() {
        let (temporary, layout) = layout();
        let mut journal = Journal::create(layout.agent(), "boot-1", &[]).unwrap();
        write(&mut journal, &[b"good"]);
        let harmed = usize::try_from(journal.size).unwrap() + FRAME_HEAD + 4;
        write(&mut journal, &[b"harmed"]);
        write(&mut journal, &[b"stale!"]);
        drop(journal);
        let path = temporary.path().join("agent/journal");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[harmed] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let found = read(layout.agent()).unwrap();
        assert!(found.is_damaged);
        assert_eq!(std::fs::read(temporary.path().join("agent/journal.damaged")).unwrap(), bytes);
        let mut journal = Journal::reopen(layout.agent(), &found).unwrap();
        // Just as long as the harmed one: what lies behind it would be next.
        write(&mut journal, &[b"better"]);
        let again = read(layout.agent()).unwrap();
        assert_eq!(again.records, [b"good".to_vec(), b"better".to_vec()]);
        assert_eq!((again.lost_bytes, again.boot_id.as_deref()), (0, Some("boot-1")));
    }

    #[test]
    fn a_file_that_begins_like_no_journal_is_a_lost_one_and_one_of_another_version_is_refused() {
        let (temporary, layout) = layout();
        let path = temporary.path().join("agent/journal");
        std::fs::write(&path, "muster-agent-journal 9 x\n").unwrap();
        assert!(matches!(read(layout.agent()), Err(JournalError::Version)));
        for garbage in [&b""[..], b"\0\0\0\0", b"\xff\xfe\n", b"muster-agent-jour"] {
            std::fs::write(&path, garbage).unwrap();
            let found = read(layout.agent()).unwrap();
            assert_eq!((found.boot_id, found.records.len(), found.is_damaged), (None, 0, true));
        }
    }
}

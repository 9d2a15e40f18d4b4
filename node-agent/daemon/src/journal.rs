//! The agent's journal: an append-only file of the core's records, replayed at start.
//!
//! ```text
//! muster-agent-journal 1 <boot id>\n
//! { length: u32 le, check: first 8 bytes of SHA-256(payload), payload = { length: u32 le, record }* }*
//! ```
//!
//! One frame holds the records of one turn of the driver, so a turn is replayed wholly or not at all; a torn tail is cut off. A frame
//! is written with one write(2) and not synced: it survives the death of the agent, and after the death of the machine the
//! attempts are gone anyway. Compaction writes the shortest journal into a new file, synced, and renames it.
//!
//! How a record becomes bytes is the business of `codec`.

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
/// Largest frame that is believed: a thousand plans of the largest size that fits into a message.
const FRAME_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Bytes before each payload.
const FRAME_HEAD: usize = 12;
/// Size from which compaction is worth its synced write: some tens of thousands of short tasks.
const COMPACT_FROM_BYTES: u64 = 16 * 1024 * 1024;
/// How much room is taken ahead: some thousands of short tasks.
const ALLOCATE_BYTES: u64 = 1024 * 1024;
/// How much may wait in memory while the disk is full; then the agent gives up.
const WAITING_BYTES_MAX: usize = 64 * 1024 * 1024;
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
    allocated: u64,
    frame: Vec<u8>,
    /// Records wait because the disk is full.
    waits: bool,
}

/// What was found on disk.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// The boot under which it was written; `None` if there was no journal.
    pub(crate) boot_id: Option<String>,
    /// The records, oldest first.
    pub(crate) records: Vec<Vec<u8>>,
    /// Bytes at the end that were torn and are left out.
    pub(crate) torn_bytes: usize,
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

/// Reads what is on disk.
pub(crate) fn read(dir: &Dir) -> Result<Found, JournalError> {
    let mut bytes = Vec::new();
    match dir.open_file(NAME) {
        Ok((mut file, _)) => file.read_to_end(&mut bytes).map_err(failed("read"))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::default()),
        Err(error) => return Err(failed("open")(error)),
    };
    let line_end = bytes.iter().take(200).position(|byte| *byte == b'\n').ok_or(JournalError::Version)?;
    let line = std::str::from_utf8(&bytes[..line_end]).map_err(|_| JournalError::Version)?;
    let boot_id = line.strip_prefix(MAGIC).ok_or(JournalError::Version)?.to_owned();
    let mut rest = &bytes[line_end + 1..];
    let mut records = Vec::new();
    while let Some((payload, after)) = split_frame(rest) {
        records.extend(split_records(payload));
        rest = after;
    }
    Ok(Found { boot_id: Some(boot_id), records, torn_bytes: rest.len() })
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

impl Journal {
    /// Writes a journal that holds just these records, and opens it. What was there is replaced in one step.
    pub(crate) fn create(dir: &Dir, boot_id: &str, records: &[Vec<u8>]) -> Result<Self, JournalError> {
        dir.remove_file(NEW_NAME).map_err(failed("remove an unfinished copy of"))?;
        let mut file = dir.create_file(NEW_NAME, 0o600).map_err(failed("create"))?;
        let mut journal_bytes = format!("{MAGIC}{boot_id}\n").into_bytes();
        let mut frame = new_frame();
        records.iter().for_each(|record| put(&mut frame, record));
        if seal(&mut frame) {
            journal_bytes.extend_from_slice(&frame);
        }
        file.write_all(&journal_bytes).and_then(|()| file.sync_all()).map_err(failed("write"))?;
        dir.rename(NEW_NAME, dir, NAME).map_err(failed("replace"))?;
        nix::unistd::fsync(dir.as_fd()).map_err(|errno| failed("sync the directory of")(errno.into()))?;
        let size = length_of(&journal_bytes);
        let compact_at = size.saturating_mul(COMPACT_FACTOR).max(COMPACT_FROM_BYTES);
        Ok(Self { file, size, compact_at, allocated: size, frame: new_frame(), waits: false })
    }

    /// Adds a record to the frame that the next [`Journal::flush`] writes.
    pub(crate) fn append(&mut self, record: &[u8]) {
        put(&mut self.frame, record);
    }

    /// Writes what was added since the last time. Only then may anybody be told of it: with one exception. When the disk is
    /// full, which is often a task's doing, the records wait in memory for the next time, so that the node can go on and
    /// end that task; if the agent died meanwhile, its attempts would be fenced and run again.
    pub(crate) fn flush(&mut self) -> Result<(), JournalError> {
        if !seal(&mut self.frame) {
            return Ok(());
        }
        self.allocate();
        match self.file.write_all_at(&self.frame, self.size) {
            Ok(()) => {
                self.size = self.size.saturating_add(length_of(&self.frame));
                self.frame.truncate(FRAME_HEAD);
                if self.waits {
                    tracing::info!("the journal of the agent can be written again");
                    self.waits = false;
                }
                Ok(())
            }
            Err(error) if is_full(&error) && self.frame.len() < WAITING_BYTES_MAX => {
                if !self.waits {
                    tracing::error!(
                        "the disk of the node is full: the agent's journal waits in memory; free some space"
                    );
                    self.waits = true;
                }
                Ok(())
            }
            Err(error) => Err(failed("append to")(error)),
        }
    }

    /// Takes room for the next records before it is needed, so that a disk that fills up leaves time to act.
    fn allocate(&mut self) {
        let needed = self.size.saturating_add(length_of(&self.frame));
        if needed <= self.allocated {
            return;
        }
        let wanted = needed.saturating_add(ALLOCATE_BYTES);
        if let (Ok(from), Ok(length)) =
            (i64::try_from(self.size), i64::try_from(wanted.saturating_sub(self.size)))
        {
            // Without it (a full disk, another file system) the write itself finds out.
            let _tried = nix::fcntl::fallocate(&self.file, FallocateFlags::FALLOC_FL_KEEP_SIZE, from, length);
        }
        self.allocated = wanted;
    }

    /// Lets the journal grow on, because there was no room for a new one.
    pub(crate) const fn postpone_compaction(&mut self) {
        self.compact_at = self.size.saturating_add(COMPACT_FROM_BYTES);
    }

    /// Whether the journal has grown so much that a new one should take its place.
    pub(crate) const fn wants_compaction(&self) -> bool {
        self.size >= self.compact_at
    }
}

fn length_of(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

fn new_frame() -> Vec<u8> {
    vec![0; FRAME_HEAD]
}

fn put(frame: &mut Vec<u8>, record: &[u8]) {
    // A record is bounded by the size of a message, far below 4 GiB.
    let length = u32::try_from(record.len()).unwrap_or(u32::MAX);
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(record);
}

/// Fills in the head of a frame; false if there is nothing in it.
fn seal(frame: &mut [u8]) -> bool {
    let Some((head, payload)) = frame.split_first_chunk_mut::<FRAME_HEAD>() else { return false };
    if payload.is_empty() {
        return false;
    }
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    head[..4].copy_from_slice(&length.to_le_bytes());
    head[4..].copy_from_slice(&check_of(payload));
    true
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

    #[test]
    fn what_was_flushed_comes_back_and_a_torn_tail_is_left_out() {
        let (_temporary, layout) = layout();
        let mut journal = Journal::create(layout.agent(), "boot-1", &[b"one".to_vec()]).unwrap();
        journal.append(b"two");
        journal.append(b"");
        journal.flush().unwrap();
        journal.append(b"three");
        journal.flush().unwrap();
        let whole = read(layout.agent()).unwrap();
        assert_eq!(whole.boot_id.as_deref(), Some("boot-1"));
        assert_eq!(whole.records, [&b"one"[..], b"two", b"", b"three"]);
        let length = journal.size;
        for cut in 1..12 {
            journal.file.set_len(length - cut).unwrap();
            let found = read(layout.agent()).unwrap();
            assert_eq!(found.records, [&b"one"[..], b"two", b""], "cut by {cut}");
            assert!(found.torn_bytes > 0);
        }
    }

    #[test]
    fn a_flipped_bit_ends_the_journal_there() {
        let (temporary, layout) = layout();
        let mut journal = Journal::create(layout.agent(), "boot-1", &[]).unwrap();
        journal.append(b"good");
        journal.flush().unwrap();
        journal.append(b"harmed");
        journal.flush().unwrap();
        let path = temporary.path().join("agent/journal");
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(read(layout.agent()).unwrap().records, [b"good".to_vec()]);
    }

    #[test]
    fn a_journal_of_another_version_is_refused() {
        let (temporary, layout) = layout();
        std::fs::write(temporary.path().join("agent/journal"), "muster-agent-journal 9 x\n").unwrap();
        assert!(matches!(read(layout.agent()), Err(JournalError::Version)));
    }
}

//! The exit slots: where keepers write how their tasks ended, whether or not a supervisor runs.
//!
//! They are one file of fixed places in the state directory, its space taken beforehand: a file for each attempt
//! would cost more than the start itself, and a disk that a task has filled must not cost its exit code. A
//! keeper gets the number of its place and a nonce, which tells its words from those of an attempt that had the
//! place before.
//!
//! Invariant: keepers outlive upgrades, so a place that an older build's keeper fills is read for ever.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::libc::off_t;
use nix::sys::uio::{pread, pwrite};

use muster_supervisor::AttemptKey;
use muster_supervisor::record::Usage;

/// Bytes of a place: a divisor of a page, so that no writing is ever torn by the end of its writer.
const PLACE_BYTES: usize = 128;
/// The same as the distance of two places in the file.
const PLACE_OFFSET: off_t = 128;
/// Bytes of what is written.
const SLIP_BYTES: usize = WORDS * size_of::<u64>();
/// Numbers of what is written, each of 64 bits, the lowest byte first.
const WORDS: usize = 11;
/// The first number; its last character is the version.
const MAGIC: u64 = u64::from_le_bytes(*b"mustend1");
/// Bits of a word of the map of places in use.
const MAP_BITS: usize = 64;

/// Bytes of all places; what follows them in the file is the lease (`lease_word.rs`).
pub(crate) const PLACES_END: usize = PLACES * PLACE_BYTES;
/// Bytes of the whole file: the lease has a page of its own, which no keeper writes.
pub(crate) const FILE_BYTES: usize = PLACES_END + 4096;
/// How many places there are: four for each of a thousand task slots, and the file has half a megabyte.
pub(crate) const PLACES_MAX: u32 = 4096;
/// The same as a number of things in memory, which it fits.
const PLACES: usize = PLACES_MAX as usize;

/// One place, as its keeper knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) number: u32,
    nonce: u64,
}

/// What a keeper says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slip {
    pub(crate) end: End,
    /// Microseconds since the epoch.
    pub(crate) ended_at_us: i64,
    /// What the main process and those that it or the keeper waited for used.
    pub(crate) usage: Usage,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The main process has this wait status.
    Status(i32),
    /// The same, and the keeper ended it, for the lease was over and nobody else did. A build from before this takes
    /// it for lost.
    LeaseEnded(i32),
    /// The program was never executed.
    NotExecuted,
}

/// All places.
#[derive(Debug)]
pub(crate) struct Slots {
    file: OwnedFd,
    /// A bit for each place in use.
    used: Vec<u64>,
}

impl Slot {
    /// A place for an attempt that was accepted at a time.
    pub(crate) fn new(number: u32, key: &AttemptKey, accepted_at_us: i64) -> Self {
        let bytes = key.as_str().bytes().chain([0]).chain(accepted_at_us.to_le_bytes());
        Self { number, nonce: fnv(bytes) }
    }

    /// Writes into the place; to be called by the keeper, or by what it cloned.
    pub(crate) fn write(self, file: BorrowedFd<'_>, slip: &Slip) -> Result<(), Errno> {
        let bytes = slip.encode(self.nonce);
        match pwrite(file, &bytes, self.offset())? {
            SLIP_BYTES => Ok(()),
            _ => Err(Errno::ENOSPC),
        }
    }

    /// What was written into the place by its present keeper.
    pub(crate) fn read(self, file: BorrowedFd<'_>) -> Option<Slip> {
        let mut bytes = [0; SLIP_BYTES];
        let length = pread(file, &mut bytes, self.offset()).ok()?;
        Slip::decode(&bytes, self.nonce).filter(|_| length == SLIP_BYTES)
    }

    fn offset(self) -> off_t {
        off_t::from(self.number) * PLACE_OFFSET
    }
}

impl Slots {
    pub(crate) fn new(file: OwnedFd) -> Self {
        Self { file, used: vec![0; PLACES.div_ceil(MAP_BITS)] }
    }

    pub(crate) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Takes the first free place.
    pub(crate) fn take(&mut self) -> Option<u32> {
        let index = self.used.iter().position(|word| *word != u64::MAX)?;
        let bit = self.used[index].trailing_ones();
        let number = u32::try_from(index * MAP_BITS).ok()? + bit;
        (number < PLACES_MAX).then(|| self.hold(number))?;
        Some(number)
    }

    /// Counts a place as in use.
    pub(crate) fn hold(&mut self, number: u32) {
        self.set(number, true);
    }

    /// Counts it as free.
    pub(crate) fn release(&mut self, number: u32) {
        self.set(number, false);
    }

    fn set(&mut self, number: u32, used: bool) {
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        let (index, bit) = (number / MAP_BITS, number % MAP_BITS);
        // A number beyond the end was given by a build that held more; nobody here takes it.
        if let Some(word) = self.used.get_mut(index) {
            *word = *word & !(1 << bit) | u64::from(used) << bit;
        }
    }
}

impl Slip {
    /// A program that was never executed.
    pub(crate) fn not_executed(ended_at_us: i64) -> Self {
        Self { end: End::NotExecuted, ended_at_us, usage: Usage::default() }
    }

    fn encode(&self, nonce: u64) -> [u8; SLIP_BYTES] {
        let (kind, status) = match self.end {
            End::Status(status) => (0, u64::from(status.cast_unsigned())),
            End::NotExecuted => (1, 0),
            End::LeaseEnded(status) => (2, u64::from(status.cast_unsigned())),
        };
        let usage = &self.usage;
        // u64::MAX is what is not known.
        let number = |value: Option<u64>| value.unwrap_or(u64::MAX);
        let mut words = [
            MAGIC,
            nonce,
            kind,
            status,
            self.ended_at_us.cast_unsigned(),
            number(usage.user_cpu_us),
            number(usage.system_cpu_us),
            number(usage.peak_memory_bytes),
            number(usage.read_bytes),
            number(usage.written_bytes),
            0,
        ];
        words[WORDS - 1] = check(&words);
        let mut bytes = [0; SLIP_BYTES];
        for (place, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(words) {
            *place = word.to_le_bytes();
        }
        bytes
    }

    fn decode(bytes: &[u8; SLIP_BYTES], nonce: u64) -> Option<Self> {
        let mut words = [0; WORDS];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        let [magic, found, kind, status, ended_at, user, system, peak, read, written, sum] = words;
        if magic != MAGIC || found != nonce || sum != check(&words) {
            return None;
        }
        let status = u32::try_from(status).ok()?.cast_signed();
        let end = match kind {
            0 => End::Status(status),
            1 => End::NotExecuted,
            2 => End::LeaseEnded(status),
            _ => return None,
        };
        let number = |value: u64| (value != u64::MAX).then_some(value);
        let usage = Usage {
            user_cpu_us: number(user),
            system_cpu_us: number(system),
            peak_memory_bytes: number(peak),
            read_bytes: number(read),
            written_bytes: number(written),
            ..Usage::default()
        };
        Some(Self { end, ended_at_us: ended_at.cast_signed(), usage })
    }
}

/// A sum over all numbers but the last.
fn check(words: &[u64; WORDS]) -> u64 {
    fnv(words[..WORDS - 1].iter().flat_map(|word| word.to_le_bytes()))
}

/// 64-bit FNV-1a.
pub(crate) fn fnv(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slip(end: End) -> Slip {
        let usage = Usage { user_cpu_us: Some(7), peak_memory_bytes: Some(1 << 20), ..Usage::default() };
        Slip { end, ended_at_us: -5, usage }
    }

    #[test]
    fn what_is_written_is_read_by_the_same_attempt_only() {
        let file: OwnedFd = tempfile::tempfile().unwrap().into();
        let key: AttemptKey = "job.task.1".parse().unwrap();
        let slot = Slot::new(3, &key, 1_000);
        assert_eq!(slot.read(file.as_fd()), None, "beyond the end of the file");
        for end in [End::Status(23 << 8), End::Status(-1), End::NotExecuted, End::LeaseEnded(9)] {
            slot.write(file.as_fd(), &slip(end)).unwrap();
            assert_eq!(slot.read(file.as_fd()), Some(slip(end)));
        }
        assert_eq!(Slot::new(3, &key, 1_001).read(file.as_fd()), None);
        assert_eq!(Slot::new(3, &"job.task.2".parse().unwrap(), 1_000).read(file.as_fd()), None);
        assert_eq!(Slot::new(2, &key, 1_000).read(file.as_fd()), None);
    }

    #[test]
    fn every_changed_bit_is_noticed() {
        let bytes = slip(End::Status(9)).encode(77);
        assert!(Slip::decode(&bytes, 77).is_some());
        for bit in 0..SLIP_BYTES * 8 {
            let mut changed = bytes;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Slip::decode(&changed, 77), None, "bit {bit}");
        }
    }

    #[test]
    fn the_form_of_version_1_stays_as_it_is() {
        // A keeper of the first build wrote these: exit code 3, nothing measured.
        let slip = Slip { end: End::Status(3 << 8), ended_at_us: 1, usage: Usage::default() };
        let bytes = slip.encode(Slot::new(0, &"a".parse().unwrap(), 0).nonce);
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let wanted = [
            "6d757374656e6431",
            "6416ab073907d265",
            "0000000000000000",
            "0003000000000000",
            "0100000000000000",
            &"f".repeat(80),
            "210a767fdf0b478b",
        ];
        assert_eq!(text, wanted.concat());
    }

    #[test]
    fn places_are_given_out_once_and_again_when_they_are_free() {
        let mut slots = Slots::new(tempfile::tempfile().unwrap().into());
        slots.hold(1);
        assert_eq!([slots.take(), slots.take()], [Some(0), Some(2)]);
        slots.release(0);
        assert_eq!(slots.take(), Some(0));
        let all = std::iter::from_fn(|| slots.take()).count();
        assert_eq!(all, PLACES - 3);
        slots.release(PLACES_MAX - 1);
        assert_eq!([slots.take(), slots.take()], [Some(PLACES_MAX - 1), None]);
        slots.release(u32::MAX);
    }
}

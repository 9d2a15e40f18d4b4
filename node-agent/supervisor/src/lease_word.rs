//! When keepers end their tasks by themselves: one word that the supervisor writes and every keeper reads.
//!
//! It stands behind the exit slots, in the file that each keeper holds anyhow, in space taken beforehand: to hold
//! the lease costs a keeper no descriptor, no mapping and no memory. A later supervisor on the directory writes the
//! same word of the same file. A sum tells a whole word from one that is just being written.
//!
//! The budget, in parts of a lease: the controller places attempts again a tenth of it after its end, at the
//! earliest; clocks at rates of 1 % off on both sides take two hundredths, the delay here at most a fortieth. The
//! rest, more than half of the margin, is for the wake-up and for processes to go.
//!
//! Invariant: keepers outlive upgrades, so a word of this version is written for as long as there are such keepers.

use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::libc::off_t;
use nix::sys::uio::{pread, pwrite};

use crate::slots::{PLACES_END, fnv};

/// Bytes of the word: its version, its value, a sum of both; each a number of 64 bits, the lowest byte first.
const BYTES: usize = 24;
/// The first number; its last character is the version.
const MAGIC: u64 = u64::from_le_bytes(*b"mustlse1");
/// The value if no lease is in force and nothing is to be ended for want of one.
const NEVER: u64 = u64::MAX;

/// The part of what is left of a lease by which keepers wait longer than the supervisor.
const DELAY_PARTS: u64 = 40;
/// Shortest such delay: the supervisor acts within milliseconds, and the shortest margin is 100 ms.
const DELAY_MIN_US: u64 = 20_000;
/// Longest: even for a thousand tasks the supervisor needs no more.
const DELAY_MAX_US: u64 = 250_000;

/// When keepers act on a lease, both in microseconds of `CLOCK_BOOTTIME`: a little after the supervisor, which does
/// so at its end, or now if that has passed.
pub(crate) fn act_at(until_us: u64, now_us: u64) -> u64 {
    let left = until_us.saturating_sub(now_us);
    let delay = (left / DELAY_PARTS).clamp(DELAY_MIN_US, DELAY_MAX_US);
    until_us.max(now_us).saturating_add(delay)
}

/// Tells all keepers when to end their tasks, in microseconds of `CLOCK_BOOTTIME`; `None` is never.
pub(crate) fn write(file: BorrowedFd<'_>, act_at_us: Option<u64>) -> Result<(), Errno> {
    match pwrite(file, &encode(act_at_us), offset()?)? {
        BYTES => Ok(()),
        _ => Err(Errno::ENOSPC),
    }
}

/// Reads what [`write`] wrote; `EILSEQ` if it is just being written, or never was.
pub(crate) fn read(file: BorrowedFd<'_>) -> Result<Option<u64>, Errno> {
    let mut bytes = [0; BYTES];
    match pread(file, &mut bytes, offset()?)? {
        BYTES => decode(&bytes).ok_or(Errno::EILSEQ),
        _ => Err(Errno::EILSEQ),
    }
}

fn offset() -> Result<off_t, Errno> {
    off_t::try_from(PLACES_END).map_err(|_| Errno::EFBIG)
}

fn encode(act_at_us: Option<u64>) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    bytes[..8].copy_from_slice(&MAGIC.to_le_bytes());
    // A time that far away never comes.
    bytes[8..16].copy_from_slice(&act_at_us.unwrap_or(NEVER).to_le_bytes());
    let sum = fnv(bytes[..16].iter().copied());
    bytes[16..].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// The value of a whole word.
fn decode(bytes: &[u8; BYTES]) -> Option<Option<u64>> {
    let [magic, value, sum] = bytes.as_chunks::<8>().0 else { return None };
    let number = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes);
    let whole = number(magic) == MAGIC && number(sum) == fnv(bytes[..16].iter().copied());
    whole.then(|| Some(number(value)).filter(|value| *value != NEVER))
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsFd, OwnedFd};

    use super::*;
    use crate::slots::{End, FILE_BYTES, PLACES_MAX, Slip, Slot};

    const SECOND: u64 = 1_000_000;

    #[test]
    fn what_is_written_is_read_and_the_exit_slots_beside_it_stay() {
        let file: OwnedFd = tempfile::tempfile().unwrap().into();
        let file = file.as_fd();
        assert_eq!(read(file), Err(Errno::EILSEQ), "beyond the end of the file");
        let last = Slot::new(PLACES_MAX - 1, &"a".parse().unwrap(), 1);
        let slip = Slip { end: End::Status(3), ended_at_us: 1, usage: Default::default() };
        last.write(file, &slip).unwrap();
        for act_at_us in [Some(0), Some(77 * SECOND), None] {
            write(file, act_at_us).unwrap();
            assert_eq!(read(file), Ok(act_at_us));
        }
        assert_eq!(last.read(file), Some(slip));
        const { assert!(PLACES_END + BYTES <= FILE_BYTES) };
    }

    #[test]
    fn every_changed_bit_is_noticed_and_zeroes_are_no_word() {
        let bytes = encode(Some(5 * SECOND));
        for bit in 0..BYTES * 8 {
            let mut changed = bytes;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&changed), None, "bit {bit}");
        }
        assert_eq!(decode(&[0; BYTES]), None);
    }

    #[test]
    fn the_form_of_version_1_stays_as_it_is() {
        let text: String = encode(Some(1)).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(text, "6d7573746c73653101000000000000004a5d5131d894cfb5");
    }

    #[test]
    fn keepers_act_after_the_supervisor_and_well_before_the_margin_is_over() {
        for lease_us in [SECOND, 3 * SECOND, 30 * SECOND, 600 * SECOND] {
            let (now, margin_us) = (1_000 * SECOND, lease_us / 10);
            let delay = act_at(now + lease_us, now) - (now + lease_us);
            // The margin, without what clocks may differ by, has more than twice the delay.
            assert!(delay >= DELAY_MIN_US && 2 * delay < margin_us - lease_us / 50, "{lease_us}: {delay}");
        }
        let over = act_at(0, 1_000 * SECOND);
        assert_eq!(over, 1_000 * SECOND + DELAY_MIN_US, "the supervisor first, also for one that has passed");
        assert_eq!(act_at(u64::MAX, 0), u64::MAX);
    }
}

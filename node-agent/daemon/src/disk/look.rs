//! How full a bounded directory is, and when it counts as full.
//!
//! File systems round, reserve and count their own needs, so that a directory is full a little before its limit is reached to the byte.
//! Pure: who looks is in `means`, what follows from it in the core.

use muster_agent_core::OverDisk;

/// The part of a limit, as one over this, within which a directory counts as full: file systems round and reserve.
const SLACK_PART: u64 = 100;
/// The least such part in bytes: file systems with large folios take or refuse a write of this size as a whole, so a program
/// that writes in such pieces is stopped with almost as much still free.
const SLACK_MIN: u64 = 1024 * 1024;

/// What a bounded directory holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    /// Bytes that are taken.
    pub(super) used_bytes: u64,
    /// Bytes that can still be written.
    pub(super) room_bytes: u64,
}

impl Look {
    /// A look at a directory whose bound is only watched.
    pub(super) const fn watched(used_bytes: u64, limit_bytes: u64) -> Self {
        Self { used_bytes, room_bytes: limit_bytes.saturating_sub(used_bytes) }
    }

    /// Whether a hard bound has been reached, as near as can be told.
    pub(super) fn is_at(self, limit_bytes: u64) -> bool {
        // Of a very small limit the slack may not be a large part.
        let slack = (limit_bytes / SLACK_PART).max(SLACK_MIN).min(limit_bytes / 8);
        self.room_bytes <= slack || self.used_bytes >= limit_bytes
    }
}

/// What an attempt has in its directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DiskUsage {
    /// What it may have.
    pub(crate) limit_bytes: u64,
    /// What it had when it was looked at last.
    pub(crate) used_bytes: u64,
    /// The most that was seen.
    pub(crate) peak_bytes: u64,
    /// Whether it has reached its limit.
    pub(crate) is_full: bool,
}

impl DiskUsage {
    /// The words for the core, if it is full.
    pub(crate) fn over(&self) -> Option<OverDisk> {
        let over = OverDisk { limit_bytes: self.limit_bytes, used_bytes: self.peak_bytes };
        self.is_full.then_some(over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_full_within_a_hundredth_and_not_before() {
        let gib = 1 << 30;
        let at = |used_bytes, room_bytes| Look { used_bytes, room_bytes }.is_at(gib);
        assert!(at(gib, 0) && at(gib - 5_000_000, 5_000_000) && at(gib + 1, 99_999_999));
        assert!(!at(gib - 20_000_000, 20_000_000));
        let pieces = 20 << 20;
        assert!(
            Look { used_bytes: 19 << 20, room_bytes: 1 << 20 }.is_at(pieces),
            "the last piece did not fit"
        );
        assert!(!Look { used_bytes: 18 << 20, room_bytes: 2 << 20 }.is_at(pieces));
        let small = 100_000;
        assert!(Look::watched(95_000, small).is_at(small) && !Look::watched(80_000, small).is_at(small));
    }
}

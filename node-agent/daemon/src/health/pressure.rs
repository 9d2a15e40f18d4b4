//! How much room the node's disk needs: below the reserve the node takes no tasks; below half of it something has to go.
//!
//! Files count as space does, because a file system without free inodes is as full as one without blocks.
//!
//! Invariant: pressure that began ends only with a fifth more than the reserve.

/// The reserve when the operator sets none: this part of the disk ...
const RESERVE_PART: u64 = 20;
/// ... but at least this much, in bytes ...
const RESERVE_MIN: u64 = 1 << 30;
/// ... and at most this much, and no more than this part of a small disk.
const RESERVE_MAX: u64 = 20 << 30;
const RESERVE_PART_MOST: u64 = 10;
/// Free files that a node needs, as a part of all, and at most so many.
const FILES_PART: u64 = 100;
const FILES_MAX: u64 = 10_000;
/// Pressure ends with so many fifths of the reserve.
const WELL_FIFTHS: u64 = 6;

/// What a file system has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Space {
    pub(super) free_bytes: u64,
    pub(super) total_bytes: u64,
    pub(super) free_files: u64,
    /// 0: it does not count them.
    pub(super) total_files: u64,
}

/// What a node needs of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reserve {
    pub(super) bytes: u64,
    pub(super) files: u64,
}

/// How the disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// There is enough.
    Enough,
    /// Less than the reserve: no more tasks.
    Pressed,
    /// Less than half of it: what grows most has to go.
    Drowning,
}

impl Reserve {
    /// What a disk of this size needs; `set` is the operator's word.
    pub(super) fn of(space: Space, set: Option<u64>) -> Self {
        let part = (space.total_bytes / RESERVE_PART).clamp(RESERVE_MIN, RESERVE_MAX);
        let bytes = set.unwrap_or_else(|| part.min(space.total_bytes / RESERVE_PART_MOST));
        Self { bytes, files: (space.total_files / FILES_PART).min(FILES_MAX) }
    }

    /// How the disk is, given whether it was under pressure before.
    pub(super) fn level(self, space: Space, was_pressed: bool) -> Level {
        let of = |free: u64, reserve: u64| {
            let well = reserve / 5 * WELL_FIFTHS;
            if free < reserve / 2 {
                Level::Drowning
            } else if free < reserve || (was_pressed && free < well) {
                Level::Pressed
            } else {
                Level::Enough
            }
        };
        let files = if space.total_files == 0 { Level::Enough } else { of(space.free_files, self.files) };
        of(space.free_bytes, self.bytes).max(files)
    }

    /// What is too little, in words with the way out.
    pub(super) fn words(self, space: Space, root: &str) -> String {
        let Space { free_bytes, free_files, .. } = space;
        if free_bytes < self.bytes / 5 * WELL_FIFTHS {
            format!(
                "the disk of {root} has {free_bytes} bytes free, less than its reserve of {} bytes: the node takes no tasks \
                 until there is a fifth more than that; free some, or set disk_reserve lower",
                self.bytes
            )
        } else {
            format!(
                "the file system of {root} has room for {free_files} more files, fewer than the {} that it needs: the node \
                 takes no tasks until there are more; remove some",
                self.files
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn space(free_bytes: u64, total_bytes: u64) -> Space {
        Space { free_bytes, total_bytes, free_files: 1_000_000, total_files: 2_000_000 }
    }

    #[test]
    fn the_reserve_is_sane_on_disks_of_all_sizes() {
        for (total, reserve) in
            [(4 * GIB, 4 * GIB / 10), (15 * GIB, GIB), (100 * GIB, 5 * GIB), (4096 * GIB, 20 * GIB)]
        {
            assert_eq!(Reserve::of(space(0, total), None).bytes, reserve, "{total}");
        }
        assert_eq!(Reserve::of(space(0, GIB), Some(7)).bytes, 7);
    }

    #[test]
    fn pressure_begins_at_the_reserve_and_ends_above_it() {
        let reserve = Reserve { bytes: 1_000, files: 0 };
        let level = |free, was_pressed| reserve.level(space(free, 100_000), was_pressed);
        assert_eq!((level(1_000, false), level(999, false)), (Level::Enough, Level::Pressed));
        assert_eq!((level(1_199, true), level(1_200, true)), (Level::Pressed, Level::Enough));
        assert_eq!((level(500, true), level(499, false)), (Level::Pressed, Level::Drowning));
    }

    #[test]
    fn a_disk_without_free_files_is_full_too_where_files_are_counted() {
        let reserve = Reserve { bytes: 0, files: 100 };
        let full = Space { free_files: 10, ..space(GIB, GIB) };
        assert_eq!(reserve.level(full, false), Level::Drowning);
        assert_eq!(reserve.level(Space { total_files: 0, ..full }, false), Level::Enough);
        assert!(reserve.words(full, "/x").contains("10 more files"));
        assert!(Reserve { bytes: 2 * GIB, files: 0 }.words(full, "/x").contains("disk_reserve"));
    }
}

//! File systems that a node which was killed left mounted below its folder.
//!
//! An agent bounds the directories of tasks by mounts and lifts them when it leaves; one that is killed leaves them to the
//! next agent on its root. Before a node's folder is removed without such an agent, they are unmounted here. Nothing above
//! the folder, and nothing beside it, is touched.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, umount2};

/// Where the kernel lists the mounts of this process's namespace.
const MOUNTINFO: &str = "/proc/self/mountinfo";

/// Unmounts everything below a folder whose path has no links in it. What cannot be unmounted keeps the folder from being
/// removed, which is told by whoever removes it.
pub(super) fn unmount_below(folder: &Path) {
    let list = fs::read(MOUNTINFO).unwrap_or_default();
    for point in points_below(&list, folder) {
        let _kept = umount2(&point, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW);
    }
}

/// The mount points below a folder, those that were mounted last first.
fn points_below(list: &[u8], folder: &Path) -> Vec<PathBuf> {
    let lines = list.split(|byte| *byte == b'\n');
    let points = lines.filter_map(|line| line.split(|byte| *byte == b' ').nth(4)).map(unescaped);
    let mut below: Vec<PathBuf> =
        points.filter(|point| point.starts_with(folder) && point != folder).collect();
    below.reverse();
    below
}

/// A path of the list, where blanks and the like are written as a backslash and three octal digits.
fn unescaped(text: &[u8]) -> PathBuf {
    let mut path = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, behind)) = rest.split_first() {
        let code = behind.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        let code = code.and_then(|digits| u8::from_str_radix(digits, 8).ok()).filter(|_| *byte == b'\\');
        path.push(code.unwrap_or(*byte));
        rest = if code.is_some() { &behind[3..] } else { behind };
    }
    PathBuf::from(OsString::from_vec(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_below_the_folder_is_found_and_the_latest_first() {
        let list = b"21 1 254:0 / / rw,noatime - ext4 /dev/vda rw\n\
            30 21 7:0 / /c/nodes/1 rw - ext4 /dev/loop0 rw\n\
            31 30 7:1 / /c/nodes/1/root/a\\040b rw - ext4 /dev/loop1 rw\n\
            32 21 7:2 / /c/nodes/10/root rw - ext4 /dev/loop2 rw\n\
            33 31 0:9 / /c/nodes/1/root/a\\040b/tmp rw - tmpfs tmpfs rw\n\
            broken\n";
        let found = points_below(list, Path::new("/c/nodes/1"));
        assert_eq!(found, ["/c/nodes/1/root/a b/tmp", "/c/nodes/1/root/a b"].map(PathBuf::from));
        assert!(points_below(b"", Path::new("/c")).is_empty());
    }

    #[test]
    fn what_looks_like_an_escape_and_is_none_stays() {
        for (text, path) in
            [("/a\\134b", "/a\\b"), ("/a\\9", "/a\\9"), ("/a\\", "/a\\"), ("/a\\777", "/a\\777")]
        {
            assert_eq!(unescaped(text.as_bytes()), Path::new(path));
        }
    }
}

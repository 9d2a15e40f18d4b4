//! What the kernel lists as mounted (/proc/self/mountinfo), as far as disk limits need it.
//!
//! Read anew whenever it is asked: others mount too. Lines that cannot be read are left out. How something is mounted and unmounted
//! is in `image` and `memory`.

use super::error::DiskError;
use std::path::{Path, PathBuf};

/// Where the kernel lists the mounts of this process's namespace.
const MOUNTINFO: &str = "/proc/self/mountinfo";

/// One mounted file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mount {
    /// Where.
    pub(super) point: PathBuf,
    /// Of which kind, such as `ext4`.
    pub(super) kind: String,
    /// From what, such as `/dev/sda1`.
    pub(super) source: String,
    /// The options of the file system itself.
    pub(super) options: Vec<String>,
}

impl Mount {
    /// Whether an option is set.
    pub(super) fn has(&self, option: &str) -> bool {
        self.options.iter().any(|own| own == option)
    }
}

/// All mounts, later ones on top of earlier ones.
pub(super) fn all() -> Result<Vec<Mount>, DiskError> {
    let text = std::fs::read_to_string(MOUNTINFO).map_err(DiskError::io("read", MOUNTINFO))?;
    Ok(text.lines().filter_map(parse).collect())
}

/// The mount that a path without links lies on.
pub(super) fn of(path: &Path) -> Result<Mount, DiskError> {
    let found = all()?.into_iter().filter(|mount| path.starts_with(&mount.point));
    // Of two at one place the later one is on top.
    let top = found.max_by_key(|mount| mount.point.components().count());
    top.ok_or_else(|| DiskError::NoMount { path: path.to_owned() })
}

/// Whether something is mounted at exactly this path.
pub(super) fn is_mounted(path: &Path) -> Result<bool, DiskError> {
    Ok(all()?.iter().any(|mount| mount.point == path))
}

/// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`, see proc(5).
fn parse(line: &str) -> Option<Mount> {
    let (place, system) = line.split_once(" - ")?;
    let point = PathBuf::from(unescape(place.split(' ').nth(4)?));
    let mut system = system.split(' ');
    let (kind, source, options) = (system.next()?, system.next()?, system.next()?);
    Some(Mount {
        point,
        kind: kind.to_owned(),
        source: unescape(source),
        options: options.split(',').map(str::to_owned).collect(),
    })
}

/// Blanks, tabs, line ends and backslashes are written as three octal digits.
fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        plain.push_str(before);
        match after.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                plain.push(char::from(byte));
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                plain.push('\\');
                rest = after;
            }
        }
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_kernel_s_list_is_read() {
        let line = r"36 35 98:0 / /mnt/my\040disk rw,noatime master:1 - xfs /dev/vg\134x rw,attr2,prjquota";
        let mount = parse(line).unwrap();
        assert_eq!((mount.point.to_str(), mount.kind.as_str()), (Some("/mnt/my disk"), "xfs"));
        assert_eq!(mount.source, r"/dev/vg\x");
        assert!(mount.has("prjquota") && !mount.has("quota"));
        assert_eq!(parse("nonsense"), None);
        assert_eq!(unescape(r"a\0"), r"a\0");
    }

    #[test]
    fn the_root_of_everything_is_mounted_and_a_folder_in_it_is_not() {
        assert!(is_mounted(Path::new("/")).unwrap());
        let folder = tempfile::tempdir().unwrap();
        assert!(!is_mounted(folder.path()).unwrap());
        assert!(of(folder.path()).unwrap().point.is_absolute());
    }
}

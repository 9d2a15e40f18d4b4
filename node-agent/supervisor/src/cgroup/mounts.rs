//! Where the cgroup hierarchies are mounted, and where in them this process is.
//!
//! Pure parsing of `/proc/self/mountinfo` and `/proc/self/cgroup`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use super::hierarchy::{Controllers, Version};
use super::v1;

/// One mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mount {
    pub(crate) version: Version,
    /// For v1, the controllers bound to it; for v2, none: they are listed in its files.
    pub(crate) controllers: Controllers,
    /// Where it is mounted.
    pub(crate) at: PathBuf,
    /// The directory of this process's group.
    pub(crate) own: PathBuf,
}

/// Finds the hierarchies in the texts of the two files.
pub(crate) fn parse(mountinfo: &[u8], cgroup: &str) -> Vec<Mount> {
    let mut found: Vec<Mount> = Vec::new();
    for line in mountinfo.split(|byte| *byte == b'\n') {
        if let Some(mount) = parse_line(line, cgroup)
            // A hierarchy that is mounted twice, or a mount hidden under a later one of the same hierarchy,
            // counts once.
            && !found.iter().any(|known| (known.version, known.controllers) == (mount.version, mount.controllers))
        {
            found.push(mount);
        }
    }
    found
}

fn parse_line(line: &[u8], cgroup: &str) -> Option<Mount> {
    // id parent major:minor root mountpoint options [optional...] - type source superoptions
    let mut fields = line.split(|byte| *byte == b' ');
    let (root, at) = (fields.nth(3)?, fields.next()?);
    let mut tail = fields.skip_while(|field| *field != b"-").skip(1);
    let (kind, _source, super_options) = (tail.next()?, tail.next()?, tail.next()?);
    let (version, controllers) = match kind {
        b"cgroup2" => (Version::V2, Controllers::default()),
        b"cgroup" => (Version::V1, v1::controllers(super_options)),
        _ => return None,
    };
    if version == Version::V1 && controllers == Controllers::default() {
        return None;
    }
    let (root, at) = (unescape(root), unescape(at));
    let own = own_group(cgroup, version, controllers)?;
    // In a container without a cgroup namespace the mount shows only a part of the hierarchy, and our group
    // lies in it.
    let below = Path::new(own).strip_prefix(&root).unwrap_or(Path::new(""));
    let below = if below.components().all(|part| matches!(part, std::path::Component::Normal(_))) {
        below
    } else {
        Path::new("")
    };
    Some(Mount { version, controllers, own: at.join(below), at })
}

/// The path of our group within a hierarchy: lines of `id:controllers:path`.
fn own_group(cgroup: &str, version: Version, controllers: Controllers) -> Option<&str> {
    cgroup.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (_, names, path) = (fields.next()?, fields.next()?, fields.next()?);
        let ours = match version {
            Version::V2 => names.is_empty(),
            Version::V1 => !names.is_empty() && Controllers::parse(names) == controllers,
        };
        ours.then_some(path)
    })
}

/// Undoes the octal escapes (`\040` for a blank) of mountinfo.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let octal = after
            .get(..3)
            .filter(|digits| *first == b'\\' && digits.iter().all(|d| (b'0'..=b'7').contains(d)));
        let value = octal.and_then(|digits| {
            let value = digits.iter().fold(0_u16, |value, digit| value * 8 + u16::from(digit - b'0'));
            u8::try_from(value).ok()
        });
        match value {
            Some(value) => {
                bytes.push(value);
                rest = &after[3..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hybrid_mounts_are_found_with_our_group_in_each() {
        let mountinfo =
            b"32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n\
            35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n\
            40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd\n\
            41 31 0:38 / /sys/fs/cgroup/uni\\040fied rw,relatime - cgroup2 cgroup2 rw\n\
            42 31 0:39 / /proc rw - proc proc rw\n";
        let cgroup = "3:cpu,cpuacct:/\n2:memory:/a/b\n0::/unit\n";
        let found = parse(mountinfo, cgroup);
        let own: Vec<_> = found.iter().map(|mount| mount.own.to_str().unwrap()).collect();
        assert_eq!(
            own,
            ["/sys/fs/cgroup/cpu,cpuacct/", "/sys/fs/cgroup/memory/a/b", "/sys/fs/cgroup/uni fied/unit"]
        );
        assert!(found[0].controllers.cpu && found[0].controllers.cpuacct && !found[0].controllers.memory);
    }

    #[test]
    fn a_mount_of_a_part_of_the_hierarchy_is_read_relative_to_that_part() {
        let mountinfo = b"35 31 0:32 /docker/x /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        assert_eq!(parse(mountinfo, "2:memory:/docker/x/y\n")[0].own, Path::new("/sys/fs/cgroup/memory/y"));
        assert_eq!(parse(mountinfo, "2:memory:/elsewhere\n")[0].own, Path::new("/sys/fs/cgroup/memory"));
        assert_eq!(parse(mountinfo, "2:memory:/../../x\n")[0].own, Path::new("/sys/fs/cgroup/memory"));
        assert_eq!(parse(mountinfo, "2:pids:/x\n"), []);
    }
}

//! What a host must have for the guest: whether the tests here can say anything on this machine.
//!
//! A host that lacks something is told in words and the tests are skipped; nothing is installed here (`cargo xtask test`
//! does that). The guest is of the host's own distribution and release, so that the host's binaries run in it.

use crate::tool::has;
use std::collections::BTreeMap;
use std::fs;

/// Programs, and the Debian packages that bring them.
pub const PROGRAMS: [(&str, &str); 5] = [
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("mmdebstrap", "mmdebstrap"),
    ("mkfs.ext4", "e2fsprogs"),
    ("objcopy", "binutils"),
    ("setpriv", "util-linux"),
];

/// What the guest is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Means {
    /// Code name of the release, such as `bookworm`.
    pub release: String,
}

/// Looks at this host.
///
/// # Errors
/// What is missing, in words.
pub fn find() -> Result<Means, String> {
    if !is_root() {
        return Err("root (the image's files belong to it)".to_owned());
    }
    if std::env::consts::ARCH != "x86_64" {
        return Err(format!("x86_64 processor (it has {})", std::env::consts::ARCH));
    }
    let release = debian(&fs::read_to_string("/etc/os-release").unwrap_or_default())?;
    match PROGRAMS.iter().find(|(program, _)| !has(program)) {
        Some((program, package)) => Err(format!("{program} (package {package})")),
        None => Ok(Means { release }),
    }
}

/// The release's code name, from the text of os-release.
fn debian(text: &str) -> Result<String, String> {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    let values: BTreeMap<&str, &str> = pairs.map(|(name, value)| (name, value.trim_matches('"'))).collect();
    match (values.get("ID"), values.get("VERSION_CODENAME")) {
        (Some(&"debian"), Some(release)) => Ok((*release).to_owned()),
        (id, _) => Err(format!("Debian release (it has {})", id.unwrap_or(&"no name"))),
    }
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").is_ok_and(|entry| entry.uid() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn release_is_read_from_debian_and_from_nothing_else() {
        assert_eq!(
            debian("NAME=\"Debian\"\nID=debian\nVERSION_CODENAME=\"bookworm\"\n"),
            Ok("bookworm".to_owned())
        );
        for text in ["", "ID=debian", "ID=ubuntu\nVERSION_CODENAME=noble", "VERSION_CODENAME=noble"] {
            assert!(debian(text).is_err(), "{text}");
        }
    }
}

//! The guest's disk and kernel: made once by mmdebstrap from the host's own apt sources, kept below the target folder.
//!
//! The recipe is this file and the folder `guest`; the image lies under a name made of their digest, so a changed recipe makes
//! another one and an unchanged one is taken as it is. No name of a mirror stands here: what apt on this machine uses is used.
//!
//! Invariant: an image under its name is whole, because it gets the name last.

use crate::drive;
use crate::means::Means;
use crate::tool::{run, tool};
use anyhow::{Context, ensure};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// What the guest has beyond Debian's smallest system.
const PACKAGES: [&str; 12] = [
    "systemd",
    "systemd-sysv",
    "udev",
    "iproute2",
    "procps",
    "kmod",
    "ca-certificates",
    "e2fsprogs",
    // Disk limits are set and proven with the programs of these.
    "btrfs-progs",
    "quota",
    "xfsprogs",
    // Tasks that misbehave are written in it.
    "python3-minimal",
];

/// Options beside the packages. Nobody reads manuals in the guest, and its disk may be lost.
const OPTIONS: [&str; 6] = [
    "--mode=root",
    "--variant=minbase",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--dpkgopt=force-unsafe-io",
];

/// Everything of the folder `guest`, for the digest.
const FILES: [&str; 5] = [
    include_str!("../guest/customize.sh"),
    include_str!("../guest/files/etc/fstab"),
    include_str!("../guest/files/etc/systemd/system/guest-network.service"),
    include_str!("../guest/files/etc/systemd/system/guest-shell.service"),
    include_str!("../guest/files/usr/local/sbin/guest-shell"),
];

/// Size of the root file system: twice what is in it, and room for what tests make. The file is sparse.
const ROOT_MEGABYTES: u64 = 1536;

/// A guest to be.
#[derive(Debug, Clone)]
pub struct Image {
    /// The root file system.
    pub root: PathBuf,
    /// The kernel.
    pub kernel: PathBuf,
}

/// The image of the recipe; made if it is not there.
///
/// # Errors
/// When apt has no sources, or a tool fails.
pub fn prepare(means: &Means) -> anyhow::Result<Image> {
    let cache = cache()?;
    fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
    // Two runs at one time would make the same image twice.
    let lock = File::create(cache.join("lock"))?;
    lock.lock().context("cannot lock the image cache")?;
    let folder = cache.join(digest(means));
    let image = Image { root: folder.join("root.img"), kernel: folder.join("vmlinuz") };
    if !folder.exists() {
        clear(&cache)?;
        let work = tempfile::tempdir_in(&cache)?;
        make(means, work.path())?;
        fs::remove_dir_all(work.path().join("tree"))?;
        fs::rename(work.keep(), &folder)?;
    }
    Ok(image)
}

/// `target/vm`, beside the folder of the test program.
fn cache() -> anyhow::Result<PathBuf> {
    let test = std::env::current_exe().context("cannot see the path of this test")?;
    let target = test.ancestors().nth(3);
    Ok(target.with_context(|| format!("{} lies in no target folder", test.display()))?.join("vm"))
}

/// Removes images of other recipes.
fn clear(cache: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(cache)? {
        let path = entry?.path();
        if path.is_dir() {
            fs::remove_dir_all(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

fn digest(means: &Means) -> String {
    let mut hash = Sha256::new();
    let own = include_str!("image.rs");
    for part in FILES.iter().copied().chain([own, &means.release]) {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn make(means: &Means, work: &Path) -> anyhow::Result<()> {
    let sources = work.join("sources.list");
    fs::write(&sources, apt_sources()?)?;
    let tree = work.join("tree");
    let hook = Path::new(env!("CARGO_MANIFEST_DIR")).join("guest/customize.sh");
    let mut bootstrap = tool("mmdebstrap");
    bootstrap.args(OPTIONS).arg(format!("--include={}", PACKAGES.join(",")));
    bootstrap.arg(format!("--customize-hook='{}' \"$1\"", hook.display()));
    let keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
    if Path::new(keyring).is_file() {
        bootstrap.arg(format!("--keyring={keyring}"));
    }
    for proxy in apt_proxies()? {
        bootstrap.arg(format!("--aptopt={proxy}"));
    }
    bootstrap.arg(&means.release).arg(&tree).arg("-").stdin(File::open(&sources)?).stdout(Stdio::null());
    run(&mut bootstrap)?;
    let kernels = fs::read_dir(tree.join("boot"))?.flatten();
    let kernel = kernels.map(|entry| entry.path()).find(|path| path.to_string_lossy().contains("/vmlinuz-"));
    fs::copy(kernel.context("the kernel's package has no kernel")?, work.join("vmlinuz"))?;
    drive::make(&work.join("root.img"), ROOT_MEGABYTES, Some(&tree), &[])
}

/// The host's Debian sources, one on each line; sources of others have no place in the guest.
fn apt_sources() -> anyhow::Result<String> {
    let mut targets = tool("apt-get");
    targets.args(["indextargets", "--format", "deb $(REPO_URI) $(RELEASE) $(COMPONENT)"]);
    let sources = run(targets.args(["Created-By: Packages", "Origin: Debian"]))?;
    ensure!(!sources.trim().is_empty(), "apt knows no Debian on this machine: run `apt-get update`");
    Ok(sources)
}

/// The host's proxies, as apt writes them.
fn apt_proxies() -> anyhow::Result<Vec<String>> {
    let settings = run(tool("apt-config").arg("dump"))?;
    let is_proxy = |line: &&str| line.starts_with("Acquire::http") && line.to_lowercase().contains("proxy");
    Ok(settings.lines().filter(is_proxy).map(str::to_owned).collect())
}

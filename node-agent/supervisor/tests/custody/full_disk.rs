//! The lease on a disk that is full, also where every write is a copy.
//!
//! Needs root, loop devices and mkfs.btrfs; says SKIPPED where one is missing.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use muster_supervisor::{EndedBy, Reply, Request};
use nix::time::{ClockId, clock_gettime};

use crate::harness::{World, is_root, is_running, skip, spec, until};

/// The smallest that mkfs.btrfs makes without asking.
const DISK_BYTES: u64 = 128 << 20;

/// A file system of its own, gone in Drop.
struct Disk(tempfile::TempDir);

impl Disk {
    /// `None` where there is no such file system.
    fn btrfs() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("image");
        fs::File::create(&image).unwrap().set_len(DISK_BYTES).unwrap();
        fs::create_dir(dir.path().join("at")).unwrap();
        let succeeds = |command: &mut Command| command.output().is_ok_and(|output| output.status.success());
        let made = succeeds(Command::new("mkfs.btrfs").arg("-q").arg(&image));
        let mount =
            || succeeds(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(dir.path().join("at")));
        (made && mount()).then(|| Self(dir))
    }

    fn at(&self) -> std::path::PathBuf {
        fs::canonicalize(self.0.path()).unwrap().join("at")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.at()).status();
    }
}

/// Leaves no room for anything.
fn fill(disk: &Path) {
    for (number, bytes) in [1 << 20, 1 << 16, 1 << 12].into_iter().cycle().take(30).enumerate() {
        let mut file = fs::File::create(disk.join(format!("filler-{number}"))).unwrap();
        // Different from each other, or it could be compressed.
        let part: Vec<u8> =
            (0..bytes).map(|at: usize| (at.wrapping_mul(31 + number) >> 3).to_le_bytes()[0]).collect();
        while file.write_all(&part).is_ok() {}
        let _ = file.sync_all();
    }
}

fn boottime_us() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).unwrap();
    u64::try_from(now.tv_sec() * 1_000_000 + now.tv_nsec() / 1_000).unwrap()
}

#[test]
fn a_disk_that_is_full_and_copies_on_write_keeps_no_renewal_from_the_keepers() {
    if !is_root() {
        return skip("mounts take root");
    }
    let Some(disk) = Disk::btrfs() else { return skip("no btrfs") };
    let mut world = World::below(&disk.at());
    let mut agent = world.connect();
    let pid = agent.start(&spec("kept", &["sleep", "1000"])).unwrap();
    let keep_until = |agent: &mut crate::harness::Connection, for_ms: u64| {
        let until_us = boottime_us() + for_ms * 1_000;
        assert_eq!(agent.call(&Request::Lease { until_us: Some(until_us) }), Ok(Reply::Leased));
        until_us
    };
    keep_until(&mut agent, 3_600_000);
    fill(&disk.at());
    assert!(fs::write(disk.at().join("more"), [7; 8_192]).is_err(), "the disk is full");
    let first = keep_until(&mut agent, 1_000);
    let second = keep_until(&mut agent, 3_000);
    world.kill_supervisor();
    until("the first lease is over", || boottime_us() > first + 500_000);
    assert!(is_running(pid), "its keeper read the renewal");
    until("its keeper ends it with the second", || !is_running(pid));
    assert!(boottime_us() >= second);
    for number in 0..30 {
        let _ = fs::remove_file(disk.at().join(format!("filler-{number}")));
    }
    world.start();
    assert_eq!(world.subscribe().exit_of("kept").ended_by, EndedBy::LeaseEnded);
}

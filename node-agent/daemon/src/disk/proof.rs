//! Each means on a real file system: it bounds, tells when it is full, is found again, and leaves nothing behind.
//!
//! File systems of other kinds than the machine's own are made in a file and mounted for the test. What the machine cannot do
//! (no root, no program, nothing in the kernel) is skipped with a word that says so.

use super::choose::Choice;
use super::disks::{Disks, Holding};
use super::{image, mounts};
use muster_model::AttemptId;
use muster_model::state::DiskLimit;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

const MIB: u64 = 1 << 20;
const LIMIT: u64 = 4 * MIB;

/// A node's folders on some file system; what is mounted there is gone when it is dropped, also by a failed test.
struct Ground {
    temporary: tempfile::TempDir,
    root: PathBuf,
}

impl Ground {
    /// On the file system of temporary files.
    fn here() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let root = temporary.path().canonicalize().unwrap().join("root");
        fs::create_dir(&root).unwrap();
        Self { temporary, root }
    }

    /// On a file system of its own, made by these words and mounted with these options; `None` with a word if that cannot be.
    fn of(make: &[&str], options: &str) -> Option<Self> {
        if !is_root() {
            return None;
        }
        let ground = Self::here();
        let image = ground.temporary.path().join("image");
        fs::File::create(&image).unwrap().set_len(400 * MIB).unwrap();
        let options = format!("loop,{options}");
        let mount = ["mount", "-o", &options];
        for (words, last) in [(make, None), (&mount[..], Some(&ground.root))] {
            let mut command = Command::new(words[0]);
            let outcome = command.args(&words[1..]).arg(&image).args(last).output();
            let said = match outcome {
                Ok(output) if output.status.success() => continue,
                Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
                Err(error) => error.to_string(),
            };
            eprintln!("skipped: this machine cannot do `{}`: {said}", words.join(" "));
            return None;
        }
        Some(ground)
    }

    fn folder(&self) -> PathBuf {
        self.temporary.path().canonicalize().unwrap().join("agent")
    }

    fn tasks(&self) -> PathBuf {
        self.root.join("workitems")
    }

    fn disks(&self, kind: DiskLimit) -> Arc<Disks> {
        fs::create_dir_all(self.tasks().join("film/job-1")).unwrap();
        Disks::open(Choice::Named(kind), &self.folder(), &self.tasks()).unwrap()
    }

    fn path(&self, task: &str) -> PathBuf {
        self.tasks().join("film/job-1").join(task)
    }

    fn mounted(&self) -> Vec<PathBuf> {
        let below = mounts::all().unwrap().into_iter().map(|mount| mount.point);
        below.filter(|point| point.starts_with(self.tasks())).collect()
    }

    /// Names of what is kept of limits.
    fn kept(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder()).unwrap().flatten();
        let mut names: Vec<_> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let mut points: Vec<_> =
            mounts::all().unwrap_or_default().into_iter().map(|mount| mount.point).collect();
        points.retain(|point| point.starts_with(&self.root));
        for point in points.iter().rev() {
            let _gone_already = image::detach(point);
        }
    }
}

fn is_root() -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        eprintln!("skipped: only root can mount");
    }
    is_root
}

fn attempt(task: &str) -> AttemptId {
    AttemptId { job: "film".parse().unwrap(), task: task.parse().unwrap(), number: 1 }
}

fn make(disks: &Arc<Disks>, ground: &Ground, task: &str) {
    let path = ground.path(task);
    let turn = disks.turn(&path);
    disks.clear(&turn).unwrap();
    disks.make(&turn, &attempt(task), &path, LIMIT).unwrap();
}

/// Writes so much at most; how much was written.
fn write(path: &Path, most: u64) -> u64 {
    let mut file = fs::File::create(path).unwrap();
    let (block, mut written) = (vec![7; 64 * 1024], 0);
    while written < most && file.write_all(&block).is_ok() {
        written += u64::try_from(block.len()).unwrap();
    }
    // Space of what is only in memory may be missing later.
    if file.sync_all().is_err() { written.min(most) } else { written }
}

/// A hard means: a write beyond the limit fails, and the directory is seen to be full then and not before.
fn bounds(ground: &Ground, kind: DiskLimit) {
    let disks = ground.disks(kind);
    assert_eq!((disks.means(), ground.kept()), (Some(kind), vec![]));
    make(&disks, ground, "t");
    make(&disks, ground, "other");
    let path = ground.path("t");
    write(&path.join("half"), LIMIT / 2);
    let usage = disks.last_look(&path).unwrap();
    assert!(!usage.is_full && usage.limit_bytes == LIMIT, "{usage:?}");
    assert!((LIMIT / 3..LIMIT * 2 / 3).contains(&usage.used_bytes), "{usage:?}");
    let written = write(&path.join("rest"), 4 * LIMIT);
    assert!(written < LIMIT * 3 / 4, "{written} bytes more than the limit were written");
    let usage = disks.last_look(&path).unwrap();
    assert!(usage.is_full && usage.peak_bytes > LIMIT * 9 / 10 && usage.over().is_some(), "{usage:?}");
    fs::remove_file(path.join("rest")).unwrap();
    let usage = disks.usage(&path).unwrap();
    assert!(usage.peak_bytes > LIMIT * 9 / 10, "the most is remembered: {usage:?}");
    assert_eq!(write(&ground.path("other").join("file"), LIMIT / 2), LIMIT / 2, "another's limit is its own");
    for task in ["t", "other"] {
        let turn = disks.turn(&ground.path(task));
        disks.clear(&turn).unwrap();
        drop(turn);
        let left = ground.path(task).join("half");
        assert!(kind == DiskLimit::ProjectQuota || !left.exists(), "{}", left.display());
    }
    assert_eq!((ground.kept(), ground.mounted()), (vec![], vec![]));
}

/// What an agent that was killed left is taken over, or removed when nobody holds it.
fn survives(ground: &Ground, kind: DiskLimit) {
    let disks = ground.disks(kind);
    for task in ["held", "ended", "stray"] {
        make(&disks, ground, task);
        fs::write(ground.path(task).join("file"), task).unwrap();
    }
    drop(disks);
    let disks = ground.disks(kind);
    let holding = |task: &str, is_live| Holding { attempt: attempt(task), path: ground.path(task), is_live };
    let strays = disks.take_over(vec![holding("held", true), holding("ended", false)]).unwrap();
    assert_eq!(strays, [ground.path("stray")]);
    assert!(disks.last_look(&ground.path("held")).unwrap().used_bytes < LIMIT / 2);
    assert_eq!(disks.bounded().len(), 1, "what has ended is not looked at");
    for task in ["held", "ended"] {
        assert_eq!(fs::read_to_string(ground.path(task).join("file")).unwrap(), task);
    }
    let written = write(&ground.path("held").join("much"), 4 * LIMIT);
    assert!(written < LIMIT * 5 / 4, "the limit is gone: {written}");
    disks.clear_all();
    assert_eq!((ground.kept(), ground.mounted()), (vec![], vec![]));
}

#[tokio::test]
async fn an_image_bounds_is_found_again_and_leaves_nothing() {
    if is_root() {
        bounds(&Ground::here(), DiskLimit::Loop);
        survives(&Ground::here(), DiskLimit::Loop);
    }
}

#[tokio::test]
async fn memory_bounds_is_found_again_and_leaves_nothing() {
    if is_root() {
        bounds(&Ground::here(), DiskLimit::Tmpfs);
        survives(&Ground::here(), DiskLimit::Tmpfs);
    }
}

#[tokio::test]
async fn btrfs_bounds_is_found_again_and_leaves_nothing() {
    for proof in [bounds, survives] {
        if let Some(ground) = Ground::of(&["mkfs.btrfs", "-q"], "rw") {
            proof(&ground, DiskLimit::Btrfs);
        }
    }
}

#[tokio::test]
async fn project_quotas_of_xfs_and_ext4_bound_are_found_again_and_leave_nothing() {
    let ext4 = ["mke2fs", "-q", "-F", "-t", "ext4", "-O", "quota,project", "-E", "quotatype=prjquota"];
    for make in [&["mkfs.xfs", "-q"][..], &ext4] {
        for proof in [bounds, survives] {
            if let Some(ground) = Ground::of(make, "prjquota") {
                proof(&ground, DiskLimit::ProjectQuota);
            }
        }
    }
}

#[tokio::test]
async fn watching_sees_what_is_too_much_and_needs_no_rights() {
    let ground = Ground::here();
    let disks = ground.disks(DiskLimit::Watch);
    make(&disks, &ground, "t");
    let path = ground.path("t");
    write(&path.join("a"), LIMIT - MIB);
    assert!(!disks.last_look(&path).unwrap().is_full);
    write(&path.join("b"), 2 * MIB);
    let over = disks.last_look(&path).unwrap().over().unwrap();
    assert!(over.limit_bytes == LIMIT && over.used_bytes > LIMIT, "{over:?}");
    let turn = disks.turn(&path);
    disks.clear(&turn).unwrap();
    assert_eq!((ground.kept(), disks.usage(&path)), (vec![], None));
}

#[tokio::test]
async fn an_ended_attempt_s_image_is_unmounted_and_shown_again_to_whoever_reads() {
    if !is_root() {
        return;
    }
    let ground = Ground::here();
    let disks = ground.disks(DiskLimit::Loop);
    for task in ["lives", "ended"] {
        make(&disks, &ground, task);
        fs::write(ground.path(task).join("file"), task).unwrap();
    }
    let path = ground.path("ended");
    disks.rest(&attempt("ended"), &path);
    assert_eq!(ground.mounted().len(), 2, "a few stay mounted");
    let reads = fs::File::open(path.join("file")).unwrap();
    disks.unmount_resting(0);
    assert!(path.join("file").exists(), "it is being read");
    drop(reads);
    disks.unmount_resting(0);
    assert_eq!(ground.mounted(), [ground.path("lives")]);
    // An agent that starts anew finds it asleep.
    drop(disks);
    let disks = ground.disks(DiskLimit::Loop);
    let holding = |task: &str, is_live| Holding { attempt: attempt(task), path: ground.path(task), is_live };
    disks.take_over(vec![holding("lives", true), holding("ended", false)]).unwrap();
    assert!(!path.join("file").exists());
    disks.wake(&path).unwrap();
    assert_eq!(fs::read_to_string(path.join("file")).unwrap(), "ended");
    assert!(fs::write(path.join("more"), "x").is_err(), "what has ended is read and not changed");
    disks.clear_all();
    assert_eq!((ground.kept(), ground.mounted()), (vec![], vec![]));
}

#[tokio::test]
async fn whoever_makes_a_directory_waits_for_the_one_that_removes_it() {
    let ground = Ground::here();
    let disks = ground.disks(DiskLimit::Watch);
    let path = ground.path("t");
    let first = disks.turn(&path);
    let (sender, receiver) = std::sync::mpsc::channel();
    let waits = {
        let (disks, path) = (Arc::clone(&disks), path.clone());
        std::thread::spawn(move || {
            let _turn = disks.turn(&path);
            sender.send("second").unwrap();
        })
    };
    let _another_directory = disks.turn(&ground.path("other"));
    assert!(receiver.try_recv().is_err());
    drop(first);
    assert_eq!(receiver.recv().unwrap(), "second");
    waits.join().unwrap();
}

#[test]
fn without_means_a_limit_is_refused_in_words() {
    let ground = Ground::here();
    fs::create_dir_all(ground.tasks()).unwrap();
    let disks = Disks::open(Choice::None, &ground.folder(), &ground.tasks()).unwrap();
    let path = ground.path("t");
    let turn = disks.turn(&path);
    let failure = disks.make(&turn, &attempt("t"), &path, 77).unwrap_err().failure();
    assert_eq!(failure.cause, muster_model::Cause::LaunchFailed);
    assert!(
        failure.message.contains("disk_bytes = 77") && failure.message.contains("disk_limit"),
        "{failure:?}"
    );
}

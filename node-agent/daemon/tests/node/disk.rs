//! Limits of task directories: what is too much ends the task with the limit and the peak, and nobody else is harmed.
//!
//! How each means bounds is tested beside it; here it is the whole way from the plan to the result. What needs a mount is skipped
//! without root.

use super::controller::{attempt, plan, sha256};
use super::world::{World, eventually};
use muster_proto::wire;
use muster_proto::wire::FailureCause as Cause;
use muster_proto::wire::controller_message::Body;
use std::collections::BTreeMap;
use std::time::Duration;

const MIB: u64 = 1 << 20;
const LIMIT: u64 = 8 * MIB;
/// Writes up to 64 MiB, and fails with its write.
const FILL: &str = "dd if=/dev/zero of=big bs=64k count=1000";
/// How a task waits for the test, after what it does before.
const WAITS: &str = "touch runs; while ! test -e go; do sleep 0.02; done";

fn is_root() -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        println!("skipped: only root can mount");
    }
    is_root
}

fn limited(task: &str, command_line: &str) -> wire::AttemptPlan {
    let limits = wire::AttemptLimits { disk_bytes: LIMIT, ..Default::default() };
    // Kept for a while, as tasks are.
    let retention_time = Some(Duration::from_secs(3600).try_into().unwrap());
    wire::AttemptPlan { limits: Some(limits), retention_time, ..plan(task, command_line) }
}

async fn node_with(setting: &str) -> World {
    let mut world = World::prepare(4).await;
    world.set(setting);
    world.start_agent();
    world.controller.connected(1).await;
    world
}

/// The cause of a failure, with its details.
fn failure(result: &wire::AttemptResult) -> (Cause, BTreeMap<String, String>) {
    let failure = result.failure_info.clone().unwrap_or_default();
    let details = failure.details.iter().map(|detail| (detail.name.clone(), detail.value.clone()));
    (failure.cause(), details.collect())
}

/// Checks that a result is that of a full directory.
fn is_full(result: &wire::AttemptResult) {
    let (cause, details) = failure(result);
    assert_eq!(cause, Cause::DiskFull, "{result:?}");
    let number = |name: &str| details.get(name).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    assert_eq!(number("limit_bytes"), LIMIT);
    assert!((LIMIT * 9 / 10..LIMIT * 16).contains(&number("peak_bytes")), "{details:?}");
}

fn go(world: &World, task: &str) {
    std::fs::write(world.task_dir(task).join("wd/go"), "").unwrap();
}

async fn runs(world: &World, task: &str) {
    eventually(&format!("{task} to run"), || world.task_dir(task).join("wd/runs").exists()).await;
}

async fn remove(world: &World, tasks: &[&str]) {
    let attempts = tasks.iter().map(|task| attempt(task, 1)).collect();
    world.controller.send(Body::RemoveDirectories(wire::RemoveDirectories { attempts }));
    eventually("nothing to be mounted", || world.mounts().is_empty()).await;
    let kept = world.root.join("agent/disks");
    eventually("nothing to be kept of limits", || std::fs::read_dir(&kept).unwrap().count() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_fills_its_image_fails_as_full_and_its_neighbour_does_not_notice() {
    if !is_root() {
        return;
    }
    let world = node_with("disk_limit=loop").await;
    let facts = world.controller.with(|state| state.hellos[0].facts.clone().unwrap());
    assert_eq!(facts.capabilities.unwrap().disk_limit(), wire::DiskLimitMeans::Loop);
    world.controller.assign(vec![
        limited("neighbour", &format!("sh -c '{WAITS}; head -c 4000000 /dev/zero > mine'")),
        limited("fails", &format!("sh -c '{FILL}'")),
        limited("goes-on", &format!("sh -c '{FILL}; sleep 1000'")),
        limited("talks", "sh -c 'yes; sleep 1000'"),
    ]);
    for task in ["fails", "goes-on", "talks"] {
        let result = world.controller.finished(task).await;
        is_full(&result);
        assert!(result.usage.unwrap().peak_disk_bytes > LIMIT * 9 / 10);
        assert!(world.task_dir(task).join("stdout.txt").exists(), "{task} can be read");
    }
    runs(&world, "neighbour").await;
    go(&world, "neighbour");
    let result = world.controller.finished("neighbour").await;
    assert_eq!((result.exit_code, result.failure_info.is_none()), (Some(0), true));
    let peak = result.usage.unwrap().peak_disk_bytes;
    assert!((4_000_000..5_000_000).contains(&peak), "{peak}");
    assert_eq!(world.mounts().len(), 4);
    remove(&world, &["neighbour", "fails", "goes-on", "talks"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn staged_files_count_and_what_does_not_fit_fails_as_full() {
    if !is_root() {
        return;
    }
    let world = node_with("disk_limit=loop").await;
    let content = vec![7_u8; usize::try_from(LIMIT * 2).unwrap()];
    let digest = sha256(&content);
    world.controller.with(|state| state.contents.insert(digest.clone(), content));
    let file = wire::PlannedFile {
        source: Some(wire::planned_file::Source::ContentSha256(digest)),
        file_path: "data".to_owned(),
        file_mode: 0o644,
        ..Default::default()
    };
    let plan = wire::AttemptPlan { resource_files: vec![file], ..limited("t", "true") };
    let result = world.controller.run(plan).await;
    is_full(&result);
    assert!(result.start_time.is_none());
    let message = result.failure_info.unwrap().message;
    // Whoever writes meets the limit first, or whoever watches the directory.
    let told = ["do not fit into the task's limit", "reached its limit of 8388608 bytes"];
    assert!(told.iter().any(|words| message.contains(words)), "{message}");
    remove(&world, &["t"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_outlives_the_agent_and_what_is_nobody_s_is_removed() {
    if !is_root() {
        return;
    }
    let mut world = node_with("disk_limit=loop").await;
    let line = format!("sh -c '{WAITS}; {FILL}'");
    world.controller.assign(vec![limited("t", &line), limited("over", "true")]);
    runs(&world, "t").await;
    world.controller.finished("over").await;
    world.kill_agent();
    // An agent that was killed while it made a directory leaves it without anybody who knows of it.
    let stray = world.root.join("batch/workitems/job/job-1/stray");
    std::fs::create_dir(&stray).unwrap();
    std::fs::write(world.root.join("agent/disks/job~job-1~stray.limit"), "loop 1000000 0").unwrap();
    let flags = nix::mount::MsFlags::empty();
    nix::mount::mount(Some("tmpfs"), &stray, Some("tmpfs"), flags, None::<&str>).unwrap();
    world.start_agent();
    world.controller.connected(2).await;
    assert!(!world.mounts().contains(&stray) && !stray.exists());
    assert!(!world.root.join("agent/disks/job~job-1~stray.limit").exists());
    go(&world, "t");
    is_full(&world.controller.finished("t").await);
    remove(&world, &["t", "over"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_attempt_gets_an_empty_directory_with_its_own_limit() {
    if !is_root() {
        return;
    }
    let world = node_with("disk_limit=tmpfs").await;
    is_full(&world.controller.run(limited("t", &format!("sh -c '{FILL}'"))).await);
    let second = wire::AttemptPlan {
        attempt: Some(attempt("t", 2)),
        ..limited("t", "sh -c 'test ! -e big && head -c 6000000 /dev/zero > big'")
    };
    world.controller.assign(vec![second]);
    let finished = |world: &World| world.controller.finishes("t").len() == 2;
    eventually("the second attempt to finish", || finished(&world)).await;
    assert_eq!(world.controller.finishes("t")[1].exit_code, Some(0));
    assert_eq!(world.mounts().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_directories_are_only_watched_what_has_too_much_is_ended() {
    let world = node_with("disk_limit=watch").await;
    let facts = world.controller.with(|state| state.hellos[0].facts.clone().unwrap());
    assert_eq!(facts.capabilities.unwrap().disk_limit(), wire::DiskLimitMeans::Watch);
    is_full(&world.controller.run(limited("t", &format!("sh -c '{FILL}; sleep 1000'"))).await);
    let result = world.controller.run(limited("small", "sh -c 'head -c 1000000 /dev/zero > x'")).await;
    assert_eq!(result.exit_code, Some(0));
    assert!(result.usage.unwrap().peak_disk_bytes >= 1_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_bounds_nothing_refuses_a_limit_in_words_and_runs_what_has_none() {
    let world = node_with("disk_limit=none").await;
    let facts = world.controller.with(|state| state.hellos[0].facts.clone().unwrap());
    assert_eq!(facts.capabilities.unwrap().disk_limit(), wire::DiskLimitMeans::Unspecified);
    let result = world.controller.run(limited("t", "true")).await;
    let (cause, _) = failure(&result);
    let message = result.failure_info.unwrap().message;
    assert!(cause == Cause::LaunchFailed && message.contains("disk_limit is none"), "{message}");
    assert_eq!(world.controller.run(plan("free", "true")).await.exit_code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_takes_its_tasks_along_leaves_nothing_mounted() {
    if !is_root() {
        return;
    }
    let mut world = World::prepare(4).await;
    world.set("disk_limit=loop");
    world.flag("--stop-tasks-on-exit");
    world.start_agent();
    world.controller.connected(1).await;
    world.controller.run(limited("over", "sh -c 'echo kept > file'")).await;
    world.controller.assign(vec![limited("lives", &format!("sh -c '{WAITS}'"))]);
    runs(&world, "lives").await;
    assert_eq!(world.mounts().len(), 2);
    world.signal_agent(nix::sys::signal::Signal::SIGTERM);
    world.agent_ended().await;
    assert_eq!(world.mounts(), Vec::<std::path::PathBuf>::new());
}

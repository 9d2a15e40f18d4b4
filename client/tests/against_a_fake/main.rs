//! The client against a controller that fails as a test wants: retries, transfers, watches, waits, logs, streams of tasks.
//!
//! Each test sets up a `Fake` with its faults, uses the client as a program would, and looks at both ends: what came out
//! here and what arrived there. What needs real daemons is in tests/e2e.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, its helpers too"
)]

mod busy;
mod nodes;
mod support;
mod task_streams;
mod watches;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use muster_client::logs::{LogEvent, OutputStream};
use muster_client::transfer::{Download, Progress, Silent, TransferError, find_files};
use muster_client::{CallError, Client, ErrorKind};
use muster_proto::convert::status_busy;
use muster_proto::wire;
use muster_proto::wire::read_file_response::Body;
use support::Fake;
use support::files::sha256;
use tonic::{Code, Status};

/// Long enough for a loaded machine; what hangs fails here.
const LIMIT: Duration = Duration::from_secs(30);

async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, work).await.expect("it hangs")
}

/// Bytes that do not repeat.
fn content(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

fn name(container: &str, path: &str) -> wire::FileStorePath {
    wire::FileStorePath { container: container.to_owned(), path: path.to_owned() }
}

// ------------------------------------------------------------------------------------------------- calls

#[tokio::test]
async fn a_mutation_is_tried_again_with_the_same_request_id() {
    let fake = Fake::default();
    fake.world().files.put("c", "old", b"content");
    fake.world().faults = vec![
        Status::unavailable("down"),
        status_busy(Code::ResourceExhausted, "busy", Duration::from_millis(1)),
    ];
    let client = fake.serve().await;
    let link = wire::FileLink { name: Some(name("c", "new")), sha256: sha256(b"content") };
    let results = in_time(client.link_files(vec![link])).await.unwrap();
    assert!(results[0].error.is_none());
    let ids = fake.world().request_ids.clone();
    assert_eq!(ids.len(), 3);
    assert!(!ids[0].is_empty() && ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}

#[tokio::test]
async fn a_refusal_is_not_tried_again() {
    let fake = Fake::default();
    let client = fake.serve().await;
    let error = in_time(client.get_file_info(name("c", "none"))).await.unwrap_err();
    assert_eq!((error.kind(), error.reason()), (ErrorKind::NotFound, Some(wire::ErrorReason::FileNotFound)));
    assert_eq!(error.to_string(), "no file 'none'");
    fake.world().faults = vec![Status::aborted("etag"), Status::aborted("second")];
    let error = in_time(client.get_file_info(name("c", "none"))).await.unwrap_err();
    assert_eq!(error.to_string(), "etag");
    assert_eq!(fake.world().faults.len(), 1);
}

#[tokio::test]
async fn a_change_is_made_anew_when_the_task_has_changed_meanwhile() {
    let fake = Fake::default();
    let limit = wire::TaskConstraints { max_task_retry_count: Some(1), ..Default::default() };
    let task = wire::Task { constraints: Some(limit), etag: "1".into(), ..Default::default() };
    fake.world().tasks.task.send_replace(task);
    fake.world().tasks.etags = vec!["3".into(), "2".into()];
    let client = fake.serve().await;
    let second = prost_types::Duration { seconds: 1, nanos: 0 };
    let change = |limits: &mut wire::TaskConstraints| limits.max_wall_clock_time = Some(second);
    let changed = in_time(client.change_task("j", "t", change)).await.unwrap().constraints.unwrap();
    assert_eq!((changed.max_wall_clock_time, changed.max_task_retry_count), (Some(second), Some(1)));
    // One that never keeps still is told, and not tried for ever.
    fake.world().tasks.etags = (10..30).map(|etag| etag.to_string()).collect();
    let error = in_time(client.change_task("j", "t", change)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(fake.world().tasks.etags.len(), 15);
}

#[tokio::test]
async fn a_controller_that_stays_away_is_an_error_in_words() {
    // Nobody listens on the port of a listener that is gone.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = in_time(support::client(&format!("http://{port}")).get_version()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let CallError::Unreachable { attempts, .. } = &error else { panic!("{error:?}") };
    assert_eq!(*attempts, 6);
    assert!(error.to_string().contains("https://fake.example.org:7140 (tried 6 times)"), "{error}");
}

#[tokio::test]
async fn tasks_that_a_busy_controller_did_not_take_are_given_again() {
    let fake = Fake::default();
    fake.world().tasks.busy = vec!["2".into(), "2".into(), "3".into()];
    fake.world().tasks.added = vec!["4".into()];
    let client = fake.serve().await;
    let task = |id: u32| wire::Task { id: id.to_string(), ..Default::default() };
    let added = in_time(client.create_tasks("job", (1..=4).map(task).collect())).await.unwrap();
    let told: Vec<(&str, bool)> =
        added.iter().map(|added| (added.task_id.as_str(), added.refusal.is_none())).collect();
    assert_eq!(told, [("1", true), ("2", true), ("3", true), ("4", false)]);
    assert_eq!(fake.world().tasks.added, ["4", "1", "3", "2"]);
    let ids = fake.world().request_ids.clone();
    assert_eq!(
        ids.iter().collect::<std::collections::BTreeSet<_>>().len(),
        3,
        "a new batch is a new request"
    );
}

// ------------------------------------------------------------------------------------------------ upload

#[derive(Default)]
struct Counted {
    expected: AtomicU64,
    moved: AtomicU64,
    skipped: AtomicU64,
}

impl Progress for Counted {
    fn expect(&self, bytes: u64) {
        self.expected.fetch_add(bytes, Ordering::Relaxed);
    }
    fn moved(&self, bytes: u64) {
        self.moved.fetch_add(bytes, Ordering::Relaxed);
    }
    fn skipped(&self, bytes: u64) {
        self.skipped.fetch_add(bytes, Ordering::Relaxed);
    }
}

async fn upload(client: &Client, folder: &Path) -> Result<muster_client::transfer::Uploaded, TransferError> {
    in_time(client.upload("in", find_files(folder, "").unwrap(), Arc::new(Silent))).await
}

#[tokio::test]
async fn what_is_there_is_named_and_one_content_is_sent_once() {
    let fake = Fake::default();
    fake.world().files.put("old", "x", b"there already");
    let client = fake.serve().await;
    let folder = tempfile::tempdir().unwrap();
    for (file, bytes) in [("a", "there already"), ("b", "new"), ("c", "new"), ("d", "")] {
        std::fs::write(folder.path().join(file), bytes).unwrap();
    }
    let counted = Arc::new(Counted::default());
    let files = find_files(folder.path(), "").unwrap();
    let done = in_time(client.upload("in", files, counted.clone())).await.unwrap();
    assert_eq!((done.files, done.bytes, done.sent_bytes), (4, 19, 3));
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    assert_eq!((count(&counted.expected), count(&counted.moved), count(&counted.skipped)), (19, 3, 16));
    let world = fake.world();
    assert_eq!(world.files.puts, 2, "'new' and the empty file");
    for (file, bytes) in [("a", "there already"), ("b", "new"), ("c", "new"), ("d", "")] {
        assert_eq!(world.files.read("in", file), Some(bytes.as_bytes()), "{file}");
    }
}

#[tokio::test]
async fn an_upload_that_breaks_goes_on_where_the_controller_has_it() {
    let fake = Fake::default();
    fake.world().files.break_put_at = Some(600_000);
    let client = fake.serve().await;
    let folder = tempfile::tempdir().unwrap();
    let bytes = content(2_000_000, 1);
    std::fs::write(folder.path().join("big"), &bytes).unwrap();
    upload(&client, folder.path()).await.unwrap();
    let world = fake.world();
    assert_eq!(world.files.puts, 2);
    assert_eq!(world.files.put_bytes, bytes.len(), "no byte arrived twice");
    assert!(world.files.read("in", "big") == Some(&bytes));
}

#[tokio::test]
async fn content_that_vanishes_before_it_is_named_is_sent() {
    let fake = Fake::default();
    let client = fake.serve().await;
    let folder = tempfile::tempdir().unwrap();
    for file in ["a", "b"] {
        std::fs::write(folder.path().join(file), "same").unwrap();
    }
    // The first upload gives the content; then it is taken away between the answer and the names.
    fake.world().files.contents.insert(sha256(b"same"), b"same".to_vec());
    let taken = fake.clone();
    let files = find_files(folder.path(), "").unwrap();
    let remove = Arc::new(OnExpect(move || {
        taken.world().faults.push(Status::unavailable("slow"));
    }));
    in_time(client.upload("in", files, remove)).await.unwrap();
    assert_eq!(fake.world().files.read("in", "b"), Some(&b"same"[..]));
}

struct OnExpect<F>(F);

impl<F: Fn() + Send + Sync> Progress for OnExpect<F> {
    fn expect(&self, _bytes: u64) {
        (self.0)();
    }
    fn moved(&self, _bytes: u64) {}
    fn skipped(&self, _bytes: u64) {}
}

#[tokio::test]
async fn a_refused_upload_is_an_error_and_not_tried_for_ever() {
    let fake = Fake::default();
    let client = fake.serve().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a"), "x").unwrap();
    fake.world().faults = vec![Status::permission_denied("read-only token")];
    let error = upload(&client, folder.path()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
}

// ---------------------------------------------------------------------------------------------- download

fn download(folder: &Path, bytes: &[u8]) -> Download {
    Download {
        name: name("out", "dir/file"),
        sha256: sha256(bytes),
        size: bytes.len() as u64,
        target: folder.join("dir/file"),
    }
}

fn leftovers(folder: &Path) -> usize {
    std::fs::read_dir(folder.join("dir")).map_or(0, |entries| {
        entries
            .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().ends_with(".part"))
            .count()
    })
}

#[tokio::test]
async fn a_download_that_breaks_goes_on_where_it_was() {
    let fake = Fake::default();
    let bytes = content(50_000, 2);
    fake.world().files.put("out", "dir/file", &bytes);
    fake.world().files.break_get_at = Some(20_000);
    let client = fake.serve().await;
    let folder = tempfile::tempdir().unwrap();
    let file = download(folder.path(), &bytes);
    let done = in_time(client.download(vec![file], Arc::new(Silent))).await.unwrap();
    assert_eq!((done.files, done.fetched_bytes), (1, 50_000));
    assert!(std::fs::read(folder.path().join("dir/file")).unwrap() == bytes);
    assert_eq!(fake.world().files.get_offsets, [0, 20_000]);
    assert_eq!(leftovers(folder.path()), 0);
}

#[tokio::test]
async fn a_part_of_an_earlier_run_is_not_fetched_again() {
    let fake = Fake::default();
    let bytes = content(50_000, 3);
    fake.world().files.put("out", "dir/file", &bytes);
    let client = fake.serve().await;
    let folder = tempfile::tempdir().unwrap();
    let file = download(folder.path(), &bytes);
    std::fs::create_dir(folder.path().join("dir")).unwrap();
    let part = format!("dir/.file.{}.part", &file.sha256[..16]);
    std::fs::write(folder.path().join(part), &bytes[..30_000]).unwrap();
    let done = in_time(client.download(vec![file.clone()], Arc::new(Silent))).await.unwrap();
    assert_eq!(done.fetched_bytes, 20_000);
    assert!(std::fs::read(&file.target).unwrap() == bytes);
    let again = in_time(client.download(vec![file], Arc::new(Silent))).await.unwrap();
    assert_eq!(again.fetched_bytes, 0);
    assert_eq!(fake.world().files.get_offsets, [30_000], "what is there is left alone");
}

#[tokio::test]
async fn damaged_content_never_gets_the_final_name() {
    let fake = Fake::default();
    let bytes = content(5_000, 4);
    fake.world().files.put("out", "dir/file", &bytes);
    fake.world().files.corrupt = true;
    let client = fake.serve().await;
    let folder = tempfile::tempdir().unwrap();
    let file = download(folder.path(), &bytes);
    let error = in_time(client.download(vec![file.clone()], Arc::new(Silent))).await.unwrap_err();
    assert!(matches!(error, TransferError::Corrupt { .. }), "{error}");
    assert!(!file.target.exists());
    assert_eq!(leftovers(folder.path()), 0);
}

#[tokio::test]
async fn an_empty_file_is_made_and_a_missing_one_is_an_error() {
    let fake = Fake::default();
    fake.world().files.put("out", "dir/file", b"");
    let client = fake.serve().await;
    let folder = tempfile::tempdir().unwrap();
    let file = download(folder.path(), b"");
    in_time(client.download(vec![file.clone()], Arc::new(Silent))).await.unwrap();
    assert_eq!(std::fs::read(&file.target).unwrap(), b"");
    let missing = Download { name: name("out", "none"), target: folder.path().join("none"), ..file };
    let error = in_time(client.download(vec![missing], Arc::new(Silent))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn a_path_that_leaves_the_folder_is_refused() {
    let folder = Path::new("/tmp/x");
    let info = |path: &str| wire::FileInfo { name: Some(name("out", path)), ..Default::default() };
    assert!(Download::below(folder, &info("a/../../etc/passwd"), 0).is_err());
    assert!(Download::below(folder, &info("/etc/passwd/.."), 0).is_err());
    let below = Download::below(folder, &info("frames/1.png"), "frames/".len()).unwrap();
    assert_eq!(below.target, Path::new("/tmp/x/1.png"));
}

// --------------------------------------------------------------------------------------------------- logs

fn task(state: wire::TaskState, attempt: u32, stdout_bytes: u64) -> wire::Task {
    let stdout = Some(wire::OutputExcerpt { total_bytes: stdout_bytes, ..Default::default() });
    wire::Task { id: "t".into(), state: state.into(), attempt, stdout, ..Default::default() }
}

fn bytes(text: &'static str) -> Result<Body, Status> {
    Ok(Body::Chunk(Bytes::from_static(text.as_bytes())))
}

#[tokio::test]
async fn output_is_followed_across_breaks_and_attempts_byte_for_byte() {
    let fake = Fake::default();
    fake.world().tasks.task.send_replace(task(wire::TaskState::Running, 1, 0));
    fake.world().tasks.read_plans = vec![
        (1, vec![bytes("one "), Err(Status::unavailable("broken on purpose"))]),
        (1, vec![bytes("two "), bytes("three")]),
        (2, vec![bytes("again")]),
    ];
    let client = fake.serve().await;
    let feed = client.watch_task("j", "t").into_feed();
    let mut log = client.follow_log("j", "t", OutputStream::Stdout, feed);
    let mut text = String::new();
    while text != "one two three" {
        match in_time(log.next()).await.unwrap().unwrap() {
            LogEvent::Bytes(bytes) => text.push_str(std::str::from_utf8(&bytes).unwrap()),
            LogEvent::Attempt { number, .. } => assert_eq!((number, text.as_str()), (1, "")),
            LogEvent::Gap { .. } => panic!("nothing is lost"),
        }
    }
    assert_eq!(fake.world().tasks.reads[..2], [(1, 0, true), (1, 4, true)]);
    fake.world().tasks.task.send_replace(task(wire::TaskState::Completed, 2, 5));
    assert!(matches!(in_time(log.next()).await.unwrap(), Some(LogEvent::Attempt { number: 2, .. })));
    assert_eq!(in_time(log.next()).await.unwrap(), Some(LogEvent::Bytes(Bytes::from_static(b"again"))));
    assert_eq!(in_time(log.next()).await.unwrap(), None);
}

#[tokio::test]
async fn output_that_nobody_has_any_more_is_told_as_a_gap() {
    let fake = Fake::default();
    fake.world().tasks.task.send_replace(task(wire::TaskState::Completed, 1, 100));
    let gap = wire::ReadFileGap { skipped_bytes: 90 };
    fake.world().tasks.read_plans = vec![(1, vec![bytes("start"), Ok(Body::Gap(gap)), bytes("e")])];
    let client = fake.serve().await;
    let feed = client.watch_task("j", "t").into_feed();
    let mut log = client.follow_log("j", "t", OutputStream::Stdout, feed);
    let mut events = Vec::new();
    while let Some(event) = in_time(log.next()).await.unwrap() {
        events.push(event);
    }
    let text = |text: &'static str| LogEvent::Bytes(Bytes::from_static(text.as_bytes()));
    let first = LogEvent::Attempt { number: 1, node_id: String::new() };
    let expected = [first, text("start"), LogEvent::Gap { bytes: 90 }, text("e"), LogEvent::Gap { bytes: 4 }];
    assert_eq!(events, expected);
}

#[tokio::test]
async fn a_task_that_never_ran_has_no_output() {
    let fake = Fake::default();
    fake.world().tasks.task.send_replace(task(wire::TaskState::Completed, 0, 0));
    let client = fake.serve().await;
    let feed = client.watch_task("j", "t").into_feed();
    let mut log = client.follow_log("j", "t", OutputStream::Stdout, feed);
    assert_eq!(in_time(log.next()).await.unwrap(), None);
    assert!(fake.world().tasks.reads.is_empty());
}

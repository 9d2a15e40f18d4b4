//! A controller that is busy and says when to come back: every path of the client waits as long, goes on, and loses nothing.
//!
//! Each test refuses more often than the client tries a controller that cannot be reached, and measures that it waited.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use muster_client::transfer::{Download, Silent, find_files};
use muster_client::{Client, ErrorKind, TasksEvent, Waiting};
use muster_proto::convert::status_busy;
use muster_proto::wire;
use tonic::{Code, Status};

use crate::support::files::sha256;
use crate::support::tasks::{BUSY_FOR, StreamFault};
use crate::support::{Fake, client_that_waits};
use crate::{in_time, name};

/// More refusals than tries of a controller that is away.
const REFUSALS: u32 = 10;

fn busy() -> Status {
    status_busy(Code::ResourceExhausted, "account 'render' makes too many calls: wait", BUSY_FOR)
}

fn refusals() -> Vec<Status> {
    (0..REFUSALS).map(|_| busy()).collect()
}

/// A client that writes down what it waits for.
fn listening(client: Client) -> (Client, Arc<Mutex<Vec<Waiting>>>) {
    let told = Arc::<Mutex<Vec<Waiting>>>::default();
    let to = Arc::clone(&told);
    (client.on_wait(move |waiting| to.lock().unwrap().push(waiting.clone())), told)
}

#[tokio::test]
async fn a_call_waits_as_long_as_it_is_told_and_says_so() {
    let fake = Fake::default();
    fake.world().files.put("c", "f", b"content");
    fake.world().faults = refusals();
    let (client, told) = listening(fake.serve().await);
    let started = Instant::now();
    in_time(client.get_file_info(name("c", "f"))).await.unwrap();
    assert!(started.elapsed() >= BUSY_FOR * REFUSALS, "{:?}", started.elapsed());
    let told = told.lock().unwrap();
    assert_eq!(told.len(), 10);
    assert!(
        told.iter().all(|one| one.why == "account 'render' makes too many calls" && one.wait >= BUSY_FOR)
    );
    assert!(told[9].waited >= BUSY_FOR * 9 && told[0].waited == Duration::ZERO);
}

#[tokio::test]
async fn a_call_gives_up_when_it_has_waited_long_enough_and_says_why() {
    let fake = Fake::default();
    fake.world().faults = refusals();
    let client = client_that_waits(&fake.serve_at().await, BUSY_FOR * 3);
    let error = in_time(client.get_file_info(name("c", "f"))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("makes too many calls: wait\ntry again in"), "{error}");
    assert!(fake.world().faults.len() >= 7);
}

#[tokio::test]
async fn a_stream_of_tasks_that_is_refused_midway_goes_on_with_every_task_once() {
    let fake = Fake::default();
    fake.world().tasks.stream_faults =
        (0..u64::from(REFUSALS)).map(|chunk| StreamFault::Busy(chunk / 5 * 3000)).collect();
    let (client, told) = listening(fake.serve().await);
    let lines: String =
        (0..5000).map(|id| format!("{{\"id\": \"{id}\", \"command_line\": \"true\"}}\n")).collect();
    let started = Instant::now();
    let adding = client.add_task_lines("j", "s", lines.as_bytes(), |_| {});
    let summary = in_time(adding).await.unwrap();
    assert_eq!((summary.added, summary.refused), (5000, 0));
    assert!(started.elapsed() >= BUSY_FOR * REFUSALS, "{:?}", started.elapsed());
    let world = fake.world();
    let ids = &world.tasks.streams["s"].ids;
    assert!(ids.len() == 5000 && ids.iter().zip(0..).all(|(id, number): (_, u32)| *id == number.to_string()));
    assert_eq!(told.lock().unwrap().len(), 10);
}

#[tokio::test]
async fn uploads_and_downloads_wait_and_go_on() {
    let fake = Fake::default();
    let client = fake.serve().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("f"), b"content").unwrap();
    // Half of them meet the question what is missing, the others the upload itself.
    fake.world().faults = refusals();
    fake.world().files.break_put_at = Some(1);
    let started = Instant::now();
    let files = find_files(folder.path(), "").unwrap();
    in_time(client.upload("in", files, Arc::new(Silent))).await.unwrap();
    assert!(started.elapsed() >= BUSY_FOR * REFUSALS, "{:?}", started.elapsed());
    assert_eq!(fake.world().files.read("in", "f"), Some(b"content".as_slice()));

    fake.world().faults = refusals();
    let target = folder.path().join("back");
    let download =
        Download { name: name("in", "f"), sha256: sha256(b"content"), size: 7, target: target.clone() };
    let started = Instant::now();
    in_time(client.download(vec![download], Arc::new(Silent))).await.unwrap();
    assert!(started.elapsed() >= BUSY_FOR * REFUSALS, "{:?}", started.elapsed());
    assert_eq!(std::fs::read(target).unwrap(), b"content");
}

#[tokio::test]
async fn an_upload_whose_every_try_is_refused_keeps_trying() {
    let fake = Fake::default();
    let client = fake.serve().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("f"), b"content").unwrap();
    // The questions in between are answered: only the uploads meet a busy controller.
    fake.world().files.busy_puts = REFUSALS;
    let files = find_files(folder.path(), "").unwrap();
    in_time(client.upload("in", files, Arc::new(Silent))).await.unwrap();
    assert_eq!(fake.world().files.busy_puts, 0);
}

#[tokio::test]
async fn a_watch_that_was_dropped_for_not_reading_goes_on_where_it_was() {
    let fake = Fake::default();
    let event = |revision: u64, id: &str| {
        let task = wire::Task { id: id.to_owned(), ..Default::default() };
        Ok(wire::WatchTasksResponse { revision, changed: vec![task], ..Default::default() })
    };
    let mut plan = vec![vec![event(1, "listed"), event(5, "a"), Err(busy())]];
    plan.extend((0..REFUSALS).map(|_| vec![Err(busy())]));
    plan.push(vec![event(6, "b")]);
    fake.world().tasks.task_events = plan;
    let client = fake.serve().await;
    let mut watch = client.watch_tasks("j");
    let started = Instant::now();
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(match in_time(watch.next()).await.unwrap().unwrap() {
            TasksEvent::ListAnew => "list".to_owned(),
            TasksEvent::Changed { tasks, .. } => tasks[0].id.clone(),
        });
    }
    assert_eq!(seen, ["list", "a", "b"]);
    assert!(started.elapsed() >= BUSY_FOR * REFUSALS, "{:?}", started.elapsed());
    let resumed = fake.world().tasks.resumed.clone();
    assert!(resumed.len() > 10 && resumed[1..].iter().all(|revision| *revision == Some(5)), "{resumed:?}");
}

//! Watches against a controller that breaks off: they go on after the last event, or anew when that is too old.
//!
//! The fake keeps the revision that each watch asked to go on after.

use muster_client::TasksEvent;
use muster_proto::convert::status;
use muster_proto::wire;
use tonic::{Code, Status};

use crate::support::Fake;
use crate::{in_time, task};

#[tokio::test]
async fn a_watch_goes_on_after_a_break_and_ends_when_the_task_does() {
    let fake = Fake::default();
    fake.world().tasks.break_watch = true;
    fake.world().tasks.task.send_replace(task(wire::TaskState::Running, 1, 0));
    let client = fake.serve().await;
    let mut watch = client.watch_task("j", "t");
    for _ in 0..2 {
        let seen = in_time(watch.next()).await.unwrap().unwrap();
        assert_eq!(seen.state(), wire::TaskState::Running);
    }
    fake.world().tasks.task.send_replace(task(wire::TaskState::Completed, 1, 0));
    assert_eq!(in_time(watch.next()).await.unwrap().unwrap().state(), wire::TaskState::Completed);
    assert!(in_time(watch.next()).await.unwrap().is_none());
    assert_eq!(fake.world().tasks.resumed, [None, Some(7)]);
}

#[tokio::test]
async fn a_watch_starts_anew_when_its_revision_is_too_old() {
    let fake = Fake::default();
    fake.world().tasks.break_watch = true;
    fake.world().tasks.oldest = 8;
    fake.world().tasks.task.send_replace(task(wire::TaskState::Running, 1, 0));
    let client = fake.serve().await;
    let mut watch = client.watch_task("j", "t");
    for _ in 0..2 {
        assert_eq!(in_time(watch.next()).await.unwrap().unwrap().state(), wire::TaskState::Running);
    }
    assert_eq!(fake.world().tasks.resumed, [None, Some(7), None]);
}

fn event(revision: u64, changed: &[&str]) -> Result<wire::WatchTasksResponse, Status> {
    let task = |id: &&str| wire::Task { id: (*id).to_owned(), ..Default::default() };
    Ok(wire::WatchTasksResponse {
        revision,
        changed: changed.iter().map(task).collect(),
        ..Default::default()
    })
}

/// An event in a word: the ids of tasks, or that one has to list anew.
fn word(event: Option<TasksEvent>) -> String {
    match event {
        None => "gone".to_owned(),
        Some(TasksEvent::ListAnew) => "list".to_owned(),
        Some(TasksEvent::Changed { tasks, deleted, sweeps }) => {
            let ids = tasks.into_iter().map(|task| task.id);
            ids.chain(deleted).chain(sweeps).collect::<Vec<_>>().join(" ")
        }
    }
}

#[tokio::test]
async fn changes_among_tasks_are_told_once_and_gaps_are_told_too() {
    let fake = Fake::default();
    let broken = || Err(Status::unavailable("broken on purpose"));
    let too_old = || Err(status(Code::OutOfRange, wire::ErrorReason::RevisionTooOld, "too old"));
    let overflow = wire::WatchTasksResponse { revision: 30, overflow: true, ..Default::default() };
    let mut last = event(41, &[]).unwrap();
    last.job_deleted = true;
    let mut gone = event(40, &["e"]).unwrap();
    (gone.deleted_task_ids, gone.changed_sweep_ids) = (vec!["x".into()], vec!["s".into()]);
    fake.world().tasks.task_events = vec![
        vec![event(10, &[]), event(11, &["a"]), event(12, &[]), broken()],
        vec![event(13, &["b", "c"]), broken()],
        vec![too_old()],
        vec![event(20, &[]), event(21, &["d"]), Ok(overflow), Ok(gone), Ok(last)],
    ];
    let client = fake.serve().await;
    let mut watch = client.watch_tasks("j");
    for expected in ["list", "a", "b c", "list", "d", "list", "e x s", "gone", "gone"] {
        assert_eq!(word(in_time(watch.next()).await.unwrap()), expected);
    }
    assert_eq!(fake.world().tasks.resumed, [None, Some(12), Some(13), None]);
}

//! Watches that go on after a broken connection, and the watch of all tasks of a job.
//!
//! What is tried is that a client that resumes hears of everything that changed meanwhile and of nothing else, and that one
//! which comes back too late is told so.

use super::super::testing::soon;
use super::studio::{Studio, create_sweep, job, sweep, task};
use muster_proto::convert::reason_of;
use muster_proto::wire::watch_pools_response::Event;
use muster_proto::wire::{self, ErrorReason, TaskState};
use tonic::{Code, Streaming};

async fn next<T>(stream: &mut Streaming<T>) -> T {
    soon(stream.message()).await.unwrap().expect("the stream goes on")
}

fn of_tasks(resume_revision: Option<u64>) -> wire::WatchTasksRequest {
    wire::WatchTasksRequest { job_id: "film".into(), resume_revision }
}

fn of_task(id: &str, resume_revision: Option<u64>) -> wire::WatchTaskRequest {
    wire::WatchTaskRequest {
        job_id: "film".into(),
        task_id: id.into(),
        resume_revision,
        ..Default::default()
    }
}

fn of_job(resume_revision: Option<u64>) -> wire::WatchJobRequest {
    wire::WatchJobRequest { job_id: "film".into(), resume_revision, ..Default::default() }
}

#[tokio::test]
async fn a_watch_of_a_task_resumes_without_what_the_client_has_seen() {
    let mut studio = Studio::with_film().await;
    studio.add(task("a")).await;
    let mut stream = studio.tasks.watch_task(of_task("a", None)).await.unwrap().into_inner();
    let seen = next(&mut stream).await;
    assert!(seen.revision > 0 && seen.task.is_some());
    drop(stream);
    studio.add(task("b")).await;
    let mut again = studio.tasks.watch_task(of_task("a", Some(seen.revision))).await.unwrap().into_inner();
    let end = |id: &str| wire::TerminateTaskRequest {
        job_id: "film".into(),
        task_id: id.into(),
        ..Default::default()
    };
    studio.tasks.terminate_task(end("a")).await.unwrap();
    let ended = next(&mut again).await;
    assert_eq!(ended.task.unwrap().state(), TaskState::Completed, "nothing came before that");
    drop(again);

    let delete = wire::DeleteTaskRequest { job_id: "film".into(), task_id: "a".into(), ..Default::default() };
    studio.tasks.delete_task(delete).await.unwrap();
    let mut late = studio.tasks.watch_task(of_task("a", Some(ended.revision))).await.unwrap().into_inner();
    assert!(next(&mut late).await.deleted, "it went while nobody watched");
    assert!(soon(late.message()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_watch_that_has_nothing_more_to_tell_ends_when_it_is_resumed() {
    let mut studio = Studio::with_film().await;
    studio.add(task("a")).await;
    let end = wire::TerminateTaskRequest { job_id: "film".into(), task_id: "a".into(), ..Default::default() };
    studio.tasks.terminate_task(end).await.unwrap();
    let until = |request| wire::WatchTaskRequest { until_completed: true, ..request };
    let mut stream = studio.tasks.watch_task(until(of_task("a", None))).await.unwrap().into_inner();
    let last = next(&mut stream).await.revision;
    drop(stream);
    let mut again = studio.tasks.watch_task(until(of_task("a", Some(last)))).await.unwrap().into_inner();
    while let Some(event) = soon(again.message()).await.unwrap() {
        assert_eq!(event.task.unwrap().state(), TaskState::Completed);
    }
    let whole = wire::WatchJobRequest { until_complete: true, ..of_job(Some(last)) };
    let mut whole = studio.jobs.watch_job(whole).await.unwrap().into_inner();
    while soon(whole.message()).await.unwrap().is_some() {}
}

#[tokio::test]
async fn a_watch_of_a_job_resumes_with_what_has_changed() {
    let mut studio = Studio::with_film().await;
    let mut stream = studio.jobs.watch_job(of_job(None)).await.unwrap().into_inner();
    let seen = next(&mut stream).await.revision;
    drop(stream);
    studio.make(job("other")).await;
    let mut again = studio.jobs.watch_job(of_job(Some(seen))).await.unwrap().into_inner();
    studio.add(task("a")).await;
    let event = next(&mut again).await;
    assert_eq!(event.counts.unwrap().task_counts.unwrap().active, 1);
    drop(again);
    studio
        .jobs
        .delete_job(wire::DeleteJobRequest { job_id: "film".into(), ..Default::default() })
        .await
        .unwrap();
    let mut late = studio.jobs.watch_job(of_job(Some(event.revision))).await.unwrap().into_inner();
    assert!(next(&mut late).await.deleted);
    let mut tasks = studio.tasks.watch_tasks(of_tasks(Some(event.revision))).await.unwrap().into_inner();
    assert!(next(&mut tasks).await.job_deleted);
    assert!(soon(tasks.message()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_revision_that_is_not_known_is_refused_by_every_watch() {
    let mut studio = Studio::with_film().await;
    studio.add(task("a")).await;
    // One of an earlier start of the controller, and one that has not come yet.
    for unknown in [0, 1, u64::MAX] {
        let pools = wire::WatchPoolsRequest { resume_revision: Some(unknown), ..Default::default() };
        let refused = [
            studio.tasks.watch_task(of_task("a", Some(unknown))).await.unwrap_err(),
            studio.tasks.watch_tasks(of_tasks(Some(unknown))).await.unwrap_err(),
            studio.jobs.watch_job(of_job(Some(unknown))).await.unwrap_err(),
            studio.pools.watch_pools(pools).await.unwrap_err(),
        ];
        for refused in refused {
            assert_eq!(refused.code(), Code::OutOfRange, "{unknown}: {refused:?}");
            assert_eq!(reason_of(&refused), Some(ErrorReason::RevisionTooOld));
        }
    }
}

#[tokio::test]
async fn all_tasks_of_a_job_are_watched_by_what_changes() {
    let mut studio = Studio::with_film().await;
    studio.add(task("before")).await;
    let mut stream = studio.tasks.watch_tasks(of_tasks(None)).await.unwrap().into_inner();
    let first = next(&mut stream).await;
    let empty = wire::WatchTasksResponse { revision: first.revision, ..Default::default() };
    assert_eq!(first, empty);
    studio.add(task("a")).await;
    let added = next(&mut stream).await;
    assert_eq!(added.changed.iter().map(|task| task.id.as_str()).collect::<Vec<_>>(), ["a"]);
    assert!(added.revision > first.revision);
    drop(stream);

    studio.add(task("b")).await;
    let delete = wire::DeleteTaskRequest { job_id: "film".into(), task_id: "a".into(), ..Default::default() };
    studio.tasks.delete_task(delete).await.unwrap();
    studio.tasks.create_sweep(create_sweep(sweep("s", 1, 50))).await.unwrap();
    let mut again = studio.tasks.watch_tasks(of_tasks(Some(added.revision))).await.unwrap().into_inner();
    let meanwhile = next(&mut again).await;
    assert_eq!(meanwhile.changed.iter().map(|task| task.id.as_str()).collect::<Vec<_>>(), ["b"]);
    assert_eq!(
        (meanwhile.deleted_task_ids, meanwhile.changed_sweep_ids),
        (vec!["a".to_owned()], vec!["s".to_owned()])
    );
    let end =
        wire::TerminateTaskRequest { job_id: "film".into(), task_id: "s-7".into(), ..Default::default() };
    studio.tasks.terminate_task(end).await.unwrap();
    let member = next(&mut again).await;
    assert!(member.changed.iter().any(|task| task.id == "s-07" && task.state() == TaskState::Completed));
}

#[tokio::test]
async fn a_flood_of_tasks_is_told_as_one_word() {
    let mut studio = Studio::with_film().await;
    let mut stream = studio.tasks.watch_tasks(of_tasks(None)).await.unwrap().into_inner();
    let first = next(&mut stream).await.revision;
    drop(stream);
    for batch in 0..2 {
        let tasks = (0..600).map(|n| task(&format!("t{batch}-{n}"))).collect();
        let batch = wire::BatchCreateTasksRequest { job_id: "film".into(), tasks, ..Default::default() };
        studio.tasks.batch_create_tasks(batch).await.unwrap();
    }
    let mut again = studio.tasks.watch_tasks(of_tasks(Some(first))).await.unwrap().into_inner();
    let flood = next(&mut again).await;
    assert!(flood.overflow && flood.changed.is_empty());
    let mut one = studio.tasks.watch_task(of_task("t1-7", Some(first))).await.unwrap().into_inner();
    assert!(next(&mut one).await.task.is_some(), "it may have changed, so it is shown");
}

#[tokio::test]
async fn a_member_is_watched_through_the_changes_of_its_sweep() {
    let mut studio = Studio::with_film().await;
    studio.tasks.create_sweep(create_sweep(sweep("s", 1, 50))).await.unwrap();
    let request = wire::WatchTaskRequest { until_completed: true, ..of_task("s-7", None) };
    let mut stream = studio.tasks.watch_task(request).await.unwrap().into_inner();
    assert_eq!(next(&mut stream).await.task.unwrap().id, "s-07");
    let end =
        wire::TerminateSweepRequest { job_id: "film".into(), sweep_id: "s".into(), ..Default::default() };
    studio.tasks.terminate_sweep(end).await.unwrap();
    assert_eq!(next(&mut stream).await.task.unwrap().state(), TaskState::Completed);
    assert!(soon(stream.message()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_watch_of_pools_resumes_with_the_pools_that_have_changed() {
    let mut studio = Studio::start().await;
    let pool = |id: &str| {
        let pool = wire::Pool { id: id.into(), task_slots_per_node: 1, ..Default::default() };
        wire::CreatePoolRequest { pool: Some(pool), ..Default::default() }
    };
    studio.pools.create_pool(pool("a")).await.unwrap();
    studio.pools.create_pool(pool("b")).await.unwrap();
    let mut stream = studio.pools.watch_pools(wire::WatchPoolsRequest::default()).await.unwrap().into_inner();
    let seen = loop {
        let event = next(&mut stream).await;
        if matches!(event.event, Some(Event::SnapshotComplete(_))) {
            break event.revision;
        }
    };
    drop(stream);
    let target = Some(1);
    let resize =
        wire::ResizePoolRequest { pool_id: "b".into(), target_dedicated_nodes: target, ..Default::default() };
    studio.pools.resize_pool(resize).await.unwrap();
    let delete = |id: &str| wire::DeletePoolRequest { pool_id: id.into(), ..Default::default() };
    studio.pools.delete_pool(delete("a")).await.unwrap();
    let resume = wire::WatchPoolsRequest { resume_revision: Some(seen), ..Default::default() };
    let mut again = studio.pools.watch_pools(resume).await.unwrap().into_inner();
    assert_eq!(next(&mut again).await.event, Some(Event::DeletedPoolId("a".into())));
    let Some(Event::Pool(b)) = next(&mut again).await.event else { panic!("a changed pool") };
    assert_eq!((b.id.as_str(), b.target_dedicated_nodes), ("b", 1));
    studio.pools.delete_pool(delete("render")).await.unwrap();
    assert_eq!(next(&mut again).await.event, Some(Event::DeletedPoolId("render".into())));
}

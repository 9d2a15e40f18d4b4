//! Streams: the present first, then every change, an end where one was asked for.
//!
//! Each test reads message by message and would wait in vain (and fail) for one that never comes. How many messages
//! tell of several quick changes is left open, as the API leaves it.

use super::super::testing::{Client, World, soon};
use muster_proto::convert::reason_of;
use muster_proto::wire::job_service_client::JobServiceClient;
use muster_proto::wire::pool_service_client::PoolServiceClient;
use muster_proto::wire::task_service_client::TaskServiceClient;
use muster_proto::wire::watch_pools_response::Event;
use muster_proto::wire::{self, ErrorReason, JobState, TaskState};
use tonic::{Code, Streaming};

async fn next<T>(stream: &mut Streaming<T>) -> T {
    soon(stream.message()).await.unwrap().expect("the stream goes on")
}

fn pool(id: &str) -> wire::CreatePoolRequest {
    let pool = wire::Pool { id: id.into(), task_slots_per_node: 1, ..Default::default() };
    wire::CreatePoolRequest { pool: Some(pool), ..Default::default() }
}

async fn next_pool(stream: &mut Streaming<wire::WatchPoolsResponse>) -> Event {
    next(stream).await.event.unwrap()
}

#[tokio::test]
async fn pools_come_with_a_snapshot_then_by_change() {
    let world = World::start().await;
    let mut pools = PoolServiceClient::new(world.studio());
    pools.create_pool(pool("a")).await.unwrap();
    let mut stream = pools.watch_pools(wire::WatchPoolsRequest::default()).await.unwrap().into_inner();
    let Event::Pool(first) = next_pool(&mut stream).await else { panic!("the snapshot begins") };
    assert_eq!(first.id, "a");
    assert!(matches!(next_pool(&mut stream).await, Event::SnapshotComplete(_)));

    pools.create_pool(pool("b")).await.unwrap();
    let change = next(&mut stream).await;
    assert!(change.revision > 0 && matches!(change.event, Some(Event::Pool(new)) if new.id == "b"));
    let resize = wire::ResizePoolRequest {
        pool_id: "b".into(),
        target_dedicated_nodes: Some(1),
        ..Default::default()
    };
    pools.resize_pool(resize).await.unwrap();
    let Event::Pool(resized) = next_pool(&mut stream).await else { panic!("a changed pool") };
    assert_eq!((resized.id.as_str(), resized.target_dedicated_nodes), ("b", 1));
    let _node = world.join("b", "n1").await;
    loop {
        let Event::Pool(counted) = next_pool(&mut stream).await else { panic!("a changed pool") };
        assert_eq!(counted.id, "b");
        if counted.current_dedicated_nodes == 1 {
            break;
        }
    }
    let delete = wire::DeletePoolRequest { pool_id: "a".into(), ..Default::default() };
    pools.delete_pool(delete).await.unwrap();
    assert_eq!(next_pool(&mut stream).await, Event::DeletedPoolId("a".into()));
}

#[tokio::test]
async fn a_filtered_watch_tells_of_pools_that_come_into_view_and_leave_it() {
    let world = World::start().await;
    let mut pools = PoolServiceClient::new(world.studio());
    let request =
        wire::WatchPoolsRequest { filter: "allocation_state = resizing".into(), ..Default::default() };
    let mut stream = pools.watch_pools(request).await.unwrap().into_inner();
    assert!(matches!(next_pool(&mut stream).await, Event::SnapshotComplete(_)));
    pools.create_pool(pool("a")).await.unwrap();
    let target = Some(2);
    let resize =
        wire::ResizePoolRequest { pool_id: "a".into(), target_dedicated_nodes: target, ..Default::default() };
    pools.resize_pool(resize).await.unwrap();
    assert!(matches!(next_pool(&mut stream).await, Event::Pool(seen) if seen.id == "a"));
    let stop = wire::StopResizePoolRequest { pool_id: "a".into(), ..Default::default() };
    pools.stop_resize_pool(stop).await.unwrap();
    assert_eq!(next_pool(&mut stream).await, Event::DeletedPoolId("a".into()));

    let resume = wire::WatchPoolsRequest { resume_revision: Some(1), ..Default::default() };
    let refused = pools.watch_pools(resume).await.unwrap_err();
    assert_eq!((refused.code(), reason_of(&refused)), (Code::OutOfRange, Some(ErrorReason::RevisionTooOld)));
    let wrong = wire::WatchPoolsRequest { filter: "nonsense".into(), ..Default::default() };
    assert_eq!(reason_of(&pools.watch_pools(wrong).await.unwrap_err()), Some(ErrorReason::InvalidFilter));
}

async fn film(world: &World) -> (JobServiceClient<Client>, TaskServiceClient<Client>) {
    PoolServiceClient::new(world.studio()).create_pool(pool("render")).await.unwrap();
    let mut jobs = JobServiceClient::new(world.studio());
    let pool_info = Some(wire::job::PoolInfo::PoolId("render".into()));
    let job = wire::Job { id: "film".into(), pool_info, ..Default::default() };
    jobs.create_job(wire::CreateJobRequest { job: Some(job), ..Default::default() }).await.unwrap();
    (jobs, TaskServiceClient::new(world.studio()))
}

fn task(id: &str) -> wire::CreateTaskRequest {
    let task = wire::Task { id: id.into(), command_line: "/bin/true".into(), ..Default::default() };
    wire::CreateTaskRequest { job_id: "film".into(), task: Some(task), ..Default::default() }
}

#[tokio::test]
async fn a_watch_of_a_job_ends_when_all_its_tasks_have() {
    let world = World::start().await;
    let (mut jobs, mut tasks) = film(&world).await;
    let request = wire::WatchJobRequest { job_id: "film".into(), until_complete: true, ..Default::default() };
    let mut stream = jobs.watch_job(request).await.unwrap().into_inner();
    let first = next(&mut stream).await;
    assert_eq!(first.job.unwrap().state(), JobState::Active);
    assert_eq!(first.counts.unwrap().task_counts.unwrap(), wire::TaskCounts::default());

    let mut node = world.join("render", "n1").await;
    tasks.create_task(task("f1")).await.unwrap();
    let attempt = node.dispatched().await.remove(0);
    node.started(&attempt).await;
    node.finished(&attempt, 0, b"").await;
    let mut last = wire::TaskCounts::default();
    while let Some(event) = soon(stream.message()).await.unwrap() {
        last = event.counts.unwrap().task_counts.unwrap();
    }
    assert_eq!((last.succeeded, last.completed, last.active), (1, 1, 0));
}

#[tokio::test]
async fn a_watch_of_a_job_that_is_deleted_says_so_and_ends() {
    let world = World::start().await;
    let (mut jobs, _tasks) = film(&world).await;
    let request = wire::WatchJobRequest { job_id: "film".into(), ..Default::default() };
    let mut stream = jobs.watch_job(request.clone()).await.unwrap().into_inner();
    next(&mut stream).await;
    jobs.delete_job(wire::DeleteJobRequest { job_id: "film".into(), ..Default::default() }).await.unwrap();
    let mut was_deleted = false;
    while let Some(event) = soon(stream.message()).await.unwrap() {
        was_deleted = event.deleted;
    }
    assert!(was_deleted);
    assert_eq!(jobs.watch_job(request).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn a_watch_of_a_task_shows_each_state_and_ends_when_it_is_completed() {
    let world = World::start().await;
    let (_jobs, mut tasks) = film(&world).await;
    tasks.create_task(task("f1")).await.unwrap();
    let request = wire::WatchTaskRequest {
        job_id: "film".into(),
        task_id: "f1".into(),
        until_completed: true,
        ..Default::default()
    };
    let mut stream = tasks.watch_task(request).await.unwrap().into_inner();
    assert_eq!(next(&mut stream).await.task.unwrap().state(), TaskState::Active);
    let mut node = world.join("render", "n1").await;
    let attempt = node.dispatched().await.remove(0);
    node.started(&attempt).await;
    loop {
        let seen = next(&mut stream).await.task.unwrap();
        if seen.state() == TaskState::Running {
            break;
        }
        assert_eq!(seen.state(), TaskState::Active);
    }
    node.finished(&attempt, 0, b"done").await;
    let ended = next(&mut stream).await;
    assert_eq!(ended.task.unwrap().state(), TaskState::Completed);
    assert!(soon(stream.message()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_watch_of_a_task_that_is_deleted_says_so_and_ends() {
    let world = World::start().await;
    let (_jobs, mut tasks) = film(&world).await;
    tasks.create_task(task("f1")).await.unwrap();
    let request =
        wire::WatchTaskRequest { job_id: "film".into(), task_id: "f1".into(), ..Default::default() };
    let mut stream = tasks.watch_task(request).await.unwrap().into_inner();
    next(&mut stream).await;
    let delete =
        wire::DeleteTaskRequest { job_id: "film".into(), task_id: "f1".into(), ..Default::default() };
    tasks.delete_task(delete).await.unwrap();
    assert!(next(&mut stream).await.deleted);
    assert!(soon(stream.message()).await.unwrap().is_none());
}

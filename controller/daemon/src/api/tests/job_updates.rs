//! Changing jobs: what is populated, what a list names, everything; and only if nobody was faster.
//!
//! The three forms of the mask are tried on the same job, so that their difference is what is seen.

use super::studio::{Studio, job, task};
use muster_proto::convert::reason_of;
use muster_proto::wire::{self, ErrorReason, JobState, OnAllTasksComplete, UpdateJobRequest};
use prost_types::FieldMask;
use tonic::{Code, Status};

fn full(id: &str) -> wire::Job {
    wire::Job {
        display_name: "A film".into(),
        priority: 7,
        max_parallel_tasks: Some(3),
        constraints: Some(wire::JobConstraints { max_task_retry_count: Some(2), ..Default::default() }),
        metadata: vec![wire::MetadataItem { name: "owner".into(), value: "ann".into() }],
        ..job(id)
    }
}

async fn update(studio: &mut Studio, job: wire::Job, paths: Option<&[&str]>) -> Result<wire::Job, Status> {
    let mask = paths.map(|paths| FieldMask { paths: paths.iter().map(ToString::to_string).collect() });
    let request = UpdateJobRequest { job: Some(job), update_mask: mask, ..Default::default() };
    studio.jobs.update_job(request).await.map(tonic::Response::into_inner)
}

fn only(id: &str) -> wire::Job {
    wire::Job { id: id.into(), ..Default::default() }
}

#[tokio::test]
async fn populated_listed_and_all_fields_are_three_different_updates() {
    let mut studio = Studio::start().await;
    let made = studio.make(full("film")).await;
    let patched = wire::Job { priority: -5, ..only("film") };
    let after = update(&mut studio, patched, None).await.unwrap();
    assert_eq!((after.priority, after.max_parallel_tasks), (-5, Some(3)));
    assert_eq!((&after.metadata, &after.constraints), (&made.metadata, &made.constraints));

    let listed = wire::Job { display_name: "ignored".into(), ..only("film") };
    let after = update(&mut studio, listed, Some(&["metadata", "priority"])).await.unwrap();
    assert_eq!((after.priority, after.metadata.len()), (0, 0), "naming an absent field clears it");
    assert_eq!(after.display_name, "A film");

    let put = wire::Job { metadata: made.metadata.clone(), ..only("film") };
    let after = update(&mut studio, put, Some(&["*"])).await.unwrap();
    assert_eq!((after.display_name.as_str(), after.max_parallel_tasks), ("", Some(-1)));
    assert_eq!(after.constraints.unwrap().max_task_retry_count, Some(0), "back to the default");
    assert_eq!((after.metadata, after.pool_info), (made.metadata, made.pool_info), "a job keeps its pool");

    // The reference's trap: constraints are replaced as a whole.
    let retries = wire::JobConstraints { max_task_retry_count: Some(4), ..Default::default() };
    update(&mut studio, wire::Job { constraints: Some(retries), ..only("film") }, None).await.unwrap();
    let wall_clock = prost_types::Duration { seconds: 3600, nanos: 0 };
    let only_time = wire::JobConstraints { max_wall_clock_time: Some(wall_clock), ..Default::default() };
    let after = update(&mut studio, wire::Job { constraints: Some(only_time), ..only("film") }, None).await;
    assert_eq!(after.unwrap().constraints.unwrap().max_task_retry_count, Some(0));
}

#[tokio::test]
async fn the_pool_changes_only_while_the_job_is_disabled() {
    let mut studio = Studio::start().await;
    studio.make(job("film")).await;
    let other = || wire::Job { pool_info: Some(wire::job::PoolInfo::PoolId("other".into())), ..only("film") };
    let refused = update(&mut studio, other(), None).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("disable it first"), "{}", refused.message());
    let disable = wire::DisableJobRequest { job_id: "film".into(), ..Default::default() };
    studio.jobs.disable_job(disable).await.unwrap();
    let moved = update(&mut studio, other(), None).await.unwrap();
    assert_eq!(moved.pool_info, Some(wire::job::PoolInfo::PoolId("other".into())));
    let enable = wire::EnableJobRequest { job_id: "film".into(), ..Default::default() };
    let enabled = studio.jobs.enable_job(enable).await.unwrap().into_inner();
    assert_eq!(
        (enabled.state(), enabled.previous_state() != JobState::Unspecified),
        (JobState::Active, true)
    );
    assert!(enabled.previous_state_transition_time.is_some());
}

#[tokio::test]
async fn a_job_whose_tasks_are_all_complete_ends_when_it_is_told_to() {
    let mut studio = Studio::start().await;
    studio.make(job("film")).await;
    let ends = wire::Job { on_all_tasks_complete: OnAllTasksComplete::TerminateJob.into(), ..only("film") };
    let ended = update(&mut studio, ends, None).await.unwrap();
    assert_eq!(ended.state(), JobState::Completed);
    assert_eq!(ended.execution_info.unwrap().terminate_reason, "AllTasksComplete");
}

/// An etag that nothing has.
fn stale() -> String {
    "999".to_owned()
}

async fn stale_changes_of_a_job(studio: &mut Studio) -> [Option<Status>; 5] {
    let (id, jobs) = (|| "film".to_owned(), &mut studio.jobs);
    let patch = wire::Job { priority: 1, ..only("film") };
    let update = UpdateJobRequest { job: Some(patch), etag: stale(), ..Default::default() };
    let disable = wire::DisableJobRequest { job_id: id(), etag: stale(), ..Default::default() };
    let enable = wire::EnableJobRequest { job_id: id(), etag: stale(), ..Default::default() };
    let terminate = wire::TerminateJobRequest { job_id: id(), etag: stale(), ..Default::default() };
    let delete = wire::DeleteJobRequest { job_id: id(), etag: stale(), ..Default::default() };
    [
        jobs.update_job(update).await.err(),
        jobs.disable_job(disable).await.err(),
        jobs.enable_job(enable).await.err(),
        jobs.terminate_job(terminate).await.err(),
        jobs.delete_job(delete).await.err(),
    ]
}

async fn stale_changes_of_a_task(studio: &mut Studio) -> [Option<Status>; 4] {
    let (job_id, task_id, tasks) = (|| "film".to_owned(), || "a".to_owned(), &mut studio.tasks);
    let constraints = Some(wire::TaskConstraints::default());
    let now = wire::Task { job_id: job_id(), constraints, ..task("a") };
    let update = wire::UpdateTaskRequest { task: Some(now), etag: stale(), ..Default::default() };
    let (etag, request_id) = (stale(), String::new());
    let terminate = wire::TerminateTaskRequest { job_id: job_id(), task_id: task_id(), etag, request_id };
    let (etag, request_id) = (stale(), String::new());
    let reactivate = wire::ReactivateTaskRequest { job_id: job_id(), task_id: task_id(), etag, request_id };
    let (etag, request_id) = (stale(), String::new());
    let delete = wire::DeleteTaskRequest { job_id: job_id(), task_id: task_id(), etag, request_id };
    [
        tasks.update_task(update).await.err(),
        tasks.terminate_task(terminate).await.err(),
        tasks.reactivate_task(reactivate).await.err(),
        tasks.delete_task(delete).await.err(),
    ]
}

async fn stale_changes_of_a_pool(studio: &mut Studio) -> [Option<Status>; 3] {
    let (id, pools) = (|| "render".to_owned(), &mut studio.pools);
    let target_dedicated_nodes = Some(1);
    let resize = wire::ResizePoolRequest {
        pool_id: id(),
        target_dedicated_nodes,
        etag: stale(),
        ..Default::default()
    };
    let stop = wire::StopResizePoolRequest { pool_id: id(), etag: stale(), ..Default::default() };
    let delete = wire::DeletePoolRequest { pool_id: id(), etag: stale(), ..Default::default() };
    [
        pools.resize_pool(resize).await.err(),
        pools.stop_resize_pool(stop).await.err(),
        pools.delete_pool(delete).await.err(),
    ]
}

#[tokio::test]
async fn every_mutation_of_a_job_its_tasks_and_its_pool_keeps_the_condition_that_it_was_sent_with() {
    let mut studio = Studio::with_film().await;
    studio.add(task("a")).await;
    let mut refused = Vec::from(stale_changes_of_a_job(&mut studio).await);
    refused.extend(stale_changes_of_a_task(&mut studio).await);
    refused.extend(stale_changes_of_a_pool(&mut studio).await);
    for (place, refused) in refused.into_iter().enumerate() {
        let refused = refused.unwrap_or_else(|| panic!("mutation {place} was carried out"));
        assert_eq!(refused.code(), Code::Aborted, "{place}: {refused:?}");
        assert_eq!(reason_of(&refused), Some(ErrorReason::ConditionNotMet), "{place}");
        assert!(refused.message().contains("999"), "{place}: {}", refused.message());
    }
    assert_eq!(studio.task("a").await.state(), wire::TaskState::Active);
}

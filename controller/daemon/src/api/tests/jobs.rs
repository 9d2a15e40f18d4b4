//! Jobs: their life through the API, wrong fields, masks, counts.
//!
//! The states of a job and their transitions are tried in the core; here each call is made once in order and once
//! against its conditions.

use super::super::testing::{Client, World};
use muster_proto::convert::reason_of;
use muster_proto::wire::job_service_client::JobServiceClient;
use muster_proto::wire::task_service_client::TaskServiceClient;
use muster_proto::wire::{self, ErrorReason, JobState};
use prost_types::FieldMask;
use tonic::Code;

fn jobs(client: Client) -> JobServiceClient<Client> {
    JobServiceClient::new(client)
}

fn job(id: &str) -> wire::Job {
    let pool_info = Some(wire::job::PoolInfo::PoolId("render".into()));
    wire::Job { id: id.into(), pool_info, ..Default::default() }
}

fn create(id: &str) -> wire::CreateJobRequest {
    wire::CreateJobRequest { job: Some(job(id)), ..Default::default() }
}

#[tokio::test]
async fn a_job_lives_from_create_to_delete() {
    let world = World::start().await;
    let mut studio = jobs(world.studio());
    let made = studio.create_job(create("film")).await.unwrap().into_inner();
    assert_eq!(made.state(), JobState::Active, "the pool may come later");
    let disable = wire::DisableJobRequest { job_id: "film".into(), ..Default::default() };
    let disabled = studio.disable_job(disable).await.unwrap().into_inner();
    assert!(matches!(disabled.state(), JobState::Disabled | JobState::Disabling));
    let enable = wire::EnableJobRequest { job_id: "film".into(), ..Default::default() };
    assert_eq!(studio.enable_job(enable).await.unwrap().into_inner().state(), JobState::Active);

    let mut terminate =
        wire::TerminateJobRequest { job_id: "film".into(), etag: made.etag, ..Default::default() };
    assert_eq!(studio.terminate_job(terminate.clone()).await.unwrap_err().code(), Code::Aborted);
    terminate.etag.clear();
    let ended = studio.terminate_job(terminate.clone()).await.unwrap().into_inner();
    assert_eq!(ended.state(), JobState::Completed);
    assert_eq!(ended.execution_info.unwrap().terminate_reason, "UserTerminate");
    let again = studio.terminate_job(terminate).await.unwrap_err();
    assert_eq!(
        (again.code(), reason_of(&again)),
        (Code::FailedPrecondition, Some(ErrorReason::JobCompleted))
    );

    let delete = wire::DeleteJobRequest { job_id: "film".into(), ..Default::default() };
    assert_eq!(studio.delete_job(delete.clone()).await.unwrap().into_inner().state(), JobState::Deleting);
    let gone = studio.delete_job(delete).await.unwrap_err();
    assert_eq!((gone.code(), reason_of(&gone)), (Code::NotFound, Some(ErrorReason::JobNotFound)));
}

#[tokio::test]
async fn wrong_jobs_and_options_are_refused_by_field() {
    let world = World::start().await;
    let mut studio = jobs(world.studio());
    let wrong = wire::Job { priority: 5000, max_parallel_tasks: Some(0), pool_info: None, ..job("film") };
    let refused = studio.create_job(wire::CreateJobRequest { job: Some(wrong), ..Default::default() }).await;
    let words = refused.unwrap_err().message().to_owned();
    for part in ["job.priority", "-1000", "1000", "job.max_parallel_tasks", "job.pool_id"] {
        assert!(words.contains(part), "{part}: {words}");
    }
    studio.create_job(create("film")).await.unwrap();
    let disable = wire::DisableJobRequest { job_id: "film".into(), disable_tasks: 9, ..Default::default() };
    let words = studio.disable_job(disable).await.unwrap_err().message().to_owned();
    assert!(words.contains("disable_tasks") && words.contains("REQUEUE"), "{words}");
    let reason = "x".repeat(1025);
    let long =
        wire::TerminateJobRequest { job_id: "film".into(), terminate_reason: reason, ..Default::default() };
    let words = studio.terminate_job(long).await.unwrap_err().message().to_owned();
    assert!(words.contains("terminate_reason") && words.contains("1024"), "{words}");
    let etag = wire::EnableJobRequest { job_id: "film".into(), etag: "abc".into(), ..Default::default() };
    assert!(studio.enable_job(etag).await.unwrap_err().message().contains("etag"));
}

#[tokio::test]
async fn updates_and_reads_follow_their_masks() {
    let world = World::start().await;
    let mut studio = jobs(world.studio());
    let made = studio.create_job(create("film")).await.unwrap().into_inner();
    let update = wire::UpdateJobRequest {
        job: Some(wire::Job { priority: 7, ..job("film") }),
        update_mask: Some(FieldMask { paths: vec!["priority".into()] }),
        etag: made.etag,
        ..Default::default()
    };
    assert_eq!(studio.update_job(update.clone()).await.unwrap().into_inner().priority, 7);
    assert_eq!(studio.update_job(update).await.unwrap_err().code(), Code::Aborted, "the etag has changed");
    let get = wire::GetJobRequest {
        job_id: "film".into(),
        read_mask: Some(FieldMask { paths: vec!["priority".into(), "execution_info.pool_id".into()] }),
    };
    let seen = studio.get_job(get).await.unwrap().into_inner();
    let info = wire::JobExecutionInfo { pool_id: "render".into(), ..Default::default() };
    let expected = wire::Job { priority: 7, execution_info: Some(info), ..Default::default() };
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn counts_are_exact_and_a_job_that_is_not_there_has_none() {
    let world = World::start().await;
    let mut studio = jobs(world.studio());
    studio.create_job(create("film")).await.unwrap();
    let task = |id: &str| wire::Task {
        id: id.into(),
        command_line: "/bin/true".into(),
        required_slots: 2,
        ..Default::default()
    };
    let batch = wire::BatchCreateTasksRequest {
        job_id: "film".into(),
        tasks: vec![task("a"), task("b")],
        ..Default::default()
    };
    TaskServiceClient::new(world.studio()).batch_create_tasks(batch).await.unwrap();
    let counts = wire::GetTaskCountsRequest { job_id: "film".into() };
    let report = studio.get_task_counts(counts).await.unwrap().into_inner();
    assert_eq!((report.task_counts.unwrap().active, report.task_slot_counts.unwrap().active), (2, 4));
    let nowhere = wire::GetTaskCountsRequest { job_id: "nope".into() };
    assert_eq!(
        reason_of(&studio.get_task_counts(nowhere).await.unwrap_err()),
        Some(ErrorReason::JobNotFound)
    );
}

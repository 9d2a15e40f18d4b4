//! The tasks that a job brings itself: the manager as a task of the job, preparation and release with their status by node.
//!
//! The node is played by the test; plans and what they hold are tried with the sessions (tests/nodes).

use super::studio::{Studio, create, create_sweep, job, sweep, task};
use crate::auth::job_token;
use crate::auth::testing::now;
use muster_controller_core::effect::NodeMessage;
use muster_proto::convert::reason_of;
use muster_proto::wire::{self, ErrorReason, JobNodeTaskState, JobState, TaskState};
use tonic::Code;

fn status_of(job: &str) -> wire::ListJobPreparationAndReleaseTaskStatusRequest {
    wire::ListJobPreparationAndReleaseTaskStatusRequest { job_id: job.into(), ..Default::default() }
}

fn prepared() -> wire::Job {
    wire::Job {
        job_preparation_task: Some(wire::JobPreparationTask {
            command_line: "/bin/prepare".into(),
            ..Default::default()
        }),
        job_release_task: Some(wire::JobReleaseTask {
            command_line: "/bin/tidy".into(),
            ..Default::default()
        }),
        ..job("film")
    }
}

#[tokio::test]
async fn preparation_and_release_are_told_by_node_and_are_no_tasks() {
    let mut studio = Studio::start().await;
    studio.make(prepared()).await;
    let list = |studio: &Studio| {
        let mut jobs = studio.jobs.clone();
        async move {
            let listed = jobs.list_job_preparation_and_release_task_status(status_of("film")).await;
            listed.unwrap().into_inner().statuses
        }
    };
    assert!(list(&studio).await.is_empty());
    let mut node = studio.world.join("render", "n1").await;
    studio.add(task("a")).await;
    let attempt = node.dispatched().await.remove(0);
    assert_eq!(attempt.task.as_str(), "jobpreparation");
    assert_eq!(studio.task("a").await.state(), TaskState::Preparing);
    assert_eq!(studio.counts().await.running, 1, "a task that prepares counts as running");
    node.started(&attempt).await;
    let status = list(&studio).await.remove(0);
    assert_eq!((status.node_id.as_str(), status.pool_id.as_str()), ("n1", "render"));
    let info = status.job_preparation_task_execution_info.unwrap();
    assert_eq!(info.state(), JobNodeTaskState::Running);
    assert_eq!(info.task_root_directory, "workitems/film/job-1/jobpreparation");
    assert!(info.start_time.is_some() && status.job_release_task_execution_info.is_none());
    node.finished(&attempt, 0, b"").await;
    let attempt = node.dispatched().await.remove(0);
    assert_eq!(attempt.task.as_str(), "a");
    node.started(&attempt).await;
    assert_eq!(studio.task("a").await.state(), TaskState::Running);
    node.finished(&attempt, 0, b"").await;

    let end = wire::TerminateJobRequest { job_id: "film".into(), ..Default::default() };
    let ending = studio.jobs.terminate_job(end).await.unwrap().into_inner();
    assert_eq!(ending.state(), JobState::Terminating, "the release task is to run first");
    let attempt = node.dispatched().await.remove(0);
    assert_eq!(attempt.task.as_str(), "jobrelease");
    node.started(&attempt).await;
    node.finished(&attempt, 3, b"").await;
    let ended = wire::GetJobRequest { job_id: "film".into(), ..Default::default() };
    let ended = studio.jobs.get_job(ended).await.unwrap().into_inner();
    assert_eq!(ended.state(), JobState::Completed, "its failure does not keep the job from completing");
    let status = list(&studio).await.remove(0);
    let info = status.job_release_task_execution_info.unwrap();
    assert_eq!((info.state(), info.exit_code), (JobNodeTaskState::Completed, Some(3)));
    assert_eq!(info.result(), wire::ExecutionResult::Failure);
    let states = studio.states().await;
    assert_eq!(states, [("a".to_owned(), TaskState::Completed)]);
}

#[tokio::test]
async fn a_status_list_is_filtered_and_a_job_without_preparation_has_none() {
    let mut studio = Studio::start().await;
    studio.make(prepared()).await;
    let mut node = studio.world.join("render", "n1").await;
    studio.add(task("a")).await;
    let attempt = node.dispatched().await.remove(0);
    node.started(&attempt).await;
    let filter = |filter: &str| wire::ListJobPreparationAndReleaseTaskStatusRequest {
        filter: filter.into(),
        ..status_of("film")
    };
    for (text, found) in [
        ("job_preparation_task_execution_info.state = running", 1),
        ("job_preparation_task_execution_info.state = completed", 0),
        ("node_id = n1", 1),
    ] {
        let listed = studio.jobs.list_job_preparation_and_release_task_status(filter(text)).await;
        assert_eq!(listed.unwrap().into_inner().statuses.len(), found, "{text}");
    }
    let wrong = studio.jobs.list_job_preparation_and_release_task_status(filter("nonsense = 1")).await;
    assert_eq!(reason_of(&wrong.unwrap_err()), Some(ErrorReason::InvalidFilter));
    studio.make(job("plain")).await;
    let none =
        studio.jobs.list_job_preparation_and_release_task_status(status_of("plain")).await.unwrap_err();
    assert_eq!(none.code(), Code::FailedPrecondition);
    assert_eq!(reason_of(&none), Some(ErrorReason::JobPreparationTaskNotSpecified));
    let nowhere =
        studio.jobs.list_job_preparation_and_release_task_status(status_of("nope")).await.unwrap_err();
    assert_eq!(nowhere.code(), Code::NotFound);
}

#[tokio::test]
async fn the_ids_of_a_jobs_own_tasks_are_taken() {
    let mut studio = Studio::start().await;
    studio.make(prepared()).await;
    for id in ["jobpreparation", "JobRelease"] {
        let refused = studio.tasks.create_task(create("film", task(id))).await.unwrap_err();
        assert_eq!(refused.code(), Code::AlreadyExists);
        assert_eq!(reason_of(&refused), Some(ErrorReason::TaskExists), "{id}");
    }
}

#[tokio::test]
async fn a_job_manager_is_the_first_task_and_its_end_is_the_jobs() {
    let mut studio = Studio::start().await;
    let manager = wire::JobManagerTask {
        id: "manager".into(),
        command_line: "/bin/manage".into(),
        ..Default::default()
    };
    studio.make(wire::Job { job_manager_task: Some(manager), ..job("film") }).await;
    assert_eq!(studio.states().await, [("manager".to_owned(), TaskState::Active)]);
    let mut node = studio.world.join("render", "n1").await;
    let attempt = node.dispatched().await.remove(0);
    assert_eq!(attempt.task.as_str(), "manager");
    node.started(&attempt).await;
    node.finished(&attempt, 0, b"").await;
    let ended = wire::GetJobRequest { job_id: "film".into(), ..Default::default() };
    let ended = studio.jobs.get_job(ended).await.unwrap().into_inner();
    assert_eq!(ended.state(), JobState::Completed);
    assert_eq!(ended.execution_info.unwrap().terminate_reason, "JMComplete");
}

#[tokio::test]
async fn a_running_attempt_is_told_of_new_constraints() {
    let mut studio = Studio::with_film().await;
    let mut node = studio.world.join("render", "n1").await;
    studio.add(task("a")).await;
    let attempt = node.dispatched().await.remove(0);
    node.started(&attempt).await;
    let seconds = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
    let constraints = Some(wire::TaskConstraints { max_wall_clock_time: seconds(60), ..Default::default() });
    let update = wire::UpdateTaskRequest {
        task: Some(wire::Task { job_id: "film".into(), constraints, ..task("a") }),
        ..Default::default()
    };
    let updated = studio.tasks.update_task(update).await.unwrap().into_inner();
    assert_eq!(updated.constraints.unwrap().max_wall_clock_time, seconds(60));
    loop {
        if let NodeMessage::Amend { attempt: amended, constraints } = node.told().await {
            assert_eq!(amended, attempt);
            assert_eq!(constraints.max_wall_clock_time, Some(std::time::Duration::from_secs(60)));
            return;
        }
    }
}

#[tokio::test]
async fn the_token_of_a_job_manager_does_what_its_job_needs_and_nothing_else() {
    let mut studio = Studio::with_film().await;
    studio.make(job("other")).await;
    let name = muster_model::AccountName::parse("studio").unwrap();
    let account = studio.world.engine.accounts().get(&name).unwrap();
    let film = muster_model::JobId::parse("film").unwrap();
    let token = job_token(&account, &film, now()).unwrap();
    let client = || studio.world.with_token(&token);
    let mut manager = wire::task_service_client::TaskServiceClient::new(client());
    manager.create_task(create("film", task("made"))).await.unwrap();
    manager.create_sweep(create_sweep(sweep("s", 1, 3))).await.unwrap();
    let mut jobs = wire::job_service_client::JobServiceClient::new(client());
    let end = |job: &str| wire::TerminateJobRequest { job_id: job.into(), ..Default::default() };
    let refused = [
        manager.create_task(create("other", task("made"))).await.unwrap_err(),
        jobs.terminate_job(end("other")).await.unwrap_err(),
        jobs.list_jobs(wire::ListJobsRequest::default()).await.unwrap_err(),
        wire::account_service_client::AccountServiceClient::new(client())
            .get_account_keys(wire::GetAccountKeysRequest::default())
            .await
            .unwrap_err(),
    ];
    for refused in refused {
        assert_eq!(refused.code(), Code::PermissionDenied, "{refused:?}");
    }
    jobs.terminate_job(end("film")).await.unwrap();
}

//! Tasks: added one by one and in batches, run by a node, ended, tried again, deleted.
//!
//! The node is played by the test and reports what it is told to. Batches are tried for what is refused where: by the
//! conversion, by the core, or as a whole.

use super::super::testing::{Client, World};
use muster_proto::convert::reason_of;
use muster_proto::wire::job_service_client::JobServiceClient;
use muster_proto::wire::pool_service_client::PoolServiceClient;
use muster_proto::wire::task_service_client::TaskServiceClient;
use muster_proto::wire::{self, ErrorReason, ExecutionResult, TaskAddStatus, TaskState};
use prost_types::FieldMask;
use tonic::Code;

/// A world with the pool render and the job film.
async fn studio() -> (World, TaskServiceClient<Client>) {
    let world = World::start().await;
    let pool = wire::Pool { id: "render".into(), task_slots_per_node: 4, ..Default::default() };
    let request = wire::CreatePoolRequest { pool: Some(pool), ..Default::default() };
    PoolServiceClient::new(world.studio()).create_pool(request).await.unwrap();
    let pool_info = Some(wire::job::PoolInfo::PoolId("render".into()));
    let job = wire::Job { id: "film".into(), pool_info, ..Default::default() };
    let request = wire::CreateJobRequest { job: Some(job), ..Default::default() };
    JobServiceClient::new(world.studio()).create_job(request).await.unwrap();
    let tasks = TaskServiceClient::new(world.studio());
    (world, tasks)
}

fn task(id: &str) -> wire::Task {
    wire::Task { id: id.into(), command_line: "/bin/true".into(), ..Default::default() }
}

fn create(id: &str) -> wire::CreateTaskRequest {
    wire::CreateTaskRequest { job_id: "film".into(), task: Some(task(id)), ..Default::default() }
}

fn get(id: &str) -> wire::GetTaskRequest {
    wire::GetTaskRequest { job_id: "film".into(), task_id: id.into(), ..Default::default() }
}

#[tokio::test]
async fn one_task_is_added_and_whatever_refuses_it_refuses_the_call() {
    let (_world, mut tasks) = studio().await;
    let added = tasks.create_task(create("f1")).await.unwrap().into_inner();
    assert_eq!((added.state(), added.job_id.as_str(), added.attempt), (TaskState::Active, "film", 0));
    assert_eq!(tasks.get_task(get("f1")).await.unwrap().into_inner(), added);
    let taken = tasks.create_task(create("F1")).await.unwrap_err();
    assert_eq!((taken.code(), reason_of(&taken)), (Code::AlreadyExists, Some(ErrorReason::TaskExists)));
    assert!(taken.message().contains("'film'") && taken.message().contains("'f1'"), "{}", taken.message());
    let nowhere = wire::CreateTaskRequest { job_id: "nope".into(), ..create("f2") };
    assert_eq!(reason_of(&tasks.create_task(nowhere).await.unwrap_err()), Some(ErrorReason::JobNotFound));
    let mut climbing = task("f3");
    climbing.resource_files = vec![wire::ResourceFile {
        source: Some(wire::resource_file::Source::HttpUrl("https://example.org/a".into())),
        file_path: "../a".into(),
        ..Default::default()
    }];
    let request =
        wire::CreateTaskRequest { job_id: "film".into(), task: Some(climbing), ..Default::default() };
    let words = tasks.create_task(request).await.unwrap_err().message().to_owned();
    assert!(words.contains("task.resource_files[0].file_path") && words.contains("'..'"), "{words}");
    let missing = tasks.get_task(get("f9")).await.unwrap_err();
    assert_eq!(reason_of(&missing), Some(ErrorReason::TaskNotFound));
}

#[tokio::test]
async fn in_a_batch_each_task_stands_for_itself() {
    let (_world, mut tasks) = studio().await;
    tasks.create_task(create("old")).await.unwrap();
    let depends_on = wire::TaskDependencies { task_ids: vec!["old".into()], ..Default::default() };
    let batch = wire::BatchCreateTasksRequest {
        job_id: "film".into(),
        tasks: vec![
            wire::Task { command_line: String::new(), ..task("bad") },
            task("a"),
            task("old"),
            wire::Task { depends_on: Some(depends_on), ..task("dependent") },
            task("b"),
        ],
        request_id: "batch-1".into(),
    };
    let results = tasks.batch_create_tasks(batch.clone()).await.unwrap().into_inner().results;
    let (ok, no) = (TaskAddStatus::Success, TaskAddStatus::ClientError);
    let statuses: Vec<_> = results.iter().map(wire::TaskAddResult::status).collect();
    assert_eq!(statuses, [no, ok, no, no, ok]);
    let reasons: Vec<_> =
        results.iter().filter_map(|result| result.error.as_ref()).map(|e| e.reason()).collect();
    let expected = [
        ErrorReason::InvalidPropertyValue,
        ErrorReason::TaskExists,
        ErrorReason::TaskDependenciesNotSpecifiedOnJob,
    ];
    assert_eq!(reasons, expected);
    let violation = &results[0].error.as_ref().unwrap().violations[0];
    assert_eq!(violation.field, "tasks[0].command_line");
    assert!(!results[1].etag.is_empty() && results[1].create_time.is_some());
    let again = tasks.batch_create_tasks(batch).await.unwrap().into_inner().results;
    let repeated: Vec<_> = again.iter().map(wire::TaskAddResult::status).collect();
    assert_eq!(repeated, statuses, "a repeat answers the first answer");

    let list = wire::ListTasksRequest { job_id: "film".into(), ..Default::default() };
    let listed = tasks.list_tasks(list).await.unwrap().into_inner().tasks;
    let ids: Vec<_> = listed.iter().map(|task| task.id.as_str()).collect();
    assert_eq!(ids, ["old", "a", "b"], "in the order of creation");
}

#[tokio::test]
async fn what_concerns_the_whole_batch_refuses_all_of_it() {
    let (_world, mut tasks) = studio().await;
    let batch = |job: &str, count: usize| wire::BatchCreateTasksRequest {
        job_id: job.into(),
        tasks: (0..count).map(|n| task(&format!("t{n}"))).collect(),
        ..Default::default()
    };
    let words = tasks.batch_create_tasks(batch("film", 1001)).await.unwrap_err().message().to_owned();
    assert!(words.contains("tasks") && words.contains("1001") && words.contains("1000"), "{words}");
    assert_eq!(tasks.batch_create_tasks(batch("film", 0)).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(tasks.batch_create_tasks(batch("nope", 1)).await.unwrap_err().code(), Code::NotFound);
    let mut all_bad = batch("nope", 1);
    all_bad.tasks[0].command_line.clear();
    assert_eq!(tasks.batch_create_tasks(all_bad).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(tasks.batch_create_tasks(batch("film", 1000)).await.unwrap().into_inner().results.len(), 1000);
}

#[tokio::test]
async fn a_task_that_ran_tells_what_it_left_behind() {
    let (world, mut tasks) = studio().await;
    let mut node = world.join("render", "n1").await;
    tasks.create_task(create("f1")).await.unwrap();
    let attempt = node.dispatched().await.remove(0);
    node.started(&attempt).await;
    let running = tasks.get_task(get("f1")).await.unwrap().into_inner();
    assert_eq!((running.state(), running.attempt), (TaskState::Running, 1));
    let place = running.node_info.unwrap();
    assert_eq!(
        (place.node_id.as_str(), place.task_root_directory.as_str()),
        ("n1", "workitems/film/job-1/f1")
    );
    node.finished(&attempt, 3, b"0123456789").await;

    let ended = tasks.get_task(get("f1")).await.unwrap().into_inner();
    let info = ended.execution_info.clone().unwrap();
    assert_eq!(
        (ended.state(), info.result(), info.exit_code),
        (TaskState::Completed, ExecutionResult::Failure, Some(3))
    );
    assert_eq!(info.failure_info.unwrap().code, "FailureExitCode");
    assert_eq!((ended.stdout.clone().unwrap().total_bytes, ended.usage.unwrap().peak_memory_bytes), (10, 77));
    let list = |paths: &[&str]| wire::ListTasksRequest {
        job_id: "film".into(),
        filter: "execution_info.exit_code = 3".into(),
        read_mask: Some(FieldMask { paths: paths.iter().map(ToString::to_string).collect() }),
        ..Default::default()
    };
    let plain = tasks.list_tasks(list(&[])).await.unwrap().into_inner().tasks;
    assert!(plain.len() == 1 && plain[0].stdout.is_none());
    let with_output = tasks.list_tasks(list(&["stdout"])).await.unwrap().into_inner().tasks;
    assert_eq!(with_output[0].stdout, ended.stdout);

    let attempts =
        wire::ListTaskAttemptsRequest { job_id: "film".into(), task_id: "f1".into(), ..Default::default() };
    let attempts = tasks.list_task_attempts(attempts).await.unwrap().into_inner().attempts;
    assert_eq!((attempts.len(), attempts[0].attempt, attempts[0].exit_code), (1, 1, Some(3)));
    assert!(attempts[0].stdout.is_none(), "excerpts come only by name");

    let again =
        wire::ReactivateTaskRequest { job_id: "film".into(), task_id: "f1".into(), ..Default::default() };
    tasks.reactivate_task(again).await.unwrap();
    let second = node.dispatched().await.remove(0);
    assert_eq!(second.number, 2);
    node.started(&second).await;
    node.finished(&second, 0, b"").await;
    let again =
        wire::ReactivateTaskRequest { job_id: "film".into(), task_id: "f1".into(), ..Default::default() };
    let refused = tasks.reactivate_task(again).await.unwrap_err();
    assert_eq!(reason_of(&refused), Some(ErrorReason::TaskSucceeded));
}

#[tokio::test]
async fn tasks_are_changed_ended_and_deleted_under_their_conditions() {
    let (_world, mut tasks) = studio().await;
    let added = tasks.create_task(create("f1")).await.unwrap().into_inner();
    let constraints = wire::TaskConstraints { max_task_retry_count: Some(2), ..Default::default() };
    let update = wire::UpdateTaskRequest {
        task: Some(wire::Task { job_id: "film".into(), constraints: Some(constraints), ..task("f1") }),
        etag: added.etag.clone(),
        ..Default::default()
    };
    let updated = tasks.update_task(update).await.unwrap().into_inner();
    assert_eq!(updated.constraints.unwrap().max_task_retry_count, Some(2));
    let terminate = |etag: &str| wire::TerminateTaskRequest {
        job_id: "film".into(),
        task_id: "f1".into(),
        etag: etag.into(),
        ..Default::default()
    };
    let stale = tasks.terminate_task(terminate(&added.etag)).await.unwrap_err();
    assert_eq!(stale.code(), Code::Aborted);
    assert!(stale.message().contains("'f1'") && stale.message().contains("'film'"), "{}", stale.message());
    let ended = tasks.terminate_task(terminate("")).await.unwrap().into_inner();
    assert_eq!(ended.state(), TaskState::Completed);
    let again = tasks.terminate_task(terminate("")).await.unwrap_err();
    assert_eq!(reason_of(&again), Some(ErrorReason::TaskCompleted));
    let delete =
        wire::DeleteTaskRequest { job_id: "film".into(), task_id: "f1".into(), ..Default::default() };
    tasks.delete_task(delete.clone()).await.unwrap();
    assert_eq!(tasks.delete_task(delete).await.unwrap_err().code(), Code::NotFound);
}

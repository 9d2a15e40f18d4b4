//! What is refused, and how it is said: every wrong field of a message at once, by its path, with value, limit and way out.
//!
//! The paths and the words are what a user reads, so they are compared as text. Limits are tried on both sides: the last
//! value that passes and the first that does not. That correct values pass unchanged is in `round_trip`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fmt::Debug;

use muster_model::limits;
use muster_model::spec::{JobSpec, PoolSpec, TaskSpec};
use muster_proto::convert::{
    AttemptPlan, FieldErrors, Finished, JobUpdate, NewAccount, NewJoinToken, NodeDisabling, NodeRemoval,
    NodeRestart, NodeTarget, PoolResize, PoolUpdate, TaskUpdate, batch_task, violations_of,
};
use muster_proto::wire;
use tonic::Status;

fn refused<M: Debug>(outcome: Result<M, FieldErrors>) -> Vec<String> {
    outcome.unwrap_err().errors().iter().map(|error| error.path.clone()).collect()
}

fn said<M: Debug>(outcome: Result<M, FieldErrors>) -> String {
    outcome.unwrap_err().to_string()
}

fn span(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

fn task() -> wire::Task {
    wire::Task { id: "t".into(), command_line: "true".into(), ..Default::default() }
}

#[test]
fn the_smallest_messages_are_enough_and_get_the_references_defaults() {
    let spec = TaskSpec::try_from(task()).unwrap();
    assert_eq!((spec.resources.slots, spec.constraints.max_task_retry_count), (1, None));
    let pool = wire::Pool { id: "p".into(), ..Default::default() };
    let spec = PoolSpec::try_from(pool).unwrap();
    assert_eq!((spec.task_slots_per_node, spec.target_dedicated_nodes), (1, 0));
    assert_eq!(spec.resize_timeout, limits::RESIZE_TIMEOUT_DEFAULT);
    let pool_info = Some(wire::job::PoolInfo::PoolId("p".into()));
    assert!(JobSpec::try_from(wire::Job { id: "j".into(), pool_info, ..Default::default() }).is_ok());
}

#[test]
fn everything_wrong_with_a_task_is_said_at_once() {
    let wrong = wire::Task {
        id: "a b".into(),
        display_name: "x".repeat(1025),
        command_line: " ".into(),
        resource_files: vec![wire::ResourceFile::default()],
        output_files: vec![wire::OutputFile { file_pattern: "../x".into(), ..Default::default() }],
        environment_settings: vec![wire::EnvironmentSetting { name: "A=B".into(), value: String::new() }],
        constraints: Some(wire::TaskConstraints {
            max_wall_clock_time: span(0),
            retention_time: span(-1),
            max_task_retry_count: Some(-2),
            ..Default::default()
        }),
        required_slots: 257,
        user_identity: Some(wire::UserIdentity {
            user: Some(wire::user_identity::User::Username("a nn".into())),
        }),
        depends_on: Some(wire::TaskDependencies {
            task_ids: vec!["ok".into(), "not ok".into()],
            task_id_ranges: vec![wire::TaskIdRange { start: 5, end: 4 }],
            task_id_globs: vec!["*".into(), "a b".into()],
            ..Default::default()
        }),
        exit_conditions: Some(wire::ExitConditions {
            exit_code_ranges: vec![wire::ExitCodeRangeMapping { start: 2, end: 1, exit_options: None }],
            ..Default::default()
        }),
        affinity_id: "no node".into(),
        multi_instance_settings: Some(wire::MultiInstanceSettings::default()),
        ..Default::default()
    };
    let mut found = refused(TaskSpec::try_from(wrong));
    found.sort();
    let expected = [
        "task.affinity_id",
        "task.command_line",
        "task.constraints.max_task_retry_count",
        "task.constraints.max_wall_clock_time",
        "task.constraints.retention_time",
        "task.depends_on.task_id_globs[1]",
        "task.depends_on.task_id_ranges[0]",
        "task.depends_on.task_ids[1]",
        "task.display_name",
        "task.environment_settings[0]",
        "task.exit_conditions.exit_code_ranges[0]",
        "task.id",
        "task.multi_instance_settings",
        "task.output_files[0].destination",
        "task.output_files[0].file_pattern",
        "task.required_slots",
        "task.resource_files[0].file_path",
        "task.resource_files[0].source",
        "task.user_identity.username",
    ];
    assert_eq!(found, expected);
}

#[test]
fn everything_wrong_with_a_pool_is_said_at_once() {
    let wrong = wire::Pool {
        id: String::new(),
        target_dedicated_nodes: 100_001,
        task_slots_per_node: 300,
        task_scheduling_policy: Some(wire::TaskSchedulingPolicy { node_fill_type: 9, job_default_order: -1 }),
        start_task: Some(wire::StartTask { max_task_retry_count: -7, ..Default::default() }),
        resize_timeout: span(299),
        metadata: vec![wire::MetadataItem::default(); 101],
        on_lease_expiry: 77,
        isolation_level: 4,
        task_network: 3,
        user_accounts: vec![wire::UserAccount::default()],
        enable_auto_scale: true,
        ..Default::default()
    };
    let mut found = refused(PoolSpec::try_from(wrong));
    found.sort();
    let expected = [
        "pool.enable_auto_scale",
        "pool.id",
        "pool.isolation_level",
        "pool.metadata",
        "pool.on_lease_expiry",
        "pool.resize_timeout",
        "pool.start_task.command_line",
        "pool.start_task.max_task_retry_count",
        "pool.target_dedicated_nodes",
        "pool.task_network",
        "pool.task_scheduling_policy.job_default_order",
        "pool.task_scheduling_policy.node_fill_type",
        "pool.task_slots_per_node",
        "pool.user_accounts[0].name",
    ];
    assert_eq!(found, expected);
}

#[test]
fn everything_wrong_with_a_job_is_said_at_once() {
    let wrong = wire::Job {
        id: "x".repeat(65),
        priority: 1001,
        constraints: Some(wire::JobConstraints {
            max_wall_clock_time: span(0),
            max_task_retry_count: Some(-3),
        }),
        on_all_tasks_complete: 5,
        on_task_failure: 3,
        on_dependency_failure: 4,
        max_parallel_tasks: Some(0),
        job_manager_task: Some(wire::JobManagerTask::default()),
        job_release_task: Some(wire::JobReleaseTask {
            command_line: "true".into(),
            max_wall_clock_time: span(901),
            ..Default::default()
        }),
        allow_task_preemption: true,
        ..Default::default()
    };
    let mut found = refused(JobSpec::try_from(wrong));
    found.sort();
    let expected = [
        "job.allow_task_preemption",
        "job.constraints.max_task_retry_count",
        "job.constraints.max_wall_clock_time",
        "job.id",
        "job.job_manager_task.command_line",
        "job.job_manager_task.id",
        "job.job_release_task",
        "job.job_release_task.max_wall_clock_time",
        "job.max_parallel_tasks",
        "job.on_all_tasks_complete",
        "job.on_dependency_failure",
        "job.on_task_failure",
        "job.pool_id",
        "job.priority",
    ];
    assert_eq!(found, expected);
}

#[test]
fn messages_name_value_limit_and_way_out() {
    let wrong = wire::Task { required_slots: 300, ..task() };
    assert_eq!(said(TaskSpec::try_from(wrong)), "task.required_slots: 300 is out of range: use 1 to 256");
    let wrong = wire::Task { command_line: "x".repeat(limits::COMMAND_LINE_BYTES_MAX + 1), ..task() };
    let text = said(TaskSpec::try_from(wrong));
    assert_eq!(text, "task.command_line: has 65537 bytes: at most 65536 are allowed");
    let wrong = wire::Task { multi_instance_settings: Some(Default::default()), ..task() };
    let text = said(TaskSpec::try_from(wrong));
    assert_eq!(text, "task.multi_instance_settings: is not supported by this version: leave it unset");
    let number = wire::Pool { id: "p".into(), on_lease_expiry: 9, ..Default::default() };
    let text = said(PoolSpec::try_from(number));
    assert!(text.contains("9 is not a value of LeaseExpiryPolicy"), "{text}");
    assert!(text.contains("LEASE_EXPIRY_POLICY_KILL, LEASE_EXPIRY_POLICY_KEEP"), "{text}");
}

#[test]
fn lists_at_their_limit_pass_and_one_more_does_not() {
    let setting = wire::EnvironmentSetting { name: "A".into(), value: "b".into() };
    let with = |count| wire::Task { environment_settings: vec![setting.clone(); count], ..task() };
    assert!(TaskSpec::try_from(with(limits::ENVIRONMENT_SETTINGS_MAX)).is_ok());
    let text = said(TaskSpec::try_from(with(limits::ENVIRONMENT_SETTINGS_MAX + 1)));
    assert_eq!(text, "task.environment_settings: has 1001 entries: at most 1000 are allowed");

    let depends = |ids| wire::Task {
        depends_on: Some(wire::TaskDependencies { task_ids: ids, ..Default::default() }),
        ..task()
    };
    assert!(TaskSpec::try_from(depends(vec!["x".repeat(64); 1000])).is_ok());
    let paths = refused(TaskSpec::try_from(depends(vec!["x".repeat(64); 1001])));
    assert_eq!(paths, ["task.depends_on.task_ids"]);
}

#[test]
fn a_task_of_a_batch_is_named_by_its_place() {
    let paths = refused(batch_task(7, wire::Task { id: "/".into(), ..task() }));
    assert_eq!(paths, ["tasks[7].id"]);
}

#[test]
fn a_refusal_becomes_a_status_with_its_fields() {
    let errors = TaskSpec::try_from(wire::Task::default()).unwrap_err();
    let status = Status::from(errors);
    let fields: Vec<_> = violations_of(&status).into_iter().map(|v| v.field).collect();
    assert_eq!(fields, ["task.id", "task.command_line"]);
}

#[test]
fn updates_change_what_the_mask_names_and_nothing_else() {
    let mask = |paths: &[&str]| {
        Some(prost_types::FieldMask { paths: paths.iter().map(ToString::to_string).collect() })
    };
    let job = wire::Job { id: "j".into(), priority: 7, ..Default::default() };
    let request = wire::UpdateJobRequest { job: Some(job), etag: "12".into(), ..Default::default() };

    let populated = JobUpdate::try_from(request.clone()).unwrap();
    assert_eq!((populated.patch.priority, populated.if_match), (Some(7), Some(12)));
    assert!(populated.patch.metadata.is_none() && populated.patch.constraints.is_none());

    let all =
        JobUpdate::try_from(wire::UpdateJobRequest { update_mask: mask(&["*"]), ..request.clone() }).unwrap();
    assert_eq!(all.patch.metadata, Some(Vec::new()));
    assert!(all.patch.constraints.is_some() && all.patch.on_all_tasks_complete.is_some());

    let named = wire::UpdateJobRequest { update_mask: mask(&["metadata"]), ..request.clone() };
    let named = JobUpdate::try_from(named).unwrap();
    assert!(named.patch.priority.is_none() && named.patch.metadata.is_some());

    let wrong =
        wire::UpdateJobRequest { update_mask: mask(&["priority", "id"]), etag: "W/1".into(), ..request };
    assert_eq!(refused(JobUpdate::try_from(wrong)), ["update_mask[1]", "etag"]);
}

#[test]
fn a_job_keeps_its_pool_unless_an_update_names_one() {
    let with = |pool: Option<&str>, paths: &[&str]| wire::UpdateJobRequest {
        job: Some(wire::Job {
            id: "j".into(),
            pool_info: pool.map(|id| wire::job::PoolInfo::PoolId(id.into())),
            ..Default::default()
        }),
        update_mask: Some(prost_types::FieldMask { paths: paths.iter().map(ToString::to_string).collect() }),
        ..Default::default()
    };
    let patch = |request| JobUpdate::try_from(request).unwrap().patch;
    let put = patch(with(None, &["*"]));
    assert_eq!((put.pool, put.max_parallel_tasks), (None, Some(None)));
    for paths in [&["*"][..], &[], &["pool_id"]] {
        assert_eq!(patch(with(Some("other"), paths)).pool.unwrap().as_str(), "other");
    }
    assert_eq!(patch(with(Some("other"), &["priority"])).pool, None);
    assert_eq!(refused(JobUpdate::try_from(with(None, &["pool_id"]))), ["job.pool_id"]);

    let auto = wire::job::PoolInfo::AutoPoolSpecification(wire::AutoPoolSpecification::default());
    let mut request = with(None, &["pool_id"]);
    request.job.as_mut().unwrap().pool_info = Some(auto);
    assert_eq!(refused(JobUpdate::try_from(request)), ["job.auto_pool_specification"]);
}

#[test]
fn a_start_task_is_removed_only_when_the_mask_names_it() {
    let pool = wire::Pool { id: "p".into(), ..Default::default() };
    let request = wire::UpdatePoolRequest { pool: Some(pool), ..Default::default() };
    assert_eq!(PoolUpdate::try_from(request.clone()).unwrap().patch.start_task, None);
    let update_mask = Some(prost_types::FieldMask { paths: vec!["start_task".into()] });
    let named = PoolUpdate::try_from(wire::UpdatePoolRequest { update_mask, ..request }).unwrap();
    assert_eq!(named.patch.start_task, Some(None));
}

#[test]
fn small_requests_say_what_is_missing() {
    assert_eq!(refused(PoolUpdate::try_from(wire::UpdatePoolRequest::default())), ["pool"]);
    assert_eq!(refused(TaskUpdate::try_from(wire::UpdateTaskRequest::default())), ["task"]);
    assert_eq!(refused(NewJoinToken::try_from(wire::CreateJoinTokenRequest::default())), ["join_token"]);
    assert_eq!(refused(NewAccount::try_from(wire::CreateAccountRequest::default())), ["account"]);
    let resize = PoolResize::try_from(wire::ResizePoolRequest::default());
    assert_eq!(refused(resize), ["pool_id", "target_dedicated_nodes"]);
    assert_eq!(refused(NodeRemoval::try_from(wire::RemoveNodesRequest::default())), ["pool_id", "node_ids"]);
    let ids = ["pool_id", "node_id"];
    assert_eq!(refused(NodeDisabling::try_from(wire::DisableNodeSchedulingRequest::default())), ids);
    assert_eq!(refused(NodeTarget::try_from(wire::EnableNodeSchedulingRequest::default())), ids);
    assert_eq!(refused(NodeRestart::try_from(wire::RebootNodeRequest::default())), ids);
    assert_eq!(refused(NodeRestart::try_from(wire::ReimageNodeRequest::default())), ids);
    assert_eq!(
        refused(AttemptPlan::try_from(wire::AttemptPlan::default())),
        ["plan.attempt", "plan.command_line"]
    );
    let finished = Finished::try_from(wire::AttemptResult::default());
    assert_eq!(refused(finished), ["finished.attempt", "finished.result", "finished.end_time"]);
}

#[test]
fn a_success_with_a_failure_and_a_failure_without_one_are_refused() {
    let result = |result: wire::ExecutionResult, failure_info| wire::AttemptResult {
        attempt: Some(wire::AttemptRef { job_id: "j".into(), task_id: "t".into(), attempt: 1 }),
        result: result.into(),
        failure_info,
        end_time: Some(prost_types::Timestamp::default()),
        ..Default::default()
    };
    let cause = wire::FailureInfo { cause: wire::FailureCause::ExitCode.into(), ..Default::default() };
    let both = Finished::try_from(result(wire::ExecutionResult::Success, Some(cause.clone())));
    assert_eq!(refused(both), ["finished.failure_info"]);
    assert_eq!(
        refused(Finished::try_from(result(wire::ExecutionResult::Failure, None))),
        ["finished.failure_info"]
    );
    assert!(Finished::try_from(result(wire::ExecutionResult::Failure, Some(cause))).is_ok());
}

#[test]
fn excerpts_in_excess_are_cut_and_not_refused() {
    let excerpt =
        wire::OutputExcerpt { head: vec![1; 70_000].into(), tail: vec![2; 70_000].into(), total_bytes: 3 };
    let result = wire::AttemptResult {
        attempt: Some(wire::AttemptRef { job_id: "j".into(), task_id: "t".into(), attempt: 1 }),
        result: wire::ExecutionResult::Success.into(),
        end_time: Some(prost_types::Timestamp::default()),
        stdout: Some(excerpt),
        ..Default::default()
    };
    let stdout = Finished::try_from(result).unwrap().result.stdout;
    let half = limits::EXCERPT_BYTES_MAX / 2;
    assert_eq!((stdout.head.len(), stdout.tail.len()), (half, half));
    assert_eq!(stdout.total_bytes, u64::try_from(limits::EXCERPT_BYTES_MAX).unwrap());
}

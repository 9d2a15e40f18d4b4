//! Rows for tests: plain ones to vary.
//!
//! Times and ids are fixed, so that what is written can be compared with what is read. Rows with every field set are in
//! `everything`; the stores are in `world`.

use muster_controller_core::record::{
    AccountRow, AttemptRow, FileRow, JobNodeRow, JobNodeTask, JobRow, MemberRow, NodeRow, PoolRow, Probation,
    Record, Rows, SweepRow, SweepStateRow, TaskSpecRow, TaskStateRow,
};
use muster_model::node::{Capabilities, MachineFacts};
use muster_model::spec::{
    Axis, DependsOn, JobConstraints, JobSpec, PoolSpec, SweepSpec, TaskConstraints, TaskLimits, TaskSpec,
    UserIdentity,
};
use muster_model::state::*;
use muster_model::*;
use std::time::Duration;

pub(crate) fn account() -> AccountName {
    AccountName::parse("studio").unwrap()
}

pub(crate) fn job_id(id: &str) -> JobId {
    JobId::parse(id).unwrap()
}

pub(crate) fn task_id(id: &str) -> TaskId {
    TaskId::parse(id).unwrap()
}

pub(crate) fn pool_id(id: &str) -> PoolId {
    PoolId::parse(id).unwrap()
}

pub(crate) fn node_id(id: &str) -> NodeId {
    NodeId::parse(id).unwrap()
}

pub(crate) fn container(name: &str) -> ContainerName {
    ContainerName::parse(name).unwrap()
}

pub(crate) fn path(path: &str) -> FilePath {
    FilePath::parse(path).unwrap()
}

pub(crate) fn key(job: &str, task: &str) -> TaskKey {
    TaskKey { job: job_id(job), task: task_id(task) }
}

/// A time some seconds after the start of 2026.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros((1_767_225_600 + seconds) * 1_000_000)
}

pub(crate) fn account_row() -> AccountRow {
    AccountRow {
        name: account(),
        display_name: "The Studio".into(),
        is_operator: true,
        primary: AccessKey::from_bytes([1; 32]),
        secondary: AccessKey::from_bytes([2; 32]),
        created: at(0),
        revision: 3,
    }
}

pub(crate) fn pool_row(id: &str) -> PoolRow {
    PoolRow {
        account: account(),
        spec: PoolSpec {
            id: pool_id(id),
            display_name: String::new(),
            target_dedicated_nodes: 3,
            task_slots_per_node: 1,
            node_fill_type: NodeFillType::Spread,
            job_default_order: JobDefaultOrder::None,
            start_task: None,
            resize_timeout: Duration::from_secs(900),
            on_lease_expiry: OnLeaseExpiry::Kill,
            metadata: Vec::new(),
            isolation_level: None,
            task_network: TaskNetwork::Host,
            user_accounts: Vec::new(),
        },
        state: PoolState::Active,
        allocation_state: AllocationState::Steady,
        allocation_since: at(1),
        resize_deadline: None,
        resize_error: None,
        created: at(0),
        modified: at(1),
        revision: 1,
    }
}

pub(crate) fn node_row(id: &str, pool: &str) -> NodeRow {
    NodeRow {
        account: account(),
        id: node_id(id),
        pool: pool_id(pool),
        facts: MachineFacts {
            machine_id: "m-1".into(),
            boot_id: "b-1".into(),
            hostname: "host".into(),
            ip_address: "10.0.0.1".into(),
            agent_version: "0.1.0".into(),
            os: "Linux 6.1".into(),
            capacity: Resources {
                cpu_millis: 2_000,
                memory_bytes: 1 << 30,
                disk_bytes: 1 << 40,
                ..Resources::default()
            },
            // As the golden files have it: the store reads nothing into it.
            capabilities: Capabilities { cgroup: String::new(), ..Capabilities::default() },
            boot_time: at(-100),
        },
        slots: 2,
        state: NodeState::Idle,
        state_since: at(2),
        scheduling: SchedulingState::Enabled,
        start_task: None,
        errors: Vec::new(),
        drain: None,
        probation: Probation::default(),
        joined: at(1),
        tasks_run: 0,
        tasks_succeeded: 0,
        running_tasks: 0,
        running_slots: 0,
        revision: 1,
    }
}

pub(crate) fn job_row(id: &str, sequence: u64) -> JobRow {
    JobRow {
        account: account(),
        spec: JobSpec {
            id: job_id(id),
            display_name: String::new(),
            pool: pool_id("p"),
            priority: 0,
            constraints: JobConstraints::default(),
            uses_task_dependencies: false,
            max_parallel_tasks: None,
            on_all_tasks_complete: OnAllTasksComplete::NoAction,
            on_task_failure: OnTaskFailure::NoAction,
            on_dependency_failure: OnDependencyFailure::Wait,
            manager: None,
            preparation: None,
            release: None,
            common_environment: Vec::new(),
            metadata: Vec::new(),
        },
        state: JobState::Active,
        state_since: at(1),
        previous_state: None,
        previous_state_since: None,
        sequence,
        created: at(1),
        modified: at(1),
        ended: None,
        terminate_reason: None,
        revision: 1,
    }
}

pub(crate) fn task_spec(job: &str, id: &str, sequence: u64) -> TaskSpecRow {
    TaskSpecRow {
        account: account(),
        job: job_id(job),
        spec: TaskSpec {
            id: task_id(id),
            display_name: String::new(),
            command_line: "render frame.pov".into(),
            resource_files: Vec::new(),
            output_files: Vec::new(),
            environment: Vec::new(),
            constraints: TaskConstraints::default(),
            resources: Resources { slots: 1, ..Resources::default() },
            limits: TaskLimits::default(),
            user_identity: UserIdentity::default(),
            depends_on: DependsOn::default(),
            exit_conditions: None,
            affinity: None,
        },
        sequence,
        created: at(2),
    }
}

pub(crate) fn task_state(job: &str, id: &str) -> TaskStateRow {
    TaskStateRow {
        account: account(),
        job: job_id(job),
        task: task_id(id),
        state: TaskState::Active,
        state_since: at(2),
        previous_state: None,
        previous_state_since: None,
        attempt: 0,
        node: None,
        placed: false,
        ending: None,
        retry_count: 0,
        requeue_count: 0,
        server_retry_count: 0,
        last_retry: None,
        last_requeue: None,
        memory_bytes: None,
        avoid: Vec::new(),
        nodes_lost: Vec::new(),
        not_before: None,
        constraints: None,
        started: None,
        ended: None,
        exit_code: None,
        signal: None,
        result: None,
        satisfies: None,
        failure: None,
        modified: at(2),
        revision: 1,
    }
}

/// A task's two records.
pub(crate) fn task(job: &str, id: &str, sequence: u64) -> [Record; 2] {
    [
        Record::TaskSpec(Box::new(task_spec(job, id, sequence))),
        Record::TaskState(Box::new(task_state(job, id))),
    ]
}

pub(crate) fn job(id: &str, sequence: u64) -> Record {
    Record::Job(Box::new(job_row(id, sequence)))
}

pub(crate) fn sweep_id(id: &str) -> SweepId {
    SweepId::parse(id).unwrap()
}

/// A sweep over the numbers 1 to `count`, whose members take the sequence numbers from `sequence` on.
pub(crate) fn sweep_row(job: &str, id: &str, sequence: u64, count: u64) -> SweepRow {
    let mut template = task_spec(job, id, sequence).spec;
    template.command_line = "render --frame {i}".into();
    let range = Axis::Range { name: "i".into(), start: 1, end: count, step: 1 };
    SweepRow {
        account: account(),
        job: job_id(job),
        spec: SweepSpec { id: sweep_id(id), template, axes: vec![range] },
        sequence,
        created: at(2),
    }
}

/// The state of a sweep to whose members nothing has happened.
pub(crate) fn sweep_state(job: &str, id: &str, count: u64) -> SweepStateRow {
    SweepStateRow {
        account: account(),
        job: job_id(job),
        sweep: sweep_id(id),
        pending: IndexSet::below(count),
        ended: Vec::new(),
        deleting: false,
        modified: at(2),
        revision: 1,
    }
}

/// A sweep's two records.
pub(crate) fn sweep(job: &str, id: &str, sequence: u64, count: u64) -> [Record; 2] {
    [
        Record::Sweep(Box::new(sweep_row(job, id, sequence, count))),
        Record::SweepState(Box::new(sweep_state(job, id, count))),
    ]
}

/// A member of a sweep as a task of its own.
pub(crate) fn member_row(sweep: &SweepRow, index: u64) -> MemberRow {
    MemberRow {
        account: sweep.account.clone(),
        job: sweep.job.clone(),
        sweep: sweep.spec.id.clone(),
        index,
        task: sweep.spec.shape().task_id(&sweep.spec.id, index),
        sequence: sweep.sequence + index,
        created: sweep.created,
    }
}

/// A member's two records: it runs.
pub(crate) fn running_member(sweep: &SweepRow, index: u64) -> [Record; 2] {
    let member = member_row(sweep, index);
    let state = TaskStateRow {
        state: TaskState::Running,
        state_since: at(3),
        previous_state: Some(TaskState::Active),
        previous_state_since: Some(sweep.created),
        attempt: 1,
        node: Some(node_id("n-1")),
        placed: true,
        started: Some(at(3)),
        modified: at(3),
        revision: 2,
        ..task_state(sweep.job.as_str(), member.task.as_str())
    };
    [Record::Member(Box::new(member)), Record::TaskState(Box::new(state))]
}

/// A preparation that runs on a node.
pub(crate) fn job_node_row(job: &str, node: &str) -> JobNodeRow {
    JobNodeRow {
        account: account(),
        job: job_id(job),
        node: node_id(node),
        pool: pool_id("p"),
        boot_id: "b-1".into(),
        preparation: JobNodeTask {
            attempt: 1,
            state: JobNodeTaskState::Running,
            placed: true,
            started: None,
            ended: None,
            exit_code: None,
            retry_count: 0,
            last_retry: None,
            result: None,
            failure: None,
        },
        release: None,
    }
}

pub(crate) fn attempt_row(job: &str, task: &str, number: AttemptNumber) -> AttemptRow {
    AttemptRow {
        account: account(),
        job: job_id(job),
        task: task_id(task),
        number,
        node: node_id("n-1"),
        result: AttemptResult::not_started(FailureInfo::new(Cause::NodeLost, "the node was lost"), at(9)),
    }
}

pub(crate) fn file_row(name: &str, file: &str, digest: u8) -> FileRow {
    FileRow {
        account: account(),
        container: container(name),
        path: path(file),
        digest: Digest::from_bytes([digest; 32]),
        size: u64::from(digest) * 1_000,
        modified: at(i64::from(digest)),
    }
}

/// Asserts that two stores hold the same.
#[track_caller]
pub(crate) fn assert_same(left: &Rows, right: &Rows) {
    let secrets = |rows: &Rows| -> Vec<_> {
        rows.accounts.iter().map(|row| (*row.primary.expose(), *row.secondary.expose())).collect()
    };
    // Keys show nothing in `Debug`, so that the rest of an account can be compared as text.
    assert_eq!(format!("{:?}", left.accounts), format!("{:?}", right.accounts));
    assert_eq!(secrets(left), secrets(right));
    assert_eq!(left.pools, right.pools);
    assert_eq!(left.nodes, right.nodes);
    assert_eq!(left.tokens, right.tokens);
    assert_eq!(left.jobs, right.jobs);
    assert_eq!(left.sweeps, right.sweeps);
    assert_eq!(left.job_nodes, right.job_nodes);
    assert_eq!(left.tasks, right.tasks);
    assert_eq!(left.members, right.members);
    assert_eq!(left.requests, right.requests);
}

//! Rows for tests: plain ones to vary, and one of each kind with every field set.
//!
//! Times and ids are fixed, so that what is written can be compared with what is read, and so that the golden file stays
//! the same. `everything` holds each kind of record with its fields set, so that a codec that drops one is found: a field
//! that is added belongs there too. The stores are in `world`.

use muster_controller_core::record::{
    AccountRow, AttemptRow, Ending, FileRow, JobRow, NodeRow, PoolRow, Record, RequestRow, Rows, TaskSpecRow,
    TaskStateRow, TokenRow,
};
use muster_controller_core::reject::RejectKind;
use muster_controller_core::reply::{CreatedNode, Reply, TaskRefused};
use muster_model::node::{Capabilities, MachineFacts, StartTaskInfo};
use muster_model::spec::{
    DependsOn, EnvironmentSetting, FileDestination, FileSource, IdRange, JobConstraints, JobSpec,
    MetadataItem, OutputFile, PoolSpec, ResourceFile, RetryLimit, StartTaskSpec, TaskConstraints, TaskLimits,
    TaskSpec, UserIdentity,
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
            capacity: Resources { slots: 0, cpu_millis: 2_000, memory_bytes: 1 << 30, disk_bytes: 1 << 40 },
            capabilities: Capabilities::default(),
            boot_time: at(-100),
        },
        slots: 2,
        state: NodeState::Idle,
        state_since: at(2),
        scheduling: SchedulingState::Enabled,
        start_task: None,
        errors: Vec::new(),
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
            on_all_tasks_complete: OnAllTasksComplete::NoAction,
            common_environment: Vec::new(),
            metadata: Vec::new(),
        },
        state: JobState::Active,
        state_since: at(1),
        previous_state: None,
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
        attempt: 0,
        node: None,
        placed: false,
        ending: None,
        retry_count: 0,
        requeue_count: 0,
        server_retry_count: 0,
        not_before: None,
        constraints: None,
        started: None,
        ended: None,
        exit_code: None,
        signal: None,
        result: None,
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

fn failure() -> FailureInfo {
    FailureInfo::new(Cause::OutOfMemory, "the task used 5 GiB of 4 GiB: ask for more")
        .with("limit_bytes", 4_u64 << 30)
}

fn full_pool() -> PoolRow {
    let mut row = pool_row("Farm");
    row.spec.display_name = "Render farm Ä".into();
    row.spec.task_slots_per_node = 4;
    row.spec.node_fill_type = NodeFillType::Pack;
    row.spec.job_default_order = JobDefaultOrder::CreationTime;
    row.spec.on_lease_expiry = OnLeaseExpiry::Keep;
    row.spec.metadata = vec![MetadataItem { name: "owner".into(), value: "anna".into() }];
    row.spec.start_task = Some(StartTaskSpec {
        command_line: "apt-get install -y povray".into(),
        resource_files: resource_files(),
        environment: environment(),
        user_identity: UserIdentity { scope: AutoUserScope::Pool, elevation: ElevationLevel::Admin },
        max_task_retry_count: RetryLimit::Unlimited,
        wait_for_success: true,
    });
    row.allocation_state = AllocationState::Resizing;
    row.resize_deadline = Some(at(900));
    row.resize_error = Some(("AllocationTimedout".into(), "2 of 3 nodes joined".into()));
    row.revision = 7;
    row
}

fn full_node() -> NodeRow {
    let mut row = node_row("tvm-1_1", "Farm");
    row.facts.capabilities = Capabilities {
        cgroup: "v2".into(),
        memory_limit: true,
        cpu_limit: true,
        pids_limit: true,
        user_switch: true,
    };
    row.state = NodeState::StartTaskFailed;
    row.scheduling = SchedulingState::Disabled;
    row.start_task = Some(StartTaskInfo {
        state: StartTaskState::Completed,
        start_time: at(3),
        end_time: Some(at(4)),
        exit_code: Some(-1),
        retry_count: 2,
        result: Some(ExecutionResult::Failure),
        failure: Some(failure()),
    });
    row.errors = vec![("StartTaskFailed".into(), "exit code 1".into())];
    row.tasks_run = 12;
    row.tasks_succeeded = 11;
    row.running_tasks = 1;
    row.running_slots = 2;
    row
}

fn full_job() -> JobRow {
    let mut row = job_row("Film", 41);
    row.spec.display_name = "The film".into();
    row.spec.pool = pool_id("Farm");
    row.spec.priority = -1_000;
    row.spec.constraints = JobConstraints {
        max_wall_clock_time: Some(Duration::from_secs(86_400)),
        max_task_retry_count: RetryLimit::Unlimited,
    };
    row.spec.uses_task_dependencies = true;
    row.spec.on_all_tasks_complete = OnAllTasksComplete::TerminateJob;
    row.spec.common_environment = environment();
    row.spec.metadata = vec![MetadataItem { name: "client".into(), value: String::new() }];
    row.state = JobState::Terminating;
    row.previous_state = Some(JobState::Active);
    row.ended = Some(at(50));
    row.terminate_reason = Some("UserTerminate".into());
    row
}

fn environment() -> Vec<EnvironmentSetting> {
    vec![
        EnvironmentSetting { name: "SCENE".into(), value: "lake = 1".into() },
        EnvironmentSetting { name: "EMPTY".into(), value: String::new() },
    ]
}

fn resource_files() -> Vec<ResourceFile> {
    vec![
        ResourceFile {
            source: FileSource::Http("https://files.test/scene.pov".into()),
            file_path: Some(path("in/scene.pov")),
            mode: 0o644,
            digest: Some(Digest::from_bytes([9; 32])),
        },
        ResourceFile {
            source: FileSource::FileStore { container: container("scenes"), path: path("a/b.inc") },
            file_path: Some(path("b.inc")),
            mode: 0o770,
            digest: None,
        },
        ResourceFile {
            source: FileSource::FileStorePrefix { container: container("scenes"), prefix: "maps/".into() },
            file_path: None,
            mode: 0o770,
            digest: None,
        },
    ]
}

fn full_task() -> TaskSpecRow {
    let mut row = task_spec("Film", "Frame-001", 42);
    row.spec.display_name = "Frame 1".into();
    row.spec.command_line = "povray +W480 'frame 1.pov'".into();
    row.spec.resource_files = resource_files();
    row.spec.output_files = vec![OutputFile {
        pattern: "out/*.png".into(),
        destination: FileDestination::FileStore {
            container: container("film-out"),
            path: Some(path("frames")),
        },
        condition: UploadCondition::TaskSuccess,
    }];
    row.spec.environment = environment();
    row.spec.constraints = TaskConstraints {
        max_wall_clock_time: Some(Duration::from_millis(90_500)),
        retention_time: Some(Duration::from_secs(3_600)),
        max_task_retry_count: Some(RetryLimit::Times(3)),
    };
    row.spec.resources =
        Resources { slots: 2, cpu_millis: 1_500, memory_bytes: 1 << 32, disk_bytes: 1 << 33 };
    row.spec.limits = TaskLimits { pids_max: Some(64) };
    row.spec.user_identity = UserIdentity { scope: AutoUserScope::Task, elevation: ElevationLevel::NonAdmin };
    row.spec.depends_on =
        DependsOn { task_ids: vec![task_id("Setup")], task_id_ranges: vec![IdRange { start: 1, end: 40 }] };
    row
}

fn full_state() -> TaskStateRow {
    TaskStateRow {
        state: TaskState::Completed,
        state_since: at(30),
        previous_state: Some(TaskState::Running),
        attempt: 2,
        node: Some(node_id("tvm-1_1")),
        placed: true,
        ending: Some(Ending::Delete),
        retry_count: 1,
        requeue_count: 2,
        server_retry_count: 3,
        not_before: Some(at(20)),
        constraints: Some(TaskConstraints {
            max_wall_clock_time: Some(Duration::new(5, 250_000_000)),
            retention_time: None,
            max_task_retry_count: Some(RetryLimit::Unlimited),
        }),
        started: Some(at(21)),
        ended: Some(at(30)),
        exit_code: Some(-9),
        signal: Some(9),
        result: Some(ExecutionResult::Failure),
        failure: Some(failure()),
        modified: at(31),
        revision: 9,
        ..task_state("Film", "Frame-001")
    }
}

fn full_attempt() -> AttemptRow {
    let mut row = attempt_row("Film", "Frame-001", 2);
    row.result = AttemptResult {
        result: ExecutionResult::Failure,
        exit_code: Some(137),
        signal: Some(9),
        failure: Some(failure()),
        start_time: Some(at(21)),
        end_time: at(30),
        usage: Usage {
            peak_memory_bytes: 5 << 30,
            user_cpu_micros: 8_000_000,
            kernel_cpu_micros: 1_000,
            staged_bytes: 77,
            uploaded_bytes: 88,
        },
        stdout: Excerpt { head: b"first\xff".to_vec(), tail: b"last".to_vec(), total_bytes: 1_000_000 },
        stderr: Excerpt::default(),
        outputs: vec![OutputEntry {
            container: container("film-out"),
            path: path("frames/out/001.png"),
            digest: Digest::from_bytes([7; 32]),
            size: 4_321,
        }],
    };
    row
}

fn request(id: &str, reply: Reply) -> Record {
    Record::Request(RequestRow {
        account: account(),
        id: RequestId::parse(id).unwrap(),
        command: "CreateTasks".into(),
        reply,
        expires: at(86_400),
    })
}

/// One record of every kind that puts a row, with every field set, and some plain ones beside them.
pub(crate) fn everything() -> Vec<Record> {
    let refused = TaskRefused {
        index: 4,
        kind: RejectKind::AlreadyExists,
        code: "TaskExists".into(),
        message: "job 'Film' already has a task 'x'".into(),
    };
    let joined =
        CreatedNode { node: node_id("tvm-1_1"), account: Some(account()), pool: Some(pool_id("Farm")) };
    let token = TokenRow {
        account: account(),
        id: TokenId::parse("Token-1").unwrap(),
        pool: pool_id("Farm"),
        secret_hash: Digest::from_bytes([5; 32]),
        created: at(1),
        expires: at(1_000),
        uses_max: 10,
        uses: 3,
    };
    let mut records = vec![
        Record::Account(account_row()),
        Record::Pool(Box::new(full_pool())),
        Record::Pool(Box::new(pool_row("spare"))),
        Record::Node(Box::new(full_node())),
        Record::Node(Box::new(node_row("tvm-1_2", "Farm"))),
        Record::Token(token),
        Record::Job(Box::new(full_job())),
        job("other", 43),
        Record::TaskSpec(Box::new(full_task())),
        Record::TaskState(Box::new(full_state())),
        Record::Attempt(Box::new(attempt_row("Film", "Frame-001", 1))),
        Record::Attempt(Box::new(full_attempt())),
        Record::File(file_row("scenes", "a/b.inc", 9)),
        request("r-1", Reply::Done),
        request("r-2", Reply::Tasks(vec![refused])),
        request("r-3", Reply::Joined(joined)),
    ];
    records.extend(task("other", "t1", 44));
    records
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
    assert_eq!(left.tasks, right.tasks);
    assert_eq!(left.requests, right.requests);
}

//! One row of each kind with every field set, so that a codec or a table that drops one is found.
//!
//! `everything_of_version_1` and `_2` are what the older golden files hold and must not change; `everything` adds what came
//! later and belongs to the present golden file: a field that is added anywhere is set there too.

use crate::fixture::*;
use muster_controller_core::record::{
    AttemptRow, Drain, EndedMembers, Ending, JobNodeRow, JobNodeTask, JobRow, NodeRow, PoolRow, Probation,
    Record, RequestRow, SweepRow, SweepStateRow, TaskSpecRow, TaskStateRow, TokenRow,
};
use muster_controller_core::reject::RejectKind;
use muster_controller_core::reply::{CreatedNode, Reply, TaskRefused};
use muster_model::node::{Capabilities, NodeError, StartTaskInfo};
use muster_model::spec::{
    Axis, DependencyGroup, EnvironmentSetting, ExitConditions, ExitOptions, FileDestination, FileSource,
    IdRange, JobConstraints, JobManagerSpec, JobPreparationSpec, JobReleaseSpec, MemoryEscalation,
    MetadataItem, OutputFile, Quota, ResourceFile, RetryLimit, StartTaskSpec, SweepMembers, TaskConstraints,
    TaskGlob, TaskLimits, TaskSet, UserAccount, UserIdentity,
};
use muster_model::state::*;
use muster_model::*;
use std::time::Duration;

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
        user_identity: UserIdentity::Auto { scope: AutoUserScope::Pool, elevation: ElevationLevel::Admin },
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
        ..Capabilities::default()
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
    row.errors = vec![NodeError {
        code: "StartTaskFailed".into(),
        message: "exit code 1".into(),
        details: Vec::new(),
        // Those versions kept no time: it reads as that of the node's state.
        time: row.state_since,
    }];
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
        on_out_of_memory: None,
    };
    row.spec.resources = Resources {
        slots: 2,
        cpu_millis: 1_500,
        memory_bytes: 1 << 32,
        disk_bytes: 1 << 33,
        ..Resources::default()
    };
    row.spec.limits = TaskLimits { pids_max: Some(64) };
    row.spec.user_identity =
        UserIdentity::Auto { scope: AutoUserScope::Task, elevation: ElevationLevel::NonAdmin };
    row.spec.depends_on.tasks = TaskSet {
        ids: vec![task_id("Setup")],
        ranges: vec![IdRange { start: 1, end: 40 }],
        ..TaskSet::default()
    };
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
            on_out_of_memory: None,
        }),
        started: Some(at(21)),
        ended: Some(at(30)),
        exit_code: Some(-9),
        signal: Some(9),
        result: Some(ExecutionResult::Failure),
        // Version 1 did not say so: the end of a task satisfied exactly when it was a success.
        satisfies: Some(false),
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
            ..Usage::default()
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

/// One record of every kind that version 1 knew, with every field that it had.
pub(crate) fn everything_of_version_1() -> Vec<Record> {
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

// ------------------------------------------------------------------------------------------------ since version 2

fn retries_and_memory(constraints: &mut TaskConstraints) {
    constraints.on_out_of_memory = Some(MemoryEscalation { factor_millis: 1_500, max_bytes: 1 << 34 });
}

fn full_dependencies(row: &mut TaskSpecRow) {
    row.spec.depends_on.tasks.globs = vec![TaskGlob::parse("tile-*").unwrap()];
    row.spec.depends_on.tasks.sweeps =
        vec![SweepMembers { sweep: sweep_id("frames"), numbers: Some((1, 10)) }];
    row.spec.depends_on.groups = vec![
        DependencyGroup {
            tasks: TaskSet { ids: vec![task_id("a"), task_id("b")], ..TaskSet::default() },
            condition: DependencyCondition::Failed,
            quota: Quota::AtLeast(1),
        },
        DependencyGroup {
            tasks: TaskSet {
                sweeps: vec![SweepMembers { sweep: sweep_id("frames"), numbers: None }],
                ..TaskSet::default()
            },
            condition: DependencyCondition::Completed,
            quota: Quota::Percent(90),
        },
    ];
    let options = |job_action, dependency_action| ExitOptions { job_action, dependency_action };
    row.spec.exit_conditions = Some(ExitConditions {
        codes: vec![(3, options(Some(JobAction::Terminate), None))],
        ranges: vec![(10, 19, options(None, Some(DependencyAction::Satisfy)))],
        pre_processing_error: Some(options(Some(JobAction::Disable), Some(DependencyAction::Block))),
        file_upload_error: Some(options(Some(JobAction::None), None)),
        default: Some(options(None, Some(DependencyAction::Block))),
    });
}

fn full_task_now() -> TaskSpecRow {
    let mut row = full_task();
    retries_and_memory(&mut row.spec.constraints);
    full_dependencies(&mut row);
    row.spec.resources.gpus = 2;
    row.spec.resources.named = NamedCounts::new([("licence".to_owned(), 1)]);
    row.spec.affinity = Some(node_id("tvm-1_1"));
    row
}

fn full_state_now() -> TaskStateRow {
    let mut row = full_state();
    row.previous_state_since = Some(at(22));
    row.last_retry = Some(at(23));
    row.last_requeue = Some(at(24));
    row.memory_bytes = Some(6 << 30);
    row.avoid = vec![node_id("tvm-1_2"), node_id("tvm-1_3")];
    row.nodes_lost = vec![node_id("tvm-1_3")];
    row.satisfies = Some(true);
    row.constraints.as_mut().into_iter().for_each(retries_and_memory);
    row
}

fn full_job_now() -> JobRow {
    let mut row = full_job();
    let constraints = TaskConstraints {
        max_wall_clock_time: Some(Duration::from_secs(60)),
        retention_time: Some(Duration::from_secs(600)),
        max_task_retry_count: Some(RetryLimit::Times(1)),
        on_out_of_memory: None,
    };
    row.previous_state_since = Some(at(2));
    row.spec.max_parallel_tasks = Some(7);
    row.spec.on_task_failure = OnTaskFailure::PerformExitOptionsJobAction;
    row.spec.on_dependency_failure = OnDependencyFailure::Skip;
    row.spec.manager = Some(JobManagerSpec {
        task: task_spec("Film", "director", 0).spec,
        kill_job_on_completion: true,
        run_exclusive: true,
    });
    row.spec.preparation = Some(JobPreparationSpec {
        id: task_id("jobpreparation"),
        command_line: "fetch scenes".into(),
        resource_files: resource_files(),
        environment: environment(),
        constraints,
        wait_for_success: true,
        user_identity: UserIdentity::Auto { scope: AutoUserScope::Pool, elevation: ElevationLevel::Admin },
        rerun_on_node_reboot_after_success: true,
    });
    row.spec.release = Some(JobReleaseSpec {
        id: task_id("jobrelease"),
        command_line: "remove scenes".into(),
        resource_files: resource_files(),
        environment: environment(),
        max_wall_clock_time: Duration::from_secs(90),
        retention_time: Some(Duration::from_secs(3_600)),
        user_identity: UserIdentity::default(),
    });
    row
}

fn full_node_now() -> NodeRow {
    let mut row = full_node();
    row.facts.capacity.gpus = 4;
    row.facts.capacity.named = NamedCounts::new([("licence".to_owned(), 3), ("tape".to_owned(), 1)]);
    row
}

fn full_sweep() -> SweepRow {
    let mut row = sweep_row("Film", "Frames", 100, 1);
    row.spec.template.display_name = "Frame {i} of {scene}".into();
    row.spec.template.command_line = "render {i} '{scene}'".into();
    row.spec.template.environment = environment();
    row.spec.template.resource_files = resource_files();
    row.spec.axes = vec![
        Axis::Table {
            names: vec!["scene".into(), "seed".into()],
            rows: vec![vec!["lake".into(), "1".into()], vec!["the wood".into(), String::new()]],
        },
        Axis::Range { name: "i".into(), start: 10, end: 39, step: 10 },
    ];
    row
}

fn full_sweep_state() -> SweepStateRow {
    let mut pending = IndexSet::default();
    pending.insert(4, 5);
    let mut cancelled = IndexSet::default();
    cancelled.insert(1, 1);
    let mut skipped = IndexSet::default();
    skipped.insert(3, 3);
    SweepStateRow {
        pending,
        ended: vec![
            EndedMembers {
                members: cancelled,
                at: at(20),
                result: ExecutionResult::Failure,
                failure: Some(failure()),
            },
            EndedMembers { members: skipped, at: at(21), result: ExecutionResult::Success, failure: None },
        ],
        deleting: true,
        modified: at(22),
        revision: 5,
        ..sweep_state("Film", "Frames", 6)
    }
}

fn full_job_node() -> JobNodeRow {
    let mut row = job_node_row("Film", "tvm-1_1");
    row.preparation = JobNodeTask {
        attempt: 3,
        state: JobNodeTaskState::Completed,
        placed: false,
        started: Some(at(10)),
        ended: Some(at(11)),
        exit_code: Some(0),
        retry_count: 2,
        last_retry: Some(at(9)),
        result: Some(ExecutionResult::Success),
        failure: None,
    };
    row.release = Some(JobNodeTask {
        result: Some(ExecutionResult::Failure),
        failure: Some(failure()),
        exit_code: Some(1),
        placed: true,
        ..row.preparation.clone()
    });
    row
}

/// One record of every kind that version 2 knew, with every field that it had.
pub(crate) fn everything_of_version_2() -> Vec<Record> {
    let mut records: Vec<Record> = everything_of_version_1();
    let task = task_id("Frame-001");
    for record in &mut records {
        if let Record::Job(row) = record
            && row.spec.id == job_id("Film")
        {
            **row = full_job_now();
        } else if let Record::Node(row) = record
            && row.id == node_id("tvm-1_1")
        {
            **row = full_node_now();
        } else if let Record::TaskSpec(row) = record
            && row.spec.id == task
        {
            **row = full_task_now();
        } else if let Record::TaskState(row) = record
            && row.task == task
        {
            **row = full_state_now();
        }
    }
    records.extend([
        Record::Sweep(Box::new(full_sweep())),
        Record::SweepState(Box::new(full_sweep_state())),
        Record::JobNode(Box::new(full_job_node())),
        Record::JobNode(Box::new(job_node_row("Film", "tvm-1_2"))),
    ]);
    for index in [0, 2] {
        records.extend(running_member(&full_sweep(), index));
    }
    let member = member_row(&full_sweep(), 2).task;
    records.push(Record::Attempt(Box::new(attempt_row("Film", member.as_str(), 1))));
    records
}

// ------------------------------------------------------------------------------------------------ since version 3

fn full_pool_of_version_3(row: &mut PoolRow) {
    row.spec.isolation_level = Some(IsolationLevel::Sandbox);
    row.spec.task_network = TaskNetwork::None;
    row.spec.user_accounts = vec![
        UserAccount {
            name: UserName::parse("ann").unwrap(),
            elevation: ElevationLevel::Admin,
            ids: Some((1_500, 1_501)),
        },
        UserAccount { name: UserName::parse("bob").unwrap(), elevation: ElevationLevel::NonAdmin, ids: None },
    ];
}

fn full_node_of_version_3(row: &mut NodeRow) {
    row.facts.capabilities = Capabilities {
        task_users: true,
        admin_tasks: true,
        isolation: IsolationLevel::Sandbox,
        network_isolation: true,
        seccomp: true,
        landlock_abi: 6,
        disk_limit: Some(DiskLimit::ProjectQuota),
        io_accounting: true,
        reboot: true,
        reimage: true,
        notes: vec!["no btrfs here".into(), "no quota: mount with prjquota".into()],
        ..row.facts.capabilities.clone()
    };
    let error = |code: &str, time| NodeError {
        code: code.into(),
        message: "1 GiB of 5 GiB free: remove something".into(),
        details: vec![("free_bytes".into(), "1073741824".into())],
        time,
    };
    row.errors = vec![error(NodeError::DISK_PRESSURE, at(40)), error(NodeError::CLOCK_SKEW, at(41))];
    row.drain = Some(Drain {
        option: DrainOption::TaskCompletion,
        deadline: Some(at(900)),
        then: AfterDrain::Reimage,
    });
    row.probation = Probation {
        launch_failures: 3,
        strikes: 2,
        until: Some(at(700)),
        error: Some(error(NodeError::LAUNCH_FAILURES, at(39))),
    };
}

/// One record of every kind that puts a row, with every field set, and some plain ones beside them.
pub(crate) fn everything() -> Vec<Record> {
    let mut records = everything_of_version_2();
    for record in &mut records {
        if let Record::Pool(row) = record
            && row.spec.id == pool_id("Farm")
        {
            full_pool_of_version_3(row);
        } else if let Record::Node(row) = record
            && row.id == node_id("tvm-1_1")
        {
            full_node_of_version_3(row);
        } else if let Record::TaskSpec(row) = record
            && row.spec.id == task_id("Frame-001")
        {
            row.spec.user_identity = UserIdentity::Named(UserName::parse("ann").unwrap());
        } else if let Record::Attempt(row) = record
            && row.number == 2
        {
            let usage = &mut row.result.usage;
            (usage.read_bytes, usage.written_bytes) = (1 << 20, 1 << 21);
            (usage.peak_processes, usage.peak_disk_bytes) = (17, 1 << 22);
        }
    }
    records
}

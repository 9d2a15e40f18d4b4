//! Strategies for values of the model and for plans: valid by construction, small, and with every optional part both ways.
//!
//! They promise that no conversion may refuse what they build: a refusal in `round_trip` is a fault of the conversion, or
//! of a strategy here. Texts and lists stay short, so that a failing case can be read; limits are tried in `refusals`.

use std::time::Duration;

use muster_model::node::{Capabilities, MachineFacts, NodeError, NodeMetrics, StartTaskInfo};
use muster_model::spec::{
    Axis, DependencyGroup, DependsOn, EnvironmentSetting, ExitConditions, ExitOptions, FileDestination,
    FileSource, IdRange, JobConstraints, JobManagerSpec, JobPreparationSpec, JobReleaseSpec, JobSpec,
    MemoryEscalation, MetadataItem, OutputFile, PoolSpec, Quota, ResourceFile, RetryLimit, StartTaskSpec,
    SweepMembers, SweepSpec, TaskConstraints, TaskGlob, TaskLimits, TaskSet, TaskSpec, UserAccount,
    UserIdentity,
};
use muster_model::state::{
    AttemptPhase, AutoUserScope, DependencyAction, DependencyCondition, DiskLimit, ElevationLevel,
    ExecutionResult, IsolationLevel, JobAction, JobDefaultOrder, NodeFillType, OnAllTasksComplete,
    OnDependencyFailure, OnLeaseExpiry, OnTaskFailure, StartTaskState, TaskNetwork, UploadCondition,
};
use muster_model::{
    AttemptId, AttemptResult, Cause, ContainerName, Digest, Excerpt, FailureInfo, FilePath, JobId,
    NamedCounts, OutputEntry, PoolId, Resources, SweepId, TaskId, Timestamp, Usage, UserName,
};
use muster_proto::convert::{
    Amendment, AttemptLimits, AttemptPlan, Finished, Metrics, NodeHealth, NodeSettings, PlannedFile,
    PlannedSource, StartTaskPlan,
};
use prop::collection::vec;
use prop::option::of;
use prop::sample::select;
use proptest::prelude::*;

const ID: &str = "[A-Za-z0-9_-]{1,64}";
const TEXT: &str = "[a-zA-Z0-9 äß€/.:-]{0,20}";

fn id<T>() -> impl Strategy<Value = T>
where
    T: std::str::FromStr + std::fmt::Debug,
    T::Err: std::fmt::Debug,
{
    ID.prop_map(|text| text.parse().unwrap())
}

fn container() -> impl Strategy<Value = ContainerName> {
    "[a-z0-9]{3,20}".prop_map(|name| ContainerName::parse(&name).unwrap())
}

fn path() -> impl Strategy<Value = FilePath> {
    "[a-zä]{1,8}(/[a-z0-9]{1,8}){0,3}".prop_map(|path| FilePath::parse(&path).unwrap())
}

fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest::from_bytes)
}

fn any_of<T: Copy + std::fmt::Debug + 'static>(values: &'static [T]) -> impl Strategy<Value = T> {
    select(values)
}

/// Points in time that the wire can hold.
pub(crate) fn time() -> impl Strategy<Value = Timestamp> {
    (-62_135_596_800_000_000_i64..=253_402_300_799_000_000).prop_map(Timestamp::from_micros)
}

fn span(min: u64) -> impl Strategy<Value = Duration> {
    (min..1_000_000_000, 0..1_000_000_000_u32).prop_map(|(seconds, nanos)| Duration::new(seconds, nanos))
}

fn retries() -> impl Strategy<Value = RetryLimit> {
    prop_oneof![Just(RetryLimit::Unlimited), (0..=i32::MAX.unsigned_abs()).prop_map(RetryLimit::Times)]
}

fn environment() -> impl Strategy<Value = Vec<EnvironmentSetting>> {
    vec(("[A-Z_]{1,9}", TEXT).prop_map(|(name, value)| EnvironmentSetting { name, value }), 0..4)
}

fn metadata() -> impl Strategy<Value = Vec<MetadataItem>> {
    vec(("[a-z]{1,9}", TEXT).prop_map(|(name, value)| MetadataItem { name, value }), 0..4)
}

fn user() -> impl Strategy<Value = UserIdentity> {
    let auto = (any_of(AutoUserScope::ALL), any_of(ElevationLevel::ALL))
        .prop_map(|(scope, elevation)| UserIdentity::Auto { scope, elevation });
    prop_oneof![auto, user_name().prop_map(UserIdentity::Named)]
}

fn user_name() -> impl Strategy<Value = UserName> {
    "[A-Za-z_][A-Za-z0-9_.-]{0,19}".prop_map(|name| UserName::parse(&name).unwrap())
}

fn user_accounts() -> impl Strategy<Value = Vec<UserAccount>> {
    let account = (any_of(ElevationLevel::ALL), of((1..u32::MAX, 1..u32::MAX)));
    prop::collection::btree_map(user_name(), account, 0..4).prop_map(|accounts| {
        let account = |(name, (elevation, ids))| UserAccount { name, elevation, ids };
        accounts.into_iter().map(account).collect()
    })
}

/// What a pool says of the separation of tasks.
fn separation() -> impl Strategy<Value = (Option<IsolationLevel>, TaskNetwork, Vec<UserAccount>)> {
    (of(any_of(IsolationLevel::ALL)), any_of(TaskNetwork::ALL), user_accounts())
}

fn resource_file() -> impl Strategy<Value = ResourceFile> {
    let named = prop_oneof![
        "https?://[a-z]{1,9}/[a-z]{0,9}".prop_map(FileSource::Http),
        (container(), path()).prop_map(|(container, path)| FileSource::FileStore { container, path }),
    ];
    let named = (named, path(), 0..=0o777_u32, of(digest())).prop_map(|(source, path, mode, digest)| {
        ResourceFile { source, file_path: Some(path), mode, digest }
    });
    let prefix = (container(), "[a-z/]{0,9}", of(path()), 0..=0o777_u32);
    let prefix = prefix.prop_map(|(container, prefix, file_path, mode)| ResourceFile {
        source: FileSource::FileStorePrefix { container, prefix },
        file_path,
        mode,
        digest: None,
    });
    prop_oneof![named, prefix]
}

fn output_file() -> impl Strategy<Value = OutputFile> {
    let pattern = prop_oneof![Just("../stdout.txt".to_owned()), "[a-z*?]{1,9}(/[a-z*]{1,9}){0,2}"];
    (pattern, container(), of(path()), any_of(UploadCondition::ALL)).prop_map(
        |(pattern, container, path, condition)| OutputFile {
            pattern,
            destination: FileDestination::FileStore { container, path },
            condition,
        },
    )
}

fn command_line() -> impl Strategy<Value = String> {
    "[a-z/]{1,20}( [a-z0-9'äß-]{1,9}){0,4}"
}

fn start_task() -> impl Strategy<Value = StartTaskSpec> {
    (command_line(), vec(resource_file(), 0..3), environment(), user(), retries(), any::<bool>()).prop_map(
        |(
            command_line,
            resource_files,
            environment,
            user_identity,
            max_task_retry_count,
            wait_for_success,
        )| {
            StartTaskSpec {
                command_line,
                resource_files,
                environment,
                user_identity,
                max_task_retry_count,
                wait_for_success,
            }
        },
    )
}

/// Pools.
pub(crate) fn pool_spec() -> impl Strategy<Value = PoolSpec> {
    let policy = (any_of(NodeFillType::ALL), any_of(JobDefaultOrder::ALL), any_of(OnLeaseExpiry::ALL));
    let sizes = (0..=100_000_u32, 1..=256_u32, span(300));
    (id::<PoolId>(), TEXT, sizes, policy, of(start_task()), metadata(), separation()).prop_map(
        |(id, display_name, sizes, policy, start_task, metadata, separation)| PoolSpec {
            id,
            display_name,
            target_dedicated_nodes: sizes.0,
            task_slots_per_node: sizes.1,
            node_fill_type: policy.0,
            job_default_order: policy.1,
            start_task,
            resize_timeout: sizes.2,
            on_lease_expiry: policy.2,
            metadata,
            isolation_level: separation.0,
            task_network: separation.1,
            user_accounts: separation.2,
        },
    )
}

/// Jobs.
pub(crate) fn job_spec() -> impl Strategy<Value = JobSpec> {
    let constraints = (of(span(1)), retries()).prop_map(|(max_wall_clock_time, max_task_retry_count)| {
        JobConstraints { max_wall_clock_time, max_task_retry_count }
    });
    let switches = (any::<bool>(), any_of(OnAllTasksComplete::ALL), -1000..=1000_i32);
    let failures =
        (any_of(OnTaskFailure::ALL), any_of(OnDependencyFailure::ALL), of(1..i32::MAX.unsigned_abs()));
    let ids = (id::<JobId>(), id::<PoolId>());
    (ids, TEXT, switches, failures, constraints, job_tasks(), environment(), metadata()).prop_map(
        |(ids, display_name, switches, failures, constraints, tasks, common_environment, metadata)| JobSpec {
            id: ids.0,
            display_name,
            pool: ids.1,
            priority: switches.2,
            constraints,
            uses_task_dependencies: switches.0,
            max_parallel_tasks: failures.2,
            on_all_tasks_complete: switches.1,
            on_task_failure: failures.0,
            on_dependency_failure: failures.1,
            manager: tasks.0,
            preparation: tasks.1,
            release: tasks.2,
            common_environment,
            metadata,
        },
    )
}

type JobTasks = (Option<JobManagerSpec>, Option<JobPreparationSpec>, Option<JobReleaseSpec>);

/// A job's own tasks: their ids differ, and there is no release without a preparation.
fn job_tasks() -> impl Strategy<Value = JobTasks> {
    let manager = (task_spec(), any::<[bool; 2]>()).prop_map(|(task, switches)| JobManagerSpec {
        task: TaskSpec {
            id: TaskId::parse("manager").unwrap(),
            depends_on: DependsOn::default(),
            exit_conditions: None,
            affinity: None,
            ..task
        },
        kill_job_on_completion: switches[0],
        run_exclusive: switches[1],
    });
    let preparation = (start_task(), constraints(0), any::<[bool; 2]>()).prop_map(
        |(task, constraints, [wait_for_success, rerun_on_node_reboot_after_success])| JobPreparationSpec {
            id: TaskId::parse("prepare").unwrap(),
            command_line: task.command_line,
            resource_files: task.resource_files,
            environment: task.environment,
            constraints,
            wait_for_success,
            user_identity: task.user_identity,
            rerun_on_node_reboot_after_success,
        },
    );
    let release =
        (start_task(), 1..=900_u64, of(span(0))).prop_map(|(task, seconds, retention_time)| JobReleaseSpec {
            id: TaskId::parse("release").unwrap(),
            command_line: task.command_line,
            resource_files: task.resource_files,
            environment: task.environment,
            max_wall_clock_time: Duration::from_secs(seconds),
            retention_time,
            user_identity: task.user_identity,
        });
    (of(manager), of(preparation), of(release)).prop_map(|(manager, preparation, release)| {
        let release = preparation.as_ref().and(release);
        (manager, preparation, release)
    })
}

fn sweep_id() -> impl Strategy<Value = SweepId> {
    "[A-Za-z0-9_-]{1,48}".prop_map(|text| SweepId::parse(&text).unwrap())
}

fn task_set() -> impl Strategy<Value = TaskSet> {
    let range = (any::<u32>(), any::<u32>()).prop_map(|(a, b)| IdRange { start: a.min(b), end: a.max(b) });
    let glob = "[a-z*?_-]{1,9}".prop_map(|text| TaskGlob::parse(&text).unwrap());
    let numbers = (any::<u64>(), any::<u64>()).prop_map(|(a, b)| (a.min(b), a.max(b)));
    let members = (sweep_id(), of(numbers)).prop_map(|(sweep, numbers)| SweepMembers { sweep, numbers });
    (vec(id::<TaskId>(), 0..4), vec(range, 0..3), vec(glob, 0..3), vec(members, 0..3))
        .prop_map(|(ids, ranges, globs, sweeps)| TaskSet { ids, ranges, globs, sweeps })
}

fn depends_on() -> impl Strategy<Value = DependsOn> {
    let group = (task_set(), id::<TaskId>(), any_of(DependencyCondition::ALL), 0..3, 1..=100_u8).prop_map(
        |(mut tasks, task, condition, kind, share)| {
            tasks.ids.push(task);
            let quota = match kind {
                0 => Quota::All,
                1 => Quota::AtLeast(1),
                _ if tasks.globs.is_empty() => Quota::Percent(share),
                _ => Quota::AtLeast(u64::try_from(tasks.ids.len()).unwrap()),
            };
            DependencyGroup { tasks, condition, quota }
        },
    );
    (task_set(), vec(group, 0..3)).prop_map(|(tasks, groups)| DependsOn { tasks, groups })
}

fn exit_conditions() -> impl Strategy<Value = ExitConditions> {
    let options = || {
        (of(any_of(JobAction::ALL)), of(any_of(DependencyAction::ALL)))
            .prop_map(|(job_action, dependency_action)| ExitOptions { job_action, dependency_action })
    };
    let codes = prop::collection::btree_map(any::<i32>(), options(), 0..4);
    let range =
        (any::<i32>(), any::<i32>(), options()).prop_map(|(a, b, options)| (a.min(b), a.max(b), options));
    (codes, vec(range, 0..3), of(options()), of(options()), of(options())).prop_map(
        |(codes, ranges, pre_processing_error, file_upload_error, default)| ExitConditions {
            codes: codes.into_iter().collect(),
            ranges,
            pre_processing_error,
            file_upload_error,
            default,
        },
    )
}

/// Constraints of a task that asks for this much memory.
fn constraints(memory_bytes: u64) -> impl Strategy<Value = TaskConstraints> {
    let escalation =
        (1001..=16_000_u32, memory_bytes..=u64::MAX).prop_map(move |(factor_millis, max_bytes)| {
            (memory_bytes > 0).then_some(MemoryEscalation { factor_millis, max_bytes })
        });
    (of(span(1)), of(span(0)), of(retries()), of(escalation)).prop_map(
        |(max_wall_clock_time, retention_time, max_task_retry_count, escalation)| TaskConstraints {
            max_wall_clock_time,
            retention_time,
            max_task_retry_count,
            on_out_of_memory: escalation.flatten(),
        },
    )
}

fn named() -> impl Strategy<Value = NamedCounts> {
    prop::collection::btree_map("[a-zA-Z0-9._-]{1,64}", 1..u64::MAX, 0..4).prop_map(NamedCounts::new)
}

/// Tasks.
pub(crate) fn task_spec() -> impl Strategy<Value = TaskSpec> {
    let amounts = (1..=256_u32, any::<u64>(), any::<u64>(), 0..=1024_u32);
    let needs = prop_oneof![Just(0), any::<u64>()].prop_flat_map(move |memory_bytes| {
        (amounts.clone(), named(), of(1..u32::MAX), constraints(memory_bytes)).prop_map(
            move |((slots, cpu_millis, disk_bytes, gpus), named, pids_max, constraints)| {
                let resources = Resources { slots, cpu_millis, memory_bytes, disk_bytes, gpus, named };
                (resources, TaskLimits { pids_max }, constraints)
            },
        )
    });
    let files = (vec(resource_file(), 0..3), vec(output_file(), 0..3));
    let names = (id::<TaskId>(), TEXT, command_line());
    let rest = (of(exit_conditions()), of(id()));
    (names, files, environment(), needs, user(), depends_on(), rest).prop_map(
        |(names, files, environment, needs, user_identity, depends_on, rest)| TaskSpec {
            id: names.0,
            display_name: names.1,
            command_line: names.2,
            resource_files: files.0,
            output_files: files.1,
            environment,
            constraints: needs.2,
            resources: needs.0,
            limits: needs.1,
            user_identity,
            depends_on,
            exit_conditions: rest.0,
            affinity: rest.1,
        },
    )
}

fn axis(name: &'static str) -> impl Strategy<Value = Axis> {
    let range = (0..1000_u64, 0..1000_u64, 1..9_u64).prop_map(move |(start, more, step)| Axis::Range {
        name: name.to_owned(),
        start,
        end: start + more,
        step,
    });
    let row = ("[a-z]{1,5}(/[a-z]{1,5})?", TEXT).prop_map(|(path, text)| vec![path, text]);
    let table = vec(row, 1..5)
        .prop_map(move |rows| Axis::Table { names: vec![name.to_owned(), format!("{name}_2")], rows });
    prop_oneof![range, table]
}

/// Sweeps that use the first parameter of each axis in texts and paths.
pub(crate) fn sweep_spec() -> impl Strategy<Value = SweepSpec> {
    let source = FileSource::Http("https://example.org/{a}/${HOME}/{{x}}".to_owned());
    let file = move |source: &FileSource| ResourceFile {
        source: source.clone(),
        file_path: Some(FilePath::parse("in/{a}").unwrap()),
        mode: 0o600,
        digest: None,
    };
    (sweep_id(), task_spec(), axis("a"), of(axis("b"))).prop_map(move |(id, template, first, second)| {
        let mut resource_files = template.resource_files;
        resource_files.push(file(&source));
        let template = TaskSpec {
            id: id.as_task_id(),
            command_line: "render --frame {a} '{print $1}'".to_owned(),
            resource_files,
            ..template
        };
        SweepSpec { id, template, axes: [Some(first), second].into_iter().flatten().collect() }
    })
}

/// New limits of attempts.
pub(crate) fn amendment() -> impl Strategy<Value = Amendment> {
    (attempt_id(), of(span(0)), span(0)).prop_map(|(attempt, wall_clock, retention)| Amendment {
        attempt,
        wall_clock,
        retention,
    })
}

/// Names of attempts.
pub(crate) fn attempt_id() -> impl Strategy<Value = AttemptId> {
    (id::<JobId>(), id::<TaskId>(), 1..u32::MAX).prop_map(|(job, task, number)| AttemptId {
        job,
        task,
        number,
    })
}

/// Phases of attempts.
pub(crate) fn phase() -> impl Strategy<Value = AttemptPhase> {
    any_of(AttemptPhase::ALL)
}

/// Failures.
pub(crate) fn failure() -> impl Strategy<Value = FailureInfo> {
    (any_of(Cause::ALL), TEXT, vec((TEXT, TEXT), 0..3)).prop_map(|(cause, message, details)| FailureInfo {
        cause,
        message,
        details,
    })
}

fn excerpt() -> impl Strategy<Value = Excerpt> {
    (vec(any::<u8>(), 0..40), vec(any::<u8>(), 0..40), 0..1_000_000_u64).prop_map(|(head, tail, middle)| {
        let total_bytes = u64::try_from(head.len() + tail.len()).unwrap() + middle;
        Excerpt { head, tail, total_bytes }
    })
}

/// What attempts used. Processor times go over the wire as durations of at most ten thousand years.
fn usage() -> impl Strategy<Value = Usage> {
    any::<[u64; 9]>().prop_map(|n| Usage {
        peak_memory_bytes: n[0],
        user_cpu_micros: n[1] % 315_576_000_000_000_000,
        kernel_cpu_micros: n[2] % 315_576_000_000_000_000,
        staged_bytes: n[3],
        uploaded_bytes: n[4],
        read_bytes: n[5],
        written_bytes: n[6],
        peak_processes: n[7],
        peak_disk_bytes: n[8],
    })
}

/// What is wrong with nodes.
pub(crate) fn node_health() -> impl Strategy<Value = NodeHealth> {
    let error = ("[A-Z][A-Za-z]{1,20}", TEXT, vec((TEXT, TEXT), 0..3), time())
        .prop_map(|(code, message, details, time)| NodeError { code, message, details, time });
    vec(error, 0..=10).prop_map(|errors| NodeHealth { errors })
}

/// What nodes and attempts use.
pub(crate) fn metrics() -> impl Strategy<Value = Metrics> {
    let node = (time(), any::<[u64; 7]>()).prop_map(|(time, n)| NodeMetrics {
        time,
        cpu_millis: n[0],
        memory_used_bytes: n[1],
        memory_total_bytes: n[2],
        disk_free_bytes: n[3],
        disk_total_bytes: n[4],
        cache_bytes: n[5],
        agent_memory_bytes: n[6],
    });
    (of(node), vec((attempt_id(), usage()), 0..4)).prop_map(|(node, attempts)| Metrics { node, attempts })
}

/// Results of attempts.
pub(crate) fn finished() -> impl Strategy<Value = Finished> {
    let entry = (container(), path(), digest(), any::<u64>())
        .prop_map(|(container, path, digest, size)| OutputEntry { container, path, digest, size });
    let codes = (of(any::<i32>()), of(any::<i32>()), of(failure()));
    (attempt_id(), codes, (of(time()), time()), usage(), (excerpt(), excerpt()), vec(entry, 0..3)).prop_map(
        |(attempt, (exit_code, signal, failure), (start_time, end_time), usage, streams, outputs)| {
            let result = if failure.is_some() { ExecutionResult::Failure } else { ExecutionResult::Success };
            let (stdout, stderr) = streams;
            let result = AttemptResult {
                result,
                exit_code,
                signal,
                failure,
                start_time,
                end_time,
                usage,
                stdout,
                stderr,
                outputs,
            };
            Finished { attempt, result }
        },
    )
}

/// Facts of machines.
pub(crate) fn machine_facts() -> impl Strategy<Value = MachineFacts> {
    let means = (any_of(IsolationLevel::ALL), of(any_of(DiskLimit::ALL)), any::<u32>(), vec(TEXT, 0..4));
    let capabilities = (select(vec!["none", "v1", "v2"]), any::<[bool; 11]>(), means).prop_map(
        |(cgroup, has, (isolation, disk_limit, landlock_abi, notes))| Capabilities {
            cgroup: cgroup.to_owned(),
            memory_limit: has[0],
            cpu_limit: has[1],
            pids_limit: has[2],
            user_switch: has[3],
            task_users: has[4],
            admin_tasks: has[5],
            isolation,
            network_isolation: has[6],
            seccomp: has[7],
            landlock_abi,
            disk_limit,
            io_accounting: has[8],
            reboot: has[9],
            reimage: has[10],
            notes,
        },
    );
    let amounts = (any::<u64>(), any::<u64>(), any::<u64>(), any::<u32>(), named());
    ("[a-f0-9]{1,32}", "[a-f0-9-]{1,36}", vec(TEXT, 4), amounts, capabilities, time()).prop_map(
        |(machine_id, boot_id, texts, amounts, capabilities, boot_time)| MachineFacts {
            machine_id,
            boot_id,
            hostname: texts[0].clone(),
            ip_address: texts[1].clone(),
            agent_version: texts[2].clone(),
            os: texts[3].clone(),
            capacity: Resources {
                slots: 0,
                cpu_millis: amounts.0,
                memory_bytes: amounts.1,
                disk_bytes: amounts.2,
                gpus: amounts.3,
                named: amounts.4,
            },
            capabilities,
            boot_time,
        },
    )
}

/// Courses of start tasks.
pub(crate) fn start_task_info() -> impl Strategy<Value = StartTaskInfo> {
    let outcome = (of(any_of(ExecutionResult::ALL)), of(failure()), of(any::<i32>()));
    (any_of(StartTaskState::ALL), time(), of(time()), outcome, any::<u32>()).prop_map(
        |(state, start_time, end_time, (result, failure, exit_code), retry_count)| StartTaskInfo {
            state,
            start_time,
            end_time,
            exit_code,
            retry_count,
            result,
            failure,
        },
    )
}

fn planned_file() -> impl Strategy<Value = PlannedFile> {
    let source = prop_oneof![
        digest().prop_map(PlannedSource::Content),
        "https://[a-z]{1,9}/[a-z]{0,9}".prop_map(PlannedSource::Http)
    ];
    (source, path(), 0..=0o777_u32, of(digest()), of(any::<u64>()))
        .prop_map(|(source, path, mode, expected, size)| PlannedFile { source, path, mode, expected, size })
}

/// Plans of attempts.
pub(crate) fn attempt_plan() -> impl Strategy<Value = AttemptPlan> {
    let limits = (any::<u64>(), any::<u64>(), of(1..u32::MAX), any::<u64>(), of(span(0))).prop_map(
        |(memory_bytes, cpu_millis, pids_max, disk_bytes, wall_clock)| AttemptLimits {
            memory_bytes,
            cpu_millis,
            pids_max,
            disk_bytes,
            wall_clock,
        },
    );
    let files = (vec(planned_file(), 0..3), vec(output_file(), 0..3));
    let ids = (attempt_id(), of(id::<TaskId>()));
    let ids = (ids, any::<u64>());
    (ids, command_line(), environment(), files, limits, user(), 0..=256_u32, span(0)).prop_map(
        |((ids, incarnation), command_line, environment, files, limits, user_identity, slots, retention)| {
            AttemptPlan {
                attempt: ids.0,
                incarnation,
                job_preparation: ids.1,
                gpus: slots % 5,
                command_line,
                environment,
                resource_files: files.0,
                output_files: files.1,
                limits,
                user_identity,
                slots,
                retention,
            }
        },
    )
}

/// Settings of nodes.
pub(crate) fn node_settings() -> impl Strategy<Value = NodeSettings> {
    let start_task =
        (any::<u64>(), start_task(), vec(planned_file(), 0..3)).prop_map(|(version, task, files)| {
            StartTaskPlan {
                version,
                command_line: task.command_line,
                environment: task.environment,
                resource_files: files,
                user_identity: task.user_identity,
                max_retries: task.max_task_retry_count,
                wait_for_success: task.wait_for_success,
            }
        });
    let numbers = (1..=256_u32, any::<u32>(), any::<bool>());
    (numbers, any_of(OnLeaseExpiry::ALL), TEXT, of(start_task), separation()).prop_map(
        |(
            (task_slots, dispatch_ahead, is_dedicated),
            on_lease_expiry,
            account_url,
            start_task,
            separation,
        )| {
            NodeSettings {
                task_slots,
                on_lease_expiry,
                dispatch_ahead,
                is_dedicated,
                account_url,
                start_task,
                isolation_level: separation.0,
                task_network: separation.1,
                user_accounts: separation.2,
            }
        },
    )
}

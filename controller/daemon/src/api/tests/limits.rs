//! Every limit of the reference (3.1) and of our own on pools, jobs, tasks and sweeps, one above and just at it.
//!
//! A table of requests: which field is refused and with which value and limit in words. All of them are tried on one world,
//! and everything that can be listed is the same afterwards. How one message is checked is `muster_proto`'s to test; here it
//! is tried that each call does check.

use super::studio::{Studio, create_sweep, job, sweep, task};
use muster_proto::convert::{reason_of, violations_of};
use muster_proto::wire::{self, ErrorReason};
use prost_types::Duration;
use tonic::{Code, Status};

/// One call with a value to try.
enum Call {
    Pool(wire::Pool),
    Resize(wire::ResizePoolRequest),
    RemoveNodes(usize),
    Job(wire::Job),
    UpdateJob(wire::Job),
    Terminate(String),
    Task(wire::Task),
    UpdateTask(wire::TaskConstraints),
    Batch(usize),
    Sweep(wire::Sweep),
    RequestId(String),
}

impl Call {
    async fn make(self, studio: &mut Studio) -> Result<(), Status> {
        let Studio { pools, jobs, tasks, world } = studio;
        match self {
            Self::Pool(pool) => {
                let request = wire::CreatePoolRequest { pool: Some(pool), ..Default::default() };
                pools.create_pool(request).await.map(|_| ())
            }
            Self::Resize(request) => pools.resize_pool(request).await.map(|_| ()),
            Self::RemoveNodes(count) => {
                let mut nodes =
                    wire::compute_node_service_client::ComputeNodeServiceClient::new(world.studio());
                let node_ids = (0..count).map(|n| format!("n{n}")).collect();
                let pool_id = "render".to_owned();
                let request = wire::RemoveNodesRequest { pool_id, node_ids, ..Default::default() };
                nodes.remove_nodes(request).await.map(|_| ())
            }
            Self::Job(job) => {
                let request = wire::CreateJobRequest { job: Some(job), ..Default::default() };
                jobs.create_job(request).await.map(|_| ())
            }
            Self::UpdateJob(job) => {
                let request = wire::UpdateJobRequest { job: Some(job), ..Default::default() };
                jobs.update_job(request).await.map(|_| ())
            }
            Self::Terminate(terminate_reason) => {
                let job_id = "film".to_owned();
                let request = wire::TerminateJobRequest { job_id, terminate_reason, ..Default::default() };
                jobs.terminate_job(request).await.map(|_| ())
            }
            Self::Task(task) => tasks.create_task(super::studio::create("film", task)).await.map(|_| ()),
            Self::UpdateTask(constraints) => {
                let job_id = "film".to_owned();
                let task = wire::Task { job_id, constraints: Some(constraints), ..task("old") };
                let request = wire::UpdateTaskRequest { task: Some(task), ..Default::default() };
                tasks.update_task(request).await.map(|_| ())
            }
            Self::Batch(count) => {
                let batch = (0..count).map(|n| task(&format!("batch-{n}"))).collect();
                let job_id = "film".to_owned();
                let request = wire::BatchCreateTasksRequest { job_id, tasks: batch, ..Default::default() };
                tasks.batch_create_tasks(request).await.map(|_| ())
            }
            Self::Sweep(sweep) => tasks.create_sweep(create_sweep(sweep)).await.map(|_| ()),
            Self::RequestId(request_id) => {
                let job_id = "film".to_owned();
                let request = wire::CreateTaskRequest { job_id, task: Some(task("named")), request_id };
                tasks.create_task(request).await.map(|_| ())
            }
        }
    }
}

fn pool(id: &str) -> wire::Pool {
    wire::Pool { id: id.into(), ..Default::default() }
}

fn seconds(seconds: i64) -> Option<Duration> {
    Some(Duration { seconds, nanos: 0 })
}

fn resize(target: u32, timeout: i64) -> wire::ResizePoolRequest {
    wire::ResizePoolRequest {
        pool_id: "render".into(),
        target_dedicated_nodes: Some(target),
        resize_timeout: seconds(timeout),
        ..Default::default()
    }
}

fn retries(count: i32) -> wire::TaskConstraints {
    wire::TaskConstraints { max_task_retry_count: Some(count), ..Default::default() }
}

fn job_retries(count: i32) -> Option<wire::JobConstraints> {
    Some(wire::JobConstraints { max_task_retry_count: Some(count), ..Default::default() })
}

fn released(span: i64) -> wire::Job {
    let preparation = wire::JobPreparationTask { command_line: "/bin/true".into(), ..Default::default() };
    let release = wire::JobReleaseTask {
        command_line: "/bin/true".into(),
        max_wall_clock_time: seconds(span),
        ..Default::default()
    };
    wire::Job { job_preparation_task: Some(preparation), job_release_task: Some(release), ..job("released") }
}

fn settings(count: usize) -> Vec<wire::EnvironmentSetting> {
    (0..count).map(|n| wire::EnvironmentSetting { name: format!("N{n}"), value: String::new() }).collect()
}

fn notes(count: usize) -> Vec<wire::MetadataItem> {
    (0..count).map(|n| wire::MetadataItem { name: format!("n{n}"), value: String::new() }).collect()
}

fn wanting(resources: wire::ResourceRequests) -> wire::Task {
    wire::Task { resources: Some(resources), ..task("wanting") }
}

fn waiting(depends_on: wire::TaskDependencies) -> wire::Task {
    wire::Task { depends_on: Some(depends_on), ..task("waiting") }
}

/// Ids of 64 characters, of which a thousand are the limit.
fn ids(count: usize) -> wire::TaskDependencies {
    let task_ids = (0..count).map(|n| format!("{n:064}")).collect();
    wire::TaskDependencies { task_ids, ..Default::default() }
}

fn globs(count: usize) -> wire::TaskDependencies {
    let task_id_globs = (0..count).map(|n| format!("g{n}-*")).collect();
    wire::TaskDependencies { task_id_globs, ..Default::default() }
}

fn exits(count: usize) -> wire::Task {
    let mapping = |code| wire::ExitCodeMapping { code, exit_options: None };
    let exit_codes = (1..).map(mapping).take(count).collect();
    wire::Task {
        exit_conditions: Some(wire::ExitConditions { exit_codes, ..Default::default() }),
        ..task("exits")
    }
}

fn escalating(factor: f64, max_memory_bytes: u64) -> wire::Task {
    let on_out_of_memory = Some(wire::MemoryEscalation { factor, max_memory_bytes });
    wire::Task {
        constraints: Some(wire::TaskConstraints { on_out_of_memory, ..Default::default() }),
        ..wanting(wire::ResourceRequests { memory_bytes: 1000, ..Default::default() })
    }
}

/// A sweep of a table with so many columns, whose one row has values of so many bytes each.
fn table(columns: usize, bytes: usize) -> wire::Sweep {
    let names = (0..columns).map(|n| format!("p{n}")).collect();
    let rows = vec![wire::SweepRow { values: vec!["x".repeat(bytes); columns] }];
    let values = wire::sweep_axis::Values::Table(wire::SweepTable { names, rows });
    wire::Sweep {
        template: Some(wire::Task { command_line: "/bin/true".into(), ..Default::default() }),
        axes: vec![wire::SweepAxis { values: Some(values) }],
        ..sweep("table", 1, 1)
    }
}

/// Label, call, field and words of the refusal.
type Case = (&'static str, Call, &'static str, &'static [&'static str]);

fn of_pools() -> Vec<Case> {
    vec![
        ("pool id", Call::Pool(pool("")), "pool.id", &["1 to 64"]),
        ("pool id", Call::Pool(pool(&"p".repeat(65))), "pool.id", &["1 to 64"]),
        ("pool id", Call::Pool(pool("a b")), "pool.id", &["\"a b\"", "letters"]),
        (
            "pool name",
            Call::Pool(wire::Pool { display_name: "ü".repeat(1025), ..pool("named") }),
            "pool.display_name",
            &["1025", "1024"],
        ),
        (
            "slots",
            Call::Pool(wire::Pool { task_slots_per_node: 257, ..pool("slots") }),
            "pool.task_slots_per_node",
            &["257", "256"],
        ),
        (
            "resize timeout",
            Call::Pool(wire::Pool { resize_timeout: seconds(299), ..pool("timeout") }),
            "pool.resize_timeout",
            &["300 seconds"],
        ),
        ("resize timeout", Call::Resize(resize(1, 299)), "resize_timeout", &["300 seconds"]),
        ("target", Call::Resize(resize(100_001, 300)), "target_dedicated_nodes", &["100001", "100000"]),
        ("removed nodes", Call::RemoveNodes(101), "node_ids", &["101", "100"]),
    ]
}

fn of_jobs() -> Vec<Case> {
    let named = |name: &str| wire::Job { display_name: name.into(), ..job("named") };
    let update = |job: wire::Job| Call::UpdateJob(wire::Job { id: "film".into(), pool_info: None, ..job });
    vec![
        ("job id", Call::Job(job("")), "job.id", &["1 to 64"]),
        ("job id", Call::Job(job(&"j".repeat(65))), "job.id", &["1 to 64"]),
        ("job id", Call::Job(job("a.b")), "job.id", &["\"a.b\""]),
        ("job name", Call::Job(named(&"x".repeat(1025))), "job.display_name", &["1025", "1024"]),
        ("priority", Call::Job(wire::Job { priority: 1001, ..job("p") }), "job.priority", &["1001", "1000"]),
        (
            "priority",
            Call::Job(wire::Job { priority: -1001, ..job("p") }),
            "job.priority",
            &["-1001", "-1000"],
        ),
        ("priority", update(wire::Job { priority: 1001, ..job("p") }), "job.priority", &["1001"]),
        (
            "parallel tasks",
            Call::Job(wire::Job { max_parallel_tasks: Some(0), ..job("p") }),
            "job.max_parallel_tasks",
            &["0 is not", "-1"],
        ),
        (
            "parallel tasks",
            update(wire::Job { max_parallel_tasks: Some(-2), ..job("p") }),
            "job.max_parallel_tasks",
            &["-2", "-1"],
        ),
        (
            "job retries",
            Call::Job(wire::Job { constraints: job_retries(-2), ..job("p") }),
            "job.constraints.max_task_retry_count",
            &["-2", "-1"],
        ),
        (
            "release",
            Call::Job(released(901)),
            "job.job_release_task.max_wall_clock_time",
            &["901 seconds", "900"],
        ),
        (
            "metadata",
            Call::Job(wire::Job { metadata: notes(101), ..job("m") }),
            "job.metadata",
            &["101", "100"],
        ),
        (
            "common environment",
            Call::Job(wire::Job { common_environment_settings: settings(1001), ..job("e") }),
            "job.common_environment_settings",
            &["1001", "1000"],
        ),
        ("reason", Call::Terminate("x".repeat(1025)), "terminate_reason", &["1025", "1024"]),
    ]
}

fn of_tasks() -> Vec<Case> {
    let with_command = |bytes: usize| wire::Task { command_line: "x".repeat(bytes), ..task("command") };
    let gpus = |gpus| wanting(wire::ResourceRequests { gpus, ..Default::default() });
    let with_output = |count| wire::Task {
        output_files: vec![
            wire::OutputFile {
                file_pattern: "*".into(),
                destination: Some(wire::output_file::Destination::FileStore(wire::FileStorePath {
                    container: "out".into(),
                    path: String::new(),
                })),
                ..Default::default()
            };
            count
        ],
        ..task("outputs")
    };
    vec![
        ("task id", Call::Task(task("")), "task.id", &["1 to 64"]),
        ("task id", Call::Task(task(&"t".repeat(65))), "task.id", &["1 to 64"]),
        ("task id", Call::Task(task("a:b")), "task.id", &["\"a:b\""]),
        (
            "task name",
            Call::Task(wire::Task { display_name: "x".repeat(1025), ..task("n") }),
            "task.display_name",
            &["1025", "1024"],
        ),
        ("command line", Call::Task(with_command(65_537)), "task.command_line", &["65537", "65536"]),
        ("command line", Call::Task(with_command(0)), "task.command_line", &["required"]),
        (
            "slots",
            Call::Task(wire::Task { required_slots: 257, ..task("s") }),
            "task.required_slots",
            &["257", "256"],
        ),
        (
            "retries",
            Call::Task(wire::Task { constraints: Some(retries(-2)), ..task("r") }),
            "task.constraints.max_task_retry_count",
            &["-2", "-1"],
        ),
        ("retries", Call::UpdateTask(retries(-2)), "task.constraints.max_task_retry_count", &["-2", "-1"]),
        ("gpus", Call::Task(gpus(1025)), "task.resources.gpus", &["1025", "1024"]),
        (
            "environment",
            Call::Task(wire::Task { environment_settings: settings(1001), ..task("e") }),
            "task.environment_settings",
            &["1001", "1000"],
        ),
        ("outputs", Call::Task(with_output(1001)), "task.output_files", &["1001", "1000"]),
        ("dependencies", Call::Task(waiting(ids(1001))), "task.depends_on.task_ids", &["64064", "64000"]),
        ("patterns", Call::Task(waiting(globs(65))), "task.depends_on.task_id_globs", &["65", "64"]),
        ("exit codes", Call::Task(exits(257)), "task.exit_conditions.exit_codes", &["257", "256"]),
        (
            "escalation",
            Call::Task(escalating(16.5, 5000)),
            "task.constraints.on_out_of_memory.factor",
            &["16.5", "16"],
        ),
        (
            "escalation",
            Call::Task(escalating(2.0, 999)),
            "task.constraints.on_out_of_memory.max_memory_bytes",
            &["999", "1000"],
        ),
        ("batch", Call::Batch(1001), "tasks", &["1001", "1000"]),
        ("request id", Call::RequestId("x".repeat(129)), "request_id", &["1 to 128"]),
    ]
}

fn of_sweeps() -> Vec<Case> {
    vec![
        ("sweep id", Call::Sweep(sweep(&"s".repeat(49), 1, 2)), "sweep.id", &["1 to 48"]),
        ("members", Call::Sweep(sweep("s", 1, 100_000_001)), "sweep.axes", &["100000001", "100000000"]),
        (
            "numbers",
            Call::Sweep(sweep("s", 999_999_999_999_999, 1_000_000_000_000_000)),
            "sweep.axes[0].range.end",
            &["1000000000000000", "999999999999999"],
        ),
        ("parameters", Call::Sweep(table(65, 1)), "sweep.axes", &["65", "64"]),
        ("values", Call::Sweep(table(40, 110_000)), "sweep.axes", &["4400040", "4194304"]),
    ]
}

#[tokio::test]
async fn a_value_above_a_limit_is_refused_with_both_and_changes_nothing() {
    let mut studio = Studio::with_film().await;
    studio.add(task("old")).await;
    let before = everything(&mut studio).await;
    let cases = [of_pools(), of_jobs(), of_tasks(), of_sweeps()].into_iter().flatten();
    for (label, call, field, words) in cases {
        let refused = call.make(&mut studio).await.expect_err(label);
        assert_eq!(refused.code(), Code::InvalidArgument, "{label}: {refused:?}");
        assert_eq!(reason_of(&refused), Some(ErrorReason::InvalidPropertyValue), "{label}");
        let fields: Vec<_> = violations_of(&refused).into_iter().map(|v| v.field).collect();
        assert!(fields.iter().any(|found| found.starts_with(field)), "{label}: {field} is not in {fields:?}");
        for word in words {
            assert!(refused.message().contains(word), "{label}: {word}: {}", refused.message());
        }
        assert_eq!(everything(&mut studio).await, before, "{label}: nothing has changed");
    }
}

#[tokio::test]
async fn a_value_at_its_limit_is_taken() {
    let mut studio = Studio::with_film().await;
    studio.add(task("old")).await;
    let at_limit = [
        Call::Pool(wire::Pool {
            display_name: "ü".repeat(1024),
            task_slots_per_node: 256,
            resize_timeout: seconds(300),
            ..pool(&"p".repeat(64))
        }),
        Call::Resize(resize(100_000, 300)),
        Call::Job(wire::Job {
            display_name: "x".repeat(1024),
            priority: 1000,
            max_parallel_tasks: Some(i32::MAX),
            metadata: notes(100),
            constraints: job_retries(-1),
            ..job(&"j".repeat(64))
        }),
        Call::Job(wire::Job { priority: -1000, common_environment_settings: settings(1000), ..job("low") }),
        Call::Job(released(900)),
        Call::Task(wire::Task {
            display_name: "x".repeat(1024),
            command_line: "x".repeat(65_536),
            environment_settings: settings(1000),
            constraints: Some(retries(-1)),
            ..task(&"t".repeat(64))
        }),
        Call::Task(wanting(wire::ResourceRequests { gpus: 1024, ..Default::default() })),
        Call::Task(waiting(ids(1000))),
        Call::Task(wire::Task { id: "globs".into(), ..waiting(globs(64)) }),
        Call::Task(exits(256)),
        Call::Task(wire::Task { id: "grows".into(), ..escalating(16.0, 1000) }),
        Call::UpdateTask(retries(-1)),
        Call::Batch(1000),
        Call::RequestId("x".repeat(128)),
        Call::Sweep(sweep(&"s".repeat(48), 999_999_999_999_990, 999_999_999_999_999)),
        Call::Sweep(sweep("many", 1, 100_000_000)),
        Call::Sweep(table(64, 65_000)),
        Call::Terminate("x".repeat(1024)),
    ];
    for (place, call) in at_limit.into_iter().enumerate() {
        let taken = call.make(&mut studio).await;
        assert!(taken.is_ok(), "{place}: {taken:?}");
    }
}

#[tokio::test]
async fn ids_are_unique_whatever_their_case_and_a_task_fits_its_pool() {
    let mut studio = Studio::with_film().await;
    studio.add(task("Frame")).await;
    studio.tasks.create_sweep(create_sweep(sweep("Many", 1, 5))).await.unwrap();
    let before = everything(&mut studio).await;
    let cases = [
        (Call::Pool(pool("RENDER")), ErrorReason::PoolExists, "'RENDER'"),
        (Call::Job(job("FILM")), ErrorReason::JobExists, "'FILM'"),
        (Call::Task(task("fRAME")), ErrorReason::TaskExists, "'Frame'"),
        (Call::Task(task("many-3")), ErrorReason::TaskExists, "'Many-3'"),
        (Call::Sweep(sweep("MANY", 8, 9)), ErrorReason::SweepExists, "'MANY'"),
    ];
    for (call, reason, words) in cases {
        let refused = call.make(&mut studio).await.unwrap_err();
        assert_eq!((refused.code(), reason_of(&refused)), (Code::AlreadyExists, Some(reason)), "{refused:?}");
        assert!(refused.message().contains(words), "{words}: {}", refused.message());
    }
    let wide = Call::Task(wire::Task { required_slots: 5, ..task("wide") });
    let refused = wide.make(&mut studio).await.unwrap_err();
    assert_eq!(
        (refused.code(), reason_of(&refused)),
        (Code::InvalidArgument, Some(ErrorReason::InvalidPropertyValue))
    );
    assert!(
        refused.message().contains("4 task slots") && refused.message().contains("asks for 5"),
        "{refused:?}"
    );
    assert_eq!(everything(&mut studio).await, before);
}

type Everything = (Vec<wire::Pool>, Vec<wire::Job>, Vec<wire::Task>, Vec<wire::Sweep>);

/// All that can be listed.
async fn everything(studio: &mut Studio) -> Everything {
    let pools = studio.pools.list_pools(wire::ListPoolsRequest::default()).await.unwrap();
    let jobs = studio.jobs.list_jobs(wire::ListJobsRequest::default()).await.unwrap();
    let tasks = wire::ListTasksRequest { job_id: "film".into(), ..Default::default() };
    let tasks = studio.tasks.list_tasks(tasks).await.unwrap();
    let sweeps = wire::ListSweepsRequest { job_id: "film".into(), ..Default::default() };
    let sweeps = studio.tasks.list_sweeps(sweeps).await.unwrap();
    (pools.into_inner().pools, jobs.into_inner().jobs, tasks.into_inner().tasks, sweeps.into_inner().sweeps)
}

//! A world with the pool render and the job film, and short forms of the messages that many tests send.
//!
//! Everything goes through the API as the account studio; a test that needs another caller makes its own client.

use super::super::testing::{Client, World};
use muster_proto::wire::job_service_client::JobServiceClient;
use muster_proto::wire::pool_service_client::PoolServiceClient;
use muster_proto::wire::task_service_client::TaskServiceClient;
use muster_proto::wire::{self, TaskState};

/// The world and the clients that most tests use.
pub(super) struct Studio {
    pub(super) world: World,
    pub(super) pools: PoolServiceClient<Client>,
    pub(super) jobs: JobServiceClient<Client>,
    pub(super) tasks: TaskServiceClient<Client>,
}

impl Studio {
    /// With the pool render of nodes with four slots.
    pub(super) async fn start() -> Self {
        Self::on(World::start().await).await
    }

    /// As a client of a world that there is already.
    pub(super) fn of(world: World) -> Self {
        Self {
            pools: PoolServiceClient::new(world.studio()),
            jobs: JobServiceClient::new(world.studio()),
            tasks: TaskServiceClient::new(world.studio()),
            world,
        }
    }

    /// With the pool, in an empty world.
    pub(super) async fn on(world: World) -> Self {
        let mut studio = Self::of(world);
        let pool = wire::Pool { id: "render".into(), task_slots_per_node: 4, ..Default::default() };
        let request = wire::CreatePoolRequest { pool: Some(pool), ..Default::default() };
        studio.pools.create_pool(request).await.unwrap();
        studio
    }

    /// With the pool, and the job film, whose tasks may depend on one another.
    pub(super) async fn with_film() -> Self {
        let mut studio = Self::start().await;
        studio.make(wire::Job { uses_task_dependencies: true, ..job("film") }).await;
        studio
    }

    pub(super) async fn make(&mut self, job: wire::Job) -> wire::Job {
        let request = wire::CreateJobRequest { job: Some(job), ..Default::default() };
        self.jobs.create_job(request).await.unwrap().into_inner()
    }

    pub(super) async fn add(&mut self, task: wire::Task) -> wire::Task {
        self.tasks.create_task(create("film", task)).await.unwrap().into_inner()
    }

    pub(super) async fn task(&mut self, id: &str) -> wire::Task {
        self.tasks.get_task(get(id)).await.unwrap().into_inner()
    }

    /// The states of all tasks of film, by id.
    pub(super) async fn states(&mut self) -> Vec<(String, TaskState)> {
        let list = wire::ListTasksRequest {
            job_id: "film".into(),
            order_by: "id".into(),
            page_size: 1000,
            ..Default::default()
        };
        let tasks = self.tasks.list_tasks(list).await.unwrap().into_inner().tasks;
        tasks.into_iter().map(|task| (task.id.clone(), task.state())).collect()
    }

    pub(super) async fn counts(&mut self) -> wire::TaskCounts {
        let request = wire::GetTaskCountsRequest { job_id: "film".into() };
        self.jobs.get_task_counts(request).await.unwrap().into_inner().task_counts.unwrap()
    }
}

/// A job on the pool render.
pub(super) fn job(id: &str) -> wire::Job {
    let pool_info = Some(wire::job::PoolInfo::PoolId("render".into()));
    wire::Job { id: id.into(), pool_info, ..Default::default() }
}

pub(super) fn task(id: &str) -> wire::Task {
    wire::Task { id: id.into(), command_line: "/bin/true".into(), ..Default::default() }
}

pub(super) fn create(job: &str, task: wire::Task) -> wire::CreateTaskRequest {
    wire::CreateTaskRequest { job_id: job.into(), task: Some(task), ..Default::default() }
}

pub(super) fn get(id: &str) -> wire::GetTaskRequest {
    wire::GetTaskRequest { job_id: "film".into(), task_id: id.into(), ..Default::default() }
}

/// A sweep over the numbers of a range, each written into the command line.
pub(super) fn sweep(id: &str, start: u64, end: u64) -> wire::Sweep {
    let range = wire::SweepRange { name: "frame".into(), start, end, step: 1 };
    wire::Sweep {
        id: id.into(),
        template: Some(wire::Task { command_line: "render {frame}".into(), ..Default::default() }),
        axes: vec![wire::SweepAxis { values: Some(wire::sweep_axis::Values::Range(range)) }],
        ..Default::default()
    }
}

pub(super) fn create_sweep(sweep: wire::Sweep) -> wire::CreateSweepRequest {
    wire::CreateSweepRequest { job_id: "film".into(), sweep: Some(sweep), ..Default::default() }
}

/// Exit conditions that end the job.
pub(super) fn ends_job() -> wire::ExitConditions {
    let options = wire::ExitOptions { job_action: wire::JobAction::Terminate.into(), ..Default::default() };
    wire::ExitConditions { default_options: Some(options), ..Default::default() }
}

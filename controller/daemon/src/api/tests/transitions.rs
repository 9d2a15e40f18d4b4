//! Every illegal move of a job or a task through the API: refused with the right status and reason, and nothing changed.
//!
//! A table of states by calls. Each state is reached through the API alone; each call is tried on a world of its own, and
//! the job, its counts and its tasks are compared before and after. What the moves mean is the core's to test.

use super::super::testing::FakeNode;
use super::studio::{Studio, create, create_sweep, job, sweep, task};
use muster_proto::convert::reason_of;
use muster_proto::wire::{self, ErrorReason, JobState, TaskState};
use tonic::{Code, Status};

/// A call that changes a job or something in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum JobCall {
    Update,
    ChangePool,
    Disable,
    Enable,
    Terminate,
    Add,
    AddSweep,
    ReactivateTask,
    ReactivateSweep,
}

impl JobCall {
    const ALL: [Self; 9] = [
        Self::Update,
        Self::ChangePool,
        Self::Disable,
        Self::Enable,
        Self::Terminate,
        Self::Add,
        Self::AddSweep,
        Self::ReactivateTask,
        Self::ReactivateSweep,
    ];

    async fn make(self, studio: &mut Studio) -> Result<(), Status> {
        let id = || "film".to_owned();
        let update = |job| wire::UpdateJobRequest { job: Some(job), ..Default::default() };
        let (jobs, tasks) = (&mut studio.jobs, &mut studio.tasks);
        match self {
            Self::Update => {
                let job = wire::Job { id: id(), priority: 3, ..Default::default() };
                jobs.update_job(update(job)).await.map(|_| ())
            }
            Self::ChangePool => {
                let pool_info = Some(wire::job::PoolInfo::PoolId("other".into()));
                jobs.update_job(update(wire::Job { id: id(), pool_info, ..Default::default() }))
                    .await
                    .map(|_| ())
            }
            Self::Disable => {
                let request = wire::DisableJobRequest { job_id: id(), ..Default::default() };
                jobs.disable_job(request).await.map(|_| ())
            }
            Self::Enable => {
                let request = wire::EnableJobRequest { job_id: id(), ..Default::default() };
                jobs.enable_job(request).await.map(|_| ())
            }
            Self::Terminate => {
                let request = wire::TerminateJobRequest { job_id: id(), ..Default::default() };
                jobs.terminate_job(request).await.map(|_| ())
            }
            Self::Add => tasks.create_task(create("film", task("new"))).await.map(|_| ()),
            Self::AddSweep => tasks.create_sweep(create_sweep(sweep("new", 1, 3))).await.map(|_| ()),
            Self::ReactivateTask => {
                let request = wire::ReactivateTaskRequest {
                    job_id: id(),
                    task_id: "failed".into(),
                    ..Default::default()
                };
                tasks.reactivate_task(request).await.map(|_| ())
            }
            Self::ReactivateSweep => {
                let request =
                    wire::ReactivateSweepRequest { job_id: id(), sweep_id: "s".into(), ..Default::default() };
                tasks.reactivate_sweep(request).await.map(|_| ())
            }
        }
    }
}

/// The job film in a state, with a failed task and an ended sweep; and the node that keeps it there.
async fn in_state(state: JobState) -> (Studio, Option<FakeNode>) {
    let mut studio = Studio::with_film().await;
    studio.add(task("failed")).await;
    let end =
        wire::TerminateTaskRequest { job_id: "film".into(), task_id: "failed".into(), ..Default::default() };
    studio.tasks.terminate_task(end).await.unwrap();
    studio.tasks.create_sweep(create_sweep(sweep("s", 1, 3))).await.unwrap();
    let end =
        wire::TerminateSweepRequest { job_id: "film".into(), sweep_id: "s".into(), ..Default::default() };
    studio.tasks.terminate_sweep(end).await.unwrap();
    let mut node = None;
    // A job that a node still works for does not come to the end of its way.
    if matches!(state, JobState::Disabling | JobState::Terminating | JobState::Deleting) {
        let mut running = studio.world.join("render", "n1").await;
        studio.add(task("running")).await;
        let attempt = running.dispatched().await.remove(0);
        running.started(&attempt).await;
        node = Some(running);
    }
    let job_id = || "film".to_owned();
    match state {
        JobState::Active | JobState::Enabling | JobState::Unspecified => {}
        JobState::Disabling | JobState::Disabled => JobCall::Disable.make(&mut studio).await.unwrap(),
        JobState::Terminating | JobState::Completed => JobCall::Terminate.make(&mut studio).await.unwrap(),
        JobState::Deleting => {
            let request = wire::DeleteJobRequest { job_id: job_id(), ..Default::default() };
            studio.jobs.delete_job(request).await.unwrap();
        }
    }
    let get = wire::GetJobRequest { job_id: job_id(), ..Default::default() };
    assert_eq!(studio.jobs.get_job(get).await.unwrap().into_inner().state(), state);
    (studio, node)
}

/// Everything that a client can see of the job.
async fn picture(studio: &mut Studio) -> (wire::Job, Vec<wire::Task>, Vec<wire::Sweep>, wire::TaskCounts) {
    let get = wire::GetJobRequest { job_id: "film".into(), ..Default::default() };
    let job = studio.jobs.get_job(get).await.unwrap().into_inner();
    let tasks = wire::ListTasksRequest { job_id: "film".into(), ..Default::default() };
    let tasks = studio.tasks.list_tasks(tasks).await.unwrap().into_inner().tasks;
    let sweeps = wire::ListSweepsRequest { job_id: "film".into(), ..Default::default() };
    let sweeps = studio.tasks.list_sweeps(sweeps).await.unwrap().into_inner().sweeps;
    (job, tasks, sweeps, studio.counts().await)
}

/// Makes a call and demands the refusal, or that there is none.
async fn demand(
    studio: &mut Studio,
    label: &str,
    expected: Option<ErrorReason>,
    outcome: Result<(), Status>,
    before: (wire::Job, Vec<wire::Task>, Vec<wire::Sweep>, wire::TaskCounts),
) {
    let Some(reason) = expected else {
        return outcome.unwrap_or_else(|refused| panic!("{label}: {refused:?}"));
    };
    let refused = outcome.expect_err(label);
    assert_eq!(refused.code(), Code::FailedPrecondition, "{label}: {refused:?}");
    assert_eq!(reason_of(&refused), Some(reason), "{label}: {refused:?}");
    assert_eq!(picture(studio).await, before, "{label}: a refused call has changed nothing");
}

/// Which reason a call on a job in a state is refused with (reference 3.5).
fn refusal(state: JobState, call: JobCall) -> Option<ErrorReason> {
    let over = match state {
        JobState::Terminating => Some(ErrorReason::JobBeingTerminated),
        JobState::Completed => Some(ErrorReason::JobCompleted),
        JobState::Deleting => Some(ErrorReason::JobBeingDeleted),
        JobState::Active
        | JobState::Disabling
        | JobState::Disabled
        | JobState::Enabling
        | JobState::Unspecified => None,
    };
    if over.is_some() {
        return over;
    }
    match (call, state) {
        (JobCall::Enable, JobState::Active) => Some(ErrorReason::OperationInvalidForCurrentState),
        (JobCall::ChangePool, JobState::Active | JobState::Disabling) => {
            Some(ErrorReason::OperationInvalidForCurrentState)
        }
        _ => None,
    }
}

#[tokio::test]
async fn every_call_on_a_job_in_every_state_is_allowed_or_refused_as_the_reference_says() {
    for state in [
        JobState::Active,
        JobState::Disabling,
        JobState::Disabled,
        JobState::Terminating,
        JobState::Completed,
        JobState::Deleting,
    ] {
        for call in JobCall::ALL {
            let (mut studio, _node) = in_state(state).await;
            let before = picture(&mut studio).await;
            let outcome = call.make(&mut studio).await;
            demand(&mut studio, &format!("{call:?} on {state:?}"), refusal(state, call), outcome, before)
                .await;
        }
    }
}

/// The task `t` of film in a state, and the node that holds it.
async fn task_in_state(state: TaskState, succeeded: bool) -> (Studio, Option<FakeNode>) {
    let mut studio = Studio::start().await;
    let preparation = wire::JobPreparationTask { command_line: "/bin/true".into(), ..Default::default() };
    let prepares = state == TaskState::Preparing;
    let film = wire::Job { job_preparation_task: prepares.then_some(preparation), ..job("film") };
    studio.make(film).await;
    studio.add(task("t")).await;
    if state == TaskState::Active {
        return (studio, None);
    }
    let mut node = studio.world.join("render", "n1").await;
    let attempt = node.dispatched().await.remove(0);
    if !prepares {
        node.started(&attempt).await;
    }
    if state == TaskState::Completed {
        node.finished(&attempt, i32::from(!succeeded), b"").await;
    }
    assert_eq!(studio.task("t").await.state(), state);
    (studio, Some(node))
}

#[derive(Debug, Clone, Copy)]
enum TaskCall {
    Update,
    Terminate,
    Reactivate,
    Delete,
}

impl TaskCall {
    async fn make(self, studio: &mut Studio) -> Result<(), Status> {
        let (job_id, task_id) = ("film".to_owned(), "t".to_owned());
        let tasks = &mut studio.tasks;
        match self {
            Self::Update => {
                let constraints =
                    Some(wire::TaskConstraints { max_task_retry_count: Some(3), ..Default::default() });
                let task = Some(wire::Task { job_id, constraints, ..task("t") });
                tasks.update_task(wire::UpdateTaskRequest { task, ..Default::default() }).await.map(|_| ())
            }
            Self::Terminate => {
                let request = wire::TerminateTaskRequest { job_id, task_id, ..Default::default() };
                tasks.terminate_task(request).await.map(|_| ())
            }
            Self::Reactivate => {
                let request = wire::ReactivateTaskRequest { job_id, task_id, ..Default::default() };
                tasks.reactivate_task(request).await.map(|_| ())
            }
            Self::Delete => {
                let request = wire::DeleteTaskRequest { job_id, task_id, ..Default::default() };
                tasks.delete_task(request).await.map(|_| ())
            }
        }
    }
}

#[tokio::test]
async fn every_call_on_a_task_in_every_state_is_allowed_or_refused_as_the_reference_says() {
    use ErrorReason::{TaskCompleted, TaskNotCompleted, TaskSucceeded};
    let all = [TaskCall::Update, TaskCall::Terminate, TaskCall::Reactivate, TaskCall::Delete];
    let table = [
        (TaskState::Active, false, [None, None, Some(TaskNotCompleted), None]),
        (TaskState::Preparing, false, [None, None, Some(TaskNotCompleted), None]),
        (TaskState::Running, false, [None, None, Some(TaskNotCompleted), None]),
        (TaskState::Completed, false, [Some(TaskCompleted), Some(TaskCompleted), None, None]),
        (TaskState::Completed, true, [Some(TaskCompleted), Some(TaskCompleted), Some(TaskSucceeded), None]),
    ];
    for (state, succeeded, expected) in table {
        for (call, expected) in all.into_iter().zip(expected) {
            let (mut studio, _node) = task_in_state(state, succeeded).await;
            let before = picture(&mut studio).await;
            let outcome = call.make(&mut studio).await;
            let label = format!("{call:?} on {state:?} (succeeded: {succeeded})");
            demand(&mut studio, &label, expected, outcome, before).await;
        }
    }
}

#[tokio::test]
async fn what_is_not_there_cannot_be_changed() {
    let mut studio = Studio::start().await;
    for call in JobCall::ALL {
        let refused = call.make(&mut studio).await.unwrap_err();
        assert_eq!(
            (refused.code(), reason_of(&refused)),
            (Code::NotFound, Some(ErrorReason::JobNotFound)),
            "{call:?}"
        );
    }
    studio.make(job("film")).await;
    for call in [TaskCall::Update, TaskCall::Terminate, TaskCall::Reactivate, TaskCall::Delete] {
        let refused = call.make(&mut studio).await.unwrap_err();
        let expected = (Code::NotFound, Some(ErrorReason::TaskNotFound));
        assert_eq!((refused.code(), reason_of(&refused)), expected, "{call:?}");
    }
    for call in [JobCall::ReactivateSweep, JobCall::ReactivateTask] {
        assert_eq!(call.make(&mut studio).await.unwrap_err().code(), Code::NotFound, "{call:?}");
    }
}

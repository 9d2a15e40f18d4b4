//! Adding tasks: one, or up to a thousand of which each stands for itself.
//!
//! A task that cannot be converted is refused alone, before the rest is handed in; a task that the core refuses is
//! refused alone, too. Only what concerns the request as a whole (its job, its size, its request id) refuses all.

use super::context::{Api, checked, required};
use super::{lookup, refused};
use crate::auth::JobPermit;
use crate::refusal;
use muster_controller_core::input::Command;
use muster_controller_core::reply::{Reply, TaskRefused};
use muster_model::limits::BATCH_TASKS_MAX;
use muster_model::spec::TaskSpec;
use muster_model::{AccountName, JobId, RequestId, TaskId, TaskKey};
use muster_proto::convert::{
    FieldErrors, Problem, batch_task, etag_out, job_action_refused, job_id, needs_job_action, request_id,
    status_field, timestamp_out,
};
use muster_proto::wire::{self, TaskAddStatus};
use muster_store::TaskView;
use tonic::Status;

/// The engine answered a command of tasks with something else: a fault of this program.
#[derive(Debug, thiserror::Error)]
#[error("the engine answered {reply:?} to CreateTasks")]
struct UnexpectedReply {
    reply: Reply,
}

/// The tasks that a command of tasks did not add.
pub(super) fn refused_of(reply: Reply) -> Result<Vec<TaskRefused>, Status> {
    match reply {
        Reply::Tasks(refused) => Ok(refused),
        reply @ (Reply::Done | Reply::Joined(_)) => {
            Err(refusal::internal(&UnexpectedReply { reply }, "adding tasks"))
        }
    }
}

/// Refuses a task whose exit conditions name an action on a job that does not allow it. `field` is its place in the
/// request.
pub(super) async fn refuse_job_action(
    api: &Api,
    account: &AccountName,
    job: &JobId,
    task: &TaskSpec,
    field: &str,
) -> Result<(), Status> {
    if needs_job_action(task) && !lookup::allows_job_actions(api, account, job).await? {
        return Err(job_action_refused(field).into());
    }
    Ok(())
}

/// Hands tasks in; answers those that the core refused, by their place among `tasks`.
async fn add(
    api: &Api,
    account: &AccountName,
    request_id: Option<RequestId>,
    job: &JobId,
    tasks: Vec<TaskSpec>,
) -> Result<Vec<TaskRefused>, Status> {
    refused_of(api.submit(account, request_id, Command::CreateTasks { job: job.clone(), tasks }).await?)
}

/// Adds one task; whatever refuses it refuses the call.
pub(super) async fn create_one(
    api: &Api,
    permit: JobPermit,
    request: wire::CreateTaskRequest,
) -> Result<wire::Task, Status> {
    let (job, request_id) = checked(|c| {
        let request_id = request_id(c, &request.request_id);
        job_id(c, &request.job_id).map(|job| (job, request_id))
    })?;
    let account = permit.for_job(&job)?;
    let spec = TaskSpec::try_from(required("task", request.task, "describe the task")?)?;
    refuse_job_action(api, account, &job, &spec, "task").await?;
    let key = TaskKey { job: job.clone(), task: spec.id.clone() };
    let not_added = add(api, account, request_id, &job, vec![spec]).await?;
    if let Some(task) = not_added.first() {
        return Err(refused::of_task(task, &key));
    }
    Ok(lookup::task(api, account, &key).await?.message())
}

/// One task of a batch after its conversion.
enum Outcome {
    /// Handed in, at this place among those that were.
    Given(TaskId),
    /// Refused by its conversion.
    Wrong(wire::ItemError),
}

/// Adds many tasks, each for itself.
pub(super) async fn create_batch(
    api: &Api,
    permit: JobPermit,
    request: wire::BatchCreateTasksRequest,
) -> Result<wire::BatchCreateTasksResponse, Status> {
    let (job, request_id) = checked(|c| {
        let request_id = request_id(c, &request.request_id);
        job_id(c, &request.job_id).map(|job| (job, request_id))
    })?;
    let account = permit.for_job(&job)?;
    let given = request.tasks.len();
    if given == 0 {
        return Err(status_field("tasks", Problem::Missing { hint: "give at least one task" }));
    }
    if given > BATCH_TASKS_MAX {
        return Err(status_field("tasks", Problem::TooMany { given, max: BATCH_TASKS_MAX }));
    }
    let names: Vec<String> = request.tasks.iter().map(|task| task.id.clone()).collect();
    let specs: Vec<_> =
        request.tasks.into_iter().enumerate().map(|(index, task)| batch_task(index, task)).collect();
    let wants_action = specs.iter().flatten().any(needs_job_action);
    let allows_action = !wants_action || lookup::allows_job_actions(api, account, &job).await?;
    let (specs, outcomes) = sorted(specs, allows_action);
    let not_added = if specs.is_empty() {
        lookup::job(api, account, &job).await?;
        Vec::new()
    } else {
        add(api, account, request_id, &job, specs).await?
    };
    let added = read_added(api, account, &job, &outcomes, &not_added).await?;
    Ok(wire::BatchCreateTasksResponse { results: results(names, outcomes, &not_added, &added) })
}

/// The tasks to hand in, and what has become of each so far.
fn sorted(checked: Vec<Result<TaskSpec, FieldErrors>>, allows_action: bool) -> (Vec<TaskSpec>, Vec<Outcome>) {
    let mut specs = Vec::with_capacity(checked.len());
    let mut outcomes = Vec::with_capacity(checked.len());
    for (index, spec) in checked.into_iter().enumerate() {
        let spec = spec.and_then(|spec| match allows_action || !needs_job_action(&spec) {
            true => Ok(spec),
            false => Err(job_action_refused(&format!("tasks[{index}]"))),
        });
        outcomes.push(match spec {
            Ok(spec) => {
                let id = spec.id.clone();
                specs.push(spec);
                Outcome::Given(id)
            }
            Err(errors) => Outcome::Wrong(wire::ItemError::from(&errors)),
        });
    }
    (specs, outcomes)
}

fn is_refused(not_added: &[TaskRefused], place: usize) -> Option<&TaskRefused> {
    not_added.iter().find(|task| usize::try_from(task.index).is_ok_and(|index| index == place))
}

/// The tasks that were added, by their place among those handed in.
async fn read_added(
    api: &Api,
    account: &AccountName,
    job: &JobId,
    outcomes: &[Outcome],
    not_added: &[TaskRefused],
) -> Result<Vec<Option<TaskView>>, Status> {
    let given = outcomes.iter().filter_map(|outcome| match outcome {
        Outcome::Given(task) => Some(TaskKey { job: job.clone(), task: task.clone() }),
        Outcome::Wrong(_) => None,
    });
    let wanted: Vec<Option<TaskKey>> =
        given.enumerate().map(|(place, key)| is_refused(not_added, place).is_none().then_some(key)).collect();
    let account = account.clone();
    api.read(move |reader| {
        wanted.iter().map(|key| key.as_ref().map_or(Ok(None), |key| reader.task(&account, key))).collect()
    })
    .await
}

fn results(
    names: Vec<String>,
    outcomes: Vec<Outcome>,
    not_added: &[TaskRefused],
    added: &[Option<TaskView>],
) -> Vec<wire::TaskAddResult> {
    let mut place = 0;
    let mut one = |task_id: String, outcome: Outcome| {
        let error = match outcome {
            Outcome::Wrong(error) => Some(error),
            Outcome::Given(_) => {
                let here = place;
                place += 1;
                match is_refused(not_added, here) {
                    Some(task) => Some(refused::item_of(task)),
                    None => return success(task_id, added.get(here).and_then(Option::as_ref)),
                }
            }
        };
        wire::TaskAddResult {
            task_id,
            status: TaskAddStatus::ClientError.into(),
            error,
            ..Default::default()
        }
    };
    names.into_iter().zip(outcomes).map(|(name, outcome)| one(name, outcome)).collect()
}

/// A task that was added. It may be gone again by now; it was added all the same.
fn success(task_id: String, view: Option<&TaskView>) -> wire::TaskAddResult {
    wire::TaskAddResult {
        task_id,
        status: TaskAddStatus::Success.into(),
        error: None,
        etag: view.map(|view| etag_out(view.state.revision)).unwrap_or_default(),
        create_time: view.map(|view| timestamp_out(view.spec.created)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_controller_core::reject::RejectKind;
    use muster_proto::convert::item_error;
    use muster_proto::wire::ErrorReason;
    use tonic::Code;

    #[test]
    fn results_keep_the_order_of_the_request_whoever_refused() {
        let wrong =
            || Outcome::Wrong(item_error(Code::InvalidArgument, ErrorReason::InvalidPropertyValue, "bad"));
        let given = |id: &str| Outcome::Given(TaskId::parse(id).unwrap());
        let outcomes = vec![wrong(), given("a"), given("b"), wrong(), given("c")];
        let names = ["", "a", "b", "x y", "c"].map(str::to_owned).to_vec();
        let exists = TaskRefused {
            index: 1,
            kind: RejectKind::AlreadyExists,
            code: "TaskExists".into(),
            message: "job 'j' already has a task 'b'".into(),
        };
        let results = results(names, outcomes, &[exists], &[None, None, None]);
        let statuses: Vec<_> = results.iter().map(wire::TaskAddResult::status).collect();
        use TaskAddStatus::{ClientError, Success};
        assert_eq!(statuses, [ClientError, Success, ClientError, ClientError, Success]);
        let error = results[2].error.clone().unwrap();
        assert_eq!((error.reason(), error.code), (ErrorReason::TaskExists, i32::from(Code::AlreadyExists)));
    }
}

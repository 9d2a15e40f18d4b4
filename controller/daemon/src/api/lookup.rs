//! Reading one thing that must be there: a node of a pool, a job, a task with what belongs to it. The refusal names what
//! is missing, the outermost first.
//!
//! Whatever an answer is made of is read in one go, so that it is one state of the store.

use super::context::Api;
use super::{refused, view};
use muster_controller_core::TaskCounts;
use muster_controller_core::input::NodeKey;
use muster_controller_core::record::{AttemptRow, JobRow, NodeRow, PoolRow};
use muster_controller_core::reject::Reject;
use muster_model::state::OnTaskFailure;
use muster_model::{AccountName, AttemptId, JobId, NodeId, PoolId, TaskKey, Usage};
use muster_proto::convert::{Checker, job_id, task_id};
use muster_proto::wire;
use muster_store::{Reader, StoreError, TaskView};
use tonic::Status;

/// The refusal for a pool that is not there.
pub(super) fn no_pool(pool: &PoolId) -> Status {
    refused::of_reject(&Reject::PoolNotFound(pool.clone()))
}

/// A node with its pool; one of another pool counts as missing.
pub(super) async fn node(
    api: &Api,
    account: &AccountName,
    pool: &PoolId,
    node: &NodeId,
) -> Result<(PoolRow, NodeRow), Status> {
    let (of, id, pool_id) = (account.clone(), node.clone(), pool.clone());
    let found = api
        .read(move |reader| {
            let pool = reader.pool(&of, &pool_id)?;
            Ok((pool, reader.node(&of, &id)?.filter(|row| row.pool == pool_id)))
        })
        .await?;
    match found {
        (Some(pool), Some(row)) => Ok((pool, row)),
        (None, _) => Err(no_pool(pool)),
        (Some(_), None) => {
            let missing = Reject::NodeNotFound { pool: pool.clone(), node: node.clone() };
            Err(refused::of_reject(&missing))
        }
    }
}

/// A job's row.
pub(super) async fn job(api: &Api, account: &AccountName, job: &JobId) -> Result<JobRow, Status> {
    let (of, id) = (account.clone(), job.clone());
    api.read_one(move |reader| reader.job(&of, &id), || Reject::JobNotFound(job.clone())).await
}

/// Whether the tasks of a job may name actions on it. Refuses when there is no such job.
pub(super) async fn allows_job_actions(api: &Api, account: &AccountName, id: &JobId) -> Result<bool, Status> {
    let job = job(api, account, id).await?;
    Ok(job.spec.on_task_failure == OnTaskFailure::PerformExitOptionsJobAction)
}

/// The live counters of a job.
pub(super) async fn task_counts(
    api: &Api,
    account: &AccountName,
    job: &JobId,
) -> Result<Option<TaskCounts>, Status> {
    let (of, id) = (account.clone(), job.clone());
    api.query(move |core| core.task_counts(&of, &id)).await
}

/// The fields `job_id` and `task_id`.
pub(super) fn task_key(c: &mut Checker, job: &str, task: &str) -> Option<TaskKey> {
    let job = job_id(c, job);
    let task = task_id(c, task);
    Some(TaskKey { job: job?, task: task? })
}

/// All that is known of a task.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) view: TaskView,
    pub(super) pool: PoolId,
    /// The last attempt that ended.
    pub(super) last: Option<AttemptRow>,
    /// What the attempt that is held now has used so far, where that is known.
    pub(super) live: Option<Usage>,
}

impl Known {
    /// Reads a task, or says what is missing: the task or its job.
    pub(super) fn read(
        reader: &dyn Reader,
        account: &AccountName,
        key: &TaskKey,
    ) -> Result<Result<Self, Reject>, StoreError> {
        let Some(job) = reader.job(account, &key.job)? else {
            return Ok(Err(Reject::JobNotFound(key.job.clone())));
        };
        let Some(view) = reader.task(account, key)? else {
            return Ok(Err(Reject::TaskNotFound { job: key.job.clone(), task: key.task.clone() }));
        };
        let last = last_ended(reader, account, &view)?;
        Ok(Ok(Self { view, pool: job.spec.pool, last, live: None }))
    }

    /// The task's name as it is kept: a member of a sweep is found with fewer zeros, too.
    pub(super) fn key(&self) -> TaskKey {
        TaskKey { job: self.view.spec.job.clone(), task: self.view.spec.spec.id.clone() }
    }

    /// The task as a message.
    pub(super) fn message(&self) -> wire::Task {
        view::task(&self.view, &self.pool, self.last.as_ref(), self.live.as_ref())
    }
}

/// What the attempt that a task has on a node has used so far, as the node told last.
pub(super) fn live_usage(api: &Api, account: &AccountName, view: &TaskView) -> Option<Usage> {
    let node = view.state.node.clone().filter(|_| view.state.placed)?;
    let (job, task, number) = (view.spec.job.clone(), view.spec.spec.id.clone(), view.state.attempt);
    let node = NodeKey { account: account.clone(), node };
    api.parts.board.attempt(&node, &AttemptId { job, task, number })
}

/// The last attempt that ended: the one before the current while that is held, else the current one itself.
pub(super) fn last_ended(
    reader: &dyn Reader,
    account: &AccountName,
    view: &TaskView,
) -> Result<Option<AttemptRow>, StoreError> {
    let state = &view.state;
    let number = if state.placed { state.attempt.saturating_sub(1) } else { state.attempt };
    if number == 0 {
        return Ok(None);
    }
    let attempt = AttemptId { job: view.spec.job.clone(), task: view.spec.spec.id.clone(), number };
    reader.attempt(account, &attempt)
}

/// Reads a task.
pub(super) async fn task(api: &Api, account: &AccountName, key: &TaskKey) -> Result<Known, Status> {
    let (of, wanted) = (account.clone(), key.clone());
    let found = api.read(move |reader| Known::read(reader, &of, &wanted)).await?;
    let mut known = found.map_err(|reject| refused::of_reject(&reject))?;
    known.live = live_usage(api, account, &known.view);
    Ok(known)
}

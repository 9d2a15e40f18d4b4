//! ExplainTask, ExplainJob and CheckTask: why tasks wait, asked of the live core.
//!
//! The core answers from the same predicates as placement; here requests are checked and its words are passed on. What
//! CheckTask refuses, CreateTask would refuse.

use super::context::{Api, checked, required};
use super::lookup::task_key;
use super::task_batch::refuse_job_action;
use super::{refused, view};
use crate::auth::JobPermit;
use muster_model::TaskKey;
use muster_model::spec::TaskSpec;
use muster_proto::convert::job_id;
use muster_proto::wire;
use tonic::Status;

/// Why a task waits.
pub(super) async fn task(
    api: &Api,
    permit: JobPermit,
    request: wire::ExplainTaskRequest,
) -> Result<wire::ExplainTaskResponse, Status> {
    let key = checked(|c| task_key(c, &request.job_id, &request.task_id))?;
    let (account, now) = (permit.for_job(&key.job)?.clone(), api.now());
    let found = api.query(move |core| {
        let TaskKey { job, task } = &key;
        core.explain_task(&account, job, task, now)
    });
    found.await?.map(|found| view::explanation(&found)).map_err(|reject| refused::of_reject(&reject))
}

/// Why the waiting tasks of a job wait.
pub(super) async fn job(
    api: &Api,
    permit: JobPermit,
    request: wire::ExplainJobRequest,
) -> Result<wire::ExplainJobResponse, Status> {
    let job = checked(|c| job_id(c, &request.job_id))?;
    let (account, now) = (permit.for_job(&job)?.clone(), api.now());
    let found = api.query(move |core| core.explain_job(&account, &job, now)).await?;
    found.map(|found| view::job_explanation(&found)).map_err(|reject| refused::of_reject(&reject))
}

/// What a task would wait for if it were added.
pub(super) async fn new_task(
    api: &Api,
    permit: JobPermit,
    request: wire::CheckTaskRequest,
) -> Result<wire::ExplainTaskResponse, Status> {
    let job = checked(|c| job_id(c, &request.job_id))?;
    let (account, now) = (permit.for_job(&job)?.clone(), api.now());
    let spec = TaskSpec::try_from(required("task", request.task, "describe the task")?)?;
    refuse_job_action(api, &account, &job, &spec, "task").await?;
    let found = api.query(move |core| core.explain_new(&account, &job, &spec, now)).await?;
    found.map(|found| view::explanation(&found)).map_err(|reject| refused::of_reject(&reject))
}

//! Named users: a task may run as one only if every node of its job's pool has it.
//!
//! Only whether the name is known; which rights it has on a node is the agent's to see to. A job whose pool does not exist
//! yet is taken on trust, as it is with slots.

use crate::reject::Reject;
use muster_model::spec::{JobSpec, PoolSpec, UserIdentity};

/// Refuses a user that a pool does not have; `what` names it in words.
pub(crate) fn refuse_unknown(
    pool: &PoolSpec,
    identity: &UserIdentity,
    what: impl FnOnce() -> String,
) -> Result<(), Reject> {
    let UserIdentity::Named(user) = identity else { return Ok(()) };
    if pool.user_accounts.iter().any(|account| account.name == *user) {
        return Ok(());
    }
    Err(Reject::UserUnknown { what: what(), user: user.clone(), pool: pool.id.clone() })
}

/// Refuses a job whose own tasks name a user that its pool does not have.
pub(crate) fn refuse_unknown_in_job(pool: &PoolSpec, job: &JobSpec) -> Result<(), Reject> {
    if let Some(manager) = &job.manager {
        refuse_unknown(pool, &manager.task.user_identity, || "the job manager task".to_owned())?;
    }
    if let Some(preparation) = &job.preparation {
        refuse_unknown(pool, &preparation.user_identity, || "the job preparation task".to_owned())?;
    }
    if let Some(release) = &job.release {
        refuse_unknown(pool, &release.user_identity, || "the job release task".to_owned())?;
    }
    Ok(())
}

/// Refuses a pool whose start task names a user that the pool does not have.
pub(crate) fn refuse_unknown_in_start_task(pool: &PoolSpec) -> Result<(), Reject> {
    match &pool.start_task {
        Some(start_task) => refuse_unknown(pool, &start_task.user_identity, || "the start task".to_owned()),
        None => Ok(()),
    }
}

//! Streams of events: what they wait for.
//!
//! A stream is a task of its own that sends into a short queue (`feed`). A client that reads slowly makes it wait, and what
//! happens meanwhile is not kept for it: it reads the present state when it goes on. A client that does not read at
//! all is dropped. Whoever subscribes before it reads the store misses nothing, and whoever subscribes where an earlier
//! stream broke off neither.

use super::context::Api;
use super::lookup::Known;
use crate::engine::{Committed, Seen, Subscription};
use crate::refusal;
use muster_model::{AccountName, JobId, SweepId, TaskId};
use muster_proto::convert::status;
use muster_proto::wire::ErrorReason;
use std::sync::Arc;
use std::time::Duration;
use tonic::{Code, Status};

/// The shortest time between two messages of a stream that gathers changes.
pub(super) const PACE: Duration = Duration::from_millis(100);

/// Begins to watch: from now on, or after the revision at which an earlier stream broke off.
pub(super) fn subscribe(api: &Api, resume: Option<u64>) -> Result<Subscription, Status> {
    let engine = &api.parts.engine;
    let Some(revision) = resume else { return Ok(engine.subscribe()) };
    engine.resume(revision).ok_or_else(|| {
        let words = format!(
            "resume_revision {revision} is too old: what has changed since is not known any more; start the stream without it and read the present state"
        );
        status(Code::OutOfRange, ErrorReason::RevisionTooOld, words)
    })
}

/// Waits for what comes next; `None` when some of it was missed.
pub(super) async fn next(changes: &mut Subscription) -> Result<Option<Vec<Arc<Committed>>>, Status> {
    match changes.next().await {
        Ok(Seen::Batches(batches)) => Ok(Some(batches)),
        Ok(Seen::Missed) => Ok(None),
        Err(_) => Err(refusal::stopping()),
    }
}

/// Whether some of what has come concerns the caller; what was missed may.
fn concerned(seen: Option<Vec<Arc<Committed>>>, concerns: impl Fn(&Committed) -> bool) -> bool {
    seen.is_none_or(|batches| batches.iter().any(|batch| concerns(batch)))
}

/// Waits until something has changed that concerns the caller, or until something was missed.
pub(super) async fn until(
    changes: &mut Subscription,
    concerns: impl Fn(&Committed) -> bool,
) -> Result<(), Status> {
    while !concerned(next(changes).await?, &concerns) {}
    Ok(())
}

/// Whether something that concerns the caller has changed already.
pub(super) fn already(changes: &mut Subscription, concerns: impl Fn(&Committed) -> bool) -> bool {
    match changes.take() {
        None => false,
        Some(Seen::Batches(batches)) => concerned(Some(batches), concerns),
        Some(Seen::Missed) => true,
    }
}

/// A task as changes name it: by the id that is kept, and by the sweep that it is a member of.
#[derive(Debug, Clone)]
pub(super) struct Watched {
    account: AccountName,
    job: JobId,
    task: TaskId,
    sweep: Option<SweepId>,
}

impl Watched {
    /// The task that was read.
    pub(super) fn of(known: &Known) -> Self {
        let spec = &known.view.spec;
        Self {
            account: spec.account.clone(),
            job: spec.job.clone(),
            task: spec.spec.id.clone(),
            sweep: known.view.sweep.as_ref().map(|(sweep, _)| sweep.clone()),
        }
    }

    /// Whether a batch may have changed it.
    pub(super) fn is_in(&self, batch: &Committed) -> bool {
        batch.in_job(&self.account, &self.job).is_some_and(|changed| {
            let with_sweep = self.sweep.as_ref().is_some_and(|sweep| changed.sweeps.contains(sweep));
            changed.itself || changed.overflow || with_sweep || changed.tasks.contains(&self.task)
        })
    }
}

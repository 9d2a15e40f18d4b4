//! Whether the world has come to rest, and what must be true then: nothing is lost, and what still waits can say why.
//!
//! Liveness: with all faults over, every task ends, every job that is on its way arrives, or the core's own explanation
//! names a reason that no time will take away; what it says of dependencies must be what a naive model says.

use crate::book::{Book, Known, KnownJob};
use crate::broken::{Broken, Kept, broken, promise};
use crate::controller::Controller;
use crate::naive;
use crate::names::account;
use crate::nodes;
use crate::oracle::Oracle;
use crate::pools;
use muster_controller_core::explain::{Explanation, Reason};
use muster_model::state::{JobState, OnDependencyFailure, TaskState};
use muster_model::{TaskId, TaskKey, Timestamp};

/// What is still to come; `None` at rest.
pub(crate) fn to_come(
    book: &Book,
    oracle: &Oracle,
    controller: &Controller,
    now: Timestamp,
) -> Result<Option<String>, Broken> {
    if let Some(attempt) = oracle.alive().next() {
        return Ok(Some(format!("{attempt} runs")));
    }
    if let Some(words) = nodes::to_come(book) {
        return Ok(Some(words));
    }
    if let Some(words) = pools::to_come(book) {
        return Ok(Some(words));
    }
    for (id, job) in &book.jobs {
        match job.state {
            JobState::Active | JobState::Disabled | JobState::Completed => {}
            JobState::Disabling | JobState::Enabling | JobState::Terminating | JobState::Deleting => {
                return Ok(Some(format!("job {id} is {}", job.state)));
            }
        }
        for (task, known) in job.tasks.iter().filter(|(_, known)| known.stand.result.is_none()) {
            if known.stand.placed {
                return Ok(Some(format!("{id}/{task} is placed: {:?}", known.stand)));
            }
            if let Some(words) = waits(job, task, known, controller, now)? {
                return Ok(Some(words));
            }
        }
    }
    Ok(None)
}

/// Why a waiting task should not be waiting; `None` if it may wait for ever.
fn waits(
    job: &KnownJob,
    task: &TaskId,
    known: &Known,
    controller: &Controller,
    now: Timestamp,
) -> Result<Option<String>, Broken> {
    let key = TaskKey { job: job.spec.id.clone(), task: task.clone() };
    let Some(said) = why(&key, controller, now)? else { return Ok(Some("no controller".to_owned())) };
    let standing = naive::standing(job, &known.spec.depends_on);
    let asks = known.stand.attempt == 0 && !known.spec.depends_on.is_empty();
    let by_others = said.reasons.iter().any(|reason| matches!(reason, Reason::Dependency(_)));
    promise("explain knows what is met", by_others == (asks && !standing.met), || {
        format!(
            "{key} depends on {:?}, which is {standing:?}, and is explained as {said:?}",
            known.spec.depends_on
        )
    })?;
    if by_others && standing.hopeless {
        let given_up = job.spec.on_dependency_failure != OnDependencyFailure::Wait;
        promise("hopeless tasks end as their job says", !given_up, || format!("{key}: {said:?}"))?;
    }
    let disabled = job.state == JobState::Disabled;
    let for_ever = by_others || disabled || !said.can_ever_run;
    Ok((!for_ever).then(|| format!("{key} waits: {said:?}")))
}

/// What a waiting task says that it waits for; `None` without a controller.
fn why(key: &TaskKey, controller: &Controller, now: Timestamp) -> Result<Option<Explanation>, Broken> {
    let Some(said) = controller.explain(key, now) else { return Ok(None) };
    let said = said.map_err(|reject| broken("what waits can say why", format!("{key}: {reject}")))?;
    promise("what waits can say why", said.state == TaskState::Active && !said.reasons.is_empty(), || {
        format!("{key} waits, and is explained as {said:?}")
    })?;
    Ok(Some(said))
}

/// Whatever waits can say why, though wishes hold it up or its pool has no nodes.
pub(crate) fn waiting_can_say(
    book: &Book,
    oracle: &mut Oracle,
    controller: &Controller,
    now: Timestamp,
) -> Kept {
    for (id, job) in &book.jobs {
        let waits = |known: &Known| known.stand.result.is_none() && !known.stand.placed;
        for task in job.tasks.iter().filter(|(_, known)| waits(known)).map(|(task, _)| task) {
            let key = TaskKey { job: id.clone(), task: task.clone() };
            let reasons = why(&key, controller, now)?.map(|said| said.reasons).unwrap_or_default();
            if reasons.iter().any(|reason| matches!(reason, Reason::NoNodes { .. })) {
                oracle.saw("a task waits for its pool to have nodes, and says so");
            }
        }
    }
    Ok(())
}

/// At the end the store's reader says of every task what its records said, by every name that it has.
pub(crate) fn is_stored(book: &Book, controller: &Controller) -> Kept {
    for (id, job) in &book.jobs {
        for (task, known) in &job.tasks {
            let key = TaskKey { job: id.clone(), task: task.clone() };
            let view = controller.reader().task(&account(), &key);
            let view = view.map_err(|error| broken("what is recorded is read", error.to_string()))?;
            let view = view.ok_or_else(|| broken("what is recorded is read", format!("{key} is lost")))?;
            let read = (view.state.result, view.state.attempt, view.state.placed, view.state.exit_code);
            let stand = &known.stand;
            let kept = (stand.result, stand.attempt, stand.placed, stand.exit_code);
            promise("what is recorded is read", read == kept && view.sweep == known.member, || {
                format!("{key} is {kept:?} of {:?} and read as {read:?} of {:?}", known.member, view.sweep)
            })?;
        }
    }
    Ok(())
}

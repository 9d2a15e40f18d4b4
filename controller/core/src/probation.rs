//! Nodes that fail what they are given: out of use for a while, then tried with one task at a time.
//!
//! What counts is in `tells_against` alone. A pause doubles with each time that the trial fails; a task whose command starts
//! while the node is being tried, or a start task that succeeds, ends it. What a node says of itself is `health`'s.
//!
//! Invariant: `until` is set exactly while the node is out of use, and then something wakes the core at that time.

use crate::effect::NodeMessage;
use crate::health;
use crate::job_node;
use crate::node::Node;
use crate::record::Probation;
use crate::settings::Settings;
use crate::tenant::Tenant;
use crate::timer::Deadline;
use crate::turn::Turn;
use muster_model::cause::Cause;
use muster_model::limits::NODE_TEXT_BYTES_MAX;
use muster_model::node::{NodeError, StartTaskInfo};
use muster_model::state::ExecutionResult;
use muster_model::{AttemptId, AttemptResult, NodeId, Timestamp};
use std::time::Duration;

/// How many different tasks must have failed before the node is blamed: one alone may be the reason itself.
const DIFFERENT_TASKS: usize = 2;

/// Whether the end of an attempt tells against its node: a fault of the service before the command ran. What the task, its
/// files or where these come from are to blame for does not, nor that the node was lost.
fn tells_against(result: &AttemptResult) -> bool {
    let cause = result.failure.as_ref().map(|failure| failure.cause);
    result.result == ExecutionResult::Failure && result.start_time.is_none() && cause == Some(Cause::Internal)
}

/// An attempt on a node has ended; `heard`: when the controller heard that it had started, if it did before. The caller saves, and
/// then calls `health::spare`.
pub(crate) fn note(
    node: &mut Node,
    turn: &mut Turn<'_>,
    attempt: &AttemptId,
    heard: Option<Timestamp>,
    result: &AttemptResult,
) {
    if result.start_time.is_some() {
        node.row.probation.launch_failures = 0;
        node.failed_tasks.clear();
        // What had not started when the trial began was taken back.
        if node.on_trial_since().is_some_and(|since| heard.is_none_or(|heard| heard >= since)) {
            node.row.probation = Probation::default();
        }
        return;
    }
    if !tells_against(result) {
        return;
    }
    let probation = &mut node.row.probation;
    probation.launch_failures = probation.launch_failures.saturating_add(1);
    let failures = probation.launch_failures;
    if node.failed_tasks.len() < DIFFERENT_TASKS {
        node.failed_tasks.insert(attempt.task_key());
    }
    let many = failures >= turn.settings.launch_failures_max && node.failed_tasks.len() >= DIFFERENT_TASKS;
    let out = node.row.probation.until.is_some();
    if out || !(many || node.on_trial_since().is_some()) {
        return;
    }
    let last = result.failure.as_ref().map_or("", |failure| failure.message.as_str());
    let what =
        format!("{failures} attempts in a row could not be started here, the last because: {}", short(last));
    let facts = vec![("launch_failures".to_owned(), failures.to_string())];
    strike(node, turn, NodeError::LAUNCH_FAILURES, &what, facts);
}

/// Takes a node out of use for a while. The caller saves.
fn strike(node: &mut Node, turn: &mut Turn<'_>, code: &str, what: &str, mut facts: Vec<(String, String)>) {
    let probation = &mut node.row.probation;
    let pause = pause(probation.strikes, turn.settings);
    probation.strikes = probation.strikes.saturating_add(1);
    let until = turn.now.after(pause);
    probation.until = Some(until);
    facts.push(("strikes".to_owned(), probation.strikes.to_string()));
    facts.push(("tried_again_micros".to_owned(), until.as_micros().to_string()));
    let seconds = pause.as_secs();
    let message =
        format!("{what}; it is tried again after {seconds} s, or when scheduling is enabled by hand");
    probation.error = Some(NodeError { code: code.to_owned(), message, details: facts, time: turn.now });
    turn.wake(until, Deadline::Probation(turn.account.clone(), node.row.id.clone()));
}

/// So much of a reason that it fits into an error's message.
fn short(reason: &str) -> &str {
    let mut end = reason.len().min(NODE_TEXT_BYTES_MAX / 2);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    &reason[..end]
}

fn pause(strikes: u32, settings: &Settings) -> Duration {
    let factor = 1u32.checked_shl(strikes.min(16)).unwrap_or(u32::MAX);
    settings.probation_first.saturating_mul(factor).min(settings.probation_max)
}

/// When the core must look at a node's probation next.
pub(crate) fn deadline(node: &Node, settings: &Settings) -> Option<Timestamp> {
    let trial = || node.trial_started().map(|started| started.after(settings.probation_trial)).min();
    node.row.probation.until.or_else(trial)
}

/// A task has started on a node that is being tried: it is looked at again when that has gone on for a while.
pub(crate) fn started(node: &Node, turn: &mut Turn<'_>) {
    if let Some(at) = deadline(node, turn.settings) {
        turn.wake(at, Deadline::Probation(turn.account.clone(), node.row.id.clone()));
    }
}

/// Tries a node again whose time has come, and trusts one that has stood its trial.
pub(crate) fn look(tenant: &mut Tenant, turn: &mut Turn<'_>, id: &NodeId) {
    let Some(node) = tenant.nodes.get_mut(id) else { return };
    if deadline(node, turn.settings).is_none_or(|at| at > turn.now) {
        return;
    }
    if node.row.probation.until.is_some() {
        return reprieve(tenant, turn, id);
    }
    node.row.probation = Probation::default();
    tenant.save_node(turn, id);
}

/// Ends the time out of use: the node is tried, by its start task if that is what failed.
pub(crate) fn reprieve(tenant: &mut Tenant, turn: &mut Turn<'_>, id: &NodeId) {
    let Some(node) = tenant.nodes.get_mut(id) else { return };
    node.row.probation.until = None;
    tenant.save_node(turn, id);
    job_node::tried_again(tenant, turn, id);
    try_start_task(tenant, turn, id);
}

/// Has the start task run again on a node that is being tried for it.
fn try_start_task(tenant: &Tenant, turn: &mut Turn<'_>, id: &NodeId) {
    let Some(node) = tenant.nodes.get(id) else { return };
    let pool = tenant.pools.get(&node.row.pool);
    let failed = pool.is_some_and(|pool| node.start_task_failed(&pool.row.spec));
    if failed && node.row.probation.until.is_none() {
        tenant.tell(turn, id, NodeMessage::RunStartTask);
    }
}

/// A node has connected; `booted`: after a boot, which is a trial in itself. The caller saves.
pub(crate) const fn connected(node: &mut Node, booted: bool) {
    if booted {
        node.row.probation.until = None;
    }
}

/// A node's start task stands where the row says; `before` is where it stood. Failures for good take the node out of use
/// if its pool waits for the start task, and a success ends that. One that a restart has ended means nothing. The caller saves
/// before and need not after.
pub(crate) fn start_task(
    tenant: &mut Tenant,
    turn: &mut Turn<'_>,
    id: &NodeId,
    before: Option<&StartTaskInfo>,
) {
    let Some(node) = tenant.nodes.get_mut(id) else { return };
    let Some(pool) = tenant.pools.get(&node.row.pool).filter(|_| !node.is_restarting()) else { return };
    let probation = &node.row.probation;
    let for_this = probation.error.as_ref().is_some_and(|error| error.code == NodeError::START_TASK_FAILED);
    if !node.start_task_failed(&pool.row.spec) {
        if for_this && node.start_task_succeeded() {
            node.row.probation = Probation::default();
            tenant.save_node(turn, id);
        }
        return;
    }
    let news = node.row.start_task.as_ref() != before;
    if probation.until.is_some() || (for_this && !news) {
        return try_start_task(tenant, turn, id);
    }
    let failure = node.row.start_task.as_ref().and_then(|info| info.failure.as_ref());
    let last = failure.map_or("it gave no reason", |failure| failure.message.as_str());
    let what = format!("the start task failed: {}", short(last));
    strike(node, turn, NodeError::START_TASK_FAILED, &what, Vec::new());
    tenant.save_node(turn, id);
    health::spare(tenant, turn, id);
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_model::FailureInfo;

    #[test]
    fn only_faults_of_the_node_before_the_command_ran_tell_against_it() {
        let result = |cause| AttemptResult::not_started(FailureInfo::new(cause, "x"), Timestamp::EPOCH);
        for cause in Cause::ALL {
            assert_eq!(tells_against(&result(*cause)), *cause == Cause::Internal, "{cause}");
        }
        let ran = AttemptResult { start_time: Some(Timestamp::EPOCH), ..result(Cause::Internal) };
        assert!(!tells_against(&ran));
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let settings = Settings::default();
        let pauses = [0, 1, 5, 6, u32::MAX].map(|strikes| pause(strikes, &settings).as_secs());
        assert_eq!(pauses, [60, 120, 1920, 3600, 3600]);
    }

    #[test]
    fn a_long_reason_is_cut_between_letters() {
        assert_eq!(short("brief"), "brief");
        let long = "ä".repeat(NODE_TEXT_BYTES_MAX);
        assert_eq!(short(&long).len(), NODE_TEXT_BYTES_MAX / 2);
        let odd = format!("a{long}");
        assert_eq!(short(&odd).len(), NODE_TEXT_BYTES_MAX / 2 - 1);
    }
}

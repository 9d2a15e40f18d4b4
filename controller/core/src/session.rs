//! What a node says on its session: that it is there, what it holds, what happened, that it is gone.
//!
//! On connect both sides compare what they believe: for each attempt that the node holds it is told to keep it, to stop it,
//! or that its result is safe; what the node does not hold although it should, it has never received, and it goes back
//! to waiting (design section 5).

use crate::attempt;
use crate::custody::{self, End};
use crate::drain;
use crate::effect::{CloseReason, KillReason, NodeMessage, Verdict};
use crate::health;
use crate::input::{Connected, HeldAttempt, NumberedReport, Report, SessionId};
use crate::job_node;
use crate::node_life;
use crate::planted::Planted;
use crate::probation;
use crate::reject::Reject;
use crate::reply::Reply;
use crate::restart;
use crate::tenant::Tenant;
use crate::timer::Deadline;
use crate::turn::Turn;
use muster_model::cause::Cause;
use muster_model::state::{AttemptPhase, DrainOption, NodeState};
use muster_model::{AttemptId, AttemptResult, FailureInfo, NodeId};
use std::collections::BTreeSet;

pub(crate) fn connected(
    tenant: &mut Tenant,
    turn: &mut Turn<'_>,
    connected: Connected,
) -> Result<Reply, Reject> {
    let id = connected.node.node;
    let node = tenant.nodes.get_mut(&id).ok_or_else(|| Reject::NodeUnknown(id.clone()))?;
    // A Hello of a session that its agent has given up tells of what was, and would take for lost what came since.
    if connected.connection < node.contact.connection {
        return Err(Reject::StaleSession(id));
    }
    node.contact.connection = connected.connection;
    let room = node.room();
    if let Some(old) = node.contact.session.replace(connected.session) {
        turn.tell(&id, old, NodeMessage::Close { reason: CloseReason::Replaced });
    }
    node.contact.lease_until = turn.now.after(turn.settings.lease_ttl);
    let lease_end = turn.settings.lease_end(node.contact.lease_until);
    turn.wake(lease_end, Deadline::Lease(turn.account.clone(), id.clone()));
    let before = std::mem::replace(&mut node.row.facts, connected.facts);
    let start_task = std::mem::replace(&mut node.row.start_task, connected.start_task);
    let boot_id = node.row.facts.boot_id.clone();
    probation::connected(node, boot_id != before.boot_id);
    if let Some(pool) = tenant.pools.get(&node.row.pool) {
        health::connected(node, &pool.row.spec, turn.now);
        if node.held.is_empty() {
            node.row.slots = pool.row.spec.task_slots_per_node;
        }
    }
    tenant.reindex(&id, room);
    let verdicts: Vec<_> =
        connected.held.iter().map(|held| (held.attempt.clone(), verdict(tenant, turn, &id, held))).collect();
    turn.tell(&id, connected.session, NodeMessage::Welcome { verdicts });
    take_back_missing(tenant, turn, &id, &connected.held, boot_id != before.boot_id);
    job_node::booted(tenant, turn, &id, &boot_id);
    if let Some(node) = tenant.nodes.get_mut(&id) {
        restart::connected(node, turn, &before.boot_id);
    }
    tenant.save_node(turn, &id);
    probation::start_task(tenant, turn, &id, start_task.as_ref());
    repeat_wishes(tenant, turn, &id, connected.session);
    node_life::look(tenant, turn, &id);
    Ok(Reply::Done)
}

fn verdict(tenant: &Tenant, turn: &Turn<'_>, node: &NodeId, held: &HeldAttempt) -> Verdict {
    if attempt::is_current(tenant, node, &held.attempt) && is_of_this_life(tenant, held) {
        return Verdict::Keep;
    }
    match held.phase {
        AttemptPhase::Finished if turn.settings.planted.has(Planted::AcceptStale) => Verdict::Keep,
        AttemptPhase::Finished => Verdict::Acknowledged,
        AttemptPhase::Assigned | AttemptPhase::Staging | AttemptPhase::Running | AttemptPhase::Uploading => {
            Verdict::Kill
        }
    }
}

/// Whether an attempt is of the task that has its name now, and not of an earlier one that was deleted.
fn is_of_this_life(tenant: &Tenant, held: &HeldAttempt) -> bool {
    let AttemptId { job, task, .. } = &held.attempt;
    let own = tenant.task(job, task).map(|task| task.sequence);
    let now = own.or_else(|_| tenant.job(job).map(|job| job.row.sequence));
    held.incarnation == 0 || now.is_ok_and(|sequence| sequence == held.incarnation)
}

/// Attempts that were dispatched and that the node does not hold. Its agent's journal knows an attempt before anything is done
/// with it, so what it does not hold has not run; but a journal's last records do not survive the machine, so after another
/// boot (`booted`) it may have.
fn take_back_missing(
    tenant: &mut Tenant,
    turn: &mut Turn<'_>,
    id: &NodeId,
    held: &[HeldAttempt],
    booted: bool,
) {
    let of_this_life = held.iter().filter(|held| is_of_this_life(tenant, held));
    let there: BTreeSet<&AttemptId> = of_this_life.map(|held| &held.attempt).collect();
    let Some(node) = tenant.nodes.get(id) else { return };
    let missing: Vec<_> = node
        .held
        .values()
        .filter(|held| !there.contains(&held.attempt))
        .filter(|held| attempt::is_with_node(tenant, id, &held.attempt))
        .map(|held| (held.attempt.clone(), held.started.is_some()))
        .collect();
    for (attempt, was_running) in missing {
        if !was_running && !booted {
            custody::returned(tenant, turn, id, &attempt);
            continue;
        }
        let why = if booted { "its machine was booted anew" } else { "its agent's records are gone" };
        let message = format!("node '{id}' has lost attempt {attempt}: {why}");
        let result = AttemptResult::not_started(FailureInfo::new(Cause::NodeLost, message), turn.now);
        custody::ended(tenant, turn, id, &attempt, End { result, may_have_run: true });
    }
}

/// Says again what was said while the node was away: what is to be stopped, and which limits have changed.
fn repeat_wishes(tenant: &mut Tenant, turn: &mut Turn<'_>, id: &NodeId, session: SessionId) {
    let Some(node) = tenant.nodes.get(id) else { return };
    let completes = node.row.drain.is_some_and(|drain| drain.option == DrainOption::TaskCompletion);
    if completes || node.row.state == NodeState::Unusable {
        drain::recall_unstarted(tenant, turn, id);
    }
    let Some(node) = tenant.nodes.get(id) else { return };
    for held in node.held.values() {
        let attempt = held.attempt.clone();
        let task = tenant.task(&attempt.job, &attempt.task).ok();
        let ending = if held.of_job {
            job_node::ending(tenant, id, &attempt)
        } else {
            task.and_then(|task| task.ending())
        };
        let reason: Option<KillReason> = ending.map(attempt::kill_reason);
        if let Some(reason) = reason {
            turn.tell(id, session, NodeMessage::Kill { attempts: vec![attempt], reason });
        } else if let Some(constraints) = task.and_then(|t| t.progress_ref()).and_then(|p| p.constraints)
            && attempt::is_with_node(tenant, id, &attempt)
        {
            turn.tell(id, session, NodeMessage::Amend { attempt, constraints });
        }
    }
}

/// A session broke. The node may go on until its lease ends; nothing more is placed on it meanwhile.
pub(crate) fn disconnected(
    tenant: &mut Tenant,
    turn: &mut Turn<'_>,
    id: &NodeId,
    session: SessionId,
) -> Result<Reply, Reject> {
    let node = tenant.nodes.get_mut(id).ok_or_else(|| Reject::NodeUnknown(id.clone()))?;
    if node.contact.session != Some(session) {
        return Err(Reject::StaleSession(id.clone()));
    }
    let room = node.room();
    node.contact.session = None;
    let end = turn.settings.lease_end(node.contact.lease_until);
    turn.wake(end, Deadline::Lease(turn.account.clone(), id.clone()));
    tenant.reindex(id, room);
    Ok(Reply::Done)
}

/// A node reports what happened. Every report is acknowledged, also a stale one: there is nothing more to do about it.
pub(crate) fn reports(
    tenant: &mut Tenant,
    turn: &mut Turn<'_>,
    id: &NodeId,
    session: SessionId,
    reports: Vec<NumberedReport>,
) -> Result<Reply, Reject> {
    let node = tenant.nodes.get(id).ok_or_else(|| Reject::NodeUnknown(id.clone()))?;
    if node.contact.session != Some(session) {
        return Err(Reject::StaleSession(id.clone()));
    }
    let mut numbers = Vec::with_capacity(reports.len());
    let last = reports.last().map(|report| report.number);
    for NumberedReport { number, report } in reports {
        numbers.push(number);
        if turn.settings.planted.has(Planted::LoseReport) && Some(number) != last {
            continue;
        }
        match report {
            Report::Started { attempt, time } => custody::started(tenant, turn, id, &attempt, time),
            Report::Returned { attempt } => custody::returned(tenant, turn, id, &attempt),
            Report::Finished { attempt, result } => {
                let may_have_run = result.start_time.is_some();
                custody::ended(tenant, turn, id, &attempt, End { result: *result, may_have_run });
            }
            Report::StartTask(info) => {
                let Some(node) = tenant.nodes.get_mut(id) else { continue };
                let before = node.row.start_task.replace(info);
                tenant.save_node(turn, id);
                probation::start_task(tenant, turn, id, before.as_ref());
            }
            Report::Health(errors) => health::reported(tenant, turn, id, errors),
        }
    }
    turn.tell(id, session, NodeMessage::Acknowledge { reports: numbers });
    Ok(Reply::Done)
}

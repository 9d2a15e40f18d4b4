//! What the wire does in a real cluster: the words of one core as the words of the other.
//!
//! Nothing is decided or kept here; the same pairs stand in the two daemons with protobuf between them. What an attempt is
//! to the agent (`plan`) is read from the store, as the real session does.

use crate::names::account;
use muster_agent_core::effect::{AgentMessage, HeldAttempt};
use muster_agent_core::input::{
    Amendment, Assignment, ControllerMessage, Kill, KillReason as AgentKill, NodeSettings, StartTaskSettings,
    Terms, Verdict as AgentVerdict, Welcome,
};
use muster_agent_core::report::{NumberedReport, Report};
use muster_controller_core::effect::{KillReason, NodeMessage, Verdict};
use muster_controller_core::input as controller;
use muster_controller_core::input::{Connected, NodeInput, NodeKey};
use muster_model::node::MachineFacts;
use muster_model::spec::{RetryLimit, TaskConstraints};
use muster_model::state::OnLeaseExpiry;
use muster_model::{AttemptId, NodeId, limits};
use muster_store::{Reader, StoreError};
use std::time::Duration;

/// The start task of the second pool.
pub(crate) const START_TASK: StartTaskSettings =
    StartTaskSettings { version: 1, max_retries: RetryLimit::Times(1), wait_for_success: true };
/// Slots of each node.
pub(crate) const SLOTS: u32 = 3;

/// What an agent says, as an input of the controller.
pub(crate) fn to_controller(
    node: &NodeId,
    session: u64,
    message: AgentMessage,
    facts: MachineFacts,
) -> NodeInput {
    let node = NodeKey { account: account(), node: node.clone() };
    match message {
        AgentMessage::Hello(hello) => NodeInput::Connected(Box::new(Connected {
            node,
            session,
            connection: session,
            facts,
            held: hello.held.into_iter().map(held).collect(),
            start_task: hello.start_task,
        })),
        AgentMessage::Heartbeat { sequence } => NodeInput::Heartbeat { node, session, sequence },
        AgentMessage::Reports(reports) => {
            NodeInput::Reports { node, session, reports: reports.into_iter().map(report).collect() }
        }
    }
}

fn held(held: HeldAttempt) -> controller::HeldAttempt {
    let HeldAttempt { attempt, phase, incarnation } = held;
    controller::HeldAttempt { attempt, phase, incarnation }
}

fn report(numbered: NumberedReport) -> controller::NumberedReport {
    let report = match numbered.report {
        Report::Progress { attempt, time, .. } => controller::Report::Started { attempt, time },
        Report::Finished { attempt, result } => controller::Report::Finished { attempt, result },
        Report::Recalled(attempt) => controller::Report::Returned { attempt },
        Report::StartTask(info) => controller::Report::StartTask(*info),
        Report::Health(errors) => controller::Report::Health(errors),
    };
    controller::NumberedReport { number: numbered.number, report }
}

/// What the controller says, as an input of an agent; `None` when it closes the stream.
pub(crate) fn to_agent(
    message: NodeMessage,
    start_task: Option<StartTaskSettings>,
    lease_ttl: Duration,
    reader: &dyn Reader,
) -> Result<Option<ControllerMessage>, StoreError> {
    Ok(Some(match message {
        NodeMessage::Welcome { verdicts } => ControllerMessage::Welcome(Box::new(Welcome {
            lease_ttl,
            heartbeat_interval: None,
            settings: NodeSettings { task_slots: SLOTS, on_lease_expiry: OnLeaseExpiry::Kill, start_task },
            verdicts: verdicts.into_iter().map(|(attempt, said)| (attempt, verdict(said))).collect(),
            acknowledged: 0,
        })),
        NodeMessage::Lease { sequence, ttl } => ControllerMessage::LeaseGranted { sequence, ttl },
        NodeMessage::Dispatch { attempts } => {
            let mut assignments = Vec::new();
            for attempt in attempts {
                assignments.extend(plan(reader, attempt)?);
            }
            ControllerMessage::Assign(assignments)
        }
        NodeMessage::Recall { attempts } => ControllerMessage::Recall(attempts),
        NodeMessage::Kill { attempts, reason } => {
            let reason = kill_reason(reason);
            let kill = |attempt| Kill { attempt, reason, grace: Duration::ZERO };
            ControllerMessage::Kill(attempts.into_iter().map(kill).collect())
        }
        NodeMessage::Amend { attempt, constraints } => {
            ControllerMessage::Amend(Amendment { attempt, terms: terms(&constraints) })
        }
        NodeMessage::Acknowledge { reports } => {
            ControllerMessage::Acknowledge(reports.into_iter().max().unwrap_or(0))
        }
        NodeMessage::Restart { reimage } => ControllerMessage::Restart { reimage },
        NodeMessage::RemoveDirectories { attempts } => ControllerMessage::RemoveDirectories(attempts),
        NodeMessage::RunStartTask => ControllerMessage::RunStartTask(START_TASK),
        NodeMessage::Leave { .. } => ControllerMessage::Leave,
        NodeMessage::Close { .. } => return Ok(None),
    }))
}

const fn verdict(verdict: Verdict) -> AgentVerdict {
    match verdict {
        Verdict::Keep => AgentVerdict::Keep,
        Verdict::Kill => AgentVerdict::Kill,
        Verdict::Acknowledged => AgentVerdict::Acknowledged,
    }
}

const fn kill_reason(reason: KillReason) -> AgentKill {
    match reason {
        KillReason::Terminated => AgentKill::Terminated,
        KillReason::Requeued => AgentKill::Requeued,
        KillReason::Fenced => AgentKill::Stale,
    }
}

fn terms(constraints: &TaskConstraints) -> Terms {
    Terms {
        wall_clock: constraints.max_wall_clock_time,
        retention: constraints.retention_time.unwrap_or(limits::RETENTION_DEFAULT),
    }
}

/// What the agent is told of an attempt; `None` for one of a task that is gone.
fn plan(reader: &dyn Reader, attempt: AttemptId) -> Result<Option<Assignment>, StoreError> {
    let Some(job) = reader.job(&account(), &attempt.job)? else { return Ok(None) };
    let prepared_by = job.spec.preparation.as_ref().map(|spec| spec.id.clone());
    let preparation = job.spec.preparation.filter(|spec| spec.id == attempt.task);
    let release = job.spec.release.filter(|spec| spec.id == attempt.task);
    // Half of all attempts have files, which is reported in more steps.
    let has_files = attempt.number.is_multiple_of(2);
    let of_job = job.sequence;
    let without_slots = |attempt, terms: Terms| Assignment {
        attempt,
        incarnation: of_job,
        slots: 0,
        gpus: 0,
        wall_clock: terms.wall_clock,
        retention: terms.retention,
        memory_limit_bytes: None,
        disk_limit_bytes: None,
        process_limit: None,
        has_files: false,
        preparation: None,
    };
    if let Some(preparation) = preparation {
        return Ok(Some(without_slots(attempt, terms(&preparation.constraints))));
    }
    if let Some(release) = release {
        let retention = release.retention_time.unwrap_or(limits::RETENTION_DEFAULT);
        let terms = Terms { wall_clock: Some(release.max_wall_clock_time), retention };
        return Ok(Some(without_slots(attempt, terms)));
    }
    let Some(view) = reader.task(&account(), &attempt.task_key())? else { return Ok(None) };
    let spec = view.spec.spec;
    let Terms { wall_clock, retention } = terms(&view.state.constraints.unwrap_or(spec.constraints));
    let memory = view.state.memory_bytes.unwrap_or(spec.resources.memory_bytes);
    Ok(Some(Assignment {
        attempt,
        incarnation: view.spec.sequence,
        slots: spec.resources.slots,
        gpus: spec.resources.gpus,
        wall_clock,
        retention,
        memory_limit_bytes: (memory > 0).then_some(memory),
        disk_limit_bytes: None,
        process_limit: None,
        has_files,
        preparation: prepared_by,
    }))
}

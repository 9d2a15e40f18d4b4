//! What the wire does in a real cluster: the words of one core as the words of the other.
//!
//! Nothing is decided or kept here; the same pairs stand in the two daemons with protobuf between them.

use muster_agent_core::effect::{AgentMessage, HeldAttempt};
use muster_agent_core::input::{
    Assignment, ControllerMessage, Kill, KillReason as AgentKill, NodeSettings, Verdict as AgentVerdict,
    Welcome,
};
use muster_agent_core::report::{NumberedReport, Report};
use muster_controller_core::effect::{KillReason, NodeMessage, Verdict};
use muster_controller_core::input as controller;
use muster_controller_core::input::{Connected, NodeInput, NodeKey};
use muster_model::{AttemptId, NodeId, limits};
use std::time::Duration;

use crate::controller::{SLOTS, account, facts};

/// What an agent says, as an input of the controller.
pub(crate) fn to_controller(node: &NodeId, session: u64, message: AgentMessage) -> NodeInput {
    let node = NodeKey { account: account(), node: node.clone() };
    match message {
        AgentMessage::Hello(hello) => NodeInput::Connected(Box::new(Connected {
            node,
            session,
            facts: facts(),
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
    controller::HeldAttempt { attempt: held.attempt, phase: held.phase }
}

fn report(numbered: NumberedReport) -> controller::NumberedReport {
    let report = match numbered.report {
        Report::Progress { attempt, time, .. } => controller::Report::Started { attempt, time },
        Report::Finished { attempt, result } => controller::Report::Finished { attempt, result },
        Report::Recalled(attempt) => controller::Report::Returned { attempt },
        Report::StartTask(info) => controller::Report::StartTask(*info),
    };
    controller::NumberedReport { number: numbered.number, report }
}

/// What the controller says, as an input of an agent; `None` when it closes the stream.
pub(crate) fn to_agent(message: NodeMessage, lease_ttl: Duration) -> Option<ControllerMessage> {
    Some(match message {
        NodeMessage::Welcome { verdicts } => ControllerMessage::Welcome(Box::new(Welcome {
            lease_ttl,
            heartbeat_interval: None,
            settings: NodeSettings {
                task_slots: SLOTS,
                on_lease_expiry: muster_model::state::OnLeaseExpiry::Kill,
                start_task: None,
            },
            verdicts: verdicts.into_iter().map(|(attempt, said)| (attempt, verdict(said))).collect(),
            acknowledged: 0,
        })),
        NodeMessage::Lease { sequence, ttl } => ControllerMessage::LeaseGranted { sequence, ttl },
        NodeMessage::Dispatch { attempts } => {
            ControllerMessage::Assign(attempts.into_iter().map(assignment).collect())
        }
        NodeMessage::Recall { attempts } => ControllerMessage::Recall(attempts),
        NodeMessage::Kill { attempts, reason } => {
            let reason = kill_reason(reason);
            let kill = |attempt| Kill { attempt, reason, grace: Duration::ZERO };
            ControllerMessage::Kill(attempts.into_iter().map(kill).collect())
        }
        NodeMessage::Acknowledge { reports } => {
            ControllerMessage::Acknowledge(reports.into_iter().max().unwrap_or(0))
        }
        NodeMessage::Leave { .. } => ControllerMessage::Leave,
        NodeMessage::Close { .. } => return None,
    })
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

fn assignment(attempt: AttemptId) -> Assignment {
    Assignment {
        attempt,
        slots: 1,
        wall_clock: None,
        retention: limits::RETENTION_DEFAULT,
        memory_limit_bytes: None,
        has_files: false,
    }
}

//! The effects of the core for one node, in the words of the wire and in their order.
//!
//! A dispatch becomes plans here, read from the store where blocking is allowed; the next effect waits for it, so what
//! a node hears has the order in which it was decided.

use super::context::{SessionContext, key_of};
use super::granted::PlanOf;
use super::manager::ManagerAccess;
use super::plan::{self, Planned, Planner};
use super::report;
use crate::auth::NodeIdentity;
use crate::engine::{Lease, NodeOutbox};
use crate::refusal;
use muster_controller_core::effect::{CloseReason, KillReason, LeaveReason, NodeMessage, Verdict};
use muster_controller_core::input::{Input, NodeInput, NumberedReport, Report, SessionId};
use muster_controller_core::record::PoolRow;
use muster_controller_core::reject::Reject;
use muster_model::limits::KILL_GRACE;
use muster_model::node::StartTaskInfo;
use muster_model::spec::UserIdentity;
use muster_model::state::{ExecutionResult, StartTaskState};
use muster_model::{AttemptId, Cause, FailureInfo, Timestamp};
use muster_proto::convert::{
    Amendment, AttemptPlan, NodeSettings, StartTaskPlan, duration_out, status, timestamp_out,
};
use muster_proto::version::SESSION_BATCH_MAX;
use muster_proto::wire;
use muster_runtime::clock;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tonic::{Code, Status};
use wire::ErrorReason;
use wire::controller_message::Body;

/// Plans of one message together: far below the message limit, so that the largest single plan still fits beside
/// what was there before.
const ASSIGN_BYTES_MAX: usize = 1024 * 1024;

/// How long a message may wait for a node to read the ones before it, in leases: a node that reads nothing for longer
/// has lost its lease.
const SEND_WAIT_LEASES: u32 = 1;

/// The first protocol whose agents know users by name.
const NAMED_USERS_SINCE: u32 = 3;

/// A heartbeat each third of a lease: two may be lost.
const HEARTBEATS_PER_LEASE: u32 = 3;

/// The sending half of one session.
pub(super) struct Outbound<'a> {
    pub(super) context: &'a SessionContext,
    pub(super) identity: &'a NodeIdentity,
    pub(super) session: SessionId,
    /// The protocol that the agent speaks: at most ours.
    pub(super) protocol: u32,
    pub(super) wire: mpsc::Sender<wire::ControllerMessage>,
}

impl Outbound<'_> {
    /// Passes effects on until the session is to end; answers with the status to end it with.
    pub(super) async fn run(&self, outbox: NodeOutbox) -> Status {
        let NodeOutbox { messages, leases } = outbox;
        tokio::select! {
            // What the engine said before it hung up is passed on.
            biased;
            end = self.messages(messages) => end,
            end = self.leases(leases) => end,
        }
    }

    async fn messages(&self, mut messages: mpsc::Receiver<NodeMessage>) -> Status {
        while let Some(message) = messages.recv().await {
            if let Err(end) = self.pass_on(message).await {
                return end;
            }
        }
        // The engine hangs up on a node that does not read, and when it ends itself.
        status(Code::Unavailable, ErrorReason::Busy, "this session is over: connect again")
    }

    /// Passes leases on. They wait for nothing else that the session does: a dispatch that reads a slow disk must not
    /// cost the node what it runs.
    async fn leases(&self, mut leases: watch::Receiver<Option<Lease>>) -> Status {
        while leases.changed().await.is_ok() {
            let lease = *leases.borrow_and_update();
            let Some(Lease { sequence, ttl }) = lease else { continue };
            let lease_ttl = Some(duration_out(ttl));
            let granted = wire::LeaseGranted { sequence, lease_ttl, server_time: Some(timestamp_out(now())) };
            if let Err(end) = self.send(Body::LeaseGranted(granted)).await {
                return end;
            }
        }
        // The outbox has ended with it, and says why.
        std::future::pending().await
    }

    async fn pass_on(&self, message: NodeMessage) -> Result<(), Status> {
        match message {
            NodeMessage::Welcome { verdicts } => self.welcome(verdicts).await,
            // Comes by its own way (`leases`).
            NodeMessage::Lease { .. } => Ok(()),
            NodeMessage::Dispatch { attempts } => self.dispatch(attempts).await,
            NodeMessage::Recall { attempts } => {
                for part in attempts.chunks(SESSION_BATCH_MAX) {
                    let attempts = part.iter().map(Into::into).collect();
                    self.send(Body::Recall(wire::Recall { attempts })).await?;
                }
                Ok(())
            }
            NodeMessage::RemoveDirectories { attempts } => {
                for part in attempts.chunks(SESSION_BATCH_MAX) {
                    let attempts = part.iter().map(Into::into).collect();
                    self.send(Body::RemoveDirectories(wire::RemoveDirectories { attempts })).await?;
                }
                Ok(())
            }
            NodeMessage::Kill { attempts, reason } => self.kill(&attempts, reason).await,
            NodeMessage::Amend { attempt, constraints } => {
                self.send(Body::Amend((&Amendment::new(attempt, &constraints)).into())).await
            }
            NodeMessage::Acknowledge { reports } => match reports.into_iter().max() {
                Some(sequence) if sequence > report::OWN_REPORT => self.acknowledge(sequence).await,
                Some(_) | None => Ok(()),
            },
            NodeMessage::Leave { reason } => {
                let reason = leave_words(reason).to_owned();
                self.send(Body::Leave(wire::Leave { reason })).await
            }
            NodeMessage::Restart { reimage } => {
                let reason =
                    if reimage { "a client asked for a reimage" } else { "a client asked for a reboot" };
                self.send(Body::Reboot(wire::Reboot { reason: reason.to_owned(), reimage })).await
            }
            NodeMessage::RunStartTask => self.run_start_task().await,
            NodeMessage::Close { reason } => Err(self.close_status(reason)),
        }
    }

    /// Tells the agent that its reports up to this one are durable.
    pub(super) async fn acknowledge(&self, sequence: u64) -> Result<(), Status> {
        self.send(Body::Acknowledge(wire::Acknowledge { sequence })).await
    }

    /// The node's pool and the plan of its start task, or why that cannot run.
    async fn pool_and_start_task(
        &self,
    ) -> Result<(PoolRow, Option<Result<StartTaskPlan, FailureInfo>>), Status> {
        let (account, pool) = (self.identity.account.clone(), self.identity.pool.clone());
        let read = self.context.engine.read(move |reader| {
            let Some(pool) = reader.pool(&account, &pool)? else { return Ok(None) };
            let start_task = Planner::new(reader, &account).start_task(&pool)?;
            Ok(Some((pool, start_task)))
        });
        let found = read.await.map_err(|error| refusal::of_read(&error))?;
        let (pool, start_task) =
            found.ok_or_else(|| refusal::of_reject(&Reject::NodeUnknown(self.identity.node.clone())))?;
        if let Some(Ok(plan)) = &start_task {
            let digests = plan::digests(&plan.resource_files);
            self.context.granted.remember(&key_of(self.identity), PlanOf::StartTask, digests);
        }
        Ok((pool, start_task))
    }

    /// Has the start task run again as it is by now. A pool that has lost it meanwhile tells its nodes nothing.
    async fn run_start_task(&self) -> Result<(), Status> {
        match self.pool_and_start_task().await?.1 {
            Some(Ok(plan)) => {
                let start_task = Some((&plan).into());
                self.send(Body::RunStartTask(wire::RunStartTask { start_task })).await
            }
            Some(Err(failure)) => self.report(vec![start_task_failed(failure)]).await,
            None => Ok(()),
        }
    }

    async fn welcome(&self, verdicts: Vec<(AttemptId, Verdict)>) -> Result<(), Status> {
        let (pool, start_task) = self.pool_and_start_task().await?;
        let (start_task, failure) = match start_task {
            Some(Ok(plan)) => (Some(plan), None),
            Some(Err(failure)) => (None, Some(failure)),
            None => (None, None),
        };
        let slots = pool.spec.task_slots_per_node;
        let settings = NodeSettings {
            task_slots: slots,
            on_lease_expiry: pool.spec.on_lease_expiry,
            dispatch_ahead: slots.saturating_mul(self.context.settings.ahead_per_slot_max),
            is_dedicated: true,
            account_url: self.context.settings.account_url.clone(),
            start_task,
            isolation_level: pool.spec.isolation_level,
            task_network: pool.spec.task_network,
            user_accounts: pool.spec.user_accounts,
        };
        let lease_ttl = self.context.settings.lease_ttl;
        self.send(Body::Welcome(wire::Welcome {
            protocol_version: self.protocol,
            node_id: self.identity.node.to_string(),
            lease_ttl: Some(duration_out(lease_ttl)),
            heartbeat_interval: Some(duration_out(lease_ttl / HEARTBEATS_PER_LEASE)),
            settings: Some((&settings).into()),
            held: verdicts.iter().map(held_answer).collect(),
            server_time: Some(timestamp_out(now())),
            // Nothing is remembered of it beyond the reports themselves, which may be sent twice.
            acknowledged_sequence: 0,
        }))
        .await?;
        match failure {
            Some(failure) => self.report(vec![start_task_failed(failure)]).await,
            None => Ok(()),
        }
    }

    async fn dispatch(&self, attempts: Vec<AttemptId>) -> Result<(), Status> {
        let node = key_of(self.identity);
        let access = ManagerAccess::of(self.context, &node.account);
        let read = self.context.engine.read(move |reader| {
            let mut planner = Planner::new(reader, &node.account).with_manager_access(access);
            let planned = attempts.iter().map(|attempt| planner.attempt(&node, attempt));
            planned.collect::<Result<Vec<_>, _>>()
        });
        let planned = read.await.map_err(|error| refusal::of_read(&error))?;
        let (mut plans, mut failed) = (Vec::with_capacity(planned.len()), Vec::new());
        for planned in planned.into_iter().flatten() {
            match planned {
                Planned::Plan(plan) if self.knows_user_of(&plan) => plans.push(*plan),
                Planned::Plan(plan) => failed.push(report::never_sent(plan.attempt, self.outdated())),
                Planned::Failed(attempt, failure) => {
                    tracing::info!(account = %self.identity.account, %attempt, message = failure.message,
                        "an attempt has no plan");
                    failed.push(report::never_sent(attempt, failure));
                }
            }
        }
        self.assign(plans).await?;
        if failed.is_empty() { Ok(()) } else { self.report(failed).await }
    }

    /// Whether the agent can read as whom an attempt is to run.
    const fn knows_user_of(&self, plan: &AttemptPlan) -> bool {
        matches!(plan.user_identity, UserIdentity::Auto { .. }) || self.protocol >= NAMED_USERS_SINCE
    }

    fn outdated(&self) -> FailureInfo {
        let words = format!(
            "the agent of node '{}' speaks protocol {}, which has no named users: install this version's agent there",
            self.identity.node, self.protocol
        );
        FailureInfo::new(Cause::Internal, words)
    }

    async fn assign(&self, plans: Vec<AttemptPlan>) -> Result<(), Status> {
        let (mut ready, mut bytes) = (Vec::new(), 0);
        for plan in plans {
            let digests = plan::digests(&plan.resource_files);
            self.context.granted.remember(
                &key_of(self.identity),
                PlanOf::Attempt(plan.attempt.clone()),
                digests,
            );
            let plan = wire::AttemptPlan::from(&plan);
            bytes += prost::Message::encoded_len(&plan);
            ready.push(plan);
            if ready.len() >= SESSION_BATCH_MAX || bytes >= ASSIGN_BYTES_MAX {
                self.send(Body::Assign(wire::Assign { plans: std::mem::take(&mut ready) })).await?;
                bytes = 0;
            }
        }
        if ready.is_empty() {
            return Ok(());
        }
        self.send(Body::Assign(wire::Assign { plans: ready })).await
    }

    async fn kill(&self, attempts: &[AttemptId], reason: KillReason) -> Result<(), Status> {
        // A fenced attempt is nobody's any more: what it would still write has no reader, and its successor may wait.
        let (reason, grace) = match reason {
            KillReason::Terminated => (wire::KillReason::Terminated, Some(KILL_GRACE)),
            KillReason::Requeued => (wire::KillReason::Requeued, Some(KILL_GRACE)),
            KillReason::Fenced => (wire::KillReason::Fenced, None),
        };
        for part in attempts.chunks(SESSION_BATCH_MAX) {
            let kill = |attempt: &AttemptId| wire::KillAttempt {
                attempt: Some(attempt.into()),
                reason: reason.into(),
                grace: grace.map(duration_out),
            };
            let attempts = part.iter().map(kill).collect();
            self.send(Body::KillAttempts(wire::KillAttempts { attempts })).await?;
        }
        Ok(())
    }

    /// Reports to the core in the node's name.
    async fn report(&self, reports: Vec<NumberedReport>) -> Result<(), Status> {
        let node = key_of(self.identity);
        let input = Input::Node(NodeInput::Reports { node, session: self.session, reports });
        self.context.engine.post_in_turn(input).await.map_err(|error| refusal::of_submit(&error))
    }

    async fn send(&self, body: Body) -> Result<(), Status> {
        let message = wire::ControllerMessage { body: Some(body) };
        let limit: Duration = self.context.settings.lease_ttl * SEND_WAIT_LEASES;
        match tokio::time::timeout(limit, self.wire.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Status::cancelled("the node has gone")),
            Err(_) => {
                let words = format!("the node has read nothing for {limit:?}: connect again");
                Err(status(Code::Unavailable, ErrorReason::Busy, words))
            }
        }
    }

    /// The status that ends a session.
    fn close_status(&self, reason: CloseReason) -> Status {
        let node = self.identity.node.clone();
        match reason {
            CloseReason::Replaced => {
                let words = format!("another session of node '{node}' has taken this one's place");
                status(Code::Aborted, ErrorReason::StaleSession, words)
            }
            CloseReason::LeaseEnded => {
                let words = format!("the lease of node '{node}' has ended: connect again");
                status(Code::Unavailable, ErrorReason::StaleSession, words)
            }
        }
    }
}

fn held_answer((attempt, verdict): &(AttemptId, Verdict)) -> wire::HeldAnswer {
    let verdict = match verdict {
        Verdict::Keep => wire::HeldVerdict::Keep,
        Verdict::Kill => wire::HeldVerdict::Kill,
        Verdict::Acknowledged => wire::HeldVerdict::Acknowledged,
    };
    wire::HeldAnswer { attempt: Some(attempt.into()), verdict: verdict.into() }
}

const fn leave_words(reason: LeaveReason) -> &'static str {
    match reason {
        LeaveReason::Removed => "the pool became smaller, or the node was removed from it",
        LeaveReason::PoolDeleted => "the pool was deleted",
    }
}

/// The end of a start task that never reached its node.
fn start_task_failed(failure: FailureInfo) -> NumberedReport {
    let now = now();
    let info = StartTaskInfo {
        state: StartTaskState::Completed,
        start_time: now,
        end_time: Some(now),
        exit_code: None,
        retry_count: 0,
        result: Some(ExecutionResult::Failure),
        failure: Some(failure),
    };
    NumberedReport { number: report::OWN_REPORT, report: Report::StartTask(info) }
}

fn now() -> Timestamp {
    Timestamp::from_micros(clock::wall_us())
}

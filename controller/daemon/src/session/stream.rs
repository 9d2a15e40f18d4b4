//! One session of a node, from its Hello to its end.
//!
//! ```text
//!  agent ──> listen ──> engine (inputs)          engine (effects) ──> Outbound ──> agent
//!                ├────> relay (refusals)              relay (reads) ──────────────┘
//!                └────> board (metrics)
//! ```
//! Whichever half ends first ends the other; the core is told last. Everything that is lost with a stream is put right
//! by the next Hello and Welcome.

use super::context::{SessionContext, key_of};
use super::join::facts_of;
use super::outbound::Outbound;
use super::report;
use super::report_line::{self, ReportLine, Waiting};
use crate::auth::NodeIdentity;
use crate::board::Pen;
use crate::engine::NodeOutbox;
use crate::refusal;
use futures_util::future;
use futures_util::stream::{self, BoxStream, StreamExt};
use muster_controller_core::input::{Connected, HeldAttempt, Input, NodeInput, NodeKey, Report, SessionId};
use muster_model::node::StartTaskInfo;
use muster_proto::convert::{Problem, status, status_field};
use muster_proto::version::{PROTOCOL_VERSION, PROTOCOL_VERSION_OLDEST, SESSION_BATCH_MAX};
use muster_proto::{convert, wire};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};
use wire::ErrorReason;
use wire::agent_message::Body;

/// How long an agent may take to say Hello on a stream that it has opened.
const HELLO_WAIT_MAX: Duration = Duration::from_secs(10);

/// Messages between this task and the HTTP/2 stream: a few, so that the order to stop is not far behind.
const WIRE_MESSAGES_MAX: usize = 16;

/// Attempts that an agent may say it holds: all slots of the largest node, with what is dispatched ahead, many times.
const HELD_MAX: usize = 65_536;

/// Where a session comes from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin {
    /// The connection's number in the order in which they were accepted.
    pub(super) connection: u64,
    /// The address that the agent calls from.
    pub(super) peer: Option<IpAddr>,
}

/// Opens a session: reads the Hello, registers, tells the core. The answer's stream carries everything else.
pub(super) async fn open(
    context: Arc<SessionContext>,
    identity: NodeIdentity,
    of: Origin,
    mut inbound: Streaming<wire::AgentMessage>,
) -> Result<BoxStream<'static, Result<wire::ControllerMessage, Status>>, Status> {
    let first = tokio::time::timeout(HELLO_WAIT_MAX, inbound.message()).await;
    let first = first.map_err(|_| Status::deadline_exceeded("no Hello came: send it at once"))??;
    let Some(Body::Hello(hello)) = first.and_then(|message| message.body) else {
        return Err(status_field("hello", Problem::Missing { hint: "send it as the first message" }));
    };
    let session = context.engine.new_session_id();
    let protocol = hello.protocol_version;
    let connected = connected(&identity, session, hello, of)?;
    let held = connected.held.len();
    // The way for the answer is open before the question is asked.
    let (route, outbox) = context.engine.register_session(key_of(&identity), session);
    let accepted = context.engine.submit(Input::Node(NodeInput::Connected(Box::new(connected)))).await;
    accepted.map_err(|error| refusal::of_submit(&error))?;
    tracing::info!(account = %identity.account, pool = %identity.pool, node = %identity.node, session, held, peer = ?of.peer,
        "a node has connected");
    let (wire, messages) = mpsc::channel(WIRE_MESSAGES_MAX);
    let (end, ended) = oneshot::channel();
    tokio::spawn(async move {
        let status = Session { context: &context, identity: &identity, session, protocol }
            .run(inbound, outbox, wire)
            .await;
        drop(route);
        tracing::info!(account = %identity.account, node = %identity.node, session, reason = status.message(),
            "a node's session has ended");
        // An agent that has gone does not hear it.
        let _ = end.send(status);
    });
    let last = stream::once(ended).filter_map(|status| std::future::ready(status.ok().map(Err)));
    Ok(ReceiverStream::new(messages).map(Ok).chain(last).boxed())
}

fn connected(
    identity: &NodeIdentity,
    session: SessionId,
    hello: wire::Hello,
    of: Origin,
) -> Result<Connected, Status> {
    if !(PROTOCOL_VERSION_OLDEST..=PROTOCOL_VERSION).contains(&hello.protocol_version) {
        let words = format!(
            "the agent speaks protocol {}, this controller {PROTOCOL_VERSION_OLDEST} to {PROTOCOL_VERSION}: install matching versions",
            hello.protocol_version
        );
        return Err(status(Code::FailedPrecondition, ErrorReason::OperationInvalidForCurrentState, words));
    }
    if hello.held.len() > HELD_MAX {
        let problem = Problem::TooMany { given: hello.held.len(), max: HELD_MAX };
        return Err(status_field("hello.held", problem));
    }
    let facts = hello
        .facts
        .ok_or_else(|| status_field("hello.facts", Problem::Missing { hint: "say what the machine is" }))?;
    let held = |held: wire::HeldAttempt| {
        convert::HeldAttempt::try_from(held).map(|held| HeldAttempt {
            attempt: held.attempt,
            phase: held.phase,
            incarnation: held.incarnation,
        })
    };
    Ok(Connected {
        node: key_of(identity),
        session,
        connection: of.connection,
        facts: facts_of(facts, of.peer)?,
        held: hello.held.into_iter().map(held).collect::<Result<_, _>>()?,
        start_task: hello.start_task.map(StartTaskInfo::try_from).transpose()?,
    })
}

/// A session that the core knows of.
struct Session<'a> {
    context: &'a SessionContext,
    identity: &'a NodeIdentity,
    session: SessionId,
    /// The protocol that the agent speaks: at most ours.
    protocol: u32,
}

impl Session<'_> {
    /// Runs both halves until one ends, then tells the core. Answers with the status for the agent.
    async fn run(
        &self,
        inbound: Streaming<wire::AgentMessage>,
        outbox: NodeOutbox,
        wire: mpsc::Sender<wire::ControllerMessage>,
    ) -> Status {
        let node = key_of(self.identity);
        let attachment = self.context.relay.attach(node.clone(), self.session, wire.clone());
        let pen = self.context.board.attach(node.clone(), self.session);
        let outbound = Outbound {
            context: self.context,
            identity: self.identity,
            session: self.session,
            protocol: self.protocol,
            wire: wire.clone(),
        };
        let (line, waiting) = report_line::line(&self.context.report_room);
        let listening = self.listen(&node, inbound, line, &pen);
        // Whoever hangs up in order is heard to the end.
        let taking = future::try_join(listening, self.pass_reports(&node, waiting, &outbound, &pen));
        let status = tokio::select! {
            taken = taking => taken.map_or_else(|status| status, |(status, ())| status),
            status = outbound.run(outbox) => status,
            () = wire.closed() => Status::cancelled("the node has gone"),
            () = self.context.shutdown.begun() => refusal::stopping(),
        };
        drop(attachment);
        drop(pen);
        self.context.granted.forget(&node);
        let gone = Input::Node(NodeInput::Disconnected { node, session: self.session });
        if let Err(error) = self.context.engine.post(gone).await {
            // The lease ends by itself.
            tracing::debug!(node = %self.identity.node, session = self.session, %error, "the end of a session was not recorded");
        }
        status
    }

    /// Takes what the agent says until it stops or says something wrong. Waits for nothing but room for reports: the
    /// heartbeats behind them keep the node's work alive.
    ///
    /// # Errors
    /// What the agent did wrong, or what broke the stream.
    async fn listen(
        &self,
        node: &NodeKey,
        mut inbound: Streaming<wire::AgentMessage>,
        line: ReportLine,
        pen: &Pen,
    ) -> Result<Status, Status> {
        loop {
            let Some(message) = inbound.message().await? else {
                return Ok(Status::cancelled("the node has ended the session"));
            };
            match message.body {
                Some(Body::Heartbeat(wire::Heartbeat { sequence })) => {
                    self.context.engine.heartbeat(node.clone(), self.session, sequence);
                }
                Some(Body::Reports(reports)) => {
                    if reports.reports.len() > SESSION_BATCH_MAX {
                        let problem =
                            Problem::TooMany { given: reports.reports.len(), max: SESSION_BATCH_MAX };
                        return Err(status_field("reports", problem));
                    }
                    line.push(reports).await;
                }
                Some(Body::ReadRefused(refused)) => self.context.relay.refuse(node, refused),
                Some(Body::Metrics(metrics)) => self.metrics(metrics, pen),
                Some(Body::Hello(_)) => {
                    return Err(status_field("hello", Problem::Conflict { other: "the first message" }));
                }
                // A message of a later version.
                None => {}
            }
        }
    }

    /// Passes the session's reports on, one message after the other, until no more come.
    ///
    /// # Errors
    /// Why they could not be taken.
    async fn pass_reports(
        &self,
        node: &NodeKey,
        mut waiting: mpsc::UnboundedReceiver<Waiting>,
        outbound: &Outbound<'_>,
        pen: &Pen,
    ) -> Result<(), Status> {
        while let Some(message) = waiting.recv().await {
            let Waiting { reports, .. } = message;
            self.reports(node, reports, outbound, pen).await?;
        }
        Ok(())
    }

    /// What the node uses. Nothing rests on it, so one that cannot be read is passed over.
    fn metrics(&self, metrics: wire::Metrics, pen: &Pen) {
        match convert::Metrics::try_from(metrics) {
            Ok(metrics) => pen.tell(metrics),
            Err(error) => {
                tracing::debug!(node = %self.identity.node, %error, "the metrics of a node cannot be read");
            }
        }
    }

    async fn reports(
        &self,
        node: &NodeKey,
        reports: wire::Reports,
        outbound: &Outbound<'_>,
        pen: &Pen,
    ) -> Result<(), Status> {
        let batch = report::read(self.context, node, reports.reports).await;
        let batch = batch.map_err(|error| refusal::of_read(&error))?;
        for numbered in &batch.reports {
            if let Report::Finished { attempt, .. } = &numbered.report {
                pen.ended(attempt);
            }
        }
        if !batch.reports.is_empty() {
            let reports =
                NodeInput::Reports { node: node.clone(), session: self.session, reports: batch.reports };
            let posted = self.context.engine.post_in_turn(Input::Node(reports)).await;
            posted.map_err(|error| refusal::of_submit(&error))?;
        }
        let Some(sequence) = batch.skipped_last else { return Ok(()) };
        // An acknowledgement covers all reports before it, so those must be durable first.
        self.context.engine.settled().await.map_err(|error| refusal::of_submit(&error))?;
        outbound.acknowledge(sequence).await
    }
}

//! The session: one stream to the controller at a time, made again with growing waits whenever it breaks.
//!
//! Nothing here waits without an end: connecting has its limit, and so has the first word of the controller ([`Pace`]). Waits and
//! limits follow the length of the lease, so that a node whose stream broke, or died in silence, has another one well
//! within it. That heartbeats have no answer is the core's to notice; it closes the session, and with it the connection.
//!
//! It carries messages and decides nothing: what comes is turned into the core's words and handed to the driver, what the driver
//! says goes out. A part of a message that cannot be read is left out with a warning; both ends use the same
//! conversions, so that is another version's doing.

use crate::config::ControllerUrl;
use crate::files::{ReadRequest, Target, Wish};
use crate::health::Anchor;
use crate::identity::Identity;
use crate::link::{self, LinkError};
use muster_agent_core::SessionId;
use muster_agent_core::input::{Amendment, Kill, KillReason, Terms, Verdict};
use muster_model::{AttemptId, FilePath};
use muster_proto::convert::{AttemptPlan, NodeSettings, StartTaskPlan};
use muster_proto::wire::{self, controller_message::Body};
use muster_runtime::backoff::Backoff;
use muster_runtime::clock;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::Status;
use tonic::transport::Channel;

/// Messages that wait to go out: reports are batched, so a queue this long means that the controller is stuck.
const OUTGOING_MAX: usize = 256;
/// First wait between connections: quick after a restart of the controller.
const WAIT_MIN: Duration = Duration::from_millis(100);
/// Parts of a lease that a wait between connections may last, and the longest wait.
const WAIT_PARTS: u32 = 6;
const WAIT_MAX: Duration = Duration::from_secs(5);
/// Parts of a lease that connecting may take at first, and again until the controller's first word.
const PATIENCE_PARTS: u32 = 6;
/// The bounds of that: less is no time for a handshake on a busy machine, and who needs more is not there.
const PATIENCE: (Duration, Duration) = (Duration::from_secs(1), link::CONNECT_LIMIT);
/// Parts of a lease that both may take after tries that failed, and the bounds of that: a controller that was just started
/// hears all its nodes at once, and a try that goes nowhere holds up the next.
const LATER_PARTS: u32 = 2;
const LATER: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(20));

/// What happens with the session.
#[derive(Debug)]
pub(crate) enum SessionEvent {
    /// A stream is open; what is put into `say` goes out on it. Dropping `open` closes it.
    Opened { id: SessionId, say: mpsc::Sender<wire::AgentMessage>, open: DropGuard },
    /// A stream broke.
    Closed(SessionId),
    /// The controller said something.
    Heard { id: SessionId, heard: Heard },
    /// The controller does not know this node any more.
    Unknown,
}

/// What the controller said.
#[derive(Debug)]
pub(crate) enum Heard {
    Welcome {
        lease_ttl: Duration,
        heartbeat_interval: Option<Duration>,
        settings: Arc<NodeSettings>,
        verdicts: Vec<(AttemptId, Verdict)>,
        acknowledged: u64,
        /// The controller's clock.
        clock: Option<Anchor>,
    },
    LeaseGranted {
        sequence: u64,
        ttl: Duration,
        /// The controller's clock, in microseconds since the epoch.
        server_us: Option<i64>,
        /// When this was heard, since the boot.
        heard: Duration,
    },
    Assign(Vec<AttemptPlan>),
    Recall(Vec<AttemptId>),
    Kill(Vec<Kill>),
    Amend(Amendment),
    Acknowledge(u64),
    Settings(Arc<NodeSettings>),
    RunStartTask(Arc<StartTaskPlan>),
    RemoveDirectories(Vec<AttemptId>),
    Restart {
        reimage: bool,
    },
    Leave,
    Read(ReadRequest),
    CancelRead(String),
}

/// What a session needs.
pub(crate) struct SessionSettings {
    pub(crate) controller: ControllerUrl,
    /// The newest identity.
    pub(crate) identity: watch::Receiver<Arc<Identity>>,
    /// Told of each connection.
    pub(crate) channel: watch::Sender<Option<Channel>>,
    /// Told of everything.
    pub(crate) events: mpsc::Sender<SessionEvent>,
}

/// How long things may take and how long is waited, by the lease that the controller granted last.
#[derive(Debug)]
struct Pace {
    lease_ttl: Option<Duration>,
    waits: Backoff,
    /// Tries in a row without a word of the controller: each is given twice the time of the one before.
    failures: u32,
}

impl Pace {
    fn new() -> Self {
        Self { lease_ttl: None, waits: Backoff::new(WAIT_MIN, WAIT_MAX), failures: 0 }
    }

    /// The controller has welcomed the node.
    fn welcomed(&mut self, lease_ttl: Duration) {
        if self.lease_ttl != Some(lease_ttl) {
            self.lease_ttl = Some(lease_ttl);
            self.waits = Backoff::new(WAIT_MIN, (lease_ttl / WAIT_PARTS).clamp(WAIT_MIN, WAIT_MAX));
        }
        self.waits.reset();
        self.failures = 0;
    }

    /// How long a try that begins now may take until there is a connection, and again until the controller's first word.
    fn patience(&self) -> Duration {
        let part = |parts, (least, most): (Duration, Duration)| {
            self.lease_ttl.map_or(most, |ttl| ttl / parts).clamp(least, most)
        };
        let grown = 2_u32.saturating_pow(self.failures);
        part(PATIENCE_PARTS, PATIENCE).saturating_mul(grown).min(part(LATER_PARTS, LATER))
    }

    /// How long to wait after a session that broke.
    fn wait(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.waits.next_delay()
    }
}

/// Keeps a session for as long as somebody listens.
pub(crate) async fn run(settings: SessionSettings) {
    let mut pace = Pace::new();
    for id in 1.. {
        let result = one(&settings, id, &mut pace).await;
        settings.channel.send_replace(None);
        match result {
            Ok(()) => tracing::info!(session = id, "the session has ended"),
            Err(End::NobodyListens) => return,
            Err(End::Silent(limit)) => {
                tracing::warn!(session = id, ?limit, "the controller does not answer; connecting anew");
            }
            Err(End::Link(error)) => tracing::warn!(error = chain(&error), "cannot reach the controller"),
            Err(End::Status(status)) if is_unknown(&status) => {
                tracing::warn!(reason = status.message(), "the controller does not know this node any more");
                let _ending = settings.events.send(SessionEvent::Unknown).await;
                return;
            }
            Err(End::Status(status)) => {
                tracing::warn!(code = ?status.code(), reason = status.message(), "the session broke");
            }
        }
        if settings.events.send(SessionEvent::Closed(id)).await.is_err() {
            return;
        }
        tokio::time::sleep(pace.wait()).await;
    }
}

/// An error with what caused it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Whether a refusal says that the node is gone for good.
fn is_unknown(status: &Status) -> bool {
    match muster_proto::convert::reason_of(status) {
        Some(wire::ErrorReason::NodeUnknown | wire::ErrorReason::NodeNotFound) => true,
        Some(_) | None => false,
    }
}

/// Why a session ended.
enum End {
    Link(LinkError),
    Status(Status),
    /// The controller has not said its first word within this.
    Silent(Duration),
    NobodyListens,
}

async fn one(settings: &SessionSettings, id: SessionId, pace: &mut Pace) -> Result<(), End> {
    let identity = Arc::clone(&settings.identity.borrow());
    let limit = pace.patience();
    // Also when the limits within do not hold: a name that is not found, a handshake that hangs.
    let opening = tokio::time::timeout(limit, link::open(&settings.controller, &identity, limit));
    let opened = opening.await.map_err(|_elapsed| End::Silent(limit))?;
    let (channel, mut node) = opened.map_err(End::Link)?;
    let (say, outgoing) = mpsc::channel(OUTGOING_MAX);
    let listens =
        |sent: Result<(), _>| sent.map_err(|_: mpsc::error::SendError<SessionEvent>| End::NobodyListens);
    // The Hello goes first: the controller answers the call itself only when it has read it.
    let closed = CancellationToken::new();
    let open = closed.clone().drop_guard();
    let asked = clock::since_boot();
    listens(settings.events.send(SessionEvent::Opened { id, say, open }).await)?;
    let mut welcomed = false;
    let silent = tokio::time::sleep(limit);
    tokio::pin!(silent);
    let mut incoming = tokio::select! {
        opened = node.session(ReceiverStream::new(outgoing)) => opened.map_err(End::Status)?.into_inner(),
        () = closed.cancelled() => return Ok(()),
        () = &mut silent => return Err(End::Silent(limit)),
    };
    settings.channel.send_replace(Some(channel));
    loop {
        let message = tokio::select! {
            message = incoming.message() => message.map_err(End::Status)?,
            () = closed.cancelled() => return Ok(()),
            () = &mut silent, if !welcomed => return Err(End::Silent(limit)),
        };
        let Some(message) = message else { return Ok(()) };
        if let Some(heard) = message.body.and_then(|body| heard(body, asked)) {
            if let Heard::Welcome { lease_ttl, .. } = &heard {
                welcomed = true;
                pace.welcomed(*lease_ttl);
            }
            listens(settings.events.send(SessionEvent::Heard { id, heard }).await)?;
        }
    }
}

/// What a message says; `asked` is when the Hello was sent, since the boot.
fn heard(body: Body, asked: Duration) -> Option<Heard> {
    Some(match body {
        Body::Welcome(welcome) => self::welcome(welcome, asked)?,
        Body::LeaseGranted(granted) => {
            let server_us = granted.server_time.and_then(|time| micros(time.seconds, time.nanos));
            let (sequence, ttl) = (granted.sequence, span(granted.lease_ttl)?);
            Heard::LeaseGranted { sequence, ttl, server_us, heard: clock::since_boot() }
        }
        Body::Assign(assign) => Heard::Assign(readable(assign.plans)),
        Body::Recall(recall) => Heard::Recall(readable(recall.attempts)),
        Body::KillAttempts(kills) => Heard::Kill(kills.attempts.into_iter().filter_map(kill).collect()),
        Body::Amend(amend) => Heard::Amend(amendment(one_readable(amend)?)),
        Body::Acknowledge(acknowledge) => Heard::Acknowledge(acknowledge.sequence),
        Body::ReadFile(read) => {
            let path = safe_path(&read.path)?;
            let wish = Wish::Read { path, offset: read.offset, length: read.length, follow: read.follow };
            Heard::Read(ReadRequest { id: read.read_id, target: target(read.target)?, wish })
        }
        Body::ListDirectory(list) => {
            let wish = Wish::List {
                prefix: list.prefix,
                recursive: list.recursive,
                after: list.after_path,
                limit: usize::try_from(list.limit).unwrap_or(usize::MAX),
            };
            Heard::Read(ReadRequest { id: list.read_id, target: target(list.target)?, wish })
        }
        Body::CancelRead(cancel) => Heard::CancelRead(cancel.read_id),
        Body::RunStartTask(run) => Heard::RunStartTask(Arc::new(one_readable(run.start_task?)?)),
        Body::Settings(settings) => Heard::Settings(Arc::new(one_readable(settings)?)),
        Body::Leave(leave) => {
            tracing::info!(reason = leave.reason, "the controller takes this node out of its pool");
            Heard::Leave
        }
        Body::Reboot(reboot) => {
            let (reason, reimage) = (reboot.reason, reboot.reimage);
            tracing::info!(reason, reimage, "the controller asks for a restart of the machine");
            Heard::Restart { reimage }
        }
        Body::RemoveDirectories(remove) => Heard::RemoveDirectories(readable(remove.attempts)),
    })
}

/// Microseconds since the epoch.
fn micros(seconds: i64, nanos: i32) -> Option<i64> {
    seconds.checked_mul(1_000_000)?.checked_add(i64::from(nanos) / 1_000)
}

fn welcome(welcome: wire::Welcome, asked: Duration) -> Option<Heard> {
    let server_us = welcome.server_time.and_then(|time| micros(time.seconds, time.nanos));
    let clock = server_us.map(|server_us| Anchor::new(server_us, asked, clock::since_boot()));
    let verdict = |answer: wire::HeldAnswer| {
        let verdict = match answer.verdict() {
            wire::HeldVerdict::Keep => Verdict::Keep,
            wire::HeldVerdict::Kill => Verdict::Kill,
            wire::HeldVerdict::Acknowledged => Verdict::Acknowledged,
            wire::HeldVerdict::Unspecified => return None,
        };
        Some((one_readable(answer.attempt?)?, verdict))
    };
    Some(Heard::Welcome {
        lease_ttl: span(welcome.lease_ttl)?,
        heartbeat_interval: span(welcome.heartbeat_interval),
        settings: Arc::new(one_readable(welcome.settings?)?),
        verdicts: welcome.held.into_iter().filter_map(verdict).collect(),
        acknowledged: welcome.acknowledged_sequence,
        clock,
    })
}

fn kill(kill: wire::KillAttempt) -> Option<Kill> {
    let reason = match kill.reason() {
        wire::KillReason::Terminated | wire::KillReason::Unspecified => KillReason::Terminated,
        wire::KillReason::Requeued => KillReason::Requeued,
        wire::KillReason::Fenced => KillReason::Stale,
    };
    Some(Kill { attempt: one_readable(kill.attempt?)?, reason, grace: span(kill.grace).unwrap_or_default() })
}

fn amendment(given: muster_proto::convert::Amendment) -> Amendment {
    let terms = Terms { wall_clock: given.wall_clock, retention: given.retention };
    Amendment { attempt: given.attempt, terms }
}

fn target(target: Option<wire::ReadTarget>) -> Option<Target> {
    Some(match target?.target? {
        wire::read_target::Target::Attempt(attempt) => Target::Attempt(one_readable(attempt)?),
        wire::read_target::Target::NodeRoot(_) => Target::NodeRoot,
    })
}

fn safe_path(path: &str) -> Option<String> {
    match FilePath::parse(path) {
        Ok(path) => Some(path.to_string()),
        Err(error) => {
            tracing::warn!(%error, "a path to read cannot be used");
            None
        }
    }
}

fn span<W>(span: Option<W>) -> Option<Duration>
where
    Duration: TryFrom<W>,
{
    span.and_then(|span| Duration::try_from(span).ok()).filter(|span| !span.is_zero())
}

/// The items that can be read; the others are told of in the log.
fn readable<W, T>(items: Vec<W>) -> Vec<T>
where
    T: TryFrom<W>,
    T::Error: std::fmt::Display,
{
    items.into_iter().filter_map(one_readable).collect()
}

fn one_readable<W, T>(item: W) -> Option<T>
where
    T: TryFrom<W>,
    T::Error: std::fmt::Display,
{
    match T::try_from(item) {
        Ok(item) => Some(item),
        Err(error) => {
            tracing::error!(%error, "a part of a message from the controller cannot be read; are both of one version?");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_and_limits_fit_into_a_lease_and_grow_only_while_nobody_answers() {
        let cases =
            [(3_000, 1_000, 500, 2_000), (30_000, 5_000, 5_000, 15_000), (600_000, 10_000, 5_000, 20_000)];
        for (ttl, patience, longest_wait, later) in cases {
            let ttl = Duration::from_millis(ttl);
            let mut pace = Pace::new();
            assert_eq!(pace.patience(), link::CONNECT_LIMIT, "no lease is at stake yet");
            pace.welcomed(ttl);
            assert_eq!(pace.patience(), Duration::from_millis(patience));
            for _ in 0..20 {
                assert!(pace.wait() <= Duration::from_millis(longest_wait));
            }
            assert_eq!(pace.patience(), Duration::from_millis(later));
            pace.welcomed(ttl);
            assert_eq!(pace.patience(), Duration::from_millis(patience));
            assert!(pace.wait() <= WAIT_MIN, "the first wait is a short one again");
        }
    }
}

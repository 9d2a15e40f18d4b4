//! The conversation with the supervisor: requests in the order in which they were asked, its words to the driver.
//!
//! Every connection begins with the list of what is held and then the subscription, so that nothing is missed between
//! them; ends that are told before that list are passed on behind it. When the connection breaks, requests that wait are
//! dropped: the core asks again for what matters once it has seen the new list. The lease goes before all other requests,
//! and of several that wait the newest.
//!
//! A supervisor that does not answer (stopped, or stuck in a dead disk) holds up nobody here. It is asked for a sign of life from
//! time to time, and one that gives none is killed and replaced: its tasks have keepers, so that costs nothing.

use super::exit::{exit_of, usage_of};
use super::key::Keyed;
use super::refusal::failure_of;
use super::start::{Connection, CustodyError, SupervisorSettings, connect_or_start, gone, read_message};
use crate::health::Health;
use muster_agent_core::Monotonic;
use muster_agent_core::input::Exit;
use muster_model::node::NodeError;
use muster_model::{FailureInfo, Timestamp, Usage};
use muster_runtime::backoff::Backoff;
use muster_supervisor::frame::{FrameReader, frame};
use muster_supervisor::request::USAGE_KEYS_MAX;
use muster_supervisor::{AttemptKey, Message, Phase, Refusal, Reply, Request, Spec, TaskStatus};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot, watch};

/// Requests that wait to be written: as many attempts as may wait for slots, twice.
const ASKS_MAX: usize = 20_000;
/// Requests that are written with one system call.
const BATCH: usize = 256;
/// First and longest wait between tries to reach a supervisor.
const WAITS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// How often the supervisor is asked for a sign of life while nothing is heard of it.
const PING: Duration = Duration::from_secs(2);
/// How long it may be silent then: no start of a task takes it as long.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// Failures in a row before the node says that something is wrong: one that was killed is back at the first try.
const FAILURES_TOLD: u32 = 3;

/// What is asked of the supervisor.
#[derive(Debug)]
pub(crate) enum Ask {
    /// Start a command.
    Start { whose: Keyed, spec: Box<Spec> },
    /// End one.
    Kill { whose: Keyed, grace: Duration, reason: &'static str },
    /// Hold one to another wall-clock limit, from its start; `None` is no limit.
    Limit { whose: Keyed, wall_clock: Option<Duration> },
    /// Forget one that has ended.
    Acknowledge(Keyed),
    /// Tell what these use now, as far as they run; at most [`USAGE_KEYS_MAX`].
    Usage(Vec<Keyed>),
    /// Exit; answered when it has. Nothing can be asked afterwards.
    Shutdown { kill_tasks: bool, done: oneshot::Sender<()> },
}

/// What the supervisor says.
#[derive(Debug)]
pub(crate) enum Word {
    /// Everything that it holds, and since when. The record of an end follows by itself, so until then it counts as running.
    Holds(Vec<(Keyed, Timestamp)>),
    /// A command was started at this time, or could not be.
    Launched { whose: Keyed, outcome: Result<Timestamp, FailureInfo> },
    /// A command ended. Said again on every connection until it is acknowledged.
    Exited { whose: Keyed, exit: Exit },
    /// What running commands use now. Also said, of nobody, when the question was refused.
    Using(Vec<(Keyed, Usage)>),
}

/// The way to the supervisor.
#[derive(Debug, Clone)]
pub(crate) struct Custody {
    asks: mpsc::Sender<Ask>,
    /// The newest lease, once there was one; what is older is of no interest.
    lease: Arc<watch::Sender<Option<LeaseWord>>>,
    /// The supervisor's process; 0 while there is none.
    supervisor: Arc<AtomicU32>,
}

/// Until when tasks may run without anybody's word; `None` is for ever.
type LeaseWord = Option<Monotonic>;

/// The other end of a way to the supervisor.
#[derive(Debug)]
pub(crate) struct Asks {
    receiver: mpsc::Receiver<Ask>,
    lease: watch::Receiver<Option<LeaseWord>>,
    supervisor: Arc<AtomicU32>,
}

impl Custody {
    /// A way, and the end to give to [`run`].
    pub(crate) fn new() -> (Self, Asks) {
        let (asks, receiver) = mpsc::channel(ASKS_MAX);
        let (sender, lease) = watch::channel(None);
        let supervisor = Arc::<AtomicU32>::default();
        let custody = Self { asks, lease: Arc::new(sender), supervisor: Arc::clone(&supervisor) };
        (custody, Asks { receiver, lease, supervisor })
    }

    /// The process of the supervisor that answers; `None` while there is none.
    pub(crate) fn supervisor(&self) -> Option<u32> {
        Some(self.supervisor.load(Ordering::Relaxed)).filter(|pid| *pid > 0)
    }

    /// Asks; without a supervisor or with too many requests waiting, the request is dropped.
    pub(crate) fn ask(&self, ask: Ask) {
        if let Err(error) = self.asks.try_send(ask) {
            tracing::warn!(%error, "a request to the supervisor was dropped");
        }
    }

    /// Tells until when tasks may run without anybody's word; `None` is for ever.
    pub(crate) fn lease(&self, until: Option<Monotonic>) {
        self.lease.send_replace(Some(until));
    }
}

/// Keeps a connection for as long as somebody may ask. What the supervisor says goes to `words`.
pub(crate) async fn run(
    first: Connection,
    settings: SupervisorSettings,
    asks: Asks,
    words: mpsc::Sender<Word>,
    health: Health,
) {
    let Asks { receiver: mut asks, mut lease, supervisor } = asks;
    let mut connection = Some(first);
    let mut backoff = Backoff::new(WAITS.0, WAITS.1);
    let mut failures = 0_u32;
    loop {
        let open = match connection.take() {
            Some(open) => Ok(open),
            None => connect_or_start(&settings).await,
        };
        match open {
            Ok(open) => {
                backoff.reset();
                failures = 0;
                health.clear(NodeError::AGENT_FAULT);
                tracing::debug!(pid = open.welcome.pid, "connected to the supervisor");
                supervisor.store(open.welcome.pid, Ordering::Relaxed);
                let pid = open.welcome.pid;
                match Talk::new(open, &words).go_on(&mut asks, &mut lease).await {
                    Ok(()) => return,
                    Err(error @ CustodyError::Unresponsive { .. }) => {
                        tracing::error!(error = chain(&error), pid, "replacing the supervisor; tasks go on");
                        end_unresponsive(pid).await;
                    }
                    Err(error) => tracing::warn!(error = chain(&error), "lost the supervisor; reconnecting"),
                }
            }
            Err(error) => {
                let words = chain(&error);
                tracing::error!(error = words, "no supervisor; tasks cannot start");
                failures = failures.saturating_add(1);
                if failures >= FAILURES_TOLD {
                    let words = format!(
                        "the node's supervisor does not answer, so tasks can neither start nor be ended: {words}; look \
                         at its log"
                    );
                    health.raise_now(NodeError::AGENT_FAULT, words, Vec::new());
                }
            }
        }
        supervisor.store(0, Ordering::Relaxed);
        tokio::time::sleep(backoff.next_delay()).await;
        while asks.try_recv().is_ok() {}
    }
}

/// Kills a supervisor that is connected and does not answer. One that is stuck in the kernel dies when it comes out.
async fn end_unresponsive(pid: u32) {
    let Some(process) = i32::try_from(pid).ok().filter(|pid| *pid > 1) else { return };
    // Its connection was open a moment ago, so the number is still its own.
    if let Err(errno) = kill(Pid::from_raw(process), Signal::SIGKILL) {
        tracing::warn!(pid, %errno, "cannot kill the supervisor");
    }
    gone(pid).await;
}

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

/// What an answer is awaited for.
enum Awaited {
    Start { whose: Keyed, search_path: String },
    List,
    Usage,
    Shutdown(oneshot::Sender<()>),
    Nothing,
}

/// What is said once more when the list has come.
#[derive(Debug, Default)]
struct Early {
    listed: bool,
    exits: Vec<Word>,
}

/// One connection.
struct Talk<'a> {
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
    frames: FrameReader,
    early: VecDeque<Message>,
    next_id: u64,
    awaited: BTreeMap<u64, Awaited>,
    /// Who waits for the supervisor to be gone, once it has agreed to go.
    leaving: Option<oneshot::Sender<()>>,
    /// Its process.
    pid: u32,
    bytes: Vec<u8>,
    words: &'a mpsc::Sender<Word>,
    /// Ends that were told before the list of what is held; at most as many as that holds.
    ends: Early,
    /// When something was heard last.
    heard: Instant,
    /// Whether an answer is awaited that comes at once from a supervisor that lives.
    pinged: bool,
}

impl<'a> Talk<'a> {
    fn new(open: Connection, words: &'a mpsc::Sender<Word>) -> Self {
        let Connection { stream, frames, early, next_id, welcome, .. } = open;
        let (reader, writer) = stream.into_split();
        let (awaited, bytes, pid) = (BTreeMap::new(), Vec::new(), welcome.pid);
        Self {
            reader,
            writer,
            frames,
            early,
            next_id,
            awaited,
            leaving: None,
            pid,
            bytes,
            words,
            ends: Early::default(),
            heard: Instant::now(),
            pinged: false,
        }
    }

    /// Carries requests and answers until nobody may ask any more, or the supervisor has gone as it was told to.
    async fn go_on(
        mut self,
        asks: &mut mpsc::Receiver<Ask>,
        lease: &mut watch::Receiver<Option<LeaseWord>>,
    ) -> Result<(), CustodyError> {
        self.put(&Request::List, Awaited::List)?;
        self.put(&Request::Subscribe, Awaited::Nothing)?;
        // The driver says the lease of a new connection when it has the list: what stands here may be older than the agent.
        lease.mark_unchanged();
        self.write().await?;
        let mut batch = Vec::with_capacity(BATCH);
        let mut ping = tokio::time::interval(PING);
        ping.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            while let Some(message) = self.early.pop_front() {
                self.take(message).await?;
            }
            tokio::select! {
                biased;
                message = read_message(&mut self.reader, &mut self.frames) => match (message, self.leaving.take()) {
                    (Ok(message), leaving) => {
                        self.leaving = leaving;
                        (self.heard, self.pinged) = (Instant::now(), false);
                        self.take(message).await?;
                    }
                    (Err(_), Some(done)) => {
                        gone(self.pid).await;
                        // Whoever asked may have given up waiting.
                        let _nobody = done.send(());
                        return Ok(());
                    }
                    (Err(error), None) => return Err(error),
                },
                Ok(()) = lease.changed() => {
                    let word = *lease.borrow_and_update();
                    self.put_lease(word)?;
                    self.write().await?;
                }
                _ = ping.tick() => self.ping().await?,
                count = asks.recv_many(&mut batch, BATCH) => {
                    if count == 0 {
                        return Ok(());
                    }
                    for ask in batch.drain(..) {
                        self.put_ask(ask)?;
                    }
                    self.write().await?;
                }
            }
        }
    }

    /// Asks for a sign of life if nothing was heard for a while; gives up a supervisor that gives none.
    async fn ping(&mut self) -> Result<(), CustodyError> {
        let silent = self.heard.elapsed();
        if self.pinged && silent >= SILENCE_MAX {
            return Err(CustodyError::Unresponsive { silent });
        }
        // One that was told to end its tasks and go may take its time.
        if !self.pinged && silent >= PING && self.leaving.is_none() {
            self.pinged = true;
            self.heard = Instant::now();
            self.put(&Request::Probe, Awaited::Nothing)?;
            self.write().await?;
        }
        Ok(())
    }

    fn put_lease(&mut self, word: Option<LeaseWord>) -> Result<(), CustodyError> {
        let Some(until) = word else { return Ok(()) };
        let micros = |until: Monotonic| u64::try_from(until.as_duration().as_micros()).unwrap_or(u64::MAX);
        self.put(&Request::Lease { until_us: until.map(micros) }, Awaited::Nothing)
    }

    fn put(&mut self, request: &Request, awaited: Awaited) -> Result<(), CustodyError> {
        let id = self.next_id;
        self.next_id = self.next_id.saturating_add(1);
        let framed = frame(&request.encode(id)).map_err(|cause| CustodyError::TooLong { cause })?;
        self.bytes.extend_from_slice(&framed);
        self.awaited.insert(id, awaited);
        Ok(())
    }

    fn put_ask(&mut self, ask: Ask) -> Result<(), CustodyError> {
        match ask {
            Ask::Start { whose, spec } => {
                let search_path = spec.search_path().map(|path| path.to_string_lossy().into_owned());
                let awaited = Awaited::Start { whose, search_path: search_path.unwrap_or_default() };
                self.put(&Request::Start(spec), awaited)
            }
            Ask::Kill { whose, grace, reason } => {
                let Some(key) = known_key(&whose) else { return Ok(()) };
                let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
                self.put(&Request::Kill { key, reason: reason.to_owned(), grace_ms }, Awaited::Nothing)
            }
            Ask::Limit { whose, wall_clock } => {
                let Some(key) = known_key(&whose) else { return Ok(()) };
                let millis = |limit: Duration| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
                let wall_clock_ms = wall_clock.map(millis);
                self.put(&Request::Limit { key, wall_clock_ms }, Awaited::Nothing)
            }
            Ask::Acknowledge(whose) => {
                let Some(key) = known_key(&whose) else { return Ok(()) };
                self.put(&Request::Acknowledge { keys: vec![key] }, Awaited::Nothing)
            }
            Ask::Usage(whose) => {
                let keys = whose.iter().filter_map(known_key).take(USAGE_KEYS_MAX).collect();
                self.put(&Request::Usage { keys }, Awaited::Usage)
            }
            Ask::Shutdown { kill_tasks, done } => {
                self.put(&Request::Shutdown { kill_tasks }, Awaited::Shutdown(done))
            }
        }
    }

    async fn write(&mut self) -> Result<(), CustodyError> {
        let writing = self.writer.write_all(&self.bytes);
        match tokio::time::timeout(SILENCE_MAX, writing).await {
            Ok(written) => written.map_err(|cause| CustodyError::Broken { cause })?,
            Err(_elapsed) => return Err(CustodyError::Unresponsive { silent: SILENCE_MAX }),
        }
        self.bytes.clear();
        Ok(())
    }

    async fn take(&mut self, message: Message) -> Result<(), CustodyError> {
        let word = match message {
            Message::Exited(record) => {
                let exit = exit_of(&record);
                Keyed::of(&record.key).map(|whose| Word::Exited { whose, exit })
            }
            Message::Reply { id, result } => match self.awaited.remove(&id) {
                Some(Awaited::Start { whose, search_path }) => self.started(whose, &search_path, result)?,
                Some(Awaited::List) => match result {
                    Ok(Reply::Tasks(tasks)) => {
                        let ended = tasks.iter().filter(|task| task.phase == Phase::Ended).count();
                        let running = tasks.len() - ended;
                        tracing::info!(running, ended, "re-attached to the supervisor");
                        Some(Word::Holds(held(&tasks)))
                    }
                    Ok(_) => return Err(CustodyError::Unexpected),
                    Err(cause) => return Err(CustodyError::Refused { cause }),
                },
                Some(Awaited::Usage) => match result {
                    Ok(Reply::Usages(usages)) => Some(Word::Using(using(&usages))),
                    Ok(_) => return Err(CustodyError::Unexpected),
                    // One from before this question.
                    Err(_) => Some(Word::Using(Vec::new())),
                },
                Some(Awaited::Shutdown(done)) => {
                    result.map_err(|cause| CustodyError::Refused { cause })?;
                    self.leaving = Some(done);
                    None
                }
                Some(Awaited::Nothing) | None => {
                    if let Err(refusal @ Refusal::Unreadable { .. }) = result {
                        tracing::warn!(%refusal, "the supervisor does not understand this agent; is it an older one?");
                    }
                    None
                }
            },
        };
        if let Some(word) = word {
            self.say(word).await;
        }
        Ok(())
    }

    /// Passes a word on. An end that comes before the list would be taken for one that came after it, and what follows it would
    /// be done again when the list counts its command as running.
    async fn say(&mut self, word: Word) {
        // The driver is gone only when the process ends.
        match word {
            Word::Exited { .. } if !self.ends.listed => self.ends.exits.push(word),
            Word::Holds(_) => {
                self.ends.listed = true;
                let _ending = self.words.send(word).await;
                for end in std::mem::take(&mut self.ends.exits) {
                    let _ending = self.words.send(end).await;
                }
            }
            Word::Exited { .. } | Word::Launched { .. } | Word::Using(_) => {
                let _ending = self.words.send(word).await;
            }
        }
    }

    fn started(
        &mut self,
        whose: Keyed,
        search_path: &str,
        result: Result<Reply, Refusal>,
    ) -> Result<Option<Word>, CustodyError> {
        let outcome = match result {
            Ok(Reply::Started { started_at_us, .. }) => Ok(Timestamp::from_micros(started_at_us)),
            Ok(_) => return Err(CustodyError::Unexpected),
            // It was started by an earlier request: the list says how it stands.
            Err(Refusal::KeyInUse { .. }) => {
                self.put(&Request::List, Awaited::List)?;
                return Ok(None);
            }
            Err(refusal) => Err(failure_of(&refusal, search_path)),
        };
        Ok(Some(Word::Launched { whose, outcome }))
    }
}

fn known_key(whose: &Keyed) -> Option<AttemptKey> {
    let key = whose.key();
    key.map_err(|error| tracing::warn!(subject = %whose.subject, %error, "no key for a subject")).ok()
}

fn using(usages: &[(AttemptKey, muster_supervisor::record::Usage)]) -> Vec<(Keyed, Usage)> {
    usages.iter().filter_map(|(key, usage)| Some((Keyed::of(key)?, usage_of(usage)))).collect()
}

fn held(tasks: &[TaskStatus]) -> Vec<(Keyed, Timestamp)> {
    let now = Timestamp::from_micros(muster_runtime::clock::wall_us());
    let status = |task: &TaskStatus| {
        Some((Keyed::of(&task.key)?, task.started_at_us.map_or(now, Timestamp::from_micros)))
    };
    tasks.iter().filter_map(status).collect()
}

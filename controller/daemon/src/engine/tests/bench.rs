//! A running engine above a store that asks the test before each commit, and a node that speaks to it.
//!
//! The engine's clock is the test's: time passes when it says so. A test that ends lets every commit through.

use super::super::*;
use futures_util::FutureExt;
use muster_controller_core::Settings;
use muster_controller_core::effect::NodeMessage;
use muster_controller_core::input::{
    Command, Connected, Input, NewAccount, NewToken, NodeInput, NodeKey, SessionId,
};
use muster_controller_core::record::{Record, Rows, TaskRows};
use muster_controller_core::reply::CreatedNode;
use muster_model::node::{Capabilities, MachineFacts};
use muster_model::spec::PoolSpec;
use muster_model::{AccessKey, AccountName, Digest, NodeId, PoolId, Resources, Timestamp, TokenId};
use muster_store::{MemoryStore, Reader, Store, StoreError};
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Far more than any step takes.
pub(super) const LIMIT: Duration = Duration::from_secs(20);

/// What the store does with a commit that waits.
pub(super) enum Verdict {
    Commit,
    /// The disk has no room for it.
    Full,
    Fail,
}

/// The disk below the store, as the test wants it.
#[derive(Default)]
pub(super) struct FakeDisk {
    /// No commit finds room, whatever the verdicts say.
    pub(super) is_full: AtomicBool,
    /// The store has something in reserve.
    pub(super) has_reserve: AtomicBool,
    /// There is room to take the reserve.
    pub(super) has_room: AtomicBool,
}

fn full() -> StoreError {
    StoreError::Full { doing: "a test", cause: "no space left on device".into() }
}

struct GatedStore {
    inner: MemoryStore,
    disk: Arc<FakeDisk>,
    entered: Sender<usize>,
    verdicts: Receiver<Verdict>,
}

impl Store for GatedStore {
    fn load(&mut self) -> Result<Rows, StoreError> {
        self.inner.load()
    }

    fn load_tasks(&mut self, each: &mut dyn FnMut(TaskRows)) -> Result<(), StoreError> {
        self.inner.load_tasks(each)
    }

    fn commit(&mut self, records: &[Record]) -> Result<(), StoreError> {
        // A test that has ended lets everything through.
        let _ = self.entered.send(records.len());
        if self.disk.is_full.load(Ordering::SeqCst) {
            return Err(full());
        }
        match self.verdicts.recv() {
            Ok(Verdict::Full) => Err(full()),
            Ok(Verdict::Fail) => Err(StoreError::Damaged { doing: "a test", cause: None }),
            Ok(Verdict::Commit) | Err(_) => self.inner.commit(records),
        }
    }

    fn reader(&self) -> Arc<dyn Reader> {
        self.inner.reader()
    }

    fn tidy(&mut self) -> Result<bool, StoreError> {
        self.inner.tidy()
    }

    fn release_reserve(&mut self) -> bool {
        self.disk.has_reserve.swap(false, Ordering::SeqCst)
    }

    fn restore_reserve(&mut self) -> bool {
        let has_room = self.disk.has_room.load(Ordering::SeqCst);
        self.disk.has_reserve.fetch_or(has_room, Ordering::SeqCst);
        has_room
    }
}

/// The engine's clock. It stands until the test moves it.
#[derive(Clone)]
pub(super) struct TestTime(Arc<Mutex<Duration>>);

impl TestTime {
    pub(super) fn pass(&self, time: Duration) {
        *self.0.lock().unwrap() += time;
    }
}

impl TimeSource for TestTime {
    fn wall(&self) -> Timestamp {
        Timestamp::EPOCH.after(Duration::from_secs(1_767_225_600)).after(self.monotonic())
    }

    fn monotonic(&self) -> Duration {
        *self.0.lock().unwrap()
    }
}

/// A running engine above a gated store.
pub(super) struct Bench {
    pub(super) handle: EngineHandle,
    pub(super) engine: Engine,
    pub(super) entered: Receiver<usize>,
    pub(super) verdicts: Sender<Verdict>,
    pub(super) disk: Arc<FakeDisk>,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::with(Settings::default())
    }

    pub(super) fn with(settings: Settings) -> Self {
        Self::on(settings, SystemTimes)
    }

    /// One whose time the test moves.
    pub(super) fn timed() -> (Self, TestTime) {
        let time = TestTime(Arc::new(Mutex::new(Duration::from_secs(1_000))));
        (Self::on(Settings::default(), time.clone()), time)
    }

    fn on(settings: Settings, times: impl TimeSource) -> Self {
        let (entered_tx, entered) = channel();
        let (verdicts, verdicts_rx) = channel();
        let disk = Arc::new(FakeDisk::default());
        disk.has_room.store(true, Ordering::SeqCst);
        let store = GatedStore {
            inner: MemoryStore::new(),
            disk: Arc::clone(&disk),
            entered: entered_tx,
            verdicts: verdicts_rx,
        };
        let (handle, engine) = Engine::start(Box::new(store), settings, times).unwrap();
        Self { handle, engine, entered, verdicts, disk }
    }

    /// Waits until the store is asked to commit; answers how many records.
    pub(super) fn commit_entered(&self) -> usize {
        self.entered.recv_timeout(LIMIT).unwrap()
    }

    pub(super) fn let_go(&self, verdict: Verdict) {
        self.verdicts.send(verdict).unwrap();
    }

    /// Carries an input out, with its commit.
    pub(super) async fn done(&self, input: Input) {
        let handle = self.handle.clone();
        let answer = handle.submit(input);
        self.let_go(Verdict::Commit);
        within(answer).await.unwrap();
        self.commit_entered();
    }

    /// Waits until the disk is in this state.
    pub(super) async fn disk_is(&self, space: DiskSpace) {
        within(self.handle.disk_space().wait_for(|now| *now == space)).await.unwrap();
    }

    /// An account with a pool and a node in session. Its Welcome has been read.
    pub(super) async fn node(&self) -> FakeNode {
        self.done(create("studio")).await;
        self.done(pool("p")).await;
        let id = TokenId::parse("token").unwrap();
        let secret_hash = Digest::from_bytes([9; 32]);
        let expires = Timestamp::EPOCH.after(Duration::from_secs(4_000_000_000));
        let new =
            NewToken { id: id.clone(), secret_hash, pool: PoolId::parse("p").unwrap(), expires, uses: 1 };
        self.done(client(Command::CreateJoinToken(new))).await;
        let node = NodeId::parse("n-1").unwrap();
        let created = CreatedNode { node: node.clone(), account: None, pool: None };
        let join = NodeInput::Join { token: id, secret_hash, node: created, facts: Box::new(facts()) };
        self.done(Input::Node(join)).await;
        let key = NodeKey { account: name("studio"), node };
        let session = self.handle.new_session_id();
        let (route, outbox) = self.handle.register_session(key.clone(), session);
        let mut node = FakeNode { handle: self.handle.clone(), key, session, outbox, _route: route };
        self.done(node.connected()).await;
        assert!(matches!(node.told().await, NodeMessage::Welcome { .. }));
        node
    }

    /// Lets every commit through from now on and stops.
    pub(super) fn finish(self) {
        drop(self.verdicts);
        self.disk.is_full.store(false, Ordering::SeqCst);
        self.engine.stop();
    }
}

/// A node in session.
pub(super) struct FakeNode {
    handle: EngineHandle,
    pub(super) key: NodeKey,
    pub(super) session: SessionId,
    pub(super) outbox: NodeOutbox,
    _route: SessionRoute,
}

impl FakeNode {
    /// What it says when its session begins.
    pub(super) fn connected(&self) -> Input {
        let connected = Connected {
            node: self.key.clone(),
            session: self.session,
            connection: self.session,
            facts: facts(),
            held: Vec::new(),
            start_task: None,
        };
        Input::Node(NodeInput::Connected(Box::new(connected)))
    }

    /// Asks for its lease and waits for the answer to this very question.
    pub(super) async fn renews(&mut self, sequence: u64) {
        self.handle.heartbeat(self.key.clone(), self.session, sequence);
        let granted = |lease: &Option<Lease>| lease.is_some_and(|lease| lease.sequence == sequence);
        within(self.outbox.leases.wait_for(granted)).await.unwrap();
    }

    /// The next message that is no lease.
    pub(super) async fn told(&mut self) -> NodeMessage {
        within(self.outbox.messages.recv()).await.unwrap()
    }
}

fn facts() -> MachineFacts {
    MachineFacts {
        machine_id: "m-1".into(),
        boot_id: "b-1".into(),
        hostname: "host".into(),
        ip_address: "10.0.0.1".into(),
        agent_version: "0.1.0".into(),
        os: "Linux".into(),
        capacity: Resources { cpu_millis: 1_000, memory_bytes: 1 << 30, ..Resources::default() },
        capabilities: Capabilities::default(),
        boot_time: Timestamp::EPOCH,
    }
}

pub(super) fn name(text: &str) -> AccountName {
    AccountName::parse(text).unwrap()
}

pub(super) fn client(command: Command) -> Input {
    Input::Client { account: name("studio"), request_id: None, command }
}

pub(super) fn create(account: &str) -> Input {
    let key = || AccessKey::from_bytes([1; 32]);
    let new = NewAccount {
        name: name(account),
        display_name: String::new(),
        is_operator: false,
        primary: key(),
        secondary: key(),
    };
    Input::Client { account: name(account), request_id: None, command: Command::CreateAccount(new) }
}

pub(super) fn pool(id: &str) -> Input {
    let wire = muster_proto::wire::Pool { id: id.to_owned(), ..Default::default() };
    client(Command::CreatePool(PoolSpec::try_from(wire).unwrap()))
}

pub(super) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future).await.unwrap()
}

/// Whether a future is still not ready after everything else that can run has run.
pub(super) async fn is_pending<F: Future + Unpin>(future: &mut F) -> bool {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    future.now_or_never().is_none()
}

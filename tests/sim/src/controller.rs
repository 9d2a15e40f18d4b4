//! The controller of the simulation: the real core, the store that it writes to, and a crash that loses the rest.
//!
//! One step is decided at a time; when it is committed and answered is the business of `engine`. The core recounts its
//! invariants after some of the steps. At every crash, and in between, what the store would load once all batches are
//! committed is compared with what the core holds. A panic of either is a broken promise like any other, so that
//! its story can be told.

use crate::broken::{Broken, broken, promise};
use crate::clocks::EngineClock;
use crate::engine::{Asked, Batch, Decided, Engine, records};
use crate::names::{account, parsed, pool};
use crate::planted::{self, Planted};
use crate::translate::{SLOTS, START_TASK};
use muster_controller_core::Core;
use muster_controller_core::explain::Explanation;
use muster_controller_core::input::{Command, Input, NewAccount, NewToken};
use muster_controller_core::reject::Reject;
use muster_model::account::AccessKey;
use muster_model::spec::{PoolSpec, StartTaskSpec, UserIdentity};
use muster_model::state::{JobDefaultOrder, NodeFillType, OnLeaseExpiry, TaskNetwork};
use muster_model::{Digest, NodeId, TaskKey, Timestamp, TokenId, limits};
use muster_store::{MemoryStore, Reader, Store, StoreError};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

/// A recount costs as much as a hundred steps; this often every kind of step is still looked at in every run of the tests.
const RECOUNT_EVERY: u64 = 8;
/// How often the recovery law is looked at between crashes, in steps.
const LAW_EVERY: u64 = 300;
/// Until when machines may join, and how many with one token.
const TOKEN: (Duration, u32) = (Duration::from_secs(100_000_000), 100);

/// A controller that may be down.
pub(crate) struct Controller {
    store: MemoryStore,
    reader: Arc<dyn Reader>,
    core: Option<Core>,
    pub(crate) engine: Engine,
    pub(crate) clock: EngineClock,
    /// Counts starts, so that commits of an earlier one are known as such.
    pub(crate) epoch: u64,
    /// The machines that have joined since the start: who asks again is given the same node.
    pub(crate) recent_joins: BTreeMap<usize, NodeId>,
    steps: u64,
    planted: Option<Planted>,
}

/// As the agents are told of it (`translate`).
fn start_task() -> StartTaskSpec {
    StartTaskSpec {
        command_line: "begin".to_owned(),
        resource_files: Vec::new(),
        environment: Vec::new(),
        user_identity: UserIdentity::default(),
        max_task_retry_count: START_TASK.max_retries,
        wait_for_success: START_TASK.wait_for_success,
    }
}

/// Runs what may panic; the words of the panic.
fn guarded<T>(promise: &'static str, run: impl FnOnce() -> T) -> Result<T, Broken> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|payload| {
        let words = payload.downcast_ref::<String>().map(String::as_str);
        let words = words.or_else(|| payload.downcast_ref::<&str>().copied());
        broken(promise, words.unwrap_or("a panic without words"))
    })
}

fn of_store(error: &StoreError) -> Broken {
    broken("the store takes what the core decides", error.to_string())
}

impl Controller {
    /// A controller with an account and two empty pools, the second with a start task, and a token for each pool.
    pub(crate) fn new(seed: u64, now: Timestamp, planted: Option<Planted>) -> Result<Self, Broken> {
        let store = MemoryStore::new();
        let reader = store.reader();
        let (engine, clock) = (Engine::of(seed), EngineClock::of(seed, now));
        let recent_joins = BTreeMap::new();
        let mut controller =
            Self { store, reader, core: None, engine, clock, epoch: 0, recent_joins, steps: 0, planted };
        controller.start(now)?;
        let key = AccessKey::from_bytes([7; 32]);
        let new = NewAccount {
            name: account(),
            display_name: String::new(),
            is_operator: true,
            primary: key.clone(),
            secondary: key,
        };
        controller.prepare(Command::CreateAccount(new), now)?;
        let pools = [(0, NodeFillType::Spread, None), (1, NodeFillType::Pack, Some(start_task()))];
        for (number, node_fill_type, start_task) in pools {
            let spec = PoolSpec {
                id: pool(number),
                display_name: String::new(),
                target_dedicated_nodes: 0,
                task_slots_per_node: SLOTS,
                node_fill_type,
                job_default_order: JobDefaultOrder::None,
                start_task,
                resize_timeout: limits::RESIZE_TIMEOUT_DEFAULT,
                on_lease_expiry: OnLeaseExpiry::Kill,
                metadata: Vec::new(),
                isolation_level: None,
                task_network: TaskNetwork::Host,
                user_accounts: Vec::new(),
            };
            controller.prepare(Command::CreatePool(spec), now)?;
            let expires = controller.clock.now(now).after(TOKEN.0);
            let (id, secret_hash) = token(number);
            let token = NewToken { id, secret_hash, pool: pool(number), expires, uses: TOKEN.1 };
            controller.prepare(Command::CreateJoinToken(token), now)?;
        }
        Ok(controller)
    }

    /// Carries out a command before the world begins.
    fn prepare(&mut self, command: Command, now: Timestamp) -> Result<(), Broken> {
        let input = Input::Client { account: account(), request_id: None, command };
        let decided = self.handle(input, Asked::Nobody, now)?;
        parsed(decided.map(|decided| decided.reply.clone()).transpose());
        let batch = std::mem::take(&mut self.engine.open);
        self.commit(&batch)
    }

    /// Starts from what the store holds.
    pub(crate) fn start(&mut self, now: Timestamp) -> Result<(), Broken> {
        self.epoch += 1;
        self.clock.restart(now);
        let now = self.clock.now(now);
        let core = load(&mut self.store, self.planted, now)?;
        if self.planted.is_none() {
            guarded("the core's own recount", || core.check(now))?;
        }
        self.core = Some(core);
        Ok(())
    }

    /// kill -9. What is lost must be what loading gives back, but for what was not committed yet: the batch that became
    /// durable though nobody heard of it, if one did.
    pub(crate) fn crash(&mut self, now: Timestamp) -> Result<Option<Batch>, Broken> {
        self.look_at_law(now)?;
        self.core = None;
        self.recent_joins.clear();
        let durable = self.engine.crash(now);
        if let Some(batch) = &durable {
            self.commit(batch)?;
        }
        Ok(durable)
    }

    /// The recovery law: once all that was stepped is committed, loading gives what the core holds.
    fn look_at_law(&mut self, now: Timestamp) -> Result<(), Broken> {
        let Some(core) = &mut self.core else { return Ok(()) };
        if self.planted.is_some_and(Planted::is_seen_outside) {
            return Ok(());
        }
        let now = self.clock.now(now);
        let mut disk = self.store.snapshot();
        let waiting = self.engine.under_way.iter().chain([&self.engine.open]);
        for batch in waiting {
            disk.commit(&records(batch)).map_err(|error| of_store(&error))?;
        }
        let volatile = core.volatile();
        core.forget_sessions(now);
        let lost = core.portrait();
        core.restore(volatile);
        let loaded = load(&mut disk, self.planted, now)?.portrait();
        promise("the recovery law", lost == loaded, || {
            let differs = lost.lines().zip(loaded.lines()).enumerate().find(|(_, (a, b))| a != b);
            let (line, (a, b)) = differs.unwrap_or_default();
            let before: Vec<_> = lost.lines().take(line).collect();
            let context = before.iter().rev().take(30).rev().copied().collect::<Vec<_>>().join("\n");
            format!("{context}\nlive:   {a}\nloaded: {b}")
        })
    }

    pub(crate) const fn is_up(&self) -> bool {
        self.core.is_some()
    }

    pub(crate) fn reader(&self) -> &dyn Reader {
        &*self.reader
    }

    /// One step: decided, and put into the open batch. `None` while the controller is down.
    pub(crate) fn handle(
        &mut self,
        input: Input,
        asked: Asked,
        now: Timestamp,
    ) -> Result<Option<&mut Decided>, Broken> {
        let Some(core) = &mut self.core else { return Ok(None) };
        let at = self.clock.now(now);
        let decided = guarded("the core never panics", || core.handle(input, at))?;
        let decided = match decided {
            Err(reject) => Decided { asked, reply: Err(reject), records: Vec::new(), effects: Vec::new() },
            Ok(step) => {
                self.steps += 1;
                if self.steps.is_multiple_of(RECOUNT_EVERY) && self.planted.is_none() {
                    guarded("the core's own recount", || core.check(at))?;
                }
                Decided { asked, reply: Ok(step.reply), records: step.records, effects: step.effects }
            }
        };
        self.engine.open.push(decided);
        if self.steps.is_multiple_of(LAW_EVERY) {
            self.look_at_law(now)?;
        }
        Ok(self.engine.open.last_mut())
    }

    /// Makes a batch durable, wholly.
    pub(crate) fn commit(&mut self, batch: &Batch) -> Result<(), Broken> {
        self.store.commit(&records(batch)).map_err(|error| of_store(&error))
    }

    /// When the core's next deadline comes, in true time.
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        let (at, _) = self.core.as_ref()?.next_deadline()?;
        Some(self.clock.when(at))
    }

    pub(crate) fn explain(&self, task: &TaskKey, now: Timestamp) -> Option<Result<Explanation, Reject>> {
        Some(self.core.as_ref()?.explain_task(&account(), &task.job, &task.task, self.clock.now(now)))
    }
}

fn load(store: &mut MemoryStore, planted: Option<Planted>, now: Timestamp) -> Result<Core, Broken> {
    let rows = store.load_all().map_err(|error| of_store(&error))?;
    guarded("what the store holds can be loaded", || Core::load(rows, planted::settings(planted), now))
}

/// The token with which machines join a pool, and its secret.
pub(crate) fn token(pool: u8) -> (TokenId, Digest) {
    (parsed(TokenId::parse(&format!("token-{pool}"))), Digest::from_bytes([1; 32]))
}

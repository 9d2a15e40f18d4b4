//! The controller of the simulation: the real core, the store that it writes to, and a crash that loses the rest.
//!
//! One step is decided, committed and only then answered, as in the real engine. The core recounts its invariants after
//! some of the steps, and at every crash what the store would load is compared with what is about to be lost. A panic of
//! either is a broken promise like any other, so that its story can be told.

use crate::broken::{Broken, broken, promise};
use crate::machine::Machine;
use crate::names::{account, node, parsed, pool, pool_of};
use crate::translate::{SLOTS, START_TASK};
use muster_controller_core::effect::Effect;
use muster_controller_core::explain::Explanation;
use muster_controller_core::input::{Command, Input, NewAccount, NewToken, NodeInput};
use muster_controller_core::record::Record;
use muster_controller_core::reject::Reject;
use muster_controller_core::reply::{CreatedNode, Reply};
use muster_controller_core::{Core, Settings};
use muster_model::account::AccessKey;
use muster_model::spec::{PoolSpec, StartTaskSpec, UserIdentity};
use muster_model::state::{JobDefaultOrder, NodeFillType, OnLeaseExpiry, TaskNetwork};
use muster_model::{Digest, TaskKey, Timestamp, TokenId, limits};
use muster_store::{MemoryStore, Reader, Store, StoreError};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

/// A recount costs as much as a hundred steps; this often every kind of step is still looked at in every run of the tests.
const RECOUNT_EVERY: u64 = 8;

/// A controller that may be down.
pub(crate) struct Controller {
    store: MemoryStore,
    reader: Arc<dyn Reader>,
    core: Option<Core>,
    steps: u64,
}

/// What one input led to.
pub(crate) struct Answer {
    pub(crate) reply: Result<Reply, Reject>,
    pub(crate) effects: Vec<Effect>,
    pub(crate) records: Vec<Record>,
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
    /// A controller with an account and two empty pools, the second with a start task.
    pub(crate) fn new(now: Timestamp) -> Result<Self, Broken> {
        let store = MemoryStore::new();
        let reader = store.reader();
        let mut controller = Self { store, reader, core: None, steps: 0 };
        controller.start(now)?;
        let key = AccessKey::from_bytes([7; 32]);
        let new = NewAccount {
            name: account(),
            display_name: String::new(),
            is_operator: true,
            primary: key.clone(),
            secondary: key,
        };
        parsed(controller.command(Command::CreateAccount(new), now)?.reply);
        let pools = [(0, NodeFillType::Spread, None), (1, NodeFillType::Pack, Some(start_task()))];
        for (number, node_fill_type, start_task) in pools {
            let pool = PoolSpec {
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
            parsed(controller.command(Command::CreatePool(pool), now)?.reply);
        }
        Ok(controller)
    }

    /// Starts from what the store holds.
    pub(crate) fn start(&mut self, now: Timestamp) -> Result<(), Broken> {
        self.core = Some(self.loaded(now)?);
        Ok(())
    }

    fn loaded(&mut self, now: Timestamp) -> Result<Core, Broken> {
        let rows = self.store.load_all().map_err(|error| of_store(&error))?;
        guarded("what the store holds can be loaded", || Core::load(rows, Settings::default(), now))
    }

    /// kill -9. What is lost must be what loading gives back.
    pub(crate) fn crash(&mut self, now: Timestamp) -> Result<(), Broken> {
        let Some(mut core) = self.core.take() else { return Ok(()) };
        core.forget_sessions(now);
        let (lost, loaded) = (core.portrait(), self.loaded(now)?.portrait());
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

    pub(crate) fn command(&mut self, command: Command, now: Timestamp) -> Result<Answer, Broken> {
        self.handle(Input::Client { account: account(), request_id: None, command }, now)
    }

    /// One step: decided, committed, and only then answered.
    pub(crate) fn handle(&mut self, input: Input, now: Timestamp) -> Result<Answer, Broken> {
        let Some(core) = &mut self.core else {
            return Ok(Answer { reply: Ok(Reply::Done), effects: Vec::new(), records: Vec::new() });
        };
        let decided = guarded("the core never panics", || core.handle(input, now))?;
        match decided {
            Err(reject) => Ok(Answer { reply: Err(reject), effects: Vec::new(), records: Vec::new() }),
            Ok(step) => {
                self.store.commit(&step.records).map_err(|error| of_store(&error))?;
                self.steps += 1;
                if self.steps.is_multiple_of(RECOUNT_EVERY) {
                    guarded("the core's own recount", || core.check(now))?;
                }
                Ok(Answer { reply: Ok(step.reply), effects: step.effects, records: step.records })
            }
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        self.core.as_ref()?.next_deadline().map(|(at, _)| at)
    }

    pub(crate) fn explain(&self, task: &TaskKey, now: Timestamp) -> Option<Result<Explanation, Reject>> {
        Some(self.core.as_ref()?.explain_task(&account(), &task.job, &task.task, now))
    }

    /// Makes a node of a new machine.
    pub(crate) fn join(&mut self, machine: usize, now: Timestamp) -> Result<Machine, Broken> {
        let joined = Machine::new(node(machine));
        let token = parsed(TokenId::parse(joined.id.as_str()));
        let secret_hash = Digest::from_bytes([1; 32]);
        let expires = now.after(Duration::from_secs(60));
        let new = NewToken { id: token.clone(), secret_hash, pool: pool(pool_of(machine)), expires, uses: 1 };
        parsed(self.command(Command::CreateJoinToken(new), now)?.reply);
        let created = CreatedNode { node: joined.id.clone(), account: None, pool: None };
        let facts = Box::new(joined.facts());
        let join = NodeInput::Join { token, secret_hash, node: created, facts };
        parsed(self.handle(Input::Node(join), now)?.reply);
        Ok(joined)
    }
}

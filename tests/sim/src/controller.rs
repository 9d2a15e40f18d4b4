//! The controller of the simulation: the real core, the store that it writes to, and a crash that loses the rest.
//!
//! One step is decided, committed and only then answered, as in the real engine; the core recounts its invariants after
//! each.

use muster_controller_core::effect::Effect;
use muster_controller_core::input::{Command, Input, NewAccount, NewToken, NodeInput};
use muster_controller_core::reject::Reject;
use muster_controller_core::reply::{CreatedNode, Reply};
use muster_controller_core::{Core, Settings};
use muster_model::account::AccessKey;
use muster_model::node::{Capabilities, MachineFacts};
use muster_model::spec::PoolSpec;
use muster_model::state::{JobDefaultOrder, NodeFillType, OnLeaseExpiry};
use muster_model::{AccountName, Digest, NodeId, PoolId, Resources, Timestamp, TokenId, limits};
use muster_store::{MemoryStore, Store};
use std::time::Duration;

/// The only pool's slots for each node.
pub(crate) const SLOTS: u32 = 2;

/// A controller that may be down.
#[derive(Debug)]
pub(crate) struct Controller {
    store: MemoryStore,
    core: Option<Core>,
}

/// What one input led to.
pub(crate) struct Answer {
    pub(crate) reply: Result<Reply, Reject>,
    pub(crate) effects: Vec<Effect>,
}

pub(crate) fn account() -> AccountName {
    parsed(AccountName::parse("studio"))
}

pub(crate) fn pool_id() -> PoolId {
    parsed(PoolId::parse("render"))
}

/// For the literals of the simulation itself.
#[expect(clippy::expect_used, reason = "a literal that does not parse is a fault of the simulation")]
pub(crate) fn parsed<T, E: std::fmt::Debug>(result: Result<T, E>) -> T {
    result.expect("a literal of the simulation")
}

impl Controller {
    /// A controller with an account and an empty pool.
    pub(crate) fn new(now: Timestamp) -> Self {
        let mut controller = Self { store: MemoryStore::new(), core: None };
        controller.start(now);
        let key = AccessKey::from_bytes([7; 32]);
        let new = NewAccount {
            name: account(),
            display_name: String::new(),
            is_operator: true,
            primary: key.clone(),
            secondary: key,
        };
        parsed(controller.command(Command::CreateAccount(new), now).reply);
        let pool = PoolSpec {
            id: pool_id(),
            display_name: String::new(),
            target_dedicated_nodes: 0,
            task_slots_per_node: SLOTS,
            node_fill_type: NodeFillType::Spread,
            job_default_order: JobDefaultOrder::None,
            start_task: None,
            resize_timeout: limits::RESIZE_TIMEOUT_DEFAULT,
            on_lease_expiry: OnLeaseExpiry::Kill,
            metadata: Vec::new(),
        };
        parsed(controller.command(Command::CreatePool(pool), now).reply);
        controller
    }

    /// Starts from what the store holds.
    pub(crate) fn start(&mut self, now: Timestamp) {
        let rows = parsed(self.store.load());
        self.core = Some(Core::load(rows, Settings::default(), now));
    }

    /// kill -9.
    pub(crate) fn crash(&mut self) {
        self.core = None;
    }

    pub(crate) const fn is_up(&self) -> bool {
        self.core.is_some()
    }

    pub(crate) fn command(&mut self, command: Command, now: Timestamp) -> Answer {
        self.handle(Input::Client { account: account(), request_id: None, command }, now)
    }

    /// One step: decided, committed, and only then answered.
    pub(crate) fn handle(&mut self, input: Input, now: Timestamp) -> Answer {
        let Some(core) = &mut self.core else {
            return Answer { reply: Ok(Reply::Done), effects: Vec::new() };
        };
        match core.handle(input, now) {
            Err(reject) => Answer { reply: Err(reject), effects: Vec::new() },
            Ok(step) => {
                parsed(self.store.commit(&step.records));
                core.check(now);
                Answer { reply: Ok(step.reply), effects: step.effects }
            }
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        self.core.as_ref()?.next_deadline().map(|(at, _)| at)
    }

    /// Makes a node of a new machine.
    pub(crate) fn join(&mut self, node: &NodeId, now: Timestamp) {
        let token = parsed(TokenId::parse(node.as_str()));
        let secret_hash = Digest::from_bytes([1; 32]);
        let expires = now.after(Duration::from_secs(60));
        let new = NewToken { id: token.clone(), secret_hash, pool: pool_id(), expires, uses: 1 };
        parsed(self.command(Command::CreateJoinToken(new), now).reply);
        let created = CreatedNode { node: node.clone(), account: None, pool: None };
        let join = NodeInput::Join { token, secret_hash, node: created, facts: Box::new(facts()) };
        parsed(self.handle(Input::Node(join), now).reply);
    }

    /// Every task with its state, as the store holds it.
    pub(crate) fn tasks(&mut self) -> Vec<muster_controller_core::record::TaskStateRow> {
        parsed(self.store.load()).tasks.into_iter().map(|(_, state)| state).collect()
    }
}

pub(crate) fn facts() -> MachineFacts {
    MachineFacts {
        machine_id: "machine".to_owned(),
        boot_id: "boot".to_owned(),
        hostname: "host".to_owned(),
        ip_address: "192.0.2.1".to_owned(),
        agent_version: "sim".to_owned(),
        os: "sim".to_owned(),
        capacity: Resources { slots: 0, cpu_millis: 2000, memory_bytes: 1 << 30, disk_bytes: 1 << 40 },
        capabilities: Capabilities::default(),
        boot_time: Timestamp::EPOCH,
    }
}

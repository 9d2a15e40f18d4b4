//! A session while no commit gets through: leases go on, whatever else the node has said before, and nothing else does.
//!
//! The store is in memory and commits only while the test does not hold its gate.

use crate::support::*;
use muster_controller_core::input::Command;
use muster_controller_core::record::{Record, Rows, TaskRows};
use muster_model::PoolId;
use muster_model::spec::{PoolSpec, TaskSpec};
use muster_proto::wire;
use muster_store::{MemoryStore, Reader, Store, StoreError};
use std::sync::{Arc, Mutex};
use wire::agent_message::Body;
use wire::controller_message;
use wire::report::Event;

/// A store that commits only while nobody holds the gate.
struct HeldStore {
    inner: MemoryStore,
    gate: Arc<Mutex<()>>,
}

impl Store for HeldStore {
    fn load(&mut self) -> Result<Rows, StoreError> {
        self.inner.load()
    }

    fn load_tasks(&mut self, each: &mut dyn FnMut(TaskRows)) -> Result<(), StoreError> {
        self.inner.load_tasks(each)
    }

    fn commit(&mut self, records: &[Record]) -> Result<(), StoreError> {
        // A test that failed while it held the gate lets everything through.
        let _passing = self.gate.lock();
        self.inner.commit(records)
    }

    fn reader(&self) -> Arc<dyn Reader> {
        self.inner.reader()
    }

    fn tidy(&mut self) -> Result<bool, StoreError> {
        self.inner.tidy()
    }
}

async fn is_granted(session: &mut Session, sequence: u64) {
    session.say(Body::Heartbeat(wire::Heartbeat { sequence })).await;
    let answer = session.next().await;
    let granted =
        matches!(&answer, controller_message::Body::LeaseGranted(lease) if lease.sequence == sequence);
    assert!(granted, "heartbeat {sequence} was answered by {answer:?}");
}

/// The gate is held across waits on purpose: it is what hangs, and the engine's threads are not this one.
#[tokio::test]
#[expect(clippy::await_holding_lock, reason = "the commit that waits for it runs on a thread of its own")]
async fn heartbeats_behind_reports_are_answered_while_a_commit_hangs() {
    let gate = Arc::new(Mutex::new(()));
    let store = HeldStore { inner: MemoryStore::new(), gate: Arc::clone(&gate) };
    let world = World::above(Box::new(store), pool_spec()).await;
    let agent = world.join("machine").await;
    let (mut session, _) = agent.session().await;
    world.add_task(TaskSpec::try_from(task_spec("t")).unwrap()).await;
    let attempt = session.assigned().await[0].attempt.clone().unwrap();

    let held = gate.lock().unwrap();
    let engine = world.engine.clone();
    let other = PoolSpec { id: PoolId::parse("other").unwrap(), ..pool_spec() };
    let input = muster_controller_core::input::Input::Client {
        account: account(),
        request_id: None,
        command: Command::CreatePool(other),
    };
    let hanging = tokio::spawn(async move { engine.submit(input).await });
    is_granted(&mut session, 1).await;
    // More messages of reports than the engine is given at one time; the last needs all before it to be durable.
    let ended = session.report(Event::Finished(succeeded(&attempt, Vec::new()))).await;
    for _ in 0..40 {
        session.report(Event::Health(wire::NodeHealth::default())).await;
    }
    let last = session.report(Event::Facts(wire::MachineFacts::default())).await;
    for sequence in 2..10 {
        is_granted(&mut session, sequence).await;
    }
    assert!(!hanging.is_finished());
    drop(held);
    within(hanging).await.unwrap().unwrap();
    assert!(last > ended);
    session.acknowledged(last).await;
    assert!(world.task("t").state.exit_code == Some(0));
    world.stop().await;
}

//! A disk without room: what hangs on it waits, leases and reads go on, new work is refused, and then all goes on.
//!
//! The store says that it is full when the test wants it, and has a reserve when the test wants that. The real disk is in
//! the store's own tests.

use super::super::*;
use super::bench::*;
use muster_controller_core::effect::NodeMessage;
use muster_controller_core::input::{Command, Input, NodeInput, NumberedReport, Report};
use muster_controller_core::reply::Reply;
use muster_model::PoolId;
use std::pin::pin;
use std::sync::atomic::Ordering;

fn delete(pool: &str) -> Input {
    client(Command::DeletePool { pool: PoolId::parse(pool).unwrap(), if_match: None })
}

fn report(node: &FakeNode, number: u64) -> Input {
    let reports = vec![NumberedReport { number, report: Report::Health(Vec::new()) }];
    Input::Node(NodeInput::Reports { node: node.key.clone(), session: node.session, reports })
}

async fn is_refused(bench: &Bench, input: Input) -> bool {
    matches!(within(bench.handle.submit(input)).await, Err(SubmitError::DiskFull))
}

#[tokio::test]
async fn a_commit_without_room_is_tried_again_until_there_is_some() {
    let bench = Bench::new();
    let mut node = bench.node().await;
    let mut events = bench.handle.subscribe();
    let handle = bench.handle.clone();
    let mut reply = pin!(handle.submit(pool("second")));
    assert!(is_pending(&mut reply).await);
    let records = bench.commit_entered();
    bench.disk.is_full.store(true, Ordering::SeqCst);
    bench.disk.has_room.store(false, Ordering::SeqCst);
    bench.disk.has_reserve.store(false, Ordering::SeqCst);
    bench.let_go(Verdict::Full);
    bench.disk_is(DiskSpace::Exhausted).await;
    // The same batch again and again.
    for _ in 0..3 {
        assert_eq!(bench.commit_entered(), records);
    }
    assert!(is_refused(&bench, pool("third")).await);
    assert!(is_refused(&bench, delete("p")).await, "it could not be stored either");
    assert!(is_refused(&bench, node.connected()).await);
    assert!(matches!(within(bench.handle.query(|_| ())).await, Err(SubmitError::DiskFull)));
    assert!(bench.handle.reader().pool(&name("studio"), &PoolId::parse("p").unwrap()).unwrap().is_some());
    bench.handle.post(report(&node, 1)).await.unwrap();
    node.renews(1).await;
    node.renews(2).await;
    assert!(is_pending(&mut reply).await);
    assert!(node.outbox.messages.try_recv().is_err() && events.take().is_none());

    bench.disk.has_room.store(true, Ordering::SeqCst);
    bench.disk.is_full.store(false, Ordering::SeqCst);
    bench.let_go(Verdict::Commit);
    bench.let_go(Verdict::Commit);
    assert_eq!(within(reply).await.unwrap(), Reply::Done);
    assert_eq!(node.told().await, NodeMessage::Acknowledge { reports: vec![1] });
    bench.disk_is(DiskSpace::Enough).await;
    bench.done(pool("third")).await;
    bench.finish();
}

#[tokio::test]
async fn the_reserve_carries_what_ends_and_what_removes_but_nothing_new() {
    let bench = Bench::new();
    let mut node = bench.node().await;
    bench.disk.has_room.store(false, Ordering::SeqCst);
    assert!(bench.disk.has_reserve.load(Ordering::SeqCst), "taken at the start");
    let handle = bench.handle.clone();
    let reply = handle.submit(pool("second"));
    bench.let_go(Verdict::Full);
    bench.let_go(Verdict::Commit);
    assert_eq!(within(reply).await.unwrap(), Reply::Done, "the reserve has room for it");
    bench.disk_is(DiskSpace::Reserve).await;
    assert!(is_refused(&bench, pool("third")).await);
    assert!(is_refused(&bench, create("another")).await);
    for _ in 0..3 {
        bench.let_go(Verdict::Commit);
    }
    within(bench.handle.submit(delete("second"))).await.unwrap();
    within(bench.handle.submit(report(&node, 1))).await.unwrap();
    assert_eq!(node.told().await, NodeMessage::Acknowledge { reports: vec![1] });
    within(bench.handle.submit(node.connected())).await.unwrap();
    within(bench.handle.query(|_| ())).await.unwrap();
    assert_eq!(*bench.handle.disk_space().borrow(), DiskSpace::Reserve);
    // Nobody has to ask for anything: an idle writer looks by itself.
    bench.disk.has_room.store(true, Ordering::SeqCst);
    bench.disk_is(DiskSpace::Enough).await;
    assert!(bench.disk.has_reserve.load(Ordering::SeqCst));
    bench.finish();
}

#[tokio::test]
async fn stopping_on_a_full_disk_ends_and_acknowledges_nothing() {
    let bench = Bench::new();
    bench.done(create("studio")).await;
    bench.disk.has_room.store(false, Ordering::SeqCst);
    bench.disk.has_reserve.store(false, Ordering::SeqCst);
    bench.disk.is_full.store(true, Ordering::SeqCst);
    let handle = bench.handle.clone();
    let mut reply = pin!(handle.submit(pool("first")));
    assert!(is_pending(&mut reply).await);
    bench.disk_is(DiskSpace::Exhausted).await;
    let Bench { handle: other, engine, .. } = bench;
    within(tokio::task::spawn_blocking(move || engine.stop())).await.unwrap();
    assert!(matches!(within(reply).await, Err(SubmitError::Stopping)));
    assert!(other.reader().pool(&name("studio"), &PoolId::parse("first").unwrap()).unwrap().is_none());
}

#[tokio::test]
async fn another_fault_while_the_disk_is_full_ends_the_engine() {
    let bench = Bench::new();
    bench.done(create("studio")).await;
    bench.disk.has_reserve.store(false, Ordering::SeqCst);
    bench.disk.has_room.store(false, Ordering::SeqCst);
    let handle = bench.handle.clone();
    let mut reply = pin!(handle.submit(pool("first")));
    assert!(is_pending(&mut reply).await);
    bench.let_go(Verdict::Full);
    bench.disk_is(DiskSpace::Exhausted).await;
    bench.let_go(Verdict::Fail);
    assert!(matches!(within(reply).await, Err(SubmitError::Stopping)));
    let failure = within(bench.handle.failed()).await;
    assert!(matches!(failure, EngineFailure::Commit(_)), "{failure}");
    bench.finish();
}

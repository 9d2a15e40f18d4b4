//! A commit that hangs: leases go on, nothing else leaves, and what is taken in meanwhile is bounded.
//!
//! The store holds a commit until the test lets it go. The engine's clock is the test's, so that a lease passes at once.

use super::super::batch::BATCH_INPUTS_MAX;
use super::super::inbox::INBOX_WEIGHT_MAX;
use super::super::*;
use super::bench::*;
use futures_util::FutureExt;
use muster_controller_core::effect::NodeMessage;
use muster_controller_core::input::{Command, Input, NodeInput, NumberedReport, Report};
use muster_model::state::NodeState;
use std::pin::pin;
use std::time::Duration;

/// A third of the default lease: when an agent asks.
const THIRD: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_lease_goes_on_while_a_commit_hangs_for_longer_than_it_and_nothing_else_leaves() {
    let (bench, time) = Bench::timed();
    let mut node = bench.node().await;
    let mut events = bench.handle.subscribe();
    bench.handle.post(pool("second")).await.unwrap();
    bench.commit_entered();
    let reports = vec![NumberedReport { number: 1, report: Report::Health(Vec::new()) }];
    let reports = NodeInput::Reports { node: node.key.clone(), session: node.session, reports };
    bench.handle.post(Input::Node(reports)).await.unwrap();
    let handle = bench.handle.clone();
    let mut answer = pin!(handle.query(|_| ()));
    assert!(is_pending(&mut answer).await);
    // Twice the lease with its margin passes, in the steps in which a node asks.
    for sequence in 1..=7 {
        time.pass(THIRD);
        node.renews(sequence).await;
    }
    assert!(node.outbox.messages.try_recv().is_err(), "an acknowledgement left before its commit");
    assert!(is_pending(&mut answer).await);
    assert!(events.take().is_none());
    bench.let_go(Verdict::Commit);
    bench.let_go(Verdict::Commit);
    assert_eq!(node.told().await, NodeMessage::Acknowledge { reports: vec![1] });
    within(answer).await.unwrap();
    let row = bench.handle.reader().node(&node.key.account, &node.key.node).unwrap().unwrap();
    assert_eq!(row.state, NodeState::Idle, "the lease has never ended");
    bench.finish();
}

#[tokio::test]
async fn a_node_that_is_not_heard_while_a_commit_hangs_is_lost_all_the_same() {
    let (bench, time) = Bench::timed();
    let mut node = bench.node().await;
    bench.handle.post(pool("second")).await.unwrap();
    bench.commit_entered();
    // Past lease and margin; another input makes the engine look at its clock.
    time.pass(4 * THIRD);
    bench.handle.post(pool("third")).await.unwrap();
    bench.let_go(Verdict::Commit);
    bench.let_go(Verdict::Commit);
    assert!(matches!(node.told().await, NodeMessage::Close { .. }));
    let mut leases = node.outbox.leases.clone();
    bench.handle.heartbeat(node.key.clone(), node.session, 9);
    bench.let_go(Verdict::Commit);
    within(bench.handle.settled()).await.unwrap();
    assert!(leases.borrow_and_update().is_none(), "a lease after the node was given up");
    bench.finish();
}

#[tokio::test]
async fn heartbeats_are_answered_behind_a_full_batch_and_a_full_inbox() {
    let (bench, _time) = Bench::timed();
    let mut node = bench.node().await;
    bench.handle.post(create("second")).await.unwrap();
    bench.commit_entered();
    let stop =
        || client(Command::DeletePool { pool: muster_model::PoolId::parse("none").unwrap(), if_match: None });
    let mut taken = 1;
    // Not held back for having done much already, as tokio does it.
    while let Some(sent) = tokio::task::unconstrained(bench.handle.post(stop())).now_or_never() {
        sent.unwrap();
        taken += 1;
    }
    assert_eq!(taken, INBOX_WEIGHT_MAX, "all that is queued, growing and under way counts");
    node.renews(1).await;
    node.renews(2).await;
    // What has no room waits outside and is told so in the end.
    let handle = bench.handle.clone();
    let mut late = pin!(handle.submit(stop()));
    assert!(is_pending(&mut late).await);
    bench.let_go(Verdict::Commit);
    assert!(matches!(within(late).await, Err(SubmitError::Rejected(_))));
    bench.finish();
}

#[tokio::test]
async fn a_batch_is_bounded_by_its_inputs() {
    let bench = Bench::new();
    bench.done(create("studio")).await;
    bench.handle.post(create("first")).await.unwrap();
    let records = bench.commit_entered();
    for number in 0..BATCH_INPUTS_MAX + 10 {
        bench.handle.post(create(&format!("acc{number:05}"))).await.unwrap();
    }
    bench.let_go(Verdict::Commit);
    assert_eq!(bench.commit_entered(), BATCH_INPUTS_MAX * records);
    bench.let_go(Verdict::Commit);
    assert_eq!(bench.commit_entered(), 10 * records);
    bench.finish();
}

#[tokio::test]
async fn a_large_decision_fills_its_batch_whatever_its_input_weighs() {
    use muster_controller_core::record::Record;
    let mut batch = batch::Batch::default();
    batch.count(1, None);
    assert!(!batch.is_full());
    batch.records.extend((0..100_000).map(Record::NumbersUsed));
    assert!(batch.is_full());
}

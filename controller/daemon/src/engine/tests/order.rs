//! Promise 1 by construction: nothing leaves before its commit, everything leaves in order, a failure says nothing.
//!
//! The store waits at each commit until the test lets it go on, and tells what it was given.

use super::super::*;
use super::bench::*;
use muster_controller_core::Settings;
use muster_controller_core::input::Input;
use muster_controller_core::reject::Reject;
use muster_controller_core::reply::Reply;
use muster_model::{AccountName, RequestId};
use std::pin::pin;
use std::time::Duration;

fn pools(seen: Seen) -> Vec<String> {
    let Seen::Batches(batches) = seen else { panic!("missed") };
    let changes = batches.iter().flat_map(|batch| &batch.pools);
    let of_pool = |(_, change): &(AccountName, PoolChange)| match change {
        PoolChange::Pool(pool) => Some(pool.to_string()),
        PoolChange::Joined(..) | PoolChange::Left(_) => None,
    };
    changes.filter_map(of_pool).collect()
}

#[tokio::test]
async fn a_reply_never_comes_before_its_commit() {
    let bench = Bench::new();
    let handle = bench.handle.clone();
    let mut reply = pin!(handle.submit(create("studio")));
    assert!(is_pending(&mut reply).await);
    assert_eq!(bench.commit_entered(), 1);
    assert!(is_pending(&mut reply).await);
    assert!(bench.handle.accounts().get(&name("studio")).is_none());
    bench.let_go(Verdict::Commit);
    assert_eq!(within(reply).await.unwrap(), Reply::Done);
    assert!(bench.handle.accounts().get(&name("studio")).is_some());
    bench.finish();
}

#[tokio::test]
async fn a_refusal_and_a_query_wait_for_what_they_rest_on() {
    let bench = Bench::new();
    bench.handle.post(create("studio")).await.unwrap();
    bench.commit_entered();
    let handle = bench.handle.clone();
    let mut refusal = pin!(handle.submit(create("studio")));
    let mut answer = pin!(handle.query(|_| 7));
    assert!(is_pending(&mut refusal).await);
    assert!(is_pending(&mut answer).await);
    bench.let_go(Verdict::Commit);
    let refused = within(refusal).await.unwrap_err();
    assert!(matches!(refused, SubmitError::Rejected(Reject::AccountExists(_))), "{refused}");
    assert_eq!(within(answer).await.unwrap(), 7);
    bench.finish();
}

#[tokio::test]
async fn what_comes_during_a_commit_goes_into_the_next_one_together() {
    let bench = Bench::new();
    bench.handle.post(create("first")).await.unwrap();
    assert_eq!(bench.commit_entered(), 1);
    for number in 0..10 {
        bench.handle.post(create(&format!("later{number}"))).await.unwrap();
    }
    bench.let_go(Verdict::Commit);
    assert_eq!(bench.commit_entered(), 10);
    bench.let_go(Verdict::Commit);
    bench.finish();
}

#[tokio::test]
async fn events_come_in_order_and_only_when_durable() {
    let bench = Bench::new();
    let mut events = bench.handle.subscribe();
    let before = events.revision();
    bench.handle.post(create("studio")).await.unwrap();
    bench.commit_entered();
    bench.handle.post(pool("first")).await.unwrap();
    bench.let_go(Verdict::Commit);
    bench.commit_entered();
    bench.handle.post(pool("second")).await.unwrap();
    bench.handle.post(pool("third")).await.unwrap();
    assert!(events.take().is_none());
    bench.let_go(Verdict::Commit);
    bench.commit_entered();
    bench.let_go(Verdict::Commit);
    let mut seen = pools(within(events.next()).await.unwrap());
    while seen.len() < 3 {
        seen.extend(pools(within(events.next()).await.unwrap()));
    }
    assert_eq!(seen, ["first", "second", "third"]);
    let again = pools(bench.handle.resume(before).unwrap().take().unwrap());
    assert_eq!(again, seen, "whoever resumes is told the same");
    assert!(bench.handle.resume(events.revision()).unwrap().take().is_none());
    bench.finish();
}

#[tokio::test]
async fn a_failed_commit_acknowledges_nothing_ever_again() {
    let bench = Bench::new();
    let mut events = bench.handle.subscribe();
    let handle = bench.handle.clone();
    let mut first = pin!(handle.submit(create("first")));
    assert!(is_pending(&mut first).await);
    bench.commit_entered();
    let mut second = pin!(handle.submit(create("second")));
    assert!(is_pending(&mut second).await);
    bench.let_go(Verdict::Fail);
    assert!(matches!(within(first).await, Err(SubmitError::Stopping)));
    assert!(matches!(within(second).await, Err(SubmitError::Stopping)));
    let failure = within(bench.handle.failed()).await;
    assert!(matches!(failure, EngineFailure::Commit(_)), "{failure}");
    assert!(matches!(within(bench.handle.submit(create("third"))).await, Err(SubmitError::Stopping)));
    assert!(events.take().is_none());
    assert!(bench.handle.accounts().is_empty());
    bench.finish();
}

#[tokio::test]
async fn a_panic_in_the_engine_is_a_failure_that_names_the_input() {
    let bench = Bench::new();
    let asked = within(bench.handle.query(|_| panic!("as a test"))).await;
    assert!(matches!(asked, Err(SubmitError::Stopping)));
    let failure = within(bench.handle.failed()).await;
    assert!(matches!(failure, EngineFailure::Panic { input: "Query" }), "{failure}");
    bench.finish();
}

#[tokio::test]
async fn stopping_makes_durable_what_was_taken_in_and_lets_nobody_else_in() {
    let Bench { handle, engine, verdicts, .. } = Bench::new();
    for number in 0..100 {
        handle.post(create(&format!("a{number:03}"))).await.unwrap();
    }
    drop(verdicts);
    within(tokio::task::spawn_blocking(move || engine.stop())).await.unwrap();
    assert!(handle.reader().account(&name("a099")).unwrap().is_some());
    assert!(matches!(handle.submit(create("late")).await, Err(SubmitError::Stopping)));
}

#[tokio::test]
async fn a_deadline_wakes_the_engine_without_any_input() {
    let settings = Settings { replay_window: Duration::from_millis(20), ..Settings::default() };
    let bench = Bench::with(settings);
    drop(bench.verdicts);
    within(bench.handle.submit(create("studio"))).await.unwrap();
    let request_id = Some(RequestId::parse("r").unwrap());
    let Input::Client { account, command, .. } = pool("p") else { panic!("a client's") };
    within(bench.handle.submit(Input::Client { account, request_id, command })).await.unwrap();
    // Every commit is counted: the account's, the pool's, and the one by which the request is forgotten.
    for _ in 0..3 {
        bench.entered.recv_timeout(LIMIT).unwrap();
    }
    bench.engine.stop();
}

#[tokio::test]
async fn watches_end_when_they_are_ended_and_the_engine_goes_on() {
    let Bench { handle, engine, verdicts, .. } = Bench::new();
    drop(verdicts);
    let mut events = handle.subscribe();
    within(handle.submit(create("studio"))).await.unwrap();
    within(handle.submit(pool("first"))).await.unwrap();
    // An answer to a question comes after the events of what was before it.
    within(handle.query(|_| ())).await.unwrap();
    handle.end_watches();
    assert!(within(events.next()).await.is_ok());
    assert!(matches!(within(events.next()).await, Err(Closed)));
    assert!(matches!(within(handle.subscribe().next()).await, Err(Closed)));
    within(handle.submit(create("second"))).await.unwrap();
    engine.stop();
}

#[tokio::test]
async fn session_numbers_grow_over_restarts() {
    let first = Bench::new();
    let (one, two) = (first.handle.new_session_id(), first.handle.new_session_id());
    assert!(two > one);
    first.finish();
    let second = Bench::new();
    assert!(second.handle.new_session_id() > two);
    second.finish();
}

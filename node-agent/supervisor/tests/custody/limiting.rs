//! Wall-clock limits that change while the task runs: shortened, lifted, kept over a restart, too late.
//!
//! Limits that a task is started with are in `ending.rs`. Nothing here waits for a limit longer than two seconds; one of
//! an hour stands for "not in this test".

use std::time::{Duration, Instant};

use muster_supervisor::{EndedBy, Outcome, Phase, Refusal, Reply, Request};

use crate::harness::{Connection, World, is_running, key, spec, until};

const TERMINATED: Outcome = Outcome::Signaled { signal: 15, core_dumped: false };
const HOUR_MS: u64 = 3_600_000;

fn limit(agent: &mut Connection, name: &str, wall_clock_ms: Option<u64>) {
    assert_eq!(agent.call(&Request::Limit { key: key(name), wall_clock_ms }), Ok(Reply::Limited));
}

/// Starts a task with this limit.
fn start(agent: &mut Connection, name: &str, wall_clock_ms: Option<u64>) -> i32 {
    let mut task = spec(name, &["sleep", "1000"]);
    task.limits.wall_clock_ms = wall_clock_ms;
    task.grace_ms = 60_000;
    agent.start(&task).unwrap()
}

fn ends_by_the_limit(agent: &mut Connection, name: &str) {
    let record = agent.exit_of(name);
    assert_eq!((record.outcome, record.ended_by), (TERMINATED, EndedBy::WallClock), "{name}");
}

#[test]
fn a_shorter_limit_ends_a_task_when_it_is_reached_and_at_once_when_it_has_passed() {
    let world = World::new();
    let mut agent = world.subscribe();
    for (name, before) in [("limited", Some(HOUR_MS)), ("unlimited", None)] {
        let begun = Instant::now();
        start(&mut agent, name, before);
        limit(&mut agent, name, Some(HOUR_MS));
        limit(&mut agent, name, Some(300));
        ends_by_the_limit(&mut agent, name);
        assert!(begun.elapsed() >= Duration::from_millis(300), "{name}: {:?}", begun.elapsed());
    }
    start(&mut agent, "over", None);
    limit(&mut agent, "over", Some(0));
    ends_by_the_limit(&mut agent, "over");
}

#[test]
fn a_longer_limit_or_none_lets_a_task_run_on() {
    let world = World::new();
    let mut agent = world.subscribe();
    for (name, after) in [("longer", Some(HOUR_MS)), ("none", None)] {
        let begun = Instant::now();
        let pid = start(&mut agent, name, Some(400));
        limit(&mut agent, name, after);
        until("the limit that was replaced has passed", || begun.elapsed() > Duration::from_millis(600));
        assert!(is_running(pid), "{name}");
        assert_eq!(agent.events(), [], "{name}");
    }
}

#[test]
fn a_limit_that_was_changed_holds_across_a_killed_supervisor() {
    let mut world = World::new();
    let mut agent = world.connect();
    let kept = start(&mut agent, "kept", Some(1_000));
    start(&mut agent, "shortened", Some(HOUR_MS));
    let begun = Instant::now();
    limit(&mut agent, "kept", None);
    limit(&mut agent, "shortened", Some(1_000));
    drop(agent);
    world.kill_supervisor();
    world.start();
    let record = world.subscribe().exit_of("shortened");
    assert_eq!(record.ended_by, EndedBy::WallClock);
    until("the limit that was withdrawn has passed", || begun.elapsed() > Duration::from_millis(1_200));
    let tasks = world.connect().list();
    let phase = tasks.iter().find(|task| task.key.as_str() == "kept").map(|task| task.phase);
    assert_eq!((phase, is_running(kept)), (Some(Phase::Running), true));
}

#[test]
fn a_limit_does_not_touch_what_is_over_or_being_ended_and_names_what_is_unknown() {
    let world = World::new();
    let mut agent = world.subscribe();
    start(&mut agent, "asked", None);
    agent.kill("asked", "drain", 0).unwrap();
    limit(&mut agent, "asked", Some(0));
    let record = agent.exit_of("asked");
    assert_eq!(record.ended_by, EndedBy::Requested { reason: "drain".into() });
    limit(&mut agent, "asked", Some(0));
    let unknown = agent.call(&Request::Limit { key: key("nobody"), wall_clock_ms: None });
    assert_eq!(unknown, Err(Refusal::UnknownKey { key: key("nobody") }));
}

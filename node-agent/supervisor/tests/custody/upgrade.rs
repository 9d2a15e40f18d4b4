//! A supervisor takes the place of another: how fast, in which phases, and what is told in between.
//!
//! Tasks are those of real use: isolated where this kernel can, so that what is taken over is what a node runs.

use std::fs;
use std::time::{Duration, Instant};

use muster_supervisor::{EndedBy, Outcome, Phase, Reply, Request};

use crate::harness::{World, is_running, line_in, parent_of, script, spec, until};

/// What a new supervisor may take for all tasks of a full node: a second on a machine of its own, and several
/// times that in a debug build beside other tests.
const TAKE_OVER_MAX: Duration = Duration::from_secs(5);
/// Running tasks of a full node.
const TASKS: usize = 256;

#[test]
fn the_tasks_of_a_full_node_are_taken_over_within_a_second() {
    let mut world = World::new();
    let mut agent = world.connect();
    let memory = agent.probe().memory;
    for number in 0..TASKS {
        let mut task = spec(&format!("many-{number}"), &["sleep", "1000"]);
        task.limits.memory_bytes = memory.then_some(64 << 20);
        agent.post(&Request::Start(Box::new(task)));
    }
    for _ in 0..TASKS {
        let message = agent.receive();
        let started = matches!(
            message,
            Some(muster_supervisor::Message::Reply { result: Ok(Reply::Started { .. }), .. })
        );
        assert!(started, "{message:?}");
    }
    let pids = |tasks: &[muster_supervisor::TaskStatus]| {
        let mut pids: Vec<_> = tasks.iter().map(|task| task.pid).collect();
        pids.sort_unstable();
        pids
    };
    let before = pids(&agent.list());
    world.kill_supervisor();
    let begun = Instant::now();
    world.start();
    let tasks = world.connect().list();
    let elapsed = begun.elapsed();
    println!("{TASKS} running tasks taken over in {elapsed:?}");
    assert_eq!(tasks.iter().filter(|task| task.phase == Phase::Running).count(), TASKS);
    assert_eq!(pids(&tasks), before);
    assert!(elapsed < TAKE_OVER_MAX, "{elapsed:?}");
}

#[test]
fn a_launch_under_way_is_finished_before_the_old_supervisor_goes_and_a_later_one_refused() {
    let mut world = World::new();
    let mut agent = world.connect();
    let start = agent.post(&Request::Start(Box::new(spec("first", &["sleep", "1000"]))));
    let stop = agent.post(&Request::Shutdown { kill_tasks: false });
    let late = agent.post(&Request::Start(Box::new(spec("late", &["true"]))));
    let mut answers = std::collections::BTreeMap::new();
    while let Some(message) = agent.receive() {
        if let muster_supervisor::Message::Reply { id, result } = message {
            answers.insert(id, result);
        }
    }
    assert!(matches!(answers[&start], Ok(Reply::Started { .. })), "{answers:?}");
    assert_eq!(answers[&stop], Ok(Reply::Stopping));
    assert_eq!(answers[&late], Err(muster_supervisor::Refusal::Stopping));
    assert!(world.wait_for_exit().success());
    world.start();
    let held = world.connect().list();
    assert_eq!(
        held.iter().map(|task| (task.key.as_str(), task.phase)).collect::<Vec<_>>(),
        [("first", Phase::Running)]
    );
}

#[test]
fn ends_between_two_supervisors_are_told_once_with_all_that_is_known() {
    let mut world = World::new();
    let mut agent = world.connect();
    let ends =
        [("exits", "exit 5"), ("crashes", "kill -SEGV $$"), ("limited", "while :; do sleep 0.01; done")];
    let mut keepers = Vec::new();
    for (key, end) in ends {
        let mut task = script(key, &format!("echo up; while [ ! -e go ]; do sleep 0.01; done; {end}"));
        task.cwd = world.path("");
        task.stdout = Some(world.path(key));
        task.limits.wall_clock_ms = (key == "limited").then_some(1_500);
        keepers.push(parent_of(agent.start(&task).unwrap()));
        line_in(&world.path(key));
    }
    assert_eq!(agent.call(&Request::Shutdown { kill_tasks: false }), Ok(Reply::Stopping));
    assert!(world.wait_for_exit().success());
    let before = wall_us();
    fs::write(world.path("go"), "").unwrap();
    until("two tasks end", || keepers.iter().filter(|keeper| is_running(**keeper)).count() == 1);
    let after = wall_us();
    world.start();
    let mut agent = world.subscribe();
    for (key, outcome) in [
        ("exits", Outcome::Exited { code: 5 }),
        ("crashes", Outcome::Signaled { signal: 11, core_dumped: false }),
    ] {
        let record = agent.exit_of(key);
        assert_eq!((record.outcome, record.ended_by), (outcome, EndedBy::Itself));
        assert!(
            (before..=after).contains(&record.ended_at_us),
            "told as when it was, not as when it was found"
        );
    }
    assert_eq!(agent.exit_of("limited").ended_by, EndedBy::WallClock);
    for (key, _) in ends {
        agent.acknowledge(key);
    }
    world.kill_supervisor();
    world.start();
    let mut agent = world.subscribe();
    assert_eq!((agent.list(), agent.events().len()), (Vec::new(), 0));
}

#[test]
fn a_new_supervisor_that_is_killed_while_it_starts_leaves_all_to_the_next() {
    let mut world = World::new();
    let mut agent = world.connect();
    let mut pids = Vec::new();
    for number in 0..8 {
        pids.push(agent.start(&spec(&format!("held-{number}"), &["sleep", "1000"])).unwrap());
    }
    let mut ending = script("ending", "echo up; while [ ! -e go ]; do sleep 0.01; done; exit 33");
    ending.cwd = world.path("");
    ending.stdout = Some(world.path("out"));
    let keeper = parent_of(agent.start(&ending).unwrap());
    line_in(&world.path("out"));
    world.kill_supervisor();
    fs::write(world.path("go"), "").unwrap();
    until("the task ends", || !is_running(keeper));
    for round in 0..20 {
        let mut child = world.command().stderr(std::process::Stdio::null()).spawn().unwrap();
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(round) {
            std::hint::spin_loop();
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    world.start();
    let mut agent = world.subscribe();
    assert_eq!(agent.exit_of("ending").outcome, Outcome::Exited { code: 33 });
    let running = agent.list().into_iter().filter(|task| task.phase == Phase::Running).map(|task| task.pid);
    // In the order of their keys, which is that of their start.
    assert_eq!(running.collect::<Vec<_>>(), pids);
}

fn wall_us() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    now.as_micros().try_into().unwrap()
}

//! How a task ends: by request, by the clock, together with everything it started.
//!
//! Each kind of containment is shown by hiding the machine's better ones. The end of the node's lease is in
//! `lease.rs`, ends for want of memory in `limits.rs`.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use muster_supervisor::{Containment, EndedBy, Outcome, Phase, Refusal, Reply, Request};

use crate::harness::{World, is_root, is_running, key, line_in, script, skip, spec, until};

const KILLED: Outcome = Outcome::Signaled { signal: 9, core_dumped: false };
const TERMINATED: Outcome = Outcome::Signaled { signal: 15, core_dumped: false };

fn requested(reason: &str) -> EndedBy {
    EndedBy::Requested { reason: reason.into() }
}

#[test]
fn a_kill_with_grace_lets_a_task_end_by_itself() {
    let world = World::new();
    let mut agent = world.subscribe();
    let mut task = script("polite", "trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done");
    task.stdout = Some(world.path("out"));
    agent.start(&task).unwrap();
    line_in(&world.path("out"));
    assert_eq!(agent.kill("polite", "job terminated", 60_000), Ok(Reply::Killing));
    let record = agent.exit_of("polite");
    assert_eq!(record.outcome, Outcome::Exited { code: 7 });
    assert_eq!(record.ended_by, requested("job terminated"));
}

#[test]
fn a_kill_without_grace_is_sigkill_at_once_and_shortens_an_earlier_grace() {
    let world = World::new();
    let mut agent = world.subscribe();
    agent.start(&spec("at-once", &["sleep", "1000"])).unwrap();
    agent.kill("at-once", "now", 0).unwrap();
    let record = agent.exit_of("at-once");
    assert_eq!((record.outcome, record.ended_by), (KILLED, requested("now")));

    let mut task = script("stubborn", "trap '' TERM; echo ready; while :; do sleep 0.01; done");
    task.stdout = Some(world.path("out"));
    agent.start(&task).unwrap();
    line_in(&world.path("out"));
    agent.kill("stubborn", "first", 1_000_000).unwrap();
    agent.kill("stubborn", "second", 0).unwrap();
    let record = agent.exit_of("stubborn");
    assert_eq!((record.outcome, record.ended_by), (KILLED, requested("first")));
    assert_eq!(agent.kill("stubborn", "too late", 0), Ok(Reply::Killing));
    assert_eq!(agent.kill("unheard-of", "", 0), Err(Refusal::UnknownKey { key: key("unheard-of") }));
}

#[test]
fn sigterm_reaches_every_process_of_a_task() {
    let world = World::new();
    let mut agent = world.subscribe();
    let child = "trap 'echo child got it; exit 0' TERM; echo ready; while :; do sleep 0.01; done";
    let mut task = script("family", &format!("trap : TERM; setsid sh -c \"{child}\"; exit 5"));
    task.stdout = Some(world.path("out"));
    agent.start(&task).unwrap();
    line_in(&world.path("out"));
    agent.kill("family", "", 60_000).unwrap();
    assert_eq!(agent.exit_of("family").outcome, Outcome::Exited { code: 5 });
    assert_eq!(fs::read_to_string(world.path("out")).unwrap(), "ready\nchild got it\n");
}

#[test]
fn the_wall_clock_limit_ends_a_task() {
    let world = World::new();
    let mut agent = world.subscribe();
    let mut task = spec("slow", &["sleep", "1000"]);
    task.limits.wall_clock_ms = Some(100);
    task.grace_ms = 60_000;
    let record = agent.run(&task);
    assert_eq!((record.outcome, record.ended_by), (TERMINATED, EndedBy::WallClock));
}

#[test]
fn a_task_that_ignores_sigterm_is_killed_after_its_grace() {
    let world = World::new();
    let mut agent = world.subscribe();
    let mut task = script("deaf", "trap '' TERM; while :; do sleep 0.01; done");
    task.limits.wall_clock_ms = Some(200);
    task.grace_ms = 300;
    let begun = Instant::now();
    let record = agent.run(&task);
    assert_eq!((record.outcome, record.ended_by), (KILLED, EndedBy::WallClock));
    assert!(begun.elapsed() >= Duration::from_millis(500), "{:?}", begun.elapsed());
}

/// Starts a task that ends at once and leaves a daemon in a session of its own; gives the daemon's process id.
fn run_daemoniser(world: &World) -> i32 {
    let mut agent = world.subscribe();
    let daemon = "trap '' TERM HUP; echo $$ > daemon.tmp; mv daemon.tmp daemon; while :; do sleep 0.1; done";
    let text = format!(
        "(setsid sh -c \"{}\" >/dev/null 2>&1 &) ; while [ ! -e daemon ]; do sleep 0.01; done; exit 4",
        daemon.replace('$', "\\$")
    );
    let mut task = script("daemoniser", &text);
    task.cwd = world.path("");
    let record = agent.run(&task);
    assert_eq!(
        (record.outcome, record.ended_by, record.leftovers),
        (Outcome::Exited { code: 4 }, EndedBy::Itself, false)
    );
    fs::read_to_string(world.path("daemon")).unwrap().trim().parse().unwrap()
}

#[test]
fn a_daemon_that_a_task_left_dies_with_it() {
    let world = World::new();
    let daemon = run_daemoniser(&world);
    assert!(!is_running(daemon), "the end is told only when nothing is left");
}

#[test]
fn a_daemon_that_a_task_left_dies_with_it_also_without_groups() {
    let world = World::without_groups();
    let daemon = run_daemoniser(&world);
    assert!(!is_running(daemon));
}

/// Everything that a task can do to escape its end, on a node with fewer hierarchies than this one.
fn contained(hidden: &'static [&'static str], containment: Containment) {
    if !is_root() || !hidden.iter().all(|name| Path::new("/sys/fs/cgroup").join(name).exists()) {
        return skip("needs root, and the v1 hierarchies beside v2");
    }
    let mut world = World::hiding(hidden);
    assert_eq!(world.connect().probe().containment, containment);
    let daemon = run_daemoniser(&world);
    assert!(!is_running(daemon));

    let mut agent = world.subscribe();
    let mut bomb = script(
        "bomb",
        "sleep 0.3 & s=$!; bomb() { bomb & bomb & wait; }; bomb 2>/dev/null & wait $s; exit 6",
    );
    bomb.limits.pids_max = Some(40);
    let record = agent.run(&bomb);
    assert_eq!((record.outcome, record.leftovers), (Outcome::Exited { code: 6 }, false));

    let mut task = script("held", "setsid sh -c 'trap \"\" TERM; echo $$; while :; do sleep 0.1; done'");
    task.stdout = Some(world.path("out"));
    agent.start(&task).unwrap();
    let stubborn: i32 = line_in(&world.path("out")).parse().unwrap();
    world.kill_supervisor();
    world.start();
    let mut agent = world.subscribe();
    agent.kill("held", "drain", 50).unwrap();
    assert_eq!(agent.exit_of("held").ended_by, requested("drain"));
    assert!(!is_running(stubborn));
}

#[test]
fn the_v1_freezer_contains_where_there_is_no_v2() {
    contained(&["unified"], Containment::GroupFreeze);
}

#[test]
fn any_v1_hierarchy_contains_where_there_is_no_freezer() {
    contained(&["unified", "freezer"], Containment::GroupSignal);
}

#[test]
fn groups_are_removed_with_the_task_even_if_it_made_some_itself() {
    let world = World::new();
    let mut agent = world.subscribe();
    // In every hierarchy in which the task has a group, a group of its own with a process in it.
    let text = "for g in $(find /sys/fs/cgroup -maxdepth 6 -type d -name 'task-nested'); do \
                mkdir $g/own; sleep 1000 & echo $! > $g/own/cgroup.procs && echo moved; done; exit 0";
    let mut task = script("nested", text);
    task.stdout = Some(world.path("out"));
    let record = agent.run(&task);
    assert!(!record.leftovers);
    if is_root() && !world.groups().is_empty() {
        assert!(fs::read_to_string(world.path("out")).unwrap().starts_with("moved\n"));
    }
    for root in world.groups() {
        let below =
            fs::read_dir(&root).unwrap().flatten().filter(|entry| entry.file_type().unwrap().is_dir());
        assert_eq!(below.count(), 0, "{}", root.display());
    }
}

#[test]
fn shutdown_with_kill_ends_every_task_and_keeps_the_records() {
    let mut world = World::new();
    let mut agent = world.subscribe();
    let mut pids = Vec::new();
    for number in 0..5 {
        pids.push(
            agent.start(&script(&format!("t{number}"), "trap '' TERM; while :; do sleep 0.1; done")).unwrap(),
        );
    }
    let asked = agent.post(&Request::Shutdown { kill_tasks: true });
    let mut ended = 0;
    loop {
        match agent.receive() {
            Some(muster_supervisor::Message::Exited(record)) => {
                assert_eq!((record.outcome, record.ended_by), (KILLED, EndedBy::Shutdown));
                ended += 1;
            }
            Some(muster_supervisor::Message::Reply { id, result }) => {
                assert_eq!((id, result), (asked, Ok(Reply::Stopping)));
                break;
            }
            None => panic!("closed without an answer"),
        }
    }
    assert_eq!(ended, 5);
    assert!(world.wait_for_exit().success());
    assert!(pids.into_iter().all(|pid| !is_running(pid)));
    assert_eq!(world.groups(), Vec::<std::path::PathBuf>::new());
    world.start();
    let mut next = world.subscribe();
    assert_eq!(next.exit_of("t3").ended_by, EndedBy::Shutdown);
}

#[test]
fn a_list_shows_each_attempt_in_its_phase() {
    let world = World::new();
    let mut agent = world.subscribe();
    let pid = agent.start(&spec("running", &["sleep", "1000"])).unwrap();
    agent.run(&spec("ended", &["true"]));
    let mut tasks = agent.list();
    tasks.sort_by(|a, b| a.key.cmp(&b.key));
    let shown: Vec<_> = tasks.iter().map(|task| (task.key.as_str(), task.phase)).collect();
    assert_eq!(shown, [("ended", Phase::Ended), ("running", Phase::Running)]);
    assert_eq!(tasks[1].pid, pid);
    until("the task sleeps", || is_running(pid));
}

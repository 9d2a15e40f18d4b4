//! The dead man's switch: tasks end with the node's lease, whoever is dead or frozen by then.
//!
//! The agent's part is to be absent: connections are dropped before the lease ends. That something lives on is
//! shown after the clock has passed the end that no longer holds, never after a pause.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use muster_supervisor::lease::Lease;
use muster_supervisor::{EndedBy, Outcome, Phase, Refusal, Reply, Request};
use nix::sys::signal::Signal;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

use crate::harness::{Connection, World, is_running, line_in, parent_of, script, spec, until};

const KILLED: Outcome = Outcome::Signaled { signal: 9, core_dumped: false };
const HOUR_MS: u64 = 3_600_000;

/// Microseconds since boot, as the agent counts them.
fn boottime_us() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).unwrap();
    u64::try_from(now.tv_sec() * 1_000_000 + now.tv_nsec() / 1_000).unwrap()
}

/// Lets tasks run for so long from now; gives the end.
fn lease(agent: &mut Connection, for_ms: u64) -> u64 {
    let until_us = boottime_us() + for_ms * 1_000;
    assert_eq!(agent.call(&Request::Lease { until_us: Some(until_us) }), Ok(Reply::Leased));
    until_us
}

fn no_lease(agent: &mut Connection) {
    assert_eq!(agent.call(&Request::Lease { until_us: None }), Ok(Reply::Leased));
}

/// Starts a task that runs on, does not mind SIGTERM, and has forked twice into a session of its own; gives its
/// process and that of the fork.
fn start_stubborn(world: &World, agent: &mut Connection, name: &str) -> [i32; 2] {
    let child = "trap '' TERM HUP; echo $$; while :; do sleep 0.1; done".replace('$', "\\$");
    let text = format!("trap '' TERM; (setsid sh -c \"{child}\" &) ; while :; do sleep 0.1; done");
    let mut task = script(name, &text);
    task.stdout = Some(world.path(name));
    let main = agent.start(&task).unwrap();
    [main, line_in(&world.path(name)).parse().unwrap()]
}

/// Waits for a record that says the lease ended the task, and that nothing of it is left.
fn ended_by_lease(world: &World, name: &str, pids: &[i32]) -> i64 {
    let record = world.subscribe().exit_of(name);
    assert_eq!((record.outcome, record.ended_by, record.leftovers), (KILLED, EndedBy::LeaseEnded, false));
    assert!(pids.iter().all(|pid| !is_running(*pid)), "{name}");
    record.ended_at_us
}

/// The processor's wall clock at a time of the boot clock.
fn wall_us(boot_us: u64) -> i64 {
    let wall = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros()).unwrap();
    wall + i64::try_from(boot_us).unwrap() - i64::try_from(boottime_us()).unwrap()
}

#[test]
fn every_task_is_gone_within_a_second_of_the_lease_though_the_agent_is_dead() {
    let world = World::new();
    let mut agent = world.connect();
    lease(&mut agent, HOUR_MS);
    let plain = agent.start(&spec("plain", &["sleep", "1000"])).unwrap();
    let mut limited = spec("limited", &["sleep", "1000"]);
    // Its own grace is not for the end of a lease.
    (limited.limits.wall_clock_ms, limited.grace_ms) = (Some(HOUR_MS), HOUR_MS);
    let limited = agent.start(&limited).unwrap();
    let stubborn = start_stubborn(&world, &mut agent, "stubborn");
    let until_us = lease(&mut agent, 300);
    drop(agent);
    let promised = wall_us(until_us)..=wall_us(until_us + 1_000_000);
    for (name, pids) in [("plain", &[plain][..]), ("limited", &[limited]), ("stubborn", &stubborn)] {
        let ended_at_us = ended_by_lease(&world, name, pids);
        assert!(promised.contains(&ended_at_us), "{name}: {ended_at_us} is not in {promised:?}");
    }
    assert_eq!(world.log().matches("the lease has ended").count(), 1, "{}", world.log());
}

#[test]
fn a_task_without_groups_ends_with_the_lease_and_all_it_forked() {
    let world = World::without_groups();
    let mut agent = world.connect();
    let stubborn = start_stubborn(&world, &mut agent, "stubborn");
    lease(&mut agent, 100);
    drop(agent);
    ended_by_lease(&world, "stubborn", &stubborn);
}

#[test]
fn a_task_lives_on_under_a_renewed_lease_and_under_none_and_ends_with_an_earlier_one() {
    let world = World::new();
    let mut agent = world.subscribe();
    let pid = agent.start(&spec("renewed", &["sleep", "1000"])).unwrap();
    let lives_past = |agent: &mut Connection, until_us: u64| {
        until("the end that was replaced has passed", || boottime_us() > until_us + 50_000);
        assert_eq!((agent.list()[0].phase, is_running(pid)), (Phase::Running, true));
    };
    let first = lease(&mut agent, 100);
    lease(&mut agent, HOUR_MS);
    lives_past(&mut agent, first);
    let second = lease(&mut agent, 100);
    no_lease(&mut agent);
    lives_past(&mut agent, second);
    lease(&mut agent, HOUR_MS);
    lease(&mut agent, 0);
    ended_by_lease(&world, "renewed", &[pid]);
}

#[test]
fn a_task_that_is_being_ended_keeps_its_first_reason_and_loses_its_grace() {
    let world = World::new();
    let mut agent = world.subscribe();
    let pids = start_stubborn(&world, &mut agent, "asked");
    agent.kill("asked", "drain", HOUR_MS).unwrap();
    lease(&mut agent, 0);
    let record = agent.exit_of("asked");
    assert_eq!((record.outcome, record.ended_by), (KILLED, EndedBy::Requested { reason: "drain".into() }));
    assert!(pids.iter().all(|pid| !is_running(*pid)));
}

#[test]
fn a_start_is_refused_after_the_end_and_allowed_after_a_renewal() {
    let world = World::new();
    let mut agent = world.subscribe();
    lease(&mut agent, 0);
    let refusal = agent.start(&spec("early", &["true"])).unwrap_err();
    assert_eq!(refusal, Refusal::LeaseEnded);
    assert!(refusal.to_string().contains("the node's lease has ended and no task may start"), "{refusal}");
    assert_eq!(agent.list(), [], "a refused start leaves nothing");
    lease(&mut agent, HOUR_MS);
    assert_eq!(agent.run(&spec("early", &["true"])).outcome, Outcome::Exited { code: 0 });
    lease(&mut agent, 0);
    assert_eq!(agent.start(&spec("later", &["true"])), Err(Refusal::LeaseEnded));
    no_lease(&mut agent);
    assert_eq!(agent.run(&spec("later", &["true"])).outcome, Outcome::Exited { code: 0 });
}

#[test]
fn the_lease_ends_in_time_across_a_killed_supervisor() {
    let mut world = World::new();
    let mut agent = world.connect();
    let pids = start_stubborn(&world, &mut agent, "survivor");
    let until_us = lease(&mut agent, 1_500);
    drop(agent);
    world.kill_supervisor();
    world.start();
    let ended_at_us = ended_by_lease(&world, "survivor", &pids);
    assert!(ended_at_us >= wall_us(until_us), "the restart ended it");
}

#[test]
fn a_lease_that_ended_while_no_supervisor_ran_ends_tasks_at_the_start_of_the_next() {
    let mut world = World::new();
    let mut agent = world.connect();
    let pids = start_stubborn(&world, &mut agent, "overdue");
    let until_us = lease(&mut agent, 200);
    world.kill_supervisor();
    until("the lease is over", || boottime_us() > until_us);
    world.start();
    ended_by_lease(&world, "overdue", &pids);
    assert_eq!(world.connect().start(&spec("next", &["true"])), Err(Refusal::LeaseEnded));
    // The record is the journal's, too.
    world.kill_supervisor();
    world.start();
    ended_by_lease(&world, "overdue", &pids);
}

#[test]
fn a_renewal_that_waits_to_be_read_counts_before_the_end_that_it_replaces() {
    let world = World::new();
    let mut agent = world.connect();
    let pid = agent.start(&spec("kept", &["sleep", "1000"])).unwrap();
    let keeper = parent_of(pid);
    let signal = |process: i32, signal| nix::sys::signal::kill(Pid::from_raw(process), signal).unwrap();
    let supervisor = i32::try_from(world.pid()).unwrap();
    let until_us = lease(&mut agent, 300);
    // The keeper, too, or it acts for a supervisor that does not.
    for process in [supervisor, keeper] {
        signal(process, Signal::SIGSTOP);
    }
    until("the lease is over", || boottime_us() > until_us + 50_000);
    agent.post(&Request::Lease { until_us: Some(boottime_us() + HOUR_MS * 1_000) });
    signal(supervisor, Signal::SIGCONT);
    assert!(agent.receive().is_some());
    assert_eq!(agent.list()[0].phase, Phase::Running);
    signal(keeper, Signal::SIGCONT);
    assert_eq!(world.subscribe().run(&spec("after", &["true"])).outcome, Outcome::Exited { code: 0 });
    assert!(is_running(pid) && !world.log().contains("the lease has ended"), "{}", world.log());
}

#[test]
fn that_no_lease_is_in_force_outlives_a_killed_supervisor() {
    let mut world = World::new();
    let mut agent = world.connect();
    let pid = agent.start(&spec("kept", &["sleep", "1000"])).unwrap();
    let until_us = lease(&mut agent, 1_000);
    no_lease(&mut agent);
    world.kill_supervisor();
    until("the lease that was withdrawn is over", || boottime_us() > until_us);
    world.start();
    assert_eq!(world.connect().list()[0].phase, Phase::Running);
    assert!(is_running(pid));
}

#[test]
fn a_lease_of_another_boot_is_ignored_and_one_that_cannot_be_read_counts_as_ended() {
    let mut world = World::new();
    let start_after = |world: &mut World, kept: &[u8]| {
        world.kill_supervisor();
        fs::write(world.state().join("lease"), kept).unwrap();
        world.start();
    };
    start_after(&mut world, &Lease { boot_id: "another-boot".into(), until_us: Some(1) }.encode());
    let pid = world.connect().start(&spec("runs", &["sleep", "1000"])).unwrap();
    assert!(is_running(pid));
    for (number, kept) in [b"".as_slice(), b"\0\0\0\0", b"muster-lease 9\nend 0:\n"].into_iter().enumerate() {
        start_after(&mut world, kept);
        let refused = world.connect().start(&spec("refused", &["true"]));
        assert_eq!(refused, Err(Refusal::LeaseEnded), "{number}");
    }
    ended_by_lease(&world, "runs", &[pid]);
    let mut agent = world.subscribe();
    lease(&mut agent, HOUR_MS);
    agent.run(&spec("again", &["true"]));
}

#[test]
fn a_lease_that_cannot_be_kept_is_in_force_all_the_same() {
    let world = World::new();
    // Where the new file would be drafted there is a directory, as root is stopped by nothing less.
    fs::create_dir(world.state().join("lease.new")).unwrap();
    let mut agent = world.connect();
    let pid = agent.start(&spec("ends", &["sleep", "1000"])).unwrap();
    lease(&mut agent, 100);
    ended_by_lease(&world, "ends", &[pid]);
    assert!(world.log().contains("cannot record the lease"), "{}", world.log());
}

#[test]
fn a_lease_wakes_nobody_before_its_end() {
    let world = World::new();
    let mut agent = world.connect();
    let end_us = lease(&mut agent, HOUR_MS);
    let pid = agent.start(&spec("idle", &["sleep", "1000"])).unwrap();
    assert!(is_running(pid));
    let switches = || -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", world.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches")).unwrap();
        line.rsplit('\t').next().unwrap().parse().unwrap()
    };
    let (before, looked_at) = (switches(), boottime_us());
    until("time passes", || boottime_us() > looked_at + 500_000);
    // One, for it may have been about to wait after its last answer.
    assert!(switches() <= before + 1 && boottime_us() < end_us);
}

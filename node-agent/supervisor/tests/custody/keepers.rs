//! The lease where nobody but keepers is left to end a task: the supervisor is dead or frozen, and nobody starts
//! another.
//!
//! Tasks show their lives by lines in a ledger and by a variable that every process of theirs inherits, however often
//! it forks. What ends a task with a living supervisor is in `lease.rs`.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use muster_supervisor::{
    EndedBy, Isolation, LostReason, MountStep, Outcome, Phase, Refusal, Reply, Request, Spec,
};
use nix::sys::signal::{Signal, kill};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

use crate::harness::{Connection, World, is_running, line_in, parent_of, script, skip, spec, until};

const KILLED: Outcome = Outcome::Signaled { signal: 9, core_dumped: false };
const HOUR_MS: u64 = 3_600_000;
/// What ending a task may take here after its time: a debug build on a machine that is busy with other tests.
const SLOW_US: u64 = 5_000_000;

/// Microseconds since boot, as the agent counts them.
fn boottime_us() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).unwrap();
    u64::try_from(now.tv_sec() * 1_000_000 + now.tv_nsec() / 1_000).unwrap()
}

fn lease(agent: &mut Connection, for_ms: u64) -> u64 {
    let until_us = boottime_us() + for_ms * 1_000;
    assert_eq!(agent.call(&Request::Lease { until_us: Some(until_us) }), Ok(Reply::Leased));
    until_us
}

fn passes(end_us: u64) {
    until("time passes", || boottime_us() > end_us);
}

/// The kinds of node: with all of this machine's groups, with those of v1 only, without any that tell of forks in
/// time, and without groups.
fn worlds() -> [(&'static str, World); 4] {
    [
        ("all groups", World::new()),
        ("groups of v1", World::hiding(&["unified"])),
        ("groups without a freezer", World::hiding(&["unified", "freezer"])),
        ("no groups", World::without_groups()),
    ]
}

/// A process tree of its own.
fn alone() -> Isolation {
    Isolation { process_namespace: true, mounts: vec![MountStep::Proc], ..Isolation::default() }
}

/// A task whose processes do not mind signals, have forked twice into sessions of their own, and go on forking; it
/// ends with code 5 once there is a file `go`.
fn hydra(world: &World, key: &str) -> Spec {
    let directory = world.path(&format!("{key}.d"));
    fs::create_dir(&directory).unwrap();
    for (name, text) in [
        ("head", "while [ ! -e $2 ]; do echo $1 >> ledger; sleep 0.02; done; exit 5"),
        ("daemon", "(setsid sh head farther never &) ; exec sleep 1000"),
        ("flee", "echo fleeing >> ledger; sleep 0.02; (sh flee &)"),
        ("main", "(setsid sh head far never &) ; (setsid sh daemon &) ; (sh flee &) ; . ./near"),
        ("near", "set near go; . ./head"),
    ] {
        fs::write(directory.join(name), format!("trap '' TERM HUP\n{text}\n")).unwrap();
    }
    let mut task = spec(key, &["/bin/sh", "main"]);
    task.env.push(("MUSTER_TEST_MARK".into(), directory.clone().into()));
    task.cwd = directory;
    task
}

/// Live processes of such a task, in whatever group, session or namespace.
fn heads(task: &Spec) -> Vec<i32> {
    let mark = [b"MUSTER_TEST_MARK=", task.cwd.as_os_str().as_bytes()].concat();
    let marked = |pid: &i32| {
        let variables = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        variables.split(|byte| *byte == 0).any(|variable| variable == mark)
    };
    let pids = fs::read_dir("/proc").unwrap().flatten();
    pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(marked).collect()
}

fn ledger(task: &Spec) -> PathBuf {
    task.cwd.join("ledger")
}

/// Waits until every head of it lives.
fn lives(task: &Spec) {
    until("all heads live", || {
        let text = fs::read_to_string(ledger(task)).unwrap_or_default();
        ["near", "far", "farther", "fleeing"].iter().all(|head| text.lines().any(|line| line == *head))
    });
}

/// Waits until nothing of it is left, which must be at the end of a lease and not before; gives when.
fn is_gone(task: &Spec, until_us: u64) -> u64 {
    let mut last_alive = 0;
    until("nothing is left", || {
        let now = boottime_us();
        let alive = !heads(task).is_empty();
        if alive {
            last_alive = now;
        }
        !alive
    });
    let gone = boottime_us();
    assert!(gone >= until_us, "{}: gone {} us too early", task.key, until_us - gone);
    let late = last_alive.saturating_sub(until_us);
    assert!(late < SLOW_US, "{}: alive {late} us too long", task.key);
    println!("{}: alive for at most {} ms after the lease", task.key, gone.saturating_sub(until_us) / 1_000);
    let written = fs::metadata(ledger(task)).unwrap().len();
    passes(gone + 60_000);
    assert_eq!(fs::metadata(ledger(task)).unwrap().len(), written, "{}", task.key);
    gone
}

/// The record says that the lease was the reason.
fn ended_by_lease(world: &World, key: &str) {
    let record = world.subscribe().exit_of(key);
    assert_eq!((record.outcome, record.ended_by, record.leftovers), (KILLED, EndedBy::LeaseEnded, false));
    assert!(record.usage.user_cpu_us.is_some());
}

#[test]
fn with_the_supervisor_dead_for_good_keepers_end_their_tasks_at_every_level() {
    for (node, mut world) in worlds() {
        let mut agent = world.connect();
        let separable = agent.probe().separation.missing(&alone()).is_none();
        lease(&mut agent, HOUR_MS);
        let mut tasks = vec![hydra(&world, "none")];
        if separable {
            tasks.push(Spec { isolation: alone(), ..hydra(&world, "namespace") });
        } else {
            skip("no process namespaces");
        }
        for task in &tasks {
            agent.start(task).unwrap();
        }
        tasks.iter().for_each(lives);
        // Earlier than what the keepers know so far: they hear of it.
        let until_us = lease(&mut agent, 1_000);
        world.kill_supervisor();
        println!("{node}:");
        for task in &tasks {
            is_gone(task, until_us);
        }
        world.start();
        for task in &tasks {
            ended_by_lease(&world, task.key.as_str());
        }
    }
}

/// A supervisor that does nothing until this is dropped.
struct Frozen(Pid);

impl Frozen {
    fn new(world: &World) -> Self {
        let pid = Pid::from_raw(world.pid().try_into().unwrap());
        kill(pid, Signal::SIGSTOP).unwrap();
        Self(pid)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGCONT);
    }
}

#[test]
fn with_the_supervisor_frozen_keepers_end_their_tasks_and_it_tells_so_when_it_wakes() {
    let world = World::new();
    let mut agent = world.connect();
    let task = hydra(&world, "held");
    agent.start(&task).unwrap();
    lives(&task);
    let until_us = lease(&mut agent, 800);
    let frozen = Frozen::new(&world);
    let out = world.path("late");
    let mut late = script("late", "echo executed");
    late.stdout = Some(out.clone());
    agent.post(&Request::Start(Box::new(late)));
    is_gone(&task, until_us);
    drop(frozen);
    ended_by_lease(&world, "held");
    let answer = agent.receive();
    assert!(
        matches!(answer, Some(muster_supervisor::Message::Reply { result: Err(Refusal::LeaseEnded), .. })),
        "{answer:?}"
    );
    assert!(!out.exists());
}

#[test]
fn keepers_take_renewals_from_one_supervisor_and_from_the_next() {
    let mut world = World::new();
    let mut agent = world.connect();
    let first = lease(&mut agent, 600);
    let task = hydra(&world, "renewed");
    agent.start(&task).unwrap();
    lives(&task);
    // Each keeper has looked at least once when its task is this old.
    let second = lease(&mut agent, 2_500);
    passes(first + 300_000);
    world.kill_supervisor();
    world.start();
    let mut agent = world.connect();
    let third = lease(&mut agent, 4_000);
    world.kill_supervisor();
    passes(second + 300_000);
    assert!(!heads(&task).is_empty(), "a renewal by the second supervisor holds");
    is_gone(&task, third);
    world.start();
    ended_by_lease(&world, "renewed");
}

#[test]
fn without_a_lease_in_force_tasks_outlive_all_and_one_that_comes_into_force_is_heard_of() {
    let mut world = World::new();
    let mut agent = world.connect();
    let before = hydra(&world, "before");
    agent.start(&before).unwrap();
    let withdrawn = lease(&mut agent, 1_200);
    let task = hydra(&world, "kept");
    agent.start(&task).unwrap();
    assert_eq!(agent.call(&Request::Lease { until_us: None }), Ok(Reply::Leased));
    [&before, &task].into_iter().for_each(lives);
    world.kill_supervisor();
    passes(withdrawn + 500_000);
    for task in [&before, &task] {
        let main = heads(task);
        assert!(!main.is_empty(), "{}", task.key);
    }
    world.start();
    let mut agent = world.connect();
    assert_eq!(agent.list().iter().filter(|task| task.phase == Phase::Running).count(), 2);
    let until_us = lease(&mut agent, 500);
    world.kill_supervisor();
    is_gone(&before, until_us);
    is_gone(&task, until_us);
}

#[test]
fn what_runs_without_a_lease_is_left_alone_and_may_begin_after_its_end() {
    let mut world = World::new();
    let mut agent = world.subscribe();
    let unleased = |key: &str| Spec { leased: false, ..spec(key, &["sleep", "1000"]) };
    let first = agent.start(&unleased("start-task.1")).unwrap();
    let leased = agent.start(&spec("leased", &["sleep", "1000"])).unwrap();
    lease(&mut agent, 300);
    assert_eq!(agent.exit_of("leased").ended_by, EndedBy::LeaseEnded);
    assert!(is_running(first) && !is_running(leased));
    let second = agent.start(&unleased("start-task.2")).unwrap();
    assert_eq!(agent.start(&spec("too-late", &["true"])), Err(Refusal::LeaseEnded));
    // And so it is for the keepers, and for the next supervisor.
    let until_us = lease(&mut agent, 300);
    world.kill_supervisor();
    passes(until_us + 1_500_000);
    assert!(is_running(first) && is_running(second));
    world.start();
    let mut agent = world.subscribe();
    let running: Vec<_> = agent.list().into_iter().filter(|task| task.phase == Phase::Running).collect();
    assert_eq!(running.iter().map(|task| task.pid).collect::<Vec<_>>(), [first, second]);
}

#[test]
fn what_a_task_leaves_ends_with_it_while_no_supervisor_runs() {
    for (node, mut world) in worlds() {
        let mut agent = world.connect();
        let task = hydra(&world, "ends");
        agent.start(&task).unwrap();
        lives(&task);
        world.kill_supervisor();
        fs::write(task.cwd.join("go"), "").unwrap();
        println!("{node}:");
        is_gone(&task, boottime_us());
        world.start();
        let record = world.subscribe().exit_of("ends");
        assert_eq!((record.outcome, record.ended_by), (Outcome::Exited { code: 5 }, EndedBy::Itself));
    }
}

/// Freezes everything in the groups of a world, or thaws it.
fn freeze(world: &World, frozen: bool) -> bool {
    let files = [("cgroup.freeze", if frozen { "1" } else { "0" })];
    let files = files.into_iter().chain([("freezer.state", if frozen { "FROZEN" } else { "THAWED" })]);
    let mut done = false;
    for (file, value) in files {
        for group in world.groups().iter().map(|group| group.join(file)).filter(|file| file.exists()) {
            fs::write(group, value).unwrap();
            done = true;
        }
    }
    done
}

#[test]
fn a_start_that_takes_longer_than_the_lease_executes_nothing() {
    let mut world = World::new();
    let mut agent = world.connect();
    let out = world.path("out");
    let mut task = script("slow", "echo executed");
    task.stdout = Some(out.clone());
    let until_us = lease(&mut agent, 600);
    // What joins a frozen group comes no further.
    if !freeze(&world, true) {
        return skip("no groups that can be frozen");
    }
    agent.post(&Request::Start(Box::new(task)));
    until("the keeper is cloned", || {
        let name = |pid: i32| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let pids = fs::read_dir("/proc").unwrap().flatten();
        let mut pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        // It has heard the word to go when it waits for a child.
        pids.any(|pid: i32| {
            name(pid).starts_with("muster-keeper slow")
                && fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))
                    .is_ok_and(|text| !text.is_empty())
        })
    });
    world.kill_supervisor();
    passes(until_us + 300_000);
    freeze(&world, false);
    world.start();
    let record = world.subscribe().exit_of("slow");
    // Its keeper gives it up, or the supervisor that comes back meets it first and kills it.
    let is_ended = matches!(
        record.outcome,
        Outcome::Lost { reason: LostReason::LaunchInterrupted } | Outcome::Signaled { signal: 9, .. }
    );
    assert!(is_ended, "{:?}\n{}", record.outcome, world.log());
    assert_eq!(fs::read_to_string(out).unwrap_or_default(), "");
}

#[test]
fn a_keeper_wakes_once_for_each_lease_and_not_in_between() {
    let mut world = World::new();
    let mut agent = world.connect();
    lease(&mut agent, HOUR_MS);
    let isolation = match agent.probe().separation.missing(&alone()) {
        None => alone(),
        Some(_) => Isolation::default(),
    };
    let pid = agent.start(&Spec { isolation, ..spec("idle", &["sleep", "1000"]) }).unwrap();
    let keeper = parent_of(pid);
    let switches = || -> u64 {
        let status = fs::read_to_string(format!("/proc/{keeper}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches")).unwrap();
        line.rsplit('\t').next().unwrap().parse().unwrap()
    };
    // The first look comes within a second.
    passes(boottime_us() + 1_500_000);
    let before = switches();
    for _ in 0..20 {
        lease(&mut agent, 2 * HOUR_MS);
    }
    passes(boottime_us() + 500_000);
    assert_eq!(switches(), before, "a renewal wakes no keeper");
    let until_us = lease(&mut agent, 400);
    lease(&mut agent, HOUR_MS);
    passes(until_us + 500_000);
    // One for the word that the lease ends earlier, one for that end.
    assert!((before + 1..=before + 2).contains(&switches()), "{before}, {}", switches());
    assert!(is_running(pid));
    world.kill_supervisor();
}

#[test]
fn a_lease_that_no_keeper_can_read_counts_as_over() {
    let mut world = World::new();
    let mut agent = world.connect();
    lease(&mut agent, HOUR_MS);
    let task = hydra(&world, "blind");
    agent.start(&task).unwrap();
    lives(&task);
    world.kill_supervisor();
    let exits = world.state().join("exits");
    let file = fs::OpenOptions::new().write(true).open(&exits).unwrap();
    // The exit slots stay; a supervisor that starts takes the space again.
    file.set_len(file.metadata().unwrap().len() - 4_096).unwrap();
    until("a keeper looks and finds nothing", || {
        for pid in heads(&task) {
            let parent = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let parent = parent.rsplit(") ").next().and_then(|tail| tail.split(' ').nth(1)?.parse().ok());
            let is_keeper = |pid: &i32| {
                fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "muster-keeper\n")
            };
            if let Some(keeper) = parent.filter(is_keeper) {
                let _ = kill(Pid::from_raw(keeper), Signal::SIGCHLD);
            }
        }
        heads(&task).is_empty()
    });
    world.start();
    ended_by_lease(&world, "blind");
}

/// The first supervisors that held a lease had exit slots without a word behind them.
#[test]
fn a_state_directory_from_before_keepers_held_the_lease_is_taken_over() {
    let mut world = World::new();
    world.kill_supervisor();
    let exits = world.state().join("exits");
    let file = fs::OpenOptions::new().write(true).open(&exits).unwrap();
    let bytes = file.metadata().unwrap().len();
    file.set_len(bytes - 4_096).unwrap();
    world.start();
    assert_eq!(fs::metadata(&exits).unwrap().len(), bytes);
    let mut agent = world.connect();
    let task = hydra(&world, "after");
    agent.start(&task).unwrap();
    lives(&task);
    let until_us = lease(&mut agent, 500);
    world.kill_supervisor();
    is_gone(&task, until_us);
}

#[test]
fn a_keeper_that_holds_the_lease_holds_nothing_else_by_it() {
    let world = World::without_groups();
    let mut agent = world.connect();
    lease(&mut agent, HOUR_MS);
    let mut task = script("light", "echo up; sleep 1000");
    task.stdout = Some(world.path("out"));
    let keeper = parent_of(agent.start(&task).unwrap());
    line_in(&world.path("out"));
    passes(boottime_us() + 1_200_000);
    let held = fs::read_dir(format!("/proc/{keeper}/fd")).unwrap().count();
    assert_eq!(held, 1, "the exit slots, with the lease behind them");
    let rollup = fs::read_to_string(format!("/proc/{keeper}/smaps_rollup")).unwrap();
    let own = rollup.lines().find(|line| line.starts_with("Private_Dirty:")).unwrap();
    println!("a keeper after its first look: {own}");
    assert!(own.split_ascii_whitespace().nth(1).unwrap().parse::<u64>().unwrap() < 512);
}

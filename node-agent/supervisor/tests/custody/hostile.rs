//! Tasks that do their worst: each is contained, ended in time with all that it made, and named by its cause.
//!
//! Limits that merely do their work are in `limits.rs`; ordinary ends are in `ending.rs`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use muster_supervisor::{EndedBy, ExitRecord, Outcome, Reply, Request};

use crate::harness::{Connection, World, is_root, is_running, key, line_in, script, skip, spec, until};

const KILLED: Outcome = Outcome::Signaled { signal: 9, core_dumped: false };
/// From the order to kill to the record: far more than it takes, far less than an agent's patience.
const KILL_MAX: Duration = Duration::from_secs(10);

/// Kills an attempt without grace and gives its record, which must come in time and leave nothing.
fn kill_in_time(agent: &mut Connection, name: &str) -> ExitRecord {
    let begun = Instant::now();
    assert_eq!(agent.kill(name, "enough", 0), Ok(Reply::Killing));
    let record = agent.exit_of(name);
    assert!(begun.elapsed() < KILL_MAX, "{name}: {:?}", begun.elapsed());
    assert_eq!(record.ended_by, EndedBy::Requested { reason: "enough".into() });
    assert!(!record.leftovers, "{name}");
    record
}

/// Directories of the machine's hierarchies below the roots of this world.
fn groups_left(world: &World) -> Vec<PathBuf> {
    let below = |root: PathBuf| fs::read_dir(root).into_iter().flatten().flatten();
    let found = world.groups().into_iter().flat_map(below).map(|entry| entry.path());
    found.filter(|path| path.is_dir()).collect()
}

#[test]
fn a_fork_bomb_stays_within_its_limit_and_dies_as_one() {
    let world = World::new();
    let mut agent = world.subscribe();
    if !agent.probe().pids {
        return skip("no pids controller");
    }
    let text = "bomb() { bomb & bomb & wait; }; trap '' TERM; echo ready; bomb 2>/dev/null; sleep 1000";
    let mut task = script("bomb", text);
    task.limits.pids_max = Some(60);
    task.stdout = Some(world.path("out"));
    agent.start(&task).unwrap();
    line_in(&world.path("out"));
    let refused = |agent: &mut Connection| usage(agent, "bomb").refused_processes.unwrap();
    until("the bomb meets its limit", || refused(&mut agent) > 0);
    // The node has room for others meanwhile.
    assert_eq!(agent.run(&spec("bystander", &["true"])).outcome, Outcome::Exited { code: 0 });
    let record = kill_in_time(&mut agent, "bomb");
    assert_eq!(record.outcome, KILLED);
    assert!(record.usage.refused_processes.unwrap() > 0);
    if let Some(peak) = record.usage.peak_processes {
        assert!((50..=60).contains(&peak), "{peak} processes at a time");
    }
    assert_eq!(groups_left(&world), Vec::<PathBuf>::new());
}

fn usage(agent: &mut Connection, name: &str) -> muster_supervisor::record::Usage {
    match agent.call(&Request::Usage { keys: vec![key(name)] }) {
        Ok(Reply::Usages(usages)) => usages.first().expect("it is live").1,
        other => panic!("unexpected {other:?}"),
    }
}

#[test]
fn a_memory_hog_of_many_processes_dies_whole_and_its_peak_is_its_limit() {
    let world = World::new();
    let mut agent = world.subscribe();
    if !agent.probe().memory {
        return skip("no memory controller");
    }
    let text = "for i in 1 2 3 4 5; do (echo $(exec sh -c 'echo $PPID'); exec tail /dev/zero) & done; \
                trap '' TERM; wait; echo survived; sleep 1000";
    let mut task = script("hogs", text);
    task.limits.memory_bytes = Some(64 << 20);
    task.stdout = Some(world.path("out"));
    let record = agent.run(&task);
    assert_eq!((record.outcome, record.ended_by, record.leftovers), (KILLED, EndedBy::OutOfMemory, false));
    let peak = record.usage.peak_memory_bytes.unwrap();
    assert!((60 << 20..=64 << 20).contains(&peak), "{peak}");
    let out = fs::read_to_string(world.path("out")).unwrap();
    let hogs: Vec<i32> = out.lines().filter_map(|line| line.parse().ok()).collect();
    assert!(!hogs.is_empty() && hogs.iter().all(|pid| !is_running(*pid)), "{out}");
    assert!(agent.probe().memory && agent.events().is_empty());
}

/// Has the wall clock of an attempt run out now, and gives its record.
fn run_out(agent: &mut Connection, name: &str) -> ExitRecord {
    let limit = Request::Limit { key: key(name), wall_clock_ms: Some(0) };
    assert_eq!(agent.call(&limit), Ok(Reply::Limited));
    agent.exit_of(name)
}

#[test]
fn a_task_that_ignores_sigterm_at_its_wall_clock_is_killed_after_the_grace_and_not_before() {
    let world = World::new();
    let mut agent = world.subscribe();
    let text = "trap '' TERM; sh -c 'trap \"\" TERM; echo ready; while :; do sleep 1; done' & \
                while :; do sleep 1; done";
    let mut task = script("deaf", text);
    task.grace_ms = 400;
    task.stdout = Some(world.path("out"));
    agent.start(&task).unwrap();
    line_in(&world.path("out"));
    let begun = Instant::now();
    let record = run_out(&mut agent, "deaf");
    assert_eq!((record.outcome, record.ended_by, record.leftovers), (KILLED, EndedBy::WallClock, false));
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(400) && took < KILL_MAX, "{took:?}");
}

#[test]
fn stopped_processes_are_killed() {
    let world = World::new();
    let mut agent = world.subscribe();
    for name in ["stopped", "stopped-and-late"] {
        let mut task = script(name, "sleep 1000 & echo $!; kill -STOP $!; kill -STOP $$");
        task.grace_ms = 100;
        task.stdout = Some(world.path(name));
        let main = agent.start(&task).unwrap();
        let child = line_in(&world.path(name)).parse().unwrap();
        until("both are stopped", || is_stopped(main) && is_stopped(child));
        if name == "stopped" {
            assert_eq!(kill_in_time(&mut agent, name).outcome, KILLED);
        } else {
            let record = run_out(&mut agent, name);
            assert_eq!((record.outcome, record.ended_by), (KILLED, EndedBy::WallClock));
        }
        assert!(!is_running(child), "{name}");
    }
}

fn is_stopped(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|tail| tail.starts_with('T'))
}

#[test]
fn thousands_of_zombie_grandchildren_are_gone_with_the_task() {
    let world = World::new();
    let mut agent = world.subscribe();
    if !Path::new("/usr/bin/perl").exists() {
        return skip("no perl to make zombies with");
    }
    let text = "$| = 1; unless (fork) { for (1..2000) { defined(my $p = fork) or last; exit 0 unless $p } \
                print \"$$\\n\"; sleep 1000 } sleep 1000";
    let mut task = spec("zombies", &["/usr/bin/perl", "-e", text]);
    task.stdout = Some(world.path("out"));
    agent.start(&task).unwrap();
    let parent: i32 = line_in(&world.path("out")).parse().unwrap();
    let children =
        |pid: u32| fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    kill_in_time(&mut agent, "zombies");
    assert!(!is_running(parent));
    // Those that came to the supervisor are reaped.
    until("no child is left", || children(world.pid()).is_empty());
    assert_eq!(agent.run(&spec("after", &["true"])).outcome, Outcome::Exited { code: 0 });
}

#[test]
fn groups_that_a_privileged_task_made_and_filled_are_emptied_and_removed() {
    let world = World::new();
    let mut agent = world.subscribe();
    if !is_root() || world.groups().is_empty() {
        return skip("not root, or no control groups");
    }
    // Three levels in each hierarchy of its own, with a process in each level that has no limits to inherit. Where a
    // group above has controllers (v2) the kernel allows processes in the leaves only, and the task copes.
    let text = "for d in $(find /sys/fs/cgroup -maxdepth 6 -type d -name task-nested); do at=$d; \
                for level in a b c; do at=$at/$level; mkdir $at || exit 9; \
                sh -c 'echo $$ > '$at'/cgroup.procs; trap \"\" TERM; sleep 1000' 2>/dev/null & done; done; \
                sleep 0.2; echo ready; sleep 1000";
    let mut task = script("nested", text);
    task.stdout = Some(world.path("out"));
    agent.start(&task).unwrap();
    line_in(&world.path("out"));
    let made: Vec<_> = world.groups().iter().map(|root| root.join("task-nested/a/b/c")).collect();
    assert!(made.iter().any(|path| path.exists()), "{made:?}");
    kill_in_time(&mut agent, "nested");
    assert_eq!(groups_left(&world), Vec::<PathBuf>::new());
}

#[test]
fn a_task_that_freezes_its_own_group_is_thawed_and_killed() {
    let there = |name: &str| Path::new("/sys/fs/cgroup").join(name).exists();
    if !is_root() || !there("freezer") || !there("unified") {
        return skip("not root, or not both a v1 freezer and a v2 tree");
    }
    // Without v2, whose groups are killed frozen or not.
    let world = World::hiding(&["unified"]);
    let mut agent = world.subscribe();
    let text = "d=$(find /sys/fs/cgroup/freezer -maxdepth 6 -type d -name task-frozen); mkdir $d/own || exit 9; \
                sh -c 'echo $$ > '$d'/own/cgroup.procs; echo $$; sleep 1000' & \
                while [ -z \"$(cat $d/own/cgroup.procs)\" ]; do sleep 0.01; done; echo FROZEN > $d/own/freezer.state; \
                sleep 1000";
    let mut task = script("frozen", text);
    task.stdout = Some(world.path("out"));
    agent.start(&task).unwrap();
    let inner = line_in(&world.path("out")).parse().unwrap();
    let frozen = |root: &PathBuf| fs::read_to_string(root.join("task-frozen/own/freezer.state"));
    until("it is frozen", || {
        world.groups().iter().any(|root| frozen(root).is_ok_and(|state| state == "FROZEN\n"))
    });
    kill_in_time(&mut agent, "frozen");
    assert!(!is_running(inner));
    assert_eq!(groups_left(&world), Vec::<PathBuf>::new());
}

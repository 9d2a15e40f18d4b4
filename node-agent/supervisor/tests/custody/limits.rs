//! Memory, processor and process limits, each with a task that does its best to exceed it.
//!
//! A limit that this machine cannot enforce makes its test say SKIPPED; that such a limit is refused is in
//! `launch.rs`. Wall-clock limits are in `ending.rs`.

use std::fs;
use std::path::{Path, PathBuf};

use muster_supervisor::{EndedBy, Outcome};

use crate::harness::{World, is_running, line_in, script, skip, spec, until};

#[test]
fn a_task_that_exceeds_its_memory_is_ended_and_the_cause_is_named() {
    let world = World::new();
    let mut agent = world.subscribe();
    if !agent.probe().memory {
        return skip("no memory controller");
    }
    let mut task = spec("hog", &["tail", "/dev/zero"]);
    task.limits.memory_bytes = Some(32 << 20);
    let record = agent.run(&task);
    assert_eq!(record.outcome, Outcome::Signaled { signal: 9, core_dumped: false });
    assert_eq!(record.ended_by, EndedBy::OutOfMemory);
    assert!(record.out_of_memory());
    let peak = record.usage.peak_memory_bytes.unwrap();
    assert!((30 << 20..=32 << 20).contains(&peak), "{peak}");
}

#[test]
fn when_a_child_runs_out_of_memory_the_whole_task_ends() {
    let world = World::new();
    let mut agent = world.subscribe();
    if !agent.probe().memory {
        return skip("no memory controller");
    }
    let mut task = script("parent", "sleep 1000 & echo $!; tail /dev/zero; echo survived; sleep 1000");
    task.limits.memory_bytes = Some(32 << 20);
    task.stdout = Some(world.path("out"));
    agent.start(&task).unwrap();
    let sibling = line_in(&world.path("out")).lines().next().unwrap().parse().unwrap();
    let record = agent.exit_of("parent");
    assert_eq!(record.outcome, Outcome::Signaled { signal: 9, core_dumped: false });
    assert_eq!(record.ended_by, EndedBy::OutOfMemory);
    assert!(!is_running(sibling));
}

#[test]
fn a_task_that_hides_that_its_child_ran_out_of_memory_is_found_out() {
    let world = World::new();
    let mut agent = world.subscribe();
    if !agent.probe().memory {
        return skip("no memory controller");
    }
    let mut task = script("quick", "tail /dev/zero; exit 0");
    task.limits.memory_bytes = Some(32 << 20);
    let record = agent.run(&task);
    assert_eq!(record.ended_by, EndedBy::OutOfMemory);
    assert!(record.out_of_memory());
}

#[test]
fn a_signal_9_from_elsewhere_is_not_called_out_of_memory() {
    let world = World::new();
    let mut agent = world.subscribe();
    let mut task = script("suicide", "kill -9 $$");
    if agent.probe().memory {
        task.limits.memory_bytes = Some(32 << 20);
    }
    let record = agent.run(&task);
    assert_eq!(record.outcome, Outcome::Signaled { signal: 9, core_dumped: false });
    assert_eq!(record.ended_by, EndedBy::Itself);
    assert!(!record.out_of_memory());
}

#[test]
fn a_fork_bomb_is_held_and_swept_away() {
    let world = World::new();
    let mut agent = world.subscribe();
    if !agent.probe().pids {
        return skip("no pids controller");
    }
    let text = "bomb() { bomb & bomb & wait; }; bomb 2>/dev/null & sleep 0.5; echo boom; exit 6";
    let mut task = script("bomb", text);
    task.limits.pids_max = Some(40);
    task.stdout = Some(world.path("out"));
    let record = agent.run(&task);
    assert_eq!(fs::read_to_string(world.path("out")).unwrap(), "boom\n");
    assert_eq!((record.outcome, record.leftovers), (Outcome::Exited { code: 6 }, false));
}

#[test]
fn a_process_limit_makes_fork_fail() {
    let world = World::new();
    let mut agent = world.subscribe();
    if !agent.probe().pids {
        return skip("no pids controller");
    }
    let mut task = script("single", "/bin/true || exit 9; (exit 0) && exit 8");
    task.limits.pids_max = Some(1);
    let record = agent.run(&task);
    assert!(!matches!(record.outcome, Outcome::Exited { code: 0 | 8 }), "{:?}", record.outcome);
}

#[test]
fn a_cpu_quota_and_a_weight_are_written_to_the_group() {
    let world = World::new();
    let mut agent = world.subscribe();
    if !agent.probe().cpu {
        return skip("no cpu controller");
    }
    let text = "d=$(find /sys/fs/cgroup -maxdepth 6 -type d -name task-quota); \
                for f in cpu.cfs_quota_us cpu.cfs_period_us cpu.shares cpu.max cpu.weight; do \
                for g in $d; do [ -e $g/$f ] && echo $f $(cat $g/$f); done; done; exit 0";
    let mut task = script("quota", text);
    task.limits.cpu_millis = Some(250);
    task.limits.cpu_weight = Some(50);
    task.stdout = Some(world.path("out"));
    assert_eq!(agent.run(&task).outcome, Outcome::Exited { code: 0 });
    let found = fs::read_to_string(world.path("out")).unwrap();
    let (v1, v2) = (
        "cpu.cfs_quota_us 25000\ncpu.cfs_period_us 100000\ncpu.shares 512\n",
        "cpu.max 25000 100000\ncpu.weight 50\n",
    );
    assert!(found == v1 || found == v2, "{found}");
}

#[test]
fn a_cpu_quota_slows_a_busy_task_down() {
    let world = World::new();
    let mut agent = world.subscribe();
    if !agent.probe().cpu {
        return skip("no cpu controller");
    }
    let mut task = script("busy", "while :; do :; done");
    task.limits.cpu_millis = Some(100);
    task.limits.wall_clock_ms = Some(1_500);
    let record = agent.run(&task);
    let cpu = record.usage.user_cpu_us.unwrap() + record.usage.system_cpu_us.unwrap();
    // A tenth of 1.5 s, and the slack of the kernel's periods; without the quota it would be ten times that.
    assert!(cpu < 500_000, "{cpu} µs");
}

/// Two busy tasks on one processor, with these weights; gives the CPU time of each.
fn share_a_processor(weights: [u32; 2]) -> Option<[u64; 2]> {
    let world = World::new();
    let mut agent = world.subscribe();
    if !agent.probe().cpu {
        skip("no cpu controller");
        return None;
    }
    let names = ["first", "second"];
    for (name, weight) in names.into_iter().zip(weights) {
        let mut task = spec(name, &["taskset", "-c", "0", "sh", "-c", "while :; do :; done"]);
        task.limits.cpu_weight = Some(weight);
        task.limits.wall_clock_ms = Some(3_000);
        agent.start(&task).unwrap();
    }
    Some(names.map(|name| {
        let usage = agent.exit_of(name).usage;
        usage.user_cpu_us.unwrap() + usage.system_cpu_us.unwrap()
    }))
}

#[test]
fn two_busy_tasks_share_a_processor_by_their_weights() {
    let Some([light, heavy]) = share_a_processor([100, 400]) else { return };
    // One to four, with room for whatever else runs here; equal shares or the other way round would be far off.
    assert!(heavy > 2 * light && heavy < 10 * light, "{light} µs and {heavy} µs");
}

#[test]
fn open_files_are_limited_and_no_core_is_dumped() {
    let world = World::new();
    let mut agent = world.subscribe();
    if !Path::new("/usr/bin/perl").exists() {
        return skip("no perl to open files with");
    }
    let text = "$| = 1; while (open(my $file, '<', '/dev/null')) { push @files, $file } \
                print 3 + @files, \" \", $! + 0, \"\\n\"; kill 'SEGV', $$; sleep 1000";
    let mut task = spec("files", &["/usr/bin/perl", "-e", text]);
    // Fewer than the supervisor itself has open: what it does for the task is not bound by it.
    task.limits.open_files = Some(6);
    task.cwd = world.path("");
    task.stdout = Some(world.path("out"));
    let record = agent.run(&task);
    let open = line_in(&world.path("out"));
    assert_eq!(open, "6 24", "files that were open, and why there are no more (EMFILE)");
    assert_eq!(record.outcome, Outcome::Signaled { signal: 11, core_dumped: false });
    let cores: Vec<PathBuf> = fs::read_dir(world.path(""))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("core")))
        .collect();
    assert_eq!(cores, Vec::<PathBuf>::new());
}

/// Runs a task out of memory while no supervisor is there, and gives whether its sibling process lived on.
fn out_of_memory_unwatched(text: &str) {
    let mut world = World::new();
    let mut agent = world.connect();
    if !agent.probe().memory {
        return skip("no memory controller");
    }
    let go = world.path("go");
    let mut task = script("unwatched", &text.replace("GO", &go.display().to_string()));
    task.limits.memory_bytes = Some(32 << 20);
    task.stdout = Some(world.path("out"));
    let main = agent.start(&task).unwrap();
    let sibling = line_in(&world.path("out")).parse().unwrap();
    drop(agent);
    world.kill_supervisor();
    fs::write(&go, "").unwrap();
    // The kernel ends all of it by itself (v2), or one process (v1).
    until("it ran out of memory", || {
        !is_running(main) || fs::read_to_string(world.path("out")).unwrap().contains("lost one")
    });
    world.start();
    let record = world.subscribe().exit_of("unwatched");
    assert_eq!((record.ended_by.clone(), record.leftovers), (EndedBy::OutOfMemory, false), "{record:?}");
    assert!(record.out_of_memory());
    assert!(!is_running(main) && !is_running(sibling));
}

#[test]
fn a_child_that_ran_out_of_memory_while_no_supervisor_was_there_ends_the_task_when_one_is() {
    out_of_memory_unwatched(
        "sleep 1000 & echo $!; while [ ! -e GO ]; do sleep 0.01; done; tail /dev/zero; echo lost one; sleep 1000",
    );
}

#[test]
fn a_task_that_ran_out_of_memory_while_no_supervisor_was_there_is_recorded_so() {
    out_of_memory_unwatched(
        "sleep 1000 & echo $!; while [ ! -e GO ]; do sleep 0.01; done; exec tail /dev/zero",
    );
}

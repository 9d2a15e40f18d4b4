//! Restarts: of the agent (connections), of the supervisor (by signal 9 and politely), and what remains after
//! each.
//!
//! Keepers tell the exit status whoever else is alive; of a task whose keeper was killed, too, the record must say
//! lost, and never guess. What a restart makes of the lease is in `lease.rs`, what it costs in `upgrade.rs`.

use std::fs;
use std::path::PathBuf;

use muster_supervisor::{EndedBy, LostReason, Outcome, Phase, Reply, Request};

use crate::harness::{World, is_running, line_in, parent_of, script, spec, until};

const LOST: Outcome = Outcome::Lost { reason: LostReason::EndedUnwatched };

#[test]
fn exits_are_told_to_every_new_connection_until_acknowledged() {
    let mut world = World::new();
    let mut agent = world.connect();
    agent.start(&script("quiet", "exit 3")).unwrap();
    drop(agent);
    let mut second = world.subscribe();
    let record = second.exit_of("quiet");
    drop(second);
    let mut third = world.subscribe();
    assert_eq!(third.exit_of("quiet"), record);
    third.acknowledge("quiet");
    drop(third);
    let mut fourth = world.subscribe();
    assert_eq!(fourth.list(), []);
    assert_eq!(fourth.events(), []);
    drop(fourth);
    world.kill_supervisor();
    world.start();
    assert_eq!(world.connect().list(), [], "it stays gone");
}

/// A running task across a kill -9 of the supervisor; gives its record.
fn end_after_restart(world: &mut World, end: &str) -> muster_supervisor::ExitRecord {
    let mut agent = world.connect();
    let mut task = script("survivor", &format!("echo up; while [ ! -e go ]; do sleep 0.01; done; {end}"));
    task.cwd = world.path("");
    task.stdout = Some(world.path("out"));
    let pid = agent.start(&task).unwrap();
    line_in(&world.path("out"));
    world.kill_supervisor();
    assert!(is_running(pid));
    world.start();
    let mut agent = world.subscribe();
    let tasks = agent.list();
    assert_eq!((tasks.len(), tasks[0].pid, tasks[0].phase), (1, pid, Phase::Running));
    fs::write(world.path("go"), "").unwrap();
    agent.exit_of("survivor")
}

#[test]
fn a_task_outlives_a_killed_supervisor_and_its_exit_code_is_not_lost() {
    let mut world = World::new();
    assert!(world.connect().probe().late_exit_status);
    let record = end_after_restart(&mut world, "exit 23");
    assert_eq!((record.outcome, record.ended_by), (Outcome::Exited { code: 23 }, EndedBy::Itself));
    assert!(record.usage.peak_memory_bytes.is_none_or(|bytes| bytes > 0));
}

#[test]
fn a_task_outlives_a_killed_supervisor_also_without_groups() {
    let mut world = World::without_groups();
    let record = end_after_restart(&mut world, "kill -11 $$");
    assert_eq!(record.outcome, Outcome::Signaled { signal: 11, core_dumped: false });
}

#[test]
fn a_taken_over_task_is_still_killed_on_request_with_all_it_started() {
    let mut world = World::new();
    let mut agent = world.connect();
    let mut task = script("held", "setsid sh -c 'trap \"\" TERM; echo $$; while :; do sleep 0.1; done'");
    task.stdout = Some(world.path("out"));
    agent.start(&task).unwrap();
    let stubborn: i32 = line_in(&world.path("out")).parse().unwrap();
    world.kill_supervisor();
    world.start();
    let mut agent = world.subscribe();
    agent.kill("held", "drain", 50).unwrap();
    let record = agent.exit_of("held");
    assert_eq!(record.ended_by, EndedBy::Requested { reason: "drain".into() });
    assert!(!is_running(stubborn));
}

#[test]
fn deadlines_go_on_across_a_restart() {
    let mut world = World::new();
    let mut agent = world.connect();
    let mut limited = script("limited", "trap '' TERM; echo up; while :; do sleep 0.01; done");
    limited.limits.wall_clock_ms = Some(400);
    limited.grace_ms = 200;
    limited.stdout = Some(world.path("out"));
    agent.start(&limited).unwrap();
    let mut told = script("told", "trap '' TERM; echo up; while :; do sleep 0.01; done");
    told.stdout = Some(world.path("out2"));
    agent.start(&told).unwrap();
    line_in(&world.path("out"));
    line_in(&world.path("out2"));
    agent.kill("told", "why", 300).unwrap();
    world.kill_supervisor();
    world.start();
    let mut agent = world.subscribe();
    assert_eq!(agent.exit_of("limited").ended_by, EndedBy::WallClock);
    assert_eq!(agent.exit_of("told").ended_by, EndedBy::Requested { reason: "why".into() });
}

#[test]
fn a_memory_limit_is_watched_across_a_restart() {
    let mut world = World::new();
    let mut agent = world.connect();
    if !agent.probe().memory {
        return crate::harness::skip("no memory controller");
    }
    let mut task =
        script("hog", "echo up; while [ ! -e go ]; do sleep 0.01; done; tail /dev/zero; sleep 1000");
    task.limits.memory_bytes = Some(32 << 20);
    task.cwd = world.path("");
    task.stdout = Some(world.path("out"));
    agent.start(&task).unwrap();
    line_in(&world.path("out"));
    world.kill_supervisor();
    world.start();
    let mut agent = world.subscribe();
    fs::write(world.path("go"), "").unwrap();
    assert_eq!(agent.exit_of("hog").ended_by, EndedBy::OutOfMemory);
}

/// A task that leaves a daemon and ends while no supervisor runs, with what is done to it meanwhile; gives its record.
fn end_unwatched(world: &mut World, meanwhile: impl FnOnce(&World, i32)) -> muster_supervisor::ExitRecord {
    let mut agent = world.connect();
    let mut task =
        script("unseen", "setsid sleep 1000 & echo $!; while [ ! -e go ]; do sleep 0.01; done; exit 21");
    task.cwd = world.path("");
    task.stdout = Some(world.path("out"));
    let pid = agent.start(&task).unwrap();
    let daemon: i32 = line_in(&world.path("out")).parse().unwrap();
    let keeper = parent_of(pid);
    world.kill_supervisor();
    meanwhile(world, keeper);
    world.start();
    let record = world.subscribe().exit_of("unseen");
    assert!(record.started_at_us.is_some());
    assert!(!is_running(daemon));
    record
}

#[test]
fn a_task_that_ends_while_no_supervisor_runs_is_told_with_its_exit_code_and_its_daemon_swept() {
    for mut world in [World::new(), World::without_groups()] {
        let record = end_unwatched(&mut world, |world, keeper| {
            fs::write(world.path("go"), "").unwrap();
            until("the keeper has ended", || !is_running(keeper));
        });
        assert_eq!((record.outcome, record.ended_by), (Outcome::Exited { code: 21 }, EndedBy::Itself));
        assert!(
            record.usage.user_cpu_us.is_some()
                && record.usage.peak_memory_bytes.is_some_and(|bytes| bytes > 0)
        );
    }
}

#[test]
fn a_task_whose_keeper_somebody_kills_while_no_supervisor_runs_is_lost_and_swept() {
    let mut world = World::new();
    if world.groups().is_empty() {
        return crate::harness::skip("without groups nobody knows what a killed keeper kept");
    }
    let record = end_unwatched(&mut world, |_, keeper| {
        let pid = nix::unistd::Pid::from_raw(keeper);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
        // Until it is reaped by its new parent, its status could still be read.
        let process = PathBuf::from(format!("/proc/{keeper}"));
        until("the keeper is reaped", || !process.exists());
    });
    assert_eq!((record.outcome, record.ended_by), (LOST, EndedBy::Itself));
}

#[test]
fn a_keeper_is_no_more_than_that() {
    let world = World::new();
    let mut agent = world.subscribe();
    let pid = agent.start(&spec("kept", &["sleep", "1000"])).unwrap();
    let keeper = parent_of(pid);
    let of = |file: &str| fs::read_to_string(format!("/proc/{keeper}/{file}")).unwrap();
    assert_eq!(of("comm"), "muster-keeper\n");
    assert_eq!(of("cmdline").trim_end_matches('\0'), "muster-keeper kept");
    let held: Vec<_> = fs::read_dir(format!("/proc/{keeper}/fd"))
        .unwrap()
        .map(|entry| fs::read_link(entry.unwrap().path()).unwrap())
        .collect();
    assert_eq!(held[0], fs::canonicalize(world.state()).unwrap().join("exits"));
    // Beside the slots, which hold the lease, too: where it kills its task's group.
    assert!(held.len() <= 2 && held[1..].iter().all(|held| world.groups().contains(held)), "{held:?}");
    for group in of("cgroup").lines() {
        assert!(!group.contains("task-kept"), "it stays out of the task's groups: {group}");
    }
    // Whatever else it is sent: only SIGKILL and SIGSTOP cannot be blocked.
    for signal in nix::sys::signal::Signal::iterator() {
        use nix::sys::signal::Signal::{SIGKILL, SIGSTOP};
        if ![SIGKILL, SIGSTOP].contains(&signal) {
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(keeper), signal).unwrap();
        }
    }
    let rollup = of("smaps_rollup");
    let kib = |name: &str| -> u64 {
        let line = rollup.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
    };
    println!(
        "a keeper: {} KiB resident, {} KiB its share, {} KiB its own",
        kib("Rss:"),
        kib("Pss:"),
        kib("Private_Dirty:")
    );
    assert!(kib("Private_Dirty:") < 512, "{rollup}");
    agent.kill("kept", "enough", 0).unwrap();
    assert_eq!(agent.exit_of("kept").outcome, Outcome::Signaled { signal: 9, core_dumped: false });
    until("the keeper is gone", || !is_running(keeper));
}

#[test]
fn a_start_that_the_supervisors_end_interrupts_executes_nothing() {
    let mut world = World::new();
    let mut agent = world.connect();
    let mut task = script("cut", "echo executed");
    task.stdout = Some(world.path("out"));
    // Whatever the instant: either nothing was executed and it says so, or it ran and its end is told.
    let mut told = std::collections::BTreeMap::new();
    for round in 0..30_u32 {
        task.key = format!("cut-{round}").parse().unwrap();
        let out = world.path(&format!("out-{round}"));
        task.stdout = Some(out.clone());
        agent.post(&Request::Start(Box::new(task.clone())));
        let pause = std::time::Duration::from_micros(u64::from(round) * 60);
        let begun = std::time::Instant::now();
        while begun.elapsed() < pause {
            std::hint::spin_loop();
        }
        world.kill_supervisor();
        world.start();
        agent = world.subscribe();
        if agent.list().is_empty() {
            assert!(!out.exists(), "round {round}: it was executed and nobody knows");
            *told.entry("never heard of").or_insert(0) += 1;
            continue;
        }
        let record = agent.exit_of(task.key.as_str());
        let wrote = fs::read_to_string(&out).unwrap_or_default();
        match record.outcome {
            Outcome::Exited { code: 0 } => {
                assert_eq!(wrote, "executed\n", "round {round}");
                *told.entry("ran").or_insert(0) += 1;
            }
            Outcome::Lost { reason: LostReason::LaunchInterrupted } => {
                assert_eq!(wrote, "", "round {round}");
                *told.entry("interrupted").or_insert(0) += 1;
            }
            other @ (Outcome::Exited { .. } | Outcome::Signaled { .. } | Outcome::Lost { .. }) => {
                panic!("round {round}: {other:?}, wrote {wrote:?}")
            }
        }
        agent.acknowledge(task.key.as_str());
    }
    println!("{told:?}");
}

#[test]
fn a_polite_stop_leaves_tasks_running_for_the_next_supervisor() {
    let mut world = World::new();
    let mut agent = world.connect();
    let pid = agent.start(&spec("stays", &["sleep", "1000"])).unwrap();
    assert_eq!(agent.call(&Request::Shutdown { kill_tasks: false }), Ok(Reply::Stopping));
    assert!(world.wait_for_exit().success());
    assert!(is_running(pid));
    assert!(!world.state().join(muster_supervisor::SOCKET_NAME).exists());
    world.start();
    let supervisor = nix::unistd::Pid::from_raw(world.pid().try_into().unwrap());
    nix::sys::signal::kill(supervisor, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert!(world.wait_for_exit().success());
    assert!(is_running(pid));
    world.start();
    let mut agent = world.subscribe();
    agent.kill("stays", "enough", 0).unwrap();
    agent.exit_of("stays");
}

#[test]
fn an_ended_attempt_is_told_after_a_restart_with_its_exit_code() {
    let mut world = World::new();
    let mut agent = world.subscribe();
    let record = agent.run(&script("done", "exit 9"));
    world.kill_supervisor();
    world.start();
    assert_eq!(world.subscribe().exit_of("done"), record);
}

fn accepted(key: &str, boot_id: &str) -> String {
    let field = |name: &str, value: &str| format!("{name} {}:{value}\n", value.len());
    let fields = [field("key", key), field("boot_id", boot_id), field("accepted_at_us", "5")].concat();
    format!("muster-attempt 1\n{fields}end 0:\n")
}

/// A `muster-started` of a key of three letters and a process id that is none.
fn started(key: &str) -> String {
    let rest = "pid 7:4000000\nstart_ticks 1:1\nstarted_at_us 1:6\nstarted_monotonic_us 1:7\nend 0:\n";
    format!("muster-started 1\nkey 3:{key}\n{rest}")
}

#[test]
fn what_an_earlier_boot_or_a_crash_left_is_told_as_lost() {
    let mut world = World::new();
    world.kill_supervisor();
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let boot_id = boot_id.trim();
    let journal = [
        accepted("old", "another-boot"),
        started("old"),
        accepted("gap", boot_id),
        started("gap"),
        accepted("cut", boot_id),
        // A crash in the middle of a write.
        started("cut")[..40].to_owned(),
    ];
    fs::write(world.state().join("journal"), journal.concat()).unwrap();
    world.start();
    let mut agent = world.subscribe();
    assert_eq!(agent.exit_of("old").outcome, Outcome::Lost { reason: LostReason::Rebooted });
    assert_eq!(agent.exit_of("gap").outcome, LOST);
    assert_eq!(agent.exit_of("cut").outcome, Outcome::Lost { reason: LostReason::LaunchInterrupted });
    // What is appended behind the cut can be read again.
    let record = agent.run(&script("new", "exit 2"));
    world.kill_supervisor();
    world.start();
    let mut agent = world.subscribe();
    assert_eq!(agent.list().len(), 4);
    assert_eq!(agent.exit_of("new"), record);
}

#[test]
fn a_journal_of_a_later_build_is_left_for_it() {
    let mut world = World::new();
    world.kill_supervisor();
    let path = world.state().join("journal");
    fs::write(&path, "muster-attempt 9\nend 0:\n").unwrap();
    let refused = world.command().output().unwrap();
    let words = String::from_utf8(refused.stderr).unwrap();
    assert!(refused.status.code() == Some(1) && words.contains("was written by a later build"), "{words}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "muster-attempt 9\nend 0:\n");
    fs::remove_file(path).unwrap();
}

#[test]
fn a_damaged_journal_is_kept_aside_and_what_can_be_read_of_it_is_told() {
    let mut world = World::new();
    world.kill_supervisor();
    let journal = accepted("old", "another-boot") + "\0\0\0\0 zeroes as after a power failure";
    fs::write(world.state().join("journal"), &journal).unwrap();
    world.start();
    let record = world.subscribe().exit_of("old");
    assert_eq!(record.outcome, Outcome::Lost { reason: LostReason::Rebooted });
    assert_eq!(fs::read_to_string(world.state().join("journal.damaged")).unwrap(), journal);
}

#[test]
fn a_long_journal_is_rewritten_and_forgets_nothing_that_is_held() {
    let mut world = World::new();
    let mut agent = world.subscribe();
    let pid = agent.start(&spec("kept", &["sleep", "1000"])).unwrap();
    let record = agent.run(&script("ended", "exit 5"));
    let journal = world.state().join("journal");
    let size = || fs::metadata(&journal).unwrap().len();
    // The longest reason is twice in the journal, so these attempts fill it to twice the size at which it is
    // rewritten.
    let reason = "because ".repeat(512);
    let mut largest = 0;
    for number in 0..256 {
        let key = format!("passing-{number}");
        agent.start(&spec(&key, &["sleep", "1000"])).unwrap();
        agent.kill(&key, &reason, 0).unwrap();
        agent.exit_of(&key);
        agent.acknowledge(&key);
        largest = largest.max(size());
    }
    assert!((1 << 19..1 << 21).contains(&largest) && size() < 3 << 19, "{largest}, {}", size());
    world.kill_supervisor();
    world.start();
    let mut agent = world.subscribe();
    assert_eq!(agent.exit_of("ended"), record);
    let running: Vec<_> = agent.list().into_iter().filter(|task| task.phase == Phase::Running).collect();
    assert_eq!((running.len(), running[0].pid), (1, pid));
}

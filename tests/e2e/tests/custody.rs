//! kill -9 of the agent, of its supervisor, of both, and the upgrade of both, in each phase of a task: it goes on, and its exit
//! code, cause and output are reported once.
//!
//! A phase is held by something that the test opens: a gate file, a download that has not been answered, a controller that is
//! stopped while an upload needs it. What cannot be held (a launch, a clean-up) is met by killing again and again while short
//! tasks flow. The controller's own deaths are in `crash.rs`.

use anyhow::{Context, ensure};
use muster_e2e::http_server::HttpServer;
use muster_e2e::leftovers::Leftovers;
use muster_e2e::machine::{Need, has};
use muster_e2e::split::Split;
use muster_e2e::user::{number, script_task, word};
use muster_e2e::wait::{SOON, WORK, when};
use muster_e2e::work::{cause, with};
use muster_e2e::{Cluster, wait_until};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Instant;

/// What is done to the daemons of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blow {
    Agent,
    Supervisor,
    Both,
    Upgrade,
}

const BLOWS: [Blow; 4] = [Blow::Agent, Blow::Supervisor, Blow::Both, Blow::Upgrade];

impl Blow {
    /// Strikes node 0. Its agent may be dead afterwards: `recover` follows.
    fn strike(self, cluster: &mut Split) -> anyhow::Result<()> {
        match self {
            Self::Agent => cluster.kill_agent(0),
            Self::Supervisor => cluster.kill_supervisor(0),
            // The agent first, or it would start another supervisor in between.
            Self::Both => cluster.kill_agent(0).and_then(|()| cluster.kill_supervisor(0)),
            Self::Upgrade => cluster.stop_agent(0),
        }
    }

    /// Starts again what was struck.
    fn recover(self, cluster: &mut Split) -> anyhow::Result<()> {
        match self {
            Self::Agent | Self::Both => cluster.start_agent(0),
            // Its agent sees to that.
            Self::Supervisor => Ok(()),
            Self::Upgrade => {
                let before = cluster.supervisor(0).context("no supervisor to replace")?;
                cluster.new_build()?;
                cluster.start_agent(0)?;
                let replaced = || Ok(when(cluster.supervisor(0).is_some_and(|now| now != before)));
                wait_until(SOON, "the supervisor of the new build", replaced)
            }
        }
    }

    fn strike_and_recover(self, cluster: &mut Split) -> anyhow::Result<()> {
        self.strike(cluster)?;
        self.recover(cluster)
    }
}

/// Runs a story for each blow, each on a cluster of its own.
fn for_each_blow(story: impl Fn(Blow, &mut Split) -> anyhow::Result<()>) -> anyhow::Result<()> {
    for blow in BLOWS {
        let mut cluster = Cluster::new().split()?;
        story(blow, &mut cluster).with_context(|| format!("{blow:?}"))?;
        cluster.still_works().with_context(|| format!("after {blow:?}"))?;
    }
    Ok(())
}

/// The task ended in its first attempt with exit code 7 and both outputs whole.
fn ensure_intact(cluster: &Split, job: &str, task: &str) -> anyhow::Result<()> {
    cluster.wait_for_task(job, task, "completed")?;
    let shown = cluster.shown(job, task)?;
    ensure!(number(&shown, "/execution_info/exit_code") == Some(7), "{shown}");
    ensure!(number(&shown, "/attempt") == Some(1) && cause(&shown) == "EXIT_CODE", "{shown}");
    ensure!(cluster.ok(&["task", "logs", job, task])? == "said\nlast\n");
    ensure!(cluster.ok(&["task", "logs", job, task, "--stderr"])? == "complained\n");
    cluster.ensure_each_once(1)
}

/// A task that says something, waits for the gate, says more, and exits with 7.
fn talker(cluster: &Split, id: &str) -> Value {
    let (started, ledger) = (cluster.shared("started"), cluster.shared("ledger"));
    let wait = cluster.until_open("gate");
    script_task(
        id,
        &format!(
            "echo said; echo complained >&2; echo {id} >> {started}; {wait}; echo last; echo {id} >> {ledger}; exit 7"
        ),
    )
}

#[test]
fn running_task_outlives_every_death_and_upgrade_of_its_daemons() -> anyhow::Result<()> {
    for_each_blow(|blow, cluster| {
        cluster.job("j", &[talker(cluster, "t")])?;
        cluster.wait_for_lines("started", 1, SOON)?;
        cluster.wait_for_task("j", "t", "running")?;
        blow.strike_and_recover(cluster)?;
        cluster.wait_for_nodes("default", 1)?;
        cluster.open("gate")?;
        ensure_intact(cluster, "j", "t")
    })
}

#[test]
fn task_that_ends_while_nobody_looks_is_reported_with_its_exit_code() -> anyhow::Result<()> {
    for_each_blow(|blow, cluster| {
        cluster.job("j", &[talker(cluster, "t")])?;
        cluster.wait_for_lines("started", 1, SOON)?;
        cluster.wait_for_task("j", "t", "running")?;
        blow.strike(cluster)?;
        cluster.open("gate")?;
        cluster.wait_for_lines("ledger", 1, SOON)?;
        blow.recover(cluster)?;
        ensure_intact(cluster, "j", "t")
    })
}

#[test]
fn out_of_memory_is_recognised_although_nobody_looked() -> anyhow::Result<()> {
    if !has("out_of_memory_is_recognised_although_nobody_looked", &[Need::Root, Need::Cgroups]) {
        return Ok(());
    }
    for_each_blow(|blow, cluster| {
        let (started, gate) = (cluster.shared("started"), cluster.until_open("gate"));
        let dead = cluster.shared("dead");
        let hog = "python3 -c 'a = bytearray(400 << 20); print(len(a))'";
        let task = script_task(
            "t",
            &format!(
                "echo t >> {started}; {gate}; {hog}; echo t >> {dead}; sleep 20; echo not reached; sleep 600"
            ),
        );
        let task = with(task, &json!({ "resources": { "memory_bytes": 64 << 20 } }));
        cluster.job("j", &[task])?;
        cluster.wait_for_lines("started", 1, SOON)?;
        blow.strike(cluster)?;
        cluster.open("gate")?;
        if blow == Blow::Both {
            // One process is dead already when the next supervisor comes (cgroup v2 ends all of them).
            wait_until(SOON, "the kernel to kill", || {
                let all_dead =
                    Leftovers::of(cluster.folder()).processes.values().all(|words| !words.contains("sh -c"));
                Ok(when(all_dead || !cluster.shared_lines("dead").is_empty()))
            })?;
        }
        blow.recover(cluster)?;
        let shown = cluster.completed("j", "t")?;
        ensure!(cause(&shown) == "OUT_OF_MEMORY", "{shown}");
        // cgroup v1 kills one process, and a supervisor the rest: at once, or when the next one looks.
        let said = cluster.ok(&["task", "logs", "j", "t"])?;
        ensure!(said.is_empty(), "the whole task ends, not one process: {said}");
        Ok(())
    })
}

#[test]
fn task_in_staging_is_staged_and_run_after_every_blow() -> anyhow::Result<()> {
    for_each_blow(|blow, cluster| {
        let server = HttpServer::start(&[("/held", b"content"), ("/open", b"open")])?;
        server.hold("/held");
        let script = format!("cat input; echo t >> {}", cluster.shared("ledger"));
        let task = with(
            script_task("t", &script),
            &json!({ "resource_files": [{ "http_url": server.url("/held"), "file_path": "input" }] }),
        );
        cluster.job("j", &[task])?;
        wait_until(SOON, "the download to begin", || Ok(when(server.held() > 0)))?;
        blow.strike_and_recover(cluster)?;
        server.release();
        let shown = cluster.completed("j", "t")?;
        ensure!(number(&shown, "/execution_info/exit_code") == Some(0), "{shown}");
        ensure!(cluster.ok(&["task", "logs", "j", "t"])? == "content");
        cluster.ensure_each_once(1)
    })
}

#[test]
fn upload_that_was_cut_is_made_again_and_published_once() -> anyhow::Result<()> {
    for_each_blow(|blow, cluster| {
        let ledger = cluster.shared("ledger");
        // As large as takes several chunks.
        let script = format!("head -c 8000000 /dev/zero > big; echo t >> {ledger}");
        let output = json!({ "output_files": [{
            "file_pattern": "big",
            "file_store": { "container": "out", "path": "big" },
            "upload_condition": "UPLOAD_CONDITION_TASK_SUCCESS",
        }] });
        cluster.job("j", &[])?;
        cluster.add_tasks("j", &[with(talker(cluster, "first"), &json!({}))])?.ok()?;
        cluster.wait_for_lines("started", 1, SOON)?;
        cluster.add_tasks("j", &[with(script_task("t", &script), &output)])?.ok()?;
        // From here on the controller answers nothing: what has run cannot be uploaded or reported.
        wait_until(SOON, "the task to be placed", || Ok(when(cluster.task_state("j", "t")? != "active")))?;
        cluster.controller()?.signal(Signal::SIGSTOP)?;
        cluster.wait_for_lines("ledger", 1, SOON)?;
        let struck = blow.strike_and_recover(cluster);
        cluster.controller()?.signal(Signal::SIGCONT)?;
        struck?;
        cluster.open("gate")?;
        let shown = cluster.completed("j", "t")?;
        ensure!(
            number(&shown, "/execution_info/exit_code") == Some(0) && cause(&shown).is_empty(),
            "{shown}"
        );
        let path = cluster.path("fetched").to_string_lossy().into_owned();
        cluster.ok(&["file", "get", "out/big", &path]).with_context(|| shown.to_string())?;
        ensure!(std::fs::metadata(&path)?.len() == 8_000_000, "the file is whole");
        cluster.wait_for_task("j", "first", "completed")?;
        cluster.ensure_each_once(2)
    })
}

/// Launches, exits and clean-ups are too short to be held: they are met by chance, many times. The second round has the ids
/// of the first, so that each of its tasks clears a directory away.
#[test]
fn tasks_that_flow_under_a_hail_of_blows_each_end_once() -> anyhow::Result<()> {
    const TASKS: usize = 60;
    for blow in [Blow::Agent, Blow::Supervisor, Blow::Both] {
        let mut cluster = Cluster::new().split()?;
        for round in ["first", "second"] {
            let ledger = cluster.shared(round);
            let task =
                |id: usize| script_task(&id.to_string(), &format!("echo {id} >> {ledger}; exit {}", id % 5));
            cluster.job("flow", &(0..TASKS).map(task).collect::<Vec<_>>())?;
            for lines in [1, 15, 30, 45] {
                cluster.wait_for_lines(round, lines, WORK)?;
                blow.strike_and_recover(&mut cluster)?;
            }
            // Some tasks are meant to fail.
            cluster.muster(&["job", "wait", "flow"])?;
            ensure_flow(&cluster, round, TASKS).with_context(|| format!("{blow:?}, {round} round"))?;
            cluster.ok(&["job", "delete", "flow"])?;
            let gone = || Ok(when(!cluster.muster(&["job", "show", "flow"])?.status.success()));
            wait_until(SOON, "the job to be gone", gone)?;
        }
        ensure_clean(&cluster).with_context(|| format!("{blow:?}"))?;
    }
    Ok(())
}

/// Every task is completed. One that ran to its end has its own exit code and one line; one that was cut off at its launch
/// says so, and is not run a second time unless it may be.
fn ensure_flow(cluster: &Split, ledger: &str, count: usize) -> anyhow::Result<()> {
    let mut lines: BTreeMap<String, usize> = BTreeMap::new();
    for line in cluster.shared_lines(ledger) {
        *lines.entry(line).or_default() += 1;
    }
    let tasks = cluster.list(&["task", "list", "flow"])?;
    ensure!(tasks.len() == count, "{} of {count} tasks", tasks.len());
    let mut cut = 0;
    for task in &tasks {
        let id = task.pointer("/id").and_then(Value::as_str).context("a task without an id")?;
        ensure!(word(task, "/state").as_deref() == Some("completed"), "{task}");
        let ran = lines.get(id).copied().unwrap_or(0);
        let attempts = number(task, "/attempt").unwrap_or(0);
        ensure!(i64::try_from(ran)? <= attempts, "task {id} ran {ran} times in {attempts} attempts");
        let wanted = id.parse::<i64>()? % 5;
        match number(task, "/execution_info/exit_code") {
            Some(code) => ensure!(code == wanted && ran >= 1, "task {id} exits with {code}, ran {ran} times"),
            None => cut += 1,
        }
    }
    eprintln!("{cut} of {count} tasks were cut off at their launch");
    ensure!(cut <= 8, "{cut} tasks were cut off: more than blows and slots");
    Ok(())
}

/// Neither processes of tasks stay nor what was cleared away for them.
fn ensure_clean(cluster: &Split) -> anyhow::Result<()> {
    let daemon = |words: &str| {
        ["muster-agent", "muster-supervisor", "muster-controller"].iter().any(|name| words.contains(name))
    };
    wait_until(SOON, "the tasks' processes to go", || {
        Ok(when(Leftovers::of(cluster.folder()).processes.values().all(|words| daemon(words))))
    })?;
    let trash = cluster.agent_root(0).join("trash");
    let left = || std::fs::read_dir(&trash).map(Iterator::count);
    wait_until(SOON, "the trash to be emptied", || Ok(when(left()? == 0)))
}

#[test]
fn two_hundred_and_fifty_six_running_tasks_are_taken_back_within_a_second() -> anyhow::Result<()> {
    const TASKS: usize = 256;
    let mut cluster = Cluster::new().slots(256).split()?;
    // They look at the gate seldom, or looking would be all that this machine does.
    let (started, ledger, gate) =
        (cluster.shared("started"), cluster.shared("ledger"), cluster.shared("gate"));
    let script = |id: usize| {
        format!("echo {id} >> {started}; while [ ! -e {gate} ]; do sleep 2; done; echo {id} >> {ledger}")
    };
    let tasks: Vec<Value> = (0..TASKS).map(|id| script_task(&id.to_string(), &script(id))).collect();
    cluster.job("many", &tasks)?;
    cluster.wait_for_lines("started", TASKS, WORK)?;
    for blow in [Blow::Agent, Blow::Both] {
        blow.strike(&mut cluster)?;
        let log = cluster.agent_log(0);
        let begun = Instant::now();
        blow.recover(&mut cluster)?;
        let taken = || Ok(when(cluster.agent_log(0)[log.len()..].contains("re-attached")));
        wait_until(SOON, "the agent to have all tasks again", taken)?;
        let took = begun.elapsed();
        eprintln!("{TASKS} running tasks taken back after {blow:?} in {} ms", took.as_millis());
        // Debug builds on a busy machine; a release build does it in a fraction.
        ensure!(took.as_secs() < 5, "{blow:?}: {took:?}");
        cluster.wait_for_nodes("default", 1)?;
    }
    cluster.open("gate")?;
    let ended = cluster.muster(&["job", "wait", "many"])?;
    let failed = cluster.list(&["task", "list", "many"])?.into_iter().find(|task| !cause(task).is_empty());
    ensure!(failed.is_none(), "{ended}: {failed:?}");
    cluster.ensure_each_once(TASKS)
}

//! Tasks that mean harm or know no better: each is contained, named by its cause with limit and peak, and cleaned up, while its
//! node stays healthy and its neighbour, a task on the same node, notices nothing.
//!
//! Every test runs on one node with two slots: one for the hostile task, one for the neighbour that waits for a gate.

use anyhow::{Context, ensure};
use muster_e2e::leftovers::Leftovers;
use muster_e2e::machine::{Need, has};
use muster_e2e::split::Split;
use muster_e2e::user::{number, script_task, word};
use muster_e2e::wait::{SOON, WORK, when};
use muster_e2e::work::{cause, with};
use muster_e2e::{Cluster, wait_until};
use serde_json::{Value, json};
use std::time::Duration;

const MIB: u64 = 1 << 20;

/// A node with a neighbour on it.
struct Scene {
    cluster: Split,
}

impl Scene {
    fn new(agent_flags: &[&str]) -> anyhow::Result<Self> {
        Self::of(Cluster::new().agent_flags(agent_flags))
    }

    fn of(cluster: Cluster) -> anyhow::Result<Self> {
        let cluster = cluster.split()?;
        cluster.job("quiet", &[cluster.gated("neighbour", "gate")])?;
        cluster.wait_for_lines("started", 1, SOON)?;
        Ok(Self { cluster })
    }

    /// Runs a script beside the neighbour; how it is shown when it is completed.
    fn run(&self, id: &str, script: &str, fields: &Value) -> anyhow::Result<Value> {
        self.cluster.job(id, &[with(script_task("t", script), fields)])?;
        let what = format!("the end of the hostile task '{id}'");
        wait_until(WORK, &what, || Ok(when(self.cluster.task_state(id, "t")? == "completed")))?;
        self.cluster.shown(id, "t")
    }

    /// Requires that the node is well, nothing of the hostile tasks is left, and the neighbour ends as it should.
    fn ensure_unharmed(&self) -> anyhow::Result<()> {
        let node = self.cluster.list(&["node", "list", "default"])?;
        ensure!(word(&node[0], "/state").as_deref() == Some("running"), "{node:?}");
        let gate = self.cluster.shared("gate");
        let theirs = |words: &str| {
            let daemon = ["muster-agent", "muster-supervisor", "muster-controller"];
            // The neighbour is a shell that waits for its gate, and sleeps in between.
            !words.contains(&gate) && words != "sleep 0.02" && !daemon.iter().any(|name| words.contains(name))
        };
        let left = || -> Vec<String> {
            Leftovers::of(self.cluster.folder())
                .processes
                .into_values()
                .filter(|words| theirs(words))
                .collect()
        };
        wait_until(SOON, "the hostile task's processes to be gone", || Ok(when(left().is_empty())))
            .with_context(|| format!("{:?}", left()))?;
        self.cluster.open("gate")?;
        let shown = self.cluster.completed("quiet", "neighbour")?;
        ensure!(number(&shown, "/execution_info/exit_code") == Some(0), "the neighbour: {shown}");
        ensure!(number(&shown, "/attempt") == Some(1), "the neighbour: {shown}");
        self.cluster.still_works()
    }
}

/// A fact of a failure, by its name.
fn detail(shown: &Value, name: &str) -> anyhow::Result<u64> {
    let text = detail_text(shown, name)?;
    // Seconds have decimals.
    let whole = text.split('.').next().unwrap_or_default();
    whole.parse().with_context(|| format!("{name} is {text}"))
}

fn detail_text(shown: &Value, name: &str) -> anyhow::Result<String> {
    let details = shown.pointer("/execution_info/failure_info/details").and_then(Value::as_array);
    let found = details.into_iter().flatten().find(|pair| pair["name"] == name);
    let text =
        found.and_then(|pair| pair["value"].as_str()).with_context(|| format!("no {name} in {shown}"))?;
    Ok(text.to_owned())
}

#[test]
fn fork_bomb_is_held_by_the_node_s_limit_although_it_asked_for_none() -> anyhow::Result<()> {
    if !has("fork_bomb", &[Need::Root, Need::Cgroups]) {
        return Ok(());
    }
    let scene = Scene::new(&["--set", "limits.pids_max=200"])?;
    let fields = json!({ "constraints": { "max_wall_clock_time": "3s" } });
    let shown = scene.run("bomb", "bomb() { bomb | bomb & wait; }; bomb", &fields)?;
    // Where the kernel does not count the peak there is no figure.
    let peak = shown.pointer("/usage/peak_processes").and_then(Value::as_u64).unwrap_or(0);
    ensure!(peak <= 200, "{shown}");
    // One that gives up by itself says what it ran into.
    let script = "n=0; while [ $n -lt 400 ]; do sleep 600 & n=$((n+1)); done; exit 3";
    let shown = scene.run("many", script, &json!({}))?;
    ensure!(number(&shown, "/execution_info/exit_code") != Some(0), "{shown}");
    ensure!(detail(&shown, "process_limit")? == 200 && detail(&shown, "process_limit_hits")? > 0, "{shown}");
    scene.ensure_unharmed()
}

#[test]
fn memory_hog_of_many_processes_dies_as_a_whole_with_its_limit_and_peak() -> anyhow::Result<()> {
    if !has("memory_hog", &[Need::Root, Need::Cgroups]) {
        return Ok(());
    }
    let scene = Scene::new(&[])?;
    let marker = scene.cluster.shared("survivors");
    let hog = "python3 -c 'import time; a = bytearray(30 << 20); time.sleep(600)'";
    // Each process is modest; together they are not. Whoever is not killed would leave a mark.
    let script = format!("for i in 1 2 3 4 5 6; do {{ {hog}; echo $i >> {marker}; }} & done; wait; exit 0");
    let shown = scene.run("hog", &script, &json!({ "resources": { "memory_bytes": 64 * MIB } }))?;
    ensure!(cause(&shown) == "OUT_OF_MEMORY", "{shown}");
    ensure!(detail(&shown, "limit_bytes")? == 64 * MIB, "{shown}");
    let peak = detail(&shown, "peak_bytes")?;
    ensure!((48 * MIB..=65 * MIB).contains(&peak), "peak {peak}: {shown}");
    ensure!(scene.cluster.shared_lines("survivors").is_empty(), "the whole task ends, not one process of it");
    scene.ensure_unharmed()
}

#[test]
fn disk_filler_is_ended_at_its_limit_by_every_means_that_the_node_has() -> anyhow::Result<()> {
    if !has("disk_filler", &[Need::Root]) {
        return Ok(());
    }
    for means in ["auto", "loop", "tmpfs", "watch"] {
        let scene = Scene::new(&["--set", &format!("disk_limit={means}")])?;
        let fields = json!({ "resources": { "disk_bytes": 32 * MIB } });
        // It does not even look whether it succeeds.
        let script = "while :; do head -c 1000000 /dev/zero >> junk; sleep 0.01; done 2> /dev/null";
        let shown = scene.run("filler", script, &fields).with_context(|| means.to_owned())?;
        ensure!(cause(&shown) == "DISK_FULL", "{means}: {shown}");
        ensure!(detail(&shown, "limit_bytes")? == 32 * MIB, "{means}: {shown}");
        let peak = detail(&shown, "peak_bytes")?;
        ensure!(peak > 24 * MIB, "{means}: peak {peak}");
        ensure!(means == "watch" || peak <= 33 * MIB, "{means}: peak {peak}");
        // One that keeps within it is left alone, and its files can be read afterwards.
        let script = "head -c 8000000 /dev/zero > junk; echo done";
        let shown = scene.run("modest", script, &fields)?;
        ensure!(number(&shown, "/execution_info/exit_code") == Some(0), "{means}: {shown}");
        ensure!(scene.cluster.ok(&["task", "logs", "modest", "t"])? == "done\n", "{means}");
        scene.ensure_unharmed().with_context(|| means.to_owned())?;
    }
    Ok(())
}

#[test]
fn flood_of_output_ends_at_the_disk_limit_and_its_beginning_can_be_read() -> anyhow::Result<()> {
    if !has("flood", &[Need::Root]) {
        return Ok(());
    }
    let scene = Scene::new(&[])?;
    let fields = json!({ "resources": { "disk_bytes": 32 * MIB } });
    let shown = scene.run("flood", "echo first; exec yes", &fields)?;
    ensure!(cause(&shown) == "DISK_FULL", "{shown}");
    ensure!(detail(&shown, "peak_bytes")? > 24 * MIB, "{shown}");
    let head = scene.cluster.ok(&["task", "logs", "flood", "t"])?;
    ensure!(head.starts_with("first\ny\n"), "{}", &head[..head.len().min(100)]);
    scene.ensure_unharmed()
}

#[test]
fn flood_without_a_limit_is_ended_before_the_node_s_disk_is_full() -> anyhow::Result<()> {
    if !has("unlimited_flood", &[Need::Root]) {
        return Ok(());
    }
    let flags = ["--set", "disk_reserve=64M"];
    let scene = Scene::of(Cluster::new().agent_disk(256).agent_flags(&flags))?;
    let shown = scene.run("flood", "while :; do head -c 1000000 /dev/zero; sleep 0.05; done", &json!({}))?;
    ensure!(cause(&shown) == "DISK_FULL", "{shown}");
    // Once its files are gone the node recovers by itself.
    scene.cluster.ok(&["task", "delete", "flood", "t"])?;
    wait_until(WORK, "the node to recover", || {
        let nodes = scene.cluster.list(&["node", "list", "default"])?;
        Ok(when(word(&nodes[0], "/state").as_deref() == Some("running")))
    })?;
    scene.ensure_unharmed()
}

#[test]
fn whoever_ignores_sigterm_is_killed_after_the_grace_and_the_times_are_told() -> anyhow::Result<()> {
    let scene = Scene::new(&[])?;
    let script = "trap 'echo warned' TERM INT HUP; while :; do sleep 0.05; done";
    let shown = scene.run("deaf", script, &json!({ "constraints": { "max_wall_clock_time": "1s" } }))?;
    ensure!(cause(&shown) == "WALL_CLOCK", "{shown}");
    ensure!(detail(&shown, "limit_seconds")? == 1 && detail(&shown, "elapsed_seconds")? >= 5, "{shown}");
    ensure!(scene.cluster.ok(&["task", "logs", "deaf", "t"])?.contains("warned"), "it was asked first");
    scene.ensure_unharmed()
}

#[test]
fn daemon_that_forks_twice_does_not_outlive_its_task() -> anyhow::Result<()> {
    let scene = Scene::new(&[])?;
    let (born, beats) = (scene.cluster.shared("born"), scene.cluster.shared("beats"));
    let program = format!(
        "import os, time\n\
         if os.fork(): os._exit(0) if not os.path.exists('{born}') else None\n\
         os.setsid()\n\
         if os.fork(): os._exit(0)\n\
         open('{born}', 'w').close()\n\
         while True:\n    open('{beats}', 'a').write('x\\n'); time.sleep(0.01)\n"
    );
    let path = scene.cluster.file("daemon.py", &program)?;
    scene.cluster.ok(&["file", "put", &path, "tools/daemon.py"])?;
    let fields = json!({ "resource_files": [
        { "file_store": { "container": "tools", "path": "daemon.py" }, "file_path": "daemon.py" }] });
    let wait = format!("python3 daemon.py; while [ ! -e {born} ]; do sleep 0.01; done; exit 0");
    let shown = scene.run("daemon", &wait, &fields)?;
    ensure!(number(&shown, "/execution_info/exit_code") == Some(0), "{shown}");
    let heart = scene.cluster.shared_lines("beats").len();
    ensure!(heart > 0, "the daemon never lived, so this test has shown nothing");
    scene.ensure_unharmed()?;
    ensure!(scene.cluster.shared_lines("beats").len() <= heart + 100, "the daemon lives on");
    Ok(())
}

#[test]
fn directory_replaced_by_a_link_to_etc_leads_nobody_astray() -> anyhow::Result<()> {
    if !has("symlink_swap", &[Need::Root]) {
        return Ok(());
    }
    let scene = Scene::new(&[])?;
    let script = "cd ..; rm -rf wd; mv wd elsewhere; rmdir elsewhere wd; ln -sfn /etc wd; ln -s /etc tmp/etc; \
                  rm -f stdout.txt; ln -s /etc/passwd stdout.txt; ls -ld wd; exit 0";
    let output = |pattern: &str, to: &str| {
        json!({ "file_pattern": pattern, "file_store": { "container": "loot", "path": to },
                "upload_condition": "UPLOAD_CONDITION_TASK_COMPLETION" })
    };
    let admin = json!({ "auto_user": { "scope": "AUTO_USER_SCOPE_TASK", "elevation_level": "ELEVATION_LEVEL_ADMIN" } });
    let etc = || -> anyhow::Result<usize> { Ok(std::fs::read_dir("/etc")?.count()) };
    let before = etc()?;
    for (id, user) in [("user", json!({})), ("admin", json!({ "user_identity": admin }))] {
        let fields = json!({ "output_files": [output("passwd", "a"), output("../stdout.txt", "b")] });
        scene.run(id, script, &with(fields, &user))?;
        for name in ["a", "b"] {
            let path = scene.cluster.path(&format!("{id}-{name}")).to_string_lossy().into_owned();
            let got = scene.cluster.muster(&["file", "get", &format!("loot/{name}"), &path])?;
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            ensure!(!text.contains("root:"), "{id}: a file of the node was published as '{name}': {got}");
        }
        let read = scene.cluster.muster(&["task", "logs", id, "t"])?;
        ensure!(!read.out().contains("root:"), "{id}: {read}");
        // A later task of the same name gets a directory of its own, and the old one is cleared away.
        scene.cluster.ok(&["task", "delete", id, "t"])?;
        let gone = || Ok(when(!scene.cluster.muster(&["task", "show", id, "t"])?.status.success()));
        wait_until(SOON, "the task to be gone", gone)?;
        scene.cluster.add_tasks(id, &[script_task("t", "test ! -e passwd && test ! -L ../wd")])?.ok()?;
        let shown = scene.cluster.completed(id, "t")?;
        ensure!(number(&shown, "/execution_info/exit_code") == Some(0), "{shown}");
        let trash = scene.cluster.agent_root(0).join("trash");
        wait_until(SOON, "the trash to be emptied", || Ok(when(std::fs::read_dir(&trash)?.count() == 0)))?;
    }
    ensure!(
        etc()? == before && std::fs::read_to_string("/etc/passwd")?.contains("root:"),
        "/etc was touched"
    );
    scene.ensure_unharmed()
}

/// How long a node may take to answer while its tasks do their worst.
const ANSWER: Duration = Duration::from_secs(10);

#[test]
fn node_answers_while_every_slot_is_hostile() -> anyhow::Result<()> {
    if !has("all_at_once", &[Need::Root, Need::Cgroups]) {
        return Ok(());
    }
    let cluster = Cluster::new().slots(4).agent_flags(&["--set", "limits.pids_max=100"]).split()?;
    let wall = json!({ "constraints": { "max_wall_clock_time": "5s" },
                       "resources": { "memory_bytes": 64 * MIB, "disk_bytes": 32 * MIB } });
    let scripts = [
        ("bomb", "bomb() { bomb | bomb & wait; }; bomb"),
        ("hog", "tail /dev/zero & tail /dev/zero & wait; sleep 600"),
        ("yes", "exec yes"),
        ("deaf", "trap '' TERM; while :; do :; done"),
    ];
    let tasks: Vec<Value> = scripts.iter().map(|(id, script)| with(script_task(id, script), &wall)).collect();
    cluster.job("all", &tasks)?;
    let begun = std::time::Instant::now();
    cluster.list(&["node", "list", "default"])?;
    ensure!(begun.elapsed() < ANSWER, "the node list took {:?}", begun.elapsed());
    cluster.muster(&["job", "wait", "all"])?;
    for (id, wanted) in [("hog", "OUT_OF_MEMORY"), ("yes", "DISK_FULL"), ("deaf", "WALL_CLOCK")] {
        let shown = cluster.shown("all", id)?;
        ensure!(cause(&shown) == wanted, "{id}: {shown}");
    }
    cluster.still_works()
}

#[test]
fn hundreds_of_busy_tasks_do_not_keep_a_node_from_its_lease() -> anyhow::Result<()> {
    if !has("busy", &[Need::Root, Need::Cgroups]) {
        return Ok(());
    }
    const TASKS: usize = 200;
    const LEASE: Duration = Duration::from_secs(5);
    let lease = LEASE.as_secs().to_string() + "s";
    let cluster = Cluster::new().slots(256).controller_flags(&["--lease-ttl", &lease]).split()?;
    let (started, rush, gate) = (cluster.shared("started"), cluster.shared("rush"), cluster.shared("gate"));
    // Calm until all have started, which takes a slow machine its time; then each starts a process fifty times a second.
    let script = |id: usize| {
        let until = |file: &str, pause: &str| format!("while [ ! -e {file} ]; do sleep {pause}; done");
        format!("echo {id} >> {started}; {}; {}", until(&rush, "1"), until(&gate, "0.02"))
    };
    let tasks: Vec<Value> = (0..TASKS).map(|id| script_task(&id.to_string(), &script(id))).collect();
    cluster.job("busy", &tasks)?;
    cluster.wait_for_lines("started", TASKS, WORK)?;
    cluster.open("rush")?;
    let begun = std::time::Instant::now();
    wait_until(WORK, "three leases to pass", || Ok(when(begun.elapsed() > LEASE * 3)))?;
    cluster.open("gate")?;
    let ended = cluster.muster(&["job", "wait", "busy"])?;
    let failed = cluster.list(&["task", "list", "busy"])?.into_iter().find(|task| !cause(task).is_empty());
    ensure!(failed.is_none(), "{ended}: {failed:?}");
    Ok(())
}

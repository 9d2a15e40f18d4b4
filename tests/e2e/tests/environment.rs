//! What a task finds around it: the variables of the reference (3.9), its directories (3.10), its files and their modes.
//!
//! Tasks say themselves what they see; the harness looks into a node's folder only to see that a directory is there.
//! Start tasks are tasks in this respect and are tested here too.

use anyhow::{Context, ensure};
use muster_e2e::user::{quoted, script_task};
use muster_e2e::wait::SOON;
use muster_e2e::{Cluster, HttpServer, User};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;

fn variables(text: &str) -> BTreeMap<String, String> {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn logs(cluster: &User, job: &str, task: &str) -> anyhow::Result<String> {
    cluster.wait_for_task(job, task, "completed")?;
    cluster.ok(&["task", "logs", job, task])
}

#[test]
fn task_has_the_variables_and_directories_of_the_reference() -> anyhow::Result<()> {
    let cluster = Cluster::new().dev()?;
    cluster.ok(&[
        "job",
        "create",
        "around",
        "--pool",
        "default",
        "--env",
        "COMMON=job",
        "--env",
        "BOTH=job",
    ])?;
    let task = json!({
        "id": "env",
        "command_line": "env",
        "environment_settings": [{ "name": "OWN", "value": "a b=c" }, { "name": "BOTH", "value": "task" }],
    });
    cluster.add_tasks("around", &[task])?.ok()?;
    let found = variables(&logs(&cluster, "around", "env")?);
    let get = |name: &str| found.get(name).with_context(|| format!("no {name} in {found:?}"));

    for (name, value) in [
        ("AZ_BATCH_ACCOUNT_NAME", cluster.setting("MUSTER_ACCOUNT")?),
        ("AZ_BATCH_POOL_ID", "default"),
        ("AZ_BATCH_JOB_ID", "around"),
        ("AZ_BATCH_TASK_ID", "env"),
        ("AZ_BATCH_NODE_IS_DEDICATED", "true"),
        ("OWN", "a b=c"),
        ("COMMON", "job"),
        ("BOTH", "task"),
    ] {
        assert_eq!(get(name)?, value, "{name}");
    }
    let nodes = cluster.list(&["node", "list", "default"])?;
    assert_eq!(
        Some(get("AZ_BATCH_NODE_ID")?.as_str()),
        nodes[0].get("id").and_then(serde_json::Value::as_str)
    );
    ensure!(get("AZ_BATCH_ACCOUNT_URL")?.starts_with("https://"), "{found:?}");

    let root = get("AZ_BATCH_NODE_ROOT_DIR")?;
    for (name, below) in [
        ("AZ_BATCH_NODE_SHARED_DIR", "shared"),
        ("AZ_BATCH_NODE_STARTUP_DIR", "startup"),
        ("AZ_BATCH_NODE_MOUNTS_DIR", "fsmounts"),
        ("AZ_BATCH_TASK_DIR", "workitems/around/job-1/env"),
        ("AZ_BATCH_TASK_WORKING_DIR", "workitems/around/job-1/env/wd"),
    ] {
        assert_eq!(get(name)?, &format!("{root}/{below}"), "{name}");
        ensure!(Path::new(get(name)?).is_dir(), "{name} is no directory");
    }
    for name in ["stdout.txt", "stderr.txt", "wd"] {
        ensure!(Path::new(get("AZ_BATCH_TASK_DIR")?).join(name).exists(), "no {name} in the task directory");
    }
    ensure!(
        !found.keys().any(|name| name.starts_with("MUSTER_")),
        "nothing of the daemons' own leaks: {found:?}"
    );
    Ok(())
}

#[test]
fn task_starts_in_its_working_directory_and_may_write_there_and_in_the_shared_one() -> anyhow::Result<()> {
    let cluster = Cluster::new().dev()?;
    let write = "pwd; echo $AZ_BATCH_TASK_WORKING_DIR; echo x > here && echo y > $AZ_BATCH_NODE_SHARED_DIR/there && id -u";
    cluster.job("place", &[script_task("write", write)])?;
    let said = logs(&cluster, "place", "write")?;
    let lines: Vec<&str> = said.lines().collect();
    ensure!(lines.len() == 3 && lines[0] == lines[1], "{said}");
    if nix::unistd::geteuid().is_root() {
        ensure!(lines[2] != "0", "a task runs as an ordinary user unless it asks for more");
        let admin = cluster.muster(&["run", "--pool", "default", "--admin", "--", "id", "-u"])?.ok()?;
        assert_eq!(admin.out(), "0\n");
    }
    let read = "cat $AZ_BATCH_NODE_SHARED_DIR/there; ls ../../write/wd >/dev/null 2>&1; cat /dev/stdin";
    cluster.ok(&["task", "add", "place", "read", "--", "/bin/sh", "-c", read])?;
    assert_eq!(logs(&cluster, "place", "read")?, "y\n");
    Ok(())
}

#[test]
fn start_task_has_the_node_variables_and_runs_before_the_first_task() -> anyhow::Result<()> {
    let cluster = Cluster::new().nodes(0).dev()?;
    let script = "env > $AZ_BATCH_NODE_SHARED_DIR/start-env; pwd >> $AZ_BATCH_NODE_SHARED_DIR/start-env";
    let start_task = format!("/bin/sh -c {}", quoted(script));
    let create = ["pool", "create", "prepared", "--nodes", "1", "--start-task", &start_task];
    cluster.ok(&[&create[..], &["--start-task-env", "FLAVOUR=salt"]].concat())?;
    let said = cluster.muster(&[
        "run",
        "--pool",
        "prepared",
        "--",
        "/bin/sh",
        "-c",
        "cat $AZ_BATCH_NODE_SHARED_DIR/start-env",
    ])?;
    let said = said.ok()?.out();
    let found = variables(&said);
    assert_eq!(found.get("FLAVOUR").map(String::as_str), Some("salt"));
    assert_eq!(found.get("AZ_BATCH_POOL_ID").map(String::as_str), Some("prepared"));
    ensure!(!found.contains_key("AZ_BATCH_JOB_ID") && !found.contains_key("AZ_BATCH_TASK_ID"), "{found:?}");
    let working = found.get("AZ_BATCH_TASK_WORKING_DIR").context("no AZ_BATCH_TASK_WORKING_DIR")?;
    ensure!(working.ends_with("/startup/wd") && said.lines().last() == Some(working), "{said}");
    Ok(())
}

#[test]
fn node_whose_start_task_fails_takes_no_tasks_and_says_why() -> anyhow::Result<()> {
    let cluster = Cluster::new().nodes(0).dev()?;
    cluster.ok(&[
        "pool",
        "create",
        "broken",
        "--nodes",
        "1",
        "--start-task",
        "/bin/sh -c 'echo no such lamp >&2; exit 9'",
    ])?;
    let failed = muster_e2e::wait_until(SOON, "the start task to fail", || {
        let nodes = cluster.list(&["node", "list", "broken"])?;
        let state = nodes.first().and_then(|node| muster_e2e::user::word(node, "/state"));
        Ok(nodes.into_iter().next().filter(|_| state.as_deref() == Some("starttaskfailed")))
    })?;
    assert_eq!(muster_e2e::user::number(&failed, "/start_task_info/exit_code"), Some(9), "{failed}");
    Ok(())
}

#[test]
fn files_from_the_web_are_fetched_once_and_have_their_place_and_mode() -> anyhow::Result<()> {
    let cluster = Cluster::new().slots(1).dev()?;
    let server = HttpServer::start(&[("/tool.sh", b"echo from the web"), ("/deep/data", b"data")])?;
    let task = |id: &str| {
        json!({
            "id": id,
            "command_line": "/bin/sh -c './tool.sh && cat in/side/data && stat -c %a tool.sh in/side/data'",
            "resource_files": [
                { "http_url": server.url("/tool.sh"), "file_path": "tool.sh" },
                { "http_url": server.url("/deep/data"), "file_path": "in/side/data", "file_mode": "0640" },
            ],
        })
    };
    cluster.job("web", &[task("1"), task("2"), task("3")])?;
    cluster.ok(&["job", "wait", "web"])?;
    for id in ["1", "2", "3"] {
        assert_eq!(logs(&cluster, "web", id)?, "from the web\ndata770\n640\n");
    }
    ensure!(server.hits() <= 6, "{} downloads of two files by three tasks", server.hits());
    Ok(())
}

#[test]
fn files_of_the_store_are_fetched_by_content_and_cannot_be_changed_for_others() -> anyhow::Result<()> {
    let cluster = Cluster::new().slots(1).dev()?;
    let file = cluster.file("shared.txt", "original")?;
    cluster.ok(&["file", "put", &file, "inputs/shared.txt"])?;
    let input =
        json!({ "file_store": { "container": "inputs", "path": "shared.txt" }, "file_path": "shared.txt" });
    let task = |id: &str, script: &str| json!({ "id": id, "command_line": format!("/bin/sh -c {}", quoted(script)), "resource_files": [input] });
    cluster.job(
        "copies",
        &[
            task("1", "cat shared.txt; echo spoilt > shared.txt || rm -f shared.txt; true"),
            task("2", "cat shared.txt"),
        ],
    )?;
    cluster.ok(&["job", "wait", "copies"])?;
    assert_eq!(logs(&cluster, "copies", "1")?, "original");
    assert_eq!(
        logs(&cluster, "copies", "2")?,
        "original",
        "what one task does to its input is not seen by another"
    );
    Ok(())
}

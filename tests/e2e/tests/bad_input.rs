//! What a user types wrong, through the command line: the exit code, the value, the limit and the way out.
//!
//! One cluster for each table, because nothing in a table may leave a trace: after each, a task still runs. What work
//! fails of is in `bad_work.rs`, what only another client could send in `bad_requests.rs`.

use anyhow::{Context, ensure};
use muster_e2e::exit_code::{CONFLICT, INVALID, NOT_FOUND, PARTLY, RUN_FAILED};
use muster_e2e::user::{quoted, script_task};
use muster_e2e::{Cluster, User};
use serde_json::{Value, json};

/// A command, its exit code, and what stderr must say.
type Row<'a> = (&'a [&'a str], i32, &'a [&'a str]);

fn check(cluster: &User, rows: &[Row<'_>]) -> anyhow::Result<()> {
    let each = rows.iter().map(|(command, code, words)| cluster.muster(command)?.refused(*code, words));
    none_wrong(each)?;
    cluster.still_works()
}

/// All that is wrong at once: a table is mended in one go.
fn none_wrong<T>(rows: impl Iterator<Item = anyhow::Result<T>>) -> anyhow::Result<()> {
    let wrong: Vec<String> = rows.filter_map(|row| row.err().map(|error| format!("{error:#}"))).collect();
    ensure!(wrong.is_empty(), "{} rows are wrong:\n{}", wrong.len(), wrong.join("\n"));
    Ok(())
}

#[test]
fn ids_that_are_unknown_are_named_with_where_to_look() -> anyhow::Result<()> {
    let cluster = Cluster::new().dev()?;
    cluster.job("there", &[script_task("t", "exit 0")])?;
    check(
        &cluster,
        &[
            (&["pool", "show", "nowhere"], NOT_FOUND, &["nowhere", "muster pool list"]),
            (&["pool", "resize", "nowhere", "--nodes", "1"], NOT_FOUND, &["nowhere", "muster pool list"]),
            (&["pool", "delete", "nowhere"], NOT_FOUND, &["nowhere"]),
            (&["node", "list", "nowhere"], NOT_FOUND, &["nowhere"]),
            (&["node", "show", "default", "nobody"], NOT_FOUND, &["default", "nobody"]),
            (&["token", "create", "nowhere"], NOT_FOUND, &["nowhere"]),
            (&["token", "revoke", "default", "unknown"], NOT_FOUND, &["unknown"]),
            (&["job", "show", "nowhere"], NOT_FOUND, &["nowhere", "muster job list"]),
            (&["job", "wait", "nowhere"], NOT_FOUND, &["nowhere"]),
            (&["job", "terminate", "nowhere"], NOT_FOUND, &["nowhere"]),
            (&["task", "list", "nowhere"], NOT_FOUND, &["nowhere"]),
            (&["task", "show", "there", "nothing"], NOT_FOUND, &["there", "nothing", "muster task list"]),
            (&["task", "logs", "there", "nothing"], NOT_FOUND, &["nothing"]),
            (&["task", "terminate", "there", "nothing"], NOT_FOUND, &["nothing"]),
            (&["task", "delete", "there", "nothing"], NOT_FOUND, &["nothing"]),
            (&["task", "add", "nowhere", "t", "--", "true"], NOT_FOUND, &["nowhere"]),
            (&["file", "get", "nowhere/file.txt"], NOT_FOUND, &["nowhere"]),
            (&["account", "show", "nobody"], NOT_FOUND, &["nobody"]),
            (&["run", "--pool", "nowhere", "--", "true"], RUN_FAILED, &["nowhere", "muster pool list"]),
        ],
    )
}

#[test]
fn ids_that_are_taken_or_malformed_are_refused_with_the_rule() -> anyhow::Result<()> {
    let cluster = Cluster::new().dev()?;
    cluster.job("there", &[script_task("t", "exit 0")])?;
    let long = "x".repeat(65);
    check(
        &cluster,
        &[
            (&["pool", "create", "default"], CONFLICT, &["default", "exists"]),
            (&["pool", "create", "DEFAULT"], CONFLICT, &["default", "exists"]),
            (&["job", "create", "there", "--pool", "default"], CONFLICT, &["there", "exists"]),
            (&["task", "add", "there", "t", "--", "true"], CONFLICT, &["there", "'t'"]),
            (&["pool", "create", "a b"], INVALID, &["a b", "64"]),
            (&["pool", "create", &long], INVALID, &["64"]),
            (&["job", "create", "ünder", "--pool", "default"], INVALID, &["64"]),
            (&["job", "create", "", "--pool", "default"], INVALID, &["64"]),
            (&["job", "create", "x", "--pool", "../default"], INVALID, &["../default"]),
            (&["task", "add", "there", "a/b", "--", "true"], INVALID, &["a/b", "64"]),
            (&["account", "create", "Upper"], INVALID, &["Upper", "3 to 24"]),
            (&["file", "list", "Upper/x"], INVALID, &["Upper"]),
        ],
    )
}

#[test]
fn values_out_of_range_are_refused_with_the_value_and_the_limit() -> anyhow::Result<()> {
    let cluster = Cluster::new().slots(2).dev()?;
    cluster.job("there", &[script_task("t", "exit 0")])?;
    let add = ["task", "add", "there", "u"];
    let add = |options: &[&'static str]| [&add[..], options, &["--", "true"]].concat();
    let (slots, memory, time, none) = (
        add(&["--slots", "3"]),
        add(&["--memory", "lots"]),
        add(&["--timeout", "90"]),
        add(&["--cpus", "0"]),
    );
    check(
        &cluster,
        &[
            (&slots, INVALID, &["3", "2", "slots"]),
            (&memory, INVALID, &["lots", "512M"]),
            (&time, INVALID, &["90", "unit"]),
            (&none, INVALID, &["cores"]),
            (&["pool", "create", "p", "--slots", "257"], INVALID, &["257", "256"]),
            (&["pool", "create", "p", "--nodes", "100001"], INVALID, &["100001", "100000"]),
            (&["pool", "create", "p", "--resize-timeout", "1m"], INVALID, &["resize_timeout", "300"]),
            (&["job", "create", "j", "--pool", "default", "--priority", "1001"], INVALID, &["1001", "1000"]),
            (&["task", "list", "there", "--filter", "state ="], INVALID, &["filter"]),
            (&["task", "list", "there", "--filter", "colour = red"], INVALID, &["colour"]),
            (&["task", "list", "there", "--filter", "state = sleeping"], INVALID, &["sleeping", "running"]),
            (&["token", "create", "default", "--expires", "400d"], INVALID, &["expire_time", "31536000"]),
            (&["token", "create", "default", "--uses", "0"], INVALID, &["1"]),
            (&["task", "add", "there"], INVALID, &["ID"]),
            (&["task", "add", "there", "u", "--"], INVALID, &["CMD"]),
            (&["run", "--pool", "default"], INVALID, &["CMD"]),
            (&["frobnicate"], INVALID, &["frobnicate"]),
        ],
    )
}

/// Tasks of a file that must be refused, each with what is said about it.
fn wrong_tasks() -> Vec<(Value, Vec<&'static str>)> {
    let with_file = |path: &str| {
        let file = json!({ "http_url": "http://127.0.0.1:1/x", "file_path": path });
        json!({ "id": "x", "command_line": "true", "resource_files": [file] })
    };
    let with = |name: &str, value: Value| {
        let mut task = json!({ "id": "x", "command_line": "true" });
        task[name] = value;
        task
    };
    let store = json!({ "container": "scene", "path": "../secret" });
    vec![
        (with_file("/etc/passwd"), vec!["/etc/passwd", "relative"]),
        (with_file("../../escape"), vec!["../../escape", ".."]),
        (with_file("a/../b"), vec!["a/../b", ".."]),
        (with_file(""), vec!["file_path"]),
        (with("resource_files", json!([{ "file_store": store, "file_path": "x" }])), vec!["../secret"]),
        (
            with("resource_files", json!([{ "http_url": "ftp://host/x", "file_path": "x" }])),
            vec!["ftp", "http"],
        ),
        (with("resource_files", json!([{ "file_path": "x" }])), vec!["source"]),
        (
            with(
                "output_files",
                json!([{ "file_pattern": "../../x", "file_store": { "container": "out" } }]),
            ),
            vec!["../../x"],
        ),
        (
            with("output_files", json!([{ "file_pattern": "", "file_store": { "container": "out" } }])),
            vec!["file_pattern"],
        ),
        (
            with("environment_settings", json!([{ "name": "A=B", "value": "c" }])),
            vec!["environment_settings[0]", "'='"],
        ),
        (with("constraints", json!({ "max_wall_clock_time": "0.5s" })), vec!["max_wall_clock_time"]),
        (with("constraints", json!({ "max_task_retry_count": -2 })), vec!["-2", "-1"]),
        (with("container_settings", json!({ "image_name": "debian" })), vec!["container"]),
        (with("depends_on", json!({ "task_ids": ["t"] })), vec!["dependencies"]),
        (with("command_line", json!("")), vec!["command_line"]),
        (with("command_line", json!("x".repeat(70_000))), vec!["65536"]),
        (with("id", json!("not an id")), vec!["not an id", "64"]),
        (with("id", json!("t")), vec!["'t'"]),
        (with("comand_line", json!("true")), vec!["comand_line"]),
        (json!({ "id": "y", "command_line": "true", "required_slots": 99 }), vec!["99", "2"]),
        (json!([1]), vec![]),
        (json!({ "id": 7 }), vec![]),
    ]
}

#[test]
fn lines_of_a_task_file_that_are_wrong_are_told_by_number_and_the_others_are_added() -> anyhow::Result<()> {
    let cluster = Cluster::new().dev()?;
    cluster.job("there", &[script_task("t", "exit 0")])?;
    let each = wrong_tasks().into_iter().enumerate().map(|(number, (task, words))| {
        let good = |side: &str| script_task(&format!("{side}-{number}"), "exit 0");
        let wrong = task.to_string().chars().take(200).collect::<String>();
        let outcome = cluster.add_tasks("there", &[good("before"), task, good("after")])?;
        outcome.refused(PARTLY, &words).and_then(|outcome| outcome.saying(&["line 2"])).context(wrong)
    });
    none_wrong(each)?;
    let count = 1 + 2 * wrong_tasks().len();
    assert_eq!(cluster.list(&["task", "list", "there"])?.len(), count, "the good ones, and nothing else");

    let broken =
        cluster.file("broken.jsonl", "{\"id\": \"y\", \"command_line\": \"true\"}\n{\"id\": \n\n")?;
    cluster.muster(&["task", "add", "there", "--file", &broken])?.refused(PARTLY, &["line 2"])?;
    cluster.muster(&["task", "add", "there", "--file", "nowhere.jsonl"])?.saying(&["nowhere.jsonl"])?;
    cluster.ok(&["job", "wait", "there"])?;
    cluster.still_works()
}

#[test]
fn states_that_forbid_a_command_are_named() -> anyhow::Result<()> {
    let cluster = Cluster::new().dev()?;
    cluster
        .job("done", &[json!({ "id": "t", "command_line": format!("/bin/sh -c {}", quoted("exit 0")) })])?;
    cluster.ok(&["job", "wait", "done"])?;
    check(&cluster, &[(&["task", "terminate", "done", "t"], CONFLICT, &["'t'", "completed"])])?;
    cluster.ok(&["job", "terminate", "done"])?;
    check(
        &cluster,
        &[
            (&["task", "add", "done", "u", "--", "true"], CONFLICT, &["done", "completed"]),
            (&["job", "terminate", "done"], CONFLICT, &["done", "completed"]),
        ],
    )
}

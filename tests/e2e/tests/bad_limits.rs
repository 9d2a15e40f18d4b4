//! Every limit on pools, jobs and tasks (azure-batch.md 3.1 and Muster's own), through the command line: one step too far is
//! refused with field, value and limit and leaves nothing; the limit itself is good.
//!
//! What each field says word for word is tested beside the conversions; here it is the way through a real controller.

use anyhow::ensure;
use muster_e2e::exit_code::{CONFLICT, INVALID, PARTLY};
use muster_e2e::work::with;
use muster_e2e::{Cluster, User};
use serde_json::{Value, json};

/// All that is wrong at once: a table is mended in one go.
fn none_wrong(rows: impl Iterator<Item = anyhow::Result<()>>) -> anyhow::Result<()> {
    let wrong: Vec<String> = rows.filter_map(|row| row.err().map(|error| format!("{error:#}"))).collect();
    ensure!(wrong.is_empty(), "{} rows are wrong:\n{}", wrong.len(), wrong.join("\n"));
    Ok(())
}

fn x(count: usize) -> String {
    "x".repeat(count)
}

fn names(count: usize) -> Value {
    (0..count).map(|id| json!({ "name": format!("n{id}"), "value": "v" })).collect()
}

/// Fields that make a right job wrong, and what is said about them.
fn wrong_jobs() -> Vec<(Value, Vec<&'static str>)> {
    let task = |fields: Value| with(json!({ "command_line": "true" }), &fields);
    vec![
        (json!({ "id": x(65) }), vec!["id", "64"]),
        (json!({ "id": "a.b" }), vec!["a.b", "64"]),
        (json!({ "pool_id": x(65) }), vec!["pool_id", "64"]),
        (json!({ "display_name": x(1025) }), vec!["display_name", "1025", "1024"]),
        (json!({ "priority": 1001 }), vec!["priority", "1001", "1000"]),
        (json!({ "priority": -1001 }), vec!["priority", "-1001", "-1000"]),
        (json!({ "max_parallel_tasks": 0 }), vec!["max_parallel_tasks", "0", "-1"]),
        (json!({ "max_parallel_tasks": -2 }), vec!["max_parallel_tasks", "-2", "-1"]),
        (json!({ "constraints": { "max_task_retry_count": -2 } }), vec!["max_task_retry_count", "-2", "-1"]),
        (
            json!({ "constraints": { "max_wall_clock_time": "0s" } }),
            vec!["max_wall_clock_time", "0 seconds", "1 second"],
        ),
        (json!({ "metadata": names(101) }), vec!["metadata", "101", "100"]),
        (json!({ "metadata": [{ "name": x(8193), "value": "v" }] }), vec!["metadata[0].name", "8192"]),
        (json!({ "common_environment_settings": names(1001) }), vec!["common_environment", "1001", "1000"]),
        (json!({ "auto_pool_specification": {}, "pool_id": null }), vec!["auto_pool", "not supported"]),
        (json!({ "allow_task_preemption": true }), vec!["allow_task_preemption", "not supported"]),
        (json!({ "job_release_task": task(json!({})) }), vec!["job_release_task", "job_preparation_task"]),
        (
            json!({ "job_preparation_task": { "command_line": "" } }),
            vec!["job_preparation_task.command_line"],
        ),
        (
            json!({ "job_preparation_task": task(json!({ "id": "a b" })) }),
            vec!["job_preparation_task.id", "a b"],
        ),
        (
            json!({
                "job_preparation_task": task(json!({})),
                "job_release_task": task(json!({ "max_wall_clock_time": "901s" })),
            }),
            vec!["job_release_task.max_wall_clock_time", "901", "900"],
        ),
        (
            json!({ "job_preparation_task": task(json!({ "id": "same" })), "job_release_task": task(json!({ "id": "same" })) }),
            vec!["same"],
        ),
        (json!({ "job_manager_task": task(json!({})) }), vec!["job_manager_task.id"]),
        (
            json!({ "job_manager_task": task(json!({ "id": "m", "required_slots": 257 })) }),
            vec!["job_manager_task.required_slots", "257", "256"],
        ),
        (
            json!({ "job_manager_task": task(json!({ "id": "m", "allow_low_priority_node": false })) }),
            vec!["allow_low_priority_node"],
        ),
    ]
}

#[test]
fn limits_of_a_job_are_kept() -> anyhow::Result<()> {
    let cluster = Cluster::new().nodes(0).dev()?;
    let job = json!({ "id": "j", "pool_id": "default" });
    none_wrong(wrong_jobs().into_iter().map(|(fields, words)| {
        let mut job = with(job.clone(), &fields);
        if let Some(object) = job.as_object_mut() {
            object.retain(|_, value| !value.is_null());
        }
        let path = cluster.file("wrong.json", job.to_string())?;
        cluster.muster(&["job", "create", "--file", &path])?.refused(INVALID, &words).map(drop)
    }))?;
    assert_eq!(cluster.list(&["job", "list"])?.len(), 0, "nothing was made");
    // The limits themselves are good.
    let release = json!({ "command_line": "true", "max_wall_clock_time": "900s" });
    let edge = json!({
        "id": "j".repeat(64), "display_name": "ü".repeat(1024), "priority": -1000, "max_parallel_tasks": 1,
        "constraints": { "max_task_retry_count": -1, "max_wall_clock_time": "3600s" }, "metadata": names(100),
        "common_environment_settings": names(1000),
        "job_preparation_task": { "command_line": "true" }, "job_release_task": release,
    });
    cluster.job_of(&edge, &[])?;
    // Changes keep to the same limits.
    let id = "J".repeat(64);
    let before = cluster.json(&["job", "show", &id])?;
    let long = x(1025);
    let rows: [(&[&str], &[&str]); 6] = [
        (&["--priority", "1001"], &["1001", "1000"]),
        (&["--max-parallel-tasks", "0"], &["0", "-1"]),
        (&["--max-retries", "-2"], &["-2", "-1"]),
        (&["--max-wall-clock", "10ms"], &["1"]),
        (&["--display-name", &long], &["1025", "1024"]),
        (&["--pool", "a b"], &["a b", "64"]),
    ];
    none_wrong(rows.into_iter().map(|(options, words)| {
        cluster.muster(&[&["job", "update", &id], options].concat())?.refused(INVALID, words).map(drop)
    }))?;
    assert_eq!(cluster.json(&["job", "show", &id])?, before, "nothing changed");
    cluster.muster(&["job", "create", &id, "--pool", "default"])?.refused(CONFLICT, &["exists"]).map(drop)
}

/// Fields that make a right task wrong, and what is said about them.
fn wrong_tasks() -> Vec<(Value, Vec<&'static str>)> {
    let group = |fields: Value| json!({ "depends_on": { "groups": [with(json!({ "task_ids": ["a", "b"] }), &fields)] } });
    let exits = |fields: Value| json!({ "exit_conditions": fields });
    let ids: Vec<String> = (0..1001).map(|id| format!("{id:064}")).collect();
    let codes: Value = (0..257).map(|code| json!({ "code": code })).collect();
    let named: Value =
        (0..17).map(|id| (format!("n{id}"), json!(1))).collect::<serde_json::Map<_, _>>().into();
    let escalation = |factor: f64, most: u64| {
        json!({
            "resources": { "memory_bytes": 1000 },
            "constraints": { "on_out_of_memory": { "factor": factor, "max_memory_bytes": most } },
        })
    };
    vec![
        (json!({ "id": x(65) }), vec!["id", "64"]),
        (json!({ "display_name": x(1025) }), vec!["display_name", "1025", "1024"]),
        (json!({ "command_line": x(65_537) }), vec!["command_line", "65537", "65536"]),
        (json!({ "required_slots": 257 }), vec!["required_slots", "257", "256"]),
        (json!({ "required_slots": 5 }), vec!["required_slots", "5", "4"]),
        (json!({ "constraints": { "max_task_retry_count": -2 } }), vec!["max_task_retry_count", "-2", "-1"]),
        (
            json!({ "constraints": { "max_wall_clock_time": "0s" } }),
            vec!["max_wall_clock_time", "0 seconds", "1 second"],
        ),
        (json!({ "constraints": { "retention_time": "-1s" } }), vec!["retention_time"]),
        (escalation(1.0, 1000), vec!["factor", "1.001", "16"]),
        (escalation(16.01, 1000), vec!["factor", "16.01"]),
        (escalation(2.0, 999), vec!["max_memory_bytes", "999", "1000"]),
        (json!({ "resources": { "gpus": 1025 } }), vec!["gpus", "1025", "1024"]),
        (json!({ "resources": { "named": named } }), vec!["named", "17", "16"]),
        (json!({ "resources": { "named": { "a b": 1 } } }), vec!["a b", "64"]),
        (json!({ "environment_settings": names(1001) }), vec!["environment_settings", "1001", "1000"]),
        (json!({ "environment_settings": [{ "name": "A", "value": x(131_070) }] }), vec!["131071", "131070"]),
        (json!({ "depends_on": { "task_ids": ids } }), vec!["task_ids", "64000"]),
        (json!({ "depends_on": { "task_ids": ["a b"] } }), vec!["task_ids[0]", "a b"]),
        (json!({ "depends_on": { "task_id_ranges": [{ "start": 5, "end": 4 }] } }), vec!["5", "4"]),
        (json!({ "depends_on": { "task_id_globs": vec!["*"; 65] } }), vec!["task_id_globs", "65", "64"]),
        (json!({ "depends_on": { "task_id_globs": ["a/*"] } }), vec!["a/*"]),
        (json!({ "depends_on": { "sweeps": [{ "sweep_id": x(49) }] } }), vec!["sweep_id", "48"]),
        (json!({ "depends_on": { "task_names": ["a"] } }), vec!["task_names"]),
        (group(json!({ "at_least": 0 })), vec!["at_least", "0", "1"]),
        (group(json!({ "at_least": 3 })), vec!["at_least", "3", "2"]),
        (group(json!({ "percent": 101 })), vec!["percent", "101", "100"]),
        (group(json!({ "percent": 50, "at_least": 1 })), vec!["percent", "at_least"]),
        (group(json!({ "condition": "NEVER" })), vec!["NEVER"]),
        (exits(json!({ "exit_codes": codes })), vec!["exit_codes", "257", "256"]),
        (
            exits(json!({ "exit_codes": [{ "code": 3 }, { "code": 3 }] })),
            vec!["exit_codes[1].code", "3", "twice"],
        ),
        (exits(json!({ "exit_code_ranges": [{ "start": 2, "end": 1 }] })), vec!["2", "1"]),
        (
            exits(json!({ "default_options": { "job_action": "JOB_ACTION_NONE" } })),
            vec!["job_action", "ON_TASK_FAILURE_PERFORM_EXIT_OPTIONS_JOB_ACTION"],
        ),
        (
            json!({ "multi_instance_settings": { "coordination_command_line": "x" } }),
            vec!["multi_instance", "not supported"],
        ),
        (
            json!({ "application_package_references": [{ "application_id": "a" }] }),
            vec!["package", "not supported"],
        ),
    ]
}

#[test]
fn limits_of_a_task_are_kept() -> anyhow::Result<()> {
    let cluster = Cluster::new().slots(4).dev()?;
    cluster.job_of(&json!({ "id": "j", "uses_task_dependencies": true }), &[])?;
    let right = json!({ "id": "t", "command_line": "/bin/true" });
    none_wrong(wrong_tasks().into_iter().map(|(fields, words)| {
        let outcome = cluster.add_tasks("j", &[with(right.clone(), &fields)])?;
        outcome.refused(PARTLY, &words)?.saying(&["line 1"]).map(drop)
    }))?;
    assert_eq!(cluster.list(&["task", "list", "j"])?.len(), 0, "nothing was added");
    let chars: Vec<String> = (0..1000).map(|id| format!("{id:064}")).collect();
    let edges = [
        json!({ "id": x(64), "display_name": "ü".repeat(1024), "required_slots": 4 }),
        json!({ "id": "edge", "environment_settings": [{ "name": "A", "value": x(131_069) }] }),
        json!({ "id": "waits", "depends_on": { "task_ids": chars } }),
        json!({ "id": "long", "command_line": format!("/bin/true {}", x(65_526)) }),
    ];
    let tasks: Vec<Value> = edges.iter().map(|fields| with(right.clone(), fields)).collect();
    cluster.add_tasks("j", &tasks)?.ok()?;
    for task in [x(64).as_str(), "edge", "long"] {
        let shown = cluster.completed("j", task)?;
        ensure!(shown.pointer("/execution_info/exit_code") == Some(&json!(0)), "{:.500}", shown.to_string());
    }
    // The options say the same.
    let rows: [(&[&str], &[&str]); 11] = [
        (&["--slots", "257"], &["257", "256"]),
        (&["--slots", "0"], &["0", "1"]),
        (&["--retries", "-2"], &["-2", "-1"]),
        (&["--timeout", "0s"], &["1"]),
        (&["--gpus", "1025"], &["1025", "1024"]),
        (&["--named", "licence"], &["licence", "licence=1"]),
        (&["--memory", "1G", "--on-oom", "1x:2G"], &["1.001", "16"]),
        (&["--memory", "2G", "--on-oom", "2x:1G"], &["memory"]),
        (&["--depends-on", "9-1"], &["9-1"]),
        (&["--depends-on-sweep", "s@101%"], &["s@101%", "100"]),
        (&["--exit", "3"], &["WHEN=ACTION"]),
    ];
    none_wrong(rows.into_iter().map(|(options, words)| {
        let outcome = cluster.muster(&[&["task", "add", "j", "u"], options, &["--", "true"]].concat())?;
        outcome.refused(INVALID, words).map(drop)
    }))?;
    assert_eq!(cluster.list(&["task", "list", "j"])?.len(), edges.len());
    cluster.still_works()
}

#[test]
fn limits_of_a_pool_are_kept() -> anyhow::Result<()> {
    let cluster = Cluster::new().nodes(0).dev()?;
    cluster.ok(&["pool", "create", "default"])?;
    let (long, name) = (x(65), x(1025));
    let rows: [(&[&str], &[&str]); 8] = [
        (&["pool", "create", &long], &["64"]),
        (&["pool", "create", "p", "--display-name", &name], &["1025", "1024"]),
        (&["pool", "create", "p", "--slots", "0"], &["0", "256"]),
        (&["pool", "create", "p", "--slots", "257"], &["257", "256"]),
        (&["pool", "create", "p", "--nodes", "100001"], &["100001", "100000"]),
        (&["pool", "create", "p", "--resize-timeout", "299s"], &["299", "300"]),
        (&["pool", "create", "p", "--start-task", "true", "--start-task-retries", "-2"], &["-2", "-1"]),
        (&["pool", "resize", "default", "--nodes", "100001"], &["100001", "100000"]),
    ];
    none_wrong(
        rows.into_iter().map(|(words, said)| cluster.muster(words)?.refused(INVALID, said).map(drop)),
    )?;
    assert_eq!(cluster.list(&["pool", "list"])?.len(), 1, "nothing was made");
    let edge = ["pool", "create", &long[1..], "--slots", "256", "--resize-timeout", "300s"];
    cluster.ok(&edge)?;
    ensure_pool(&cluster, &long[1..])
}

fn ensure_pool(cluster: &User, id: &str) -> anyhow::Result<()> {
    cluster.muster(&["pool", "create", &id.to_uppercase()])?.refused(CONFLICT, &["exists"]).map(drop)
}

//! Tasks that wait for tasks: by id, number, pattern and sweep; on success, failure and either; for some of many; in vain.
//!
//! Order is seen in one ledger: a task that may only start after others has its line behind theirs.

use anyhow::{Context, ensure};
use muster_e2e::exit_code::INVALID;
use muster_e2e::user::{number, script_task};
use muster_e2e::wait::SOON;
use muster_e2e::work::{cause, counts, failure_text, with};
use muster_e2e::{Cluster, User};
use serde_json::{Value, json};

fn dependent(cluster: &User, id: &str, depends_on: &Value) -> Value {
    with(cluster.noted(id), &json!({ "depends_on": depends_on }))
}

fn job(id: &str, on_dependency_failure: &str) -> Value {
    let action = format!("ON_DEPENDENCY_FAILURE_{on_dependency_failure}");
    json!({ "id": id, "uses_task_dependencies": true, "on_dependency_failure": action })
}

fn sweep_of(cluster: &User, job: &str, id: &str, range: &str, script: &str) -> anyhow::Result<()> {
    let add = ["task", "add", job, "--sweep", range, "--id", id, "--", "/bin/sh", "-c", script];
    cluster.ok(&add).map(drop)
}

#[test]
fn task_starts_after_all_that_its_ids_numbers_patterns_and_sweeps_name() -> anyhow::Result<()> {
    let cluster = Cluster::new().slots(4).dev()?;
    // The dependents come first: what they name need not exist yet.
    let last = json!({
        "task_ids": ["named"],
        "task_id_ranges": [{ "start": 1, "end": 3 }],
        "task_id_globs": ["part-?", "w*"],
        "sweeps": [{ "sweep_id": "frame" }],
    });
    cluster.job_of(&job("all", "WAIT"), &[dependent(&cluster, "last", &last)])?;
    let ledger = cluster.shared("ledger");
    let mut wanted = vec!["named", "1", "02", "003", "part-a", "part-b", "wide"];
    for id in &wanted {
        ensure!(cluster.task_state("all", "last")? == "active", "it started before {id} was added");
        cluster.add_tasks("all", &[cluster.gated(id, "gate")])?.ok()?;
    }
    let gate = cluster.until_open("gate");
    sweep_of(&cluster, "all", "frame", "1-4", &format!("{gate}; echo frame{{i}} >> {ledger}"))?;
    cluster.wait_for_lines("started", 4, SOON)?;
    assert_eq!(cluster.task_state("all", "last")?, "active");
    cluster.open("gate")?;
    cluster.completed("all", "last")?;
    wanted.extend(["frame1", "frame2", "frame3", "frame4", "last"]);
    let mut lines = cluster.shared_lines("ledger");
    assert_eq!(lines.last().map(String::as_str), Some("last"), "{lines:?}");
    lines.sort();
    wanted.sort_unstable();
    assert_eq!(lines, wanted);
    // The same from options.
    let options = ["--depends-on", "named,1-3,part-*", "--depends-on-sweep", "frame:2-3"];
    cluster.ok(&[&["task", "add", "all", "typed"], &options[..], &["--", "true"]].concat())?;
    cluster.completed("all", "typed").map(drop)
}

#[test]
fn conditions_on_failure_and_on_any_end_are_met_by_the_right_ends() -> anyhow::Result<()> {
    let cluster = Cluster::new().slots(4).dev()?;
    let on = |id: &str, task: &str, condition: &str| {
        let condition = format!("DEPENDENCY_CONDITION_{condition}");
        dependent(&cluster, id, &json!({ "groups": [{ "task_ids": [task], "condition": condition }] }))
    };
    let tasks = [
        script_task("good", "exit 0"),
        script_task("bad", "exit 1"),
        on("bad-failed", "bad", "FAILED"),
        on("bad-completed", "bad", "COMPLETED"),
        on("good-completed", "good", "COMPLETED"),
        on("good-satisfied", "good", "SATISFIED"),
        on("good-failed", "good", "FAILED"),
        on("bad-satisfied", "bad", "SATISFIED"),
    ];
    cluster.job_of(&job("edges", "WAIT"), &tasks)?;
    cluster.wait_for_counts("edges", counts(2, 0, 5, 1))?;
    cluster.still_works()?;
    assert_eq!(cluster.counts("edges")?, counts(2, 0, 5, 1));
    for waits in ["good-failed", "bad-satisfied"] {
        assert_eq!(cluster.task_state("edges", waits)?, "active");
        let explained = cluster.json(&["task", "explain", "edges", waits])?;
        assert_eq!(explained.pointer("/reasons/0/code"), Some(&json!("DEPENDENCY_NEVER_MET")), "{explained}");
        ensure!(explained.get("can_ever_run").is_none(), "it says that it could run: {explained}");
    }
    // Options say the condition for all that is named beside it.
    let typed = ["--depends-on", "good,bad", "--depends-condition", "completed"];
    cluster.ok(&[&["task", "add", "edges", "typed"], &typed[..], &["--", "true"]].concat())?;
    cluster.completed("edges", "typed").map(drop)
}

#[test]
fn exit_conditions_satisfy_or_block_those_that_depend_on_the_task() -> anyhow::Result<()> {
    let cluster = Cluster::new().slots(4).dev()?;
    let action = |action: &str| json!({ "dependency_action": format!("DEPENDENCY_ACTION_{action}") });
    let conditions = json!({ "exit_conditions": {
        "exit_codes": [{ "code": 0, "exit_options": action("BLOCK") }, { "code": 3, "exit_options": action("SATISFY") }],
        "exit_code_ranges": [{ "start": 10, "end": 20, "exit_options": action("SATISFY") }],
        "pre_processing_error": action("SATISFY"),
        "default_options": action("BLOCK"),
    } });
    let mut tasks = vec![];
    let rows = [("0", false), ("3", true), ("9", false), ("10", true), ("20", true), ("21", false)];
    for (code, _) in rows {
        tasks.push(with(script_task(&format!("exit-{code}"), &format!("exit {code}")), &conditions));
        tasks.push(dependent(
            &cluster,
            &format!("after-{code}"),
            &json!({ "task_ids": [format!("exit-{code}")] }),
        ));
    }
    let missing = json!({ "id": "no-program", "command_line": "/no/such/program" });
    tasks.push(with(missing, &conditions));
    tasks.push(dependent(&cluster, "after-no-program", &json!({ "task_ids": ["no-program"] })));
    cluster.job_of(&job("exits", "WAIT"), &tasks)?;
    // 14 tasks: 7 that end (1 with success), 4 dependents that may run, 3 that may not.
    cluster.wait_for_counts("exits", counts(3, 0, 5, 6))?;
    cluster.still_works()?;
    for (code, may_run) in rows {
        let wanted = if may_run { "completed" } else { "active" };
        assert_eq!(cluster.task_state("exits", &format!("after-{code}"))?, wanted, "after exit code {code}");
    }
    // The same from options, for a task of its own.
    let options = ["--exit", "3=satisfy", "--exit", "default=block"];
    cluster.ok(
        &[&["task", "add", "exits", "typed"], &options[..], &["--", "/bin/sh", "-c", "exit 3"]].concat()
    )?;
    cluster.ok(&["task", "add", "exits", "after", "--depends-on", "typed", "--", "true"])?;
    cluster.completed("exits", "after").map(drop)
}

#[test]
fn some_of_many_are_enough_where_a_group_says_so() -> anyhow::Result<()> {
    let cluster = Cluster::new().slots(4).dev()?;
    let group = |group: Value| json!({ "groups": [group] });
    let ids = ["a", "b", "c"];
    let tasks = [
        dependent(&cluster, "two", &group(json!({ "task_ids": ids, "at_least": 2 }))),
        dependent(&cluster, "three", &group(json!({ "task_ids": ids, "at_least": 3 }))),
        script_task("a", "exit 0"),
        script_task("b", "exit 1"),
        cluster.gated("c", "gate"),
        dependent(&cluster, "most", &group(json!({ "sweeps": [{ "sweep_id": "part" }], "percent": 90 }))),
        dependent(&cluster, "every", &group(json!({ "sweeps": [{ "sweep_id": "part" }], "percent": 100 }))),
        dependent(&cluster, "range", &group(json!({ "sweeps": [{ "sweep_id": "part", "first": 8 }] }))),
    ];
    cluster.job_of(&job("some", "WAIT"), &tasks)?;
    // Number 7 of 10 fails: 90 % of them are there, and all from 8 on.
    sweep_of(&cluster, "some", "part", "1-10", "test {i} -ne 7")?;
    cluster.completed("some", "most")?;
    cluster.completed("some", "range")?;
    cluster.wait_for_lines("started", 1, SOON)?;
    assert_eq!(cluster.task_state("some", "two")?, "active");
    cluster.open("gate")?;
    cluster.completed("some", "two")?;
    cluster.still_works()?;
    assert_eq!(cluster.task_state("some", "three")?, "active");
    assert_eq!(cluster.task_state("some", "every")?, "active");
    let explained = cluster.ok(&["task", "explain", "some", "every"])?;
    for word in ["part", "10", "9"] {
        ensure!(explained.contains(word), "no '{word}' in:\n{explained}");
    }
    // What failed is tried again: those that waited for it run.
    cluster.ok(&["task", "delete", "some", "three"])?;
    let options = ["--depends-on-sweep", "part@9", "--depends-on-sweep", "part:1-6@100%"];
    cluster.ok(&[&["task", "add", "some", "typed"], &options[..], &["--", "true"]].concat())?;
    cluster.completed("some", "typed").map(drop)
}

#[test]
fn reactivated_failure_that_succeeds_then_frees_what_waited_for_it() -> anyhow::Result<()> {
    let cluster = Cluster::new().dev()?;
    let second_time = format!("mkdir {} || exit 0; exit 1", cluster.shared("tried"));
    let tasks = [
        script_task("first", &second_time),
        dependent(&cluster, "second", &json!({ "task_ids": ["first"] })),
    ];
    cluster.job_of(&job("again", "WAIT"), &tasks)?;
    cluster.completed("again", "first")?;
    assert_eq!(cluster.task_state("again", "second")?, "active");
    cluster.ok(&["task", "reactivate", "again", "first"])?;
    cluster.completed("again", "second")?;
    cluster.ensure_counts_are_right("again")
}

#[test]
fn dependent_that_can_never_run_waits_fails_or_is_skipped_as_the_job_says() -> anyhow::Result<()> {
    let cluster = Cluster::new().dev()?;
    // fails <- second <- third <- fourth (which runs after third whatever became of it). A task that is skipped counts as one
    // that succeeded: what depends on it runs.
    let after = |cluster: &User, id: &str, task: &str| dependent(cluster, id, &json!({ "task_ids": [task] }));
    for (action, ends) in
        [("WAIT", counts(3, 0, 0, 1)), ("FAIL", counts(0, 0, 1, 3)), ("SKIP", counts(0, 0, 3, 1))]
    {
        let id = action.to_lowercase();
        let any_end =
            json!({ "groups": [{ "task_ids": ["third"], "condition": "DEPENDENCY_CONDITION_COMPLETED" }] });
        let tasks = [
            dependent(&cluster, "fourth", &any_end),
            after(&cluster, "third", "second"),
            after(&cluster, "second", "fails"),
            script_task("fails", "exit 1"),
        ];
        cluster.job_of(&job(&id, action), &tasks)?;
        cluster.wait_for_counts(&id, ends).context(id.clone())?;
        cluster.still_works()?;
        assert_eq!(cluster.counts(&id)?, ends, "{id}");
        cluster.ensure_counts_are_right(&id)?;
    }
    for (task, on) in [("second", "fails"), ("third", "second")] {
        let failed = cluster.shown("fail", task)?;
        assert_eq!(cause(&failed), "DEPENDENCY_FAILED", "{failed}");
        ensure!(failure_text(&failed).contains(on), "{failed}");
    }
    let skipped = cluster.shown("skip", "second")?;
    assert_eq!(number(&skipped, "/attempt").unwrap_or(0), 0, "it did not run: {skipped}");
    assert_eq!(skipped.pointer("/execution_info/result"), Some(&json!("EXECUTION_RESULT_SUCCESS")));
    assert_eq!(cluster.shared_lines("ledger"), ["fourth", "third", "fourth"], "only what may run ran");
    Ok(())
}

#[test]
fn dependencies_that_lead_back_or_say_nothing_are_refused() -> anyhow::Result<()> {
    let cluster = Cluster::new().dev()?;
    cluster.job_of(&job("round", "WAIT"), &[])?;
    let tasks = [
        dependent(&cluster, "a", &json!({ "task_ids": ["b"] })),
        dependent(&cluster, "b", &json!({ "task_ids": ["c"] })),
        dependent(&cluster, "n-1", &json!({ "task_id_globs": ["m-*"] })),
    ];
    cluster.add_tasks("round", &tasks)?.ok()?;
    let add =
        |options: &[&str]| cluster.muster(&[&["task", "add", "round"], options, &["--", "true"]].concat());
    add(&["c", "--depends-on", "a"])?.refused(INVALID, &["'c'", "a", "b"])?;
    add(&["self", "--depends-on", "self"])?.refused(INVALID, &["self"])?;
    add(&["m-1", "--depends-on", "n-*"])?.refused(INVALID, &["m-1", "n-1"])?;
    add(&["7", "--depends-on", "1-9"])?.refused(INVALID, &["'7'"])?;
    let list = cluster.list(&["task", "list", "round"])?.len();
    assert_eq!(list, 3, "nothing was added");
    // With another end the ring is open, and all of it runs.
    add(&["c"])?.ok()?;
    add(&["m-1"])?.ok()?;
    cluster.ok(&["job", "wait", "round"])?;
    assert_eq!(
        cluster.shared_lines("ledger").iter().filter(|id| *id != "n-1").collect::<Vec<_>>(),
        ["b", "a"]
    );
    Ok(())
}

#[test]
fn wide_fan_in_and_long_chain_run_through() -> anyhow::Result<()> {
    let cluster = Cluster::new().dev()?;
    let mut tasks =
        vec![dependent(&cluster, "join", &json!({ "task_id_ranges": [{ "start": 1, "end": 200 }] }))];
    for id in 1..=200 {
        let before = json!({ "task_ids": [format!("{}", id - 1)] });
        let task = json!({ "id": id.to_string(), "command_line": "/bin/true" });
        // The first half in any order, the second half one after another.
        tasks.push(if id > 150 { with(task, &json!({ "depends_on": before })) } else { task });
    }
    cluster.job_of(&job("wide", "FAIL"), &tasks)?;
    cluster.ok(&["job", "wait", "wide"])?;
    assert_eq!(cluster.counts("wide")?, counts(0, 0, 201, 0));
    assert_eq!(cluster.shared_lines("ledger"), ["join"]);
    Ok(())
}

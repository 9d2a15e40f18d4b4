//! Sweeps: all members run, each with its values; they are listed, ended, tried again and waited for as what they are: tasks.
//!
//! Each member notes its value in the shared ledger: one that is lost or repeated is seen there. What depends on sweeps is in
//! `dependencies.rs` too.

use anyhow::ensure;
use muster_e2e::exit_code::{CONFLICT, INVALID, NOT_FOUND};
use muster_e2e::user::number;
use muster_e2e::wait::{SOON, when};
use muster_e2e::work::{cause, counts};
use muster_e2e::{Cluster, User, wait_until};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Adds a sweep of a shell's script with options before it.
fn add(cluster: &User, job: &str, options: &[&str], script: &str) -> anyhow::Result<()> {
    cluster.ok(&[&["task", "add", job], options, &["--", "/bin/sh", "-c", script]].concat()).map(drop)
}

fn ids(tasks: &[Value]) -> Vec<&str> {
    tasks.iter().filter_map(|task| task.get("id")?.as_str()).collect()
}

fn sorted_ledger(cluster: &User) -> Vec<String> {
    let mut lines = cluster.shared_lines("ledger");
    lines.sort();
    lines
}

#[test]
fn range_runs_every_number_once_with_its_value_and_its_environment() -> anyhow::Result<()> {
    let cluster = Cluster::new().slots(4).dev()?;
    cluster.ok(&["job", "create", "film", "--pool", "default"])?;
    let ledger = cluster.shared("ledger");
    let script = format!(
        "echo {{i}} $MUSTER_SWEEP_ID $MUSTER_SWEEP_NUMBER $MUSTER_PARAM_I $MINE ${{HOME:+home}} {{{{x}}}} >> {ledger}"
    );
    add(&cluster, "film", &["--sweep", "1-20", "--id", "frame", "--env", "MINE=no-{i}"], &script)?;
    cluster.ok(&["job", "wait", "film"])?;
    let mut wanted: Vec<String> = (1..=20).map(|i| format!("{i} frame {i} {i} no-{i} home {{x}}")).collect();
    wanted.sort();
    assert_eq!(sorted_ledger(&cluster), wanted);
    let tasks = cluster.list(&["task", "list", "film", "--order-by", "id"])?;
    let names: Vec<String> = (1..=20).map(|i| format!("frame-{i:02}")).collect();
    assert_eq!(ids(&tasks), names);
    // A member is a task in every call, under its id with fewer zeros too.
    let shown = cluster.shown("film", "frame-5")?;
    assert_eq!(shown.get("id"), Some(&json!("frame-05")));
    assert_eq!((shown.get("sweep_id"), number(&shown, "/sweep_number")), (Some(&json!("frame")), Some(5)));
    ensure!(shown.to_string().contains("echo 5 "), "the member's own command line: {shown}");
    assert_eq!(cluster.list(&["task", "attempts", "film", "frame-5"])?.len(), 1);
    cluster.ok(&["task", "logs", "film", "frame-5"])?;
    // Steps, and two ranges, of which the last varies fastest.
    std::fs::remove_file(&ledger)?;
    add(
        &cluster,
        "film",
        &["--sweep", "1-10", "--step", "4", "--id", "step"],
        &format!("echo {{i}} >> {ledger}"),
    )?;
    let product = ["--sweep", "a=1-2", "--sweep", "b=0-20:10", "--id", "product"];
    add(&cluster, "film", &product, &format!("echo {{a}}/{{b}} $MUSTER_SWEEP_NUMBER >> {ledger}"))?;
    cluster.ok(&["job", "wait", "film"])?;
    assert_eq!(
        sorted_ledger(&cluster),
        ["1", "1/0 1", "1/10 2", "1/20 3", "2/0 4", "2/10 5", "2/20 6", "5", "9"]
    );
    cluster.ensure_counts_are_right("film")
}

#[test]
fn values_come_from_lines_csv_and_json_and_stay_one_argument() -> anyhow::Result<()> {
    let cluster = Cluster::new().slots(4).dev()?;
    cluster.ok(&["job", "create", "values", "--pool", "default"])?;
    let ledger = cluster.shared("ledger");
    let lines = cluster.file("looks.txt", "red\n\n  deep blue  \n$(touch x); 'quoted' \"\n")?;
    let csv = cluster.file("scenes.csv", "scene,frame\nboat,7\n\"a, b\",8\n")?;
    let rows = cluster.file("rows.json", r#"[{"x": 1.5, "ok": true}, {"x": "two words", "ok": false}]"#)?;
    // The value is an argument of the script, never a part of its text.
    let note = |words: &str| {
        ["--", "/bin/sh", "-c", &format!("echo \"$@\" >> {ledger}"), "sh", words].map(str::to_owned).to_vec()
    };
    for (options, words) in [
        (vec!["--sweep-lines", &lines, "--name", "look"], "[{look}]"),
        (vec!["--sweep-csv", &csv], "{scene}:{frame}"),
        (vec!["--sweep-json", &rows], "{x}={ok}"),
        (vec!["--sweep", "i=1-2", "--sweep-csv", &csv], "{i}+{frame}"),
    ] {
        let command = note(words);
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        cluster.ok(&[&["task", "add", "values"], &options[..], &command].concat())?;
    }
    cluster.ok(&["job", "wait", "values"])?;
    let mut wanted = vec![
        "[red]",
        "[deep blue]",
        "[$(touch x); 'quoted' \"]",
        "boat:7",
        "a, b:8",
        "1.5=true",
        "two words=false",
        "1+7",
        "1+8",
        "2+7",
        "2+8",
    ];
    wanted.sort_unstable();
    assert_eq!(sorted_ledger(&cluster), wanted);
    Ok(())
}

#[test]
fn members_are_filtered_counted_ended_by_range_and_tried_again() -> anyhow::Result<()> {
    let cluster = Cluster::new().slots(2).dev()?;
    let job = json!({ "id": "part", "uses_task_dependencies": true });
    cluster.job_of(&job, &[cluster.gated("g1", "gate"), cluster.gated("g2", "gate")])?;
    cluster.wait_for_lines("started", 2, SOON)?;
    // Odd numbers fail until the mark is there.
    let script = format!("test $(({{i}} % 2)) -eq 0 || test -e {}", cluster.shared("mark"));
    add(&cluster, "part", &["--sweep", "1-30", "--id", "s"], &script)?;
    cluster.ok(&["task", "add", "part", "nearly", "--depends-on-sweep", "s@90%", "--", "true"])?;
    assert_eq!(cluster.counts("part")?, counts(31, 2, 0, 0));
    let sweep = |field: &str| -> anyhow::Result<i64> {
        Ok(number(&cluster.json(&["sweep", "show", "part", "s"])?, &format!("/counts/{field}")).unwrap_or(0))
    };
    assert_eq!((sweep("active")?, sweep("completed")?), (30, 0));
    // Before they start: end some by range, one by its id, delete another.
    cluster.ok(&["sweep", "terminate", "part", "s", "--range", "21-"])?;
    cluster.ok(&["task", "terminate", "part", "s-2"])?;
    cluster.ok(&["task", "delete", "part", "s-4"])?;
    cluster.muster(&["task", "show", "part", "s-04"])?.refused(NOT_FOUND, &["s-04"])?;
    assert_eq!((sweep("active")?, sweep("failed")?), (18, 11));
    assert_eq!(cause(&cluster.shown("part", "s-30")?), "TERMINATED");
    assert_eq!(cluster.counts("part")?, counts(19, 2, 0, 11));
    cluster
        .muster(&["sweep", "terminate", "part", "s", "--range", "31-40"])?
        .refused(INVALID, &["31", "30"])?;
    cluster.open("gate")?;
    cluster.wait_for_counts("part", counts(1, 0, 10, 21))?;
    cluster.ensure_counts_are_right("part")?;
    let failed =
        |filter: &str| cluster.list(&["task", "list", "part", "--filter", filter, "--order-by", "id"]);
    let mine = failed(
        "sweep_id = \"s\" AND execution_info.failure_info.cause = \"exit-code\" AND sweep_number < 6",
    )?;
    assert_eq!(ids(&mine), ["s-01", "s-03", "s-05"]);
    assert_eq!(failed("sweep_id = \"s\" AND state = \"completed\" AND sweep_number > 20")?.len(), 10);
    assert_eq!(cluster.task_state("part", "nearly")?, "active");
    // Again with the mark: a range first, then all that failed.
    std::fs::write(cluster.shared("mark"), "")?;
    cluster.ok(&["sweep", "reactivate", "part", "s", "--range", "-5"])?;
    cluster.wait_for_counts("part", counts(1, 0, 14, 17))?;
    cluster.ok(&["sweep", "reactivate", "part", "s"])?;
    cluster.completed("part", "nearly")?;
    cluster.wait_for_counts("part", counts(0, 0, 32, 0))?;
    cluster.ensure_counts_are_right("part")?;
    assert_eq!(number(&cluster.shown("part", "s-3")?, "/attempt"), Some(2));
    assert_eq!(number(&cluster.shown("part", "s-25")?, "/attempt"), Some(1), "it ran once, the second time");
    // All of it goes at once.
    cluster.ok(&["sweep", "delete", "part", "s"])?;
    wait_until(SOON, "the sweep to be gone", || {
        Ok(when(cluster.muster(&["sweep", "show", "part", "s"])?.code() == NOT_FOUND))
    })?;
    assert_eq!(cluster.list(&["task", "list", "part"])?.len(), 3);
    assert_eq!(cluster.counts("part")?, counts(0, 0, 3, 0));
    Ok(())
}

#[test]
fn sweep_of_a_million_is_accepted_listed_and_ended_at_once() -> anyhow::Result<()> {
    // Debug binaries beside another test: ten times what a release build is asked for (xtask bench), and a bound all the same.
    const AT_ONCE: Duration = Duration::from_secs(2);
    let cluster = Cluster::new().nodes(0).dev()?;
    cluster.ok(&["job", "create", "vast", "--pool", "default"])?;
    let timed = |what: &str, arguments: &[&str]| -> anyhow::Result<Vec<Value>> {
        let start = Instant::now();
        let answer = cluster.list(arguments)?;
        let span = start.elapsed();
        ensure!(span < AT_ONCE, "{what} took {:.2} s", span.as_secs_f64());
        Ok(answer)
    };
    let sweep =
        ["task", "add", "vast", "--sweep", "1-1000000", "--id", "frame", "--", "render", "--frame", "{i}"];
    timed("adding", &sweep)?;
    assert_eq!(cluster.counts("vast")?, counts(1_000_000, 0, 0, 0));
    let page = timed("the first page", &["task", "list", "vast", "--limit", "50"])?;
    assert_eq!((page.len(), ids(&page)[49]), (50, "frame-0000050"));
    let last = timed("the last ones", &["task", "list", "vast", "--order-by", "id desc", "--limit", "3"])?;
    assert_eq!(ids(&last), ["frame-1000000", "frame-0999999", "frame-0999998"]);
    let filter = "state = \"active\" AND sweep_number >= 999000";
    let some = timed("a filter", &["task", "list", "vast", "--filter", filter, "--limit", "2"])?;
    assert_eq!(ids(&some), ["frame-0999000", "frame-0999001"]);
    let none = timed("a filter of none", &["task", "list", "vast", "--filter", "state = \"running\""])?;
    assert_eq!(none.len(), 0);
    let shown = timed("one", &["task", "show", "vast", "frame-777777"])?;
    ensure!(shown[0].to_string().contains("render --frame 777777"), "{}", shown[0]);
    timed("explaining", &["task", "explain", "vast", "frame-1"])?;
    timed("explaining all", &["job", "explain", "vast"])?;
    timed("ending half", &["sweep", "terminate", "vast", "frame", "--range", "500001-"])?;
    assert_eq!(cluster.counts("vast")?, counts(500_000, 0, 0, 500_000));
    let ended = timed(
        "the ended ones",
        &["task", "list", "vast", "--filter", "state = \"completed\"", "--limit", "1"],
    )?;
    assert_eq!(ids(&ended), ["frame-0500001"]);
    timed("trying again", &["sweep", "reactivate", "vast", "frame", "--range", "600000-"])?;
    assert_eq!(cluster.counts("vast")?, counts(900_001, 0, 0, 99_999));
    timed("ending the job", &["job", "terminate", "vast"])?;
    cluster.wait_for_job("vast", "completed")?;
    assert_eq!(cluster.counts("vast")?, counts(0, 0, 0, 1_000_000));
    Ok(())
}

#[test]
fn controller_killed_in_the_middle_of_a_sweep_loses_and_repeats_nothing() -> anyhow::Result<()> {
    const MEMBERS: usize = 120;
    let mut cluster = Cluster::new().slots(2).split()?;
    cluster.ok(&["job", "create", "long", "--pool", "default"])?;
    let script = format!("echo {{i}} >> {}", cluster.shared("ledger"));
    let range = format!("1-{MEMBERS}");
    add(&cluster, "long", &["--sweep", &range, "--id", "s"], &script)?;
    for lines in [2, 40] {
        cluster.wait_for_lines("ledger", lines, SOON)?;
        cluster.kill_controller()?;
        cluster.start_controller()?;
    }
    cluster.ok(&["job", "wait", "long"])?;
    cluster.ensure_each_once(MEMBERS)?;
    assert_eq!(cluster.counts("long")?, counts(0, 0, MEMBERS as u64, 0));
    cluster.ensure_counts_are_right("long")
}

#[test]
fn sweeps_that_cannot_be_are_refused_with_what_is_wrong() -> anyhow::Result<()> {
    let cluster = Cluster::new().dev()?;
    cluster.job("there", &[cluster.noted("x-1")])?;
    add(&cluster, "there", &["--sweep", "1-3", "--id", "s"], "exit 0")?;
    let empty = cluster.file("empty.txt", "\n\n")?;
    let ragged = cluster.file("ragged.csv", "a,b\n1\n")?;
    let odd = cluster.file("odd.json", r#"[{"a": 1}, {"b": 2}]"#)?;
    let rooted = cluster.file("rooted.csv", "path\n/etc/passwd\n")?;
    let long = "x".repeat(49);
    let rows: [(&[&str], &str, i32, &[&str]); 14] = [
        (&["--sweep", "5-1"], "{i}", INVALID, &["5-1"]),
        (&["--sweep", "1-100000001", "--id", "big"], "{i}", INVALID, &["100000001", "100000000"]),
        (&["--sweep", "a=1-100000", "--sweep", "b=1-100000"], "{a}", INVALID, &["100000000"]),
        (&["--sweep", "1-1000000000000000"], "{i}", INVALID, &["999999999999999"]),
        (&["--sweep", "1-3", "--step", "0"], "{i}", INVALID, &["step"]),
        (&["--sweep", "1-3"], "{frame}", INVALID, &["{frame}", "{{frame}}"]),
        (&["--sweep", "a=1-3", "--sweep", "A=1-3"], "{a}", INVALID, &["A", "twice"]),
        (&["--sweep", "1-3", "--id", &long], "{i}", INVALID, &["48"]),
        (&["--sweep", "1-3", "--id", "s"], "{i}", CONFLICT, &["'s'", "already"]),
        (&["--sweep", "1-3", "--id", "x"], "{i}", CONFLICT, &["x-1"]),
        (&["--sweep-lines", &empty], "{line}", INVALID, &["no values"]),
        (&["--sweep-csv", &ragged], "{a}", INVALID, &["CSV"]),
        (&["--sweep-json", &odd], "{a}", INVALID, &["'a'"]),
        (
            &["--sweep-csv", &rooted, "--resource-file", "http://127.0.0.1:1/x:{path}"],
            "{path}",
            INVALID,
            &["/etc/passwd"],
        ),
    ];
    let mut wrong = vec![];
    for (options, word, code, words) in rows {
        let outcome =
            cluster.muster(&[&["task", "add", "there"], options, &["--", "echo", word]].concat())?;
        wrong.extend(outcome.refused(code, words).err().map(|error| format!("{error:#}")));
    }
    ensure!(wrong.is_empty(), "{} rows are wrong:\n{}", wrong.len(), wrong.join("\n"));
    cluster
        .muster(&["sweep", "show", "there", "none"])?
        .refused(NOT_FOUND, &["none", "muster sweep list"])?;
    // A single task cannot take a member's place either.
    cluster.muster(&["task", "add", "there", "s-2", "--", "true"])?.refused(CONFLICT, &["s-2"])?;
    assert_eq!(cluster.list(&["task", "list", "there"])?.len(), 4, "nothing was added");
    assert_eq!(cluster.list(&["sweep", "list", "there"])?.len(), 1);
    cluster.ok(&["job", "wait", "there"]).map(drop)
}

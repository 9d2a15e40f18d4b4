//! Many short tasks through one file: all complete, each in one attempt. The rate is printed, never judged.
//!
//! These are debug binaries beside other tests; `cargo xtask bench` measures. What is tested is that nothing is lost or run
//! twice when assignments, reports and commits come in bulk.

use muster_e2e::Cluster;
use muster_e2e::user::{number, word};
use std::collections::BTreeSet;
use std::time::Instant;

const TASKS: usize = 2000;

#[test]
fn two_thousand_short_tasks_of_one_file_complete_once_each() -> anyhow::Result<()> {
    let cluster = Cluster::new().nodes(1).slots(2).dev()?;
    cluster.still_works()?;
    cluster.ok(&["job", "create", "many", "--pool", "default"])?;
    let lines: Vec<String> =
        (0..TASKS).map(|id| format!(r#"{{"id":"{id}","command_line":"/bin/true"}}"#)).collect();
    let file = cluster.file("many.jsonl", lines.join("\n"))?;
    let start = Instant::now();
    cluster.ok(&["task", "add", "many", "--file", &file])?;
    let added = start.elapsed();
    cluster.ok(&["job", "wait", "many"])?;
    let all = start.elapsed();
    println!(
        "{TASKS} tasks: added in {:.2} s, completed in {:.2} s, {} tasks/s with these binaries",
        added.as_secs_f64(),
        all.as_secs_f64(),
        TASKS as u128 * 1000 / all.as_millis().max(1),
    );

    let tasks = cluster.list(&["task", "list", "many"])?;
    let ids: BTreeSet<&str> = tasks.iter().filter_map(|task| task.get("id")?.as_str()).collect();
    assert_eq!((tasks.len(), ids.len()), (TASKS, TASKS));
    let odd: Vec<_> = tasks
        .iter()
        .filter(|task| {
            word(task, "/state").as_deref() != Some("completed")
                || number(task, "/execution_info/exit_code") != Some(0)
                || number(task, "/attempt") != Some(1)
        })
        .take(3)
        .collect();
    assert!(odd.is_empty(), "not completed once with success: {odd:?}");
    Ok(())
}

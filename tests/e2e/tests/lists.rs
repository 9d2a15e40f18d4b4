//! Long lists: filters, order, fields and pages over thousands of tasks agree with what is there.
//!
//! Nothing runs here: the pool has no nodes, and states come of ending and deleting. The same lists over a million members are
//! in `sweeps.rs`.

use anyhow::ensure;
use muster_e2e::exit_code::INVALID;
use muster_e2e::user::number;
use muster_e2e::{Cluster, User};
use muster_proto::wire;
use muster_proto::wire::task_service_client::TaskServiceClient;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const TASKS: usize = 3_000;

/// A job of many waiting tasks and a sweep; every hundredth task is ended, every three-hundredth deleted after that.
fn many(cluster: &User) -> anyhow::Result<()> {
    let tasks: Vec<Value> = (0..TASKS)
        .map(|id| {
            let name = if id % 10 == 0 { "tenth" } else { "other" };
            json!({ "id": format!("t{id:04}"), "command_line": "/bin/true", "display_name": name })
        })
        .collect();
    cluster.job("many", &tasks)?;
    cluster.ok(&["task", "add", "many", "--sweep", "1-500", "--id", "s", "--", "true"])?;
    cluster.ok(&["sweep", "terminate", "many", "s", "--range", "401-"])?;
    for id in (0..TASKS).step_by(300) {
        cluster.ok(&["task", "terminate", "many", &format!("t{id:04}")])?;
    }
    cluster.ok(&["task", "delete", "many", "t0001"])?;
    Ok(())
}

fn ids(tasks: &[Value]) -> Vec<String> {
    tasks.iter().filter_map(|task| task.get("id")?.as_str().map(str::to_owned)).collect()
}

#[test]
fn filters_orders_fields_and_limits_agree_with_what_is_there() -> anyhow::Result<()> {
    let cluster = Cluster::new().nodes(0).dev()?;
    many(&cluster)?;
    let list = |options: &[&str]| cluster.list(&[&["task", "list", "many"], options].concat());
    for (filter, count) in [
        ("", TASKS - 1 + 500),
        ("state = \"active\"", TASKS - 1 - 10 + 400),
        ("state = \"completed\"", 110),
        ("execution_info.result = \"failure\" AND sweep_id = \"s\"", 100),
        ("display_name = \"tenth\" AND state != \"active\"", 10),
        ("NOT state = \"active\" OR sweep_number <= 5", 115),
        ("id >= \"t2990\" AND id < \"t2995\"", 5),
        ("id = \"T0002\"", 1),
        ("id = \"t0001\"", 0),
        ("sweep_number > 100 AND sweep_number <= 110", 10),
        ("execution_info.exit_code = 0", 0),
    ] {
        let listed = list(&["--filter", filter, "--select", "id"])?;
        let distinct: BTreeSet<String> = ids(&listed).into_iter().collect();
        ensure!(
            listed.len() == count && distinct.len() == count,
            "'{filter}': wanted {count}, got {}",
            listed.len()
        );
    }
    let first = ids(&list(&["--order-by", "id desc", "--limit", "2"])?);
    assert_eq!(first, ["t2999", "t2998"]);
    let ended = list(&[
        "--filter",
        "state = \"completed\" AND sweep_id != \"s\"",
        "--order-by",
        "id",
        "--limit",
        "2",
    ]);
    assert_eq!(ids(&ended?), ["t0000", "t0300"]);
    let by_time = ids(&list(&["--order-by", "state_transition_time desc", "--limit", "1"])?);
    assert_eq!(by_time, ["t2700"], "the last one that was ended");
    let selected = list(&["--select", "id,state", "--limit", "3"])?;
    for task in &selected {
        let fields: BTreeSet<&str> =
            task.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        ensure!(
            fields.is_subset(&BTreeSet::from(["id", "job_id", "state"])) && fields.contains("state"),
            "{task}"
        );
    }
    for (options, words) in [
        (["--filter", "colour = \"red\""], vec!["colour"]),
        (["--filter", "state = active AND"], vec!["filter"]),
        (["--order-by", "colour"], vec!["colour"]),
        (["--order-by", "id upwards"], vec!["upwards"]),
        (["--select", "id,colour"], vec!["colour"]),
    ] {
        cluster.muster(&[&["task", "list", "many"], &options[..]].concat())?.refused(INVALID, &words)?;
    }
    let jobs =
        cluster.list(&["job", "list", "--filter", "id = \"many\"", "--order-by", "create_time desc"])?;
    assert_eq!((ids(&jobs), number(&jobs[0], "/priority").unwrap_or(0)), (vec!["many".to_owned()], 0));
    Ok(())
}

#[test]
fn pages_neither_repeat_nor_hide_while_tasks_come_and_go() -> anyhow::Result<()> {
    let cluster = Cluster::new().nodes(0).dev()?;
    many(&cluster)?;
    let api = cluster.api()?;
    let mut tasks = TaskServiceClient::new(api.wire());
    for order_by in ["id", "id desc", "create_time", "state_transition_time desc"] {
        let (mut token, mut seen, mut pages) = (String::new(), Vec::new(), 0);
        loop {
            let request = wire::ListTasksRequest {
                job_id: "many".into(),
                page_size: 700,
                page_token: token,
                order_by: order_by.into(),
                ..Default::default()
            };
            let page = api.wait(tasks.list_tasks(request))?.into_inner();
            seen.extend(page.tasks.into_iter().map(|task| task.id));
            token = page.next_page_token;
            pages += 1;
            if pages == 2 {
                // Between pages one of the first goes and one comes.
                let id = format!("t{}", order_by.len() * 7 + 11);
                cluster.ok(&["task", "delete", "many", &format!("t{:04}", order_by.len() + 30)])?;
                cluster.ok(&["task", "add", "many", &id, "--", "true"])?;
            }
            if token.is_empty() {
                break;
            }
        }
        let distinct: BTreeSet<&String> = seen.iter().collect();
        ensure!(distinct.len() == seen.len(), "ordered by {order_by}: {} twice", seen.len() - distinct.len());
        ensure!(
            (3_490..=3_505).contains(&seen.len()) && pages >= 5,
            "{order_by}: {} in {pages} pages",
            seen.len()
        );
        for id in ["t0100", "t2999", "s-001", "s-500"] {
            ensure!(seen.iter().any(|seen| seen == id), "ordered by {order_by}: no {id}");
        }
    }
    Ok(())
}

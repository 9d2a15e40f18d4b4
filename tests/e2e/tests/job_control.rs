//! A job that is changed, stopped and started again while its tasks wait and run: priority, parallel tasks, disable, terminate.
//!
//! Running tasks wait for gates, so each change meets them in the state that the test names. How jobs end by themselves is in
//! `job_ends.rs`.

use anyhow::ensure;
use muster_e2e::exit_code::{CONFLICT, NOT_FOUND};
use muster_e2e::user::number;
use muster_e2e::wait::{SOON, when};
use muster_e2e::work::{cause, counts, most_at_one_time};
use muster_e2e::{Api, Cluster, wait_until};
use muster_proto::wire;
use muster_proto::wire::job_service_client::JobServiceClient;
use prost_types::{Duration, FieldMask};
use serde_json::json;
use tonic::Code;

#[test]
fn priority_that_is_raised_reorders_what_waits() -> anyhow::Result<()> {
    let cluster = Cluster::new().slots(1).dev()?;
    cluster.job("first", &[cluster.gated("blocker", "gate")])?;
    cluster.wait_for_lines("started", 1, SOON)?;
    cluster.job("old", &[cluster.noted("o1"), cluster.noted("o2")])?;
    cluster.job_of(&json!({ "id": "young", "priority": -5 }), &[cluster.noted("y1"), cluster.noted("y2")])?;
    cluster.job("middle", &[cluster.noted("m1")])?;
    cluster.ok(&["job", "update", "young", "--priority", "1000"])?;
    cluster.ok(&["job", "update", "old", "--priority", "-1000"])?;
    assert_eq!(number(&cluster.json(&["job", "show", "young"])?, "/priority"), Some(1000));
    cluster.open("gate")?;
    cluster.wait_for_lines("ledger", 6, SOON)?;
    assert_eq!(cluster.shared_lines("ledger"), ["blocker", "y1", "y2", "m1", "o1", "o2"]);
    Ok(())
}

#[test]
fn max_parallel_tasks_holds_and_changes_while_tasks_run() -> anyhow::Result<()> {
    let cluster = Cluster::new().slots(4).dev()?;
    let names = ["a", "b", "c", "d", "e", "f"];
    let tasks: Vec<_> = names.iter().map(|id| cluster.gated(id, "gate")).collect();
    cluster.job_of(&json!({ "id": "held", "max_parallel_tasks": 2 }), &tasks)?;
    cluster.wait_for_counts("held", counts(4, 2, 0, 0))?;
    // There is room, as another job shows, and still no third task starts.
    cluster.still_works()?;
    assert_eq!(cluster.counts("held")?, counts(4, 2, 0, 0));
    for (limit, running) in [("3", 3), ("1", 3), ("-1", 4)] {
        cluster.ok(&["job", "update", "held", "--max-parallel-tasks", limit])?;
        cluster.wait_for_counts("held", counts(6 - running, running, 0, 0))?;
    }
    cluster.open("gate")?;
    cluster.ok(&["job", "wait", "held"])?;
    cluster.ensure_each_once(6)?;

    let quick: Vec<_> = (0..12).map(|id| cluster.passing(&format!("p{id}"))).collect();
    cluster.job_of(&json!({ "id": "quick", "max_parallel_tasks": 2 }), &quick)?;
    cluster.ok(&["job", "wait", "quick"])?;
    let crowd = cluster.shared_lines("crowd");
    assert_eq!((crowd.len(), most_at_one_time(&crowd, |_| 1)), (24, 2), "{crowd:?}");
    cluster.ensure_counts_are_right("quick")
}

#[test]
fn disabled_job_requeues_ends_or_awaits_its_running_tasks_and_goes_on_when_enabled() -> anyhow::Result<()> {
    let cluster = Cluster::new().slots(1).dev()?;
    for (option, at_once, after) in [
        ("requeue", counts(2, 0, 0, 0), counts(0, 0, 2, 0)),
        ("terminate", counts(1, 0, 0, 1), counts(0, 0, 1, 1)),
    ] {
        let gate = format!("{option}-gate");
        let started = cluster.shared_lines("started").len();
        cluster.job(option, &[cluster.gated("1", &gate), cluster.gated("2", &gate)])?;
        cluster.wait_for_lines("started", started + 1, SOON)?;
        cluster.ok(&["job", "disable", option, "--tasks", option])?;
        cluster.wait_for_job(option, "disabled")?;
        cluster.wait_for_counts(option, at_once)?;
        cluster.open(&gate)?;
        cluster.still_works()?;
        assert_eq!(cluster.counts(option)?, at_once, "nothing is placed while it is disabled");
        cluster.ok(&["job", "enable", option])?;
        cluster.wait_for_counts(option, after)?;
        cluster.wait_for_job(option, "active")?;
        cluster.ensure_counts_are_right(option)?;
    }
    let again = cluster.shown("requeue", "1")?;
    assert_eq!(number(&again, "/attempt"), Some(2), "{again}");
    assert_eq!(number(&again, "/execution_info/requeue_count"), Some(1), "{again}");
    assert_eq!(number(&again, "/execution_info/retry_count").unwrap_or(0), 0, "{again}");
    assert_eq!(cause(&cluster.shown("terminate", "1")?), "TERMINATED");
    Ok(())
}

#[test]
fn disabled_job_that_waits_for_its_tasks_is_disabling_until_they_end() -> anyhow::Result<()> {
    let cluster = Cluster::new().slots(1).dev()?;
    cluster.job("patient", &[cluster.gated("1", "gate"), cluster.noted("2")])?;
    cluster.wait_for_lines("started", 1, SOON)?;
    cluster.ok(&["job", "disable", "patient", "--tasks", "wait"])?;
    assert_eq!(cluster.job_state("patient")?, "disabling");
    assert_eq!(cluster.task_state("patient", "1")?, "running");
    // Disabling and disabled jobs take new tasks.
    cluster.add_tasks("patient", &[cluster.noted("3")])?.ok()?;
    cluster.open("gate")?;
    cluster.wait_for_job("patient", "disabled")?;
    cluster.wait_for_counts("patient", counts(2, 0, 1, 0))?;
    cluster.ok(&["job", "disable", "patient", "--tasks", "wait"])?;
    cluster.ok(&["job", "enable", "patient"])?;
    cluster.ok(&["job", "wait", "patient"])?;
    assert_eq!(number(&cluster.shown("patient", "1")?, "/attempt"), Some(1));
    cluster.ensure_each_once(3)
}

#[test]
fn terminated_job_ends_everything_and_keeps_the_reason_and_a_deleted_one_is_gone() -> anyhow::Result<()> {
    let cluster = Cluster::new().slots(1).dev()?;
    cluster.job("over", &[cluster.gated("runs", "never"), cluster.noted("waits")])?;
    cluster.wait_for_lines("started", 1, SOON)?;
    cluster.ok(&["job", "terminate", "over", "--reason", "the scene is wrong"])?;
    let shown = cluster.wait_for_job("over", "completed")?;
    assert_eq!(shown.pointer("/execution_info/terminate_reason"), Some(&json!("the scene is wrong")));
    ensure!(shown.pointer("/execution_info/end_time").is_some(), "{shown}");
    cluster.wait_for_counts("over", counts(0, 0, 0, 2))?;
    for task in ["runs", "waits"] {
        assert_eq!(cause(&cluster.shown("over", task)?), "TERMINATED");
    }
    cluster.job("gone", &[cluster.gated("runs", "never"), cluster.noted("waits")])?;
    cluster.wait_for_lines("started", 2, SOON)?;
    cluster.ok(&["job", "delete", "gone"])?;
    wait_until(SOON, "the job to be gone", || {
        Ok(when(cluster.muster(&["job", "show", "gone"])?.code() == NOT_FOUND))
    })?;
    cluster.muster(&["task", "list", "gone"])?.refused(NOT_FOUND, &["gone"])?;
    // The id is free again, and nothing of the first is in the second.
    cluster.job("gone", &[cluster.noted("new")])?;
    cluster.ok(&["job", "wait", "gone"])?;
    assert_eq!(cluster.shared_lines("ledger"), ["new"]);
    cluster.ensure_counts_are_right("gone")
}

/// A job with everything that can change set to something.
fn full_job() -> wire::Job {
    let item = wire::MetadataItem { name: "who".into(), value: "me".into() };
    wire::Job {
        id: "full".into(),
        display_name: "Full".into(),
        pool_info: Some(wire::job::PoolInfo::PoolId("default".into())),
        priority: 7,
        max_parallel_tasks: Some(3),
        constraints: Some(wire::JobConstraints { max_wall_clock_time: None, max_task_retry_count: Some(2) }),
        metadata: vec![item],
        ..Default::default()
    }
}

fn update(api: &Api, job: wire::Job, paths: Option<&[&str]>, etag: &str) -> Result<wire::Job, tonic::Status> {
    let mask = paths.map(|paths| FieldMask { paths: paths.iter().map(|&path| path.to_owned()).collect() });
    let request =
        wire::UpdateJobRequest { job: Some(job), update_mask: mask, etag: etag.into(), ..Default::default() };
    api.wait(JobServiceClient::new(api.wire()).update_job(request)).map(tonic::Response::into_inner)
}

fn changed(id: &str) -> wire::Job {
    wire::Job { id: id.into(), ..Default::default() }
}

#[test]
fn patch_keeps_what_it_does_not_name_and_put_resets_it() -> anyhow::Result<()> {
    let cluster = Cluster::new().nodes(0).dev()?;
    let api = cluster.api()?;
    let created = wire::CreateJobRequest { job: Some(full_job()), ..Default::default() };
    let first = api.wait(JobServiceClient::new(api.wire()).create_job(created))?.into_inner();

    let patched = update(&api, wire::Job { priority: 9, ..changed("full") }, None, "")?;
    assert_eq!((patched.priority, patched.max_parallel_tasks), (9, Some(3)));
    assert_eq!((patched.display_name.as_str(), patched.metadata.len()), ("Full", 1));
    ensure!(patched.etag != first.etag, "a change has a new etag");

    // `constraints` is one field: its retries go when it is replaced by one without.
    let clock = wire::JobConstraints {
        max_wall_clock_time: Some(Duration { seconds: 3600, nanos: 0 }),
        max_task_retry_count: None,
    };
    let patched = update(&api, wire::Job { constraints: Some(clock), ..changed("full") }, None, "")?;
    let constraints = patched.constraints.unwrap_or_default();
    assert_eq!(constraints.max_task_retry_count.unwrap_or(0), 0);
    assert_eq!(constraints.max_wall_clock_time.map(|span| span.seconds), Some(3600));

    let cleared = update(&api, changed("full"), Some(&["metadata"]), "")?;
    assert_eq!((cleared.metadata.len(), cleared.priority), (0, 9));

    let put = update(&api, wire::Job { display_name: "Put".into(), ..changed("full") }, Some(&["*"]), "")?;
    assert_eq!((put.display_name.as_str(), put.priority), ("Put", 0));
    assert_eq!(put.max_parallel_tasks.unwrap_or(-1), -1);
    ensure!(put.constraints.unwrap_or_default().max_wall_clock_time.is_none());
    assert_eq!(put.pool_info, Some(wire::job::PoolInfo::PoolId("default".into())), "a job has a pool");

    // The command line changes what is given, or with --replace everything.
    cluster.ok(&["job", "update", "full", "--priority", "3", "--metadata", "who=me"])?;
    cluster.ok(&["job", "update", "full", "--max-parallel-tasks", "8"])?;
    let shown = cluster.json(&["job", "show", "full"])?;
    assert_eq!((number(&shown, "/priority"), number(&shown, "/max_parallel_tasks")), (Some(3), Some(8)));
    assert_eq!(shown.pointer("/metadata/0/value"), Some(&json!("me")), "{shown}");
    cluster.ok(&["job", "update", "full", "--replace", "--max-retries", "1"])?;
    let shown = cluster.json(&["job", "show", "full"])?;
    assert_eq!(
        (number(&shown, "/priority").unwrap_or(0), number(&shown, "/max_parallel_tasks")),
        (0, Some(-1))
    );
    assert_eq!((shown.get("metadata"), shown.get("display_name")), (None, None), "{shown}");
    assert_eq!(number(&shown, "/constraints/max_task_retry_count"), Some(1), "{shown}");
    Ok(())
}

#[test]
fn change_for_another_etag_is_refused_and_changes_nothing() -> anyhow::Result<()> {
    let cluster = Cluster::new().nodes(0).dev()?;
    cluster.ok(&["job", "create", "j", "--pool", "default"])?;
    let shown = cluster.json(&["job", "show", "j"])?;
    let etag = shown.get("etag").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
    cluster.ok(&["job", "update", "j", "--priority", "5", "--etag", &etag])?;
    let before = cluster.json(&["job", "show", "j"])?;
    let again = cluster.muster(&["job", "update", "j", "--priority", "6", "--etag", &etag])?;
    again.refused(CONFLICT, &["'j'", "changed", &etag])?;

    let api = cluster.api()?;
    let mut jobs = JobServiceClient::new(api.wire());
    let refused = update(&api, wire::Job { priority: 8, ..changed("j") }, None, &etag);
    assert_eq!(refused.err().map(|status| status.code()), Some(Code::Aborted));
    let terminate =
        wire::TerminateJobRequest { job_id: "j".into(), etag: etag.clone(), ..Default::default() };
    let delete = wire::DeleteJobRequest { job_id: "j".into(), etag: etag.clone(), ..Default::default() };
    let disable = wire::DisableJobRequest { job_id: "j".into(), etag: etag.clone(), ..Default::default() };
    let codes = [
        api.wait(jobs.terminate_job(terminate)).err().map(|status| status.code()),
        api.wait(jobs.delete_job(delete)).err().map(|status| status.code()),
        api.wait(jobs.disable_job(disable)).err().map(|status| status.code()),
    ];
    assert_eq!(codes, [Some(Code::Aborted); 3]);
    assert_eq!(cluster.json(&["job", "show", "j"])?, before, "nothing changed");
    Ok(())
}

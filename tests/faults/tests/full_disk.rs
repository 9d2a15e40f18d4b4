//! The disk under the controller's data is full: new work is refused in words, everything else goes on, and what ended meanwhile
//! is recorded when there is room again.
//!
//! The disk is a real file system of its own, filled to the last block for longer than the leases of the nodes.

use anyhow::{Context, ensure};
use muster_e2e::split::Split;
use muster_e2e::user::{number, script_task};
use muster_e2e::wait::{SOON, WORK, when};
use muster_e2e::work::with;
use muster_e2e::{Api, Cluster, User, wait_until};
use muster_faults::disk::{Ballast, Image, Kind};
use muster_proto::wire;
use muster_proto::wire::task_service_client::TaskServiceClient;
use serde_json::json;
use std::time::{Duration, Instant};
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt;

/// A lease that the disk is full for longer than.
const LEASE: Duration = Duration::from_secs(3);
const FLAGS: [&str; 4] = ["--lease-ttl", "3s", "--lease-margin", "1s"];

/// A cluster whose controller has a small disk of its own, or `None` on a machine that cannot do this.
fn cluster_on_a_small_disk(test: &str) -> anyhow::Result<Option<Split>> {
    if let Some(missing) = Image::missing() {
        eprintln!("skipped: {test}: this machine has no {missing}");
        return Ok(None);
    }
    let mut split = Cluster::new().slots(2).controller_flags(&FLAGS).prepare()?;
    let disk = Image::mount(Kind::Ext4, &split.controller_folder(), 128)?;
    split.hold(disk);
    split.begin()?;
    Ok(Some(split))
}

/// Adds a task with so many kilobytes of environment, as it is.
fn add(api: &Api, id: &str, kilobytes: usize) -> Result<wire::Task, Status> {
    let task = wire::Task {
        id: id.to_owned(),
        command_line: "true".to_owned(),
        environment_settings: vec![wire::EnvironmentSetting {
            name: "BULK".to_owned(),
            value: "x".repeat(kilobytes * 1024),
        }],
        ..Default::default()
    };
    let request =
        wire::CreateTaskRequest { job_id: "bulk".to_owned(), task: Some(task), ..Default::default() };
    let mut tasks = TaskServiceClient::new(api.wire());
    api.wait(tasks.create_task(request)).map(tonic::Response::into_inner)
}

/// Adds tasks until one is refused: how many were added, and the refusal.
fn add_until_refused(api: &Api) -> anyhow::Result<(usize, Status)> {
    let mut added = 0;
    wait_until(WORK, "a refusal", || match add(api, &format!("t{added}"), 16) {
        Ok(_) => {
            added += 1;
            Ok(None)
        }
        Err(status) => Ok(Some((added, status))),
    })
}

fn ensure_refused_in_words(refusal: &Status) -> anyhow::Result<()> {
    ensure!(refusal.code() == Code::ResourceExhausted, "{refusal:?}");
    let details = refusal.get_error_details();
    let delay = details.retry_info().and_then(|info| info.retry_delay);
    ensure!(delay.is_some_and(|delay| !delay.is_zero()), "it says when to come again: {details:?}");
    let said = refusal.message().to_lowercase();
    ensure!(said.contains("disk") || said.contains("space"), "it says what is wrong: {said}");
    Ok(())
}

fn health(api: &Api) -> anyhow::Result<i32> {
    let mut health = HealthClient::new(api.wire());
    Ok(api.wait(health.check(HealthCheckRequest::default()))?.into_inner().status)
}

/// A task that lives until its gate opens, and notes its beginning and end outside of every small disk.
fn gated(cluster: &User, id: &str) -> serde_json::Value {
    with(cluster.gated(id, "gate"), &json!({ "constraints": { "max_task_retry_count": 0 } }))
}

#[test]
fn full_disk_of_the_controller_refuses_new_work_and_costs_no_running_task() -> anyhow::Result<()> {
    let Some(cluster) = cluster_on_a_small_disk("full disk")? else { return Ok(()) };
    cluster.job("living", &[gated(&cluster, "one"), script_task("two", "exit 7")])?;
    cluster.ok(&["job", "create", "bulk", "--pool", "default"])?;
    cluster.completed("living", "two")?;
    cluster.wait_for_lines("started", 1, SOON)?;
    let api = cluster.api()?;
    let ballast = Ballast::fill(&cluster.controller_folder())?;
    let (added, refusal) = add_until_refused(&api)?;
    ensure_refused_in_words(&refusal)?;
    assert_eq!(health(&api)?, i32::from(ServingStatus::NotServing), "health tells it to load balancers");
    // Reads go on, and know what was acknowledged.
    assert_eq!(cluster.list(&["task", "list", "bulk"])?.len(), added, "acknowledged and there");
    let since = Instant::now();
    // The task ends while its end cannot be recorded; the node is heard all the while.
    cluster.open("gate")?;
    cluster.wait_for_lines("ledger", 1, SOON)?;
    wait_until(SOON, "two leases", || Ok(when(since.elapsed() >= LEASE * 2)))?;
    let nodes = cluster.list(&["node", "list", "default"])?;
    ensure!(!nodes[0].to_string().to_lowercase().contains("unknown"), "its node was given up: {nodes:?}");
    drop(ballast);
    let ended = cluster.completed("living", "one")?;
    assert_eq!(number(&ended, "/attempt"), Some(1), "{ended}");
    assert_eq!(number(&ended, "/execution_info/exit_code"), Some(0), "{ended}");
    wait_until(SOON, "the controller to serve again", || {
        Ok(when(health(&api)? == i32::from(ServingStatus::Serving)))
    })?;
    wait_until(SOON, "new work to be taken", || Ok(when(add(&api, "after", 16).is_ok())))?;
    ensure!(cluster.list(&["task", "list", "bulk"])?.len() > added, "what was acknowledged is there");
    cluster.still_works()
}

#[test]
fn controller_that_is_killed_and_started_on_a_full_disk_has_lost_nothing() -> anyhow::Result<()> {
    let Some(mut cluster) = cluster_on_a_small_disk("start on a full disk")? else { return Ok(()) };
    cluster.job("living", &[gated(&cluster, "one")])?;
    cluster.ok(&["job", "create", "bulk", "--pool", "default"])?;
    cluster.wait_for_lines("started", 1, SOON)?;
    let ballast = Ballast::fill(&cluster.controller_folder())?;
    let (added, _) = add_until_refused(&cluster.api()?)?;
    cluster.kill_controller()?;
    match cluster.start_controller() {
        // It serves what it can: reads, and the leases of its nodes.
        Ok(()) => {
            cluster.wait_for_nodes("default", 1).context("nodes come back on a full disk")?;
            assert_eq!(cluster.list(&["task", "list", "bulk"])?.len(), added);
            drop(ballast);
        }
        Err(error) => {
            let said = format!("{error:#}").to_lowercase();
            ensure!(said.contains("disk") || said.contains("space"), "it says why it does not start: {said}");
            drop(ballast);
            cluster.start_controller()?;
        }
    }
    cluster.wait_for_nodes("default", 1)?;
    assert_eq!(cluster.list(&["task", "list", "bulk"])?.len(), added);
    cluster.open("gate")?;
    let ended = cluster.completed("living", "one")?;
    assert_eq!(number(&ended, "/execution_info/exit_code"), Some(0), "{ended}");
    assert_eq!(number(&ended, "/attempt"), Some(1), "{ended}");
    cluster.still_works()
}

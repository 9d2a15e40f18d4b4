//! The disk under the controller's data is full: what that costs, and what it does not.
//!
//! The data folder lies on a small file system of its own, which a file fills to the last byte. What runs goes on, what ends
//! is recorded as long as there is a reserve, what is new is refused in words, and nothing has to be started again.

use anyhow::{Context, ensure};
use muster_e2e::split::Split;
use muster_e2e::wait::{SOON, WORK, wait_until, when};
use muster_e2e::{Api, Cluster, Tmpfs};
use muster_proto::wire;
use muster_proto::wire::job_service_client::JobServiceClient;
use muster_proto::wire::pool_service_client::PoolServiceClient;
use serde_json::json;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt;

/// Short, so that the disk can be full for several of them; long enough for a busy machine.
const LEASE: [&str; 4] = ["--lease-ttl", "4s", "--lease-margin", "1s"];
const LEASES: Duration = Duration::from_secs(12);

/// The reserve is a sixteenth of it.
const DISK_MEGABYTES: u32 = 64;

/// How long an ordered stop may take: calls under way have ten seconds, the disk three.
const STOP_MAX: Duration = Duration::from_secs(25);

/// How long an answer is waited for that comes soon or not at all.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// A cluster whose controller's data lies on a disk of its own, with a task that waits for the gate.
fn cluster() -> anyhow::Result<Split> {
    let mut cluster = Cluster::new().controller_flags(&LEASE).prepare()?;
    let folder = cluster.controller_folder();
    cluster.hold(Tmpfs::mount(&folder, DISK_MEGABYTES)?);
    cluster.begin()?;
    cluster.job("film", &[cluster.gated("slow", "gate")])?;
    cluster.wait_for_lines("started", 1, SOON)?;
    Ok(cluster)
}

fn filler(folder: &Path) -> PathBuf {
    folder.join("filler")
}

/// Takes every byte that is left on the disk of a folder.
fn fill(folder: &Path) -> anyhow::Result<()> {
    let mut file = File::options().append(true).create(true).open(filler(folder))?;
    let mut size = 1 << 20;
    while size > 0 {
        if file.write_all(&vec![7; size]).is_err() {
            size /= 2;
        }
    }
    Ok(())
}

fn create_pool(api: &Api, number: u32) -> Result<(), Status> {
    // Some hundred bytes of a description make the disk full the sooner.
    let pool = wire::Pool { id: format!("p{number}"), display_name: "x".repeat(1_000), ..Default::default() };
    let request = wire::CreatePoolRequest { pool: Some(pool), ..Default::default() };
    api.wait(PoolServiceClient::new(api.wire()).create_pool(request)).map(drop)
}

fn delete_job(api: &Api, job: &str) -> Result<(), Status> {
    let mut request =
        tonic::Request::new(wire::DeleteJobRequest { job_id: job.to_owned(), ..Default::default() });
    // One that is taken waits for its answer as long as it takes.
    request.set_timeout(ANSWER_MAX);
    api.wait(JobServiceClient::new(api.wire()).delete_job(request)).map(drop)
}

/// Creates pools until there is no room for another; the refusal.
fn work_until_refused(api: &Api) -> anyhow::Result<Status> {
    let refused = |number| create_pool(api, number).err();
    (0..10_000).find_map(refused).context("ten thousand pools found room on a full disk")
}

fn health(api: &Api, service: &str) -> anyhow::Result<ServingStatus> {
    let request = HealthCheckRequest { service: service.to_owned() };
    let answer = api.wait(HealthClient::new(api.wire()).check(request))?;
    Ok(answer.into_inner().status())
}

fn wait_for_health(api: &Api, wanted: ServingStatus) -> anyhow::Result<()> {
    wait_until(SOON, "the health service to say it", || Ok(when(health(api, "")? == wanted)))?;
    ensure!(health(api, "muster.v1.reads")? == ServingStatus::Serving);
    Ok(())
}

fn ensure_is_full(refusal: &Status, folder: &Path) -> anyhow::Result<()> {
    ensure!(refusal.code() == Code::ResourceExhausted, "{refusal:?}");
    let words = refusal.message();
    ensure!(words.contains("disk") && words.contains("free"), "{words}");
    ensure!(!words.contains(&*folder.to_string_lossy()), "a client has no use for the path: {words}");
    let retry = refusal.get_details_retry_info().context("no time to come again")?;
    ensure!(retry.retry_delay.is_some_and(|delay| delay > Duration::ZERO));
    Ok(())
}

/// The node has had one session and no other, for some leases.
fn ensure_leases_go_on(cluster: &mut Split) -> anyhow::Result<()> {
    let start = Instant::now();
    wait_until(WORK, "some leases to pass", || Ok(when(start.elapsed() > LEASES)))?;
    let log = cluster.controller()?.log();
    ensure!(log.matches("a node has connected").count() == 1, "the node's session did not hold:\n{log}");
    let nodes = cluster.json(&["node", "list", "default"])?;
    ensure!(nodes.to_string().contains("NODE_STATE_RUNNING"), "the node was given up: {nodes}");
    ensure!(cluster.shown("film", "slow")?["state"] == json!("TASK_STATE_RUNNING"));
    Ok(())
}

#[test]
fn a_full_disk_refuses_what_is_new_and_costs_nothing_that_runs_also_over_a_restart() -> anyhow::Result<()> {
    let mut cluster = cluster()?;
    let (folder, api) = (cluster.controller_folder(), cluster.api()?);
    wait_for_health(&api, ServingStatus::Serving)?;
    fill(&folder)?;
    ensure_is_full(&work_until_refused(&api)?, &folder)?;
    wait_for_health(&api, ServingStatus::NotServing)?;
    ensure_leases_go_on(&mut cluster)?;
    // On the reserve what runs ends and is recorded, and what is there can be removed.
    cluster.open("gate")?;
    ensure!(cluster.completed("film", "slow")?["execution_info"]["exit_code"] == json!(0));
    delete_job(&api, "film")?;
    ensure_is_full(&work_until_refused(&api)?, &folder)?;

    cluster.kill_controller()?;
    fill(&folder)?;
    cluster.start_controller()?;
    let api = cluster.api()?;
    wait_for_health(&api, ServingStatus::NotServing)?;
    ensure_is_full(&work_until_refused(&api)?, &folder)?;
    ensure!(cluster.json(&["pool", "show", "default"])?["id"] == json!("default"));
    fs::remove_file(filler(&folder))?;
    wait_for_health(&api, ServingStatus::Serving)?;
    cluster.wait_for_nodes("default", 1)?;
    cluster.still_works()
}

#[test]
fn without_any_room_nothing_is_acknowledged_and_stopping_ends_and_loses_nothing() -> anyhow::Result<()> {
    let mut cluster = cluster()?;
    let (folder, api) = (cluster.controller_folder(), cluster.api()?);
    fill(&folder)?;
    work_until_refused(&api)?;
    // What the reserve has given back goes too.
    fill(&folder)?;
    cluster.open("gate")?;
    let refused = wait_until(SOON, "not even a removal to find room", || {
        Ok(delete_job(&api, "none").err().filter(|refusal| refusal.code() == Code::ResourceExhausted))
    })?;
    ensure_is_full(&refused, &folder)?;
    wait_for_health(&api, ServingStatus::NotServing)?;
    ensure_leases_go_on(&mut cluster)?;
    let start = Instant::now();
    cluster.stop_controller()?;
    ensure!(start.elapsed() < STOP_MAX, "stopping took {:?}", start.elapsed());
    fs::remove_file(filler(&folder))?;
    cluster.start_controller()?;
    ensure!(cluster.completed("film", "slow")?["execution_info"]["exit_code"] == json!(0));
    ensure!(cluster.shared_lines("ledger") == ["slow"], "the task ran once");
    cluster.still_works()
}

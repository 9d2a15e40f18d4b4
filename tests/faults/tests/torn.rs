//! A commit that nobody was told of comes to the disk in part, in every form that a disk can give it: the controller starts and
//! has everything that was acknowledged.
//!
//! That nobody was told is made sure of by losing the answers on their way: the clients of a network of its own hear nothing
//! while the controller commits, and no node is there that could have been told either.

use anyhow::{Context, ensure};
use muster_e2e::split::Split;
use muster_e2e::user::word;
use muster_e2e::{Api, Cluster};
use muster_faults::Chance;
use muster_faults::net::{Line, Manner, Room, Way, in_a_room};
use muster_faults::torn::{Log, Tear};
use muster_proto::wire;
use muster_proto::wire::task_service_client::TaskServiceClient;
use std::collections::BTreeSet;
use std::time::Duration;
use tonic::{Request, Status};

/// How often each kind of tear is tried, each time at another place.
const TRIES: u32 = 4;

/// For how long a client waits for an answer that never comes: long beside a commit.
const DEAFNESS: Duration = Duration::from_millis(700);

fn log(cluster: &Split) -> anyhow::Result<Log> {
    Log::read(&cluster.controller_folder().join("muster.db"))?.context("the database has no log")
}

fn add(api: &Api, id: &str, patience: Duration) -> Result<(), Status> {
    let task = wire::Task { id: id.to_owned(), command_line: "true".to_owned(), ..Default::default() };
    let mut request = Request::new(wire::CreateTaskRequest {
        job_id: "kept".to_owned(),
        task: Some(task),
        ..Default::default()
    });
    request.set_timeout(patience);
    api.wait(TaskServiceClient::new(api.wire()).create_task(request)).map(drop)
}

fn tasks(cluster: &Split) -> anyhow::Result<BTreeSet<String>> {
    Ok(cluster.list(&["task", "list", "kept"])?.iter().filter_map(|task| word(task, "/id")).collect())
}

/// Has the controller commit a task that nobody is told of, kills it and tears what it wrote for that; where.
fn tear_what_nobody_was_told(
    cluster: &mut Split,
    room: &Room,
    number: usize,
    tear: Tear,
    chance: &mut Chance,
) -> anyhow::Result<usize> {
    let (_, port) = cluster.ready()?.endpoint.rsplit_once(':').context("an endpoint without a port")?;
    let line = Line::Clients(port.parse()?);
    let api = cluster.api()?;
    // It also makes the connection, which could not be made without answers.
    add(&api, &format!("told-{number}"), DEAFNESS * 20).context("an ordinary task")?;
    let before = log(cluster)?;
    let cut = room.cut(line, Way::FromController, Manner::Silent)?;
    let untold = add(&api, &format!("untold-{number}"), DEAFNESS);
    ensure!(untold.is_err(), "nobody hears the controller");
    cluster.kill_controller()?;
    cut.heal()?;
    let after = log(cluster)?;
    ensure!(after.salts() == before.salts(), "the log was begun anew: this test writes too much");
    ensure!(!after.commits_behind(before.end()).is_empty(), "the untold task was not committed");
    after.tear(before.end(), tear, |bound| chance.index(bound))
}

#[test]
fn torn_commit_that_nobody_was_told_of_costs_nothing_that_was_acknowledged() -> anyhow::Result<()> {
    if let Some(missing) = Room::missing() {
        eprintln!("skipped: torn commits: this machine has no {missing}");
        return Ok(());
    }
    in_a_room(0, || {
        let room = Room::current()?;
        let mut cluster = Cluster::new().nodes(0).split()?;
        cluster.ok(&["job", "create", "kept", "--pool", "default"])?;
        let mut chance = Chance::of(5, "torn");
        let mut told = BTreeSet::new();
        let mut untold = BTreeSet::new();
        for tear in (0..TRIES).flat_map(|_| Tear::ALL) {
            let number = told.len();
            told.insert(format!("told-{number}"));
            let place = tear_what_nobody_was_told(&mut cluster, &room, number, tear, &mut chance)?;
            cluster.start_controller().with_context(|| format!("{tear:?} at {place}"))?;
            let there = tasks(&cluster)?;
            ensure!(told.is_subset(&there), "{tear:?} at {place}: lost {:?}", told.difference(&there));
            untold.extend(there.difference(&told).cloned());
            ensure!(untold.is_subset(&there), "{tear:?} at {place}: what was there once stays: {there:?}");
        }
        eprintln!("of {} commits that nobody was told of, {} came through", told.len(), untold.len());
        ensure!(untold.len() < told.len(), "nothing was torn");
        Ok(())
    })
}

//! A controller under pressure: floods of connections, abuse of HTTP/2, clients that ask too much, readers that never read.
//!
//! Each test presses and looks at what must not suffer: calls of honest clients, the nodes' sessions and leases, the
//! controller's memory and open files. Limits are set low, so that a few thousand connections of a debug build do what a
//! hundred thousand do to the defaults.

use anyhow::{Context, ensure};
use muster_e2e::api::{Access, bearer};
use muster_e2e::disguise::{Who, wrapped};
use muster_e2e::pipe::Pipe;
use muster_e2e::pressure::{Abuse, Ended, Flood, Idler, Target, attack, open_files, resident_kib};
use muster_e2e::split::Split;
use muster_e2e::wait::{SOON, WORK, wait_until, when};
use muster_e2e::{Api, Cluster, User};
use muster_proto::wire;
use muster_proto::wire::pool_service_client::PoolServiceClient;
use muster_proto::wire::task_service_client::TaskServiceClient;
use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// Limits that a small flood passes, and a lease that a session which is held up would lose: what is turned away for a
/// hundred places of strangers comes again twice in a second.
const TIGHT: [&str; 12] = [
    "--strangers-connections-max",
    "100",
    "--strangers-per-source-max",
    "40",
    "--strangers-handshake-max",
    "2s",
    "--strangers-time-max",
    "3s",
    "--lease-ttl",
    "15s",
    "--lease-margin",
    "2s",
];

/// Files of the controller that are not connections (libraries' own, the database, logs), and connections that were told to
/// go and are about to.
const OTHER_FILES: usize = 200;

/// An honest call may be slowed down by thousands of connections on two cores that other tests use, too; not held up.
const CALL_MAX: Duration = Duration::from_secs(10);

/// Both listeners of a cluster.
fn targets(cluster: &Split) -> anyhow::Result<[Target; 2]> {
    let ready = cluster.ready()?;
    let ca_cert = fs::read(&ready.ca_cert)?;
    Ok([Target::new(&ready.endpoint, &ca_cert)?, Target::new(&ready.node_endpoint, &ca_cert)?])
}

/// Makes honest calls, each on a connection of its own, and answers the longest.
fn honest_calls(cluster: &User, count: usize) -> anyhow::Result<Duration> {
    let mut longest = Duration::ZERO;
    for _ in 0..count {
        let started = Instant::now();
        cluster.ok(&["pool", "list"])?;
        longest = longest.max(started.elapsed());
    }
    Ok(longest)
}

/// The node has had one session and no other.
fn ensure_session_held(cluster: &mut Split) -> anyhow::Result<()> {
    let log = cluster.controller()?.log();
    ensure!(log.matches("a node has connected").count() == 1, "the node's session did not hold:\n{log}");
    Ok(())
}

/// Presses both listeners with a flood, makes honest calls meanwhile, and looks at what must not suffer.
fn withstand(idler: Idler, count: usize) -> anyhow::Result<()> {
    let mut cluster = Cluster::new().controller_flags(&TIGHT).split()?;
    let [clients, nodes] = targets(&cluster)?;
    let process = cluster.controller()?.id();
    let before = resident_kib(process)?;
    let floods = [Flood::start(&clients, idler, count, 10)?, Flood::start(&nodes, idler, count, 10)?];
    // The floods are at work when more have come than there are places, and some had to go.
    wait_until(WORK, "the floods to be turned away", || {
        Ok(when(floods.iter().all(|flood| {
            let (opened, closed) = flood.so_far();
            opened > 300 && closed > 200
        })))
    })?;
    let longest = honest_calls(&cluster, 10)?;
    ensure!(longest < CALL_MAX, "an honest call took {longest:?}");
    cluster.still_works()?;
    let files = open_files(process)?;
    ensure!(files < 2 * 100 + OTHER_FILES, "{files} files are open");
    let grown = resident_kib(process)?.saturating_sub(before);
    // Two listeners' strangers at a hundred KiB each, of which the debug build takes its share.
    ensure!(grown < 96 * 1024, "memory has grown by {grown} KiB");
    drop(floods);
    ensure_session_held(&mut cluster)
}

#[test]
fn half_open_connections_hold_up_neither_clients_nor_nodes() -> anyhow::Result<()> {
    withstand(Idler::Silent, 1000)
}

#[test]
fn slow_handshakes_hold_up_neither_clients_nor_nodes() -> anyhow::Result<()> {
    // Those that speak have a second each: with a hundred places, three hundred of them make an honest client wait for three.
    withstand(Idler::Dribbling, 300)
}

#[test]
fn idle_connections_and_calls_without_an_end_hold_up_neither_clients_nor_nodes() -> anyhow::Result<()> {
    withstand(Idler::HalfCall, 200)
}

#[test]
fn a_connection_on_which_nobody_shows_who_they_are_is_closed_in_time() -> anyhow::Result<()> {
    let cluster = Cluster::new().nodes(0).controller_flags(&TIGHT).split()?;
    let [clients, _] = targets(&cluster)?;
    let started = Instant::now();
    let flood = Flood::start(&clients, Idler::Shaken, 1, 1)?;
    wait_until(SOON, "the stranger to be shown out", || Ok(when(flood.so_far().1 > 0)))?;
    ensure!(started.elapsed() > Duration::from_secs(2), "too early: {:?}", started.elapsed());
    Ok(())
}

#[test]
fn a_controller_with_few_open_files_takes_fewer_connections_and_says_so() -> anyhow::Result<()> {
    let mut cluster = Cluster::new().nodes(0).prepare()?;
    cluster.disguise(|who, command| match who {
        Who::Controller => wrapped(&command, "sh", &["-c", "ulimit -n 200 && exec \"$0\" \"$@\""]),
        Who::Agent(_) => command,
    });
    cluster.begin()?;
    let log = cluster.controller()?.log();
    ensure!(log.contains("the limit of open files is below") && log.contains("taken=75"), "{log}");
    let [clients, _] = targets(&cluster)?;
    let flood = Flood::start(&clients, Idler::Silent, 400, 4)?;
    wait_until(WORK, "the flood to be turned away", || Ok(when(flood.so_far().1 > 100)))?;
    let longest = honest_calls(&cluster, 3)?;
    ensure!(longest < CALL_MAX, "an honest call took {longest:?}");
    let files = open_files(cluster.controller()?.id())?;
    ensure!(files <= 200, "{files} files are open");
    drop(flood);
    honest_calls(&cluster, 1).map(drop)
}

#[test]
fn abuse_of_http2_is_stopped_and_costs_no_memory() -> anyhow::Result<()> {
    /// Far more than any bound lets through, and than memory is allowed to grow.
    const ENDLESS: usize = 96 * 1024 * 1024;
    let mut cluster = Cluster::new().controller_flags(&TIGHT).split()?;
    let [clients, _] = targets(&cluster)?;
    let token = bearer(cluster.setting("MUSTER_ACCOUNT")?, cluster.setting("MUSTER_KEY")?)?;
    let process = cluster.controller()?.id();
    let before = resident_kib(process)?;
    for abuse in Abuse::ALL {
        let ended = attack(&clients, abuse, None, ENDLESS)?;
        ensure!(ended != Ended::Sent, "{abuse:?} of a stranger is taken without end");
        // Of who is known some of it is work like other work; memory must not follow.
        let ended = attack(&clients, abuse, Some(&token), ENDLESS / 4)?;
        let is_work = matches!(abuse, Abuse::Pings | Abuse::Settings | Abuse::RapidReset);
        ensure!(is_work || ended != Ended::Sent, "{abuse:?} is taken without end");
        let grown = resident_kib(process)?.saturating_sub(before);
        ensure!(grown < 64 * 1024, "{abuse:?} made memory grow by {grown} KiB");
    }
    cluster.still_works()?;
    ensure_session_held(&mut cluster)
}

fn api_of(cluster: &User, account: &str, key: &str) -> anyhow::Result<Api> {
    Api::connect(Access {
        endpoint: cluster.setting("MUSTER_ENDPOINT")?.to_owned(),
        ca_cert: fs::read(cluster.setting("MUSTER_CA_CERT")?)?,
        bearer: Some(bearer(account, key)?),
        identity: None,
    })
}

fn delay_of(status: &Status) -> Option<Duration> {
    status.get_details_retry_info()?.retry_delay
}

#[test]
fn an_account_that_calls_too_often_is_told_when_to_come_back_and_others_are_not() -> anyhow::Result<()> {
    let cluster = Cluster::new()
        .nodes(0)
        .controller_flags(&["--accounts-reads-per-second", "4", "--accounts-burst", "1s"])
        .split()?;
    let made = cluster.json(&["account", "create", "other"])?;
    let other = made.pointer("/keys/primary").and_then(serde_json::Value::as_str).context("no key")?;
    let list = |api: &Api| {
        let mut pools = PoolServiceClient::new(api.wire());
        api.wait(async move { pools.list_pools(wire::ListPoolsRequest::default()).await.map(drop) })
    };
    let hasty = api_of(&cluster, cluster.setting("MUSTER_ACCOUNT")?, cluster.setting("MUSTER_KEY")?)?;
    let refused = (0..50).find_map(|_| list(&hasty).err()).context("nothing was refused")?;
    ensure!(refused.code() == Code::ResourceExhausted, "{refused}");
    let delay = delay_of(&refused).context("no delay")?;
    ensure!(delay > Duration::ZERO && delay <= Duration::from_secs(1), "{delay:?}");
    list(&api_of(&cluster, "other", other)?)?;
    // Our own client waits as long as it is told, so its user sees no refusal.
    let started = Instant::now();
    for _ in 0..10 {
        cluster.ok(&["pool", "list"])?;
    }
    ensure!(
        started.elapsed() > Duration::from_secs(1),
        "ten calls at four a second: {:?}",
        started.elapsed()
    );
    Ok(())
}

#[test]
fn callers_without_good_credentials_are_slowed_down_and_honest_ones_beside_them_are_not() -> anyhow::Result<()>
{
    let cluster = Cluster::new().nodes(0).controller_flags(&["--strangers-calls-per-second", "1"]).split()?;
    let (account, key) = (cluster.setting("MUSTER_ACCOUNT")?, cluster.setting("MUSTER_KEY")?);
    let wrong = if key.starts_with('A') { key.replacen('A', "B", 1) } else { format!("A{}", &key[1..]) };
    let guess = || -> anyhow::Result<Status> {
        let api = api_of(&cluster, account, &wrong)?;
        let mut pools = PoolServiceClient::new(api.wire());
        let answer = api.wait(pools.list_pools(wire::ListPoolsRequest::default()));
        answer.err().context("a wrong key opened")
    };
    let codes: Vec<Code> = (0..20).map(|_| guess().map(|status| status.code())).collect::<Result<_, _>>()?;
    ensure!(codes[0] == Code::Unauthenticated, "{codes:?}");
    ensure!(codes.last() == Some(&Code::ResourceExhausted), "{codes:?}");
    honest_calls(&cluster, 3).map(drop)
}

/// Tasks that are large on the wire.
fn batch(job: &str, first: usize, count: usize, bytes: usize) -> wire::BatchCreateTasksRequest {
    let task = |id: usize| wire::Task {
        id: format!("t{id}"),
        command_line: format!("/bin/true {}", "x".repeat(bytes)),
        ..Default::default()
    };
    let tasks = (first..first + count).map(task).collect();
    wire::BatchCreateTasksRequest { job_id: job.to_owned(), tasks, ..Default::default() }
}

#[test]
fn memory_stays_bounded_under_clients_that_submit_as_fast_as_they_can() -> anyhow::Result<()> {
    /// Requests at one time, each of about 4 MiB: far more than there is room for.
    const CLIENTS: usize = 24;
    let mut cluster =
        Cluster::new().nodes(0).controller_flags(&["--accounts-request-bytes-max", "16MiB"]).split()?;
    cluster.ok(&["job", "create", "flood", "--pool", "default"])?;
    let process = cluster.controller()?.id();
    let before = resident_kib(process)?;
    let api = cluster.api()?;
    let wire = api.wire();
    let mut calls = tokio::task::JoinSet::new();
    let (mut added, mut refused, mut highest) = (0, 0, before);
    api.wait(async {
        for client in 0..CLIENTS {
            let mut tasks = TaskServiceClient::new(wire.clone());
            calls.spawn(async move {
                let (mut added, mut refused) = (0_u64, 0_u64);
                for round in 0..5 {
                    let request = batch("flood", (client * 100 + round) * 1000, 500, 8 * 1024);
                    match tasks.batch_create_tasks(request).await {
                        Ok(_) => added += 1,
                        Err(status) if status.code() == Code::ResourceExhausted => {
                            refused += u64::from(delay_of(&status).is_some());
                        }
                        Err(status) => anyhow::bail!("neither taken nor told to wait: {status}"),
                    }
                }
                Ok((added, refused))
            });
        }
        let mut look = tokio::time::interval(Duration::from_millis(20));
        loop {
            tokio::select! {
                _tick = look.tick() => highest = highest.max(resident_kib(process)?),
                ended = calls.join_next() => match ended {
                    None => return anyhow::Ok(()),
                    Some(ended) => {
                        let (taken, turned_away) = ended??;
                        added += taken;
                        refused += turned_away;
                    }
                },
            }
        }
    })?;
    ensure!(added > 0 && refused > 0, "{added} batches were added, {refused} refused");
    let grown = highest - before;
    println!("{added} batches added, {refused} refused, memory grew by {grown} KiB");
    // What is on its way takes several times its size; a hundred requests of 4 MiB each would take more than 400 MiB.
    ensure!(grown < 256 * 1024, "memory has grown by {grown} KiB");
    honest_calls(&cluster, 1).map(drop)
}

#[test]
fn followers_that_never_read_cost_no_memory_and_hold_up_nobody() -> anyhow::Result<()> {
    /// Watches that are opened and not read.
    const FOLLOWERS: usize = 32;
    /// Events, of which the first ones fill what there is to fill.
    const EVENTS: std::ops::Range<usize> = 15..60;
    let mut cluster = Cluster::new().nodes(0).split()?;
    cluster.ok(&["job", "create", "busy", "--pool", "default"])?;
    let deaf = cluster.api()?;
    let watch = || wire::WatchTasksRequest { job_id: "busy".to_owned(), ..Default::default() };
    let mut unread = Vec::new();
    for _ in 0..FOLLOWERS {
        let mut tasks = TaskServiceClient::new(deaf.wire());
        unread.push(deaf.wait(async move { tasks.watch_tasks(watch()).await })?);
    }
    // One follower in good order beside them, on a connection of its own: what lies unread on theirs fills its window.
    let api = cluster.api()?;
    let mut tasks = TaskServiceClient::new(api.wire());
    let mut good = api.wait(async move { tasks.watch_tasks(watch()).await })?.into_inner();
    let process = cluster.controller()?.id();
    let mut before = 0;
    let mut seen = std::collections::BTreeSet::new();
    for round in 0..EVENTS.end {
        if round == EVENTS.start {
            before = resident_kib(process)?;
        }
        let mut tasks = TaskServiceClient::new(api.wire());
        let request = batch("busy", round * 200, 200, 512);
        api.wait(async move { tasks.batch_create_tasks(request).await })?;
        // The good one reads what there is.
        while seen.len() < (round + 1) * 200 {
            let event = api.wait(async { good.message().await })?.context("the watch ended")?;
            ensure!(!event.overflow, "too much changed at one time for this test");
            seen.extend(event.changed.into_iter().map(|task| task.id));
        }
    }
    let grown = resident_kib(process)?.saturating_sub(before);
    // The events of all followers since then, kept for them, would be more than 250 MiB.
    ensure!(grown < 64 * 1024, "memory has grown by {grown} KiB");
    drop((unread, deaf));
    honest_calls(&cluster, 1).map(drop)
}

#[test]
fn a_watch_beyond_an_accounts_limit_waits_for_its_turn_and_goes_on() -> anyhow::Result<()> {
    let cluster = Cluster::new().nodes(0).controller_flags(&["--accounts-streams-max", "1"]).split()?;
    cluster.ok(&["job", "create", "j", "--pool", "default"])?;
    // The only stream that the account may have is open.
    let api = cluster.api()?;
    let watch = || wire::WatchTasksRequest { job_id: "j".to_owned(), ..Default::default() };
    let mut tasks = TaskServiceClient::new(api.wire());
    let held = api.wait(async move { tasks.watch_tasks(watch()).await })?;
    let mut tasks = TaskServiceClient::new(api.wire());
    let refused =
        api.wait(async move { tasks.watch_tasks(watch()).await }).err().context("a second stream")?;
    ensure!(refused.code() == Code::ResourceExhausted && delay_of(&refused).is_some(), "{refused}");

    let mut command = cluster.command(&["job", "watch", "j"]);
    command.env("MUSTER_LOG", "muster_client=debug").stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut waiting = command.spawn()?;
    let said = Pipe::read(waiting.stderr.take());
    let is_refused = wait_until(SOON, "the watch to be told to wait", || {
        Ok(when(String::from_utf8_lossy(&said.so_far()).contains("waiting to try again")))
    });
    drop(held);
    let ended = is_refused.and_then(|()| {
        cluster.ok(&["job", "terminate", "j"])?;
        wait_until(SOON, "the watch to see the job's end", || Ok(waiting.try_wait()?))
    });
    let _ = waiting.kill();
    let _ = waiting.wait();
    ensure!(ended?.success(), "{}", String::from_utf8_lossy(&said.so_far()));
    Ok(())
}

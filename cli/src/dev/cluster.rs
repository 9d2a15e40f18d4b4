//! The course of a local cluster: lock, controller, pool, nodes, the line that says it is ready; then the end, in order.
//!
//! Invariant: whatever goes wrong, no process of ours is left behind, and the agents go before the controller.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use muster_client::{Client, ErrorKind};
use muster_proto::wire;
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::controller::{Controller, Ready};
use super::error::DevError;
use super::folder::{Folder, default_path};
use super::process::{RESTART_TAIL_LINES, stop_leftovers};
use super::provider::{Provider, Shared, Stop, asked};
use crate::args::DevArgs;
use crate::exit::{Exit, Failure};
use crate::outlet::Outlet;

/// The pool of `--nodes`.
const POOL: &str = "default";

/// Nodes of the pool when it is made and `--nodes` is not given.
const NODES_DEFAULT: u32 = 1;

/// How long the nodes of the first pool may take: local agents need a second, a loaded machine a few.
const NODES_LIMIT: Duration = Duration::from_secs(120);

/// The binaries of a cluster.
struct Binaries {
    controller: PathBuf,
    agent: PathBuf,
}

/// Runs a local cluster until a signal comes.
///
/// # Errors
/// When it does not start, or its controller cannot go on.
pub(crate) async fn run(outlet: &Outlet, args: DevArgs) -> Result<Exit, Failure> {
    let agent_settings = agent_settings(&args.writable)?;
    let binaries = find_binaries()?;
    let path = args.data.clone().map_or_else(default_path, Ok)?;
    let folder = Arc::new(Folder::open(&path)?);
    if let Some(path) = folder.closed_to_tasks().filter(|_| nix::unistd::geteuid().is_root()) {
        return Err(DevError::Closed { path }.into());
    }
    let (stop, stopping) = watch::channel(Stop::No);
    let signals =
        [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?];
    let hearing = tokio::spawn(hear_signals(signals, stop));
    let left = stop_leftovers(&folder).await?;
    if !left.is_empty() {
        outlet.warn(&format!("stopped what an earlier 'muster dev' left running: {}", left.join(", ")));
    }
    let ended = cluster(outlet, &args, &folder, &binaries, agent_settings, stopping).await;
    hearing.abort();
    ended.map(|()| Exit::Done)
}

/// The first signal asks for an orderly stop, the second for one at once.
async fn hear_signals([mut interrupt, mut terminate, mut hangup]: [Signal; 3], stop: watch::Sender<Stop>) {
    for next in [Stop::Orderly, Stop::AtOnce] {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
        stop.send_replace(next);
    }
    // Held until the end: without a sender the others would take the cluster for stopped.
    stop.closed().await;
}

fn find_binaries() -> Result<Binaries, DevError> {
    let folder = match std::env::var_os("MUSTER_BIN_DIR").filter(|folder| !folder.is_empty()) {
        Some(folder) => PathBuf::from(folder),
        None => std::env::current_exe()
            .ok()
            .and_then(|program| program.parent().map(Path::to_owned))
            .ok_or(DevError::NoFolder)?,
    };
    let find = |name: &'static str| {
        let path = folder.join(name);
        if path.is_file() { Ok(path) } else { Err(DevError::NoBinary { name, folder: folder.clone() }) }
    };
    find("muster-supervisor")?;
    Ok(Binaries { controller: find("muster-controller")?, agent: find("muster-agent")? })
}

/// The settings of all agents, each as `--set` takes it.
fn agent_settings(writable: &[PathBuf]) -> Result<Vec<String>, DevError> {
    let mut names = Vec::with_capacity(writable.len());
    for path in writable {
        let wrong = || DevError::Writable { path: path.clone() };
        // Links are followed here: the agent takes a directory as it is.
        let real = path.canonicalize().ok().filter(|real| real.is_dir()).ok_or_else(wrong)?;
        names.push(real.to_str().filter(|name| !name.contains(',')).ok_or_else(wrong)?.to_owned());
    }
    Ok(if names.is_empty() { Vec::new() } else { vec![format!("isolation.writable={}", names.join(","))] })
}

/// Runs everything that has processes. They are stopped on every way out.
async fn cluster(
    outlet: &Outlet,
    args: &DevArgs,
    folder: &Arc<Folder>,
    binaries: &Binaries,
    agent_settings: Vec<String>,
    mut stopping: watch::Receiver<Stop>,
) -> Result<(), Failure> {
    // Nodes are local; their port may be any.
    let node_listen = SocketAddr::new(args.listen.ip(), 0);
    let starting = Controller::start(folder, &binaries.controller, args.listen, node_listen);
    let mut controller = tokio::select! {
        started = starting => started?,
        () = asked(&mut stopping, Stop::Orderly) => return Ok(()),
    };
    let (ready_tx, ready) = watch::channel(controller.ready.clone());
    // The provider stops when the cluster does, and when anything here fails.
    let (agents_tx, agents_stop) = watch::channel(Stop::No);
    let is_announced = Arc::new(AtomicBool::new(false));
    let providing = match controller.ready.client() {
        Ok(client) => {
            let shared = Shared {
                folder: folder.clone(),
                program: binaries.agent.clone(),
                settings: agent_settings,
                client: client.clone(),
                outlet: *outlet,
                controller: ready,
                stop: agents_stop,
                is_announced: is_announced.clone(),
            };
            let provider = Provider::new(shared, args.max_nodes);
            Ok((client, tokio::spawn(provider.run())))
        }
        Err(failure) => Err(failure),
    };
    let (client, mut providing) = match providing {
        Ok(both) => both,
        Err(failure) => {
            controller.process.stop(asked(&mut stopping, Stop::AtOnce)).await;
            return Err(failure);
        }
    };
    let mut urgency = stopping.clone();
    let outcome = tokio::select! {
        served = serve(outlet, args, folder, &client, stopping.clone(), &is_announced) => served,
        lost = keep_controller(&mut controller, outlet, folder, binaries, &ready_tx) => lost,
        provided = &mut providing => provided.unwrap_or(Ok(())).map_err(Failure::from),
    };
    agents_tx.send_replace(Stop::Orderly);
    if !providing.is_finished() {
        let hurry = async {
            asked(&mut urgency, Stop::AtOnce).await;
            agents_tx.send_replace(Stop::AtOnce);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            _ended = &mut providing => {}
            () = hurry => {}
        }
    }
    controller.process.stop(asked(&mut stopping, Stop::AtOnce)).await;
    outcome
}

/// Makes the pool, waits for its nodes, says so, and waits for the end.
async fn serve(
    outlet: &Outlet,
    args: &DevArgs,
    folder: &Folder,
    client: &Client,
    mut stopping: watch::Receiver<Stop>,
    is_announced: &AtomicBool,
) -> Result<(), Failure> {
    let starting = async {
        let nodes = prepare_pool(outlet, args, client).await?;
        let waiting = client.wait_for_nodes(POOL, nodes, |_| {});
        if nodes > 0 {
            match tokio::time::timeout(NODES_LIMIT, waiting).await {
                Ok(waited) => waited.map_err(|source| DevError::Nodes { logs: folder.logs(), source })?,
                Err(_late) => {
                    let (pool, logs) = (POOL.to_owned(), folder.logs());
                    return Err(DevError::NodesLate { pool, limit: NODES_LIMIT, logs }.into());
                }
            }
        }
        Ok::<u32, Failure>(nodes)
    };
    let nodes = tokio::select! {
        started = starting => started?,
        () = asked(&mut stopping, Stop::Orderly) => return Ok(()),
    };
    announce(outlet, folder, client, nodes)?;
    is_announced.store(true, Ordering::Relaxed);
    asked(&mut stopping, Stop::Orderly).await;
    outlet.remark("stopping");
    Ok(())
}

/// Says that the cluster is ready, in one line.
fn announce(outlet: &Outlet, folder: &Folder, client: &Client, nodes: u32) -> Result<(), Failure> {
    let (endpoint, env) = (client.endpoint(), folder.env());
    if outlet.is_json() {
        outlet
            .json_line(&json!({ "endpoint": endpoint, "pool_id": POOL, "nodes": nodes, "env_file": env }))?;
    } else {
        let plural = if nodes == 1 { "node" } else { "nodes" };
        let env = shell_words::quote(&env.to_string_lossy()).into_owned();
        outlet.line(&format!(
            "muster dev is ready: {endpoint}, {nodes} {plural} in pool '{POOL}'; now run: source {env}"
        ))?;
    }
    Ok(())
}

/// Sees to it that the first pool is there. Answers how many nodes it should have.
async fn prepare_pool(outlet: &Outlet, args: &DevArgs, client: &Client) -> Result<u32, Failure> {
    let found = match client.get_pool(POOL).await {
        Ok(pool) => pool,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let nodes = args.nodes.unwrap_or(NODES_DEFAULT);
            if nodes > 0 {
                let pool = wire::Pool {
                    id: POOL.to_owned(),
                    target_dedicated_nodes: nodes,
                    task_slots_per_node: args.slots,
                    ..Default::default()
                };
                client.create_pool(pool).await?;
            }
            return Ok(nodes.min(args.max_nodes));
        }
        Err(error) => return Err(error.into()),
    };
    let target = found.target_dedicated_nodes;
    let wanted = args.nodes.unwrap_or(target);
    if wanted != target {
        match client.resize_pool(POOL, wanted, wire::NodeDeallocationOption::Unspecified).await {
            Ok(_) => {}
            // The last resize was under way when the cluster was stopped; it goes on.
            Err(error) if error.kind() == ErrorKind::Conflict => {
                outlet.warn(&format!("pool '{POOL}' keeps its target of {target} nodes for now: {error}"));
                return Ok(target.min(args.max_nodes));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(wanted.min(args.max_nodes))
}

/// Starts the controller again whenever it ends by itself, at the same addresses. Comes back only when that fails.
async fn keep_controller(
    controller: &mut Controller,
    outlet: &Outlet,
    folder: &Folder,
    binaries: &Binaries,
    ready: &watch::Sender<Ready>,
) -> Result<(), Failure> {
    loop {
        publish(controller, folder)?;
        let status = controller.process.ended().await;
        let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        outlet.warn(&format!(
            "the controller ended ({status}) and is started again; the end of its log:\n{}",
            controller.process.tail(RESTART_TAIL_LINES)
        ));
        let now = &controller.ready;
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (listen, nodes) = (now.client_address().unwrap_or(any), now.node_address().unwrap_or(any));
        *controller = Controller::start(folder, &binaries.controller, listen, nodes).await?;
        ready.send_replace(controller.ready.clone());
    }
}

/// Writes the file to be sourced.
fn publish(controller: &Controller, folder: &Folder) -> Result<(), Failure> {
    let profile = controller.ready.profile()?;
    Ok(folder.write_env(&profile, &controller.ready.ca_cert)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_for_tasks_must_be_there_and_fit_into_a_list() {
        assert!(agent_settings(&[]).unwrap().is_empty());
        let folder = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir(&path).unwrap();
            path
        };
        let (a, b, odd) = (make("a"), make("b"), make("c,d"));
        let roundabout = a.join("..").join("b");
        let real = |path: &Path| path.canonicalize().unwrap().to_str().unwrap().to_owned();
        let expected = format!("isolation.writable={},{}", real(&a), real(&b));
        assert_eq!(agent_settings(&[a, roundabout]).unwrap(), [expected]);
        for bad in [odd, folder.path().join("none")] {
            let error = agent_settings(std::slice::from_ref(&bad)).unwrap_err().to_string();
            assert!(error.contains(bad.to_str().unwrap()) && error.contains("comma"), "{error}");
        }
    }
}

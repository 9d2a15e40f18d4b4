//! The local provider of nodes: runs as many agents as the pools' targets ask for.
//!
//! Goes in: the pools and every change of them, through the public API. Comes out: processes. It never decides which node
//! leaves: the controller tells an agent, which then ends with code 0 and is forgotten with its folder. An agent that ends
//! otherwise is started again, later and later.
//!
//! Invariant: a node's folder belongs to one pool for its whole life.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use muster_client::{CallError, Client, ErrorKind, PoolEvent};
use muster_proto::wire;
use muster_runtime::backoff::Backoff;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::controller::Ready;
use super::error::DevError;
use super::folder::Folder;
use super::mounts::unmount_below;
use super::process::{Process, RESTART_TAIL_LINES};
use crate::outlet::Outlet;

/// The first wait before an agent that died is started again is at most this long.
const RESTART_BASE: Duration = Duration::from_millis(200);

/// No such wait is longer.
const RESTART_CAP: Duration = Duration::from_secs(30);

/// An agent that ran for so long was well: its next restart does not wait longer than the first.
const WELL_AFTER: Duration = Duration::from_secs(60);

/// How often an agent may end before it was ever ready: after that the cluster does not start.
const STARTS_MAX: u32 = 3;

/// How long a join token works: until the agent that it is for has started.
const TOKEN_LIFE: Duration = Duration::from_secs(600);

/// The first id of users of tasks, as the agent has it by default.
const TASK_IDS_FIRST: u32 = 1_900_000_000;

/// The last one: above it, ids are negative for whoever keeps them in 32 bits with a sign.
const TASK_IDS_LAST: u32 = 2_147_483_647;

/// How many of them a node has: the agent's 4096 for tasks and 100 for named users, rounded up.
const TASK_IDS: u32 = 5000;

/// Events of pools that wait here: they are handled as they come.
const EVENTS_AHEAD: usize = 64;

/// How far the stop of a cluster is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stop {
    /// Not asked for.
    No,
    /// In order.
    Orderly,
    /// At once.
    AtOnce,
}

/// What all keepers of nodes know.
pub(super) struct Shared {
    /// Where the cluster lies.
    pub(super) folder: Arc<Folder>,
    /// The agent's binary.
    pub(super) program: PathBuf,
    /// Settings of every agent, each as `--set` takes it.
    pub(super) settings: Vec<String>,
    /// A client of the operator.
    pub(super) client: Client,
    /// Where words go.
    pub(super) outlet: Outlet,
    /// Where the controller is at present.
    pub(super) controller: watch::Receiver<Ready>,
    /// Whether the agents are to stop.
    pub(super) stop: watch::Receiver<Stop>,
    /// Whether the cluster was ready once: until then, an agent that does not start is an error.
    pub(super) is_announced: Arc<AtomicBool>,
}

/// Runs agents to meet the targets of pools.
pub(super) struct Provider {
    shared: Arc<Shared>,
    max_nodes: u32,
    targets: BTreeMap<String, u32>,
    nodes: BTreeMap<u32, String>,
    keepers: JoinSet<(u32, Kept)>,
    has_warned: bool,
}

/// How a node's keeper ended.
enum Kept {
    /// The node left its pool.
    Left,
    /// The cluster stops.
    Stopped,
    /// The agent cannot be started at all.
    Failed(DevError),
}

impl Provider {
    /// A provider without nodes.
    pub(super) fn new(shared: Shared, max_nodes: u32) -> Self {
        Self {
            shared: Arc::new(shared),
            max_nodes,
            targets: BTreeMap::new(),
            nodes: BTreeMap::new(),
            keepers: JoinSet::new(),
            has_warned: false,
        }
    }

    /// Provides nodes until the cluster stops and all agents have ended.
    pub(super) async fn run(mut self) -> Result<(), DevError> {
        let (tx, mut events) = mpsc::channel(EVENTS_AHEAD);
        let watching = tokio::spawn(watch_pools(self.shared.client.clone(), self.shared.outlet, tx));
        let mut stop = self.shared.stop.clone();
        let mut failed = None;
        while *stop.borrow_and_update() == Stop::No && failed.is_none() {
            tokio::select! {
                Some(event) = events.recv() => failed = self.hear(event).err(),
                Some(kept) = self.keepers.join_next() => failed = self.forget(kept).err(),
                _changed = stop.changed() => {}
            }
        }
        watching.abort();
        while self.keepers.join_next().await.is_some() {}
        failed.map_or(Ok(()), Err)
    }

    fn hear(&mut self, event: PoolEvent) -> Result<(), DevError> {
        match event {
            PoolEvent::Snapshot(pools) => {
                self.targets = pools.into_iter().map(|(id, pool)| (id, target(&pool))).collect();
                self.find_again()?;
            }
            PoolEvent::Changed(pool) => {
                self.targets.insert(pool.id.clone(), target(&pool));
            }
            PoolEvent::Deleted(pool) => {
                self.targets.remove(&pool);
            }
        }
        self.reconcile()
    }

    /// Takes up the nodes of an earlier run whose pools are still there; forgets the others.
    fn find_again(&mut self) -> Result<(), DevError> {
        for (number, pool) in self.shared.folder.nodes()? {
            if self.nodes.contains_key(&number) {
                continue;
            }
            if self.targets.contains_key(&pool) {
                self.keep(number, pool);
            } else {
                remove_node(&self.shared.folder, number);
            }
        }
        Ok(())
    }

    /// Starts what is missing.
    fn reconcile(&mut self) -> Result<(), DevError> {
        for (pool, missing) in missing(&self.targets, &self.nodes, self.max_nodes) {
            for _ in 0..missing {
                let number = (1..).find(|number| !self.nodes.contains_key(number)).unwrap_or(u32::MAX);
                self.shared.folder.make_node(number, &pool)?;
                self.keep(number, pool.clone());
            }
        }
        let wanted: u64 = self.targets.values().map(|target| u64::from(*target)).sum();
        let is_short = wanted > u64::from(self.max_nodes);
        if is_short && !self.has_warned {
            let max = self.max_nodes;
            let text =
                format!("the pools want {wanted} nodes, more than the {max} of --max-nodes that run here");
            self.shared.outlet.warn(&text);
        }
        self.has_warned = is_short;
        Ok(())
    }

    fn keep(&mut self, number: u32, pool: String) {
        self.nodes.insert(number, pool.clone());
        let shared = self.shared.clone();
        self.keepers.spawn(async move { (number, keep_node(&shared, number, &pool).await) });
    }

    /// A keeper has ended.
    fn forget(&mut self, kept: Result<(u32, Kept), tokio::task::JoinError>) -> Result<(), DevError> {
        match kept {
            Ok((number, Kept::Left)) => {
                self.nodes.remove(&number);
                remove_node(&self.shared.folder, number);
                self.reconcile()
            }
            Ok((number, Kept::Stopped)) => {
                self.nodes.remove(&number);
                Ok(())
            }
            Ok((_, Kept::Failed(error))) => Err(error),
            // A keeper does not panic and is not aborted.
            Err(_lost) => Ok(()),
        }
    }
}

/// How many nodes each pool lacks, in the order of the pools, within what may run here in all.
fn missing(
    targets: &BTreeMap<String, u32>,
    nodes: &BTreeMap<u32, String>,
    max_nodes: u32,
) -> Vec<(String, u32)> {
    let mut room = max_nodes.saturating_sub(u32::try_from(nodes.len()).unwrap_or(u32::MAX));
    let mut all = Vec::new();
    for (pool, target) in targets {
        let have = u32::try_from(nodes.values().filter(|of| *of == pool).count()).unwrap_or(u32::MAX);
        let lacks = target.saturating_sub(have).min(room);
        room -= lacks;
        if lacks > 0 {
            all.push((pool.clone(), lacks));
        }
    }
    all
}

fn target(pool: &wire::Pool) -> u32 {
    if pool.state() == wire::PoolState::Deleting { 0 } else { pool.target_dedicated_nodes }
}

fn remove_node(folder: &Folder, number: u32) {
    let home = folder.node(number);
    // Without this file it is no node any more, even if the rest cannot be removed.
    let _gone = fs::remove_file(home.join("pool"));
    // An agent that left has unmounted all; one that was killed has not.
    unmount_below(&home);
    let _left = fs::remove_dir_all(home);
}

async fn watch_pools(client: Client, outlet: Outlet, events: mpsc::Sender<PoolEvent>) {
    loop {
        let mut watch = client.watch_pools();
        loop {
            match watch.next().await {
                Ok(event) => {
                    if events.send(event).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    outlet.warn(&format!("pools cannot be watched: {error}"));
                    break;
                }
            }
        }
        tokio::time::sleep(RESTART_CAP).await;
    }
}

/// Keeps one node's agent running until it leaves or the cluster stops.
async fn keep_node(shared: &Shared, number: u32, pool: &str) -> Kept {
    let mut stop = shared.stop.clone();
    let mut backoff = Backoff::new(RESTART_BASE, RESTART_CAP);
    let mut starts = 0;
    loop {
        let mut agent = tokio::select! {
            started = start_agent(shared, number, pool) => match started {
                Ok(agent) => agent,
                Err(StartError::Dev(error)) => return Kept::Failed(error),
                Err(StartError::Token(error)) => {
                    // A pool that is going away tells no more than this: the node is not wanted any more.
                    let is_unwanted = matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Conflict);
                    if !is_unwanted {
                        shared.outlet.warn(&format!("node-{number} gets no join token: {error}"));
                    }
                    if pause(&mut stop, backoff.next_delay()).await {
                        return Kept::Stopped;
                    }
                    if is_unwanted {
                        return Kept::Left;
                    }
                    continue;
                }
            },
            () = asked(&mut stop, Stop::Orderly) => return Kept::Stopped,
        };
        let started = Instant::now();
        tokio::select! {
            ended = agent.ended() => match ended {
                Ok(status) if status.success() => return Kept::Left,
                Ok(status) => {
                    starts += 1;
                    let was_ready = shared.folder.node(number).join("ready").exists();
                    if starts >= STARTS_MAX && !was_ready && !shared.is_announced.load(Ordering::Relaxed) {
                        return Kept::Failed(agent.died(status.to_string()));
                    }
                    shared.outlet.warn(&format!(
                        "the agent of node-{number} ended ({status}) and is started again; the end of its log:\n{}",
                        agent.tail(RESTART_TAIL_LINES)
                    ));
                }
                Err(error) => shared.outlet.warn(&format!("the agent of node-{number} is lost: {error}")),
            },
            () = asked(&mut stop, Stop::Orderly) => {
                agent.stop(asked(&mut stop, Stop::AtOnce)).await;
                return Kept::Stopped;
            }
        }
        if started.elapsed() > WELL_AFTER {
            backoff.reset();
        }
        if pause(&mut stop, backoff.next_delay()).await {
            return Kept::Stopped;
        }
    }
}

/// Waits. True if the cluster stops meanwhile.
async fn pause(stop: &mut watch::Receiver<Stop>, wait: Duration) -> bool {
    tokio::select! {
        () = tokio::time::sleep(wait) => false,
        () = asked(stop, Stop::Orderly) => true,
    }
}

/// Waits until the cluster is to stop at least so urgently.
pub(super) async fn asked(stop: &mut watch::Receiver<Stop>, least: Stop) {
    if stop.wait_for(|stop| *stop >= least).await.is_err() {
        // Whoever could ask is gone, which is as good as asking.
        tokio::task::yield_now().await;
    }
}

/// Why an agent was not started.
enum StartError {
    /// The machine does not let us.
    Dev(DevError),
    /// The controller does not let it join, for now.
    Token(CallError),
}

async fn start_agent(shared: &Shared, number: u32, pool: &str) -> Result<Process, StartError> {
    let home = shared.folder.node(number);
    let (root, ready, token) = (home.join("root"), home.join("ready"), home.join("token"));
    let controller = shared.controller.borrow().node_endpoint.clone();
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let (root, ready_path) = (text(&root), text(&ready));
    let mut arguments = vec![
        "--root",
        &root,
        "--controller",
        &controller,
        "--ready-file",
        &ready_path,
        "--stop-tasks-on-exit",
    ];
    let users = task_users(number);
    arguments.extend(shared.settings.iter().chain(&users).flat_map(|setting| ["--set", setting.as_str()]));
    let token_path = text(&token);
    // An agent that was ready once has an identity of its own.
    if !ready.exists() {
        write_token(shared, pool, &token).await?;
        arguments.extend(["--token-file", &token_path]);
    }
    Process::start(&shared.folder, &format!("node-{number}"), &shared.program, &arguments)
        .map_err(StartError::Dev)
}

/// The setting that gives a node ids of its own for the users of its tasks: with the same ids as those of another node here,
/// tasks could reach each other. `None` for a node whose number leaves no ids: it has the agent's default.
fn task_users(number: u32) -> Option<String> {
    let first = number.checked_sub(1)?.checked_mul(TASK_IDS)?.checked_add(TASK_IDS_FIRST)?;
    (first <= TASK_IDS_LAST - TASK_IDS).then(|| format!("task_users.first={first}"))
}

async fn write_token(shared: &Shared, pool: &str, path: &Path) -> Result<(), StartError> {
    let token = wire::JoinToken {
        pool_id: pool.to_owned(),
        max_uses: 1,
        expire_time: Some((std::time::SystemTime::now() + TOKEN_LIFE).into()),
        ..Default::default()
    };
    let made = shared.client.create_join_token(token).await.map_err(StartError::Token)?;
    muster_runtime::tls::write_private(path, made.text.as_bytes()).map_err(|error| {
        StartError::Dev(DevError::Folder { path: path.to_owned(), source: std::io::Error::other(error) })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(list: &[(&str, u32)]) -> BTreeMap<String, u32> {
        list.iter().map(|(pool, target)| ((*pool).to_owned(), *target)).collect()
    }

    fn nodes(list: &[(u32, &str)]) -> BTreeMap<u32, String> {
        list.iter().map(|(number, pool)| (*number, (*pool).to_owned())).collect()
    }

    #[test]
    fn pools_get_what_they_lack_and_keep_what_is_too_many() {
        let have = nodes(&[(1, "a"), (2, "b"), (3, "b")]);
        assert_eq!(
            missing(&targets(&[("a", 3), ("b", 1), ("c", 1)]), &have, 64),
            [("a".into(), 2), ("c".into(), 1)]
        );
        assert!(missing(&targets(&[("a", 1)]), &have, 64).is_empty());
    }

    #[test]
    fn no_more_nodes_run_here_than_allowed() {
        let have = nodes(&[(1, "a"), (2, "gone")]);
        assert_eq!(missing(&targets(&[("a", 3), ("b", 5)]), &have, 5), [("a".into(), 2), ("b".into(), 1)]);
        assert!(missing(&targets(&[("a", 3)]), &have, 1).is_empty());
    }

    #[test]
    fn nodes_here_have_different_users_for_their_tasks() {
        assert_eq!(task_users(1).as_deref(), Some("task_users.first=1900000000"));
        assert_eq!(task_users(64).as_deref(), Some("task_users.first=1900315000"));
        assert!(task_users(49_000).is_some());
        assert_eq!((task_users(0), task_users(50_000), task_users(u32::MAX)), (None, None, None));
    }

    #[test]
    fn a_pool_on_its_way_out_wants_no_nodes() {
        let pool = wire::Pool {
            target_dedicated_nodes: 3,
            state: wire::PoolState::Deleting.into(),
            ..Default::default()
        };
        assert_eq!(target(&pool), 0);
    }
}

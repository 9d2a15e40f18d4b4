//! The life of the process: directories, supervisor, identity, then the driver until it ends, then what that end asks for.
//!
//! The order matters: the lock before anything is touched, the supervisor before the facts that it tells, the facts before
//! joining. It holds no rule about attempts.

use crate::capabilities::{Sources, capabilities};
use crate::config::Config;
use crate::custody::{self, Ask, Custody, SupervisorSettings, Word};
use crate::disk;
use crate::driver::{Driver, Ended, INPUTS_MAX, Parts};
use crate::facts::{self, Machine};
use crate::files::Files;
use crate::health::{self, Health, HealthSettings};
use crate::hooks::Hooks;
use crate::identity::{self, Identity};
use crate::isolation::Ground;
use crate::journal::{self, Journal};
use crate::launch::{LimitSettings, NodeNames};
use crate::link::{self, Link};
use crate::output::Outputs;
use crate::session::{self, SessionSettings};
use crate::staging::Stager;
use crate::users::UserSettings;
use crate::workdir::Layout;
use anyhow::Context as _;
use muster_model::node::MachineFacts;
use muster_runtime::backoff::Backoff;
use muster_runtime::clock;
use muster_runtime::shutdown::Shutdown;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::resource::{Resource, getrlimit};
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};

/// First and longest wait between tries to join or renew.
const WAITS: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));
/// How long the supervisor may take to end all tasks when it is told to go.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(15);
/// Open files where nobody tells the bound: what every Linux allows.
const OPEN_FILES_FALLBACK: u64 = 4096;
/// The bit of `CAP_SYS_RESOURCE` in a set of capabilities.
const SYS_RESOURCE: u64 = 1 << 24;
/// Session events that wait for the loop.
const EVENTS_MAX: usize = 256;

/// Runs the node until it is told to stop or to leave. What may block runs on `work`, what keeps the lease where this is called.
pub(crate) async fn run(config: Config, work: Handle) -> anyhow::Result<()> {
    let shutdown = Shutdown::on_signals()?;
    let layout = Layout::open(&config.root)?;
    let _lock = lock(&layout)?;
    check_traversal(layout.root(), &config.users)?;
    let layout = Arc::new(layout.bounded_by(config.disk_limit)?);
    let machine = Machine::look(layout.root())?;
    let supervisor = SupervisorSettings {
        program: config.supervisor.clone(),
        state_dir: layout.supervisor_path(),
        cgroup_root: config.cgroup_root.clone(),
    };
    let connection = custody::connect_or_start(&supervisor).await?;
    let means = means(&config, &layout, &machine, &connection.capabilities)?;
    let (custody, asks) = Custody::new();
    let (words_sender, words) = mpsc::channel(INPUTS_MAX);
    let health = Health::default();
    let talking = tokio::spawn(custody::run(connection, supervisor, asks, words_sender, health.clone()));
    let joined = tokio::select! {
        joined = become_node(&config, &layout, &machine, &means.facts) => joined.map(Some),
        () = shutdown.begun() => Ok(None),
    };
    let Ok(Some(identity)) = joined else {
        // Whoever stops tasks with the agent wants nothing to stay, and a machine that no pool takes has no work to keep.
        if config.stop_tasks_on_exit || joined.as_ref().is_err_and(is_join_refused) {
            end_supervisor(&custody).await;
        }
        talking.abort();
        return joined.map(drop);
    };
    let ended =
        drive(&config, &layout, &machine, means, identity, custody.clone(), words, health, &shutdown, work)
            .await?;
    match ended {
        Ended::TasksStay => tracing::info!("stopping; tasks go on under their supervisor"),
        Ended::TasksGone => {
            end_supervisor(&custody).await;
            // What is mounted would keep the directory from being moved or removed.
            layout.disks().unmount_resting(0);
        }
        Ended::Left => {
            end_supervisor(&custody).await;
            layout.disks().clear_all();
            identity::remove(&layout.agent_path())?;
            Journal::create(layout.agent(), &machine.boot_id, &[])?;
            tracing::info!("left the pool");
        }
    }
    talking.abort();
    Ok(())
}

/// What the node can and has, found out at start.
struct Means {
    ground: Ground,
    limits: LimitSettings,
    facts: MachineFacts,
}

fn means(
    config: &Config,
    layout: &Layout,
    machine: &Machine,
    supervisor: &muster_supervisor::Capabilities,
) -> anyhow::Result<Means> {
    let ground = Ground::new(
        supervisor.separation,
        config.users.privileged,
        layout.root(),
        &config.writable,
        &config.hidden,
    )?;
    let capabilities = capabilities(&Sources {
        supervisor,
        users: &config.users,
        ground: &ground,
        disk_limit: layout.disks().means(),
        disk_notes: layout.disks().notes(),
        hooks: &config.hooks,
    });
    for note in &capabilities.notes {
        tracing::warn!(note, "this node can enforce less than it might");
    }
    tracing::info!(isolation = %capabilities.isolation, cgroup = capabilities.cgroup, "what this node can enforce");
    let limits = LimitSettings {
        pids_max: config.limits.pids_max.filter(|_| capabilities.pids_limit),
        open_files: config.limits.open_files.min(open_files_max()),
        ..config.limits
    };
    let given = facts::Given { gpus: config.gpus, named: config.named.clone(), capabilities };
    let facts = machine.facts(layout.root(), given)?;
    Ok(Means { ground, limits, facts })
}

#[expect(clippy::too_many_arguments, reason = "the wiring of one process, called once")]
async fn drive(
    config: &Config,
    layout: &Arc<Layout>,
    machine: &Machine,
    means: Means,
    identity: Identity,
    custody: Custody,
    words: mpsc::Receiver<Word>,
    health: Health,
    shutdown: &Shutdown,
    work: Handle,
) -> anyhow::Result<Ended> {
    let Means { ground, limits, facts } = means;
    let (channel, link) = Link::new();
    let (inputs_sender, inputs) = mpsc::channel(INPUTS_MAX);
    let stager = Stager::open(layout.agent(), config.cache_bytes_max, config.allow_link_local, link.clone())?;
    layout.empty_trash();
    let names = NodeNames {
        account: identity.account.clone(),
        pool: identity.pool.clone(),
        node: identity.node.clone(),
    };
    let parts = Parts {
        layout: Arc::clone(layout),
        custody,
        stager: Arc::new(stager),
        outputs: Arc::new(Outputs::new(Arc::clone(layout), link.clone())),
        files: Arc::new(Files::new(Arc::clone(layout), link.clone())),
        names,
        users: config.users,
        ground,
        limits,
        hooks: Hooks::new(
            config.hooks.clone(),
            hook_variables(layout, &identity),
            layout.agent_path().join("hook.log"),
        ),
        health: health.clone(),
        metrics_interval: config.metrics_interval,
        facts,
        ready_file: config.ready_file.clone(),
        stop_tasks_on_exit: config.stop_tasks_on_exit,
        inputs: inputs_sender.clone(),
        work: work.clone(),
    };
    let driver = Driver::load(parts, journal::read(layout.agent())?)?;
    let looking = work.spawn(disk::monitor(Arc::clone(layout.disks()), inputs_sender.clone()));
    let settings = HealthSettings {
        root: layout.root().to_owned(),
        reserve_bytes: config.disk_reserve_bytes,
        skew_max: config.clock_skew_max,
    };
    let watching = work.spawn(health::watch(health, settings, Arc::clone(layout.disks()), inputs_sender));
    let (events_sender, events) = mpsc::channel(EVENTS_MAX);
    let (newest, identity) = watch::channel(Arc::new(identity));
    let session = tokio::spawn(session::run(SessionSettings {
        controller: config.controller.clone(),
        identity,
        channel,
        events: events_sender,
    }));
    let renewing = work.spawn(keep_renewed(link, newest, layout.agent_path(), machine.machine_id.clone()));
    let ended = driver.run(inputs, events, words, shutdown).await;
    session.abort();
    renewing.abort();
    looking.abort();
    watching.abort();
    Ok(ended?)
}

/// Keeps a second agent out of the directory for as long as the file is open.
fn lock(layout: &Layout) -> anyhow::Result<Flock<File>> {
    let file = layout.agent().append_file("lock", 0o600).context("cannot open the agent's lock")?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| {
        anyhow::Error::new(errno).context(format!(
            "another muster-agent runs on {}: stop it first, or give this one another --root",
            layout.root().display()
        ))
    })
}

/// What the operator's commands find in their environment.
fn hook_variables(layout: &Layout, identity: &Identity) -> [(&'static str, String); 4] {
    [
        ("MUSTER_ROOT", layout.root().display().to_string()),
        ("MUSTER_NODE_ID", identity.node.to_string()),
        ("MUSTER_POOL_ID", identity.pool.to_string()),
        ("MUSTER_ACCOUNT_NAME", identity.account.to_string()),
    ]
}

/// Most open files that a process of this node may be allowed: the kernel's bound for whoever may go past its own limit.
fn open_files_max() -> u64 {
    let kernel = || std::fs::read_to_string("/proc/sys/fs/nr_open").ok()?.trim().parse().ok();
    let own = || getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(_, hard)| hard);
    let most = if may_raise_limits() { kernel() } else { own() };
    most.unwrap_or(OPEN_FILES_FALLBACK)
}

/// Whether this process has the capability to raise limits (`CAP_SYS_RESOURCE`); root in a container may lack it.
fn may_raise_limits() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = effective.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    bits.is_some_and(|bits| bits & SYS_RESOURCE != 0)
}

/// Checks that tasks can reach their directories: every directory above must let their user pass.
fn check_traversal(root: &Path, users: &UserSettings) -> anyhow::Result<()> {
    if !users.privileged {
        return Ok(());
    }
    for folder in root.ancestors() {
        let facts = folder.metadata().with_context(|| format!("cannot look at {}", folder.display()))?;
        let may_pass = if facts.uid() == users.task_uid {
            0o100
        } else if facts.gid() == users.task_gid {
            0o010
        } else {
            0o001
        };
        anyhow::ensure!(
            facts.mode() & may_pass != 0,
            "tasks run as user {} and cannot pass through {}: run `chmod o+x {}` or choose another --root",
            users.task_uid,
            folder.display(),
            folder.display(),
        );
    }
    Ok(())
}

/// Whether there is no identity because joining failed for good; not because an identity that is there cannot be read.
fn is_join_refused(error: &anyhow::Error) -> bool {
    error.downcast_ref::<link::JoinError>().is_some()
}

/// The identity of this node: what is on disk, or what joining gives.
async fn become_node(
    config: &Config,
    layout: &Layout,
    machine: &Machine,
    facts: &MachineFacts,
) -> anyhow::Result<Identity> {
    let agent_dir = layout.agent_path();
    if let Some(identity) = identity::load(&agent_dir, &machine.machine_id)? {
        return Ok(identity);
    }
    let joining = link::begin(config.token.as_ref(), &agent_dir)?;
    let mut backoff = Backoff::new(WAITS.0, WAITS.1);
    let identity = loop {
        match link::join(&joining, &config.controller, facts).await {
            Ok(identity) => break identity,
            Err(error) if error.may_pass() => {
                let error = anyhow::Error::new(error);
                tracing::warn!(error = format!("{error:#}"), "cannot join yet; trying again");
                tokio::time::sleep(backoff.next_delay()).await;
            }
            Err(error) => return Err(anyhow::Error::new(error).context("cannot join a pool")),
        }
    };
    // What an earlier node left here is not this one's.
    Journal::create(layout.agent(), &machine.boot_id, &[])?;
    identity::store(&agent_dir, &machine.machine_id, &identity)?;
    tracing::info!(account = %identity.account, pool = %identity.pool, node = %identity.node, "joined a pool");
    Ok(identity)
}

/// Asks for a fresh certificate whenever two thirds of the old one's life have passed. Ends only by an error that would
/// come again.
async fn keep_renewed(
    link: Link,
    newest: watch::Sender<Arc<Identity>>,
    agent_dir: PathBuf,
    machine_id: String,
) {
    let mut backoff = Backoff::new(WAITS.0, WAITS.1);
    loop {
        let identity = Arc::clone(&newest.borrow());
        let wait = match identity.renew_in(clock::wall_us() / 1_000_000) {
            Ok(wait) => wait,
            Err(error) => {
                tracing::error!(%error, "the node's certificate cannot be read and will not be renewed");
                return;
            }
        };
        // A wall clock that is set is noticed within an hour.
        if !wait.is_zero() {
            tokio::time::sleep(wait.min(Duration::from_secs(3600))).await;
            continue;
        }
        match renew_once(&link, &identity, &agent_dir, &machine_id).await {
            Ok(renewed) => {
                tracing::info!("renewed the node's certificate");
                newest.send_replace(Arc::new(renewed));
                backoff.reset();
            }
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "cannot renew the node's certificate yet")
            }
        }
        tokio::time::sleep(backoff.next_delay().max(Duration::from_secs(1))).await;
    }
}

async fn renew_once(
    link: &Link,
    old: &Identity,
    agent_dir: &Path,
    machine_id: &str,
) -> anyhow::Result<Identity> {
    let mut node = link.node().await?;
    let renewed = link::renew(&mut node, old).await?;
    identity::store(agent_dir, machine_id, &renewed)?;
    Ok(renewed)
}

/// Ends all tasks and the supervisor.
async fn end_supervisor(custody: &Custody) {
    let (done, ended) = oneshot::channel();
    custody.ask(Ask::Shutdown { kill_tasks: true, done });
    if tokio::time::timeout(SHUTDOWN_LIMIT, ended).await.is_err() {
        tracing::warn!(limit = ?SHUTDOWN_LIMIT, "the supervisor has not ended in time; it may still hold tasks");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_directory_that_tasks_cannot_pass_is_named() {
        let temporary = tempfile::tempdir().unwrap();
        let users = UserSettings {
            privileged: true,
            task_uid: 64_123,
            task_gid: 64_123,
            first: 70_000,
            count: 10,
            admin_tasks: true,
        };
        let inner = temporary.path().join("inner");
        std::fs::create_dir(&inner).unwrap();
        std::fs::set_permissions(temporary.path(), PermissionsExt::from_mode(0o755)).unwrap();
        assert!(check_traversal(&inner, &users).is_ok());
        std::fs::set_permissions(temporary.path(), PermissionsExt::from_mode(0o700)).unwrap();
        let error = check_traversal(&inner, &users).unwrap_err().to_string();
        assert!(
            error.contains(&temporary.path().display().to_string()) && error.contains("64123"),
            "{error}"
        );
        assert!(check_traversal(&inner, &UserSettings { privileged: false, ..users }).is_ok());
    }
}

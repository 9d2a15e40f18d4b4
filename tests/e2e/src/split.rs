//! A cluster of separate processes: a controller and agents that a test may kill, freeze, stop and start again.
//!
//! Each comes back on the folder that it had; the controller on the ports that it was given first, so that agents and
//! users find it. Dropping the cluster kills everything, supervisors and tasks included.

use crate::binaries;
use crate::cluster::Cluster;
use crate::daemon::Daemon;
use crate::disguise::{Disguise, Who, wrapped};
use crate::home::Home;
use crate::leftovers::{Leftovers, own_name};
use crate::user::{User, word};
use crate::wait::{SOON, wait_until, when};
use anyhow::{Context, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Deserialize;
use std::any::Any;
use std::collections::BTreeMap;
use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the controller says when it is ready.
#[derive(Debug, Clone, Deserialize)]
pub struct Ready {
    /// Where clients connect to.
    pub endpoint: String,
    /// Where nodes connect to.
    pub node_endpoint: String,
    /// The CA's certificate.
    pub ca_cert: PathBuf,
    /// The operator's account.
    pub account: String,
}

/// The part of `operator.toml` that says the key.
#[derive(Debug, Deserialize)]
struct OperatorFile {
    profiles: BTreeMap<String, OperatorProfile>,
}

#[derive(Debug, Deserialize)]
struct OperatorProfile {
    key: String,
}

/// A running split cluster. Fields are dropped in this order: processes, then their folder.
#[derive(Debug)]
pub struct Split {
    agents: Vec<Option<Daemon>>,
    controller: Option<Daemon>,
    wanted: Cluster,
    ready: Option<Ready>,
    /// Folders with the programs of later builds.
    builds: Vec<PathBuf>,
    /// How often the machine of each node was rebooted.
    boots: BTreeMap<usize, u32>,
    /// How the commands of the daemons are dressed.
    disguise: Disguise,
    /// Nodes that are told another way to the controller than its own address.
    routes: BTreeMap<usize, String>,
    user: User,
    home: Home,
}

impl Cluster {
    /// Starts a controller, makes the pool `default`, starts its agents and waits until every node is idle.
    ///
    /// # Errors
    /// With the logs, when it does not get ready.
    pub fn split(&self) -> anyhow::Result<Split> {
        let mut split = self.prepare()?;
        split.begin()?;
        Ok(split)
    }

    /// Makes the folder of a cluster and starts nothing in it yet: see [`Split::begin`].
    ///
    /// # Errors
    /// When the folder cannot be made or the programs are missing.
    pub fn prepare(&self) -> anyhow::Result<Split> {
        Split::prepare(self)
    }
}

impl Split {
    fn prepare(wanted: &Cluster) -> anyhow::Result<Self> {
        let home = Home::new()?;
        let user = User {
            binaries: binaries::folder()?,
            folder: home.path().to_path_buf(),
            environment: Default::default(),
        };
        Ok(Self {
            agents: Vec::new(),
            controller: None,
            wanted: wanted.clone(),
            ready: None,
            builds: Vec::new(),
            boots: BTreeMap::new(),
            disguise: Disguise::default(),
            routes: BTreeMap::new(),
            user,
            home,
        })
    }

    /// Starts everything for the first time, as [`Cluster::split`] does.
    ///
    /// # Errors
    /// With the logs, when it does not get ready.
    pub fn begin(&mut self) -> anyhow::Result<()> {
        let wanted = self.wanted.clone();
        self.start_controller()?;
        let (nodes, slots) = (wanted.nodes.to_string(), wanted.slots.to_string());
        let pool = ["pool", "create", "default", "--nodes", &nodes, "--slots", &slots];
        let flags: Vec<&str> = wanted.pool_flags.iter().map(String::as_str).collect();
        self.ok(&[&pool[..], &flags[..]].concat())?;
        for number in 0..usize::try_from(wanted.nodes)? {
            if let Some(megabytes) = wanted.disk_megabytes {
                let root = self.agent_root(number);
                self.home.mount(&root, megabytes)?;
            }
            self.add_agent("default")?;
        }
        self.wait_for_nodes("default", usize::try_from(wanted.nodes)?)
    }

    /// Dresses the daemons' commands from their next start on, over what they wear already.
    pub fn disguise(&mut self, dress: impl Fn(Who, Command) -> Command + Send + Sync + 'static) {
        self.disguise.add(dress);
    }

    /// Has an agent go another way to the controller from its next start on: the address of a proxy as `https://HOST:PORT`.
    pub fn route(&mut self, number: usize, node_endpoint: String) {
        self.routes.insert(number, node_endpoint);
    }

    /// Keeps something that is dropped after every process of the cluster has ended and before its folder goes: a disk that a
    /// folder of it lies on, a program that runs for it.
    pub fn hold(&mut self, thing: impl Any + Send) {
        self.home.hold(Box::new(thing));
    }

    /// Keeps the logs to itself when the cluster is dropped: for who has kept them already.
    pub fn quiet(&mut self) {
        self.home.quiet();
    }

    /// Where the daemons' logs are.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.home.path().join("logs")
    }

    /// Starts another agent, which joins a pool; its number.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn add_agent(&mut self, pool: &str) -> anyhow::Result<usize> {
        let number = self.agents.len();
        self.agents.push(None);
        let token = self.token(pool, &[])?;
        self.user.file(&format!("token-{number}"), &token)?;
        self.start_agent(number)?;
        Ok(number)
    }

    /// The text of a new join token of a pool.
    ///
    /// # Errors
    /// When it is refused.
    pub fn token(&self, pool: &str, options: &[&str]) -> anyhow::Result<String> {
        Ok(self.ok(&[&["token", "create", pool], options].concat())?.trim().to_owned())
    }

    /// Starts the controller, for the first time or again, and waits until it is ready.
    ///
    /// # Errors
    /// With its log, when it does not get ready.
    pub fn start_controller(&mut self) -> anyhow::Result<()> {
        ensure!(self.controller.is_none(), "the controller runs already");
        let ready_file = self.home.path().join("controller-ready.json");
        let _ = fs::remove_file(&ready_file);
        let mut command = self.controller_command();
        command.arg("--ready-file").arg(&ready_file);
        let mut command = self.disguise.put_on(Who::Controller, command);
        let mut daemon = Daemon::start(&mut command, &self.home.log("controller"))?;
        let ready = daemon.wait_while_running(SOON, "the controller to be ready", |_| {
            Ok(fs::read(&ready_file).ok().and_then(|bytes| serde_json::from_slice::<Ready>(&bytes).ok()))
        })?;
        self.controller = Some(daemon);
        self.user.environment = self.operator(&ready)?;
        self.ready = Some(ready);
        Ok(())
    }

    /// The command that runs the controller on its folder and, once they are known, its ports.
    #[must_use]
    pub fn controller_command(&self) -> Command {
        let address = |endpoint: Option<&String>, first: &str| {
            endpoint.and_then(|url| url.strip_prefix("https://")).unwrap_or(first).to_owned()
        };
        let listen = address(self.ready.as_ref().map(|ready| &ready.endpoint), "127.0.0.1:0");
        let node_listen =
            address(self.ready.as_ref().map(|ready| &ready.node_endpoint), &self.wanted.node_listen);
        let mut command = Command::new(self.user.binaries.join("muster-controller"));
        command.arg("--data-dir").arg(self.controller_folder());
        command
            .args(["--listen", &listen, "--node-listen", &node_listen])
            .args(&self.wanted.controller_flags);
        command
    }

    /// Where the controller keeps everything.
    #[must_use]
    pub fn controller_folder(&self) -> PathBuf {
        self.home.path().join("controller")
    }

    /// What the controller said when it was ready.
    ///
    /// # Errors
    /// When it has never been.
    pub fn ready(&self) -> anyhow::Result<&Ready> {
        self.ready.as_ref().context("the controller has never been ready")
    }

    /// The settings that let a user in as the operator.
    fn operator(&self, ready: &Ready) -> anyhow::Result<BTreeMap<String, String>> {
        let path = self.controller_folder().join("operator.toml");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let file: OperatorFile = toml::from_str(&text).context("operator.toml")?;
        let profile = file.profiles.into_values().next().context("operator.toml has no profile")?;
        let settings = [
            ("MUSTER_ENDPOINT", ready.endpoint.clone()),
            ("MUSTER_ACCOUNT", ready.account.clone()),
            ("MUSTER_KEY", profile.key),
            ("MUSTER_CA_CERT", ready.ca_cert.to_string_lossy().into_owned()),
        ];
        Ok(settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// The controller's process.
    ///
    /// # Errors
    /// When it does not run.
    pub fn controller(&mut self) -> anyhow::Result<&mut Daemon> {
        self.controller.as_mut().context("the controller does not run")
    }

    /// Kills the controller with `kill -9`.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill_controller(&mut self) -> anyhow::Result<()> {
        self.controller.take().context("the controller does not run")?.kill_9()
    }

    /// Stops the controller with SIGTERM, which must be a success.
    ///
    /// # Errors
    /// When it ends otherwise.
    pub fn stop_controller(&mut self) -> anyhow::Result<()> {
        self.controller.take().context("the controller does not run")?.stop()
    }

    /// Starts an agent, for the first time or again.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_agent(&mut self, number: usize) -> anyhow::Result<()> {
        let token = self.home.path().join(format!("token-{number}"));
        let mut command = self.agent_command_over(&self.agent_root(number), self.routes.get(&number))?;
        command.arg("--token-file").arg(token);
        if self.boots.contains_key(&number) {
            command = in_another_boot(&command, &self.boot_file(number));
        }
        let mut command = self.disguise.put_on(Who::Agent(number), command);
        let daemon = Daemon::start(&mut command, &self.home.log(&format!("agent-{number}")))?;
        let place = self.agents.get_mut(number).with_context(|| format!("there is no agent {number}"))?;
        ensure!(place.is_none(), "agent {number} runs already");
        *place = Some(daemon);
        Ok(())
    }

    /// The command that runs an agent on a folder, but for its token.
    ///
    /// # Errors
    /// When the controller has never been ready.
    pub fn agent_command(&self, root: &Path) -> anyhow::Result<Command> {
        self.agent_command_over(root, None)
    }

    fn agent_command_over(&self, root: &Path, route: Option<&String>) -> anyhow::Result<Command> {
        let endpoint = route.unwrap_or(&self.ready()?.node_endpoint);
        let binaries = self.builds.last().unwrap_or(&self.user.binaries);
        let mut command = Command::new(binaries.join("muster-agent"));
        command.arg("--root").arg(root).args(["--controller", endpoint]);
        // Groups of our own, so that what is left of them can be told from everybody else's.
        command.arg("--cgroup-root").arg(self.home.path().file_name().unwrap_or_default());
        // What a test wants to see outside of a task's folder is written there, at every level of isolation.
        command.args(["--set", &format!("isolation.writable={}", self.home.shared().display())]);
        command.args(&self.wanted.agent_flags);
        Ok(command)
    }

    /// What an agent has logged, all its lives together.
    #[must_use]
    pub fn agent_log(&self, number: usize) -> String {
        let bytes = fs::read(self.home.log(&format!("agent-{number}"))).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Has all agents started from now on be of another build: other files, as after the upgrade of a package.
    ///
    /// # Errors
    /// When the programs cannot be copied.
    pub fn new_build(&mut self) -> anyhow::Result<()> {
        let folder = self.home.path().join(format!("build-{}", self.builds.len()));
        fs::create_dir(&folder)?;
        for name in ["muster-agent", "muster-supervisor"] {
            fs::copy(self.user.binaries.join(name), folder.join(name))
                .with_context(|| format!("copying {name}"))?;
        }
        self.builds.push(folder);
        Ok(())
    }

    /// The folder of an agent.
    #[must_use]
    pub fn agent_root(&self, number: usize) -> PathBuf {
        self.home.path().join(format!("nodes/{number}"))
    }

    /// An agent's process.
    ///
    /// # Errors
    /// When it does not run.
    pub fn agent(&mut self, number: usize) -> anyhow::Result<&mut Daemon> {
        let agent = self.agents.get_mut(number).and_then(Option::as_mut);
        agent.with_context(|| format!("agent {number} does not run"))
    }

    /// Kills an agent with `kill -9`; its supervisor and tasks are not touched.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill_agent(&mut self, number: usize) -> anyhow::Result<()> {
        let agent = self.agents.get_mut(number).and_then(Option::take);
        agent.with_context(|| format!("agent {number} does not run"))?.kill_9()
    }

    /// The supervisor of an agent, by its process id; `None` while there is none.
    #[must_use]
    pub fn supervisor(&self, number: usize) -> Option<Pid> {
        let root = self.agent_root(number).to_string_lossy().into_owned();
        let mut all = Leftovers::of(self.home.path()).processes.into_iter();
        // A keeper of a task is a copy of its supervisor, command line and all, under another name.
        let found =
            all.find(|(id, words)| words.contains(&root) && own_name(*id).starts_with("muster-supervis"));
        found.map(|(id, _)| Pid::from_raw(id))
    }

    /// What a reboot of a node's machine does: every process of it is gone at once, and the agent that comes back finds
    /// another boot. It takes root.
    ///
    /// # Errors
    /// When something does not end or the agent cannot be started.
    pub fn reboot_machine(&mut self, number: usize) -> anyhow::Result<()> {
        self.end_machine(number)?;
        self.boot_machine(number)
    }

    /// The first half of a reboot: every process of a node is gone, its agent too if it still ran.
    ///
    /// # Errors
    /// When something does not end.
    pub fn end_machine(&mut self, number: usize) -> anyhow::Result<()> {
        self.end_agent(number)?;
        crate::leftovers::end_processes(&self.agent_root(number))
    }

    /// The second half of a reboot: the agent starts under another boot id. It takes root.
    ///
    /// # Errors
    /// When the agent cannot be started.
    pub fn boot_machine(&mut self, number: usize) -> anyhow::Result<()> {
        let boot = self.boots.entry(number).or_default();
        *boot += 1;
        let id = format!("{:08x}-e2e0-4000-8000-{number:012x}\n", *boot);
        fs::write(self.boot_file(number), id)?;
        self.start_agent(number)
    }

    /// Kills an agent with `kill -9` unless it has ended by itself, which a fault may have made it do.
    ///
    /// # Errors
    /// When it was never started, or does not end.
    pub fn end_agent(&mut self, number: usize) -> anyhow::Result<()> {
        let agent = self.agents.get_mut(number).and_then(Option::take);
        agent.with_context(|| format!("agent {number} was not started"))?.end()
    }

    /// Kills the controller with `kill -9` unless it has ended by itself, which a fault may have made it do.
    ///
    /// # Errors
    /// When it was never started, or does not end.
    pub fn end_controller(&mut self) -> anyhow::Result<()> {
        self.controller.take().context("the controller was not started")?.end()
    }

    fn boot_file(&self, number: usize) -> PathBuf {
        self.home.path().join(format!("boot-{number}"))
    }

    /// Kills an agent's supervisor with `kill -9`; the agent and the tasks are not touched.
    ///
    /// # Errors
    /// When there is none.
    pub fn kill_supervisor(&self, number: usize) -> anyhow::Result<()> {
        let supervisor =
            self.supervisor(number).with_context(|| format!("agent {number} has no supervisor"))?;
        kill(supervisor, Signal::SIGKILL).context("the supervisor is gone")?;
        wait_until(SOON, "the end of the supervisor", || {
            Ok(when(self.supervisor(number) != Some(supervisor)))
        })
    }

    /// Stops an agent with SIGTERM, which must be a success; its supervisor and tasks stay.
    ///
    /// # Errors
    /// When it ends otherwise.
    pub fn stop_agent(&mut self, number: usize) -> anyhow::Result<()> {
        let agent = self.agents.get_mut(number).and_then(Option::take);
        agent.with_context(|| format!("agent {number} does not run"))?.stop()
    }

    /// Waits until a pool has so many nodes that are ready for tasks.
    ///
    /// # Errors
    /// With what the nodes are instead, after a while.
    pub fn wait_for_nodes(&self, pool: &str, count: usize) -> anyhow::Result<()> {
        let mut last = Vec::new();
        let ready = wait_until(SOON, "nodes that are ready for tasks", || {
            let nodes = self.list(&["node", "list", pool])?;
            last = nodes.iter().filter_map(|node| word(node, "/state")).collect();
            Ok(when(
                last.iter().filter(|state| ["idle", "running"].contains(&state.as_str())).count() == count,
            ))
        });
        ready.with_context(|| format!("wanted {count} nodes; they are {last:?}"))
    }
}

/// The same command with the kernel's boot id hidden behind a file, in a view of the file system of its own.
fn in_another_boot(command: &Command, boot_id: &Path) -> Command {
    const SCRIPT: &str = "mount --bind \"$0\" /proc/sys/kernel/random/boot_id && exec \"$@\"";
    wrapped(command, "unshare", &["--mount", "--", "/bin/sh", "-c", SCRIPT, &boot_id.to_string_lossy()])
}

impl Deref for Split {
    type Target = User;

    fn deref(&self) -> &User {
        &self.user
    }
}

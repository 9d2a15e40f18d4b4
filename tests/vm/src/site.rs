//! The whole of a test: a controller on the host and the guest as the one node of its pool, installed as an operator would.
//!
//! Goes in: what `cargo build` left. The guest gets the agent's files on a drive of its own, without debug information, and a
//! second one for the node's directory with project quota, so that the image itself never changes with them.
//!
//! Waiting through the API is done here and seldom: the host emulates the guest with the same two processors.

use crate::borrowed;
use crate::drive;
use crate::guest::Guest;
use crate::image::{self, Image};
use crate::means::Means;
use crate::tool::{run, tool};
use anyhow::{Context, bail, ensure};
use muster_e2e::split::Split;
use muster_e2e::user::{quoted, word};
use muster_e2e::work::with;
use muster_e2e::{Cluster, binaries};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The pool of the guest.
pub const POOL: &str = "vm";

/// Slots of the node: enough for tasks that run side by side, and more than its processors.
const SLOTS: &str = "8";

/// Counts how often the node has started.
const START_TASK: &str = "/bin/sh -c 'echo start >> $AZ_BATCH_NODE_SHARED_DIR/starts'";

/// The host as the guest sees it: the emulator's own network has it at this address.
const HOST: &str = "10.0.2.2";

/// A lease that outlasts every wait of the tests: on a busy host an emulated node may be unheard for longer than usual, and
/// what is reported lost must be so because the node said so.
const CONTROLLER_FLAGS: [&str; 6] = ["--names", HOST, "--lease-ttl", "5m", "--lease-margin", "30s"];

/// The node's directory in the guest.
pub const ROOT: &str = "/var/lib/muster-agent";

/// What all tasks of the node share.
pub const SHARED: &str = "/var/lib/muster-agent/batch/shared";

/// Where the guest finds the drive with the binaries.
pub const MEDIA: &str = "/opt/muster";

/// What goes to the guest. The controller runs on the host, and is there to show that its unit works.
const PROGRAMS: [&str; 3] = ["muster-agent", "muster-supervisor", "muster-controller"];

/// Sizes of the two drives beside the system's. Both files are sparse.
const MEDIA_MEGABYTES: u64 = 512;
const NODE_MEGABYTES: u64 = 1024;

/// How long anything may take that a node does, programs in the guest included.
const PATIENCE: Duration = Duration::from_secs(120);

/// How often the API is asked.
const LOOK: Duration = Duration::from_millis(250);

/// A controller and its node. Fields are dropped in this order: the guest, then what it talks to.
#[derive(Debug)]
pub struct Site {
    /// The node's machine.
    pub guest: Guest,
    /// The controller, and its user.
    pub cluster: Split,
    _drives: TempDir,
}

impl Site {
    /// Starts everything and waits until the node is ready for tasks.
    ///
    /// # Errors
    /// When a part of it cannot be had, with its last words.
    pub fn start(means: &Means) -> anyhow::Result<Self> {
        let image = timed("image", || image::prepare(means))?;
        let cluster = timed("controller", || {
            let cluster = Cluster::new().nodes(0).controller_flags(&CONTROLLER_FLAGS).split()?;
            let start = ["--start-task", START_TASK];
            cluster.ok(&[&["pool", "create", POOL, "--nodes", "1", "--slots", SLOTS][..], &start].concat())?;
            Ok(cluster)
        })?;
        let tests = timed("borrowed tests", borrowed_tests)?;
        let drives = tempfile::Builder::new().prefix("muster-vm-drives-").tempdir()?;
        timed("drives", || make_drives(&cluster, &tests, drives.path()))?;
        let guest = timed("boot", || boot(&image, drives.path()))?;
        eprintln!("                 accelerator: {}", guest.qemu().accelerator());
        let mut site = Self { guest, cluster, _drives: drives };
        let joined = timed("install and join", || {
            site.install(&tests)?;
            site.wait_until_idle()
        });
        joined.with_context(|| site.logs())?;
        Ok(site)
    }

    /// Installs the agent and starts its service. The path of the program under test is compiled into test programs.
    fn install(&mut self, tests: &[Test]) -> anyhow::Result<()> {
        self.guest.wait_for("the drives", &format!("mountpoint -q {MEDIA} && mountpoint -q {ROOT}"))?;
        self.guest.sh(&format!(
            "set -e; cd {MEDIA}; install -m 755 -t /usr/local/bin bin/*
             install -m 644 -t /etc/systemd/system systemd/*.service
             install -d -m 755 /etc/muster; install -m 600 -t /etc/muster etc/*
             systemctl daemon-reload; systemctl --quiet enable --now muster-agent"
        ))?;
        for folder in tests.iter().filter_map(|test| test.program.parent()?.parent()) {
            let folder = quoted(&folder.to_string_lossy());
            self.guest.sh(&format!("mkdir -p {folder} && ln -sf /usr/local/bin/muster-* {folder}/"))?;
        }
        Ok(())
    }

    /// Waits until the node is ready for tasks.
    ///
    /// # Errors
    /// With what the pool's nodes are instead.
    pub fn wait_until_idle(&self) -> anyhow::Result<()> {
        let mut last = Value::Null;
        let idle = patiently("the node to be idle", || {
            last = Value::Array(self.cluster.list(&["node", "list", POOL])?);
            Ok((word(&last, "/0/state").as_deref() == Some("idle")).then_some(()))
        });
        idle.with_context(|| format!("the nodes are {last}"))
    }

    /// The node as it is shown.
    ///
    /// # Errors
    /// When there is none.
    pub fn node(&self) -> anyhow::Result<Value> {
        let nodes = self.cluster.list(&["node", "list", POOL])?;
        let id = nodes.first().and_then(|node| node.get("id")).and_then(Value::as_str);
        self.cluster.json(&["node", "show", POOL, id.context("the pool has no node")?])
    }

    /// Makes a job of this id with one task of the same id: a script with more of a task's fields.
    ///
    /// # Errors
    /// When it is refused.
    pub fn start_task(&self, id: &str, script: &str, fields: &Value) -> anyhow::Result<()> {
        let task = json!({ "id": id, "command_line": format!("/bin/sh -c {}", quoted(script)) });
        self.cluster.job_of(&json!({ "id": id, "pool_id": POOL }), &[with(task, fields)])
    }

    /// Waits until the task of [`Site::start_task`] is completed; how it is shown then.
    ///
    /// # Errors
    /// With how it is shown, when it does not get there.
    pub fn completed(&self, id: &str) -> anyhow::Result<Value> {
        let mut last = Value::Null;
        let completed = patiently(&format!("task '{id}' to be completed"), || {
            last = self.cluster.shown(id, id)?;
            Ok((word(&last, "/state").as_deref() == Some("completed")).then_some(()))
        });
        completed.with_context(|| format!("it is {last}"))?;
        Ok(last)
    }

    /// Runs a script as a task and waits for its end.
    ///
    /// # Errors
    /// When it is refused, or does not end.
    pub fn task(&self, id: &str, script: &str, fields: &Value) -> anyhow::Result<Value> {
        self.start_task(id, script, fields)?;
        self.completed(id)
    }

    /// What the task of [`Site::start_task`] wrote to stdout.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn stdout(&self, id: &str) -> anyhow::Result<String> {
        self.cluster.ok(&["task", "logs", id, id])
    }

    /// Runs a script as a task that must succeed; its stdout.
    ///
    /// # Errors
    /// With how it is shown and what it wrote, when it fails.
    pub fn output(&self, id: &str, script: &str, fields: &Value) -> anyhow::Result<String> {
        let shown = self.task(id, script, fields)?;
        let stdout = self.stdout(id)?;
        ensure!(
            shown.pointer("/execution_info/exit_code") == Some(&json!(0)),
            "task '{id}' failed: {shown}\n{stdout}"
        );
        Ok(stdout)
    }

    /// Requires that the node still does what it is for.
    ///
    /// # Errors
    /// When a simple task does not succeed.
    pub fn still_works(&self, id: &str) -> anyhow::Result<()> {
        self.output(&format!("{id}-works"), "echo works", &json!({})).map(drop)
    }

    /// The last words of everybody, for a failure.
    pub fn logs(&mut self) -> String {
        let script = format!(
            "systemctl --no-pager --failed; journalctl --no-pager -n 60 -u 'muster-*'; \
             find {ROOT} -name supervisor.log | xargs tail -n 40"
        );
        let guest = self.guest.try_sh(&script).map(|answer| answer.said);
        let guest = guest.unwrap_or_else(|error| format!("{error:?}"));
        format!("==> guest <==\n{guest}")
    }
}

/// Looks at a condition through the API until it answers something.
///
/// # Errors
/// The condition's own; or, after a long while, what was waited for.
pub fn patiently<T>(
    what: &str,
    mut condition: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let start = Instant::now();
    loop {
        if let Some(answer) = condition()? {
            return Ok(answer);
        }
        if start.elapsed() >= PATIENCE {
            bail!("waited {} s in vain for: {what}", PATIENCE.as_secs());
        }
        std::thread::park_timeout(LOOK);
    }
}

/// A test program of another package.
#[derive(Debug, Clone)]
struct Test {
    name: &'static str,
    program: PathBuf,
}

fn borrowed_tests() -> anyhow::Result<Vec<Test>> {
    let build = |test: borrowed::Borrowed| Ok(Test { name: test.name, program: test.build()? });
    borrowed::ALL.into_iter().map(build).collect()
}

/// Does a part of something longer and says how long it took.
///
/// # Errors
/// The part's own.
pub fn timed<T>(what: &str, part: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let start = Instant::now();
    let result = part().with_context(|| what.to_owned())?;
    eprintln!("       {:6.1} s  {what}", start.elapsed().as_secs_f64());
    Ok(result)
}

fn boot(image: &Image, drives: &Path) -> anyhow::Result<Guest> {
    Guest::boot(image, &[drives.join("media.img"), drives.join("node.img")])
}

/// Makes the drive with what is installed and the one for the node's directory.
fn make_drives(cluster: &Split, tests: &[Test], folder: &Path) -> anyhow::Result<()> {
    let media = folder.join("media");
    for part in ["bin", "etc", "systemd", "tests"] {
        fs::create_dir_all(media.join(part))?;
    }
    let built = binaries::folder()?;
    let programs = PROGRAMS.map(|program| (built.join(program), media.join("bin").join(program)));
    let tests = tests.iter().map(|test| (test.program.clone(), media.join("tests").join(test.name)));
    for (from, to) in programs.into_iter().chain(tests) {
        run(tool("objcopy").arg("--strip-debug").arg(from).arg(&to))?;
        fs::set_permissions(&to, fs::Permissions::from_mode(0o755))?;
    }
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/systemd");
    for entry in fs::read_dir(&units).with_context(|| format!("cannot read {}", units.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "service") {
            fs::copy(&path, media.join("systemd").join(path.file_name().unwrap_or_default()))?;
        }
    }
    let (_, port) = cluster.ready()?.node_endpoint.rsplit_once(':').context("an endpoint without a port")?;
    let settings = format!("controller = \"https://{HOST}:{port}\"\ntoken_file = \"/etc/muster/token\"\n");
    fs::write(media.join("etc/agent.toml"), format!("root = \"{ROOT}\"\n{settings}"))?;
    fs::write(media.join("etc/token"), cluster.token(POOL, &[])?)?;
    drive::make(&folder.join("media.img"), MEDIA_MEGABYTES, Some(&media), &[])?;
    let quota = ["-O", "project,quota", "-E", "quotatype=prjquota"];
    drive::make(&folder.join("node.img"), NODE_MEGABYTES, None, &quota)
}

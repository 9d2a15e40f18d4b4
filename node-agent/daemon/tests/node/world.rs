//! One node with its controller: starts the agent's binary, and ends everything that came of it.
//!
//! Dropping a `World` kills the agent, tells its supervisor to end all tasks, and unmounts what was mounted, also when the
//! test failed; then the agent's log is shown.

use super::controller::{Controller, LIMIT};
use muster_supervisor::frame::frame;
use muster_supervisor::{PROTOCOL_VERSION, Request, SOCKET_NAME};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A node and its controller.
pub(crate) struct World {
    pub(crate) controller: Controller,
    pub(crate) root: PathBuf,
    agent: Option<Child>,
    extra: Vec<String>,
    mounted: bool,
    _temporary: TempDir,
}

/// The supervisor's program, built if a run of these tests alone has not built it.
fn supervisor_program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let program = Path::new(env!("CARGO_BIN_EXE_muster-agent")).with_file_name("muster-supervisor");
        if !program.exists() {
            let built =
                Command::new(env!("CARGO")).args(["build", "--quiet", "-p", "muster-supervisor"]).status();
            assert!(built.is_ok_and(|status| status.success()), "muster-supervisor cannot be built");
        }
        assert!(program.exists(), "{} was not built", program.display());
        program
    })
}

impl World {
    /// A node with so many slots, connected.
    pub(crate) async fn start(slots: u32) -> Self {
        let mut world = Self::prepare(slots).await;
        world.start_agent();
        world.controller.connected(1).await;
        world
    }

    /// A controller and a directory; no agent yet.
    pub(crate) async fn prepare(slots: u32) -> Self {
        let temporary = tempfile::Builder::new().prefix("mu").tempdir().unwrap();
        // Tasks pass through it as another user.
        std::fs::set_permissions(temporary.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let root = temporary.path().join("n");
        std::fs::create_dir(&root).unwrap();
        Self {
            controller: Controller::start(slots).await,
            root,
            agent: None,
            extra: Vec::new(),
            mounted: false,
            _temporary: temporary,
        }
    }

    /// Puts a small file system of its own under the node's root. Needs root.
    pub(crate) fn mount_small_disk(&mut self, bytes: u64) {
        let options = format!("size={bytes},mode=0755");
        let flags = nix::mount::MsFlags::MS_NOSUID;
        nix::mount::mount(Some("tmpfs"), &self.root, Some("tmpfs"), flags, Some(options.as_str())).unwrap();
        self.mounted = true;
    }

    /// A further flag of the agent from its next start on.
    pub(crate) fn flag(&mut self, flag: &str) {
        self.extra.push(flag.to_owned());
    }

    pub(crate) fn start_agent(&mut self) {
        assert!(self.agent.is_none());
        let log = std::fs::File::create(self.root.with_extension("log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_muster-agent"));
        command
            .arg("--root")
            .arg(&self.root)
            .arg("--controller")
            .arg(format!("https://127.0.0.1:{}", self.controller.port))
            .arg("--supervisor")
            .arg(supervisor_program())
            .args(["--cgroup-root", "none"])
            .args(&self.extra)
            .env("MUSTER_AGENT__TOKEN", &self.controller.token)
            .env("MUSTER_LOG", "info,muster_agent=debug")
            .env("NO_PROXY", "*")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        self.agent = Some(command.spawn().unwrap());
    }

    pub(crate) fn signal_agent(&mut self, signal: Signal) {
        let child = self.agent.as_ref().unwrap();
        kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
    }

    /// Waits until the agent's process has ended.
    pub(crate) async fn agent_ended(&mut self) -> ExitStatus {
        let mut child = self.agent.take().unwrap();
        let mut status = None;
        eventually("the agent to end", || {
            status = child.try_wait().unwrap();
            status.is_some()
        })
        .await;
        status.unwrap()
    }

    /// Ends the agent without a warning, as a crash does.
    pub(crate) fn kill_agent(&mut self) {
        let mut child = self.agent.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// The directory of a task.
    pub(crate) fn task_dir(&self, task: &str) -> PathBuf {
        self.root.join("batch/workitems/job/job-1").join(task)
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.root.with_extension("log")).unwrap_or_default()
    }
}

/// Waits for a condition on the disk; these come without a message.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < deadline, "waited too long for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(mut child) = self.agent.take() {
            let _ended = child.kill();
            let _status = child.wait();
        }
        end_supervisor(&self.root.join("supervisor").join(SOCKET_NAME));
        if std::thread::panicking() {
            println!("--- log of the agent\n{}", self.log());
        }
        if self.mounted {
            let _busy = nix::mount::umount2(&self.root, nix::mount::MntFlags::MNT_DETACH);
        }
    }
}

/// Ends the supervisor with all its tasks, and waits until it is gone.
fn end_supervisor(socket: &Path) {
    let Ok(mut stream) = UnixStream::connect(socket) else { return };
    let _never_blocks_for_ever = stream.set_read_timeout(Some(Duration::from_secs(10)));
    for request in [Request::Hello { protocol: PROTOCOL_VERSION }, Request::Shutdown { kill_tasks: true }] {
        let _gone = stream.write_all(&frame(&request.encode(1)).unwrap());
    }
    let mut rest = Vec::new();
    let _until_it_closes = stream.read_to_end(&mut rest);
}

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
    /// The supervisor's program.
    pub(crate) supervisor: PathBuf,
    /// The parent control group; none at first. One of a name is removed by the supervisor when it ends.
    pub(crate) cgroup_root: String,
    mounted: bool,
    /// The agent's way to the controller, if that is not direct.
    pub(crate) port: Option<u16>,
    temporary: TempDir,
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
            supervisor: supervisor_program().to_owned(),
            cgroup_root: "none".to_owned(),
            mounted: false,
            port: None,
            temporary,
        }
    }

    /// Puts a small file system of its own under the node's root. Needs root.
    pub(crate) fn mount_small_disk(&mut self, bytes: u64) {
        let options = format!("size={bytes},mode=0755");
        let flags = nix::mount::MsFlags::MS_NOSUID;
        nix::mount::mount(Some("tmpfs"), &self.root, Some("tmpfs"), flags, Some(options.as_str())).unwrap();
        self.mounted = true;
    }

    /// The same with a file system that can be frozen: ext4 in a file. Needs root and a free loop device.
    pub(crate) fn mount_image(&mut self, bytes: u64) {
        let image = self.temporary.path().join("image");
        std::fs::File::create(&image).unwrap().set_len(bytes).unwrap();
        run("mke2fs", &["-q", "-t", "ext4", "-F"], &image);
        let mounted =
            Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&self.root).status().unwrap();
        assert!(mounted.success());
        self.mounted = true;
        std::fs::set_permissions(&self.root, PermissionsExt::from_mode(0o755)).unwrap();
    }

    /// Lets everybody wait who writes to the node's disk, or go on.
    pub(crate) fn freeze(&self, frozen: bool) {
        run("fsfreeze", &[if frozen { "--freeze" } else { "--unfreeze" }], &self.root);
    }

    /// Takes all room that is left on the node's disk.
    pub(crate) fn fill_disk(&self) {
        let mut ballast = std::fs::File::create(self.root.join("ballast")).unwrap();
        while ballast.write_all(&[1; 65536]).is_ok() {}
        while ballast.write_all(&[1]).is_ok() {}
    }

    /// Gives it back.
    pub(crate) fn empty_disk(&self) {
        std::fs::remove_file(self.root.join("ballast")).unwrap();
    }

    /// The process of the supervisor.
    pub(crate) fn supervisor_process(&self) -> Option<Pid> {
        let state = self.root.join("supervisor");
        let is_it = |pid: &i32| {
            let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let mut words = words.split(|byte| *byte == 0);
            // A keeper has another title.
            words.next().is_some_and(|program| program.ends_with(b"muster-supervisor"))
                && words.any(|word| word == state.as_os_str().as_encoded_bytes())
        };
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        numbers.into_iter().find(is_it).map(Pid::from_raw)
    }

    /// A further flag of the agent from its next start on.
    pub(crate) fn flag(&mut self, flag: &str) {
        self.extra.push(flag.to_owned());
    }

    /// A setting of the agent from its next start on.
    pub(crate) fn set(&mut self, setting: &str) {
        self.flag("--set");
        self.flag(setting);
    }

    /// What is mounted among the directories of tasks.
    pub(crate) fn mounts(&self) -> Vec<PathBuf> {
        let list = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let points = list.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
        points.filter(|point| point.starts_with(self.root.join("batch"))).collect()
    }

    pub(crate) fn start_agent(&mut self) {
        assert!(self.agent.is_none());
        let log = std::fs::File::create(self.root.with_extension("log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_muster-agent"));
        command
            .arg("--root")
            .arg(&self.root)
            .arg("--controller")
            .arg(format!("https://127.0.0.1:{}", self.port.unwrap_or(self.controller.port)))
            .arg("--supervisor")
            .arg(&self.supervisor)
            .args(["--cgroup-root", &self.cgroup_root])
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

    /// Waits for the process of a running task whose first word is this; answers the node's number of it: in its own
    /// namespace it has another one.
    pub(crate) async fn process_of(&self, task: &str, program: &str) -> i32 {
        let mut found = None;
        eventually(&format!("{program} to run for {task}"), || {
            found = self.find_process_of(task, program);
            found.is_some()
        })
        .await;
        found.unwrap()
    }

    fn find_process_of(&self, task: &str, program: &str) -> Option<i32> {
        let wd = self.task_dir(task).join("wd");
        let variable = format!("AZ_BATCH_TASK_WORKING_DIR={}", wd.display());
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let is_it = |pid: &i32| {
            let part = |name: &str| std::fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
            let holds = part("environ").split(|byte| *byte == 0).any(|entry| entry == variable.as_bytes());
            holds && part("cmdline").starts_with(format!("{program}\0").as_bytes())
        };
        numbers.into_iter().find(is_it)
    }

    /// Ends every process of this world's root that has this in its environment, with its children's group.
    pub(crate) fn end_processes_with(&self, variable: &str) {
        let root = format!("MUSTER_ROOT={}", self.root.display());
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let environ = std::fs::read(entry.path().join("environ")).unwrap_or_default();
            let has = |wanted: &str| environ.split(|byte| *byte == 0).any(|entry| entry == wanted.as_bytes());
            if has(&root) && has(variable) {
                let _ended = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.root.with_extension("log")).unwrap_or_default()
    }
}

/// Runs a program of the system on a path.
fn run(program: &str, words: &[&str], path: &Path) {
    let status = Command::new(program).args(words).arg(path).status().unwrap();
    assert!(status.success(), "{program} {words:?}: {status}");
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
        if self.mounted {
            // Nobody that waits for the disk could be ended.
            let _not_frozen =
                Command::new("fsfreeze").arg("--unfreeze").arg(&self.root).stderr(Stdio::null()).status();
        }
        if let Some(mut child) = self.agent.take() {
            let _ended = child.kill();
            let _status = child.wait();
        }
        if let Some(supervisor) = self.supervisor_process() {
            let _goes_on = kill(supervisor, Signal::SIGCONT);
        }
        end_supervisor(&self.root.join("supervisor").join(SOCKET_NAME));
        if std::thread::panicking() {
            println!("--- log of the agent\n{}", self.log());
        }
        for point in self.mounts().iter().rev() {
            let _gone = nix::mount::umount2(point, nix::mount::MntFlags::MNT_DETACH);
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

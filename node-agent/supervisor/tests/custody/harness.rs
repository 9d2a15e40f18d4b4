//! A supervisor of one's own for each test: temp state directory, own cgroup root, all gone in Drop.
//!
//! Waiting is always for a condition with a deadline.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use muster_supervisor::frame::frame;
use muster_supervisor::{
    AttemptKey, Capabilities, ExitRecord, FrameReader, Message, PROTOCOL_VERSION, Refusal, Reply, Request,
    SOCKET_NAME, Spec, TaskStatus,
};

/// Longer than anything here takes on a loaded machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

static WORLDS: AtomicU32 = AtomicU32::new(0);

/// A state directory with a supervisor on it.
pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    root: String,
    groups: bool,
    /// Mounts below `/sys/fs/cgroup` that this supervisor does not see.
    hidden: &'static [&'static str],
    /// A capability that this supervisor does not have.
    withheld: Option<&'static str>,
    verbose: bool,
    supervisor: Option<Child>,
}

impl World {
    /// With control groups.
    pub(crate) fn new() -> Self {
        Self::begin(true, true, &[])
    }

    /// Without control groups.
    pub(crate) fn without_groups() -> Self {
        Self::begin(false, true, &[])
    }

    /// With control groups, but not those of some of the machine's hierarchies.
    pub(crate) fn hiding(hidden: &'static [&'static str]) -> Self {
        Self::begin(true, true, hidden)
    }

    /// As in a container that withholds a capability.
    pub(crate) fn without_right(capability: &'static str) -> Self {
        let mut world = Self::prepare(true, true, &[]);
        world.withheld = Some(capability);
        world.start();
        world
    }

    /// With control groups, and its directory on another disk.
    pub(crate) fn below(path: &Path) -> Self {
        let mut world = Self::prepare(true, true, &[]);
        world.dir = tempfile::tempdir_in(path).unwrap();
        world.start();
        world
    }

    /// As an agent starts it: without a line in the log for each attempt.
    pub(crate) fn begin(groups: bool, verbose: bool, hidden: &'static [&'static str]) -> Self {
        let mut world = Self::prepare(groups, verbose, hidden);
        world.start();
        world
    }

    fn prepare(groups: bool, verbose: bool, hidden: &'static [&'static str]) -> Self {
        let number = WORLDS.fetch_add(1, Ordering::Relaxed);
        let root = format!("muster-test-{}-{number}", std::process::id());
        let dir = tempfile::tempdir().unwrap();
        Self { dir, root, groups, hidden, withheld: None, verbose, supervisor: None }
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// A command line on this state directory.
    pub(crate) fn command(&self) -> Command {
        self.settings(Command::new(env!("CARGO_BIN_EXE_muster-supervisor")))
    }

    fn settings(&self, mut command: Command) -> Command {
        command.arg("--state-dir").arg(self.state());
        command.arg("--cgroup-root").arg(if self.groups { &self.root } else { "none" });
        command
    }

    /// Starts the supervisor; it logs into a file that a failing test can show.
    ///
    /// It is started as badly as can be: with open descriptors and ignored signals that no task may inherit.
    pub(crate) fn start(&mut self) {
        let log = self.dir.path().join("log");
        let umounts = self.hidden.iter().map(|name| format!("umount /sys/fs/cgroup/{name};"));
        let script =
            umounts.chain(["exec 8>&1 9</dev/null; trap '' HUP INT USR2; exec \"$0\" \"$@\"".to_owned()]);
        let mut command = match self.withheld {
            Some(capability) => {
                let mut command = Command::new("setpriv");
                command.arg(format!("--bounding-set=-{capability}"));
                command.arg(format!("--inh-caps=-{capability}")).arg("/bin/sh");
                command
            }
            None if self.hidden.is_empty() => Command::new("/bin/sh"),
            None => {
                let mut command = Command::new("unshare");
                command.args(["-m", "/bin/sh"]);
                command
            }
        };
        command.args(["-e", "-c", &script.collect::<String>(), env!("CARGO_BIN_EXE_muster-supervisor")]);
        let mut command = self.settings(command);
        command.arg("--log").arg(log).stdin(Stdio::null());
        if self.verbose {
            command.arg("--verbose");
        }
        self.supervisor = Some(command.spawn().unwrap());
        // A socket file may be an old one: only an answer proves that this supervisor listens.
        let pid = self.pid();
        until("the supervisor answers", || {
            Connection::open(&self.state()).is_some_and(|open| open.pid == pid)
        });
    }

    pub(crate) fn pid(&self) -> u32 {
        self.supervisor.as_ref().unwrap().id()
    }

    /// kill -9, without any chance to tidy up.
    pub(crate) fn kill_supervisor(&mut self) {
        let mut child = self.supervisor.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Waits for the supervisor to exit by itself.
    pub(crate) fn wait_for_exit(&mut self) -> ExitStatus {
        let mut child = self.supervisor.take().unwrap();
        let mut status = None;
        until("the supervisor exits", || {
            status = child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    pub(crate) fn connect(&self) -> Connection {
        Connection::open(&self.state()).expect("the supervisor listens")
    }

    /// A connection that gets exit events.
    pub(crate) fn subscribe(&self) -> Connection {
        let mut connection = self.connect();
        assert_eq!(connection.call(&Request::Subscribe), Ok(Reply::Subscribed));
        connection
    }

    /// A path in the test's own directory, without symbolic links.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        fs::canonicalize(self.dir.path()).unwrap().join(name)
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Directories of control groups that belong to this world.
    pub(crate) fn groups(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        find_groups(Path::new("/sys/fs/cgroup"), &self.root, 4, &mut found);
        found
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("supervisor's log:\n{}", self.log());
        }
        if self.supervisor.is_none() && self.state().exists() {
            self.supervisor = self.command().stderr(Stdio::null()).spawn().ok();
        }
        if let Some(mut child) = self.supervisor.take() {
            let asked = patiently(|| Connection::open(&self.state())).is_some_and(|mut connection| {
                connection.post(&Request::Shutdown { kill_tasks: true });
                true
            });
            let gone = asked && patiently(|| child.try_wait().ok().flatten()).is_some();
            if !gone {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
        for group in self.groups() {
            println!("removing the group that was left: {}", group.display());
            remove_group(&group);
        }
    }
}

fn find_groups(at: &Path, prefix: &str, depth: u32, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(at).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        if name.to_string_lossy().starts_with(&format!("{prefix}-")) {
            found.push(path);
        } else if depth > 0 {
            find_groups(&path, prefix, depth - 1, found);
        }
    }
}

fn remove_group(at: &Path) {
    for entry in fs::read_dir(at).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_group(&entry.path());
        }
    }
    for pid in fs::read_to_string(at.join("cgroup.procs")).unwrap_or_default().lines() {
        let pid = nix::unistd::Pid::from_raw(pid.parse().unwrap());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
    }
    patiently(|| fs::remove_dir(at).ok());
}

/// A blocking connection.
pub(crate) struct Connection {
    stream: UnixStream,
    reader: FrameReader,
    last_id: u64,
    pub(crate) pid: u32,
    events: Vec<ExitRecord>,
}

impl Connection {
    pub(crate) fn open(state: &Path) -> Option<Self> {
        let stream = UnixStream::connect(state.join(SOCKET_NAME)).ok()?;
        let (reader, events) = (FrameReader::new(), Vec::new());
        let mut connection = Self { stream, reader, last_id: 0, pid: 0, events };
        match connection.try_call(&Request::Hello { protocol: PROTOCOL_VERSION })? {
            Ok(Reply::Welcome(welcome)) => connection.pid = welcome.pid,
            other => panic!("greeted by {other:?}"),
        }
        Some(connection)
    }

    /// Sends a request and does not wait; gives its number.
    pub(crate) fn post(&mut self, request: &Request) -> u64 {
        self.last_id += 1;
        let _ = self.stream.write_all(&frame(&request.encode(self.last_id)).unwrap());
        self.last_id
    }

    /// The next message; `None` at the connection's end.
    pub(crate) fn receive(&mut self) -> Option<Message> {
        self.stream.set_read_timeout(Some(DEADLINE)).unwrap();
        loop {
            if let Some(document) = self.reader.next_frame().unwrap() {
                return Some(Message::decode(document).unwrap());
            }
            let mut buffer = [0; 8192];
            match self.stream.read(&mut buffer) {
                Ok(0) => return None,
                Ok(length) => self.reader.push(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("nothing arrived before the deadline: {error}"),
            }
        }
    }

    pub(crate) fn try_call(&mut self, request: &Request) -> Option<Result<Reply, Refusal>> {
        let wanted = self.post(request);
        loop {
            match self.receive()? {
                Message::Reply { id, result } if id == wanted => return Some(result),
                Message::Reply { id, result } => {
                    panic!("a reply to {id} while {wanted} was asked: {result:?}")
                }
                Message::Exited(record) => self.events.push(record),
            }
        }
    }

    pub(crate) fn call(&mut self, request: &Request) -> Result<Reply, Refusal> {
        self.try_call(request).expect("the connection stays open")
    }

    /// Starts an attempt and gives its process id.
    pub(crate) fn start(&mut self, spec: &Spec) -> Result<i32, Refusal> {
        let reply = self.call(&Request::Start(Box::new(spec.clone())))?;
        let Reply::Started { pid, .. } = reply else { panic!("unexpected {reply:?}") };
        Ok(pid)
    }

    pub(crate) fn kill(&mut self, key: &str, reason: &str, grace_ms: u64) -> Result<Reply, Refusal> {
        self.call(&Request::Kill { key: self::key(key), reason: reason.into(), grace_ms })
    }

    /// Waits for the end of an attempt.
    pub(crate) fn exit_of(&mut self, key: &str) -> ExitRecord {
        loop {
            if let Some(at) = self.events.iter().position(|record| record.key.as_str() == key) {
                return self.events.remove(at);
            }
            match self.receive().expect("the connection stays open") {
                Message::Exited(record) => self.events.push(record),
                Message::Reply { id, result } => panic!("an unexpected reply to {id}: {result:?}"),
            }
        }
    }

    /// Starts an attempt and waits for its end.
    pub(crate) fn run(&mut self, spec: &Spec) -> ExitRecord {
        self.start(spec).unwrap();
        self.exit_of(spec.key.as_str())
    }

    pub(crate) fn acknowledge(&mut self, key: &str) {
        let keys = vec![self::key(key)];
        assert_eq!(self.call(&Request::Acknowledge { keys }), Ok(Reply::Acknowledged));
    }

    pub(crate) fn list(&mut self) -> Vec<TaskStatus> {
        match self.call(&Request::List) {
            Ok(Reply::Tasks(tasks)) => tasks,
            other => panic!("unexpected {other:?}"),
        }
    }

    pub(crate) fn probe(&mut self) -> Capabilities {
        match self.call(&Request::Probe) {
            Ok(Reply::Capabilities(capabilities)) => capabilities,
            other => panic!("unexpected {other:?}"),
        }
    }

    /// Exit events that arrived and were not asked for.
    pub(crate) fn events(&self) -> &[ExitRecord] {
        &self.events
    }
}

pub(crate) fn key(text: &str) -> AttemptKey {
    text.parse().unwrap()
}

/// An attempt that runs a program with the usual PATH.
pub(crate) fn spec(key: &str, argv: &[&str]) -> Spec {
    let mut spec = Spec::new(self::key(key), argv.iter().map(Into::into).collect());
    spec.env = vec![("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into())];
    spec
}

/// An attempt that runs a shell script.
pub(crate) fn script(key: &str, text: &str) -> Spec {
    spec(key, &["/bin/sh", "-c", text])
}

/// Waits for a condition.
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < end, "deadline: {what}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// As `until`, for Drop, where nothing may panic.
fn patiently<T>(mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        match attempt() {
            Some(value) => return Some(value),
            None if Instant::now() > end => return None,
            None => std::thread::park_timeout(Duration::from_millis(2)),
        }
    }
}

/// Waits until a file has text that ends a line, and gives it.
pub(crate) fn line_in(path: &Path) -> String {
    let mut text = String::new();
    until(&format!("a line in {}", path.display()), || {
        text = fs::read_to_string(path).unwrap_or_default();
        text.ends_with('\n')
    });
    text.trim_end().to_owned()
}

/// Whether a process exists and is not a zombie.
pub(crate) fn is_running(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(") ").next().is_some_and(|tail| tail.starts_with('Z')))
}

/// The parent of a process: of a task's main process its keeper.
pub(crate) fn parent_of(pid: i32) -> i32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(") ").next().unwrap().split(' ').nth(1).unwrap().parse().unwrap()
}

/// Says that a test cannot show anything here.
pub(crate) fn skip(why: &str) {
    println!("SKIPPED: {why}");
}

pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

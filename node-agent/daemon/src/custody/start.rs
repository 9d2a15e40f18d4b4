//! Finding a supervisor that runs, or starting one that outlives this agent.
//!
//! A new one gets a process group and a log of its own and no inherited descriptor, so neither a Ctrl-C meant for the
//! agent nor its end reaches it. Two agents that start one at the same time get the same: it locks its directory.

use muster_runtime::backoff::Backoff;
use muster_supervisor::frame::{FrameReader, frame};
use muster_supervisor::{
    Capabilities, DecodeError, FrameError, Message, PROTOCOL_VERSION, Refusal, Reply, Request, SOCKET_NAME,
    Welcome,
};
use std::collections::VecDeque;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process::Command;

/// How long a started supervisor may take until it answers: it reads its records first, thousands after a crash.
const START_LIMIT: Duration = Duration::from_secs(20);
/// How long one answer may take while nothing else is going on.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// How long a supervisor may take from its last word to its end: it removes a socket and its control groups.
const GONE_LIMIT: Duration = Duration::from_secs(5);
/// Size of the buffer for reading: some tens of exit records.
const READ_BYTES: usize = 64 * 1024;
/// Longest path of a unix socket on Linux.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// What is needed to find or start a supervisor.
#[derive(Debug, Clone)]
pub(crate) struct SupervisorSettings {
    /// Its program.
    pub(crate) program: PathBuf,
    /// Its state directory.
    pub(crate) state_dir: PathBuf,
    /// The parent group of tasks, as its command line takes it.
    pub(crate) cgroup_root: String,
}

/// Why there is no supervisor.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CustodyError {
    #[error(
        "cannot start the supervisor {program}: set 'supervisor' to the path of the program muster-supervisor"
    )]
    Start {
        program: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("the supervisor did not answer on {socket} within {limit:?}; its log is {log}")]
    Silent { socket: PathBuf, limit: Duration, log: PathBuf },
    #[error(
        "the path of the socket {socket} has {bytes} bytes, at most {SOCKET_PATH_BYTES_MAX} are possible: choose a shorter --root"
    )]
    LongPath { socket: PathBuf, bytes: usize },
    #[error("the connection to the supervisor broke")]
    Broken {
        #[source]
        cause: io::Error,
    },
    #[error("the supervisor refused a request")]
    Refused {
        #[source]
        cause: Refusal,
    },
    #[error("the supervisor sent something that this version cannot read")]
    Unreadable {
        #[source]
        cause: DecodeError,
    },
    #[error("the supervisor sent something that is too long")]
    TooLong {
        #[source]
        cause: FrameError,
    },
    #[error("the supervisor answered something else than was asked")]
    Unexpected,
    #[error(
        "the supervisor has been silent for {silent:?}: it is stopped, or stuck in a disk that does not answer"
    )]
    Unresponsive { silent: Duration },
}

/// A connection that has been welcomed.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(super) stream: UnixStream,
    pub(super) frames: FrameReader,
    pub(super) early: VecDeque<Message>,
    pub(super) next_id: u64,
    /// Who answers.
    pub(crate) welcome: Welcome,
    /// What the node can enforce.
    pub(crate) capabilities: Capabilities,
}

/// Connects to the supervisor that runs, or starts one. One that runs another program than the one that is to (a package
/// upgrade puts a new file in the place of the old) is asked to go without its tasks, and the new one takes them over.
pub(crate) async fn connect_or_start(settings: &SupervisorSettings) -> Result<Connection, CustodyError> {
    let socket = settings.state_dir.join(SOCKET_NAME);
    let bytes = socket.as_os_str().len();
    if bytes > SOCKET_PATH_BYTES_MAX {
        return Err(CustodyError::LongPath { socket, bytes });
    }
    let mut replaced = None;
    if let Ok(stream) = UnixStream::connect(&socket).await {
        let running = greet(stream).await?;
        if is_of_program(running.welcome.pid, &settings.program) {
            return Ok(running);
        }
        replaced = Some(running.welcome.version.clone());
        hand_over(running).await?;
    }
    let connection = begin(settings, socket).await?;
    if let Some(before) = replaced {
        let now = &connection.welcome.version;
        tracing::info!(before, now, "replaced the supervisor by one of another build; tasks go on");
    }
    Ok(connection)
}

/// Starts a supervisor and waits until it answers.
async fn begin(settings: &SupervisorSettings, socket: PathBuf) -> Result<Connection, CustodyError> {
    let log = settings.state_dir.join("supervisor.log");
    start(settings, &log)?;
    let limit = START_LIMIT;
    let waiting = async {
        let mut backoff = Backoff::new(Duration::from_millis(2), Duration::from_millis(50));
        loop {
            match UnixStream::connect(&socket).await {
                Ok(stream) => break stream,
                Err(_not_yet) => tokio::time::sleep(backoff.next_delay()).await,
            }
        }
    };
    match tokio::time::timeout(limit, waiting).await {
        Ok(stream) => greet(stream).await,
        Err(_elapsed) => Err(CustodyError::Silent { socket, limit, log }),
    }
}

/// Whether a process runs the file that is now under this name. Where that cannot be told it counts as so: a supervisor is
/// not replaced for a guess.
fn is_of_program(pid: u32, program: &Path) -> bool {
    // The link leads to the file that was executed, also when its name is gone.
    let running = std::fs::metadata(format!("/proc/{pid}/exe"));
    let wanted = std::fs::metadata(program);
    match (running, wanted) {
        (Ok(running), Ok(wanted)) => (running.dev(), running.ino()) == (wanted.dev(), wanted.ino()),
        (Err(_), _) | (_, Err(_)) => true,
    }
}

/// Lets a supervisor go that leaves its tasks running, and waits until it is gone.
async fn hand_over(running: Connection) -> Result<(), CustodyError> {
    let pid = running.welcome.pid;
    let Connection { stream, frames, early, next_id, .. } = running;
    let mut talk = Talk { stream, frames, early, next_id };
    match talk.ask(&Request::Shutdown { kill_tasks: false }).await? {
        Reply::Stopping => {}
        Reply::Started { .. }
        | Reply::Killing
        | Reply::Tasks(_)
        | Reply::Acknowledged
        | Reply::Leased
        | Reply::Limited
        | Reply::Subscribed
        | Reply::Usages(_)
        | Reply::Welcome(_)
        | Reply::Capabilities(_) => return Err(CustodyError::Unexpected),
    }
    gone(pid).await;
    Ok(())
}

/// Waits until a supervisor that has agreed to go is gone, for a bounded time: whoever comes next finds its lock free, and
/// whoever removes its directory finds nobody in it.
pub(super) async fn gone(pid: u32) {
    let waiting = async {
        let mut backoff = Backoff::new(Duration::from_millis(1), Duration::from_millis(20));
        while is_alive(pid) {
            tokio::time::sleep(backoff.next_delay()).await;
        }
    };
    if tokio::time::timeout(GONE_LIMIT, waiting).await.is_err() {
        tracing::warn!(pid, limit = ?GONE_LIMIT, "a supervisor that said it would go is still there");
    }
}

/// Whether a process is there and has not ended: one that only waits to be reaped has no command line any more.
fn is_alive(pid: u32) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|words| !words.is_empty())
}

fn start(settings: &SupervisorSettings, log: &Path) -> Result<(), CustodyError> {
    let mut child = Command::new(&settings.program)
        .arg("--state-dir")
        .arg(&settings.state_dir)
        .arg("--cgroup-root")
        .arg(&settings.cgroup_root)
        .arg("--log")
        .arg(log)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .current_dir("/")
        .process_group(0)
        .kill_on_drop(false)
        .spawn()
        .map_err(|cause| CustodyError::Start { program: settings.program.clone(), cause })?;
    tracing::info!(pid = child.id(), "started a supervisor");
    // Waiting for it keeps its end from leaving a zombie; if the agent ends first, init does that.
    tokio::spawn(async move {
        if let Ok(status) = child.wait().await {
            tracing::info!(%status, "the supervisor that this agent started has ended");
        }
    });
    Ok(())
}

async fn greet(stream: UnixStream) -> Result<Connection, CustodyError> {
    let mut talk = Talk { stream, frames: FrameReader::new(), early: VecDeque::new(), next_id: 1 };
    let welcome = match talk.ask(&Request::Hello { protocol: PROTOCOL_VERSION }).await? {
        Reply::Welcome(welcome) => welcome,
        Reply::Started { .. }
        | Reply::Killing
        | Reply::Tasks(_)
        | Reply::Acknowledged
        | Reply::Leased
        | Reply::Limited
        | Reply::Subscribed
        | Reply::Stopping
        | Reply::Usages(_)
        | Reply::Capabilities(_) => return Err(CustodyError::Unexpected),
    };
    let capabilities = match talk.ask(&Request::Probe).await? {
        Reply::Capabilities(capabilities) => capabilities,
        Reply::Started { .. }
        | Reply::Killing
        | Reply::Tasks(_)
        | Reply::Acknowledged
        | Reply::Leased
        | Reply::Limited
        | Reply::Subscribed
        | Reply::Stopping
        | Reply::Usages(_)
        | Reply::Welcome(_) => return Err(CustodyError::Unexpected),
    };
    let Talk { stream, frames, early, next_id } = talk;
    Ok(Connection { stream, frames, early, next_id, welcome, capabilities })
}

/// A connection on which one question is asked at a time.
struct Talk {
    stream: UnixStream,
    frames: FrameReader,
    early: VecDeque<Message>,
    next_id: u64,
}

impl Talk {
    async fn ask(&mut self, request: &Request) -> Result<Reply, CustodyError> {
        let id = self.next_id;
        self.next_id = self.next_id.saturating_add(1);
        let bytes = frame(&request.encode(id)).map_err(|cause| CustodyError::TooLong { cause })?;
        let answer = async {
            self.stream.write_all(&bytes).await.map_err(|cause| CustodyError::Broken { cause })?;
            loop {
                let message = read_message(&mut self.stream, &mut self.frames).await?;
                if let Message::Reply { id: of, result } = &message
                    && *of == id
                {
                    return result.clone().map_err(|cause| CustodyError::Refused { cause });
                }
                self.early.push_back(message);
            }
        };
        tokio::time::timeout(ANSWER_LIMIT, answer).await.unwrap_or_else(|_elapsed| {
            Err(CustodyError::Broken { cause: io::Error::from(io::ErrorKind::TimedOut) })
        })
    }
}

/// Reads until a whole message is there. Safe to drop and to call again.
pub(super) async fn read_message(
    stream: &mut (impl tokio::io::AsyncRead + Unpin),
    frames: &mut FrameReader,
) -> Result<Message, CustodyError> {
    loop {
        if let Some(message) = next_message(frames)? {
            return Ok(message);
        }
        let mut bytes = [0; READ_BYTES];
        match stream.read(&mut bytes).await {
            Ok(0) => return Err(CustodyError::Broken { cause: io::ErrorKind::UnexpectedEof.into() }),
            Ok(length) => frames.push(&bytes[..length]),
            Err(cause) => return Err(CustodyError::Broken { cause }),
        }
    }
}

/// The next message of those that were read already.
pub(super) fn next_message(frames: &mut FrameReader) -> Result<Option<Message>, CustodyError> {
    let document = frames.next_frame().map_err(|cause| CustodyError::TooLong { cause })?;
    document
        .map(|document| Message::decode(document).map_err(|cause| CustodyError::Unreadable { cause }))
        .transpose()
}

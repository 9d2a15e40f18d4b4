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

/// Connects to the supervisor that runs, or starts one.
pub(crate) async fn connect_or_start(settings: &SupervisorSettings) -> Result<Connection, CustodyError> {
    let socket = settings.state_dir.join(SOCKET_NAME);
    let bytes = socket.as_os_str().len();
    if bytes > SOCKET_PATH_BYTES_MAX {
        return Err(CustodyError::LongPath { socket, bytes });
    }
    if let Ok(stream) = UnixStream::connect(&socket).await {
        return greet(stream).await;
    }
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

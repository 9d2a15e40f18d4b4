//! Answers the controller's wishes to read files and list directories of the node, while tasks run and after.
//!
//! The wish comes over the session, the answer goes on a stream of its own (ServeFile). Paths are opened beneath the attempt's
//! directory or the node's root without following links. A file that grows is followed by inotify on its open descriptor,
//! until its command has ended.
//!
//! Invariant: at most [`READS_MAX`] reads are open; each ends when nobody listens any more.

use crate::link::Link;
use crate::workdir::{Dir, EntryKind, FileFacts, Layout};
use bytes::Bytes;
use muster_agent_core::Subject;
use muster_model::{AttemptId, Timestamp};
use muster_proto::convert::timestamp_out;
use muster_proto::version::CHUNK_BYTES;
use muster_proto::wire;
use muster_proto::wire::ReadRefusal as Refusal;
use muster_proto::wire::serve_file_request::Body;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;

/// Most reads at a time: each follower holds an inotify instance, of which Linux gives a user 128.
const READS_MAX: usize = 64;
/// Chunks that are read ahead of the network.
const CHUNKS_AHEAD: usize = 4;
/// Most entries in one message.
const ENTRIES_IN_MESSAGE: usize = 1000;
/// Most entries of one answer, whatever is asked.
const ENTRIES_MAX: usize = 1001;
/// Size of the buffer for events of inotify: some hundred of them.
const EVENT_BYTES: usize = 4096;
/// Deepest directory that is listed.
const DEPTH_MAX: usize = 64;

/// What a path is relative to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// The directory of an attempt.
    Attempt(AttemptId),
    /// The node's root directory.
    NodeRoot,
}

/// What is wished for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Bytes of a file.
    Read { path: String, offset: u64, length: u64, follow: bool },
    /// Entries of a directory.
    List { prefix: String, recursive: bool, after: String, limit: usize },
}

/// A wish with its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReadRequest {
    pub(crate) id: String,
    pub(crate) target: Target,
    pub(crate) wish: Wish,
}

/// How far the command whose files are read has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// Its directory may not be there yet.
    Waiting,
    /// It runs.
    Open,
    /// Its files grow no more.
    Over,
}

/// Why a wish is not granted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("there is no '{0}'")]
    NotFound(String),
    #[error("the node does not hold attempt {0}")]
    AttemptUnknown(AttemptId),
    #[error("the files of attempt {0} were removed")]
    CleanedUp(AttemptId),
    #[error("'{0}' is no regular file below the directory, or a link")]
    NotAllowed(String),
    #[error("'{path}' has {size} bytes, the range begins at {offset}")]
    OutOfRange { path: String, size: u64, offset: u64 },
    #[error("{READS_MAX} files are being read on the node, which is the most: try again later")]
    Busy,
    #[error("cannot read '{path}'")]
    Io {
        path: String,
        #[source]
        cause: io::Error,
    },
    #[error("the connection to the controller broke")]
    Gone,
}

impl ReadError {
    const fn refusal(&self) -> Refusal {
        match self {
            Self::NotFound(_) => Refusal::NotFound,
            Self::AttemptUnknown(_) => Refusal::AttemptUnknown,
            Self::CleanedUp(_) => Refusal::CleanedUp,
            Self::NotAllowed(_) => Refusal::NotAllowed,
            Self::OutOfRange { .. } => Refusal::OutOfRange,
            Self::Busy => Refusal::Busy,
            Self::Io { .. } | Self::Gone => Refusal::Failed,
        }
    }

    fn of(path: &str) -> impl Fn(io::Error) -> Self {
        use io::ErrorKind::{CrossesDevices, InvalidInput, IsADirectory, NotADirectory, NotFound};
        move |cause| {
            let is_link = cause.raw_os_error() == Some(nix::libc::ELOOP);
            if matches!(cause.kind(), NotFound | NotADirectory) {
                Self::NotFound(path.to_owned())
            } else if is_link || matches!(cause.kind(), InvalidInput | CrossesDevices | IsADirectory) {
                Self::NotAllowed(path.to_owned())
            } else {
                Self::Io { path: path.to_owned(), cause }
            }
        }
    }

    /// The refusal as it is said on the session.
    pub(crate) fn message(&self, read_id: &str) -> wire::AgentMessage {
        let refused = wire::ReadRefused {
            read_id: read_id.to_owned(),
            refusal: self.refusal().into(),
            message: self.to_string(),
        };
        wire::AgentMessage { body: Some(wire::agent_message::Body::ReadRefused(refused)) }
    }
}

/// Serves files.
#[derive(Debug)]
pub(crate) struct Files {
    layout: Arc<Layout>,
    link: Link,
    places: Arc<Semaphore>,
}

impl Files {
    pub(crate) fn new(layout: Arc<Layout>, link: Link) -> Self {
        Self { layout, link, places: Arc::new(Semaphore::new(READS_MAX)) }
    }

    /// Grants a wish. `life` follows the command whose files they are; `None` if they are nobody's.
    pub(crate) async fn serve(
        &self,
        request: &ReadRequest,
        mut life: Option<watch::Receiver<Life>>,
    ) -> Result<(), ReadError> {
        let _place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| ReadError::Busy)?;
        match &request.wish {
            Wish::Read { path, offset, length, follow } => {
                let follow = *follow && life.as_ref().is_none_or(|life| *life.borrow() != Life::Over);
                if let Some(life) = &mut life {
                    // Until it runs, its directory may be that of an earlier attempt. The sender goes with the attempt.
                    let begun = |life: &Life| *life != Life::Waiting;
                    let begun =
                        if follow { life.wait_for(begun).await.is_ok() } else { begun(&life.borrow()) };
                    if !begun {
                        return Err(ReadError::NotFound(path.clone()));
                    }
                }
                let dir = self.open(&request.target)?;
                let (file, facts) = dir.open_file(path).map_err(ReadError::of(path))?;
                if *offset > facts.size && !follow {
                    return Err(ReadError::OutOfRange {
                        path: path.clone(),
                        size: facts.size,
                        offset: *offset,
                    });
                }
                let reading = Reading {
                    path: path.clone(),
                    file,
                    offset: *offset,
                    left: if *length == 0 { u64::MAX } else { *length },
                    life: if follow { life } else { None },
                    follow,
                };
                self.send(request, Some(node_file(path, &facts)), *offset, |sink| reading.run(sink)).await
            }
            Wish::List { prefix, recursive, after, limit } => {
                let dir = self.open(&request.target)?;
                let mut listing = Listing {
                    prefix,
                    after,
                    recursive: *recursive,
                    limit: (*limit).clamp(1, ENTRIES_MAX),
                    found: Vec::new(),
                };
                tokio::task::block_in_place(|| listing.walk(&dir, "", DEPTH_MAX))
                    .map_err(ReadError::of(prefix))?;
                let found = listing.found;
                self.send(request, None, 0, |sink| send_entries(found, sink)).await
            }
        }
    }

    fn open(&self, target: &Target) -> Result<Dir, ReadError> {
        match target {
            Target::NodeRoot => self.layout.batch().open_dir(".").map_err(ReadError::of(".")),
            Target::Attempt(attempt) => {
                let opened = self.layout.existing(&Subject::Attempt(attempt.clone()));
                opened.map_err(|_| ReadError::CleanedUp(attempt.clone()))
            }
        }
    }

    /// Opens the stream of an answer, sends its header and lets `fill` send the rest.
    async fn send<F, Fut>(
        &self,
        request: &ReadRequest,
        file: Option<wire::NodeFile>,
        offset: u64,
        fill: F,
    ) -> Result<(), ReadError>
    where
        F: FnOnce(Sink) -> Fut,
        Fut: Future<Output = Result<(), ReadError>>,
    {
        let mut node = self.link.node().await.map_err(|_| ReadError::Gone)?;
        let (sink, receiver) = mpsc::channel(CHUNKS_AHEAD);
        let header = wire::ServeFileHeader { read_id: request.id.clone(), file, offset };
        // The channel is new and empty.
        let _room = sink.try_send(wire::ServeFileRequest { body: Some(Body::Header(header)) });
        let call = node.serve_file(ReceiverStream::new(receiver));
        tokio::pin!(call);
        // The answer comes early when the reader has gone; then nothing more is read.
        tokio::select! {
            answer = &mut call => return answer.map(|_| ()).map_err(|_| ReadError::Gone),
            filled = fill(sink) => filled?,
        }
        call.await.map(|_| ()).map_err(|_| ReadError::Gone)
    }
}

type Sink = mpsc::Sender<wire::ServeFileRequest>;

async fn send_entries(found: Vec<wire::NodeFile>, sink: Sink) -> Result<(), ReadError> {
    for files in found.chunks(ENTRIES_IN_MESSAGE) {
        let entries = wire::NodeFileEntries { files: files.to_vec() };
        let message = wire::ServeFileRequest { body: Some(Body::Entries(entries)) };
        sink.send(message).await.map_err(|_| ReadError::Gone)?;
    }
    Ok(())
}

/// One file that is being read.
struct Reading {
    path: String,
    file: File,
    offset: u64,
    left: u64,
    life: Option<watch::Receiver<Life>>,
    follow: bool,
}

impl Reading {
    async fn run(mut self, sink: Sink) -> Result<(), ReadError> {
        let path = self.path.clone();
        let failed = ReadError::of(&path);
        let mut growth = if self.follow { Some(Growth::of(&self.file).map_err(&failed)?) } else { None };
        self.file.seek(SeekFrom::Start(self.offset)).map_err(&failed)?;
        loop {
            // Asked before reading: what is written before the end is read after it.
            let over = match &self.life {
                Some(life) => *life.borrow() == Life::Over || life.has_changed().is_err(),
                None => !self.follow,
            };
            while let Some(chunk) = self.next_chunk().map_err(&failed)? {
                let message = wire::ServeFileRequest { body: Some(Body::Chunk(chunk)) };
                sink.send(message).await.map_err(|_| ReadError::Gone)?;
            }
            if over || self.left == 0 {
                return Ok(());
            }
            match (&mut growth, &mut self.life) {
                (Some(growth), Some(life)) => tokio::select! {
                    grown = growth.wait() => grown.map_err(&failed)?,
                    _changed = life.changed() => {}
                },
                (Some(growth), None) => growth.wait().await.map_err(&failed)?,
                (None, _) => return Ok(()),
            }
        }
    }

    /// The next bytes, as far as they are there; `None` at the end for now.
    fn next_chunk(&mut self) -> io::Result<Option<Bytes>> {
        let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(CHUNK_BYTES);
        let mut chunk = vec![0; length];
        let length =
            if length == 0 { 0 } else { tokio::task::block_in_place(|| self.file.read(&mut chunk))? };
        if length == 0 {
            return Ok(None);
        }
        chunk.truncate(length);
        self.left = self.left.saturating_sub(u64::try_from(length).unwrap_or(u64::MAX));
        Ok(Some(chunk.into()))
    }
}

/// Tells when an open file has grown.
struct Growth(Receiver);

impl Growth {
    fn of(file: &File) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        // The descriptor names the file that was opened, whatever its path leads to by now.
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        inotify.add_watch(path.as_str(), AddWatchFlags::IN_MODIFY)?;
        // The runtime's type for the reading end of a pipe waits for any descriptor that can be polled.
        Ok(Self(Receiver::from_owned_fd_unchecked(inotify.as_fd().try_clone_to_owned()?)?))
    }

    async fn wait(&mut self) -> io::Result<()> {
        let mut events = [0; EVENT_BYTES];
        self.0.readable().await?;
        match self.0.try_read(&mut events) {
            // What happened is all the same: the file is read again.
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// A directory that is being listed.
struct Listing<'a> {
    prefix: &'a str,
    after: &'a str,
    recursive: bool,
    limit: usize,
    found: Vec<wire::NodeFile>,
}

impl Listing<'_> {
    fn walk(&mut self, dir: &Dir, parent: &str, depth: usize) -> io::Result<()> {
        let Some(depth) = depth.checked_sub(1) else { return Ok(()) };
        for (name, kind) in dir.entries()? {
            if self.found.len() >= self.limit {
                return Ok(());
            }
            let path = format!("{parent}{name}");
            let below = format!("{path}/");
            let may_hold = below.starts_with(self.prefix) || self.prefix.starts_with(&below);
            let listed = match kind {
                EntryKind::Other => false,
                EntryKind::File | EntryKind::Directory => {
                    path.starts_with(self.prefix) && (self.after.is_empty() || path.as_str() > self.after)
                }
            };
            if listed {
                match dir.facts(&name) {
                    Ok(facts) => self.found.push(node_file(&path, &facts)),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(error),
                }
            }
            let goes_in = self.recursive || self.prefix.starts_with(&below);
            if kind == EntryKind::Directory && may_hold && goes_in {
                match dir.open_dir(&name) {
                    Ok(inner) => self.walk(&inner, &below, depth)?,
                    // Gone meanwhile, or not the agent's to read.
                    Err(_closed) => {}
                }
            }
        }
        Ok(())
    }
}

fn node_file(path: &str, facts: &FileFacts) -> wire::NodeFile {
    let is_directory = facts.kind == EntryKind::Directory;
    wire::NodeFile {
        path: path.to_owned(),
        is_directory,
        size_bytes: if is_directory { 0 } else { facts.size },
        create_time: None,
        update_time: Some(timestamp_out(Timestamp::from_micros(facts.modified_us))),
        file_mode: format!("{:04o}", facts.mode),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(prefix: &str, recursive: bool, after: &str, limit: usize) -> Vec<String> {
        let temporary = tempfile::tempdir().unwrap();
        let layout = Layout::open(temporary.path()).unwrap();
        let root = temporary.path().join("batch/shared");
        for path in ["a", "d/b", "d/e/c", "f"] {
            std::fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            std::fs::write(root.join(path), "x").unwrap();
        }
        std::os::unix::fs::symlink("/etc", root.join("link")).unwrap();
        let dir = layout.batch().open_dir("shared").unwrap();
        let mut listing = Listing { prefix, after, recursive, limit, found: Vec::new() };
        listing.walk(&dir, "", DEPTH_MAX).unwrap();
        listing.found.into_iter().map(|file| file.path).collect()
    }

    #[test]
    fn directories_are_listed_in_order_without_links() {
        assert_eq!(list("", false, "", 100), ["a", "d", "f"]);
        assert_eq!(list("", true, "", 100), ["a", "d", "d/b", "d/e", "d/e/c", "f"]);
        assert_eq!(list("d/", true, "", 100), ["d/b", "d/e", "d/e/c"]);
        assert_eq!(list("d/", false, "", 100), ["d/b", "d/e"]);
        assert_eq!(list("", true, "d/b", 2), ["d/e", "d/e/c"]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_growing_file_is_followed_to_its_end_and_not_beyond() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("out");
        std::fs::write(&path, "one ").unwrap();
        let (life, receiver) = watch::channel(Life::Open);
        let reading = Reading {
            path: "out".into(),
            file: File::open(&path).unwrap(),
            offset: 1,
            left: u64::MAX,
            life: Some(receiver),
            follow: true,
        };
        let (sink, mut chunks) = mpsc::channel(4);
        let running = tokio::spawn(reading.run(sink));
        let mut next = async || match chunks.recv().await.and_then(|message| message.body) {
            Some(Body::Chunk(chunk)) => String::from_utf8(chunk.to_vec()).unwrap(),
            Some(Body::Header(_) | Body::Entries(_)) | None => String::new(),
        };
        assert_eq!(next().await, "ne ");
        let mut writer = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
        io::Write::write_all(&mut writer, b"two").unwrap();
        assert_eq!(next().await, "two");
        io::Write::write_all(&mut writer, b"!").unwrap();
        life.send(Life::Over).unwrap();
        assert_eq!(next().await, "!");
        running.await.unwrap().unwrap();
    }
}

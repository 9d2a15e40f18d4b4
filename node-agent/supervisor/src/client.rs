//! One connection: bytes in, requests out; messages in, bytes out. It never blocks.
//!
//! Only a peer of our own user, or root, gets this far. The first request must be a greeting in a version
//! that is spoken.
//!
//! Invariant: what waits to be sent is bounded: a peer that does not read is not read from, then dropped.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

use nix::sys::epoll::EpollFlags;

use muster_supervisor::frame::frame;
use muster_supervisor::{
    FrameReader, Message, PROTOCOL_VERSION, Refusal, Reply, Request, RequestError, Welcome,
};

/// Bytes that are read at a time.
const READ_BYTES: usize = 64 << 10;
/// With so much waiting to be sent, nothing more is read: the peer is to take its answers first.
const PAUSE_BYTES: usize = 1 << 20;
/// With so much waiting to be sent the peer is dropped: the records of all attempts that can be held are a
/// quarter of it.
const WAITING_BYTES_MAX: usize = 16 << 20;

/// Why a connection ends.
#[derive(Debug)]
pub(crate) enum Closed {
    /// The peer closed it, or it broke.
    ByPeer,
    /// The peer broke a rule.
    Rule(&'static str),
}

/// A request of a connection that has greeted.
pub(crate) struct Asked {
    pub(crate) id: u64,
    pub(crate) request: Result<Request, Refusal>,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Client {
    stream: UnixStream,
    reader: FrameReader,
    waiting: Vec<u8>,
    sent: usize,
    greeted: bool,
    /// Whether it wants exit events.
    pub(crate) subscribed: bool,
    /// It is to be closed once all is sent.
    closing: bool,
    /// Requests of it are read that were not carried out yet; nothing more is read until they are.
    pub(crate) backlog: bool,
    /// What it is watched for; kept by whoever watches it.
    pub(crate) watched: EpollFlags,
}

impl Client {
    pub(crate) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let (reader, waiting) = (FrameReader::new(), Vec::new());
        Ok(Self {
            stream,
            reader,
            waiting,
            sent: 0,
            greeted: false,
            subscribed: false,
            closing: false,
            backlog: false,
            watched: EpollFlags::EPOLLIN,
        })
    }

    pub(crate) fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// What to watch the connection for.
    pub(crate) fn interest(&self) -> EpollFlags {
        let waiting = self.waiting.len() - self.sent;
        let mut flags = EpollFlags::empty();
        flags.set(EpollFlags::EPOLLIN, waiting < PAUSE_BYTES && !self.closing);
        flags.set(EpollFlags::EPOLLOUT, waiting > 0);
        flags
    }

    /// Whether requests may be taken from it.
    pub(crate) fn is_open(&self) -> bool {
        self.interest().contains(EpollFlags::EPOLLIN)
    }

    /// Reads what has arrived, up to a bound; the rest stays readable.
    pub(crate) fn read(&mut self) -> Result<(), Closed> {
        let mut buffer = [0; READ_BYTES];
        match self.stream.read(&mut buffer) {
            Ok(0) => Err(Closed::ByPeer),
            Ok(length) => {
                self.reader.push(&buffer[..length]);
                Ok(())
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                Ok(())
            }
            Err(_) => Err(Closed::ByPeer),
        }
    }

    /// The next request; `None` until more is read. Greetings are answered here.
    pub(crate) fn next_request(&mut self, boot_id: &str) -> Result<Option<Asked>, Closed> {
        loop {
            let document = match self.reader.next_frame() {
                Ok(Some(document)) => document,
                Ok(None) => return Ok(None),
                Err(_) => return Err(Closed::Rule("a frame above the largest size")),
            };
            let (id, request) = Request::decode(document);
            let request = request.map_err(|error| match error {
                RequestError::Decode(error) => Refusal::Unreadable { words: error.to_string() },
                RequestError::Spec(error) => Refusal::BadSpec { words: words(&error) },
            });
            match request {
                Ok(Request::Hello { protocol }) => self.greet(id, protocol, boot_id)?,
                request if self.greeted => return Ok(Some(Asked { id, request })),
                Ok(_) | Err(_) => return Err(Closed::Rule("a request before the greeting")),
            }
            if self.closing {
                return Ok(None);
            }
        }
    }

    /// A newer peer is answered in our version, which it may speak as well; what is older than the first is
    /// refused.
    fn greet(&mut self, id: u64, asked: u32, boot_id: &str) -> Result<(), Closed> {
        self.greeted = asked >= 1;
        self.closing = !self.greeted;
        let result = if self.greeted {
            Ok(Reply::Welcome(Welcome {
                protocol: asked.min(PROTOCOL_VERSION),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                pid: std::process::id(),
                boot_id: boot_id.to_owned(),
            }))
        } else {
            Err(Refusal::Protocol { asked, newest: PROTOCOL_VERSION })
        };
        self.send(&Message::Reply { id, result })
    }

    /// Sends a message, or keeps it until the peer reads.
    pub(crate) fn send(&mut self, message: &Message) -> Result<(), Closed> {
        // No message of ours comes near the limit: the largest lists all attempts, in a few hundred bytes each.
        let bytes = frame(&message.encode()).map_err(|_| Closed::Rule("an answer above the largest size"))?;
        if self.waiting.len() - self.sent + bytes.len() > WAITING_BYTES_MAX {
            return Err(Closed::Rule("it does not read its answers"));
        }
        if self.sent >= PAUSE_BYTES {
            self.waiting.drain(..self.sent);
            self.sent = 0;
        }
        self.waiting.extend_from_slice(&bytes);
        Ok(())
    }

    /// Writes what waits, as far as the peer takes it.
    pub(crate) fn write(&mut self) -> Result<(), Closed> {
        while self.sent < self.waiting.len() {
            match self.stream.write(&self.waiting[self.sent..]) {
                Ok(0) => return Err(Closed::ByPeer),
                Ok(length) => self.sent += length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(Closed::ByPeer),
            }
        }
        self.waiting.clear();
        self.sent = 0;
        if self.closing { Err(Closed::Rule("a protocol version that is not spoken")) } else { Ok(()) }
    }
}

/// An error and what it rests on, in one line.
fn words(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", words(cause)),
        None => error.to_string(),
    }
}

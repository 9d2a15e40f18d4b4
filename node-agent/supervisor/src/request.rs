//! What can be asked of the supervisor: requests, each one document in one frame.
//!
//! The first request of a connection is `Hello`; a version that is not spoken is refused in words and the
//! connection closed. Every request carries a number of the caller's choice, and its reply the same: replies
//! may overtake each other, for a `Start` is answered only once the program runs or has failed to. Answers
//! are in [`crate::message`].
//!
//! Invariant: sending any request twice is harmless. A second `Start` of a key is refused as in use, a second
//! `Acknowledge`, `Kill`, `Lease` or `Limit` changes nothing.

use crate::document::{DecodeError, Reader, Writer, required};
use crate::key::AttemptKey;
use crate::spec::{Spec, SpecError, read_key};

/// Newest version of the protocol: of requests, replies and events alike.
pub const PROTOCOL_VERSION: u32 = 1;

/// Longest reason of a `Kill`: it is kept in the attempt's record, and a sentence is enough.
pub const REASON_BYTES_MAX: usize = 4096;

/// Most attempts of one `Usage`: reading them takes a few milliseconds, and nothing else is done meanwhile.
pub const USAGE_KEYS_MAX: usize = 64;

/// What can be asked of the supervisor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Opens a connection; answered by `Reply::Welcome`.
    Hello {
        /// The newest protocol version that the caller speaks.
        protocol: u32,
    },
    /// Runs an attempt; answered by `Reply::Started` once its program executes.
    Start(Box<Spec>),
    /// Ends an attempt: SIGTERM to all its processes, then, after the grace, SIGKILL; answered by
    /// `Reply::Killing`.
    Kill {
        /// The attempt.
        key: AttemptKey,
        /// Words for the exit record, at most [`REASON_BYTES_MAX`] bytes.
        reason: String,
        /// Time between the two signals in milliseconds; 0 kills at once.
        grace_ms: u64,
    },
    /// Asks for everything that is held; answered by `Reply::Tasks`.
    List,
    /// Lets go of ended attempts whose records are safe elsewhere; answered by `Reply::Acknowledged`.
    Acknowledge {
        /// The attempts; those unknown or not ended are passed over.
        keys: Vec<AttemptKey>,
    },
    /// Asks for exit events on this connection; answered by `Reply::Subscribed`, then the events follow.
    Subscribe,
    /// Ends the supervisor; answered by `Reply::Stopping`, with `kill_tasks` once they are all gone.
    Shutdown {
        /// Kill all attempts first; otherwise they run on and the next supervisor on this directory takes
        /// them over.
        kill_tasks: bool,
    },
    /// Asks what the node can do; answered by `Reply::Capabilities`.
    Probe,
    /// Says until when tasks may run, in place of what was said before, and also if that was later; answered
    /// by `Reply::Leased`. When the time has come, also before this is asked, every live attempt is ended at
    /// once, and a `Start` is refused until a later time is given. It holds without any connection, and for
    /// the next supervisor on this directory. A supervisor from before this request refuses it as unreadable.
    Lease {
        /// In microseconds of `CLOCK_BOOTTIME`: since boot, time spent suspended included. `None` if no lease
        /// is in force: nothing is ended for want of one.
        until_us: Option<u64>,
    },
    /// Sets the wall-clock limit of a running attempt in place of the one before; answered by `Reply::Limited`. One
    /// that has run for longer is ended by it at once, with its own grace. An attempt that is over or being ended is
    /// left as it is. A supervisor from before this request refuses it as unreadable.
    Limit {
        /// The attempt.
        key: AttemptKey,
        /// In milliseconds from the start of its command; `None` is no limit.
        wall_clock_ms: Option<u64>,
    },
    /// Asks what live attempts use now; answered by `Reply::Usages` about those of them that are live. A supervisor
    /// from before this request refuses it as unreadable.
    Usage {
        /// The attempts, at most [`USAGE_KEYS_MAX`].
        keys: Vec<AttemptKey>,
    },
}

/// Why a request cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestError {
    /// Its bytes are not a request.
    Decode(DecodeError),
    /// The spec in it is refused.
    Spec(SpecError),
}

impl From<DecodeError> for RequestError {
    fn from(error: DecodeError) -> Self {
        Self::Decode(error)
    }
}

impl Request {
    /// The request as a document, with the caller's number.
    #[must_use]
    pub fn encode(&self, id: u64) -> Vec<u8> {
        let kind = match self {
            Self::Hello { .. } => "hello",
            Self::Start(_) => "start",
            Self::Kill { .. } => "kill",
            Self::List => "list",
            Self::Acknowledge { .. } => "acknowledge",
            Self::Subscribe => "subscribe",
            Self::Lease { .. } => "lease",
            Self::Limit { .. } => "limit",
            Self::Shutdown { .. } => "shutdown",
            Self::Probe => "probe",
            Self::Usage { .. } => "usage",
        };
        let mut writer = Writer::new(kind, PROTOCOL_VERSION);
        writer.number("request", id);
        match self {
            Self::Hello { protocol } => {
                writer.number("protocol", *protocol);
            }
            Self::Start(spec) => {
                writer.bytes("spec", &spec.encode());
            }
            Self::Kill { key, reason, grace_ms } => {
                writer.text("key", key.as_str()).text("reason", reason).number("grace_ms", *grace_ms);
            }
            Self::Acknowledge { keys } | Self::Usage { keys } => {
                for key in keys {
                    writer.text("key", key.as_str());
                }
            }
            Self::Shutdown { kill_tasks } => {
                writer.flag("kill_tasks", *kill_tasks);
            }
            Self::Lease { until_us } => {
                writer.optional("until_us", *until_us);
            }
            Self::Limit { key, wall_clock_ms } => {
                writer.text("key", key.as_str()).optional("wall_clock_ms", *wall_clock_ms);
            }
            Self::List | Self::Subscribe | Self::Probe => {}
        }
        writer.finish()
    }

    /// Reads a request and its number; the number is 0 if it cannot be read.
    pub fn decode(bytes: &[u8]) -> (u64, Result<Self, RequestError>) {
        match Draft::read(bytes) {
            Ok(draft) => (draft.id.unwrap_or(0), draft.finish()),
            Err(error) => (0, Err(error.into())),
        }
    }
}

/// The fields of a request while they are read.
struct Draft<'a> {
    kind: &'a str,
    id: Option<u64>,
    protocol: Option<u32>,
    spec: Option<&'a [u8]>,
    keys: Vec<AttemptKey>,
    reason: &'a str,
    grace_ms: u64,
    kill_tasks: bool,
    until_us: Option<u64>,
    wall_clock_ms: Option<u64>,
}

impl<'a> Draft<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::open(bytes)?;
        let kind = reader.kind();
        // A greeting of any version is read, so that it can be answered with the versions that are spoken.
        if kind != "hello" {
            reader.at_most(PROTOCOL_VERSION)?;
        }
        let mut draft = Self {
            kind,
            id: None,
            protocol: None,
            spec: None,
            keys: Vec::new(),
            reason: "",
            grace_ms: 0,
            kill_tasks: false,
            until_us: None,
            wall_clock_ms: None,
        };
        while let Some(field) = reader.next_field()? {
            match field.name {
                "request" => draft.id = Some(field.number()?),
                "protocol" => draft.protocol = Some(field.number()?),
                "spec" => draft.spec = Some(field.value),
                "key" => draft.keys.push(read_key(&field)?),
                "reason" if field.value.len() > REASON_BYTES_MAX => {
                    return Err(field.wrong("a reason of at most 4096 bytes"));
                }
                "reason" => draft.reason = field.text()?,
                "grace_ms" => draft.grace_ms = field.number()?,
                "kill_tasks" => draft.kill_tasks = field.flag()?,
                "until_us" => draft.until_us = Some(field.number()?),
                "wall_clock_ms" => draft.wall_clock_ms = Some(field.number()?),
                _ => field.skip()?,
            }
        }
        reader.close()?;
        Ok(draft)
    }

    fn finish(mut self) -> Result<Request, RequestError> {
        required(self.id, "request", "request")?;
        Ok(match self.kind {
            "hello" => Request::Hello { protocol: required(self.protocol, "hello", "protocol")? },
            "start" => {
                let bytes = required(self.spec, "start", "spec")?;
                Request::Start(Box::new(Spec::decode(bytes).map_err(RequestError::Spec)?))
            }
            "kill" => Request::Kill {
                key: required(self.keys.pop(), "kill", "key")?,
                reason: self.reason.to_owned(),
                grace_ms: self.grace_ms,
            },
            "list" => Request::List,
            "acknowledge" => Request::Acknowledge { keys: self.keys },
            "subscribe" => Request::Subscribe,
            "shutdown" => Request::Shutdown { kill_tasks: self.kill_tasks },
            "probe" => Request::Probe,
            "usage" if self.keys.len() > USAGE_KEYS_MAX => {
                let error = DecodeError::Value { field: "key".to_owned(), wanted: "at most 64 attempts" };
                return Err(error.into());
            }
            "usage" => Request::Usage { keys: self.keys },
            "lease" => Request::Lease { until_us: self.until_us },
            "limit" => Request::Limit {
                key: required(self.keys.pop(), "limit", "key")?,
                wall_clock_ms: self.wall_clock_ms,
            },
            other => {
                return Err(DecodeError::Kind { wanted: "request", found: other.to_owned() }.into());
            }
        })
    }
}

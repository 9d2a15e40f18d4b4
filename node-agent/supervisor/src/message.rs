//! What the supervisor says: replies to requests, and exit events, each one document in one frame.
//!
//! `Exited` events come after a `Subscribe`, first those that were not acknowledged, then each as it happens;
//! an event is repeated on the next connection until it is acknowledged.

use crate::document::{DecodeError, Reader, Writer, required};
use crate::key::AttemptKey;
use crate::record::{ExitRecord, Usage};
use crate::refusal::{REFUSED_KIND, Refusal};
use crate::request::PROTOCOL_VERSION;
use crate::status::{Capabilities, CapabilitiesDraft, TaskStatus};

/// Who answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// The protocol version that is spoken on this connection.
    pub protocol: u32,
    /// The version of the supervisor's build.
    pub version: String,
    /// The supervisor's process id.
    pub pid: u32,
    /// The boot of the kernel it runs under.
    pub boot_id: String,
}

/// Answers to requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// To `Hello`.
    Welcome(Welcome),
    /// To `Start`.
    Started {
        /// The main process.
        pid: i32,
        /// When it started, in microseconds since the epoch.
        started_at_us: i64,
    },
    /// To `Kill`: the first signal was sent.
    Killing,
    /// To `List`.
    Tasks(Vec<TaskStatus>),
    /// To `Acknowledge`.
    Acknowledged,
    /// To `Subscribe`.
    Subscribed,
    /// To `Shutdown`: the supervisor exits next.
    Stopping,
    /// To `Probe`.
    Capabilities(Capabilities),
    /// To `Lease`: it is in force, and if it had ended, so are the tasks being killed.
    Leased,
    /// To `Limit`: it is in force, or the attempt is over or being ended.
    Limited,
    /// To `Usage`: the live ones among the attempts that were asked for.
    Usages(Vec<(AttemptKey, Usage)>),
}

/// What the supervisor sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// The answer to the request of this number.
    Reply {
        /// The caller's number.
        id: u64,
        /// What came of it.
        result: Result<Reply, Refusal>,
    },
    /// An attempt has ended.
    Exited(ExitRecord),
}

impl Message {
    /// The message as a document.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Exited(record) => {
                let mut writer = Writer::new("exited", PROTOCOL_VERSION);
                writer.bytes("record", &record.encode());
                writer.finish()
            }
            Self::Reply { id, result: Err(refusal) } => {
                let mut writer = Writer::new(REFUSED_KIND, PROTOCOL_VERSION);
                writer.number("request", *id);
                refusal.write(&mut writer);
                writer.finish()
            }
            Self::Reply { id, result: Ok(reply) } => reply.encode(*id),
        }
    }

    /// Reads a message.
    ///
    /// # Errors
    /// [`DecodeError`] with the field that is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::open(bytes)?;
        reader.at_most(PROTOCOL_VERSION)?;
        let message = match reader.kind() {
            "exited" => {
                let mut record = None;
                while let Some(field) = reader.next_field()? {
                    match field.name {
                        "record" => record = Some(ExitRecord::decode(field.value)?),
                        _ => field.skip()?,
                    }
                }
                Self::Exited(required(record, "exited", "record")?)
            }
            REFUSED_KIND => {
                let (id, refusal) = Refusal::read(&mut reader)?;
                Self::Reply { id, result: Err(refusal) }
            }
            _ => {
                let (id, reply) = Reply::read(&mut reader)?;
                Self::Reply { id, result: Ok(reply) }
            }
        };
        reader.close()?;
        Ok(message)
    }
}

impl Reply {
    fn kind(&self) -> &'static str {
        match self {
            Self::Welcome(_) => "welcome",
            Self::Started { .. } => "started",
            Self::Killing => "killing",
            Self::Tasks(_) => "tasks",
            Self::Acknowledged => "acknowledged",
            Self::Subscribed => "subscribed",
            Self::Stopping => "stopping",
            Self::Capabilities(_) => "capabilities",
            Self::Leased => "leased",
            Self::Limited => "limited",
            Self::Usages(_) => "usages",
        }
    }

    fn encode(&self, id: u64) -> Vec<u8> {
        let mut writer = Writer::new(self.kind(), PROTOCOL_VERSION);
        writer.number("request", id);
        match self {
            Self::Welcome(welcome) => {
                writer
                    .number("protocol", welcome.protocol)
                    .text("version", &welcome.version)
                    .number("pid", welcome.pid)
                    .text("boot_id", &welcome.boot_id);
            }
            Self::Started { pid, started_at_us } => {
                writer.number("pid", *pid).number("started_at_us", *started_at_us);
            }
            Self::Tasks(tasks) => {
                for task in tasks {
                    writer.bytes("task", &task.encode());
                }
            }
            Self::Capabilities(capabilities) => capabilities.write(&mut writer),
            Self::Usages(usages) => {
                for (key, usage) in usages {
                    writer.bytes("usage", &usage.encode_of(key));
                }
            }
            Self::Killing
            | Self::Acknowledged
            | Self::Subscribed
            | Self::Stopping
            | Self::Leased
            | Self::Limited => {}
        }
        writer.finish()
    }

    fn read(reader: &mut Reader<'_>) -> Result<(u64, Self), DecodeError> {
        let kind = reader.kind().to_owned();
        let (mut id, mut protocol, mut version, mut boot_id, mut pid) = (None, None, None, None, None);
        let (mut started_at_us, mut tasks, mut usages) = (None, Vec::new(), Vec::new());
        let mut capabilities = CapabilitiesDraft::default();
        while let Some(field) = reader.next_field()? {
            match field.name {
                "request" => id = Some(field.number()?),
                "protocol" => protocol = Some(field.number()?),
                "version" => version = Some(field.text()?.to_owned()),
                "boot_id" => boot_id = Some(field.text()?.to_owned()),
                "pid" => pid = Some(field),
                "started_at_us" => started_at_us = Some(field.number()?),
                "task" => tasks.push(TaskStatus::decode(field.value)?),
                "usage" => usages.push(Usage::decode_of(field.value)?),
                _ => capabilities.take(&field)?,
            }
        }
        let pid = required(pid, "reply", "pid");
        let reply = match kind.as_str() {
            "welcome" => Self::Welcome(Welcome {
                protocol: required(protocol, "welcome", "protocol")?,
                version: required(version, "welcome", "version")?,
                pid: pid?.number()?,
                boot_id: required(boot_id, "welcome", "boot_id")?,
            }),
            "started" => Self::Started {
                pid: pid?.number()?,
                started_at_us: required(started_at_us, "started", "started_at_us")?,
            },
            "killing" => Self::Killing,
            "tasks" => Self::Tasks(tasks),
            "acknowledged" => Self::Acknowledged,
            "subscribed" => Self::Subscribed,
            "stopping" => Self::Stopping,
            "leased" => Self::Leased,
            "limited" => Self::Limited,
            "usages" => Self::Usages(usages),
            "capabilities" => Self::Capabilities(capabilities.finish()?),
            _ => return Err(DecodeError::Kind { wanted: "reply", found: kind }),
        };
        Ok((required(id, "reply", "request")?, reply))
    }
}

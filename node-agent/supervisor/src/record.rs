//! How one attempt ended: the document `muster-exit`, on disk and in the event that carries it.
//!
//! The record says what the kernel said. Whether that is a failure, and whose, is the agent's to decide.
//! It is written before it is pushed, and kept until the agent acknowledges it.
//!
//! A cause that came later than version 1 is written as the nearest older one with a field beside it, so that
//! an older reader, of which a node may have one after a downgrade, still reads the record and the journal.
//!
//! Invariant: `ended_by` is the first reason that made the attempt end; later ones do not replace it.

use crate::document::{DecodeError, Field, Reader, Writer, required};
use crate::key::AttemptKey;
use crate::spec::read_key;

/// Kind of the document.
pub const EXIT_KIND: &str = "muster-exit";
/// Newest version of the document that this build writes and reads.
pub const EXIT_VERSION: u32 = 1;

/// How the main process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It exited with this code.
    Exited {
        /// 0 to 255.
        code: u8,
    },
    /// A signal ended it.
    Signaled {
        /// The signal's number.
        signal: u8,
        /// Whether a core was dumped.
        core_dumped: bool,
    },
    /// It is over, and how cannot be known.
    Lost {
        /// Why not.
        reason: LostReason,
    },
}

/// Why an attempt's exit status cannot be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LostReason {
    /// The node was booted since.
    Rebooted,
    /// It ended, and its keeper was killed by somebody else before it could say how.
    EndedUnwatched,
    /// The supervisor died while starting it; its program was never executed.
    LaunchInterrupted,
}

/// What made an attempt end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndedBy {
    /// Its own doing: it exited, crashed, or got a signal from elsewhere.
    Itself,
    /// The wall-clock limit.
    WallClock,
    /// The kernel killed one of its processes for want of memory.
    OutOfMemory,
    /// A `Kill` request.
    Requested {
        /// The words given with the request.
        reason: String,
    },
    /// A `Shutdown` request that asked for tasks to be killed.
    Shutdown,
    /// The end of the node's lease, which nobody renewed. Readers from before this cause take it for
    /// `Requested` with words that say so.
    LeaseEnded,
}

/// What a reader that does not know the field `lease_ended` takes for the reason of a request.
const LEASE_ENDED_WORDS: &str = "the node's lease has ended";

impl EndedBy {
    /// Adds the fields `ended_by`, `reason` and `lease_ended` to a document.
    pub(crate) fn write(&self, writer: &mut Writer) {
        let name = match self {
            Self::Itself => "itself",
            Self::WallClock => "wall-clock",
            Self::OutOfMemory => "out-of-memory",
            Self::Requested { .. } | Self::LeaseEnded => "requested",
            Self::Shutdown => "shutdown",
        };
        writer.text("ended_by", name);
        match self {
            Self::Requested { reason } => {
                writer.text("reason", reason);
            }
            Self::LeaseEnded => {
                writer.text("reason", LEASE_ENDED_WORDS).flag("lease_ended", true);
            }
            Self::Itself | Self::WallClock | Self::OutOfMemory | Self::Shutdown => {}
        }
    }
}

/// The fields of a cause while they are read.
#[derive(Default)]
pub(crate) struct EndedByDraft<'a> {
    name: Option<Field<'a>>,
    reason: Option<&'a str>,
    lease_ended: bool,
}

impl<'a> EndedByDraft<'a> {
    /// Takes a field if it is one of a cause, else skips it.
    pub(crate) fn take(&mut self, field: Field<'a>) -> Result<(), DecodeError> {
        match field.name {
            "ended_by" => self.name = Some(field),
            "reason" => self.reason = Some(field.text()?),
            "lease_ended" => self.lease_ended = field.flag()?,
            _ => field.skip()?,
        }
        Ok(())
    }

    /// Puts them together, for a document of this kind.
    pub(crate) fn finish(self, kind: &'static str) -> Result<EndedBy, DecodeError> {
        let name = required(self.name, kind, "ended_by")?;
        match name.text()? {
            "itself" => Ok(EndedBy::Itself),
            "wall-clock" => Ok(EndedBy::WallClock),
            "out-of-memory" => Ok(EndedBy::OutOfMemory),
            "requested" if self.lease_ended => Ok(EndedBy::LeaseEnded),
            "requested" => Ok(EndedBy::Requested { reason: self.reason.unwrap_or_default().to_owned() }),
            "shutdown" => Ok(EndedBy::Shutdown),
            _ => Err(name.wrong("itself, wall-clock, out-of-memory, requested or shutdown")),
        }
    }
}

/// Newest version of the `usage` document within a reply.
const USAGE_VERSION: u32 = 1;

/// What the processes of an attempt used, as far as the node can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// CPU time in user mode, in microseconds.
    pub user_cpu_us: Option<u64>,
    /// CPU time in the kernel, in microseconds.
    pub system_cpu_us: Option<u64>,
    /// Most memory in use at a time, in bytes; of the cgroup, or without one of its largest process.
    pub peak_memory_bytes: Option<u64>,
    /// Bytes read from block devices.
    pub read_bytes: Option<u64>,
    /// Bytes written to block devices.
    pub written_bytes: Option<u64>,
    /// How often the kernel killed a process of the attempt for want of memory; `None` without a memory cgroup.
    pub oom_kills: Option<u64>,
    /// Most processes and threads at a time; `None` where the kernel does not count them.
    pub peak_processes: Option<u64>,
    /// How often a further process was refused by the limit; `None` where the kernel does not count it.
    pub refused_processes: Option<u64>,
}

impl Usage {
    /// Adds what is known to a document.
    pub(crate) fn write(&self, writer: &mut Writer) {
        writer
            .optional("user_cpu_us", self.user_cpu_us)
            .optional("system_cpu_us", self.system_cpu_us)
            .optional("peak_memory_bytes", self.peak_memory_bytes)
            .optional("read_bytes", self.read_bytes)
            .optional("written_bytes", self.written_bytes)
            .optional("oom_kills", self.oom_kills)
            .optional("peak_processes", self.peak_processes)
            .optional("refused_processes", self.refused_processes);
    }

    /// Takes a field if it is one of ours; `false` if it is not.
    pub(crate) fn take(&mut self, field: &Field<'_>) -> Result<bool, DecodeError> {
        let value = match field.name {
            "user_cpu_us" => &mut self.user_cpu_us,
            "system_cpu_us" => &mut self.system_cpu_us,
            "peak_memory_bytes" => &mut self.peak_memory_bytes,
            "read_bytes" => &mut self.read_bytes,
            "written_bytes" => &mut self.written_bytes,
            "oom_kills" => &mut self.oom_kills,
            "peak_processes" => &mut self.peak_processes,
            "refused_processes" => &mut self.refused_processes,
            _ => return Ok(false),
        };
        *value = Some(field.number()?);
        Ok(true)
    }

    /// The document of an attempt's usage within a reply.
    pub(crate) fn encode_of(&self, key: &AttemptKey) -> Vec<u8> {
        let mut writer = Writer::new("usage", USAGE_VERSION);
        writer.text("key", key.as_str());
        self.write(&mut writer);
        writer.finish()
    }

    /// Reads such a document.
    pub(crate) fn decode_of(bytes: &[u8]) -> Result<(AttemptKey, Self), DecodeError> {
        let mut reader = Reader::of_kind(bytes, "usage", USAGE_VERSION)?;
        let (mut key, mut usage) = (None, Self::default());
        while let Some(field) = reader.next_field()? {
            match field.name {
                "key" => key = Some(read_key(&field)?),
                _ if usage.take(&field)? => {}
                _ => field.skip()?,
            }
        }
        reader.close()?;
        Ok((required(key, "usage", "key")?, usage))
    }
}

/// The end of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExitRecord {
    /// The attempt.
    pub key: AttemptKey,
    /// How its main process ended.
    pub outcome: Outcome,
    /// What made it end.
    pub ended_by: EndedBy,
    /// When it started, in microseconds since the epoch; `None` if the launch was interrupted.
    pub started_at_us: Option<i64>,
    /// When its main process was seen to have ended, in microseconds since the epoch.
    pub ended_at_us: i64,
    /// What it used.
    pub usage: Usage,
    /// Processes could not be killed in time and may still exist (stuck in the kernel).
    pub leftovers: bool,
}

impl ExitRecord {
    /// Whether the kernel killed any process of the attempt for want of memory.
    #[must_use]
    pub fn out_of_memory(&self) -> bool {
        self.usage.oom_kills.is_some_and(|kills| kills > 0)
    }

    /// The record as a document.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new(EXIT_KIND, EXIT_VERSION);
        writer.text("key", self.key.as_str());
        match self.outcome {
            Outcome::Exited { code } => writer.number("exit_code", code),
            Outcome::Signaled { signal, core_dumped } => {
                writer.number("signal", signal).flag("core_dumped", core_dumped)
            }
            Outcome::Lost { reason } => writer.text(
                "lost",
                match reason {
                    LostReason::Rebooted => "rebooted",
                    LostReason::EndedUnwatched => "ended-unwatched",
                    LostReason::LaunchInterrupted => "launch-interrupted",
                },
            ),
        };
        self.ended_by.write(&mut writer);
        writer.optional("started_at_us", self.started_at_us).number("ended_at_us", self.ended_at_us);
        self.usage.write(&mut writer);
        writer.flag("leftovers", self.leftovers);
        writer.finish()
    }

    /// Reads a record from a document that is nothing else.
    ///
    /// # Errors
    /// [`DecodeError`] with the field that is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::of_kind(bytes, EXIT_KIND, EXIT_VERSION)?;
        let record = Self::read(&mut reader)?;
        reader.close()?;
        Ok(record)
    }

    /// Reads a record's fields up to the document's end.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut draft = Draft::default();
        while let Some(field) = reader.next_field()? {
            draft.take(field)?;
        }
        draft.finish()
    }
}

/// The fields of a record while they are read.
#[derive(Default)]
struct Draft<'a> {
    key: Option<AttemptKey>,
    code: Option<u8>,
    signal: Option<u8>,
    core_dumped: bool,
    lost: Option<LostReason>,
    ended_by: EndedByDraft<'a>,
    started_at_us: Option<i64>,
    ended_at_us: Option<i64>,
    usage: Usage,
    leftovers: bool,
}

impl<'a> Draft<'a> {
    fn take(&mut self, field: Field<'a>) -> Result<(), DecodeError> {
        match field.name {
            "key" => self.key = Some(read_key(&field)?),
            "exit_code" => self.code = Some(field.number()?),
            "signal" => self.signal = Some(field.number()?),
            "core_dumped" => self.core_dumped = field.flag()?,
            "lost" => {
                self.lost = Some(match field.text()? {
                    "rebooted" => LostReason::Rebooted,
                    "ended-unwatched" => LostReason::EndedUnwatched,
                    "launch-interrupted" => LostReason::LaunchInterrupted,
                    _ => return Err(field.wrong("rebooted, ended-unwatched or launch-interrupted")),
                });
            }
            "started_at_us" => self.started_at_us = Some(field.number()?),
            "ended_at_us" => self.ended_at_us = Some(field.number()?),
            "leftovers" => self.leftovers = field.flag()?,
            _ if self.usage.take(&field)? => {}
            _ => self.ended_by.take(field)?,
        }
        Ok(())
    }

    fn finish(self) -> Result<ExitRecord, DecodeError> {
        let outcome = match (self.code, self.signal, self.lost) {
            (Some(code), _, _) => Outcome::Exited { code },
            (None, Some(signal), _) => Outcome::Signaled { signal, core_dumped: self.core_dumped },
            (None, None, Some(reason)) => Outcome::Lost { reason },
            (None, None, None) => return Err(DecodeError::Missing { kind: EXIT_KIND, field: "exit_code" }),
        };
        Ok(ExitRecord {
            key: required(self.key, EXIT_KIND, "key")?,
            outcome,
            ended_by: self.ended_by.finish(EXIT_KIND)?,
            started_at_us: self.started_at_us,
            ended_at_us: required(self.ended_at_us, EXIT_KIND, "ended_at_us")?,
            usage: self.usage,
            leftovers: self.leftovers,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(outcome: Outcome, ended_by: EndedBy) -> ExitRecord {
        ExitRecord {
            key: "job.task.1".parse().unwrap(),
            outcome,
            ended_by,
            started_at_us: Some(1_000_000),
            ended_at_us: -5,
            usage: Usage { user_cpu_us: Some(7), oom_kills: Some(0), ..Usage::default() },
            leftovers: false,
        }
    }

    #[test]
    fn every_outcome_and_cause_comes_back_equal() {
        let outcomes = [
            Outcome::Exited { code: 255 },
            Outcome::Signaled { signal: 9, core_dumped: false },
            Outcome::Signaled { signal: 11, core_dumped: true },
            Outcome::Lost { reason: LostReason::Rebooted },
            Outcome::Lost { reason: LostReason::EndedUnwatched },
            Outcome::Lost { reason: LostReason::LaunchInterrupted },
        ];
        let causes = [
            EndedBy::Itself,
            EndedBy::WallClock,
            EndedBy::OutOfMemory,
            EndedBy::Requested { reason: "job\nended".into() },
            EndedBy::Shutdown,
            EndedBy::LeaseEnded,
        ];
        for outcome in outcomes {
            for cause in causes.clone() {
                let record = record(outcome, cause);
                assert_eq!(ExitRecord::decode(&record.encode()), Ok(record));
            }
        }
    }

    #[test]
    fn a_reader_from_before_leases_takes_the_end_of_one_for_a_request_in_words() {
        let bytes = record(Outcome::Exited { code: 0 }, EndedBy::LeaseEnded).encode();
        // Such a reader skips the field; here it is taken out.
        let text = String::from_utf8(bytes).unwrap().replace("lease_ended 1:1\n", "");
        let read = ExitRecord::decode(text.as_bytes()).unwrap();
        assert_eq!(read.ended_by, EndedBy::Requested { reason: LEASE_ENDED_WORDS.into() });
    }

    #[test]
    fn a_record_that_does_not_say_how_it_ended_is_refused() {
        let bytes = record(Outcome::Exited { code: 0 }, EndedBy::Itself).encode();
        let text = String::from_utf8(bytes).unwrap().replace("exit_code 1:0\n", "");
        let error = ExitRecord::decode(text.as_bytes()).unwrap_err();
        assert_eq!(error, DecodeError::Missing { kind: EXIT_KIND, field: "exit_code" });
    }
}

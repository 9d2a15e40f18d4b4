//! What the supervisor keeps on disk: documents appended to one file, in the order of events.
//!
//! `muster-attempt` is written before an attempt's clone, `muster-started` after it, `muster-limit` when its wall-clock limit
//! is set anew, `muster-ending` when it is told to end, `muster-exit` when it is over, `muster-gone` when the agent has acknowledged or the start
//! has failed. One file for all attempts, for a file each would cost ext4 more than the start itself (it
//! searches long for an inode after others were deleted). A tail that a crash cut short is recognised by its
//! missing `end`. The spec is not kept: nothing after the exec needs it, and its environment may hold
//! secrets.
//!
//! Invariant: no process of an attempt exists before its `muster-attempt` is written, and none of its program
//! before its `muster-started`: one without that was interrupted, and executed nothing.

use std::collections::BTreeMap;

use crate::document::{DecodeError, Field, Reader, Writer, required};
use crate::key::AttemptKey;
use crate::record::{EXIT_KIND, EXIT_VERSION, EndedBy, EndedByDraft, ExitRecord};
use crate::spec::read_key;

const ACCEPTED_KIND: &str = "muster-attempt";
const STARTED_KIND: &str = "muster-started";
const LIMIT_KIND: &str = "muster-limit";
const ENDING_KIND: &str = "muster-ending";
const GONE_KIND: &str = "muster-gone";
/// Newest version of the five documents that are the journal's own.
const JOURNAL_VERSION: u32 = 1;

/// An attempt that is about to be cloned, and what its custody needs after a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The attempt.
    pub key: AttemptKey,
    /// The boot of the kernel under which it runs.
    pub boot_id: String,
    /// Whether it has a control group.
    pub grouped: bool,
    /// When it was accepted, in microseconds since the epoch.
    pub accepted_at_us: i64,
    /// Its wall-clock limit in milliseconds; read back, the one that was set last.
    pub wall_clock_ms: Option<u64>,
    /// The notice it gets when that limit is reached, in milliseconds.
    pub grace_ms: u64,
    /// Its memory limit in bytes.
    pub memory_bytes: Option<u64>,
    /// The number of its exit slot; `None` for one that was started by a build without keepers.
    pub slot: Option<u32>,
    /// Whether it ends with the node's lease.
    pub leased: bool,
}

/// The keeper of an attempt; of one without an exit slot, its main process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Started {
    /// Its process id.
    pub pid: i32,
    /// Its start time as the kernel gives it (clock ticks since boot): tells it from a later process of the
    /// same id.
    pub start_ticks: u64,
    /// When it was started, in microseconds since the epoch.
    pub started_at_us: i64,
    /// The same on the monotonic clock, in microseconds since boot.
    pub started_monotonic_us: u64,
}

/// The decision to end an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// Why.
    pub ended_by: EndedBy,
    /// When whatever is left gets SIGKILL, in microseconds on the monotonic clock.
    pub kill_at_us: u64,
}

/// One attempt as read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The attempt itself.
    pub accepted: Accepted,
    /// Its keeper, if it got that far.
    pub started: Option<Started>,
    /// The decision to end it, if there was one.
    pub ending: Option<Ending>,
    /// How it ended, if it did.
    pub exit: Option<ExitRecord>,
}

/// All that is held, read back from the file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Journal {
    /// The attempts that are not gone.
    pub attempts: BTreeMap<AttemptKey, Attempt>,
    /// Bytes of whole documents at the front of the file.
    pub whole_bytes: usize,
    /// Why the rest of the file was not read; [`DecodeError::Truncated`] is what a crash leaves.
    pub damage: Option<DecodeError>,
}

impl Journal {
    /// Reads a file as far as it is whole.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Self {
        let mut journal = Self::default();
        let mut rest = bytes;
        while !rest.is_empty() {
            match journal.take(rest) {
                Ok(after) => rest = after,
                Err(error) => {
                    journal.damage = Some(error);
                    break;
                }
            }
            journal.whole_bytes = bytes.len() - rest.len();
        }
        journal
    }

    fn take<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], DecodeError> {
        let mut reader = Reader::open(bytes)?;
        reader.at_most(if reader.kind() == EXIT_KIND { EXIT_VERSION } else { JOURNAL_VERSION })?;
        match reader.kind() {
            ACCEPTED_KIND => {
                let accepted = Accepted::read(&mut reader)?;
                let key = accepted.key.clone();
                self.attempts.insert(key, Attempt { accepted, started: None, ending: None, exit: None });
            }
            STARTED_KIND => {
                let (key, started) = Started::read(&mut reader)?;
                self.of(&key, |attempt| attempt.started = Some(started));
            }
            LIMIT_KIND => {
                let (key, wall_clock_ms) = read_limit(&mut reader)?;
                self.of(&key, |attempt| attempt.accepted.wall_clock_ms = wall_clock_ms);
            }
            ENDING_KIND => {
                let (key, ending) = Ending::read(&mut reader)?;
                self.of(&key, |attempt| attempt.ending = Some(ending));
            }
            EXIT_KIND => {
                let exit = ExitRecord::read(&mut reader)?;
                self.of(&exit.key.clone(), |attempt| attempt.exit = Some(exit));
            }
            GONE_KIND => read_gone(&mut reader)?.iter().for_each(|key| drop(self.attempts.remove(key))),
            // A kind that a later build appends beside these is of no use to this one.
            _ => while reader.next_field()?.is_some() {},
        }
        Ok(reader.remaining())
    }

    /// A document about an attempt that is gone says nothing any more.
    fn of(&mut self, key: &AttemptKey, change: impl FnOnce(&mut Attempt)) {
        if let Some(attempt) = self.attempts.get_mut(key) {
            change(attempt);
        }
    }
}

impl Accepted {
    /// The document.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new(ACCEPTED_KIND, JOURNAL_VERSION);
        writer
            .text("key", self.key.as_str())
            .text("boot_id", &self.boot_id)
            .flag("grouped", self.grouped)
            .number("accepted_at_us", self.accepted_at_us)
            .optional("wall_clock_ms", self.wall_clock_ms)
            .number("grace_ms", self.grace_ms)
            .optional("memory_bytes", self.memory_bytes)
            .optional("slot", self.slot)
            .flag("unleased", !self.leased);
        writer.finish()
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (mut key, mut boot_id, mut accepted_at_us, mut slot) = (None, None, None, None);
        let (mut grouped, mut wall_clock_ms, mut grace_ms, mut memory_bytes) = (false, None, 0, None);
        let mut unleased = false;
        while let Some(field) = reader.next_field()? {
            match field.name {
                "key" => key = Some(read_key(&field)?),
                "boot_id" => boot_id = Some(field.text()?.to_owned()),
                "grouped" => grouped = field.flag()?,
                "accepted_at_us" => accepted_at_us = Some(field.number()?),
                "wall_clock_ms" => wall_clock_ms = Some(field.number()?),
                "grace_ms" => grace_ms = field.number()?,
                "memory_bytes" => memory_bytes = Some(field.number()?),
                "slot" => slot = Some(field.number()?),
                "unleased" => unleased = field.flag()?,
                _ => field.skip()?,
            }
        }
        Ok(Self {
            key: required(key, ACCEPTED_KIND, "key")?,
            boot_id: required(boot_id, ACCEPTED_KIND, "boot_id")?,
            grouped,
            accepted_at_us: required(accepted_at_us, ACCEPTED_KIND, "accepted_at_us")?,
            wall_clock_ms,
            grace_ms,
            memory_bytes,
            slot,
            leased: !unleased,
        })
    }
}

impl Started {
    /// The document, for the attempt of this key.
    #[must_use]
    pub fn encode(&self, key: &AttemptKey) -> Vec<u8> {
        let mut writer = Writer::new(STARTED_KIND, JOURNAL_VERSION);
        writer
            .text("key", key.as_str())
            .number("pid", self.pid)
            .number("start_ticks", self.start_ticks)
            .number("started_at_us", self.started_at_us)
            .number("started_monotonic_us", self.started_monotonic_us);
        writer.finish()
    }

    fn read(reader: &mut Reader<'_>) -> Result<(AttemptKey, Self), DecodeError> {
        let (mut key, mut pid, mut start_ticks) = (None, None, None);
        let (mut started_at_us, mut monotonic) = (None, None);
        while let Some(field) = reader.next_field()? {
            match field.name {
                "key" => key = Some(read_key(&field)?),
                "pid" => pid = Some(read_pid(&field)?),
                "start_ticks" => start_ticks = Some(field.number()?),
                "started_at_us" => started_at_us = Some(field.number()?),
                "started_monotonic_us" => monotonic = Some(field.number()?),
                _ => field.skip()?,
            }
        }
        let started = Self {
            pid: required(pid, STARTED_KIND, "pid")?,
            start_ticks: required(start_ticks, STARTED_KIND, "start_ticks")?,
            started_at_us: required(started_at_us, STARTED_KIND, "started_at_us")?,
            started_monotonic_us: required(monotonic, STARTED_KIND, "started_monotonic_us")?,
        };
        Ok((required(key, STARTED_KIND, "key")?, started))
    }
}

/// 0, -1 and 1 would turn a later kill into one of our own group, of everything, or of init.
fn read_pid(field: &Field<'_>) -> Result<i32, DecodeError> {
    match field.number()? {
        pid if pid > 1 => Ok(pid),
        _ => Err(field.wrong("a process id above 1")),
    }
}

impl Ending {
    /// The document, for the attempt of this key.
    #[must_use]
    pub fn encode(&self, key: &AttemptKey) -> Vec<u8> {
        let mut writer = Writer::new(ENDING_KIND, JOURNAL_VERSION);
        writer.text("key", key.as_str());
        self.ended_by.write(&mut writer);
        writer.number("kill_at_us", self.kill_at_us);
        writer.finish()
    }

    fn read(reader: &mut Reader<'_>) -> Result<(AttemptKey, Self), DecodeError> {
        let (mut key, mut ended_by, mut kill_at_us) = (None, EndedByDraft::default(), None);
        while let Some(field) = reader.next_field()? {
            match field.name {
                "key" => key = Some(read_key(&field)?),
                "kill_at_us" => kill_at_us = Some(field.number()?),
                _ => ended_by.take(field)?,
            }
        }
        let ending = Self {
            ended_by: ended_by.finish(ENDING_KIND)?,
            kill_at_us: required(kill_at_us, ENDING_KIND, "kill_at_us")?,
        };
        Ok((required(key, ENDING_KIND, "key")?, ending))
    }
}

/// The document by which a running attempt gets another wall-clock limit, in milliseconds; `None` is no limit.
#[must_use]
pub fn encode_limit(key: &AttemptKey, wall_clock_ms: Option<u64>) -> Vec<u8> {
    let mut writer = Writer::new(LIMIT_KIND, JOURNAL_VERSION);
    writer.text("key", key.as_str()).optional("wall_clock_ms", wall_clock_ms);
    writer.finish()
}

fn read_limit(reader: &mut Reader<'_>) -> Result<(AttemptKey, Option<u64>), DecodeError> {
    let (mut key, mut wall_clock_ms) = (None, None);
    while let Some(field) = reader.next_field()? {
        match field.name {
            "key" => key = Some(read_key(&field)?),
            "wall_clock_ms" => wall_clock_ms = Some(field.number()?),
            _ => field.skip()?,
        }
    }
    Ok((required(key, LIMIT_KIND, "key")?, wall_clock_ms))
}

/// The document by which attempts are let go of.
#[must_use]
pub fn encode_gone(keys: &[AttemptKey]) -> Vec<u8> {
    let mut writer = Writer::new(GONE_KIND, JOURNAL_VERSION);
    for key in keys {
        writer.text("key", key.as_str());
    }
    writer.finish()
}

fn read_gone(reader: &mut Reader<'_>) -> Result<Vec<AttemptKey>, DecodeError> {
    let mut keys = Vec::new();
    while let Some(field) = reader.next_field()? {
        match field.name {
            "key" => keys.push(read_key(&field)?),
            _ => field.skip()?,
        }
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Outcome, Usage};

    fn accepted(key: &str) -> Accepted {
        Accepted {
            key: key.parse().unwrap(),
            boot_id: "b00t".into(),
            grouped: true,
            accepted_at_us: 5,
            wall_clock_ms: Some(1000),
            grace_ms: 10,
            memory_bytes: Some(1 << 20),
            slot: Some(12),
            leased: true,
        }
    }

    /// One attempt with every document, after one that is gone.
    fn whole() -> (Vec<u8>, Attempt) {
        let attempt = Attempt {
            accepted: accepted("job.task.2"),
            started: Some(Started { pid: 77, start_ticks: 1234, started_at_us: 6, started_monotonic_us: 7 }),
            ending: Some(Ending { ended_by: EndedBy::WallClock, kill_at_us: 99 }),
            exit: Some(ExitRecord {
                key: "job.task.2".parse().unwrap(),
                outcome: Outcome::Signaled { signal: 15, core_dumped: false },
                ended_by: EndedBy::WallClock,
                started_at_us: Some(6),
                ended_at_us: 8,
                usage: Usage::default(),
                leftovers: true,
            }),
        };
        let key = &attempt.accepted.key;
        let other = Accepted { leased: false, ..accepted("job.task.1") };
        let bytes = [
            other.encode(),
            Accepted { wall_clock_ms: Some(77), ..attempt.accepted.clone() }.encode(),
            attempt.started.unwrap().encode(key),
            encode_limit(key, None),
            encode_limit(key, attempt.accepted.wall_clock_ms),
            encode_gone(std::slice::from_ref(&other.key)),
            attempt.ending.as_ref().unwrap().encode(key),
            attempt.exit.as_ref().unwrap().encode(),
        ];
        (bytes.concat(), attempt)
    }

    #[test]
    fn a_whole_life_comes_back_equal_and_what_is_gone_does_not() {
        let (bytes, attempt) = whole();
        let journal = Journal::decode(&bytes);
        assert_eq!(journal.attempts.into_values().collect::<Vec<_>>(), [attempt]);
        assert_eq!((journal.whole_bytes, journal.damage), (bytes.len(), None));
    }

    #[test]
    fn a_tail_cut_short_is_dropped_and_what_came_before_it_is_kept() {
        let (bytes, _) = whole();
        for length in 0..bytes.len() {
            let journal = Journal::decode(&bytes[..length]);
            assert!(journal.whole_bytes <= length);
            assert_eq!(journal.damage.is_none(), journal.whole_bytes == length, "{length}");
            assert!(matches!(journal.damage, None | Some(DecodeError::Truncated)), "{length}");
            // Space that was taken and never written: what a power cut may leave behind the cut.
            let padded = Journal::decode(&[&bytes[..length], &[0; 700]].concat());
            assert_eq!(
                (padded.whole_bytes, &padded.attempts),
                (journal.whole_bytes, &journal.attempts),
                "{length}"
            );
            assert!(padded.damage.is_some());
            let again = Journal::decode(&bytes[..journal.whole_bytes]);
            assert_eq!((again.attempts, again.damage), (journal.attempts, None));
        }
    }

    #[test]
    fn garbage_costs_what_comes_behind_it_and_nothing_before() {
        let (bytes, _) = whole();
        for place in 0..bytes.len() {
            let garbage = [&bytes[..place], &[0xff; 5], &bytes[(place + 5).min(bytes.len())..]].concat();
            let (harmed, before) = (Journal::decode(&garbage), Journal::decode(&bytes[..place]));
            assert!(harmed.whole_bytes >= before.whole_bytes, "{place}");
            assert!(harmed.damage.is_some(), "{place}");
        }
    }

    #[test]
    fn a_started_document_cannot_name_init_or_a_process_group() {
        for pid in [1, 0, -1, -500] {
            let started = Started { pid, start_ticks: 0, started_at_us: 0, started_monotonic_us: 0 };
            let key = accepted("a").key;
            let journal = Journal::decode(&[accepted("a").encode(), started.encode(&key)].concat());
            assert!(journal.damage.is_some() && journal.attempts[&key].started.is_none(), "pid {pid}");
        }
    }
}

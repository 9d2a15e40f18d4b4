//! Records inwards: reads what `encode` wrote, by this version or an earlier one.
//!
//! No bytes make it panic. What cannot be read is an error that names the field; whether to go on without it is the
//! driver's to decide.

use super::parts::{VERSION, assignment, settings};
use muster_agent_core::attempt::{Attempt, State};
use muster_agent_core::input::{Ended, EndedBy, Exit, KillReason, OverDisk, Terms};
use muster_agent_core::report::{NumberedReport, Report};
use muster_agent_core::start_task::{Stage, StartTask};
use muster_agent_core::{Monotonic, Record, StartTaskSettings};
use muster_model::node::StartTaskInfo;
use muster_model::spec::RetryLimit;
use muster_model::{AttemptId, Timestamp, Usage};
use muster_proto::convert::{self, AttemptPlan, FieldErrors, Finished, Progress};
use muster_proto::wire;
use muster_supervisor::document::{DecodeError, Field, Reader};
use prost::Message;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Why a record cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CodecError {
    #[error("a record of the journal cannot be read")]
    Document(#[from] DecodeError),
    #[error("a message in a record of the journal cannot be read")]
    Message(#[from] prost::DecodeError),
    #[error("a message in a record of the journal has values that this version does not take")]
    Values(#[from] FieldErrors),
    #[error("a record of the journal lacks its field '{field}'")]
    Missing { field: &'static str },
    #[error("a record of the journal has the unknown {what} '{found}'")]
    Unknown { what: &'static str, found: String },
}

/// A record, with the parts that the core leaves to the shell.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) record: Record,
    pub(crate) payload: Payload,
}

/// What the shell keeps beside a record.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Payload {
    None,
    /// Beside `Accepted`.
    Plan(Arc<AttemptPlan>),
    /// Beside `Settings`.
    Settings(Arc<convert::NodeSettings>),
}

/// Reads a record.
pub(crate) fn decode(bytes: &[u8]) -> Result<Entry, CodecError> {
    let mut reader = Reader::open(bytes)?;
    reader.at_most(VERSION)?;
    let mut fields = Fields::default();
    while let Some(field) = reader.next_field()? {
        fields.take(field)?;
    }
    reader.close()?;
    let mut payload = Payload::None;
    let record = match reader.kind() {
        "accepted" => {
            let plan = wire::AttemptPlan::decode(fields.bytes("plan")?)?;
            let plan = Arc::new(AttemptPlan::try_from(plan)?);
            payload = Payload::Plan(Arc::clone(&plan));
            Record::Accepted(Box::new(Attempt {
                assignment: assignment(&plan),
                order: fields.number("order")?,
                state: fields.state()?.ok_or(CodecError::Missing { field: "state" })?,
                kill: fields.kill()?,
                over_disk: fields.over_disk()?,
                amended: if fields.has("amended") { Some(fields.terms()?) } else { None },
                gpus: fields.gpus()?,
                disowned: fields.has("disowned"),
            }))
        }
        "equipped" => Record::Equipped { attempt: fields.attempt()?, gpus: fields.gpus()? },
        "amended" => Record::Amended { attempt: fields.attempt()?, terms: fields.terms()? },
        "moved" => Record::Moved {
            attempt: fields.attempt()?,
            state: fields.state()?.ok_or(CodecError::Missing { field: "state" })?,
        },
        "killed" => Record::Killed {
            attempt: fields.attempt()?,
            reason: fields.kill()?.ok_or(CodecError::Missing { field: "kill" })?,
        },
        "over-disk" => Record::OverDisk {
            attempt: fields.attempt()?,
            over: fields.over_disk()?.ok_or(CodecError::Missing { field: "disk_limit" })?,
        },
        "disowned" => Record::Disowned { attempt: fields.attempt()?, disowned: fields.has("disowned") },
        "ended" => Record::Ended {
            attempt: fields.attempt()?,
            // A journal from before it was kept does not say.
            incarnation: fields.optional("incarnation")?.unwrap_or(0),
            keep_until: Timestamp::from_micros(fields.number("keep_until")?),
        },
        "given-back" => Record::GivenBack(fields.attempt()?),
        "reported" => Record::Reported(report_in(wire::Report::decode(fields.bytes("report")?)?)?),
        "acknowledged" => Record::Acknowledged(fields.number("number")?),
        "report-dropped" => Record::ReportDropped(fields.attempt()?),
        "numbers-from" => {
            Record::NumbersFrom { report: fields.number("number")?, run: fields.number("run")? }
        }
        "settings" => {
            let given = wire::NodeSettings::decode(fields.bytes("settings")?)?;
            let given = Arc::new(convert::NodeSettings::try_from(given)?);
            payload = Payload::Settings(Arc::clone(&given));
            Record::Settings(settings(&given))
        }
        "lease" => Record::Lease(fields.optional("until")?.map(monotonic_in)),
        "start-task" => Record::StartTask(Box::new(fields.start_task()?)),
        "removed" => Record::Removed(fields.attempts),
        other => return Err(CodecError::Unknown { what: "kind", found: other.to_owned() }),
    };
    Ok(Entry { record, payload })
}

fn monotonic_in(nanos: u64) -> Monotonic {
    Monotonic::since_boot(Duration::from_nanos(nanos))
}

fn report_in(report: wire::Report) -> Result<NumberedReport, CodecError> {
    use wire::report::Event;
    let inner = match report.event.ok_or(CodecError::Missing { field: "event" })? {
        Event::Progress(progress) => {
            let Progress { attempt, phase, time } = progress.try_into()?;
            Report::Progress { attempt, phase, time }
        }
        Event::Finished(result) => {
            let Finished { attempt, result } = result.try_into()?;
            Report::Finished { attempt, result: Box::new(result) }
        }
        Event::Recalled(attempt) => Report::Recalled(attempt.try_into()?),
        Event::StartTask(info) => Report::StartTask(Box::new(StartTaskInfo::try_from(info)?)),
        Event::Health(health) => Report::Health(convert::NodeHealth::try_from(health)?.errors),
        Event::Facts(_) => {
            return Err(CodecError::Unknown { what: "report", found: "facts".to_owned() });
        }
    };
    Ok(NumberedReport { number: report.sequence, report: inner })
}

/// The fields of a record while they are read.
#[derive(Default)]
struct Fields<'a> {
    attempts: Vec<AttemptId>,
    single: BTreeMap<&'a str, Field<'a>>,
}

impl<'a> Fields<'a> {
    fn take(&mut self, field: Field<'a>) -> Result<(), CodecError> {
        if field.name == "attempt" {
            self.attempts.push(attempt_in(&field)?);
        } else {
            self.single.insert(field.name, field);
        }
        Ok(())
    }

    fn attempt(&mut self) -> Result<AttemptId, CodecError> {
        self.attempts.pop().ok_or(CodecError::Missing { field: "attempt" })
    }

    fn bytes(&self, field: &'static str) -> Result<&'a [u8], CodecError> {
        self.single.get(field).map(|found| found.value).ok_or(CodecError::Missing { field })
    }

    fn optional<T: TryFrom<i128>>(&self, field: &'static str) -> Result<Option<T>, CodecError> {
        Ok(self.single.get(field).map(Field::number).transpose()?)
    }

    fn number<T: TryFrom<i128>>(&self, field: &'static str) -> Result<T, CodecError> {
        self.optional(field)?.ok_or(CodecError::Missing { field })
    }

    fn text(&self, field: &'static str) -> Result<Option<&'a str>, CodecError> {
        Ok(self.single.get(field).map(Field::text).transpose()?)
    }

    fn has(&self, field: &str) -> bool {
        self.single.contains_key(field)
    }

    fn kill(&self) -> Result<Option<KillReason>, CodecError> {
        Ok(match self.optional::<u8>("kill")? {
            None => None,
            Some(1) => Some(KillReason::Terminated),
            Some(2) => Some(KillReason::WallClock),
            Some(3) => Some(KillReason::Requeued),
            Some(4) => Some(KillReason::NodeStopping),
            Some(5) => Some(KillReason::LeaseEnded),
            Some(6) => Some(KillReason::Stale),
            Some(7) => Some(KillReason::Disk),
            Some(other) => return Err(CodecError::Unknown { what: "reason", found: other.to_string() }),
        })
    }

    /// How it stood to the disk, if it was ended for that.
    fn over_disk(&self) -> Result<Option<OverDisk>, CodecError> {
        let Some(limit_bytes) = self.optional("disk_limit")? else { return Ok(None) };
        Ok(Some(OverDisk { limit_bytes, used_bytes: self.number("disk_used")? }))
    }

    fn terms(&self) -> Result<Terms, CodecError> {
        Ok(Terms {
            wall_clock: self.optional("wall_clock")?.map(Duration::from_nanos),
            retention: Duration::from_nanos(self.number("retention")?),
        })
    }

    fn gpus(&self) -> Result<Vec<u32>, CodecError> {
        let text = self.text("gpus")?.unwrap_or_default();
        let unknown = |_| CodecError::Unknown { what: "GPU", found: text.chars().take(80).collect() };
        text.split_whitespace().map(|number| number.parse().map_err(unknown)).collect()
    }

    /// How much of the wall-clock time had passed at the start; a journal from before that was kept does not say.
    fn spent(&self) -> Result<Duration, CodecError> {
        Ok(self.optional("spent")?.map_or(Duration::ZERO, Duration::from_nanos))
    }

    fn state(&self) -> Result<Option<State>, CodecError> {
        let Some(name) = self.text("state")? else { return Ok(None) };
        let staged_bytes = self.number("staged")?;
        Ok(Some(match name {
            "assigned" => State::Assigned,
            "staging" => State::Staging { since: monotonic_in(self.number("since")?) },
            "launching" => State::Launching { since: monotonic_in(self.number("since")?), staged_bytes },
            "running" => State::Running {
                start_time: Timestamp::from_micros(self.number("start")?),
                spent: self.spent()?,
                staged_bytes,
            },
            "collecting" => State::Collecting { exit: self.exit()?, spent: self.spent()?, staged_bytes },
            other => return Err(CodecError::Unknown { what: "state", found: other.to_owned() }),
        }))
    }

    fn exit(&self) -> Result<Exit, CodecError> {
        let ended = match (self.optional("exit_code")?, self.optional("signal")?) {
            (Some(code), _) => Ended::Exited(code),
            (None, Some(signal)) => Ended::Signaled(signal),
            (None, None) if self.has("rebooted") => Ended::Rebooted,
            (None, None) => Ended::Unknown,
        };
        let by = match self.text("by")?.ok_or(CodecError::Missing { field: "by" })? {
            "itself" => EndedBy::Itself,
            "wall-clock" => EndedBy::WallClock,
            "out-of-memory" => EndedBy::OutOfMemory,
            "requested" => EndedBy::Requested,
            "lease-ended" => EndedBy::LeaseEnded,
            "shutdown" => EndedBy::Shutdown,
            other => return Err(CodecError::Unknown { what: "end", found: other.to_owned() }),
        };
        Ok(Exit {
            ended,
            by,
            start_time: self.optional("start")?.map(Timestamp::from_micros),
            end_time: Timestamp::from_micros(self.number("end_time")?),
            usage: Usage {
                peak_memory_bytes: self.number("peak")?,
                user_cpu_micros: self.number("user_cpu")?,
                kernel_cpu_micros: self.number("kernel_cpu")?,
                // A journal from before these were kept does not say.
                read_bytes: self.optional("read_bytes")?.unwrap_or(0),
                written_bytes: self.optional("written_bytes")?.unwrap_or(0),
                peak_processes: self.optional("peak_processes")?.unwrap_or(0),
                peak_disk_bytes: self.optional("peak_disk")?.unwrap_or(0),
                ..Usage::default()
            },
            oom_kills: self.number("oom_kills")?,
            // A journal from before it was kept does not say.
            refused_processes: self.optional("refused_processes")?.unwrap_or(0),
        })
    }

    fn start_task(&self) -> Result<StartTask, CodecError> {
        let max_retries = match self.number::<i64>("retries")? {
            -1 => RetryLimit::Unlimited,
            times => RetryLimit::Times(u32::try_from(times).unwrap_or(u32::MAX)),
        };
        let stage = match (self.state()?, self.optional("retry_at")?) {
            (Some(state), _) => Stage::Alive(state),
            (None, Some(retry_at)) => Stage::Waiting { retry_at: monotonic_in(retry_at) },
            (None, None) => Stage::Done,
        };
        Ok(StartTask {
            run: self.number("run")?,
            settings: StartTaskSettings {
                version: self.number("version")?,
                max_retries,
                wait_for_success: self.has("wait"),
            },
            stage,
            info: StartTaskInfo::try_from(wire::StartTaskInfo::decode(self.bytes("info")?)?)?,
        })
    }
}

fn attempt_in(field: &Field<'_>) -> Result<AttemptId, CodecError> {
    let text = field.text()?;
    let unknown = || CodecError::Unknown { what: "attempt", found: text.chars().take(80).collect() };
    let mut parts = text.split(' ');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(job), Some(task), Some(number)) => Ok(AttemptId {
            job: job.parse().map_err(|_| unknown())?,
            task: task.parse().map_err(|_| unknown())?,
            number: number.parse().map_err(|_| unknown())?,
        }),
        (Some(_) | None, _, _) => Err(unknown()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::encode;
    use super::*;
    use muster_model::cause::FailureInfo;
    use muster_model::node::NodeError;
    use muster_model::spec::UserAccount;
    use muster_model::state::AttemptPhase;
    use muster_model::state::{
        ElevationLevel, ExecutionResult, IsolationLevel, OnLeaseExpiry, StartTaskState, TaskNetwork,
    };
    use muster_model::{AttemptResult, Cause};

    fn plan() -> AttemptPlan {
        AttemptPlan {
            attempt: AttemptId {
                job: "nightly:job-3".parse().unwrap(),
                task: "t".parse().unwrap(),
                number: 2,
            },
            command_line: "true".into(),
            environment: Vec::new(),
            resource_files: Vec::new(),
            output_files: Vec::new(),
            limits: convert::AttemptLimits { memory_bytes: 7, ..Default::default() },
            user_identity: Default::default(),
            slots: 2,
            gpus: 1,
            retention: Duration::from_secs(5),
            job_preparation: Some("prep".parse().unwrap()),
            incarnation: u64::MAX,
        }
    }

    fn states() -> Vec<State> {
        let since = Monotonic::since_boot(Duration::from_nanos(123_456_789_012));
        let exit = |ended| Exit {
            ended,
            by: EndedBy::OutOfMemory,
            start_time: Some(Timestamp::from_micros(5)),
            end_time: Timestamp::from_micros(-7),
            usage: Usage {
                peak_memory_bytes: 1,
                user_cpu_micros: 2,
                kernel_cpu_micros: 3,
                read_bytes: 6,
                written_bytes: 7,
                peak_processes: 8,
                peak_disk_bytes: 9,
                ..Usage::default()
            },
            oom_kills: 4,
            refused_processes: 5,
        };
        let mut states = vec![
            State::Assigned,
            State::Staging { since },
            State::Launching { since, staged_bytes: 9 },
            State::Running {
                start_time: Timestamp::from_micros(5),
                spent: Duration::from_nanos(1_234_567_891),
                staged_bytes: 9,
            },
        ];
        for ended in [Ended::Exited(3), Ended::Signaled(9), Ended::Rebooted, Ended::Unknown] {
            let spent = Duration::from_millis(1500);
            states.push(State::Collecting { exit: exit(ended), spent, staged_bytes: 9 });
        }
        states
    }

    fn node() -> convert::NodeSettings {
        convert::NodeSettings {
            task_slots: 3,
            on_lease_expiry: OnLeaseExpiry::Keep,
            dispatch_ahead: 1,
            is_dedicated: true,
            account_url: "https://x".into(),
            start_task: None,
            isolation_level: Some(IsolationLevel::Process),
            task_network: TaskNetwork::None,
            user_accounts: vec![UserAccount {
                name: "ann".parse().unwrap(),
                elevation: ElevationLevel::NonAdmin,
                ids: Some((5_000, 5_001)),
            }],
        }
    }

    /// Records of what changes of an attempt while it is held.
    fn changed(attempt: Attempt) -> Vec<Record> {
        let retention = Duration::from_nanos(u64::MAX);
        let limited = Terms { wall_clock: Some(Duration::from_nanos(5)), retention };
        let unlimited = Terms { wall_clock: None, retention: Duration::ZERO };
        let (gpus, id) = (vec![0, 12], attempt.id().clone());
        let mut records = vec![Record::Equipped { attempt: id.clone(), gpus: gpus.clone() }];
        let over = OverDisk { limit_bytes: u64::MAX, used_bytes: 1 };
        records.push(Record::OverDisk { attempt: id.clone(), over });
        records.push(Record::Accepted(Box::new(Attempt { over_disk: Some(over), ..attempt.clone() })));
        records.extend([true, false].map(|disowned| Record::Disowned { attempt: id.clone(), disowned }));
        for terms in [limited, unlimited] {
            records.push(Record::Amended { attempt: id.clone(), terms });
            let attempt =
                Attempt { amended: Some(terms), gpus: gpus.clone(), disowned: true, ..attempt.clone() };
            records.push(Record::Accepted(Box::new(attempt)));
        }
        records
    }

    fn ill() -> Report {
        Report::Health(vec![NodeError {
            code: NodeError::DISK_PRESSURE.to_owned(),
            message: "full".to_owned(),
            details: vec![("free_bytes".to_owned(), "7".to_owned())],
            time: Timestamp::from_micros(3),
        }])
    }

    #[test]
    fn records_come_back_equal() {
        let (plan, node) = (plan(), node());
        let id = plan.attempt.clone();
        let info = StartTaskInfo {
            state: StartTaskState::Running,
            start_time: Timestamp::from_micros(1),
            end_time: None,
            exit_code: Some(2),
            retry_count: 1,
            result: Some(ExecutionResult::Failure),
            failure: Some(FailureInfo::new(Cause::ExitCode, "no")),
        };
        let task = |stage| StartTask {
            run: 4,
            settings: StartTaskSettings {
                version: 2,
                max_retries: RetryLimit::Unlimited,
                wait_for_success: true,
            },
            stage,
            info: info.clone(),
        };
        let result =
            AttemptResult::not_started(FailureInfo::new(Cause::DiskFull, "full"), Timestamp::from_micros(9));
        let mut records = vec![
            Record::Killed { attempt: id.clone(), reason: KillReason::LeaseEnded },
            Record::Ended {
                attempt: id.clone(),
                incarnation: u64::MAX,
                keep_until: Timestamp::from_micros(11),
            },
            Record::Killed { attempt: id.clone(), reason: KillReason::Disk },
            Record::GivenBack(id.clone()),
            Record::Acknowledged(12),
            Record::ReportDropped(id.clone()),
            Record::NumbersFrom { report: 13, run: 2 },
            Record::Settings(settings(&node)),
            Record::Lease(None),
            Record::Lease(Some(Monotonic::since_boot(Duration::from_millis(77)))),
            Record::Removed(vec![id.clone(), id.clone()]),
            Record::StartTask(Box::new(task(Stage::Done))),
            Record::StartTask(Box::new(task(Stage::Waiting { retry_at: Monotonic::default() }))),
        ];
        let reports = [
            Report::Recalled(id.clone()),
            Report::Progress {
                attempt: id.clone(),
                phase: AttemptPhase::Staging,
                time: Timestamp::from_micros(3),
            },
            Report::Finished { attempt: id.clone(), result: Box::new(result) },
            Report::StartTask(Box::new(info.clone())),
            Report::Health(Vec::new()),
            ill(),
        ];
        records.extend(reports.map(|report| Record::Reported(NumberedReport { number: 5, report })));
        for state in states() {
            records.push(Record::Moved { attempt: id.clone(), state: state.clone() });
            records.push(Record::StartTask(Box::new(task(Stage::Alive(state.clone())))));
            let attempt =
                Attempt { state, kill: Some(KillReason::Stale), ..Attempt::assigned(assignment(&plan), 8) };
            records.push(Record::Accepted(Box::new(attempt.clone())));
            records.extend(changed(attempt));
        }
        check(records, &plan, &node);
    }

    /// Each comes back equal, with what goes beside it.
    fn check(records: Vec<Record>, plan: &AttemptPlan, node: &convert::NodeSettings) {
        for record in records {
            let entry = decode(&encode(&record, Some(plan), Some(node))).unwrap();
            assert_eq!(entry.record, record);
            match entry.payload {
                Payload::Plan(found) => assert_eq!(*found, *plan),
                Payload::Settings(found) => assert_eq!(*found, *node),
                Payload::None => {}
            }
        }
    }

    #[test]
    fn the_state_of_a_journal_from_before_spent_time_was_kept_is_read() {
        let state =
            State::Running { start_time: Timestamp::from_micros(5), spent: Duration::ZERO, staged_bytes: 9 };
        let record = Record::Moved { attempt: plan().attempt, state };
        let bytes = String::from_utf8(encode(&record, None, None)).unwrap();
        let before: String =
            bytes.lines().filter(|line| !line.starts_with("spent ")).map(|l| format!("{l}\n")).collect();
        assert_ne!(bytes, before);
        assert_eq!(decode(before.as_bytes()).unwrap().record, record);
    }

    /// A record of the file, and whether it is written so by this version too.
    fn golden(bytes: &[u8], record: &Record) -> bool {
        assert_eq!(decode(bytes).unwrap().record, *record);
        encode(record, None, None) == bytes
    }

    #[test]
    fn records_of_all_versions_are_read_from_their_files() {
        let (attempt, keep_until) = (plan().attempt, Timestamp::from_micros(11));
        let ended = |incarnation| Record::Ended { attempt: attempt.clone(), incarnation, keep_until };
        assert!(golden(include_bytes!("../../tests/golden/v1/ended-before-incarnations"), &ended(0)));
        assert!(golden(include_bytes!("../../tests/golden/v1/ended"), &ended(7)));
        for (bytes, disowned) in [
            (&include_bytes!("../../tests/golden/v1/disowned")[..], true),
            (&include_bytes!("../../tests/golden/v1/not-disowned")[..], false),
        ] {
            assert!(golden(bytes, &Record::Disowned { attempt: attempt.clone(), disowned }));
        }
        let over = OverDisk { limit_bytes: 1_000, used_bytes: 1_001 };
        let over = Record::OverDisk { attempt: attempt.clone(), over };
        assert!(golden(include_bytes!("../../tests/golden/v1/over-disk"), &over));
        let killed = Record::Killed { attempt: attempt.clone(), reason: KillReason::Disk };
        assert!(golden(include_bytes!("../../tests/golden/v1/killed-for-disk"), &killed));
        let held = decode(include_bytes!("../../tests/golden/v1/accepted-before-incarnations")).unwrap();
        let Record::Accepted(held) = held.record else { panic!("{:?}", held.record) };
        assert_eq!((held.incarnation(), held.disowned, held.id()), (0, false, &attempt));
    }

    #[test]
    fn garbage_is_refused_and_never_panics() {
        for bytes in [&b""[..], b"moved 1\n", b"moved 2\nend 0:\n", b"nonsense 1\nend 0:\n", &[0xff; 40]] {
            assert!(decode(bytes).is_err(), "{bytes:?}");
        }
    }
}

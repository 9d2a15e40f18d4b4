//! Records outwards: each becomes one document whose kind is the record's name.
//!
//! A field may be added later; one that is there keeps its meaning, because a newer agent reads the journal of an older one.

use super::parts::VERSION;
use muster_agent_core::attempt::{Attempt, State};
use muster_agent_core::effect::HeldAttempt;
use muster_agent_core::input::{Ended, EndedBy, Exit, KillReason, OverDisk, Terms};
use muster_agent_core::report::{NumberedReport, Report};
use muster_agent_core::start_task::{Stage, StartTask};
use muster_agent_core::{Monotonic, Record};
use muster_model::spec::RetryLimit;
use muster_model::{AttemptId, Timestamp};
use muster_proto::convert::{self, AttemptPlan, Progress};
use muster_proto::wire;
use muster_supervisor::document::Writer;
use prost::Message;
use std::time::Duration;

/// The bytes of a record. `plan` and `settings` are what goes beside it.
pub(crate) fn encode(
    record: &Record,
    plan: Option<&AttemptPlan>,
    settings: Option<&convert::NodeSettings>,
) -> Vec<u8> {
    match record {
        Record::Accepted(attempt) => accepted_out(attempt, plan),
        Record::Equipped { attempt, gpus } => {
            about_with("equipped", attempt, |writer| put_gpus(writer, gpus))
        }
        Record::Amended { attempt, terms } => {
            about_with("amended", attempt, |writer| put_terms(writer, terms))
        }
        Record::Moved { attempt, state } => about_with("moved", attempt, |writer| put_state(writer, state)),
        Record::Killed { attempt, reason } => {
            let mut writer = about("killed", attempt);
            writer.number("kill", kill_code(*reason));
            writer.finish()
        }
        Record::OverDisk { attempt, over } => {
            about_with("over-disk", attempt, |writer| put_over_disk(writer, over))
        }
        Record::Disowned { attempt, disowned } => {
            let mut writer = about("disowned", attempt);
            writer.flag("disowned", *disowned);
            writer.finish()
        }
        Record::Ended { attempt, incarnation, keep_until } => {
            let mut writer = about("ended", attempt);
            writer.number("keep_until", keep_until.as_micros());
            writer.optional("incarnation", Some(*incarnation).filter(|incarnation| *incarnation > 0));
            writer.finish()
        }
        Record::GivenBack(attempt) => about("given-back", attempt).finish(),
        Record::Reported(report) => {
            let mut writer = Writer::new("reported", VERSION);
            writer.bytes("report", &report_out(report).encode_to_vec());
            writer.finish()
        }
        Record::Acknowledged(number) => {
            let mut writer = Writer::new("acknowledged", VERSION);
            writer.number("number", *number);
            writer.finish()
        }
        Record::ReportDropped(attempt) => about("report-dropped", attempt).finish(),
        Record::NumbersFrom { report, run } => {
            let mut writer = Writer::new("numbers-from", VERSION);
            writer.number("number", *report).number("run", *run);
            writer.finish()
        }
        Record::Settings(_) => {
            let mut writer = Writer::new("settings", VERSION);
            if let Some(settings) = settings {
                writer.bytes("settings", &wire::NodeSettings::from(settings).encode_to_vec());
            }
            writer.finish()
        }
        Record::Lease(until) => {
            let mut writer = Writer::new("lease", VERSION);
            writer.optional("until", until.map(monotonic_out));
            writer.finish()
        }
        Record::StartTask(task) => start_task_out(task),
        Record::Removed(attempts) => {
            let mut writer = Writer::new("removed", VERSION);
            attempts.iter().for_each(|attempt| put_attempt(&mut writer, attempt));
            writer.finish()
        }
    }
}

fn accepted_out(attempt: &Attempt, plan: Option<&AttemptPlan>) -> Vec<u8> {
    let mut writer = Writer::new("accepted", VERSION);
    if let Some(plan) = plan {
        writer.bytes("plan", &wire::AttemptPlan::from(plan).encode_to_vec());
    }
    writer.number("order", attempt.order).optional("kill", attempt.kill.map(kill_code));
    put_state(&mut writer, &attempt.state);
    if let Some(terms) = &attempt.amended {
        writer.flag("amended", true);
        put_terms(&mut writer, terms);
    }
    put_gpus(&mut writer, &attempt.gpus);
    if let Some(over) = &attempt.over_disk {
        put_over_disk(&mut writer, over);
    }
    writer.flag("disowned", attempt.disowned);
    writer.finish()
}

fn start_task_out(task: &StartTask) -> Vec<u8> {
    let mut writer = Writer::new("start-task", VERSION);
    writer.number("run", task.run).number("version", task.settings.version);
    match task.settings.max_retries {
        RetryLimit::Times(times) => writer.number("retries", times),
        RetryLimit::Unlimited => writer.number("retries", -1),
    };
    writer.flag("wait", task.settings.wait_for_success);
    writer.bytes("info", &wire::StartTaskInfo::from(&task.info).encode_to_vec());
    match &task.stage {
        Stage::Alive(state) => put_state(&mut writer, state),
        Stage::Waiting { retry_at } => {
            writer.number("retry_at", monotonic_out(*retry_at));
        }
        Stage::Done => {}
    }
    writer.finish()
}

/// A document about one attempt.
fn about(kind: &str, attempt: &AttemptId) -> Writer {
    let mut writer = Writer::new(kind, VERSION);
    put_attempt(&mut writer, attempt);
    writer
}

/// The same with what more is to be said.
fn about_with(kind: &str, attempt: &AttemptId, put: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = about(kind, attempt);
    put(&mut writer);
    writer.finish()
}

fn put_attempt(writer: &mut Writer, attempt: &AttemptId) {
    writer.text("attempt", &format!("{} {} {}", attempt.job, attempt.task, attempt.number));
}

fn put_terms(writer: &mut Writer, terms: &Terms) {
    writer.optional("wall_clock", terms.wall_clock.map(nanos_out));
    writer.number("retention", nanos_out(terms.retention));
}

fn put_over_disk(writer: &mut Writer, over: &OverDisk) {
    writer.number("disk_limit", over.limit_bytes).number("disk_used", over.used_bytes);
}

/// Numbers with blanks between them; no field if there are none.
fn put_gpus(writer: &mut Writer, gpus: &[u32]) {
    if !gpus.is_empty() {
        let numbers: Vec<String> = gpus.iter().map(ToString::to_string).collect();
        writer.text("gpus", &numbers.join(" "));
    }
}

fn put_state(writer: &mut Writer, state: &State) {
    let name = match state {
        State::Assigned => "assigned",
        State::Staging { .. } => "staging",
        State::Launching { .. } => "launching",
        State::Running { .. } => "running",
        State::Collecting { .. } => "collecting",
    };
    writer.text("state", name).number("staged", state.staged_bytes());
    match state {
        State::Assigned => {}
        State::Staging { since } | State::Launching { since, .. } => {
            writer.number("since", monotonic_out(*since));
        }
        State::Running { start_time, spent, .. } => {
            writer.number("start", start_time.as_micros()).number("spent", nanos_out(*spent));
        }
        State::Collecting { exit, spent, .. } => {
            writer.number("spent", nanos_out(*spent));
            put_exit(writer, exit);
        }
    }
}

fn put_exit(writer: &mut Writer, exit: &Exit) {
    match exit.ended {
        Ended::Exited(code) => writer.number("exit_code", code),
        Ended::Signaled(signal) => writer.number("signal", signal),
        Ended::Rebooted => writer.flag("rebooted", true),
        Ended::Unknown => writer.flag("unknown", true),
    };
    let by = match exit.by {
        EndedBy::Itself => "itself",
        EndedBy::WallClock => "wall-clock",
        EndedBy::OutOfMemory => "out-of-memory",
        EndedBy::Requested => "requested",
        EndedBy::LeaseEnded => "lease-ended",
        EndedBy::Shutdown => "shutdown",
    };
    writer
        .text("by", by)
        .optional("start", exit.start_time.map(Timestamp::as_micros))
        .number("end_time", exit.end_time.as_micros())
        .number("peak", exit.usage.peak_memory_bytes)
        .number("user_cpu", exit.usage.user_cpu_micros)
        .number("kernel_cpu", exit.usage.kernel_cpu_micros)
        .number("read_bytes", exit.usage.read_bytes)
        .number("written_bytes", exit.usage.written_bytes)
        .number("peak_processes", exit.usage.peak_processes)
        .number("peak_disk", exit.usage.peak_disk_bytes)
        .number("oom_kills", exit.oom_kills)
        .number("refused_processes", exit.refused_processes);
}

const fn kill_code(reason: KillReason) -> u8 {
    match reason {
        KillReason::Terminated => 1,
        KillReason::WallClock => 2,
        KillReason::Requeued => 3,
        KillReason::NodeStopping => 4,
        KillReason::LeaseEnded => 5,
        KillReason::Stale => 6,
        KillReason::Disk => 7,
    }
}

fn monotonic_out(at: Monotonic) -> u64 {
    nanos_out(at.as_duration())
}

/// Nanoseconds, so that what comes back is equal: up to 584 years, beyond which nobody will look.
fn nanos_out(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// A report as the wire has it.
pub(crate) fn report_out(numbered: &NumberedReport) -> wire::Report {
    use wire::report::Event;
    let event = match &numbered.report {
        Report::Progress { attempt, phase, time } => {
            Event::Progress((&Progress { attempt: attempt.clone(), phase: *phase, time: *time }).into())
        }
        Report::Finished { attempt, result } => {
            let result = wire::AttemptResult::from(result.as_ref());
            Event::Finished(wire::AttemptResult { attempt: Some(attempt.into()), ..result })
        }
        Report::Recalled(attempt) => Event::Recalled(attempt.into()),
        Report::StartTask(info) => Event::StartTask(info.as_ref().into()),
        Report::Health(errors) => {
            Event::Health(wire::NodeHealth { errors: errors.iter().map(Into::into).collect() })
        }
    };
    wire::Report { sequence: numbered.number, event: Some(event) }
}

/// A held attempt, for the Hello.
pub(crate) fn held_out(held: &HeldAttempt) -> wire::HeldAttempt {
    let HeldAttempt { attempt, phase, incarnation } = held;
    (&convert::HeldAttempt { attempt: attempt.clone(), phase: *phase, incarnation: *incarnation }).into()
}

//! What the supervisor recorded of an end, in the words of the core.
//!
//! A plain translation: which cause an end amounts to is decided by the core (`outcome`).

use muster_agent_core::input::{Ended, EndedBy, Exit};
use muster_model::{Timestamp, Usage};
use muster_supervisor::record::ExitRecord;
use muster_supervisor::{EndedBy as By, LostReason, Outcome};

/// Converts an exit record.
pub(super) fn exit_of(record: &ExitRecord) -> Exit {
    let ended = match record.outcome {
        Outcome::Exited { code } => Ended::Exited(code.into()),
        Outcome::Signaled { signal, .. } => Ended::Signaled(signal.into()),
        Outcome::Lost { reason: LostReason::Rebooted } => Ended::Rebooted,
        Outcome::Lost { reason: LostReason::EndedUnwatched | LostReason::LaunchInterrupted } => {
            Ended::Unknown
        }
    };
    let by = match &record.ended_by {
        By::Itself => EndedBy::Itself,
        By::WallClock => EndedBy::WallClock,
        By::OutOfMemory => EndedBy::OutOfMemory,
        By::Requested { .. } => EndedBy::Requested,
        By::LeaseEnded => EndedBy::LeaseEnded,
        By::Shutdown => EndedBy::Shutdown,
    };
    Exit {
        ended,
        by,
        start_time: record.started_at_us.map(Timestamp::from_micros),
        end_time: Timestamp::from_micros(record.ended_at_us),
        usage: usage_of(&record.usage),
        oom_kills: record.usage.oom_kills.unwrap_or(0),
        refused_processes: record.usage.refused_processes.unwrap_or(0),
    }
}

/// Converts what a command uses or used; what the node could not measure is 0.
pub(super) fn usage_of(usage: &muster_supervisor::record::Usage) -> Usage {
    Usage {
        peak_memory_bytes: usage.peak_memory_bytes.unwrap_or(0),
        user_cpu_micros: usage.user_cpu_us.unwrap_or(0),
        kernel_cpu_micros: usage.system_cpu_us.unwrap_or(0),
        read_bytes: usage.read_bytes.unwrap_or(0),
        written_bytes: usage.written_bytes.unwrap_or(0),
        peak_processes: usage.peak_processes.unwrap_or(0),
        ..Usage::default()
    }
}

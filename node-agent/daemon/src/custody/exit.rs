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
        usage: Usage {
            peak_memory_bytes: record.usage.peak_memory_bytes.unwrap_or(0),
            user_cpu_micros: record.usage.user_cpu_us.unwrap_or(0),
            kernel_cpu_micros: record.usage.system_cpu_us.unwrap_or(0),
            ..Usage::default()
        },
        oom_kills: record.usage.oom_kills.unwrap_or(0),
    }
}

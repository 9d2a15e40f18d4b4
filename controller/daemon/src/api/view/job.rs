//! Jobs, and the counts of their tasks.
//!
//! The counts are the core's live ones and no part of a job's row; they are handed in and answered by themselves.
//! Tasks that prepare or upload count as running, as in the reference.

use muster_controller_core::TaskCounts;
use muster_controller_core::record::JobRow;
use muster_model::state::JobState;
use muster_proto::convert::{etag_out, timestamp_out};
use muster_proto::wire;

/// A job.
pub(in crate::api) fn job(row: &JobRow) -> wire::Job {
    let number = |state: JobState| i32::from(wire::JobState::from(state));
    wire::Job {
        state: number(row.state),
        state_transition_time: Some(timestamp_out(row.state_since)),
        previous_state: row.previous_state.map_or(0, number),
        previous_state_transition_time: row.previous_state_since.map(timestamp_out),
        execution_info: Some(wire::JobExecutionInfo {
            start_time: Some(timestamp_out(row.created)),
            end_time: row.ended.map(timestamp_out),
            pool_id: row.spec.pool.to_string(),
            scheduling_error: None,
            terminate_reason: row.terminate_reason.clone().unwrap_or_default(),
        }),
        create_time: Some(timestamp_out(row.created)),
        update_time: Some(timestamp_out(row.modified)),
        etag: etag_out(row.revision),
        ..wire::Job::from(&row.spec)
    }
}

/// The live counters of a job's tasks.
pub(in crate::api) fn task_counts(counts: &TaskCounts) -> wire::TaskCountsReport {
    wire::TaskCountsReport {
        task_counts: Some(counts_by_state(counts)),
        task_slot_counts: Some(wire::TaskCounts {
            active: counts.active_slots,
            running: counts.running_slots,
            completed: counts.succeeded_slots.saturating_add(counts.failed_slots),
            succeeded: counts.succeeded_slots,
            failed: counts.failed_slots,
        }),
    }
}

/// How many tasks are in each state.
pub(in crate::api) fn counts_by_state(counts: &TaskCounts) -> wire::TaskCounts {
    wire::TaskCounts {
        active: counts.active,
        running: counts.running,
        completed: counts.succeeded.saturating_add(counts.failed),
        succeeded: counts.succeeded,
        failed: counts.failed,
    }
}

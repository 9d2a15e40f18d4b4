//! Tasks and the ledger of their attempts.
//!
//! What an attempt used and wrote is in the ledger, not in the task's row: a caller that has read the line hands it in,
//! and without it those fields stay empty. What the attempt that is held now has used so far is handed in likewise; it never
//! mixes with what an earlier one used. Constraints that were replaced win over those of the specification.

use muster_controller_core::record::{AttemptRow, TaskStateRow};
use muster_model::spec::split_member;
use muster_model::state::TaskState;
use muster_model::{JobId, PoolId, TaskId, Usage};
use muster_proto::convert::{etag_out, timestamp_out};
use muster_proto::wire;
use muster_store::TaskView;

/// A task on `pool`, with what its last attempt that ended left behind and what the present one has used so far, as far as
/// they are handed in.
pub(in crate::api) fn task(
    view: &TaskView,
    pool: &PoolId,
    last: Option<&AttemptRow>,
    live: Option<&Usage>,
) -> wire::Task {
    let TaskView { spec, state, sweep, fault: _ } = view;
    let number = |state: TaskState| i32::from(wire::TaskState::from(state));
    let mut message = wire::Task::from(&spec.spec);
    if let Some(constraints) = &state.constraints {
        message.constraints = Some(constraints.into());
    }
    message.job_id = spec.job.to_string();
    message.state = number(state.state);
    message.state_transition_time = Some(timestamp_out(state.state_since));
    message.previous_state = state.previous_state.map_or(0, number);
    message.previous_state_transition_time = state.previous_state_since.map(timestamp_out);
    message.execution_info = Some(execution_info(state));
    message.node_info = state.node.as_ref().map(|node| wire::TaskNodeInfo {
        pool_id: pool.to_string(),
        node_id: node.to_string(),
        affinity_id: node.to_string(),
        task_root_directory: task_directory(&spec.job, &spec.spec.id),
    });
    message.attempt = state.attempt;
    message.create_time = Some(timestamp_out(spec.created));
    message.update_time = Some(timestamp_out(state.modified));
    message.etag = etag_out(state.revision);
    if let Some((sweep, _)) = sweep {
        message.sweep_id = sweep.to_string();
        message.sweep_number = split_member(&spec.spec.id).map(|(_, number)| number);
    }
    if let Some(last) = last {
        message.outputs = last.result.outputs.iter().map(Into::into).collect();
        message.stdout = Some((&last.result.stdout).into());
        message.stderr = Some((&last.result.stderr).into());
    }
    let ended = last.map(|last| &last.result.usage);
    let usage = if state.placed { live } else { ended };
    message.usage = usage.map(Into::into);
    message
}

fn execution_info(state: &TaskStateRow) -> wire::TaskExecutionInfo {
    wire::TaskExecutionInfo {
        start_time: state.started.map(timestamp_out),
        end_time: state.ended.map(timestamp_out),
        exit_code: state.exit_code,
        signal: state.signal,
        result: state.result.map_or(0, |result| wire::ExecutionResult::from(result).into()),
        failure_info: state.failure.as_ref().map(Into::into),
        retry_count: state.retry_count,
        last_retry_time: state.last_retry.map(timestamp_out),
        requeue_count: state.requeue_count,
        last_requeue_time: state.last_requeue.map(timestamp_out),
        server_retry_count: state.server_retry_count,
        memory_bytes: state.memory_bytes.unwrap_or(0),
        nodes_lost: state.nodes_lost.iter().map(ToString::to_string).collect(),
    }
}

/// The task's directory below the node's root (reference 3.10): `workitems/<job>/job-1/<task>`, and for a job of a
/// schedule `workitems/<schedule>/job-<n>/<task>`.
pub(in crate::api) fn task_directory(job: &JobId, task: &TaskId) -> String {
    match job.as_str().split_once(":job-") {
        Some((schedule, number)) => format!("workitems/{schedule}/job-{number}/{task}"),
        None => format!("workitems/{job}/job-1/{task}"),
    }
}

/// An attempt that is over.
pub(in crate::api) fn attempt(row: &AttemptRow, pool: &PoolId) -> wire::TaskAttempt {
    let result = &row.result;
    wire::TaskAttempt {
        attempt: row.number,
        node_id: row.node.to_string(),
        pool_id: pool.to_string(),
        start_time: result.start_time.map(timestamp_out),
        end_time: Some(timestamp_out(result.end_time)),
        exit_code: result.exit_code,
        signal: result.signal,
        result: wire::ExecutionResult::from(result.result).into(),
        failure_info: result.failure.as_ref().map(Into::into),
        usage: Some((&result.usage).into()),
        outputs: result.outputs.iter().map(Into::into).collect(),
        stdout: Some((&result.stdout).into()),
        stderr: Some((&result.stderr).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_follow_the_reference_also_for_jobs_of_a_schedule() {
        let task = TaskId::parse("Frame-1").unwrap();
        assert_eq!(task_directory(&JobId::parse("film").unwrap(), &task), "workitems/film/job-1/Frame-1");
        let nightly = JobId::parse("nightly:job-12").unwrap();
        assert_eq!(task_directory(&nightly, &task), "workitems/nightly/job-12/Frame-1");
    }
}

//! What a job's preparation and release tasks did on one node.
//!
//! Their ids, and so their directories, are the job's to say: it is handed in.

use super::task::task_directory;
use muster_controller_core::record::{JobNodeRow, JobNodeTask, JobRow};
use muster_model::{JobId, TaskId};
use muster_proto::convert::timestamp_out;
use muster_proto::wire;

/// How a job's own tasks go on a node.
pub(in crate::api) fn job_node(job: &JobRow, row: &JobNodeRow) -> wire::JobPreparationAndReleaseTaskStatus {
    let preparation = job.spec.preparation.as_ref();
    let release = job.spec.release.as_ref().zip(row.release.as_ref());
    wire::JobPreparationAndReleaseTaskStatus {
        pool_id: row.pool.to_string(),
        node_id: row.node.to_string(),
        job_preparation_task_execution_info: preparation
            .map(|spec| execution_info(&row.job, &spec.id, &row.preparation)),
        job_release_task_execution_info: release.map(|(spec, task)| execution_info(&row.job, &spec.id, task)),
    }
}

fn execution_info(job: &JobId, id: &TaskId, task: &JobNodeTask) -> wire::JobNodeTaskExecutionInfo {
    wire::JobNodeTaskExecutionInfo {
        start_time: task.started.map(timestamp_out),
        end_time: task.ended.map(timestamp_out),
        state: wire::JobNodeTaskState::from(task.state).into(),
        exit_code: task.exit_code,
        failure_info: task.failure.as_ref().map(Into::into),
        retry_count: task.retry_count,
        last_retry_time: task.last_retry.map(timestamp_out),
        result: task.result.map_or(0, |result| wire::ExecutionResult::from(result).into()),
        task_root_directory: task_directory(job, id),
    }
}

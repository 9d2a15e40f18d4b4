//! How a job's preparation and release tasks look on a node.
//!
//! One row for each node, with the reason of the first of the two that failed, because that is what the list is looked at
//! for.

use muster_proto::wire;

use super::{failure, words};
use crate::outlet::{Field, Tone};

/// Headings of a list of nodes of a job.
pub(crate) const HEADINGS: [&str; 7] = ["node", "preparation", "took", "tries", "release", "took", "why"];

/// A node as a row.
#[must_use]
pub(crate) fn row(status: &wire::JobPreparationAndReleaseTaskStatus) -> Vec<Field> {
    let preparation = status.job_preparation_task_execution_info.clone().unwrap_or_default();
    let release = status.job_release_task_execution_info.clone().unwrap_or_default();
    let tries = if preparation.start_time.is_some() {
        (preparation.retry_count + 1).to_string()
    } else {
        String::new()
    };
    let why = |info: &wire::JobNodeTaskExecutionInfo| info.failure_info.as_ref().map(failure::cause);
    vec![
        status.node_id.as_str().into(),
        state(&preparation),
        took(&preparation),
        Field::at_right(tries),
        state(&release),
        took(&release),
        why(&preparation).or_else(|| why(&release)).unwrap_or_default().into(),
    ]
}

fn took(info: &wire::JobNodeTaskExecutionInfo) -> Field {
    Field::at_right(words::span_between(info.start_time.as_ref(), info.end_time.as_ref()))
}

/// Where it is, and for one that is over how it went.
fn state(info: &wire::JobNodeTaskExecutionInfo) -> Field {
    match (info.state(), info.result()) {
        (wire::JobNodeTaskState::Completed, wire::ExecutionResult::Failure) => {
            let exit = info.exit_code.map(|code| format!(", exit {code}")).unwrap_or_default();
            Field::toned(format!("failed{exit}"), Tone::Bad)
        }
        (wire::JobNodeTaskState::Completed, _) => Field::toned("completed", Tone::Good),
        (state @ (wire::JobNodeTaskState::Running | wire::JobNodeTaskState::Unspecified), _) => {
            words::state(state.as_str_name(), "JOB_NODE_TASK_STATE_")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_preparation_says_why() {
        let failure = wire::FailureInfo { cause: wire::FailureCause::ExitCode.into(), ..Default::default() };
        let info = wire::JobNodeTaskExecutionInfo {
            state: wire::JobNodeTaskState::Completed.into(),
            result: wire::ExecutionResult::Failure.into(),
            exit_code: Some(3),
            retry_count: 1,
            start_time: Some(prost_types::Timestamp::default()),
            failure_info: Some(failure),
            ..Default::default()
        };
        let status = wire::JobPreparationAndReleaseTaskStatus {
            node_id: "n1".into(),
            job_preparation_task_execution_info: Some(info),
            ..Default::default()
        };
        let row = row(&status);
        assert_eq!(row[1], Field::toned("failed, exit 3", Tone::Bad));
        assert_eq!(
            (&row[3], &row[4], &row[6]),
            (&Field::at_right("2"), &Field::from(""), &Field::from("exit code"))
        );
        assert_eq!(row.len(), HEADINGS.len());
    }
}

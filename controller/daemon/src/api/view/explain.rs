//! Why tasks wait: the core's reasons as messages, each with its code, its sentence and its facts.
//!
//! Codes and sentences are the core's (`muster_controller_core::explain`); nothing is added or left out here.

use muster_controller_core::explain::{Explanation, JobExplanation, Reason, WaitingTasks};
use muster_proto::wire;

/// Why a task waits.
pub(in crate::api) fn explanation(found: &Explanation) -> wire::ExplainTaskResponse {
    wire::ExplainTaskResponse {
        state: wire::TaskState::from(found.state).into(),
        reasons: found.reasons.iter().map(reason).collect(),
        can_ever_run: found.can_ever_run,
    }
}

/// Why the tasks of a job wait.
pub(in crate::api) fn job_explanation(found: &JobExplanation) -> wire::ExplainJobResponse {
    let waiting = |tasks: &WaitingTasks| wire::WaitingTasks {
        count: tasks.count,
        example_task_id: tasks.example.to_string(),
        reasons: tasks.reasons.iter().map(reason).collect(),
        can_ever_run: tasks.can_ever_run,
    };
    wire::ExplainJobResponse {
        state: wire::JobState::from(found.state).into(),
        waiting: found.waiting.iter().map(waiting).collect(),
    }
}

fn reason(reason: &Reason) -> wire::WaitReason {
    let pair = |(name, value): (&'static str, String)| wire::NameValuePair { name: name.to_owned(), value };
    wire::WaitReason {
        code: reason.code().to_owned(),
        message: reason.to_string(),
        details: reason.details().into_iter().map(pair).collect(),
    }
}

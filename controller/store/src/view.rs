//! What a reader answers where a row of the core is not the whole answer.
//!
//! Where a row of the core says all, a reader answers with that row; these are the others. They are values of one moment
//! and change with nothing. What calls answer with them is in `port`.

use crate::expand::ExpandError;
use muster_controller_core::record::{SweepRow, SweepStateRow, TaskSpecRow, TaskStateRow};
use muster_model::state::TaskState;
use muster_model::{AccountName, ContainerName, JobId, SweepId, TaskId, Timestamp};

/// A task: what was asked for and where it stands. Members of sweeps look like any other task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskView {
    /// The part that never changes; for a member the template with its values.
    pub spec: TaskSpecRow,
    /// The part that changes.
    pub state: TaskStateRow,
    /// The sweep that it is a member of, and which member, by index. Its number is in its id.
    pub sweep: Option<(SweepId, u64)>,
    /// Why a member's values make no legal specification; the parts concerned are as in the template. Such a task can
    /// be shown but not run.
    pub fault: Option<ExpandError>,
}

/// A sweep: what was asked for and what has become of the members that are no tasks of their own. How many of its
/// members are in which state is the core's to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweepView {
    /// The part that never changes.
    pub row: SweepRow,
    /// The part that changes.
    pub state: SweepStateRow,
}

/// The state of a task that nothing has happened to. A store need not keep it: a task whose state was never written, or
/// was written as this, has it.
pub(crate) fn untouched(account: AccountName, job: JobId, task: TaskId, created: Timestamp) -> TaskStateRow {
    TaskStateRow {
        account,
        job,
        task,
        state: TaskState::Active,
        state_since: created,
        previous_state: None,
        previous_state_since: None,
        attempt: 0,
        node: None,
        placed: false,
        ending: None,
        retry_count: 0,
        requeue_count: 0,
        server_retry_count: 0,
        last_retry: None,
        last_requeue: None,
        memory_bytes: None,
        avoid: Vec::new(),
        nodes_lost: Vec::new(),
        not_before: None,
        constraints: None,
        started: None,
        ended: None,
        exit_code: None,
        signal: None,
        result: None,
        satisfies: None,
        failure: None,
        modified: created,
        revision: 1,
    }
}

/// A container of the file store. It is made with the first name in it and stays until it is removed itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerView {
    /// The account.
    pub account: AccountName,
    /// The name, unique within the account.
    pub name: ContainerName,
    /// When its first file was named.
    pub created: Timestamp,
}

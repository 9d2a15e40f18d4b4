//! What a reader answers where a row of the core is not the whole answer.
//!
//! Where a row of the core says all, a reader answers with that row; these are the others. They are values of one moment
//! and change with nothing. What calls answer with them is in `port`.

use muster_controller_core::record::{TaskSpecRow, TaskStateRow};
use muster_model::{AccountName, ContainerName, Timestamp};

/// A task: what was asked for and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskView {
    /// The part that never changes.
    pub spec: TaskSpecRow,
    /// The part that changes.
    pub state: TaskStateRow,
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

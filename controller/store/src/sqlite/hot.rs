//! The statements that a commit runs for every task and attempt, prepared once for a batch, and the task before.
//!
//! The SQL is here and what goes into it is in `write_task`: the numbers of the parameters are what both must agree on.
//! Nothing here runs a statement. Writes that are seldom prepare theirs where they are used.

use muster_model::{TaskId, Timestamp};
use rusqlite::{CachedStatement, Connection};

const UPDATE_STATE: &str = "UPDATE task_state SET
     format = ?2, state = ?3, state_since = ?4, previous_state = ?5, attempt = ?6, node = ?7, placed = ?8, ending = ?9,
     retry_count = ?10, requeue_count = ?11, server_retry_count = ?12, not_before = ?13, constraints = ?14,
     started = ?15, ended = ?16, exit_code = ?17, signal = ?18, result = ?19, cause = ?20, failure = ?21,
     modified = ?22, revision = ?23, previous_state_since = ?24, satisfies = ?25, rare = ?26
    WHERE key = ?1";

/// The job and the sequence number of the task are here for the partial indexes.
const INSERT_STATE: &str = "INSERT INTO task_state
    (key, format, state, state_since, previous_state, attempt, node, placed, ending, retry_count, requeue_count,
     server_retry_count, not_before, constraints, started, ended, exit_code, signal, result, cause, failure, modified,
     revision, previous_state_since, satisfies, rare, job, sequence)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23,
     ?24, ?25, ?26, ?27, (SELECT sequence FROM task WHERE key = ?1)) ON CONFLICT (key) DO NOTHING";

const FIND_TASK: &str = "SELECT key FROM task WHERE job = ?1 AND id = ?2";

const INSERT_TASK: &str = "INSERT INTO task
    (job, id, sequence, created, display_name, format, spec, sweep, member)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (job, id) DO NOTHING";

const PUT_ATTEMPT: &str = "INSERT OR REPLACE INTO attempt
    (task, number, node, result, exit_code, signal, cause, failure, started, ended, format, detail)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";

/// The statements of the hot path, prepared for one batch.
pub(super) struct Hot<'t> {
    pub(super) find_task: CachedStatement<'t>,
    pub(super) insert_task: CachedStatement<'t>,
    pub(super) update_state: CachedStatement<'t>,
    pub(super) insert_state: CachedStatement<'t>,
    pub(super) put_attempt: CachedStatement<'t>,
}

impl<'t> Hot<'t> {
    pub(super) fn prepare(connection: &'t Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            find_task: connection.prepare_cached(FIND_TASK)?,
            insert_task: connection.prepare_cached(INSERT_TASK)?,
            update_state: connection.prepare_cached(UPDATE_STATE)?,
            insert_state: connection.prepare_cached(INSERT_STATE)?,
            put_attempt: connection.prepare_cached(PUT_ATTEMPT)?,
        })
    }
}

/// A task whose key is known.
pub(super) struct LastTask {
    pub(super) job: i64,
    pub(super) id: TaskId,
    pub(super) key: i64,
    /// When it was made, if this batch has just made it and it has no row for its state yet.
    pub(super) fresh: Option<Timestamp>,
    /// Whether it is a member of a sweep.
    pub(super) member: bool,
}

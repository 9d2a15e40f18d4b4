//! Another wall-clock limit for an attempt that runs.
//!
//! The limit counts from the start of the command, however often it is set, so a repeat changes nothing. It goes into
//! the journal, so that the next supervisor does not fall back to the one before. What happens when it is reached
//! is in `ending`.

use muster_supervisor::journal::encode_limit;
use muster_supervisor::{AttemptKey, Refusal, Reply};

use super::Custodian;
use crate::clock::monotonic_us;
use crate::log;

impl Custodian {
    /// Sets the wall-clock limit of an attempt; one that has run for longer is ended now.
    pub(super) fn limit(&mut self, key: &AttemptKey, wall_clock_ms: Option<u64>) -> Result<Reply, Refusal> {
        let number = *self.by_key.get(key).ok_or_else(|| Refusal::UnknownKey { key: key.clone() })?;
        let Some(task) = self.tasks.get_mut(&number).filter(|task| task.is_live() && task.ended_by.is_none())
        else {
            return Ok(Reply::Limited);
        };
        let before = task.due.wall_clock;
        task.limit_wall_clock(wall_clock_ms);
        if task.due.wall_clock == before {
            return Ok(Reply::Limited);
        }
        let document = encode_limit(key, wall_clock_ms);
        task.documents.extend_from_slice(&document);
        if let Err(errno) = self.ground.state.append(&document) {
            // It holds for this supervisor; only a restart would fall back to the limit before.
            log::warn("cannot record a wall-clock limit", &[("key", key), ("error", &errno)]);
        }
        log::debug("limited", &[("key", key), ("wall_clock_ms", &format!("{wall_clock_ms:?}"))]);
        self.look_at(number, monotonic_us());
        Ok(Reply::Limited)
    }
}

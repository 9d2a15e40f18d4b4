//! Assignments of tasks that were deleted and made again, while attempts of the earlier task are still being ended here; and all
//! that come while the journal takes nothing.
//!
//! Both would have one name and one directory, so the later waits until the earlier is gone, and nothing more is told of the
//! earlier: its end could be taken for the later one's. What waits is in no journal. It is forgotten with its session: the
//! next Hello does not name it, and the controller places it anew.
//!
//! Invariant: one assignment at most waits for each task, and only while attempts of an earlier task of its id are held, or
//! nothing can be recorded.

use crate::desk::Desk;
use crate::input::{Amendment, Assignment};
use crate::ledger::Ledger;
use crate::life;
use muster_model::{AttemptId, TaskKey};
use std::collections::BTreeMap;

/// What waits, by task. There are no more of them than attempts that the node holds, and as many as may wait in a queue.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Deferred(BTreeMap<TaskKey, Assignment>);

impl Deferred {
    /// Lets an assignment wait, and ends what it waits for. Of two for one task the later one counts.
    pub(crate) fn defer(&mut self, desk: &mut Desk<'_>, assignment: Assignment) {
        let task = assignment.attempt.task_key();
        let rank = |of: &Assignment| (of.incarnation, of.attempt.number);
        if self.0.get(&task).is_some_and(|waits| rank(waits) >= rank(&assignment)) {
            return;
        }
        let earlier =
            desk.ledger.attempts_of(&task).filter(|held| held.incarnation() < assignment.incarnation);
        let earlier: Vec<_> = earlier.map(|held| held.id().clone()).collect();
        earlier.iter().for_each(|attempt| life::disown(desk, attempt));
        let ended =
            desk.ledger.retained().of(&task).filter(|(_, kept)| kept.incarnation < assignment.incarnation);
        let ended: Vec<_> = ended.map(|(attempt, _)| attempt.clone()).collect();
        ended.iter().for_each(|attempt| life::forget_reports(desk, attempt));
        self.0.insert(task, assignment);
    }

    /// Takes out those that wait for nothing any more.
    pub(crate) fn take_free(&mut self, ledger: &Ledger) -> Vec<Assignment> {
        let free = |task: &TaskKey, _: &mut Assignment| ledger.attempts_of(task).next().is_none();
        self.0.extract_if(.., free).map(|(_, assignment)| assignment).collect()
    }

    /// Takes out the one of this name.
    pub(crate) fn take(&mut self, attempt: &AttemptId) -> Option<Assignment> {
        let task = attempt.task_key();
        self.0.get(&task).filter(|waits| waits.attempt == *attempt)?;
        self.0.remove(&task)
    }

    /// Changes the terms of the one of this name; false if there is none.
    pub(crate) fn amend(&mut self, amendment: &Amendment) -> bool {
        let waits = self.0.get_mut(&amendment.attempt.task_key());
        let Some(waits) = waits.filter(|waits| waits.attempt == amendment.attempt) else { return false };
        waits.wall_clock = amendment.terms.wall_clock;
        waits.retention = amendment.terms.retention;
        true
    }

    /// Forgets all of them.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Assignment> {
        self.0.values()
    }
}

//! When directories of ended attempts go: by order, by time, or because a later task of the same id takes their place.
//!
//! All attempts of all tasks that have had one id share one directory. What is remembered of them is in `retention`; here it
//! is decided whether the directory may go with it.
//!
//! Invariant: no directory goes while an attempt of its task is held.

use crate::desk::Desk;
use crate::effect::Effect;
use crate::life;
use crate::record::Record;
use crate::retention::{PREPARATION_KEPT, REMEMBERED_MIN};
use muster_model::{AttemptId, TaskKey};

/// Most directories that go at once because the disk needs the room: enough to help, few enough that most users never notice.
const FREED_AT_ONCE: usize = 16;

/// Removes directories before their time; that the attempts have ended is remembered on.
pub(crate) fn remove(desk: &mut Desk<'_>, attempts: &[AttemptId]) {
    let retained = desk.ledger.retained();
    let ended = attempts.iter().filter_map(|attempt| Some((attempt.clone(), retained.get(attempt)?)));
    let ended: Vec<_> = ended.collect();
    let keep_until = desk.now.wall.after(REMEMBERED_MIN);
    for (attempt, kept) in &ended {
        let (attempt, incarnation) = (attempt.clone(), kept.incarnation);
        desk.record(Record::Ended { attempt, incarnation, keep_until });
    }
    remove_unused(desk, ended.into_iter().map(|(attempt, _)| attempt).collect());
}

/// Removes a few directories before their time, those whose time is nearest first: the disk needs the room.
pub(crate) fn free(desk: &mut Desk<'_>) {
    // What goes soon anyway may be gone already: it is only remembered.
    let soon = desk.now.wall.after(REMEMBERED_MIN);
    let needed = |attempt: &AttemptId| desk.ledger.needs(attempt);
    let first = desk.ledger.retained().first_after(soon, needed, FREED_AT_ONCE);
    remove(desk, &first);
}

/// Removes the directories whose time has come, but for those of job preparations that tasks need.
pub(crate) fn sweep(desk: &mut Desk<'_>) {
    let needed = |attempt: &AttemptId| desk.ledger.needs(attempt);
    let (wall, retained) = (desk.now.wall, desk.ledger.retained());
    let (due, overdue) = (retained.due(wall, needed), retained.overdue(wall, needed));
    let overdue: Vec<_> =
        overdue.into_iter().filter_map(|attempt| Some((retained.get(&attempt)?, attempt))).collect();
    let keep_until = wall.after(PREPARATION_KEPT);
    for (kept, attempt) in overdue {
        desk.record(Record::Ended { attempt, incarnation: kept.incarnation, keep_until });
    }
    if !due.is_empty() {
        desk.record(Record::Removed(due.clone()));
        remove_unused(desk, due);
    }
}

/// Forgets the ended attempts of earlier tasks of this id, with all that waits to be told of them. Their directory goes at
/// once: by its time it would be the later task's.
pub(crate) fn forget_earlier_tasks(desk: &mut Desk<'_>, task: &TaskKey, incarnation: u64) {
    let ended = desk.ledger.retained().of(task).filter(|(_, kept)| kept.incarnation < incarnation);
    let ended: Vec<_> = ended.map(|(attempt, _)| attempt.clone()).collect();
    if ended.is_empty() {
        return;
    }
    for attempt in &ended {
        life::forget_reports(desk, attempt);
    }
    desk.record(Record::Removed(ended.clone()));
    // One stands for all of them.
    remove_unused(desk, ended.into_iter().take(1).collect());
}

/// Attempts of one task share its directory: it goes with the last of them. That of a job preparation which tasks need
/// stays until a later batch.
fn remove_unused(desk: &mut Desk<'_>, attempts: Vec<AttemptId>) {
    let used = |id: &AttemptId| {
        let held = desk.ledger.attempts_of(&id.task_key()).next().is_some();
        held || desk.ledger.retained().later_than(id) || desk.ledger.needs(id)
    };
    let unused: Vec<_> = attempts.into_iter().filter(|attempt| !used(attempt)).collect();
    if !unused.is_empty() {
        desk.act(Effect::RemoveDirectories(unused));
    }
}

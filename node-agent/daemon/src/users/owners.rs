//! Ids of users that belong to one task alone: which live command has which.
//!
//! Nothing here is written down: the owner of a task's working directory on the disk is the record, and a restarted agent
//! reads it from there for every attempt that it holds.
//!
//! Invariant: no two subjects in the book have the same id.

use super::identity::{RunAs, UserError};
use muster_agent_core::Subject;
use std::collections::{BTreeMap, BTreeSet};

/// Who has which id.
#[derive(Debug)]
pub(crate) struct Owners {
    first: u32,
    count: u32,
    given: BTreeMap<Subject, u32>,
    taken: BTreeSet<u32>,
    /// Where the search begins: an id rests for as long as there are others.
    next: u32,
}

impl Owners {
    /// Nobody has an id yet.
    pub(crate) const fn new(first: u32, count: u32) -> Self {
        Self { first, count, given: BTreeMap::new(), taken: BTreeSet::new(), next: 0 }
    }

    /// The user of a subject, given to it now if it had none.
    pub(crate) fn give(&mut self, subject: &Subject) -> Result<RunAs, UserError> {
        if let Some(user) = self.of(subject) {
            return Ok(user);
        }
        let ids = (0..self.count)
            .map(|step| self.first.saturating_add(self.next.wrapping_add(step) % self.count.max(1)));
        let Some(id) = ids.into_iter().find(|id| !self.taken.contains(id)) else {
            return Err(UserError::Exhausted { count: self.count });
        };
        self.next = (id - self.first + 1) % self.count.max(1);
        self.taken.insert(id);
        self.given.insert(subject.clone(), id);
        Ok(RunAs::User { uid: id, gid: id })
    }

    /// The user that a subject has.
    pub(crate) fn of(&self, subject: &Subject) -> Option<RunAs> {
        self.given.get(subject).map(|id| RunAs::User { uid: *id, gid: *id })
    }

    /// Takes up what the disk tells: this user owns the working directory of this subject. Ids of no interest here are
    /// passed over.
    pub(crate) fn found(&mut self, subject: &Subject, uid: u32) {
        let is_ours = uid.checked_sub(self.first).is_some_and(|step| step < self.count);
        if is_ours && self.taken.insert(uid) {
            self.given.insert(subject.clone(), uid);
        }
    }

    /// Takes an id back. The subject's directory must be closed to it by now.
    pub(crate) fn release(&mut self, subject: &Subject) {
        if let Some(id) = self.given.remove(subject) {
            self.taken.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(number: u32) -> Subject {
        let attempt =
            muster_model::AttemptId { job: "j".parse().unwrap(), task: "t".parse().unwrap(), number };
        Subject::Attempt(attempt)
    }

    fn id(user: RunAs) -> u32 {
        match user {
            RunAs::User { uid, gid } if uid == gid => uid,
            RunAs::User { .. } | RunAs::Agent | RunAs::Administrator => panic!("{user:?}"),
        }
    }

    #[test]
    fn an_id_is_one_subject_s_until_it_is_released() {
        let mut owners = Owners::new(500, 3);
        let ids: BTreeSet<u32> = (0..3).map(|number| id(owners.give(&subject(number)).unwrap())).collect();
        assert_eq!(ids, BTreeSet::from([500, 501, 502]));
        assert_eq!(id(owners.give(&subject(1)).unwrap()), 501, "a repeat changes nothing");
        assert_eq!(owners.give(&subject(9)), Err(UserError::Exhausted { count: 3 }));
        owners.release(&subject(1));
        owners.release(&subject(7));
        assert_eq!(id(owners.give(&subject(9)).unwrap()), 501);
        assert_eq!(owners.of(&subject(1)), None);
    }

    #[test]
    fn an_id_rests_while_there_are_others() {
        let mut owners = Owners::new(500, 3);
        for (number, wanted) in [(0, 500), (1, 501), (2, 502), (3, 500)] {
            assert_eq!(id(owners.give(&subject(number)).unwrap()), wanted);
            owners.release(&subject(number));
        }
    }

    #[test]
    fn what_the_disk_tells_is_not_given_to_others() {
        let mut owners = Owners::new(500, 2);
        owners.found(&subject(4), 500);
        owners.found(&subject(5), 499);
        owners.found(&subject(6), 502);
        assert_eq!(owners.of(&subject(4)).map(id), Some(500));
        assert_eq!((owners.of(&subject(5)), owners.of(&subject(6))), (None, None));
        assert_eq!(id(owners.give(&subject(7)).unwrap()), 501);
    }
}

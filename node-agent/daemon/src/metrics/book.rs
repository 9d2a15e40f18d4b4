//! What was told of each attempt on the present session, and whom the supervisor is still to be asked about.
//!
//! Invariant: of the supervisor's answers one at most is awaited.

use muster_model::{AttemptId, Usage};
use std::collections::{BTreeMap, VecDeque};

/// What was told, and what is being asked.
#[derive(Debug)]
pub(crate) struct Book<K> {
    told: BTreeMap<AttemptId, Usage>,
    /// Batches of a round that wait for the answer to the one before.
    waiting: VecDeque<Vec<K>>,
    under_way: bool,
}

impl<K> Default for Book<K> {
    fn default() -> Self {
        Self { told: BTreeMap::new(), waiting: VecDeque::new(), under_way: false }
    }
}

impl<K> Book<K> {
    /// A new session has been told nothing.
    pub(crate) fn begin_session(&mut self) {
        self.told.clear();
    }

    /// A new supervisor answers no old questions.
    pub(crate) fn begin_supervisor(&mut self) {
        self.waiting.clear();
        self.under_way = false;
    }

    /// Begins a round about these, in batches of at most `size`; answers the first. A round that has not ended goes on
    /// instead.
    pub(crate) fn begin_round(&mut self, whom: Vec<K>, size: usize) -> Option<Vec<K>> {
        if self.under_way {
            return None;
        }
        let mut whom = whom.into_iter().peekable();
        while whom.peek().is_some() {
            self.waiting.push_back(whom.by_ref().take(size.max(1)).collect());
        }
        self.next_batch()
    }

    /// The next batch of the round, once the answer to the one before has come.
    pub(crate) fn next_batch(&mut self) -> Option<Vec<K>> {
        let next = self.waiting.pop_front();
        self.under_way = next.is_some();
        next
    }

    /// Those of which something has changed since they were told of, which they are now.
    pub(crate) fn changed(
        &mut self,
        usages: impl IntoIterator<Item = (AttemptId, Usage)>,
    ) -> Vec<(AttemptId, Usage)> {
        let told = &mut self.told;
        let is_news = |(attempt, usage): &(AttemptId, Usage)| {
            told.insert(attempt.clone(), *usage).is_none_or(|before| before != *usage)
        };
        usages.into_iter().filter(is_news).collect()
    }

    /// Forgets an attempt that has ended.
    pub(crate) fn forget(&mut self, attempt: &AttemptId) {
        self.told.remove(attempt);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(number: u32) -> AttemptId {
        AttemptId { job: "j".parse().unwrap(), task: "t".parse().unwrap(), number }
    }

    #[test]
    fn a_round_asks_about_everybody_once_and_one_batch_at_a_time() {
        let mut book = Book::<u32>::default();
        assert_eq!(book.begin_round((0..5).collect(), 2), Some(vec![0, 1]));
        assert_eq!(book.begin_round(vec![9], 2), None, "a round goes on");
        assert_eq!(book.next_batch(), Some(vec![2, 3]));
        assert_eq!(book.next_batch(), Some(vec![4]));
        assert_eq!(book.next_batch(), None);
        assert_eq!(book.begin_round(Vec::new(), 2), None);
        assert_eq!(book.begin_round(vec![7], 2), Some(vec![7]));
        book.begin_supervisor();
        assert_eq!(book.begin_round(vec![8], 2), Some(vec![8]), "an old question is not awaited");
    }

    #[test]
    fn only_changes_are_told_and_everything_to_a_new_session() {
        let mut book = Book::<()>::default();
        let usage = |user_cpu_micros| Usage { user_cpu_micros, ..Usage::default() };
        let both = [(attempt(1), usage(1)), (attempt(2), usage(1))];
        assert_eq!(book.changed(both.clone()), both);
        assert_eq!(book.changed([(attempt(1), usage(1)), (attempt(2), usage(3))]), [(attempt(2), usage(3))]);
        book.forget(&attempt(1));
        assert_eq!(book.changed([(attempt(1), usage(1))]).len(), 1);
        book.begin_session();
        assert_eq!(book.changed(both).len(), 2);
    }
}

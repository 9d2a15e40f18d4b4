//! The tasks whose ids read as numbers, by number: what has become of each.
//!
//! `4`, `04` and `004` are twins with one number; it is met as soon as one of them meets the condition, and lost when all
//! of them have ended in other ways. Numbers with one task, nearly all, are kept as runs: a million neighbours that share
//! a fate cost what one costs.
//!
//! Invariant: a number is in one of the five sets of `single`, or in `twins`, or has no task.

use super::facts::{Count, Outcome, Status, Verdict, meets};
use super::work::step;
use muster_model::state::DependencyCondition;
use muster_model::{IndexSet, TaskId};
use std::collections::BTreeMap;

/// One for tasks that have not ended, and one for each way to end.
const SLOTS: usize = 5;

/// How many tasks of one number are in each slot. An id has at most 64 digits, so no number has more tasks than that.
type Twins = [u8; SLOTS];

/// The tasks of a job by number.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Numbers {
    single: [IndexSet; SLOTS],
    twins: BTreeMap<u32, Twins>,
}

/// The number that a task id reads as, leading zeros ignored.
pub(super) fn number_of(task: &TaskId) -> Option<u32> {
    let digits = task.as_str();
    if digits.bytes().all(|b| b.is_ascii_digit()) { digits.parse().ok() } else { None }
}

const fn slot(status: Status) -> Option<usize> {
    match status {
        Status::Absent => None,
        Status::Open => Some(0),
        Status::Ended(Outcome { failed: false, satisfies: false }) => Some(1),
        Status::Ended(Outcome { failed: false, satisfies: true }) => Some(2),
        Status::Ended(Outcome { failed: true, satisfies: false }) => Some(3),
        Status::Ended(Outcome { failed: true, satisfies: true }) => Some(4),
    }
}

/// What tasks in a slot mean to a condition.
const fn verdict_of(slot: usize, condition: DependencyCondition) -> Verdict {
    let outcome = match slot {
        0 => return Verdict::Waiting,
        1 => Outcome { failed: false, satisfies: false },
        2 => Outcome { failed: false, satisfies: true },
        3 => Outcome { failed: true, satisfies: false },
        _ => Outcome { failed: true, satisfies: true },
    };
    if meets(outcome, condition) { Verdict::Met } else { Verdict::Lost }
}

fn verdict(twins: Twins, condition: DependencyCondition) -> Verdict {
    let has = |wanted| (0..SLOTS).any(|slot| twins[slot] > 0 && verdict_of(slot, condition) == wanted);
    if has(Verdict::Met) {
        Verdict::Met
    } else if has(Verdict::Lost) && twins[0] == 0 {
        Verdict::Lost
    } else {
        Verdict::Waiting
    }
}

/// What a number was and is to one condition.
pub(super) struct Moved {
    before: Twins,
    after: Twins,
}

impl Moved {
    pub(super) fn verdicts(&self, condition: DependencyCondition) -> (Verdict, Verdict) {
        (verdict(self.before, condition), verdict(self.after, condition))
    }
}

impl Numbers {
    /// Takes note that a task with this number was `before` and is `after`.
    pub(super) fn change(&mut self, number: u32, before: Status, after: Status) -> Moved {
        let was = self.take(number);
        let mut twins = was;
        if let Some(slot) = slot(before) {
            twins[slot] = twins[slot].saturating_sub(1);
        }
        if let Some(slot) = slot(after) {
            twins[slot] = twins[slot].saturating_add(1);
        }
        self.put(number, twins);
        Moved { before: was, after: twins }
    }

    fn take(&mut self, number: u32) -> Twins {
        if let Some(twins) = self.twins.remove(&number) {
            return twins;
        }
        let (mut twins, index) = (Twins::default(), u64::from(number));
        if let Some(slot) = (0..SLOTS).find(|slot| self.single[*slot].contains(index)) {
            self.single[slot].remove(index, index);
            twins[slot] = 1;
        }
        twins
    }

    fn put(&mut self, number: u32, twins: Twins) {
        let index = u64::from(number);
        match twins.iter().map(|tasks| u32::from(*tasks)).sum::<u32>() {
            0 => {}
            1 => {
                if let Some(slot) = (0..SLOTS).find(|slot| twins[*slot] > 0) {
                    self.single[slot].insert(index, index);
                }
            }
            _ => {
                self.twins.insert(number, twins);
            }
        }
    }

    /// What has become of the numbers `first..=last`, all of which count. Linear in the runs.
    pub(super) fn count(&self, first: u32, last: u32, condition: DependencyCondition) -> Count {
        let mut count = Count { total: u64::from(last.saturating_sub(first)) + 1, met: 0, lost: 0 };
        for (slot, set) in self.single.iter().enumerate() {
            step();
            let tasks = || set.count_within(first.into(), last.into());
            match verdict_of(slot, condition) {
                Verdict::Waiting => {}
                Verdict::Met => count.met += tasks(),
                Verdict::Lost => count.lost += tasks(),
            }
        }
        if first <= last {
            for twins in self.twins.range(first..=last).map(|(_, twins)| *twins) {
                step();
                let Count { met, lost, .. } = Count::of(verdict(twins, condition), 1);
                count.met += met;
                count.lost += lost;
            }
        }
        count
    }

    /// The first numbers of `first..=last` with a verdict, at most `most`.
    pub(super) fn with(
        &self,
        wanted: Verdict,
        condition: DependencyCondition,
        (first, last): (u32, u32),
        most: usize,
    ) -> Vec<u32> {
        let mut found = Vec::new();
        let mut next = Some(first);
        while let Some(number) = next.filter(|number| *number <= last && found.len() < most) {
            let (verdict, end) = self.stretch(number, condition);
            if verdict == wanted {
                found.extend((number..=end.min(last)).take(most - found.len()));
            }
            next = end.checked_add(1);
        }
        found
    }

    /// The verdict on a number, and a number up to which it is the same.
    fn stretch(&self, number: u32, condition: DependencyCondition) -> (Verdict, u32) {
        if let Some(twins) = self.twins.get(&number) {
            return (verdict(*twins, condition), number);
        }
        let index = u64::from(number);
        let narrow = |index: u64| u32::try_from(index).unwrap_or(u32::MAX);
        for (slot, set) in self.single.iter().enumerate() {
            if set.contains(index) {
                let end = set.runs_within(index, u64::from(u32::MAX)).next().map_or(index, |(_, end)| end);
                return (verdict_of(slot, condition), narrow(end));
            }
        }
        let taken = self.single.iter().filter_map(|set| set.next_from(index)).map(narrow).min();
        let twin = self.twins.range(number..).next().map(|(number, _)| *number);
        let end = taken.into_iter().chain(twin).min().map_or(u32::MAX, |taken| taken.saturating_sub(1));
        (Verdict::Waiting, end.max(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WELL: Status = Status::Ended(Outcome { failed: false, satisfies: true });
    const BADLY: Status = Status::Ended(Outcome { failed: true, satisfies: false });

    #[test]
    fn only_ids_of_digits_have_a_number() {
        let number = |text: &str| number_of(&TaskId::parse(text).unwrap());
        assert_eq!((number("007"), number("4294967295")), (Some(7), Some(u32::MAX)));
        assert_eq!((number("4294967296"), number("x4"), number("-4")), (None, None, None));
    }

    #[test]
    fn twins_are_one_number_that_the_first_to_meet_decides() {
        let mut numbers = Numbers::default();
        let count = |numbers: &Numbers| {
            let Count { total, met, lost } = numbers.count(3, 5, DependencyCondition::Satisfied);
            (total, met, lost)
        };
        for _ in 0..2 {
            numbers.change(4, Status::Absent, Status::Open);
        }
        assert_eq!(count(&numbers), (3, 0, 0));
        numbers.change(4, Status::Open, BADLY);
        assert_eq!(count(&numbers), (3, 0, 0), "its twin may still succeed");
        numbers.change(4, Status::Open, WELL);
        assert_eq!(count(&numbers), (3, 1, 0));
        numbers.change(4, WELL, Status::Absent);
        assert_eq!(count(&numbers), (3, 0, 1), "what is left of it failed");
        numbers.change(4, BADLY, Status::Absent);
        assert_eq!(numbers, Numbers::default());
    }

    #[test]
    fn numbers_are_found_by_verdict_in_order() {
        let mut numbers = Numbers::default();
        for number in [2, 3, 4, 6, 7] {
            numbers.change(number, Status::Absent, if number < 6 { WELL } else { BADLY });
        }
        numbers.change(7, Status::Absent, Status::Open);
        let with = |wanted, most| numbers.with(wanted, DependencyCondition::Satisfied, (1, 9), most);
        assert_eq!(with(Verdict::Met, 2), [2, 3]);
        assert_eq!(with(Verdict::Lost, 9), [6]);
        assert_eq!(with(Verdict::Waiting, 9), [1, 5, 7, 8, 9]);
        let top = (u32::MAX - 1, u32::MAX);
        assert_eq!(numbers.with(Verdict::Waiting, DependencyCondition::Failed, top, 9), [top.0, top.1]);
    }
}

//! One demand in normal form: a set of tasks, what must have happened to them and to how many, and when that holds.
//!
//! Normal form means sorted, without repetition, ranges merged: demands that ask the same are equal and are counted once
//! for all who ask. Whether a demand names a waiter is decided here; who has met it is counted in `graph` and `change`.
//!
//! Invariant: the ranges of a demand, and those of each of its sweeps, neither overlap nor touch.

use super::facts::{Count, Facts, Member, Standing, Waiter};
use super::numbers::number_of;
use super::pattern::{Reach, may_match};
use muster_model::spec::{DependsOn, Quota, SweepShape, TaskGlob, TaskSet, split_member};
use muster_model::state::DependencyCondition;
use muster_model::{SweepId, TaskId};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// First and last member number, both included.
pub(super) type Range = (u64, u64);

/// A set of tasks, a condition and a quota.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Demand {
    pub(super) ids: Box<[TaskId]>,
    pub(super) ranges: Box<[(u32, u32)]>,
    pub(super) globs: Box<[TaskGlob]>,
    pub(super) sweeps: Box<[(SweepId, Box<[Range]>)]>,
    pub(super) condition: DependencyCondition,
    pub(super) quota: Quota,
}

/// What is known of the tasks of a demand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Tally {
    /// Of all tasks that count.
    pub(super) count: Count,
    /// Sweeps that do not exist.
    pub(super) absent: u64,
    /// Patterns that no task matches.
    pub(super) bare: u64,
}

impl Ord for Demand {
    fn cmp(&self, other: &Self) -> Ordering {
        let quota = |demand: &Self| match demand.quota {
            Quota::All => (0, 0),
            Quota::AtLeast(tasks) => (1, tasks),
            Quota::Percent(share) => (2, u64::from(share)),
        };
        self.ids
            .cmp(&other.ids)
            .then_with(|| self.ranges.cmp(&other.ranges))
            .then_with(|| self.globs.cmp(&other.globs))
            .then_with(|| self.sweeps.cmp(&other.sweeps))
            .then_with(|| self.condition.cmp(&other.condition))
            .then_with(|| quota(self).cmp(&quota(other)))
    }
}

impl PartialOrd for Demand {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Demand {
    /// What a waiter asks for, one after the other: `tasks` if there are any, then the groups.
    pub(super) fn all(needs: &DependsOn) -> Vec<Arc<Self>> {
        let plain = (!needs.tasks.is_empty())
            .then(|| Self::new(&needs.tasks, DependencyCondition::Satisfied, Quota::All));
        let groups = needs.groups.iter().map(|group| Self::new(&group.tasks, group.condition, group.quota));
        plain.into_iter().chain(groups).map(Arc::new).collect()
    }

    fn new(tasks: &TaskSet, condition: DependencyCondition, quota: Quota) -> Self {
        let mut sweeps: BTreeMap<&SweepId, Vec<Range>> = BTreeMap::new();
        for members in &tasks.sweeps {
            sweeps.entry(&members.sweep).or_default().push(members.numbers.unwrap_or((0, u64::MAX)));
        }
        let ranges = tasks.ranges.iter().map(|range| (range.start.into(), range.end.into())).collect();
        let narrow = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        Self {
            ids: distinct(&tasks.ids),
            ranges: merged(ranges).iter().map(|(first, last)| (narrow(*first), narrow(*last))).collect(),
            globs: distinct(&tasks.globs),
            sweeps: sweeps.into_iter().map(|(sweep, ranges)| (sweep.clone(), merged(ranges))).collect(),
            condition,
            quota,
        }
    }

    /// Where those who ask stand.
    pub(super) fn standing(&self, tally: &Tally) -> Standing {
        let Tally { count: Count { total, met, lost }, absent, bare } = *tally;
        let hopes = total.saturating_sub(lost);
        // As long as a sweep or a pattern may bring more tasks, no number is too large.
        let closed = absent == 0 && self.globs.is_empty();
        let complete = absent == 0 && bare == 0;
        match self.quota {
            Quota::All => Standing { met: complete && met >= total, hopeless: lost > 0 },
            Quota::AtLeast(needed) => Standing { met: met >= needed, hopeless: closed && needed > hopes },
            Quota::Percent(share) => {
                let needed = share_of(share, total);
                Standing { met: complete && met >= needed, hopeless: closed && needed > hopes }
            }
        }
    }

    /// How many must meet the condition, as far as is known: sweeps and patterns without tasks count as one each.
    pub(super) fn needed(&self, tally: &Tally) -> u64 {
        let to_come = tally.absent + tally.bare;
        match self.quota {
            Quota::All => tally.count.total + to_come,
            Quota::AtLeast(needed) => needed,
            // Which share it will be is open: what is there does not suffice, however many have met the condition.
            Quota::Percent(share) if to_come > 0 => {
                share_of(share, tally.count.total).max(tally.count.met) + to_come
            }
            Quota::Percent(share) => share_of(share, tally.count.total),
        }
    }

    /// Whether the waiter, or a member of it, is among the tasks.
    pub(super) fn selects(&self, waiter: &Waiter, facts: &impl Facts) -> bool {
        match waiter {
            Waiter::Task(task) => {
                self.ids.binary_search(task).is_ok()
                    || number_of(task).is_some_and(|number| self.names_number(number))
                    || self.globs.iter().any(|glob| glob.matches(task.as_str()))
                    || self.names_as_member(task, facts)
            }
            Waiter::Sweep(sweep) => {
                let shape = facts.shape(sweep);
                self.names_members(sweep, shape)
                    || self.ids_below(sweep).any(|task| is_member(task, sweep, shape))
                    || self.matches_members(sweep, shape)
            }
        }
    }

    /// Whether the task is a member of a sweep that is named by its number, or by its id in another spelling.
    fn names_as_member(&self, task: &TaskId, facts: &impl Facts) -> bool {
        if self.sweeps.is_empty() && self.ids.is_empty() {
            return false;
        }
        Member::of(task, facts).is_some_and(|member| {
            let number = member.number();
            let at = self.sweeps.binary_search_by(|(name, _)| name.cmp(&member.sweep));
            at.is_ok_and(|at| {
                self.sweeps[at].1.iter().any(|(first, last)| (*first..=*last).contains(&number))
            }) || self
                .ids_below(&member.sweep)
                .any(|id| member.shape.find(&member.sweep, id) == Some(member.index))
        })
    }

    fn names_number(&self, number: u32) -> bool {
        let behind = self.ranges.partition_point(|(first, _)| *first <= number);
        behind.checked_sub(1).is_some_and(|at| number <= self.ranges[at].1)
    }

    /// Whether the patterns match a member of a sweep.
    pub(super) fn matches_members(&self, sweep: &SweepId, shape: Option<SweepShape>) -> bool {
        !self.globs.is_empty()
            && match shape {
                Some(shape) => {
                    let last = shape.count.checked_sub(1);
                    last.is_some_and(|last| Reach::new(&self.globs, sweep, shape).count(0, last) > 0)
                }
                None => may_match(&self.globs, sweep),
            }
    }

    /// Whether the ranges name a member of a sweep; of one of unknown shape they may.
    pub(super) fn names_members(&self, sweep: &SweepId, shape: Option<SweepShape>) -> bool {
        let at = self.sweeps.binary_search_by(|(name, _)| name.cmp(sweep));
        at.is_ok_and(|at| {
            let mut ranges = self.sweeps[at].1.iter();
            ranges.any(|(first, last)| shape.is_none_or(|shape| shape.indices(*first, *last).is_some()))
        })
    }

    /// The ids that begin as those of a sweep's members do.
    fn ids_below(&self, sweep: &SweepId) -> impl Iterator<Item = &TaskId> {
        let head = format!("{sweep}-");
        let from = self.ids.partition_point(|task| folded(task.as_str()).lt(folded(&head)));
        self.ids[from..].iter().take_while(move |task| {
            task.as_str().get(..head.len()).is_some_and(|text| text.eq_ignore_ascii_case(&head))
        })
    }
}

/// A text as ids compare.
fn folded(text: &str) -> impl Iterator<Item = u8> + '_ {
    text.bytes().map(|b| b.to_ascii_lowercase())
}

/// Whether an id, in any spelling of its number, is a member's; of a sweep of unknown shape it may be.
pub(super) fn is_member(task: &TaskId, sweep: &SweepId, shape: Option<SweepShape>) -> bool {
    match shape {
        Some(shape) => shape.find(sweep, task).is_some(),
        None => split_member(task).is_some_and(|(name, _)| name == *sweep),
    }
}

fn distinct<T: Ord + Clone>(items: &[T]) -> Box<[T]> {
    match items {
        // The usual dependency needs no set.
        [] | [_] => items.into(),
        _ => items.iter().collect::<BTreeSet<_>>().into_iter().cloned().collect(),
    }
}

/// The same numbers in ranges that neither overlap nor touch.
fn merged(mut ranges: Vec<Range>) -> Box<[Range]> {
    ranges.sort_unstable();
    let mut merged: Vec<Range> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges.into_iter().filter(|(first, last)| first <= last) {
        match merged.last_mut() {
            Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
            Some(_) | None => merged.push((first, last)),
        }
    }
    merged.into()
}

/// This many percent, rounded up.
fn share_of(percent: u8, total: u64) -> u64 {
    let share = (u128::from(total) * u128::from(percent)).div_ceil(100);
    u64::try_from(share).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(total: u64, met: u64, lost: u64) -> Tally {
        Tally { count: Count { total, met, lost }, absent: 0, bare: 0 }
    }

    fn demand(quota: Quota, globs: &[&str]) -> Demand {
        let globs = globs.iter().map(|text| TaskGlob::parse(text).unwrap()).collect();
        Demand::new(&TaskSet { globs, ..TaskSet::default() }, DependencyCondition::Satisfied, quota)
    }

    fn stands(quota: Quota, globs: &[&str], tally: Tally) -> (bool, bool) {
        let Standing { met, hopeless } = demand(quota, globs).standing(&tally);
        (met, hopeless)
    }

    #[test]
    fn ranges_are_merged_where_they_overlap_or_touch() {
        let parts = vec![(7, 9), (1, 3), (4, 4), (9, 12), (20, 19), (14, u64::MAX), (15, 16)];
        assert_eq!(*merged(parts), [(1, 4), (7, 12), (14, u64::MAX)]);
    }

    #[test]
    fn shares_are_rounded_up() {
        assert_eq!(
            (share_of(90, 11), share_of(1, 1), share_of(50, 0), share_of(100, u64::MAX)),
            (10, 1, 0, u64::MAX)
        );
    }

    #[test]
    fn each_quota_has_its_own_end_of_hope() {
        assert_eq!(stands(Quota::All, &[], tally(3, 2, 0)), (false, false));
        assert_eq!(stands(Quota::All, &[], tally(3, 2, 1)), (false, true));
        assert_eq!(stands(Quota::All, &[], tally(0, 0, 0)), (true, false));
        assert_eq!(stands(Quota::AtLeast(2), &[], tally(3, 2, 1)), (true, false));
        assert_eq!(stands(Quota::AtLeast(2), &[], tally(3, 1, 1)), (false, false));
        assert_eq!(stands(Quota::AtLeast(2), &[], tally(3, 1, 2)), (false, true));
        assert_eq!(stands(Quota::AtLeast(1), &[], tally(0, 0, 0)), (false, true));
        assert_eq!(stands(Quota::Percent(50), &[], tally(3, 2, 1)), (true, false));
        assert_eq!(stands(Quota::Percent(90), &[], tally(3, 2, 1)), (false, true));
    }

    #[test]
    fn what_may_still_come_keeps_hope() {
        let bare = Tally { bare: 1, ..tally(0, 0, 0) };
        assert_eq!(stands(Quota::All, &["a*"], bare), (false, false));
        assert_eq!(stands(Quota::All, &["a*"], tally(2, 1, 1)), (false, true));
        assert_eq!(stands(Quota::AtLeast(9), &["a*"], tally(2, 1, 1)), (false, false));
        let absent = Tally { absent: 1, ..tally(1, 1, 0) };
        assert_eq!(stands(Quota::All, &[], absent), (false, false));
        assert_eq!(stands(Quota::AtLeast(1), &[], absent), (true, false));
        assert_eq!(stands(Quota::AtLeast(2), &[], absent), (false, false));
    }
}

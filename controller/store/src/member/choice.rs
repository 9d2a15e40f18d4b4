//! Which members of a group a filter takes.
//!
//! Whatever is the same for the whole group is compared once. Ids and numbers grow with the index, so that a comparison
//! with one takes a run of members that two binary searches find. Only display names that differ are left to be looked at
//! member by member.
//!
//! Invariant: `sure` and `maybe` are disjoint, and a member in neither is not taken.

use super::group::{Group, Member};
use crate::query::{Comparison, Filter, Op, Property as _, TaskProperty, Value, compare_text, starts_with};
use muster_model::IndexSet;
use std::cmp::Ordering;

/// What a filter takes of a group, by index.
#[derive(Debug, Clone)]
pub(super) struct Choice {
    /// Taken.
    sure: IndexSet,
    /// To be looked at one by one.
    maybe: IndexSet,
}

impl Choice {
    /// What `filter` takes of a group; everything without one.
    pub(super) fn of(filter: Option<&Filter<TaskProperty>>, group: &Group<'_>) -> Self {
        match filter {
            None => Self::all(group),
            Some(Filter::Compare(comparison)) => Self::compared(comparison, group),
            Some(Filter::And(parts)) => {
                parts.iter().fold(Self::all(group), |so_far, part| so_far.and(&Self::of(Some(part), group)))
            }
            Some(Filter::Or(parts)) => {
                parts.iter().fold(Self::none(), |so_far, part| so_far.or(&Self::of(Some(part), group)))
            }
            Some(Filter::Not(inner)) => Self::of(Some(inner), group).not(group.count()),
        }
    }

    fn all(group: &Group<'_>) -> Self {
        Self { sure: IndexSet::below(group.count()), maybe: IndexSet::default() }
    }

    fn none() -> Self {
        Self { sure: IndexSet::default(), maybe: IndexSet::default() }
    }

    fn run(first: u64, end: u64) -> Self {
        let mut sure = IndexSet::default();
        if let Some(last) = end.checked_sub(1) {
            sure.insert(first, last);
        }
        Self { sure, maybe: IndexSet::default() }
    }

    fn compared(comparison: &Comparison<TaskProperty>, group: &Group<'_>) -> Self {
        match (comparison.property(), comparison.value()) {
            (TaskProperty::Id, Value::Text(text)) => by_id(comparison.op(), text, group),
            (TaskProperty::SweepNumber, Value::Integer(wanted)) => {
                let compare = |index| group.number(index).cmp(wanted);
                by_order(comparison.op(), compare, group.count())
            }
            (TaskProperty::DisplayName, _) if group.names_differ() => {
                Self { sure: IndexSet::default(), maybe: IndexSet::below(group.count()) }
            }
            _ if comparison.matches(&group.member(0)) => Self::all(group),
            _ => Self::none(),
        }
    }

    /// All that may be taken.
    pub(super) fn any(&self) -> IndexSet {
        let mut any = self.sure.clone();
        any.extend(&self.maybe);
        any
    }

    /// Whether a member of `any` is taken.
    pub(super) fn takes(&self, member: &Member<'_, '_>, filter: Option<&Filter<TaskProperty>>) -> bool {
        self.sure.contains(member.index()) || filter.is_none_or(|filter| filter.matches(member))
    }

    fn and(&self, other: &Self) -> Self {
        let sure = common(&self.sure, &other.sure);
        let maybe = without(&common(&self.any(), &other.any()), &sure);
        Self { sure, maybe }
    }

    fn or(&self, other: &Self) -> Self {
        let mut sure = self.sure.clone();
        sure.extend(&other.sure);
        let mut maybe = self.maybe.clone();
        maybe.extend(&other.maybe);
        let maybe = without(&maybe, &sure);
        Self { sure, maybe }
    }

    fn not(&self, count: u64) -> Self {
        Self { sure: without(&IndexSet::below(count), &self.any()), maybe: self.maybe.clone() }
    }
}

/// What two sets have in common.
fn common(left: &IndexSet, right: &IndexSet) -> IndexSet {
    let mut both = IndexSet::default();
    for (first, last) in left.runs() {
        for (start, end) in right.runs_within(first, last) {
            both.insert(start, end);
        }
    }
    both
}

fn without(set: &IndexSet, other: &IndexSet) -> IndexSet {
    let mut left = set.clone();
    for (first, last) in other.runs() {
        left.remove(first, last);
    }
    left
}

/// The first index of `0..count` for which `before` does not hold; it holds for all indices before that.
pub(super) fn partition(count: u64, before: impl Fn(u64) -> bool) -> u64 {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        if before(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

/// Members by something that grows with the index; `compare` compares a member's with the wanted value.
fn by_order(op: Op, compare: impl Fn(u64) -> Ordering, count: u64) -> Choice {
    let start = partition(count, |index| compare(index).is_lt());
    let end = partition(count, |index| compare(index).is_le());
    match op {
        Op::Equal => Choice::run(start, end),
        Op::NotEqual => Choice::run(start, end).not(count),
        Op::Less => Choice::run(0, start),
        Op::LessOrEqual => Choice::run(0, end),
        // A prefix of a number is ruled out when a comparison is made; that of an id is below.
        Op::GreaterOrEqual | Op::Prefix => Choice::run(start, count),
        Op::Greater => Choice::run(end, count),
    }
}

fn by_id(op: Op, wanted: &str, group: &Group<'_>) -> Choice {
    let kind = TaskProperty::Id.kind();
    let compare = |index| compare_text(kind, group.id(index).as_str(), wanted);
    if op != Op::Prefix {
        return by_order(op, compare, group.count());
    }
    let start = partition(group.count(), |index| compare(index).is_lt());
    let end = partition(group.count(), |index| {
        compare(index).is_lt() || starts_with(kind, group.id(index).as_str(), wanted)
    });
    Choice::run(start, end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_found_at_every_place() {
        for place in 0..=9 {
            assert_eq!(partition(9, |index| index < place), place);
        }
        assert_eq!(partition(0, |_| true), 0);
    }
}

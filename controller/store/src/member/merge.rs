//! The first members behind a place in an order, and a page of members and rows together.
//!
//! Each group is walked by index in the direction of the order, from where the page before ended; a heap of the groups'
//! next members gives them in order. Members are made into views only when they are on the page.

use super::choice::{Choice, partition};
use super::fate::{Fate, Untouched};
use super::group::Group;
use crate::query::{OrderBy, Page, Place, Plan, TaskProperty, compare_places};
use crate::view::TaskView;
use muster_model::IndexSet;
use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// A member on a page.
#[derive(Debug)]
pub(crate) struct Found<'s> {
    pub(crate) places: Vec<Place>,
    pub(crate) sweep: &'s Untouched,
    pub(crate) fate: Fate<'s>,
    pub(crate) index: u64,
}

/// A group on its way through the list: what is left of it, and its next member.
struct Walk<'p, 's> {
    terms: &'p [OrderBy<TaskProperty>],
    group: Group<'s>,
    choice: Choice,
    any: IndexSet,
    descending: bool,
    places: Vec<Place>,
    index: u64,
}

impl<'p, 's> Walk<'p, 's> {
    /// Places a group behind the page before; `None` when nothing of it is left there.
    fn start(plan: &'p Plan<'_, TaskProperty>, group: Group<'s>) -> Option<Self> {
        let choice = Choice::of(plan.filter, &group);
        let any = choice.any();
        let grows = |term: &&OrderBy<TaskProperty>| {
            matches!(term.property, TaskProperty::Id | TaskProperty::CreateTime)
        };
        // Every order ends in the id; what comes before the first of the two is the same for the whole group.
        let descending = plan.terms.iter().find(grows).is_some_and(|term| term.descending);
        let order = |index| {
            plan.after.map_or(Ordering::Greater, |after| {
                compare_places(&plan.terms, &plan.places(&group.member(index)), after)
            })
        };
        let from = if descending {
            partition(group.count(), |index| order(index).is_gt()).checked_sub(1)?
        } else {
            partition(group.count(), |index| order(index).is_le())
        };
        let mut walk =
            Self { terms: &plan.terms, group, choice, any, descending, places: Vec::new(), index: 0 };
        walk.seek(plan, from).then_some(walk)
    }

    /// Goes to the next member from `from` on, itself included; `false` at the end.
    fn seek(&mut self, plan: &Plan<'_, TaskProperty>, from: u64) -> bool {
        let mut from = Some(from);
        while let Some(at) = from {
            let Some(found) = self.common(at) else { return false };
            let member = self.group.member(found);
            if self.choice.takes(&member, plan.filter) {
                self.places = plan.places(&member);
                self.index = found;
                return true;
            }
            from = self.behind(found);
        }
        false
    }

    /// The next index that is in the group and may be taken.
    fn common(&self, from: u64) -> Option<u64> {
        let next = |set: &IndexSet, from| {
            if self.descending { set.next_back_from(from) } else { set.next_from(from) }
        };
        let mut at = from;
        loop {
            let member = next(self.group.members(), at)?;
            let taken = next(&self.any, member)?;
            if taken == member {
                return Some(taken);
            }
            at = taken;
        }
    }

    fn behind(&self, index: u64) -> Option<u64> {
        if self.descending { index.checked_sub(1) } else { index.checked_add(1) }
    }
}

/// The heap's first is the one that comes first in the list.
impl Ord for Walk<'_, '_> {
    fn cmp(&self, other: &Self) -> Ordering {
        compare_places(self.terms, &other.places, &self.places)
    }
}

impl PartialOrd for Walk<'_, '_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Walk<'_, '_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Walk<'_, '_> {}

/// The first members behind the page before that the filter takes, in order: one more than a page has room for.
pub(crate) fn first<'s>(plan: &Plan<'_, TaskProperty>, sweeps: &'s [Untouched]) -> Vec<Found<'s>> {
    let groups = sweeps.iter().flat_map(|sweep| {
        let groups = sweep.groups().filter(|(_, members)| !members.is_empty());
        groups.map(move |(fate, members)| Group::new(sweep, fate, members))
    });
    let mut walks: BinaryHeap<Walk<'_, 's>> = groups.filter_map(|group| Walk::start(plan, group)).collect();
    let mut found = Vec::new();
    while found.len() <= plan.limit {
        let Some(mut walk) = walks.pop() else { break };
        let (sweep, fate, index) = (walk.group.sweep(), walk.group.fate(), walk.index);
        found.push(Found { places: std::mem::take(&mut walk.places), sweep, fate, index });
        if walk.behind(index).is_some_and(|next| walk.seek(plan, next)) {
            walks.push(walk);
        }
    }
    found
}

/// One page of rows and members, each in order and with one more than the page has room for.
pub(crate) fn page<E>(
    plan: &Plan<'_, TaskProperty>,
    rows: Vec<TaskView>,
    members: Vec<Found<'_>>,
    make: impl Fn(&Found<'_>) -> Result<TaskView, E>,
) -> Result<Page<TaskView>, E> {
    let mut items = Vec::with_capacity(rows.len().saturating_add(members.len()).min(plan.limit + 1));
    let mut rows = rows.into_iter().peekable();
    let mut members = members.into_iter().peekable();
    while items.len() <= plan.limit {
        let row_first = match (rows.peek(), members.peek()) {
            (Some(row), Some(member)) => {
                compare_places(&plan.terms, &plan.places(row), &member.places).is_lt()
            }
            (row, _) => row.is_some(),
        };
        if row_first {
            items.extend(rows.next());
        } else {
            match members.next() {
                Some(member) => items.push(make(&member)?),
                None => break,
            }
        }
    }
    Ok(plan.page(items))
}

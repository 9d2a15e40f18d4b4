//! Which tasks of a job wait for which others.
//!
//! The graph holds only the waiting side: for each id or range, who waits for it. A task's own count of unsatisfied
//! dependencies falls when one of them succeeds; at zero it may be placed. A range counts numbers, not tasks: `4`, `04`
//! and `004` are one, and the first of them to succeed satisfies it (reference 3.7). A dependency is satisfied while a
//! task of that name exists and has succeeded, so deleting and adding it again asks anew; a task that has been placed
//! once asks no more.
//!
//! Invariant: a task's `waiting_on` equals a recount over its `depends_on`.  [every_history_keeps_the_laws]

use muster_model::TaskId;
use muster_model::spec::{DependsOn, IdRange};
use std::collections::{BTreeMap, BTreeSet};

/// The waiting side of a job's dependencies.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Graph {
    by_id: BTreeMap<TaskId, BTreeSet<TaskId>>,
    by_range: BTreeMap<IdRange, BTreeSet<TaskId>>,
    /// Tasks that have succeeded, as far as somebody may still ask by number.
    numbers: BTreeSet<u32>,
}

/// The number that a task id reads as, leading zeros ignored.
pub(crate) fn number_of(id: &TaskId) -> Option<u32> {
    let digits = id.as_str();
    if digits.bytes().all(|b| b.is_ascii_digit()) { digits.parse().ok() } else { None }
}

impl Graph {
    /// How many dependencies of a new task are not satisfied. `succeeded` tells of tasks by id.
    pub(crate) fn count_unmet(&self, needs: &DependsOn, succeeded: impl Fn(&TaskId) -> bool) -> u32 {
        let distinct: BTreeSet<&TaskId> = needs.task_ids.iter().collect();
        let ids = distinct.into_iter().filter(|id| !succeeded(id)).count();
        let ranges: BTreeSet<&IdRange> = needs.task_id_ranges.iter().collect();
        let numbers: u64 = ranges.into_iter().map(|range| self.missing_in(range)).sum();
        u32::try_from(numbers.saturating_add(ids as u64)).unwrap_or(u32::MAX)
    }

    fn missing_in(&self, range: &IdRange) -> u64 {
        let all = u64::from(range.end.saturating_sub(range.start)) + 1;
        all.saturating_sub(self.numbers.range(range.start..=range.end).count() as u64)
    }

    /// Lets `task` wait for what it needs.
    pub(crate) fn add(&mut self, task: &TaskId, needs: &DependsOn) {
        for id in &needs.task_ids {
            self.by_id.entry(id.clone()).or_default().insert(task.clone());
        }
        for range in &needs.task_id_ranges {
            self.by_range.entry(*range).or_default().insert(task.clone());
        }
    }

    /// Takes `task` off every list it waits on.
    pub(crate) fn remove(&mut self, task: &TaskId, needs: &DependsOn) {
        for id in &needs.task_ids {
            if let Some(waiting) = self.by_id.get_mut(id) {
                waiting.remove(task);
                if waiting.is_empty() {
                    self.by_id.remove(id);
                }
            }
        }
        for range in &needs.task_id_ranges {
            if let Some(waiting) = self.by_range.get_mut(range) {
                waiting.remove(task);
                if waiting.is_empty() {
                    self.by_range.remove(range);
                }
            }
        }
    }

    /// Notes a success and names those who have one dependency less, once for each dependency.
    pub(crate) fn succeeded(&mut self, task: &TaskId) -> Vec<TaskId> {
        let mut freed: Vec<TaskId> = self.by_id.get(task).into_iter().flatten().cloned().collect();
        if let Some(number) = number_of(task)
            && self.numbers.insert(number)
        {
            let in_range =
                self.by_range.iter().filter(|(range, _)| (range.start..=range.end).contains(&number));
            freed.extend(in_range.flat_map(|(_, waiting)| waiting).cloned());
        }
        freed
    }

    /// Notes that a task that had succeeded is gone, and names those who have one dependency more, once for each.
    /// `twin` says that another task with the same number has succeeded too.
    pub(crate) fn forgotten(&mut self, task: &TaskId, twin: bool) -> Vec<TaskId> {
        let mut held: Vec<TaskId> = self.by_id.get(task).into_iter().flatten().cloned().collect();
        if let Some(number) = number_of(task)
            && !twin
            && self.numbers.remove(&number)
        {
            let in_range =
                self.by_range.iter().filter(|(range, _)| (range.start..=range.end).contains(&number));
            held.extend(in_range.flat_map(|(_, waiting)| waiting).cloned());
        }
        held
    }

    /// The way from `task` back to itself that its dependencies would close, if they did.
    pub(crate) fn cycle(&self, task: &TaskId, needs: &DependsOn) -> Option<Vec<TaskId>> {
        let wanted = |id: &TaskId| {
            needs.task_ids.contains(id)
                || number_of(id)
                    .is_some_and(|n| needs.task_id_ranges.iter().any(|r| (r.start..=r.end).contains(&n)))
        };
        let mut came_from: BTreeMap<TaskId, TaskId> = BTreeMap::new();
        let mut open = vec![task.clone()];
        let mut seen = BTreeSet::from([task.clone()]);
        while let Some(at) = open.pop() {
            if wanted(&at) {
                return Some(Self::path_back(&came_from, task, at));
            }
            for waiting in self.waiting_for(&at) {
                if seen.insert(waiting.clone()) {
                    came_from.insert(waiting.clone(), at.clone());
                    open.push(waiting.clone());
                }
            }
        }
        None
    }

    fn waiting_for<'a>(&'a self, task: &'a TaskId) -> impl Iterator<Item = &'a TaskId> + 'a {
        let number = number_of(task);
        let ranges = self
            .by_range
            .iter()
            .filter(move |(range, _)| number.is_some_and(|n| (range.start..=range.end).contains(&n)));
        self.by_id.get(task).into_iter().flatten().chain(ranges.flat_map(|(_, waiting)| waiting))
    }

    /// From `task` over its dependency `last` and so on back to `task`.
    fn path_back(came_from: &BTreeMap<TaskId, TaskId>, task: &TaskId, last: TaskId) -> Vec<TaskId> {
        let mut path = vec![task.clone(), last.clone()];
        let mut at = last;
        while let Some(before) = came_from.get(&at) {
            path.push(before.clone());
            at = before.clone();
        }
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> TaskId {
        TaskId::parse(text).unwrap()
    }

    fn on(ids: &[&str], ranges: &[(u32, u32)]) -> DependsOn {
        DependsOn {
            task_ids: ids.iter().map(|t| id(t)).collect(),
            task_id_ranges: ranges.iter().map(|&(start, end)| IdRange { start, end }).collect(),
        }
    }

    #[test]
    fn leading_zeros_make_one_number_and_the_first_success_counts() {
        let mut graph = Graph::default();
        let needs = on(&[], &[(4, 5)]);
        assert_eq!(graph.count_unmet(&needs, |_| false), 2);
        graph.add(&id("merge"), &needs);
        assert_eq!(graph.succeeded(&id("04")), [id("merge")]);
        assert!(graph.succeeded(&id("4")).is_empty());
        assert_eq!(graph.count_unmet(&needs, |_| false), 1);
        assert!(graph.succeeded(&id("x4")).is_empty());
    }

    #[test]
    fn a_duplicate_dependency_counts_once() {
        let graph = Graph::default();
        assert_eq!(graph.count_unmet(&on(&["a", "A", "a"], &[(1, 2), (1, 2)]), |_| false), 3);
    }

    #[test]
    fn cycles_are_found_with_their_way_round() {
        let mut graph = Graph::default();
        graph.add(&id("b"), &on(&["a"], &[]));
        graph.add(&id("7"), &on(&["b"], &[]));
        let way = graph.cycle(&id("a"), &on(&[], &[(1, 9)])).unwrap();
        assert_eq!(way, [id("a"), id("7"), id("b"), id("a")]);
        assert!(graph.cycle(&id("c"), &on(&["7"], &[])).is_none());
        assert_eq!(graph.cycle(&id("s"), &on(&["s"], &[])).unwrap(), [id("s"), id("s")]);
    }
}

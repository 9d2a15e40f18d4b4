//! What happens to tasks, told after it has happened: each change moves the counts of the demands that name the task.
//!
//! A change is a status before and one after, for one task or for a row of a sweep's members at once. Ids are asked for
//! anew, so that whatever the job takes an id for counts; everything else moves by the difference.
//!
//! Invariant: the cost of a change is the demands that name what changed, never the tasks or waiters that there are.

use super::facts::{Count, Facts, Member, Outcome, Status, Waiter};
use super::graph::{Graph, Ledger};
use super::numbers::number_of;
use super::spans::Key;
use super::sweep_lists::{Reaches, add, count_ranges, take};
use super::work::step;
use muster_model::spec::{SweepShape, split_member};
use muster_model::{IndexSet, SweepId, TaskId};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What a task was and is.
#[derive(Debug, Clone, Copy)]
struct Change {
    before: Status,
    after: Status,
}

impl Change {
    /// What the change of `tasks` tasks, which count only if they exist, means to a demand.
    fn apply(self, ledger: &mut Ledger, tasks: u64) -> (Count, Count) {
        let count = |status| Count::of_existing(status, ledger.demand.condition, tasks);
        let (before, after) = (count(self.before), count(self.after));
        ledger.tally.count.replace(before, after);
        (before, after)
    }

    /// Adds tasks that have come to figures, and takes those that have gone.
    fn apply_existence(self, figures: &mut [u64], tasks: &[u64]) {
        match (self.before, self.after) {
            (Status::Absent, Status::Open | Status::Ended(_)) => add(figures, tasks),
            (Status::Open | Status::Ended(_), Status::Absent) => take(figures, tasks),
            (Status::Absent, Status::Absent)
            | (Status::Open | Status::Ended(_), Status::Open | Status::Ended(_)) => {}
        }
    }
}

/// Each answers the waiters whose standing changed, in order. `facts` are those after the change.
impl Graph {
    /// A task is there that has not ended; one that comes back ended is added, then ended.
    pub(crate) fn task_added(&mut self, task: &TaskId, facts: &impl Facts) -> Vec<Waiter> {
        self.change(task, Change { before: Status::Absent, after: Status::Open }, facts)
    }

    /// A task has ended; it may be a member of a sweep.
    pub(crate) fn task_ended(&mut self, task: &TaskId, outcome: Outcome, facts: &impl Facts) -> Vec<Waiter> {
        self.change(task, Change { before: Status::Open, after: Status::Ended(outcome) }, facts)
    }

    /// A task that had ended is tried again; it may be a member of a sweep.
    pub(crate) fn task_reopened(&mut self, task: &TaskId, was: Outcome, facts: &impl Facts) -> Vec<Waiter> {
        self.change(task, Change { before: Status::Ended(was), after: Status::Open }, facts)
    }

    /// A task is gone; it may be a member of a sweep that is still there.
    pub(crate) fn task_gone(
        &mut self,
        task: &TaskId,
        was: Option<Outcome>,
        facts: &impl Facts,
    ) -> Vec<Waiter> {
        self.change(task, Change { before: Status::existing(was), after: Status::Absent }, facts)
    }

    /// A sweep is there, with its members as `facts` know them.
    pub(crate) fn sweep_added(&mut self, sweep: &SweepId, facts: &impl Facts) -> Vec<Waiter> {
        self.recount_sweep(sweep, facts)
    }

    /// Members of a sweep have ended in one way.
    pub(crate) fn members_ended(
        &mut self,
        sweep: &SweepId,
        members: &IndexSet,
        outcome: Outcome,
        facts: &impl Facts,
    ) -> Vec<Waiter> {
        let change = Change { before: Status::Open, after: Status::Ended(outcome) };
        self.change_members(sweep, &runs_of(members), change, facts)
    }

    /// Members of a sweep that had ended in one way are tried again.
    pub(crate) fn members_reopened(
        &mut self,
        sweep: &SweepId,
        members: &IndexSet,
        was: Outcome,
        facts: &impl Facts,
    ) -> Vec<Waiter> {
        let change = Change { before: Status::Ended(was), after: Status::Open };
        self.change_members(sweep, &runs_of(members), change, facts)
    }

    /// Members of a sweep, which is still there, are gone.
    pub(crate) fn members_gone(
        &mut self,
        sweep: &SweepId,
        members: &IndexSet,
        was: Option<Outcome>,
        facts: &impl Facts,
    ) -> Vec<Waiter> {
        let change = Change { before: Status::existing(was), after: Status::Absent };
        self.change_members(sweep, &runs_of(members), change, facts)
    }

    /// A sweep is gone with all its members.
    pub(crate) fn sweep_gone(&mut self, sweep: &SweepId, facts: &impl Facts) -> Vec<Waiter> {
        self.recount_sweep(sweep, facts)
    }

    fn change(&mut self, task: &TaskId, change: Change, facts: &impl Facts) -> Vec<Waiter> {
        if let Some(Member { sweep, index, .. }) = Member::of(task, facts) {
            return self.change_members(&sweep, &[(index, index)], change, facts);
        }
        let mut touched = Vec::new();
        self.reread_id(task, facts, &mut touched);
        if let Some(number) = number_of(task) {
            self.change_number(number, change, &mut touched);
        }
        self.change_matches(task, change, &mut touched);
        self.settle(touched)
    }

    /// Asks what the id of a task means to those who name it.
    fn reread_id(&mut self, task: &TaskId, facts: &impl Facts, touched: &mut Vec<Key>) {
        if let Some((sweep, number)) = split_member(task) {
            self.reread_members(&sweep, number, number, facts, touched);
            return;
        }
        let status = Status::of(facts.outcome(task));
        for ((_, key), verdict) in
            self.lists.ids.range_mut((task.clone(), Key::MIN)..=(task.clone(), Key::MAX))
        {
            step();
            let Some(ledger) = self.ledgers.get_mut(key) else { continue };
            let before = std::mem::replace(verdict, status.verdict(ledger.demand.condition));
            ledger.tally.count.replace(Count::of(before, 1), Count::of(*verdict, 1));
            touched.push(*key);
        }
    }

    /// Asks what the ids that read as members with numbers in `first..=last` mean to those who name them.
    fn reread_members(
        &mut self,
        sweep: &SweepId,
        first: u64,
        last: u64,
        facts: &impl Facts,
        touched: &mut Vec<Key>,
    ) {
        let Some(lists) = self.lists.sweeps.get_mut(sweep) else { return };
        let named = (first, Key::MIN, usize::MIN)..=(last, Key::MAX, usize::MAX);
        for ((_, key, place), verdict) in lists.names.range_mut(named) {
            step();
            let Some(ledger) = self.ledgers.get_mut(key) else { continue };
            let Some(task) = ledger.demand.ids.get(*place) else { continue };
            let now = Status::of(facts.outcome(task)).verdict(ledger.demand.condition);
            let before = std::mem::replace(verdict, now);
            ledger.tally.count.replace(Count::of(before, 1), Count::of(now, 1));
            touched.push(*key);
        }
    }

    fn change_number(&mut self, number: u32, change: Change, touched: &mut Vec<Key>) {
        let moved = self.numbers.change(number, change.before, change.after);
        for (key, _) in self.lists.ranges.at(number.into()) {
            step();
            let Some(ledger) = self.ledgers.get_mut(&key) else { continue };
            let (before, after) = moved.verdicts(ledger.demand.condition);
            ledger.tally.count.replace(Count::of(before, 1), Count::of(after, 1));
            touched.push(key);
        }
    }

    /// Moves the counts of the patterns that a plain task matches.
    fn change_matches(&mut self, task: &TaskId, change: Change, touched: &mut Vec<Key>) {
        if self.lists.globs.is_empty() {
            return;
        }
        let mut matching: Vec<_> = self.lists.globs.of(task.as_str().to_ascii_lowercase()).collect();
        matching.retain(|(key, place)| {
            step();
            let glob = self.ledgers.get(key).and_then(|ledger| ledger.demand.globs.get(*place));
            glob.is_some_and(|glob| glob.matches(task.as_str()))
        });
        matching.sort_unstable();
        for places in matching.chunk_by(|(one, _), (other, _)| one == other) {
            let Some(ledger) = places.first().and_then(|(key, _)| self.ledgers.get_mut(key)) else {
                continue;
            };
            change.apply(ledger, 1);
            for (key, place) in places {
                change.apply_existence(&mut ledger.matches[*place..=*place], &[1]);
                touched.push(*key);
            }
            ledger.count_bare();
        }
    }

    /// Moves the counts of all who ask for members of a sweep, given as runs of indices.
    fn change_members(
        &mut self,
        sweep: &SweepId,
        runs: &[(u64, u64)],
        change: Change,
        facts: &impl Facts,
    ) -> Vec<Waiter> {
        let Some(shape) = facts.shape(sweep) else { return Vec::new() };
        let mut touched = Vec::new();
        for (first, last) in runs {
            let (first, last) = (shape.number(*first), shape.number(*last));
            self.reread_members(sweep, first, last, facts, &mut touched);
            self.change_ranges(sweep, (first, last), shape, change, &mut touched);
        }
        self.change_members_matched(sweep, runs, shape, change, &mut touched);
        self.settle(touched)
    }

    /// Moves the counts of those who name the members with numbers in `first..=last` by range.
    fn change_ranges(
        &mut self,
        sweep: &SweepId,
        (first, last): (u64, u64),
        shape: SweepShape,
        change: Change,
        touched: &mut Vec<Key>,
    ) {
        let Some(lists) = self.lists.sweeps.get_mut(sweep) else { return };
        for (key, first, last) in lists.spans.overlapping(first, last) {
            step();
            let Some((first, last)) = shape.indices(first, last) else { continue };
            let Some(ledger) = self.ledgers.get_mut(&key) else { continue };
            let (before, after) = change.apply(ledger, last - first + 1);
            if let Some(Some(count)) = lists.counts.get_mut(&key) {
                count.replace(before, after);
            }
            touched.push(key);
        }
    }

    /// Moves the counts of those whose patterns match the members.
    fn change_members_matched(
        &mut self,
        sweep: &SweepId,
        runs: &[(u64, u64)],
        shape: SweepShape,
        change: Change,
        touched: &mut Vec<Key>,
    ) {
        let Some(lists) = self.lists.sweeps.get_mut(sweep) else { return };
        for (key, matched) in &mut lists.matched {
            let Some(ledger) = self.ledgers.get_mut(key) else { continue };
            let demand = Arc::clone(&ledger.demand);
            let Some(mut reaches) = Reaches::new(&demand, sweep, shape) else { continue };
            for (first, last) in runs {
                step();
                let (together, each) = reaches.count(*first, *last);
                let (before, after) = change.apply(ledger, together);
                matched.count.replace(before, after);
                change.apply_existence(&mut matched.each, &each);
                change.apply_existence(&mut ledger.matches, &each);
            }
            ledger.count_bare();
            touched.push(*key);
        }
    }

    /// Counts anew what everybody who may ask for members of a sweep has of it.
    fn recount_sweep(&mut self, sweep: &SweepId, facts: &impl Facts) -> Vec<Waiter> {
        let mut touched = Vec::new();
        self.reread_members(sweep, 0, u64::MAX, facts, &mut touched);
        self.recount_ranges(sweep, facts, &mut touched);
        self.forget_matches(sweep, &mut touched);
        if let Some(shape) = facts.shape(sweep) {
            self.find_matches(sweep, shape, facts, &mut touched);
        }
        self.lists.edit(sweep, |_| {});
        self.settle(touched)
    }

    fn recount_ranges(&mut self, sweep: &SweepId, facts: &impl Facts, touched: &mut Vec<Key>) {
        let Some(lists) = self.lists.sweeps.get_mut(sweep) else { return };
        for (key, count) in &mut lists.counts {
            step();
            let Some(ledger) = self.ledgers.get_mut(key) else { continue };
            let at = ledger.demand.sweeps.binary_search_by(|(name, _)| name.cmp(sweep));
            let Some((_, ranges)) = at.ok().and_then(|at| ledger.demand.sweeps.get(at)) else { continue };
            let now = count_ranges(&ledger.demand, sweep, ranges, facts);
            let before = std::mem::replace(count, now);
            ledger.tally.count.replace(before.unwrap_or_default(), now.unwrap_or_default());
            ledger.tally.absent += u64::from(now.is_none());
            ledger.tally.absent -= u64::from(before.is_none());
            touched.push(*key);
        }
    }

    /// Takes out of all patterns what they match of a sweep.
    fn forget_matches(&mut self, sweep: &SweepId, touched: &mut Vec<Key>) {
        let Some(lists) = self.lists.sweeps.get_mut(sweep) else { return };
        for (key, matched) in std::mem::take(&mut lists.matched) {
            step();
            let Some(ledger) = self.ledgers.get_mut(&key) else { continue };
            ledger.tally.count.take(matched.count);
            take(&mut ledger.matches, &matched.each);
            ledger.count_bare();
            touched.push(key);
        }
    }

    /// Finds the patterns that match members of a sweep, and counts what they match.
    fn find_matches(
        &mut self,
        sweep: &SweepId,
        shape: SweepShape,
        facts: &impl Facts,
        touched: &mut Vec<Key>,
    ) {
        let head = format!("{sweep}-").to_ascii_lowercase();
        let globs = &self.lists.globs;
        let may: BTreeSet<Key> =
            globs.of(head.clone()).chain(globs.under(head)).map(|(key, _)| key).collect();
        for key in may {
            step();
            let Some(ledger) = self.ledgers.get_mut(&key) else { continue };
            self.lists.match_sweep(key, ledger, sweep, shape, facts);
            ledger.count_bare();
            touched.push(key);
        }
    }
}

fn runs_of(members: &IndexSet) -> Vec<(u64, u64)> {
    members.runs().collect()
}

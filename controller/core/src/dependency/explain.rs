//! What a waiter still waits for, in words and figures: one entry for each demand that is not met.
//!
//! Reads the counts that the graph keeps and asks the facts for a few names; it changes nothing. The names are those of
//! tasks that can still meet the condition, or, where these cannot be enough, of those that have ended in another way and
//! would have to be reactivated.

use super::demand::Demand;
use super::facts::{Facts, Status, Verdict, Waiter};
use super::graph::{Graph, Ledger};
use super::sweep_lists::Reaches;
use crate::explain::DependencyWait;
use muster_model::TaskId;
use muster_model::spec::TaskSet;

/// Most names of missing tasks, and most names of each kind in words: what a person reads.
const NAMES_MAX: usize = 10;

/// Most members of a sweep that are held against patterns in search of a name: a bound on the time of one explanation.
/// Names are examples, and where matches are rarer than this there may be none.
const MEMBERS_LOOKED_AT_MAX: u64 = 10_000;

/// Longest spelling of a number: an id's length.
const DIGITS_MAX: usize = 64;

impl Graph {
    /// What a waiter waits for, in the order of its needs; nothing for one that is not registered.
    pub(crate) fn explain(&self, waiter: &Waiter, facts: &impl Facts) -> Vec<DependencyWait> {
        let Some(entry) = self.waiters.get(waiter) else { return Vec::new() };
        let plain = (!entry.needs.tasks.is_empty()).then_some(&entry.needs.tasks);
        let sets = plain.into_iter().chain(entry.needs.groups.iter().map(|group| &group.tasks));
        let ledgers = entry.demands.iter().filter_map(|key| self.ledgers.get(key));
        let unmet = sets.zip(ledgers).filter(|(_, ledger)| !ledger.standing.met);
        unmet
            .map(|(tasks, ledger)| DependencyWait {
                tasks: words(tasks),
                condition: ledger.demand.condition,
                needed: ledger.demand.needed(&ledger.tally),
                met: ledger.tally.count.met,
                lost: ledger.tally.count.lost,
                missing: self.missing(ledger, facts),
                hopeless: ledger.standing.hopeless,
            })
            .collect()
    }

    fn missing(&self, ledger: &Ledger, facts: &impl Facts) -> Vec<TaskId> {
        let at_fault = ledger.standing.hopeless && ledger.tally.count.lost > 0;
        let wanted = if at_fault { Verdict::Lost } else { Verdict::Waiting };
        let mut search = Search { demand: &ledger.demand, wanted, facts, found: Vec::new() };
        search.among_ids();
        search.among_numbers(self);
        search.among_members();
        search.among_matches();
        search.found
    }
}

/// Looks for tasks of a demand with one verdict.
struct Search<'a, F> {
    demand: &'a Demand,
    wanted: Verdict,
    facts: &'a F,
    found: Vec<TaskId>,
}

impl<F: Facts> Search<'_, F> {
    fn room(&self) -> usize {
        NAMES_MAX.saturating_sub(self.found.len())
    }

    fn wants(&self, status: Status) -> bool {
        status.verdict(self.demand.condition) == self.wanted
    }

    /// A task may have been found in another way already.
    fn take(&mut self, task: TaskId) {
        if self.room() > 0 && !self.found.contains(&task) {
            self.found.push(task);
        }
    }

    fn among_ids(&mut self) {
        for task in &self.demand.ids {
            if self.room() == 0 {
                return;
            }
            if self.wants(Status::of(self.facts.outcome(task))) {
                self.take(task.clone());
            }
        }
    }

    fn among_numbers(&mut self, graph: &Graph) {
        for range in &self.demand.ranges {
            let condition = self.demand.condition;
            for number in graph.numbers.with(self.wanted, condition, *range, self.room()) {
                self.found.extend(self.spelling(number));
            }
        }
    }

    /// The id of a task with this number, or, if there is none, the shortest that it could have.
    fn spelling(&self, number: u32) -> Option<TaskId> {
        let spelled = |width: usize| TaskId::parse(&format!("{number:0width$}")).ok();
        let shortest = number.to_string().len();
        let mut existing = (shortest..=DIGITS_MAX).filter_map(spelled).filter(|task| {
            let status = Status::of(self.facts.outcome(task));
            status != Status::Absent && self.wants(status)
        });
        existing.next().or_else(|| spelled(shortest))
    }

    fn among_members(&mut self) {
        for (sweep, ranges) in &self.demand.sweeps {
            let Some(shape) = self.facts.shape(sweep) else { continue };
            for (first, last) in ranges.iter().filter_map(|(first, last)| shape.indices(*first, *last)) {
                if self.room() == 0 {
                    return;
                }
                self.facts.members(sweep, first, last, &mut |first, last, outcome| {
                    if self.room() > 0 && self.wants(Status::existing(outcome)) {
                        for index in (first..=last).take(self.room()) {
                            self.take(shape.task_id(sweep, index));
                        }
                    }
                });
            }
        }
    }

    fn among_matches(&mut self) {
        for glob in &self.demand.globs {
            for (task, outcome) in self.facts.plain_tasks(glob.prefix()) {
                if self.room() == 0 {
                    return;
                }
                if glob.matches(task.as_str()) && self.wants(Status::existing(outcome)) {
                    self.take(task.clone());
                }
            }
        }
        if self.demand.globs.is_empty() {
            return;
        }
        for (sweep, shape) in self.facts.sweeps() {
            let Some(last) = shape.count.checked_sub(1) else { continue };
            if self.room() == 0 || Reaches::new(self.demand, sweep, shape).is_none() {
                continue;
            }
            let mut looks = MEMBERS_LOOKED_AT_MAX;
            self.facts.members(sweep, 0, last, &mut |first, last, outcome| {
                if !self.wants(Status::existing(outcome)) {
                    return;
                }
                for index in first..=last {
                    if self.room() == 0 || looks == 0 {
                        return;
                    }
                    looks -= 1;
                    let task = shape.task_id(sweep, index);
                    if self.demand.globs.iter().any(|glob| glob.matches(task.as_str())) {
                        self.take(task);
                    }
                }
            });
        }
    }
}

/// A set of tasks in words, in the order of its kinds.
fn words(tasks: &TaskSet) -> String {
    let ids = tasks.ids.iter().map(|task| format!("'{task}'"));
    let ranges = tasks.ranges.iter().map(|range| span(range.start.into(), range.end.into()));
    let globs = tasks.globs.iter().map(|glob| format!("'{glob}'"));
    let sweeps = tasks.sweeps.iter().map(|members| match members.numbers {
        None => format!("sweep '{}'", members.sweep),
        Some((first, last)) => format!("members {} of sweep '{}'", span(first, last), members.sweep),
    });
    let one_number = matches!(tasks.ranges.as_slice(), [range] if range.start == range.end);
    let kinds = [
        row(if tasks.ids.len() == 1 { "task " } else { "tasks " }, ids),
        row(if one_number { "task " } else { "tasks " }, ranges),
        row("tasks matching ", globs),
        row("", sweeps),
    ];
    kinds.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn span(first: u64, last: u64) -> String {
    if first == last { first.to_string() } else { format!("{first}-{last}") }
}

/// `None` for an empty row.
fn row(title: &str, mut items: impl ExactSizeIterator<Item = String>) -> Option<String> {
    let count = items.len();
    let shown: Vec<String> = items.by_ref().take(NAMES_MAX).collect();
    let rest = count - shown.len();
    let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
    (count > 0).then(|| format!("{title}{}{more}", shown.join(", ")))
}

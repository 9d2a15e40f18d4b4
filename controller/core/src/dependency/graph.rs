//! The waiters of a job, the demands that they share, and the lists that lead from a task to the demands that name it.
//!
//! A waiter is put in with what it needs and is counted at once; `change` keeps the counts. The graph never decides what
//! follows from a standing, and it forgets a waiter as soon as the job says so.
//!
//! Invariants: a demand is here exactly while a waiter asks for it. Two graphs with the same waiters and the same facts
//! are equal and print alike, whatever happened before: the names of demands (`Key`) are never shown or compared.

use super::demand::{Demand, Tally};
use super::facts::{Count, Facts, Standing, Status, Verdict, Waiter};
use super::numbers::{Numbers, number_of};
use super::prefixes::Prefixes;
use super::spans::{Key, Spans};
use super::sweep_lists::{Reaches, SweepLists, add, count_ranges};
use super::work::step;
use muster_model::spec::{DependsOn, SweepShape, split_member};
use muster_model::{SweepId, TaskId};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// The waiting side of a job's dependencies.
#[derive(Clone, Default)]
pub(crate) struct Graph {
    pub(super) waiters: BTreeMap<Waiter, Entry>,
    /// The waiting tasks whose ids read as numbers; `None` only in questions, where it is below every id.
    pub(super) numbered: BTreeSet<(u32, Option<TaskId>)>,
    pub(super) ledgers: BTreeMap<Key, Ledger>,
    /// The same demands by what they ask.
    catalogue: BTreeMap<Arc<Demand>, Key>,
    /// Who asks; `None` only in questions, where it is below every waiter.
    crowd: BTreeSet<(Key, Option<Waiter>)>,
    next: Key,
    pub(super) lists: Lists,
    /// All tasks of the job by number, whether or not somebody asks.
    pub(super) numbers: Numbers,
}

/// From a task to the demands that name it.
#[derive(Debug, Clone, Default)]
pub(super) struct Lists {
    /// By id, but for ids that read as a member's. With what it means to the demand.
    pub(super) ids: BTreeMap<(TaskId, Key), Verdict>,
    /// By number.
    pub(super) ranges: Spans,
    /// By pattern.
    pub(super) globs: Prefixes,
    /// By sweep, and by ids that read as a member's.
    pub(super) sweeps: BTreeMap<SweepId, SweepLists>,
}

/// A waiter.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// As the user wrote it, for words.
    pub(super) needs: Arc<DependsOn>,
    /// In the order of `needs`.
    pub(super) demands: Box<[Key]>,
    pub(super) standing: Standing,
}

/// A demand and how far it is met.
#[derive(Debug, Clone)]
pub(super) struct Ledger {
    pub(super) demand: Arc<Demand>,
    pub(super) tally: Tally,
    /// How many tasks each pattern matches.
    pub(super) matches: Box<[u64]>,
    /// As those who ask have been told.
    pub(super) standing: Standing,
}

impl Ledger {
    /// Takes note that the patterns match other numbers of tasks.
    pub(super) fn count_bare(&mut self) {
        self.tally.bare = self.matches.iter().filter(|tasks| **tasks == 0).count() as u64;
    }
}

impl Graph {
    /// Registers a waiter and counts what is met already; one that is registered is registered anew. `needs` is shared
    /// with whoever keeps it.
    pub(crate) fn add(&mut self, waiter: Waiter, needs: Arc<DependsOn>, facts: &impl Facts) {
        self.remove(&waiter);
        let demands: Box<[Key]> =
            Demand::all(&needs).into_iter().map(|demand| self.intern(demand, facts)).collect();
        for key in &demands {
            self.crowd.insert((*key, Some(waiter.clone())));
        }
        if let Waiter::Task(task) = &waiter
            && let Some(number) = number_of(task)
        {
            self.numbered.insert((number, Some(task.clone())));
        }
        let standing = self.together(&demands);
        self.waiters.insert(waiter, Entry { needs, demands, standing });
    }

    /// A graph of the same tasks in which nobody waits: to try a waiter out.
    pub(crate) fn vacant(&self) -> Self {
        Self { numbers: self.numbers.clone(), ..Self::default() }
    }

    /// Forgets a waiter; nothing if it is not registered.
    pub(crate) fn remove(&mut self, waiter: &Waiter) {
        let Some(entry) = self.waiters.remove(waiter) else { return };
        if let Waiter::Task(task) = waiter
            && let Some(number) = number_of(task)
        {
            self.numbered.remove(&(number, Some(task.clone())));
        }
        for key in entry.demands {
            self.crowd.remove(&(key, Some(waiter.clone())));
            if self.who_asks(key).next().is_none() {
                self.drop_demand(key);
            }
        }
    }

    /// Where a waiter stands. One that is not registered waits for nothing.
    pub(crate) fn standing(&self, waiter: &Waiter) -> Standing {
        self.waiters.get(waiter).map_or(Standing::FREE, |entry| entry.standing)
    }

    /// The waiters that share a demand, in order.
    pub(super) fn who_asks(&self, key: Key) -> impl Iterator<Item = &Waiter> {
        self.crowd.range((key, None)..(key.saturating_add(1), None)).filter_map(|(_, waiter)| waiter.as_ref())
    }

    /// Where one stands who asks for all of these.
    fn together(&self, demands: &[Key]) -> Standing {
        let each = demands.iter().filter_map(|key| self.ledgers.get(key)).map(|ledger| ledger.standing);
        each.fold(Standing::FREE, |all, one| {
            step();
            Standing { met: all.met && one.met, hopeless: all.hopeless || one.hopeless }
        })
    }

    /// Tells those who ask for the demands in `touched`, and names those whose own standing changed, in order.
    pub(super) fn settle(&mut self, mut touched: Vec<Key>) -> Vec<Waiter> {
        touched.sort_unstable();
        touched.dedup();
        let mut asking = BTreeSet::new();
        for key in touched {
            step();
            let Some(ledger) = self.ledgers.get_mut(&key) else { continue };
            let standing = ledger.demand.standing(&ledger.tally);
            if standing != ledger.standing {
                ledger.standing = standing;
                asking.extend(self.who_asks(key).cloned());
            }
        }
        asking.retain(|waiter| {
            let Some(entry) = self.waiters.get(waiter) else { return false };
            let standing = self.together(&entry.demands);
            if standing == entry.standing {
                return false;
            }
            if let Some(entry) = self.waiters.get_mut(waiter) {
                entry.standing = standing;
            }
            true
        });
        asking.into_iter().collect()
    }

    /// The name of a demand, which is put on every list that may lead to it and counted when nobody asked for it before.
    fn intern(&mut self, demand: Arc<Demand>, facts: &impl Facts) -> Key {
        if let Some(key) = self.catalogue.get(&demand) {
            return *key;
        }
        let key = self.next;
        self.next += 1;
        self.catalogue.insert(Arc::clone(&demand), key);
        let mut ledger = Ledger {
            matches: vec![0; demand.globs.len()].into(),
            tally: Tally::default(),
            standing: Standing::FREE,
            demand,
        };
        self.list_ids(key, &mut ledger, facts);
        for (first, last) in &ledger.demand.ranges {
            self.lists.ranges.insert((*first).into(), (*last).into(), key);
            ledger.tally.count.add(self.numbers.count(*first, *last, ledger.demand.condition));
        }
        self.list_sweeps(key, &mut ledger, facts);
        self.list_globs(key, &mut ledger, facts);
        ledger.count_bare();
        ledger.standing = ledger.demand.standing(&ledger.tally);
        self.ledgers.insert(key, ledger);
        key
    }

    fn list_ids(&mut self, key: Key, ledger: &mut Ledger, facts: &impl Facts) {
        for (place, task) in ledger.demand.ids.iter().enumerate() {
            step();
            let verdict = Status::of(facts.outcome(task)).verdict(ledger.demand.condition);
            match split_member(task) {
                Some((sweep, number)) => {
                    let lists = self.lists.sweeps.entry(sweep).or_default();
                    lists.names.insert((number, key, place), verdict);
                }
                None => {
                    self.lists.ids.insert((task.clone(), key), verdict);
                }
            }
            ledger.tally.count.add(Count::of(verdict, 1));
        }
    }

    fn list_sweeps(&mut self, key: Key, ledger: &mut Ledger, facts: &impl Facts) {
        for (sweep, ranges) in &ledger.demand.sweeps {
            let lists = self.lists.sweeps.entry(sweep.clone()).or_default();
            for (first, last) in ranges {
                lists.spans.insert(*first, *last, key);
            }
            let count = count_ranges(&ledger.demand, sweep, ranges, facts);
            ledger.tally.count.add(count.unwrap_or_default());
            ledger.tally.absent += u64::from(count.is_none());
            lists.counts.insert(key, count);
        }
    }

    fn list_globs(&mut self, key: Key, ledger: &mut Ledger, facts: &impl Facts) {
        let demand = Arc::clone(&ledger.demand);
        for (place, glob) in demand.globs.iter().enumerate() {
            self.lists.globs.insert(glob.prefix(), (key, place));
            for (task, outcome) in facts.plain_tasks(glob.prefix()) {
                step();
                if glob.matches(task.as_str()) {
                    ledger.matches[place] += 1;
                    let counted = demand.globs[..place].iter().any(|glob| glob.matches(task.as_str()));
                    let tasks = u64::from(!counted);
                    ledger.tally.count.add(Count::of_existing(
                        Status::existing(outcome),
                        demand.condition,
                        tasks,
                    ));
                }
            }
        }
        if !demand.globs.is_empty() {
            for (sweep, shape) in facts.sweeps() {
                step();
                self.lists.match_sweep(key, ledger, sweep, shape, facts);
            }
        }
    }

    /// How long the lists are that only this file sees.
    #[cfg(any(test, feature = "check"))]
    pub(super) fn kept(&self) -> Vec<(&'static str, usize)> {
        vec![
            ("waiters", self.waiters.len()),
            ("numbered waiters", self.numbered.len()),
            ("demands", self.ledgers.len()),
            ("catalogue", self.catalogue.len()),
            ("crowd", self.crowd.len()),
        ]
    }

    fn drop_demand(&mut self, key: Key) {
        let Some(Ledger { demand, .. }) = self.ledgers.remove(&key) else { return };
        self.catalogue.remove(&demand);
        let lists = &mut self.lists;
        for (place, task) in demand.ids.iter().enumerate() {
            match split_member(task) {
                Some((sweep, number)) => lists.edit(&sweep, |lists| {
                    lists.names.remove(&(number, key, place));
                }),
                None => {
                    lists.ids.remove(&(task.clone(), key));
                }
            }
        }
        for (first, last) in &demand.ranges {
            lists.ranges.remove((*first).into(), (*last).into(), key);
        }
        for (sweep, ranges) in &demand.sweeps {
            lists.edit(sweep, |lists| {
                for (first, last) in ranges {
                    lists.spans.remove(*first, *last, key);
                }
                lists.counts.remove(&key);
            });
        }
        for (place, glob) in demand.globs.iter().enumerate() {
            lists.globs.remove(glob.prefix(), (key, place));
        }
        if !demand.globs.is_empty() {
            lists.sweeps.retain(|_, lists| {
                lists.matched.remove(&key);
                !lists.is_empty()
            });
        }
    }
}

impl Lists {
    /// Counts what the patterns of a demand match of a sweep, and puts the demand on the sweep's list, unless the sweep's
    /// name rules them out.
    pub(super) fn match_sweep(
        &mut self,
        key: Key,
        ledger: &mut Ledger,
        sweep: &SweepId,
        shape: SweepShape,
        facts: &impl Facts,
    ) {
        let demand = Arc::clone(&ledger.demand);
        if let Some(mut reaches) = Reaches::new(&demand, sweep, shape) {
            let matched = reaches.recount(&demand, sweep, facts);
            ledger.tally.count.add(matched.count);
            add(&mut ledger.matches, &matched.each);
            self.sweeps.entry(sweep.clone()).or_default().matched.insert(key, matched);
        }
    }

    /// Changes a sweep's lists and drops them when nobody is on them any more.
    pub(super) fn edit(&mut self, sweep: &SweepId, change: impl FnOnce(&mut SweepLists)) {
        if let Some(lists) = self.sweeps.get_mut(sweep) {
            change(lists);
            if lists.is_empty() {
                self.sweeps.remove(sweep);
            }
        }
    }
}

/// What can be seen of a demand: what it asks, how far it is met, and how many tasks each pattern matches.
type View<'a> = (&'a Demand, &'a Tally, &'a [u64]);

impl Graph {
    /// All that can be seen of the waiters, in order.
    fn view(&self) -> impl Iterator<Item = (&Waiter, Standing, Vec<View<'_>>)> {
        self.waiters.iter().map(|(waiter, entry)| {
            let ledgers = entry.demands.iter().filter_map(|key| self.ledgers.get(key));
            let demands = ledgers.map(|ledger| (&*ledger.demand, &ledger.tally, &*ledger.matches)).collect();
            (waiter, entry.standing, demands)
        })
    }
}

impl PartialEq for Graph {
    fn eq(&self, other: &Self) -> bool {
        self.numbers == other.numbers && self.view().eq(other.view())
    }
}

impl Eq for Graph {}

/// Leaves out what the demands ask: the tasks say so, and the spelling of ids in a shared demand is its first asker's.
impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiters: BTreeMap<_, _> = self
            .view()
            .map(|(waiter, standing, demands)| {
                let tallies: Vec<_> =
                    demands.into_iter().map(|(_, tally, matches)| (tally, matches)).collect();
                (waiter, (standing, tallies))
            })
            .collect();
        f.debug_struct("Graph")
            .field("numbers", &self.numbers)
            .field("waiters", &waiters)
            .finish_non_exhaustive()
    }
}

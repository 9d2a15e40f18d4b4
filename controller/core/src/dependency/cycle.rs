//! Whether a new waiter would wait for itself, and by which way.
//!
//! Two searches take turns, an edge at a time: back from the new waiter over those who wait for it, and forward over those
//! whom it would wait for. Each alone would find any circle, so the first to come to its end ends both: a chain that grows
//! at either end costs one step for each link. Lists are read as far as the search gets, never gathered first, and no
//! demand is read twice.
//!
//! An edge leads from a waiter to each waiter that it names, ended or not; tasks that wait for nothing end every way.

use super::demand::{Demand, is_member};
use super::facts::{Facts, Member, Waiter};
use super::graph::Graph;
use super::numbers::number_of;
use super::spans::Key;
use super::work::step;
use muster_model::spec::{DependsOn, TaskGlob, split_member};
use muster_model::{SweepId, TaskId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

/// What a list offers in one step; nothing when the step led nowhere.
type Steps<'a, T> = Box<dyn Iterator<Item = Option<T>> + 'a>;

/// Which of the two searches take part: one at least. Either alone finds the same, but may have to go further.
#[derive(Debug, Clone, Copy)]
pub(super) struct Halves {
    pub(super) backward: bool,
    pub(super) forward: bool,
}

/// How a step of a search ended.
enum Found {
    /// The way round.
    Way(Vec<Waiter>),
    /// There is none.
    Nothing,
    /// Not known yet.
    More,
}

impl Graph {
    /// The way round that `waiter` would close if it had these needs: it comes first and last, and each waits for the next.
    /// A sweep that `facts` do not know yet is taken to have members of any number.
    pub(crate) fn cycle(
        &self,
        waiter: &Waiter,
        needs: &DependsOn,
        facts: &impl Facts,
    ) -> Option<Vec<Waiter>> {
        self.search(waiter, needs, facts, Halves { backward: true, forward: true })
    }

    pub(super) fn search(
        &self,
        waiter: &Waiter,
        needs: &DependsOn,
        facts: &impl Facts,
        halves: Halves,
    ) -> Option<Vec<Waiter>> {
        let demands = Demand::all(needs);
        if demands.iter().any(|demand| demand.selects(waiter, facts)) {
            return Some(vec![waiter.clone(), waiter.clone()]);
        }
        let mut backward = Backward {
            graph: self,
            facts,
            start: waiter,
            needs: &demands,
            trail: Trail::default(),
            seen: BTreeSet::new(),
            keys: self.naming(waiter, facts),
            crowd: Box::new(std::iter::empty()),
        };
        let mut forward = Forward {
            graph: self,
            facts,
            start: waiter,
            trail: Trail::default(),
            seen: BTreeSet::new(),
            edges: Box::new(demands.iter().flat_map(|demand| self.named_by(demand, facts))),
        };
        loop {
            step();
            let back = if halves.backward { backward.step() } else { Found::More };
            let ahead = if halves.forward { forward.step() } else { Found::More };
            match (back, ahead) {
                (Found::Way(way), _) | (_, Found::Way(way)) => return Some(way),
                (Found::Nothing, _) | (_, Found::Nothing) => return None,
                (Found::More, Found::More) => {}
            }
        }
    }

    /// The waiters that a demand names.
    fn named_by<'a>(&'a self, demand: &'a Demand, facts: &'a impl Facts) -> Steps<'a, Waiter> {
        let registered = |waiter: Waiter| self.waiters.contains_key(&waiter).then_some(waiter);
        let tasks = demand.ids.iter().map(move |task| registered(Waiter::Task(task.clone())));
        let members = demand.ids.iter().flat_map(move |task| {
            let named = split_member(task).map(|(sweep, _)| (facts.shape(&sweep), sweep));
            let named = named.filter(|(shape, sweep)| is_member(task, sweep, *shape));
            let alone = named.as_ref().and_then(|(shape, sweep)| {
                let shape = (*shape)?;
                registered(Waiter::Task(shape.task_id(sweep, shape.find(sweep, task)?)))
            });
            [alone, named.and_then(|(_, sweep)| registered(Waiter::Sweep(sweep)))]
        });
        let numbered = demand.ranges.iter().flat_map(|(first, last)| {
            let from = self.numbered.range((*first, None)..);
            let within = from.take_while(|(number, _)| number <= last);
            within.map(|(_, task)| task.clone().map(Waiter::Task))
        });
        let matching = demand.globs.iter().flat_map(|glob| self.tasks_matching(glob));
        let sweeps = (!demand.globs.is_empty()).then(|| self.waiting_sweeps()).into_iter().flatten();
        let matching_sweeps = sweeps.map(|sweep| {
            demand.matches_members(sweep, facts.shape(sweep)).then(|| Waiter::Sweep(sweep.clone()))
        });
        let named_sweeps = demand.sweeps.iter().map(move |(sweep, _)| {
            let named = demand.names_members(sweep, facts.shape(sweep));
            if named { registered(Waiter::Sweep(sweep.clone())) } else { None }
        });
        let named_members = demand.sweeps.iter().flat_map(move |(sweep, ranges)| {
            ranges.iter().flat_map(move |range| self.members_waiting(sweep, *range, facts))
        });
        let by_name = tasks.chain(members).chain(numbered).chain(named_sweeps).chain(named_members);
        Box::new(by_name.chain(matching).chain(matching_sweeps))
    }

    /// The members of a sweep with numbers in a range that wait as tasks.
    fn members_waiting<'a>(
        &'a self,
        sweep: &'a SweepId,
        (first, last): (u64, u64),
        facts: &'a impl Facts,
    ) -> impl Iterator<Item = Option<Waiter>> + 'a {
        let ends = facts.shape(sweep).and_then(|shape| {
            let (first, last) = shape.indices(first, last)?;
            Some((Waiter::Task(shape.task_id(sweep, first)), Waiter::Task(shape.task_id(sweep, last))))
        });
        // Members' ids sort as their numbers do; other ids may lie between them.
        let between = ends.into_iter().flat_map(|(first, last)| self.waiters.range(first..=last));
        between.map(move |(waiter, _)| match waiter {
            Waiter::Task(task) => Member::of(task, facts).map(|_| waiter.clone()),
            Waiter::Sweep(_) => None,
        })
    }

    fn tasks_matching<'a>(&'a self, glob: &'a TaskGlob) -> impl Iterator<Item = Option<Waiter>> + 'a {
        let prefix = glob.prefix();
        // A prefix is made of the characters of ids; only an empty one is none.
        let from = TaskId::parse(prefix).map_or(Bound::Unbounded, |task| Bound::Included(Waiter::Task(task)));
        let begin = self.waiters.range((from, Bound::Unbounded)).map_while(move |(waiter, _)| match waiter {
            Waiter::Task(task) => {
                let head = task.as_str().get(..prefix.len())?;
                head.eq_ignore_ascii_case(prefix).then_some(task)
            }
            Waiter::Sweep(_) => None,
        });
        begin.map(|task| glob.matches(task.as_str()).then(|| Waiter::Task(task.clone())))
    }

    fn waiting_sweeps(&self) -> impl Iterator<Item = &SweepId> {
        // Sweeps come after all tasks.
        self.waiters.keys().rev().map_while(|waiter| match waiter {
            Waiter::Sweep(sweep) => Some(sweep),
            Waiter::Task(_) => None,
        })
    }

    /// The demands that name a waiter.
    fn naming<'a>(&'a self, waiter: &Waiter, facts: &'a impl Facts) -> Steps<'a, Key> {
        match waiter {
            Waiter::Task(task) => self.naming_task(task.clone(), facts),
            Waiter::Sweep(sweep) => self.naming_sweep(sweep.clone(), facts),
        }
    }

    fn naming_task<'a>(&'a self, task: TaskId, facts: &impl Facts) -> Steps<'a, Key> {
        let ids = self.lists.ids.range((task.clone(), Key::MIN)..=(task.clone(), Key::MAX));
        let ids = ids.map(|((_, key), _)| Some(*key));
        let read = split_member(&task);
        let read = read.and_then(|(sweep, number)| Some((self.lists.sweeps.get(&sweep)?, number)));
        let spelled = read.into_iter().flat_map(|(lists, number)| {
            lists.names.range((number, Key::MIN, usize::MIN)..=(number, Key::MAX, usize::MAX))
        });
        let member = Member::of(&task, facts);
        let is_member = member.is_some();
        let named = task.clone();
        let spelled = spelled.map(move |((_, key, place), _)| {
            let ledger = self.ledgers.get(key)?;
            (is_member || ledger.demand.ids.get(*place) == Some(&named)).then_some(*key)
        });
        let lists = member.and_then(|member| Some((self.lists.sweeps.get(&member.sweep)?, member.number())));
        let sweeps = lists.into_iter().flat_map(|(lists, number)| lists.spans.at(number));
        let number = number_of(&task).map(u64::from);
        let ranges = number.into_iter().flat_map(|number| self.lists.ranges.at(number));
        let ranges = sweeps.chain(ranges).map(|(key, _)| Some(key));
        let globs = self.lists.globs.of(task.as_str().to_ascii_lowercase()).map(move |(key, place)| {
            let glob = self.ledgers.get(&key)?.demand.globs.get(place)?;
            glob.matches(task.as_str()).then_some(key)
        });
        Box::new(ids.chain(spelled).chain(ranges).chain(globs))
    }

    fn naming_sweep<'a>(&'a self, sweep: SweepId, facts: &'a impl Facts) -> Steps<'a, Key> {
        let shape = facts.shape(&sweep);
        let lists = self.lists.sweeps.get(&sweep);
        let demand = |key: &Key| self.ledgers.get(key).map(|ledger| &*ledger.demand);
        let head = format!("{sweep}-").to_ascii_lowercase();
        let sweep = Arc::new(sweep);
        let name = Arc::clone(&sweep);
        let ranges = lists.into_iter().flat_map(|lists| lists.counts.keys());
        let ranges = ranges.map(move |key| demand(key)?.names_members(&name, shape).then_some(*key));
        let name = Arc::clone(&sweep);
        let ids = lists.into_iter().flat_map(|lists| lists.names.keys());
        let ids = ids.map(move |(_, key, place)| {
            let task = demand(key)?.ids.get(*place)?;
            is_member(task, &name, shape).then_some(*key)
        });
        let globs = self.lists.globs.of(head.clone()).chain(self.lists.globs.under(head));
        let globs = globs.map(move |(key, _)| demand(&key)?.matches_members(&sweep, shape).then_some(key));
        Box::new(ranges.chain(ids).chain(globs))
    }
}

/// Where a search has been, and what it has still to look at.
#[derive(Default)]
struct Trail {
    /// From where each was reached; `None`: from the start.
    came_from: BTreeMap<Waiter, Option<Waiter>>,
    open: VecDeque<Waiter>,
    at: Option<Waiter>,
}

impl Trail {
    /// False if it has been here before.
    fn visit(&mut self, next: &Waiter) -> bool {
        if self.came_from.contains_key(next) {
            return false;
        }
        self.came_from.insert(next.clone(), self.at.clone());
        self.open.push_back(next.clone());
        true
    }

    fn go_on(&mut self) -> Option<Waiter> {
        let next = self.open.pop_front()?;
        self.at = Some(next.clone());
        Some(next)
    }

    /// From `last` back to the neighbour of the start.
    fn way_back(&self, last: Waiter) -> Vec<Waiter> {
        let mut way = Vec::new();
        let mut at = Some(last);
        while let Some(waiter) = at {
            at = self.came_from.get(&waiter).cloned().flatten();
            way.push(waiter);
        }
        way
    }
}

/// Over those whom the new waiter would wait for.
struct Forward<'a, F> {
    graph: &'a Graph,
    facts: &'a F,
    start: &'a Waiter,
    trail: Trail,
    seen: BTreeSet<Key>,
    edges: Steps<'a, Waiter>,
}

impl<F: Facts> Forward<'_, F> {
    fn step(&mut self) -> Found {
        match self.edges.next() {
            Some(Some(waiter)) => {
                self.trail.visit(&waiter);
                Found::More
            }
            Some(None) => Found::More,
            None => self.open(),
        }
    }

    fn open(&mut self) -> Found {
        let Some(waiter) = self.trail.go_on() else { return Found::Nothing };
        let (graph, facts) = (self.graph, self.facts);
        let keys = graph.waiters.get(&waiter).map_or(&[][..], |entry| &entry.demands);
        let new = keys.iter().filter(|key| self.seen.insert(**key));
        let demands: Vec<&Demand> =
            new.filter_map(|key| graph.ledgers.get(key)).map(|ledger| &*ledger.demand).collect();
        if demands.iter().any(|demand| demand.selects(self.start, facts)) {
            let mut way = self.trail.way_back(waiter);
            way.push(self.start.clone());
            way.reverse();
            way.push(self.start.clone());
            return Found::Way(way);
        }
        self.edges = Box::new(demands.into_iter().flat_map(|demand| graph.named_by(demand, facts)));
        Found::More
    }
}

/// Over those who wait for the new waiter.
struct Backward<'a, F> {
    graph: &'a Graph,
    facts: &'a F,
    start: &'a Waiter,
    needs: &'a [Arc<Demand>],
    trail: Trail,
    seen: BTreeSet<Key>,
    keys: Steps<'a, Key>,
    /// Who asks for the last of the keys.
    crowd: Box<dyn Iterator<Item = &'a Waiter> + 'a>,
}

impl<F: Facts> Backward<'_, F> {
    fn step(&mut self) -> Found {
        if let Some(waiter) = self.crowd.next() {
            return self.visit(waiter);
        }
        match self.keys.next() {
            Some(Some(key)) => {
                if self.seen.insert(key) {
                    self.crowd = Box::new(self.graph.who_asks(key));
                }
                Found::More
            }
            Some(None) => Found::More,
            None => match self.trail.go_on() {
                Some(waiter) => {
                    self.keys = self.graph.naming(&waiter, self.facts);
                    Found::More
                }
                None => Found::Nothing,
            },
        }
    }

    fn visit(&mut self, waiter: &Waiter) -> Found {
        if self.trail.visit(waiter) && self.needs.iter().any(|demand| demand.selects(waiter, self.facts)) {
            let mut way = vec![self.start.clone()];
            way.extend(self.trail.way_back(waiter.clone()));
            way.push(self.start.clone());
            return Found::Way(way);
        }
        Found::More
    }
}

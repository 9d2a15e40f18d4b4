//! A job for the tests of the graph: plain tasks and sweeps in maps, and what an obviously right count makes of them.
//!
//! Every change goes to the maps first and then to the graph, as the job does it. `naive_standing` and `names` know
//! nothing of demands, lists or runs: they look at each id, number and member in turn.

use super::facts::{Facts, Outcome, Standing, Waiter};
use super::graph::Graph;
use muster_model::spec::{DependsOn, Quota, SweepShape, TaskGlob, TaskSet};
use muster_model::state::DependencyCondition;
use muster_model::{IndexSet, SweepId, TaskId};
use std::collections::{BTreeMap, BTreeSet};

pub(super) const WELL: Outcome = Outcome { failed: false, satisfies: true };
pub(super) const BADLY: Outcome = Outcome { failed: true, satisfies: false };

pub(super) fn task(text: &str) -> TaskId {
    TaskId::parse(text).unwrap()
}

pub(super) fn sweep(text: &str) -> SweepId {
    SweepId::parse(text).unwrap()
}

pub(super) fn glob(text: &str) -> TaskGlob {
    TaskGlob::parse(text).unwrap()
}

/// A sweep and those of its members that exist.
#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) plain: BTreeMap<TaskId, Option<Outcome>>,
    pub(super) sweeps: BTreeMap<SweepId, (SweepShape, BTreeMap<u64, Option<Outcome>>)>,
}

impl Facts for World {
    fn outcome(&self, task: &TaskId) -> Option<Option<Outcome>> {
        if let Some(outcome) = self.plain.get(task) {
            return Some(*outcome);
        }
        let (sweep, _) = muster_model::spec::split_member(task)?;
        let (shape, members) = self.sweeps.get(&sweep)?;
        members.get(&shape.find(&sweep, task)?).copied()
    }

    fn plain_tasks<'a>(
        &'a self,
        prefix: &'a str,
    ) -> Box<dyn Iterator<Item = (&'a TaskId, Option<Outcome>)> + 'a> {
        let begins = move |id: &TaskId| id.as_str().to_ascii_lowercase().starts_with(prefix);
        Box::new(self.plain.iter().filter(move |(id, _)| begins(id)).map(|(id, outcome)| (id, *outcome)))
    }

    fn sweeps<'a>(&'a self) -> Box<dyn Iterator<Item = (&'a SweepId, SweepShape)> + 'a> {
        Box::new(self.sweeps.iter().map(|(id, (shape, _))| (id, *shape)))
    }

    fn shape(&self, sweep: &SweepId) -> Option<SweepShape> {
        self.sweeps.get(sweep).map(|(shape, _)| *shape)
    }

    fn members(
        &self,
        sweep: &SweepId,
        first: u64,
        last: u64,
        each: &mut dyn FnMut(u64, u64, Option<Outcome>),
    ) {
        let Some((_, members)) = self.sweeps.get(sweep) else { return };
        let mut run: Option<(u64, u64, Option<Outcome>)> = None;
        for (index, outcome) in members.range(first..=last) {
            run = match run {
                Some((start, end, same)) if end + 1 == *index && same == *outcome => {
                    Some((start, *index, same))
                }
                Some((start, end, other)) => {
                    each(start, end, other);
                    Some((*index, *index, *outcome))
                }
                None => Some((*index, *index, *outcome)),
            };
        }
        if let Some((start, end, outcome)) = run {
            each(start, end, outcome);
        }
    }
}

impl World {
    pub(super) fn add_task(&mut self, graph: &mut Graph, id: &TaskId) -> Vec<Waiter> {
        self.plain.insert(id.clone(), None);
        graph.task_added(id, self)
    }

    pub(super) fn end_task(&mut self, graph: &mut Graph, id: &TaskId, outcome: Outcome) -> Vec<Waiter> {
        self.plain.insert(id.clone(), Some(outcome));
        graph.task_ended(id, outcome, self)
    }

    pub(super) fn add_sweep(&mut self, graph: &mut Graph, id: &SweepId, shape: SweepShape) -> Vec<Waiter> {
        self.sweeps.insert(id.clone(), (shape, (0..shape.count).map(|index| (index, None)).collect()));
        graph.sweep_added(id, self)
    }

    /// The members with indices in `first..=last` that are `wanted`.
    pub(super) fn such(&self, id: &SweepId, (first, last): (u64, u64), wanted: Option<Outcome>) -> IndexSet {
        let mut such = IndexSet::default();
        if let Some((_, members)) = self.sweeps.get(id) {
            for (index, _) in members.range(first..=last).filter(|(_, outcome)| **outcome == wanted) {
                such.insert(*index, *index);
            }
        }
        such
    }

    /// Puts members where they shall be; `None` deletes them.
    pub(super) fn set_members(&mut self, id: &SweepId, set: &IndexSet, to: Option<Option<Outcome>>) {
        if let Some((_, members)) = self.sweeps.get_mut(id) {
            for index in set.iter() {
                match to {
                    Some(outcome) => members.insert(index, outcome),
                    None => members.remove(&index),
                };
            }
        }
    }
}

/// Where a waiter with these needs stands, by looking at every task.
pub(super) fn naive_standing(world: &World, needs: &DependsOn) -> Standing {
    let mut all = Standing { met: true, hopeless: false };
    let plain =
        (!needs.tasks.is_empty()).then_some((&needs.tasks, DependencyCondition::Satisfied, Quota::All));
    let groups = needs.groups.iter().map(|group| (&group.tasks, group.condition, group.quota));
    for (tasks, condition, quota) in plain.into_iter().chain(groups) {
        let one = naive_demand(world, tasks, condition, quota);
        all = Standing { met: all.met && one.met, hopeless: all.hopeless || one.hopeless };
    }
    all
}

fn naive_demand(world: &World, tasks: &TaskSet, condition: DependencyCondition, quota: Quota) -> Standing {
    let meets = |outcome: Outcome| match condition {
        DependencyCondition::Satisfied => outcome.satisfies,
        DependencyCondition::Failed => outcome.failed,
        DependencyCondition::Completed => true,
    };
    // For each task that counts: `None` while it may still meet the condition, else whether it did.
    let verdict = |outcome: Option<Outcome>| outcome.map(meets);
    let mut verdicts: Vec<Option<bool>> = Vec::new();
    for id in tasks.ids.iter().collect::<BTreeSet<_>>() {
        verdicts.push(world.outcome(id).flatten().map(meets));
    }
    for number in tasks.ranges.iter().flat_map(|range| range.start..=range.end).collect::<BTreeSet<_>>() {
        let reads = |id: &TaskId| id.as_str().parse() == Ok(number);
        let twins: Vec<_> =
            world.plain.iter().filter(|(id, _)| reads(id)).map(|(_, o)| verdict(*o)).collect();
        let met = twins.contains(&Some(true));
        let over = !twins.is_empty() && !twins.contains(&None);
        verdicts.push(if met || over { Some(met) } else { None });
    }
    let mut members = BTreeMap::new();
    let mut complete = true;
    for wanted in &tasks.sweeps {
        let Some((shape, existing)) = world.sweeps.get(&wanted.sweep) else {
            complete = false;
            continue;
        };
        let (first, last) = wanted.numbers.unwrap_or((0, u64::MAX));
        for (index, outcome) in existing {
            if (first..=last).contains(&shape.number(*index)) {
                members.insert((&wanted.sweep, *index), verdict(*outcome));
            }
        }
    }
    verdicts.extend(members.into_values());
    let everyone: Vec<_> = everyone(world);
    for glob in &tasks.globs {
        complete &= everyone.iter().any(|(id, _)| glob.matches(id.as_str()));
    }
    let matching = |id: &TaskId| tasks.globs.iter().any(|glob| glob.matches(id.as_str()));
    verdicts.extend(everyone.iter().filter(|(id, _)| matching(id)).map(|(_, outcome)| verdict(*outcome)));
    let count = |wanted| verdicts.iter().filter(|verdict| **verdict == wanted).count() as u64;
    let (total, met, lost) = (verdicts.len() as u64, count(Some(true)), count(Some(false)));
    let closed =
        tasks.globs.is_empty() && tasks.sweeps.iter().all(|wanted| world.sweeps.contains_key(&wanted.sweep));
    match quota {
        Quota::All => Standing { met: complete && met == total, hopeless: lost > 0 },
        Quota::AtLeast(needed) => Standing { met: met >= needed, hopeless: closed && needed > total - lost },
        Quota::Percent(share) => {
            let needed = (total * u64::from(share)).div_ceil(100);
            Standing { met: complete && met >= needed, hopeless: closed && needed > total - lost }
        }
    }
}

fn everyone(world: &World) -> Vec<(TaskId, Option<Outcome>)> {
    let plain = world.plain.iter().map(|(id, outcome)| (id.clone(), *outcome));
    let members = world.sweeps.iter().flat_map(|(id, (shape, members))| {
        members.iter().map(move |(index, outcome)| (shape.task_id(id, *index), *outcome))
    });
    plain.chain(members).collect()
}

/// The sweep of which the task is a member by its very id.
fn member_of<'a>(world: &'a World, id: &TaskId) -> Option<(&'a SweepId, SweepShape, u64)> {
    let mut all = world
        .sweeps
        .iter()
        .flat_map(|(sweep, (shape, _))| (0..shape.count).map(move |index| (sweep, *shape, index)));
    all.find(|(sweep, shape, index)| shape.task_id(sweep, *index) == *id)
}

/// Whether needs name a waiter: one edge of the graph.
pub(super) fn names(world: &World, needs: &DependsOn, waiter: &Waiter) -> bool {
    let sets = || std::iter::once(&needs.tasks).chain(needs.groups.iter().map(|group| &group.tasks));
    match waiter {
        Waiter::Task(id) => sets().any(|set| {
            set.ids.contains(id)
                || member_of(world, id).is_some_and(|(sweep, shape, index)| {
                    let number = shape.number(index);
                    set.ids.iter().any(|other| shape.find(sweep, other) == Some(index))
                        || set.sweeps.iter().filter(|members| members.sweep == *sweep).any(|members| {
                            members.numbers.is_none_or(|(first, last)| (first..=last).contains(&number))
                        })
                })
                || set.globs.iter().any(|glob| glob.matches(id.as_str()))
                || set.ranges.iter().any(|range| {
                    id.as_str().parse().is_ok_and(|number| (range.start..=range.end).contains(&number))
                })
        }),
        Waiter::Sweep(id) => {
            // Of a sweep that nobody knows yet, any number of up to three digits stands for all.
            let unknown = (1..=3).map(|width| SweepShape { first: 0, step: 1, count: 10_u64.pow(width) });
            let shapes: Vec<_> = world.shape(id).map_or_else(|| unknown.collect(), |shape| vec![shape]);
            let known = world.shape(id).is_some();
            sets().any(|set| {
                let of_it = |other: &&muster_model::spec::SweepMembers| other.sweep == *id;
                set.sweeps.iter().filter(of_it).any(|members| {
                    let (first, last) = members.numbers.unwrap_or((0, u64::MAX));
                    !known || shapes[0].indices(first, last).is_some()
                }) || shapes.iter().any(|shape| {
                    (0..shape.count).any(|index| {
                        let name = shape.task_id(id, index);
                        let spelled = |other: &TaskId| shape.find(id, other) == Some(index);
                        set.globs.iter().any(|glob| glob.matches(name.as_str()))
                            || set.ids.iter().any(spelled)
                    })
                })
            })
        }
    }
}

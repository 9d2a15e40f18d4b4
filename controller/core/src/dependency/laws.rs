//! What must hold for the graph after any history, against the naive counts of `world`.
//!
//! Few ids, numbers, sweeps and patterns, so that they meet often: twins, two spellings of a member, a plain task that
//! reads like a member, a sweep whose name begins with another's. After each step every standing, every answer and the
//! whole graph (by `check`) are compared.

use super::cycle::Halves;
use super::facts::{Outcome, Standing, Waiter};
use super::graph::Graph;
use super::world::{BADLY, WELL, World, glob, naive_standing, names, sweep, task};
use muster_model::spec::{DependencyGroup, DependsOn, IdRange, Quota, SweepMembers, SweepShape, TaskSet};
use muster_model::state::DependencyCondition;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const TASKS: [&str; 8] = ["a", "Ab", "4", "04", "6", "s-x", "s-5", "b-1"];
const IDS: [&str; 10] = ["A", "ab", "04", "s-5", "s-05", "S-12", "s-0-1", "t-10", "t-3", "s-X"];
const SWEEPS: [(&str, SweepShape); 3] = [
    ("s", SweepShape { first: 1, step: 1, count: 12 }),
    ("s-0", SweepShape { first: 0, step: 1, count: 3 }),
    ("T", SweepShape { first: 0, step: 5, count: 4 }),
];
const GLOBS: [&str; 9] = ["*", "a*", "s-*", "s-0*", "s-?5", "*-1", "t-1*", "s-0-?", "q*"];
const WAITERS: [&str; 7] = ["w", "a", "5", "s-0-7", "s-05", "s-12", "t-10"];
const OUTCOMES: [Outcome; 4] =
    [WELL, BADLY, Outcome { failed: true, satisfies: true }, Outcome { failed: false, satisfies: false }];

#[derive(Debug, Clone)]
enum Op {
    /// Adds, ends, reopens or deletes the task, whichever its state allows, by the number.
    Task(usize, usize),
    AddSweep(usize),
    SweepGone(usize),
    /// Ends (0), reopens (1) or deletes (2) those of a range of members that are where the outcome says.
    Members {
        sweep: usize,
        range: (u64, u64),
        what: usize,
        outcome: usize,
    },
    /// The same for one member, as a task.
    Member {
        sweep: usize,
        index: u64,
        what: usize,
        outcome: usize,
    },
    Wait(Waiter, DependsOn),
    Free(Waiter),
}

fn task_set(kinds: impl Into<prop::collection::SizeRange> + Clone) -> impl Strategy<Value = TaskSet> {
    let ids = prop::collection::vec(prop::sample::select(&IDS[..]), kinds.clone());
    let ranges = prop::collection::vec((3_u32..8, 0_u32..4), kinds.clone());
    let globs = prop::collection::vec(prop::sample::select(&GLOBS[..]), kinds.clone());
    let numbers = prop::option::of((0_u64..14, 0_u64..8));
    let sweeps = prop::collection::vec((0..SWEEPS.len(), numbers), kinds);
    (ids, ranges, globs, sweeps).prop_map(|(ids, ranges, globs, sweeps)| TaskSet {
        ids: ids.into_iter().map(task).collect(),
        ranges: ranges.into_iter().map(|(start, more)| IdRange { start, end: start + more }).collect(),
        globs: globs.into_iter().map(glob).collect(),
        sweeps: sweeps
            .into_iter()
            .map(|(at, numbers)| SweepMembers {
                sweep: sweep(SWEEPS[at].0),
                numbers: numbers.map(|(first, more)| (first, first + more)),
            })
            .collect(),
    })
}

fn needs() -> impl Strategy<Value = DependsOn> {
    let quota = prop_oneof![
        Just(Quota::All),
        (1_u64..6).prop_map(Quota::AtLeast),
        (1_u8..=100).prop_map(Quota::Percent)
    ];
    let condition = prop::sample::select(DependencyCondition::ALL);
    let group = (task_set(0..3_usize), condition, quota)
        .prop_map(|(tasks, condition, quota)| DependencyGroup { tasks, condition, quota });
    (task_set(0..2_usize), prop::collection::vec(group, 0..3))
        .prop_map(|(tasks, groups)| DependsOn { tasks, groups })
}

fn waiter() -> impl Strategy<Value = Waiter> {
    prop_oneof![
        prop::sample::select(&WAITERS[..]).prop_map(|text| Waiter::Task(task(text))),
        prop::sample::select(&SWEEPS[..]).prop_map(|(text, _)| Waiter::Sweep(sweep(text))),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let range = (0_u64..12, 0_u64..12).prop_map(|(first, more)| (first, first + more));
    prop_oneof![
        6 => (0..TASKS.len(), 0_usize..6).prop_map(|(at, what)| Op::Task(at, what)),
        2 => (0..SWEEPS.len()).prop_map(Op::AddSweep),
        1 => (0..SWEEPS.len()).prop_map(Op::SweepGone),
        3 => (0..SWEEPS.len(), range, 0_usize..3, 0..OUTCOMES.len() + 1)
            .prop_map(|(sweep, range, what, outcome)| Op::Members { sweep, range, what, outcome }),
        3 => (0..SWEEPS.len(), 0_u64..12, 0_usize..3, 0..OUTCOMES.len())
            .prop_map(|(sweep, index, what, outcome)| Op::Member { sweep, index, what, outcome }),
        4 => (waiter(), needs()).prop_map(|(waiter, needs)| Op::Wait(waiter, needs)),
        1 => waiter().prop_map(Op::Free),
    ]
}

/// The world, the graph, and the waiters in it.
#[derive(Default)]
struct Bench {
    world: World,
    graph: Graph,
    waiting: BTreeMap<Waiter, DependsOn>,
}

impl Bench {
    fn standings(&self) -> BTreeMap<Waiter, Standing> {
        self.waiting
            .iter()
            .map(|(waiter, needs)| (waiter.clone(), naive_standing(&self.world, needs)))
            .collect()
    }

    /// The answer of the graph, if it was asked.
    fn apply(&mut self, op: Op) -> Option<Vec<Waiter>> {
        let Self { world, graph, waiting } = self;
        match op {
            Op::Task(at, what) => Some(task_op(world, graph, TASKS[at], what)),
            Op::AddSweep(at) => {
                let (id, shape) = (sweep(SWEEPS[at].0), SWEEPS[at].1);
                let known = world.sweeps.contains_key(&id);
                (!known).then(|| world.add_sweep(graph, &id, shape))
            }
            Op::SweepGone(at) => {
                let id = sweep(SWEEPS[at].0);
                world.sweeps.remove(&id)?;
                Some(graph.sweep_gone(&id, world))
            }
            Op::Members { sweep: at, range, what, outcome } => {
                let (id, outcome) = (sweep(SWEEPS[at].0), OUTCOMES.get(outcome).copied());
                members_op(world, graph, &id, range, what, outcome)
            }
            Op::Member { sweep: at, index, what, outcome } => {
                let ((name, shape), outcome) = (SWEEPS[at], OUTCOMES[outcome]);
                let (id, member) = (sweep(name), shape.task_id(&sweep(name), index));
                let before = *world.sweeps.get(&id)?.1.get(&index)?;
                let (_, members) = world.sweeps.get_mut(&id)?;
                match (what, before) {
                    (0, None) => {
                        members.insert(index, Some(outcome));
                        Some(graph.task_ended(&member, outcome, world))
                    }
                    (1, Some(was)) => {
                        members.insert(index, None);
                        Some(graph.task_reopened(&member, was, world))
                    }
                    (2, was) => {
                        members.remove(&index);
                        Some(graph.task_gone(&member, was, world))
                    }
                    _ => None,
                }
            }
            Op::Wait(waiter, needs) => {
                graph.add(waiter.clone(), Arc::new(needs.clone()), world);
                waiting.insert(waiter, needs);
                None
            }
            Op::Free(waiter) => {
                graph.remove(&waiter);
                waiting.remove(&waiter);
                None
            }
        }
    }
}

fn task_op(world: &mut World, graph: &mut Graph, name: &str, what: usize) -> Vec<Waiter> {
    let id = task(name);
    match (world.plain.get(&id).copied(), what) {
        (None, _) => world.add_task(graph, &id),
        (Some(None), 0..4) => world.end_task(graph, &id, OUTCOMES[what]),
        (Some(Some(was)), 0..4) => {
            world.plain.insert(id.clone(), None);
            graph.task_reopened(&id, was, world)
        }
        (Some(was), _) => {
            world.plain.remove(&id);
            graph.task_gone(&id, was, world)
        }
    }
}

fn members_op(
    world: &mut World,
    graph: &mut Graph,
    id: &muster_model::SweepId,
    range: (u64, u64),
    what: usize,
    outcome: Option<Outcome>,
) -> Option<Vec<Waiter>> {
    match (what, outcome) {
        (0, Some(outcome)) => {
            let set = world.such(id, range, None);
            world.set_members(id, &set, Some(Some(outcome)));
            Some(graph.members_ended(id, &set, outcome, world))
        }
        (1, Some(was)) => {
            let set = world.such(id, range, Some(was));
            world.set_members(id, &set, Some(None));
            Some(graph.members_reopened(id, &set, was, world))
        }
        (2, was) => {
            let set = world.such(id, range, was);
            world.set_members(id, &set, None);
            Some(graph.members_gone(id, &set, was, world))
        }
        _ => None,
    }
}

/// The way from one waiter on over its needs, looked for among all edges.
fn naive_cycle(
    world: &World,
    waiting: &BTreeMap<Waiter, DependsOn>,
    new: &Waiter,
    needs: &DependsOn,
) -> bool {
    let mut seen = BTreeSet::new();
    let mut open = vec![needs];
    while let Some(needs) = open.pop() {
        if names(world, needs, new) {
            return true;
        }
        for (next, needs_of_next) in waiting {
            if names(world, needs, next) && seen.insert(next) {
                open.push(needs_of_next);
            }
        }
    }
    false
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_graph_counts_as_a_naive_model_does(ops in prop::collection::vec(op(), 1..40)) {
        let mut bench = Bench::default();
        for op in ops {
            let before = bench.standings();
            let told = bench.apply(op.clone());
            let after = bench.standings();
            for (waiter, standing) in &after {
                prop_assert_eq!(bench.graph.standing(waiter), *standing, "{:?} after {:?}", waiter, op);
            }
            if let Some(told) = told {
                let changed = after.iter().filter(|(waiter, standing)| before.get(waiter) != Some(standing));
                prop_assert_eq!(told, changed.map(|(waiter, _)| waiter.clone()).collect::<Vec<_>>(), "{:?}", op);
            }
            bench.graph.check(&bench.world);
        }
        for waiter in bench.waiting.keys() {
            let waits = bench.graph.explain(waiter, &bench.world);
            let Standing { met, hopeless } = bench.graph.standing(waiter);
            prop_assert_eq!((waits.is_empty(), waits.iter().any(|wait| wait.hopeless)), (met, hopeless));
            for wait in waits {
                prop_assert!(wait.hopeless || wait.met < wait.needed, "{}", wait);
                prop_assert!(wait.missing.len() <= 10, "{}", wait);
            }
            bench.graph.remove(waiter);
        }
        let left: usize = bench.graph.sizes().into_iter().map(|(_, size)| size).sum();
        prop_assert_eq!(left, 0, "{:?}", bench.graph.sizes());
    }

    #[test]
    fn circles_are_found_as_by_looking_at_all_edges(
        sweeps in prop::collection::vec(0..SWEEPS.len(), 0..3),
        adds in prop::collection::vec((waiter(), needs()), 1..8),
        anyway in any::<bool>(),
    ) {
        let mut bench = Bench::default();
        for at in sweeps {
            bench.apply(Op::AddSweep(at));
        }
        for (new, needs) in adds {
            bench.apply(Op::Free(new.clone()));
            let expected = naive_cycle(&bench.world, &bench.waiting, &new, &needs);
            // Where both take turns, one half can hide what the other does not see.
            for (backward, forward) in [(true, true), (true, false), (false, true)] {
                let halves = Halves { backward, forward };
                let found = bench.graph.search(&new, &needs, &bench.world, halves);
                prop_assert_eq!(found.is_some(), expected, "{:?} {:?} {:?}", new, halves, found);
                let Some(way) = found else { continue };
                prop_assert!(way.len() > 1 && way.first() == Some(&new) && way.last() == Some(&new), "{:?}", way);
                for pair in way.windows(2) {
                    let needs = bench.waiting.get(&pair[0]).unwrap_or(&needs);
                    prop_assert!(names(&bench.world, needs, &pair[1]), "{:?} in {:?}", pair, way);
                }
            }
            if anyway || !expected {
                bench.apply(Op::Wait(new, needs));
            }
        }
    }
}

#[test]
fn a_wait_says_what_is_missing_and_who_is_at_fault() {
    let mut bench = Bench::default();
    let tasks = TaskSet {
        ids: vec![task("Prepare"), task("s-5")],
        ranges: vec![IdRange { start: 3, end: 30 }],
        globs: vec![glob("in-*")],
        sweeps: vec![
            SweepMembers { sweep: sweep("s"), numbers: Some((1, 2)) },
            SweepMembers { sweep: sweep("later"), numbers: None },
        ],
    };
    let groups = vec![
        DependencyGroup {
            tasks: tasks.clone(),
            condition: DependencyCondition::Completed,
            quota: Quota::AtLeast(5),
        },
        DependencyGroup::default(),
    ];
    let waiter = Waiter::Task(task("merge"));
    bench.apply(Op::Wait(waiter.clone(), DependsOn { tasks, groups }));
    bench.apply(Op::AddSweep(0));
    for name in ["004", "5"] {
        bench.world.add_task(&mut bench.graph, &task(name));
    }
    let words = |bench: &Bench| -> Vec<String> {
        bench.graph.explain(&waiter, &bench.world).iter().map(ToString::to_string).collect()
    };
    let set =
        "tasks 'Prepare', 's-5', tasks 3-30, tasks matching 'in-*', members 1-2 of sweep 's', sweep 'later'";
    let missing = "Prepare, s-5, 3, 004, 5, 6, 7, 8, 9, 10";
    assert_eq!(
        words(&bench),
        [
            format!("waits for {set}: 0 of 34 satisfied; missing: {missing}"),
            format!("waits for {set}: 0 of 5 completed; missing: {missing}"),
        ]
    );
    bench.world.end_task(&mut bench.graph, &task("004"), BADLY);
    bench.world.end_task(&mut bench.graph, &task("5"), WELL);
    let lost = "1 of 34 satisfied, 1 ended otherwise; missing: 004";
    assert_eq!(
        words(&bench),
        [
            format!("waits for {set}: {lost}; this can never be met unless tasks are reactivated or added"),
            format!("waits for {set}: 2 of 5 completed; missing: Prepare, s-5, 3, 6, 7, 8, 9, 10, 11, 12"),
        ]
    );
    assert_eq!(bench.graph.explain(&Waiter::Task(task("nobody")), &bench.world), []);
}

#[test]
fn a_sweep_that_nobody_knows_yet_may_have_any_number() {
    let mut bench = Bench::default();
    let on = |ids: &[&str]| DependsOn {
        tasks: TaskSet { ids: ids.iter().map(|text| task(text)).collect(), ..TaskSet::default() },
        groups: Vec::new(),
    };
    bench.apply(Op::Wait(Waiter::Task(task("w")), on(&["s-99"])));
    let new = Waiter::Sweep(sweep("s"));
    let way = bench.graph.cycle(&new, &on(&["w"]), &bench.world);
    assert_eq!(way, Some(vec![new.clone(), Waiter::Task(task("w")), new.clone()]));
    bench.apply(Op::AddSweep(0));
    assert_eq!(bench.graph.cycle(&new, &on(&["w"]), &bench.world), None, "it has twelve members");
}

#[test]
fn a_member_that_waits_as_a_task_is_named_by_any_spelling() {
    let mut bench = Bench::default();
    bench.apply(Op::AddSweep(0));
    let on = |text: &str| DependsOn {
        tasks: TaskSet { ids: vec![task(text)], ..TaskSet::default() },
        groups: Vec::new(),
    };
    let (member, other) = (Waiter::Task(task("s-05")), Waiter::Task(task("w")));
    bench.apply(Op::Wait(other.clone(), on("s-5")));
    for (backward, forward) in [(true, false), (false, true)] {
        let way = bench.graph.search(&member, &on("w"), &bench.world, Halves { backward, forward });
        assert_eq!(way, Some(vec![member.clone(), other.clone(), member.clone()]));
    }
}

#[test]
fn spelling_of_shared_ids_leaves_no_trace() {
    let on = |text: &str| DependsOn {
        tasks: TaskSet { ids: vec![task(text)], ..TaskSet::default() },
        groups: Vec::new(),
    };
    let (one, two) = (Waiter::Task(task("one")), Waiter::Task(task("two")));
    let (mut lived, mut fresh) = (Bench::default(), Bench::default());
    lived.apply(Op::Wait(one.clone(), on("Prepare")));
    lived.apply(Op::Wait(two.clone(), on("prepare")));
    lived.apply(Op::Free(one));
    fresh.apply(Op::Wait(two, on("prepare")));
    assert_eq!(lived.graph, fresh.graph);
    assert_eq!(format!("{:?}", lived.graph), format!("{:?}", fresh.graph));
}

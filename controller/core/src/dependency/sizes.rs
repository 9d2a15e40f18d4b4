//! What the graph costs at the sizes that it is made for, in steps of its own loops: linear in the edges.
//!
//! Steps are counted by `work`; a scan over all waiters, demands or tasks at each change would take ten thousand times as
//! many as these tests allow. The runner ends a test that takes minutes, as anything quadratic would.

use super::cycle::Halves;
use super::facts::{Standing, Waiter};
use super::graph::Graph;
use super::work::steps;
use super::world::{WELL, World, glob, sweep, task};
use muster_model::TaskId;
use muster_model::spec::{DependsOn, IdRange, SweepMembers, SweepShape, TaskSet};
use std::sync::Arc;

/// The size that the project promises; a fifth of it where nothing is optimised, at as many steps for each edge.
const MANY: u32 = if cfg!(debug_assertions) { 20_000 } else { 100_000 };

fn on(tasks: TaskSet) -> Arc<DependsOn> {
    Arc::new(DependsOn { tasks, groups: Vec::new() })
}

fn on_id(id: TaskId) -> Arc<DependsOn> {
    on(TaskSet { ids: vec![id], ..TaskSet::default() })
}

fn on_range(start: u32, end: u32) -> Arc<DependsOn> {
    on(TaskSet { ranges: vec![IdRange { start, end }], ..TaskSet::default() })
}

fn on_members(numbers: Option<(u64, u64)>) -> Arc<DependsOn> {
    on(TaskSet { sweeps: vec![SweepMembers { sweep: sweep("s"), numbers }], ..TaskSet::default() })
}

/// Adds a waiting task as the job does, with its check for circles.
fn submit(world: &mut World, graph: &mut Graph, id: &TaskId, needs: &Arc<DependsOn>) {
    let waiter = Waiter::Task(id.clone());
    assert_eq!(graph.cycle(&waiter, needs, world), None);
    world.add_task(graph, id);
    graph.add(waiter, Arc::clone(needs), world);
}

/// Runs `work` and asserts that it took at most `most` steps for each of `edges`.
fn measure(edges: u64, most: u64, work: impl FnOnce()) {
    let before = steps();
    work();
    let taken = steps() - before;
    println!("{taken} steps for {edges} edges");
    assert!(taken <= most * edges, "{taken} steps for {edges} edges");
}

/// Ends all tasks of a chain in its order; each frees the next.
fn run_chain(world: &mut World, graph: &mut Graph, name: impl Fn(u32) -> TaskId) {
    for at in 0..MANY {
        let id = name(at);
        assert!(graph.standing(&Waiter::Task(id.clone())).met);
        graph.remove(&Waiter::Task(id.clone()));
        let freed = world.end_task(graph, &id, WELL);
        assert_eq!(freed.len(), usize::from(at + 1 < MANY));
    }
}

fn name(at: u32) -> TaskId {
    task(&format!("link-{at}"))
}

#[test]
fn a_chain_that_grows_at_its_end_costs_its_links() {
    let (mut world, mut graph) = (World::default(), Graph::default());
    measure(MANY.into(), 20, || {
        world.add_task(&mut graph, &name(0));
        for at in 1..MANY {
            submit(&mut world, &mut graph, &name(at), &on_id(name(at - 1)));
        }
        run_chain(&mut world, &mut graph, name);
    });
}

#[test]
fn a_chain_that_grows_at_its_start_costs_its_links() {
    let (mut world, mut graph) = (World::default(), Graph::default());
    let name = |at| task(&format!("link{at}x"));
    measure(MANY.into(), 20, || {
        for at in (1..MANY).rev() {
            submit(&mut world, &mut graph, &name(at), &on_id(name(at - 1)));
        }
        world.add_task(&mut graph, &name(0));
        run_chain(&mut world, &mut graph, name);
    });
}

#[test]
fn the_ends_of_a_long_chain_cannot_be_joined() {
    let (mut world, mut graph) = (World::default(), Graph::default());
    for at in 1..MANY {
        submit(&mut world, &mut graph, &name(at), &on_id(name(at - 1)));
    }
    let first = Waiter::Task(name(0));
    let way = graph.cycle(&first, &on_id(name(MANY - 1)), &world).unwrap();
    assert_eq!(way.len(), MANY as usize + 1);
    assert_eq!((way.first(), way.last()), (Some(&first), Some(&first)));
}

#[test]
fn layers_that_wait_for_whole_layers_are_searched_by_layer() {
    const WIDTH: u32 = 1_000;
    let (mut world, mut graph) = (World::default(), Graph::default());
    let layer = |at: u32| (at * WIDTH, (at + 1) * WIDTH - 1);
    // Below the task four layers, the last of which it will wait for; above it four, the first of which waits for it.
    let middle = task("middle");
    for at in [1, 2, 3, 4, 6, 7, 8, 9] {
        let (first, last) = layer(at - 1);
        for number in layer(at).0..=layer(at).1 {
            let below = if at == 6 { on_id(middle.clone()) } else { on_range(first, last) };
            graph.add(Waiter::Task(task(&number.to_string())), below, &world);
        }
    }
    let (first, last) = layer(4);
    let waiter = Waiter::Task(middle);
    for (backward, forward) in [(true, false), (false, true)] {
        let halves = Halves { backward, forward };
        measure(4 * u64::from(WIDTH), 20, || {
            assert_eq!(graph.search(&waiter, &on_range(first, last), &world, halves), None);
        });
    }
    submit(&mut world, &mut graph, &task("middle"), &on_range(first, last));
    let (first, last) = layer(9);
    let way = graph.cycle(&Waiter::Task(task("0")), &on_range(first, last), &world).unwrap();
    assert_eq!(way.len(), 11, "through each layer once: {way:?}");
}

/// One waits for many, which end one by one.
fn fan_in(needs: &Arc<DependsOn>, name: impl Fn(u32) -> TaskId, most: u64) {
    let (mut world, mut graph) = (World::default(), Graph::default());
    let merge = task("merge");
    measure(MANY.into(), most, || {
        submit(&mut world, &mut graph, &merge, needs);
        for at in 1..=MANY {
            submit(&mut world, &mut graph, &name(at), &on_id(task("setup")));
        }
        for at in 1..=MANY {
            assert!(!graph.standing(&Waiter::Task(merge.clone())).met);
            world.end_task(&mut graph, &name(at), WELL);
        }
        assert!(graph.standing(&Waiter::Task(merge.clone())).met);
    });
}

#[test]
fn fan_in_by_range_costs_its_edges() {
    fan_in(&on_range(1, MANY), |at| task(&at.to_string()), 100);
}

#[test]
fn fan_in_by_ids_costs_its_edges() {
    let ids = (1..=MANY).map(|at| task(&format!("part{at}"))).collect();
    fan_in(&on(TaskSet { ids, ..TaskSet::default() }), |at| task(&format!("part{at}")), 30);
}

#[test]
fn fan_in_by_pattern_costs_its_edges() {
    let globs = vec![glob("part*")];
    fan_in(&on(TaskSet { globs, ..TaskSet::default() }), |at| task(&format!("part{at}")), 40);
}

#[test]
fn fan_in_by_sweep_costs_its_edges() {
    let (mut world, mut graph) = (World::default(), Graph::default());
    let shape = SweepShape { first: 1, step: 1, count: MANY.into() };
    let merge = Waiter::Task(task("merge"));
    measure(MANY.into(), 20, || {
        submit(&mut world, &mut graph, &task("merge"), &on_members(None));
        world.add_sweep(&mut graph, &sweep("s"), shape);
        for index in 0..u64::from(MANY) {
            assert!(!graph.standing(&merge).met);
            if let Some((_, members)) = world.sweeps.get_mut(&sweep("s")) {
                members.insert(index, Some(WELL));
            }
            graph.task_ended(&shape.task_id(&sweep("s"), index), WELL, &world);
        }
        assert!(graph.standing(&merge).met);
    });
}

#[test]
fn many_waiters_with_a_small_range_each_cost_their_edges() {
    let (mut world, mut graph) = (World::default(), Graph::default());
    measure(4 * u64::from(MANY), 50, || {
        for at in 0..MANY {
            submit(&mut world, &mut graph, &task(&format!("w{at}")), &on_range(at, at + 3));
        }
        for at in 0..MANY + 3 {
            world.add_task(&mut graph, &task(&at.to_string()));
            let freed = world.end_task(&mut graph, &task(&at.to_string()), WELL);
            assert_eq!(freed.len(), usize::from(at >= 3));
        }
    });
}

#[test]
fn a_thousand_waiters_for_a_thousand_members_each_cost_their_edges() {
    let (mut world, mut graph) = (World::default(), Graph::default());
    let shape = SweepShape { first: 0, step: 1, count: 2_000 };
    measure(1_000_000, 20, || {
        world.add_sweep(&mut graph, &sweep("s"), shape);
        for at in 0..1_000_u64 {
            let id = task(&format!("w{at}"));
            submit(&mut world, &mut graph, &id, &on_members(Some((at, at + 999))));
        }
        for index in 0..shape.count {
            if let Some((_, members)) = world.sweeps.get_mut(&sweep("s")) {
                members.insert(index, Some(WELL));
            }
            let freed = graph.task_ended(&shape.task_id(&sweep("s"), index), WELL, &world);
            assert_eq!(freed.len(), usize::from((999..1_999).contains(&index)));
        }
    });
}

#[test]
fn waiters_that_ask_the_same_share_the_work() {
    let (mut world, mut graph) = (World::default(), Graph::default());
    // Ten thousand million edges, but for the sharing.
    measure(2 * u64::from(MANY), 60, || {
        let needs = on_range(1, MANY);
        for at in 0..MANY {
            submit(&mut world, &mut graph, &task(&format!("w{at}")), &needs);
        }
        for at in 1..=MANY {
            world.add_task(&mut graph, &task(&at.to_string()));
            let freed = world.end_task(&mut graph, &task(&at.to_string()), WELL);
            assert_eq!(freed.len(), if at == MANY { MANY as usize } else { 0 });
        }
        for at in 0..MANY {
            graph.remove(&Waiter::Task(task(&format!("w{at}"))));
        }
        assert_eq!(graph.standing(&Waiter::Task(task("w7"))), Standing { met: true, hopeless: false });
    });
}

#[test]
fn a_million_members_end_at_once_for_what_one_costs() {
    let (mut world, mut graph) = (World::default(), Graph::default());
    let shape = SweepShape { first: 1, step: 1, count: 1_000_000 };
    world.add_sweep(&mut graph, &sweep("s"), shape);
    for (at, text) in ["s-*", "*", "s-0*", "s-*7", "*-merge"].into_iter().enumerate() {
        let needs = on(TaskSet { globs: vec![glob(text)], ..TaskSet::default() });
        graph.add(Waiter::Task(task(&format!("g{at}"))), needs, &world);
    }
    graph.add(Waiter::Task(task("all")), on_members(None), &world);
    graph.add(Waiter::Task(task("half")), on_members(Some((1, 500_000))), &world);
    let set = world.such(&sweep("s"), (0, shape.count), None);
    world.set_members(&sweep("s"), &set, Some(Some(WELL)));
    measure(1_000, 1, || {
        let freed = graph.members_ended(&sweep("s"), &set, WELL, &world);
        assert_eq!(freed.len(), 6, "all but the one that no member matches");
    });
}

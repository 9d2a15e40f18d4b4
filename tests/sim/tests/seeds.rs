//! A few hundred seeds of the simulation in every test run.
//!
//! A failing seed tells the shortest story that still fails, and replays exactly; `cargo xtask simulate` runs many more of
//! them. That nothing is broken is worth something only if it was tried, so what must have happened is counted.

use muster_sim::{runner, simulate};

/// Enough for every kind of fault to meet every phase, few enough for seconds.
const SEEDS: u64 = 200;

/// As many as the smallest machine has processors.
const THREADS: usize = 2;

/// What so many seeds must have come by.
const MUST_BE_SEEN: &[&str] = &[
    "a batch is durable and nobody was told",
    "a boot ends a process",
    "a client asks again for what was done",
    "a commit waits for room",
    "a failed task ends its job",
    "a failed task is reactivated",
    "a hello comes after its session was given up",
    "a hopeless task fails",
    "a hopeless task is skipped",
    "a job ends with its last task",
    "a job has all tasks on nodes that it may have",
    "a job with tasks moves to another pool",
    "a lease ends a process",
    "a lease goes on while a commit is under way",
    "a log is kept",
    "a machine comes to a full pool and is sent away",
    "a machine is gone for ever",
    "a machine that joined asks again",
    "a manager has its node alone",
    "a manager takes its job along",
    "a member is named without its zeros",
    "a node is drained",
    "a node is restarted on request",
    "a node is taken out of use",
    "a node is unwell",
    "a node is well again",
    "a node leaves its pool",
    "a node stands its trial",
    "a node that will never be seen again is removed",
    "a node waits for its tasks to end",
    "a pool comes to its size",
    "a process that its agent forgot is ended",
    "a release runs",
    "a resize asks for more machines",
    "a resize ends a task",
    "a resize is stopped",
    "a resize sends a task back",
    "a resize takes nodes away",
    "a resize takes too long",
    "a restart on request fails",
    "a start task fails for good",
    "a start task is run again and succeeds",
    "a supervisor that is down starts nothing",
    "a task goes back to waiting on request",
    "a task has GPUs",
    "a task is placed with more memory",
    "a task runs again",
    "a task runs where its job was prepared",
    "a task waits for its pool to have nodes, and says so",
    "a task's dependencies are met",
    "a trial fails",
    "a wall clock ends a job",
    "a wall clock ends a process",
    "a wish ends a process",
    "an agent waits for room in its journal",
    "an output is published",
    "the answer to a client is lost",
    "the answer to a machine that joins is lost",
    "the controller dies after a step",
    "the controller dies while it commits",
    "the time that tasks had to end is up",
    "the wall clock of a running task changes",
    "what a cut link held comes late",
];

#[test]
fn no_seed_breaks_a_promise() {
    let totals = runner::run(0, SEEDS, THREADS, &mut |_| {});
    if let Some((seed, seen)) = totals.failed.first_key_value() {
        let tale = simulate(*seed).failure.and_then(|failure| failure.tale).unwrap_or_default();
        panic!("seed {seed} of {:?}: {seen}\n{tale}", totals.failed.keys());
    }
    let unseen: Vec<_> = MUST_BE_SEEN.iter().filter(|what| !totals.seen.contains_key(**what)).collect();
    assert!(unseen.is_empty() && totals.refused > 0, "the simulation never comes by {unseen:?}");
}

#[test]
fn a_seed_replays_exactly() {
    let (first, second) = (simulate(7), simulate(7));
    assert_eq!((first.events, first.starts, first.seen), (second.events, second.starts, second.seen));
}

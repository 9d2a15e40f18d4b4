//! Which tasks of a job wait for which others, and whether they still do.
//!
//! A *waiter* is a task or a whole sweep. What it depends on is a row of *demands*: a set of tasks, a condition and a quota,
//! in normal form; waiters that ask the same share one demand and its count. `graph` holds them, `change` moves the counts
//! when a task does, `cycle` refuses circles, `explain` says what is missing. The lists that lead from a task to those who
//! ask for it are `spans` (ranges), `prefixes` (patterns), `sweep_lists` and, inside the graph, single ids.
//!
//! Within one demand each id, each number, each member of a range and each task that a pattern matches counts once; a
//! task that is named in two of these ways counts twice. Start at `facts`, which says what the job must tell.
//!
//! Invariant: counts equal a recount, whatever the history.  [a_graph_counts_as_a_naive_model_does]

mod change;
#[cfg(any(test, feature = "check"))]
mod check;
mod cycle;
mod demand;
mod explain;
mod facts;
mod graph;
#[cfg(test)]
mod laws;
mod numbers;
mod pattern;
mod prefixes;
#[cfg(test)]
mod sizes;
mod spans;
mod sweep_lists;
mod work;
#[cfg(test)]
mod world;

pub(crate) use facts::{Facts, Outcome, Waiter};
pub(crate) use graph::Graph;

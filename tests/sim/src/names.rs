//! The names of the simulated world: one account, two pools, a few jobs, and tasks in every spelling of their ids.
//!
//! Names are drawn from small sets, so that histories meet: a task that is deleted and added again, a member of a sweep
//! that is named with and without the zeros of its number, a plain task beside a sweep of the same beginning.

use muster_model::{AccountName, JobId, NodeId, PoolId, SweepId, TaskId};

/// Jobs that may exist at one time.
pub(crate) const JOBS: u8 = 3;
/// Sweeps that a job may have at one time.
pub(crate) const SWEEPS: u8 = 2;
/// Names that a wish may call a task by.
pub(crate) const TASK_NAMES: u8 = 32;
/// Of those the first that are plain tasks.
pub(crate) const PLAIN_TASKS: u8 = 12;
/// Machines; the last one is in the second pool.
pub(crate) const MACHINES: usize = 4;

/// For the literals of the simulation itself.
#[expect(clippy::expect_used, reason = "a literal that does not parse is a fault of the simulation")]
pub(crate) fn parsed<T, E: std::fmt::Debug>(result: Result<T, E>) -> T {
    result.expect("a literal of the simulation")
}

pub(crate) fn account() -> AccountName {
    parsed(AccountName::parse("studio"))
}

pub(crate) fn pool(number: u8) -> PoolId {
    parsed(PoolId::parse(["render", "farm"][usize::from(number % 2)]))
}

pub(crate) fn node(machine: usize) -> NodeId {
    parsed(NodeId::parse(&format!("node-{machine}")))
}

/// Which pool a machine joins.
pub(crate) const fn pool_of(machine: usize) -> u8 {
    if machine + 1 == MACHINES { 1 } else { 0 }
}

/// How many machines a pool has at first.
pub(crate) fn machines_of(pool: u8) -> usize {
    (0..MACHINES).filter(|machine| pool_of(*machine) == pool).count()
}

pub(crate) fn job(number: u8) -> JobId {
    parsed(JobId::parse(["film", "song", "game"][usize::from(number % JOBS)]))
}

pub(crate) fn sweep(number: u8) -> SweepId {
    parsed(SweepId::parse(["a", "B"][usize::from(number % SWEEPS)]))
}

pub(crate) fn task_id(text: &str) -> TaskId {
    parsed(TaskId::parse(text))
}

/// Plain tasks, two of them with the same number, members of sweeps with and without zeros, and the job's own tasks.
pub(crate) fn task(number: u8) -> TaskId {
    task_id(&match number % TASK_NAMES {
        n @ 0..=8 => n.to_string(),
        9 => "04".to_owned(),
        10 => "a-b-1".to_owned(),
        11 => "b-99".to_owned(),
        n @ 12..=17 => format!("a-{}", n - 11),
        n @ 18..=22 => format!("a-{:02}", n - 15),
        n @ 23..=28 => format!("b-0{}", n - 22),
        29 => "manager".to_owned(),
        30 => "prep".to_owned(),
        _ => "A-10".to_owned(),
    })
}

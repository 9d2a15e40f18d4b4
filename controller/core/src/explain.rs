//! Why a task waits: every reason in the order in which placement looks, with counts and the nearest miss.
//!
//! Values and their words only; who finds them is in `waiting`, which asks the same predicates as placement.

use muster_model::state::{JobState, NodeState, PoolState, TaskState};
use muster_model::{NodeId, PoolId, Shortage, TaskId, Timestamp};
use std::fmt;

/// What a task waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Where the task is.
    pub state: TaskState,
    /// Why it waits, in the order in which it is checked; empty when it does not wait.
    pub reasons: Vec<Reason>,
    /// Whether it could run some day as things are: without new nodes, changed limits or reactivated tasks.
    pub can_ever_run: bool,
}

/// What the waiting tasks of a job wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobExplanation {
    /// Where the job is.
    pub state: JobState,
    /// Tasks with the same needs and the same reasons, together, the oldest first.
    pub waiting: Vec<WaitingTasks>,
}

/// Tasks that wait for the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingTasks {
    /// How many.
    pub count: u64,
    /// The oldest of them.
    pub example: TaskId,
    /// As for the example.
    pub reasons: Vec<Reason>,
    /// As for the example.
    pub can_ever_run: bool,
}

/// One reason why a task waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The job's state keeps its tasks from being placed.
    JobState(JobState),
    /// A condition on other tasks is not met yet.
    Dependency(DependencyWait),
    /// It is tried again after a pause.
    Backoff {
        /// When.
        until: Timestamp,
        /// How long that is from now, in seconds.
        seconds: u64,
    },
    /// The job has as many tasks on nodes as it may.
    MaxParallelTasks {
        /// The limit, reached.
        limit: u32,
    },
    /// The pool of the job does not exist.
    PoolMissing(PoolId),
    /// The pool is being deleted.
    PoolState(PoolId, PoolState),
    /// The pool has no nodes.
    NoNodes {
        /// The pool.
        pool: PoolId,
        /// How many it asks for.
        target: u32,
    },
    /// Nodes take no tasks at all in their state.
    NodesInState {
        /// How many.
        count: u32,
        /// The state.
        state: NodeState,
        /// One of them.
        example: NodeId,
    },
    /// Nodes are out of use because something is wrong with them.
    NodesUnusable {
        /// How many, for this reason.
        count: u32,
        /// One of them.
        example: NodeId,
        /// The code of the error there.
        error: String,
        /// Its words.
        message: String,
    },
    /// Nodes are being relieved of their tasks.
    NodesDraining {
        /// How many.
        count: u32,
        /// One of them.
        example: NodeId,
    },
    /// Nodes that failed tasks are tried with one task at a time, and have it.
    NodesOnProbation {
        /// How many.
        count: u32,
        /// One of them.
        example: NodeId,
    },
    /// Nodes are out of contact.
    NodesOutOfContact {
        /// How many.
        count: u32,
        /// One of them.
        example: NodeId,
    },
    /// Scheduling is disabled on nodes.
    SchedulingDisabled {
        /// How many.
        count: u32,
        /// One of them.
        example: NodeId,
    },
    /// The job's preparation task failed on nodes.
    PreparationFailed {
        /// How many.
        count: u32,
        /// One of them.
        example: NodeId,
    },
    /// Nodes could never run it, even empty.
    TooSmall {
        /// How many.
        count: u32,
        /// The node that comes nearest.
        nearest: NodeId,
        /// What it lacks.
        shortage: Shortage,
    },
    /// Nodes could run it, but have not enough left now.
    Busy {
        /// How many.
        count: u32,
        /// The node that comes nearest.
        nearest: NodeId,
        /// What it lacks now.
        shortage: Shortage,
    },
    /// It wants a node for itself and none is empty, or an exclusive task holds them.
    Exclusive {
        /// How many nodes are kept from it by this.
        count: u32,
        /// One of them.
        example: NodeId,
    },
    /// Nodes are kept free for an older or more important task that needs more than they have left.
    KeptFree {
        /// How many.
        count: u32,
        /// One of them.
        example: NodeId,
    },
    /// It is with a node that has not started it yet: it was sent ahead, or has only just been placed.
    Assigned {
        /// The node.
        node: NodeId,
    },
    /// It is meant for a node that is being prepared for the job.
    Preparing {
        /// The node.
        node: NodeId,
    },
    /// Others come first.
    Queue {
        /// Waiting tasks of jobs with a higher priority, or of the same and older.
        ahead_in_other_jobs: u64,
        /// Older waiting tasks of the same job.
        ahead_in_job: u64,
    },
}

/// A condition on other tasks that is not met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DependencyWait {
    /// Which tasks, in words: `task 'a'`, `tasks 1-100`, `tasks matching 'a-*'`, `sweep 'frame'`.
    pub tasks: String,
    /// What must happen to them: `satisfied`, `failed` or `completed`.
    pub condition: muster_model::state::DependencyCondition,
    /// To how many.
    pub needed: u64,
    /// To how many it has happened.
    pub met: u64,
    /// How many have ended in another way and would have to be reactivated.
    pub lost: u64,
    /// Some that are still missing, by name; at most ten.
    pub missing: Vec<TaskId>,
    /// Whether it can never be met as things are.
    pub hopeless: bool,
}

impl Reason {
    /// A short name, for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::JobState(_) => "JOB_STATE",
            Self::Dependency(wait) if wait.hopeless => "DEPENDENCY_NEVER_MET",
            Self::Dependency(_) => "DEPENDENCY",
            Self::Backoff { .. } => "RETRY_BACKOFF",
            Self::MaxParallelTasks { .. } => "MAX_PARALLEL_TASKS",
            Self::PoolMissing(_) => "POOL_NOT_FOUND",
            Self::PoolState(..) => "POOL_STATE",
            Self::NoNodes { .. } => "NO_NODES",
            Self::NodesInState { .. } => "NODE_STATE",
            Self::NodesUnusable { .. } => "NODE_UNUSABLE",
            Self::NodesDraining { .. } => "NODE_DRAINING",
            Self::NodesOnProbation { .. } => "NODE_ON_PROBATION",
            Self::NodesOutOfContact { .. } => "NODE_OUT_OF_CONTACT",
            Self::SchedulingDisabled { .. } => "SCHEDULING_DISABLED",
            Self::PreparationFailed { .. } => "JOB_PREPARATION_FAILED",
            Self::TooSmall { .. } => "NODE_TOO_SMALL",
            Self::Busy { .. } => "NODE_BUSY",
            Self::Exclusive { .. } => "NODE_EXCLUSIVE",
            Self::KeptFree { .. } => "NODE_KEPT_FREE",
            Self::Assigned { .. } => "ASSIGNED",
            Self::Preparing { .. } => "JOB_PREPARATION",
            Self::Queue { .. } => "QUEUE",
        }
    }

    /// Its facts by name, for programs.
    #[must_use]
    pub fn details(&self) -> Vec<(&'static str, String)> {
        let short = |count: &u32, nearest: &NodeId, shortage: &Shortage| {
            vec![
                ("nodes", count.to_string()),
                ("nearest_node", nearest.to_string()),
                ("resource", shortage.resource.clone()),
                ("wanted", shortage.wanted.to_string()),
                ("offered", shortage.offered.to_string()),
            ]
        };
        match self {
            Self::JobState(state) => vec![("job_state", state.to_string())],
            Self::Dependency(wait) => vec![
                ("tasks", wait.tasks.clone()),
                ("condition", wait.condition.to_string()),
                ("needed", wait.needed.to_string()),
                ("met", wait.met.to_string()),
                ("lost", wait.lost.to_string()),
                ("missing", names(&wait.missing)),
            ],
            Self::Backoff { until, seconds } => {
                vec![("until_micros", until.as_micros().to_string()), ("seconds", seconds.to_string())]
            }
            Self::MaxParallelTasks { limit } => vec![("limit", limit.to_string())],
            Self::PoolMissing(pool) | Self::PoolState(pool, _) => vec![("pool", pool.to_string())],
            Self::NoNodes { pool, target } => {
                vec![("pool", pool.to_string()), ("target", target.to_string())]
            }
            Self::NodesInState { count, state, example } => vec![
                ("nodes", count.to_string()),
                ("state", state.to_string()),
                ("example", example.to_string()),
            ],
            Self::NodesUnusable { count, example, error, message } => vec![
                ("nodes", count.to_string()),
                ("example", example.to_string()),
                ("error", error.clone()),
                ("message", message.clone()),
            ],
            Self::NodesOutOfContact { count, example }
            | Self::NodesDraining { count, example }
            | Self::NodesOnProbation { count, example }
            | Self::SchedulingDisabled { count, example }
            | Self::PreparationFailed { count, example }
            | Self::Exclusive { count, example }
            | Self::KeptFree { count, example } => {
                vec![("nodes", count.to_string()), ("example", example.to_string())]
            }
            Self::TooSmall { count, nearest, shortage } | Self::Busy { count, nearest, shortage } => {
                short(count, nearest, shortage)
            }
            Self::Assigned { node } | Self::Preparing { node } => vec![("node", node.to_string())],
            Self::Queue { ahead_in_other_jobs, ahead_in_job } => vec![
                ("ahead_in_other_jobs", ahead_in_other_jobs.to_string()),
                ("ahead_in_job", ahead_in_job.to_string()),
            ],
        }
    }
}

fn names(tasks: &[TaskId]) -> String {
    tasks.iter().map(TaskId::as_str).collect::<Vec<_>>().join(", ")
}

/// An amount of a resource in the words and units that people use.
fn amount(resource: &str, value: u64) -> String {
    let many = if value == 1 { "" } else { "s" };
    match resource {
        "task slots" => format!("{value} task slot{many}"),
        "cpu_millis" => format!("{} cores", decimal(value, 1000)),
        "memory_bytes" => format!("{} of memory", bytes(value)),
        "disk_bytes" => format!("{} of disk", bytes(value)),
        "gpus" => format!("{value} GPU{many}"),
        named => format!("{value} {named}"),
    }
}

/// What is wanted and what there is.
fn both(shortage: &Shortage) -> (String, String) {
    let Shortage { resource, wanted, offered } = shortage;
    (amount(resource, *wanted), amount(resource, *offered))
}

fn bytes(value: u64) -> String {
    const UNITS: [(&str, u64); 5] =
        [("PiB", 1 << 50), ("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.into_iter().find(|(_, size)| value >= *size) {
        Some((unit, size)) => format!("{} {unit}", decimal(value, size)),
        None => format!("{value} bytes"),
    }
}

/// `value / unit` with at most one digit behind the point, rounded down.
fn decimal(value: u64, unit: u64) -> String {
    let (whole, tenth) = (value / unit, u128::from(value % unit) * 10 / u128::from(unit));
    if tenth == 0 { whole.to_string() } else { format!("{whole}.{tenth}") }
}

/// Who comes first.
fn queue(in_job: u64, in_other_jobs: u64) -> String {
    let tasks = |count: u64| if count == 1 { "task" } else { "tasks" };
    let own = format!("{in_job} older {} of the job", tasks(in_job));
    let other = format!("{in_other_jobs} {} of jobs ahead of it", tasks(in_other_jobs));
    match (in_job, in_other_jobs) {
        (0, _) => format!("{other} come first"),
        (_, 0) => format!("{own} come first"),
        (_, _) => format!("{own} and {other} come first"),
    }
}

fn nodes(count: u32) -> String {
    if count == 1 { "1 node".to_owned() } else { format!("{count} nodes") }
}

/// So many nodes, what they are, and one of them.
fn such(f: &mut fmt::Formatter<'_>, count: u32, what: &str, example: &NodeId) -> fmt::Result {
    write!(f, "{} {what} (such as '{example}')", nodes(count))
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::JobState(state) => write!(f, "the job is {state}: its tasks are not placed"),
            Self::Dependency(wait) => wait.fmt(f),
            Self::Backoff { seconds, .. } => {
                write!(f, "it failed and is tried again after a pause: {seconds} s left")
            }
            Self::MaxParallelTasks { limit } => {
                write!(f, "the job has {limit} tasks on nodes, which is its max_parallel_tasks")
            }
            Self::PoolMissing(pool) => {
                write!(f, "pool '{pool}' does not exist: create it, or change the job's pool")
            }
            Self::PoolState(pool, state) => write!(f, "pool '{pool}' is {state}"),
            Self::NoNodes { pool, target: 0 } => {
                write!(f, "pool '{pool}' has no nodes and asks for none: resize it")
            }
            Self::NoNodes { pool, target } => {
                write!(f, "pool '{pool}' has no nodes yet; it asks for {target}")
            }
            Self::NodesInState { count, state, example } => {
                such(f, *count, &format!("in state {state}"), example)
            }
            Self::NodesUnusable { count, example, error, message } => {
                write!(f, "{} unusable (such as '{example}', {error}: {message})", nodes(*count))
            }
            Self::NodesDraining { count, example } => such(f, *count, "being drained", example),
            Self::NodesOnProbation { count, example } => {
                such(f, *count, "tried with one task at a time after failures", example)
            }
            Self::NodesOutOfContact { count, example } => such(f, *count, "out of contact", example),
            Self::SchedulingDisabled { count, example } => {
                such(f, *count, "with scheduling disabled", example)
            }
            Self::PreparationFailed { count, example } => {
                such(f, *count, "excluded because the job preparation task failed there", example)
            }
            Self::TooSmall { count, nearest, shortage } => {
                let (needs, has) = both(shortage);
                write!(f, "{} too small: needs {needs}, the largest, '{nearest}', has {has}", nodes(*count))
            }
            Self::Busy { count, nearest, shortage } => {
                let (needs, has) = both(shortage);
                write!(f, "{} busy: needs {needs}, the nearest, '{nearest}', has {has} left", nodes(*count))
            }
            Self::Exclusive { count, example } => {
                such(f, *count, "not free for one task alone, or held by one", example)
            }
            Self::KeptFree { count, example } => {
                such(f, *count, "kept free for an older task that needs more", example)
            }
            Self::Queue { ahead_in_other_jobs, ahead_in_job } => {
                f.write_str(&queue(*ahead_in_job, *ahead_in_other_jobs))
            }
            Self::Assigned { node } => {
                write!(f, "it is with node '{node}', which starts it as soon as it has room")
            }
            Self::Preparing { node } => {
                write!(f, "it is meant for node '{node}' and waits for the job preparation task there")
            }
        }
    }
}

impl fmt::Display for DependencyWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tasks, condition, needed, met, lost, missing, hopeless } = self;
        write!(f, "waits for {tasks}: {met} of {needed} {condition}")?;
        if *lost > 0 {
            write!(f, ", {lost} ended otherwise")?;
        }
        if !missing.is_empty() {
            write!(f, "; missing: {}", names(missing))?;
        }
        if *hopeless {
            f.write_str("; this can never be met unless tasks are reactivated or added")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_as_people_say_them() {
        assert_eq!(amount("memory_bytes", 32 << 30), "32 GiB of memory");
        assert_eq!(amount("memory_bytes", (23 << 30) + (1 << 29)), "23.5 GiB of memory");
        assert_eq!(amount("disk_bytes", 7), "7 bytes of disk");
        assert_eq!(amount("cpu_millis", 1500), "1.5 cores");
        assert_eq!(amount("task slots", 1), "1 task slot");
        assert_eq!(amount("gpus", 2), "2 GPUs");
        assert_eq!(amount("licence", 3), "3 licence");
        assert_eq!(bytes(u64::MAX), "16383.9 PiB");
    }
}

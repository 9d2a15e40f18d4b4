//! The states of the reference (azure-batch.md 3.2 to 3.7), each a closed enum with the reference's spelling.
//!
//! Only the values: which change to which is decided in the controller's core, one file for each. `parse` and
//! `as_str` are the spelling of filters, tables and the store.

use std::fmt;

/// A text that is not one of an enum's values; the message lists those that are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not a {kind}: use one of {allowed}")]
pub struct UnknownName {
    /// What was to be named.
    pub kind: &'static str,
    /// The text, cut to 80 characters.
    pub given: String,
    /// All values, separated by commas.
    pub allowed: String,
}

macro_rules! names {
    ($(#[$doc:meta])* $name:ident, $kind:literal { $($(#[$vdoc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            /// Every value, in order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The reference's spelling, lower case.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// Reads the reference's spelling, in any case.
            ///
            /// # Errors
            /// [`UnknownName`] lists the values.
            pub fn parse(text: &str) -> Result<Self, $crate::state::UnknownName> {
                Self::ALL.iter().copied().find(|value| value.as_str().eq_ignore_ascii_case(text)).ok_or_else(|| {
                    $crate::state::UnknownName {
                        kind: $kind,
                        given: text.chars().take(80).collect(),
                        allowed: [$($text),+].join(", "),
                    }
                })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}
pub(crate) use names;

names!(
    /// Whether a pool lives.
    PoolState, "pool state" {
        /// The pool takes nodes and tasks.
        Active = "active",
        /// Its nodes are leaving; then it is gone.
        Deleting = "deleting",
    }
);

names!(
    /// Whether a pool has the nodes that it asks for.
    AllocationState, "allocation state" {
        /// Nothing is under way.
        Steady = "steady",
        /// Nodes are joining or leaving until the target is met.
        Resizing = "resizing",
        /// A resize is being stopped.
        Stopping = "stopping",
    }
);

names!(
    /// What a compute node is doing.
    NodeState, "node state" {
        /// Ready, nothing runs.
        Idle = "idle",
        /// At least one task runs.
        Running = "running",
        /// Restarting on request.
        Rebooting = "rebooting",
        /// Being laid anew on request.
        Reimaging = "reimaging",
        /// Cannot run tasks; its errors say why.
        Unusable = "unusable",
        /// The machine is being made.
        Creating = "creating",
        /// Joined; the agent is starting.
        Starting = "starting",
        /// The start task runs and the pool waits for it.
        WaitingForStartTask = "waitingforstarttask",
        /// The start task failed for good.
        StartTaskFailed = "starttaskfailed",
        /// No contact; its lease has ended or will.
        Unknown = "unknown",
        /// Leaving the pool.
        LeavingPool = "leavingpool",
        /// Scheduling is disabled and nothing runs.
        Offline = "offline",
        /// Taken back by its owner (spot capacity).
        Preempted = "preempted",
        /// The operating system is being upgraded.
        UpgradingOs = "upgradingos",
        /// The machine is released, its place is kept.
        Deallocated = "deallocated",
        /// The machine is being released.
        Deallocating = "deallocating",
    }
);

names!(
    /// Whether new tasks may be placed on a node.
    SchedulingState, "scheduling state" {
        /// They may.
        Enabled = "enabled",
        /// They may not.
        Disabled = "disabled",
    }
);

names!(
    /// The life of a job.
    JobState, "job state" {
        /// Tasks may be added and run.
        Active = "active",
        /// Running tasks are being dealt with.
        Disabling = "disabling",
        /// No task runs.
        Disabled = "disabled",
        /// On the way back to active.
        Enabling = "enabling",
        /// Its tasks are being ended.
        Terminating = "terminating",
        /// Ended.
        Completed = "completed",
        /// Being removed with its tasks.
        Deleting = "deleting",
    }
);

names!(
    /// The life of a task.
    TaskState, "task state" {
        /// Waiting for a node, for its dependencies or for its next try.
        Active = "active",
        /// On a node, waiting for the job preparation task.
        Preparing = "preparing",
        /// On a node: staging, running or uploading.
        Running = "running",
        /// Ended; the result says how.
        Completed = "completed",
    }
);

names!(
    /// How an ended task or start task counts.
    ExecutionResult, "result" {
        /// As asked.
        Success = "success",
        /// Not as asked; the failure information says why.
        Failure = "failure",
    }
);

names!(
    /// Where a node's start task is.
    StartTaskState, "start task state" {
        /// It runs, or will run again.
        Running = "running",
        /// It ended.
        Completed = "completed",
    }
);

names!(
    /// How tasks are laid over the nodes of a pool.
    NodeFillType, "node fill type" {
        /// Evenly over all nodes.
        Spread = "spread",
        /// One node's slots first.
        Pack = "pack",
    }
);

names!(
    /// In which order jobs of equal priority are served.
    JobDefaultOrder, "job default order" {
        /// Any order; here by creation time all the same, which is one of those.
        None = "none",
        /// By creation time.
        CreationTime = "creationtime",
    }
);

names!(
    /// What happens when every task of a job has completed.
    OnAllTasksComplete, "on-all-tasks-complete action" {
        /// Nothing.
        NoAction = "noaction",
        /// The job terminates with the reason AllTasksComplete.
        TerminateJob = "terminatejob",
    }
);

names!(
    /// What happens when a task of a job fails for good.
    OnTaskFailure, "on-task-failure action" {
        /// Nothing.
        NoAction = "noaction",
        /// What the task's exit conditions say.
        PerformExitOptionsJobAction = "performexitoptionsjobaction",
    }
);

names!(
    /// What happens to a task whose dependencies can never be met.
    OnDependencyFailure, "on-dependency-failure action" {
        /// It waits for ever, as in the reference, and `explain` says so.
        Wait = "wait",
        /// It completes as failed, with the cause `dependency-failed`.
        Fail = "fail",
        /// It completes as succeeded without having run.
        Skip = "skip",
    }
);

names!(
    /// What an exit does to the job.
    JobAction, "job action" {
        /// Nothing.
        None = "none",
        /// The job is disabled with requeue.
        Disable = "disable",
        /// The job is terminated with the reason `TaskFailed`.
        Terminate = "terminate",
    }
);

names!(
    /// What an exit does to the tasks that depend on this one.
    DependencyAction, "dependency action" {
        /// They may run.
        Satisfy = "satisfy",
        /// They may not.
        Block = "block",
    }
);

names!(
    /// What must have happened to a task that others depend on.
    #[derive(Default)]
    DependencyCondition, "dependency condition" {
        /// Its exit conditions say `satisfy`; without these, it succeeded.
        #[default]
        Satisfied = "satisfied",
        /// It completed with failure.
        Failed = "failed",
        /// It completed either way.
        Completed = "completed",
    }
);

names!(
    /// Where a job preparation or release task is on a node.
    JobNodeTaskState, "job preparation or release task state" {
        /// Given to the node: staging or running, or waiting for its next try.
        Running = "running",
        /// Over.
        Completed = "completed",
    }
);

names!(
    /// What a node does with its attempts when its lease ends.
    OnLeaseExpiry, "on-lease-expiry policy" {
        /// Kills them, so that they may safely run elsewhere.
        Kill = "kill",
        /// Keeps them; they are not placed elsewhere before the node is heard again or removed.
        Keep = "keep",
    }
);

names!(
    /// When an output file is uploaded.
    UploadCondition, "upload condition" {
        /// When the task exits with 0.
        TaskSuccess = "tasksuccess",
        /// When it ends in any other way.
        TaskFailure = "taskfailure",
        /// In both cases.
        TaskCompletion = "taskcompletion",
    }
);

names!(
    /// Whose rights a task's automatic user has.
    ElevationLevel, "elevation level" {
        /// An unprivileged user.
        NonAdmin = "nonadmin",
        /// The administrator of the node.
        Admin = "admin",
    }
);

names!(
    /// How far an automatic user reaches.
    AutoUserScope, "auto user scope" {
        /// One user for each task.
        Task = "task",
        /// One user for all tasks of the pool on a node.
        Pool = "pool",
    }
);

names!(
    /// How strongly tasks are separated from each other and from their node, weakest first.
    IsolationLevel, "isolation level" {
        /// A user, limits, no new privileges, no capabilities.
        None = "none",
        /// Also processes, mounts and IPC of its own; the node's state and other tasks' directories are hidden.
        Process = "process",
        /// Also everything else read-only, few devices, filters of system calls and file system rules.
        Sandbox = "sandbox",
    }
);

names!(
    /// What tasks see of the network.
    TaskNetwork, "task network" {
        /// The node's own network.
        Host = "host",
        /// A loopback device and nothing else.
        None = "none",
    }
);

names!(
    /// By which means a node bounds the size of a task directory, weakest first.
    DiskLimit, "means of disk limits" {
        /// The directory is measured again and again, and a task that uses too much is ended.
        Watch = "watch",
        /// A file system in memory for each task.
        Tmpfs = "tmpfs",
        /// A file system in a file for each task.
        Loop = "loop",
        /// A btrfs subvolume with a quota group for each task.
        Btrfs = "btrfs",
        /// A project quota of ext4 or xfs for each task.
        ProjectQuota = "project-quota",
    }
);

names!(
    /// What becomes of the tasks of a node that is to take no more.
    DrainOption, "drain option" {
        /// Running tasks are ended and run again elsewhere.
        Requeue = "requeue",
        /// Running tasks are ended for good, as terminated.
        Terminate = "terminate",
        /// Running tasks end by themselves.
        TaskCompletion = "taskcompletion",
    }
);

names!(
    /// What follows when a node has been drained.
    AfterDrain, "action after draining" {
        /// It stays without scheduling.
        Stay = "stay",
        /// It is restarted.
        Reboot = "reboot",
        /// It is set up anew.
        Reimage = "reimage",
        /// It leaves its pool.
        Leave = "leave",
    }
);

names!(
    /// Where an attempt is, as its node sees it.
    AttemptPhase, "attempt phase" {
        /// Accepted, waiting for a slot of the node.
        Assigned = "assigned",
        /// Inputs are being fetched.
        Staging = "staging",
        /// The command runs.
        Running = "running",
        /// The command ended, outputs are being uploaded.
        Uploading = "uploading",
        /// All done; the report may not have been acknowledged yet.
        Finished = "finished",
    }
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_in_any_case_and_errors_list_them() {
        for state in NodeState::ALL {
            assert_eq!(NodeState::parse(state.as_str()), Ok(*state));
            assert_eq!(NodeState::parse(&state.as_str().to_uppercase()), Ok(*state));
        }
        let error = TaskState::parse("done").unwrap_err().to_string();
        assert!(error.contains("active, preparing, running, completed"), "{error}");
    }
}

//! The promises, looked at where they matter: at the simulated processes and at what clients were told.
//!
//! It knows neither core: what the records say is only compared with what happened, never believed.

use crate::machine::Machine;
use muster_controller_core::record::TaskStateRow;
use muster_model::TaskKey;
use muster_model::state::{ExecutionResult, TaskState};
use std::collections::{BTreeMap, BTreeSet};

/// What was promised and what has happened so far.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    /// Tasks whose creation was acknowledged, and whether each may run more than once.
    pub(crate) acknowledged: BTreeMap<TaskKey, bool>,
    /// How often a process of each task was started.
    pub(crate) starts: BTreeMap<TaskKey, u32>,
}

impl Oracle {
    /// At most one live attempt of a task in real time, on all machines together.
    pub(crate) fn one_live_attempt(machines: &[Machine]) -> Result<(), String> {
        let mut live = BTreeSet::new();
        for attempt in machines.iter().flat_map(Machine::running) {
            if !live.insert(attempt.task_key()) {
                return Err(format!("two processes of task {} are alive", attempt.task_key()));
            }
        }
        Ok(())
    }

    /// A process was started.
    pub(crate) fn started(&mut self, task: TaskKey) -> Result<(), String> {
        let may_repeat = self.acknowledged.get(&task).copied().unwrap_or(false);
        let count = self.starts.entry(task.clone()).or_default();
        *count += 1;
        if *count > 1 && !may_repeat {
            return Err(format!("task {task} allows no retry but was started {count} times"));
        }
        Ok(())
    }

    /// Once faults have stopped: every acknowledged task is there, has ended, and if it succeeded it did run.
    pub(crate) fn all_ended(&self, rows: &[TaskStateRow]) -> Result<(), String> {
        let by_key: BTreeMap<TaskKey, &TaskStateRow> =
            rows.iter().map(|row| (TaskKey { job: row.job.clone(), task: row.task.clone() }, row)).collect();
        for task in self.acknowledged.keys() {
            let row = by_key.get(task).ok_or_else(|| format!("acknowledged task {task} is lost"))?;
            if row.state != TaskState::Completed {
                return Err(format!("task {task} has not ended: {row:?}"));
            }
            if row.result == Some(ExecutionResult::Success) && !self.starts.contains_key(task) {
                return Err(format!("task {task} succeeded without ever running"));
            }
        }
        Ok(())
    }
}

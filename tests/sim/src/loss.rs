//! That nothing which was acknowledged is lost: whatever goes, somebody has asked for it.
//!
//! Only commands that were granted count. A name that is given again is another thing, which nobody has asked to go yet.

use crate::book::{Book, Change};
use crate::broken::{Kept, promise};
use muster_controller_core::input::Command;
use muster_model::spec::split_member;
use muster_model::{JobId, SweepId, TaskKey};
use std::collections::BTreeSet;

/// What may go.
#[derive(Debug, Default)]
pub(crate) struct Losses {
    jobs: BTreeSet<JobId>,
    sweeps: BTreeSet<(JobId, SweepId)>,
    tasks: BTreeSet<TaskKey>,
}

impl Losses {
    /// Takes in a command that was granted; the book says what was before.
    #[expect(clippy::wildcard_enum_match_arm, reason = "only these make anything go or come")]
    pub(crate) fn may_follow(&mut self, book: &Book, command: &Command) {
        match command {
            Command::DeleteJob { job, .. } => drop(self.jobs.insert(job.clone())),
            Command::DeleteSweep { job, sweep } => drop(self.sweeps.insert((job.clone(), sweep.clone()))),
            Command::DeleteTask { job, task, .. } => {
                let own = book.jobs.get(job).and_then(|known| known.find(task)).map_or(task, |(own, _)| own);
                self.tasks.insert(TaskKey { job: job.clone(), task: own.clone() });
            }
            Command::CreateJob(spec) => {
                self.jobs.remove(&spec.id);
                self.sweeps.retain(|(job, _)| *job != spec.id);
                self.tasks.retain(|task| task.job != spec.id);
            }
            Command::CreateSweep { job, sweep } => {
                self.sweeps.remove(&(job.clone(), sweep.id.clone()));
            }
            Command::CreateTasks { job, tasks } => {
                for task in tasks {
                    let key = TaskKey { job: job.clone(), task: task.id.clone() };
                    if book.task(&key).is_none() {
                        self.tasks.remove(&key);
                    }
                }
            }
            _ => {}
        }
    }

    /// Looks at what a step did to tasks.
    pub(crate) fn look(&self, changes: &[Change]) -> Kept {
        for change in changes.iter().filter(|change| change.before.is_some() && change.after.is_none()) {
            let key = &change.key;
            let sweep = split_member(&key.task).map(|(sweep, _)| (key.job.clone(), sweep));
            let asked = self.tasks.contains(key)
                || self.jobs.contains(&key.job)
                || sweep.is_some_and(|sweep| self.sweeps.contains(&sweep));
            promise("nothing is lost", asked, || format!("{key:?} is gone, and nobody has deleted it"))?;
        }
        Ok(())
    }
}

//! One client: it adds jobs, tasks and sweeps of all kinds, reads how they go, and changes its mind now and then.
//!
//! Jobs are a client's own, so that what it asks of them is in order. It goes no faster than a small machine: what is wanted are
//! many different moments, not many tasks.

use crate::asker::{Asker, is_over};
use crate::chance::Chance;
use crate::deed::Deed;
use crate::plan::LoadPlan;
use std::collections::BTreeSet;
use std::time::Duration;

/// Tasks that a job gets before the next one is begun.
const TASKS_OF_JOB: std::ops::RangeInclusive<u64> = 8..=24;

/// Between two calls.
const PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(60));

/// In how many of a hundred turns a client changes its mind.
const CONTROLS_PERCENT: u64 = 6;

/// Ended tasks that are read again now and then.
const ENDED_MAX: usize = 40;

/// A job of a client.
#[derive(Debug, Clone)]
struct Job {
    id: String,
    /// Whether its tasks may be put back into the queue, which at-most-once tasks may not.
    may_requeue: bool,
    is_disabled: bool,
    /// How many tasks it still gets.
    left: u64,
}

/// A client.
#[derive(Debug)]
pub struct Client {
    asker: Asker,
    chance: Chance,
    plan: LoadPlan,
    labour: String,
    name: String,
    jobs: Vec<Job>,
    made: u32,
    tasks: u32,
    open: Vec<(String, String)>,
    ended: Vec<(String, String)>,
    /// Jobs that were terminated or deleted: nothing more is asked of them but reads.
    over: BTreeSet<String>,
}

impl Client {
    /// A client of this number.
    #[must_use]
    pub fn new(asker: Asker, plan: LoadPlan, labour: String, number: u32, seed: u64) -> Self {
        Self {
            asker,
            chance: Chance::of(seed, &format!("client {number}")),
            plan,
            labour,
            name: format!("c{number}"),
            jobs: Vec::new(),
            made: 0,
            tasks: 0,
            open: Vec::new(),
            ended: Vec::new(),
            over: BTreeSet::new(),
        }
    }

    /// One thing that it does, and the pause after it.
    pub fn step(&mut self) -> Duration {
        if self.plan.has_controls && self.chance.percent(CONTROLS_PERCENT) {
            self.change_its_mind();
        } else if self.open.len() < usize::try_from(self.plan.backlog).unwrap_or(usize::MAX)
            && self.chance.percent(70)
        {
            self.add();
        } else {
            self.look();
        }
        self.chance.span(PAUSE.0, PAUSE.1)
    }

    /// Ends every pause, so that everything can end.
    pub fn finish(&mut self) {
        let disabled = self.jobs.iter().filter(|job| job.is_disabled && !self.over.contains(&job.id));
        for job in disabled.map(|job| job.id.clone()).collect::<Vec<_>>() {
            self.asker.enable(&job);
        }
    }

    /// Reads a task that is under way, or one that has ended, whose end must not change.
    fn look(&mut self) {
        if self.chance.percent(20) && !self.ended.is_empty() {
            let index = self.chance.index(self.ended.len());
            let (job, task) = self.ended[index].clone();
            self.asker.read(&job, &task);
            return;
        }
        let index = self.chance.index(self.open.len());
        let Some((job, task)) = self.open.get(index).cloned() else { return };
        let seen = self.asker.read(&job, &task);
        // What cannot be read was deleted, or nobody answers: then it is not waited for any longer.
        if seen.as_ref().is_none_or(is_over) {
            self.open.swap_remove(index);
            self.ended.push((job, task));
            if self.ended.len() > ENDED_MAX {
                self.ended.remove(0);
            }
        }
    }

    /// Adds a task, some tasks or a sweep to a job.
    fn add(&mut self) {
        let Some(index) = self.job() else { return };
        let (job, may_requeue) = (self.jobs[index].id.clone(), self.jobs[index].may_requeue);
        let count = match self.chance.below(10) {
            0 => self.add_sweep(&job, may_requeue),
            1 | 2 => self.add_some(&job, may_requeue),
            _ => {
                let (task, deed) = (self.task_id("t"), self.deed(may_requeue, true));
                if self.asker.create_task(&self.labour, &job, &task, deed) {
                    self.open.push((job, task));
                }
                1
            }
        };
        let job = &mut self.jobs[index];
        job.left = job.left.saturating_sub(count);
    }

    fn add_sweep(&mut self, job: &str, may_requeue: bool) -> u64 {
        let count = u32::try_from(3 + self.chance.below(5)).unwrap_or(3);
        let (sweep, deed) = (self.task_id("s"), self.deed(may_requeue, false));
        if self.asker.create_sweep(&self.labour, job, &sweep, deed, count) {
            self.open.extend((1..=count).map(|number| (job.to_owned(), format!("{sweep}-{number}"))));
        }
        u64::from(count)
    }

    fn add_some(&mut self, job: &str, may_requeue: bool) -> u64 {
        let count = 2 + self.chance.below(3);
        let deeds: Vec<(String, Deed)> =
            (0..count).map(|_| (self.task_id("t"), self.deed(may_requeue, true))).collect();
        let added = self.asker.create_tasks(&self.labour, job, &deeds);
        self.open.extend(added.into_iter().map(|task| (job.to_owned(), task)));
        count
    }

    fn task_id(&mut self, kind: &str) -> String {
        self.tasks += 1;
        format!("{kind}{}", self.tasks)
    }

    /// What a new task is to do.
    fn deed(&mut self, may_requeue: bool, may_write: bool) -> Deed {
        let long_ms = u64::try_from(self.plan.long.as_millis()).unwrap_or(u64::MAX);
        let writes = may_write && self.chance.percent(30);
        let chance = &mut self.chance;
        let (span_ms, exit_code, retries) = match chance.below(20) {
            0..=7 => (chance.below(60), 0, 5),
            8..=11 => (300 + chance.below(1200), 0, 5),
            12 | 13 => (long_ms, 0, 5),
            14..=16 => (100 + chance.below(1500), 0, 0),
            17 => (chance.below(100), 7, 0),
            _ => (chance.below(200), 3, 2),
        };
        let retries = if may_requeue && retries == 0 { 1 } else { retries };
        Deed { span_ms, exit_code, retries, writes }
    }

    /// A job that takes tasks: one that is there or a new one.
    fn job(&mut self) -> Option<usize> {
        let takes: Vec<usize> = (0..self.jobs.len())
            .filter(|index| self.jobs[*index].left > 0 && !self.over.contains(&self.jobs[*index].id))
            .collect();
        if !takes.is_empty() && self.chance.percent(95) {
            return self.chance.one_of(&takes).copied();
        }
        self.made += 1;
        let id = format!("{}-j{}", self.name, self.made);
        let left = TASKS_OF_JOB.start() + self.chance.below(TASKS_OF_JOB.end() - TASKS_OF_JOB.start());
        let may_requeue = self.chance.percent(40);
        if !self.asker.create_job(&id) {
            return None;
        }
        self.jobs.push(Job { id, may_requeue, is_disabled: false, left });
        Some(self.jobs.len() - 1)
    }

    /// Terminates, deletes, pauses, or tries something once more.
    fn change_its_mind(&mut self) {
        let disabled = self.jobs.iter().position(|job| job.is_disabled && !self.over.contains(&job.id));
        // Pauses are short: work is to flow.
        if let Some(index) = disabled.filter(|_| self.chance.percent(60)) {
            self.enable(index);
            return;
        }
        match self.chance.below(12) {
            0..=2 => {
                if let Some((job, task)) = self.chance.one_of(&self.open).cloned() {
                    self.asker.terminate_task(&job, &task);
                }
            }
            3 => {
                let index = self.chance.index(self.open.len());
                if index < self.open.len() {
                    let (job, task) = self.open.swap_remove(index);
                    self.asker.delete_task(&job, &task);
                }
            }
            4..=6 => self.reactivate(),
            7..=9 => self.pause_a_job(),
            10 => self.end_a_job(false),
            _ => self.end_a_job(true),
        }
    }

    fn reactivate(&mut self) {
        let index = self.chance.index(self.ended.len());
        let Some((job, task)) = self.ended.get(index).cloned() else { return };
        if self.asker.reactivate_task(&job, &task) {
            self.ended.swap_remove(index);
            self.open.push((job, task));
        }
    }

    fn pause_a_job(&mut self) {
        let index = self.chance.index(self.jobs.len());
        let Some(job) = self.jobs.get_mut(index) else { return };
        if job.is_disabled || self.over.contains(&job.id) {
            return;
        }
        // Asked for is as good as done: the client may never be told.
        job.is_disabled = true;
        let (id, is_requeue) = (job.id.clone(), job.may_requeue && self.chance.percent(50));
        self.asker.disable(&id, is_requeue);
    }

    fn enable(&mut self, index: usize) {
        let id = self.jobs[index].id.clone();
        if self.asker.enable(&id) {
            self.jobs[index].is_disabled = false;
        }
    }

    /// Ends an old job, so that there is always some to work on.
    fn end_a_job(&mut self, is_deletion: bool) {
        if self.jobs.len() < 3 {
            return;
        }
        let index = self.chance.index(self.jobs.len() - 1);
        let id = self.jobs[index].id.clone();
        if !self.over.insert(id.clone()) {
            return;
        }
        if is_deletion {
            self.asker.delete_job(&id);
            self.open.retain(|(job, _)| *job != id);
        } else {
            self.asker.terminate_job(&id);
        }
    }
}

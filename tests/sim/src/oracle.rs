//! The promises, looked at where they matter: at the simulated processes.
//!
//! It is told of every process that starts and ends, and of what was granted to each attempt when it was placed. What the
//! records say otherwise is only compared with what happened, never believed (`judge`).

use crate::book::{Book, Change, Known, KnownJob, Stand};
use crate::broken::{Broken, Kept, broken, promise};
use crate::loss::Losses;
use crate::machine::capacity;
use crate::translate::SLOTS;
use muster_agent_core::input::{Ended, EndedBy};
use muster_model::spec::RetryLimit;
use muster_model::{AttemptId, JobId, NodeId, Resources, TaskId, TaskKey, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What a process is to its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Task,
    Preparation,
    Release,
}

/// What an attempt was granted when it was placed.
#[derive(Debug, Clone)]
pub(crate) struct Grant {
    pub(crate) resources: Resources,
    pub(crate) exclusive: bool,
    /// The job's max_parallel_tasks at that time.
    pub(crate) parallel: Option<u32>,
    pub(crate) at: Timestamp,
    /// In which of all steps.
    pub(crate) step: u64,
    /// The shortest wall-clock limit that it has had.
    pub(crate) wall_least: Option<Duration>,
    /// When its limits last changed.
    pub(crate) changed: Timestamp,
}

/// A process that runs.
#[derive(Debug, Clone)]
struct Live {
    /// Which of the jobs that have had its job's id.
    life: u64,
    kind: Kind,
    gpus: Vec<u32>,
    since: Timestamp,
}

/// Where a process is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) machine: usize,
    pub(crate) node: &'a NodeId,
    pub(crate) boot: u32,
    pub(crate) pool: u8,
}

/// A process that was started, for those who find its mark.
#[derive(Debug, Clone)]
pub(crate) struct Wrote {
    pub(crate) attempt: AttemptId,
    pub(crate) node: NodeId,
}

/// How often a task may start and has.
#[derive(Debug, Default)]
struct Starts {
    count: u32,
    /// Beside the first: for each time that somebody asked for another, and for more memory.
    more: u32,
    /// It had retries at some time.
    repeats: bool,
}

/// What has happened so far.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    pub(crate) grants: BTreeMap<AttemptId, Grant>,
    pub(crate) ends: BTreeMap<AttemptId, (Ended, EndedBy)>,
    /// The last attempt of each name that a machine was told to run, with the task's incarnation.
    assigned: BTreeMap<(usize, TaskKey), (u64, u32)>,
    live: BTreeMap<(usize, AttemptId), Live>,
    /// The machines whose start task has succeeded, and in which boots.
    started_up: BTreeSet<(usize, u32)>,
    /// In which boots a machine was prepared for a job.
    prepared: BTreeMap<(usize, u64), BTreeSet<u32>>,
    released: BTreeSet<(usize, u64)>,
    starts: BTreeMap<(u64, TaskId), Starts>,
    pub(crate) starts_in_all: u32,
    /// Every process that was started, by its mark.
    wrote: Vec<Wrote>,
    /// In which of all steps a node was last found to fail.
    pub(crate) struck: BTreeMap<NodeId, u64>,
    /// What may go because somebody asked for it.
    pub(crate) losses: Losses,
    /// What was seen to happen, and how often: a promise about what never happens is worth nothing.
    pub(crate) seen: BTreeMap<&'static str, u32>,
}

fn kind_of(job: &KnownJob, task: &TaskId) -> Kind {
    let spec = &job.spec;
    if spec.preparation.as_ref().is_some_and(|preparation| preparation.id == *task) {
        Kind::Preparation
    } else if spec.release.as_ref().is_some_and(|release| release.id == *task) {
        Kind::Release
    } else {
        Kind::Task
    }
}

impl Oracle {
    /// Notes that something worth having happened did.
    pub(crate) fn saw(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    /// A machine was told to run an attempt. It takes what does not grow for a repetition.
    pub(crate) fn assigned(&mut self, machine: usize, attempt: &AttemptId, incarnation: u64) -> Kept {
        let now = (incarnation, attempt.number);
        let before = self.assigned.insert((machine, attempt.task_key()), now);
        promise("attempt numbers only grow", before.is_none_or(|before| before < now), || {
            format!(
                "{attempt} of incarnation {incarnation} is assigned to machine {machine} after {before:?}"
            )
        })
    }

    /// The process of this mark.
    pub(crate) fn who(&self, mark: u32) -> Option<Wrote> {
        self.wrote.get(usize::try_from(mark).ok()?).cloned()
    }

    /// The fencing proof: of what a step counts as over, nothing runs any more, on any machine.
    pub(crate) fn over_does_not_run(&self, changes: &[Change]) -> Kept {
        for change in changes {
            let Some(before) = change.before.as_ref().filter(|before| before.placed) else { continue };
            let goes_on = |after: &Stand| after.placed && after.attempt == before.attempt;
            if change.after.as_ref().is_some_and(goes_on) {
                continue;
            }
            let TaskKey { job, task } = change.key.clone();
            let over = AttemptId { job, task, number: before.attempt };
            let alive = self.live.keys().find(|(_, attempt)| *attempt == over);
            promise("what is over does not run", alive.is_none(), || {
                format!(
                    "{over} runs on machine {:?} and counts as over: {:?}",
                    alive.map(|(at, _)| at),
                    change.after
                )
            })?;
        }
        Ok(())
    }

    /// A process was started; its mark.
    pub(crate) fn started(
        &mut self,
        book: &Book,
        place: Place<'_>,
        attempt: &AttemptId,
        gpus: &[u32],
        now: Timestamp,
    ) -> Result<u32, Broken> {
        let job = book.jobs.get(&attempt.job);
        let job =
            job.ok_or_else(|| broken("only what exists runs", format!("{attempt} runs and has no job")))?;
        let kind = kind_of(job, &attempt.task);
        self.alone(place.machine, attempt, kind)?;
        let mark = self.starts_in_all;
        self.starts_in_all += 1;
        self.wrote.push(Wrote { attempt: attempt.clone(), node: place.node.clone() });
        let live = Live { life: job.life, kind, gpus: gpus.to_vec(), since: now };
        self.live.insert((place.machine, attempt.clone()), live);
        match kind {
            Kind::Task => self.task_started(book, job, place, attempt)?,
            Kind::Preparation => promise(
                "nothing is prepared after its release",
                !self.is_released(place.machine, job),
                || format!("{attempt} starts on machine {} after the release there", place.machine),
            )?,
            Kind::Release => self.release_started(job, place.machine, attempt)?,
        }
        Ok(mark)
    }

    /// No other attempt of the same task is alive; of a preparation or release, none on the same machine.
    fn alone(&self, machine: usize, attempt: &AttemptId, kind: Kind) -> Kept {
        let same = |(at, other): &&(usize, AttemptId)| {
            other.task_key() == attempt.task_key() && (kind == Kind::Task || *at == machine)
        };
        match self.live.keys().find(same) {
            None => Ok(()),
            Some((at, other)) => Err(broken(
                "one live attempt",
                format!("{attempt} starts on machine {machine} while {other} is alive on machine {at}"),
            )),
        }
    }

    fn is_released(&self, machine: usize, job: &KnownJob) -> bool {
        self.released.contains(&(machine, job.life))
    }

    fn task_started(&mut self, book: &Book, job: &KnownJob, place: Place<'_>, attempt: &AttemptId) -> Kept {
        let machine = place.machine;
        let known = book.task(&attempt.task_key());
        let is_current = known.is_some_and(|known| {
            let stand = &known.stand;
            stand.placed && stand.attempt == attempt.number && stand.node.as_ref() == Some(place.node)
        });
        promise("only the current attempt runs", is_current, || {
            format!("{attempt} starts on {}, but clients read {:?}", place.node, known.map(|k| &k.stand))
        })?;
        let ready = place.pool == 0 || self.started_up.contains(&(machine, place.boot));
        promise("a task runs only after the start task", ready, || {
            format!("{attempt} starts on {} in boot {}", place.node, place.boot)
        })?;
        self.count_start(job, attempt, known)?;
        let released = self.released.iter().any(|(_, life)| *life == job.life);
        promise("a release comes after all tasks", !released, || {
            format!("{attempt} starts after a release")
        })?;
        self.is_prepared(job, place, attempt)?;
        self.fits(job, machine, attempt)?;
        self.is_within_parallel(job, attempt)?;
        if job.spec.preparation.is_some() {
            self.saw("a task runs where its job was prepared");
        }
        let grant = self.grants.get(attempt);
        let (alone, gpus) = grant.map_or((false, 0), |grant| (grant.exclusive, grant.resources.gpus));
        if alone {
            self.saw("a manager has its node alone");
        }
        if gpus > 0 {
            self.saw("a task has GPUs");
        }
        if attempt.number > 1 {
            self.saw("a task runs again");
        }
        Ok(())
    }

    /// A task without retries starts once, and once more for each time that somebody asked for it.
    fn count_start(&mut self, job: &KnownJob, attempt: &AttemptId, known: Option<&Known>) -> Kept {
        if let Some(known) = known {
            self.note_retries(job, known, &attempt.task);
        }
        let starts = self.starts.entry((job.life, attempt.task.clone())).or_default();
        starts.count += 1;
        let (count, allowed) = (starts.count, 1 + starts.more);
        promise("at most once", starts.repeats || count <= allowed, || {
            format!("{attempt} allows no retry and may start {allowed} times, but this is start {count}")
        })
    }

    /// Notes whether a task has retries now.
    pub(crate) fn note_retries(&mut self, job: &KnownJob, known: &Known, task: &TaskId) {
        let limit =
            known.constraints().max_task_retry_count.unwrap_or(job.spec.constraints.max_task_retry_count);
        if limit != RetryLimit::Times(0) {
            self.starts.entry((job.life, task.clone())).or_default().repeats = true;
        }
    }

    /// Somebody asked for another run of a task.
    pub(crate) fn allow_another(&mut self, job: &KnownJob, task: &TaskId) {
        self.starts.entry((job.life, task.clone())).or_default().more += 1;
    }

    /// A task is gone; one of the same name is another.
    pub(crate) fn forget(&mut self, job: &KnownJob, task: &TaskId) {
        self.starts.remove(&(job.life, task.clone()));
    }

    fn is_prepared(&self, job: &KnownJob, place: Place<'_>, attempt: &AttemptId) -> Kept {
        let Some(spec) = job.spec.preparation.as_ref().filter(|spec| spec.wait_for_success) else {
            return Ok(());
        };
        let boots = self.prepared.get(&(place.machine, job.life));
        let prepared = boots
            .is_some_and(|boots| !spec.rerun_on_node_reboot_after_success || boots.contains(&place.boot));
        promise("a task runs only on a prepared node", prepared, || {
            format!("{attempt} starts on {} in boot {}; prepared in boots {boots:?}", place.node, place.boot)
        })
    }

    /// What runs on a machine fits into it, GPUs are nobody else's, and who wants it alone has it alone.
    fn fits(&self, job: &KnownJob, machine: usize, attempt: &AttemptId) -> Kept {
        let offer = Resources { slots: SLOTS, ..capacity() };
        let mut sum = Resources::default();
        let (mut tasks, mut exclusive, mut gpus) = (Vec::new(), false, BTreeSet::new());
        let here = self.live.iter().filter(|((at, _), live)| *at == machine && live.kind == Kind::Task);
        for ((_, other), live) in here {
            let grant = self.grants.get(other);
            let grant =
                grant.ok_or_else(|| broken("only what was placed runs", format!("{other} was not")))?;
            sum = sum.plus(&grant.resources);
            exclusive |= grant.exclusive;
            let own = live.gpus.iter().filter(|gpu| gpus.insert(**gpu)).count();
            promise("every GPU is one attempt's", u32::try_from(own) == Ok(grant.resources.gpus), || {
                format!("{other} has GPUs {:?} and asked for {}", live.gpus, grant.resources.gpus)
            })?;
            tasks.push(other);
        }
        promise("nothing is oversubscribed", sum.fits(&offer), || {
            format!("{attempt} starts on machine {machine}, where {tasks:?} take {sum:?} of {offer:?}")
        })?;
        promise("who wants a node alone has it alone", !exclusive || tasks.len() == 1, || {
            format!("{attempt} of job {} starts on machine {machine}, where {tasks:?} run", job.spec.id)
        })
    }

    fn is_within_parallel(&self, job: &KnownJob, attempt: &AttemptId) -> Kept {
        let of_job = self.live.iter().filter(|(_, live)| live.life == job.life && live.kind == Kind::Task);
        let limits: Vec<_> =
            of_job.map(|((_, other), _)| self.grants.get(other).and_then(|g| g.parallel)).collect();
        let unlimited = limits.contains(&None);
        let most = limits.iter().flatten().max().copied().unwrap_or(0);
        promise("max_parallel_tasks", unlimited || limits.len() <= usize::try_from(most).unwrap_or(0), || {
            format!("{attempt} starts as one of {} while at most {most} were ever allowed", limits.len())
        })
    }

    fn release_started(&mut self, job: &KnownJob, machine: usize, attempt: &AttemptId) -> Kept {
        let others = self.live.iter().filter(|(_, live)| live.life == job.life);
        let in_the_way: Vec<_> = others
            .filter(|((at, _), live)| match live.kind {
                Kind::Task => true,
                Kind::Preparation => *at == machine,
                Kind::Release => false,
            })
            .map(|((_, other), _)| other)
            .collect();
        promise("a release comes after all tasks", in_the_way.is_empty(), || {
            format!("{attempt} starts on machine {machine} while {in_the_way:?} run")
        })?;
        self.saw("a release runs");
        promise("a release runs once on a node", self.released.insert((machine, job.life)), || {
            format!("{attempt} starts on machine {machine} again")
        })
    }

    /// A start task has ended.
    pub(crate) fn start_task_ended(&mut self, place: Place<'_>, end: (Ended, EndedBy)) {
        if end == (Ended::Exited(0), EndedBy::Itself) {
            self.started_up.insert((place.machine, place.boot));
        } else {
            self.saw("a start task fails");
        }
    }

    /// A process has ended.
    pub(crate) fn ended(
        &mut self,
        book: &Book,
        place: Place<'_>,
        attempt: &AttemptId,
        (ended, by): (Ended, EndedBy),
        now: Timestamp,
    ) -> Kept {
        let Some(live) = self.live.remove(&(place.machine, attempt.clone())) else { return Ok(()) };
        match (ended, by) {
            (Ended::Rebooted, _) => self.saw("a boot ends a process"),
            (_, EndedBy::LeaseEnded) => self.saw("a lease ends a process"),
            (_, EndedBy::WallClock) => self.saw("a wall clock ends a process"),
            (_, EndedBy::Requested) => self.saw("a wish ends a process"),
            (_, EndedBy::Itself | EndedBy::OutOfMemory | EndedBy::Shutdown) => {}
        }
        match live.kind {
            Kind::Preparation if (ended, by) == (Ended::Exited(0), EndedBy::Itself) => {
                self.prepared.entry((place.machine, live.life)).or_default().insert(place.boot);
            }
            Kind::Preparation | Kind::Release => {}
            Kind::Task => {
                self.ends.insert(attempt.clone(), (ended, by));
                let known = book.task(&attempt.task_key());
                let escalates = known.is_some_and(|known| known.constraints().on_out_of_memory.is_some());
                if by == EndedBy::OutOfMemory && escalates {
                    self.saw("a task that asks for more memory runs out of it");
                    self.starts.entry((live.life, attempt.task.clone())).or_default().more += 1;
                }
                if by == EndedBy::WallClock {
                    let grant = self.grants.get(attempt);
                    let in_time = grant.is_some_and(|grant| {
                        // A clock runs 1 % fast at most.
                        grant.wall_least.is_some_and(|least| now.since(grant.at) >= least.mul_f64(0.989))
                    });
                    promise("no wall clock runs fast", in_time, || {
                        format!(
                            "{attempt} was ended by its wall clock after {:?}: {grant:?}",
                            now.since(live.since)
                        )
                    })?;
                }
            }
        }
        Ok(())
    }

    /// Once all are in contact, nothing outlives its wall clock.
    pub(crate) fn within_limits(&self, book: &Book, calm: Timestamp, now: Timestamp) -> Kept {
        /// Time for a changed limit to reach its process, and for a process to be ended.
        const SLACK: Duration = Duration::from_secs(50);
        for ((_, attempt), live) in &self.live {
            let Some(known) = book.task(&attempt.task_key()) else { continue };
            let Some(limit) = known.constraints().max_wall_clock_time else { continue };
            let changed = self.grants.get(attempt).map_or(live.since, |grant| grant.changed);
            let end = live.since.after(limit).max(changed).max(calm).after(SLACK);
            promise("nothing outlives its wall clock", now <= end || live.kind != Kind::Task, || {
                format!("{attempt} runs since {:?} under a limit of {limit:?}", live.since)
            })?;
        }
        Ok(())
    }

    /// Processes that run.
    pub(crate) fn alive(&self) -> impl Iterator<Item = &AttemptId> {
        self.live.keys().map(|(_, attempt)| attempt)
    }

    /// Where a job's release has run.
    pub(crate) fn was_ended_by(&self, job: &JobId, task: &TaskId, number: u32) -> Option<(Ended, EndedBy)> {
        let key = TaskKey { job: job.clone(), task: task.clone() };
        self.ends.get(&AttemptId { job: key.job, task: key.task, number }).copied()
    }
}

#[cfg(test)]
mod tests;

//! What clients ask for, and whether the answers fit what they could have read before.
//!
//! Refusals are part of life; that a refused command has changed nothing holds by construction, because it has no records.

use crate::broken::{Broken, Kept, promise};
use crate::call::Call;
use crate::draw;
use crate::engine::{Asked, Decided};
use crate::event::Event;
use crate::names;
use crate::pools;
use crate::rest;
use crate::script::{NodeWish, SweepWish, Wish};
use crate::words;
use crate::world::World;
use muster_controller_core::input::{Command, DisableTasks, Input};
use muster_controller_core::reject::Reject;
use muster_controller_core::reply::Reply;
use muster_model::spec::{JobPatch, RetryLimit, TaskConstraints};
use muster_model::state::{ExecutionResult, JobState};
use muster_model::{JobId, TaskId};
use std::time::Duration;

/// An etag that nothing has.
const STALE: u64 = u64::MAX;

impl World {
    /// Lets a client ask for something; `stale`: with an etag that cannot be right.
    pub(crate) fn wish(&mut self, line: usize, wish: Wish, stale: bool) -> Kept {
        let number = u64::try_from(line).unwrap_or(u64::MAX);
        let command = self.command_of(wish, stale.then_some(STALE));
        self.say(|| {
            format!("client wants: {}{}", words::command(&command), if stale { ", stale" } else { "" })
        });
        self.calls.insert(number, Call::new(self.seed, self.now, wish, command, stale));
        self.asks(number)
    }

    /// Looks at the answer to a call by what could be read just before it was granted; notes what follows from it. Answers
    /// whether it was not granted before.
    pub(crate) fn look_at_answer(&mut self, number: u64, decided: &Decided) -> Result<bool, Broken> {
        let reply = &decided.reply;
        if !self.is_first(number, reply, decided.records.len())? {
            return Ok(false);
        }
        let Some(call) = self.calls.get(&number) else { return Ok(false) };
        let (wish, stale) = (call.wish, call.stale);
        let named = named(&call.command);
        let guarded = stale && takes_etag(wish) && !self.shell_compares(&call.command);
        let known = named
            .as_ref()
            .map(|(job, task)| self.book.jobs.get(job).is_some_and(|job| job.find(task).is_some()));
        self.refused += u32::from(reply.is_err());
        promise("a stale etag changes nothing", !guarded || reply.is_err(), || {
            format!("{wish:?}: {reply:?}")
        })?;
        if let (Some(known), Err(reject)) = (known, reply) {
            let missing = matches!(reject, Reject::TaskNotFound { .. } | Reject::JobNotFound(_));
            promise("a task is found by every name", known != missing, || format!("{wish:?}: {reply:?}"))?;
        }
        if let (Some(false), Ok(_)) = (known, reply) {
            promise("a task is found by every name", false, || format!("{wish:?} was granted"))?;
        }
        if let Ok(reply) = reply {
            self.note(wish, named.as_ref());
            let command = self.calls.get_mut(&number).map(|call| {
                call.granted = Some(reply.clone());
                call.command.clone()
            });
            if let Some(command) = command {
                self.oracle.losses.may_follow(&self.book, &command);
            }
        }
        Ok(true)
    }

    /// Whether the etag is the daemon's to compare: of a member of a sweep that has succeeded the core knows only that, and
    /// what is stored of it never changes.
    fn shell_compares(&self, command: &Command) -> bool {
        let Command::DeleteTask { job, task, .. } = command else { return false };
        let known = self.book.jobs.get(job).and_then(|job| job.find(task));
        known.is_some_and(|(_, known)| {
            known.member.is_some() && known.stand.result == Some(ExecutionResult::Success)
        })
    }

    /// Notes wishes that were granted and are worth having been; the book still says what was before.
    fn note(&mut self, wish: Wish, named: Option<&(JobId, TaskId)>) {
        if let Wish::MoveJob { job, pool } = wish {
            let known = self.book.jobs.get(&names::job(job));
            if known.is_some_and(|known| known.spec.pool != names::pool(pool) && !known.tasks.is_empty()) {
                self.oracle.saw("a job with tasks moves to another pool");
            }
        }
        let found = named.and_then(|(job, task)| Some((self.book.jobs.get(job)?.find(task)?.0, task)));
        if found.is_some_and(|(own, named)| own != named) {
            self.oracle.saw("a member is named without its zeros");
        }
    }

    /// What is being acknowledged as added can be read.
    pub(crate) fn all_acknowledged(&self, number: u64, reply: &Result<Reply, Reject>) -> Kept {
        let Some(wish) = self.calls.get(&number).map(|call| call.wish) else { return Ok(()) };
        let (Wish::AddTasks { job, .. }, Ok(Reply::Tasks(refused))) = (wish, reply) else { return Ok(()) };
        let id = names::job(job);
        // A job that ends with its last task may have ended, but its tasks are there.
        for (index, task) in (0u32..).zip(added(wish)) {
            let taken = refused.iter().all(|refusal| refusal.index != index);
            let there = self.book.jobs.get(&id).is_some_and(|job| job.tasks.contains_key(&task));
            promise("acknowledged is there", there || !taken, || format!("{id}/{task}: {reply:?}"))?;
        }
        Ok(())
    }

    /// Lets go of what wishes have held up, so that what can end does.
    pub(crate) fn close(&mut self) -> Kept {
        if !self.controller.is_up() {
            self.later(1_000, Event::Close);
            return Ok(());
        }
        self.closed = true;
        // What is being committed is known to the core and not yet to the book.
        if self.controller.engine.is_idle() {
            rest::waiting_can_say(&self.book, &mut self.oracle, &self.controller, self.now)?;
        }
        let jobs: Vec<(JobId, JobState)> =
            self.book.jobs.iter().map(|(id, job)| (id.clone(), job.state)).collect();
        for (job, state) in jobs {
            if matches!(state, JobState::Disabled | JobState::Disabling) {
                self.command(Command::EnableJob { job: job.clone(), if_match: None })?;
            }
            let patch = JobPatch { max_parallel_tasks: Some(None), ..JobPatch::default() };
            self.command(Command::UpdateJob { job, patch, if_match: None })?;
        }
        let nodes: Vec<_> = self.book.nodes.values().map(|row| (row.pool.clone(), row.id.clone())).collect();
        for (pool, node) in nodes {
            // Refused where there is nothing to enable.
            self.command(Command::EnableScheduling { pool, node, if_match: None })?;
        }
        self.say(|| "all jobs and nodes are enabled and without limits of their own".to_owned());
        Ok(())
    }

    /// An operator's command, without a request id.
    pub(crate) fn command(&mut self, command: Command) -> Kept {
        let input = Input::Client { account: names::account(), request_id: None, command };
        self.tell_controller(input, Asked::Nobody)
    }

    fn command_of(&self, wish: Wish, if_match: Option<u64>) -> Command {
        match wish {
            Wish::CreateJob { job, draw } => Command::CreateJob(Box::new(draw::job(names::job(job), draw))),
            Wish::UpdateJob { job, parallel, priority } => {
                let patch = JobPatch {
                    max_parallel_tasks: Some(parallel),
                    priority: Some(priority),
                    ..JobPatch::default()
                };
                Command::UpdateJob { job: names::job(job), patch, if_match }
            }
            Wish::MoveJob { job, pool } => {
                let patch = JobPatch { pool: Some(names::pool(pool)), ..JobPatch::default() };
                Command::UpdateJob { job: names::job(job), patch, if_match }
            }
            Wish::DisableJob { job, how } => {
                let ways = [DisableTasks::Requeue, DisableTasks::Terminate, DisableTasks::Wait];
                let tasks = ways[usize::from(how % 3)];
                Command::DisableJob { job: names::job(job), tasks, if_match }
            }
            Wish::EnableJob { job } => Command::EnableJob { job: names::job(job), if_match },
            Wish::TerminateJob { job } => {
                Command::TerminateJob { job: names::job(job), reason: "UserTerminate".to_owned(), if_match }
            }
            Wish::DeleteJob { job } => Command::DeleteJob { job: names::job(job), if_match },
            Wish::AddTasks { job, draw, .. } => {
                let tasks = (draw..).zip(added(wish)).map(|(draw, id)| draw::task(id, draw)).collect();
                Command::CreateTasks { job: names::job(job), tasks }
            }
            Wish::UpdateTask { job, task, seconds, retries } => {
                let (job, task) = (names::job(job), names::task(task));
                let known = self.book.jobs.get(&job).and_then(|job| job.find(&task));
                let constraints = TaskConstraints {
                    max_wall_clock_time: seconds.map(Duration::from_secs),
                    max_task_retry_count: retries.map(RetryLimit::Times),
                    ..known.map(|(_, known)| known.constraints()).unwrap_or_default()
                };
                Command::UpdateTask { job, task, constraints, if_match }
            }
            Wish::UpdatePlaced { job, place, seconds } => {
                let (job, wall) = (names::job(job), seconds.map(Duration::from_secs));
                let (task, old) = self.one_placed(&job, place);
                let constraints = TaskConstraints { max_wall_clock_time: wall, ..old };
                Command::UpdateTask { job, task, constraints, if_match }
            }
            Wish::TerminateTask { job, task } => {
                Command::TerminateTask { job: names::job(job), task: names::task(task), if_match }
            }
            Wish::ReactivateTask { job, task } => {
                Command::ReactivateTask { job: names::job(job), task: names::task(task), if_match }
            }
            Wish::DeleteTask { job, task } => {
                Command::DeleteTask { job: names::job(job), task: names::task(task), if_match }
            }
            Wish::OfSweep { job, sweep, wish } => {
                let (job, sweep) = (names::job(job), names::sweep(sweep));
                match wish {
                    SweepWish::Add { draw } => {
                        Command::CreateSweep { job, sweep: Box::new(draw::sweep(sweep, draw)) }
                    }
                    SweepWish::Terminate { numbers } => Command::TerminateSweep { job, sweep, numbers },
                    SweepWish::Reactivate { numbers } => Command::ReactivateSweep { job, sweep, numbers },
                    SweepWish::Delete => Command::DeleteSweep { job, sweep },
                }
            }
            Wish::OfNode { machine, wish } => of_node(machine, wish, if_match),
            Wish::OfPool { pool, wish } => pools::command(pool, wish, if_match),
        }
    }

    /// One of the tasks of a job that are on nodes, and its constraints; any task if there is none.
    fn one_placed(&self, job: &JobId, place: u8) -> (TaskId, TaskConstraints) {
        let tasks = self.book.jobs.get(job).into_iter().flat_map(|known| &known.tasks);
        let placed: Vec<_> = tasks.filter(|(_, known)| known.stand.placed).collect();
        match placed.get(usize::from(place) % placed.len().max(1)) {
            Some((task, known)) => ((*task).clone(), known.constraints()),
            None => (names::task(place), TaskConstraints::default()),
        }
    }
}

fn of_node(machine: u8, wish: NodeWish, if_match: Option<u64>) -> Command {
    let machine = usize::from(machine);
    let (pool, node) = (names::pool(names::pool_of(machine)), names::node(machine));
    match wish {
        NodeWish::Disable { option, seconds } => {
            let deadline = seconds.map(Duration::from_secs);
            Command::DisableScheduling { pool, node, option, deadline, if_match }
        }
        NodeWish::Enable => Command::EnableScheduling { pool, node, if_match },
        NodeWish::Restart { option, reimage } => {
            Command::RestartNode { pool, node, option, reimage, if_match }
        }
        NodeWish::Remove { option, seconds } => {
            let timeout = Some(Duration::from_secs(seconds));
            Command::RemoveNodes { pool, nodes: vec![node], option, timeout, if_match }
        }
    }
}

/// The ids of the tasks that a wish adds.
fn added(wish: Wish) -> Vec<TaskId> {
    let Wish::AddTasks { first, count, .. } = wish else { return Vec::new() };
    let numbers = first..first.saturating_add(count);
    numbers.map(|number| names::task(number % names::PLAIN_TASKS)).collect()
}

/// Whether a wish can be made to depend on an etag.
const fn takes_etag(wish: Wish) -> bool {
    !matches!(wish, Wish::CreateJob { .. } | Wish::AddTasks { .. } | Wish::OfSweep { .. })
}

/// The existing task that a command is about.
#[expect(clippy::wildcard_enum_match_arm, reason = "only these name one task")]
fn named(command: &Command) -> Option<(JobId, TaskId)> {
    match command {
        Command::UpdateTask { job, task, .. }
        | Command::TerminateTask { job, task, .. }
        | Command::ReactivateTask { job, task, .. }
        | Command::DeleteTask { job, task, .. } => Some((job.clone(), task.clone())),
        _ => None,
    }
}

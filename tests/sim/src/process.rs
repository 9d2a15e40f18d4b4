//! Agents and their processes: what the shell around an agent does with its effects.
//!
//! Whatever starts or ends is told to the oracle before its agent hears of it. What an agent asks its supervisor while that
//! does not hear it is lost, as in the real one.

use crate::broken::{Kept, broken};
use crate::event::Event;
use crate::fate::{self, Fate};
use crate::machine::Death;
use crate::oracle::Place;
use crate::outputs;
use crate::supervisor::{Keyed, Process};
use crate::world::World;
use muster_agent_core::input::{Collected, Ended, EndedBy, Exit};
use muster_agent_core::{Effect, Input as AgentInput, Subject};
use muster_model::{Cause, FailureInfo};
use std::time::Duration;

/// What a kill takes at most, in milliseconds.
const KILL_MILLIS: u64 = 100;

impl World {
    pub(crate) fn start_agent(&mut self, machine: usize) -> Kept {
        let on = &mut self.machines[machine];
        if on.is_up() || on.gone || on.lost || !on.has_joined {
            return Ok(());
        }
        if self.now < on.full_until {
            // Without room for a journal it does not start; the machine's service manager tries again.
            self.later(5_000, Event::StartAgent { machine });
            return Ok(());
        }
        on.start(self.now);
        let (errors, incarnation) = (on.errors.clone(), on.incarnation);
        self.later(500, Event::Connect { machine });
        let millis = if self.chance.one_in(8) { 3_000 } else { 300 };
        self.later(millis, Event::Reattach { machine, incarnation });
        self.tell_agent(machine, AgentInput::Health(errors))
    }

    /// Tells an agent something, or keeps it until the agent goes on.
    pub(crate) fn tell_agent(&mut self, machine: usize, input: AgentInput) -> Kept {
        let on = &mut self.machines[machine];
        if !on.is_up() {
            return Ok(());
        }
        if let Some(waiting) = &mut on.frozen {
            waiting.push(Event::Answer { machine, incarnation: on.incarnation, input: Box::new(input) });
            return Ok(());
        }
        let waited = on.journal.waits();
        let urgent = on.handle(input, self.now);
        let death = on.dies_now();
        self.carry_out(machine, urgent)?;
        if death == Some(Death::BeforeWriting) {
            return self.agent_dies(machine);
        }
        let on = &self.machines[machine];
        let is_slow = on.is_stuck(self.now) || self.now < on.slow_until;
        if !waited && !is_slow && on.is_up() {
            self.write(machine, death)?;
        } else if !waited && on.journal.waits() {
            let incarnation = on.incarnation;
            let millis = if self.now < on.slow_until { 6_000 } else { 200 };
            self.later(millis, Event::Written { machine, incarnation });
        }
        if death.is_some() { self.agent_dies(machine) } else { Ok(()) }
    }

    /// What waits in the journal of an agent is safe: what it waited for is done. An agent that dies of it does only the first
    /// things.
    fn write(&mut self, machine: usize, death: Option<Death>) -> Kept {
        while let Some(mut effects) = self.machines[machine].journal.write() {
            if let Some(Death::After(done)) = death {
                effects.truncate(usize::from(done));
            }
            self.carry_out(machine, effects)?;
            if death.is_some() {
                break;
            }
        }
        Ok(())
    }

    /// The disk of a machine has done its work, if there is room.
    pub(crate) fn written(&mut self, machine: usize, incarnation: u64) -> Kept {
        let on = &self.machines[machine];
        if !on.is_up() || on.incarnation != incarnation {
            return Ok(());
        }
        if on.is_stuck(self.now) {
            self.oracle.saw("an agent waits for room in its journal");
            let at = on.full_until;
            self.at(at, Event::Written { machine, incarnation });
            return Ok(());
        }
        self.write(machine, None)
    }

    /// kill -9 of an agent; its processes go on.
    pub(crate) fn agent_dies(&mut self, machine: usize) -> Kept {
        if self.machines[machine].is_up() {
            self.say(|| format!("machine {machine}: the agent dies"));
            self.machines[machine].crash();
            self.agent_is_gone(machine);
        }
        Ok(())
    }

    /// Tells an agent whether its journal takes records.
    pub(crate) fn tells_room(&mut self, machine: usize) -> Kept {
        let writable = self.now >= self.machines[machine].full_until;
        if writable {
            let incarnation = self.machines[machine].incarnation;
            self.written(machine, incarnation)?;
        }
        self.tell_agent(machine, AgentInput::Journal { writable })
    }

    /// The agent is dead: its connections are closed for it, and it is started again some time.
    fn agent_is_gone(&mut self, machine: usize) {
        self.hang_up(machine);
        let millis = if self.chance.one_in(3) { 60_000 } else { 2_000 };
        self.later(millis, Event::StartAgent { machine });
    }

    fn answer(&mut self, machine: usize, millis_max: u64, input: AgentInput) {
        let incarnation = self.machines[machine].incarnation;
        self.later(millis_max, Event::Answer { machine, incarnation, input: Box::new(input) });
    }

    fn carry_out(&mut self, machine: usize, effects: Vec<Effect>) -> Kept {
        let seed = self.seed;
        for effect in effects {
            match effect {
                Effect::Send { session, message } => self.say_to_controller(machine, session, message),
                Effect::CloseSession(session) => self.agent_loses(machine, session)?,
                Effect::Stage(subject) => {
                    let outcome = match &subject {
                        Subject::Attempt(attempt) => fate::staging(seed, attempt),
                        Subject::StartTask { .. } => Ok(0),
                    };
                    self.answer(machine, 2_000, AgentInput::Staged { subject, outcome });
                }
                Effect::Launch { subject, wall_clock, gpus } => {
                    self.launch(machine, subject, wall_clock, &gpus)?;
                }
                Effect::Limit { subject, wall_clock } => self.limit(machine, &subject, wall_clock),
                Effect::Kill { subject, grace } => {
                    if let Some(key) = self.machines[machine].asks_about(&subject) {
                        self.kill(machine, key, EndedBy::Requested, grace);
                    }
                }
                Effect::AcknowledgeExit(subject) => {
                    if let Some(key) = self.machines[machine].asks_about(&subject) {
                        self.machines[machine].supervisor.processes.remove(&key);
                    }
                }
                Effect::Collect { subject, upload } => {
                    let failure = match &subject {
                        Subject::Attempt(attempt) if upload.is_some() => fate::upload(seed, attempt),
                        Subject::Attempt(_) | Subject::StartTask { .. } => None,
                    };
                    let mark = self.machines[machine].marks.get(&subject).copied();
                    let collected = Collected { failure, ..outputs::left_by(mark, upload.is_some()) };
                    let collected = Box::new(collected);
                    self.answer(machine, 1_000, AgentInput::Collected { subject, collected });
                }
                Effect::Restart { .. } => self.restart(machine)?,
                Effect::Leave | Effect::Stopped => self.leaves(machine)?,
                // Nothing waits for what these leave undone: cancelled work still answers.
                Effect::Cancel(_) | Effect::RemoveDirectories(_) | Effect::Append(_) => {}
            }
        }
        Ok(())
    }

    fn launch(
        &mut self,
        machine: usize,
        subject: Subject,
        wall_clock: Option<Duration>,
        gpus: &[u32],
    ) -> Kept {
        if let Err(given_up) = self.machines[machine].may_launch(&subject) {
            self.oracle.saw("a start comes too late");
            self.answer(machine, 50, AgentInput::Launched { subject, outcome: Err(given_up) });
            return Ok(());
        }
        let Some(key) = self.machines[machine].asks_about(&subject) else {
            self.oracle.saw("a supervisor that is down starts nothing");
            return Ok(());
        };
        if self.machines[machine].refuses(&key, self.now) {
            let failure = FailureInfo::new(Cause::Internal, "the machine is sick");
            self.answer(machine, 50, AgentInput::Launched { subject, outcome: Err(failure) });
            return Ok(());
        }
        if self.machines[machine].supervisor.processes.contains_key(&key) {
            // It was started by an earlier request: the list says how it stands.
            let held = self.machines[machine].held();
            self.answer(machine, 50, held);
            return Ok(());
        }
        self.say(|| format!("machine {machine}: {subject} starts, wall clock {wall_clock:?}, GPUs {gpus:?}"));
        let on = &mut self.machines[machine];
        let start = on.clock.wall(self.now);
        let until = wall_clock.map(|limit| on.clock.after(self.now, limit));
        let process = Process::Running { since: self.now, start, until, dying: None };
        on.supervisor.processes.insert(key.clone(), process);
        let place = Place { machine, node: &on.id, boot: on.boot, pool: on.pool };
        let Fate { lasts, ended, by } = match &subject {
            Subject::Attempt(attempt) => {
                let mark = self.oracle.started(&self.book, place, attempt, gpus, self.now)?;
                on.marks.insert(subject.clone(), mark);
                let grant = self.oracle.grants.get(attempt);
                let limited = grant.is_some_and(|grant| grant.resources.memory_bytes > 0);
                fate::process(self.seed, attempt, limited)
            }
            Subject::StartTask { run } => fate::start_task(self.seed, machine, *run, self.calm),
        };
        let boot = on.boot;
        self.at(self.now.after(lasts), Event::ProcessEnds { machine, boot, key, ended, by });
        self.answer(machine, 50, AgentInput::Launched { subject, outcome: Ok(start) });
        Ok(())
    }

    fn limit(&mut self, machine: usize, subject: &Subject, wall_clock: Option<Duration>) {
        self.oracle.saw("the wall clock of a running task changes");
        let on = &mut self.machines[machine];
        let Some(key) = on.asks_about(subject) else { return };
        if let Some(Process::Running { since, until, .. }) = on.supervisor.processes.get_mut(&key) {
            *until = wall_clock.map(|limit| on.clock.after(*since, limit));
        }
    }

    /// A process is ended; it dies a moment later, or at the end of its grace.
    pub(crate) fn kill(&mut self, machine: usize, key: Keyed, by: EndedBy, grace: Duration) {
        if !self.machines[machine].supervisor.begin_end(&key, by) {
            return;
        }
        let grace = u64::try_from(grace.as_millis()).unwrap_or(0);
        let millis = self.chance.below(grace.max(1)) + self.chance.below(KILL_MILLIS);
        let ended = Ended::Signaled(if grace > 0 { 15 } else { 9 });
        let boot = self.machines[machine].boot;
        let at = self.now.after(Duration::from_millis(millis));
        self.at(at, Event::ProcessEnds { machine, boot, key, ended, by });
    }

    pub(crate) fn process_ends(&mut self, machine: usize, key: &Keyed, ended: Ended, by: EndedBy) -> Kept {
        let on = &mut self.machines[machine];
        let wall = on.clock.wall(self.now);
        match on.supervisor.end(key, ended, by, wall) {
            Some(exit) => self.process_ended(machine, key, exit),
            None => Ok(()),
        }
    }

    /// A process is over: the oracle knows at once, the agent if it hears its supervisor.
    pub(crate) fn process_ended(&mut self, machine: usize, key: &Keyed, exit: Exit) -> Kept {
        let subject = &key.subject;
        self.say(|| format!("machine {machine}: {subject} ends, {:?} by {:?}", exit.ended, exit.by));
        let on = &self.machines[machine];
        let place = Place { machine, node: &on.id, boot: on.boot, pool: on.pool };
        let end = (exit.ended, exit.by);
        match subject {
            Subject::Attempt(attempt) => self.oracle.ended(&self.book, place, attempt, end, self.now)?,
            Subject::StartTask { .. } => self.oracle.start_task_ended(place, end),
        }
        self.tell_end(machine, key, exit)
    }

    /// The supervisor tells how a command ended; of one that nobody waits for it may forget it.
    fn tell_end(&mut self, machine: usize, key: &Keyed, exit: Exit) -> Kept {
        let on = &mut self.machines[machine];
        if !on.is_up() || !on.hears() {
            return Ok(());
        }
        if on.holds(key) {
            return self.tell_agent(machine, AgentInput::Exited { subject: key.subject.clone(), exit });
        }
        on.supervisor.processes.remove(key);
        Ok(())
    }

    /// An agent reaches its supervisor, and hears what that holds.
    pub(crate) fn reattach(&mut self, machine: usize, incarnation: u64) -> Kept {
        let on = &mut self.machines[machine];
        if !on.is_up() || on.incarnation != incarnation || !on.supervisor.is_up || on.supervisor.is_heard {
            return Ok(());
        }
        if let Some(waiting) = &mut on.frozen {
            waiting.push(Event::Reattach { machine, incarnation });
            return Ok(());
        }
        on.supervisor.is_heard = true;
        let keys: Vec<Keyed> = on.supervisor.processes.keys().cloned().collect();
        let held = on.held();
        for key in keys.iter().filter(|key| !self.machines[machine].holds(key)).cloned().collect::<Vec<_>>() {
            self.oracle.saw("a process that its agent forgot is ended");
            self.kill(machine, key, EndedBy::Requested, Duration::ZERO);
        }
        self.tell_agent(machine, held)?;
        for key in keys {
            if let Some(Process::Exited(exit)) = self.machines[machine].supervisor.processes.get(&key) {
                let exit = exit.clone();
                self.tell_end(machine, &key, exit)?;
            }
        }
        Ok(())
    }

    /// Ends what is overdue on a machine, and wakes its agent if that is due.
    pub(crate) fn look_at_machine(&mut self, machine: usize) -> Kept {
        for (key, by) in self.machines[machine].supervisor.overdue(self.now) {
            self.kill(machine, key, by, Duration::ZERO);
        }
        if self.machines[machine].agent_deadline().is_some_and(|at| at <= self.now) {
            return self.tell_agent(machine, AgentInput::DeadlinePassed);
        }
        Ok(())
    }

    /// An agent has ended everything and goes for good; another machine comes in its place, now or when an operator misses it.
    fn leaves(&mut self, machine: usize) -> Kept {
        self.say(|| format!("machine {machine} leaves its pool"));
        self.hang_up(machine);
        let on = &mut self.machines[machine];
        on.gone = true;
        let left: Vec<Keyed> = on.supervisor.running().cloned().collect();
        for key in left {
            self.process_ends(machine, &key, Ended::Signaled(9), EndedBy::Shutdown)?;
        }
        if self.chance.one_in(2) {
            self.replace(machine);
        }
        Ok(())
    }

    /// What the agent's own recount finds.
    pub(crate) fn recount(&self, machine: usize) -> Kept {
        if self.planted.is_some() {
            return Ok(());
        }
        self.machines[machine].check().map_err(|words| broken("the agent's own recount", words))
    }
}

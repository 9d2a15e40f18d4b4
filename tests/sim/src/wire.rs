//! Messages and processes: what the shells around both cores do with their effects.
//!
//! Whatever the controller commits is taken into the book and judged before anybody hears of it; whatever starts or ends is
//! told to the oracle before its agent hears of it.

use crate::broken::{Kept, broken};
use crate::controller::Answer;
use crate::fate::{self, Fate};
use crate::judge::judge;
use crate::names::{account, pool_of};
use crate::oracle::Place;
use crate::translate::{START_TASK, to_agent, to_controller};
use crate::world::{Event, World};
use muster_agent_core::effect::AgentMessage;
use muster_agent_core::input::{Collected, ControllerMessage, Ended, EndedBy, Exit};
use muster_agent_core::{Effect, Input as AgentInput, Subject};
use muster_controller_core::Settings;
use muster_controller_core::effect::Effect as Said;
use muster_controller_core::input::{Input, NodeInput, NodeKey};
use muster_model::{Cause, FailureInfo};
use std::time::Duration;

impl World {
    pub(crate) fn tell_controller(&mut self, input: Input) -> Kept {
        let answer = self.controller.handle(input, self.now)?;
        self.carry(answer)
    }

    /// Carries out what a step decided.
    pub(crate) fn carry(&mut self, answer: Answer) -> Kept {
        let changes = self.book.take(&answer.records);
        judge(&self.book, &mut self.oracle, &changes, self.now)?;
        for Said::ToNode { node, session, message } in answer.effects {
            let Some(machine) = self.machines.iter().position(|machine| machine.id == node.node) else {
                continue;
            };
            let start_task = (pool_of(machine) == 1).then_some(START_TASK);
            let message =
                to_agent(message, start_task, Settings::default().lease_ttl, self.controller.reader());
            let message = message.map_err(|error| broken("what is recorded is read", error.to_string()))?;
            self.send(session, Event::ToAgent { machine, session, message: message.map(Box::new) });
        }
        Ok(())
    }

    pub(crate) fn hear(&mut self, machine: usize, session: u64, message: AgentMessage) -> Kept {
        let from = &self.machines[machine];
        if !self.controller.is_up() || from.session != Some(session) {
            return Ok(());
        }
        let input = to_controller(&from.id, session, message, from.facts());
        self.tell_controller(Input::Node(input))
    }

    pub(crate) fn deliver(
        &mut self,
        machine: usize,
        session: u64,
        message: Option<Box<ControllerMessage>>,
    ) -> Kept {
        if self.machines[machine].session != Some(session) {
            return Ok(());
        }
        match message {
            Some(message) => {
                if let ControllerMessage::Assign(assigned) = &*message {
                    for assignment in assigned {
                        self.oracle.assigned(machine, &assignment.attempt, assignment.incarnation)?;
                    }
                }
                self.tell_agent(machine, AgentInput::Controller { session, message: *message })
            }
            None => self.cut(machine, 1_000),
        }
    }

    /// Breaks a session; the agent tries again after at most so many milliseconds. The controller may learn of it late.
    pub(crate) fn cut(&mut self, machine: usize, millis_max: u64) -> Kept {
        let Some(session) = self.machines[machine].session.take() else { return Ok(()) };
        self.later(millis_max, Event::Connect { machine });
        if self.controller.is_up() && self.chance.one_in(2) {
            let node = NodeKey { account: account(), node: self.machines[machine].id.clone() };
            self.tell_controller(Input::Node(NodeInput::Disconnected { node, session }))?;
        }
        self.tell_agent(machine, AgentInput::SessionClosed(session))
    }

    pub(crate) fn connect(&mut self, machine: usize) -> Kept {
        if !self.machines[machine].is_up() || self.machines[machine].session.is_some() {
            return Ok(());
        }
        if !self.controller.is_up() {
            self.later(2_000, Event::Connect { machine });
            return Ok(());
        }
        let session = self.next_session;
        self.next_session += 1;
        self.machines[machine].session = Some(session);
        self.tell_agent(machine, AgentInput::SessionOpened(session))
    }

    pub(crate) fn start_agent(&mut self, machine: usize) -> Kept {
        if self.machines[machine].is_up() || self.machines[machine].gone {
            return Ok(());
        }
        let effects = self.machines[machine].start(self.now);
        self.later(500, Event::Connect { machine });
        self.carry_out(machine, effects)
    }

    pub(crate) fn tell_agent(&mut self, machine: usize, input: AgentInput) -> Kept {
        let effects = self.machines[machine].handle(input, self.now);
        self.carry_out(machine, effects)
    }

    fn answer(&mut self, machine: usize, millis_max: u64, input: AgentInput) {
        let incarnation = self.machines[machine].incarnation;
        self.later(millis_max, Event::Answer { machine, incarnation, input: Box::new(input) });
    }

    fn carry_out(&mut self, machine: usize, effects: Vec<Effect>) -> Kept {
        let seed = self.seed;
        for effect in effects {
            match effect {
                Effect::Send { session, message } => {
                    self.send(session, Event::ToController { machine, session, message });
                }
                Effect::CloseSession(session) if self.machines[machine].session == Some(session) => {
                    self.cut(machine, 1_000)?;
                }
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
                Effect::Limit { subject, wall_clock } => {
                    self.oracle.saw("the wall clock of a running task changes");
                    self.machines[machine].limit(&subject, wall_clock);
                }
                Effect::Kill { subject, .. } => {
                    self.end_process(machine, &subject, Ended::Signaled(15), EndedBy::Requested)?;
                }
                Effect::AcknowledgeExit(subject) => {
                    self.machines[machine].processes.remove(&subject);
                }
                Effect::Collect { subject, upload } => {
                    let failure = match &subject {
                        Subject::Attempt(attempt) if upload.is_some() => fate::upload(seed, attempt),
                        Subject::Attempt(_) | Subject::StartTask { .. } => None,
                    };
                    let collected = Box::new(Collected { failure, ..Collected::default() });
                    self.answer(machine, 1_000, AgentInput::Collected { subject, collected });
                }
                Effect::Restart { .. } => self.restart(machine)?,
                Effect::Leave | Effect::Stopped => self.machines[machine].gone = true,
                // Nothing waits for what these leave undone: cancelled work still answers.
                Effect::CloseSession(_)
                | Effect::Cancel(_)
                | Effect::RemoveDirectories(_)
                | Effect::Append(_) => {}
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
        if self.machines[machine].refuses(&subject, self.now) {
            let failure = FailureInfo::new(Cause::Internal, "the machine is sick");
            self.answer(machine, 50, AgentInput::Launched { subject, outcome: Err(failure) });
            return Ok(());
        }
        if self.machines[machine].launch(&subject, wall_clock, self.now) {
            self.say(|| {
                format!("machine {machine}: {subject} starts, wall clock {wall_clock:?}, GPUs {gpus:?}")
            });
            let on = &self.machines[machine];
            let place = Place { machine, node: &on.id, boot: on.boot };
            let Fate { lasts, ended, by } = match &subject {
                Subject::Attempt(attempt) => {
                    self.oracle.started(&self.book, place, attempt, gpus, self.now)?;
                    let grant = self.oracle.grants.get(attempt);
                    let limited = grant.is_some_and(|grant| grant.resources.memory_bytes > 0);
                    fate::process(self.seed, attempt, limited)
                }
                Subject::StartTask { run } => fate::start_task(self.seed, machine, *run, self.closed),
            };
            let boot = self.machines[machine].boot;
            let ends = Event::ProcessEnds { machine, boot, subject: subject.clone(), ended, by };
            self.at(self.now.after(lasts), ends);
        }
        self.answer(machine, 50, AgentInput::Launched { subject, outcome: Ok(self.now) });
        Ok(())
    }

    pub(crate) fn end_process(
        &mut self,
        machine: usize,
        subject: &Subject,
        ended: Ended,
        by: EndedBy,
    ) -> Kept {
        match self.machines[machine].end_process(subject, ended, by, self.now) {
            Some(exit) => self.process_ended(machine, subject, exit),
            None => Ok(()),
        }
    }

    /// A process is over: the oracle knows at once, the agent if it lives.
    pub(crate) fn process_ended(&mut self, machine: usize, subject: &Subject, exit: Exit) -> Kept {
        self.say(|| format!("machine {machine}: {subject} ends, {:?} by {:?}", exit.ended, exit.by));
        let on = &self.machines[machine];
        let place = Place { machine, node: &on.id, boot: on.boot };
        let end = (exit.ended, exit.by);
        match subject {
            Subject::Attempt(attempt) => self.oracle.ended(&self.book, place, attempt, end, self.now)?,
            Subject::StartTask { .. } => self.oracle.start_task_ended(place, end),
        }
        if self.machines[machine].is_up() {
            return self.tell_agent(machine, AgentInput::Exited { subject: subject.clone(), exit });
        }
        Ok(())
    }
}

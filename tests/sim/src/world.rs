//! The clock and the queue of events; every delay and every fault is drawn from the seed.
//!
//! One event is handled at a time, in order of time. What a crashed side had not made durable is lost with it; messages of
//! a broken session never arrive. Faults stop at `CALM_AFTER`; then everything must come to its end.

use crate::chance::Chance;
use crate::controller::{Controller, account, parsed};
use crate::machine::{Machine, Process};
use crate::oracle::Oracle;
use crate::translate::{to_agent, to_controller};
use muster_agent_core::effect::AgentMessage;
use muster_agent_core::input::{Collected, Ended, EndedBy};
use muster_agent_core::{Effect, Input as AgentInput, Subject};
use muster_controller_core::Settings;
use muster_controller_core::effect::{Effect as Said, NodeMessage};
use muster_controller_core::input::{Command, Input, NodeInput, NodeKey};
use muster_controller_core::reply::Reply;
use muster_model::spec::{
    DependsOn, JobConstraints, JobSpec, RetryLimit, TaskConstraints, TaskLimits, TaskSpec, UserIdentity,
};
use muster_model::state::OnAllTasksComplete;
use muster_model::{AttemptId, JobId, NodeId, Resources, TaskId, TaskKey, Timestamp};
use std::collections::BTreeMap;
use std::time::Duration;

/// Faults are drawn until then.
const CALM_AFTER: Duration = Duration::from_secs(240);
/// By then everything must have ended.
const END: Duration = Duration::from_secs(3_000);
const MACHINES: usize = 3;
const TASKS: u32 = 24;

/// What a run came to.
#[derive(Debug)]
pub struct Story {
    /// The seed that replays it.
    pub seed: u64,
    /// Events that were handled.
    pub events: u64,
    /// Processes that were started.
    pub starts: u32,
    /// Faults that were injected.
    pub faults: u32,
    /// Why it failed, and the last things that happened before; `None` if every promise was kept.
    pub failure: Option<String>,
}

#[derive(Debug)]
enum Event {
    ToController { machine: usize, session: u64, message: AgentMessage },
    ToAgent { machine: usize, session: u64, message: NodeMessage },
    Answer { machine: usize, incarnation: u64, input: Box<AgentInput> },
    ProcessEnds { machine: usize, attempt: AttemptId },
    Connect { machine: usize },
    StartAgent { machine: usize },
    StartController,
    Submit,
    Fault,
    Look,
}

struct World {
    now: Timestamp,
    chance: Chance,
    queue: BTreeMap<(Timestamp, u64), Event>,
    number: u64,
    next_session: u64,
    controller: Controller,
    machines: Vec<Machine>,
    oracle: Oracle,
    submitted: u32,
    faults: u32,
    log: Vec<String>,
}

/// Runs one seed to its end.
#[must_use]
pub fn simulate(seed: u64) -> Story {
    let mut world = World::new(seed);
    let mut events = 0;
    let failure = loop {
        if world.settled() {
            break world.oracle.all_ended(&world.controller.tasks()).err();
        }
        if world.now > Timestamp::EPOCH.after(END) {
            let late = world.oracle.all_ended(&world.controller.tasks()).err();
            break Some(late.unwrap_or_else(|| "the world does not come to rest".to_owned()));
        }
        events += 1;
        if let Err(broken) = world.step() {
            break Some(broken);
        }
    };
    let failure = failure.map(|broken| {
        let last = world.log.split_off(world.log.len().saturating_sub(60));
        format!("{broken}\nthe last that happened:\n  {}", last.join("\n  "))
    });
    let starts = world.oracle.starts.values().sum();
    Story { seed, events, starts, faults: world.faults, failure }
}

impl World {
    fn new(seed: u64) -> Self {
        let now = Timestamp::from_micros(1_000_000);
        let mut controller = Controller::new(now);
        let mut machines = Vec::new();
        for number in 0..MACHINES {
            let id = parsed(NodeId::parse(&format!("node-{number}")));
            controller.join(&id, now);
            machines.push(Machine::new(id));
        }
        let job = JobSpec {
            id: job(),
            display_name: String::new(),
            pool: crate::controller::pool_id(),
            priority: 0,
            constraints: JobConstraints::default(),
            uses_task_dependencies: true,
            on_all_tasks_complete: OnAllTasksComplete::NoAction,
            common_environment: Vec::new(),
            metadata: Vec::new(),
        };
        parsed(controller.command(Command::CreateJob(job), now).reply);
        let mut world = Self {
            now,
            chance: Chance::new(seed),
            queue: BTreeMap::new(),
            number: 0,
            next_session: 1,
            controller,
            machines,
            oracle: Oracle::default(),
            submitted: 0,
            faults: 0,
            log: Vec::new(),
        };
        for machine in 0..MACHINES {
            world.later(100, Event::StartAgent { machine });
        }
        world.later(1_000, Event::Submit);
        world.later(5_000, Event::Fault);
        world
    }

    /// Whether all work is done and faults are over.
    fn settled(&mut self) -> bool {
        self.submitted == TASKS
            && self.now > Timestamp::EPOCH.after(CALM_AFTER)
            && self.number.is_multiple_of(64)
            && self.oracle.all_ended(&self.controller.tasks()).is_ok()
    }

    /// Puts an event up to `millis_max` milliseconds ahead.
    fn later(&mut self, millis_max: u64, event: Event) {
        let delay = Duration::from_micros(self.chance.below(millis_max * 1_000) + 1);
        self.at(self.now.after(delay), event);
    }

    fn at(&mut self, time: Timestamp, event: Event) {
        self.number += 1;
        self.queue.insert((time, self.number), event);
    }

    /// Messages of one session keep their order: a fixed delay for each session's direction.
    fn send(&mut self, session: u64, event: Event) {
        let delay = Duration::from_micros(200 + (session.wrapping_mul(7_919) % 40_000));
        self.at(self.now.after(delay), event);
    }

    fn step(&mut self) -> Result<(), String> {
        let deadline = self.next_deadline();
        let event = match self.queue.first_key_value() {
            Some(((time, _), _)) if deadline.is_none_or(|at| *time <= at) => {
                let Some(((time, _), event)) = self.queue.pop_first() else { return Ok(()) };
                self.now = self.now.max(time);
                event
            }
            Some(_) | None => {
                let Some(at) = deadline else { return Err("nothing will ever happen again".to_owned()) };
                self.now = self.now.max(at);
                Event::Look
            }
        };
        self.log.push(format!("{:?} {event:?}", self.now));
        self.dispatch(event)?;
        Oracle::one_live_attempt(&self.machines)
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        let agents = self.machines.iter().filter_map(Machine::next_deadline);
        agents.chain(self.controller.next_deadline()).min()
    }

    fn dispatch(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::ToController { machine, session, message } => {
                if self.controller.is_up() && self.machines[machine].session == Some(session) {
                    let input = to_controller(&self.machines[machine].id, session, message);
                    self.tell_controller(Input::Node(input));
                }
                Ok(())
            }
            Event::ToAgent { machine, session, message } => self.deliver(machine, session, message),
            Event::Answer { machine, incarnation, input } => {
                if self.machines[machine].incarnation == incarnation {
                    return self.tell_agent(machine, *input);
                }
                Ok(())
            }
            Event::ProcessEnds { machine, attempt } => {
                let code = i32::from(self.chance.one_in(6));
                self.end_process(machine, &attempt, Ended::Exited(code), EndedBy::Itself)
            }
            Event::Connect { machine } => self.connect(machine),
            Event::StartAgent { machine } => {
                if self.machines[machine].is_up() || self.machines[machine].gone {
                    return Ok(());
                }
                let effects = self.machines[machine].start(self.now);
                self.later(500, Event::Connect { machine });
                self.carry_out(machine, effects)
            }
            Event::StartController => {
                self.controller.start(self.now);
                Ok(())
            }
            Event::Submit => {
                self.submit();
                Ok(())
            }
            Event::Fault => self.fault(),
            Event::Look => self.look(),
        }
    }

    /// Wakes every core whose deadline has come.
    fn look(&mut self) -> Result<(), String> {
        if self.controller.next_deadline().is_some_and(|at| at <= self.now) {
            self.tell_controller(Input::DeadlinePassed);
        }
        for machine in 0..self.machines.len() {
            if self.machines[machine].lease_until.is_some_and(|at| at <= self.now) {
                let alive: Vec<_> = self.machines[machine].running().cloned().collect();
                for attempt in alive {
                    self.end_process(machine, &attempt, Ended::Signaled(9), EndedBy::Requested)?;
                }
            }
            if self.machines[machine].next_deadline().is_some_and(|at| at <= self.now) {
                self.tell_agent(machine, AgentInput::DeadlinePassed)?;
            }
        }
        Ok(())
    }

    fn submit(&mut self) {
        let number = self.submitted;
        if number < TASKS {
            self.later(4_000, Event::Submit);
        }
        if number == TASKS || !self.controller.is_up() {
            return;
        }
        let may_repeat = self.chance.one_in(2);
        let spec = task(number, may_repeat);
        let key = TaskKey { job: job(), task: spec.id.clone() };
        let answer =
            self.controller.command(Command::CreateTasks { job: job(), tasks: vec![spec] }, self.now);
        if answer.reply == Ok(Reply::Tasks(Vec::new())) {
            self.oracle.acknowledged.insert(key, may_repeat);
            self.submitted += 1;
        }
        self.speak(answer.effects);
    }

    fn fault(&mut self) -> Result<(), String> {
        if self.now > Timestamp::EPOCH.after(CALM_AFTER) {
            return Ok(());
        }
        self.faults += 1;
        self.later(12_000, Event::Fault);
        let machine = usize::try_from(self.chance.below(MACHINES as u64)).unwrap_or(0);
        match self.chance.below(4) {
            0 => {
                self.controller.crash();
                self.later(20_000, Event::StartController);
                (0..MACHINES).try_for_each(|machine| self.cut(machine, 2_000))
            }
            1 => {
                self.machines[machine].crash();
                self.later(50_000, Event::StartAgent { machine });
                Ok(())
            }
            // A partition, often longer than the lease.
            2 => self.cut(machine, 80_000),
            _ => self.cut(machine, 500),
        }
    }

    /// Breaks a session; the agent tries again after at most so many milliseconds. The controller may learn of it late.
    fn cut(&mut self, machine: usize, millis_max: u64) -> Result<(), String> {
        let Some(session) = self.machines[machine].session.take() else { return Ok(()) };
        self.later(millis_max, Event::Connect { machine });
        if self.controller.is_up() && self.chance.one_in(2) {
            let node = NodeKey { account: account(), node: self.machines[machine].id.clone() };
            self.tell_controller(Input::Node(NodeInput::Disconnected { node, session }));
        }
        self.tell_agent(machine, AgentInput::SessionClosed(session))
    }

    fn connect(&mut self, machine: usize) -> Result<(), String> {
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

    fn tell_controller(&mut self, input: Input) {
        let answer = self.controller.handle(input, self.now);
        self.speak(answer.effects);
    }

    /// Sends what the controller says.
    fn speak(&mut self, effects: Vec<Said>) {
        for Said::ToNode { node, session, message } in effects {
            if let Some(machine) = self.machines.iter().position(|machine| machine.id == node.node) {
                self.send(session, Event::ToAgent { machine, session, message });
            }
        }
    }

    fn deliver(&mut self, machine: usize, session: u64, message: NodeMessage) -> Result<(), String> {
        if self.machines[machine].session != Some(session) {
            return Ok(());
        }
        match to_agent(message, Settings::default().lease_ttl) {
            Some(message) => self.tell_agent(machine, AgentInput::Controller { session, message }),
            None => self.cut(machine, 1_000),
        }
    }

    fn tell_agent(&mut self, machine: usize, input: AgentInput) -> Result<(), String> {
        let effects = self.machines[machine].handle(input, self.now);
        self.carry_out(machine, effects)
    }

    fn answer(&mut self, machine: usize, millis_max: u64, input: AgentInput) {
        let incarnation = self.machines[machine].incarnation;
        self.later(millis_max, Event::Answer { machine, incarnation, input: Box::new(input) });
    }

    fn carry_out(&mut self, machine: usize, effects: Vec<Effect>) -> Result<(), String> {
        for effect in effects {
            match effect {
                Effect::Send { session, message } => {
                    self.send(session, Event::ToController { machine, session, message });
                }
                Effect::CloseSession(session) if self.machines[machine].session == Some(session) => {
                    self.cut(machine, 1_000)?;
                }
                Effect::Stage(subject) => {
                    self.answer(machine, 2_000, AgentInput::Staged { subject, outcome: Ok(0) });
                }
                Effect::Launch { subject, .. } => self.launch(machine, subject)?,
                Effect::Kill { subject: Subject::Attempt(attempt), .. } => {
                    self.end_process(machine, &attempt, Ended::Signaled(15), EndedBy::Requested)?;
                }
                Effect::AcknowledgeExit(Subject::Attempt(attempt)) => {
                    self.machines[machine].processes.remove(&attempt);
                }
                Effect::Collect { subject, .. } => {
                    let collected = Box::new(Collected::default());
                    self.answer(machine, 1_000, AgentInput::Collected { subject, collected });
                }
                Effect::Leave | Effect::Stopped => self.machines[machine].gone = true,
                Effect::CloseSession(_)
                | Effect::Cancel(_)
                | Effect::Kill { .. }
                | Effect::AcknowledgeExit(_)
                | Effect::RemoveDirectories(_)
                | Effect::Append(_) => {}
            }
        }
        Ok(())
    }

    /// Starts a process; safe to repeat, as with the real supervisor.
    fn launch(&mut self, machine: usize, subject: Subject) -> Result<(), String> {
        let Subject::Attempt(attempt) = &subject else { return Ok(()) };
        if !self.machines[machine].processes.contains_key(attempt) {
            self.machines[machine].processes.insert(attempt.clone(), Process::Running(self.now));
            self.oracle.started(attempt.task_key())?;
            let slow = self.chance.one_in(4);
            let ends = Event::ProcessEnds { machine, attempt: attempt.clone() };
            self.later(if slow { 90_000 } else { 3_000 }, ends);
        }
        self.answer(machine, 50, AgentInput::Launched { subject, outcome: Ok(self.now) });
        Ok(())
    }

    fn end_process(
        &mut self,
        machine: usize,
        attempt: &AttemptId,
        ended: Ended,
        by: EndedBy,
    ) -> Result<(), String> {
        let Some(exit) = self.machines[machine].end_process(attempt, ended, by, self.now) else {
            return Ok(());
        };
        if self.machines[machine].is_up() {
            let subject = Subject::Attempt(attempt.clone());
            return self.tell_agent(machine, AgentInput::Exited { subject, exit });
        }
        Ok(())
    }
}

fn job() -> JobId {
    parsed(JobId::parse("film"))
}

fn task(number: u32, may_repeat: bool) -> TaskSpec {
    TaskSpec {
        id: parsed(TaskId::parse(&number.to_string())),
        display_name: String::new(),
        command_line: "render".to_owned(),
        resource_files: Vec::new(),
        output_files: Vec::new(),
        environment: Vec::new(),
        constraints: TaskConstraints {
            max_task_retry_count: may_repeat.then_some(RetryLimit::Times(3)),
            ..TaskConstraints::default()
        },
        resources: Resources { slots: 1, ..Resources::default() },
        limits: TaskLimits::default(),
        user_identity: UserIdentity::default(),
        depends_on: DependsOn::default(),
    }
}

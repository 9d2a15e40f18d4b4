//! Sessions: what the shells around both cores do with messages, and with streams that break.
//!
//! Each end of a session is closed by itself: because the other end said so, because its own keepalive heard nothing, or
//! because a core wants it. What was sent before comes all the same, as far as the network lets it (`network`).

use crate::broken::{Kept, broken};
use crate::engine::Asked;
use crate::event::Event;
use crate::names::account;
use crate::network::{Load, Way};
use crate::translate::{START_TASK, to_agent, to_controller};
use crate::world::World;
use muster_agent_core::Input as AgentInput;
use muster_agent_core::effect::AgentMessage;
use muster_agent_core::input::ControllerMessage;
use muster_controller_core::Settings;
use muster_controller_core::effect::Effect;
use muster_controller_core::input::{Input, NodeInput, NodeKey};
use muster_controller_core::reject::Reject;
use muster_controller_core::reply::Reply;
use muster_model::Timestamp;
use std::time::Duration;

/// What is under way for so long may be given up before it arrives.
const STALL: Duration = Duration::from_secs(2);

/// How a node names the session with which it tells itself to leave.
const OWN_WORD: u64 = u64::MAX;

impl World {
    /// Queues what goes into a session.
    fn send(&mut self, session: u64, way: Way, load: Load) {
        if let Some((at, load)) = self.network.send(session, way, self.now, load) {
            self.arrives(at, session, way, load);
            if at.since(self.now) > STALL {
                self.will_notice_stall(session);
            }
        }
    }

    fn arrives(&mut self, at: Timestamp, session: u64, way: Way, load: Load) {
        let Some(machine) = self.network.sessions.get(&session).map(|session| session.machine) else {
            return;
        };
        let event = match (load, way) {
            (Load::FromAgent(message), _) => Event::ToController { machine, session, message: Some(message) },
            (Load::FromController(message), _) => Event::ToAgent { machine, session, message: Some(message) },
            (Load::End, Way::Up) => Event::ToController { machine, session, message: None },
            (Load::End, Way::Down) => Event::ToAgent { machine, session, message: None },
        };
        self.at(at, event);
    }

    /// Says to a node what the core wants said, if the session is open.
    pub(crate) fn say_to_node(&mut self, effect: Effect) -> Kept {
        let Effect::ToNode { session, message, .. } = effect;
        let Some(open) = self.network.sessions.get(&session).filter(|open| open.controller) else {
            return Ok(());
        };
        let pool = self.machines[open.machine].pool;
        let start_task = (pool == 1).then_some(START_TASK);
        let ttl = Settings::default().lease_ttl;
        let message = to_agent(message, start_task, ttl, self.controller.reader());
        match message.map_err(|error| broken("what is recorded is read", error.to_string()))? {
            Some(message) => self.send(session, Way::Down, Load::FromController(Box::new(message))),
            None => self.controller_closes(session),
        }
        Ok(())
    }

    /// The controller's end of a session is closed.
    fn controller_closes(&mut self, session: u64) {
        self.send(session, Way::Down, Load::End);
        self.network.close(session, false);
    }

    /// The controller is gone, and its ends of all sessions with it.
    pub(crate) fn controller_hangs_up(&mut self) {
        let open: Vec<u64> = self.network.sessions.keys().copied().collect();
        open.into_iter().for_each(|session| self.controller_closes(session));
    }

    /// The end of a session that the controller has is over: the core is told.
    fn controller_loses(&mut self, machine: usize, session: u64) -> Kept {
        if !self.network.close(session, false) || !self.controller.is_up() {
            return Ok(());
        }
        let node = NodeKey { account: account(), node: self.machines[machine].id.clone() };
        self.tell_controller(Input::Node(NodeInput::Disconnected { node, session }), Asked::Nobody)
    }

    /// Something arrives at the controller.
    pub(crate) fn hear(&mut self, machine: usize, session: u64, message: Option<AgentMessage>) -> Kept {
        if !self.controller.is_up() || !self.network.is_heard(session, Way::Up, self.now) {
            return Ok(());
        }
        let Some(message) = message else {
            self.send(session, Way::Down, Load::End);
            return self.controller_loses(machine, session);
        };
        let from = &self.machines[machine];
        let asked = match &message {
            AgentMessage::Hello(_) => Asked::Session(session),
            AgentMessage::Heartbeat { .. } | AgentMessage::Reports(_) => Asked::Nobody,
        };
        if asked != Asked::Nobody && from.session != Some(session) {
            self.oracle.saw("a hello comes after its session was given up");
        }
        let input = to_controller(&from.id, session, message, from.facts());
        self.tell_controller(Input::Node(input), asked)
    }

    /// What the core said to the first word of a session is known.
    pub(crate) fn greeted(&mut self, session: u64, reply: &Result<Reply, Reject>) {
        let Err(reject) = reply else { return };
        let Some(machine) = self.network.sessions.get(&session).map(|session| session.machine) else {
            return;
        };
        if matches!(reject, Reject::NodeUnknown(_)) {
            let welcome = Load::FromController(Box::new(ControllerMessage::Leave));
            self.say(|| format!("machine {machine} is a node no more"));
            self.send(session, Way::Down, welcome);
        }
        self.controller_closes(session);
    }

    /// Something arrives at an agent.
    pub(crate) fn deliver(
        &mut self,
        machine: usize,
        session: u64,
        message: Option<Box<ControllerMessage>>,
    ) -> Kept {
        if !self.network.is_heard(session, Way::Down, self.now) {
            return Ok(());
        }
        if let Some(waiting) = &mut self.machines[machine].frozen {
            waiting.push(Event::ToAgent { machine, session, message });
            return Ok(());
        }
        self.take_in(machine, session, message)
    }

    /// An agent reads what has arrived for it.
    pub(crate) fn take_in(
        &mut self,
        machine: usize,
        session: u64,
        message: Option<Box<ControllerMessage>>,
    ) -> Kept {
        if self.machines[machine].session != Some(session) {
            return Ok(());
        }
        let Some(message) = message else { return self.agent_loses(machine, session) };
        if matches!(*message, ControllerMessage::Leave) && !self.is_node(machine) {
            // Nobody can tell it to leave any more.
            self.agent_loses(machine, session)?;
            self.tell_agent(machine, AgentInput::SessionOpened(OWN_WORD))?;
            let message = ControllerMessage::Leave;
            return self.tell_agent(machine, AgentInput::Controller { session: OWN_WORD, message });
        }
        if let ControllerMessage::Assign(assigned) = &*message {
            for assignment in assigned {
                self.oracle.assigned(machine, &assignment.attempt, assignment.incarnation)?;
            }
        }
        self.tell_agent(machine, AgentInput::Controller { session, message: *message })
    }

    fn is_node(&self, machine: usize) -> bool {
        self.book.nodes.contains_key(&self.machines[machine].id)
    }

    /// An agent's end of a session is over: it is told, and tries again.
    pub(crate) fn agent_loses(&mut self, machine: usize, session: u64) -> Kept {
        if self.machines[machine].session != Some(session) {
            return Ok(());
        }
        self.hang_up(machine);
        self.later(1_500, Event::Connect { machine });
        self.tell_agent(machine, AgentInput::SessionClosed(session))
    }

    /// The agent's end of its session is closed; the other end hears of it after what was said before.
    pub(crate) fn hang_up(&mut self, machine: usize) {
        if let Some(session) = self.machines[machine].session.take() {
            self.send(session, Way::Up, Load::End);
            self.network.close(session, true);
        }
    }

    /// What an agent wants said.
    pub(crate) fn say_to_controller(&mut self, machine: usize, session: u64, message: AgentMessage) {
        if self.machines[machine].session == Some(session) {
            self.send(session, Way::Up, Load::FromAgent(message));
        }
    }

    /// Keepalive: one end has heard nothing of the other for too long, if that is so.
    pub(crate) fn notices(&mut self, machine: usize, session: u64, of_agent: bool) -> Kept {
        let silent = self.network.is_silent(session, self.now);
        if of_agent && let Some(waiting) = &mut self.machines[machine].frozen {
            waiting.push(Event::Notices { machine, session, of_agent });
            return Ok(());
        }
        match (silent || self.machines[machine].frozen.is_some(), of_agent) {
            (false, _) => Ok(()),
            (true, true) => self.agent_loses(machine, session),
            (true, false) => {
                self.send(session, Way::Down, Load::End);
                self.controller_loses(machine, session)
            }
        }
    }

    /// One end of a session, or both, will find that it is stalled, if that lasts.
    fn will_notice_stall(&mut self, session: u64) {
        let Some(machine) = self.network.sessions.get(&session).map(|session| session.machine) else {
            return;
        };
        for of_agent in [true, false] {
            let at = self.now.after(Duration::from_millis(1_000 + self.chance.below(8_000)));
            self.at(at, Event::Notices { machine, session, of_agent });
        }
    }

    /// Both ends of the sessions of a machine will find out that they hear nothing, each by itself.
    pub(crate) fn will_notice(&mut self, machine: usize, millis_min: u64, millis_more: u64) {
        for session in self.network.of_machine(machine) {
            for of_agent in [true, false] {
                let millis = millis_min + self.chance.below(millis_more.max(1));
                let at = self.now.after(Duration::from_millis(millis));
                self.at(at, Event::Notices { machine, session, of_agent });
            }
        }
    }

    /// An agent tries to reach the controller.
    pub(crate) fn connect(&mut self, machine: usize) -> Kept {
        let on = &mut self.machines[machine];
        if !on.is_up() || on.session.is_some() {
            return Ok(());
        }
        if let Some(waiting) = &mut on.frozen {
            waiting.push(Event::Connect { machine });
            return Ok(());
        }
        let session = if self.controller.is_up() { self.network.open(machine) } else { None };
        let Some(session) = session else {
            self.later(3_000, Event::Connect { machine });
            return Ok(());
        };
        self.machines[machine].session = Some(session);
        self.tell_agent(machine, AgentInput::SessionOpened(session))
    }

    /// The link of a machine is whole again: connections go on, or were reset.
    pub(crate) fn heals(&mut self, machine: usize) {
        if self.machines[machine].lost || self.machines[machine].is_exiled {
            return;
        }
        if self.chance.one_in(3) {
            for session in self.network.of_machine(machine) {
                self.network.reset(session, self.now);
            }
            self.will_notice(machine, 10, 5_000);
        }
        let came = self.network.heal(machine, self.now);
        if !came.is_empty() {
            self.oracle.saw("what a cut link held comes late");
        }
        for (at, session, way, load) in came {
            self.arrives(at, session, way, load);
        }
        self.say(|| format!("machine {machine} reaches the controller again"));
    }
}

//! Joining: a machine becomes a node, though its request or the answer may be lost, and machines that come for others.
//!
//! A controller remembers whom it let join since it was started, so that who asks again is given the same node; one that
//! was started meanwhile makes another node, and the first one is removed by an operator, like that of a machine that
//! will never be seen again.

use crate::broken::Kept;
use crate::controller::token;
use crate::engine::Asked;
use crate::event::Event;
use crate::machine::Machine;
use crate::names::{node, parsed};
use crate::network::Way;
use crate::world::World;
use muster_controller_core::input::{Command, Input, NodeInput};
use muster_controller_core::reject::Reject;
use muster_controller_core::reply::{CreatedNode, Reply};
use muster_model::NodeId;
use muster_model::state::DrainOption;
use std::time::Duration;

/// Machines that there may be before an operator sees to it that every pool has some.
const MACHINES_MAX: usize = 16;

impl World {
    /// A machine asks to be a node, until it hears that it is one.
    pub(crate) fn joins(&mut self, machine: usize) {
        let on = &self.machines[machine];
        if on.has_joined || on.lost {
            return;
        }
        if !self.network.is_cut(machine, Way::Up) && !self.chance.one_in(10) {
            let takes = self.network.delay();
            self.at(self.now.after(takes), Event::JoinArrives { machine });
        }
        let again = self.now.after(Duration::from_millis(1_000 + self.chance.below(3_000)));
        self.at(again, Event::Joins { machine });
    }

    pub(crate) fn join_arrives(&mut self, machine: usize) -> Kept {
        if !self.controller.is_up() {
            return Ok(());
        }
        if let Some(node) = self.controller.recent_joins.get(&machine).cloned() {
            self.oracle.saw("a machine that joined asks again");
            self.tell_joined(machine, node);
            return Ok(());
        }
        let on = &self.machines[machine];
        let (token, secret_hash) = token(on.pool);
        let node = CreatedNode { node: self.new_name(machine), account: None, pool: None };
        let join = NodeInput::Join { token, secret_hash, node, facts: Box::new(on.facts()) };
        self.tell_controller(Input::Node(join), Asked::Join(machine))
    }

    /// The name of a node holds the second in which it was made.
    fn new_name(&self, machine: usize) -> NodeId {
        let first = node(machine);
        if self.book.nodes.contains_key(&first) || self.controller.epoch > 1 {
            let second = self.now.as_micros() / 1_000_000;
            return parsed(NodeId::parse(&format!("{first}-{second}")));
        }
        first
    }

    pub(crate) fn answer_join(&mut self, machine: usize, reply: Result<Reply, Reject>) {
        match reply {
            Ok(Reply::Joined(created)) => {
                self.controller.recent_joins.insert(machine, created.node.clone());
                self.tell_joined(machine, created.node);
            }
            Ok(Reply::Done | Reply::Tasks(_)) | Err(_) => {
                self.say(|| format!("machine {machine} may not join: {reply:?}"));
            }
        }
    }

    fn tell_joined(&mut self, machine: usize, node: NodeId) {
        if self.network.is_cut(machine, Way::Down) || self.chance.one_in(8) {
            self.oracle.saw("the answer to a machine that joins is lost");
            return;
        }
        let takes = self.network.delay();
        self.at(self.now.after(takes), Event::Joined { machine, node });
    }

    pub(crate) fn joined(&mut self, machine: usize, node: NodeId) {
        let on = &mut self.machines[machine];
        if on.has_joined || on.lost {
            return;
        }
        (on.has_joined, on.id) = (true, node);
        self.later(200, Event::StartAgent { machine });
    }

    /// Somebody brings a machine in place of one that is gone.
    pub(crate) fn replace(&mut self, machine: usize) {
        self.bring_one_more(self.machines[machine].pool);
    }

    /// Somebody brings a machine for a pool, unless there have been too many.
    pub(crate) fn bring_one_more(&mut self, pool: u8) {
        if self.machines.len() < MACHINES_MAX {
            self.bring(pool);
        }
    }

    /// Somebody brings a new machine for a pool.
    pub(crate) fn bring(&mut self, pool: u8) {
        let new = self.machines.len();
        self.machines.push(Machine::new(self.seed, new, pool, self.planted));
        self.later(20_000, Event::Joins { machine: new });
    }

    /// An operator removes the nodes that are no machine's any more, and lets pools have machines again.
    pub(crate) fn bury(&mut self) -> Kept {
        let is_seen = |id: &NodeId| {
            self.machines
                .iter()
                .any(|on| on.id == *id && on.has_joined && !on.lost && !on.gone && !on.is_exiled)
        };
        let ghosts = self.book.nodes.values().filter(|row| !is_seen(&row.id));
        let ghosts: Vec<_> = ghosts.map(|row| (row.pool.clone(), row.id.clone())).collect();
        for (pool, node) in ghosts {
            self.oracle.saw("a node that will never be seen again is removed");
            let (option, timeout) = (DrainOption::Requeue, Some(Duration::from_secs(10)));
            let nodes = vec![node];
            self.command(Command::RemoveNodes { pool, nodes, option, timeout, if_match: None })?;
        }
        self.refill()?;
        self.at(self.now.after(Duration::from_secs(20)), Event::Bury);
        Ok(())
    }
}

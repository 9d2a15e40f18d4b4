//! What breaks, and what becomes whole again.
//!
//! What a crashed side had not made durable is lost with it; what each side had said before may come late. Nothing breaks
//! any more once all is calm, but for machines that are gone for ever.

use crate::broken::{Kept, promise};
use crate::event::Event;
use crate::network::Way;
use crate::plight::Fault;
use crate::script::CALM_AFTER;
use crate::world::World;
use muster_agent_core::Input as AgentInput;
use muster_model::Timestamp;
use muster_model::node::NodeError;
use std::time::Duration;

/// How long a partition lasts: often for longer than a lease.
const PARTITION: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(80));

impl World {
    pub(crate) fn breaks(&mut self, fault: Fault) -> Kept {
        self.faults += 1;
        self.say(|| format!("fault: {fault:?}"));
        match fault {
            Fault::Controller => self.controller_dies()?,
            Fault::ControllerAfter(steps) => self.controller.engine.dies_after = Some(steps),
            Fault::ControllerCommitting => self.controller.engine.dies_committing = true,
            Fault::SlowStore => {
                let until = self.before_calm(Duration::from_secs(2), Duration::from_secs(40));
                self.controller.engine.slow_until = until;
            }
            Fault::FullStore => {
                let until = self.before_calm(Duration::from_secs(1), Duration::from_secs(60));
                self.controller.engine.full_until = until;
            }
            Fault::ControllerClock => self.controller.clock.jump(self.now, &mut self.chance),
            Fault::Isolated => {
                let until = self.before_calm(PARTITION.0, PARTITION.1);
                for machine in 0..self.machines.len() {
                    self.cut_off(machine, (true, true), until);
                }
            }
            Fault::Agent(machine) => self.agent_dies(machine)?,
            Fault::AgentAmid(machine, turns, death) => self.machines[machine].dies = Some((turns, death)),
            Fault::Frozen(machine) => self.freeze(machine),
            Fault::Supervisor(machine) => self.supervisor_dies(machine),
            Fault::FullDisk(machine) => self.fill_disk(machine)?,
            Fault::SlowDisk(machine) => {
                let until = self.before_calm(Duration::from_secs(2), Duration::from_secs(60));
                self.machines[machine].slow_until = until;
            }
            Fault::Clock(machine) => self.machines[machine].clock.jump(&mut self.chance),
            Fault::Partition(machine) => {
                let until = self.before_calm(PARTITION.0, PARTITION.1);
                self.cut_off(machine, (true, true), until);
            }
            Fault::OneWay(machine, up) => {
                let until = self.before_calm(PARTITION.0, PARTITION.1);
                self.cut_off(machine, (up, !up), until);
            }
            Fault::Cut(machine) => self.resets(machine),
            Fault::Reboot(machine) => self.boot(machine)?,
            Fault::Dies(machine) => self.dies(machine)?,
            Fault::Exiled(machine) => self.exile(machine),
            Fault::Unwell(machine) => {
                let until = self.before_calm(Duration::ZERO, Duration::from_secs(60));
                self.at(until, Event::Recovers { machine, code: NodeError::DISK_PRESSURE });
                self.falls_ill(machine, NodeError::DISK_PRESSURE)?;
            }
            Fault::Sick(machine) => {
                let until = self.before_calm(Duration::from_secs(30), Duration::from_secs(150));
                self.machines[machine].sick_until = until;
            }
        }
        Ok(())
    }

    /// The connections of a machine are reset; both ends find out by themselves, one of them perhaps late.
    fn resets(&mut self, machine: usize) {
        for session in self.network.of_machine(machine) {
            self.network.reset(session, self.now);
        }
        let more = if self.chance.one_in(4) { 40_000 } else { 1_000 };
        self.will_notice(machine, 100, more);
    }

    /// kill -9 of a supervisor.
    fn supervisor_dies(&mut self, machine: usize) {
        let on = &mut self.machines[machine];
        let boot = on.boot;
        (on.supervisor.is_up, on.supervisor.is_heard) = (false, false);
        let millis = if self.chance.one_in(4) { 60_000 } else { 1_000 };
        self.later(millis, Event::StartSupervisor { machine, boot });
    }

    /// The disk of a machine is full: what the journal keeps in reserve may last until there is room, or not.
    fn fill_disk(&mut self, machine: usize) -> Kept {
        let until = self.before_calm(Duration::from_secs(2), Duration::from_secs(60));
        let holds = if self.chance.one_in(2) { until } else { self.now };
        let on = &mut self.machines[machine];
        (on.full_until, on.reserve_until) = (until, holds);
        self.at(until, Event::Room { machine });
        self.tells_room(machine)
    }

    /// A machine never reaches the controller again, but goes on.
    fn exile(&mut self, machine: usize) {
        if !self.machines[machine].is_exiled && !self.machines[machine].lost {
            self.machines[machine].is_exiled = true;
            self.cut_off(machine, (true, true), Timestamp::FAR_FUTURE);
            self.replace(machine);
        }
    }

    /// Cuts the link of a machine upwards, downwards or both. Both ends of its sessions find out by themselves, if it lasts.
    fn cut_off(&mut self, machine: usize, (up, down): (bool, bool), until: Timestamp) {
        let cut = self.network.cuts.entry(machine).or_default();
        (cut.up, cut.down) = (cut.up || up, cut.down || down);
        let more = if self.chance.one_in(3) { 60_000 } else { 15_000 };
        self.will_notice(machine, 5_000, more);
        if until < Timestamp::FAR_FUTURE {
            self.at(until, Event::Heals { machine });
        }
    }

    /// SIGSTOP of the agent. The controller may notice that nobody answers its probes.
    fn freeze(&mut self, machine: usize) {
        let on = &mut self.machines[machine];
        if !on.is_up() || on.frozen.is_some() {
            return;
        }
        on.frozen = Some(Vec::new());
        let more = if self.chance.one_in(2) { 5 } else { 100 };
        let until = self.before_calm(Duration::from_millis(100), Duration::from_secs(more));
        self.at(until, Event::Thaws { machine });
        self.will_notice(machine, 10_000, 10_000);
    }

    /// SIGCONT: what happened meanwhile comes to the agent in order.
    pub(crate) fn thaws(&mut self, machine: usize) -> Kept {
        let Some(waiting) = self.machines[machine].frozen.take() else { return Ok(()) };
        self.say(|| format!("machine {machine}: the agent goes on"));
        for event in waiting {
            // It arrived before, so nothing that has become of the connection since then matters.
            if let Event::ToAgent { machine, session, message } = event {
                self.take_in(machine, session, message)?;
            } else {
                self.dispatch(event)?;
            }
        }
        Ok(())
    }

    pub(crate) fn start_supervisor(&mut self, machine: usize, boot: u32) {
        let on = &mut self.machines[machine];
        if on.boot == boot && !on.lost && !on.supervisor.is_up {
            on.supervisor.is_up = true;
            let incarnation = on.incarnation;
            self.later(1_000, Event::Reattach { machine, incarnation });
        }
    }

    /// What was sent and has not arrived may be lost; nobody says goodbye.
    fn unplug(&mut self, machine: usize) {
        self.will_notice(machine, 5_000, 35_000);
        for session in self.network.of_machine(machine) {
            self.network.reset(session, self.now);
            self.network.close(session, true);
        }
        self.machines[machine].session = None;
    }

    /// Power off and on.
    fn boot(&mut self, machine: usize) -> Kept {
        if self.machines[machine].lost {
            return Ok(());
        }
        self.unplug(machine);
        self.later(40_000, Event::StartAgent { machine });
        let more = usize::from(self.chance.byte_below(200)) * 6;
        for (key, exit) in self.machines[machine].reboot(self.now, more) {
            self.process_ended(machine, &key, exit)?;
        }
        Ok(())
    }

    /// Power off for ever.
    fn dies(&mut self, machine: usize) -> Kept {
        if self.machines[machine].lost {
            return Ok(());
        }
        self.oracle.saw("a machine is gone for ever");
        self.unplug(machine);
        self.machines[machine].lost = true;
        for (key, exit) in self.machines[machine].reboot(self.now, 0) {
            self.process_ended(machine, &key, exit)?;
        }
        self.replace(machine);
        Ok(())
    }

    /// The agent has the operator's command restart the machine; sometimes it fails.
    pub(crate) fn restart(&mut self, machine: usize) -> Kept {
        let running = self.machines[machine].supervisor.running().next();
        promise("nothing runs on a machine that is restarted", running.is_none(), || {
            format!("{running:?} runs on machine {machine}")
        })?;
        if self.chance.one_in(4) {
            self.say(|| format!("machine {machine}: the restart fails"));
            self.oracle.saw("a restart on request fails");
            self.later(30_000, Event::Recovers { machine, code: NodeError::RESTART_FAILED });
            return self.falls_ill(machine, NodeError::RESTART_FAILED);
        }
        self.say(|| format!("machine {machine} restarts"));
        self.boot(machine)
    }

    fn falls_ill(&mut self, machine: usize, code: &'static str) -> Kept {
        let error = NodeError {
            code: code.to_owned(),
            message: "drawn by lot".to_owned(),
            details: Vec::new(),
            time: self.machines[machine].clock.wall(self.now),
        };
        self.machines[machine].errors.retain(|other| other.code != code);
        self.machines[machine].errors.push(error);
        self.tells_health(machine)
    }

    pub(crate) fn recovers(&mut self, machine: usize, code: &str) -> Kept {
        self.machines[machine].errors.retain(|error| error.code != code);
        self.tells_health(machine)
    }

    /// The shell around an agent measures and tells it, if it is up.
    fn tells_health(&mut self, machine: usize) -> Kept {
        let errors = self.machines[machine].errors.clone();
        self.tell_agent(machine, AgentInput::Health(errors))
    }

    /// Nothing breaks any more, and what is broken and can be whole again is.
    pub(crate) fn calms(&mut self) -> Kept {
        self.calm = true;
        let engine = &mut self.controller.engine;
        (engine.dies_after, engine.dies_committing) = (None, false);
        (engine.slow_until, engine.full_until) = (self.now, self.now);
        for machine in 0..self.machines.len() {
            self.machines[machine].dies = None;
            let is_cut = [Way::Up, Way::Down].into_iter().any(|way| self.network.is_cut(machine, way));
            if is_cut {
                self.heals(machine);
            }
            self.thaws(machine)?;
        }
        self.say(|| format!("all is calm after {} s", CALM_AFTER.as_secs()));
        Ok(())
    }
}

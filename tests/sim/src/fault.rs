//! What breaks: controllers and agents die, sessions break, machines are booted anew, unwell or start nothing for a while.
//!
//! What a crashed side had not made durable is lost with it; messages of a broken session never arrive.

use crate::broken::{Kept, promise};
use crate::names::MACHINES;
use crate::script::{CALM_AFTER, Fault};
use crate::world::{Event, World};
use muster_agent_core::Input as AgentInput;
use muster_model::Timestamp;
use muster_model::node::NodeError;
use std::time::Duration;

impl World {
    pub(crate) fn breaks(&mut self, fault: Fault) -> Kept {
        self.faults += 1;
        self.say(|| format!("fault: {fault:?}"));
        match fault {
            Fault::Controller => {
                self.controller.crash(self.now)?;
                self.later(20_000, Event::StartController);
                (0..MACHINES).try_for_each(|machine| self.cut(machine, 2_000))
            }
            Fault::Agent(machine) => {
                self.machines[machine].crash();
                self.later(50_000, Event::StartAgent { machine });
                Ok(())
            }
            // Often longer than the lease.
            Fault::Partition(machine) => self.cut(machine, 80_000),
            Fault::Cut(machine) => self.cut(machine, 500),
            Fault::Reboot(machine) => self.boot(machine),
            Fault::Unwell(machine) => {
                self.later(60_000, Event::Recovers { machine, code: NodeError::DISK_PRESSURE });
                self.falls_ill(machine, NodeError::DISK_PRESSURE)
            }
            Fault::Sick(machine) => {
                let well = Timestamp::EPOCH.after(CALM_AFTER);
                let until = self.now.after(Duration::from_secs(self.chance.below(150) + 30));
                self.machines[machine].sick_until = until.min(well);
                Ok(())
            }
        }
    }

    /// Power off and on.
    fn boot(&mut self, machine: usize) -> Kept {
        self.later(40_000, Event::StartAgent { machine });
        for (subject, exit) in self.machines[machine].reboot(self.now) {
            self.process_ended(machine, &subject, exit)?;
        }
        Ok(())
    }

    /// The agent has the operator's command restart the machine; sometimes it fails.
    pub(crate) fn restart(&mut self, machine: usize) -> Kept {
        let running = self.machines[machine].running().next();
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
            time: self.now,
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
}

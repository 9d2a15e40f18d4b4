//! What breaks: controllers and agents die, sessions break, machines are booted anew.
//!
//! What a crashed side had not made durable is lost with it; messages of a broken session never arrive.

use crate::broken::Kept;
use crate::names::MACHINES;
use crate::script::Fault;
use crate::world::{Event, World};

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
            Fault::Reboot(machine) => {
                self.later(40_000, Event::StartAgent { machine });
                for (attempt, exit) in self.machines[machine].reboot(self.now) {
                    self.process_ended(machine, &attempt, exit)?;
                }
                Ok(())
            }
        }
    }
}

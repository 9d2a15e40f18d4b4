//! What each event does: the one place where the queue meets the two sides.
//!
//! Nothing is decided here; each event has one function, in the file of its subject. After each step one agent recounts itself.

use crate::broken::{Kept, broken};
use crate::engine::Asked;
use crate::event::Event;
use crate::script::Happening;
use crate::words;
use crate::world::World;
use muster_controller_core::input::Input;

impl World {
    /// Lets the next thing happen, the `events`-th.
    pub(crate) fn step(&mut self, events: u64) -> Kept {
        let Some(event) = self.next() else {
            return Err(broken("everything comes to rest", "nothing will ever happen again"));
        };
        self.dispatch(event)?;
        self.recount(usize::try_from(events).unwrap_or(0) % self.machines.len())
    }

    pub(crate) fn dispatch(&mut self, event: Event) -> Kept {
        if self.log.is_some()
            && let Some(words) = words::event(&event)
        {
            self.say(|| words);
        }
        match event {
            Event::ToController { machine, session, message } => return self.hear(machine, session, message),
            Event::ToAgent { machine, session, message } => return self.deliver(machine, session, message),
            Event::Notices { machine, session, of_agent } => return self.notices(machine, session, of_agent),
            Event::Answer { machine, incarnation, input } => {
                if self.machines[machine].incarnation == incarnation {
                    return self.tell_agent(machine, *input);
                }
            }
            Event::Written { machine, incarnation } => return self.written(machine, incarnation),
            Event::Room { machine } => return self.tells_room(machine),
            Event::Reattach { machine, incarnation } => return self.reattach(machine, incarnation),
            Event::ProcessEnds { machine, boot, key, ended, by } => {
                if self.machines[machine].boot == boot {
                    return self.process_ends(machine, &key, ended, by);
                }
            }
            Event::Connect { machine } => return self.connect(machine),
            Event::StartAgent { machine } => return self.start_agent(machine),
            Event::Thaws { machine } => return self.thaws(machine),
            Event::StartSupervisor { machine, boot } => self.start_supervisor(machine, boot),
            Event::Recovers { machine, code } => return self.recovers(machine, code),
            Event::Heals { machine } => self.heals(machine),
            Event::Joins { machine } => self.joins(machine),
            Event::JoinArrives { machine } => return self.join_arrives(machine),
            Event::Joined { machine, node } => self.joined(machine, node),
            Event::Committed { epoch } => return self.committed(epoch),
            Event::Asks(call) => return self.asks(call),
            Event::Request(call) => return self.request(call),
            Event::Answered { call, reply } => return self.answered(call, *reply),
            Event::KillController { epoch } => return self.kill_controller(epoch),
            Event::StartController => return self.start_controller(),
            Event::Happens(line) => {
                return match self.script[line].1 {
                    Happening::Wish { wish, stale } => self.wish(line, wish, stale),
                    Happening::Fault(fault) => self.breaks(fault),
                };
            }
            Event::Calm => return self.calms(),
            Event::Close => return self.close(),
            Event::Bury => return self.bury(),
            Event::Look => return self.look(),
        }
        Ok(())
    }

    /// Wakes every core whose deadline has come, and lets the supervisors do what is due.
    fn look(&mut self) -> Kept {
        if self.controller.next_deadline().is_some_and(|at| at <= self.now) {
            self.tell_controller(Input::DeadlinePassed, Asked::Nobody)?;
        }
        (0..self.machines.len()).try_for_each(|machine| self.look_at_machine(machine))
    }
}

//! What may break, and how it is drawn.
//!
//! Only names and chances; what each fault does is in `fault`. A story that fails is told again with faults left out, so
//! a fault is small and `Copy`, and whatever it draws besides comes from streams of its own.

use crate::chance::Chance;
use crate::machine::Death;
use crate::names::MACHINES;

/// Faults of one script are fewer than this; of one in four, fewer than that.
const FAULTS: (u64, u64) = (24, 80);

/// What breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// kill -9 of the controller.
    Controller,
    /// kill -9 of the controller right after so many more steps.
    ControllerAfter(u8),
    /// kill -9 of the controller amid its next commit.
    ControllerCommitting,
    /// The controller's disk is slow for a while.
    SlowStore,
    /// The controller's disk is full for a while.
    FullStore,
    /// Somebody sets the wall clock of the controller.
    ControllerClock,
    /// No machine reaches the controller, often for longer than the lease.
    Isolated,
    /// kill -9 of an agent.
    Agent(usize),
    /// kill -9 of an agent amid a turn, after so many others.
    AgentAmid(usize, u8, Death),
    /// An agent is stopped, often for longer than its lease.
    Frozen(usize),
    /// kill -9 of a supervisor, which is started again.
    Supervisor(usize),
    /// The disk of a machine is full for a while.
    FullDisk(usize),
    /// The disk of a machine is slow for a while.
    SlowDisk(usize),
    /// Somebody sets the wall clock of a machine.
    Clock(usize),
    /// A machine does not reach the controller, often for longer than its lease.
    Partition(usize),
    /// What a machine says to the controller (or, with `false`, what that says to it) does not arrive.
    OneWay(usize, bool),
    /// A connection is reset.
    Cut(usize),
    /// A machine is booted anew.
    Reboot(usize),
    /// A machine is gone for ever, and its processes with it.
    Dies(usize),
    /// A machine never reaches the controller again, but goes on.
    Exiled(usize),
    /// A machine has something to complain about for a while.
    Unwell(usize),
    /// A machine cannot start processes for a while.
    Sick(usize),
}

/// How many faults a script has.
pub(crate) const fn how_many(chance: &mut Chance) -> u64 {
    let most = if chance.one_in(4) { FAULTS.1 } else { FAULTS.0 };
    chance.below(most)
}

pub(crate) fn draw(chance: &mut Chance) -> Fault {
    let machine = usize::from(chance.byte_below(MACHINES as u64));
    match chance.below(48) {
        0..=2 => Fault::Controller,
        3..=5 => Fault::ControllerAfter(chance.byte_below(20)),
        6..=8 => Fault::ControllerCommitting,
        9 | 10 => Fault::SlowStore,
        11 | 12 => Fault::FullStore,
        13 => Fault::ControllerClock,
        14 => Fault::Isolated,
        15 | 16 => Fault::Agent(machine),
        17..=19 => {
            let turns = chance.byte_below(12);
            let death =
                if chance.one_in(3) { Death::BeforeWriting } else { Death::After(chance.byte_below(3)) };
            Fault::AgentAmid(machine, turns, death)
        }
        20..=22 => Fault::Frozen(machine),
        23 | 24 => Fault::Supervisor(machine),
        25 | 26 => Fault::FullDisk(machine),
        27 => {
            if chance.one_in(2) {
                Fault::Clock(machine)
            } else {
                Fault::SlowDisk(machine)
            }
        }
        28..=30 => Fault::Partition(machine),
        31..=33 => Fault::OneWay(machine, chance.one_in(2)),
        34..=36 => Fault::Cut(machine),
        37..=39 => Fault::Reboot(machine),
        40 => Fault::Dies(machine),
        41 => Fault::Exiled(machine),
        42..=44 => Fault::Unwell(machine),
        _ => Fault::Sick(machine),
    }
}

//! The order to restart the machine, or to set it up anew: carried out as soon as nothing is held.
//!
//! The controller relieves the node of its tasks first; here it is only made sure of. A finished attempt is held until its
//! result is acknowledged, because a machine that is set up anew forgets it. A start task does not hold it up: it is ended, since
//! to try it again is what many restarts are for.
//!
//! The order is in no journal: who gave it sees by the boot whether it was carried out, and gives it again.

use crate::desk::Desk;
use crate::effect::Effect;
use crate::input::KillReason;
use crate::life;
use std::time::Duration;

/// The order, while it waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Restart {
    /// Whether the machine is to be set up anew; `None` while no order waits.
    waits: Option<bool>,
}

impl Restart {
    /// Takes an order; to set up anew says more than to restart.
    pub(crate) fn order(&mut self, desk: &mut Desk<'_>, reimage: bool, grace: Duration) {
        self.waits = Some(reimage || self.waits.unwrap_or(false));
        life::kill_start_task(desk, KillReason::NodeStopping, grace);
    }

    /// Whether an order waits: the start task is not tried again meanwhile.
    pub(crate) const fn waits(self) -> bool {
        self.waits.is_some()
    }

    /// Carries the order out if nothing is held. Whether the command for it worked is not this one's to know; until the machine
    /// goes down the node works as before.
    pub(crate) fn when_idle(&mut self, desk: &mut Desk<'_>, is_idle: bool) {
        if let Some(reimage) = self.waits.filter(|_| is_idle) {
            self.waits = None;
            desk.act(Effect::Restart { reimage });
        }
    }
}

//! What is wrong with the node itself, as the controller has been told: said when it changes, and again on a new session while
//! something is wrong.
//!
//! The shell measures and says all that is wrong now; nothing here judges. What was said is in no journal: the first word after
//! a restart of the agent is passed on also when all is well, because the agent before may have said otherwise.
//!
//! Invariant: at most one report about health waits; a later one takes its place (`report`).

use crate::desk::Desk;
use crate::report::Report;
use muster_model::limits::NODE_ERRORS_MAX;
use muster_model::node::NodeError;

/// What the controller has been told by this agent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Health {
    said: Option<Vec<NodeError>>,
}

impl Health {
    /// Takes all that is wrong now, and reports it if that is news. Of more than [`NODE_ERRORS_MAX`] errors the first count.
    pub(crate) fn tell(&mut self, desk: &mut Desk<'_>, mut errors: Vec<NodeError>) {
        errors.truncate(NODE_ERRORS_MAX);
        if self.said.as_ref() != Some(&errors) {
            self.said = Some(errors.clone());
            desk.report(Report::Health(errors));
        }
    }

    /// At the beginning of a session: says again what is wrong, unless that waits to be said anyway.
    pub(crate) fn repeat(&self, desk: &mut Desk<'_>) {
        if let Some(errors) = self.said.as_ref().filter(|errors| !errors.is_empty())
            && !desk.ledger.outbox().tells_of_health()
        {
            desk.report(Report::Health(errors.clone()));
        }
    }
}

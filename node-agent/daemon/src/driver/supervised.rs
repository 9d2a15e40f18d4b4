//! What the driver has to do with the supervisor: its words as inputs of the core, the core's subjects as keys.
//!
//! The core names attempts; the supervisor's keys also tell of which task of that id one is. Words about an attempt that the
//! node does not hold under that incarnation are answered here: a command of which nobody waits is ended and its record let go.
//!
//! Invariant: the core hears nothing of a command that is not the one it holds under that name.

use super::turn::Driver;
use crate::custody::{Ask, Keyed, Word};
use muster_agent_core::input::{Exit, Supervised, SupervisedState};
use muster_agent_core::{Input, Subject};
use std::sync::Arc;
use std::time::Duration;

impl Driver {
    /// Takes what the supervisor says.
    pub(super) fn supervisor_said(&mut self, word: Word) {
        match word {
            Word::Holds(held) => {
                self.book.begin_supervisor();
                let (known, strays): (Vec<_>, Vec<_>) =
                    held.into_iter().partition(|(whose, _)| self.is_held(whose));
                for (whose, _) in strays {
                    // Its end is acknowledged when it comes.
                    tracing::info!(subject = %whose.subject, incarnation = whose.incarnation, "ending a command that nobody waits for");
                    self.parts.custody.ask(Ask::Kill {
                        whose,
                        grace: Duration::ZERO,
                        reason: "nobody waits for it",
                    });
                }
                let known = known.into_iter().map(|(whose, since)| Supervised {
                    subject: whose.subject,
                    state: SupervisedState::Running(since),
                });
                self.take(Input::Supervised(known.collect()));
            }
            Word::Using(usages) => self.using(usages),
            Word::Launched { whose, outcome } => {
                if self.is_held(&whose) {
                    self.take(Input::Launched { subject: whose.subject, outcome });
                }
            }
            Word::Exited { whose, exit } => {
                if self.is_held(&whose) {
                    self.exited(whose.subject, exit);
                } else {
                    self.parts.custody.ask(Ask::Acknowledge(whose));
                }
            }
        }
    }

    /// Takes the end of a command. Where its directory has a limit it is looked first whether that was reached: the core has to
    /// know before the end. An answer that comes when the attempt is another's finds nobody.
    fn exited(&mut self, subject: Subject, mut exit: Exit) {
        let path = self.parts.layout.place_path(&subject);
        if !self.parts.layout.disks().is_bounded(&path) {
            return self.take(Input::Exited { subject, exit });
        }
        let (layout, inputs) = (Arc::clone(&self.parts.layout), self.parts.inputs.clone());
        self.hands.ask(move || {
            if let Some(usage) = layout.disks().last_look(&path) {
                exit.usage.peak_disk_bytes = usage.peak_bytes;
                if let Some(over) = usage.over() {
                    let _ending = inputs.blocking_send(Input::OverDisk { subject: subject.clone(), over });
                }
            }
            let _ending = inputs.blocking_send(Input::Exited { subject, exit });
        });
    }

    /// Asks something about the command of a subject. One that has ended meanwhile needs nothing any more.
    pub(super) fn ask_about(&self, subject: Subject, ask: impl FnOnce(Keyed) -> Ask) {
        let incarnation = match &subject {
            Subject::Attempt(attempt) => self.agent.ledger().attempt(attempt).map(|held| held.incarnation()),
            Subject::StartTask { .. } => Some(0),
        };
        if let Some(incarnation) = incarnation {
            self.parts.custody.ask(ask(Keyed { subject, incarnation }));
        }
    }

    /// Whether this is the command that the core holds under its name. Of runs of the start task the core itself knows.
    fn is_held(&self, whose: &Keyed) -> bool {
        match &whose.subject {
            Subject::Attempt(attempt) => {
                let held = self.agent.ledger().attempt(attempt);
                held.is_some_and(|held| held.incarnation() == whose.incarnation)
            }
            Subject::StartTask { .. } => true,
        }
    }
}

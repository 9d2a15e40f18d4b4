//! Whose a command's files are, how it is separated, and restarts of the machine: what the operator and the pool have set,
//! applied to what the core wants done.
//!
//! Invariant: the directory of an attempt is closed before the user that it had can be another's.

use super::turn::Driver;
use crate::isolation::{Ground, Wanted};
use crate::users::{Found, RunAs};
use muster_agent_core::Subject;
use muster_agent_core::attempt::State;
use muster_model::cause::FailureInfo;
use muster_model::node::NodeError;
use muster_model::spec::UserIdentity;
use muster_model::state::TaskNetwork;
use muster_model::{AttemptId, TaskId, Timestamp};
use muster_runtime::clock;
use muster_supervisor::Isolation;
use std::sync::Arc;

impl Driver {
    /// Takes over the bounds of the directories that the agent before has made, and removes those that are nobody's.
    pub(super) fn take_over_disks(&self) {
        let ledger = self.agent.ledger();
        let ended = ledger.retained().iter().map(|(attempt, _)| (attempt.clone(), false));
        let placed = ledger.attempts().iter().filter(|(_, held)| held.state != State::Assigned);
        // Of two attempts of one task the later one has the directory.
        let held = ended.chain(placed.map(|(attempt, _)| (attempt.clone(), true)));
        if let Err(error) = self.parts.layout.take_over(held) {
            tracing::error!(%error, "cannot take over the limits of all task directories");
        }
    }

    /// Takes up the users of attempts that the agent before has placed: their working directories tell.
    pub(super) fn find_owners(&mut self) {
        let held = self.agent.ledger().attempts().iter();
        let placed = held.filter(|(_, held)| held.state != State::Assigned);
        for (attempt, _) in placed {
            let subject = Subject::Attempt(attempt.clone());
            match self.parts.layout.owner_of(&subject) {
                Ok(uid) => self.owners.found(&subject, uid),
                Err(error) => tracing::debug!(%attempt, %error, "cannot tell whose a task directory is"),
            }
        }
    }

    /// As whom a subject's command runs. One that has no user of its own yet is given one.
    pub(super) fn user_of(
        &mut self,
        subject: &Subject,
        identity: &UserIdentity,
        is_preparation: bool,
    ) -> Result<RunAs, FailureInfo> {
        let accounts = self.settings.as_ref().map_or(&[][..], |settings| &settings.user_accounts);
        let outlives = is_preparation || matches!(subject, Subject::StartTask { .. });
        let found = self.parts.users.find(identity, accounts, outlives);
        let user = found.and_then(|found| match found {
            Found::Known(user) => Ok(user),
            Found::OfItsOwn => self.owners.give(subject),
        });
        user.map_err(|error| error.failure())
    }

    /// How a subject's command is separated.
    pub(super) fn isolation_of(
        &self,
        subject: &Subject,
        user: RunAs,
        gpus: &[u32],
        preparation: Option<&TaskId>,
        is_release: bool,
    ) -> Result<Isolation, FailureInfo> {
        let settings = self.settings.as_ref();
        let wanted = Wanted {
            subject,
            level: settings.and_then(|settings| settings.isolation_level),
            network: settings.map_or(TaskNetwork::Host, |settings| settings.task_network),
            user,
            gpus,
            preparation,
            is_release,
        };
        self.parts.ground.isolation(&self.parts.layout, &wanted).map_err(|error| error.failure())
    }

    /// Says whether this node can separate tasks as its pool asks.
    pub(super) fn check_isolation(&self) {
        let Some(settings) = &self.settings else { return };
        let ground: &Ground = &self.parts.ground;
        match ground.level(settings.isolation_level, settings.task_network) {
            Ok(_) => self.parts.health.clear(NodeError::ISOLATION_UNAVAILABLE),
            Err(error) => self.parts.health.raise(NodeError {
                code: NodeError::ISOLATION_UNAVAILABLE.to_owned(),
                message: error.to_string(),
                details: Vec::new(),
                time: Timestamp::from_micros(clock::wall_us()),
            }),
        }
    }

    /// Closes the directory of an attempt that has ended. Where another attempt of the task has been placed since, the
    /// directory of that name is the other's, and the old one is in the trash, which nobody passes.
    pub(super) fn close_directory(&self, attempt: &AttemptId) {
        let others = self.agent.ledger().attempts_of(&attempt.task_key());
        let is_placed = |state: &State| *state != State::Assigned;
        if others.into_iter().any(|other| *other.id() != *attempt && is_placed(&other.state)) {
            return;
        }
        let (layout, attempt) = (Arc::clone(&self.parts.layout), attempt.clone());
        // Whoever gets the user's id next has its directory made by the same hands, after this.
        self.hands.ask(move || {
            if let Err(error) = layout.seal(&attempt) {
                tracing::warn!(%attempt, %error, "cannot close the directory of an ended task");
            }
            let path = layout.place_path(&Subject::Attempt(attempt.clone()));
            layout.disks().rest(&attempt, &path);
        });
    }

    /// Restarts the machine, or sets it up anew, by the operator's command.
    pub(super) fn restart(&mut self, reimage: bool) {
        if self.restarting.as_ref().is_some_and(|running| !running.is_finished()) {
            tracing::info!("the machine is being restarted already");
            return;
        }
        self.parts.health.clear(NodeError::RESTART_FAILED);
        let (hooks, health) = (self.parts.hooks.clone(), self.parts.health.clone());
        let running = self.parts.work.spawn(async move {
            let error = hooks.run(reimage).await;
            tracing::error!(%error, reimage, "the machine was not restarted");
            health.raise(error.node_error(reimage));
        });
        self.restarting = Some(running.abort_handle());
    }
}

//! Staging, launching, collecting, removing: what the core's effects ask for on this machine.
//!
//! What goes over the network is a task of its own that answers with an input and can be cancelled; what is a few system calls
//! is done and answered at once.

use super::turn::Driver;
use crate::custody::Ask;
use crate::launch::{self, Command};
use crate::output::{Environment, Outputs};
use crate::staging::{ForWhom, cancelled};
use crate::workdir::{Readers, TaskPlace, is_full};
use muster_agent_core::effect::UploadOf;
use muster_agent_core::{Input, Subject};
use muster_model::cause::FailureInfo;
use muster_model::{AttemptId, Cause};
use muster_proto::convert::{AttemptPlan, StartTaskPlan};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

impl Driver {
    /// A token that ends the work of a subject when its guard is dropped.
    fn begin_work(&mut self, subject: &Subject) -> CancellationToken {
        let token = CancellationToken::new();
        self.working.insert(subject.clone(), token.clone().drop_guard());
        token
    }

    /// Makes the directory of a subject and fetches its files. Without files that is a handful of system calls, which are
    /// made here: another task of the runtime would take longer to wake than they take.
    pub(super) fn stage(&mut self, subject: Subject) {
        let (place, files, whom) = match self.place(&subject) {
            Ok(made) => made,
            Err(failure) => return self.staged(subject, Err(failure)),
        };
        if files.resource_files().is_empty() {
            return self.staged(subject, Ok(0));
        }
        let token = self.begin_work(&subject);
        let (stager, inputs) = (Arc::clone(&self.parts.stager), self.parts.inputs.clone());
        tokio::spawn(async move {
            let place = Arc::new(place);
            let outcome = tokio::select! {
                staged = stager.stage(&whom, files.resource_files(), &place) => staged,
                () = token.cancelled() => Err(cancelled()),
            };
            tell_failure(&subject, &outcome);
            let _ending = inputs.send(Input::Staged { subject, outcome }).await;
        });
    }

    /// Makes the directory of a subject, and finds what it needs.
    fn place(&self, subject: &Subject) -> Result<(TaskPlace, Work, ForWhom), FailureInfo> {
        let (identity, work, whom, readers) = match subject {
            Subject::Attempt(attempt) => {
                let plan = self.plan(attempt).ok_or_else(no_plan)?;
                let is_preparation = plan.job_preparation.as_ref() == Some(&attempt.task);
                let readers = if is_preparation { Readers::Tasks } else { Readers::Owner };
                let whom = ForWhom::Attempt(attempt.clone());
                (plan.user_identity, Work::Attempt(Arc::clone(plan)), whom, readers)
            }
            Subject::StartTask { .. } => {
                let plan = self.start_task.as_ref().ok_or_else(no_plan)?;
                let whom = ForWhom::StartTask { version: plan.version };
                (plan.user_identity, Work::StartTask(Arc::clone(plan)), whom, Readers::Tasks)
            }
        };
        let owner = self.parts.users.owner(identity).map_err(|error| error.failure())?;
        let made = self.parts.layout.make_place(subject, owner, readers);
        Ok((made.map_err(|error| place_failure(&error))?, work, whom))
    }

    fn staged(&mut self, subject: Subject, outcome: Result<u64, FailureInfo>) {
        tell_failure(&subject, &outcome);
        self.take(Input::Staged { subject, outcome });
    }

    pub(super) fn launch(&mut self, subject: Subject, wall_clock: Option<Duration>, gpus: &[u32]) {
        self.working.remove(&subject);
        let parts = &self.parts;
        let spec = self.command(&subject, wall_clock, gpus).and_then(|command| {
            launch::spec(&parts.layout, &parts.names, &parts.users, &command).map_err(|error| error.failure())
        });
        match spec {
            Ok(spec) => self.ask_about(subject, |whose| Ask::Start { whose, spec: Box::new(spec) }),
            Err(failure) => self.take(Input::Launched { subject, outcome: Err(failure) }),
        }
    }

    /// The command of a subject, as its plan has it.
    fn command<'a>(
        &'a self,
        subject: &'a Subject,
        wall_clock: Option<Duration>,
        gpus: &'a [u32],
    ) -> Result<Command<'a>, FailureInfo> {
        let (incarnation, command_line, environment, user, limits, preparation) = match subject {
            Subject::Attempt(attempt) => {
                let plan = self.plan(attempt).ok_or_else(no_plan)?;
                let preparation = plan.job_preparation.as_ref();
                let AttemptPlan { incarnation, command_line, environment, user_identity, limits, .. } =
                    &**plan;
                (*incarnation, command_line, environment, *user_identity, *limits, preparation)
            }
            Subject::StartTask { .. } => {
                let plan = self.start_task.as_ref().ok_or_else(no_plan)?;
                (0, &plan.command_line, &plan.environment, plan.user_identity, Default::default(), None)
            }
        };
        Ok(Command {
            subject,
            incarnation,
            command_line,
            environment,
            user,
            limits,
            wall_clock,
            gpus,
            preparation,
            account_url: self.settings.as_ref().map_or("", |settings| &settings.account_url),
            is_dedicated: self.settings.as_ref().is_none_or(|settings| settings.is_dedicated),
        })
    }

    /// The environment that a command ran in, for patterns that name its variables.
    fn environment(&self, subject: &Subject) -> Environment {
        let gpus = match subject {
            Subject::Attempt(attempt) => self.agent.ledger().attempt(attempt).map(|held| &held.gpus),
            Subject::StartTask { .. } => None,
        };
        let command = self.command(subject, None, gpus.map_or(&[], Vec::as_slice));
        let parts = &self.parts;
        // Without its plan nothing is uploaded either.
        command
            .map_or_else(|_| Vec::new(), |command| launch::environment(&parts.layout, &parts.names, &command))
    }

    pub(super) fn collect(&mut self, subject: Subject, upload: Option<UploadOf>) {
        let plan = match &subject {
            Subject::Attempt(attempt) => self.plan(attempt).cloned(),
            Subject::StartTask { .. } => None,
        };
        let wanted = |plan: &AttemptPlan| upload.is_some_and(|of| Outputs::wants_any(&plan.output_files, of));
        let Some(plan) = plan.filter(|plan| wanted(plan)) else {
            // Nothing goes over the network: two short reads are done here, as in `stage`.
            let collected = Box::new(self.parts.outputs.excerpts(&subject));
            return self.take(Input::Collected { subject, collected });
        };
        let names_variables = plan.output_files.iter().any(|file| file.pattern.contains('$'));
        let environment = if names_variables { self.environment(&subject) } else { Environment::new() };
        let token = self.begin_work(&subject);
        let (outputs, inputs) = (Arc::clone(&self.parts.outputs), self.parts.inputs.clone());
        tokio::spawn(async move {
            let wanted = upload.map(|of| (of, plan.output_files.as_slice()));
            let collected = tokio::select! {
                collected = outputs.collect(&subject, wanted, &environment) => collected,
                // What was cut short is not published; the streams are still told of.
                () = token.cancelled() => outputs.excerpts(&subject),
            };
            if let Some(failure) = &collected.failure {
                tracing::info!(%subject, message = failure.message, "outputs were not kept");
            }
            let _ending = inputs.send(Input::Collected { subject, collected: Box::new(collected) }).await;
        });
    }

    pub(super) fn remove_directories(&self, attempts: &[AttemptId]) {
        for attempt in attempts {
            match self.parts.layout.discard(attempt) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(%attempt, %error, "cannot put a task directory away");
                }
                Ok(()) | Err(_) => {}
            }
        }
        self.parts.layout.empty_trash();
    }
}

/// Whose files are staged.
enum Work {
    Attempt(Arc<AttemptPlan>),
    StartTask(Arc<StartTaskPlan>),
}

impl Work {
    fn resource_files(&self) -> &[muster_proto::convert::PlannedFile] {
        match self {
            Self::Attempt(plan) => &plan.resource_files,
            Self::StartTask(plan) => &plan.resource_files,
        }
    }
}

fn tell_failure(subject: &Subject, outcome: &Result<u64, FailureInfo>) {
    if let Err(failure) = outcome {
        tracing::info!(%subject, cause = %failure.cause, message = failure.message, "staging failed");
    }
}

fn no_plan() -> FailureInfo {
    FailureInfo::new(
        Cause::Internal,
        "the agent has lost the plan of this command: this is a defect of Muster",
    )
}

fn place_failure(error: &io::Error) -> FailureInfo {
    if is_full(error) {
        let words = "the disk of the node is full: its task directory cannot be made; free some, or use a node with a \
                     larger disk";
        return FailureInfo::new(Cause::DiskFull, words);
    }
    FailureInfo::new(Cause::Internal, format!("the node cannot make the task's directory: {error}"))
}

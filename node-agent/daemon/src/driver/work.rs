//! Staging, launching, collecting, removing: what the core's effects ask for on this machine.
//!
//! What goes over the network is a task of its own that answers with an input and can be cancelled; what is a few system calls
//! on a directory is done by the hands, in its order.

use super::turn::Driver;
use crate::custody::Ask;
use crate::launch::{self, Command};
use crate::output::{Environment, Outputs};
use crate::staging::{ForWhom, cancelled};
use crate::users::RunAs;
use crate::workdir::{Layout, PlaceError, Readers, TaskPlace, is_full};
use muster_agent_core::effect::UploadOf;
use muster_agent_core::input::Collected;
use muster_agent_core::{Input, Subject};
use muster_model::cause::FailureInfo;
use muster_model::{AttemptId, Cause};
use muster_proto::convert::{AttemptPlan, StartTaskPlan};
use muster_supervisor::Spec;
use std::collections::btree_map::Entry;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

impl Driver {
    /// A token that ends the work of a subject when its guard is dropped; none if work for it is under way, which goes on.
    fn begin_work(&mut self, subject: &Subject) -> Option<CancellationToken> {
        match self.working.entry(subject.clone()) {
            Entry::Occupied(_) => {
                tracing::error!(%subject, "the same work was ordered twice: this is a defect of Muster");
                None
            }
            Entry::Vacant(place) => {
                let token = CancellationToken::new();
                place.insert(token.clone().drop_guard());
                Some(token)
            }
        }
    }

    /// Makes the directory of a subject and fetches its files.
    pub(super) fn stage(&mut self, subject: Subject) {
        let (site, files, whom) = match self.site(&subject) {
            Ok(found) => found,
            Err(failure) => return self.staged(subject, Err(failure)),
        };
        let Some(token) = self.begin_work(&subject) else { return };
        let (layout, stager, inputs) =
            (Arc::clone(&self.parts.layout), Arc::clone(&self.parts.stager), self.parts.inputs.clone());
        self.hands.ask(move || {
            // To bound a directory takes programs of the system, for which nobody else waits.
            let made = if site.disk_bytes.is_some() { None } else { Some(site.make(&layout)) };
            let done = match &made {
                Some(Err(failure)) => Some(Err(failure.clone())),
                Some(Ok(_)) if files.resource_files().is_empty() => Some(Ok(0)),
                Some(Ok(_)) | None => None,
            };
            if let Some(outcome) = done {
                tell_failure(&subject, &outcome);
                let _ending = inputs.blocking_send(Input::Staged { subject, outcome });
                return;
            }
            tokio::spawn(async move {
                let made = match made {
                    Some(made) => made,
                    None => site.make_apart(Arc::clone(&layout)).await,
                };
                let outcome = match made {
                    Ok(place) => {
                        let place = Arc::new(place);
                        tokio::select! {
                            staged = stager.stage(&whom, files.resource_files(), &place) => staged,
                            () = token.cancelled() => Err(cancelled()),
                        }
                    }
                    Err(failure) => Err(failure),
                };
                let outcome = outcome.map_err(|failure| with_limit(failure, &layout, &subject));
                tell_failure(&subject, &outcome);
                let _ending = inputs.send(Input::Staged { subject, outcome }).await;
            });
        });
    }

    /// Finds what the directory of a subject needs, and what goes into it.
    fn site(&mut self, subject: &Subject) -> Result<(Site, Work, ForWhom), FailureInfo> {
        let (identity, work, whom, readers, disk_bytes) = match subject {
            Subject::Attempt(attempt) => {
                let plan = Arc::clone(self.plan(attempt).ok_or_else(no_plan)?);
                let readers = if is_preparation(&plan) { Readers::Tasks } else { Readers::Owner };
                let whom = ForWhom::Attempt(attempt.clone());
                let disk_bytes = Some(plan.limits.disk_bytes).filter(|bytes| *bytes > 0);
                (plan.user_identity.clone(), Work::Attempt(plan), whom, readers, disk_bytes)
            }
            Subject::StartTask { .. } => {
                let plan = Arc::clone(self.start_task.as_ref().ok_or_else(no_plan)?);
                let whom = ForWhom::StartTask { version: plan.version };
                (plan.user_identity.clone(), Work::StartTask(plan), whom, Readers::Tasks, None)
            }
        };
        let owner = self.user_of(subject, &identity, readers == Readers::Tasks)?.owner();
        let mount_points = self.parts.ground.mount_points();
        Ok((Site { subject: subject.clone(), owner, readers, disk_bytes, mount_points }, work, whom))
    }

    fn staged(&mut self, subject: Subject, outcome: Result<u64, FailureInfo>) {
        tell_failure(&subject, &outcome);
        self.take(Input::Staged { subject, outcome });
    }

    pub(super) fn launch(&mut self, subject: Subject, wall_clock: Option<Duration>, gpus: &[u32]) {
        self.working.remove(&subject);
        if let Err(given_up) = self.agent.ledger().may_launch(&subject) {
            tracing::info!(%subject, "a command is not started any more");
            return self.take(Input::Launched { subject, outcome: Err(given_up) });
        }
        match self.spec(&subject, wall_clock, gpus) {
            Ok(spec) => self.ask_about(subject, |whose| Ask::Start { whose, spec: Box::new(spec) }),
            Err(failure) => self.take(Input::Launched { subject, outcome: Err(failure) }),
        }
    }

    /// What the supervisor is to run for a subject.
    fn spec(
        &mut self,
        subject: &Subject,
        wall_clock: Option<Duration>,
        gpus: &[u32],
    ) -> Result<Spec, FailureInfo> {
        let (identity, is_preparation, is_release) = match subject {
            Subject::Attempt(attempt) => {
                let plan = self.plan(attempt).ok_or_else(no_plan)?;
                let is_preparation = is_preparation(plan);
                // Preparations and releases take no slots, and nothing else does so.
                (plan.user_identity.clone(), is_preparation, plan.slots == 0 && !is_preparation)
            }
            Subject::StartTask { .. } => {
                (self.start_task.as_ref().ok_or_else(no_plan)?.user_identity.clone(), false, false)
            }
        };
        let user = self.user_of(subject, &identity, is_preparation)?;
        let command = Command { user, ..self.command(subject, wall_clock, gpus)? };
        let isolation = self.isolation_of(subject, user, gpus, command.preparation, is_release)?;
        let parts = &self.parts;
        let spec = launch::spec(&parts.layout, &parts.names, &parts.limits, isolation, &command);
        spec.map_err(|error| error.failure())
    }

    /// The command of a subject, as its plan has it; as whom it runs is not in the plan alone.
    fn command<'a>(
        &'a self,
        subject: &'a Subject,
        wall_clock: Option<Duration>,
        gpus: &'a [u32],
    ) -> Result<Command<'a>, FailureInfo> {
        let (incarnation, command_line, environment, limits, preparation) = match subject {
            Subject::Attempt(attempt) => {
                let plan = self.plan(attempt).ok_or_else(no_plan)?;
                let preparation = plan.job_preparation.as_ref();
                let AttemptPlan { incarnation, command_line, environment, limits, .. } = &**plan;
                (*incarnation, command_line, environment, *limits, preparation)
            }
            Subject::StartTask { .. } => {
                let plan = self.start_task.as_ref().ok_or_else(no_plan)?;
                (0, &plan.command_line, &plan.environment, Default::default(), None)
            }
        };
        Ok(Command {
            subject,
            incarnation,
            command_line,
            environment,
            user: RunAs::Agent,
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
        let (outputs, inputs) = (Arc::clone(&self.parts.outputs), self.parts.inputs.clone());
        let Some(plan) = plan.filter(|plan| wanted(plan)) else {
            // Nothing goes over the network: two short reads.
            return self.hands.ask(move || {
                let collected = Box::new(outputs.excerpts(&subject));
                let _ending = inputs.blocking_send(Input::Collected { subject, collected });
            });
        };
        let names_variables = plan.output_files.iter().any(|file| file.pattern.contains('$'));
        let environment = if names_variables { self.environment(&subject) } else { Environment::new() };
        let Some(token) = self.begin_work(&subject) else { return };
        self.parts.work.spawn(async move {
            let wanted = upload.map(|of| (of, plan.output_files.as_slice()));
            let collected = tokio::select! {
                collected = outputs.collect(&subject, wanted, &environment) => collected,
                // What was cut short is not published, and is no success; the streams are still told of.
                () = token.cancelled() => broken_off(outputs.excerpts(&subject)),
            };
            if let Some(failure) = &collected.failure {
                tracing::info!(%subject, message = failure.message, "outputs were not kept");
            }
            let _ending = inputs.send(Input::Collected { subject, collected: Box::new(collected) }).await;
        });
    }

    pub(super) fn remove_directories(&self, attempts: Vec<AttemptId>) {
        let layout = Arc::clone(&self.parts.layout);
        self.hands.ask(move || {
            for attempt in attempts {
                match layout.discard(&attempt) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        tracing::warn!(%attempt, %error, "cannot put a task directory away");
                    }
                    Ok(()) | Err(_) => {}
                }
            }
            layout.empty_trash();
        });
    }
}

/// The directory of a subject that is to be made.
struct Site {
    subject: Subject,
    owner: Option<(u32, u32)>,
    readers: Readers,
    disk_bytes: Option<u64>,
    mount_points: Vec<PathBuf>,
}

impl Site {
    fn make(&self, layout: &Layout) -> Result<TaskPlace, FailureInfo> {
        let place = layout.make_place(&self.subject, self.owner, self.readers, self.disk_bytes);
        let place = place.map_err(|error| match error {
            PlaceError::Io(error) => place_failure(&error),
            PlaceError::Disk(error) => error.failure(),
        })?;
        // What was there under this name before is in the trash now.
        layout.empty_trash();
        place.make_mount_points(&self.mount_points).map_err(|error| place_failure(&error))?;
        Ok(place)
    }

    /// The same on a thread that may block.
    async fn make_apart(self, layout: Arc<Layout>) -> Result<TaskPlace, FailureInfo> {
        let made = tokio::task::spawn_blocking(move || self.make(&layout)).await;
        // A panic there is logged by itself.
        made.unwrap_or_else(|_panicked| {
            Err(FailureInfo::new(
                Cause::Internal,
                "making the task's directory failed: this is a defect of Muster",
            ))
        })
    }
}

/// A failure of staging; if it is that the task's own limit was reached, with the limit and what was in the directory.
fn with_limit(failure: FailureInfo, layout: &Layout, subject: &Subject) -> FailureInfo {
    if failure.cause != Cause::DiskFull {
        return failure;
    }
    let usage = layout.disks().last_look(&layout.place_path(subject));
    let Some(usage) = usage.filter(|usage| usage.is_full) else { return failure };
    let words = format!(
        "the resource files do not fit into the task's limit of {} bytes: raise disk_bytes or stage less",
        usage.limit_bytes
    );
    let full = FailureInfo { message: words, ..failure };
    full.with("limit_bytes", usage.limit_bytes).with("peak_bytes", usage.peak_bytes)
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

/// Whether a plan is of the preparation of its own job.
fn is_preparation(plan: &AttemptPlan) -> bool {
    plan.job_preparation.as_ref() == Some(&plan.attempt.task)
}

fn tell_failure(subject: &Subject, outcome: &Result<u64, FailureInfo>) {
    if let Err(failure) = outcome {
        tracing::info!(%subject, cause = %failure.cause, message = failure.message, "staging failed");
    }
}

fn broken_off(excerpts: Collected) -> Collected {
    let words = "uploading the task's output files was broken off: nothing of them is published";
    Collected { failure: Some(FailureInfo::new(Cause::UploadFailed, words)), ..excerpts }
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

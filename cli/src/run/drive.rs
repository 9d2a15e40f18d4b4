//! The course of a run: upload, submit, follow, fetch, clean up.
//!
//! Latency is the point for short commands: what does not need each other goes side by side, the watch brings the end
//! together with the output, and streams for output are opened only for a task that is still running after [`GRACE`].
//!
//! Invariant: once there is a task, every way out leaves a job that ends by itself.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use muster_client::transfer::{Download, TransferError};
use muster_client::{CallError, Client, ErrorKind, JobChange, TaskFeed, TaskSeen};
use muster_proto::wire;
use muster_proto::wire::output_manifest_entry::Destination;
use tokio::task::JoinHandle;

use super::interrupt::{Interrupts, Wish};
use super::outcome::{Outcome, UNREAD, outcome};
use super::plan::{Plan, TASK};
use super::stream::{CopyError, copy_live, is_complete, write_excerpts};
use crate::args::RunArgs;
use crate::commands::Context;
use crate::exit::{Exit, Failure};
use crate::outlet::Outlet;
use crate::{progress, render};

/// How long a running task may take to end before its output is streamed: most very short commands are over by then,
/// and nobody sees that the first line of a longer one came this much later.
const GRACE: Duration = Duration::from_millis(15);

/// After this time of waiting for a node a person is told what is waited for.
const WAIT_WORTH_A_WORD: Duration = Duration::from_secs(3);

/// Why a run cannot go on.
#[derive(Debug, thiserror::Error)]
enum RunError {
    /// The task was deleted under way.
    #[error("the task of {job} was deleted while it was followed")]
    Deleted { job: String },
}

/// Runs a command.
///
/// # Errors
/// When `muster run` itself fails: anything but the end of the command.
pub(crate) async fn run(context: &Context, args: RunArgs) -> Result<Exit, Failure> {
    let client = context.client()?;
    let plan = Plan::new(&args)?;
    let mut interrupts = Interrupts::listen()?;
    let mut run = Run { client, outlet: context.outlet, plan, closing: None };
    let begun = tokio::select! {
        begun = run.begin() => begun,
        exit = interrupts.any() => {
            run.abandon().await;
            return Ok(exit);
        }
    };
    if let Err(failure) = begun {
        // What cannot be reached cannot be undone either.
        if failure.exit() != Exit::Unavailable {
            run.abandon().await;
        }
        return Err(failure);
    }
    let ended = run.follow(&mut interrupts).await;
    let exit = match ended {
        Ok(End::Completed(task, exit)) => {
            let Outcome { exit: own, words } = outcome(&task);
            // Who ended the task knows why it ended.
            if let Some(words) = words.filter(|_| exit.is_none()) {
                run.outlet.warn(&words);
            }
            let fetched = run.fetch(&task, &args.output_dir).await;
            run.clean_up(fetched.is_ok()).await;
            fetched?;
            exit.unwrap_or(own)
        }
        Ok(End::Left(exit)) => exit,
        Err(failure) => {
            run.outlet
                .warn(&format!("the task may still run; see: muster task show {} {TASK}", run.plan.job_id));
            return Err(failure);
        }
    };
    Ok(exit)
}

/// A run under way.
struct Run {
    client: Client,
    outlet: Outlet,
    plan: Plan,
    closing: Option<JoinHandle<()>>,
}

/// How following ended.
enum End {
    /// The task is completed; the exit code if it is not the task's own.
    Completed(Arc<wire::Task>, Option<Exit>),
    /// The person did not want to wait for that.
    Left(Exit),
}

impl Run {
    /// Uploads the inputs and creates job and task.
    async fn begin(&mut self) -> Result<(), Failure> {
        let inputs = std::mem::take(&mut self.plan.inputs);
        let Plan { job_id, pool, job, task, input_container, .. } = &self.plan;
        let upload = async {
            if inputs.is_empty() {
                return Ok(());
            }
            let bar = progress::transfer(&self.outlet, "uploading");
            self.client.upload(input_container, inputs, bar).await.map(|_| ())
        };
        // A job may wait for a pool that comes later; here that would only hide a mistyped name.
        let (_, _, ()) = tokio::try_join!(
            async { self.client.get_pool(pool).await.map_err(Failure::from) },
            async { self.client.create_job(job.clone()).await.map_err(Failure::from) },
            async { upload.await.map_err(Failure::from) },
        )?;
        self.client.create_task(job_id, task.clone()).await?;
        let (client, id) = (self.client.clone(), job_id.clone());
        self.closing = Some(tokio::spawn(async move {
            let on_all_tasks_complete = wire::OnAllTasksComplete::TerminateJob.into();
            let job = wire::Job { id, on_all_tasks_complete, ..Default::default() };
            if let Err(error) = client.update_job(job, JobChange::of(&["on_all_tasks_complete"])).await {
                tracing::warn!(%error, "the job of the run does not end by itself");
            }
        }));
        Ok(())
    }

    /// Follows the task to its end.
    async fn follow(&mut self, interrupts: &mut Interrupts) -> Result<End, Failure> {
        let mut feed = self.client.watch_task(&self.plan.job_id, TASK).into_feed();
        let mut exit = None;
        let is_running = loop {
            tokio::select! {
                started = self.until_running(&mut feed) => break started?,
                wish = interrupts.wish(&self.outlet) => match wish {
                    Wish::Terminate(code) => exit = Some(self.terminate(code).await?),
                    Wish::Leave(code) => return Ok(End::Left(code)),
                }
            }
        };
        if is_running || !feed.latest().completed().is_some_and(|task| is_complete(task)) {
            let (client, job) = (self.client.clone(), self.plan.job_id.clone());
            let copy_feed = feed.clone();
            let copy = copy_live(&client, &job, &copy_feed, &self.outlet);
            tokio::pin!(copy);
            let mut is_copying = true;
            loop {
                if !is_copying && feed.latest().completed().is_some() {
                    break;
                }
                tokio::select! {
                    copied = &mut copy, if is_copying => {
                        is_copying = false;
                        match copied {
                            Ok(()) => {}
                            Err(error) if error.is_unread() => {
                                self.outlet.remark("nobody reads the output any more; the task is terminated");
                                exit = Some(self.terminate(UNREAD).await?);
                            }
                            Err(error) => return Err(copy_failure(error)),
                        }
                    }
                    () = feed.changed(), if !is_copying => self.refuse_lost(&mut feed)?,
                    wish = interrupts.wish(&self.outlet) => match wish {
                        Wish::Terminate(code) => exit = Some(self.terminate(code).await?),
                        Wish::Leave(code) => return Ok(End::Left(code)),
                    }
                }
            }
        } else if let Some(task) = feed.latest().completed() {
            match write_excerpts(task) {
                Err(error) if error.is_unread() => exit = Some(UNREAD),
                written => written.map_err(copy_failure)?,
            }
        }
        match feed.latest().completed() {
            Some(task) => Ok(End::Completed(task.clone(), exit)),
            None => Err(self.deleted()),
        }
    }

    /// Waits until the task is completed (false), or has been running for a moment (true).
    async fn until_running(&self, feed: &mut TaskFeed) -> Result<bool, Failure> {
        let word = tokio::time::sleep(WAIT_WORTH_A_WORD);
        tokio::pin!(word);
        let mut has_spoken = false;
        let mut grace: Option<std::pin::Pin<Box<tokio::time::Sleep>>> = None;
        loop {
            self.refuse_lost(feed)?;
            if let TaskSeen::Task(task) = feed.latest() {
                match task.state() {
                    wire::TaskState::Completed => return Ok(false),
                    wire::TaskState::Running if grace.is_none() => {
                        grace = Some(Box::pin(tokio::time::sleep(GRACE)));
                    }
                    wire::TaskState::Running
                    | wire::TaskState::Active
                    | wire::TaskState::Preparing
                    | wire::TaskState::Unspecified => {}
                }
            }
            let is_waiting = grace.is_none() && !has_spoken;
            let over = async {
                match grace.as_mut() {
                    Some(grace) => grace.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = feed.changed() => {}
                () = over => return Ok(true),
                () = &mut word, if is_waiting => {
                    has_spoken = true;
                    self.say_what_is_waited_for().await;
                }
            }
        }
    }

    async fn say_what_is_waited_for(&self) {
        if !self.outlet.is_watched() {
            return;
        }
        let pool = &self.plan.pool;
        if let Ok(counts) = self.client.pool_node_counts(pool).await {
            let counts = counts.into_iter().next().and_then(|counts| counts.dedicated).unwrap_or_default();
            let words = render::pool::counts_in_words(&counts);
            self.outlet.remark(&format!("waiting for a free node of pool {pool} (nodes: {words})"));
        }
    }

    /// The watch cannot go on, or there is nothing left to watch.
    fn refuse_lost(&self, feed: &mut TaskFeed) -> Result<(), Failure> {
        match feed.latest() {
            TaskSeen::Gone => Err(self.deleted()),
            TaskSeen::Failed(error) => Err(error.into()),
            TaskSeen::Nothing | TaskSeen::Task(_) => Ok(()),
        }
    }

    fn deleted(&self) -> Failure {
        Failure::new(Exit::NotFound, RunError::Deleted { job: self.plan.job_id.clone() })
    }

    /// Tells the task to end. Answers the exit code for when it has.
    async fn terminate(&self, exit: Exit) -> Result<Exit, Failure> {
        self.outlet.remark("terminating the task");
        match self.client.terminate_task(&self.plan.job_id, TASK).await {
            Ok(_) => Ok(exit),
            // It has just ended by itself.
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(exit),
            Err(error) => Err(error.into()),
        }
    }

    /// Downloads what the task published.
    async fn fetch(&self, task: &wire::Task, folder: &Path) -> Result<(), Failure> {
        let Some(container) = &self.plan.output_container else { return Ok(()) };
        let mut files = Vec::new();
        for output in &task.outputs {
            let Some(Destination::FileStore(name)) = &output.destination else { continue };
            let info = wire::FileInfo {
                name: Some(name.clone()),
                sha256: output.sha256.clone(),
                size_bytes: output.size_bytes,
                ..Default::default()
            };
            files.push(Download::below(folder, &info, 0)?);
        }
        if files.is_empty() {
            self.outlet.warn("no file matches --output; patterns are relative to the working directory");
            return Ok(());
        }
        let bar = progress::transfer(&self.outlet, "downloading");
        let fetched: Result<_, TransferError> = self.client.download(files, bar).await;
        if fetched.is_err() {
            self.outlet.warn(&format!("the outputs are kept; to fetch them: muster file get {container}"));
        }
        fetched?;
        Ok(())
    }

    /// Removes what the run put into the file store; `is_fetched` says whether its outputs are not needed there any more.
    async fn clean_up(&mut self, is_fetched: bool) {
        let outputs = self.plan.output_container.clone().filter(|_| is_fetched);
        let inputs = (!self.plan.task.resource_files.is_empty()).then(|| self.plan.input_container.clone());
        for container in [inputs, outputs].into_iter().flatten() {
            match self.client.delete_container(&container, true).await {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    tracing::warn!(%error, container, "a container of the run stays");
                }
                Ok(()) | Err(_) => {}
            }
        }
        if let Some(closing) = self.closing.take() {
            // It was under way while the task ran; a run that is over does not wait for a lost answer to it.
            let _late = tokio::time::timeout(Duration::from_secs(5), closing).await;
        }
    }

    /// Undoes what was begun, as far as there is anything.
    async fn abandon(&mut self) {
        let gone: Result<wire::Job, CallError> = self.client.delete_job(&self.plan.job_id).await;
        if let Err(error) = gone
            && error.kind() != ErrorKind::NotFound
        {
            tracing::debug!(%error, "the job of the run could not be deleted");
        }
        self.clean_up(false).await;
    }
}

fn copy_failure(error: CopyError) -> Failure {
    match error {
        CopyError::Read(error) => error.into(),
        error @ CopyError::Write(_) => Failure::new(Exit::Failed, error),
    }
}

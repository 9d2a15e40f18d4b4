//! `muster job`: options become calls; waiting becomes a bar and an exit code.
//!
//! The watches are the client library's. Waiting ends with code 7 when tasks failed, so that a script need not read the
//! text.

use std::time::Duration;

use muster_client::json::to_value;
use muster_client::{Client, JobChange, JobProgress, JobWatch, Selection};
use muster_proto::wire;
use serde_json::json;

use super::Context;
use super::job_spec::{Change, change, new_job};
use crate::args::{JobCommand, JobUpdate, RunningTasks};
use crate::exit::{Exit, Failure};
use crate::progress::CountBar;
use crate::render;

/// Why waiting for a job ended without an answer.
#[derive(Debug, thiserror::Error)]
enum WaitError {
    /// The time was over.
    #[error("job {job} is not over after {limit:?}: {counts}. It goes on")]
    Late { job: String, limit: Duration, counts: String },
    /// The job was deleted meanwhile.
    #[error("job {job} was deleted while it was waited for")]
    Gone { job: String },
}

/// Why a change is none.
#[derive(Debug, thiserror::Error)]
#[error("nothing is to change; say what, for example --priority 10, or --replace to give all its default")]
struct NoChange;

/// Runs a command on jobs.
pub(super) async fn run(context: &Context, command: JobCommand) -> Result<Exit, Failure> {
    // Not before it is wanted: what a person wrote is looked at before it is asked where the controller is.
    let client = || context.client();
    match command {
        JobCommand::Create(args) => {
            let job = new_job(*args)?;
            let job = client()?.create_job(job).await?;
            context.tell(&job, &format!("job {} is created", job.id))?;
        }
        JobCommand::Update(args) => update(context, *args).await?,
        JobCommand::List(list) => {
            let pages = client()?.list_jobs(&context.selection(&list));
            context.list_selected(pages, &list, &render::job::HEADINGS, render::job::row).await?;
        }
        JobCommand::Show { id } => {
            let client = client()?;
            let job = client.get_job(&id).await?;
            let counts = client.get_task_counts(&id).await?.task_counts;
            context.show(&job, &render::job::record(&job, counts.as_ref()))?;
        }
        JobCommand::Wait { id, timeout } => {
            return wait(context, &client()?, &id, timeout.map(|timeout| timeout.duration())).await;
        }
        JobCommand::Watch { id } => return watch(context, &client()?, &id).await,
        JobCommand::Explain { id } => {
            let explained = client()?.explain_job(&id).await?;
            context.tell(&explained, &render::explain::job(&id, &explained))?;
        }
        JobCommand::Nodes { id, filter } => {
            let pages = client()?.list_job_nodes(&id, &Selection::filter(filter));
            context.list(pages, &render::job_node::HEADINGS, render::job_node::row).await?;
        }
        JobCommand::Counts { id } => counts(context, &id).await?,
        JobCommand::Disable { id, tasks } => {
            let job = client()?.disable_job(&id, option(tasks)).await?;
            context.tell(&job, &format!("job {id} is being disabled"))?;
        }
        JobCommand::Enable { id } => {
            let job = client()?.enable_job(&id).await?;
            context.tell(&job, &format!("job {id} is being enabled"))?;
        }
        JobCommand::Terminate { id, reason } => {
            let job = client()?.terminate_job(&id, &reason).await?;
            context.tell(&job, &format!("job {id} is being terminated"))?;
        }
        JobCommand::Delete { id } => {
            let job = client()?.delete_job(&id).await?;
            context.tell(&job, &format!("job {id} is being deleted"))?;
        }
    }
    Ok(Exit::Done)
}

async fn counts(context: &Context, id: &str) -> Result<(), Failure> {
    let report = context.client()?.get_task_counts(id).await?;
    if context.outlet.is_json() {
        context.outlet.json(&to_value(&report)?)?;
    } else {
        context.outlet.table(&render::job::COUNT_HEADINGS, &render::job::count_rows(&report))?;
    }
    Ok(())
}

fn option(tasks: RunningTasks) -> wire::DisableTasksOption {
    match tasks {
        RunningTasks::Requeue => wire::DisableTasksOption::Requeue,
        RunningTasks::Terminate => wire::DisableTasksOption::Terminate,
        RunningTasks::Wait => wire::DisableTasksOption::Wait,
    }
}

async fn update(context: &Context, args: JobUpdate) -> Result<(), Failure> {
    let etag = args.etag.clone();
    let Change { mut job, fields, limits } = change(args)?;
    if fields.is_empty() {
        return Err(Failure::new(Exit::Usage, NoChange));
    }
    let client = context.client()?;
    let mut condition = etag;
    if limits.is_partial() {
        // The API replaces both limits together: the one that was not named is what it is now, or nothing changes.
        let present = client.get_job(&job.id).await?;
        limits.fill(&mut job, present.constraints.as_ref());
        if condition.is_empty() {
            condition = present.etag;
        }
    }
    let job = client.update_job(job, JobChange { fields: Some(&fields), etag: &condition }).await?;
    context.tell(&job, &format!("job {} is changed", job.id))
}

/// Reads a watch to its end, telling of each change. Answers what was seen last.
async fn follow(
    context: &Context,
    id: &str,
    watch: &mut JobWatch,
    last: &mut JobProgress,
    mut tell: impl FnMut(&JobProgress) -> Result<(), Failure>,
) -> Result<(), Failure> {
    while let Some(progress) = watch.next().await? {
        tell(&progress)?;
        if context.outlet.is_json() {
            context.outlet.json_line(&json!({
                "job_id": id,
                "state": progress.job.state().as_str_name(),
                "task_counts": to_value(&progress.counts)?,
            }))?;
        }
        *last = progress;
    }
    Ok(())
}

/// Writes each change until the job is completed.
async fn watch(context: &Context, client: &Client, id: &str) -> Result<Exit, Failure> {
    let mut last = JobProgress::default();
    let mut written = String::new();
    let tell = |progress: &JobProgress| {
        let state = render::words::name(progress.job.state().as_str_name(), "JOB_STATE_");
        let line = format!("{state}: {}", render::job::counts_in_words(&progress.counts));
        // The job may have changed in something that this line does not tell.
        if line != written && !context.outlet.is_json() {
            context.outlet.line(&line)?;
            written = line;
        }
        Ok(())
    };
    follow(context, id, &mut client.follow_job(id), &mut last, tell).await?;
    if last.job.state() != wire::JobState::Completed {
        context.outlet.warn(&format!("job {id} is deleted"));
    }
    Ok(Exit::Done)
}

/// Waits until nothing more happens in a job.
async fn wait(
    context: &Context,
    client: &Client,
    id: &str,
    limit: Option<Duration>,
) -> Result<Exit, Failure> {
    let bar = CountBar::new(&context.outlet, "waiting");
    let mut last = JobProgress::default();
    let mut watch = client.watch_job(id);
    let tell = |progress: &JobProgress| {
        bar.job(progress);
        Ok(())
    };
    let waiting = follow(context, id, &mut watch, &mut last, tell);
    let ended = match limit {
        None => Some(waiting.await),
        Some(limit) => tokio::time::timeout(limit, waiting).await.ok(),
    };
    drop(bar);
    let Some(ended) = ended else {
        let (job, counts) = (id.to_owned(), render::job::counts_in_words(&last.counts));
        let limit = limit.unwrap_or_default();
        return Err(Failure::new(Exit::Failed, WaitError::Late { job, limit, counts }));
    };
    ended?;
    if !last.is_over() {
        return Err(Failure::new(Exit::NotFound, WaitError::Gone { job: id.to_owned() }));
    }
    context.outlet.done(&format!("job {id}: {}", render::job::counts_in_words(&last.counts)))?;
    Ok(if last.counts.failed > 0 { Exit::Partly } else { Exit::Done })
}

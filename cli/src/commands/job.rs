//! `muster job`: options become a job; waiting becomes a bar and an exit code.
//!
//! The watch is the client library's. Waiting ends with code 7 when tasks failed, so that a script need not read the text.

use std::time::Duration;

use muster_client::json::to_value;
use muster_client::{Client, JobProgress, Selection};
use muster_proto::wire;
use serde_json::json;

use super::Context;
use super::spec::duration;
use crate::args::{JobCommand, JobCreate, Setting};
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

/// Runs a command on jobs.
pub(super) async fn run(context: &Context, command: JobCommand) -> Result<Exit, Failure> {
    let client = context.client()?;
    match command {
        JobCommand::Create(args) => {
            let job = client.create_job(job(*args)).await?;
            context.tell(&job, &format!("job {} is created", job.id))?;
        }
        JobCommand::List { filter } => {
            let pages = client.list_jobs(&Selection::filter(filter));
            context.list(pages, &render::job::HEADINGS, render::job::row).await?;
        }
        JobCommand::Show { id } => {
            let job = client.get_job(&id).await?;
            let counts = client.get_task_counts(&id).await?.task_counts;
            context.show(&job, &render::job::record(&job, counts.as_ref()))?;
        }
        JobCommand::Wait { id, timeout } => {
            return wait(context, &client, &id, timeout.map(|timeout| timeout.duration())).await;
        }
        JobCommand::Terminate { id, reason } => {
            let job = client.terminate_job(&id, &reason).await?;
            context.tell(&job, &format!("job {id} is being terminated"))?;
        }
        JobCommand::Delete { id } => {
            let job = client.delete_job(&id).await?;
            context.tell(&job, &format!("job {id} is being deleted"))?;
        }
    }
    Ok(Exit::Done)
}

fn job(args: JobCreate) -> wire::Job {
    let on_all_tasks_complete = if args.terminate_when_done {
        wire::OnAllTasksComplete::TerminateJob
    } else {
        wire::OnAllTasksComplete::NoAction
    };
    wire::Job {
        id: args.id,
        display_name: args.display_name,
        pool_info: Some(wire::job::PoolInfo::PoolId(args.pool)),
        priority: args.priority,
        constraints: Some(wire::JobConstraints {
            max_wall_clock_time: args.timeout.map(|timeout| duration(timeout.duration())),
            max_task_retry_count: args.retries,
        }),
        uses_task_dependencies: args.dependencies,
        on_all_tasks_complete: on_all_tasks_complete.into(),
        common_environment_settings: args.env.into_iter().map(|Setting(setting)| setting).collect(),
        ..Default::default()
    }
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
    let waiting = async {
        let mut watch = client.watch_job(id);
        while let Some(progress) = watch.next().await? {
            bar.job(&progress);
            if context.outlet.is_json() {
                context.outlet.json_line(&json!({
                    "job_id": id,
                    "state": progress.job.state().as_str_name(),
                    "task_counts": to_value(&progress.counts)?,
                }))?;
            }
            last = progress;
        }
        Ok::<(), Failure>(())
    };
    let ended = match limit {
        None => waiting.await,
        Some(limit) => match tokio::time::timeout(limit, waiting).await {
            Ok(ended) => ended,
            Err(_late) => {
                let counts = render::job::counts_in_words(&last.counts);
                return Err(Failure::new(
                    Exit::Failed,
                    WaitError::Late { job: id.to_owned(), limit, counts },
                ));
            }
        },
    };
    drop(bar);
    ended?;
    if !last.is_over() {
        return Err(Failure::new(Exit::NotFound, WaitError::Gone { job: id.to_owned() }));
    }
    context.outlet.done(&format!("job {id}: {}", render::job::counts_in_words(&last.counts)))?;
    Ok(if last.counts.failed > 0 { Exit::Partly } else { Exit::Done })
}

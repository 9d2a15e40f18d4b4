//! `muster task`, but for adding (`task_add.rs`, `task_file.rs`) and reading output (`logs.rs`).
//!
//! Lists are written page by page, because a job may have a million tasks.

use muster_client::Client;
use muster_proto::wire;

use super::job_spec::span;
use super::spec::duration;
use super::{Context, logs, task_add};
use crate::args::{TaskCommand, TaskUpdate};
use crate::exit::{Exit, Failure};
use crate::render;

/// Runs a command on tasks.
pub(super) async fn run(context: &Context, command: TaskCommand) -> Result<Exit, Failure> {
    // Not before it is wanted: what a person wrote is looked at before it is asked where the controller is.
    let client = || context.client();
    match command {
        TaskCommand::Add(args) => return task_add::run(context, *args).await,
        TaskCommand::List { job, list } => {
            let pages = client()?.list_tasks(&job, &context.selection(&list));
            context.list_by_pages(pages, &list, &render::task::HEADINGS, render::task::row).await?;
        }
        TaskCommand::Show { job, task } => {
            let task = client()?.get_task(&job, &task).await?;
            context.show(&task, &render::task::record(&task))?;
        }
        TaskCommand::Attempts { job, task } => {
            let pages = client()?.list_task_attempts(&job, &task);
            context.list(pages, &render::attempt::HEADINGS, render::attempt::row).await?;
        }
        TaskCommand::Explain { job, task } => {
            let explained = client()?.explain_task(&job, &task).await?;
            context.tell(&explained, &render::explain::task(&task, &explained))?;
        }
        TaskCommand::Update(args) => update(context, &client()?, args).await?,
        TaskCommand::Logs { job, task, stderr, follow, attempt } => {
            let output = if stderr { logs::Stderr } else { logs::Stdout };
            return logs::run(context, &client()?, &job, &task, output, follow, attempt).await;
        }
        TaskCommand::Terminate { job, task } => {
            let ended = client()?.terminate_task(&job, &task).await?;
            context.tell(&ended, &format!("task {task} of job {job} is being terminated"))?;
        }
        TaskCommand::Reactivate { job, task } => {
            let active = client()?.reactivate_task(&job, &task).await?;
            context.tell(&active, &format!("task {task} of job {job} runs again"))?;
        }
        TaskCommand::Delete { job, task } => {
            client()?.delete_task(&job, &task).await?;
            context.outlet.done(&format!("task {task} of job {job} is deleted"))?;
        }
    }
    Ok(Exit::Done)
}

/// Changes the constraints that were given; the API replaces all of them together, so the others are what they are.
async fn update(context: &Context, client: &Client, args: TaskUpdate) -> Result<(), Failure> {
    let TaskUpdate { job, task, max_wall_clock, max_retries, retention, etag } = args;
    let change = |constraints: &mut wire::TaskConstraints| {
        if let Some(limit) = max_wall_clock {
            constraints.max_wall_clock_time = span(limit);
        }
        if let Some(retries) = max_retries {
            constraints.max_task_retry_count = Some(retries);
        }
        if let Some(retention) = retention {
            constraints.retention_time = Some(duration(retention.duration()));
        }
    };
    let changed = if etag.is_empty() {
        client.change_task(&job, &task, change).await?
    } else {
        let mut constraints = client.get_task(&job, &task).await?.constraints.unwrap_or_default();
        change(&mut constraints);
        client.update_task(&job, &task, constraints, &etag).await?
    };
    context.tell(&changed, &format!("task {task} of job {job} is changed"))
}

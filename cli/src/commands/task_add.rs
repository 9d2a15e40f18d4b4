//! `muster task add`: one task, a sweep, or a dry run of either.
//!
//! Goes in: checked options. Comes out: one call. What the options become is in `task_spec.rs`; files of tasks are in
//! `task_file.rs`.

use muster_client::random_id;
use muster_proto::wire;

use super::task_spec::{axes, task};
use super::{Context, task_file};
use crate::args::TaskAdd;
use crate::exit::{Exit, Failure};
use crate::render;

/// Letters of the id of a sweep that was given none: two of a job do not meet.
const SWEEP_ID_LETTERS: usize = 8;

/// Adds what the options describe.
pub(super) async fn run(context: &Context, args: TaskAdd) -> Result<Exit, Failure> {
    if let Some(file) = &args.lines.file {
        return task_file::add(context, &args.job, file, args.lines.stream_id.as_deref()).await;
    }
    let (job, is_dry) = (args.job.clone(), args.dry_run);
    let axes = if args.sweep.is_given() { Some(axes(&args.sweep)?) } else { None };
    let given = args.id.clone().or_else(|| args.of_id.clone());
    let id = match given {
        None if axes.is_some() => format!("sweep-{}", random_id(SWEEP_ID_LETTERS)),
        given => given.unwrap_or_default(),
    };
    let task = task(args, &id, axes.as_deref())?;
    if is_dry {
        return check(context, &job, task).await;
    }
    match axes {
        Some(axes) => {
            let sweep = wire::Sweep { id: task.id.clone(), template: Some(task), axes, ..Default::default() };
            let sweep = context.client()?.create_sweep(&job, sweep).await?;
            let sentence = format!("sweep {} of {} tasks is added to job {job}", sweep.id, sweep.count);
            context.tell(&sweep, &sentence)?;
        }
        None => {
            let task = context.client()?.create_task(&job, task).await?;
            context.tell(&task, &format!("task {} is added to job {job}", task.id))?;
        }
    }
    Ok(Exit::Done)
}

/// Says what a task would wait for. Of a sweep the template is looked at: needs are the same for all of its tasks.
async fn check(context: &Context, job: &str, task: wire::Task) -> Result<Exit, Failure> {
    let id = task.id.clone();
    let explained = context.client()?.check_task(job, task).await?;
    context.tell(&explained, &render::explain::check(&id, &explained))?;
    Ok(if explained.can_ever_run { Exit::Done } else { Exit::Failed })
}

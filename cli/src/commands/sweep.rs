//! `muster sweep`: sweeps as a whole.
//!
//! Every command is one call and the way in which its answer is written. Their tasks are under `muster task`, adding one is
//! `task_add.rs`.

use muster_client::SweepNumbers;
use muster_proto::wire;

use super::Context;
use crate::args::{Numbers, SweepCommand};
use crate::exit::{Exit, Failure};
use crate::render;

/// Runs a command on sweeps.
pub(super) async fn run(context: &Context, command: SweepCommand) -> Result<Exit, Failure> {
    let client = context.client()?;
    match command {
        SweepCommand::List { job, list } => {
            let pages = client.list_sweeps(&job, &context.selection(&list));
            context.list_selected(pages, &list, &render::sweep::HEADINGS, render::sweep::row).await?;
        }
        SweepCommand::Show { job, sweep } => {
            let sweep = client.get_sweep(&job, &sweep).await?;
            context.show(&sweep, &render::sweep::record(&sweep))?;
        }
        SweepCommand::Terminate { job, sweep, range } => {
            let sweep = client.terminate_sweep(&job, &sweep, numbers(range)).await?;
            told(context, &sweep, "terminated")?;
        }
        SweepCommand::Reactivate { job, sweep, range } => {
            let sweep = client.reactivate_sweep(&job, &sweep, numbers(range)).await?;
            told(context, &sweep, "run again")?;
        }
        SweepCommand::Delete { job, sweep } => {
            client.delete_sweep(&job, &sweep).await?;
            context.outlet.done(&format!("sweep {sweep} of job {job} is being deleted"))?;
        }
    }
    Ok(Exit::Done)
}

fn numbers(range: Option<Numbers>) -> SweepNumbers {
    let Numbers { first, last } = range.unwrap_or_default();
    SweepNumbers { first, last }
}

fn told(context: &Context, sweep: &wire::Sweep, what: &str) -> Result<(), Failure> {
    let counts = render::job::counts_in_words(&sweep.counts.unwrap_or_default());
    context.tell(sweep, &format!("tasks of sweep {} are being {what}: {counts}", sweep.id))
}

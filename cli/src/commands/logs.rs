//! `muster task logs`: a task's output as it is, or live.
//!
//! Standard output gets the bytes and nothing else, whichever of the two streams is asked for; words about attempts and
//! gaps go to standard error.

use muster_client::Client;
use muster_client::logs::{LogEvent, OutputStream};

use super::Context;
use crate::exit::{Exit, Failure};

pub(super) use OutputStream::{Stderr, Stdout};

/// Writes the output to standard output, byte for byte. Words go to standard error.
pub(super) async fn run(
    context: &Context,
    client: &Client,
    job: &str,
    task: &str,
    output: OutputStream,
    follow: bool,
    attempt: u32,
) -> Result<Exit, Failure> {
    let mut log = if follow {
        let feed = client.watch_task(job, task).into_feed();
        client.follow_log(job, task, output, feed)
    } else {
        client.read_log(job, task, output, attempt)
    };
    while let Some(event) = log.next().await? {
        match event {
            LogEvent::Bytes(bytes) => context.outlet.bytes(&bytes)?,
            LogEvent::Attempt { number, node_id } if number > 1 && follow => {
                context.outlet.warn(&format!("attempt {number} on node {node_id} begins here"));
            }
            LogEvent::Attempt { .. } => {}
            LogEvent::Gap { bytes } => context.outlet.warn(&format!(
                "{bytes} bytes are left out here: the node with the whole output is gone, the first and last bytes \
                 were saved"
            )),
        }
    }
    Ok(Exit::Done)
}

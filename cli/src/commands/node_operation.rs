//! The operations on nodes that take time: disable, reboot, reimage, remove, and waiting for them.
//!
//! The waiting is the client library's; here are its words and its line on the terminal. Ctrl-C ends the waiting only: the
//! operation goes on at the controller, and that is said.

use std::time::{Duration, Instant};

use muster_client::{Client, NodeGoal, NodeWaitError};
use muster_proto::wire;

use super::Context;
use crate::args::{NodeDisable, NodeName, NodeRemove, NodeRestart, Relief, WaitArgs};
use crate::exit::{Exit, Failure};
use crate::progress::StateLine;
use crate::render::words;

/// The waiting was ended by Ctrl-C: 128 + SIGINT.
const INTERRUPTED: Exit = Exit::Code(130);

/// A deadline for what takes no time.
#[derive(Debug, thiserror::Error)]
#[error(
    "--deadline is for --option taskcompletion: with {given} the tasks are ended at once; leave out one of the two options"
)]
struct DeadlineError {
    given: &'static str,
}

/// How a wait ended that did not fail.
enum Waited {
    /// The node as it is now; `None` when it is gone.
    Reached(Option<Box<wire::ComputeNode>>),
    /// The person did not want to wait longer.
    Interrupted,
}

/// Places nothing more on a node.
pub(super) async fn disable(context: &Context, args: NodeDisable) -> Result<Exit, Failure> {
    let NodeDisable { name, option, deadline, wait } = args;
    let option = match (option, deadline) {
        (None, None) => Relief::Requeue,
        (None | Some(Relief::TaskCompletion), _) => Relief::TaskCompletion,
        (Some(option @ (Relief::Requeue | Relief::Terminate)), None) => option,
        (Some(Relief::Requeue), Some(_)) => return Err(no_deadline("requeue")),
        (Some(Relief::Terminate), Some(_)) => return Err(no_deadline("terminate")),
    };
    let client = context.client()?;
    let NodeName { pool, node } = &name;
    let deadline = deadline.map(|deadline| deadline.duration());
    let disabled = client.disable_node_scheduling(pool, node, option.disabling(), deadline).await?;
    if !wait.wait {
        let text = format!("node {node} of pool {pool} takes no more tasks and is being drained");
        context.tell(&disabled, &text)?;
        return Ok(Exit::Done);
    }
    match waited(context, &client, &name, NodeGoal::Drained, wait, "draining").await? {
        Waited::Reached(now) => {
            let text = format!("node {node} of pool {pool} is drained");
            context.tell(&now.map_or(disabled, |now| *now), &text)?;
            Ok(Exit::Done)
        }
        Waited::Interrupted => Ok(goes_on(context, &name, "is being drained", &enabling(&name))),
    }
}

fn no_deadline(given: &'static str) -> Failure {
    Failure::new(Exit::Usage, DeadlineError { given })
}

/// Restarts a node.
pub(super) async fn reboot(context: &Context, args: NodeRestart) -> Result<Exit, Failure> {
    let client = context.client()?;
    let node = client.reboot_node(&args.name.pool, &args.name.node, args.option.deallocating()).await?;
    restarted(context, &client, args, node, ["is rebooted", "rebooting"]).await
}

/// Sets a node up anew.
pub(super) async fn reimage(context: &Context, args: NodeRestart) -> Result<Exit, Failure> {
    let client = context.client()?;
    let node = client.reimage_node(&args.name.pool, &args.name.node, args.option.deallocating()).await?;
    restarted(context, &client, args, node, ["is reimaged", "reimaging"]).await
}

/// Tells of a restart that was ordered, or waits for it.
async fn restarted(
    context: &Context,
    client: &Client,
    args: NodeRestart,
    node: wire::ComputeNode,
    [done, doing]: [&str; 2],
) -> Result<Exit, Failure> {
    let NodeRestart { name, wait, option: _ } = args;
    let NodeName { pool, node: id } = &name;
    if !wait.wait {
        context.tell(&node, &format!("node {id} of pool {pool} {done} once it runs no tasks"))?;
        return Ok(Exit::Done);
    }
    match waited(context, client, &name, NodeGoal::Back, wait, doing).await? {
        Waited::Reached(now) => {
            let now = now.map_or(node, |now| *now);
            let state = words::name(now.state().as_str_name(), "NODE_STATE_");
            context.tell(&now, &format!("node {id} of pool {pool} {done} and back: {state}"))?;
            Ok(Exit::Done)
        }
        Waited::Interrupted => {
            Ok(goes_on(context, &name, &format!("{done} once it runs no tasks"), &enabling(&name)))
        }
    }
}

/// Takes nodes out of their pool.
pub(super) async fn remove(context: &Context, args: NodeRemove) -> Result<Exit, Failure> {
    let NodeRemove { pool, nodes, option, deadline, wait } = args;
    let client = context.client()?;
    let limit = deadline.map(|deadline| deadline.duration());
    client.remove_nodes(&pool, nodes.clone(), option.deallocating(), limit).await?;
    let (all, plural) = (nodes.join(", "), if nodes.len() == 1 { ("node", "is") } else { ("nodes", "are") });
    if !wait.wait {
        let text = format!("{} {all} {} leaving pool {pool}", plural.0, plural.1);
        context.outlet.done(&text)?;
        return Ok(Exit::Done);
    }
    let start = Instant::now();
    // One after the other: all leave at the same time, and the last one decides.
    for node in &nodes {
        let name = NodeName { pool: pool.clone(), node: node.clone() };
        let left = wait.timeout.map(|limit| limit.duration().saturating_sub(start.elapsed()));
        match wait_until(context, &client, &name, NodeGoal::Gone, left, "leaving").await? {
            Waited::Reached(_) => {}
            Waited::Interrupted => return Ok(goes_on(context, &name, "is leaving its pool", "")),
        }
    }
    context.outlet.done(&format!("{} {all} {} gone from pool {pool}", plural.0, plural.1))?;
    Ok(Exit::Done)
}

async fn waited(
    context: &Context,
    client: &Client,
    name: &NodeName,
    goal: NodeGoal,
    wait: WaitArgs,
    doing: &str,
) -> Result<Waited, Failure> {
    wait_until(context, client, name, goal, wait.timeout.map(|limit| limit.duration()), doing).await
}

/// Waits until a node has come to its goal, showing where it is, or until Ctrl-C.
async fn wait_until(
    context: &Context,
    client: &Client,
    name: &NodeName,
    goal: NodeGoal,
    limit: Option<Duration>,
    doing: &str,
) -> Result<Waited, Failure> {
    let line = StateLine::new(&context.outlet, format!("{doing} {}:", name.node));
    let show = |node: &wire::ComputeNode| line.set(progress(node));
    let waiting = client.wait_for_node(&name.pool, &name.node, goal, limit, show);
    tokio::select! {
        ended = waiting => match ended {
            Ok(node) => Ok(Waited::Reached(node.map(Box::new))),
            Err(error) => Err(failed(error)),
        },
        Ok(()) = tokio::signal::ctrl_c() => Ok(Waited::Interrupted),
    }
}

fn failed(error: NodeWaitError) -> Failure {
    Failure::new(error.kind().into(), error)
}

/// Where a node is: `running, 3 tasks`.
fn progress(node: &wire::ComputeNode) -> String {
    let state = words::name(node.state().as_str_name(), "NODE_STATE_");
    match node.running_tasks_count {
        0 => state,
        1 => format!("{state}, 1 task"),
        tasks => format!("{state}, {tasks} tasks"),
    }
}

/// Says that nothing but the waiting has ended.
fn goes_on(context: &Context, name: &NodeName, what: &str, way_back: &str) -> Exit {
    let NodeName { pool, node } = name;
    context.outlet.warn(&format!(
        "only the waiting has ended: node {node} {what} all the same; how far it is: muster node show {pool} {node}{way_back}"
    ));
    INTERRUPTED
}

fn enabling(NodeName { pool, node }: &NodeName) -> String {
    format!("; to keep it in use: muster node enable {pool} {node}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_names_the_state_and_what_is_still_running() {
        let node = |tasks| wire::ComputeNode {
            state: wire::NodeState::Running.into(),
            running_tasks_count: tasks,
            ..Default::default()
        };
        assert_eq!(
            [0, 1, 3].map(|tasks| progress(&node(tasks))),
            ["running", "running, 1 task", "running, 3 tasks"]
        );
    }
}

//! `muster node`: lists and shows the machines of a pool, and puts one back to use.
//!
//! What takes nodes out of use, restarts or removes them, and may be waited for, is in `node_operation.rs`. Nodes come and
//! go with their pool's target (`pool.rs`) and by their agents.

use muster_client::{Client, Selection};

use super::{Context, node_operation};
use crate::args::{NodeCommand, NodeName};
use crate::exit::{Exit, Failure};
use crate::render;

/// Runs a command on nodes.
pub(super) async fn run(context: &Context, command: NodeCommand) -> Result<Exit, Failure> {
    // Not before it is wanted: what a person wrote is looked at before it is asked where the controller is.
    let client = || context.client();
    match command {
        NodeCommand::List { pool, filter } => {
            let pages = client()?.list_nodes(&pool, &Selection::filter(filter));
            context.list(pages, &render::node::HEADINGS, render::node::row).await?;
        }
        NodeCommand::Show(name) => show(context, &client()?, &name).await?,
        NodeCommand::Disable(args) => return node_operation::disable(context, args).await,
        NodeCommand::Enable(NodeName { pool, node }) => {
            let enabled = client()?.enable_node_scheduling(&pool, &node).await?;
            context.tell(&enabled, &format!("node {node} of pool {pool} takes tasks again"))?;
        }
        NodeCommand::Reboot(args) => return node_operation::reboot(context, args).await,
        NodeCommand::Reimage(args) => return node_operation::reimage(context, args).await,
        NodeCommand::Remove(args) => return node_operation::remove(context, args).await,
    }
    Ok(Exit::Done)
}

/// Writes a node, then what it can enforce, then its notes about what it cannot.
async fn show(context: &Context, client: &Client, name: &NodeName) -> Result<(), Failure> {
    let node = client.get_node(&name.pool, &name.node).await?;
    context.show(&node, &render::node::record(&node))?;
    let Some(capabilities) = node.capabilities.as_ref().filter(|_| !context.outlet.is_json()) else {
        return Ok(());
    };
    context.outlet.line("")?;
    context.outlet.table(&render::capability::HEADINGS, &render::capability::rows(capabilities))?;
    for note in &capabilities.notes {
        context.outlet.note(note)?;
    }
    Ok(())
}

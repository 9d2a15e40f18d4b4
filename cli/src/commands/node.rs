//! `muster node`: lists and shows the machines of a pool.
//!
//! It only reads. Nodes come and go with their pool's target (`pool.rs`) and by their agents.

use muster_client::Selection;

use super::Context;
use crate::args::NodeCommand;
use crate::exit::{Exit, Failure};
use crate::render;

/// Runs a command on nodes.
pub(super) async fn run(context: &Context, command: NodeCommand) -> Result<Exit, Failure> {
    let client = context.client()?;
    match command {
        NodeCommand::List { pool, filter } => {
            let pages = client.list_nodes(&pool, &Selection::filter(filter));
            context.list(pages, &render::node::HEADINGS, render::node::row).await?;
        }
        NodeCommand::Show { pool, node } => {
            let node = client.get_node(&pool, &node).await?;
            context.show(&node, &render::node::record(&node))?;
        }
    }
    Ok(Exit::Done)
}

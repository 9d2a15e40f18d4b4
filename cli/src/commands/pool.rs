//! `muster pool`: options become a pool, a pool becomes a table.
//!
//! Waiting for nodes is the client library's; here is only its bar.

use muster_client::{Client, Selection};
use muster_proto::wire;

use super::Context;
use super::spec::{duration, user_identity};
use crate::args::{Fill, PoolCommand, PoolCreate, ResourceSpec, Setting};
use crate::exit::{Exit, Failure};
use crate::progress::CountBar;
use crate::render;

/// Runs a command on pools.
pub(super) async fn run(context: &Context, command: PoolCommand) -> Result<Exit, Failure> {
    let client = context.client()?;
    match command {
        PoolCommand::Create(args) => create(context, &client, *args).await?,
        PoolCommand::List { filter } => {
            let pages = client.list_pools(&Selection::filter(filter));
            context.list(pages, &render::pool::HEADINGS, render::pool::row).await?;
        }
        PoolCommand::Show { id } => {
            let pool = client.get_pool(&id).await?;
            let counts = client.pool_node_counts(&id).await?;
            let dedicated = counts.first().and_then(|counts| counts.dedicated.as_ref());
            context.show(&pool, &render::pool::record(&pool, dedicated))?;
        }
        PoolCommand::Resize { id, nodes, wait } => {
            let pool = client.resize_pool(&id, nodes).await?;
            if wait {
                wait_for_nodes(context, &client, &id, nodes).await?;
            }
            context.tell(&pool, &format!("pool {id} is to have {nodes} nodes"))?;
        }
        PoolCommand::Delete { id } => {
            let pool = client.delete_pool(&id).await?;
            context.tell(&pool, &format!("pool {id} is being deleted"))?;
        }
    }
    Ok(Exit::Done)
}

async fn create(context: &Context, client: &Client, args: PoolCreate) -> Result<(), Failure> {
    let (id, nodes, wait) = (args.id.clone(), args.nodes, args.wait);
    let pool = client.create_pool(pool(args)).await?;
    if wait {
        wait_for_nodes(context, client, &id, nodes).await?;
    }
    context.tell(&pool, &format!("pool {id} is created and is to have {nodes} nodes"))
}

fn pool(args: PoolCreate) -> wire::Pool {
    let fill = match args.fill {
        Fill::Spread => wire::NodeFillType::Spread,
        Fill::Pack => wire::NodeFillType::Pack,
    };
    let start_task = args.start_task.map(|command_line| wire::StartTask {
        command_line,
        resource_files: args.start_task_file.into_iter().map(|ResourceSpec(file)| file).collect(),
        environment_settings: args.start_task_env.into_iter().map(|Setting(setting)| setting).collect(),
        user_identity: user_identity(args.start_task_admin),
        max_task_retry_count: args.start_task_retries,
        wait_for_success: Some(!args.start_task_no_wait),
        container_settings: None,
    });
    wire::Pool {
        id: args.id,
        display_name: args.display_name,
        target_dedicated_nodes: args.nodes,
        task_slots_per_node: args.slots,
        task_scheduling_policy: Some(wire::TaskSchedulingPolicy {
            node_fill_type: fill.into(),
            ..Default::default()
        }),
        start_task,
        resize_timeout: args.resize_timeout.map(|timeout| duration(timeout.duration())),
        ..Default::default()
    }
}

/// Waits until a pool has as many usable nodes as it should, showing how far it is.
async fn wait_for_nodes(context: &Context, client: &Client, pool: &str, nodes: u32) -> Result<(), Failure> {
    let bar = CountBar::new(&context.outlet, "nodes");
    let show = |counts: &wire::NodeCounts| {
        let ready = u64::from(counts.idle) + u64::from(counts.running);
        bar.set(ready, u64::from(nodes), render::pool::counts_in_words(counts));
    };
    client.wait_for_nodes(pool, nodes, show).await.map_err(|error| Failure::new(error.kind().into(), error))
}

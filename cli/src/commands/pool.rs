//! `muster pool`: options become a pool, a pool becomes a table.
//!
//! Waiting for nodes is the client library's; here is only its bar.

use muster_client::{Client, Selection};
use muster_proto::wire;

use super::Context;
use super::spec::{duration, named_user, user_identity};
use crate::args::{
    Fill, Isolation, Network, PoolCommand, PoolCreate, PoolUser, ResourceSpec, Setting, UserArgs,
};
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
        PoolCommand::Resize { id, nodes, option, wait } => {
            let pool = client.resize_pool(&id, nodes, option.deallocating()).await?;
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
    let isolation = args.isolation.map(|level| match level {
        Isolation::None => wire::IsolationLevel::None,
        Isolation::Process => wire::IsolationLevel::Process,
        Isolation::Sandbox => wire::IsolationLevel::Sandbox,
    });
    let network = args.task_network.map(|network| match network {
        Network::Host => wire::TaskNetwork::Host,
        Network::None => wire::TaskNetwork::None,
    });
    let start_user = UserArgs { admin: args.start_task_admin, ..UserArgs::default() };
    let start_user = args.start_task_user.as_deref().map(named_user).or_else(|| user_identity(&start_user));
    let start_task = args.start_task.map(|command_line| wire::StartTask {
        command_line,
        resource_files: args.start_task_file.into_iter().map(|ResourceSpec(file)| file).collect(),
        environment_settings: args.start_task_env.into_iter().map(|Setting(setting)| setting).collect(),
        user_identity: start_user,
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
        isolation_level: isolation.unwrap_or_default().into(),
        task_network: network.unwrap_or_default().into(),
        user_accounts: args.user.into_iter().map(|PoolUser(account)| account).collect(),
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};

    fn created(options: &[&str]) -> wire::Pool {
        let cli = Cli::try_parse_from([&["muster", "pool", "create", "p"], options].concat()).unwrap();
        let Command::Pool(PoolCommand::Create(args)) = cli.command else { panic!("{options:?}") };
        pool(*args)
    }

    #[test]
    fn options_of_separation_and_users_reach_their_fields() {
        let pool = created(&[
            "--isolation",
            "process",
            "--task-network",
            "none",
            "--user",
            "ann:1000:1000",
            "--user",
            "root2:admin",
            "--start-task",
            "true",
            "--start-task-user",
            "ann",
        ]);
        assert_eq!(pool.isolation_level(), wire::IsolationLevel::Process);
        assert_eq!(pool.task_network(), wire::TaskNetwork::None);
        let names: Vec<&str> = pool.user_accounts.iter().map(|account| account.name.as_str()).collect();
        assert_eq!(names, ["ann", "root2"]);
        assert_eq!(pool.start_task.unwrap().user_identity, Some(named_user("ann")));
        let plain = created(&["--start-task", "true"]);
        assert_eq!((plain.isolation_level, plain.task_network), (0, 0), "defaults are the controller's");
        assert_eq!(plain.start_task.unwrap().user_identity, None);
    }
}

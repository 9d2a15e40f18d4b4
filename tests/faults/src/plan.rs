//! What a scenario wants to disturb: how many nodes of how many slots, which leases, and how much load of which kinds.
//!
//! This file only holds the wish; it starts nothing.

use muster_e2e::Cluster;
use std::time::Duration;

/// A site to be, and its load.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How many nodes.
    pub nodes: u32,
    /// How many slots each has.
    pub slots: u32,
    /// For how long a node may go on without an answer of the controller.
    pub lease: Duration,
    /// How much longer the controller waits.
    pub margin: Duration,
    /// More flags of the controller.
    pub controller_flags: Vec<String>,
    /// More flags of each agent.
    pub agent_flags: Vec<String>,
    /// Where the controller listens for nodes; `None` means loopback.
    pub node_listen: Option<String>,
    /// The load.
    pub load: LoadPlan,
    /// How long after the last fault everything may take to end. Generous: the machine is small, and pauses after failures of
    /// the operator's side grow.
    pub rest: Duration,
}

/// How much load of which kinds.
#[derive(Debug, Clone)]
pub struct LoadPlan {
    /// How many clients, each with jobs of its own.
    pub clients: u32,
    /// How many tasks of a client may be under way before it waits for some to end.
    pub backlog: u32,
    /// Whether tasks and jobs are also terminated, deleted, disabled and reactivated.
    pub has_controls: bool,
    /// How long a long task runs.
    pub long: Duration,
    /// For how long a client tries one call again before it gives up and does not know.
    pub patience: Duration,
}

impl Plan {
    /// Three nodes of two slots with leases as short as a busy machine keeps, under three clients.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "a plan by default would hide what the scenario runs on")]
    pub fn new() -> Self {
        let load = LoadPlan {
            clients: 3,
            backlog: 12,
            has_controls: true,
            long: Duration::from_secs(3),
            patience: Duration::from_secs(20),
        };
        Self {
            nodes: 3,
            slots: 2,
            lease: Duration::from_secs(3),
            margin: Duration::from_secs(1),
            controller_flags: Vec::new(),
            agent_flags: Vec::new(),
            node_listen: None,
            load,
            rest: Duration::from_secs(120),
        }
    }

    /// The same as the harness of the end-to-end tests takes it.
    #[must_use]
    pub fn cluster(&self) -> Cluster {
        let millis = |span: Duration| format!("{}ms", span.as_millis());
        let (lease, margin) = (millis(self.lease), millis(self.margin));
        let controller: Vec<&str> = self.controller_flags.iter().map(String::as_str).collect();
        let agent: Vec<&str> = self.agent_flags.iter().map(String::as_str).collect();
        let cluster = Cluster::new()
            .nodes(self.nodes)
            .slots(self.slots)
            .controller_flags(&["--lease-ttl", &lease, "--lease-margin", &margin])
            .controller_flags(&controller)
            .agent_flags(&agent);
        match &self.node_listen {
            Some(address) => cluster.node_listen(address),
            None => cluster,
        }
    }
}

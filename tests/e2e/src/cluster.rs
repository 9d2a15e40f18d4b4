//! What a test asks for: a cluster with so many nodes of so many slots, in one of two forms.
//!
//! `dev()` is `muster dev`, as a newcomer starts it (`dev.rs`). `split()` is a controller and agents as separate processes
//! that a test kills and starts again one by one (`split.rs`). Both are used through `user.rs`, which they deref to.
//! This file only holds the wish; it starts nothing.

/// A cluster to be.
#[derive(Debug, Clone)]
pub struct Cluster {
    pub(crate) nodes: u32,
    pub(crate) slots: u32,
    pub(crate) controller_flags: Vec<String>,
    pub(crate) agent_flags: Vec<String>,
    pub(crate) pool_flags: Vec<String>,
    pub(crate) disk_megabytes: Option<u32>,
    pub(crate) node_listen: String,
}

impl Cluster {
    /// One node with two slots, until said otherwise.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "a cluster by default would hide what the test runs on")]
    pub fn new() -> Self {
        Self {
            nodes: 1,
            slots: 2,
            controller_flags: Vec::new(),
            agent_flags: Vec::new(),
            pool_flags: Vec::new(),
            disk_megabytes: None,
            node_listen: "127.0.0.1:0".to_owned(),
        }
    }

    /// How many nodes the pool `default` has.
    #[must_use]
    pub fn nodes(mut self, nodes: u32) -> Self {
        self.nodes = nodes;
        self
    }

    /// How many task slots each node has.
    #[must_use]
    pub fn slots(mut self, slots: u32) -> Self {
        self.slots = slots;
        self
    }

    /// More flags for `muster-controller`; only in a split cluster.
    #[must_use]
    pub fn controller_flags(mut self, flags: &[&str]) -> Self {
        self.controller_flags.extend(flags.iter().map(|flag| (*flag).to_owned()));
        self
    }

    /// More flags for each `muster-agent`; only in a split cluster.
    #[must_use]
    pub fn agent_flags(mut self, flags: &[&str]) -> Self {
        self.agent_flags.extend(flags.iter().map(|flag| (*flag).to_owned()));
        self
    }

    /// More flags for the creation of the pool `default`; only in a split cluster.
    #[must_use]
    pub fn pool_flags(mut self, flags: &[&str]) -> Self {
        self.pool_flags.extend(flags.iter().map(|flag| (*flag).to_owned()));
        self
    }

    /// Where the controller listens for nodes, `HOST:PORT`, with port 0 for one of its choice; only in a split cluster.
    #[must_use]
    pub fn node_listen(mut self, address: &str) -> Self {
        self.node_listen = address.to_owned();
        self
    }

    /// Puts each agent's folder on a file system of this size; only in a split cluster, and only as root.
    #[must_use]
    pub fn agent_disk(mut self, megabytes: u32) -> Self {
        self.disk_megabytes = Some(megabytes);
        self
    }
}

//! The site under disturbance: a controller and nodes as real processes, each of which can be killed, frozen and started again.
//!
//! It is a `Split` of the end-to-end harness with the programs that tasks run and the files that they write down what they do.
//! Everything of it ends with it, frozen processes too.

use crate::plan::Plan;
use anyhow::Context;
use muster_e2e::leftovers::Leftovers;
use muster_e2e::split::Split;
use muster_e2e::wait::{SOON, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::fs;
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// The program that tasks run.
const LABOUR: &str = "labour";

/// A site.
#[derive(Debug)]
pub struct Site {
    split: Split,
    plan: Plan,
}

impl Site {
    /// Makes the folder of a site; nothing runs in it yet.
    ///
    /// # Errors
    /// When that cannot be made.
    pub fn prepare(plan: &Plan) -> anyhow::Result<Self> {
        let mut split = plan.cluster().prepare()?;
        split.quiet();
        let site = Self { split, plan: plan.clone() };
        let labour = site.shared(LABOUR);
        fs::copy(labour_program()?, &labour).with_context(|| format!("cannot copy {LABOUR}"))?;
        for name in ["ledger", "locks"] {
            let path = site.shared(name);
            fs::write(&path, "").with_context(|| format!("cannot make {path}"))?;
            // Tasks of any user write there.
            fs::set_permissions(&path, fs::Permissions::from_mode(0o666))?;
        }
        Ok(site)
    }

    /// Starts everything for the first time and waits until every node is ready.
    ///
    /// # Errors
    /// With the logs, when it does not get ready.
    pub fn begin(&mut self) -> anyhow::Result<()> {
        self.split.begin()
    }

    /// What was wished for.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// How many nodes it has.
    #[must_use]
    pub fn nodes(&self) -> usize {
        usize::try_from(self.plan.nodes).unwrap_or(usize::MAX)
    }

    /// The ledger that tasks write.
    #[must_use]
    pub fn ledger(&self) -> PathBuf {
        PathBuf::from(self.shared("ledger"))
    }

    /// The first words of a task's command line: the program, its ledger and its locks.
    #[must_use]
    pub fn labour(&self) -> String {
        [LABOUR, "ledger", "locks"].map(|name| self.shared(name)).join(" ")
    }

    /// Waits until every node is ready for tasks.
    ///
    /// # Errors
    /// With what they are instead.
    pub fn wait_for_all_nodes(&self) -> anyhow::Result<()> {
        self.wait_for_nodes("default", self.nodes())
    }

    /// Sends a signal to the supervisor of a node; whether there was one.
    #[must_use]
    pub fn signal_supervisor(&self, number: usize, signal: Signal) -> bool {
        self.supervisor(number).is_some_and(|supervisor| kill(supervisor, signal).is_ok())
    }

    /// Waits until a node has a supervisor; its process id.
    ///
    /// # Errors
    /// When it has none after a while.
    pub fn wait_for_supervisor(&self, number: usize) -> anyhow::Result<Pid> {
        wait_until(SOON, "a supervisor", || Ok(self.supervisor(number)))
    }

    /// Every process of a node: agent, supervisor, keepers and tasks.
    #[must_use]
    pub fn processes(&self, number: usize) -> BTreeSet<Pid> {
        Leftovers::of(&self.agent_root(number)).processes.into_keys().map(Pid::from_raw).collect()
    }
}

impl Deref for Site {
    type Target = Split;

    fn deref(&self) -> &Split {
        &self.split
    }
}

impl DerefMut for Site {
    fn deref_mut(&mut self) -> &mut Split {
        &mut self.split
    }
}

/// Where the program that tasks run was built: beside the other binaries.
fn labour_program() -> anyhow::Result<PathBuf> {
    let path = muster_e2e::binaries::folder()?.join(LABOUR);
    anyhow::ensure!(
        path.is_file(),
        "{} is missing: build it with `cargo build --workspace --bins`",
        path.display()
    );
    Ok(path)
}

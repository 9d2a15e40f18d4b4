//! Takes the calling process into its namespaces, but that of processes, which it is born into.
//!
//! To be called by root, once everything is open that is to be opened in the node's own view.

use nix::sched::{CloneFlags, unshare};

use muster_supervisor::LaunchStep;

use super::prepared::{Failure, Prepared};
use super::{network, view};

/// Makes the namespaces, and changes the view; does nothing for a task that shares all with the node.
pub(crate) fn enter(prepared: &mut Prepared) -> Result<(), Failure> {
    let mut flags = CloneFlags::empty();
    flags.set(CloneFlags::CLONE_NEWNS, !prepared.actions.is_empty());
    flags.set(CloneFlags::CLONE_NEWIPC, prepared.ipc_namespace);
    flags.set(CloneFlags::CLONE_NEWNET, prepared.network_namespace);
    if flags.is_empty() {
        return Ok(());
    }
    unshare(flags).map_err(Failure::at(LaunchStep::Namespaces, 0))?;
    if prepared.network_namespace {
        network::raise_loopback().map_err(Failure::at(LaunchStep::Loopback, 0))?;
    }
    if prepared.actions.is_empty() {
        return Ok(());
    }
    view::change(&mut prepared.actions)
}

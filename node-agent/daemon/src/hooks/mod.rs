//! The operator's commands that restart the machine or set it up anew.
//!
//! Muster knows no machines: whether it is `systemctl reboot`, a call to a cloud or a request to a provisioning service is in
//! the agent's settings. The command runs without a shell, with the agent's rights, in a process group of its own, so that it
//! outlives an agent that goes down with the machine; what it says goes into a log beside the agent's journal. Success is a
//! new boot; everything else is told.

mod run;

pub(crate) use run::{HookSettings, Hooks};

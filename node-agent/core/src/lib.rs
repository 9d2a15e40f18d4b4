//! The node agent's decisions: one pure state machine.
//!
//! [`Agent`] is told things ([`input`]) and answers with things to do ([`effect`]): what is to be written to the
//! journal ([`record`]), what is to be said to the controller and what is to be done with an attempt. It reads no clock,
//! draws no random number, opens nothing and sends nothing; the daemon does, and so does the simulation.
//!
//! Start at [`agent`], which only dispatches; the rules live with their nouns: [`attempt`], [`admission`], [`lease`],
//! [`reattach`], [`report`], [`start_task`], [`retention`], [`outcome`], [`work`]; in `deferred`, what happens when a task is
//! deleted and made again, in `health` what is wrong with the node, in `restart` the order to restart its machine.
//!
//! Invariant: of the effects of one input, journal records come first, so nothing is said that a restart could forget.

pub mod admission;
pub mod agent;
pub mod attempt;
mod deferred;
mod desk;
mod directories;
pub mod effect;
mod health;
pub mod input;
pub mod lease;
pub mod ledger;
mod life;
pub mod outcome;
mod planted;
pub mod reattach;
pub mod record;
pub mod report;
mod restart;
pub mod retention;
pub mod start_task;
pub mod subject;
pub mod time;
pub mod work;

pub use agent::{Agent, Violation};
pub use effect::{AgentMessage, DeadlineReason, Effect, Hello};
pub use input::{
    Assignment, ControllerMessage, Input, KillReason, NodeSettings, OverDisk, SessionId, StartTaskSettings,
};
pub use planted::{Plant, Planted};
pub use record::Record;
pub use subject::Subject;
pub use time::{Monotonic, Now};

//! The command line as clap knows it: every command, every option, and the help that teaches them.
//!
//! Goes in: argv. Comes out: a checked [`Cli`]. Nothing here connects or prints; what an option means for a request is
//! in `commands/`. One file for each group of commands; files such as `values.rs` and `dependency.rs` have the grammars of
//! single values.

mod account;
mod amounts;
mod dependency;
mod dev;
mod exit_rule;
mod file;
mod job;
mod job_create;
mod limits;
mod list;
mod node;
mod pool;
mod root;
mod run;
mod sweep;
mod sweep_range;
mod task;
mod task_add;
mod token;
mod user;
mod values;

pub(crate) use account::{AccountCommand, KeyChoice};
pub(crate) use amounts::{Escalation, MaybeSpan, Named};
pub(crate) use dependency::{Condition, Dependency, Numbers, Share, SweepDependency};
pub(crate) use dev::DevArgs;
pub(crate) use exit_rule::{ExitRule, exit_conditions};
pub(crate) use file::FileCommand;
pub(crate) use job::{JobCommand, RunningTasks};
pub(crate) use job_create::{
    AllTasksComplete, DependencyFailure, JobCreate, JobSettings, JobUpdate, OwnTasks, TaskFailure,
};
pub(crate) use limits::LimitArgs;
pub(crate) use list::ListArgs;
pub(crate) use node::{NodeCommand, NodeDisable, NodeName, NodeRemove, NodeRestart, Relief, WaitArgs};
pub(crate) use pool::{Fill, Isolation, Network, PoolCommand, PoolCreate};
pub(crate) use root::{Cli, ColorChoice, Command, Format, Global};
pub(crate) use run::RunArgs;
pub(crate) use sweep::SweepCommand;
pub(crate) use sweep_range::SweepRange;
pub(crate) use task::{TaskCommand, TaskUpdate};
pub(crate) use task_add::{SweepArgs, TaskAdd, TaskArgs};
pub(crate) use token::TokenCommand;
pub(crate) use user::{PoolUser, UserArgs, UserScope};
pub(crate) use values::{Cpus, Input, Note, OutputSpec, ResourceSpec, Setting, StoreName};

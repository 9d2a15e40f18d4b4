//! The command line as clap knows it: every command, every option, and the help that teaches them.
//!
//! Goes in: argv. Comes out: a checked [`Cli`]. Nothing here connects or prints; what an option means for a request is
//! in `commands/`. One file for each group of commands; `values.rs` has the grammars of single values.

mod account;
mod dev;
mod file;
mod job;
mod pool;
mod root;
mod run;
mod task;
mod token;
mod values;

pub(crate) use account::{AccountCommand, KeyChoice};
pub(crate) use dev::DevArgs;
pub(crate) use file::FileCommand;
pub(crate) use job::{JobCommand, JobCreate};
pub(crate) use pool::{Fill, NodeCommand, PoolCommand, PoolCreate};
pub(crate) use root::{Cli, ColorChoice, Command, Format, Global};
pub(crate) use run::RunArgs;
pub(crate) use task::{LimitArgs, TaskAdd, TaskCommand};
pub(crate) use token::TokenCommand;
pub(crate) use values::{Cpus, Dependency, Input, OutputSpec, ResourceSpec, Setting, StoreName};

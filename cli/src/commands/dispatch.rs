//! From a command that uses a controller to the file that does it.
//!
//! Commands that need no controller, or more than a few calls of one, never come here (`start.rs`).

use super::{Context, account, file, job, node, pool, sweep, task, token, version};
use crate::args::Command;
use crate::exit::{Exit, Failure};

/// Runs a command that uses a controller.
///
/// # Errors
/// What went wrong, with its exit code.
pub(crate) async fn run(context: &Context, command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Job(command) => job::run(context, command).await,
        Command::Task(command) => task::run(context, command).await,
        Command::Sweep(command) => sweep::run(context, command).await,
        Command::File(command) => file::run(context, command).await,
        Command::Pool(command) => pool::run(context, command).await,
        Command::Node(command) => node::run(context, command).await,
        Command::Token(command) => token::run(context, command).await,
        Command::Account(command) => account::run(context, command).await,
        Command::Version(_) => version::both(context).await,
        // These do not come here: start.rs has them.
        Command::Run(_) | Command::Dev(_) | Command::Completion { .. } => Ok(Exit::Usage),
    }
}

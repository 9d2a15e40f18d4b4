//! How a test dresses the command of a daemon before it is started: more environment, another network, another clock.
//!
//! The dress is kept and put on at every later start of that daemon. It knows nothing of what daemons do.

use std::fmt;
use std::process::Command;

/// Whose command it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// The controller's.
    Controller,
    /// That of the agent of this number.
    Agent(usize),
}

/// What a dress is.
type Dress = Box<dyn Fn(Who, Command) -> Command + Send + Sync>;

/// All dresses of a cluster, put on one over the other.
#[derive(Default)]
pub struct Disguise(Vec<Dress>);

impl Disguise {
    /// One more, over the others.
    pub fn add(&mut self, dress: impl Fn(Who, Command) -> Command + Send + Sync + 'static) {
        self.0.push(Box::new(dress));
    }

    /// A command as it is to be started.
    #[must_use]
    pub fn put_on(&self, who: Who, command: Command) -> Command {
        self.0.iter().fold(command, |command, dress| dress(who, command))
    }
}

impl fmt::Debug for Disguise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Disguise({})", self.0.len())
    }
}

/// Runs a command by another program: `wrapped(command, "nsenter", &["--net=/proc/1/ns/net", "--"])`. Environment and working
/// folder stay.
#[must_use]
pub fn wrapped(command: &Command, program: &str, before: &[&str]) -> Command {
    let mut outer = Command::new(program);
    outer.args(before).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => outer.env(name, value),
            None => outer.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        outer.current_dir(folder);
    }
    outer
}

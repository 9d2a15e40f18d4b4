//! `muster-supervisor`: the custodian of task processes, one small process for each node agent.
//!
//! It starts tasks with their limits, waits for them, keeps how they ended, and outlives the agent that asked
//! for it; the agent speaks to it over a unix socket. One thread, so that what happens between clone and exec
//! is ordinary code.
//!
//! Map: `args` the command line; `state_dir` lock, socket and journals; `serve` the event loop, with `watch` and
//! `client`; `custodian` what is held and done with it, `task` one attempt in it; `spawn`, `birth`, `keeper`, `child` how
//! one is started and kept, `remains` ended by its keeper, `isolate` separated, `footprint` kept small; `slots`, `reap`,
//! `processes` how it ended; `cgroup` its limits; `expiry` the lease, `lease_word` for keepers; `sys`, `clock`, `log`.
//!
//! Invariant: nothing here blocks but the wait in `serve`, and no thread is ever made.

#![warn(clippy::undocumented_unsafe_blocks)]

mod args;
mod birth;
mod cgroup;
mod child;
mod client;
mod clock;
mod custodian;
mod expiry;
mod footprint;
mod isolate;
mod keeper;
mod lease_word;
mod log;
mod processes;
mod reap;
mod remains;
mod serve;
mod slots;
mod spawn;
mod state_dir;
mod sys;
mod task;
mod watch;

use std::error::Error;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::process::ExitCode;
use std::rc::Rc;

use nix::sys::epoll::EpollFlags;

use crate::args::{Command, HELP, Settings, parse};
use crate::custodian::{Custodian, Ground};
use crate::expiry::Expiry;
use crate::serve::{Server, take_signals};
use crate::spawn::Launcher;
use crate::state_dir::{StateDir, StateDirError};
use crate::watch::{Token, Watch};

/// Exit code for a command line that cannot be used.
const USAGE: u8 = 2;
/// Exit code when another supervisor runs on the directory: nothing to worry about, connect to that one.
const ALREADY_RUNNING: u8 = 3;

fn main() -> ExitCode {
    match parse(std::env::args_os().skip(1)) {
        Ok(Command::Help) => say(HELP),
        Ok(Command::Version) => say(concat!("muster-supervisor ", env!("CARGO_PKG_VERSION"), "\n")),
        Ok(Command::Serve(settings)) => match serve(&settings) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                log::error(&chain(&*error), &[]);
                let locked = matches!(error.downcast_ref(), Some(StateDirError::Locked { .. }));
                if locked { ExitCode::from(ALREADY_RUNNING) } else { ExitCode::FAILURE }
            }
        },
        Err(error) => {
            // Without standard error there is nobody to tell; the exit code remains.
            let _ = writeln!(io::stderr(), "muster-supervisor: {error}");
            ExitCode::from(USAGE)
        }
    }
}

fn serve(settings: &Settings) -> Result<(), Box<dyn Error>> {
    if let Some(path) = &settings.log {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        nix::unistd::dup2_stderr(&file)?;
    }
    log::set_verbose(settings.verbose);
    let state = StateDir::open(&settings.state_dir)?;
    // Holds no mount busy but that of the state directory.
    std::env::set_current_dir("/")?;
    sys::undo_ignored_signals();
    let (separation, notes) = isolate::probe();
    let signals = take_signals()?;
    nix::sys::prctl::set_child_subreaper(true)?;
    let watch = Rc::new(Watch::new()?);
    let listener = state.bind()?;
    // What is private says so where it is made. Groups are not: a task's runtime reads its limits there.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    log::info("started", &[("version", &env!("CARGO_PKG_VERSION")), ("pid", &std::process::id())]);
    let expiry = Expiry::new()?;
    watch.add(&expiry, Token::Lease, EpollFlags::EPOLLIN)?;
    let slots = state.slots()?;
    let ground = Ground {
        state,
        boot_id: clock::boot_id()?,
        launcher: Launcher::new()?,
        watch: Rc::clone(&watch),
        expiry,
        slots,
        separation,
        notes,
    };
    let custodian = Custodian::recover(ground, &settings.cgroup_root)?;
    custodian.announce();
    Server::new(watch, listener, signals, custodian)?.run()?;
    log::info("stopped", &[]);
    Ok(())
}

fn say(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn chain(error: &dyn Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", chain(cause)),
        None => error.to_string(),
    }
}

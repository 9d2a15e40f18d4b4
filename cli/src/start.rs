//! The way from argv to an exit code.
//!
//! Goes in: argv. What needs no controller (`version`, `completion`) runs without a runtime, because it is what start-up
//! cost is measured by; everything else runs on one thread, which a client of one connection does not outgrow.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use muster_runtime::telemetry::{self, LEVEL_VARIABLE, LogSettings};

use crate::args::{Cli, Command};
use crate::commands::{self, Context};
use crate::exit::{Exit, Failure};
use crate::outlet::Outlet;

/// 128 + SIGPIPE: what a shell shows for a program whose reader has gone away.
const BROKEN_PIPE: Exit = Exit::Code(141);

/// Runs the command that `argv` says. Never panics and never exits by itself.
pub fn start(argv: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(argv) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to standard output with code 0, mistakes to standard error with code 2.
            let _unread = error.print();
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Done };
            return ExitCode::from(exit.code());
        }
    };
    let exit = match dispatch(cli) {
        Ok(exit) => exit,
        Err(failure) if failure.is_broken_pipe() => BROKEN_PIPE,
        Err(failure) => {
            let _unread = writeln!(io::stderr().lock(), "{failure}");
            failure.exit()
        }
    };
    ExitCode::from(exit.code())
}

fn dispatch(cli: Cli) -> Result<Exit, Failure> {
    let outlet = Outlet::new(cli.global.format, cli.global.color);
    match cli.command {
        Command::Version(args) if !args.server => commands::version::own(&outlet),
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "muster", &mut script);
            outlet.bytes(&script)?;
            Ok(Exit::Done)
        }
        Command::Run(args) => {
            // Whatever is wrong with muster itself must not look like an exit code of the command.
            let context = Context::new(cli.global, outlet);
            on_runtime(crate::run::run(&context, *args)).map_err(crate::run::own_failure)
        }
        Command::Dev(args) => on_runtime(crate::dev::run(&outlet, args)),
        command @ (Command::Job(_)
        | Command::Task(_)
        | Command::Sweep(_)
        | Command::File(_)
        | Command::Pool(_)
        | Command::Node(_)
        | Command::Token(_)
        | Command::Account(_)
        | Command::Version(_)) => {
            let context = Context::new(cli.global, outlet);
            on_runtime(commands::run(&context, command))
        }
    }
}

fn on_runtime(work: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    start_logging();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let exit = runtime.block_on(work);
    // A thread that still waits for a disk or a terminal must not hold up the end.
    runtime.shutdown_background();
    exit
}

/// Logs to standard error, only when the environment asks for it.
fn start_logging() {
    if let Some(level) = std::env::var(LEVEL_VARIABLE).ok().filter(|level| !level.is_empty()) {
        let settings = LogSettings { level, ..LogSettings::default() };
        if let Err(error) = telemetry::start(&settings) {
            let _unread = writeln!(io::stderr().lock(), "muster: {error}");
        }
    }
}

//! `muster-agent`: makes a machine a compute node of a pool and runs its tasks.
//!
//! Map, from the outside in: `config` the settings; `identity`, `facts`, `capabilities` who and what the node is; `link` the connection
//! to the controller, `session` what is said on it; `custody` the way to the supervisor; `workdir` the directories of the
//! node, `disk` how their size is bounded, `staging` what goes into them, `launch` what runs in them, `users` as whom,
//! `isolation` how it is separated, `output` and `files` what comes out of them; `health` what is wrong with the node, `hooks` the
//! operator's commands to restart its machine, `metrics` what it all uses;
//! `journal` and `codec` what must not be forgotten; `driver` the loop around the core (muster-agent-core), which decides
//! everything. `wake` is its clock.

mod capabilities;
mod codec;
mod config;
mod custody;
mod disk;
mod driver;
mod facts;
mod files;
mod health;
mod hooks;
mod identity;
mod isolation;
mod journal;
mod launch;
mod link;
mod metrics;
mod node;
mod output;
mod session;
mod staging;
mod users;
mod wake;
mod workdir;

use crate::config::{Args, Config};
use clap::Parser;
use std::io::Write;
use std::process::ExitCode;

/// Most threads that the agent works on: transfers fill a network with these, and the rest is for tasks.
const WORKERS_MAX: usize = 4;
/// Threads for what keeps the node's lease: the session and the way to the supervisor, beside the loop itself.
const KEEPERS: usize = 2;
/// Exit code for settings that cannot be used.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let args = Args::parse();
    let (config, listing) = match Config::read(&args, std::env::vars_os()) {
        Ok(read) => read,
        Err(problems) => return complain(&problems, USAGE),
    };
    if args.check_config {
        return match std::io::stdout().write_all(listing.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => complain(&error, 1),
        };
    }
    // Neither the lease nor a task may wait for a log.
    let _last_lines = match muster_runtime::telemetry::start_apart(&config.log) {
        Ok(thread) => thread,
        Err(error) => return complain(&error, USAGE),
    };
    muster_runtime::tls::install_provider();
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let workers = processors.min(WORKERS_MAX);
    // Whoever reads and writes files may block its thread; what keeps the lease runs where nobody does.
    let threads = |count, name| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(count)
            .thread_name(name)
            .enable_all()
            .build()
    };
    let (runtime, work) = match threads(KEEPERS, "lease").and_then(|own| Ok((own, threads(workers, "work")?)))
    {
        Ok(both) => both,
        Err(error) => return complain(&error, 1),
    };
    let outcome = runtime.block_on(node::run(config, work.handle().clone()));
    // Tasks that block on a dead disk may not keep the process from ending.
    work.shutdown_background();
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the agent cannot go on");
            ExitCode::FAILURE
        }
    }
}

/// Says what is wrong, with its causes, on standard error.
fn complain(error: &dyn std::error::Error, code: u8) -> ExitCode {
    let mut words = format!("muster-agent: {error}\n");
    let mut source = error.source();
    while let Some(cause) = source {
        words.push_str(&format!("  because: {cause}\n"));
        source = cause.source();
    }
    // Nobody is left to tell if this fails.
    let _unheard = std::io::stderr().write_all(words.as_bytes());
    ExitCode::from(code)
}

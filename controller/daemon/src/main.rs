//! `muster-controller`: flags, configuration, logging, signals; then one `Controller` until the order to stop.
//!
//! Exit codes: 0 stopped as asked, 1 failed, 2 the configuration is wrong. Logs go to standard error; standard output
//! has only what `--check-config` shows.

use anyhow::Context;
use clap::Parser;
use muster_controller::config::{self, Config};
use muster_controller::controller::{Controller, Ready};
use muster_runtime::shutdown::Shutdown;
use muster_runtime::tls::AcceptLimits;
use muster_runtime::{descriptors, telemetry, tls};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Owns pools, nodes, jobs and tasks, and decides where every task runs.
///
/// The first start makes everything in the data folder: the database, a certificate authority, and an operator's account
/// whose key is written to operator.toml there. Clients reach it at --listen (TLS, and a token signed with an account
/// key), nodes at --node-listen (TLS both ways, after joining with a token of `muster token create`).
///
/// Every setting can be given in the file of --config (TOML), as a variable (MUSTER_CONTROLLER__LISTEN,
/// MUSTER_CONTROLLER__LOG__LEVEL) or as a flag; each goes before the one named earlier.
#[derive(Debug, Parser)]
#[command(name = "muster-controller", version)]
struct Flags {
    /// Read settings from this TOML file.
    #[arg(long, value_name = "PATH")]
    config: Option<PathBuf>,
    /// Show every setting with where it comes from, or everything that is wrong, and exit.
    #[arg(long)]
    check_config: bool,
    /// When serving, write where to reach the controller to this file, as JSON.
    #[arg(long, value_name = "PATH")]
    ready_file: Option<PathBuf>,
    #[command(flatten)]
    settings: SettingFlags,
}

/// Flags that are settings; the names follow from the keys.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Settings")]
struct SettingFlags {
    /// Folder of everything durable; made if it is not there. Required, here or in another layer.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// Address for clients [default: 127.0.0.1:7140]; port 0 takes any.
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Address for nodes [default: 127.0.0.1:7141]; port 0 takes any.
    #[arg(long, value_name = "ADDR")]
    node_listen: Option<String>,
    /// Names for the server certificate, separated by commas: how others reach this machine.
    #[arg(long, value_name = "NAMES")]
    names: Option<String>,
    /// URL of the API as clients see it, if not https://<first name>:<port>.
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// Object store for file content instead of a local folder.
    #[arg(long, value_name = "URL")]
    blob_store_url: Option<String>,
    /// Name of the account that the first start makes [default: muster].
    #[arg(long, value_name = "NAME")]
    operator_account: Option<String>,
    /// How long a node may go unheard before it stops its attempts [default: 30s].
    #[arg(long, value_name = "SPAN")]
    lease_ttl: Option<String>,
    /// How much longer the controller waits before it places them elsewhere [default: 5s].
    #[arg(long, value_name = "SPAN")]
    lease_margin: Option<String>,
    /// How long a repeated request id gets the first answer [default: 1d].
    #[arg(long, value_name = "SPAN")]
    replay_window: Option<String>,
    /// How long a node's certificate lasts [default: 7d].
    #[arg(long, value_name = "SPAN")]
    node_certificate_life: Option<String>,
    /// Connections that each listener takes at one time [default: 8192].
    #[arg(long, value_name = "N")]
    connections_max: Option<String>,
    /// How many of them may be of peers that have not shown who they are [default: 2048].
    #[arg(long, value_name = "N")]
    strangers_connections_max: Option<String>,
    /// How many of these may come from one address [default: 1024].
    #[arg(long, value_name = "N")]
    strangers_per_source_max: Option<String>,
    /// How long a TLS handshake may take [default: 10s].
    #[arg(long, value_name = "SPAN")]
    strangers_handshake_max: Option<String>,
    /// How long a peer may stay connected without having shown who it is [default: 30s].
    #[arg(long, value_name = "SPAN")]
    strangers_time_max: Option<String>,
    /// Calls of one source each second without good credentials [default: 500].
    #[arg(long, value_name = "N")]
    strangers_calls_per_second: Option<String>,
    /// Calls of one account each second that read [default: 2000].
    #[arg(long, value_name = "N")]
    accounts_reads_per_second: Option<String>,
    /// Calls of one account each second that change something [default: 2000].
    #[arg(long, value_name = "N")]
    accounts_writes_per_second: Option<String>,
    /// For how long an account that was quiet may save up calls [default: 10s].
    #[arg(long, value_name = "SPAN")]
    accounts_burst: Option<String>,
    /// Calls of one account under way at one time, streams apart [default: 512].
    #[arg(long, value_name = "N")]
    accounts_calls_max: Option<String>,
    /// Streams of one account open at one time [default: 1024].
    #[arg(long, value_name = "N")]
    accounts_streams_max: Option<String>,
    /// Connections of the clients of one account at one time [default: 4096].
    #[arg(long, value_name = "N")]
    accounts_connections_max: Option<String>,
    /// Bytes of one account's requests under way at one time [default: 64MiB].
    #[arg(long, value_name = "SIZE")]
    accounts_request_bytes_max: Option<String>,
    /// Attempts in a row that a node may fail to start before it is taken out of use [default: 5].
    #[arg(long, value_name = "N")]
    nodes_launch_failures_max: Option<String>,
    /// How long a node is out of use the first time; doubles each time [default: 1m].
    #[arg(long, value_name = "SPAN")]
    nodes_probation_first: Option<String>,
    /// The longest time out of use [default: 1h].
    #[arg(long, value_name = "SPAN")]
    nodes_probation_max: Option<String>,
    /// How long a task must run on a node that is tried again before the node is trusted [default: 1m].
    #[arg(long, value_name = "SPAN")]
    nodes_probation_trial: Option<String>,
    /// How long a node may take to come back from a restart [default: 20m].
    #[arg(long, value_name = "SPAN")]
    nodes_restart_timeout: Option<String>,
    /// error, warn, info, debug, trace, or filters [default: info].
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// auto, human, compact or json [default: auto].
    #[arg(long, value_name = "FORM")]
    log_format: Option<String>,
    /// Log to this file instead of standard error.
    #[arg(long, value_name = "PATH")]
    log_file: Option<String>,
}

impl SettingFlags {
    /// The flags that were given, by key.
    fn given(self) -> Vec<(String, String)> {
        let all = [
            ("data_dir", self.data_dir),
            ("listen", self.listen),
            ("node_listen", self.node_listen),
            ("names", self.names),
            ("public_url", self.public_url),
            ("blob_store_url", self.blob_store_url),
            ("operator_account", self.operator_account),
            ("lease_ttl", self.lease_ttl),
            ("lease_margin", self.lease_margin),
            ("replay_window", self.replay_window),
            ("node_certificate_life", self.node_certificate_life),
            ("connections_max", self.connections_max),
            ("strangers.connections_max", self.strangers_connections_max),
            ("strangers.per_source_max", self.strangers_per_source_max),
            ("strangers.handshake_max", self.strangers_handshake_max),
            ("strangers.time_max", self.strangers_time_max),
            ("strangers.calls_per_second", self.strangers_calls_per_second),
            ("accounts.reads_per_second", self.accounts_reads_per_second),
            ("accounts.writes_per_second", self.accounts_writes_per_second),
            ("accounts.burst", self.accounts_burst),
            ("accounts.calls_max", self.accounts_calls_max),
            ("accounts.streams_max", self.accounts_streams_max),
            ("accounts.connections_max", self.accounts_connections_max),
            ("accounts.request_bytes_max", self.accounts_request_bytes_max),
            ("nodes.launch_failures_max", self.nodes_launch_failures_max),
            ("nodes.probation_first", self.nodes_probation_first),
            ("nodes.probation_max", self.nodes_probation_max),
            ("nodes.probation_trial", self.nodes_probation_trial),
            ("nodes.restart_timeout", self.nodes_restart_timeout),
            ("log.level", self.log_level),
            ("log.format", self.log_format),
            ("log.file", self.log_file),
        ];
        all.into_iter().filter_map(|(key, text)| Some((key.to_owned(), text?))).collect()
    }
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    let draft = match config::load(flags.config.as_deref(), std::env::vars_os(), flags.settings.given()) {
        Ok(draft) => draft,
        Err(problems) => return refused(&problems),
    };
    let entries: Vec<_> = draft.entries().cloned().collect();
    let config = match Config::of(draft) {
        Ok(config) => config,
        Err(problems) => return refused(&problems),
    };
    if flags.check_config {
        let mut shown = String::new();
        for entry in entries {
            let value = entry.value.unwrap_or_else(|| "(not set)".to_owned());
            shown.push_str(&format!("{} = {value}  # {}\n", entry.key, entry.origin));
        }
        shown.push_str("# the configuration is good\n");
        return match std::io::stdout().write_all(shown.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    match run(&config, flags.ready_file.as_deref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("muster-controller: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn refused(problems: &impl std::fmt::Display) -> ExitCode {
    eprintln!("muster-controller: {problems}");
    ExitCode::from(2)
}

fn run(config: &Config, ready_file: Option<&Path>) -> anyhow::Result<()> {
    telemetry::start(&config.log).context("logging cannot start")?;
    tls::install_provider();
    let config = &Config { accept: fit_open_files(config), ..config.clone() };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("muster-worker")
        .build()
        .context("the runtime cannot start")?;
    let ended = runtime.block_on(async {
        let shutdown = Shutdown::on_signals()?;
        let controller = Controller::start(config, shutdown).await?;
        announce(&controller.ready, ready_file)?;
        controller.run().await?;
        tracing::info!("stopped");
        anyhow::Ok(())
    });
    // Work that blocks (a read of a slow disk) is not waited for: everything that counts is durable.
    runtime.shutdown_background();
    ended
}

/// Listeners, of which each may have all of its connections.
const LISTENERS: usize = 2;

/// Open files for everything else: the database, reads and uploads of files; a quarter of all where there are few.
const OTHER_FILES: usize = 1024;

/// Takes all the open files that the system gives. Connections that they do not suffice for would be accepted and fail, so
/// fewer are taken then, and the operator is told.
fn fit_open_files(config: &Config) -> AcceptLimits {
    let mut accept = config.accept;
    match descriptors::raise_limit() {
        Ok(limit) => {
            let limit = usize::try_from(limit).unwrap_or(usize::MAX);
            let fitting = (limit - OTHER_FILES.min(limit / 4)) / LISTENERS;
            if fitting < accept.connections_max {
                tracing::warn!(
                    open_files = limit,
                    connections_max = accept.connections_max,
                    taken = fitting,
                    "the limit of open files is below what connections_max needs, so fewer connections are taken: raise it (LimitNOFILE= of the service, ulimit -n), or lower connections_max"
                );
                accept.connections_max = fitting;
                accept.strangers_max = accept.strangers_max.min(fitting / 2);
            }
        }
        Err(error) => tracing::warn!(%error, "the limit of open files cannot be raised"),
    }
    accept
}

/// Says where the controller is: one log line, and the file if one was asked for.
fn announce(ready: &Ready, file: Option<&Path>) -> anyhow::Result<()> {
    tracing::info!(
        endpoint = ready.endpoint,
        node_endpoint = ready.node_endpoint,
        ca_cert = %ready.ca_cert.display(),
        account = ready.account,
        "ready"
    );
    let Some(path) = file else { return Ok(()) };
    let document = serde_json::json!({
        "endpoint": ready.endpoint,
        "node_endpoint": ready.node_endpoint,
        "ca_cert": ready.ca_cert.to_string_lossy(),
        "account": ready.account,
        "operator_file": ready.operator_file.to_string_lossy(),
        "pid": std::process::id(),
        "version": env!("CARGO_PKG_VERSION"),
    });
    // Whole or not at all: whoever waits for the file reads it as soon as it is there.
    tls::write_private(path, document.to_string().as_bytes())
        .with_context(|| format!("cannot write the ready file {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn every_setting_has_a_flag_of_its_name() {
        let command = Flags::command();
        let flags: Vec<String> = command
            .get_arguments()
            .filter_map(|arg| arg.get_long().map(|long| format!("--{long}")))
            .collect();
        for setting in config::SETTINGS {
            assert!(flags.contains(&setting.flag()), "no {} for {}", setting.flag(), setting.key);
        }
        command.debug_assert();
    }

    #[test]
    fn flags_reach_the_settings_they_are_named_after() {
        let flags = Flags::parse_from(["muster-controller", "--data-dir", "d", "--log-level", "debug"]);
        let config = Config::of(config::load(None, [], flags.settings.given()).unwrap()).unwrap();
        assert_eq!(config.data_dir, Path::new("d"));
        assert_eq!(config.log.level, "debug");
    }
}

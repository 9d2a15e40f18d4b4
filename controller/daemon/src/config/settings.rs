//! Every key that a controller can be configured with, and the shape that they are read into.
//!
//! The list is the only source: unknown keys, variables and flags follow from it, and a test in `main` holds the flags
//! against it. What values may be is in `rules`.

use muster_runtime::config::{Setting, Span};
use muster_runtime::telemetry::LogSettings;
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Variables are called `MUSTER_CONTROLLER__LISTEN`, `MUSTER_CONTROLLER__LOG__LEVEL` and so on.
pub const ENVIRONMENT_PREFIX: &str = "MUSTER_CONTROLLER";

/// The keys, with their defaults.
pub const SETTINGS: &[Setting] = &[
    Setting::required(
        "data_dir",
        "controller-data",
        "Folder of everything durable: database, blobs, certificate authority. Made if it is not there.",
    ),
    Setting::new("listen", "127.0.0.1:7140", "Address for clients. Port 0 takes any free one."),
    Setting::new("node_listen", "127.0.0.1:7141", "Address for nodes. Port 0 takes any free one."),
    Setting::new(
        "names",
        "",
        "DNS names and IP addresses under which clients and nodes reach the controller: they go into its certificate. Needed off loopback.",
    )
    .list(),
    Setting::optional(
        "public_url",
        "URL of the API as clients see it, when it is not https://<first name>:<port of listen>.",
    ),
    Setting::optional(
        "blob_store_url",
        "Object store for file content: s3://, az://, gs:// or file://. Without it a folder below data_dir.",
    ),
    Setting::new(
        "operator_account",
        "muster",
        "Name of the operator's account that the first start makes. Its key is written to data_dir/operator.toml.",
    ),
    Setting::new(
        "lease_ttl",
        "30s",
        "How long a node may go unheard before it stops its attempts: 1s to 10m.",
    ),
    Setting::new(
        "lease_margin",
        "5s",
        "How much longer the controller waits before it places those attempts elsewhere: a tenth of lease_ttl to 10m.",
    ),
    Setting::new("replay_window", "1d", "How long a repeated request id gets the first answer: 1m to 30d."),
    Setting::new("node_certificate_life", "7d", "How long a node's certificate lasts: 10m to 365d."),
    Setting::new(
        "connections_max",
        "8192",
        "Connections that each listener takes at one time: 1 to 1000000.",
    ),
    Setting::new(
        "nodes.launch_failures_max",
        "5",
        "Attempts in a row that a node may fail to start, for reasons of its own, before it is taken out of use: 1 to 1000.",
    ),
    Setting::new(
        "nodes.probation_first",
        "1m",
        "How long such a node, or one whose start task failed, is out of use the first time: 1s to 1d. Doubles each time.",
    ),
    Setting::new("nodes.probation_max", "1h", "The longest time out of use: probation_first to 7d."),
    Setting::new(
        "nodes.probation_trial",
        "1m",
        "How long a task must run on a node that is tried again before the node is trusted: 1s to 1d.",
    ),
    Setting::new(
        "nodes.restart_timeout",
        "20m",
        "How long a node may take to come back from a reboot or reimage: 1s to 7d.",
    ),
    Setting::new("log.level", "info", "Least level of log lines, or filters such as info,muster_controller=debug."),
    Setting::new("log.format", "auto", "Form of log lines: auto, human, compact or json."),
    Setting::optional("log.file", "File to log to instead of standard error."),
];

/// The settings as they are read, before any rule.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "SETTINGS says what each is for")]
pub struct Settings {
    pub data_dir: PathBuf,
    pub listen: SocketAddr,
    pub node_listen: SocketAddr,
    pub names: Vec<String>,
    pub public_url: Option<String>,
    pub blob_store_url: Option<String>,
    pub operator_account: String,
    pub lease_ttl: Span,
    pub lease_margin: Span,
    pub replay_window: Span,
    pub node_certificate_life: Span,
    pub connections_max: usize,
    pub nodes: NodesSettings,
    pub log: LogSettings,
}

/// What may be set about nodes that are ill or restarted.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodesSettings {
    /// `nodes.launch_failures_max`.
    pub launch_failures_max: u32,
    /// `nodes.probation_first`.
    pub probation_first: Span,
    /// `nodes.probation_max`.
    pub probation_max: Span,
    /// `nodes.probation_trial`.
    pub probation_trial: Span,
    /// `nodes.restart_timeout`.
    pub restart_timeout: Span,
}

//! Every key that a controller can be configured with, and the shape that they are read into.
//!
//! The list is the only source: unknown keys, variables and flags follow from it, and a test in `main` holds the flags
//! against it. What values may be is in `rules`.

use muster_runtime::config::{ByteSize, Setting, Span};
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
        "Connections that each listener takes at one time: 1 to 1000000. Each needs an open file.",
    ),
    Setting::new(
        "strangers.connections_max",
        "2048",
        "How many of them may be of peers that have not shown who they are: 1 to 1000000.",
    ),
    Setting::new(
        "strangers.per_source_max",
        "1024",
        "How many of these may come from one IPv4 address or IPv6 network of 64 bits: 1 to 1000000.",
    ),
    Setting::new(
        "strangers.handshake_max",
        "10s",
        "How long a TLS handshake may take, from the first moment of its connection: 100ms to 10m.",
    ),
    Setting::new(
        "strangers.time_max",
        "30s",
        "How long a peer may stay connected without having shown who it is: 1s to 1h.",
    ),
    Setting::new(
        "strangers.calls_per_second",
        "500",
        "Calls of one source each second without good credentials: health checks, joins, and refused ones: 1 to 1000000. Ten seconds of them may come at once.",
    ),
    Setting::new(
        "accounts.reads_per_second",
        "2000",
        "Calls of one account each second that read: 1 to 1000000.",
    ),
    Setting::new(
        "accounts.writes_per_second",
        "2000",
        "Calls of one account each second that change something: 1 to 1000000. A call may add a thousand tasks.",
    ),
    Setting::new(
        "accounts.burst",
        "10s",
        "For how long an account that was quiet may save up calls: 1ms to 1h.",
    ),
    Setting::new(
        "accounts.calls_max",
        "512",
        "Calls of one account under way at one time, streams apart: 1 to 1000000.",
    ),
    Setting::new(
        "accounts.streams_max",
        "1024",
        "Streams of one account open at one time (watches, files, uploads, streams of tasks): 1 to 1000000.",
    ),
    Setting::new(
        "accounts.connections_max",
        "4096",
        "Connections of the clients of one account at one time: 1 to 1000000.",
    ),
    Setting::new(
        "accounts.request_bytes_max",
        "64MiB",
        "Bytes of one account's requests under way at one time: 8MiB to 16GiB.",
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
    pub strangers: StrangersSettings,
    pub accounts: AccountsSettings,
    pub nodes: NodesSettings,
    pub log: LogSettings,
}

/// What may be set about peers that have not shown who they are.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StrangersSettings {
    /// `strangers.connections_max`.
    pub connections_max: usize,
    /// `strangers.per_source_max`.
    pub per_source_max: usize,
    /// `strangers.handshake_max`.
    pub handshake_max: Span,
    /// `strangers.time_max`.
    pub time_max: Span,
    /// `strangers.calls_per_second`.
    pub calls_per_second: u32,
}

/// What may be set about how much an account may ask at one time.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountsSettings {
    /// `accounts.reads_per_second`.
    pub reads_per_second: u32,
    /// `accounts.writes_per_second`.
    pub writes_per_second: u32,
    /// `accounts.burst`.
    pub burst: Span,
    /// `accounts.calls_max`.
    pub calls_max: usize,
    /// `accounts.streams_max`.
    pub streams_max: usize,
    /// `accounts.connections_max`.
    pub connections_max: usize,
    /// `accounts.request_bytes_max`.
    pub request_bytes_max: ByteSize,
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

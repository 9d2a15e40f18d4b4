//! The settings as they are read, before any rule between them.
//!
//! One field for each key of `table`, grouped as the keys are. Nothing here is checked beyond its form: a value in hand may
//! still be wrong, and `config` says so.

use super::named::Named;
use crate::launch::CpuLimit;
use muster_runtime::config::{ByteSize, Span};
use muster_runtime::secret::Secret;
use muster_runtime::telemetry::LogSettings;
use serde::Deserialize;
use std::path::PathBuf;

/// The settings as they are read.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    pub(super) root: PathBuf,
    pub(super) controller: String,
    pub(super) token: Option<Secret>,
    pub(super) token_file: Option<PathBuf>,
    pub(super) supervisor: Option<PathBuf>,
    pub(super) cgroup_root: String,
    pub(super) task_uid: u32,
    pub(super) task_gid: u32,
    pub(super) task_users: TaskUsers,
    pub(super) admin_tasks: bool,
    pub(super) isolation: IsolationPlaces,
    pub(super) limits: TaskLimits,
    pub(super) disk_limit: String,
    pub(super) disk_reserve: Option<ByteSize>,
    pub(super) clock_skew_max: Span,
    pub(super) hooks: HookLines,
    pub(super) metrics: MetricsPace,
    pub(super) cache_size_max: ByteSize,
    pub(super) allow_link_local: bool,
    pub(super) resources: ResourceSettings,
    pub(super) ready_file: Option<PathBuf>,
    pub(super) stop_tasks_on_exit: bool,
    pub(super) log: LogSettings,
}

/// What the node has that is not measured.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ResourceSettings {
    pub(super) gpus: Option<u32>,
    pub(super) named: Named,
}

/// Ids of users that belong to one task alone.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TaskUsers {
    pub(super) first: u32,
    pub(super) count: u32,
}

/// Paths that isolated tasks see differently.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct IsolationPlaces {
    pub(super) writable: Vec<PathBuf>,
    pub(super) hidden: Vec<PathBuf>,
}

/// Limits of tasks that ask for none.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TaskLimits {
    pub(super) pids_max: u32,
    pub(super) open_files: u64,
    pub(super) core_bytes: ByteSize,
    pub(super) cpu: CpuLimit,
}

/// Command lines of the operator.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HookLines {
    pub(super) reboot: Option<String>,
    pub(super) reimage: Option<String>,
    pub(super) time_limit: Span,
}

/// How often is measured.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MetricsPace {
    pub(super) interval: Span,
}

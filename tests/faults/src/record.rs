//! What the controller has recorded, in the few words that the checker needs. Read through the API (`read.rs`), as clients read it.
//!
//! Plain values and their reading from the API's messages. A task's spec is not here but for its command line: what was asked for is in
//! the told-log (`told.rs`).

use muster_proto::wire;
use std::collections::BTreeMap;
use std::fmt;

/// Where a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It waits.
    Active,
    /// It is placed and waits for the preparation of its job.
    Preparing,
    /// It is placed.
    Running,
    /// It is over.
    Completed,
    /// The answer did not say, which it must.
    Unspecified,
}

/// A file that was published.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Output {
    /// Where: container and path.
    pub place: String,
    /// The digest of its content, in hexadecimal.
    pub sha256: String,
}

/// A task as it was read at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Where it stands.
    pub state: State,
    /// The number of its latest attempt.
    pub attempt: u32,
    /// Whether it succeeded; `None` until it has ended.
    pub is_success: Option<bool>,
    /// The exit code of the latest attempt that ended.
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Why it failed.
    pub cause: Option<wire::FailureCause>,
    /// How often it was tried again.
    pub retries: u32,
    /// When it completed, in microseconds since 1970 by the controller's clock.
    pub end_us: Option<i64>,
    /// The node of the latest attempt.
    pub node: String,
    /// What it published.
    pub outputs: Vec<Output>,
}

/// An attempt that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// Its number.
    pub attempt: u32,
    /// Its node.
    pub node: String,
    /// Its exit code.
    pub exit_code: Option<i32>,
    /// Whether it succeeded.
    pub is_success: bool,
    /// Why it failed.
    pub cause: Option<wire::FailureCause>,
}

/// A task at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// How it is.
    pub seen: Seen,
    /// Its command line, which must be what was given.
    pub command_line: String,
    /// Its attempts that are over.
    pub tried: Vec<Tried>,
    /// Why it waits, if it does.
    pub waits_for: String,
}

/// A job at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobKept {
    /// Where it stands.
    pub state: wire::JobState,
    /// How many of its tasks it says have succeeded and failed, and how many are not over.
    pub counts: (u64, u64, u64),
    /// Its tasks, members of sweeps among them.
    pub tasks: BTreeMap<String, Kept>,
}

/// Everything at the end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// The jobs that there are.
    pub jobs: BTreeMap<String, JobKept>,
}

impl Record {
    /// A task.
    #[must_use]
    pub fn task(&self, job: &str, task: &str) -> Option<&Kept> {
        self.jobs.get(job)?.tasks.get(task)
    }

    /// How many tasks are completed.
    #[must_use]
    pub fn completed(&self) -> u64 {
        let tasks = self.jobs.values().flat_map(|job| job.tasks.values());
        let completed = tasks.filter(|task| task.seen.state == State::Completed).count();
        u64::try_from(completed).unwrap_or(u64::MAX)
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { state, attempt, is_success, exit_code, signal, cause, retries, end_us, node, outputs } =
            self;
        write!(f, "{state:?} attempt {attempt}")?;
        if !node.is_empty() {
            write!(f, " on {node}")?;
        }
        match is_success {
            Some(true) => write!(f, " success")?,
            Some(false) => write!(f, " failure")?,
            None => {}
        }
        let shown = |name: &str, value: Option<String>| {
            value.map_or(String::new(), |value| format!(" {name} {value}"))
        };
        write!(
            f,
            "{}{}{}{}",
            shown("cause", cause.map(|cause| format!("{cause:?}"))),
            shown("exit", exit_code.map(|code| code.to_string())),
            shown("signal", signal.map(|signal| signal.to_string())),
            shown("end", end_us.map(|end| end.to_string())),
        )?;
        if *retries > 0 {
            write!(f, " retries {retries}")?;
        }
        outputs.iter().try_for_each(|output| write!(f, " {}={:.8}", output.place, output.sha256))
    }
}

impl Seen {
    /// What an answer says of a task.
    #[must_use]
    pub fn of(task: &wire::Task) -> Self {
        let info = task.execution_info.clone().unwrap_or_default();
        let failure = info.failure_info.as_ref().map(wire::FailureInfo::cause);
        Self {
            state: state_of(task.state()),
            attempt: task.attempt,
            is_success: is_success(info.result()),
            exit_code: info.exit_code,
            signal: info.signal,
            cause: failure,
            retries: info.retry_count,
            end_us: info.end_time.map(|time| time.seconds * 1_000_000 + i64::from(time.nanos) / 1000),
            node: task.node_info.as_ref().map(|info| info.node_id.clone()).unwrap_or_default(),
            outputs: task.outputs.iter().map(output_of).collect(),
        }
    }
}

impl Tried {
    /// What an answer says of an attempt.
    #[must_use]
    pub fn of(attempt: &wire::TaskAttempt) -> Self {
        Self {
            attempt: attempt.attempt,
            node: attempt.node_id.clone(),
            exit_code: attempt.exit_code,
            is_success: is_success(attempt.result()) == Some(true),
            cause: attempt.failure_info.as_ref().map(wire::FailureInfo::cause),
        }
    }
}

fn state_of(state: wire::TaskState) -> State {
    match state {
        wire::TaskState::Unspecified => State::Unspecified,
        wire::TaskState::Active => State::Active,
        wire::TaskState::Preparing => State::Preparing,
        wire::TaskState::Running => State::Running,
        wire::TaskState::Completed => State::Completed,
    }
}

fn is_success(result: wire::ExecutionResult) -> Option<bool> {
    match result {
        wire::ExecutionResult::Unspecified => None,
        wire::ExecutionResult::Success => Some(true),
        wire::ExecutionResult::Failure => Some(false),
    }
}

fn output_of(entry: &wire::OutputManifestEntry) -> Output {
    let place = match &entry.destination {
        Some(wire::output_manifest_entry::Destination::FileStore(path)) => {
            format!("{}/{}", path.container, path.path)
        }
        Some(wire::output_manifest_entry::Destination::ObjectStoreUrl(url)) => url.clone(),
        None => String::new(),
    };
    Output { place, sha256: entry.sha256.clone() }
}

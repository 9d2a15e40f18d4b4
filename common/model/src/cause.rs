//! Why an attempt or a task failed: the closed list of causes, each a user's or a server's.
//!
//! User errors count against `max_task_retry_count`; server errors have a budget of their own and avoid the node
//! that caused them (docs/design: section 5). The reference's failureInfo codes (3.7) derive from the cause.

use crate::state::names;
use std::fmt;

names!(
    /// Whose fault a failure is.
    ErrorCategory, "error category" {
        /// The task's: its command, its files, its limits.
        User = "usererror",
        /// The service's or a machine's.
        Server = "servererror",
    }
);

names!(
    /// Why it failed. Closed: a new cause is added here, in the API and in docs/api.md.
    Cause, "cause" {
        /// The command exited with a code other than 0.
        ExitCode = "exit-code",
        /// A signal that Muster did not send ended the command.
        Signal = "signal",
        /// The task used more memory than its limit.
        OutOfMemory = "out-of-memory",
        /// The task ran longer than its max_wall_clock_time.
        WallClock = "wall-clock",
        /// The disk, or the task's share of it, is full.
        DiskFull = "disk-full",
        /// A resource file does not exist.
        StagingNotFound = "staging-not-found",
        /// The source of a resource file refused to give it.
        StagingDenied = "staging-denied",
        /// A resource file is not what it should be: wrong digest or size.
        StagingCorrupt = "staging-corrupt",
        /// The source of a resource file could not be reached, or broke off.
        StagingNetwork = "staging-network",
        /// The program of the command line does not exist.
        ProgramNotFound = "program-not-found",
        /// The command could not be started for another reason: not executable, bad quoting, unmet limits.
        LaunchFailed = "launch-failed",
        /// An output file could not be stored.
        UploadFailed = "upload-failed",
        /// The node was lost while it held the attempt.
        NodeLost = "node-lost",
        /// The node was taken back while it held the attempt.
        NodePreempted = "node-preempted",
        /// The job preparation task failed on the node.
        PreparationFailed = "preparation-failed",
        /// Somebody terminated the task or its job.
        Terminated = "terminated",
        /// A dependency can never be satisfied.
        DependencyFailed = "dependency-failed",
        /// A fault of Muster itself.
        Internal = "internal",
    }
);

impl Cause {
    /// Whose fault it is. A wall-clock or memory limit is the user's: the user set it.
    #[must_use]
    pub const fn category(self) -> ErrorCategory {
        match self {
            Self::ExitCode
            | Self::Signal
            | Self::OutOfMemory
            | Self::WallClock
            | Self::DiskFull
            | Self::StagingNotFound
            | Self::StagingDenied
            | Self::StagingCorrupt
            | Self::ProgramNotFound
            | Self::LaunchFailed
            | Self::UploadFailed
            | Self::Terminated
            | Self::DependencyFailed => ErrorCategory::User,
            Self::StagingNetwork
            | Self::NodeLost
            | Self::NodePreempted
            | Self::PreparationFailed
            | Self::Internal => ErrorCategory::Server,
        }
    }

    /// The reference's failureInfo code (azure-batch.md 3.7).
    #[must_use]
    pub const fn reference_code(self) -> &'static str {
        match self {
            Self::ExitCode | Self::Signal | Self::OutOfMemory => "FailureExitCode",
            Self::WallClock | Self::Terminated => "TaskEnded",
            Self::DiskFull => "DiskFull",
            Self::StagingNotFound => "BlobNotFound",
            Self::StagingDenied => "BlobAccessDenied",
            Self::StagingCorrupt => "BlobDownloadMiscError",
            Self::StagingNetwork => "BlobDownloadTimedOut",
            Self::ProgramNotFound => "CommandProgramNotFound",
            Self::LaunchFailed => "CommandLaunchFailed",
            Self::UploadFailed => "FileUploadMiscError",
            Self::NodeLost | Self::NodePreempted => "MaxInternalRetryCountReached",
            Self::PreparationFailed | Self::DependencyFailed => "TaskSchedulingConstraintFailed",
            Self::Internal => "Unknown",
        }
    }
}

/// The recorded reason of a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailureInfo {
    /// The cause, from the closed list.
    pub cause: Cause,
    /// One sentence for a person: the thing, the value, the limit, the way out.
    pub message: String,
    /// Further facts by name, such as `limit_bytes` and `peak_bytes`.
    pub details: Vec<(String, String)>,
}

impl FailureInfo {
    /// A failure without further facts.
    #[must_use]
    pub fn new(cause: Cause, message: impl Into<String>) -> Self {
        Self { cause, message: message.into(), details: Vec::new() }
    }

    /// The same failure with one more fact.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.details.push((name.to_owned(), value.to_string()));
        self
    }
}

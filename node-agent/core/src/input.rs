//! Everything that can happen to an agent: the door through which its core is told things.
//!
//! What the controller says carries the number of the session on which it came; words of a session that has been replaced
//! are ignored. What the shell answers (staged, launched, exited, collected) names its subject; answers that
//! come late or twice are ignored too.

use crate::subject::Subject;
use muster_model::cause::FailureInfo;
use muster_model::node::NodeError;
use muster_model::spec::RetryLimit;
use muster_model::state::OnLeaseExpiry;
use muster_model::{AttemptId, Excerpt, OutputEntry, TaskId, Timestamp, Usage};
use std::time::Duration;

/// The shell's number of one connection to the controller; grows with each.
pub type SessionId = u64;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The supervisor was reached, for the first time or again, and said all that it holds. Until the first time nothing
    /// is staged, started or ended.
    Supervised(Vec<Supervised>),
    /// A stream to the controller is open and waits for the Hello.
    SessionOpened(SessionId),
    /// A stream broke.
    SessionClosed(SessionId),
    /// The controller said something.
    Controller {
        /// On which stream.
        session: SessionId,
        /// What.
        message: ControllerMessage,
    },
    /// Staging ended: the bytes that were fetched, or why not.
    Staged {
        /// Whose.
        subject: Subject,
        /// Bytes fetched over the network.
        outcome: Result<u64, FailureInfo>,
    },
    /// The command was started, at this time, or could not be.
    Launched {
        /// Whose.
        subject: Subject,
        /// When, by the node's clock.
        outcome: Result<Timestamp, FailureInfo>,
    },
    /// The command ended.
    Exited {
        /// Whose.
        subject: Subject,
        /// How.
        exit: Exit,
    },
    /// Excerpts were taken and output files uploaded, or their upload failed.
    Collected {
        /// Whose.
        subject: Subject,
        /// What was kept.
        collected: Box<Collected>,
    },
    /// All that is wrong with the node now; nothing is when all is well. Said as often as the shell likes: what has not
    /// changed is not news, so an error keeps its words and its time for as long as it lasts.
    Health(Vec<NodeError>),
    /// An attempt has used its share of the disk, or has to go because the node's disk runs full: it is ended for that. Said
    /// before `Exited`, it also explains an end that comes just then by itself. Repeats mean nothing, and so does a start task.
    OverDisk {
        /// Whose.
        subject: Subject,
        /// What was measured.
        over: OverDisk,
    },
    /// The node's disk has less than its reserve: directories of ended attempts go before their time, a few at once.
    FreeDisk,
    /// Whether the journal takes the records of new attempts; it does until this is said. While it does not (the disk is full),
    /// nothing begins, and what is assigned waits, in no record: what runs goes on, and there is little to be recorded of it.
    Journal {
        /// Whether it does.
        writable: bool,
    },
    /// The deadline that `Agent::next_deadline` named has passed. Everything due is dealt with.
    DeadlinePassed,
    /// The agent is to stop and take its tasks along.
    Stop,
}

/// How an attempt stood to the disk when it had to end for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverDisk {
    /// The size that its directory may have; of an attempt without a limit, what the node had left for all.
    pub limit_bytes: u64,
    /// The size of its directory.
    pub used_bytes: u64,
}

/// What the supervisor holds of one subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Supervised {
    /// Whose.
    pub subject: Subject,
    /// How it stands.
    pub state: SupervisedState,
}

/// How a command of the supervisor stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SupervisedState {
    /// It runs since this time.
    Running(Timestamp),
    /// It ended, and the record has not been acknowledged.
    Exited(Exit),
}

/// What the controller says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ControllerMessage {
    /// The answer to the Hello.
    Welcome(Box<Welcome>),
    /// The lease goes on for `ttl` from when the heartbeat of this number was sent.
    LeaseGranted {
        /// The heartbeat's number.
        sequence: u64,
        /// For how long.
        ttl: Duration,
    },
    /// Attempts to run, in this order.
    Assign(Vec<Assignment>),
    /// Attempts to give back unless they have begun.
    Recall(Vec<AttemptId>),
    /// Attempts to end.
    Kill(Vec<Kill>),
    /// The terms of an attempt have changed; of one that the node does not hold it means nothing.
    Amend(Amendment),
    /// Reports up to this number are durable.
    Acknowledge(u64),
    /// New settings of the pool.
    Settings(NodeSettings),
    /// Runs the start task again.
    RunStartTask(StartTaskSettings),
    /// Directories that may go now, whatever their retention time.
    RemoveDirectories(Vec<AttemptId>),
    /// Leaves the pool.
    Leave,
    /// Restarts the machine as soon as nothing is held.
    Restart {
        /// Whether it is set up anew instead.
        reimage: bool,
    },
}

/// The controller's first word of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// How long a lease lasts; the first counts from the Hello.
    pub lease_ttl: Duration,
    /// How often to ask for it to go on; at most a third of it is used whatever is said here.
    pub heartbeat_interval: Option<Duration>,
    /// What the pool wants.
    pub settings: NodeSettings,
    /// What to do with each attempt that the Hello named.
    pub verdicts: Vec<(AttemptId, Verdict)>,
    /// Reports up to this number are durable.
    pub acknowledged: u64,
}

/// What to do with an attempt that the agent holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    Keep,
    /// It is not the current attempt: end it, publish nothing.
    Kill,
    /// Its result is durable: forget it.
    Acknowledged,
}

/// As much of an attempt's plan as decisions need; the rest stays with the shell, in the journal beside this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// Which attempt.
    pub attempt: AttemptId,
    /// Tells its task from an earlier one of the same id: grows with each creation; 0 if the controller does not say.
    pub incarnation: u64,
    /// How many slots it takes; 0 for a job preparation or release, which waits for none.
    pub slots: u32,
    /// How many GPUs it gets for itself.
    pub gpus: u32,
    /// From the start of staging until the command's end.
    pub wall_clock: Option<Duration>,
    /// How long its directory is kept after its end.
    pub retention: Duration,
    /// Memory limit in bytes, for the words of a failure.
    pub memory_limit_bytes: Option<u64>,
    /// Most bytes in its directory, for the words of a failure.
    pub disk_limit_bytes: Option<u64>,
    /// Most processes and threads at a time, for the words of a failure.
    pub process_limit: Option<u64>,
    /// Whether it has files to stage.
    pub has_files: bool,
    /// The job preparation task of its job: its directory stays for as long as the node holds this attempt.
    pub preparation: Option<TaskId>,
}

/// What may change of an attempt while the node holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// From the start of staging until the command's end; `None` is no limit.
    pub wall_clock: Option<Duration>,
    /// How long its directory is kept after its end.
    pub retention: Duration,
}

/// New terms of an attempt, in place of those before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Amendment {
    /// Which attempt.
    pub attempt: AttemptId,
    /// All its terms.
    pub terms: Terms,
}

/// One attempt to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kill {
    /// Which.
    pub attempt: AttemptId,
    /// Why.
    pub reason: KillReason,
    /// Between the polite signal and the kill; zero is at once.
    pub grace: Duration,
}

/// Why an attempt is ended, in the order of weight: of two reasons the later one here counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KillReason {
    /// Somebody terminated the task or its job.
    Terminated,
    /// It took longer than the attempt's wall-clock time before its command ran.
    WallClock,
    /// Its directory reached its limit, or the node's disk ran full and it had grown most.
    Disk,
    /// It is to run again elsewhere or later.
    Requeued,
    /// The agent stops and takes its tasks along, or the node leaves its pool.
    NodeStopping,
    /// The lease could not be renewed in time.
    LeaseEnded,
    /// Another attempt of the task is the current one, or the task was deleted.
    Stale,
}

impl KillReason {
    /// Whether nothing of the attempt may be published: it runs again elsewhere, or somebody else's result counts.
    #[must_use]
    pub const fn publishes_nothing(self) -> bool {
        match self {
            Self::Requeued | Self::NodeStopping | Self::LeaseEnded | Self::Stale => true,
            Self::Terminated | Self::WallClock | Self::Disk => false,
        }
    }
}

/// What the pool wants of its nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSettings {
    /// How many task slots the node has.
    pub task_slots: u32,
    /// What to do with attempts when the lease ends.
    pub on_lease_expiry: OnLeaseExpiry,
    /// The start task; `None` when the pool has none.
    pub start_task: Option<StartTaskSettings>,
}

/// As much of the start task as decisions need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartTaskSettings {
    /// Which version of the pool's start task this is.
    pub version: u64,
    /// How often it is tried again.
    pub max_retries: RetryLimit,
    /// Whether attempts wait for its success.
    pub wait_for_success: bool,
}

/// How a command ended, as the supervisor recorded it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// What the kernel said.
    pub ended: Ended,
    /// What made it end.
    pub by: EndedBy,
    /// When it started, if that is known.
    pub start_time: Option<Timestamp>,
    /// When it was seen to have ended.
    pub end_time: Timestamp,
    /// What it used, with the peak of its directory if that is limited; staged and uploaded bytes are filled in by the core.
    pub usage: Usage,
    /// How often the kernel killed a process of it for want of memory.
    pub oom_kills: u64,
    /// How often it was refused a further process or thread by its limit.
    pub refused_processes: u64,
}

/// How the main process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It exited with this code.
    Exited(i32),
    /// This signal ended it.
    Signaled(i32),
    /// How is not known: the machine was rebooted.
    Rebooted,
    /// How is not known: it ended unwatched, or its launch was cut short.
    Unknown,
}

/// What made a command end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndedBy {
    /// Its own doing, or a signal that Muster did not send.
    Itself,
    /// The wall-clock limit.
    WallClock,
    /// Want of memory.
    OutOfMemory,
    /// The agent asked for it.
    Requested,
    /// The supervisor, because the lease that it was told of had ended.
    LeaseEnded,
    /// The supervisor was told to take all tasks along.
    Shutdown,
}

/// What was kept of an attempt after its command ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Collected {
    /// First and last part of stdout.
    pub stdout: Excerpt,
    /// First and last part of stderr.
    pub stderr: Excerpt,
    /// The files that were uploaded.
    pub outputs: Vec<OutputEntry>,
    /// Bytes that were uploaded, without those that were there already.
    pub uploaded_bytes: u64,
    /// Why uploading failed, when it did; `outputs` is then not published.
    pub failure: Option<FailureInfo>,
}

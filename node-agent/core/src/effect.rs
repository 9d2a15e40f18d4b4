//! What the shell must do, in this order.
//!
//! Effects are data: nothing in the core can send, start or delete. An effect is complete but for the plan, which the
//! shell keeps by attempt. Records for the journal come before everything else of the same step.
//!
//! When the shell may carry out what is the rule of the journal: see [`Effect`].

use crate::input::SessionId;
use crate::record::Record;
use crate::report::NumberedReport;
use crate::subject::Subject;
use muster_model::AttemptId;
use muster_model::node::StartTaskInfo;
use muster_model::state::AttemptPhase;
use std::time::Duration;

/// One thing to do.
///
/// **The rule of the journal.** A record is *safe* when it survives the death of the agent. The shell carries out the effects
/// of a step, in the order of all steps, once every record of this step and of all steps before it is safe; but what
/// [`Effect::is_urgent`] names is done at once, whatever the journal does: heartbeats, the Hello, closing a session. The lease
/// of a [`Record::Lease`] reaches the supervisor at once, too. So of an agent that dies, the next one knows: everything
/// that was staged, launched, ended on purpose or acknowledged to the supervisor, and every report that was said. What it may
/// have forgotten is what nobody was told but by a Hello, and [`crate::agent`] says why that does no harm.
///
/// While the journal takes nothing (a full disk), the shell says so by [`crate::Input::Journal`]; the records of steps wait in
/// memory, and their effects with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Write to the journal.
    Append(Record),
    /// Say something to the controller; dropped if that session is gone.
    Send {
        /// On which stream.
        session: SessionId,
        /// What.
        message: AgentMessage,
    },
    /// Close this stream and connect anew.
    CloseSession(SessionId),
    /// Make the directory and fetch the files; answered by `Staged`, also when it is cancelled.
    Stage(Subject),
    /// Start the command; answered by `Launched`. Safe to repeat: the supervisor knows the subject.
    Launch {
        /// Whose.
        subject: Subject,
        /// How much of the wall-clock time is left.
        wall_clock: Option<Duration>,
        /// The GPUs that are its own; empty if it asked for none.
        gpus: Vec<u32>,
    },
    /// Set the wall-clock limit of a running command in place of the one before. Safe to repeat.
    Limit {
        /// Whose.
        subject: Subject,
        /// From the command's start; `None` is no limit. It may have passed: then the command ends by it now.
        wall_clock: Option<Duration>,
    },
    /// Break off staging or uploading; the usual answer follows.
    Cancel(Subject),
    /// End the command; `Exited` follows.
    Kill {
        /// Whose.
        subject: Subject,
        /// Between the polite signal and the kill; zero is at once.
        grace: Duration,
    },
    /// Tell the supervisor that the exit record is safe in the journal.
    AcknowledgeExit(Subject),
    /// Take excerpts and upload output files; answered by `Collected`.
    Collect {
        /// Whose.
        subject: Subject,
        /// Which output files are meant; `None` uploads nothing.
        upload: Option<UploadOf>,
    },
    /// Remove the directories of these attempts.
    RemoveDirectories(Vec<AttemptId>),
    /// Nothing is held: restart the machine by the operator's command. A failure of the command is told as health.
    Restart {
        /// Whether it is set up anew instead.
        reimage: bool,
    },
    /// Everything has ended: forget the identity and exit.
    Leave,
    /// Everything has ended: end the supervisor and exit.
    Stopped,
}

impl Effect {
    /// Whether this waits for no record: the node keeps its lease, whatever its disk does.
    #[must_use]
    pub const fn is_urgent(&self) -> bool {
        match self {
            Self::CloseSession(_) => true,
            Self::Send { message, .. } => match message {
                AgentMessage::Hello(_) | AgentMessage::Heartbeat { .. } => true,
                AgentMessage::Reports(_) => false,
            },
            Self::Append(_)
            | Self::Stage(_)
            | Self::Launch { .. }
            | Self::Limit { .. }
            | Self::Cancel(_)
            | Self::Kill { .. }
            | Self::AcknowledgeExit(_)
            | Self::Collect { .. }
            | Self::RemoveDirectories(_)
            | Self::Restart { .. }
            | Self::Leave
            | Self::Stopped => false,
        }
    }
}

/// Which output files are uploaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UploadOf {
    /// Those of a command that exited with 0.
    Success,
    /// Those of a command that ended in any other way.
    Failure,
}

/// What the agent says to the controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentMessage {
    /// The first word of a session; the shell adds the machine's facts.
    Hello(Hello),
    /// Asks for the lease to go on.
    Heartbeat {
        /// Grows by one.
        sequence: u64,
    },
    /// What happened, in the order of the numbers.
    Reports(Vec<NumberedReport>),
}

/// What the agent holds when it connects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// Attempts that are not known to be acknowledged as finished.
    pub held: Vec<HeldAttempt>,
    /// The start task since the boot.
    pub start_task: Option<StartTaskInfo>,
    /// The oldest report that is not acknowledged, or the next one.
    pub next_report: u64,
}

/// An attempt and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldAttempt {
    /// Which.
    pub attempt: AttemptId,
    /// Where.
    pub phase: AttemptPhase,
    /// The incarnation of its task; 0 for a finished one, of which only the result is kept.
    pub incarnation: u64,
}

/// Why the agent wants to be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeadlineReason {
    /// The lease ends.
    LeaseEnds,
    /// A heartbeat is due.
    HeartbeatDue,
    /// The controller has not answered a heartbeat in time.
    ControllerSilent,
    /// An attempt has been staging for its whole wall-clock time.
    StagingTooLong,
    /// The start task is to be tried again.
    StartTaskRetry,
    /// Directories have been kept for as long as they should.
    DirectoriesDue,
    /// Stopping or leaving has taken long enough.
    StopTimeout,
}

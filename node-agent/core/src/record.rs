//! What the journal holds: each record is one change of the [`crate::ledger::Ledger`].
//!
//! The live state is made of the same records in the same way, so replaying a journal gives the state that wrote it. How a record
//! becomes bytes is the daemon's business; it writes the plan beside `Accepted`.

use crate::attempt::{Attempt, State};
use crate::input::{KillReason, NodeSettings, OverDisk, Terms};
use crate::report::NumberedReport;
use crate::start_task::StartTask;
use crate::time::Monotonic;
use muster_model::{AttemptId, Timestamp};

/// One change of what the agent must not forget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// An attempt was accepted (or, in a compacted journal, is as it says).
    Accepted(Box<Attempt>),
    /// An attempt came into a new state.
    Moved {
        /// Which.
        attempt: AttemptId,
        /// The state.
        state: State,
    },
    /// An attempt has GPUs of its own until its end.
    Equipped {
        /// Which.
        attempt: AttemptId,
        /// Their numbers on this node.
        gpus: Vec<u32>,
    },
    /// The terms of an attempt have changed.
    Amended {
        /// Which.
        attempt: AttemptId,
        /// All of them.
        terms: Terms,
    },
    /// An attempt is to end.
    Killed {
        /// Which.
        attempt: AttemptId,
        /// Why.
        reason: KillReason,
    },
    /// An attempt has used its share of the disk; that it is ended for it is another record.
    OverDisk {
        /// Which.
        attempt: AttemptId,
        /// What was measured.
        over: OverDisk,
    },
    /// Whether the controller still counts an attempt.
    Disowned {
        /// Which.
        attempt: AttemptId,
        /// Whether its end is told to nobody.
        disowned: bool,
    },
    /// An attempt is over; its report comes with it, the first time. Its directory stays until then.
    Ended {
        /// Which.
        attempt: AttemptId,
        /// Its task's; 0 if the node never held it.
        incarnation: u64,
        /// When the directory may go.
        keep_until: Timestamp,
    },
    /// An attempt was given back before it began; nothing of it is left.
    GivenBack(AttemptId),
    /// A report waits to be acknowledged.
    Reported(NumberedReport),
    /// Reports up to this number are acknowledged.
    Acknowledged(u64),
    /// What waits about this attempt is not wanted any more.
    ReportDropped(AttemptId),
    /// Numbers go on from here at least.
    NumbersFrom {
        /// The next report's.
        report: u64,
        /// The next run of the start task.
        run: u64,
    },
    /// The pool's settings.
    Settings(NodeSettings),
    /// Until when the lease lasts; `None` when it has ended.
    Lease(Option<Monotonic>),
    /// The start task came into a new state.
    StartTask(Box<StartTask>),
    /// Directories were removed.
    Removed(Vec<AttemptId>),
}

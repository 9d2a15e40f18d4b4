//! Everything that can be queued to happen at a time.
//!
//! Only what it is about; what each event does stands in `events`. Late ones may find that what they are about is gone, so they
//! name machines, sessions and starts by numbers that are never used again.

use crate::supervisor::Keyed;
use muster_agent_core::Input as AgentInput;
use muster_agent_core::effect::AgentMessage;
use muster_agent_core::input::{ControllerMessage, Ended, EndedBy};
use muster_controller_core::reject::Reject;
use muster_controller_core::reply::Reply;
use muster_model::NodeId;

/// One thing that will happen.
#[derive(Debug)]
pub(crate) enum Event {
    /// Without a message the agent's end of the stream is closed.
    ToController {
        machine: usize,
        session: u64,
        message: Option<AgentMessage>,
    },
    /// Without a message the controller's end of the stream is closed.
    ToAgent {
        machine: usize,
        session: u64,
        message: Option<Box<ControllerMessage>>,
    },
    /// One end of a session finds out that nothing comes from the other, if that is still so.
    Notices {
        machine: usize,
        session: u64,
        of_agent: bool,
    },
    Answer {
        machine: usize,
        incarnation: u64,
        input: Box<AgentInput>,
    },
    /// The disk of a machine has written what its agent gave it.
    Written {
        machine: usize,
        incarnation: u64,
    },
    /// There is room on the disk of a machine.
    Room {
        machine: usize,
    },
    /// The agent reaches its supervisor.
    Reattach {
        machine: usize,
        incarnation: u64,
    },
    ProcessEnds {
        machine: usize,
        boot: u32,
        key: Keyed,
        ended: Ended,
        by: EndedBy,
    },
    Connect {
        machine: usize,
    },
    StartAgent {
        machine: usize,
    },
    /// A stopped agent goes on.
    Thaws {
        machine: usize,
    },
    StartSupervisor {
        machine: usize,
        boot: u32,
    },
    /// Something is no longer wrong with a machine.
    Recovers {
        machine: usize,
        code: &'static str,
    },
    /// The link of a machine is whole again.
    Heals {
        machine: usize,
    },
    /// A machine asks to be a node.
    Joins {
        machine: usize,
    },
    /// The request of a machine that asks to be a node arrives.
    JoinArrives {
        machine: usize,
    },
    /// A machine hears as which node it joined.
    Joined {
        machine: usize,
        node: NodeId,
    },
    /// A commit has ended.
    Committed {
        epoch: u64,
    },
    /// A client sends its request for the first time or again.
    Asks(u64),
    /// The request of a client arrives.
    Request(u64),
    /// A client hears an answer.
    Answered {
        call: u64,
        reply: Box<Result<Reply, Reject>>,
    },
    /// The controller that was started as this one dies, if it has not yet.
    KillController {
        epoch: u64,
    },
    StartController,
    /// The next line of the script.
    Happens(usize),
    /// All wishes have been told and nothing breaks any more.
    Calm,
    /// Whatever was held up is let go.
    Close,
    /// An operator removes nodes that will never be seen again.
    Bury,
    /// Somebody's deadline has come.
    Look,
}

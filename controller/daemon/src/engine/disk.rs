//! Whether the disk of the store has room, and what may come in while it has none.
//!
//! The writer finds out (a commit fails for want of space) and says so here; the inbox asks before it lets anything in, and
//! whoever watches (the health service) is told. Three states:
//!
//! * `Enough`: everything goes in.
//! * `Reserve`: what the store kept free is being used up. What nodes say goes in, so that what runs can end and is
//!   recorded, and what only stops or removes; nothing that adds.
//! * `Exhausted`: nothing can be stored. Only reports of nodes go in, until the batch that grows is full, and heartbeats.

use super::error::SubmitError;
use muster_controller_core::input::{Command, Input, NodeInput};
use tokio::sync::watch;

/// Whether what is decided can be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DiskSpace {
    /// It can.
    #[default]
    Enough,
    /// The disk is full; the store lives on what it kept in reserve.
    Reserve,
    /// It cannot: commits wait for room.
    Exhausted,
}

/// The state of the disk, shared by all who ask.
#[derive(Debug, Clone, Default)]
pub(super) struct Disk(watch::Sender<DiskSpace>);

impl Disk {
    pub(super) fn space(&self) -> DiskSpace {
        *self.0.borrow()
    }

    pub(super) fn watch(&self) -> watch::Receiver<DiskSpace> {
        self.0.subscribe()
    }

    pub(super) fn set(&self, space: DiskSpace) {
        self.0.send_replace(space);
    }

    /// # Errors
    /// [`SubmitError::DiskFull`] for what must wait outside.
    pub(super) fn admit(&self, input: &Input) -> Result<(), SubmitError> {
        let admitted = match self.space() {
            DiskSpace::Enough => true,
            DiskSpace::Reserve => goes_on_the_reserve(input),
            DiskSpace::Exhausted => goes_without_room(input),
        };
        if admitted { Ok(()) } else { Err(SubmitError::DiskFull) }
    }

    /// An answer waits for what was decided before it; while nothing is stored it would wait for ever.
    ///
    /// # Errors
    /// [`SubmitError::DiskFull`].
    pub(super) fn admit_query(&self) -> Result<(), SubmitError> {
        match self.space() {
            DiskSpace::Enough | DiskSpace::Reserve => Ok(()),
            DiskSpace::Exhausted => Err(SubmitError::DiskFull),
        }
    }
}

fn goes_on_the_reserve(input: &Input) -> bool {
    match input {
        Input::Client { command, .. } => only_stops_or_removes(command),
        Input::Node(NodeInput::Join { .. }) => false,
        Input::Node(
            NodeInput::Connected(_)
            | NodeInput::Disconnected { .. }
            | NodeInput::Heartbeat { .. }
            | NodeInput::Reports { .. },
        )
        | Input::DeadlinePassed => true,
    }
}

const fn goes_without_room(input: &Input) -> bool {
    match input {
        // A node that connects would wait for its Welcome; better it hears that it must come again.
        Input::Client { .. } | Input::Node(NodeInput::Join { .. } | NodeInput::Connected(_)) => false,
        Input::Node(
            NodeInput::Disconnected { .. } | NodeInput::Heartbeat { .. } | NodeInput::Reports { .. },
        )
        | Input::DeadlinePassed => true,
    }
}

/// Whether a command can only make less to do and less to keep.
const fn only_stops_or_removes(command: &Command) -> bool {
    match command {
        Command::StopResize { .. }
        | Command::DeletePool { .. }
        | Command::RevokeJoinToken { .. }
        | Command::RemoveNodes { .. }
        | Command::DisableScheduling { .. }
        | Command::TerminateJob { .. }
        | Command::DisableJob { .. }
        | Command::DeleteJob { .. }
        | Command::TerminateTask { .. }
        | Command::DeleteTask { .. }
        | Command::TerminateSweep { .. }
        | Command::DeleteSweep { .. }
        | Command::DeleteFiles { .. }
        | Command::DeleteContainer { .. } => true,
        Command::CreateAccount(_)
        | Command::RegenerateKey { .. }
        | Command::CreatePool(_)
        | Command::UpdatePool { .. }
        | Command::ResizePool { .. }
        | Command::CreateJoinToken(_)
        | Command::EnableScheduling { .. }
        | Command::RestartNode { .. }
        | Command::CreateJob(_)
        | Command::UpdateJob { .. }
        | Command::EnableJob { .. }
        | Command::CreateTasks { .. }
        | Command::UpdateTask { .. }
        | Command::ReactivateTask { .. }
        | Command::CreateSweep { .. }
        | Command::ReactivateSweep { .. }
        | Command::PutFile { .. } => false,
    }
}

//! What waits for the journal: records that are to be written, and effects that may follow once they are.
//!
//! While the scribe writes one frame the next is filled; effects are held until the frame with their records and all frames
//! before it are safe. With a fast disk that is a hop to a thread; with one that is slow or full the node goes on with what
//! needs no record (`Effect::is_urgent`).
//!
//! Invariant: effects leave in the order in which they came, none before its records are safe.

use super::error::DriverError;
use crate::journal::{Frame, Scribe, Told};
use muster_agent_core::{Effect, SessionId};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Bytes of records that may wait for a full disk, those of what runs; then the agent gives up, and the next one takes what
/// runs over.
const WAITING_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Effects that may wait, likewise: those of as many attempts as a node can hold.
const HELD_MAX: usize = 100_000;
/// From when on a disk that does not take a frame is worth a word.
const SLOW: Duration = Duration::from_secs(5);

/// Records and effects between the core and the disk.
#[derive(Debug)]
pub(super) struct Records {
    scribe: Scribe,
    /// What is being filled.
    frame: Frame,
    /// Its number.
    filling: u64,
    /// Frames up to this one are safe.
    safe: u64,
    /// Since when the one before is being written.
    busy: Option<Instant>,
    /// Effects, each with the frame that it waits for.
    held: VecDeque<(u64, Effect)>,
    wants_compaction: bool,
}

impl Records {
    pub(super) fn new(scribe: Scribe) -> Self {
        Self {
            scribe,
            frame: Frame::new(),
            filling: 1,
            safe: 0,
            busy: None,
            held: VecDeque::new(),
            wants_compaction: false,
        }
    }

    /// Takes a record.
    pub(super) fn append(&mut self, record: &[u8]) {
        self.frame.append(record);
    }

    /// Takes an effect that follows the records up to here.
    pub(super) fn hold(&mut self, effect: Effect) {
        let after = if self.frame.is_empty() { self.filling.saturating_sub(1) } else { self.filling };
        self.held.push_back((after, effect));
    }

    /// Gives what was taken to the scribe, if it is free; `snapshot` makes the records of a shorter journal.
    pub(super) fn pass_on(&mut self, snapshot: impl FnOnce() -> Vec<Vec<u8>>) -> Result<(), DriverError> {
        let (bytes, effects) = (self.frame.len(), self.held.len());
        if bytes > WAITING_BYTES_MAX || effects > HELD_MAX {
            return Err(DriverError::TooMuchWaits { bytes, effects });
        }
        if self.busy.is_some() || self.frame.is_empty() {
            return Ok(());
        }
        let frame = std::mem::replace(&mut self.frame, Frame::new());
        if std::mem::take(&mut self.wants_compaction) {
            self.scribe.compact(snapshot(), frame);
        } else {
            self.scribe.write(frame);
        }
        self.busy = Some(Instant::now());
        self.filling = self.filling.saturating_add(1);
        Ok(())
    }

    /// The next effect that may be carried out.
    pub(super) fn next_safe(&mut self) -> Option<Effect> {
        let (_, effect) = self.held.pop_front_if(|(after, _)| *after <= self.safe)?;
        Some(effect)
    }

    /// Lets go of what was to be said on any other session than this one: it is said anew on that.
    pub(super) fn forget_sessions_but(&mut self, open: Option<SessionId>) {
        self.held.retain(|(_, effect)| match effect {
            Effect::Send { session, .. } => Some(*session) == open,
            Effect::Append(_)
            | Effect::CloseSession(_)
            | Effect::Stage(_)
            | Effect::Launch { .. }
            | Effect::Limit { .. }
            | Effect::Cancel(_)
            | Effect::Kill { .. }
            | Effect::AcknowledgeExit(_)
            | Effect::Collect { .. }
            | Effect::RemoveDirectories(_)
            | Effect::Restart { .. }
            | Effect::Leave
            | Effect::Stopped => true,
        });
    }

    /// Waits for the scribe's next word. Safe to drop.
    pub(super) async fn told(&mut self) -> Option<Told> {
        self.scribe.told().await
    }

    /// Takes the scribe's word; answers whether there is room for what begins, if that is what it says.
    pub(super) fn heard(&mut self, told: Option<Told>) -> Result<Option<bool>, DriverError> {
        match told {
            Some(Told::Safe { wants_compaction }) => {
                self.safe = self.filling.saturating_sub(1);
                self.wants_compaction |= wants_compaction;
                if let Some(took) = self.busy.take().map(|since| since.elapsed()).filter(|took| *took >= SLOW)
                {
                    tracing::warn!(
                        ?took,
                        "the node's disk was slow to take records of the agent; nothing began meanwhile"
                    );
                }
                Ok(None)
            }
            Some(Told::Room(has_room)) => Ok(Some(has_room)),
            Some(Told::Failed(error)) => Err(error.into()),
            None => Err(DriverError::PartEnded),
        }
    }

    /// Whether all records are safe.
    pub(super) const fn are_safe(&self) -> bool {
        self.frame.is_empty() && self.busy.is_none()
    }
}

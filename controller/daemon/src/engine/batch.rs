//! What one transaction makes durable, and what leaves once it is.
//!
//! Filled by the engine thread, emptied by the writer. Records and what goes out are kept in the order in which they were
//! decided; the room in the inbox that the inputs take is given back with the batch.

use muster_controller_core::effect::Effect;
use muster_controller_core::record::Record;
use tokio::sync::OwnedSemaphorePermit;

/// Something to do when the batch is durable: tell a reply or the answer to a query.
pub(super) type Release = Box<dyn FnOnce() + Send>;

/// Inputs in one batch: at half a million records a second a batch of this size commits in about 10 ms, the longest
/// that an acknowledgement should wait for others.
pub(super) const BATCH_INPUTS_MAX: usize = 4096;

/// Weight of one batch in KiB: as much as the largest request, so that one of those is a batch by itself.
const BATCH_WEIGHT_MAX: u32 = 8 * 1024;

/// Records of one batch, and as many things that leave with it. A small input may decide much (a job's tasks are terminated):
/// one step more than this is the most that a batch holds, whatever its inputs weigh.
const BATCH_RECORDS_MAX: usize = 65_536;

/// A batch under construction or under way.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) records: Vec<Record>,
    /// Replies, answers and effects in the order in which they were decided.
    pub(super) outgoing: Vec<Outgoing>,
    pub(super) inputs: usize,
    weight: u32,
    /// The room in the inbox that the inputs take; given back with the batch.
    rooms: Vec<OwnedSemaphorePermit>,
}

/// One thing that leaves with a batch.
pub(super) enum Outgoing {
    /// To whoever waits for it in this process.
    Release(Release),
    /// To a node.
    Effect(Effect),
}

impl Batch {
    /// Counts one more input.
    pub(super) fn count(&mut self, weight: u32, room: Option<OwnedSemaphorePermit>) {
        self.inputs += 1;
        self.weight = self.weight.saturating_add(weight);
        self.rooms.extend(room);
    }

    pub(super) fn is_full(&self) -> bool {
        self.inputs >= BATCH_INPUTS_MAX
            || self.weight >= BATCH_WEIGHT_MAX
            || self.records.len() >= BATCH_RECORDS_MAX
            || self.outgoing.len() >= BATCH_RECORDS_MAX
    }

    /// Whether nothing went into it.
    pub(super) fn is_empty(&self) -> bool {
        self.inputs == 0
    }
}

//! One call of a client: what it wants, what was granted, what it heard.
//!
//! It is asked for under one request id until an answer is heard, or given up (`calls`). How long its messages take, and which
//! are lost, is drawn from the call itself, so that it goes the same way whatever else is left out of a story.

use crate::chance::Chance;
use crate::script::Wish;
use muster_controller_core::input::Command;
use muster_controller_core::reject::Reject;
use muster_controller_core::reply::Reply;
use muster_model::Timestamp;
use std::time::Duration;

/// How often a client asks before it gives up.
pub(crate) const TRIES_MAX: u8 = 6;

/// One thing that a client wants.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) wish: Wish,
    pub(crate) command: Command,
    /// With an etag that nothing has.
    pub(crate) stale: bool,
    pub(crate) tries: u8,
    /// What was granted, once that is durable.
    pub(crate) granted: Option<Reply>,
    /// The answer that the client heard.
    pub(crate) heard: Option<Result<Reply, Reject>>,
    pub(crate) chance: Chance,
}

impl Call {
    /// What a client wants, from now on.
    pub(crate) fn new(seed: u64, now: Timestamp, wish: Wish, command: Command, stale: bool) -> Self {
        let chance = Chance::of(seed, &format!("call at {now:?}: {wish:?}"));
        Self { wish, command, stale, tries: 0, granted: None, heard: None, chance }
    }

    /// Milliseconds that a message takes, if it comes: mostly few, sometimes as many as a client waits.
    pub(crate) fn takes(&mut self) -> Option<Duration> {
        let millis = match self.chance.below(32) {
            0 => self.chance.below(9_000),
            1 | 2 => return None,
            _ => self.chance.below(60),
        };
        Some(Duration::from_millis(millis))
    }
}

//! What all sessions share: the ways to the rest of the process, the settings, and three bounded memories.
//!
//! It holds and decides nothing. The memories (`granted`, `uploaded`, `recent_joins`) go with the process; what must
//! outlive a restart is in the store and is asked for through the engine.

use super::granted::Granted;
use super::recent_joins::RecentJoins;
use super::report_line::ReportRoom;
use super::uploaded::Uploaded;
use crate::auth::NodeIdentity;
use crate::blobs::Blobs;
use crate::board::Board;
use crate::ca::Authority;
use crate::engine::EngineHandle;
use crate::relay::Relay;
use muster_controller_core::input::NodeKey;
use muster_model::Timestamp;
use muster_runtime::clock;
use muster_runtime::shutdown::Shutdown;
use std::sync::Arc;
use std::time::Duration;

/// What an operator may set about sessions.
#[derive(Debug, Clone)]
pub struct SessionSettings {
    /// The lease that the core grants: told to agents in the Welcome.
    pub lease_ttl: Duration,
    /// How long a node's certificate lasts.
    pub node_certificate_life: Duration,
    /// The URL of the client API, for `AZ_BATCH_ACCOUNT_URL`.
    pub account_url: String,
    /// How many attempts a node may hold beyond its slots, for each slot: the core's setting.
    pub ahead_per_slot_max: u32,
}

/// What all sessions share.
#[derive(Debug)]
pub struct SessionContext {
    /// The engine.
    pub engine: EngineHandle,
    /// Reads of files on nodes.
    pub relay: Relay,
    /// What nodes use at the moment.
    pub board: Board,
    /// Content.
    pub blobs: Blobs,
    /// Signs nodes' certificates.
    pub authority: Arc<Authority>,
    /// Settings.
    pub settings: SessionSettings,
    /// The order to stop.
    pub shutdown: Shutdown,
    pub(super) granted: Granted,
    pub(super) uploaded: Uploaded,
    pub(super) started: Timestamp,
    pub(super) recent_joins: RecentJoins,
    pub(super) report_room: ReportRoom,
}

impl SessionContext {
    /// A context without sessions.
    #[must_use]
    pub fn new(
        engine: EngineHandle,
        relay: Relay,
        board: Board,
        blobs: Blobs,
        authority: Arc<Authority>,
        settings: SessionSettings,
        shutdown: Shutdown,
    ) -> Self {
        Self {
            engine,
            relay,
            board,
            blobs,
            authority,
            settings,
            shutdown,
            granted: Granted::default(),
            uploaded: Uploaded::default(),
            started: Timestamp::from_micros(clock::wall_us()),
            recent_joins: RecentJoins::default(),
            report_room: ReportRoom::default(),
        }
    }
}

/// The node's name in the words of the core.
pub(super) fn key_of(identity: &NodeIdentity) -> NodeKey {
    NodeKey { account: identity.account.clone(), node: identity.node.clone() }
}

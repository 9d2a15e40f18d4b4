//! tonic above our connections, with every bound that HTTP/2 offers, and an end in order.
//!
//! Goes in: a port, TLS, the gate and routes. Runs until the order to stop; then calls under way have a bounded time to
//! end. Streams that have no end of their own end themselves when the order comes (sessions, watches).

use super::deadline::DeadlineLayer;
use super::error::ServeError;
use super::incoming::Bound;
use crate::admission::{Shares, ThresholdLayer, TurnstileLayer};
use crate::auth::GateLayer;
use muster_runtime::shutdown::{Drained, Shutdown};
use muster_runtime::tls::{AcceptLimits, ServerConfig};
use std::sync::Arc;
use std::time::Duration;
use tonic::service::Routes;
use tonic::transport::Server;

/// Calls of one connection at one time: a busy client's, and all transfers of one node.
const STREAMS_MAX: u32 = 1024;

/// Headers of one call: a token of 4 KiB and room for a proxy's additions.
const HEADER_BYTES_MAX: u32 = 16 * 1024;

/// Bytes that a peer may send ahead in one call; enough for a fast link of some latency.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;

/// The same for all calls of a connection together.
const CONNECTION_WINDOW_BYTES: u32 = 8 * 1024 * 1024;

/// How often a silent peer is asked whether it is there, and how long it may take to say so: together below the
/// default lease, so that a dead connection is known before the lease ends.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);
const KEEPALIVE_WAIT: Duration = Duration::from_secs(10);

/// How long calls may go on after the order to stop. Sessions and watches end at once by themselves.
const DRAIN_MAX: Duration = Duration::from_secs(10);

/// Calls that a peer has begun and taken back before they were looked at; one with more of them does nothing else
/// (CVE-2023-44487), and its connection is closed.
const RESETS_PENDING_MAX: usize = 20;

/// Calls of one connection that were reset here because of what the peer did wrong; one with more has its connection closed.
const RESETS_BY_ERROR_MAX: usize = 256;

/// Serves these routes behind the gate until `shutdown` begins and the calls under way have ended or had their time.
///
/// # Errors
/// [`ServeError::Server`].
pub async fn run(
    bound: Bound,
    tls: Arc<ServerConfig>,
    limits: AcceptLimits,
    gate: GateLayer,
    shares: Shares,
    routes: Routes,
    shutdown: Shutdown,
) -> Result<(), ServeError> {
    let address = bound.address();
    let connections = bound.connections(tls, limits)?;
    let stop = shutdown.clone();
    let serving = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_EVERY))
        .http2_keepalive_timeout(Some(KEEPALIVE_WAIT))
        .max_concurrent_streams(STREAMS_MAX)
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_max_pending_accept_reset_streams(Some(RESETS_PENDING_MAX))
        .http2_max_local_error_reset_streams(Some(RESETS_BY_ERROR_MAX))
        .layer(DeadlineLayer)
        .layer(ThresholdLayer::new(&shares))
        .layer(gate)
        .layer(TurnstileLayer::new(shares))
        .add_routes(routes)
        .serve_with_incoming_shutdown(connections, async move { stop.begun().await });
    match shutdown.drain(DRAIN_MAX, serving).await {
        Drained::Done(ended) => ended.map_err(|cause| ServeError::Server { address, cause }),
        Drained::Late => {
            tracing::warn!(%address, limit = ?DRAIN_MAX, "calls that did not end in time are cut off");
            Ok(())
        }
        Drained::Forced => Ok(()),
    }
}

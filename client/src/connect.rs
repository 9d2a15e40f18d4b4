//! The connection to a controller: one lazy HTTP/2 channel over TLS that all calls of a client share.
//!
//! Goes in: endpoint and trusted CA certificates. Comes out: a tonic `Channel` that connects at its first call and again
//! after a broken connection. TLS itself is `muster_runtime::tls`; what its errors mean for a retry is said here.

use std::error::Error;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use muster_runtime::tls::{self, CertificateDer, ServerName};
use tonic::transport::{Channel, Uri};

use crate::credentials::CredentialError;
use crate::endpoint::Endpoint;

/// How long name resolution, TCP and TLS may take together: several round trips to the other side of the world.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// How often an idle but watched connection is asked for a sign of life, so that a watch does not wait for ever on a
/// controller that was unplugged.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);

/// How long that sign of life may take.
const KEEP_ALIVE_LIMIT: Duration = Duration::from_secs(10);

/// Bytes under way on one stream without an acknowledgement: 100 Mbit/s at 300 ms.
const STREAM_WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// Bytes under way on all streams of the connection: four full streams.
const CONNECTION_WINDOW_BYTES: u32 = 4 * STREAM_WINDOW_BYTES;

/// Why a client cannot even be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The CA certificates cannot be used.
    #[error("the CA certificate of the controller cannot be used for TLS")]
    Authorities(#[source] tls::ConfigError),
    /// The token that was given cannot be one.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    /// The host is not a name that a certificate can have.
    #[error("'{host}' is neither a host name nor an address that a certificate can be for")]
    Host {
        /// The host of the endpoint.
        host: String,
    },
    /// The HTTP library refuses the address.
    #[error("'{authority}' is not an address")]
    Address {
        /// Host and port of the endpoint.
        authority: String,
    },
}

/// A channel to the controller. Nothing is connected before the first call. Must be called inside a tokio runtime.
pub(crate) fn channel(
    endpoint: &Endpoint,
    authorities: &[CertificateDer<'static>],
) -> Result<Channel, SetupError> {
    let config = tls::client_config(authorities, None).map_err(SetupError::Authorities)?;
    let name = ServerName::try_from(endpoint.host().to_owned())
        .map_err(|_| SetupError::Host { host: endpoint.host().to_owned() })?;
    let authority = endpoint.authority();
    let uri = |scheme: &str| {
        format!("{scheme}://{authority}")
            .parse::<Uri>()
            .map_err(|_| SetupError::Address { authority: authority.clone() })
    };
    let address = authority.clone();
    let connector = tower::service_fn(move |_: Uri| {
        let (address, name, config) = (address.clone(), name.clone(), config.clone());
        async move { tls::connect(&address, name, config, CONNECT_LIMIT).await.map(TokioIo::new) }
    });
    // To tonic the connector is a plain one, so that it does not add a TLS of its own; the origin is what it really is.
    let channel = tonic::transport::Endpoint::from(uri("http")?)
        .origin(uri("https")?)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_LIMIT)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .connect_with_connector_lazy(connector);
    Ok(channel)
}

/// What our own connector said, if that is why a call failed.
pub(crate) fn connect_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a tls::ConnectError> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<tls::ConnectError>() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// Whether the same attempt may succeed a moment later: a controller that restarts is unreachable for a while, a wrong
/// certificate stays wrong.
pub(crate) fn may_pass(error: &tls::ConnectError) -> bool {
    match error {
        tls::ConnectError::Unreachable { .. } | tls::ConnectError::Late { .. } => true,
        // A handshake that is cut off is a controller that just stops; anything else is not the controller's port.
        tls::ConnectError::Handshake { source, .. } => {
            matches!(source.kind(), std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::ConnectionReset)
        }
        tls::ConnectError::Untrusted { .. }
        | tls::ConnectError::Pin { .. }
        | tls::ConnectError::WrongName { .. }
        | tls::ConnectError::NotToday { .. } => false,
    }
}

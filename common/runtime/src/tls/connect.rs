//! Opening a TLS stream to a server within a deadline, with errors that say what to change.
//!
//! It tries once: retries and their waits belong to the caller (`Backoff`). It knows no HTTP.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::{CertificateError, ClientConfig};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::pin::PinMismatch;

/// A stream on the connecting side.
pub type ClientStream = tokio_rustls::client::TlsStream<TcpStream>;

/// Why a TLS stream cannot be opened. TLS 1.3 lets a server refuse the client's certificate only after the
/// client is done: that refusal is an error of the first read, not one of these.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No TCP connection.
    #[error("cannot connect to {address}; is the controller running and the address right?")]
    Unreachable {
        /// The address as given.
        address: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// No answer in time.
    #[error("no TLS connection to {address} within {limit:?}")]
    Late {
        /// The address as given.
        address: String,
        /// The time allowed.
        limit: Duration,
    },
    /// The certificate is from another CA.
    #[error(
        "{address} shows a certificate that is not signed by the CA trusted here; check the CA certificate \
         and that this is the right controller"
    )]
    Untrusted {
        /// The address as given.
        address: String,
        /// What rustls said.
        #[source]
        source: io::Error,
    },
    /// The pinned CA is not in the server's chain.
    #[error("{address} is not the expected controller")]
    Pin {
        /// The address as given.
        address: String,
        /// Which fingerprint was expected.
        #[source]
        source: PinMismatch,
    },
    /// The certificate is for other names.
    #[error(
        "{address} shows a certificate that is not for '{server_name}'; connect by a name or address that the \
         certificate has, or add this one to the controller's names"
    )]
    WrongName {
        /// The address as given.
        address: String,
        /// The name that was expected.
        server_name: String,
        /// What rustls said.
        #[source]
        source: io::Error,
    },
    /// The certificate is not valid today.
    #[error(
        "{address} shows a certificate that is not valid at this time; check the clocks of both machines"
    )]
    NotToday {
        /// The address as given.
        address: String,
        /// What rustls said.
        #[source]
        source: io::Error,
    },
    /// Anything else went wrong in the handshake.
    #[error("the TLS handshake with {address} failed; is this a TLS port of the controller?")]
    Handshake {
        /// The address as given.
        address: String,
        /// What rustls or the system said.
        #[source]
        source: io::Error,
    },
}

/// Opens a TLS stream to `address` (`host:port`), checking that the server is `server_name`. `limit` covers
/// name resolution, connection and handshake together. TCP_NODELAY is set.
///
/// # Errors
/// As the variants of [`ConnectError`] say.
pub async fn connect(
    address: &str,
    server_name: ServerName<'static>,
    config: Arc<ClientConfig>,
    limit: Duration,
) -> Result<ClientStream, ConnectError> {
    let opening = async {
        let unreachable = |source| ConnectError::Unreachable { address: address.to_owned(), source };
        let stream = TcpStream::connect(address).await.map_err(unreachable)?;
        stream.set_nodelay(true).map_err(unreachable)?;
        TlsConnector::from(config)
            .connect(server_name.clone(), stream)
            .await
            .map_err(|source| refused(address, &server_name, source))
    };
    match tokio::time::timeout(limit, opening).await {
        Ok(result) => result,
        Err(_elapsed) => Err(ConnectError::Late { address: address.to_owned(), limit }),
    }
}

/// The variant for a handshake that failed.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the enum is another crate's; its rare reasons share a variant"
)]
fn refused(address: &str, server_name: &ServerName<'_>, source: io::Error) -> ConnectError {
    let address = address.to_owned();
    let inner = source.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let Some(rustls::Error::InvalidCertificate(reason)) = inner else {
        return ConnectError::Handshake { address, source };
    };
    if let CertificateError::Other(other) = reason
        && let Some(mismatch) = other.0.downcast_ref::<PinMismatch>()
    {
        return ConnectError::Pin { address, source: mismatch.clone() };
    }
    use CertificateError as Reason;
    match reason {
        Reason::UnknownIssuer | Reason::BadSignature => ConnectError::Untrusted { address, source },
        Reason::NotValidForName | Reason::NotValidForNameContext { .. } => {
            ConnectError::WrongName { address, server_name: server_name.to_str().into_owned(), source }
        }
        Reason::Expired
        | Reason::ExpiredContext { .. }
        | Reason::NotValidYet
        | Reason::NotValidYetContext { .. } => ConnectError::NotToday { address, source },
        _ => ConnectError::Handshake { address, source },
    }
}

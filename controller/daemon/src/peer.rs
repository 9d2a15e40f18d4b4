//! Who is at the other end of a connection: what `serve` knows of it and leaves with every request.
//!
//! Facts alone: TLS has verified the certificate against the controller's authority; whose it is, and what it allows,
//! is decided by `auth`.

use muster_runtime::tls::Standing;
use rustls_pki_types::CertificateDer;
use std::net::SocketAddr;

/// The other end of a connection, in the extensions of its requests.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Where it calls from.
    pub address: SocketAddr,
    /// Its certificate, if it showed one.
    pub certificate: Option<CertificateDer<'static>>,
    /// What may be said of its connection: that it is known, busy, or to be closed.
    pub standing: Standing,
}

//! TLS for every connection of the house: certificates and keys from files, configurations for both ends, and
//! the accepting and connecting of streams.
//!
//! TLS 1.3 only, for nodes and clients alike: both ends are ours or linked against a current library, and one
//! version is one set of rules. The provider is aws-lc-rs everywhere. Nothing here knows tonic, tokens or
//! accounts: who a peer certificate belongs to is decided by the daemon's gate.
//!
//! `material` reads and writes files, `server` and `client` make configurations, `pin` trusts a CA by its
//! fingerprint, `incoming` accepts within the limits of `places`, `connect` opens a stream within a deadline.

mod client;
mod connect;
mod incoming;
mod material;
mod pin;
mod places;
mod provider;
mod server;

pub use client::{client_config, pinned_client_config};
pub use connect::{ClientStream, ConnectError, connect};
pub use incoming::{TlsConn, TlsIncoming};
pub use material::{
    Identity, MaterialError, certificates_from_pem, read_certificates, read_identity, write_private,
};
pub use pin::{Fingerprint, FingerprintError, PinMismatch};
pub use places::{AcceptLimits, CallUnderWay, Standing};
pub use provider::install_provider;
pub use rustls::{ClientConfig, ServerConfig};
pub use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
pub use server::{ClientCertificates, ConfigError, server_config};

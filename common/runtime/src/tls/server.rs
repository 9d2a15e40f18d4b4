//! The configuration of a listener.
//!
//! A listener may ask for client certificates and check those that are shown; whether a call needs one is the
//! gate's business, because a node that joins has none yet.
//!
//! Invariant: every connection is verified anew. Sessions are not resumed: a resumed session would carry the
//! identity of a certificate that has expired or been refused since.

use std::sync::Arc;

use rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::CertificateDer;

use super::material::Identity;
use super::provider::provider;

/// The protocol that peers agree on inside TLS: gRPC runs on HTTP/2 only.
pub(super) const ALPN_H2: &[u8] = b"h2";

/// What a listener does about certificates of its clients.
#[derive(Debug, Clone, Copy)]
pub enum ClientCertificates<'a> {
    /// It does not ask for one.
    Ignored,
    /// It asks for one. A client may have none; one that is shown must be signed by one of these CAs.
    IfPresented(&'a [CertificateDer<'static>]),
}

/// Why a TLS configuration cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The provider lacks TLS 1.3.
    #[error("the cryptography provider cannot do TLS 1.3")]
    Version {
        /// What rustls said.
        #[source]
        source: rustls::Error,
    },
    /// The certificate and the key do not go together, or the key's kind is not supported.
    #[error("the certificate chain and the private key cannot be used together; check that they are a pair")]
    Identity {
        /// What rustls said.
        #[source]
        source: rustls::Error,
    },
    /// A CA certificate cannot be a trust anchor.
    #[error(
        "CA certificate {index} of {count} cannot be used as a trust anchor; it must be a CA in DER or PEM"
    )]
    Authority {
        /// Which one, from 1.
        index: usize,
        /// Of how many.
        count: usize,
        /// What rustls said.
        #[source]
        source: rustls::Error,
    },
    /// There is no CA at all.
    #[error("no CA certificate was given, so no peer could be trusted")]
    NoAuthority,
    /// The check of client certificates cannot be built.
    #[error("client certificates cannot be checked against the given CA")]
    Verifier {
        /// What rustls said.
        #[source]
        source: VerifierBuilderError,
    },
}

/// Trust anchors made of CA certificates, at least one.
pub(super) fn roots(authorities: &[CertificateDer<'static>]) -> Result<Arc<RootCertStore>, ConfigError> {
    let mut roots = RootCertStore::empty();
    for (index, authority) in authorities.iter().enumerate() {
        roots.add(authority.clone()).map_err(|source| ConfigError::Authority {
            index: index + 1,
            count: authorities.len(),
            source,
        })?;
    }
    if roots.is_empty() { Err(ConfigError::NoAuthority) } else { Ok(Arc::new(roots)) }
}

/// A configuration for a listener that shows `identity` to its peers: TLS 1.3, HTTP/2, no resumption, no early
/// data.
///
/// # Errors
/// When chain and key do not go together, or a CA certificate cannot be used.
pub fn server_config(
    identity: &Identity,
    clients: ClientCertificates<'_>,
) -> Result<Arc<ServerConfig>, ConfigError> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|source| ConfigError::Version { source })?;
    let builder = match clients {
        ClientCertificates::Ignored => builder.with_no_client_auth(),
        ClientCertificates::IfPresented(authorities) => builder.with_client_cert_verifier(
            WebPkiClientVerifier::builder_with_provider(roots(authorities)?, provider())
                .allow_unauthenticated()
                .build()
                .map_err(|source| ConfigError::Verifier { source })?,
        ),
    };
    let mut config = builder
        .with_single_cert(identity.chain.clone(), identity.key.clone_key())
        .map_err(|source| ConfigError::Identity { source })?;
    config.alpn_protocols = vec![ALPN_H2.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

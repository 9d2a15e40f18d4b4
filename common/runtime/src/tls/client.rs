//! The configurations of a process that connects: one that trusts given CAs, one that trusts a CA by its
//! fingerprint because it has nothing else yet.
//!
//! The public CAs of the web are never trusted here: the controller's own CA is the only root of the house.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls_pki_types::CertificateDer;

use super::material::Identity;
use super::pin::{Fingerprint, PinnedAuthority};
use super::provider::provider;
use super::server::{ALPN_H2, ConfigError, roots};

/// A configuration that trusts servers signed by one of `authorities`, and shows `identity` when the server
/// asks for a certificate. TLS 1.3, HTTP/2, no resumption.
///
/// # Errors
/// When a CA certificate cannot be used, there is none, or the identity's chain and key do not go together.
pub fn client_config(
    authorities: &[CertificateDer<'static>],
    identity: Option<&Identity>,
) -> Result<Arc<ClientConfig>, ConfigError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|source| ConfigError::Version { source })?
        .with_root_certificates(roots(authorities)?);
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => builder
            .with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())
            .map_err(|source| ConfigError::Identity { source })?,
    };
    Ok(finished(config))
}

/// A configuration that trusts servers signed by the CA with this fingerprint. The server must show that CA's
/// certificate in its chain; the chain and the server's name are then checked against it as usual.
///
/// # Errors
/// When the provider cannot do TLS 1.3.
pub fn pinned_client_config(authority: Fingerprint) -> Result<Arc<ClientConfig>, ConfigError> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|source| ConfigError::Version { source })?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(PinnedAuthority::new(authority, provider())))
        .with_no_client_auth();
    Ok(finished(config))
}

fn finished(mut config: ClientConfig) -> Arc<ClientConfig> {
    config.alpn_protocols = vec![ALPN_H2.to_vec()];
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

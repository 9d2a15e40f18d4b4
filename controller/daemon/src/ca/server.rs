//! The certificate of both listeners: made at each start, kept in memory, renewed long before it ends.
//!
//! Peers trust the authority, not this certificate, so it need not outlive the process and its key never touches a
//! disk. Connections that are open keep the one they began with.

use super::authority::Authority;
use super::error::CaError;
use muster_runtime::shutdown::Shutdown;
use muster_runtime::tls::{ClientCertificates, ConfigError, Identity, server_config};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// How long a server certificate lasts.
const SERVER_LIFE: Duration = Duration::from_secs(30 * 24 * 3600);

/// How often it is made anew: at a third of its life, so that a failure in between harms nobody.
const RENEW_EVERY: Duration = Duration::from_secs(10 * 24 * 3600);

/// The current certificate, as rustls asks for it.
pub struct ServerCertificate {
    authority: Arc<Authority>,
    names: Vec<String>,
    current: RwLock<Arc<CertifiedKey>>,
}

impl std::fmt::Debug for ServerCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerCertificate").field("names", &self.names).finish_non_exhaustive()
    }
}

impl ServerCertificate {
    /// Makes a certificate for these names (DNS names and IP addresses).
    ///
    /// # Errors
    /// [`CaError`] when a name is malformed or signing fails.
    pub fn make(authority: Arc<Authority>, names: Vec<String>) -> Result<Arc<Self>, CaError> {
        let current = RwLock::new(Arc::new(certified(&issue(&authority, &names)?)?));
        Ok(Arc::new(Self { authority, names, current }))
    }

    /// TLS for the listener of clients, who prove themselves by tokens inside of it.
    ///
    /// # Errors
    /// [`CaError`].
    pub fn tls_for_clients(self: &Arc<Self>) -> Result<Arc<ServerConfig>, CaError> {
        self.tls(ClientCertificates::Ignored)
    }

    /// TLS for the listener of nodes, who show certificates of this authority, once they have joined.
    ///
    /// # Errors
    /// [`CaError`].
    pub fn tls_for_nodes(self: &Arc<Self>) -> Result<Arc<ServerConfig>, CaError> {
        self.tls(ClientCertificates::IfPresented(&[self.authority.certificate().clone()]))
    }

    fn tls(self: &Arc<Self>, peers: ClientCertificates<'_>) -> Result<Arc<ServerConfig>, CaError> {
        let identity = issue(&self.authority, &self.names)?;
        let fixed = server_config(&identity, peers).map_err(|error: ConfigError| CaError::Listener(error))?;
        let mut config = (*fixed).clone();
        // The house's settings, with the certificate of the day in the place of a fixed one.
        let resolver: Arc<dyn ResolvesServerCert> = Arc::clone(self) as _;
        config.cert_resolver = resolver;
        Ok(Arc::new(config))
    }

    /// Renews the certificate in time until the process stops.
    pub async fn keep_fresh(self: Arc<Self>, shutdown: Shutdown) {
        loop {
            tokio::select! {
                () = shutdown.begun() => return,
                () = tokio::time::sleep(RENEW_EVERY) => {}
            }
            match issue(&self.authority, &self.names).and_then(|identity| certified(&identity)) {
                Ok(fresh) => {
                    *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(fresh);
                    tracing::info!(names = ?self.names, "renewed the server certificate");
                }
                Err(error) => tracing::error!(%error, "the server certificate could not be renewed"),
            }
        }
    }
}

impl ResolvesServerCert for ServerCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

fn issue(authority: &Authority, names: &[String]) -> Result<Identity, CaError> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(names.to_vec())?;
    authority.set_life(&mut params, SERVER_LIFE);
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, "Muster controller");
    params.distinguished_name = name;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let certificate = params.signed_by(&key, &authority.issuer)?;
    let chain = vec![certificate.der().clone(), authority.certificate().clone()];
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    Ok(Identity { chain, key })
}

fn certified(identity: &Identity) -> Result<CertifiedKey, CaError> {
    Ok(CertifiedKey::new(identity.chain.clone(), any_supported_type(&identity.key)?))
}

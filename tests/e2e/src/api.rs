//! The API without the command line in between: what a test sends that no honest client would.
//!
//! A plain gRPC channel over TLS with whatever access the test chooses: a good token, a bad one, none, a node's certificate.
//! Calls wait for their answer, so a test reads like every other.

use anyhow::Context;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{EncodingKey, Header, encode};
use serde::Serialize;
use std::future::Future;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::runtime::{Builder, Runtime};
use tonic::metadata::AsciiMetadataValue;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Status};

/// No call of a test takes longer, whatever the server does with it.
const CALL_TIME_MAX: Duration = Duration::from_secs(30);

/// With what a test goes to a listener.
#[derive(Debug, Clone)]
pub struct Access {
    /// `https://HOST:PORT`, of either listener.
    pub endpoint: String,
    /// The CA that is trusted, as PEM.
    pub ca_cert: Vec<u8>,
    /// The bearer token, if one is sent.
    pub bearer: Option<String>,
    /// A client certificate and its key, as PEM, if one is shown.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

/// Adds the token to each call.
#[derive(Debug, Clone)]
pub struct Bearer(Option<AsciiMetadataValue>);

impl tonic::service::Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

/// What generated clients are made over.
pub type Wire = InterceptedService<Channel, Bearer>;

/// A connection with an access, and the runtime that drives it.
#[derive(Debug)]
pub struct Api {
    runtime: Runtime,
    channel: Channel,
    bearer: Bearer,
}

impl Api {
    /// Makes a connection; it is opened with the first call.
    ///
    /// # Errors
    /// When the access is not of the right form.
    pub fn connect(access: Access) -> anyhow::Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(access.ca_cert));
        if let Some((certificate, key)) = access.identity {
            tls = tls.identity(Identity::from_pem(certificate, key));
        }
        let endpoint = Endpoint::from_shared(access.endpoint.clone())
            .with_context(|| format!("'{}' is no endpoint", access.endpoint))?
            .timeout(CALL_TIME_MAX)
            .tls_config(tls)
            .context("the certificates cannot be used")?;
        let channel = {
            let _inside = runtime.enter();
            endpoint.connect_lazy()
        };
        let bearer =
            access.bearer.map(|token| AsciiMetadataValue::try_from(format!("Bearer {token}"))).transpose()?;
        Ok(Self { runtime, channel, bearer: Bearer(bearer) })
    }

    /// What a generated client is made over: `PoolServiceClient::new(api.wire())`.
    #[must_use]
    pub fn wire(&self) -> Wire {
        InterceptedService::new(self.channel.clone(), self.bearer.clone())
    }

    /// Waits for the answer of a call.
    pub fn wait<T>(&self, call: impl Future<Output = T>) -> T {
        self.runtime.block_on(call)
    }
}

/// The claims of a client's token.
#[derive(Debug, Clone, Serialize)]
pub struct Claims {
    /// The account.
    pub sub: String,
    /// When it ends, in seconds since 1970.
    pub exp: u64,
    /// What it is narrowed to: `read`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// The only job it is good for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
}

impl Claims {
    /// Everything that the account may do, for five minutes.
    #[must_use]
    pub fn of(account: &str) -> Self {
        Self { sub: account.to_owned(), exp: now() + 300, scope: None, job: None }
    }

    /// Signs them with a key in its text form.
    ///
    /// # Errors
    /// When the key is no base64.
    pub fn sign(&self, key: &str) -> anyhow::Result<String> {
        let key = STANDARD.decode(key).context("an account's key is base64")?;
        Ok(encode(&Header::default(), self, &EncodingKey::from_secret(&key))?)
    }
}

/// A good token of an account.
///
/// # Errors
/// When the key is no base64.
pub fn bearer(account: &str, key: &str) -> anyhow::Result<String> {
    Claims::of(account).sign(key)
}

/// Seconds since 1970.
#[must_use]
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |span| span.as_secs())
}

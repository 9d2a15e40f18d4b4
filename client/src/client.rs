//! The client: one connection, one account, and the typed calls on it (in `calls/`, `batch.rs`, `logs.rs`, `watch.rs`,
//! `transfer/`).
//!
//! Cloning is cheap: clones share the connection and the token. It must be used inside a tokio runtime.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tonic::Status;
use tonic::transport::Channel;

use crate::connect::{SetupError, channel};
use crate::credentials::Credentials;
use crate::endpoint::Endpoint;
use crate::profile::Profile;
use crate::retry::RetryPolicy;
use crate::waiting::{Listener, Waiting};

/// A client of one account at one controller.
#[derive(Clone)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
}

/// What the clones of a client share.
pub(crate) struct Inner {
    pub(crate) channel: Channel,
    pub(crate) credentials: Arc<Credentials>,
    pub(crate) endpoint: String,
    pub(crate) retry: RetryPolicy,
    pub(crate) listener: Option<Listener>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("endpoint", &self.inner.endpoint)
            .field("account", self.inner.credentials.account())
            .finish_non_exhaustive()
    }
}

impl Client {
    /// A client for a profile. Nothing is connected before the first call.
    ///
    /// # Errors
    /// [`SetupError`] when the CA certificates or the host cannot be used for TLS, or the token cannot be one.
    pub fn new(profile: &Profile) -> Result<Self, SetupError> {
        let channel = channel(&profile.endpoint, &profile.authorities)?;
        Ok(Self::over(channel, &profile.endpoint, profile.credentials()?, RetryPolicy::default()))
    }

    /// A client over a channel that the caller made: to go through a tunnel, or to a controller inside of a test.
    #[must_use]
    pub fn over(channel: Channel, endpoint: &Endpoint, credentials: Credentials, retry: RetryPolicy) -> Self {
        let credentials = Arc::new(credentials);
        let inner = Inner { channel, credentials, endpoint: endpoint.to_string(), retry, listener: None };
        Self { inner: Arc::new(inner) }
    }

    /// The same client, which tells `listen` before it waits to try something again. Clones made before do not.
    #[must_use]
    pub fn on_wait(self, listen: impl Fn(&Waiting) + Send + Sync + 'static) -> Self {
        let listener = Some(Listener::new(listen));
        let Inner { channel, credentials, endpoint, retry, listener: _ } = &*self.inner;
        let (channel, credentials) = (channel.clone(), Arc::clone(credentials));
        let inner = Inner { channel, credentials, endpoint: endpoint.clone(), retry: *retry, listener };
        Self { inner: Arc::new(inner) }
    }

    /// Tells of a wait, and waits.
    pub(crate) async fn wait(&self, status: &Status, wait: Duration, waited: Duration) {
        tracing::debug!(code = ?status.code(), wait_ms = wait.as_millis(), "waiting to try again");
        if let Some(listener) = &self.inner.listener {
            listener.tell(status, wait, waited);
        }
        tokio::time::sleep(wait).await;
    }

    /// The controller's address.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.inner.endpoint
    }

    /// The account's name.
    #[must_use]
    pub fn account(&self) -> &str {
        self.inner.credentials.account().as_str()
    }
}

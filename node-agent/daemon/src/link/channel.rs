//! Opening connections to the controller, and sharing the newest one.
//!
//! TLS is the runtime crate's; here it is only put under HTTP/2. Nothing is retried here: the session opens the next connection.

use crate::config::ControllerUrl;
use crate::identity::{Identity, IdentityError};
use hyper_util::rt::TokioIo;
use muster_proto::version::NODE_MESSAGE_BYTES_MAX;
use muster_proto::wire::node_service_client::NodeServiceClient;
use muster_runtime::tls::{
    ClientConfig, ConfigError, ConnectError, Fingerprint, client_config, connect, pinned_client_config,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tonic::transport::{Channel, Endpoint, Uri};

/// How long name resolution, connection and handshake may take together where no lease is at stake.
pub(crate) const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// How often an idle connection is probed, and how long the answer may take, at most: a dead controller host is noticed well
/// before the lease ends. Heartbeats that have no answer find out the same about a controller that is stuck.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// Window of one stream: a chunk of content does not wait for its acknowledgement on any sensible network.
const STREAM_WINDOW: u32 = 4 * 1024 * 1024;
/// Window of the connection: several transfers at full speed.
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;
/// How long a transfer waits for a connection before it counts as a network fault of this try.
const WAIT_LIMIT: Duration = Duration::from_secs(30);

/// The client of the controller's node service.
pub(crate) type Node = NodeServiceClient<Channel>;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    #[error("cannot make a TLS configuration")]
    Tls {
        #[source]
        cause: ConfigError,
    },
    #[error("the node's identity cannot be used")]
    Identity(#[from] IdentityError),
    #[error("the controller's URL {url} cannot be used")]
    Url { url: String },
    #[error("cannot connect to the controller")]
    Connect {
        #[source]
        cause: tonic::transport::Error,
    },
    #[error("the node has not been connected to its controller for {0:?}")]
    Unconnected(Duration),
}

impl LinkError {
    /// Whether somebody answered who is not the controller that the token is for: trying again would meet the same one.
    pub(crate) fn is_other_controller(&self) -> bool {
        let Self::Connect { cause } = self else { return false };
        let mut next: Option<&(dyn std::error::Error + 'static)> = Some(cause);
        while let Some(error) = next {
            if matches!(error.downcast_ref::<ConnectError>(), Some(ConnectError::Pin { .. })) {
                return true;
            }
            next = error.source();
        }
        false
    }
}

/// The newest connection, for everybody who needs one.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    newest: watch::Receiver<Option<Channel>>,
}

impl Link {
    /// A link and the end that tells it of connections.
    pub(crate) fn new() -> (watch::Sender<Option<Channel>>, Self) {
        let (sender, newest) = watch::channel(None);
        (sender, Self { newest })
    }

    /// The newest connection; waits for one for a bounded time.
    pub(crate) async fn node(&self) -> Result<Node, LinkError> {
        let mut newest = self.newest.clone();
        let found = tokio::time::timeout(WAIT_LIMIT, newest.wait_for(Option::is_some)).await;
        match found.ok().and_then(Result::ok).and_then(|channel| channel.clone()) {
            Some(channel) => Ok(client(channel)),
            None => Err(LinkError::Unconnected(WAIT_LIMIT)),
        }
    }
}

fn client(channel: Channel) -> Node {
    NodeServiceClient::new(channel)
        .max_decoding_message_size(NODE_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(NODE_MESSAGE_BYTES_MAX)
}

/// Opens a connection as the node that `identity` names, within `limit`.
pub(crate) async fn open(
    controller: &ControllerUrl,
    identity: &Identity,
    limit: Duration,
) -> Result<(Channel, Node), LinkError> {
    let config = client_config(&identity.authorities()?, Some(&identity.tls()?))
        .map_err(|cause| LinkError::Tls { cause })?;
    let channel = channel(controller, config, limit).await?;
    Ok((channel.clone(), client(channel)))
}

/// Opens a connection to a controller that is known by the fingerprint of its CA alone.
pub(crate) async fn pinned(controller: &ControllerUrl, ca: Fingerprint) -> Result<Node, LinkError> {
    let config = pinned_client_config(ca).map_err(|cause| LinkError::Tls { cause })?;
    Ok(client(channel(controller, config, CONNECT_LIMIT).await?))
}

async fn channel(
    controller: &ControllerUrl,
    config: Arc<ClientConfig>,
    limit: Duration,
) -> Result<Channel, LinkError> {
    let wrong = || LinkError::Url { url: controller.url.clone() };
    // TLS is the connector's business here; the transport would refuse a scheme that it does not do itself.
    let plain = format!("http://{}", controller.address);
    let origin: Uri = controller.url.parse().map_err(|_| wrong())?;
    let endpoint = Endpoint::from_shared(plain)
        .map_err(|_| wrong())?
        .origin(origin)
        .connect_timeout(limit)
        .http2_keep_alive_interval(KEEP_ALIVE.min(limit))
        .keep_alive_timeout(KEEP_ALIVE.min(limit))
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .user_agent(concat!("muster-agent/", env!("CARGO_PKG_VERSION")))
        .map_err(|_| wrong())?;
    let (address, server_name) = (controller.address.clone(), controller.server_name.clone());
    let connector = tower::service_fn(move |_: Uri| {
        let (address, server_name, config) = (address.clone(), server_name.clone(), Arc::clone(&config));
        async move {
            let stream = connect(&address, server_name, config, limit).await?;
            Ok::<_, ConnectError>(TokioIo::new(stream))
        }
    });
    endpoint.connect_with_connector(connector).await.map_err(|cause| LinkError::Connect { cause })
}

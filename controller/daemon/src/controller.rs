//! The whole controller in one value: opened from its folder, serving, stopped in order.
//!
//! ```text
//!  lock ─> authority ─> store ─> engine ─> operator's account ─> blobs ─> listeners ─> ready
//! ```
//! Stopping goes the other way: listeners first (calls under way end or are cut off), then the engine, which makes
//! durable what it has taken in, then the lock. `main` and the tests both stand on this.

use crate::admission::Shares;
use crate::api::{Api, Parts};
use crate::auth::{Clock, Door, Gate, GateLayer};
use crate::blobs::{Blobs, PlaceError};
use crate::board::Board;
use crate::ca::{Authority, CaError, ServerCertificate};
use crate::config::Config;
use crate::engine::{Engine, EngineFailure, EngineHandle, StartError, SystemTimes};
use crate::first_account::{self, FirstAccountError};
use crate::folder::{DataFolder, FolderError};
use crate::health;
use crate::relay::Relay;
use crate::serve::{self, Bound, ServeError};
use crate::session::{NodeSessions, SessionContext, SessionSettings};
use muster_model::Timestamp;
use muster_proto::FILE_DESCRIPTOR_SET;
use muster_runtime::clock;
use muster_runtime::shutdown::Shutdown;
use muster_store::{OpenError, SqliteStore};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tonic::service::Routes;

/// How often what interrupted uploads left is looked at.
const CLEAN_EVERY: Duration = Duration::from_secs(3600);

/// Why the controller does not run.
#[derive(Debug, thiserror::Error)]
pub enum ControllerError {
    /// The data folder cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The certificates cannot be used.
    #[error(transparent)]
    Ca(#[from] CaError),
    /// The database cannot be opened.
    #[error("the database cannot be opened")]
    Open(#[from] OpenError),
    /// The engine cannot start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The operator's account cannot be made.
    #[error(transparent)]
    FirstAccount(#[from] FirstAccountError),
    /// Content cannot be kept.
    #[error(transparent)]
    Blobs(#[from] PlaceError),
    /// A listener cannot be had, or failed.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The reflection service refuses the description of the API.
    #[error("the description of the API cannot be served")]
    Reflection(#[source] tonic_reflection::server::Error),
    /// The engine failed while the controller ran.
    #[error(transparent)]
    Engine(#[from] EngineFailure),
}

/// A controller that serves.
#[derive(Debug)]
pub struct Controller {
    /// Where it is.
    pub ready: Ready,
    handle: EngineHandle,
    engine: Engine,
    servers: JoinSet<Result<(), ServeError>>,
    shutdown: Shutdown,
    _folder: DataFolder,
}

/// Where a controller is, for those who want to reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    /// URL for clients.
    pub endpoint: String,
    /// URL for nodes.
    pub node_endpoint: String,
    /// The file with the certificate to trust.
    pub ca_cert: PathBuf,
    /// The operator's account.
    pub account: String,
    /// The file with the operator's key, as the first start wrote it.
    pub operator_file: PathBuf,
}

impl Controller {
    /// Opens everything and serves. To be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`ControllerError`] in words for the operator.
    pub async fn start(config: &Config, shutdown: Shutdown) -> Result<Self, ControllerError> {
        let folder = DataFolder::open(&config.data_dir)?;
        let authority = Arc::new(Authority::load_or_make(&folder.tls())?);
        let certificate = ServerCertificate::make(Arc::clone(&authority), config.names.clone())?;
        let store = SqliteStore::open(&folder.database())?;
        let (handle, engine) = Engine::start(Box::new(store), config.core.clone(), SystemTimes)?;
        match Self::open(config, &shutdown, &folder, authority, certificate, handle.clone()).await {
            Ok((ready, servers)) => Ok(Self { ready, handle, engine, servers, shutdown, _folder: folder }),
            Err(error) => {
                stop_engine(engine).await;
                Err(error)
            }
        }
    }

    async fn open(
        config: &Config,
        shutdown: &Shutdown,
        folder: &DataFolder,
        authority: Arc<Authority>,
        certificate: Arc<ServerCertificate>,
        handle: EngineHandle,
    ) -> Result<(Ready, JoinSet<Result<(), ServeError>>), ControllerError> {
        let blobs = Blobs::open(&folder.blobs(), config.blob_store_url.as_deref())?;
        let (clients, nodes) = (Bound::to(config.listen).await?, Bound::to(config.node_listen).await?);
        let ready = ready(config, folder, clients.address(), nodes.address());
        let account = &config.operator_account;
        first_account::ensure(&handle, account, folder.path(), &ready.endpoint, &ready.ca_cert).await?;

        let (relay, board, watched) = (Relay::default(), Board::default(), handle.clone());
        let clock: Clock = Arc::new(|| Timestamp::from_micros(clock::wall_us()));
        let accounts = Arc::clone(handle.accounts());
        let gate = Gate::new(Arc::new(move |name| accounts.get(name)), Arc::clone(&clock));
        let api = Api::new(Parts {
            engine: handle.clone(),
            relay: relay.clone(),
            board: board.clone(),
            blobs: blobs.clone(),
            clock,
            ca_fingerprint: authority.fingerprint(),
        });
        let settings = SessionSettings {
            lease_ttl: config.core.lease_ttl,
            node_certificate_life: config.node_certificate_life,
            account_url: ready.endpoint.clone(),
            ahead_per_slot_max: config.core.ahead_per_slot_max,
        };
        let sessions =
            SessionContext::new(handle, relay, board, blobs.clone(), authority, settings, shutdown.clone());
        let health = health::service(&watched, shutdown.clone()).await;
        let client_routes = with_reflection(crate::api::routes(api).add_service(health))?;
        let node_routes = Routes::new(NodeSessions::service(sessions));

        let shares = Shares::new(config.admission);
        let mut servers = JoinSet::new();
        let doors = [
            (clients, certificate.tls_for_clients()?, Door::Clients, client_routes),
            (nodes, certificate.tls_for_nodes()?, Door::Nodes, node_routes),
        ];
        for (bound, tls, door, routes) in doors {
            let gate = GateLayer::new(gate.clone(), door);
            let serving =
                serve::run(bound, tls, config.accept, gate, shares.clone(), routes, shutdown.clone());
            servers.spawn(serving);
        }
        tokio::spawn(certificate.keep_fresh(shutdown.clone()));
        tokio::spawn(end_watches(watched, shutdown.clone()));
        tokio::spawn(clean(blobs, shutdown.clone()));
        Ok((ready, servers))
    }

    /// Serves until the order to stop, then stops in order.
    ///
    /// # Errors
    /// [`ControllerError`] when the engine or a listener failed: nothing more is acknowledged.
    pub async fn run(mut self) -> Result<(), ControllerError> {
        let ended = tokio::select! {
            failure = self.handle.failed() => Err(failure.into()),
            ended = join_all(&mut self.servers) => ended,
        };
        // Whatever ended first ends the rest.
        self.shutdown.begin();
        if ended.is_ok() {
            tracing::info!("the listeners have ended; making durable what was taken in");
        }
        stop_engine(self.engine).await;
        ended
    }
}

async fn join_all(servers: &mut JoinSet<Result<(), ServeError>>) -> Result<(), ControllerError> {
    while let Some(ended) = servers.join_next().await {
        match ended {
            Ok(ended) => ended?,
            Err(error) => tracing::error!(%error, "a listener's task has ended early"),
        }
    }
    Ok(())
}

/// Stops the engine where blocking is allowed.
async fn stop_engine(engine: Engine) {
    if let Err(error) = tokio::task::spawn_blocking(move || engine.stop()).await {
        tracing::error!(%error, "the engine could not be stopped in order");
    }
}

/// Watches have no end of their own; with this they end before the listeners wait for them.
async fn end_watches(engine: EngineHandle, shutdown: Shutdown) {
    shutdown.begun().await;
    engine.end_watches();
}

/// Removes what interrupted uploads left, now and then.
async fn clean(blobs: Blobs, shutdown: Shutdown) {
    loop {
        tokio::select! {
            () = shutdown.begun() => return,
            () = tokio::time::sleep(CLEAN_EVERY) => blobs.remove_old_uploads().await,
        }
    }
}

fn ready(config: &Config, folder: &DataFolder, clients: SocketAddr, nodes: SocketAddr) -> Ready {
    let endpoint = config.public_url.clone().unwrap_or_else(|| config.url_of(clients));
    let ca_cert = Authority::certificate_path(&folder.tls());
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    Ready {
        endpoint,
        node_endpoint: config.url_of(nodes),
        ca_cert: absolute(&ca_cert),
        account: config.operator_account.to_string(),
        operator_file: absolute(&first_account::operator_file(folder.path())),
    }
}

fn with_reflection(routes: Routes) -> Result<Routes, ControllerError> {
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .map_err(ControllerError::Reflection)?;
    Ok(routes.add_service(reflection))
}

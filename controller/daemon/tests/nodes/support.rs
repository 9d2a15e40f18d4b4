//! A controller's node side above a store in memory, and an agent for it.
//!
//! Everything between the agent's socket and the store is the real thing. The agent does only what a test tells it to;
//! it keeps no journal and runs nothing.

use muster_controller::admission::{Limits, Shares};
use muster_controller::auth::{Clock, Door, Gate, GateLayer};
use muster_controller::blobs::{Announced, Blobs};
use muster_controller::board::Board;
use muster_controller::ca::{Authority, ServerCertificate};
use muster_controller::engine::{Engine, EngineHandle, SystemTimes};
use muster_controller::join_token::JoinToken;
use muster_controller::relay::Relay;
use muster_controller::serve::{self, Bound};
use muster_controller::session::{NodeSessions, SessionContext, SessionSettings};
use muster_controller_core::Settings;
use muster_controller_core::input::{Command, Input, NewAccount, NewToken, NodeKey};
use muster_controller_core::reply::Reply;
use muster_model::spec::{JobSpec, PoolSpec, TaskSpec};
use muster_model::{
    AccessKey, AccountName, ContainerName, Digest, FilePath, JobId, NodeId, PoolId, TaskKey, Timestamp,
    TokenId,
};
use muster_proto::wire;
use muster_runtime::clock;
use muster_runtime::secret::Secret;
use muster_runtime::shutdown::Shutdown;
use muster_runtime::tls::{self, AcceptLimits, Identity, ServerName};
use muster_store::{MemoryStore, Store, TaskView};
use rcgen::{CertificateParams, KeyPair};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::Routes;
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};
use wire::node_service_client::NodeServiceClient;
use wire::{agent_message, controller_message};

/// Far more than any step takes.
pub const LIMIT: Duration = Duration::from_secs(30);

pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future).await.expect("in time")
}

pub fn account() -> AccountName {
    AccountName::parse("studio").unwrap()
}

pub fn pool_id() -> PoolId {
    PoolId::parse("render").unwrap()
}

pub fn job_id() -> JobId {
    JobId::parse("film").unwrap()
}

/// A controller's node side.
pub struct World {
    pub engine: EngineHandle,
    pub relay: Relay,
    pub board: Board,
    pub blobs: Blobs,
    pub shutdown: Shutdown,
    pub address: SocketAddr,
    pub authority: Arc<Authority>,
    threads: Option<Engine>,
    serving: JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl World {
    /// With the account, the pool and the job.
    pub async fn new() -> Self {
        Self::with_pool(pool_spec()).await
    }

    pub async fn with_pool(pool: PoolSpec) -> Self {
        Self::above(Box::new(MemoryStore::new()), pool).await
    }

    /// Above a store of the test's own.
    pub async fn above(store: Box<dyn Store>, pool: PoolSpec) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings::default();
        let (engine, threads) = Engine::start(store, settings.clone(), SystemTimes).unwrap();
        let authority = Arc::new(Authority::load_or_make(&folder.path().join("tls")).unwrap());
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let certificate = ServerCertificate::make(Arc::clone(&authority), names).unwrap();
        let (relay, board, shutdown) = (Relay::default(), Board::default(), Shutdown::new());
        let blobs = Blobs::open(&folder.path().join("blobs"), None).unwrap();
        let context = SessionContext::new(
            engine.clone(),
            relay.clone(),
            board.clone(),
            blobs.clone(),
            Arc::clone(&authority),
            SessionSettings {
                lease_ttl: settings.lease_ttl,
                node_certificate_life: Duration::from_secs(3600),
                account_url: "https://localhost:1".to_owned(),
                ahead_per_slot_max: settings.ahead_per_slot_max,
            },
            shutdown.clone(),
        );
        let accounts = Arc::clone(engine.accounts());
        let now: Clock = Arc::new(|| Timestamp::from_micros(clock::wall_us()));
        let gate = GateLayer::new(Gate::new(Arc::new(move |name| accounts.get(name)), now), Door::Nodes);
        let bound = Bound::to("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = bound.address();
        let (tls, stop) = (certificate.tls_for_nodes().unwrap(), shutdown.clone());
        let routes = Routes::new(NodeSessions::service(context));
        let serving = tokio::spawn(async move {
            let shares = Shares::new(Limits::default());
            serve::run(bound, tls, AcceptLimits::default(), gate, shares, routes, stop).await.unwrap();
        });
        let world = Self {
            engine,
            relay,
            board,
            blobs,
            shutdown,
            address,
            authority,
            threads: Some(threads),
            serving,
            _folder: folder,
        };
        let key = || AccessKey::from_bytes([1; 32]);
        let new = NewAccount {
            name: account(),
            display_name: String::new(),
            is_operator: false,
            primary: key(),
            secondary: key(),
        };
        world.command(Command::CreateAccount(new)).await;
        world.command(Command::CreatePool(pool)).await;
        world.command(Command::CreateJob(Box::new(job_spec()))).await;
        world
    }

    pub async fn command(&self, command: Command) -> Reply {
        let input = Input::Client { account: account(), request_id: None, command };
        within(self.engine.submit(input)).await.unwrap()
    }

    /// A token with this many uses that expires in this many seconds.
    pub async fn token(&self, id: &str, uses: u32, seconds: i64) -> JoinToken {
        let secret = Secret::new([5u8; 32].to_vec());
        let token =
            JoinToken { id: TokenId::parse(id).unwrap(), secret, fingerprint: self.authority.fingerprint() };
        let expires = Timestamp::from_micros(clock::wall_us() + seconds * 1_000_000);
        let new = NewToken {
            id: token.id.clone(),
            secret_hash: token.secret_hash(),
            pool: pool_id(),
            expires,
            uses,
        };
        self.command(Command::CreateJoinToken(new)).await;
        token
    }

    pub async fn add_task(&self, task: TaskSpec) {
        let reply = self.command(Command::CreateTasks { job: job_id(), tasks: vec![task] }).await;
        assert_eq!(reply, Reply::Tasks(Vec::new()), "a task was refused");
    }

    /// Puts content into the store and gives it a name.
    pub async fn put(&self, container: &str, path: &str, content: &'static [u8]) -> Digest {
        let mut upload = self.blobs.begin(Announced::default(), None).await.unwrap();
        upload.write(content.into()).await.unwrap();
        let stored = upload.finish().await.unwrap();
        let container = ContainerName::parse(container).unwrap();
        let path = FilePath::parse(path).unwrap();
        let (digest, size) = (stored.digest, stored.size);
        self.command(Command::PutFile { container, path, digest, size }).await;
        digest
    }

    pub fn task(&self, task: &str) -> TaskView {
        let task = muster_model::TaskId::parse(task).unwrap();
        let key = TaskKey { job: job_id(), task };
        self.engine.reader().task(&account(), &key).unwrap().unwrap()
    }

    pub async fn connect(&self, identity: Option<&Identity>) -> NodeServiceClient<Channel> {
        connect(self.address, &self.authority, identity).await
    }

    /// A machine that joins with a fresh token.
    pub async fn join(&self, machine: &str) -> Agent {
        let token = self.token(&format!("token-{machine}"), 1, 3600).await;
        self.join_with(&token, machine).await.unwrap()
    }

    pub async fn join_with(&self, token: &JoinToken, machine: &str) -> Result<Agent, Status> {
        self.join_by_key(token, machine, &KeyPair::generate().unwrap()).await
    }

    pub async fn join_by_key(
        &self,
        token: &JoinToken,
        machine: &str,
        key: &KeyPair,
    ) -> Result<Agent, Status> {
        let request =
            wire::JoinRequest { join_token: token.to_text(), csr_der: csr(key), facts: Some(facts(machine)) };
        let answer = within(self.connect(None).await.join(request)).await?.into_inner();
        let identity = identity(&answer.certificate_chain_pem, key);
        let client = self.connect(Some(&identity)).await;
        let node = NodeId::parse(&answer.node_id).unwrap();
        Ok(Agent { key: NodeKey { account: account(), node }, client, identity, machine: machine.to_owned() })
    }

    /// Stops everything in order.
    pub async fn stop(mut self) {
        self.shutdown.begin();
        within(&mut self.serving).await.unwrap();
        let threads = self.threads.take().unwrap();
        within(tokio::task::spawn_blocking(move || threads.stop())).await.unwrap();
    }
}

impl Drop for World {
    /// A test that failed leaves no task and no thread behind.
    fn drop(&mut self) {
        self.serving.abort();
        if let Some(threads) = self.threads.take() {
            threads.stop();
        }
    }
}

async fn connect(
    address: SocketAddr,
    authority: &Authority,
    identity: Option<&Identity>,
) -> NodeServiceClient<Channel> {
    let config = tls::client_config(&[authority.certificate().clone()], identity).unwrap();
    let connector = tower::service_fn(move |_| {
        let (config, name) = (Arc::clone(&config), ServerName::try_from("localhost").unwrap());
        async move {
            let stream = tls::connect(&address.to_string(), name, config, LIMIT).await;
            stream.map(hyper_util::rt::TokioIo::new)
        }
    });
    let endpoint = Endpoint::from_static("http://localhost");
    NodeServiceClient::new(endpoint.connect_with_connector_lazy(connector))
        .max_decoding_message_size(muster_proto::version::NODE_MESSAGE_BYTES_MAX)
}

pub fn csr(key: &KeyPair) -> Vec<u8> {
    CertificateParams::default().serialize_request(key).unwrap().der().to_vec()
}

pub fn identity(chain_pem: &str, key: &KeyPair) -> Identity {
    Identity::from_pem(chain_pem.as_bytes(), key.serialize_pem().as_bytes(), "test").unwrap()
}

pub fn facts(machine: &str) -> wire::MachineFacts {
    wire::MachineFacts {
        machine_id: machine.to_owned(),
        boot_id: "boot".to_owned(),
        hostname: machine.to_owned(),
        agent_version: "0.1.0".to_owned(),
        operating_system: "Linux".to_owned(),
        boot_time: Some(muster_proto::convert::timestamp_out(Timestamp::from_micros(clock::wall_us()))),
        capacity: Some(wire::ResourceCapacity {
            cpu_millis: 4_000,
            memory_bytes: 8 << 30,
            disk_bytes: 8 << 30,
            ..Default::default()
        }),
        capabilities: Some(wire::NodeCapabilities {
            isolation_level: wire::IsolationLevel::Sandbox.into(),
            user_switch: true,
            reboot: true,
            ..Default::default()
        }),
        ip_address: String::new(),
    }
}

/// A machine that has joined.
#[derive(Debug)]
pub struct Agent {
    pub key: NodeKey,
    pub client: NodeServiceClient<Channel>,
    pub identity: Identity,
    pub machine: String,
}

impl Agent {
    /// Opens a session and says Hello.
    pub async fn open(&self) -> Result<Session, Status> {
        self.open_as(muster_proto::version::PROTOCOL_VERSION, facts(&self.machine)).await
    }

    /// Opens a session of an agent that speaks this protocol, on this machine.
    pub async fn open_as(&self, protocol: u32, facts: wire::MachineFacts) -> Result<Session, Status> {
        let (out, messages) = mpsc::channel(16);
        let hello = wire::Hello { protocol_version: protocol, facts: Some(facts), ..Default::default() };
        out.send(message(agent_message::Body::Hello(hello))).await.unwrap();
        let answer = within(self.client.clone().session(ReceiverStream::new(messages))).await?;
        Ok(Session { out, inbound: answer.into_inner(), sequence: 0 })
    }

    /// Opens a session and waits for its Welcome.
    pub async fn session(&self) -> (Session, wire::Welcome) {
        let mut session = self.open().await.unwrap();
        let controller_message::Body::Welcome(welcome) = session.next().await else { panic!("no Welcome") };
        (session, welcome)
    }
}

fn message(body: agent_message::Body) -> wire::AgentMessage {
    wire::AgentMessage { body: Some(body) }
}

/// A session as the agent sees it.
pub struct Session {
    out: mpsc::Sender<wire::AgentMessage>,
    inbound: Streaming<wire::ControllerMessage>,
    sequence: u64,
}

impl Session {
    pub async fn next(&mut self) -> controller_message::Body {
        self.try_next().await.unwrap().expect("a message")
    }

    pub async fn try_next(&mut self) -> Result<Option<controller_message::Body>, Status> {
        Ok(within(self.inbound.message()).await?.and_then(|message| message.body))
    }

    /// The status that ends the session; what comes before it is passed over.
    pub async fn end(&mut self) -> Status {
        loop {
            match self.try_next().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("ended without a status"),
                Err(status) => return status,
            }
        }
    }

    pub async fn say(&mut self, body: agent_message::Body) {
        self.out.send(message(body)).await.unwrap();
    }

    /// Sends one report and answers its number.
    pub async fn report(&mut self, event: wire::report::Event) -> u64 {
        self.sequence += 1;
        let report = wire::Report { sequence: self.sequence, event: Some(event) };
        self.say(agent_message::Body::Reports(wire::Reports { reports: vec![report] })).await;
        self.sequence
    }

    /// Waits until reports up to this number are acknowledged.
    pub async fn acknowledged(&mut self, sequence: u64) {
        loop {
            if let controller_message::Body::Acknowledge(acknowledge) = self.next().await
                && acknowledge.sequence >= sequence
            {
                return;
            }
        }
    }

    /// The plans of the next Assign.
    pub async fn assigned(&mut self) -> Vec<wire::AttemptPlan> {
        loop {
            if let controller_message::Body::Assign(assign) = self.next().await {
                return assign.plans;
            }
        }
    }
}

pub fn pool_spec() -> PoolSpec {
    let wire = wire::Pool { id: pool_id().to_string(), target_dedicated_nodes: 1, ..Default::default() };
    PoolSpec::try_from(wire).unwrap()
}

pub fn job_spec() -> JobSpec {
    let wire = wire::Job {
        id: job_id().to_string(),
        pool_info: Some(wire::job::PoolInfo::PoolId(pool_id().to_string())),
        common_environment_settings: vec![wire::EnvironmentSetting {
            name: "SCENE".to_owned(),
            value: "one".to_owned(),
        }],
        ..Default::default()
    };
    JobSpec::try_from(wire).unwrap()
}

pub fn task_spec(id: &str) -> wire::Task {
    wire::Task { id: id.to_owned(), command_line: "/bin/true".to_owned(), ..Default::default() }
}

pub fn store_path(container: &str, path: &str) -> wire::FileStorePath {
    wire::FileStorePath { container: container.to_owned(), path: path.to_owned() }
}

/// The end of an attempt with exit code 0.
pub fn succeeded(attempt: &wire::AttemptRef, outputs: Vec<wire::OutputManifestEntry>) -> wire::AttemptResult {
    let now = muster_proto::convert::timestamp_out(Timestamp::from_micros(clock::wall_us()));
    wire::AttemptResult {
        attempt: Some(attempt.clone()),
        result: wire::ExecutionResult::Success.into(),
        exit_code: Some(0),
        start_time: Some(now),
        end_time: Some(now),
        outputs,
        ..Default::default()
    }
}

//! A controller in small for the tests of the API: gate, engine and services over a real connection, a store in memory
//! and a node that is played by the test.
//!
//! Everything is on random ports and in temporary folders, and ends with the value that holds it.

use super::{Api, Parts, routes};
use crate::auth::testing::{NOW_SECONDS, key, now, sign};
use crate::auth::{Door, Gate, GateLayer};
use crate::blobs::Blobs;
use crate::board::{Board, Pen};
use crate::engine::{Engine, EngineHandle, NodeOutbox, SessionRoute, SystemTimes};
use crate::relay::{Attachment, NodeServe, Part, Relay};
use bytes::Bytes;
use muster_controller_core::Settings;
use muster_controller_core::effect::NodeMessage;
use muster_controller_core::input::{
    Command, Connected, Input, NewAccount, NodeInput, NodeKey, NumberedReport, Report, SessionId,
};
use muster_controller_core::reply::CreatedNode;
use muster_model::node::{Capabilities, MachineFacts};
use muster_model::state::{ExecutionResult, IsolationLevel};
use muster_model::{
    AccountName, AttemptId, AttemptResult, Cause, Digest, Excerpt, FailureInfo, NodeId, Resources, Timestamp,
};
use muster_proto::wire::controller_message::Body;
use muster_proto::wire::{self, ControllerMessage};
use muster_store::{MemoryStore, Store};
use serde_json::json;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::metadata::AsciiMetadataValue;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Status};

/// Far more than anything here takes.
pub(super) const LIMIT: Duration = Duration::from_secs(20);

/// Waits for something, but not for ever.
pub(super) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, what).await.expect("it did not happen in time")
}

/// Adds a token to every call.
#[derive(Clone)]
pub(super) struct Bearer(Option<AsciiMetadataValue>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

/// A connection with a token.
pub(super) type Client = InterceptedService<Channel, Bearer>;

/// A controller in small, with the accounts studio (keys 1, 2), boss (an operator; 3, 4) and other1 (5, 6).
pub(super) struct World {
    pub(super) engine: EngineHandle,
    pub(super) relay: Relay,
    pub(super) board: Board,
    channel: Channel,
    server: JoinHandle<()>,
    threads: Option<Engine>,
    _folder: tempfile::TempDir,
}

impl Drop for World {
    fn drop(&mut self) {
        self.server.abort();
        if let Some(threads) = self.threads.take() {
            std::thread::spawn(move || threads.stop());
        }
    }
}

fn name(text: &str) -> AccountName {
    AccountName::parse(text).unwrap()
}

impl World {
    pub(super) async fn start() -> Self {
        Self::on(Box::new(MemoryStore::new())).await
    }

    /// On what an earlier world has left, if it has.
    pub(super) async fn on(store: Box<dyn Store>) -> Self {
        let (engine, threads) = Engine::start(store, Settings::default(), SystemTimes).unwrap();
        for (account, is_operator, seed) in [("studio", false, 1), ("boss", true, 3), ("other1", false, 5)] {
            if engine.accounts().get(&name(account)).is_some() {
                continue;
            }
            let new = NewAccount {
                name: name(account),
                display_name: String::new(),
                is_operator,
                primary: key(seed),
                secondary: key(seed + 1),
            };
            let command = Command::CreateAccount(new);
            let input = Input::Client { account: name(account), request_id: None, command };
            engine.submit(input).await.unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        let (relay, board) = (Relay::default(), Board::default());
        let blobs = Blobs::open(folder.path(), None).unwrap();
        let accounts = engine.clone();
        let gate = Gate::new(Arc::new(move |name| accounts.accounts().get(name)), Arc::new(now));
        let api = Api::new(Parts {
            engine: engine.clone(),
            relay: relay.clone(),
            board: board.clone(),
            blobs,
            clock: Arc::new(now),
            ca_fingerprint: Digest::from_bytes([7; 32]),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = Server::builder()
            .layer(GateLayer::new(gate, Door::Clients))
            .add_routes(routes(api))
            .serve_with_incoming(TcpListenerStream::new(listener));
        let server = tokio::spawn(async move { serving.await.unwrap() });
        let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        Self { engine, relay, board, channel, server, threads: Some(threads), _folder: folder }
    }

    /// Ends in order: everything that was taken in is durable then.
    pub(super) async fn stop(mut self) {
        let threads = self.threads.take().unwrap();
        tokio::task::spawn_blocking(move || threads.stop()).await.unwrap();
    }

    pub(super) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// A connection with a token of these claims, signed with the key of `seed`.
    pub(super) fn with(&self, seed: u8, mut claims: serde_json::Value) -> Client {
        claims["exp"] = json!(NOW_SECONDS + 600);
        self.with_token(&sign(seed, &claims))
    }

    /// A connection with this token.
    pub(super) fn with_token(&self, token: &str) -> Client {
        let token = format!("Bearer {token}").parse().unwrap();
        InterceptedService::new(self.channel.clone(), Bearer(Some(token)))
    }

    /// A connection as the account studio.
    pub(super) fn studio(&self) -> Client {
        self.with(1, json!({"sub": "studio"}))
    }

    /// A machine of studio that joins a pool and opens a session.
    pub(super) async fn join(&self, pool: &str, node: &str) -> FakeNode {
        let mut pools = wire::pool_service_client::PoolServiceClient::new(self.studio());
        let token = wire::JoinToken { pool_id: pool.into(), ..Default::default() };
        let request = wire::CreateJoinTokenRequest { join_token: Some(token), ..Default::default() };
        let text = pools.create_join_token(request).await.unwrap().into_inner().text;
        let token = crate::join_token::JoinToken::parse(&text).unwrap();
        let node = NodeId::parse(node).unwrap();
        let join = NodeInput::Join {
            token: token.id.clone(),
            secret_hash: token.secret_hash(),
            node: CreatedNode { node: node.clone(), account: None, pool: None },
            facts: Box::new(facts(&node)),
        };
        self.engine.submit(Input::Node(join)).await.unwrap();
        self.connect(&node).await
    }

    /// Opens a session of a node that has joined.
    pub(super) async fn connect(&self, node: &NodeId) -> FakeNode {
        self.connect_after(node, "boot").await
    }

    /// Opens a session of a node whose machine has booted since.
    pub(super) async fn connect_after(&self, node: &NodeId, boot: &str) -> FakeNode {
        let key = NodeKey { account: name("studio"), node: node.clone() };
        let session = self.engine.new_session_id();
        let (route, outbox) = self.engine.register_session(key.clone(), session);
        let (asked, reads) = mpsc::channel(64);
        let attachment = self.relay.attach(key.clone(), session, asked);
        let pen = self.board.attach(key.clone(), session);
        let facts = MachineFacts { boot_id: boot.to_owned(), ..facts(node) };
        let connected = Connected {
            node: key.clone(),
            session,
            connection: session,
            facts,
            held: Vec::new(),
            start_task: None,
        };
        self.engine.submit(Input::Node(NodeInput::Connected(Box::new(connected)))).await.unwrap();
        FakeNode {
            engine: self.engine.clone(),
            relay: self.relay.clone(),
            key,
            session,
            outbox,
            reads,
            next_report: 1,
            pen,
            _route: route,
            _attachment: attachment,
        }
    }
}

fn facts(node: &NodeId) -> MachineFacts {
    MachineFacts {
        machine_id: format!("machine-{node}"),
        boot_id: "boot".into(),
        hostname: "host".into(),
        ip_address: "127.0.0.1".into(),
        agent_version: "0.1.0".into(),
        os: "Linux".into(),
        capacity: Resources {
            cpu_millis: 4000,
            memory_bytes: 1 << 34,
            disk_bytes: 1 << 40,
            ..Resources::default()
        },
        capabilities: Capabilities {
            cgroup: "v2".into(),
            memory_limit: true,
            isolation: IsolationLevel::Sandbox,
            user_switch: true,
            reboot: true,
            notes: vec!["no command for a reimage".into()],
            ..Capabilities::default()
        },
        boot_time: Timestamp::from_micros(1),
    }
}

/// A node that does what the test says.
pub(super) struct FakeNode {
    engine: EngineHandle,
    relay: Relay,
    pub(super) key: NodeKey,
    session: SessionId,
    outbox: NodeOutbox,
    reads: mpsc::Receiver<ControllerMessage>,
    next_report: u64,
    pub(super) pen: Pen,
    _route: SessionRoute,
    _attachment: Attachment,
}

impl FakeNode {
    /// Waits for the next attempts.
    pub(super) async fn dispatched(&mut self) -> Vec<AttemptId> {
        loop {
            if let NodeMessage::Dispatch { attempts } = self.told().await {
                return attempts;
            }
        }
    }

    /// Waits for the next message, whatever it is.
    pub(super) async fn told(&mut self) -> NodeMessage {
        soon(self.outbox.messages.recv()).await.expect("the session is open")
    }

    pub(super) async fn report(&mut self, report: Report) {
        let number = self.next_report;
        self.next_report += 1;
        let reports = vec![NumberedReport { number, report }];
        let input = NodeInput::Reports { node: self.key.clone(), session: self.session, reports };
        self.engine.submit(Input::Node(input)).await.unwrap();
    }

    pub(super) async fn started(&mut self, attempt: &AttemptId) {
        self.report(Report::Started { attempt: attempt.clone(), time: now() }).await;
    }

    /// Reports the end of an attempt that wrote `stdout`, of which the first and last four bytes are kept.
    pub(super) async fn finished(&mut self, attempt: &AttemptId, exit_code: i32, stdout: &[u8]) {
        let total_bytes = u64::try_from(stdout.len()).unwrap();
        let excerpt = if stdout.len() <= 8 {
            Excerpt { head: stdout.to_vec(), tail: Vec::new(), total_bytes }
        } else {
            Excerpt { head: stdout[..4].to_vec(), tail: stdout[stdout.len() - 4..].to_vec(), total_bytes }
        };
        let failure =
            (exit_code != 0).then(|| FailureInfo::new(Cause::ExitCode, "it exited with another code"));
        let result = AttemptResult {
            result: if exit_code == 0 { ExecutionResult::Success } else { ExecutionResult::Failure },
            exit_code: Some(exit_code),
            signal: None,
            failure,
            start_time: Some(now()),
            end_time: now(),
            usage: muster_model::Usage { peak_memory_bytes: 77, ..Default::default() },
            stdout: excerpt,
            stderr: Excerpt::default(),
            outputs: Vec::new(),
        };
        self.pen.ended(attempt);
        self.report(Report::Finished { attempt: attempt.clone(), result: Box::new(result) }).await;
    }

    /// Waits until the controller asks for a file.
    pub(super) async fn asked_for_file(&mut self) -> wire::ReadFile {
        loop {
            match soon(self.reads.recv()).await.expect("the session is open").body {
                Some(Body::ReadFile(read)) => return read,
                _cancelled => {}
            }
        }
    }

    /// Waits until the controller asks for a directory.
    pub(super) async fn asked_for_directory(&mut self) -> wire::ListNodeDirectory {
        loop {
            match soon(self.reads.recv()).await.expect("the session is open").body {
                Some(Body::ListDirectory(list)) => return list,
                _cancelled => {}
            }
        }
    }

    /// Begins the answer to a read.
    pub(super) fn serve(&self, read_id: &str, path: &str, size: u64, offset: u64) -> NodeServe {
        let file = wire::NodeFile { path: path.into(), size_bytes: size, ..Default::default() };
        let header = wire::ServeFileHeader { read_id: read_id.into(), file: Some(file), offset };
        self.relay.accept(&self.key, header).expect("somebody waits for it")
    }

    /// Answers a read with these bytes.
    pub(super) async fn serve_bytes(&self, read: &wire::ReadFile, bytes: &'static [u8]) {
        let size = u64::try_from(bytes.len()).unwrap();
        let serve = self.serve(&read.read_id, &read.path, size, read.offset);
        let from = usize::try_from(read.offset).unwrap();
        if from < bytes.len() {
            assert!(serve.send(Part::Chunk(Bytes::from_static(&bytes[from..]))).await);
        }
        serve.finish();
    }

    /// Refuses a read.
    pub(super) fn refuse(&self, read_id: &str, refusal: wire::ReadRefusal) {
        let refused = wire::ReadRefused {
            read_id: read_id.into(),
            refusal: refusal.into(),
            message: "the test says so".into(),
        };
        self.relay.refuse(&self.key, refused);
    }
}

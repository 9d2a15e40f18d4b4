//! A controller as far as an agent can tell: TLS with a CA of its own, joining, a session, content.
//!
//! It acknowledges what it is told and remembers all of it; a test changes its behaviour through `State`, and waits for
//! what it learns with `wait`, which has a deadline.

use muster_model::Timestamp;
use muster_proto::convert;
use muster_proto::wire;
use muster_proto::wire::agent_message::Body as Said;
use muster_proto::wire::controller_message::Body;
use muster_proto::wire::node_service_server::{NodeService, NodeServiceServer};
use muster_proto::wire::{fetch_file_response, serve_file_request, upload_file_request};
use muster_runtime::tls::{
    AcceptLimits, ClientCertificates, Fingerprint, Identity, TlsConn, TlsIncoming, certificates_from_pem,
    server_config,
};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::{ReceiverStream, UnboundedReceiverStream};
use tokio_stream::{Stream, StreamExt};
use tonic::transport::server::Connected;
use tonic::{Request, Response, Status, Streaming};

/// How long anything may take before a test fails.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

type Out = mpsc::UnboundedSender<Result<wire::ControllerMessage, Status>>;

/// What the controller knows and how it behaves.
pub(crate) struct State {
    pub(crate) settings: wire::NodeSettings,
    pub(crate) lease_ttl: Duration,
    /// Whether it answers Hellos and heartbeats.
    pub(crate) grants_leases: bool,
    /// Heartbeats that it has answered.
    pub(crate) heartbeats: usize,
    pub(crate) acknowledges: bool,
    pub(crate) verdicts: BTreeMap<String, wire::HeldVerdict>,
    pub(crate) hellos: Vec<wire::Hello>,
    pub(crate) reports: Vec<wire::Report>,
    pub(crate) metrics: Vec<wire::Metrics>,
    pub(crate) contents: BTreeMap<String, Vec<u8>>,
    pub(crate) fetches: usize,
    pub(crate) uploads: Vec<String>,
    pub(crate) served: BTreeMap<String, (Vec<u8>, Vec<wire::NodeFile>, bool)>,
    pub(crate) refused: Vec<wire::ReadRefused>,
    pub(crate) renewals: usize,
    pub(crate) knows_the_node: bool,
    pub(crate) certificate_life: Duration,
    /// What a Welcome or a grant says of the controller's clock, as a distance from the true time in seconds; `None` says nothing.
    pub(crate) clock_off: Option<i64>,
    out: Option<Out>,
}

impl State {
    fn server_time(&self) -> Option<Timestamp> {
        let off = |seconds: i64| muster_runtime::clock::wall_us() + seconds * 1_000_000;
        self.clock_off.map(|seconds| Timestamp::from_micros(off(seconds)))
    }
}

/// The controller.
#[derive(Clone)]
pub(crate) struct Controller {
    pub(crate) state: Arc<Mutex<State>>,
    changed: watch::Sender<u64>,
    pub(crate) port: u16,
    pub(crate) token: String,
    ca_pem: String,
    ca_key_pem: String,
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Controller {
    pub(crate) async fn start(slots: u32) -> Self {
        let ca_key = rcgen::KeyPair::generate().unwrap();
        let mut ca = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
        ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        ca.distinguished_name.push(rcgen::DnType::CommonName, "test CA");
        let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
        let issuer = rcgen::Issuer::from_ca_cert_pem(&ca_pem, &ca_key).unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let server = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let server_pem = server.signed_by(&key, &issuer).unwrap().pem();
        let chain = format!("{server_pem}{ca_pem}");
        let identity = Identity::from_pem(chain.as_bytes(), key.serialize_pem().as_bytes(), "test").unwrap();
        let authorities = certificates_from_pem(ca_pem.as_bytes(), "test").unwrap();
        let fingerprint = Fingerprint::of(&authorities[0]);
        let config = server_config(&identity, ClientCertificates::IfPresented(&authorities)).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let incoming = TlsIncoming::new(listener, config, AcceptLimits::default()).unwrap();
        let state = State {
            settings: wire::NodeSettings {
                task_slots: slots,
                on_lease_expiry: wire::LeaseExpiryPolicy::Kill.into(),
                dispatch_ahead: 100,
                is_dedicated: true,
                account_url: "https://controller.test".to_owned(),
                start_task: None,
                isolation_level: 0,
                task_network: 0,
                user_accounts: Vec::new(),
            },
            lease_ttl: Duration::from_secs(30),
            grants_leases: true,
            heartbeats: 0,
            acknowledges: true,
            verdicts: BTreeMap::new(),
            hellos: Vec::new(),
            reports: Vec::new(),
            metrics: Vec::new(),
            contents: BTreeMap::new(),
            fetches: 0,
            uploads: Vec::new(),
            served: BTreeMap::new(),
            refused: Vec::new(),
            renewals: 0,
            knows_the_node: true,
            certificate_life: Duration::from_secs(3600),
            clock_off: None,
            out: None,
        };
        let controller = Self {
            state: Arc::new(Mutex::new(state)),
            changed: watch::Sender::new(0),
            port,
            token: format!("mjt1.dG9r.c2VjcmV0.{fingerprint}"),
            ca_pem,
            ca_key_pem: ca_key.serialize_pem(),
        };
        let service = NodeServiceServer::new(controller.clone());
        let incoming = incoming.map(|conn| conn.map(Conn));
        tokio::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));
        controller
    }

    /// Changes or reads the state.
    pub(crate) fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let answer = change(&mut self.state.lock().unwrap());
        self.changed.send_modify(|count| *count += 1);
        answer
    }

    /// Waits until `found` finds something in the state; fails the test after a while.
    pub(crate) async fn wait<T>(&self, what: &str, mut found: impl FnMut(&mut State) -> Option<T>) -> T {
        let mut changed = self.changed.subscribe();
        let waiting = async {
            loop {
                changed.borrow_and_update();
                if let Some(found) = found(&mut self.state.lock().unwrap()) {
                    return found;
                }
                changed.changed().await.unwrap();
            }
        };
        match tokio::time::timeout(LIMIT, waiting).await {
            Ok(found) => found,
            Err(_) => {
                let state = self.state.lock().unwrap();
                panic!("waited too long for {what}; reports: {:#?}", state.reports);
            }
        }
    }

    pub(crate) fn send(&self, body: Body) {
        let state = self.state.lock().unwrap();
        let out = state.out.as_ref().expect("no session");
        out.send(Ok(wire::ControllerMessage { body: Some(body) })).unwrap();
    }

    /// Ends the session from this side.
    pub(crate) fn hang_up(&self) {
        self.with(|state| state.out = None);
    }

    pub(crate) async fn connected(&self, times: usize) {
        self.wait("a session", |state| (state.hellos.len() >= times && state.out.is_some()).then_some(()))
            .await;
    }

    pub(crate) fn assign(&self, plans: Vec<wire::AttemptPlan>) {
        self.send(Body::Assign(wire::Assign { plans }));
    }

    pub(crate) fn kill(&self, task: &str, reason: wire::KillReason) {
        let attempt = Some(attempt(task, 1));
        let kill = wire::KillAttempt { attempt, reason: reason.into(), grace: None };
        self.send(Body::KillAttempts(wire::KillAttempts { attempts: vec![kill] }));
    }

    /// Changes the wall-clock limit of the first attempt of a task.
    pub(crate) fn amend(&self, task: &str, wall_clock: Option<Duration>) {
        self.send(Body::Amend(wire::Amend {
            attempt: Some(attempt(task, 1)),
            wall_clock_time: wall_clock.map(|limit| limit.try_into().unwrap()),
            retention_time: Some(Duration::from_secs(60).try_into().unwrap()),
        }));
    }

    /// Waits for an attempt to come into a phase.
    pub(crate) async fn progress(&self, task: &str, phase: wire::AttemptPhase) {
        self.wait(&format!("{task} to be {phase:?}"), |state| {
            let events = state.reports.iter().filter_map(|report| report.event.as_ref());
            events.into_iter().find_map(|event| match event {
                wire::report::Event::Progress(progress) => {
                    let same = progress.attempt.as_ref().is_some_and(|attempt| attempt.task_id == task);
                    (same && progress.phase() == phase).then_some(())
                }
                _ => None,
            })
        })
        .await;
    }

    /// Waits until the node has told of an error with this code; answers its words.
    pub(crate) async fn health(&self, code: &str) -> String {
        self.wait(&format!("the error {code}"), |state| {
            let events = state.reports.iter().rev().filter_map(|report| report.event.as_ref());
            events.into_iter().find_map(|event| match event {
                wire::report::Event::Health(health) => {
                    let error = health.errors.iter().find(|error| error.code == code);
                    error.map(|error| error.message.clone())
                }
                _ => None,
            })
        })
        .await
    }

    /// Waits for the first attempt of a task to finish.
    pub(crate) async fn finished(&self, task: &str) -> wire::AttemptResult {
        self.wait(&format!("{task} to finish"), |state| finished_in(state, task).first().cloned()).await
    }

    /// Runs a plan to its end.
    pub(crate) async fn run(&self, plan: wire::AttemptPlan) -> wire::AttemptResult {
        let task = plan.attempt.as_ref().unwrap().task_id.clone();
        self.assign(vec![plan]);
        self.finished(&task).await
    }

    /// Sends everything that was reported about the end of a task.
    pub(crate) fn finishes(&self, task: &str) -> Vec<wire::AttemptResult> {
        finished_in(&self.state.lock().unwrap(), task)
    }
}

fn finished_in(state: &State, task: &str) -> Vec<wire::AttemptResult> {
    let events = state.reports.iter().filter_map(|report| report.event.as_ref());
    events
        .filter_map(|event| match event {
            wire::report::Event::Finished(result) => Some(result),
            _ => None,
        })
        .filter(|result| result.attempt.as_ref().is_some_and(|attempt| attempt.task_id == task))
        .cloned()
        .collect()
}

pub(crate) fn attempt(task: &str, number: u32) -> wire::AttemptRef {
    wire::AttemptRef { job_id: "job".to_owned(), task_id: task.to_owned(), attempt: number }
}

/// A plan with nothing but a command line.
pub(crate) fn plan(task: &str, command_line: &str) -> wire::AttemptPlan {
    wire::AttemptPlan {
        attempt: Some(attempt(task, 1)),
        command_line: command_line.to_owned(),
        environment_settings: Vec::new(),
        resource_files: Vec::new(),
        output_files: Vec::new(),
        limits: None,
        user_identity: None,
        required_slots: 1,
        retention_time: None,
        job_preparation_task_id: String::new(),
        gpus: 0,
        incarnation: 0,
    }
}

type Answer<T> = Result<Response<T>, Status>;
type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl NodeService for Controller {
    async fn join(&self, request: Request<wire::JoinRequest>) -> Answer<wire::JoinResponse> {
        let request = request.into_inner();
        if request.join_token != self.token {
            return Err(Status::permission_denied("the join token is used up: make another one"));
        }
        Ok(Response::new(wire::JoinResponse {
            account_name: "studio".to_owned(),
            pool_id: "pool".to_owned(),
            node_id: "node-1".to_owned(),
            certificate_chain_pem: self.sign(&request.csr_der),
            ca_pem: self.ca_pem.clone(),
        }))
    }

    async fn renew(&self, request: Request<wire::RenewRequest>) -> Answer<wire::RenewResponse> {
        self.with(|state| {
            state.renewals += 1;
            state.certificate_life = Duration::from_secs(3600);
        });
        let certificate_chain_pem = self.sign(&request.into_inner().csr_der);
        Ok(Response::new(wire::RenewResponse { certificate_chain_pem, ca_pem: self.ca_pem.clone() }))
    }

    type SessionStream = Messages<wire::ControllerMessage>;

    async fn session(&self, request: Request<Streaming<wire::AgentMessage>>) -> Answer<Self::SessionStream> {
        if !self.state.lock().unwrap().knows_the_node {
            let reason = wire::ErrorReason::NodeUnknown;
            return Err(convert::status(tonic::Code::PermissionDenied, reason, "no such node: join anew"));
        }
        let mut inbound = request.into_inner();
        let Some(Said::Hello(hello)) = inbound.message().await?.and_then(|message| message.body) else {
            return Err(Status::invalid_argument("no Hello"));
        };
        let (out, messages) = mpsc::unbounded_channel();
        let controller = self.clone();
        self.with(|state| {
            if state.grants_leases {
                let welcome = controller.welcome(state, &hello);
                out.send(Ok(wire::ControllerMessage { body: Some(Body::Welcome(welcome)) })).unwrap();
            }
            state.hellos.push(hello);
            state.out = Some(out.clone());
        });
        // The state has the only lasting way out, so that `hang_up` ends the stream.
        let weak = out.downgrade();
        drop(out);
        tokio::spawn(async move {
            while let Ok(Some(message)) = inbound.message().await {
                controller.hear(&weak, message);
            }
        });
        Ok(Response::new(Box::pin(UnboundedReceiverStream::new(messages))))
    }

    type FetchFileStream = Messages<wire::FetchFileResponse>;

    async fn fetch_file(&self, request: Request<wire::FetchFileRequest>) -> Answer<Self::FetchFileStream> {
        let request = request.into_inner();
        let content = self.with(|state| {
            state.fetches += 1;
            state.contents.get(&request.sha256).cloned()
        });
        let content = content.ok_or_else(|| Status::not_found("no such content"))?;
        let (out, messages) = mpsc::channel(4);
        tokio::spawn(async move {
            let header = wire::FetchFileHeader { size_bytes: content.len() as u64 };
            let header = fetch_file_response::Body::Header(header);
            let rest = &content[usize::try_from(request.offset).unwrap()..];
            let chunks =
                rest.chunks(100_000).map(|chunk| fetch_file_response::Body::Chunk(chunk.to_vec().into()));
            for body in std::iter::once(header).chain(chunks) {
                if out.send(Ok(wire::FetchFileResponse { body: Some(body) })).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(messages))))
    }

    async fn upload_file(
        &self,
        request: Request<Streaming<wire::UploadFileRequest>>,
    ) -> Answer<wire::UploadFileResponse> {
        let mut inbound = request.into_inner();
        let Some(upload_file_request::Body::Header(header)) = inbound.message().await?.and_then(|m| m.body)
        else {
            return Err(Status::invalid_argument("no header"));
        };
        if let Some(known) = self.with(|state| state.contents.get(&header.sha256).cloned()) {
            let (sha256, size_bytes) = (header.sha256, known.len() as u64);
            return Ok(Response::new(wire::UploadFileResponse { sha256, size_bytes, already_present: true }));
        }
        let mut content = Vec::new();
        while let Some(message) = inbound.message().await? {
            if let Some(upload_file_request::Body::Chunk(chunk)) = message.body {
                content.extend_from_slice(&chunk);
            }
        }
        let (digest, size_bytes) = (sha256(&content), content.len() as u64);
        self.with(|state| {
            state.uploads.push(digest.clone());
            state.contents.insert(digest.clone(), content);
        });
        Ok(Response::new(wire::UploadFileResponse { sha256: digest, size_bytes, already_present: false }))
    }

    async fn serve_file(
        &self,
        request: Request<Streaming<wire::ServeFileRequest>>,
    ) -> Answer<wire::ServeFileResponse> {
        let mut inbound = request.into_inner();
        let Some(serve_file_request::Body::Header(header)) = inbound.message().await?.and_then(|m| m.body)
        else {
            return Err(Status::invalid_argument("no header"));
        };
        self.with(|state| state.served.entry(header.read_id.clone()).or_default().2 = false);
        while let Some(message) = inbound.message().await? {
            self.with(|state| {
                let (bytes, files, _) = state.served.get_mut(&header.read_id).unwrap();
                match message.body {
                    Some(serve_file_request::Body::Chunk(chunk)) => bytes.extend_from_slice(&chunk),
                    Some(serve_file_request::Body::Entries(entries)) => files.extend(entries.files),
                    _ => {}
                }
            });
        }
        self.with(|state| state.served.get_mut(&header.read_id).unwrap().2 = true);
        Ok(Response::new(wire::ServeFileResponse {}))
    }
}

impl Controller {
    fn sign(&self, csr_der: &[u8]) -> String {
        let key = rcgen::KeyPair::from_pem(&self.ca_key_pem).unwrap();
        let issuer = rcgen::Issuer::from_ca_cert_pem(&self.ca_pem, &key).unwrap();
        let mut request = rcgen::CertificateSigningRequestParams::from_der(&csr_der.to_vec().into()).unwrap();
        let life = self.state.lock().unwrap().certificate_life;
        let now = std::time::SystemTime::now();
        request.params.not_before = (now - Duration::from_secs(1)).into();
        request.params.not_after = (now + life).into();
        request.signed_by(&issuer).unwrap().pem()
    }

    fn welcome(&self, state: &State, hello: &wire::Hello) -> wire::Welcome {
        let answer = |held: &wire::HeldAttempt| {
            let task = &held.attempt.as_ref().unwrap().task_id;
            let verdict = state.verdicts.get(task).copied().unwrap_or(wire::HeldVerdict::Keep);
            wire::HeldAnswer { attempt: held.attempt.clone(), verdict: verdict.into() }
        };
        wire::Welcome {
            protocol_version: hello.protocol_version,
            node_id: "node-1".to_owned(),
            lease_ttl: Some(state.lease_ttl.try_into().unwrap()),
            heartbeat_interval: None,
            settings: Some(state.settings.clone()),
            held: hello.held.iter().map(answer).collect(),
            server_time: state.server_time().map(convert::timestamp_out),
            acknowledged_sequence: 0,
        }
    }

    fn hear(
        &self,
        out: &mpsc::WeakUnboundedSender<Result<wire::ControllerMessage, Status>>,
        message: wire::AgentMessage,
    ) {
        let say = |body| {
            if let Some(out) = out.upgrade() {
                let _gone = out.send(Ok(wire::ControllerMessage { body: Some(body) }));
            }
        };
        self.with(|state| match message.body {
            Some(Said::Heartbeat(heartbeat)) if state.grants_leases => {
                let lease_ttl = Some(state.lease_ttl.try_into().unwrap());
                let (sequence, server_time) =
                    (heartbeat.sequence, state.server_time().map(convert::timestamp_out));
                state.heartbeats += 1;
                say(Body::LeaseGranted(wire::LeaseGranted { sequence, lease_ttl, server_time }));
            }
            Some(Said::Reports(reports)) => {
                let known: BTreeSet<u64> = state.reports.iter().map(|report| report.sequence).collect();
                let last = reports.reports.last().map_or(0, |report| report.sequence);
                state.reports.extend(reports.reports.into_iter().filter(|r| !known.contains(&r.sequence)));
                if state.acknowledges {
                    say(Body::Acknowledge(wire::Acknowledge { sequence: last }));
                }
            }
            Some(Said::ReadRefused(refused)) => state.refused.push(refused),
            Some(Said::Metrics(metrics)) => state.metrics.push(metrics),
            Some(Said::Heartbeat(_) | Said::Hello(_)) | None => {}
        });
    }
}

/// A connection with what tonic wants to know of it.
struct Conn(TlsConn);

impl Connected for Conn {
    type ConnectInfo = ();
    fn connect_info(&self) {}
}

impl AsyncRead for Conn {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Conn {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

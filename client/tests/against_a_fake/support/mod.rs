//! A controller inside of the test: file, node and task services whose faults a test chooses.
//!
//! It is stupid on purpose: contents in a map, faults from a list. Where the real controller checks much, it checks only
//! what a test looks at: the token, offsets, digests.

pub(crate) mod files;
pub(crate) mod nodes;
pub(crate) mod tasks;

use std::sync::{Arc, Mutex, MutexGuard};

use muster_client::{Client, Credentials, Endpoint, RetryPolicy};
use muster_model::{AccessKey, AccountName};
use muster_proto::wire::compute_node_service_server::ComputeNodeServiceServer;
use muster_proto::wire::file_service_server::FileServiceServer;
use muster_proto::wire::task_service_server::TaskServiceServer;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Status};

/// What the services hold, and what tests look at.
#[derive(Default)]
pub(crate) struct World {
    pub files: files::Files,
    pub nodes: nodes::Nodes,
    pub tasks: tasks::Tasks,
    /// Statuses that the next unary calls are answered with.
    pub faults: Vec<Status>,
    /// Request ids of mutations, in the order in which they came.
    pub request_ids: Vec<String>,
}

#[derive(Clone, Default)]
pub(crate) struct Fake(Arc<Mutex<World>>);

impl Fake {
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }

    /// Checks the token, then answers the next fault, if there is one.
    pub(crate) fn admit<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let token = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
        if !token.is_some_and(|token| token.starts_with("Bearer ey")) {
            return Err(Status::unauthenticated("no token"));
        }
        let mut world = self.world();
        if world.faults.is_empty() { Ok(()) } else { Err(world.faults.remove(0)) }
    }

    /// Serves on a random port for as long as the runtime of the test lives, and makes a client for it.
    pub(crate) async fn serve(&self) -> Client {
        client(&self.serve_at().await)
    }

    /// The same without a client; answers its address.
    pub(crate) async fn serve_at(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Server::builder()
            .add_service(ComputeNodeServiceServer::new(self.clone()))
            .add_service(FileServiceServer::new(self.clone()))
            .add_service(TaskServiceServer::new(self.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        format!("http://{address}")
    }
}

/// A client that does not wait long between its tries.
pub(crate) fn client(address: &str) -> Client {
    client_that_waits(address, RetryPolicy::default().busy_max)
}

/// The same, which waits so long in all for a controller that is busy.
pub(crate) fn client_that_waits(address: &str, busy_max: std::time::Duration) -> Client {
    let channel = tonic::transport::Endpoint::from_shared(address.to_owned()).unwrap().connect_lazy();
    let credentials =
        Credentials::new(AccountName::parse("render").unwrap(), &AccessKey::from_bytes([7; 32]));
    let endpoint: Endpoint = "https://fake.example.org".parse().unwrap();
    let millis = std::time::Duration::from_millis;
    let retry = RetryPolicy { base: millis(1), cap: millis(5), busy_max, ..RetryPolicy::default() };
    Client::over(channel, &endpoint, credentials, retry)
}

//! All services for clients as one set of routes, with the limit on messages set.
//!
//! The gate is not here: whoever serves the routes stands it before them, and without its proof every handler fails.
//! A new service is added to the list below and to the table in `auth`.

use super::account::Accounts;
use super::compute_node::ComputeNodes;
use super::context::Api;
use super::file::Files;
use super::job::Jobs;
use super::pool::Pools;
use super::task::Tasks;
use super::version::Versions;
use muster_model::limits::REQUEST_BYTES_MAX;
use muster_proto::wire::account_service_server::AccountServiceServer;
use muster_proto::wire::compute_node_service_server::ComputeNodeServiceServer;
use muster_proto::wire::file_service_server::FileServiceServer;
use muster_proto::wire::job_service_server::JobServiceServer;
use muster_proto::wire::pool_service_server::PoolServiceServer;
use muster_proto::wire::task_service_server::TaskServiceServer;
use muster_proto::wire::version_service_server::VersionServiceServer;
use tonic::service::{Routes, RoutesBuilder};

/// The services for clients. Whoever serves them must stand the gate before them: without its proof every handler
/// fails with INTERNAL.
#[must_use]
pub fn routes(api: Api) -> Routes {
    let mut routes = RoutesBuilder::default();
    macro_rules! add {
        ($server:ident, $service:ident) => {
            routes.add_service(
                $server::new($service(api.clone())).max_decoding_message_size(REQUEST_BYTES_MAX),
            );
        };
    }
    add!(AccountServiceServer, Accounts);
    add!(VersionServiceServer, Versions);
    add!(PoolServiceServer, Pools);
    add!(ComputeNodeServiceServer, ComputeNodes);
    add!(JobServiceServer, Jobs);
    add!(TaskServiceServer, Tasks);
    add!(FileServiceServer, Files);
    routes.routes()
}

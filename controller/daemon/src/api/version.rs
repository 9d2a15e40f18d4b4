//! VersionService: what this server is, who the caller is, and what time it is here.
//!
//! Any good token may ask, also a scoped one: a client finds out with it whether its key and its clock are right.
//! Nothing about other accounts or about the machine is told.

use super::context::{Api, answer};
use crate::auth::Permit;
use muster_proto::convert::timestamp_out;
use muster_proto::version::API_VERSION;
use muster_proto::wire;
use muster_proto::wire::version_service_server::VersionService;
use tonic::{Request, Response, Status};

/// The service.
pub(super) struct Versions(pub(super) Api);

/// Behaviour that a client may ask for before it counts on it, sorted.
const FEATURES: &[&str] = &[
    "explain",
    "job-manager",
    "job-preparation",
    "resumable-uploads",
    "sweeps",
    "task-dependencies",
    "task-streams",
    "watch",
    "watch-resume",
];

#[tonic::async_trait]
impl VersionService for Versions {
    async fn get_version(
        &self,
        request: Request<wire::GetVersionRequest>,
    ) -> Result<Response<wire::GetVersionResponse>, Status> {
        answer(request, async |permit: Permit, _| {
            Ok(wire::GetVersionResponse {
                server_version: env!("CARGO_PKG_VERSION").to_owned(),
                api_version: API_VERSION.to_owned(),
                features: FEATURES.iter().map(ToString::to_string).collect(),
                account_name: permit.account().to_string(),
                server_time: Some(timestamp_out(self.0.now())),
            })
        })
        .await
    }
}

//! Every RPC over the wire with every role: who may, reaches the handler; who may not, does not.
//!
//! The calls come from the descriptor set, so a new one is tried without a line here. An INTERNAL answer is a handler
//! that asks for another proof than its right in the table yields.

use super::super::testing::{World, soon};
use crate::auth::{Role, right_of};
use http::uri::PathAndQuery;
use muster_proto::FILE_DESCRIPTOR_SET;
use muster_proto::convert::reason_of;
use muster_proto::wire::ErrorReason;
use prost::Message;
use prost_types::FileDescriptorSet;
use serde_json::json;
use tonic::client::Grpc;
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

fn client_paths() -> Vec<String> {
    let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
    let mut paths = Vec::new();
    for file in &set.file {
        for service in &file.service {
            for method in &service.method {
                paths.push(format!("/{}.{}/{}", file.package(), service.name(), method.name()));
            }
        }
    }
    paths.retain(|path| right_of(path).is_some_and(|right| !right.is_for_nodes()));
    paths
}

/// Calls with an empty message; answers the status that came, or OK.
async fn call(world: &World, path: &str, token: Option<(u8, serde_json::Value)>) -> Status {
    let mut request = Request::new(tokio_stream::iter([()]));
    if let Some((seed, mut claims)) = token {
        claims["exp"] = json!(crate::auth::testing::NOW_SECONDS + 60);
        let token = crate::auth::testing::sign(seed, &claims);
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    let mut grpc = Grpc::new(world.channel());
    grpc.ready().await.unwrap();
    let path = PathAndQuery::try_from(path).unwrap();
    let codec = ProstCodec::<(), ()>::default();
    match soon(grpc.streaming(request, path, codec)).await {
        Err(status) => status,
        // The first message of a stream is enough: a watch never ends by itself.
        Ok(answer) => match soon(answer.into_inner().message()).await {
            Err(status) => status,
            Ok(_) => Status::ok(""),
        },
    }
}

fn token_of(role: Role) -> Option<(u8, serde_json::Value)> {
    match role {
        Role::Operator => Some((3, json!({"sub": "boss"}))),
        Role::Account => Some((1, json!({"sub": "studio"}))),
        Role::Reader => Some((1, json!({"sub": "studio", "scope": "read"}))),
        Role::Job => Some((1, json!({"sub": "studio", "job": "film"}))),
        Role::JobReader => Some((1, json!({"sub": "studio", "job": "film", "scope": "read"}))),
        Role::Node | Role::Nobody => None,
    }
}

#[tokio::test]
async fn every_call_with_every_role_ends_at_the_gate_or_in_its_handler() {
    let world = World::start().await;
    let paths = client_paths();
    assert!(paths.len() > 50, "all services are there: {}", paths.len());
    for path in &paths {
        let right = right_of(path).unwrap();
        for role in Role::ALL {
            let status = call(&world, path, token_of(role)).await;
            let (code, reason) = (status.code(), reason_of(&status));
            if right.is_held_by(role) {
                // INTERNAL would be a handler that asks for another proof than its right yields.
                let at_the_gate = [Code::Unauthenticated, Code::PermissionDenied, Code::Internal];
                assert!(!at_the_gate.contains(&code), "{path} as {role:?}: {status:?}");
            } else if matches!(role, Role::Node | Role::Nobody) {
                assert_eq!(code, Code::Unauthenticated, "{path} as {role:?}: {status:?}");
                assert_eq!(reason, Some(ErrorReason::AuthenticationFailed), "{path} as {role:?}");
            } else {
                assert_eq!(code, Code::PermissionDenied, "{path} as {role:?}: {status:?}");
                assert_eq!(reason, Some(ErrorReason::PermissionDenied), "{path} as {role:?}");
            }
        }
    }
}

#[tokio::test]
async fn the_nodes_calls_and_unknown_calls_are_refused_at_the_clients_door() {
    let world = World::start().await;
    let operator = || token_of(Role::Operator);
    let session = call(&world, "/muster.v1.NodeService/Session", operator()).await;
    assert_eq!(session.code(), Code::PermissionDenied);
    assert!(session.message().contains("node_listen"), "{}", session.message());
    let unknown = call(&world, "/muster.v1.PoolService/GetPools", operator()).await;
    assert_eq!(unknown.code(), Code::Unimplemented);
}

#[tokio::test]
async fn a_token_for_one_job_is_refused_for_another_by_the_handler() {
    let world = World::start().await;
    let film = world.with(1, json!({"sub": "studio", "job": "film"}));
    let mut jobs = muster_proto::wire::job_service_client::JobServiceClient::new(film);
    let get = |id: &str| muster_proto::wire::GetJobRequest { job_id: id.into(), ..Default::default() };
    let own = jobs.get_job(get("film")).await.unwrap_err();
    assert_eq!(own.code(), Code::NotFound, "{own:?}");
    for other in ["film2", "fil", "other"] {
        let refused = jobs.get_job(get(other)).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{other}");
        assert!(refused.message().contains("'film'") && refused.message().contains(other));
    }
}

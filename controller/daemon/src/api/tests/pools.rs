//! Pools, their join tokens and their nodes.
//!
//! Also the manners that all resources share, tried on pools for all: request ids, etags, filters, orders, pages, masks
//! and the wall between accounts.

use super::super::testing::{Client, World};
use crate::join_token::JoinToken;
use muster_proto::convert::{reason_of, violations_of};
use muster_proto::wire::compute_node_service_client::ComputeNodeServiceClient;
use muster_proto::wire::pool_service_client::PoolServiceClient;
use muster_proto::wire::{self, AllocationState, ErrorReason, NodeState, PoolState, SchedulingState};
use prost_types::FieldMask;
use serde_json::json;
use tonic::{Code, Status};

fn pools(client: Client) -> PoolServiceClient<Client> {
    PoolServiceClient::new(client)
}

fn create(id: &str) -> wire::CreatePoolRequest {
    let pool = wire::Pool { id: id.into(), task_slots_per_node: 2, ..Default::default() };
    wire::CreatePoolRequest { pool: Some(pool), ..Default::default() }
}

fn refusal(status: &Status) -> (Code, Option<ErrorReason>) {
    (status.code(), reason_of(status))
}

#[tokio::test]
async fn a_pool_lives_from_create_to_delete() {
    let world = World::start().await;
    let mut studio = pools(world.studio());
    let made = studio.create_pool(create("render")).await.unwrap().into_inner();
    assert_eq!((made.state(), made.allocation_state()), (PoolState::Active, AllocationState::Steady));
    let get = wire::GetPoolRequest { pool_id: "RENDER".into(), ..Default::default() };
    assert_eq!(studio.get_pool(get.clone()).await.unwrap().into_inner(), made, "ids ignore case");

    let resize = wire::ResizePoolRequest {
        pool_id: "render".into(),
        target_dedicated_nodes: Some(3),
        etag: made.etag.clone(),
        ..Default::default()
    };
    let resized = studio.resize_pool(resize.clone()).await.unwrap().into_inner();
    assert_eq!((resized.target_dedicated_nodes, resized.allocation_state()), (3, AllocationState::Resizing));
    assert_ne!(resized.etag, made.etag);
    let stale = studio.resize_pool(resize).await.unwrap_err();
    assert_eq!(refusal(&stale), (Code::Aborted, Some(ErrorReason::ConditionNotMet)));
    assert!(stale.message().contains("'render'") && stale.message().contains(&made.etag));

    let stop = wire::StopResizePoolRequest { pool_id: "render".into(), ..Default::default() };
    let stopped = studio.stop_resize_pool(stop.clone()).await.unwrap().into_inner();
    assert_eq!((stopped.target_dedicated_nodes, stopped.allocation_state()), (3, AllocationState::Steady));
    let nothing = studio.stop_resize_pool(stop).await.unwrap_err();
    assert_eq!(nothing.code(), Code::FailedPrecondition);

    let delete = wire::DeletePoolRequest { pool_id: "render".into(), ..Default::default() };
    assert_eq!(studio.delete_pool(delete).await.unwrap().into_inner().state(), PoolState::Deleting);
    let gone = studio.get_pool(get).await.unwrap_err();
    assert_eq!(refusal(&gone), (Code::NotFound, Some(ErrorReason::PoolNotFound)));
}

#[tokio::test]
async fn everything_wrong_with_a_pool_is_said_at_once_and_nothing_is_made() {
    let world = World::start().await;
    let mut studio = pools(world.studio());
    let pool = wire::Pool {
        id: "a b".into(),
        task_slots_per_node: 300,
        enable_auto_scale: true,
        display_name: "x".repeat(1025),
        ..Default::default()
    };
    let request = wire::CreatePoolRequest { pool: Some(pool), ..Default::default() };
    let refused = studio.create_pool(request).await.unwrap_err();
    assert_eq!(refusal(&refused), (Code::InvalidArgument, Some(ErrorReason::InvalidPropertyValue)));
    let fields: Vec<_> = violations_of(&refused).into_iter().map(|violation| violation.field).collect();
    for field in ["pool.id", "pool.task_slots_per_node", "pool.enable_auto_scale", "pool.display_name"] {
        assert!(fields.iter().any(|found| found == field), "{field}: {fields:?}");
    }
    let list = studio.list_pools(wire::ListPoolsRequest::default()).await.unwrap().into_inner();
    assert!(list.pools.is_empty());
    let nothing = studio.create_pool(wire::CreatePoolRequest::default()).await.unwrap_err();
    assert!(nothing.message().contains("pool"), "{nothing:?}");
}

#[tokio::test]
async fn a_repeat_with_a_request_id_is_done_once_and_an_id_is_for_one_request() {
    let world = World::start().await;
    let mut studio = pools(world.studio());
    let request = |id: &str| wire::CreatePoolRequest { request_id: "once".into(), ..create(id) };
    let first = studio.create_pool(request("render")).await.unwrap().into_inner();
    let again = studio.create_pool(request("render")).await.unwrap().into_inner();
    assert_eq!(first, again);
    let other = studio.create_pool(request("other")).await.unwrap_err();
    assert_eq!(reason_of(&other), Some(ErrorReason::RequestIdReused));
    let taken = studio.create_pool(create("Render")).await.unwrap_err();
    assert_eq!(refusal(&taken), (Code::AlreadyExists, Some(ErrorReason::PoolExists)));
}

#[tokio::test]
async fn accounts_see_nothing_of_each_other() {
    let world = World::start().await;
    pools(world.studio()).create_pool(create("render")).await.unwrap();
    let mut other = pools(world.with(5, json!({"sub": "other1"})));
    let get = wire::GetPoolRequest { pool_id: "render".into(), ..Default::default() };
    assert_eq!(other.get_pool(get).await.unwrap_err().code(), Code::NotFound);
    let list = other.list_pools(wire::ListPoolsRequest::default()).await.unwrap().into_inner();
    assert!(list.pools.is_empty());
    assert!(other.create_pool(create("render")).await.is_ok(), "the id is free in another account");
}

#[tokio::test]
async fn updates_change_what_the_mask_names() {
    let world = World::start().await;
    let mut studio = pools(world.studio());
    studio.create_pool(create("render")).await.unwrap();
    let update = |pool: wire::Pool, paths: &[&str]| wire::UpdatePoolRequest {
        pool: Some(wire::Pool { id: "render".into(), ..pool }),
        update_mask: Some(FieldMask { paths: paths.iter().map(ToString::to_string).collect() }),
        ..Default::default()
    };
    let named = wire::Pool { display_name: "Farm".into(), task_slots_per_node: 4, ..Default::default() };
    let changed = studio.update_pool(update(named, &["display_name"])).await.unwrap().into_inner();
    assert_eq!((changed.display_name.as_str(), changed.task_slots_per_node), ("Farm", 2));
    let refused = studio.update_pool(update(wire::Pool::default(), &["id"])).await.unwrap_err();
    assert!(refused.message().contains("update_mask") && refused.message().contains("display_name"));
    let mut stale = update(wire::Pool::default(), &["display_name"]);
    stale.etag = "12345".into();
    assert_eq!(studio.update_pool(stale).await.unwrap_err().code(), Code::Aborted);
}

#[tokio::test]
async fn lists_are_filtered_ordered_paged_and_masked() {
    let world = World::start().await;
    let mut studio = pools(world.studio());
    for id in ["c1", "a1", "b1", "z9"] {
        studio.create_pool(create(id)).await.unwrap();
    }
    let request = wire::ListPoolsRequest {
        page_size: 2,
        filter: "id != 'z9'".into(),
        order_by: "id desc".into(),
        read_mask: Some(FieldMask { paths: vec!["id".into()] }),
        ..Default::default()
    };
    let first = studio.list_pools(request.clone()).await.unwrap().into_inner();
    let only = |id: &str| wire::Pool { id: id.into(), ..Default::default() };
    assert_eq!(first.pools, [only("c1"), only("b1")]);
    let next = wire::ListPoolsRequest { page_token: first.next_page_token.clone(), ..request.clone() };
    let second = studio.list_pools(next).await.unwrap().into_inner();
    assert_eq!((second.pools, second.next_page_token.as_str()), (vec![only("a1")], ""));

    let other = wire::ListPoolsRequest { page_token: first.next_page_token, ..Default::default() };
    let refused = studio.list_pools(other).await.unwrap_err();
    assert_eq!(refusal(&refused), (Code::InvalidArgument, Some(ErrorReason::InvalidPageToken)));
    let bad = wire::ListPoolsRequest { filter: "colour = 'red'".into(), ..Default::default() };
    let refused = studio.list_pools(bad).await.unwrap_err();
    assert_eq!(refusal(&refused), (Code::InvalidArgument, Some(ErrorReason::InvalidFilter)));
    assert!(refused.message().contains("colour") && refused.message().contains("allocation_state"));
    let bad = FieldMask { paths: vec!["colour".into()] };
    let bad = wire::ListPoolsRequest { read_mask: Some(bad), ..Default::default() };
    assert!(studio.list_pools(bad).await.unwrap_err().message().contains("colour"));
}

#[tokio::test]
async fn a_join_token_is_told_once_and_found_again_without_its_text() {
    let world = World::start().await;
    let mut studio = pools(world.studio());
    studio.create_pool(create("render")).await.unwrap();
    let token = wire::JoinToken { pool_id: "render".into(), max_uses: 3, ..Default::default() };
    let request = wire::CreateJoinTokenRequest { join_token: Some(token), request_id: "t1".into() };
    let first = studio.create_join_token(request.clone()).await.unwrap().into_inner();
    let text = JoinToken::parse(&first.text).unwrap();
    let made = first.join_token.unwrap();
    assert_eq!((text.id.as_str(), made.max_uses, made.uses), (made.id.as_str(), 3, 0));
    assert_eq!(text.fingerprint, muster_model::Digest::from_bytes([7; 32]));
    let again = studio.create_join_token(request).await.unwrap().into_inner();
    assert_eq!((again.text.as_str(), again.join_token), ("", Some(made.clone())));

    let list = wire::ListJoinTokensRequest { pool_id: "render".into(), ..Default::default() };
    assert_eq!(
        studio.list_join_tokens(list.clone()).await.unwrap().into_inner().join_tokens,
        std::slice::from_ref(&made)
    );
    let revoke = wire::RevokeJoinTokenRequest {
        pool_id: "render".into(),
        join_token_id: made.id,
        ..Default::default()
    };
    studio.revoke_join_token(revoke.clone()).await.unwrap();
    assert!(studio.list_join_tokens(list).await.unwrap().into_inner().join_tokens.is_empty());
    let gone = studio.revoke_join_token(revoke).await.unwrap_err();
    assert_eq!(refusal(&gone), (Code::NotFound, Some(ErrorReason::JoinTokenNotFound)));
    let nowhere = wire::ListJoinTokensRequest { pool_id: "nope".into(), ..Default::default() };
    assert_eq!(studio.list_join_tokens(nowhere).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn nodes_are_seen_counted_switched_and_removed() {
    let world = World::start().await;
    let mut studio = pools(world.studio());
    studio.create_pool(create("render")).await.unwrap();
    studio.create_pool(create("other")).await.unwrap();
    let _node = world.join("render", "n1").await;
    let mut nodes = ComputeNodeServiceClient::new(world.studio());
    let get = |pool: &str, node: &str| wire::GetNodeRequest {
        pool_id: pool.into(),
        node_id: node.into(),
        ..Default::default()
    };
    let node = nodes.get_node(get("render", "n1")).await.unwrap().into_inner();
    assert_eq!((node.state(), node.task_slots), (NodeState::Idle, 2));
    let elsewhere = nodes.get_node(get("other", "n1")).await.unwrap_err();
    assert_eq!(refusal(&elsewhere), (Code::NotFound, Some(ErrorReason::NodeNotFound)));
    let nowhere = nodes.get_node(get("nope", "n1")).await.unwrap_err();
    assert_eq!(reason_of(&nowhere), Some(ErrorReason::PoolNotFound));

    let counts = wire::ListPoolNodeCountsRequest { pool_id: "render".into(), ..Default::default() };
    let counts = studio.list_pool_node_counts(counts).await.unwrap().into_inner();
    let dedicated = counts.pool_node_counts[0].dedicated.unwrap();
    assert_eq!((dedicated.idle, dedicated.total), (1, 1));
    let pool = wire::GetPoolRequest { pool_id: "render".into(), ..Default::default() };
    assert_eq!(studio.get_pool(pool).await.unwrap().into_inner().current_dedicated_nodes, 1);

    let disable = wire::DisableNodeSchedulingRequest {
        pool_id: "render".into(),
        node_id: "n1".into(),
        option: wire::DisableSchedulingOption::TaskCompletion.into(),
        ..Default::default()
    };
    let disabled = nodes.disable_node_scheduling(disable.clone()).await.unwrap().into_inner();
    assert_eq!(disabled.scheduling_state(), SchedulingState::Disabled);
    let twice = nodes.disable_node_scheduling(disable).await.unwrap_err();
    assert_eq!(reason_of(&twice), Some(ErrorReason::NodeAlreadyInTargetSchedulingState));

    let remove = wire::RemoveNodesRequest {
        pool_id: "render".into(),
        node_ids: vec!["n1".into()],
        etag: "99999".into(),
        ..Default::default()
    };
    assert_eq!(nodes.remove_nodes(remove.clone()).await.unwrap_err().code(), Code::Aborted);
    nodes.remove_nodes(wire::RemoveNodesRequest { etag: String::new(), ..remove }).await.unwrap();
}

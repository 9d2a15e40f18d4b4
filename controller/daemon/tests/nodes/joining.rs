//! Who becomes a node, who does not, and what each is told.
//!
//! Tokens of every kind, requests with every field damaged, certificates of the right and of another authority; and that
//! what is refused has used up nothing.

use crate::support::*;
use muster_controller::join_token::JoinToken;
use muster_model::{Digest, TokenId};
use muster_proto::convert::reason_of;
use muster_proto::wire::{self, ErrorReason};
use muster_runtime::secret::Secret;
use rcgen::KeyPair;
use tonic::Code;

#[tokio::test]
async fn a_machine_joins_and_its_certificate_opens_a_session_and_renews_itself() {
    let world = World::new().await;
    let mut agent = world.join("machine").await;
    assert!(agent.key.node.as_str().starts_with("tvm-"), "{:?}", agent.key);
    let row = world.engine.reader().node(&account(), &agent.key.node).unwrap().unwrap();
    assert_eq!(row.facts.ip_address, "127.0.0.1");
    let (_session, welcome) = agent.session().await;
    assert_eq!(welcome.node_id, agent.key.node.as_str());
    assert_eq!(welcome.settings.unwrap().task_slots, 1);

    let key = KeyPair::generate().unwrap();
    let renewed = within(agent.client.renew(wire::RenewRequest { csr_der: csr(&key) })).await.unwrap();
    agent.client = world.connect(Some(&identity(&renewed.into_inner().certificate_chain_pem, &key))).await;
    agent.session().await;
    world.stop().await;
}

#[tokio::test]
async fn tokens_that_do_not_open_say_why() {
    let world = World::new().await;
    let good = world.token("good", 1, 3600).await;
    let expired = world.token("expired", 1, -1).await;
    let unknown = JoinToken { id: TokenId::parse("nobody").unwrap(), ..good.clone() };
    let guessed = JoinToken { secret: Secret::new([6u8; 32].to_vec()), ..good.clone() };
    let elsewhere = JoinToken { fingerprint: Digest::from_bytes([0; 32]), ..good.clone() };
    for (token, reason, words) in [
        (&unknown, ErrorReason::JoinTokenUnknown, "'nobody' is not known here"),
        (&guessed, ErrorReason::JoinTokenUnknown, "'good' is not known here, or its secret is wrong"),
        (&expired, ErrorReason::JoinTokenExpired, "has expired"),
        (&elsewhere, ErrorReason::JoinTokenUnknown, "is for a controller whose CA has the fingerprint"),
    ] {
        let refused = world.join_with(token, "m").await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
        assert_eq!(reason_of(&refused), Some(reason), "{refused}");
        assert!(refused.message().contains(words), "{refused}");
        assert!(refused.message().contains("muster token create"), "{refused}");
    }
    world.join_with(&good, "first").await.unwrap();
    let refused = world.join_with(&good, "second").await.unwrap_err();
    assert_eq!(reason_of(&refused), Some(ErrorReason::JoinTokenUsedUp));
    assert!(refused.message().contains("has been used 1 times"), "{refused}");
    world.stop().await;
}

#[tokio::test]
async fn a_repeated_join_gets_the_same_node_and_uses_the_token_once() {
    let world = World::new().await;
    let token = world.token("once", 1, 3600).await;
    let key = KeyPair::generate().unwrap();
    let first = world.join_by_key(&token, "machine", &key).await.unwrap();
    let second = world.join_by_key(&token, "machine", &key).await.unwrap();
    assert_eq!(first.key, second.key);
    let other = world.join_with(&token, "machine").await.unwrap_err();
    assert_eq!(reason_of(&other), Some(ErrorReason::JoinTokenUsedUp));
    world.stop().await;
}

#[tokio::test]
async fn malformed_requests_are_refused_field_by_field() {
    let world = World::new().await;
    let token = world.token("good", 1, 3600).await;
    let good = || wire::JoinRequest {
        join_token: token.to_text(),
        csr_der: csr(&KeyPair::generate().unwrap()),
        facts: Some(facts("m")),
    };
    let mut client = world.connect(None).await;
    for (request, words) in [
        (wire::JoinRequest { csr_der: vec![1, 2, 3], ..good() }, "csr_der"),
        (wire::JoinRequest { facts: None, ..good() }, "facts"),
    ] {
        let refused = within(client.join(request)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        assert!(refused.message().contains(words), "{refused}");
    }
    let refused = within(client.join(wire::JoinRequest { join_token: "mjt1.x".to_owned(), ..good() })).await;
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
    // None of them has used the token.
    world.join_with(&token, "m").await.unwrap();
    world.stop().await;
}

#[tokio::test]
async fn without_a_certificate_there_is_nothing_but_joining() {
    let world = World::new().await;
    let mut client = world.connect(None).await;
    let refused = within(client.renew(wire::RenewRequest::default())).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
    let refused = within(client.fetch_file(wire::FetchFileRequest::default())).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
    world.stop().await;
}

#[tokio::test]
async fn a_certificate_of_another_authority_does_not_even_connect() {
    let (world, other) = (World::new().await, World::new().await);
    let stranger = other.join("stranger").await;
    let mut client = world.connect(Some(&stranger.identity)).await;
    let refused = within(client.renew(wire::RenewRequest::default())).await.unwrap_err();
    // The handshake fails; there is no answer of any service.
    assert_eq!(refused.message(), "transport error", "{refused}");
    world.stop().await;
    other.stop().await;
}

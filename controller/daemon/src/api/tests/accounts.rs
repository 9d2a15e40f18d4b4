//! Accounts: made by operators, keys for their owners, a replaced key worthless at once.
//!
//! What the gate decides by role is tried in `roles`; here is what handlers check themselves, such as another
//! account's name in a request.

use super::super::testing::World;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use muster_proto::convert::reason_of;
use muster_proto::wire::account_service_client::AccountServiceClient;
use muster_proto::wire::version_service_client::VersionServiceClient;
use muster_proto::wire::{self, AccountKeyName, ErrorReason};
use serde_json::json;
use tonic::Code;

#[tokio::test]
async fn an_operator_makes_accounts_with_two_keys_each() {
    let world = World::start().await;
    let mut boss = AccountServiceClient::new(world.with(3, json!({"sub": "boss"})));
    let create = |name: &str, id: &str| wire::CreateAccountRequest {
        account: Some(wire::Account { name: name.into(), display_name: "New".into(), ..Default::default() }),
        request_id: id.into(),
    };
    let first = boss.create_account(create("newone", "r1")).await.unwrap().into_inner();
    let keys = first.keys.unwrap();
    assert_eq!(STANDARD.decode(&keys.primary).unwrap().len(), 32);
    assert_ne!(keys.primary, keys.secondary);
    let taken = boss.create_account(create("newone", "r2")).await.unwrap_err();
    assert_eq!((taken.code(), reason_of(&taken)), (Code::AlreadyExists, Some(ErrorReason::AccountExists)));
    let bad = boss.create_account(create("Bad Name", "")).await.unwrap_err();
    assert_eq!(bad.code(), Code::InvalidArgument);
    assert!(bad.message().contains("account.name") && bad.message().contains("3 to 24"), "{}", bad.message());

    let list = wire::ListAccountsRequest { page_size: 2, ..Default::default() };
    let page = boss.list_accounts(list).await.unwrap().into_inner();
    let names: Vec<_> = page.accounts.iter().map(|account| account.name.as_str()).collect();
    assert_eq!(names, ["boss", "newone"]);
    let list = wire::ListAccountsRequest { page_token: page.next_page_token, ..Default::default() };
    assert_eq!(boss.list_accounts(list).await.unwrap().into_inner().accounts.len(), 2);
}

#[tokio::test]
async fn nobody_but_an_operator_sees_another_account() {
    let world = World::start().await;
    let mut studio = AccountServiceClient::new(world.studio());
    let get = |name: &str| wire::GetAccountRequest { account_name: name.into(), ..Default::default() };
    assert_eq!(studio.get_account(get("")).await.unwrap().into_inner().name, "studio");
    for name in ["other1", "nosuch1"] {
        let refused = studio.get_account(get(name)).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "existence is not told");
        assert!(refused.message().contains(name) && refused.message().contains("'studio'"));
        let keys = wire::GetAccountKeysRequest { account_name: name.into() };
        assert_eq!(studio.get_account_keys(keys).await.unwrap_err().code(), Code::PermissionDenied);
    }
    let mut boss = AccountServiceClient::new(world.with(3, json!({"sub": "boss"})));
    assert_eq!(boss.get_account(get("studio")).await.unwrap().into_inner().name, "studio");
    let missing = boss.get_account(get("nosuch1")).await.unwrap_err();
    assert_eq!((missing.code(), reason_of(&missing)), (Code::NotFound, Some(ErrorReason::AccountNotFound)));
}

#[tokio::test]
async fn a_replaced_key_is_worthless_at_once_and_the_other_one_stays() {
    let world = World::start().await;
    let mut by_first = AccountServiceClient::new(world.studio());
    let mut by_second = AccountServiceClient::new(world.with(2, json!({"sub": "studio"})));
    let before =
        by_second.get_account_keys(wire::GetAccountKeysRequest::default()).await.unwrap().into_inner();
    let replace =
        wire::RegenerateAccountKeyRequest { key_name: AccountKeyName::Primary.into(), ..Default::default() };
    let after = by_first.regenerate_account_key(replace).await.unwrap().into_inner();
    assert_ne!(after.primary, before.primary);
    assert_eq!(after.secondary, before.secondary);
    let refused = by_first.get_account(wire::GetAccountRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert!(refused.message().contains("does not match account 'studio'"), "{}", refused.message());
    assert!(by_second.get_account(wire::GetAccountRequest::default()).await.is_ok());
    let unnamed = wire::RegenerateAccountKeyRequest::default();
    let refused = by_second.regenerate_account_key(unnamed).await.unwrap_err();
    assert!(refused.message().contains("key_name") && refused.message().contains("PRIMARY"), "{refused:?}");
}

#[tokio::test]
async fn the_version_tells_who_one_is_and_what_time_it_is() {
    let world = World::start().await;
    let mut versions = VersionServiceClient::new(world.with(1, json!({"sub": "studio", "scope": "read"})));
    let version = versions.get_version(wire::GetVersionRequest {}).await.unwrap().into_inner();
    assert_eq!((version.account_name.as_str(), version.api_version.as_str()), ("studio", "muster.v1"));
    assert!(version.server_time.is_some() && version.features.is_sorted());
}

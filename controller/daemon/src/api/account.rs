//! AccountService: accounts for operators, keys for their owners.
//!
//! The gate lets only unscoped tokens near keys and only operators near other accounts' existence; what is left to
//! check here is that nobody but an operator names another account than its own.

use super::context::{Api, answer, checked, draw};
use super::list::{ListRequest, next_page_token, query};
use super::read_mask::ReadMask;
use super::view;
use crate::auth::Permit;
use muster_controller_core::input::{Command, NewAccount};
use muster_controller_core::record::AccountRow;
use muster_controller_core::reject::Reject;
use muster_model::{AccessKey, AccountName};
use muster_proto::convert::{self, account_name, key_name, request_id, status};
use muster_proto::wire::account_service_server::AccountService;
use muster_proto::wire::{self, ErrorReason};
use tonic::{Code, Request, Response, Status};

/// The service.
pub(super) struct Accounts(pub(super) Api);

impl Accounts {
    /// The account that a request means: the caller's own, or for an operator any.
    fn target(permit: &Permit, given: &str) -> Result<AccountName, Status> {
        let named = checked(|c| Some(account_name(c, given)))?;
        match named {
            None => Ok(permit.account().clone()),
            Some(name) if name == *permit.account() || permit.is_operator() => Ok(name),
            Some(name) => {
                let own = permit.account();
                let words = format!(
                    "account '{name}' is not yours: leave account_name empty for your own ('{own}'), or use an operator's account"
                );
                Err(status(Code::PermissionDenied, ErrorReason::PermissionDenied, words))
            }
        }
    }

    async fn row(&self, name: &AccountName) -> Result<AccountRow, Status> {
        let wanted = name.clone();
        let missing = || Reject::AccountNotFound(name.clone());
        self.0.read_one(move |reader| reader.account(&wanted), missing).await
    }

    async fn create(
        &self,
        permit: Permit,
        request: wire::CreateAccountRequest,
    ) -> Result<wire::CreateAccountResponse, Status> {
        let new = convert::NewAccount::try_from(request)?;
        let name = new.name.clone();
        let command = Command::CreateAccount(NewAccount {
            name: new.name,
            display_name: new.display_name,
            is_operator: new.is_operator,
            primary: AccessKey::from_bytes(draw()?),
            secondary: AccessKey::from_bytes(draw()?),
        });
        self.0.submit(permit.account(), new.request_id, command).await?;
        let row = self.row(&name).await?;
        Ok(wire::CreateAccountResponse {
            account: Some(view::account(&row)),
            keys: Some(view::account_keys(&row)),
        })
    }

    async fn get(&self, permit: Permit, request: wire::GetAccountRequest) -> Result<wire::Account, Status> {
        let mask = ReadMask::of(request.read_mask, "Account")?;
        let row = self.row(&Self::target(&permit, &request.account_name)?).await?;
        Ok(mask.apply(view::account(&row)))
    }

    async fn list(&self, request: wire::ListAccountsRequest) -> Result<wire::ListAccountsResponse, Status> {
        let query = query(ListRequest {
            page_size: request.page_size,
            page_token: &request.page_token,
            filter: &request.filter,
            order_by: &request.order_by,
        })?;
        let page = self.0.read(move |reader| reader.accounts(&query)).await?;
        Ok(wire::ListAccountsResponse {
            next_page_token: next_page_token(&page),
            accounts: page.items.iter().map(view::account).collect(),
        })
    }

    async fn regenerate(
        &self,
        permit: Permit,
        request: wire::RegenerateAccountKeyRequest,
    ) -> Result<wire::AccountKeys, Status> {
        let (name, request_id) = checked(|c| {
            let request_id = request_id(c, &request.request_id);
            key_name(c, request.key_name).map(|name| (name, request_id))
        })?;
        let account = Self::target(&permit, &request.account_name)?;
        let key = AccessKey::from_bytes(draw()?);
        self.0.submit(&account, request_id, Command::RegenerateKey { name, key }).await?;
        Ok(view::account_keys(&self.row(&account).await?))
    }
}

#[tonic::async_trait]
impl AccountService for Accounts {
    async fn create_account(
        &self,
        request: Request<wire::CreateAccountRequest>,
    ) -> Result<Response<wire::CreateAccountResponse>, Status> {
        answer(request, async |permit, body| self.create(permit, body).await).await
    }

    async fn get_account(
        &self,
        request: Request<wire::GetAccountRequest>,
    ) -> Result<Response<wire::Account>, Status> {
        answer(request, async |permit, body| self.get(permit, body).await).await
    }

    async fn list_accounts(
        &self,
        request: Request<wire::ListAccountsRequest>,
    ) -> Result<Response<wire::ListAccountsResponse>, Status> {
        answer(request, async |_: Permit, body| self.list(body).await).await
    }

    async fn get_account_keys(
        &self,
        request: Request<wire::GetAccountKeysRequest>,
    ) -> Result<Response<wire::AccountKeys>, Status> {
        answer(request, async |permit: Permit, body: wire::GetAccountKeysRequest| {
            let row = self.row(&Self::target(&permit, &body.account_name)?).await?;
            Ok(view::account_keys(&row))
        })
        .await
    }

    async fn regenerate_account_key(
        &self,
        request: Request<wire::RegenerateAccountKeyRequest>,
    ) -> Result<Response<wire::AccountKeys>, Status> {
        answer(request, async |permit, body| self.regenerate(permit, body).await).await
    }
}

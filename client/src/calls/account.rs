//! Calls on accounts and their keys, and on the controller's version.
//!
//! Keys come back only from the calls that are made for that; nothing here keeps or logs one. Most calls need an
//! operator's account.

use muster_proto::wire;

use super::pages::{Pages, Selection};
use crate::client::Client;
use crate::error::CallError;
use crate::identifier::request_id;

impl Client {
    /// Creates an account with two fresh keys. Operators only.
    ///
    /// # Errors
    /// As [`CallError`] says.
    pub async fn create_account(
        &self,
        account: wire::Account,
    ) -> Result<wire::CreateAccountResponse, CallError> {
        let request = wire::CreateAccountRequest { account: Some(account), request_id: request_id() };
        self.unary(request, |request| async { self.accounts().create_account(request).await }).await
    }

    /// Answers one account; an empty name means the caller's own.
    ///
    /// # Errors
    /// As [`CallError`] says.
    pub async fn get_account(&self, account: &str) -> Result<wire::Account, CallError> {
        let request = wire::GetAccountRequest { account_name: account.to_owned(), read_mask: None };
        self.unary(request, |request| async { self.accounts().get_account(request).await }).await
    }

    /// Lists accounts. Operators only.
    #[must_use]
    pub fn list_accounts(&self, selection: &Selection) -> Pages<wire::Account> {
        let (client, selected) = (self.clone(), selection.clone());
        let fetch = move |page_token: String, page_size: i32| {
            let client = client.clone();
            let Selection { filter, order_by, read_mask: _, limit: _ } = selected.clone();
            let request = wire::ListAccountsRequest { page_size, page_token, filter, order_by };
            Box::pin(async move {
                let call = |request| async { client.accounts().list_accounts(request).await };
                let page = client.unary(request, call).await?;
                Ok((page.accounts, page.next_page_token))
            }) as _
        };
        Pages::new(selection.limit, Box::new(fetch))
    }

    /// Answers the two keys of an account; an empty name means the caller's own.
    ///
    /// # Errors
    /// As [`CallError`] says.
    pub async fn get_account_keys(&self, account: &str) -> Result<wire::AccountKeys, CallError> {
        let request = wire::GetAccountKeysRequest { account_name: account.to_owned() };
        self.unary(request, |request| async { self.accounts().get_account_keys(request).await }).await
    }

    /// Replaces one key of an account; an empty name means the caller's own. Tokens signed with the old key stop
    /// working at once, this client's too if it is the key that this client signs with.
    ///
    /// # Errors
    /// As [`CallError`] says.
    pub async fn regenerate_account_key(
        &self,
        account: &str,
        key: wire::AccountKeyName,
    ) -> Result<wire::AccountKeys, CallError> {
        let request = wire::RegenerateAccountKeyRequest {
            account_name: account.to_owned(),
            key_name: key.into(),
            request_id: request_id(),
        };
        self.unary(request, |request| async { self.accounts().regenerate_account_key(request).await }).await
    }

    /// Answers the controller's version and features.
    ///
    /// # Errors
    /// As [`CallError`] says.
    pub async fn get_version(&self) -> Result<wire::GetVersionResponse, CallError> {
        let request = wire::GetVersionRequest {};
        self.unary(request, |request| async { self.versions().get_version(request).await }).await
    }
}

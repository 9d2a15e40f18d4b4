//! Calls on join tokens.
//!
//! The text of a token comes back once, from the call that creates it. What is in it is between controller and agent:
//! nothing here reads it.

use muster_proto::wire;

use super::pages::Pages;
use crate::client::Client;
use crate::error::CallError;
use crate::identifier::request_id;

impl Client {
    /// Creates a join token. Its text is in the answer and can never be read again.
    ///
    /// # Errors
    /// As [`CallError`] says.
    pub async fn create_join_token(
        &self,
        token: wire::JoinToken,
    ) -> Result<wire::CreateJoinTokenResponse, CallError> {
        let request = wire::CreateJoinTokenRequest { join_token: Some(token), request_id: request_id() };
        self.unary(request, |request| async { self.pools().create_join_token(request).await }).await
    }

    /// Lists the join tokens of a pool, newest first.
    #[must_use]
    pub fn list_join_tokens(&self, pool: &str) -> Pages<wire::JoinToken> {
        let (client, pool_id) = (self.clone(), pool.to_owned());
        let fetch = move |page_token: String, page_size: i32| {
            let client = client.clone();
            let request = wire::ListJoinTokensRequest { pool_id: pool_id.clone(), page_size, page_token };
            Box::pin(async move {
                let call = |request| async { client.pools().list_join_tokens(request).await };
                let page = client.unary(request, call).await?;
                Ok((page.join_tokens, page.next_page_token))
            }) as _
        };
        Pages::new(None, Box::new(fetch))
    }

    /// Revokes a join token; nodes that joined with it stay.
    ///
    /// # Errors
    /// As [`CallError`] says.
    pub async fn revoke_join_token(&self, pool: &str, token: &str) -> Result<(), CallError> {
        let request = wire::RevokeJoinTokenRequest {
            pool_id: pool.to_owned(),
            join_token_id: token.to_owned(),
            request_id: request_id(),
        };
        let call = |request| async { self.pools().revoke_join_token(request).await };
        self.unary(request, call).await.map(|_: wire::RevokeJoinTokenResponse| ())
    }
}

//! Join tokens: made, listed and revoked. The text is answered once; only its hash is kept.
//!
//! A repeated request must find the token of the first: its id is then derived from the request id, and the secret
//! that was drawn for the repeat is thrown away, because the store has the hash of another.

use super::context::{Api, checked, draw};
use super::list::{ListRequest, next_page_token, query};
use super::{refused, view};
use crate::auth::Permit;
use crate::join_token::{JoinToken, SECRET_BYTES};
use muster_controller_core::input::{Command, NewToken};
use muster_controller_core::reject::Reject;
use muster_model::{AccountName, RequestId, Timestamp, TokenId};
use muster_proto::convert::{NewJoinToken, Problem, pool_id, request_id, status_field};
use muster_proto::wire;
use muster_runtime::secret::Secret;
use muster_store::query::{Filter, Op, OrderBy, TokenProperty, Value};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::time::Duration;
use tonic::Status;

/// How long a token works that names no end: a day, enough to set a room of machines up.
const LIFE_DEFAULT: Duration = Duration::from_secs(24 * 3600);

/// The longest life of a token: a secret in somebody's image should not outlive a year.
const LIFE_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// Hexadecimal digits of a token's id: 64 bits tell the tokens of a controller apart.
const ID_DIGITS: usize = 16;

/// A token's id from bytes that differ for every token.
fn id_of(bytes: &[u8]) -> Result<TokenId, Status> {
    let mut text = String::from("jt-");
    for byte in bytes.iter().take(ID_DIGITS / 2) {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    checked(|c| c.keep(TokenId::parse(&text)))
}

/// The id of a new token: for a request with an id always the same.
fn choose_id(account: &AccountName, request: Option<&RequestId>) -> Result<TokenId, Status> {
    match request {
        None => id_of(&draw::<{ ID_DIGITS / 2 }>()?),
        Some(request) => {
            let mut hash = Sha256::new();
            for part in ["join token", account.as_str(), request.as_str()] {
                hash.update(part.as_bytes());
                hash.update([0]);
            }
            id_of(&hash.finalize())
        }
    }
}

fn expiry(given: Option<Timestamp>, now: Timestamp) -> Result<Timestamp, Status> {
    let latest = now.after(LIFE_MAX);
    match given {
        None => Ok(now.after(LIFE_DEFAULT)),
        Some(time) if time > now && time <= latest => Ok(time),
        Some(time) => {
            let seconds = |span: Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
            let given = if time > now { seconds(time.since(now)) } else { -seconds(now.since(time)) };
            let problem = Problem::OutOfRange { given, min: 1, max: seconds(LIFE_MAX) };
            let path = "join_token.expire_time (in seconds from now by this controller's clock)";
            Err(status_field(path, problem))
        }
    }
}

/// Makes a token.
pub(super) async fn create(
    api: &Api,
    permit: Permit,
    request: wire::CreateJoinTokenRequest,
) -> Result<wire::CreateJoinTokenResponse, Status> {
    let NewJoinToken { pool, expires, uses, request_id } = NewJoinToken::try_from(request)?;
    let expires = expiry(expires, api.now())?;
    let token = JoinToken {
        id: choose_id(permit.account(), request_id.as_ref())?,
        secret: Secret::new(draw::<SECRET_BYTES>()?.to_vec()),
        fingerprint: api.parts.ca_fingerprint,
    };
    let secret_hash = token.secret_hash();
    let new = NewToken { id: token.id.clone(), secret_hash, pool, expires, uses };
    api.submit(permit.account(), request_id, Command::CreateJoinToken(new)).await?;
    let (account, id) = (permit.account().clone(), token.id.clone());
    let missing = || Reject::TokenNotFound(token.id.clone());
    let row = api.read_one(move |reader| reader.token(&account, &id), missing).await?;
    let is_first = row.secret_hash == secret_hash;
    let text = if is_first { token.to_text() } else { String::new() };
    Ok(wire::CreateJoinTokenResponse { join_token: Some(view::join_token(&row)), text })
}

/// Lists the tokens of a pool, newest first.
pub(super) async fn list(
    api: &Api,
    permit: Permit,
    request: wire::ListJoinTokensRequest,
) -> Result<wire::ListJoinTokensResponse, Status> {
    let pool = checked(|c| pool_id(c, &request.pool_id))?;
    let list = ListRequest {
        page_size: request.page_size,
        page_token: &request.page_token,
        ..ListRequest::default()
    };
    let mut query = query::<TokenProperty>(list)?;
    let of_pool = Filter::compare(TokenProperty::PoolId, Op::Equal, Value::Text(pool.to_string()));
    // An id is text without control characters, which is all that the comparison asks of it.
    query.filter = of_pool.ok();
    query.order = vec![OrderBy { property: TokenProperty::CreateTime, descending: true }];
    let account = permit.account().clone();
    let page = api
        .read(move |reader| match reader.pool(&account, &pool)? {
            Some(_) => reader.tokens(&account, &query).map(Ok),
            None => Ok(Err(Reject::PoolNotFound(pool))),
        })
        .await?
        .map_err(|reject| refused::of_reject(&reject))?;
    Ok(wire::ListJoinTokensResponse {
        next_page_token: next_page_token(&page),
        join_tokens: page.items.iter().map(view::join_token).collect(),
    })
}

/// Makes a token worthless.
pub(super) async fn revoke(
    api: &Api,
    permit: Permit,
    request: wire::RevokeJoinTokenRequest,
) -> Result<wire::RevokeJoinTokenResponse, Status> {
    let (pool, token, request_id) = checked(|c| {
        let request_id = request_id(c, &request.request_id);
        let token = c.at("join_token_id", |c| c.keep(TokenId::parse(&request.join_token_id)));
        let pool = pool_id(c, &request.pool_id);
        Some((pool?, token?, request_id))
    })?;
    let (account, id) = (permit.account().clone(), token.clone());
    let row = api.read(move |reader| reader.token(&account, &id)).await?;
    if row.is_some_and(|row| row.pool != pool) {
        return Err(refused::of_reject(&Reject::TokenNotFound(token)));
    }
    api.submit(permit.account(), request_id, Command::RevokeJoinToken { token }).await?;
    Ok(wire::RevokeJoinTokenResponse {})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> RequestId {
        RequestId::parse(text).unwrap()
    }

    #[test]
    fn a_repeated_request_finds_the_same_token_and_no_other_does() {
        let studio = AccountName::parse("studio").unwrap();
        let other = AccountName::parse("other1").unwrap();
        let first = choose_id(&studio, Some(&request("r1"))).unwrap();
        assert_eq!(first, choose_id(&studio, Some(&request("r1"))).unwrap());
        assert_ne!(first, choose_id(&studio, Some(&request("r2"))).unwrap());
        assert_ne!(first, choose_id(&other, Some(&request("r1"))).unwrap());
        assert_ne!(choose_id(&studio, None).unwrap(), choose_id(&studio, None).unwrap());
    }

    #[test]
    fn a_token_works_for_a_day_unless_told_and_for_a_year_at_most() {
        let now = Timestamp::from_micros(1_900_000_000_000_000);
        assert_eq!(expiry(None, now).unwrap(), now.after(LIFE_DEFAULT));
        assert!(expiry(Some(now.after(LIFE_MAX)), now).is_ok());
        for wrong in [now, Timestamp::EPOCH, now.after(LIFE_MAX + Duration::from_secs(1))] {
            let words = expiry(Some(wrong), now).unwrap_err().message().to_owned();
            assert!(words.contains("expire_time") && words.contains("31536000"), "{words}");
        }
    }
}

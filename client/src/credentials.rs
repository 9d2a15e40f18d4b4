//! The bearer token of a client: a short-lived JWT that it signs itself with the account's key, or a token that it was given.
//!
//! Goes in: an account, and its key or a token. Comes out: the value of the `authorization` header. The key stays in this
//! process; a token that leaks is worthless after [`TOKEN_LIFE`]. A token is signed once and used until half of its life
//! is over. A given token (a job manager task has one, good for its job only) is sent as it is.
//!
//! What the claims mean is the controller's matter (its `auth/token.rs`).

use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use muster_model::account::ACCESS_KEY_BYTES;
use muster_model::{AccessKey, AccountName};
use muster_runtime::secret::Secret;
use serde::Serialize;
use tonic::metadata::errors::InvalidMetadataValue;
use tonic::metadata::{Ascii, MetadataValue};

/// How long a token is good for: long enough for clocks that differ by minutes, short enough that a leak is harmless.
const TOKEN_LIFE: Duration = Duration::from_secs(300);

/// Why a token cannot be made.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CredentialError {
    /// The key's text is not base64 of 32 bytes.
    #[error(
        "the account key is not valid: it must be the base64 text of {ACCESS_KEY_BYTES} bytes, as 'muster account keys' \
         or the controller's operator.toml shows it"
    )]
    Key,
    /// A token that was given has characters that no token has.
    #[error(
        "the token is not valid: MUSTER_JOB_TOKEN must be the text that the task's environment has, and nothing else"
    )]
    Token,
    /// The library refused to sign.
    #[error("cannot sign a token")]
    Sign(#[source] jsonwebtoken::errors::Error),
    /// The clock of this machine stands before 1970.
    #[error("this machine's clock stands before 1970; set it")]
    Clock,
}

#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    iat: u64,
    exp: u64,
}

struct Cached {
    value: MetadataValue<Ascii>,
    fresh_until: u64,
}

/// Where tokens come from.
enum Source {
    /// They are signed here.
    Key { key: EncodingKey, cached: Mutex<Option<Cached>> },
    /// There is one.
    Given(MetadataValue<Ascii>),
}

/// An account and what proves that one may act for it.
pub struct Credentials {
    account: AccountName,
    source: Source,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("account", &self.account).finish_non_exhaustive()
    }
}

/// Reads the text form of an account key: standard base64 of 32 bytes.
///
/// # Errors
/// [`CredentialError::Key`] when it is anything else; the text is not repeated.
pub(crate) fn parse_key(text: &Secret) -> Result<AccessKey, CredentialError> {
    let text = text.expose_str().ok_or(CredentialError::Key)?;
    let bytes = Secret::new(STANDARD.decode(text.trim()).map_err(|_| CredentialError::Key)?);
    let bytes: [u8; ACCESS_KEY_BYTES] = bytes.expose().try_into().map_err(|_| CredentialError::Key)?;
    Ok(AccessKey::from_bytes(bytes))
}

impl Credentials {
    /// Credentials of an account.
    #[must_use]
    pub fn new(account: AccountName, key: &AccessKey) -> Self {
        let key = EncodingKey::from_secret(key.expose());
        Self { account, source: Source::Key { key, cached: Mutex::new(None) } }
    }

    /// Credentials of an account by a token that somebody else signed.
    ///
    /// # Errors
    /// [`CredentialError::Token`] when the text cannot be a token; it is not repeated.
    pub fn bearer(account: AccountName, token: &Secret) -> Result<Self, CredentialError> {
        let text = token.expose_str().map(str::trim).ok_or(CredentialError::Token)?;
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(CredentialError::Token);
        }
        let value = bearer(text).map_err(|_| CredentialError::Token)?;
        Ok(Self { account, source: Source::Given(value) })
    }

    /// The account.
    #[must_use]
    pub const fn account(&self) -> &AccountName {
        &self.account
    }

    /// The value of the `authorization` header: a token that is good for some minutes.
    ///
    /// # Errors
    /// [`CredentialError::Clock`] or [`CredentialError::Sign`].
    pub fn authorization(&self) -> Result<MetadataValue<Ascii>, CredentialError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|_| CredentialError::Clock)?.as_secs();
        self.authorization_at(now)
    }

    fn authorization_at(&self, now: u64) -> Result<MetadataValue<Ascii>, CredentialError> {
        let (key, cached) = match &self.source {
            Source::Given(value) => return Ok(value.clone()),
            Source::Key { key, cached } => (key, cached),
        };
        // A panic while the lock is held cannot leave the cache half written, so a poisoned lock is as good.
        let mut cached = cached.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let half = TOKEN_LIFE.as_secs() / 2;
        if let Some(token) = cached.as_ref()
            // A clock that was set back makes a token that lasts too long: then sign anew as well.
            && (now..=now + half).contains(&token.fresh_until)
        {
            return Ok(token.value.clone());
        }
        let claims = Claims { sub: self.account.as_str(), iat: now, exp: now + TOKEN_LIFE.as_secs() };
        let token = encode(&Header::new(Algorithm::HS256), &claims, key).map_err(CredentialError::Sign)?;
        let value = bearer(&token).map_err(|_| CredentialError::Key)?;
        *cached = Some(Cached { value: value.clone(), fresh_until: now + half });
        Ok(value)
    }
}

/// The header's value for a token.
fn bearer(token: &str) -> Result<MetadataValue<Ascii>, InvalidMetadataValue> {
    let mut value: MetadataValue<Ascii> = format!("Bearer {token}").parse()?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{DecodingKey, Validation, decode};
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Read {
        sub: String,
        iat: u64,
        exp: u64,
    }

    fn credentials() -> Credentials {
        Credentials::new(AccountName::parse("render").unwrap(), &AccessKey::from_bytes([7; 32]))
    }

    fn token(value: &MetadataValue<Ascii>) -> Read {
        let text = value.to_str().unwrap().strip_prefix("Bearer ").unwrap();
        let mut validation = Validation::new(Algorithm::HS256);
        validation.validate_exp = false;
        decode::<Read>(text, &DecodingKey::from_secret(&[7; 32]), &validation).unwrap().claims
    }

    #[test]
    fn a_token_names_the_account_and_ends_after_five_minutes() {
        let claims = token(&credentials().authorization_at(1_000_000).unwrap());
        assert_eq!((claims.sub.as_str(), claims.iat, claims.exp), ("render", 1_000_000, 1_000_300));
    }

    #[test]
    fn a_token_is_used_for_half_its_life_and_then_signed_anew() {
        let credentials = credentials();
        let first = credentials.authorization_at(1_000_000).unwrap();
        assert_eq!(credentials.authorization_at(1_000_150).unwrap(), first);
        let second = credentials.authorization_at(1_000_151).unwrap();
        assert_eq!(token(&second).iat, 1_000_151);
        let set_back = credentials.authorization_at(900_000).unwrap();
        assert_eq!(token(&set_back).iat, 900_000);
    }

    #[test]
    fn a_given_token_is_sent_as_it_is() {
        let account = || AccountName::parse("render").unwrap();
        let credentials = Credentials::bearer(account(), &Secret::new("ey.a.b\n")).unwrap();
        let value = credentials.authorization_at(1_000_000).unwrap();
        assert_eq!(value.to_str().unwrap(), "Bearer ey.a.b");
        assert!(value.is_sensitive());
        assert_eq!(credentials.authorization_at(2_000_000).unwrap(), value);
        for bad in ["", " ", "a b", "a\nb", "\u{e9}"] {
            let error = Credentials::bearer(account(), &Secret::new(bad)).unwrap_err();
            assert!(matches!(error, CredentialError::Token), "{bad:?}");
        }
    }

    #[test]
    fn keys_are_base64_of_32_bytes_and_never_shown() {
        let good = STANDARD.encode([9_u8; 32]);
        assert_eq!(parse_key(&Secret::new(format!("{good}\n"))).unwrap().expose(), &[9; 32]);
        for bad in ["", "short", "not base64!", &STANDARD.encode([9_u8; 31])] {
            let error = parse_key(&Secret::new(bad)).unwrap_err().to_string();
            assert!(error.contains("base64 text of 32 bytes"), "{error}");
            assert!(bad.is_empty() || !error.contains(bad));
        }
        assert!(!format!("{:?}", credentials()).contains('7'));
    }
}

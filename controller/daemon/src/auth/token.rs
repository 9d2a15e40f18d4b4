//! A client's bearer token becomes a caller: a JWT, HS256, signed with either key of the account that `sub` names.
//!
//! The algorithm is pinned before any key is looked at. `exp` is required and bounded, so that a leaked token is
//! worthless within a day, or within a week if it is for one job; `scope` and `job` only ever narrow, and one that is not
//! understood is refused rather than ignored. Claims are believed only after the signature was good: before that, `sub`
//! merely picks the keys to try. The tokens of job manager tasks are signed here, too.

use super::accounts::AccountLookup;
use super::denied::Denied;
use super::permit::Caller;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation, dangerous, decode, decode_header, encode,
};
use muster_controller_core::record::AccountRow;
use muster_model::account::ACCESS_KEY_BYTES;
use muster_model::{AccessKey, AccountName, JobId, Timestamp};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How far in the future a token's `exp` may lie: a day's work without signing again.
pub const TOKEN_LIFE_MAX: Duration = Duration::from_secs(24 * 3600);

/// The same for a token of one job: what a job manager task may take, which cannot sign anew.
pub const JOB_TOKEN_LIFE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// How much clocks may differ: what machines without time synchronisation drift in weeks.
pub const TOKEN_LEEWAY: Duration = Duration::from_secs(60);

/// The longest token that is read: several times what our claims need, far below what costs time to hash.
pub(super) const TOKEN_BYTES_MAX: usize = 4096;

/// Seconds since the epoch as JWTs have them: most libraries write whole numbers, some fractions.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(untagged)]
enum NumericDate {
    Whole(u64),
    Fraction(f64),
}

impl NumericDate {
    /// Whole seconds; a date before 1970 or beyond counting is as good as 1970: long expired.
    fn seconds(self) -> u64 {
        match self {
            Self::Whole(seconds) => seconds,
            Self::Fraction(seconds) => Duration::try_from_secs_f64(seconds).map_or(0, |span| span.as_secs()),
        }
    }
}

/// The claims that mean something here. Others are ignored.
#[derive(Debug, Deserialize)]
struct Claims {
    sub: Option<String>,
    exp: Option<NumericDate>,
    nbf: Option<NumericDate>,
    iat: Option<NumericDate>,
    scope: Option<String>,
    job: Option<String>,
}

/// The claims of a job manager's token.
#[derive(Debug, Serialize)]
struct JobClaims<'a> {
    sub: &'a str,
    job: &'a str,
    iat: u64,
    exp: u64,
}

/// A token of an account for one job alone, good for [`JOB_TOKEN_LIFE_MAX`] from `now` or until its key is replaced.
///
/// # Errors
/// The library's, which has none for this algorithm.
pub fn job_token(
    account: &AccountRow,
    job: &JobId,
    now: Timestamp,
) -> Result<String, jsonwebtoken::errors::Error> {
    let iat = now.since(Timestamp::EPOCH).as_secs();
    let exp = iat.saturating_add(JOB_TOKEN_LIFE_MAX.as_secs());
    let claims = JobClaims { sub: account.name.as_str(), job: job.as_str(), iat, exp };
    encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(account.primary.expose()))
}

/// Checks a token.
///
/// # Errors
/// [`Denied`] says what is wrong with it.
pub(super) fn verify(token: &str, accounts: &AccountLookup, now: Timestamp) -> Result<Caller, Denied> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(Denied::TokenTooLong { bytes: token.len(), max: TOKEN_BYTES_MAX });
    }
    let header = decode_header(token).map_err(|_| Denied::NotJwt)?;
    if header.alg != Algorithm::HS256 {
        return Err(Denied::Algorithm { algorithm: algorithm_name(header.alg) });
    }
    let unproved: Claims = dangerous::insecure_decode(token).map_err(|_| Denied::NotJwt)?.claims;
    let subject = unproved.sub.ok_or(Denied::NoClaim { claim: "sub" })?;
    let account = AccountName::parse(&subject).map_err(Denied::Subject)?;

    let known = accounts(&account);
    let claims = check_signature(token, known.as_deref())?
        .ok_or_else(|| Denied::KeyMismatch { account: account.clone() })?;
    let is_operator = known.is_some_and(|known| known.is_operator);
    check_times(&claims, &account, now)?;
    let read_only = match claims.scope.as_deref() {
        None => false,
        Some("read") => true,
        Some(other) => return Err(Denied::Scope { given: other.chars().take(80).collect() }),
    };
    let job = claims.job.as_deref().map(JobId::parse).transpose().map_err(Denied::Job)?;
    let is_unscoped = job.is_none() && !read_only;
    Ok(Caller { account, is_operator: is_operator && is_unscoped, job, read_only })
}

/// The claims, if one of the account's keys made the signature. An account that does not exist costs the same two
/// checks, against keys that nobody has.
fn check_signature(token: &str, known: Option<&AccountRow>) -> Result<Option<Claims>, Denied> {
    let nobody = AccessKey::from_bytes([0; ACCESS_KEY_BYTES]);
    let keys = known.map_or([&nobody, &nobody], |account| [&account.primary, &account.secondary]);
    let mut found = None;
    for key in keys {
        match decode::<Claims>(token, &DecodingKey::from_secret(key.expose()), &signature_alone()) {
            Ok(data) => found = Some(data.claims),
            Err(error) if matches!(error.kind(), ErrorKind::InvalidSignature) => {}
            Err(_) => return Err(Denied::NotJwt),
        }
    }
    // A key of zeros is easy to guess; what it signs proves nothing.
    Ok(found.filter(|_| known.is_some()))
}

/// Only the signature is the library's to check: times are checked here against the controller's own clock.
fn signature_alone() -> Validation {
    let mut validation = Validation::new(Algorithm::HS256);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    validation
}

fn check_times(claims: &Claims, account: &AccountName, now: Timestamp) -> Result<(), Denied> {
    let now = now.since(Timestamp::EPOCH).as_secs();
    let leeway = TOKEN_LEEWAY.as_secs();
    let expires = claims.exp.ok_or(Denied::NoClaim { claim: "exp" })?.seconds();
    let ahead = claims.iat.and_then(|made| signed_difference(made.seconds(), now));
    let made_ahead = ahead.filter(|seconds| seconds.unsigned_abs() > leeway);
    if expires.saturating_add(leeway) < now {
        return Err(Denied::Expired { account: account.clone(), seconds: now - expires, made_ahead });
    }
    let left = expires.saturating_sub(now);
    let max = if claims.job.is_some() { JOB_TOKEN_LIFE_MAX } else { TOKEN_LIFE_MAX }.as_secs();
    if left > max + leeway {
        return Err(Denied::TooLong { account: account.clone(), seconds: left, max, made_ahead });
    }
    match claims.nbf.map(NumericDate::seconds) {
        Some(begins) if begins > now.saturating_add(leeway) => {
            Err(Denied::NotYet { account: account.clone(), seconds: begins - now })
        }
        Some(_) | None => Ok(()),
    }
}

fn signed_difference(left: u64, right: u64) -> Option<i64> {
    i64::try_from(left).ok()?.checked_sub(i64::try_from(right).ok()?)
}

fn algorithm_name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::HS256 => "HS256",
        Algorithm::HS384 => "HS384",
        Algorithm::HS512 => "HS512",
        Algorithm::ES256 => "ES256",
        Algorithm::ES384 => "ES384",
        Algorithm::RS256 => "RS256",
        Algorithm::RS384 => "RS384",
        Algorithm::RS512 => "RS512",
        Algorithm::PS256 => "PS256",
        Algorithm::PS384 => "PS384",
        Algorithm::PS512 => "PS512",
        Algorithm::EdDSA => "EdDSA",
        _not_known_here => "another algorithm",
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{NOW_SECONDS, account, key, lookup, now, sign, sign_as};
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::json;

    fn check(token: &str) -> Result<Caller, Denied> {
        verify(token, &lookup([account("studio", false, 1), account("boss", true, 3)]), now())
    }

    #[test]
    fn either_key_of_the_account_opens_and_scopes_narrow() {
        let exp = NOW_SECONDS + 600;
        for seed in [1, 2] {
            let caller = check(&sign(seed, &json!({"sub": "studio", "exp": exp}))).unwrap();
            assert_eq!(caller.account.as_str(), "studio");
            assert!(!caller.is_operator && !caller.read_only && caller.job.is_none());
        }
        assert!(check(&sign(3, &json!({"sub": "boss", "exp": exp}))).unwrap().is_operator);
        let narrow =
            check(&sign(3, &json!({"sub": "boss", "exp": exp, "scope": "read", "job": "j"}))).unwrap();
        assert!(narrow.read_only && !narrow.is_operator && narrow.job == JobId::parse("j").ok());
        let only_job = check(&sign(3, &json!({"sub": "boss", "exp": exp, "job": "j"}))).unwrap();
        assert!(!only_job.is_operator, "a token of one job does not manage accounts");
    }

    #[test]
    fn unknown_accounts_and_wrong_keys_look_alike() {
        let claims = |sub: &str| json!({"sub": sub, "exp": NOW_SECONDS + 600});
        let wrong_key = check(&sign(9, &claims("studio"))).unwrap_err();
        let other_accounts_key = check(&sign(3, &claims("studio"))).unwrap_err();
        let unknown = check(&sign(9, &claims("nobody1"))).unwrap_err();
        assert_eq!(wrong_key, other_accounts_key);
        assert_eq!(wrong_key.to_string().replace("studio", "nobody1"), unknown.to_string());
        let guessed = sign_as(Algorithm::HS256, &[0; ACCESS_KEY_BYTES], &claims("nobody1"));
        assert_eq!(check(&guessed), Err(unknown), "the stand-in key opens nothing");
    }

    #[test]
    fn other_algorithms_are_refused_before_any_key_is_tried() {
        let claims = json!({"sub": "studio", "exp": NOW_SECONDS + 600});
        let good_key = key(1);
        for algorithm in [Algorithm::HS384, Algorithm::HS512] {
            let token = sign_as(algorithm, good_key.expose(), &claims);
            assert!(matches!(check(&token), Err(Denied::Algorithm { .. })));
        }
        let body = URL_SAFE_NO_PAD.encode(claims.to_string());
        for header in [r#"{"alg":"none"}"#, r#"{"alg":"None","typ":"JWT"}"#, r#"{"typ":"JWT"}"#] {
            let head = URL_SAFE_NO_PAD.encode(header);
            assert_eq!(check(&format!("{head}.{body}.")), Err(Denied::NotJwt));
            assert_eq!(check(&format!("{head}.{body}")), Err(Denied::NotJwt));
        }
        let head = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256"}"#);
        assert_eq!(check(&format!("{head}.{body}.AAAA")), Err(Denied::Algorithm { algorithm: "RS256" }));
    }

    #[test]
    fn a_changed_claim_breaks_the_signature() {
        let token = sign(1, &json!({"sub": "studio", "exp": NOW_SECONDS + 600, "scope": "read"}));
        let parts: Vec<&str> = token.split('.').collect();
        let widened = URL_SAFE_NO_PAD.encode(json!({"sub": "studio", "exp": NOW_SECONDS + 600}).to_string());
        let forged = format!("{}.{widened}.{}", parts[0], parts[2]);
        assert!(matches!(check(&forged), Err(Denied::KeyMismatch { .. })));
    }

    #[test]
    fn the_expiry_is_required_and_bounded_with_leeway_for_clocks() {
        let with = |exp: serde_json::Value| check(&sign(1, &json!({"sub": "studio", "exp": exp})));
        let day = TOKEN_LIFE_MAX.as_secs();
        assert!(with(json!(NOW_SECONDS - 59)).is_ok());
        assert!(matches!(with(json!(NOW_SECONDS - 61)), Err(Denied::Expired { seconds: 61, .. })));
        assert!(with(json!(NOW_SECONDS + day + 60)).is_ok());
        assert!(matches!(with(json!(NOW_SECONDS + day + 61)), Err(Denied::TooLong { .. })));
        assert!(matches!(with(json!(u64::MAX)), Err(Denied::TooLong { .. })));
        assert!(with(json!(1_900_000_030.25)).is_ok(), "some libraries write fractions");
        assert!(matches!(with(json!(-5.0)), Err(Denied::Expired { .. })));
        assert!(matches!(with(json!(1e300)), Err(Denied::Expired { .. })));
        assert_eq!(with(json!("tomorrow")), Err(Denied::NotJwt));
        assert_eq!(with(serde_json::Value::Null), Err(Denied::NoClaim { claim: "exp" }));
        assert_eq!(check(&sign(1, &json!({"sub": "studio"}))), Err(Denied::NoClaim { claim: "exp" }));
    }

    #[test]
    fn a_job_managers_token_is_for_its_job_and_outlives_others() {
        let job = JobId::parse("film").unwrap();
        let token = job_token(&account("boss", true, 3), &job, now()).unwrap();
        let caller = check(&token).unwrap();
        assert_eq!((caller.account.as_str(), caller.job), ("boss", Some(job)));
        assert!(!caller.is_operator && !caller.read_only);
        let week = JOB_TOKEN_LIFE_MAX.as_secs();
        let claims = |exp: u64| json!({"sub": "studio", "job": "film", "exp": exp});
        assert!(check(&sign(1, &claims(NOW_SECONDS + week + 60))).is_ok());
        assert!(matches!(check(&sign(1, &claims(NOW_SECONDS + week + 61))), Err(Denied::TooLong { .. })));
    }

    #[test]
    fn a_token_of_the_future_waits_and_a_wrong_clock_is_named() {
        let early = json!({"sub": "studio", "exp": NOW_SECONDS + 900, "nbf": NOW_SECONDS + 300});
        assert!(matches!(check(&sign(1, &early)), Err(Denied::NotYet { seconds: 300, .. })));
        let slow = json!({"sub": "studio", "exp": NOW_SECONDS - 3000, "iat": NOW_SECONDS - 3600});
        let words = check(&sign(1, &slow)).unwrap_err().to_string();
        assert!(words.contains("3600 s behind"), "{words}");
        let unsigned = check(&sign(9, &slow)).unwrap_err().to_string();
        assert!(!unsigned.contains("clock"), "strangers learn nothing of the clock: {unsigned}");
    }

    #[test]
    fn claims_that_are_not_understood_are_refused_not_ignored() {
        let with = |extra: (&str, &str)| {
            let mut claims = json!({"sub": "studio", "exp": NOW_SECONDS + 600});
            claims[extra.0] = json!(extra.1);
            check(&sign(1, &claims))
        };
        assert!(matches!(with(("scope", "write")), Err(Denied::Scope { .. })));
        assert!(matches!(with(("scope", "read write")), Err(Denied::Scope { .. })));
        assert!(matches!(with(("job", "a/b")), Err(Denied::Job(_))));
        assert!(matches!(with(("sub", "Studio")), Err(Denied::Subject(_))));
        assert!(with(("jti", "whatever")).is_ok());
    }

    #[test]
    fn garbage_is_refused_without_a_panic() {
        for bad in
            ["", ".", "..", "...", "a.b.c", "ä.ö.ü", "eyJhbGciOiJIUzI1NiJ9..", "eyJhbGciOiJIUzI1NiJ9.e30."]
        {
            assert!(check(bad).is_err(), "{bad}");
        }
        assert!(matches!(check(&"x".repeat(5000)), Err(Denied::TokenTooLong { bytes: 5000, .. })));
    }
}

//! The text of a join token: `mjt1.<id>.<secret>.<fingerprint>`.
//!
//! Made by the API, shown once, and sent back by a machine that wants to join. The controller keeps the id and the
//! SHA-256 of the secret alone. The fingerprint is for the machine: it trusts no controller but the one whose CA has it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use muster_model::digest::DigestError;
use muster_model::{Digest, IdError, TokenId};
use muster_runtime::secret::Secret;
use sha2::{Digest as _, Sha256};

/// The format's name; another format gets another one.
const PREFIX: &str = "mjt1";

/// Bytes of the secret half: 256 bits cannot be guessed.
pub const SECRET_BYTES: usize = 32;

/// Longest text: an id of 64 characters in base64, 43 for the secret, 64 for the fingerprint, and the dots, rounded up.
const TEXT_BYTES_MAX: usize = 256;

/// A join token, secret included. It does not show its secret.
#[derive(Debug, Clone)]
pub struct JoinToken {
    /// The public half.
    pub id: TokenId,
    /// The secret half, [`SECRET_BYTES`] long.
    pub secret: Secret,
    /// SHA-256 of the CA certificate that the machine is to trust.
    pub fingerprint: Digest,
}

/// Why a text is not a join token. No message repeats the text: it may hold a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JoinTokenError {
    /// Not four parts, or another beginning.
    #[error(
        "the join token does not have the form mjt1.ID.SECRET.FINGERPRINT: copy the whole line that `muster token create POOL` printed"
    )]
    Shape,
    /// The id part is damaged.
    #[error("the join token's id is damaged: copy the whole line that `muster token create POOL` printed")]
    Id(#[source] Option<IdError>),
    /// The secret part is damaged.
    #[error(
        "the join token's secret is damaged: copy the whole line that `muster token create POOL` printed"
    )]
    Secret,
    /// The fingerprint part is damaged.
    #[error(
        "the join token's fingerprint is damaged: copy the whole line that `muster token create POOL` printed"
    )]
    Fingerprint(#[source] DigestError),
}

impl JoinToken {
    /// Reads a token's text; blanks around it are ignored.
    ///
    /// # Errors
    /// [`JoinTokenError`] names the damaged part.
    pub fn parse(text: &str) -> Result<Self, JoinTokenError> {
        let text = text.trim();
        if text.len() > TEXT_BYTES_MAX {
            return Err(JoinTokenError::Shape);
        }
        let parts: Vec<&str> = text.split('.').collect();
        let [PREFIX, id, secret, fingerprint] = parts.as_slice() else { return Err(JoinTokenError::Shape) };
        let id = URL_SAFE_NO_PAD.decode(id).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let id = TokenId::parse(&id.ok_or(JoinTokenError::Id(None))?)
            .map_err(|error| JoinTokenError::Id(Some(error)))?;
        let secret = Secret::new(URL_SAFE_NO_PAD.decode(secret).map_err(|_| JoinTokenError::Secret)?);
        if secret.len() != SECRET_BYTES {
            return Err(JoinTokenError::Secret);
        }
        let fingerprint = Digest::parse(fingerprint).map_err(JoinTokenError::Fingerprint)?;
        Ok(Self { id, secret, fingerprint })
    }

    /// The text, secret included: for its maker's eyes alone.
    #[must_use]
    pub fn to_text(&self) -> String {
        let id = URL_SAFE_NO_PAD.encode(self.id.as_str());
        let secret = URL_SAFE_NO_PAD.encode(self.secret.expose());
        format!("{PREFIX}.{id}.{secret}.{}", self.fingerprint)
    }

    /// SHA-256 of the secret: what the controller keeps and compares.
    #[must_use]
    pub fn secret_hash(&self) -> Digest {
        Digest::from_bytes(Sha256::digest(self.secret.expose()).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> JoinToken {
        JoinToken {
            id: TokenId::parse("render-1").unwrap(),
            secret: Secret::new([7u8; SECRET_BYTES].to_vec()),
            fingerprint: Digest::from_bytes([9; 32]),
        }
    }

    #[test]
    fn the_text_round_trips() {
        let text = token().to_text();
        let back = JoinToken::parse(&format!("  {text}\n")).unwrap();
        assert_eq!(back.id, token().id);
        assert_eq!(back.secret.expose(), token().secret.expose());
        assert_eq!(back.fingerprint, token().fingerprint);
        assert_eq!(back.secret_hash(), token().secret_hash());
    }

    #[test]
    fn a_damaged_text_is_refused_by_its_part_and_never_repeated() {
        let text = token().to_text();
        let parts: Vec<&str> = text.split('.').collect();
        let with = |at: usize, part: &str| {
            let mut changed = parts.clone();
            changed[at] = part;
            JoinToken::parse(&changed.join(".")).unwrap_err()
        };
        assert_eq!(with(0, "mjt2"), JoinTokenError::Shape);
        assert!(matches!(with(1, "!!"), JoinTokenError::Id(None)));
        assert!(matches!(with(1, &URL_SAFE_NO_PAD.encode("a b")), JoinTokenError::Id(Some(_))));
        assert_eq!(with(2, "AAAA"), JoinTokenError::Secret);
        assert_eq!(with(2, &parts[2][..42]), JoinTokenError::Secret);
        assert!(matches!(with(3, "00"), JoinTokenError::Fingerprint(_)));
        for bad in ["", "mjt1", "mjt1...", &"x".repeat(300), &format!("{text}.x")] {
            let error = JoinToken::parse(bad).unwrap_err().to_string();
            assert!(!bad.contains("AAAA") || !error.contains(bad), "{error}");
        }
        let secret = parts[2];
        assert!(!with(3, "00").to_string().contains(secret));
        assert!(!format!("{:?}", token()).contains(secret));
    }
}

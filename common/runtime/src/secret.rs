//! One type for every secret a process holds: account keys, tokens, passwords.
//!
//! It has no content in `Debug`, no `Display`, no `Serialize` and no `==`: what must be compared is compared
//! in constant time by the caller (`subtle`), on `expose`. It can be read from a configuration file.
//!
//! Invariant: the bytes are wiped when the last owner drops them. Copies made on the way in (by a file's
//! parser, by the environment) are outside its reach.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use zeroize::Zeroizing;

/// Bytes that must not reach a log, an error message or a reply. Cloning makes a second copy that is wiped
/// by its own owner.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes ownership of the bytes; a `String` is taken without leaving a copy.
    #[must_use]
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    /// The bytes themselves. Every call is a place to look at in a review.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The bytes as text, or `None` when they are not UTF-8.
    #[must_use]
    pub fn expose_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// How many bytes the secret has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the secret is empty, which a caller should refuse.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<Vec<u8>> for Secret {
    fn from(bytes: Vec<u8>) -> Self {
        Self::new(bytes)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_string(SecretVisitor)
    }
}

/// Reads a secret from a string or a byte string.
struct SecretVisitor;

impl Visitor<'_> for SecretVisitor {
    type Value = Secret;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a secret as a string")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Secret, E> {
        Ok(Secret::new(text))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Secret, E> {
        Ok(Secret::new(text))
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Secret, E> {
        Ok(Secret::new(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_hides_the_content_and_its_length() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret:?}"), "Secret(hidden)");
        assert_eq!(format!("{:#?}", Some(&secret)).matches("hunter2").count(), 0);
    }

    #[test]
    fn content_comes_back_as_bytes_and_as_text() {
        let secret = Secret::from("key".to_owned());
        assert_eq!(secret.expose(), b"key");
        assert_eq!(secret.expose_str(), Some("key"));
        assert_eq!((secret.len(), secret.is_empty()), (3, false));
        assert_eq!(Secret::new(vec![0xff]).expose_str(), None);
    }

    #[test]
    fn secret_is_read_from_a_document() {
        #[derive(serde::Deserialize)]
        struct Document {
            key: Secret,
        }
        let document: Document = toml::from_str("key = 'abc'").unwrap();
        assert_eq!(document.key.expose(), b"abc");
    }
}

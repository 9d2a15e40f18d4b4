//! An account's access keys.
//!
//! Two keys, so that one can be rotated while the other is in use (as in the field). A key never shows itself:
//! its `Debug` is a row of stars and it has no `Display`; only `expose` yields the bytes.

use std::fmt;

/// Bytes of an access key: 256 bits, the block of HMAC-SHA256 output.
pub const ACCESS_KEY_BYTES: usize = 32;

/// Which of the two keys of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyName {
    /// The first key.
    Primary,
    /// The second key.
    Secondary,
}

/// A shared secret of an account. Not comparable with `==`: compare in constant time where it matters.
#[derive(Clone)]
pub struct AccessKey([u8; ACCESS_KEY_BYTES]);

impl AccessKey {
    /// A key from random bytes that the caller drew.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; ACCESS_KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// The secret itself: for signing, for storing, and for showing to its owner once.
    #[must_use]
    pub const fn expose(&self) -> &[u8; ACCESS_KEY_BYTES] {
        &self.0
    }
}

impl fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessKey(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_does_not_show_itself() {
        assert_eq!(format!("{:?}", AccessKey::from_bytes([7; 32])), "AccessKey(***)");
    }
}

//! Random names: request ids, and short ids for jobs and containers that the client makes up.
//!
//! Drawn from the operating system's generator through the TLS provider, so that two clients that start in the same
//! microsecond do not meet. Nothing here is a secret.

use std::hash::{BuildHasher, RandomState};

use rustls::crypto::aws_lc_rs;

/// The letters of a short id: lower case and digits, allowed in container names too, without 0, 1, l and o, which people
/// mistake for each other.
const LETTERS: &[u8; 32] = b"23456789abcdefghijkmnpqrstuvwxyz";

/// Letters of a request id: 26 of 32 kinds are 130 bits.
const REQUEST_ID_LETTERS: usize = 26;

/// A text of `letters` random letters, five bits each.
#[must_use]
pub fn random_id(letters: usize) -> String {
    let mut bytes = vec![0_u8; letters];
    if aws_lc_rs::default_provider().secure_random.fill(&mut bytes).is_err() {
        // No random device: the standard library's own seed is all that is left. A repeated id would be refused by the
        // controller, not obeyed.
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = RandomState::new().hash_one(index).to_le_bytes()[0];
        }
    }
    bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect()
}

/// A fresh request id: the controller answers a repeat of it with its first answer.
#[must_use]
pub fn request_id() -> String {
    random_id(REQUEST_ID_LETTERS)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_have_their_length_and_do_not_repeat() {
        let ids: BTreeSet<String> = (0..1000).map(|_| request_id()).collect();
        assert_eq!(ids.len(), 1000);
        assert!(
            ids.iter().all(|id| id.len() == REQUEST_ID_LETTERS && id.bytes().all(|b| LETTERS.contains(&b)))
        );
        assert_eq!(random_id(8).len(), 8);
    }
}

//! Accounts and tokens for tests of the gate and of whatever stands behind it.
//!
//! Every key is made of one repeated byte, its seed, and the time is a fixed moment far from every real clock, so that
//! nothing here can open a real controller.

use super::accounts::AccountLookup;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use muster_controller_core::record::AccountRow;
use muster_model::account::ACCESS_KEY_BYTES;
use muster_model::{AccessKey, AccountName, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The tests' time: a round number in 2030, far from every real clock.
pub(crate) const NOW_SECONDS: u64 = 1_900_000_000;

/// The tests' time.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_micros(i64::try_from(NOW_SECONDS).unwrap() * 1_000_000)
}

/// The key of a seed. Seeds start at 1: the gate's stand-in keys are never anybody's.
pub(crate) fn key(seed: u8) -> AccessKey {
    AccessKey::from_bytes([seed.wrapping_add(100); ACCESS_KEY_BYTES])
}

/// An account whose keys are those of `seed` and `seed + 1`.
pub(crate) fn account(name: &str, is_operator: bool, seed: u8) -> AccountRow {
    AccountRow {
        name: AccountName::parse(name).unwrap(),
        display_name: String::new(),
        is_operator,
        primary: key(seed),
        secondary: key(seed + 1),
        created: Timestamp::EPOCH,
        revision: 1,
    }
}

/// A directory of these accounts.
pub(crate) fn lookup(rows: impl IntoIterator<Item = AccountRow>) -> AccountLookup {
    let rows: BTreeMap<_, _> = rows.into_iter().map(|row| (row.name.clone(), Arc::new(row))).collect();
    Arc::new(move |name| rows.get(name).cloned())
}

/// A token with these claims, signed with the key of `seed`.
pub(crate) fn sign(seed: u8, claims: &serde_json::Value) -> String {
    sign_as(Algorithm::HS256, key(seed).expose(), claims)
}

/// A token with these claims, signed with any key and algorithm.
pub(crate) fn sign_as(algorithm: Algorithm, secret: &[u8], claims: &serde_json::Value) -> String {
    encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(secret)).unwrap()
}

//! Where the gate looks accounts up: a function that whoever keeps the accounts hands in.
//!
//! It must answer from memory (it runs before every call) and show a new or replaced key before the call that made it
//! is answered. The engine's directory does; tests hand in a few rows.

use muster_controller_core::record::AccountRow;
use muster_model::AccountName;
use std::sync::Arc;

/// Answers the account of a name as of the last durable change.
pub type AccountLookup = Arc<dyn Fn(&AccountName) -> Option<Arc<AccountRow>> + Send + Sync>;

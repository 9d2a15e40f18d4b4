//! The accounts as of the last durable batch, for the gate: every request looks its account's keys up here.
//!
//! Filled from the store at the start and from committed records after that, before the reply that acknowledges them
//! leaves: whoever was told of a new key can use it at once, and a replaced key is worthless at once.

use muster_controller_core::record::{AccountRow, Record};
use muster_model::AccountName;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

/// All accounts, by name. Reading takes a short shared lock.
#[derive(Debug, Default)]
pub struct AccountDirectory {
    rows: RwLock<BTreeMap<AccountName, Arc<AccountRow>>>,
}

impl AccountDirectory {
    pub(super) fn new(rows: impl IntoIterator<Item = AccountRow>) -> Self {
        let rows = rows.into_iter().map(|row| (row.name.clone(), Arc::new(row))).collect();
        Self { rows: RwLock::new(rows) }
    }

    /// The account of this name.
    #[must_use]
    pub fn get(&self, name: &AccountName) -> Option<Arc<AccountRow>> {
        self.rows.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// Whether there is no account at all: the controller's first start.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Takes over what a durable batch changed.
    pub(super) fn apply(&self, records: &[Record]) {
        for record in records {
            if let Record::Account(row) = record {
                let mut rows = self.rows.write().unwrap_or_else(PoisonError::into_inner);
                rows.insert(row.name.clone(), Arc::new(row.clone()));
            }
        }
    }
}

//! Accounts, and their keys for those who may see them.
//!
//! The keys are a message of their own, so that answering an account can never tell them by mistake. Who may see them
//! is the gate's decision.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use muster_controller_core::record::AccountRow;
use muster_proto::convert::{etag_out, timestamp_out};
use muster_proto::wire;

/// An account, without its keys.
pub(in crate::api) fn account(row: &AccountRow) -> wire::Account {
    wire::Account {
        name: row.name.to_string(),
        display_name: row.display_name.clone(),
        is_operator: row.is_operator,
        quotas: None,
        create_time: Some(timestamp_out(row.created)),
        // Nothing of an account can be changed but its keys, which are no field of it.
        update_time: Some(timestamp_out(row.created)),
        etag: etag_out(row.revision),
    }
}

/// Both keys of an account as text: base64 of the bytes.
pub(in crate::api) fn account_keys(row: &AccountRow) -> wire::AccountKeys {
    wire::AccountKeys {
        account_name: row.name.to_string(),
        primary: STANDARD.encode(row.primary.expose()),
        secondary: STANDARD.encode(row.secondary.expose()),
    }
}

//! Accounts: inwards with all checks. Keys never come in; they go out as text that the daemon writes.
//!
//! Nothing here knows whether an account exists or who may manage it: that is the core's and the gate's. A request with
//! any wrong field becomes no value at all, and every wrong field is told. What accounts look like on their way out is
//! the daemon's view of them.

use muster_model::{AccountName, KeyName, RequestId};

use super::common::{display_name, request_id};
use super::enums::enumeration;
use super::unsupported::{self, refuse};
use super::violation::{Checker, FieldErrors};
use crate::wire;

/// A checked `CreateAccount`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAccount {
    /// Its name.
    pub name: AccountName,
    /// For people.
    pub display_name: String,
    /// Whether it may manage accounts.
    pub is_operator: bool,
    /// Names the request.
    pub request_id: Option<RequestId>,
}

impl TryFrom<wire::CreateAccountRequest> for NewAccount {
    type Error = FieldErrors;

    fn try_from(request: wire::CreateAccountRequest) -> Result<Self, FieldErrors> {
        let mut checker = Checker::new();
        let c = &mut checker;
        let request_id = request_id(c, &request.request_id);
        let account = c.required("account", request.account, "name the account").and_then(|account| {
            c.at("account", |c| {
                refuse(c, unsupported::ACCOUNT, &account);
                let name = c.at("name", |c| c.keep(AccountName::parse(&account.name)));
                let display_name = display_name(c, account.display_name);
                Some(Self { name: name?, display_name, is_operator: account.is_operator, request_id })
            })
        });
        checker.finish(account)
    }
}

/// The name of an account at the field `account_name`; empty is the caller's own.
pub fn account_name(checker: &mut Checker, name: &str) -> Option<AccountName> {
    if name.is_empty() {
        return None;
    }
    checker.at("account_name", |c| c.keep(AccountName::parse(name)))
}

/// Which key to replace, at the field `key_name`.
pub fn key_name(checker: &mut Checker, given: i32) -> Option<KeyName> {
    checker.at("key_name", |c| enumeration::<wire::AccountKeyName>(c, given, None))
}

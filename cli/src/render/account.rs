//! How accounts and join tokens look.
//!
//! Keys and the texts of tokens never come here: the commands that are made to show them do that themselves.

use muster_proto::wire;

use super::words;
use crate::outlet::Field;

/// An account as a record.
#[must_use]
pub(crate) fn record(account: &wire::Account) -> Vec<(&'static str, Field)> {
    vec![
        ("name", account.name.as_str().into()),
        ("display name", account.display_name.as_str().into()),
        ("operator", if account.is_operator { "yes" } else { "no" }.into()),
        ("created", words::time(account.create_time.as_ref()).into()),
    ]
}

/// Headings of a list of join tokens.
pub(crate) const TOKEN_HEADINGS: [&str; 4] = ["id", "uses", "expires", "created"];

/// A join token as a row.
#[must_use]
pub(crate) fn token_row(token: &wire::JoinToken) -> Vec<Field> {
    vec![
        token.id.as_str().into(),
        Field::at_right(format!("{}/{}", token.uses, token.max_uses)),
        words::time(token.expire_time.as_ref()).into(),
        words::time(token.create_time.as_ref()).into(),
    ]
}

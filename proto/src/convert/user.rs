//! Users: as whom a command runs, and the named users of a pool's nodes.
//!
//! A user account is a name, an elevation and perhaps ids; there is nothing to log in to, so a password is refused and
//! none is ever written. Whether a name that a task gives is one of its pool's is the core's to say: a conversion sees
//! one message.

use muster_model::spec::{UserAccount, UserIdentity};
use muster_model::state::{AutoUserScope, ElevationLevel};
use muster_model::{UserName, limits};

use super::enums::enumeration;
use super::violation::{Checker, Problem};
use crate::wire;
use wire::user_identity::User;

/// The largest user or group id: the one above means "no change" to the kernel.
const ID_MAX: u32 = u32::MAX - 1;

/// The user that runs a command; unset is the model's default.
pub(super) fn user_identity(checker: &mut Checker, identity: Option<wire::UserIdentity>) -> UserIdentity {
    let Some(user) = identity.and_then(|identity| identity.user) else { return UserIdentity::default() };
    // A wrong part is noted, so the default in its place is never used.
    checker.at("user_identity", |c| match user {
        User::Username(name) => {
            let name = c.at("username", |c| c.keep(UserName::parse(&name)));
            name.map_or_else(UserIdentity::default, UserIdentity::Named)
        }
        User::AutoUser(auto) => c.at("auto_user", |c| {
            let scope = c.at("scope", |c| {
                enumeration::<wire::AutoUserScope>(c, auto.scope, Some(AutoUserScope::Pool))
            });
            let elevation = elevation_level(c, auto.elevation_level);
            UserIdentity::Auto {
                scope: scope.unwrap_or(AutoUserScope::Pool),
                elevation: elevation.unwrap_or(ElevationLevel::NonAdmin),
            }
        }),
    })
}

fn elevation_level(checker: &mut Checker, given: i32) -> Option<ElevationLevel> {
    checker.at("elevation_level", |c| {
        enumeration::<wire::ElevationLevel>(c, given, Some(ElevationLevel::NonAdmin))
    })
}

/// A user for the wire.
#[must_use]
pub(super) fn user_identity_out(identity: &UserIdentity) -> wire::UserIdentity {
    let user = match identity {
        UserIdentity::Auto { scope, elevation } => User::AutoUser(wire::AutoUser {
            scope: wire::AutoUserScope::from(*scope).into(),
            elevation_level: wire::ElevationLevel::from(*elevation).into(),
        }),
        UserIdentity::Named(name) => User::Username(name.to_string()),
    };
    wire::UserIdentity { user: Some(user) }
}

/// The named users of a pool at the field `user_accounts`.
pub(super) fn user_accounts(checker: &mut Checker, given: Vec<wire::UserAccount>) -> Vec<UserAccount> {
    let mut names: Vec<UserName> = Vec::new();
    checker.each("user_accounts", given, limits::USER_ACCOUNTS_MAX, |c, given| {
        let name = c.at("name", |c| c.keep(UserName::parse(&given.name)));
        if !given.password.is_empty() {
            let instead = "leave it empty: nobody logs in as a user of a node";
            c.note_at("password", Problem::NotSupported { instead });
        }
        let elevation = elevation_level(c, given.elevation_level);
        let ids = ids(c, given.uid, given.gid);
        let name = name?;
        if names.contains(&name) {
            c.note_at("name", Problem::Duplicate { given: name.to_string() });
            return None;
        }
        names.push(name.clone());
        Some(UserAccount { name, elevation: elevation?, ids })
    })
}

/// The ids of a user account: both or neither, and not those of root, whose rights come from the elevation level alone.
fn ids(checker: &mut Checker, uid: Option<u32>, gid: Option<u32>) -> Option<(u32, u32)> {
    for (field, id) in [("uid", uid), ("gid", gid)] {
        if let Some(given) = id.filter(|id| !(1..=ID_MAX).contains(id)) {
            let problem = Problem::OutOfRange { given: given.into(), min: 1, max: ID_MAX.into() };
            checker.note_at(field, problem);
        }
    }
    match (uid, gid) {
        (Some(uid), Some(gid)) => Some((uid, gid)),
        (None, None) => None,
        (Some(_), None) => {
            checker.note_at("uid", Problem::Needs { hint: "set gid too, or leave both unset" });
            None
        }
        (None, Some(_)) => {
            checker.note_at("gid", Problem::Needs { hint: "set uid too, or leave both unset" });
            None
        }
    }
}

impl From<&UserAccount> for wire::UserAccount {
    fn from(account: &UserAccount) -> Self {
        Self {
            name: account.name.to_string(),
            password: String::new(),
            elevation_level: wire::ElevationLevel::from(account.elevation).into(),
            uid: account.ids.map(|(uid, _gid)| uid),
            gid: account.ids.map(|(_uid, gid)| gid),
        }
    }
}

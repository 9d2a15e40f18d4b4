//! As whom commands run: the users of a pool, and the user of a task.
//!
//! A user of a pool is NAME[:admin][:UID:GID]. Which ids may be used, and whether a node allows administrators at all, is
//! the controller's and the nodes' matter; here is only the syntax.

use std::str::FromStr;

use clap::{Args, ValueEnum};
use muster_model::UserName;
use muster_proto::wire;

/// Why a text is not a user of a pool.
#[derive(Debug, thiserror::Error)]
#[error(
    "'{given}' is not NAME[:admin][:UID:GID], for example ann, root2:admin or ann:1000:1000; NAME is 1 to 20 letters, \
     digits, '-', '_' and '.', and starts with a letter or '_'"
)]
pub(crate) struct UserError {
    given: String,
}

/// A named user of a pool.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PoolUser(pub wire::UserAccount);

impl FromStr for PoolUser {
    type Err = UserError;

    fn from_str(text: &str) -> Result<Self, UserError> {
        let wrong = || UserError { given: text.chars().take(80).collect() };
        let mut parts = text.split(':').peekable();
        let name = parts.next().filter(|name| UserName::parse(name).is_ok()).ok_or_else(wrong)?;
        let is_admin = parts.next_if_eq(&"admin").is_some();
        let elevation_level =
            if is_admin { wire::ElevationLevel::Admin } else { wire::ElevationLevel::NonAdmin };
        let ids: Vec<u32> = parts.map(str::parse).collect::<Result<_, _>>().map_err(|_| wrong())?;
        let (uid, gid) = match *ids.as_slice() {
            [] => (None, None),
            [uid, gid] => (Some(uid), Some(gid)),
            [_] | [_, _, _, ..] => return Err(wrong()),
        };
        Ok(Self(wire::UserAccount {
            name: name.to_owned(),
            password: String::new(),
            elevation_level: elevation_level.into(),
            uid,
            gid,
        }))
    }
}

/// Who shares the user that Muster chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum UserScope {
    /// Nobody: each attempt has a user of its own.
    Task,
    /// All tasks of the pool on a node.
    Pool,
}

/// As whom a command runs.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "User")]
pub(crate) struct UserArgs {
    /// Run it as this user of the pool (see muster pool create --user)
    #[arg(long, value_name = "NAME", conflicts_with_all = ["user_scope", "admin"], value_parser = user_name)]
    pub user: Option<String>,
    /// Run it as a user of its own (task), or as the one that tasks of the pool share on a node (pool, the default)
    #[arg(long, value_name = "task|pool", value_enum, hide_possible_values = true)]
    pub user_scope: Option<UserScope>,
    /// Run it as an administrator of the node
    #[arg(long)]
    pub admin: bool,
}

/// The name of a user of a pool.
///
/// # Errors
/// When it cannot be one.
pub(crate) fn user_name(text: &str) -> Result<String, muster_model::IdError> {
    UserName::parse(text).map(|name| name.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pools_user_has_a_name_and_perhaps_rights_and_both_ids() {
        use wire::ElevationLevel::{Admin, NonAdmin};
        for (text, name, level, ids) in [
            ("ann", "ann", NonAdmin, (None, None)),
            ("_svc.x-1:admin", "_svc.x-1", Admin, (None, None)),
            ("ann:1000:1001", "ann", NonAdmin, (Some(1000), Some(1001))),
            ("ann:admin:1000:1001", "ann", Admin, (Some(1000), Some(1001))),
            ("admin", "admin", NonAdmin, (None, None)),
        ] {
            let PoolUser(user) = text.parse().unwrap();
            let found = (user.name.as_str(), user.elevation_level(), (user.uid, user.gid));
            assert_eq!(found, (name, level, ids), "{text}");
        }
        for bad in [
            "",
            ":admin",
            "1ann",
            "a b",
            "ann:",
            "ann:root",
            "ann:1000",
            "ann:1000:",
            "ann:1000:admin",
            "ann:1:2:3",
            "ann:-1:2",
            "ann:4294967296:1",
            "abcdefghijklmnopqrstu",
        ] {
            let error = bad.parse::<PoolUser>().unwrap_err().to_string();
            assert!(error.contains("ann:1000:1000") && error.contains(bad), "{bad}: {error}");
        }
    }
}

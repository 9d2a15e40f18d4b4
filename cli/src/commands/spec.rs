//! Options that become parts of a task's specification, for `task add`, `run` and start tasks.
//!
//! Pure functions from options to messages: defaults are the controller's, and what is not given stays unset.

use muster_proto::wire;
use prost_types::Duration;

use crate::args::{LimitArgs, UserArgs, UserScope};

/// The command line of an argv: quoted so that splitting it by shell quoting rules gives the same argv again.
#[must_use]
pub(crate) fn command_line(argv: &[String]) -> String {
    shell_words::join(argv)
}

/// The limits on a task's life.
#[must_use]
pub(crate) fn constraints(limits: &LimitArgs) -> wire::TaskConstraints {
    wire::TaskConstraints {
        max_wall_clock_time: limits.timeout.map(|limit| duration(limit.duration())),
        max_task_retry_count: limits.retries,
        ..Default::default()
    }
}

/// What a task needs beside slots.
#[must_use]
pub(crate) fn resources(limits: &LimitArgs) -> wire::ResourceRequests {
    wire::ResourceRequests {
        cpu_millis: limits.cpus.map_or(0, |cpus| cpus.0),
        memory_bytes: limits.memory.map_or(0, |memory| memory.bytes()),
        disk_bytes: limits.disk.map_or(0, |disk| disk.bytes()),
        pids_max: limits.pids.unwrap_or_default(),
        gpus: limits.gpus.unwrap_or_default(),
        named: limits.named.iter().map(|named| (named.name.clone(), named.count)).collect(),
    }
}

/// The user that runs a command: unset for the default.
#[must_use]
pub(crate) fn user_identity(user: &UserArgs) -> Option<wire::UserIdentity> {
    if let Some(name) = &user.user {
        return Some(named_user(name));
    }
    let scope = match user.user_scope {
        None if !user.admin => return None,
        None => wire::AutoUserScope::Unspecified,
        Some(UserScope::Task) => wire::AutoUserScope::Task,
        Some(UserScope::Pool) => wire::AutoUserScope::Pool,
    };
    let level = if user.admin { wire::ElevationLevel::Admin } else { wire::ElevationLevel::Unspecified };
    let auto = wire::AutoUser { scope: scope.into(), elevation_level: level.into() };
    Some(wire::UserIdentity { user: Some(wire::user_identity::User::AutoUser(auto)) })
}

/// A user of the pool, by its name.
#[must_use]
pub(crate) fn named_user(name: &str) -> wire::UserIdentity {
    wire::UserIdentity { user: Some(wire::user_identity::User::Username(name.to_owned())) }
}

/// A span of time on the wire.
#[must_use]
pub(crate) fn duration(span: std::time::Duration) -> Duration {
    Duration {
        seconds: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(span.subsec_nanos()).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn argv_survives_the_way_through_the_command_line() {
        let argv: Vec<String> =
            ["sh", "-c", "echo \"$HOME\" 'x'", "", "a b", "*", "\\"].map(str::to_owned).into();
        assert_eq!(shell_words::split(&command_line(&argv)).unwrap(), argv);
    }

    #[test]
    fn a_user_is_named_or_chosen_and_the_default_is_left_unset() {
        use wire::user_identity::User;
        let of = |user: Option<&str>, user_scope, admin| {
            user_identity(&UserArgs { user: user.map(str::to_owned), user_scope, admin })
                .map(|found| found.user)
        };
        assert_eq!(of(None, None, false), None);
        assert_eq!(of(Some("ann"), None, false), Some(Some(User::Username("ann".into()))));
        let auto = |scope: wire::AutoUserScope, level: wire::ElevationLevel| {
            let auto = wire::AutoUser { scope: scope.into(), elevation_level: level.into() };
            Some(Some(User::AutoUser(auto)))
        };
        use wire::{AutoUserScope as Scope, ElevationLevel as Level};
        assert_eq!(of(None, None, true), auto(Scope::Unspecified, Level::Admin));
        assert_eq!(of(None, Some(UserScope::Task), false), auto(Scope::Task, Level::Unspecified));
        assert_eq!(of(None, Some(UserScope::Pool), true), auto(Scope::Pool, Level::Admin));
    }
}

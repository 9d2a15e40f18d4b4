//! What a node can enforce, as a table for its operator.
//!
//! Each row says what the capability is for, so that one that is missing says what will not work. Why it is missing the
//! node says itself, in its notes.

use muster_proto::wire;

use super::words;
use crate::outlet::{Field, Tone};

/// Headings of the capabilities of a node.
pub(crate) const HEADINGS: [&str; 3] = ["capability", "here", "for"];

/// The capabilities of a node, a row for each.
#[must_use]
pub(crate) fn rows(can: &wire::NodeCapabilities) -> Vec<Vec<Field>> {
    let row = |name: &str, here: Field, what_for: &str| vec![name.into(), here, what_for.into()];
    vec![
        row("control groups", control_groups(can), "limits, and the end of whole process trees"),
        row("memory limit", yes(can.memory_limit), "--memory"),
        row("processor limit", yes(can.cpu_limit), "--cpus"),
        row("process limit", yes(can.pids_limit), "--pids"),
        row("disk limit", named(disk(can)), "--disk"),
        row("bytes read and written", yes(can.io_accounting), "usage of each attempt"),
        row("other users", yes(can.user_switch), "tasks do not run as the agent's user"),
        row("a user for each task", yes(can.task_users), "--user-scope task"),
        row("administrators", yes(can.admin_tasks), "--admin"),
        row("isolation", named(level(can.isolation_level())), "pool create --isolation, at most"),
        row("own network", yes(can.network_isolation), "pool create --task-network none"),
        row("system call filter", yes(can.seccomp), "part of sandbox"),
        row("Landlock", named(landlock(can)), "part of sandbox"),
        row("reboot", yes(can.reboot), "muster node reboot"),
        row("reimage", yes(can.reimage), "muster node reimage"),
    ]
}

fn yes(can: bool) -> Field {
    if can { Field::toned("yes", Tone::Good) } else { "no".into() }
}

fn named(name: String) -> Field {
    if name.is_empty() { "no".into() } else { Field::toned(name, Tone::Good) }
}

fn control_groups(can: &wire::NodeCapabilities) -> Field {
    match can.cgroup_version {
        0 => Field::toned("none", Tone::Bad),
        version => Field::toned(format!("v{version}"), Tone::Good),
    }
}

fn disk(can: &wire::NodeCapabilities) -> String {
    words::name(can.disk_limit().as_str_name(), "DISK_LIMIT_MEANS_")
}

fn landlock(can: &wire::NodeCapabilities) -> String {
    if can.landlock_abi == 0 { String::new() } else { format!("version {}", can.landlock_abi) }
}

/// A level of isolation in a word. Empty when it is not said.
#[must_use]
pub(crate) fn level(level: wire::IsolationLevel) -> String {
    words::name(level.as_str_name(), "ISOLATION_LEVEL_")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here(can: &wire::NodeCapabilities) -> Vec<Field> {
        rows(can).into_iter().map(|mut row| row.remove(1)).collect()
    }

    #[test]
    fn a_node_that_can_nothing_says_so_in_every_row() {
        let all = here(&wire::NodeCapabilities::default());
        assert_eq!(all[0], Field::toned("none", Tone::Bad));
        assert!(all[1..].iter().all(|field| *field == Field::from("no")), "{all:?}");
    }

    #[test]
    fn means_and_versions_are_named() {
        let can = wire::NodeCapabilities {
            cgroup_version: 2,
            disk_limit: wire::DiskLimitMeans::ProjectQuota.into(),
            isolation_level: wire::IsolationLevel::Sandbox.into(),
            landlock_abi: 4,
            ..Default::default()
        };
        let all = here(&can);
        for name in ["v2", "project quota", "sandbox", "version 4"] {
            assert!(all.contains(&Field::toned(name, Tone::Good)), "{name}: {all:?}");
        }
        assert!(rows(&can).iter().all(|row| row.len() == HEADINGS.len()));
    }
}

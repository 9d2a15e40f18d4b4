//! How pools and their node counts look.
//!
//! Counts that are zero are left out: a pool has sixteen of them and nearly all are zero at any time.

use muster_proto::wire;

use super::{capability, words};
use crate::outlet::{Field, Tone};

/// Headings of a list of pools.
pub(crate) const HEADINGS: [&str; 6] = ["id", "state", "allocation", "nodes", "slots", "created"];

/// A pool as a row.
#[must_use]
pub(crate) fn row(pool: &wire::Pool) -> Vec<Field> {
    vec![
        pool.id.as_str().into(),
        words::state(pool.state().as_str_name(), "POOL_STATE_"),
        words::state(pool.allocation_state().as_str_name(), "ALLOCATION_STATE_"),
        Field::at_right(format!("{}/{}", pool.current_dedicated_nodes, pool.target_dedicated_nodes)),
        Field::number(pool.task_slots_per_node),
        words::time(pool.create_time.as_ref()).into(),
    ]
}

/// A pool as a record.
#[must_use]
pub(crate) fn record(pool: &wire::Pool, counts: Option<&wire::NodeCounts>) -> Vec<(&'static str, Field)> {
    let start_task = pool.start_task.as_ref().map(|task| task.command_line.clone()).unwrap_or_default();
    let mut fields: Vec<(&'static str, Field)> = vec![
        ("id", pool.id.as_str().into()),
        ("name", pool.display_name.as_str().into()),
        ("state", words::state(pool.state().as_str_name(), "POOL_STATE_")),
        ("allocation", words::state(pool.allocation_state().as_str_name(), "ALLOCATION_STATE_")),
        ("nodes", format!("{} of {}", pool.current_dedicated_nodes, pool.target_dedicated_nodes).into()),
        ("node states", counts.map(counts_in_words).unwrap_or_default().into()),
        ("slots per node", Field::from(pool.task_slots_per_node.to_string())),
        ("isolation", isolation(pool).into()),
        ("task network", words::name(pool.task_network().as_str_name(), "TASK_NETWORK_").into()),
        ("start task", start_task.into()),
        ("created", words::time(pool.create_time.as_ref()).into()),
    ];
    fields.extend(pool.user_accounts.iter().map(|account| ("user", user(account).into())));
    for error in &pool.resize_errors {
        fields.push(("resize error", Field::toned(format!("{}: {}", error.code, error.message), Tone::Bad)));
    }
    fields
}

/// The least isolation of its tasks.
fn isolation(pool: &wire::Pool) -> String {
    match pool.isolation_level() {
        wire::IsolationLevel::Unspecified => "as strong as each node can".to_owned(),
        level @ (wire::IsolationLevel::None
        | wire::IsolationLevel::Process
        | wire::IsolationLevel::Sandbox) => capability::level(level),
    }
}

/// A named user: `ann, administrator, 1000:1000`.
fn user(account: &wire::UserAccount) -> String {
    let is_admin = account.elevation_level() == wire::ElevationLevel::Admin;
    let mut text = account.name.clone();
    if is_admin {
        text.push_str(", administrator");
    }
    if let (Some(uid), Some(gid)) = (account.uid, account.gid) {
        text.push_str(&format!(", {uid}:{gid}"));
    }
    text
}

/// The counts that are not zero: `2 idle, 1 running`.
#[must_use]
pub(crate) fn counts_in_words(counts: &wire::NodeCounts) -> String {
    let all = [
        (counts.creating, "creating"),
        (counts.starting, "starting"),
        (counts.waiting_for_start_task, "waiting for start task"),
        (counts.start_task_failed, "start task failed"),
        (counts.idle, "idle"),
        (counts.running, "running"),
        (counts.rebooting, "rebooting"),
        (counts.reimaging, "reimaging"),
        (counts.unusable, "unusable"),
        (counts.unknown, "unknown"),
        (counts.offline, "offline"),
        (counts.leaving_pool, "leaving"),
        (counts.preempted, "preempted"),
        (counts.upgrading_os, "upgrading"),
        (counts.deallocating, "deallocating"),
        (counts.deallocated, "deallocated"),
    ];
    let words: Vec<String> =
        all.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")).collect();
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_counts_that_are_not_zero_are_told() {
        assert_eq!(counts_in_words(&wire::NodeCounts::default()), "none");
        let counts = wire::NodeCounts { idle: 2, running: 1, total: 3, ..Default::default() };
        assert_eq!(counts_in_words(&counts), "2 idle, 1 running");
    }

    #[test]
    fn a_pool_says_how_its_tasks_are_separated_and_which_users_it_has() {
        let ann = wire::UserAccount {
            name: "ann".into(),
            elevation_level: wire::ElevationLevel::Admin.into(),
            uid: Some(1000),
            gid: Some(1001),
            ..Default::default()
        };
        let bob = wire::UserAccount { name: "bob".into(), ..Default::default() };
        let pool = wire::Pool {
            isolation_level: wire::IsolationLevel::Process.into(),
            task_network: wire::TaskNetwork::None.into(),
            user_accounts: vec![ann, bob],
            ..Default::default()
        };
        let fields = record(&pool, None);
        for (name, text) in [
            ("isolation", "process"),
            ("task network", "none"),
            ("user", "ann, administrator, 1000:1001"),
            ("user", "bob"),
        ] {
            assert!(fields.contains(&(name, Field::from(text))), "{name}: {fields:?}");
        }
        let plain = record(&wire::Pool::default(), None);
        assert!(plain.contains(&("isolation", Field::from("as strong as each node can"))), "{plain:?}");
    }
}

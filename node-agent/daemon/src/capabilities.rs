//! What this node can enforce and do, put together from all who know: supervisor, users, isolation, disk, hooks.
//!
//! Told in every Hello and shown to people; the notes say what is missing and why, each within the model's bounds.
//!
//! Invariant: nothing is told that was not found out at this start.

use crate::hooks::HookSettings;
use crate::isolation::Ground;
use crate::users::UserSettings;
use muster_model::limits::{CAPABILITY_NOTES_MAX, NODE_TEXT_BYTES_MAX};
use muster_model::node::Capabilities;
use muster_model::state::{DiskLimit, IsolationLevel};
use muster_supervisor::Containment;

/// What the parts of the agent know.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sources<'a> {
    pub(crate) supervisor: &'a muster_supervisor::Capabilities,
    pub(crate) users: &'a UserSettings,
    pub(crate) ground: &'a Ground,
    /// How task directories are bounded.
    pub(crate) disk_limit: Option<DiskLimit>,
    pub(crate) disk_notes: &'a [String],
    pub(crate) hooks: &'a HookSettings,
}

/// Puts the capabilities together.
pub(crate) fn capabilities(sources: &Sources<'_>) -> Capabilities {
    let Sources { supervisor, users, ground, disk_limit, disk_notes, hooks } = *sources;
    let cgroup = match (supervisor.cgroup_version, supervisor.containment) {
        (_, Containment::ProcessTree) => "none",
        (1, _) | (0, Containment::GroupFreeze | Containment::GroupSignal) => "v1",
        (_, Containment::GroupKill | Containment::GroupFreeze | Containment::GroupSignal) => "v2",
    };
    let isolation = ground.strongest();
    Capabilities {
        cgroup: cgroup.to_owned(),
        memory_limit: supervisor.memory,
        cpu_limit: supervisor.cpu,
        pids_limit: supervisor.pids,
        user_switch: users.privileged,
        task_users: users.privileged,
        admin_tasks: users.allows_administrators(),
        isolation,
        network_isolation: ground.isolates_network(),
        seccomp: ground.filters_calls(),
        landlock_abi: supervisor.separation.landlock_abi,
        disk_limit,
        io_accounting: supervisor.io,
        reboot: hooks.reboot.is_some(),
        reimage: hooks.reimage.is_some(),
        notes: notes(&supervisor.notes, disk_notes, isolation_note(ground, isolation)),
    }
}

/// Why tasks are not isolated more strongly, if they could be.
fn isolation_note(ground: &Ground, strongest: IsolationLevel) -> Option<String> {
    let next = match strongest {
        IsolationLevel::None => IsolationLevel::Process,
        IsolationLevel::Process => IsolationLevel::Sandbox,
        IsolationLevel::Sandbox => return None,
    };
    Some(format!("no isolation level {next}: {}", ground.missing_for(next).join(", ")))
}

/// All notes, as many and as long as the model has them.
fn notes(supervisor: &[String], disk: &[String], isolation: Option<String>) -> Vec<String> {
    let shortened = |note: &String| {
        let end = (0..=NODE_TEXT_BYTES_MAX.min(note.len())).rev().find(|end| note.is_char_boundary(*end));
        note[..end.unwrap_or(0)].to_owned()
    };
    // Of many notes of one source the first say most, so that of the others none is lost.
    let all = isolation.iter().chain(disk).chain(supervisor);
    all.map(shortened).take(CAPABILITY_NOTES_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_supervisor::Separation;
    use std::path::Path;
    use std::time::Duration;

    const USERS: UserSettings = UserSettings {
        privileged: true,
        task_uid: 64_000,
        task_gid: 64_000,
        first: 70_000,
        count: 1,
        admin_tasks: true,
    };

    fn supervisor(separation: Separation) -> muster_supervisor::Capabilities {
        muster_supervisor::Capabilities {
            memory: true,
            cpu: false,
            pids: true,
            cpu_time: true,
            io: true,
            cgroup_version: 0,
            containment: Containment::GroupFreeze,
            late_exit_status: true,
            separation,
            notes: vec!["no cpu controller".to_owned()],
        }
    }

    fn told(privileged: bool, separation: Separation) -> Capabilities {
        let ground = Ground::new(separation, privileged, Path::new("/r"), &[], &[]).unwrap();
        capabilities(&Sources {
            supervisor: &supervisor(separation),
            users: &UserSettings { privileged, ..USERS },
            ground: &ground,
            disk_limit: Some(DiskLimit::Watch),
            disk_notes: &["no quotas".to_owned()],
            hooks: &HookSettings {
                reboot: Some(vec!["true".to_owned()]),
                reimage: None,
                time_limit: Duration::from_secs(1),
            },
        })
    }

    #[test]
    fn every_part_has_its_say() {
        let separation = Separation {
            process_namespace: true,
            mount_namespace: true,
            ipc_namespace: true,
            network_namespace: true,
            seccomp: true,
            landlock_abi: 3,
        };
        let told = told(true, separation);
        assert_eq!((told.cgroup.as_str(), told.memory_limit, told.cpu_limit), ("v1", true, false));
        assert_eq!((told.isolation, told.landlock_abi), (IsolationLevel::Sandbox, 3));
        assert!(told.task_users && told.admin_tasks && told.network_isolation && told.io_accounting);
        assert_eq!((told.reboot, told.reimage, told.disk_limit), (true, false, Some(DiskLimit::Watch)));
        assert_eq!(told.notes, ["no quotas", "no cpu controller"]);
    }

    #[test]
    fn without_root_it_says_what_is_missing_and_why() {
        let told = told(false, Separation::default());
        assert_eq!(told.isolation, IsolationLevel::None);
        assert!(!told.task_users && !told.user_switch && !told.admin_tasks && !told.network_isolation);
        assert!(told.notes[0].contains("does not run as root"), "{:?}", told.notes);
    }

    #[test]
    fn notes_are_bounded_in_number_and_length() {
        let many = vec!["é".repeat(NODE_TEXT_BYTES_MAX); 2 * CAPABILITY_NOTES_MAX];
        let notes = notes(&many, &[], None);
        assert_eq!(notes.len(), CAPABILITY_NOTES_MAX);
        assert!(notes.iter().all(|note| note.len() == NODE_TEXT_BYTES_MAX));
    }
}

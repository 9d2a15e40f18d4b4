//! Fields that the API has and this version does not act on, in one table for each message.
//!
//! A set field of these tables is refused with `Problem::NotSupported`, never ignored: who sets it counts on it. To
//! build such behaviour, take the line out here and convert the field in the resource's module; the test below
//! shows that each line refuses something.

use crate::convert::violation::{Checker, Problem};
use crate::wire;
use wire::{output_file, resource_file};

/// One field and how to see that it was set to something this version does not have.
pub(super) struct Unsupported<M> {
    /// The field.
    pub(super) field: &'static str,
    /// Whether it asks for something.
    pub(super) is_set: fn(&M) -> bool,
    /// What to do instead.
    pub(super) instead: &'static str,
}

/// Notes every field of the table that is set.
pub(super) fn refuse<M>(checker: &mut Checker, table: &[Unsupported<M>], message: &M) {
    for entry in table.iter().filter(|entry| (entry.is_set)(message)) {
        checker.note_at(entry.field, Problem::NotSupported { instead: entry.instead });
    }
}

const LEAVE_UNSET: &str = "leave it unset";
const FILE_STORE_INSTEAD: &str = "use file_store";
const NO_CONTAINER: &str = "run the command without a container";

pub(super) const ACCOUNT: &[Unsupported<wire::Account>] =
    &[Unsupported { field: "quotas", is_set: |m| m.quotas.is_some(), instead: LEAVE_UNSET }];

pub(super) const POOL: &[Unsupported<wire::Pool>] = &[
    Unsupported {
        field: "target_low_priority_nodes",
        is_set: |m| m.target_low_priority_nodes != 0,
        instead: "use target_dedicated_nodes",
    },
    Unsupported {
        field: "enable_auto_scale",
        is_set: |m| m.enable_auto_scale,
        instead: "set target_dedicated_nodes and resize the pool",
    },
    Unsupported {
        field: "auto_scale_formula",
        is_set: |m| !m.auto_scale_formula.is_empty(),
        instead: "set target_dedicated_nodes and resize the pool",
    },
    Unsupported {
        field: "auto_scale_evaluation_interval",
        is_set: |m| m.auto_scale_evaluation_interval.is_some(),
        instead: LEAVE_UNSET,
    },
    Unsupported {
        field: "enable_inter_node_communication",
        is_set: |m| m.enable_inter_node_communication,
        instead: LEAVE_UNSET,
    },
    Unsupported {
        field: "mount_configuration",
        is_set: |m| !m.mount_configuration.is_empty(),
        instead: "mount in the start task",
    },
    Unsupported {
        field: "application_package_references",
        is_set: |m| !m.application_package_references.is_empty(),
        instead: "unpack a resource file in the start task",
    },
];

pub(super) const START_TASK: &[Unsupported<wire::StartTask>] = &[Unsupported {
    field: "container_settings",
    is_set: |m| m.container_settings.is_some(),
    instead: NO_CONTAINER,
}];

pub(super) const RESIZE_POOL: &[Unsupported<wire::ResizePoolRequest>] = &[Unsupported {
    field: "target_low_priority_nodes",
    is_set: |m| m.target_low_priority_nodes.is_some_and(|n| n != 0),
    instead: "use target_dedicated_nodes",
}];

pub(super) const JOB_POOL: &[Unsupported<Option<wire::job::PoolInfo>>] = &[Unsupported {
    field: "auto_pool_specification",
    is_set: |m| matches!(m, Some(wire::job::PoolInfo::AutoPoolSpecification(_))),
    instead: "create a pool and use pool_id",
}];

pub(super) const JOB: &[Unsupported<wire::Job>] = &[Unsupported {
    field: "allow_task_preemption",
    is_set: |m| m.allow_task_preemption,
    instead: LEAVE_UNSET,
}];

pub(super) const JOB_MANAGER: &[Unsupported<wire::JobManagerTask>] = &[Unsupported {
    field: "allow_low_priority_node",
    is_set: |m| m.allow_low_priority_node == Some(false),
    instead: LEAVE_UNSET,
}];

pub(super) const JOB_PREPARATION: &[Unsupported<wire::JobPreparationTask>] = &[Unsupported {
    field: "container_settings",
    is_set: |m| m.container_settings.is_some(),
    instead: NO_CONTAINER,
}];

pub(super) const JOB_RELEASE: &[Unsupported<wire::JobReleaseTask>] = &[Unsupported {
    field: "container_settings",
    is_set: |m| m.container_settings.is_some(),
    instead: NO_CONTAINER,
}];

pub(super) const TASK: &[Unsupported<wire::Task>] = &[
    Unsupported {
        field: "multi_instance_settings",
        is_set: |m| m.multi_instance_settings.is_some(),
        instead: LEAVE_UNSET,
    },
    Unsupported {
        field: "container_settings",
        is_set: |m| m.container_settings.is_some(),
        instead: NO_CONTAINER,
    },
    Unsupported {
        field: "application_package_references",
        is_set: |m| !m.application_package_references.is_empty(),
        instead: "use resource_files",
    },
];

pub(super) const RESOURCE_FILE: &[Unsupported<wire::ResourceFile>] = &[Unsupported {
    field: "object_store_url",
    is_set: |m| matches!(m.source, Some(resource_file::Source::ObjectStoreUrl(_))),
    instead: FILE_STORE_INSTEAD,
}];

pub(super) const OUTPUT_FILE: &[Unsupported<wire::OutputFile>] = &[Unsupported {
    field: "object_store_url",
    is_set: |m| matches!(m.destination, Some(output_file::Destination::ObjectStoreUrl(_))),
    instead: FILE_STORE_INSTEAD,
}];

#[cfg(test)]
mod tests {
    use super::*;

    /// Each of `wishes` must be refused by exactly one line of the table, and every line must refuse one of them.
    fn check<M: Default>(table: &[Unsupported<M>], wishes: Vec<M>) {
        let mut fired = vec![0_usize; table.len()];
        for wish in &wishes {
            let lines: Vec<usize> = (0..table.len()).filter(|&i| (table[i].is_set)(wish)).collect();
            assert_eq!(lines.len(), 1, "one line for each wish");
            fired[lines[0]] += 1;
        }
        for (entry, count) in table.iter().zip(fired) {
            assert!(count > 0, "no wish for {}", entry.field);
        }
    }

    #[test]
    fn every_line_of_the_pool_and_job_tables_refuses_its_field() {
        check(
            POOL,
            vec![
                wire::Pool { target_low_priority_nodes: 1, ..Default::default() },
                wire::Pool { enable_auto_scale: true, ..Default::default() },
                wire::Pool { auto_scale_formula: "x".into(), ..Default::default() },
                wire::Pool { auto_scale_evaluation_interval: Some(Default::default()), ..Default::default() },
                wire::Pool { enable_inter_node_communication: true, ..Default::default() },
                wire::Pool { mount_configuration: vec![Default::default()], ..Default::default() },
                wire::Pool { application_package_references: vec![Default::default()], ..Default::default() },
            ],
        );
        let auto = wire::job::PoolInfo::AutoPoolSpecification(Default::default());
        check(JOB_POOL, vec![Some(auto)]);
        check(JOB, vec![wire::Job { allow_task_preemption: true, ..Default::default() }]);
    }

    #[test]
    fn every_line_of_the_tables_of_tasks_refuses_its_field() {
        check(
            TASK,
            vec![
                wire::Task { multi_instance_settings: Some(Default::default()), ..Default::default() },
                wire::Task { container_settings: Some(Default::default()), ..Default::default() },
                wire::Task { application_package_references: vec![Default::default()], ..Default::default() },
            ],
        );
        check(
            JOB_MANAGER,
            vec![wire::JobManagerTask { allow_low_priority_node: Some(false), ..Default::default() }],
        );
        let container_settings = Some(Default::default());
        check(JOB_RELEASE, vec![wire::JobReleaseTask { container_settings, ..Default::default() }]);
        let container_settings = Some(Default::default());
        check(JOB_PREPARATION, vec![wire::JobPreparationTask { container_settings, ..Default::default() }]);
    }

    #[test]
    fn every_line_of_the_small_tables_refuses_its_field() {
        check(ACCOUNT, vec![wire::Account { quotas: Some(Default::default()), ..Default::default() }]);
        check(
            START_TASK,
            vec![wire::StartTask { container_settings: Some(Default::default()), ..Default::default() }],
        );
        check(
            RESIZE_POOL,
            vec![wire::ResizePoolRequest { target_low_priority_nodes: Some(1), ..Default::default() }],
        );
        let source = resource_file::Source::ObjectStoreUrl("s3://b/k".into());
        check(RESOURCE_FILE, vec![wire::ResourceFile { source: Some(source), ..Default::default() }]);
        let destination = output_file::Destination::ObjectStoreUrl("s3://b/k".into());
        check(OUTPUT_FILE, vec![wire::OutputFile { destination: Some(destination), ..Default::default() }]);
    }
}

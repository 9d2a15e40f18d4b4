//! As much of the wire's plans and settings as the core decides by, and the version of the records.
//!
//! The rest of a plan (command line, environment, files) stays with the driver: the core would only carry it about.

use muster_agent_core::input::Assignment;
use muster_agent_core::{NodeSettings, StartTaskSettings};
use muster_proto::convert::{self, AttemptPlan};

/// Version of each kind of record.
pub(super) const VERSION: u32 = 1;

/// As much of a plan as the core needs.
pub(crate) fn assignment(plan: &AttemptPlan) -> Assignment {
    Assignment {
        attempt: plan.attempt.clone(),
        incarnation: plan.incarnation,
        slots: plan.slots,
        gpus: plan.gpus,
        wall_clock: plan.limits.wall_clock,
        retention: plan.retention,
        memory_limit_bytes: (plan.limits.memory_bytes > 0).then_some(plan.limits.memory_bytes),
        disk_limit_bytes: (plan.limits.disk_bytes > 0).then_some(plan.limits.disk_bytes),
        process_limit: plan.limits.pids_max.map(u64::from),
        has_files: !plan.resource_files.is_empty(),
        preparation: plan.job_preparation.clone(),
    }
}

/// As much of the settings as the core needs.
pub(crate) fn settings(settings: &convert::NodeSettings) -> NodeSettings {
    NodeSettings {
        task_slots: settings.task_slots,
        on_lease_expiry: settings.on_lease_expiry,
        start_task: settings.start_task.as_ref().map(start_task),
    }
}

/// As much of the start task as the core needs.
pub(crate) const fn start_task(plan: &convert::StartTaskPlan) -> StartTaskSettings {
    StartTaskSettings {
        version: plan.version,
        max_retries: plan.max_retries,
        wait_for_success: plan.wait_for_success,
    }
}

//! What an input weighs, in KiB and at least one: an estimate of its memory, for the bounds of inbox and batch.
//!
//! Only the parts that users can make large are looked at; the rest is in the base weight.

use muster_controller_core::input::{Command, Input, NodeInput, Report};
use muster_model::node::NodeError;
use muster_model::spec::{Axis, DependencyGroup, EnvironmentSetting, JobSpec, SweepSpec, TaskSet, TaskSpec};

/// Bytes of a task, a report or a file name without its texts.
const ITEM_BYTES: usize = 512;

/// The weight of an input.
pub(super) fn of(input: &Input) -> u32 {
    let bytes = match input {
        Input::Client { command, .. } => command_bytes(command),
        Input::Node(input) => node_bytes(input),
        Input::DeadlinePassed => 0,
    };
    u32::try_from(bytes / 1024).unwrap_or(u32::MAX).saturating_add(1)
}

fn command_bytes(command: &Command) -> usize {
    match command {
        Command::CreateTasks { tasks, .. } => tasks.iter().map(task_bytes).sum(),
        Command::DeleteFiles { paths, .. } => paths.iter().map(|path| path.as_str().len() + 32).sum(),
        Command::CreateSweep { sweep, .. } => sweep_bytes(sweep),
        Command::CreateJob(spec) => job_bytes(spec),
        Command::UpdateJob { patch, .. } => {
            let items = patch.metadata.iter().flatten();
            ITEM_BYTES + items.map(|item| item.name.len() + item.value.len()).sum::<usize>()
        }
        Command::CreatePool(_) | Command::UpdatePool { .. } => 64 * ITEM_BYTES,
        Command::CreateAccount(_)
        | Command::RegenerateKey { .. }
        | Command::ResizePool { .. }
        | Command::StopResize { .. }
        | Command::DeletePool { .. }
        | Command::CreateJoinToken(_)
        | Command::RevokeJoinToken { .. }
        | Command::RemoveNodes { .. }
        | Command::DisableScheduling { .. }
        | Command::EnableScheduling { .. }
        | Command::RestartNode { .. }
        | Command::TerminateJob { .. }
        | Command::DisableJob { .. }
        | Command::EnableJob { .. }
        | Command::DeleteJob { .. }
        | Command::UpdateTask { .. }
        | Command::TerminateTask { .. }
        | Command::ReactivateTask { .. }
        | Command::DeleteTask { .. }
        | Command::TerminateSweep { .. }
        | Command::ReactivateSweep { .. }
        | Command::DeleteSweep { .. }
        | Command::PutFile { .. }
        | Command::DeleteContainer { .. } => ITEM_BYTES,
    }
}

fn environment_bytes(settings: &[EnvironmentSetting]) -> usize {
    settings.iter().map(|e| e.name.len() + e.value.len()).sum()
}

fn task_bytes(task: &TaskSpec) -> usize {
    let files = (task.resource_files.len() + task.output_files.len()) * ITEM_BYTES;
    let group = |group: &DependencyGroup| ITEM_BYTES / 8 + set_bytes(&group.tasks);
    let dependencies =
        set_bytes(&task.depends_on.tasks) + task.depends_on.groups.iter().map(group).sum::<usize>();
    let exits =
        task.exit_conditions.as_ref().map_or(0, |exits| (exits.codes.len() + exits.ranges.len()) * 16);
    ITEM_BYTES + task.command_line.len() + environment_bytes(&task.environment) + files + dependencies + exits
}

fn set_bytes(set: &TaskSet) -> usize {
    set.ids.len() * 64 + set.ranges.len() * 8 + (set.globs.len() + set.sweeps.len()) * 80
}

fn sweep_bytes(sweep: &SweepSpec) -> usize {
    let axis = |axis: &Axis| match axis {
        Axis::Range { .. } => 64,
        // A value takes its text and what holds it.
        Axis::Table { rows, .. } => {
            rows.iter().map(|row| 24 + row.iter().map(|value| 32 + value.len()).sum::<usize>()).sum()
        }
    };
    task_bytes(&sweep.template) + sweep.axes.iter().map(axis).sum::<usize>()
}

fn job_bytes(job: &JobSpec) -> usize {
    let metadata: usize = job.metadata.iter().map(|item| item.name.len() + item.value.len()).sum();
    let manager = job.manager.as_ref().map_or(0, |manager| task_bytes(&manager.task));
    let preparation = job.preparation.as_ref().map_or(0, |task| {
        task.command_line.len()
            + environment_bytes(&task.environment)
            + task.resource_files.len() * ITEM_BYTES
    });
    let release = job.release.as_ref().map_or(0, |task| {
        task.command_line.len()
            + environment_bytes(&task.environment)
            + task.resource_files.len() * ITEM_BYTES
    });
    ITEM_BYTES + environment_bytes(&job.common_environment) + metadata + manager + preparation + release
}

fn node_bytes(input: &NodeInput) -> usize {
    match input {
        NodeInput::Reports { reports, .. } => {
            reports.iter().map(|numbered| report_bytes(&numbered.report)).sum()
        }
        NodeInput::Connected(connected) => connected.held.len() * 128 + ITEM_BYTES,
        NodeInput::Join { .. } | NodeInput::Disconnected { .. } | NodeInput::Heartbeat { .. } => 0,
    }
}

fn report_bytes(report: &Report) -> usize {
    match report {
        Report::Finished { result, .. } => {
            let excerpts = [&result.stdout, &result.stderr].map(|e| e.head.len() + e.tail.len());
            ITEM_BYTES + excerpts.iter().sum::<usize>() + result.outputs.len() * ITEM_BYTES
        }
        Report::Health(errors) => ITEM_BYTES + errors.iter().map(error_bytes).sum::<usize>(),
        Report::Started { .. } | Report::Returned { .. } | Report::StartTask(_) => 128,
    }
}

fn error_bytes(error: &NodeError) -> usize {
    let details = error.details.iter().map(|(name, value)| name.len() + value.len() + 64);
    error.code.len() + error.message.len() + details.sum::<usize>()
}

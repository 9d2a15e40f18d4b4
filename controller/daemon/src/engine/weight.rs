//! What an input weighs, in KiB and at least one: an estimate of its memory, for the bounds of inbox and batch.
//!
//! Only the parts that users can make large are looked at; the rest is in the base weight.

use muster_controller_core::input::{Command, Input, NodeInput, Report};
use muster_model::spec::TaskSpec;

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
        Command::CreateJob(spec) => {
            spec.common_environment.iter().map(|e| e.name.len() + e.value.len()).sum()
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
        | Command::SetScheduling { .. }
        | Command::UpdateJob { .. }
        | Command::TerminateJob { .. }
        | Command::DisableJob { .. }
        | Command::EnableJob { .. }
        | Command::DeleteJob { .. }
        | Command::UpdateTask { .. }
        | Command::TerminateTask { .. }
        | Command::ReactivateTask { .. }
        | Command::DeleteTask { .. }
        | Command::PutFile { .. }
        | Command::DeleteContainer { .. } => ITEM_BYTES,
    }
}

fn task_bytes(task: &TaskSpec) -> usize {
    let environment: usize = task.environment.iter().map(|e| e.name.len() + e.value.len()).sum();
    let files = (task.resource_files.len() + task.output_files.len()) * ITEM_BYTES;
    let dependencies = task.depends_on.task_ids.len() * 64 + task.depends_on.task_id_ranges.len() * 8;
    ITEM_BYTES + task.command_line.len() + environment + files + dependencies
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
        Report::Started { .. } | Report::Returned { .. } | Report::StartTask(_) => 128,
    }
}

//! Request ids: a mutation that is sent twice is done once.
//!
//! The first answer is kept for the replay window, durably, and given again. A refusal is not kept: it changed nothing
//! and may be different next time. An id that comes back with another command is refused.

use crate::input::Command;
use crate::planted::Planted;
use crate::record::{Record, RequestRow};
use crate::reject::Reject;
use crate::reply::Reply;
use crate::tenant::Tenant;
use crate::timer::Deadline;
use crate::turn::Turn;
use muster_model::RequestId;

/// The answer that this request already got, if it is a repeat.
pub(crate) fn repeated(tenant: &Tenant, id: &RequestId, command: &Command) -> Result<Option<Reply>, Reject> {
    let Some(row) = tenant.requests.get(id) else { return Ok(None) };
    if row.command != name_of(command) {
        return Err(Reject::RequestIdReused { id: id.clone(), first: row.command.clone() });
    }
    Ok(Some(row.reply.clone()))
}

/// Keeps an answer.
pub(crate) fn remember(
    tenant: &mut Tenant,
    turn: &mut Turn<'_>,
    id: RequestId,
    command: String,
    reply: &Reply,
) {
    if turn.settings.planted.has(Planted::ForgetRequest) {
        return;
    }
    let row = RequestRow {
        account: turn.account.clone(),
        id: id.clone(),
        command,
        reply: reply.clone(),
        expires: turn.now.after(turn.settings.replay_window),
    };
    turn.wake(row.expires, Deadline::Request(turn.account.clone(), id.clone()));
    turn.record(Record::Request(row.clone()));
    tenant.requests.insert(id, row);
}

pub(crate) fn forget(tenant: &mut Tenant, turn: &mut Turn<'_>, id: &RequestId) {
    if tenant.requests.get(id).is_some_and(|row| row.expires <= turn.now) {
        tenant.requests.remove(id);
        turn.record(Record::RequestGone(turn.account.clone(), id.clone()));
    }
}

/// The command and the thing that it is about: enough to tell a repeat from a mistake.
pub(crate) fn name_of(command: &Command) -> String {
    match command {
        Command::CreateAccount(new) => format!("CreateAccount {}", new.name),
        Command::RegenerateKey { .. } => "RegenerateKey".to_owned(),
        Command::CreatePool(spec) => format!("CreatePool {}", spec.id),
        Command::UpdatePool { pool, .. } => format!("UpdatePool {pool}"),
        Command::ResizePool { pool, .. } => format!("ResizePool {pool}"),
        Command::StopResize { pool, .. } => format!("StopResize {pool}"),
        Command::DeletePool { pool, .. } => format!("DeletePool {pool}"),
        Command::CreateJoinToken(new) => format!("CreateJoinToken {}", new.pool),
        Command::RevokeJoinToken { token } => format!("RevokeJoinToken {token}"),
        Command::RemoveNodes { pool, .. } => format!("RemoveNodes {pool}"),
        Command::DisableScheduling { node, option, .. } => format!("DisableScheduling {node} {option}"),
        Command::EnableScheduling { node, .. } => format!("EnableScheduling {node}"),
        Command::RestartNode { node, reimage, .. } => format!("RestartNode {node} {reimage}"),
        Command::CreateJob(spec) => format!("CreateJob {}", spec.id),
        Command::UpdateJob { job, .. } => format!("UpdateJob {job}"),
        Command::TerminateJob { job, .. } => format!("TerminateJob {job}"),
        Command::DisableJob { job, .. } => format!("DisableJob {job}"),
        Command::EnableJob { job, .. } => format!("EnableJob {job}"),
        Command::DeleteJob { job, .. } => format!("DeleteJob {job}"),
        Command::CreateTasks { job, tasks } => {
            let first = tasks.first().map_or("", |task| task.id.as_str());
            format!("CreateTasks {job} {} {first}", tasks.len())
        }
        Command::UpdateTask { job, task, .. } => format!("UpdateTask {job}/{task}"),
        Command::TerminateTask { job, task, .. } => format!("TerminateTask {job}/{task}"),
        Command::ReactivateTask { job, task, .. } => format!("ReactivateTask {job}/{task}"),
        Command::DeleteTask { job, task, .. } => format!("DeleteTask {job}/{task}"),
        Command::CreateSweep { job, sweep } => format!("CreateSweep {job}/{}", sweep.id),
        Command::TerminateSweep { job, sweep, .. } => format!("TerminateSweep {job}/{sweep}"),
        Command::ReactivateSweep { job, sweep, .. } => format!("ReactivateSweep {job}/{sweep}"),
        Command::DeleteSweep { job, sweep } => format!("DeleteSweep {job}/{sweep}"),
        Command::PutFile { container, path, digest, .. } => format!("PutFile {container}/{path} {digest}"),
        Command::DeleteFiles { container, paths } => {
            let first = paths.first().map_or("", |path| path.as_str());
            format!("DeleteFiles {container} {} {first}", paths.len())
        }
        Command::DeleteContainer { container } => format!("DeleteContainer {container}"),
    }
}

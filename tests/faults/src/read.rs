//! Reading what is recorded, through the API, when the faults are over: first until everything has come to rest, then all of it.
//!
//! It asks as any client would, again and again while nothing answers. What does not come to rest in time is no error here: the checker
//! names each task that has not ended, with why it waits.

use crate::asker::Asker;
use crate::record::{JobKept, Kept, Record, Seen, Tried};
use crate::site::Site;
use crate::told::{Act, Told};
use crate::wire_call::{Caller, Failure, Skew};
use anyhow::{Context, anyhow, bail};
use muster_e2e::wait::wait_until;
use muster_proto::wire;
use muster_proto::wire::job_service_client::JobServiceClient;
use muster_proto::wire::task_service_client::TaskServiceClient;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The largest page that the API answers.
const PAGE: i32 = 1000;

/// For how long a read is tried: longer than any client's, as by now everything runs.
const PATIENCE: Duration = Duration::from_secs(30);

/// The jobs that clients asked for.
fn jobs(told: &Told) -> BTreeSet<String> {
    told.entries().into_iter().filter(|entry| entry.act == Act::CreateJob).map(|entry| entry.job).collect()
}

fn caller(site: &Site) -> anyhow::Result<Caller> {
    Caller::new(site, Skew::default(), PATIENCE)
}

fn answered<A>(answer: Result<A, Failure>) -> anyhow::Result<Option<A>> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(Failure::Gone) => Ok(None),
        Err(Failure::Refused(words) | Failure::Unknown(words)) => Err(anyhow!("{words}")),
    }
}

/// Waits until no task of any job waits or runs and no job is being deleted, and ends every pause of a job. What does not come to
/// rest in time is for the checker to name, so that it is no error here.
///
/// # Errors
/// When the API cannot be read.
pub fn wait_for_rest(site: &Site, told: &Told, deadline: Duration) -> anyhow::Result<()> {
    let mut asker = Asker::of(caller(site)?);
    let mut open = jobs(told);
    let mut failed = None;
    let rested = wait_until(deadline, "all tasks to end", || {
        let mut still = BTreeSet::new();
        for job in &open {
            match is_at_rest(&mut asker, job) {
                Ok(true) => {}
                Ok(false) => {
                    still.insert(job.clone());
                }
                Err(error) => {
                    failed = Some(error);
                    return Ok(Some(()));
                }
            }
        }
        open.clone_from(&still);
        std::thread::park_timeout(Duration::from_millis(200));
        Ok(open.is_empty().then_some(()))
    });
    if let Some(error) = failed {
        return Err(error.context("reading the jobs after the faults"));
    }
    // Whatever is not at rest has tasks that are not completed, which the checker reports one by one.
    drop(rested);
    Ok(())
}

fn is_at_rest(asker: &mut Asker, job: &str) -> anyhow::Result<bool> {
    let request = wire::GetJobRequest { job_id: job.to_owned(), read_mask: None };
    let called = asker
        .caller
        .call(&request, |wire, request| async move { JobServiceClient::new(wire).get_job(request).await });
    let Some(shown) = answered(called.answer)? else { return Ok(true) };
    match shown.state() {
        wire::JobState::Disabled => {
            // A pause whose end was never asked for, or asked for in vain while nothing answered.
            asker.enable(job);
            return Ok(false);
        }
        wire::JobState::Disabling
        | wire::JobState::Enabling
        | wire::JobState::Terminating
        | wire::JobState::Deleting
        | wire::JobState::Unspecified => return Ok(false),
        wire::JobState::Active | wire::JobState::Completed => {}
    }
    let counts = task_counts(&mut asker.caller, job)?;
    Ok(counts.is_none_or(|counts| counts.active == 0 && counts.running == 0))
}

fn task_counts(caller: &mut Caller, job: &str) -> anyhow::Result<Option<wire::TaskCounts>> {
    let request = wire::GetTaskCountsRequest { job_id: job.to_owned() };
    let called = caller.call(&request, |wire, request| async move {
        JobServiceClient::new(wire).get_task_counts(request).await
    });
    Ok(answered(called.answer)?.and_then(|report| report.task_counts))
}

/// Reads everything that is recorded of the jobs that clients asked for.
///
/// # Errors
/// When the API cannot be read.
pub fn record(site: &Site, told: &Told) -> anyhow::Result<Record> {
    let mut caller = caller(site)?;
    let mut record = Record::default();
    for job in jobs(told) {
        let request = wire::GetJobRequest { job_id: job.clone(), read_mask: None };
        let called = caller.call(&request, |wire, request| async move {
            JobServiceClient::new(wire).get_job(request).await
        });
        let Some(shown) = answered(called.answer)? else { continue };
        let Some(counts) = task_counts(&mut caller, &job)? else { continue };
        let mut tasks = BTreeMap::new();
        for task in list(&mut caller, &job)? {
            let id = task.id.clone();
            let kept = kept(&mut caller, &job, &task).with_context(|| format!("task {job}/{id}"))?;
            tasks.insert(id, kept);
        }
        let counts = (counts.succeeded, counts.failed, counts.active + counts.running);
        record.jobs.insert(job, JobKept { state: shown.state(), counts, tasks });
    }
    Ok(record)
}

fn list(caller: &mut Caller, job: &str) -> anyhow::Result<Vec<wire::Task>> {
    let mut tasks = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = wire::ListTasksRequest {
            job_id: job.to_owned(),
            page_size: PAGE,
            page_token: page_token.clone(),
            ..Default::default()
        };
        let called = caller.call(&request, |wire, request| async move {
            TaskServiceClient::new(wire).list_tasks(request).await
        });
        let Some(page) = answered(called.answer)? else { return Ok(tasks) };
        tasks.extend(page.tasks);
        if page.next_page_token.is_empty() {
            return Ok(tasks);
        }
        if page.next_page_token == page_token {
            bail!("the list of tasks goes round in a circle at {page_token}");
        }
        page_token = page.next_page_token;
    }
}

fn kept(caller: &mut Caller, job: &str, listed: &wire::Task) -> anyhow::Result<Kept> {
    let (job_id, task_id) = (job.to_owned(), listed.id.clone());
    let request = wire::GetTaskRequest { job_id: job_id.clone(), task_id: task_id.clone(), read_mask: None };
    let called = caller
        .call(&request, |wire, request| async move { TaskServiceClient::new(wire).get_task(request).await });
    let task = answered(called.answer)?.context("it is in the list and cannot be read")?;
    let request = wire::ListTaskAttemptsRequest {
        job_id: job_id.clone(),
        task_id: task_id.clone(),
        page_size: PAGE,
        ..Default::default()
    };
    let called = caller.call(&request, |wire, request| async move {
        TaskServiceClient::new(wire).list_task_attempts(request).await
    });
    let tried = answered(called.answer)?.unwrap_or_default().attempts.iter().map(Tried::of).collect();
    let seen = Seen::of(&task);
    let waits_for = if seen.state == crate::record::State::Completed {
        String::new()
    } else {
        explained(caller, job_id, task_id)?
    };
    Ok(Kept { seen, command_line: task.command_line, tried, waits_for })
}

fn explained(caller: &mut Caller, job_id: String, task_id: String) -> anyhow::Result<String> {
    let request = wire::ExplainTaskRequest { job_id, task_id };
    let called = caller.call(&request, |wire, request| async move {
        TaskServiceClient::new(wire).explain_task(request).await
    });
    let answer = answered(called.answer)?.unwrap_or_default();
    let reasons = answer.reasons.iter().map(|reason| format!("{}: {}", reason.code, reason.message));
    Ok(reasons.collect::<Vec<_>>().join("; "))
}

//! Work that tests give: tasks that note what they do, wait for a gate or for nothing, and what the API says of them.
//!
//! A noted task appends its id to the shared file `ledger`, so that a task that was lost leaves no line and one that ran twice
//! leaves two. A gated task appends its id to `started` first and then waits until the test opens its gate: nothing depends
//! on how fast the machine is. Fields are added to a task or a job with [`with`], under the API's names.

use crate::user::{User, script_task, word};
use crate::wait::{SOON, wait_until, when};
use anyhow::{Context, ensure};
use muster_proto::wire;
use muster_proto::wire::job_service_client::JobServiceClient;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// A JSON object with more fields.
#[must_use]
pub fn with(mut object: Value, fields: &Value) -> Value {
    for (name, value) in fields.as_object().into_iter().flatten() {
        object[name.as_str()] = value.clone();
    }
    object
}

/// Task counts as the API answers them.
#[must_use]
pub fn counts(active: u64, running: u64, succeeded: u64, failed: u64) -> wire::TaskCounts {
    wire::TaskCounts { active, running, completed: succeeded + failed, succeeded, failed }
}

/// Why a task failed, without the enum's prefix. Empty when it did not.
#[must_use]
pub fn cause(shown: &Value) -> String {
    let cause = shown.pointer("/execution_info/failure_info/cause").or(shown.pointer("/failure_info/cause"));
    cause.and_then(Value::as_str).unwrap_or_default().trim_start_matches("FAILURE_CAUSE_").to_owned()
}

/// The details of a task's failure as text: values and limits.
#[must_use]
pub fn failure_text(shown: &Value) -> String {
    shown.pointer("/execution_info/failure_info").map(Value::to_string).unwrap_or_default()
}

/// The most that were there at one time, of a ledger whose lines begin with `+` for one that comes and `-` for one that goes.
#[must_use]
pub fn most_at_one_time(lines: &[String], weight: impl Fn(&str) -> i64) -> i64 {
    let (mut now, mut most) = (0, 0);
    for line in lines {
        let (sign, id) = line.split_at(line.len().min(1));
        now += if sign == "+" { weight(id) } else { -weight(id) };
        most = most.max(now);
    }
    most
}

impl User {
    /// The shell's words that wait until a gate is open.
    #[must_use]
    pub fn until_open(&self, gate: &str) -> String {
        format!("while [ ! -e {} ]; do sleep 0.02; done", self.shared(gate))
    }

    /// Opens a gate.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn open(&self, gate: &str) -> anyhow::Result<()> {
        std::fs::write(self.shared(gate), "").with_context(|| format!("cannot open the gate '{gate}'"))
    }

    /// A task that appends its id to `ledger`.
    #[must_use]
    pub fn noted(&self, id: &str) -> Value {
        script_task(id, &format!("echo {id} >> {}", self.shared("ledger")))
    }

    /// A task that appends its id to `started`, waits for a gate, and appends its id to `ledger`.
    #[must_use]
    pub fn gated(&self, id: &str, gate: &str) -> Value {
        let (started, ledger) = (self.shared("started"), self.shared("ledger"));
        script_task(id, &format!("echo {id} >> {started}; {}; echo {id} >> {ledger}", self.until_open(gate)))
    }

    /// A task that notes in `crowd` that it comes, does a little, and notes that it goes.
    #[must_use]
    pub fn passing(&self, id: &str) -> Value {
        let crowd = self.shared("crowd");
        script_task(id, &format!("echo +{id} >> {crowd}; sleep 0.05; echo -{id} >> {crowd}"))
    }

    /// Creates a job from its JSON, with the pool `default` unless it names one, and adds tasks to it.
    ///
    /// # Errors
    /// When the job or a task is refused.
    pub fn job_of(&self, job: &Value, tasks: &[Value]) -> anyhow::Result<()> {
        let id = word_of(job, "id")?;
        self.create_job(job)?.ok()?;
        if tasks.is_empty() {
            return Ok(());
        }
        self.add_tasks(&id, tasks)?.ok().map(drop)
    }

    /// Creates a job from its JSON, with the pool `default` unless it names one; how that ended.
    ///
    /// # Errors
    /// When the command does not end in time.
    pub fn create_job(&self, job: &Value) -> anyhow::Result<crate::Outcome> {
        let pool = job.get("pool_id").cloned().unwrap_or_else(|| json!("default"));
        let job = with(job.clone(), &json!({ "pool_id": pool }));
        let path = self.file("job.json", job.to_string())?;
        self.muster(&["job", "create", "--file", &path])
    }

    /// A task as it is shown.
    ///
    /// # Errors
    /// When there is no such task.
    pub fn shown(&self, job: &str, task: &str) -> anyhow::Result<Value> {
        self.json(&["task", "show", job, task])
    }

    /// Waits until a task is completed; how it is shown then.
    ///
    /// # Errors
    /// When it is not, in time.
    pub fn completed(&self, job: &str, task: &str) -> anyhow::Result<Value> {
        self.wait_for_task(job, task, "completed")?;
        self.shown(job, task)
    }

    /// The state of a job, in the reference's word.
    ///
    /// # Errors
    /// When there is no such job.
    pub fn job_state(&self, job: &str) -> anyhow::Result<String> {
        let shown = self.json(&["job", "show", job])?;
        word(&shown, "/state").with_context(|| format!("a job without a state: {shown}"))
    }

    /// Waits until a job is in a state; how it is shown then.
    ///
    /// # Errors
    /// When it does not get there in time.
    pub fn wait_for_job(&self, job: &str, state: &str) -> anyhow::Result<Value> {
        let what = format!("job '{job}' to be {state}");
        wait_until(SOON, &what, || Ok(when(self.job_state(job)? == state)))?;
        self.json(&["job", "show", job])
    }

    /// The counts of a job's tasks.
    ///
    /// # Errors
    /// When there is no such job.
    pub fn counts(&self, job: &str) -> anyhow::Result<wire::TaskCounts> {
        let api = self.api()?;
        let mut jobs = JobServiceClient::new(api.wire());
        let request = wire::GetTaskCountsRequest { job_id: job.to_owned() };
        let report = api.wait(jobs.get_task_counts(request))?.into_inner();
        report.task_counts.context("a report without counts")
    }

    /// Waits until a job's tasks are counted so.
    ///
    /// # Errors
    /// With the last counts, when they never are.
    pub fn wait_for_counts(&self, job: &str, wanted: wire::TaskCounts) -> anyhow::Result<()> {
        let mut last = None;
        let found = wait_until(SOON, "the counts of a job", || {
            let now = self.counts(job)?;
            last = Some(now);
            Ok(when(now == wanted))
        });
        found.with_context(|| format!("job '{job}': wanted {wanted:?}, last seen {last:?}"))
    }

    /// Requires that the counts of a job in which nothing happens are those of its list.
    ///
    /// # Errors
    /// With both, when they differ.
    pub fn ensure_counts_are_right(&self, job: &str) -> anyhow::Result<()> {
        let mut recount = counts(0, 0, 0, 0);
        for task in self.list(&["task", "list", job])? {
            match word(&task, "/state").unwrap_or_default().as_str() {
                "active" => recount.active += 1,
                "running" | "preparing" => recount.running += 1,
                _ => recount.completed += 1,
            }
            match task.pointer("/execution_info/result").and_then(Value::as_str) {
                Some("EXECUTION_RESULT_SUCCESS") if word(&task, "/state").as_deref() == Some("completed") => {
                    recount.succeeded += 1;
                }
                Some("EXECUTION_RESULT_FAILURE") if word(&task, "/state").as_deref() == Some("completed") => {
                    recount.failed += 1;
                }
                Some(_) | None => {}
            }
        }
        let counted = self.counts(job)?;
        ensure!(counted == recount, "job '{job}' counts {counted:?}, its list has {recount:?}");
        let told = self.json(&["job", "counts", job])?;
        for (state, count) in
            [("active", recount.active), ("failed", recount.failed), ("succeeded", recount.succeeded)]
        {
            let told = told.pointer(&format!("/task_counts/{state}")).and_then(Value::as_u64).unwrap_or(0);
            ensure!(told == count, "`muster job counts {job}` says {told} {state}, the list has {count}");
        }
        Ok(())
    }

    /// Requires each of `count` ids once in the ledger, and nothing else.
    ///
    /// # Errors
    /// With the ledger, when it is not so.
    pub fn ensure_each_once(&self, count: usize) -> anyhow::Result<()> {
        let lines = self.shared_lines("ledger");
        let distinct: BTreeSet<&String> = lines.iter().collect();
        ensure!(
            lines.len() == count && distinct.len() == count,
            "wanted {count} tasks once each: {} lines, {} different: {lines:?}",
            lines.len(),
            distinct.len()
        );
        Ok(())
    }
}

fn word_of(object: &Value, name: &str) -> anyhow::Result<String> {
    let text = object.get(name).and_then(Value::as_str);
    Ok(text.with_context(|| format!("no {name} in {object}"))?.to_owned())
}

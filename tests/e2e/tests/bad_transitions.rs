//! What the state of a job or a task does not allow: exit code, reason, the state in the message, and nothing changed.
//!
//! Each table is tried through the command line and, for the reason that programs branch on, on the API.

use anyhow::{Context, ensure};
use muster_e2e::exit_code::{CONFLICT, NOT_FOUND};
use muster_e2e::user::script_task;
use muster_e2e::wait::SOON;
use muster_e2e::work::with;
use muster_e2e::{Api, Cluster, User};
use muster_proto::wire;
use muster_proto::wire::job_service_client::JobServiceClient;
use muster_proto::wire::task_service_client::TaskServiceClient;
use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// A job in each state that it can stay in, by its name; what it runs in there waits for the gate of the test.
const STATES: [&str; 5] = ["active", "disabling", "disabled", "terminating", "completed"];

fn job_in(cluster: &User, state: &str) -> anyhow::Result<()> {
    let preparation = json!({ "command_line": "true" });
    let release = script_task("-", &cluster.until_open("release"));
    let release = json!({ "command_line": release["command_line"] });
    let job = match state {
        "terminating" => {
            json!({ "id": state, "job_preparation_task": preparation, "job_release_task": release })
        }
        _ => json!({ "id": state }),
    };
    cluster.job_of(&job, &[script_task("done", "exit 0")])?;
    cluster.completed(state, "done")?;
    match state {
        "disabling" => {
            let started = cluster.shared_lines("started").len();
            cluster.add_tasks(state, &[cluster.gated("runs", "gate")])?.ok()?;
            cluster.wait_for_lines("started", started + 1, SOON)?;
            cluster.ok(&["job", "disable", state, "--tasks", "wait"])?;
        }
        "disabled" => cluster.ok(&["job", "disable", state]).map(drop)?,
        "terminating" | "completed" => cluster.ok(&["job", "terminate", state]).map(drop)?,
        _ => {}
    }
    cluster.wait_for_job(state, state).map(drop)
}

/// The exit code of a command on a job in each of [`STATES`]; 0 where it is legal.
const JOB_TABLE: [(&[&str], [i32; 5]); 5] = [
    (&["job", "disable", "JOB", "--tasks", "wait"], [0, 0, 0, CONFLICT, CONFLICT]),
    (&["job", "enable", "JOB"], [CONFLICT, 0, 0, CONFLICT, CONFLICT]),
    (&["job", "update", "JOB", "--priority", "5"], [0, 0, 0, CONFLICT, CONFLICT]),
    (&["task", "add", "JOB", "new", "--", "true"], [0, 0, 0, CONFLICT, CONFLICT]),
    (&["job", "terminate", "JOB"], [0, 0, 0, CONFLICT, CONFLICT]),
];

#[test]
fn each_command_on_a_job_is_refused_in_the_states_that_forbid_it() -> anyhow::Result<()> {
    let cluster = Cluster::new().slots(2).dev()?;
    let mut wrong = vec![];
    for (index, state) in STATES.iter().enumerate() {
        job_in(&cluster, state)?;
        for (words, codes) in JOB_TABLE {
            // What is legal is tried elsewhere; here it would change the state that the row is about.
            if codes[index] == 0 {
                continue;
            }
            let before = (cluster.json(&["job", "show", state])?, cluster.counts(state)?);
            let command: Vec<&str> =
                words.iter().map(|word| if *word == "JOB" { *state } else { *word }).collect();
            let outcome = cluster.muster(&command)?.refused(codes[index], &[&format!("'{state}'"), state]);
            wrong.extend(outcome.err().map(|error| format!("{error:#}")));
            let after = (cluster.json(&["job", "show", state])?, cluster.counts(state)?);
            ensure!(before == after, "{command:?} changed something: {before:?} {after:?}");
        }
    }
    ensure!(wrong.is_empty(), "{} rows are wrong:\n{}", wrong.len(), wrong.join("\n"));
    // Legal again and again, and from one state into the next.
    cluster.ok(&["job", "disable", "disabled"])?;
    cluster.ok(&["job", "disable", "disabling", "--tasks", "wait"])?;
    cluster.ok(&["job", "enable", "disabling"])?;
    cluster.ok(&["job", "terminate", "disabled"])?;
    cluster.ok(&["job", "delete", "completed"])?;
    cluster.ok(&["job", "delete", "terminating"])?;
    cluster.open("release")?;
    cluster.open("gate")?;
    cluster.still_works()
}

fn ensure_reason(answer: Result<(), Status>, reason: &str) -> anyhow::Result<()> {
    let status = answer.err().with_context(|| format!("wanted {reason}, it was done"))?;
    let details = status.get_error_details();
    let found = details.error_info().map(|info| info.reason.clone()).unwrap_or_default();
    ensure!(status.code() == Code::FailedPrecondition && found == reason, "wanted {reason}: {status:?}");
    Ok(())
}

fn enable(api: &Api, job: &str) -> Result<(), Status> {
    let request = wire::EnableJobRequest { job_id: job.into(), ..Default::default() };
    api.wait(JobServiceClient::new(api.wire()).enable_job(request)).map(drop)
}

fn terminate(api: &Api, job: &str) -> Result<(), Status> {
    let request = wire::TerminateJobRequest { job_id: job.into(), ..Default::default() };
    api.wait(JobServiceClient::new(api.wire()).terminate_job(request)).map(drop)
}

fn add(api: &Api, job: &str) -> Result<(), Status> {
    let task = wire::Task { id: "new".into(), command_line: "true".into(), ..Default::default() };
    let request = wire::CreateTaskRequest { job_id: job.into(), task: Some(task), ..Default::default() };
    api.wait(TaskServiceClient::new(api.wire()).create_task(request)).map(drop)
}

#[test]
fn reasons_of_the_refusals_are_those_that_programs_branch_on() -> anyhow::Result<()> {
    let cluster = Cluster::new().slots(2).dev()?;
    let api = cluster.api()?;
    for state in ["active", "terminating", "completed"] {
        job_in(&cluster, state)?;
    }
    for (state, reason) in [("terminating", "JOB_BEING_TERMINATED"), ("completed", "JOB_COMPLETED")] {
        ensure_reason(enable(&api, state), reason)?;
        ensure_reason(terminate(&api, state), reason)?;
        ensure_reason(add(&api, state), reason)?;
    }
    ensure_reason(enable(&api, "active"), "OPERATION_INVALID_FOR_CURRENT_STATE")?;
    let mut tasks = TaskServiceClient::new(api.wire());
    let reactivate =
        wire::ReactivateTaskRequest { job_id: "active".into(), task_id: "done".into(), ..Default::default() };
    ensure_reason(api.wait(tasks.reactivate_task(reactivate)).map(drop), "TASK_SUCCEEDED")?;
    let terminate =
        wire::TerminateTaskRequest { job_id: "active".into(), task_id: "done".into(), ..Default::default() };
    ensure_reason(api.wait(tasks.terminate_task(terminate)).map(drop), "TASK_COMPLETED")?;
    let task = wire::Task { job_id: "active".into(), id: "done".into(), ..Default::default() };
    let update = wire::UpdateTaskRequest { task: Some(task), ..Default::default() };
    ensure_reason(api.wait(tasks.update_task(update)).map(drop), "TASK_COMPLETED")?;
    let request =
        wire::ListJobPreparationAndReleaseTaskStatusRequest { job_id: "active".into(), ..Default::default() };
    let listed =
        api.wait(JobServiceClient::new(api.wire()).list_job_preparation_and_release_task_status(request));
    ensure_reason(listed.map(drop), "JOB_PREPARATION_TASK_NOT_SPECIFIED")?;
    cluster.open("release")?;
    Ok(())
}

#[test]
fn each_command_on_a_task_is_refused_where_task_or_job_forbid_it() -> anyhow::Result<()> {
    let cluster = Cluster::new().slots(1).dev()?;
    let job = json!({ "id": "j", "job_preparation_task": { "id": "prep", "command_line": "true" } });
    cluster.job_of(&job, &[script_task("good", "exit 0"), script_task("bad", "exit 1")])?;
    cluster.muster(&["job", "wait", "j"])?.with_code(muster_e2e::exit_code::PARTLY)?;
    cluster.add_tasks("j", &[cluster.gated("runs", "gate"), cluster.noted("waits")])?.ok()?;
    cluster.wait_for_lines("started", 1, SOON)?;
    let rows: [(&[&str], i32, &[&str]); 11] = [
        (&["task", "terminate", "j", "good"], CONFLICT, &["'good'", "completed"]),
        (&["task", "terminate", "j", "bad"], CONFLICT, &["'bad'", "completed"]),
        (&["task", "reactivate", "j", "good"], CONFLICT, &["'good'", "succeeded"]),
        (&["task", "reactivate", "j", "runs"], CONFLICT, &["'runs'", "running"]),
        (&["task", "reactivate", "j", "waits"], CONFLICT, &["'waits'", "active"]),
        (&["task", "update", "j", "good", "--max-retries", "1"], CONFLICT, &["'good'", "completed"]),
        (&["task", "add", "j", "prep", "--", "true"], CONFLICT, &["'prep'", "job preparation task"]),
        (&["task", "add", "j", "RUNS", "--", "true"], CONFLICT, &["runs"]),
        (&["task", "attempts", "j", "nobody"], NOT_FOUND, &["nobody"]),
        (&["task", "update", "j", "nobody", "--max-retries", "1"], NOT_FOUND, &["nobody"]),
        (&["job", "update", "j", "--pool", "other"], CONFLICT, &["'j'", "active", "disable"]),
    ];
    // What runs reports by itself meanwhile, so of tasks only that is compared which a command changes.
    let facts = |cluster: &User| -> anyhow::Result<(Vec<Value>, Value)> {
        let listed = cluster.list(&["task", "list", "j", "--select", "id,state,attempt,constraints"])?;
        Ok((listed, cluster.json(&["job", "show", "j"])?))
    };
    cluster.wait_for_task("j", "runs", "running")?;
    let before = facts(&cluster)?;
    let mut wrong = vec![];
    for (words, code, said) in rows {
        wrong.extend(cluster.muster(words)?.refused(code, said).err().map(|error| format!("{error:#}")));
    }
    ensure!(wrong.is_empty(), "{} rows are wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(facts(&cluster)?, before, "nothing changed");
    // In a completed job nothing is tried again.
    cluster.ok(&["job", "terminate", "j"])?;
    cluster.wait_for_job("j", "completed")?;
    cluster.muster(&["task", "reactivate", "j", "bad"])?.refused(CONFLICT, &["'j'", "completed"])?;
    // The pool of a disabled job may change; its tasks then run there.
    cluster.job("moves", &[with(cluster.noted("t"), &json!({ "required_slots": 1 }))])?;
    cluster.completed("moves", "t")?;
    cluster.ok(&["job", "disable", "moves"])?;
    cluster.ok(&["pool", "create", "other", "--nodes", "1", "--wait"])?;
    cluster.ok(&["job", "update", "moves", "--pool", "other"])?;
    cluster.add_tasks("moves", &[cluster.noted("there")])?.ok()?;
    cluster.ok(&["job", "enable", "moves"])?;
    let shown = cluster.completed("moves", "there")?;
    assert_eq!(shown.pointer("/node_info/pool_id"), Some(&json!("other")), "{shown}");
    Ok(())
}

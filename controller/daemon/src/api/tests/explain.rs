//! Explanations: what the core says about waiting tasks reaches the caller with code, sentence and facts.
//!
//! Which reasons there are, and in which order, is the core's to test.

use super::studio::{Studio, create, ends_job, task};
use muster_proto::convert::reason_of;
use muster_proto::wire::{self, ErrorReason, TaskState};
use tonic::Code;

fn explain(id: &str) -> wire::ExplainTaskRequest {
    wire::ExplainTaskRequest { job_id: "film".into(), task_id: id.into() }
}

fn codes(reasons: &[wire::WaitReason]) -> Vec<&str> {
    reasons.iter().map(|reason| reason.code.as_str()).collect()
}

fn depends_on(id: &str) -> Option<wire::TaskDependencies> {
    Some(wire::TaskDependencies { task_ids: vec![id.into()], ..Default::default() })
}

#[tokio::test]
async fn a_waiting_task_says_why_and_a_running_one_has_no_reason() {
    let mut studio = Studio::with_film().await;
    studio.add(task("a")).await;
    studio.add(wire::Task { depends_on: depends_on("a"), ..task("b") }).await;
    let alone = studio.tasks.explain_task(explain("a")).await.unwrap().into_inner();
    assert_eq!((alone.state(), alone.can_ever_run), (TaskState::Active, false));
    assert_eq!(codes(&alone.reasons), ["NO_NODES"]);
    assert!(alone.reasons[0].message.contains("'render'"), "{:?}", alone.reasons[0]);
    assert!(alone.reasons[0].details.iter().any(|fact| fact.name == "pool" && fact.value == "render"));
    let blocked = studio.tasks.explain_task(explain("b")).await.unwrap().into_inner();
    assert_eq!(codes(&blocked.reasons)[0], "DEPENDENCY");
    let job = wire::ExplainJobRequest { job_id: "film".into() };
    let whole = studio.jobs.explain_job(job.clone()).await.unwrap().into_inner();
    assert_eq!((whole.state(), whole.waiting.len()), (wire::JobState::Active, 2));
    assert_eq!((whole.waiting[0].count, whole.waiting[0].example_task_id.as_str()), (1, "a"));

    let mut node = studio.world.join("render", "n1").await;
    let attempt = node.dispatched().await.remove(0);
    node.started(&attempt).await;
    let running = studio.tasks.explain_task(explain("a")).await.unwrap().into_inner();
    assert_eq!((running.state(), running.reasons.len()), (TaskState::Running, 0));
    for missing in [explain("nope"), wire::ExplainTaskRequest { job_id: "nope".into(), ..explain("a") }] {
        assert_eq!(studio.tasks.explain_task(missing).await.unwrap_err().code(), Code::NotFound);
    }
    let nowhere = wire::ExplainJobRequest { job_id: "nope".into() };
    assert_eq!(studio.jobs.explain_job(nowhere).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn a_task_can_be_tried_without_adding_it_and_is_refused_as_it_would_be() {
    let mut studio = Studio::with_film().await;
    studio.add(task("a")).await;
    let check = |task: wire::Task| wire::CheckTaskRequest { job_id: "film".into(), task: Some(task) };
    let _node = studio.world.join("render", "n1").await;
    let huge = wire::ResourceRequests { memory_bytes: 1 << 40, ..Default::default() };
    let too_big = wire::Task { resources: Some(huge), ..task("big") };
    let never = studio.tasks.check_task(check(too_big)).await.unwrap().into_inner();
    assert!(!never.can_ever_run);
    assert_eq!(codes(&never.reasons), ["NODE_TOO_SMALL"]);
    assert!(never.reasons[0].message.contains("1 TiB"), "{:?}", never.reasons[0]);
    assert!(studio.tasks.check_task(check(task("b"))).await.unwrap().into_inner().can_ever_run);
    let wrong = [
        task("A"),
        wire::Task { required_slots: 5, ..task("b") },
        wire::Task { command_line: String::new(), ..task("b") },
        wire::Task { exit_conditions: Some(ends_job()), ..task("b") },
        wire::Task { depends_on: depends_on("b"), ..task("b") },
    ];
    for task in wrong {
        let tried = studio.tasks.check_task(check(task.clone())).await.unwrap_err();
        let added = studio.tasks.create_task(create("film", task)).await.unwrap_err();
        assert_eq!((tried.code(), reason_of(&tried)), (added.code(), reason_of(&added)), "{tried:?}");
        assert_eq!(tried.message(), added.message());
    }
    let nowhere = wire::CheckTaskRequest { job_id: "nope".into(), ..check(task("b")) };
    let refused = studio.tasks.check_task(nowhere).await.unwrap_err();
    assert_eq!(reason_of(&refused), Some(ErrorReason::JobNotFound));
    assert_eq!(studio.states().await.len(), 1, "nothing was added");
}

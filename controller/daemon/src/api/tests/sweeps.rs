//! Sweeps: made, listed, ended, tried again and deleted as a whole, and their members as tasks.
//!
//! A million members are looked at through the API only by the handful, as a client would; that nothing is made of them is
//! the core's and the store's to test.

use super::super::testing::World;
use super::studio::{Studio, create_sweep, ends_job, get, job, sweep, task};
use muster_proto::convert::{reason_of, violations_of};
use muster_proto::wire::{self, ErrorReason, ExecutionResult, TaskState};
use std::time::{Duration, Instant};
use tonic::Code;

fn of(id: &str) -> wire::GetSweepRequest {
    wire::GetSweepRequest { job_id: "film".into(), sweep_id: id.into() }
}

fn counts(active: u64, running: u64, succeeded: u64, failed: u64) -> Option<wire::TaskCounts> {
    Some(wire::TaskCounts { active, running, completed: succeeded + failed, succeeded, failed })
}

#[tokio::test]
async fn a_million_members_are_accepted_at_once_and_are_tasks_like_any_other() {
    let mut studio = Studio::with_film().await;
    let began = Instant::now();
    let made = studio.tasks.create_sweep(create_sweep(sweep("frame", 1, 1_000_000))).await;
    let made = made.unwrap().into_inner();
    let took = began.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!((made.count, made.first_number, made.number_step), (1_000_000, 1, 1));
    assert_eq!((made.job_id.as_str(), made.counts), ("film", counts(1_000_000, 0, 0, 0)));
    assert_eq!(studio.tasks.get_sweep(of("FRAME")).await.unwrap().into_inner(), made);
    let member = studio.task("frame-42").await;
    assert_eq!((member.id.as_str(), member.command_line.as_str()), ("frame-0000042", "render 42"));
    assert_eq!((member.sweep_id.as_str(), member.sweep_number), ("frame", Some(42)));
    assert_eq!(member.state(), TaskState::Active);
    assert_eq!(studio.counts().await.active, 1_000_000);
    let list = wire::ListTasksRequest {
        job_id: "film".into(),
        filter: "sweep_id = frame AND sweep_number >= 999999".into(),
        ..Default::default()
    };
    let tasks = studio.tasks.list_tasks(list).await.unwrap().into_inner().tasks;
    let ids: Vec<_> = tasks.iter().map(|task| task.id.as_str()).collect();
    assert_eq!(ids, ["frame-0999999", "frame-1000000"]);
}

#[tokio::test]
async fn a_table_of_the_largest_size_is_accepted_and_answered_whole_only_when_asked_for() {
    let mut studio = Studio::with_film().await;
    let rows: Vec<_> = (0..40_000).map(|n| wire::SweepRow { values: vec![format!("{n:0100}")] }).collect();
    let table = wire::SweepTable { names: vec!["scene".into()], rows };
    let big = wire::Sweep {
        axes: vec![wire::SweepAxis { values: Some(wire::sweep_axis::Values::Table(table)) }],
        template: Some(wire::Task { command_line: "render {scene}".into(), ..Default::default() }),
        ..sweep("scenes", 1, 1)
    };
    let made = studio.tasks.create_sweep(create_sweep(big.clone())).await.unwrap().into_inner();
    assert_eq!(made.count, 40_000);
    let Some(wire::sweep_axis::Values::Table(table)) = &made.axes[0].values else { panic!("a table") };
    assert_eq!((table.names.as_slice(), table.rows.len()), (["scene".to_owned()].as_slice(), 0));
    let mut large = studio.tasks.clone().max_decoding_message_size(8 << 20);
    let whole = large.get_sweep(of("scenes")).await.unwrap().into_inner();
    assert_eq!(whole.axes, big.axes);
    let list = wire::ListSweepsRequest { job_id: "film".into(), ..Default::default() };
    let listed = studio.tasks.list_sweeps(list).await.unwrap().into_inner().sweeps;
    assert_eq!(listed, [made]);
    let member = studio.task("scenes-40000").await;
    assert_eq!(member.command_line, format!("render {:0100}", 39_999));
}

#[tokio::test]
async fn members_are_ended_and_tried_again_by_range_and_all_at_once() {
    let mut studio = Studio::with_film().await;
    studio.tasks.create_sweep(create_sweep(sweep("s", 1, 100))).await.unwrap();
    let terminate = |first, last| wire::TerminateSweepRequest {
        job_id: "film".into(),
        sweep_id: "s".into(),
        first,
        last,
        request_id: String::new(),
    };
    let ended = studio.tasks.terminate_sweep(terminate(Some(11), Some(40))).await.unwrap().into_inner();
    assert_eq!(ended.counts, counts(70, 0, 0, 30));
    let member = studio.task("s-11").await;
    let info = member.execution_info.unwrap();
    assert_eq!((member.state, info.result()), (TaskState::Completed.into(), ExecutionResult::Failure));
    assert_eq!(info.failure_info.unwrap().cause(), wire::FailureCause::Terminated);
    assert_eq!(studio.task("s-10").await.state(), TaskState::Active);
    let nobody = studio.tasks.terminate_sweep(terminate(Some(101), None)).await.unwrap_err();
    assert_eq!(nobody.code(), Code::InvalidArgument);
    assert!(nobody.message().contains("101") && nobody.message().contains("from 1 to 100"), "{nobody:?}");
    let reactivate = wire::ReactivateSweepRequest {
        job_id: "film".into(),
        sweep_id: "s".into(),
        last: Some(20),
        ..Default::default()
    };
    let again = studio.tasks.reactivate_sweep(reactivate).await.unwrap().into_inner();
    assert_eq!(again.counts, counts(80, 0, 0, 20));
    let all = studio.tasks.terminate_sweep(terminate(None, None)).await.unwrap().into_inner();
    assert_eq!(all.counts, counts(0, 0, 0, 100));
}

#[tokio::test]
async fn a_member_that_ran_counts_and_a_deleted_sweep_takes_its_members_with_it() {
    let mut studio = Studio::with_film().await;
    let mut node = studio.world.join("render", "n1").await;
    studio.tasks.create_sweep(create_sweep(sweep("s", 1, 3))).await.unwrap();
    let mut attempts = node.dispatched().await;
    while attempts.len() < 3 {
        attempts.extend(node.dispatched().await);
    }
    node.started(&attempts[0]).await;
    node.finished(&attempts[0], 0, b"").await;
    node.started(&attempts[1]).await;
    let seen = studio.tasks.get_sweep(of("s")).await.unwrap().into_inner();
    assert_eq!(seen.counts, counts(1, 1, 1, 0));
    let delete =
        wire::DeleteSweepRequest { job_id: "film".into(), sweep_id: "s".into(), ..Default::default() };
    studio.tasks.delete_sweep(delete.clone()).await.unwrap();
    let leaving = studio.tasks.get_sweep(of("s")).await.unwrap().into_inner();
    assert!(leaving.deleting, "a node still holds attempts");
    let again = studio.tasks.create_sweep(create_sweep(sweep("s", 1, 3))).await.unwrap_err();
    assert_eq!(reason_of(&again), Some(ErrorReason::SweepBeingDeleted));
    for attempt in &attempts[1..] {
        node.finished(attempt, 1, b"").await;
    }
    let gone = studio.tasks.get_sweep(of("s")).await.unwrap_err();
    assert_eq!((gone.code(), reason_of(&gone)), (Code::NotFound, Some(ErrorReason::SweepNotFound)));
    assert_eq!(studio.tasks.delete_sweep(delete).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(studio.tasks.get_task(get("s-1")).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(studio.counts().await, wire::TaskCounts::default());
}

#[tokio::test]
async fn a_wrong_sweep_is_refused_by_field_and_nothing_of_it_stays() {
    let mut studio = Studio::with_film().await;
    studio.add(task("frame-5")).await;
    let table = |names: &[&str], rows: &[&[&str]]| {
        let names = names.iter().map(ToString::to_string).collect();
        let row = |row: &&[&str]| wire::SweepRow { values: row.iter().map(ToString::to_string).collect() };
        let table = wire::SweepTable { names, rows: rows.iter().map(row).collect() };
        wire::SweepAxis { values: Some(wire::sweep_axis::Values::Table(table)) }
    };
    let with_command = |command: &str| wire::Sweep {
        template: Some(wire::Task { command_line: command.into(), ..Default::default() }),
        ..sweep("s", 1, 3)
    };
    let in_path = wire::ResourceFile {
        source: Some(wire::resource_file::Source::HttpUrl("https://example.org/x".into())),
        file_path: "{scene}/in".into(),
        ..Default::default()
    };
    let template = Some(wire::Task { resource_files: vec![in_path], ..task("") });
    let leaves = wire::Sweep { template, axes: vec![table(&["scene"], &[&["../up"]])], ..sweep("s", 1, 1) };
    let ends = wire::Sweep {
        template: Some(wire::Task { exit_conditions: Some(ends_job()), ..task("") }),
        ..sweep("s", 1, 3)
    };
    let cases = [
        (sweep("no good", 1, 3), "sweep.id", "1 to 48"),
        (sweep("s", 5, 3), "sweep.axes[0].range", "3"),
        (sweep("s", 1, 200_000_000), "sweep.axes", "100000000"),
        (with_command("render {fram}"), "sweep.template.command_line", "fram"),
        (wire::Sweep { axes: vec![], ..sweep("s", 1, 1) }, "sweep.axes", "range or a table"),
        (leaves, "sweep.axes[0].table.rows[0].values[0]", ".."),
        (ends, "sweep.template.exit_conditions", "PERFORM_EXIT_OPTIONS_JOB_ACTION"),
    ];
    for (wrong, field, words) in cases {
        let refused = studio.tasks.create_sweep(create_sweep(wrong)).await.unwrap_err();
        let fields = violations_of(&refused);
        assert_eq!(refused.code(), Code::InvalidArgument, "{field}: {refused:?}");
        assert!(fields.iter().any(|v| v.field.starts_with(field)), "{field}: {fields:?}");
        assert!(refused.message().contains(words), "{words}: {}", refused.message());
    }
    let taken = studio.tasks.create_sweep(create_sweep(sweep("frame", 1, 9))).await.unwrap_err();
    assert_eq!((taken.code(), reason_of(&taken)), (Code::AlreadyExists, Some(ErrorReason::TaskExists)));
    studio.tasks.create_sweep(create_sweep(sweep("ok", 1, 9))).await.unwrap();
    let twice = studio.tasks.create_sweep(create_sweep(sweep("OK", 20, 30))).await.unwrap_err();
    assert_eq!((twice.code(), reason_of(&twice)), (Code::AlreadyExists, Some(ErrorReason::SweepExists)));
    let elsewhere = wire::CreateSweepRequest { job_id: "nope".into(), ..create_sweep(sweep("s", 1, 2)) };
    let nowhere = studio.tasks.create_sweep(elsewhere).await.unwrap_err();
    assert_eq!(reason_of(&nowhere), Some(ErrorReason::JobNotFound));
    let list = wire::ListSweepsRequest { job_id: "film".into(), ..Default::default() };
    let listed = studio.tasks.list_sweeps(list).await.unwrap().into_inner().sweeps;
    assert_eq!(listed.iter().map(|sweep| sweep.id.as_str()).collect::<Vec<_>>(), ["ok"]);
    let lost = wire::ListSweepsRequest { job_id: "nope".into(), ..Default::default() };
    assert_eq!(studio.tasks.list_sweeps(lost).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn a_repeat_of_the_same_request_makes_no_second_sweep() {
    let mut studio = Studio::with_film().await;
    let request = wire::CreateSweepRequest { request_id: "once".into(), ..create_sweep(sweep("s", 1, 5)) };
    let first = studio.tasks.create_sweep(request.clone()).await.unwrap().into_inner();
    assert_eq!(studio.tasks.create_sweep(request).await.unwrap().into_inner(), first);
    assert_eq!(studio.counts().await.active, 5);
}

#[tokio::test]
async fn a_token_of_another_job_reaches_no_sweep() {
    let mut studio = Studio::with_film().await;
    studio.make(job("other")).await;
    studio.tasks.create_sweep(create_sweep(sweep("s", 1, 5))).await.unwrap();
    let other = |world: &World| {
        let claims = serde_json::json!({"sub": "studio", "job": "other"});
        wire::task_service_client::TaskServiceClient::new(world.with(1, claims))
    };
    let mut other = other(&studio.world);
    let refused = [
        other.get_sweep(of("s")).await.unwrap_err(),
        other.create_sweep(create_sweep(sweep("t", 1, 2))).await.unwrap_err(),
        other
            .terminate_sweep(wire::TerminateSweepRequest {
                job_id: "film".into(),
                sweep_id: "s".into(),
                ..Default::default()
            })
            .await
            .unwrap_err(),
    ];
    for refused in refused {
        assert_eq!(reason_of(&refused), Some(ErrorReason::PermissionDenied), "{refused:?}");
    }
    assert_eq!(studio.counts().await.active, 5);
}

//! The path of a task: dispatched, its content fetched, its outputs brought, its end recorded; and a session's ends.
//!
//! What a node must not get at (content of others, outputs that nobody asked for) is tried here too, each with what
//! the store says afterwards.

use crate::support::*;
use muster_controller_core::input::Command;
use muster_model::spec::TaskSpec;
use muster_model::state::{DrainOption, ExecutionResult, TaskState};
use muster_model::{Cause, ContainerName, Digest, FilePath, TaskId};
use muster_proto::convert::reason_of;
use muster_proto::wire::{self, ErrorReason};
use sha2::{Digest as _, Sha256};
use tonic::Code;
use wire::report::Event;
use wire::{agent_message, controller_message, fetch_file_response, upload_file_request};

/// A task with one input and one output.
fn frame() -> TaskSpec {
    let input = wire::ResourceFile {
        source: Some(wire::resource_file::Source::FileStore(store_path("scene", "ball.pov"))),
        file_path: "in/ball.pov".to_owned(),
        ..Default::default()
    };
    let output = wire::OutputFile {
        file_pattern: "*.png".to_owned(),
        destination: Some(wire::output_file::Destination::FileStore(store_path("frames", "out"))),
        ..Default::default()
    };
    let environment = wire::EnvironmentSetting { name: "FRAME".to_owned(), value: "1".to_owned() };
    let task = wire::Task {
        resource_files: vec![input],
        output_files: vec![output],
        environment_settings: vec![environment],
        ..task_spec("frame")
    };
    TaskSpec::try_from(task).unwrap()
}

fn fetch(attempt: &wire::AttemptRef, digest: Digest, offset: u64) -> wire::FetchFileRequest {
    wire::FetchFileRequest {
        for_whom: Some(wire::fetch_file_request::ForWhom::Attempt(attempt.clone())),
        sha256: digest.to_string(),
        offset,
    }
}

async fn fetched(agent: &mut Agent, request: wire::FetchFileRequest) -> (u64, Vec<u8>) {
    let mut stream = within(agent.client.fetch_file(request)).await.unwrap().into_inner();
    let (mut size, mut bytes) = (0, Vec::new());
    while let Some(message) = within(stream.message()).await.unwrap() {
        match message.body.unwrap() {
            fetch_file_response::Body::Header(header) => size = header.size_bytes,
            fetch_file_response::Body::Chunk(chunk) => bytes.extend_from_slice(&chunk),
        }
    }
    (size, bytes)
}

fn upload(attempt: &wire::AttemptRef, content: &'static [u8], sha256: &str) -> Vec<wire::UploadFileRequest> {
    let header = wire::UploadFileHeader {
        attempt: Some(attempt.clone()),
        sha256: sha256.to_owned(),
        size_bytes: None,
    };
    let bodies =
        [upload_file_request::Body::Header(header), upload_file_request::Body::Chunk(content.into())];
    bodies.into_iter().map(|body| wire::UploadFileRequest { body: Some(body) }).collect()
}

fn entry(container: &str, path: &str, sha256: &str, size: u64) -> wire::OutputManifestEntry {
    wire::OutputManifestEntry {
        destination: Some(wire::output_manifest_entry::Destination::FileStore(store_path(container, path))),
        sha256: sha256.to_owned(),
        size_bytes: size,
    }
}

#[tokio::test]
async fn a_task_goes_all_the_way_and_its_output_is_named() {
    let world = World::new().await;
    let digest = world.put("scene", "ball.pov", b"sphere").await;
    let mut agent = world.join("machine").await;
    let (mut session, _) = agent.session().await;
    world.add_task(frame()).await;

    let plans = session.assigned().await;
    let [plan] = plans.as_slice() else { panic!("{plans:?}") };
    let attempt = plan.attempt.clone().unwrap();
    assert_eq!((attempt.task_id.as_str(), attempt.attempt), ("frame", 1));
    let names: Vec<_> = plan.environment_settings.iter().map(|setting| setting.name.as_str()).collect();
    assert_eq!(names, ["SCENE", "FRAME"]);
    let file = &plan.resource_files[0];
    assert_eq!(file.file_path, "in/ball.pov");
    assert_eq!(file.source, Some(wire::planned_file::Source::ContentSha256(digest.to_string())));

    assert_eq!(fetched(&mut agent, fetch(&attempt, digest, 0)).await, (6, b"sphere".to_vec()));
    assert_eq!(fetched(&mut agent, fetch(&attempt, digest, 4)).await, (6, b"re".to_vec()));
    session
        .report(Event::Progress(wire::AttemptProgress {
            attempt: Some(attempt.clone()),
            phase: wire::AttemptPhase::Staging.into(),
            occur_time: succeeded(&attempt, Vec::new()).start_time,
        }))
        .await;
    let messages = upload(&attempt, b"pixels", "");
    let stored = within(agent.client.upload_file(tokio_stream::iter(messages))).await.unwrap().into_inner();
    assert_eq!(stored.sha256, Digest::from_bytes(Sha256::digest(b"pixels").into()).to_string());

    let outputs = vec![entry("frames", "out/1.png", &stored.sha256, 6)];
    let sequence = session.report(Event::Finished(succeeded(&attempt, outputs))).await;
    session.acknowledged(sequence).await;
    let task = world.task("frame");
    assert_eq!((task.state.state, task.state.result), (TaskState::Completed, Some(ExecutionResult::Success)));
    let (container, path) = (ContainerName::parse("frames").unwrap(), FilePath::parse("out/1.png").unwrap());
    let file = world.engine.reader().file(&account(), &container, &path).unwrap().unwrap();
    assert_eq!((file.digest.to_string(), file.size), (stored.sha256, 6));
    world.stop().await;
}

#[tokio::test]
async fn content_is_for_the_plans_of_the_node_alone() {
    let world = World::new().await;
    let digest = world.put("scene", "ball.pov", b"sphere").await;
    let other = world.put("scene", "secret.txt", b"secret").await;
    let (mut agent, mut stranger) = (world.join("one").await, world.join("two").await);
    let (mut session, _) = agent.session().await;
    world.add_task(frame()).await;
    let attempt = session.assigned().await[0].attempt.clone().unwrap();
    for (client, request) in
        [(&mut agent.client, fetch(&attempt, other, 0)), (&mut stranger.client, fetch(&attempt, digest, 0))]
    {
        let refused = within(client.fetch_file(request)).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    }
    let messages = tokio_stream::iter(upload(&attempt, b"x", ""));
    let refused = within(stranger.client.upload_file(messages)).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    let beyond = within(agent.client.fetch_file(fetch(&attempt, digest, 7))).await.unwrap_err();
    assert_eq!(beyond.code(), Code::OutOfRange, "{beyond}");
    world.stop().await;
}

#[tokio::test]
async fn an_output_that_was_not_asked_for_or_not_brought_is_a_failed_upload() {
    let world = World::new().await;
    world.put("scene", "ball.pov", b"sphere").await;
    // Content that is in the store, as another account might have brought it.
    let mut foreign = world.blobs.begin(Default::default(), None).await.unwrap();
    foreign.write(b"foreign"[..].into()).await.unwrap();
    let foreign = foreign.finish().await.unwrap().digest.to_string();
    let missing = Digest::from_bytes([9; 32]).to_string();
    let agent = world.join("machine").await;
    let (mut session, _) = agent.session().await;
    for (id, output) in [
        ("elsewhere", entry("scene", "ball.pov", &missing, 1)),
        ("missing", entry("frames", "out/1.png", &missing, 1)),
        ("foreign", entry("frames", "out/1.png", &foreign, 7)),
    ] {
        world.add_task(TaskSpec { id: TaskId::parse(id).unwrap(), ..frame() }).await;
        let attempt = session.assigned().await[0].attempt.clone().unwrap();
        let sequence = session.report(Event::Finished(succeeded(&attempt, vec![output]))).await;
        session.acknowledged(sequence).await;
        let task = world.task(id);
        assert_eq!(task.state.state, TaskState::Completed, "{id}");
        assert_eq!(task.state.failure.unwrap().cause, Cause::UploadFailed, "{id}");
    }
    let container = ContainerName::parse("frames").unwrap();
    let path = FilePath::parse("out/1.png").unwrap();
    assert!(world.engine.reader().file(&account(), &container, &path).unwrap().is_none());
    world.stop().await;
}

#[tokio::test]
async fn an_input_that_does_not_exist_fails_the_task_and_the_node_goes_on() {
    let world = World::new().await;
    let agent = world.join("machine").await;
    let (mut session, _) = agent.session().await;
    let mut events = world.engine.subscribe();
    world.add_task(frame()).await;
    while world.task("frame").state.state != TaskState::Completed {
        within(events.next()).await.unwrap();
    }
    let failure = world.task("frame").state.failure.unwrap();
    assert_eq!(failure.cause, Cause::StagingNotFound);
    assert!(failure.message.contains("'scene/ball.pov'"), "{}", failure.message);
    world.add_task(TaskSpec::try_from(task_spec("next")).unwrap()).await;
    assert_eq!(session.assigned().await[0].attempt.clone().unwrap().task_id, "next");
    world.stop().await;
}

#[tokio::test]
async fn reports_that_the_core_does_not_hear_of_are_acknowledged_too() {
    let world = World::new().await;
    let agent = world.join("machine").await;
    let (mut session, _) = agent.session().await;
    let sequence = session.report(Event::Health(wire::NodeHealth::default())).await;
    session.acknowledged(sequence).await;
    session.say(agent_message::Body::Heartbeat(wire::Heartbeat { sequence: 42 })).await;
    let answer = session.next().await;
    assert!(
        matches!(&answer, controller_message::Body::LeaseGranted(lease) if lease.sequence == 42),
        "{answer:?}"
    );
    world.stop().await;
}

#[tokio::test]
async fn a_second_session_ends_the_first_and_stopping_ends_both_in_words() {
    let world = World::new().await;
    let agent = world.join("machine").await;
    let (mut first, _) = agent.session().await;
    let (mut second, _) = agent.session().await;
    let status = first.end().await;
    assert_eq!((status.code(), reason_of(&status)), (Code::Aborted, Some(ErrorReason::StaleSession)));
    world.shutdown.begin();
    let status = second.end().await;
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    world.stop().await;
}

#[tokio::test]
async fn a_removed_node_is_told_to_leave_and_cannot_come_back() {
    let world = World::new().await;
    let agent = world.join("machine").await;
    let (mut session, _) = agent.session().await;
    let nodes = vec![agent.key.node.clone()];
    let option = DrainOption::Requeue;
    world
        .command(Command::RemoveNodes { pool: pool_id(), nodes, option, timeout: None, if_match: None })
        .await;
    let message = session.next().await;
    assert!(matches!(message, controller_message::Body::Leave(_)), "{message:?}");
    drop(session);
    let mut events = world.engine.subscribe();
    while world.engine.reader().node(&account(), &agent.key.node).unwrap().is_some() {
        within(events.next()).await.unwrap();
    }
    let refused = agent.open().await.err().unwrap();
    assert_eq!(reason_of(&refused), Some(ErrorReason::NodeUnknown), "{refused}");
    world.stop().await;
}

#[tokio::test]
async fn a_stream_that_does_not_begin_with_a_good_hello_is_refused() {
    let world = World::new().await;
    let mut agent = world.join("machine").await;
    let hello = |version| wire::Hello {
        protocol_version: version,
        facts: Some(facts("machine")),
        ..Default::default()
    };
    for (body, code) in [
        (agent_message::Body::Heartbeat(wire::Heartbeat { sequence: 1 }), Code::InvalidArgument),
        (agent_message::Body::Hello(hello(99)), Code::FailedPrecondition),
        (agent_message::Body::Hello(wire::Hello { facts: None, ..hello(1) }), Code::InvalidArgument),
    ] {
        let messages = tokio_stream::iter([wire::AgentMessage { body: Some(body) }]);
        let refused = within(agent.client.session(messages)).await.unwrap_err();
        assert_eq!(refused.code(), code, "{refused}");
    }
    world.stop().await;
}

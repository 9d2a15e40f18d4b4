//! Reading files of a node: through the relay, over the agent's own stream.
//!
//! The reader's half is what the API does; the agent's half is the protocol. Each way in which a read can end has a
//! test: complete, cancelled, broken off, refused, lost.

use crate::support::*;
use muster_controller::relay::{Part, ReadRequest, RelayError};
use muster_proto::wire;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use wire::{agent_message, controller_message, serve_file_request};

fn read(path: &str) -> ReadRequest {
    ReadRequest::File(wire::ReadFile { path: path.to_owned(), ..Default::default() })
}

fn serve(body: serve_file_request::Body) -> wire::ServeFileRequest {
    wire::ServeFileRequest { body: Some(body) }
}

fn header(read_id: &str) -> wire::ServeFileRequest {
    let header = wire::ServeFileHeader { read_id: read_id.to_owned(), ..Default::default() };
    serve(serve_file_request::Body::Header(header))
}

fn chunk(bytes: &'static [u8]) -> wire::ServeFileRequest {
    serve(serve_file_request::Body::Chunk(bytes.into()))
}

async fn asked(session: &mut Session) -> wire::ReadFile {
    match session.next().await {
        controller_message::Body::ReadFile(read) => read,
        other => panic!("not a ReadFile: {other:?}"),
    }
}

#[tokio::test]
async fn a_read_is_answered_part_by_part_to_its_end() {
    let world = World::new().await;
    let mut agent = world.join("machine").await;
    let (mut session, _) = agent.session().await;
    let (relay, node) = (world.relay.clone(), agent.key.clone());
    let reader = tokio::spawn(async move {
        let mut read = relay.open(&node, read("stdout.txt")).await.unwrap();
        let mut bytes = Vec::new();
        while let Some(part) = read.next().await {
            let Part::Chunk(chunk) = part.unwrap() else { panic!("not a chunk") };
            bytes.extend_from_slice(&chunk);
        }
        bytes
    });
    let asked = asked(&mut session).await;
    assert_eq!(asked.path, "stdout.txt");
    let messages = vec![header(&asked.read_id), chunk(b"hello "), chunk(b"world")];
    within(agent.client.serve_file(tokio_stream::iter(messages))).await.unwrap();
    assert_eq!(within(reader).await.unwrap(), b"hello world");
    world.stop().await;
}

#[tokio::test]
async fn a_reader_that_goes_stops_the_agent() {
    let world = World::new().await;
    let mut agent = world.join("machine").await;
    let (mut session, _) = agent.session().await;
    let (relay, node) = (world.relay.clone(), agent.key.clone());
    let reader = tokio::spawn(async move { relay.open(&node, read("stdout.txt")).await.unwrap() });
    let asked = asked(&mut session).await;
    let (out, messages) = mpsc::channel(4);
    out.send(header(&asked.read_id)).await.unwrap();
    let serving = tokio::spawn(async move { agent.client.serve_file(ReceiverStream::new(messages)).await });
    drop(within(reader).await.unwrap());
    match session.next().await {
        controller_message::Body::CancelRead(cancel) => assert_eq!(cancel.read_id, asked.read_id),
        other => panic!("not a CancelRead: {other:?}"),
    }
    // The agent's stream is answered although it has not ended.
    within(serving).await.unwrap().unwrap();
    drop(out);
    world.stop().await;
}

#[tokio::test]
async fn a_stream_that_breaks_off_is_an_error_and_never_a_short_answer() {
    let world = World::new().await;
    let mut agent = world.join("machine").await;
    let (mut session, _) = agent.session().await;
    let (relay, node) = (world.relay.clone(), agent.key.clone());
    let reader = tokio::spawn(async move {
        let mut read = relay.open(&node, read("stdout.txt")).await.unwrap();
        assert_eq!(read.next().await, Some(Ok(Part::Chunk(b"half"[..].into()))));
        read.next().await
    });
    let asked = asked(&mut session).await;
    let (out, messages) = mpsc::channel(4);
    out.send(header(&asked.read_id)).await.unwrap();
    out.send(chunk(b"half")).await.unwrap();
    // A header in the middle is against the protocol.
    out.send(header(&asked.read_id)).await.unwrap();
    let refused = within(agent.client.serve_file(ReceiverStream::new(messages))).await;
    assert!(refused.is_err());
    let end = within(reader).await.unwrap();
    assert!(matches!(end, Some(Err(RelayError::BrokenOff(_)))), "{end:?}");
    world.stop().await;
}

#[tokio::test]
async fn refusals_absence_and_lost_sessions_are_told_apart() {
    let world = World::new().await;
    let agent = world.join("machine").await;
    let absent = world.relay.open(&agent.key, read("x")).await.err();
    assert_eq!(absent, Some(RelayError::NotConnected(agent.key.node.clone())));

    let (mut session, _) = agent.session().await;
    let (relay, node) = (world.relay.clone(), agent.key.clone());
    let open = move || {
        let (relay, node) = (relay.clone(), node.clone());
        tokio::spawn(async move { relay.open(&node, read("x")).await.err() })
    };
    let reader = open();
    let refused = wire::ReadRefused {
        read_id: asked(&mut session).await.read_id,
        refusal: wire::ReadRefusal::NotFound.into(),
        message: "no 'x'".to_owned(),
    };
    session.say(agent_message::Body::ReadRefused(refused)).await;
    let error = within(reader).await.unwrap();
    assert!(
        matches!(&error, Some(RelayError::Refused { refusal: wire::ReadRefusal::NotFound, message, .. }) if message == "no 'x'"),
        "{error:?}"
    );
    let reader = open();
    asked(&mut session).await;
    drop(session);
    assert_eq!(within(reader).await.unwrap(), Some(RelayError::BrokenOff(agent.key.node.clone())));
    world.stop().await;
}

#[tokio::test]
async fn an_answer_that_nobody_waits_for_is_refused() {
    let world = World::new().await;
    let (mut agent, mut other) = (world.join("one").await, world.join("two").await);
    let (mut session, _) = agent.session().await;
    let _other_session = other.session().await;
    let (relay, node) = (world.relay.clone(), agent.key.clone());
    let reader = tokio::spawn(async move { relay.open(&node, read("x")).await.is_ok() });
    let asked = asked(&mut session).await;
    // Another node cannot answer in its place.
    let messages = vec![header(&asked.read_id)];
    let refused = within(other.client.serve_file(tokio_stream::iter(messages.clone()))).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::NotFound, "{refused}");
    within(agent.client.serve_file(tokio_stream::iter(messages))).await.unwrap();
    assert!(within(reader).await.unwrap());
    world.stop().await;
}

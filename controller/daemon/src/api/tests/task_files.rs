//! Files of tasks and nodes: from the node while it answers, from what was saved after, and followed while they grow.
//!
//! The test plays the node: it takes the controller's requests from the session and answers, refuses or breaks off.
//! Nothing waits for time to pass, only for the next message.

use super::super::testing::{Client, FakeNode, World, soon};
use crate::relay::Part;
use bytes::Bytes;
use muster_model::AttemptId;
use muster_proto::convert::reason_of;
use muster_proto::wire::file_service_client::FileServiceClient;
use muster_proto::wire::job_service_client::JobServiceClient;
use muster_proto::wire::pool_service_client::PoolServiceClient;
use muster_proto::wire::read_file_response::Body;
use muster_proto::wire::task_service_client::TaskServiceClient;
use muster_proto::wire::{self, ErrorReason, ReadRefusal, TaskFileSource};
use tonic::{Code, Status, Streaming};

/// A world with the pool render, the job film and its task f1, which may be tried twice.
async fn world() -> (World, FileServiceClient<Client>) {
    let world = World::start().await;
    let pool = wire::Pool { id: "render".into(), ..Default::default() };
    let request = wire::CreatePoolRequest { pool: Some(pool), ..Default::default() };
    PoolServiceClient::new(world.studio()).create_pool(request).await.unwrap();
    let pool_info = Some(wire::job::PoolInfo::PoolId("render".into()));
    let job = wire::Job { id: "film".into(), pool_info, ..Default::default() };
    let request = wire::CreateJobRequest { job: Some(job), ..Default::default() };
    JobServiceClient::new(world.studio()).create_job(request).await.unwrap();
    let constraints = wire::TaskConstraints { max_task_retry_count: Some(1), ..Default::default() };
    let task = wire::Task {
        id: "f1".into(),
        command_line: "/bin/true".into(),
        constraints: Some(constraints),
        ..Default::default()
    };
    let request = wire::CreateTaskRequest { job_id: "film".into(), task: Some(task), ..Default::default() };
    TaskServiceClient::new(world.studio()).create_task(request).await.unwrap();
    let files = FileServiceClient::new(world.studio());
    (world, files)
}

async fn running(world: &World) -> (FakeNode, AttemptId) {
    let mut node = world.join("render", "n1").await;
    let attempt = node.dispatched().await.remove(0);
    node.started(&attempt).await;
    (node, attempt)
}

fn read(path: &str) -> wire::ReadTaskFileRequest {
    wire::ReadTaskFileRequest {
        job_id: "film".into(),
        task_id: "f1".into(),
        path: path.into(),
        ..Default::default()
    }
}

fn follow(path: &str) -> wire::ReadTaskFileRequest {
    wire::ReadTaskFileRequest { follow: true, ..read(path) }
}

async fn next(stream: &mut Streaming<wire::ReadFileResponse>) -> Option<Body> {
    soon(stream.message()).await.unwrap().map(|message| message.body.unwrap())
}

async fn next_header(stream: &mut Streaming<wire::ReadFileResponse>) -> wire::ReadFileHeader {
    match next(stream).await {
        Some(Body::Header(header)) => header,
        other => panic!("a header was due: {other:?}"),
    }
}

async fn next_bytes(stream: &mut Streaming<wire::ReadFileResponse>) -> Bytes {
    match next(stream).await {
        Some(Body::Chunk(bytes)) => bytes,
        other => panic!("bytes were due: {other:?}"),
    }
}

fn refusal(status: &Status) -> (Code, Option<ErrorReason>) {
    (status.code(), reason_of(status))
}

#[tokio::test]
async fn a_running_tasks_file_is_read_on_its_node() {
    let (world, mut files) = world().await;
    let unplaced = files.read_task_file(read("stdout.txt")).await.unwrap_err();
    assert_eq!(refusal(&unplaced), (Code::FailedPrecondition, Some(ErrorReason::TaskFilesUnavailable)));
    assert!(unplaced.message().contains("film/f1") && unplaced.message().contains("follow"));

    let (mut node, _attempt) = running(&world).await;
    let mut reader = files.clone();
    let asked = tokio::spawn(async move {
        let request = wire::ReadTaskFileRequest { offset: 2, length: 9, ..read("wd/frame.png") };
        reader.read_task_file(request).await.unwrap().into_inner()
    });
    let order = node.asked_for_file().await;
    assert_eq!(
        (order.path.as_str(), order.offset, order.length, order.follow),
        ("wd/frame.png", 2, 9, false)
    );
    node.serve_bytes(&order, b"abcdef").await;
    let mut stream = asked.await.unwrap();
    let header = next_header(&mut stream).await;
    assert_eq!((header.attempt, header.node_id.as_str(), header.offset), (1, "n1", 2));
    assert_eq!(header.source(), TaskFileSource::Node);
    assert_eq!(next_bytes(&mut stream).await, "cdef");
    assert_eq!(next(&mut stream).await, None);

    for path in ["/etc/passwd", "../x", "a//b"] {
        let refused = files.read_task_file(read(path)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{path}");
    }
    let request = wire::ReadTaskFileRequest { attempt: 7, ..read("stdout.txt") };
    let refused = files.read_task_file(request.clone()).await.unwrap_err();
    assert_eq!(refusal(&refused), (Code::NotFound, Some(ErrorReason::AttemptNotFound)));
    let request = wire::ReadTaskFileRequest { follow: true, ..request };
    assert_eq!(files.read_task_file(request).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn what_the_node_refuses_is_told_with_its_reason() {
    let (world, files) = world().await;
    let (mut node, _attempt) = running(&world).await;
    for (refusal_of_node, code, reason) in [
        (ReadRefusal::NotFound, Code::NotFound, ErrorReason::FileNotFound),
        (ReadRefusal::NotAllowed, Code::InvalidArgument, ErrorReason::InvalidPropertyValue),
        (ReadRefusal::OutOfRange, Code::OutOfRange, ErrorReason::InvalidRange),
        (ReadRefusal::Busy, Code::ResourceExhausted, ErrorReason::Busy),
        (ReadRefusal::AttemptUnknown, Code::FailedPrecondition, ErrorReason::TaskFilesUnavailable),
    ] {
        let mut reader = files.clone();
        let asked = tokio::spawn(async move { reader.read_task_file(read("wd/x")).await.unwrap_err() });
        let order = node.asked_for_file().await;
        node.refuse(&order.read_id, refusal_of_node);
        let refused = asked.await.unwrap();
        assert_eq!(refusal(&refused), (code, Some(reason)), "{refusal_of_node:?}");
        assert!(refused.message().contains("'n1'"), "{}", refused.message());
    }
}

#[tokio::test]
async fn output_outlives_its_node_and_says_where_it_was_cut() {
    let (world, mut files) = world().await;
    let (mut node, attempt) = running(&world).await;
    node.finished(&attempt, 0, b"0123456789abcdef").await;
    drop(node);
    let mut stream = files.read_task_file(read("stdout.txt")).await.unwrap().into_inner();
    let header = next_header(&mut stream).await;
    assert_eq!((header.source(), header.node_id.as_str()), (TaskFileSource::Saved, "n1"));
    assert_eq!(header.file.unwrap().size_bytes, 16);
    assert_eq!(next_bytes(&mut stream).await, "0123");
    assert_eq!(next(&mut stream).await, Some(Body::Gap(wire::ReadFileGap { skipped_bytes: 8 })));
    assert_eq!(next_bytes(&mut stream).await, "cdef");
    assert_eq!(next(&mut stream).await, None);

    let mut stream = files.read_task_file(follow("stderr.txt")).await.unwrap().into_inner();
    assert_eq!(next_header(&mut stream).await.source(), TaskFileSource::Saved);
    assert_eq!(next(&mut stream).await, None);
    let gone = files.read_task_file(read("wd/frame.png")).await.unwrap_err();
    assert_eq!(refusal(&gone), (Code::FailedPrecondition, Some(ErrorReason::TaskFilesUnavailable)));
    for part in ["wd/frame.png", "film/f1", "'n1'", "output_files"] {
        assert!(gone.message().contains(part), "{part}: {}", gone.message());
    }
    let beyond = wire::ReadTaskFileRequest { offset: 17, ..read("stdout.txt") };
    assert_eq!(files.read_task_file(beyond).await.unwrap_err().code(), Code::OutOfRange);

    let list =
        wire::ListTaskFilesRequest { job_id: "film".into(), task_id: "f1".into(), ..Default::default() };
    let listed = files.list_task_files(list).await.unwrap().into_inner();
    let paths: Vec<_> = listed.files.iter().map(|file| (file.path.as_str(), file.size_bytes)).collect();
    assert_eq!(
        (paths, listed.source()),
        (vec![("stderr.txt", 0), ("stdout.txt", 16)], TaskFileSource::Saved)
    );
}

#[tokio::test]
async fn files_that_were_cleaned_up_say_so() {
    let (world, files) = world().await;
    let (mut node, attempt) = running(&world).await;
    node.finished(&attempt, 0, b"").await;
    let mut reader = files.clone();
    let asked = tokio::spawn(async move { reader.read_task_file(read("wd/x")).await.unwrap_err() });
    let order = node.asked_for_file().await;
    node.refuse(&order.read_id, ReadRefusal::CleanedUp);
    let refused = asked.await.unwrap();
    assert_eq!(refusal(&refused), (Code::FailedPrecondition, Some(ErrorReason::TaskFilesCleanedup)));
    assert!(refused.message().contains("retention_time"), "{}", refused.message());
}

#[tokio::test]
async fn a_follower_waits_for_the_task_and_reads_it_to_its_end() {
    let (world, mut files) = world().await;
    let mut stream = files.read_task_file(follow("stdout.txt")).await.unwrap().into_inner();
    let (mut node, attempt) = running(&world).await;
    let order = node.asked_for_file().await;
    assert!(order.follow && order.offset == 0);
    // The command has not started: the file comes a moment later.
    node.refuse(&order.read_id, ReadRefusal::NotFound);
    let order = node.asked_for_file().await;
    let serve = node.serve(&order.read_id, "stdout.txt", 0, 0);
    assert!(serve.send(Part::Chunk(Bytes::from_static(b"frame 1\n"))).await);
    assert_eq!(next_header(&mut stream).await.attempt, 1);
    assert_eq!(next_bytes(&mut stream).await, "frame 1\n");
    assert!(serve.send(Part::Chunk(Bytes::from_static(b"frame 2\n"))).await);
    assert_eq!(next_bytes(&mut stream).await, "frame 2\n");
    serve.finish();
    node.finished(&attempt, 0, b"frame 1\nframe 2\n").await;
    assert_eq!(next(&mut stream).await, None);
}

#[tokio::test]
async fn a_follower_goes_over_to_the_next_try() {
    let (world, mut files) = world().await;
    let mut stream = files.read_task_file(follow("stdout.txt")).await.unwrap().into_inner();
    let (mut node, attempt) = running(&world).await;
    let order = node.asked_for_file().await;
    node.serve_bytes(&order, b"first").await;
    assert_eq!(next_header(&mut stream).await.attempt, 1);
    assert_eq!(next_bytes(&mut stream).await, "first");
    node.finished(&attempt, 1, b"first").await;
    let second = node.dispatched().await.remove(0);
    node.started(&second).await;
    let order = node.asked_for_file().await;
    assert_eq!(order.offset, 0, "a new file from its beginning");
    node.serve_bytes(&order, b"second").await;
    assert_eq!(next_header(&mut stream).await.attempt, 2);
    assert_eq!(next_bytes(&mut stream).await, "second");
    node.finished(&second, 0, b"second").await;
    assert_eq!(next(&mut stream).await, None);

    let one = wire::ReadTaskFileRequest { attempt: 1, ..follow("stdout.txt") };
    let mut stream = files.read_task_file(one).await.unwrap().into_inner();
    let order = node.asked_for_file().await;
    node.serve_bytes(&order, b"first").await;
    assert_eq!(next_header(&mut stream).await.attempt, 1);
    assert_eq!(next_bytes(&mut stream).await, "first");
    assert_eq!(next(&mut stream).await, None, "a follower of one attempt ends with it");
}

#[tokio::test]
async fn a_follower_goes_on_after_a_broken_connection_without_a_byte_twice() {
    let (world, mut files) = world().await;
    let mut stream = files.read_task_file(follow("stdout.txt")).await.unwrap().into_inner();
    let (mut node, attempt) = running(&world).await;
    let order = node.asked_for_file().await;
    let serve = node.serve(&order.read_id, "stdout.txt", 0, 0);
    assert!(serve.send(Part::Chunk(Bytes::from_static(b"0123"))).await);
    next_header(&mut stream).await;
    assert_eq!(next_bytes(&mut stream).await, "0123");
    serve.break_off().await;
    let order = node.asked_for_file().await;
    assert_eq!(order.offset, 4);
    node.finished(&attempt, 0, b"0123456789").await;
    // The node goes away for good in the middle: the rest comes from what was saved.
    node.refuse(&order.read_id, ReadRefusal::Busy);
    drop(node);
    let header = next_header(&mut stream).await;
    assert_eq!((header.source(), header.offset), (TaskFileSource::Saved, 4));
    assert_eq!(next(&mut stream).await, Some(Body::Gap(wire::ReadFileGap { skipped_bytes: 2 })));
    assert_eq!(next_bytes(&mut stream).await, "6789");
    assert_eq!(next(&mut stream).await, None);
}

#[tokio::test]
async fn a_follower_of_a_file_that_never_comes_is_told_when_the_task_has_ended() {
    let (world, files) = world().await;
    let (mut node, attempt) = running(&world).await;
    node.finished(&attempt, 0, b"").await;
    let mut reader = files.clone();
    let asked = tokio::spawn(async move {
        let mut stream = reader.read_task_file(follow("wd/never")).await.unwrap().into_inner();
        soon(stream.message()).await.unwrap_err()
    });
    let order = node.asked_for_file().await;
    node.refuse(&order.read_id, ReadRefusal::NotFound);
    assert_eq!(refusal(&asked.await.unwrap()), (Code::NotFound, Some(ErrorReason::FileNotFound)));
}

#[tokio::test]
async fn directories_are_listed_page_by_page() {
    let (world, files) = world().await;
    let (mut node, _attempt) = running(&world).await;
    let list = |token: &str| wire::ListTaskFilesRequest {
        job_id: "film".into(),
        task_id: "f1".into(),
        recursive: true,
        page_size: 2,
        page_token: token.into(),
        ..Default::default()
    };
    let file = |path: &str| wire::NodeFile { path: path.into(), ..Default::default() };
    let mut reader = files.clone();
    let first = list("");
    let asked = tokio::spawn(async move { reader.list_task_files(first).await.unwrap().into_inner() });
    let order = node.asked_for_directory().await;
    assert_eq!((order.limit, order.after_path.as_str(), order.recursive), (3, "", true));
    let serve = node.serve(&order.read_id, "", 0, 0);
    assert!(serve.send(Part::Entries(vec![file("a"), file("b"), file("c")])).await);
    serve.finish();
    let page = asked.await.unwrap();
    assert_eq!((page.files, page.attempt), (vec![file("a"), file("b")], 1));
    let mut reader = files.clone();
    let second = list(&page.next_page_token);
    let asked = tokio::spawn(async move { reader.list_task_files(second).await.unwrap().into_inner() });
    let order = node.asked_for_directory().await;
    assert_eq!(order.after_path, "b");
    let serve = node.serve(&order.read_id, "", 0, 0);
    assert!(serve.send(Part::Entries(vec![file("c")])).await);
    serve.finish();
    assert_eq!(asked.await.unwrap().next_page_token, "");
    let mut reader = files;
    let wrong = reader.list_task_files(list("damaged!")).await.unwrap_err();
    assert_eq!(reason_of(&wrong), Some(ErrorReason::InvalidPageToken));
}

#[tokio::test]
async fn a_nodes_own_files_are_read_while_it_is_connected() {
    let (world, mut files) = world().await;
    let (mut node, _attempt) = running(&world).await;
    let request = wire::ReadNodeFileRequest {
        pool_id: "render".into(),
        node_id: "n1".into(),
        path: "startup/stderr.txt".into(),
        ..Default::default()
    };
    let (mut reader, wanted) = (files.clone(), request.clone());
    let asked = tokio::spawn(async move { reader.read_node_file(wanted).await.unwrap().into_inner() });
    let order = node.asked_for_file().await;
    node.serve_bytes(&order, b"oops").await;
    let mut stream = asked.await.unwrap();
    assert_eq!(next_header(&mut stream).await.attempt, 0);
    assert_eq!(next_bytes(&mut stream).await, "oops");
    drop(node);
    let away = files.read_node_file(request.clone()).await.unwrap_err();
    assert_eq!(refusal(&away), (Code::Unavailable, Some(ErrorReason::NodeUnreachable)));
    let nowhere = wire::ReadNodeFileRequest { node_id: "n9".into(), ..request };
    assert_eq!(files.read_node_file(nowhere).await.unwrap_err().code(), Code::NotFound);
}

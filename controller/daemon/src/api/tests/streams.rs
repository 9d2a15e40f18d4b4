//! Streams of tasks: in chunks ahead of their answers, refused one by one, and opened again after a broken connection.
//!
//! What is tried hardest is that no task is added twice and none is lost, however a client cuts and repeats its chunks.

use super::super::testing::{Client, World, soon};
use super::studio::{Studio, ends_job, job, task};
use muster_proto::convert::reason_of;
use muster_proto::wire::stream_create_tasks_request::Body;
use muster_proto::wire::task_service_client::TaskServiceClient;
use muster_proto::wire::{self, ErrorReason, StreamCreateTasksRequest, StreamCreateTasksResponse};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

fn opening(id: &str) -> StreamCreateTasksRequest {
    let open = wire::StreamCreateTasksOpen { job_id: "film".into(), stream_id: id.into() };
    StreamCreateTasksRequest { body: Some(Body::Open(open)) }
}

/// Tasks named by their place in the stream.
fn chunk(offset: u64, count: u64) -> StreamCreateTasksRequest {
    let tasks = (offset..offset + count).map(|n| task(&format!("t{n}"))).collect();
    StreamCreateTasksRequest { body: Some(Body::Chunk(wire::StreamCreateTasksChunk { offset, tasks })) }
}

/// An open stream.
struct Stream {
    send: mpsc::Sender<StreamCreateTasksRequest>,
    answers: Streaming<StreamCreateTasksResponse>,
}

impl Stream {
    async fn open(mut tasks: TaskServiceClient<Client>, id: &str) -> Result<(Self, u64), Status> {
        let (send, requests) = mpsc::channel(64);
        send.send(opening(id)).await.unwrap();
        let answers = soon(tasks.stream_create_tasks(ReceiverStream::new(requests))).await?.into_inner();
        let mut stream = Self { send, answers };
        let first = stream.answer().await?;
        assert_eq!((first.added, first.refused.len()), (0, 0));
        Ok((stream, first.acknowledged_offset))
    }

    async fn say(&self, message: StreamCreateTasksRequest) {
        self.send.send(message).await.unwrap();
    }

    async fn answer(&mut self) -> Result<StreamCreateTasksResponse, Status> {
        Ok(soon(self.answers.message()).await?.expect("the stream goes on"))
    }

    /// Sends a chunk; answers the offset, what was added so far, and how many tasks were refused.
    async fn add(&mut self, offset: u64, count: u64) -> (u64, u64, usize) {
        self.say(chunk(offset, count)).await;
        let answer = self.answer().await.unwrap();
        (answer.acknowledged_offset, answer.added, answer.refused.len())
    }
}

#[tokio::test]
async fn chunks_go_ahead_of_their_answers_which_come_in_order() {
    let mut studio = Studio::with_film().await;
    let (mut stream, next) = Stream::open(studio.tasks.clone(), "s").await.unwrap();
    assert_eq!(next, 0);
    for n in 0..40 {
        stream.say(chunk(n * 100, 100)).await;
    }
    for n in 1..=40 {
        let answer = stream.answer().await.unwrap();
        assert_eq!((answer.acknowledged_offset, answer.added), (n * 100, n * 100));
    }
    drop(stream.send);
    assert!(soon(stream.answers.message()).await.unwrap().is_none(), "the stream ends in order");
    assert_eq!(studio.counts().await.active, 4000);
}

#[tokio::test]
async fn each_task_is_refused_by_itself_with_its_place_in_the_stream() {
    let mut studio = Studio::with_film().await;
    studio.add(task("t3")).await;
    let (mut stream, _) = Stream::open(studio.tasks.clone(), "s").await.unwrap();
    assert_eq!(stream.add(0, 2).await, (2, 2, 0));
    let ends = wire::Task { exit_conditions: Some(ends_job()), ..task("ends") };
    let empty = wire::Task { command_line: String::new(), ..task("empty") };
    let tasks = vec![task("a"), empty, task("t3"), ends, task("b"), task("a")];
    let mixed = wire::StreamCreateTasksChunk { offset: 2, tasks };
    stream.say(StreamCreateTasksRequest { body: Some(Body::Chunk(mixed)) }).await;
    let answer = stream.answer().await.unwrap();
    assert_eq!((answer.acknowledged_offset, answer.added), (8, 4));
    let refused: Vec<_> = answer
        .refused
        .iter()
        .map(|task| (task.offset, task.task_id.as_str(), task.error.as_ref().unwrap().reason()))
        .collect();
    let (invalid, exists) = (ErrorReason::InvalidPropertyValue, ErrorReason::TaskExists);
    assert_eq!(refused, [(3, "empty", invalid), (4, "t3", exists), (5, "ends", invalid), (7, "a", exists)]);
    assert_eq!(studio.counts().await.active, 5);
}

#[tokio::test]
async fn a_broken_stream_goes_on_where_it_was_and_adds_nothing_twice() {
    let mut studio = Studio::with_film().await;
    let (mut stream, _) = Stream::open(studio.tasks.clone(), "s").await.unwrap();
    assert_eq!(stream.add(0, 10).await, (10, 10, 0));
    assert_eq!(stream.add(10, 10).await, (20, 20, 0));
    drop(stream);
    let (mut again, next) = Stream::open(studio.tasks.clone(), "S").await.unwrap();
    assert_eq!(next, 20, "also by another spelling, as request ids compare");
    let delete =
        wire::DeleteTaskRequest { job_id: "film".into(), task_id: "t12".into(), ..Default::default() };
    studio.tasks.delete_task(delete).await.unwrap();
    assert_eq!(again.add(10, 10).await, (20, 10, 0), "the same chunk gets the first answer");
    assert_eq!(again.add(5, 10).await, (20, 10, 0), "cut differently, it is dealt with all the same");
    assert_eq!(again.add(15, 10).await, (25, 15, 0), "of a chunk that overlaps only the rest is added");
    assert_eq!(again.add(25, 5).await, (30, 20, 0));
    drop(again);
    let (_, next) = Stream::open(studio.tasks.clone(), "s").await.unwrap();
    assert_eq!(next, 30);
    assert_eq!(studio.counts().await.active, 29, "the deleted one did not come back");
    let (_, fresh) = Stream::open(studio.tasks.clone(), "s2").await.unwrap();
    assert_eq!(fresh, 0);
}

#[tokio::test]
async fn a_refusal_whose_answer_was_lost_is_told_again() {
    let mut studio = Studio::with_film().await;
    studio.add(task("t1")).await;
    let (mut stream, _) = Stream::open(studio.tasks.clone(), "s").await.unwrap();
    assert_eq!(stream.add(0, 3).await, (3, 2, 1));
    drop(stream);
    let (mut again, next) = Stream::open(studio.tasks.clone(), "s").await.unwrap();
    assert_eq!(next, 3);
    assert_eq!(again.add(0, 3).await, (3, 2, 1), "the client goes back to its last answer");
    assert_eq!(studio.counts().await.active, 3);
}

#[tokio::test]
async fn the_connection_that_opened_a_stream_last_owns_it() {
    let mut studio = Studio::with_film().await;
    let (mut first, _) = Stream::open(studio.tasks.clone(), "s").await.unwrap();
    assert_eq!(first.add(0, 10).await, (10, 10, 0));
    let (mut second, next) = Stream::open(studio.tasks.clone(), "s").await.unwrap();
    assert_eq!(next, 10);
    first.say(chunk(10, 10)).await;
    let refused = first.answer().await.unwrap_err();
    assert_eq!(refused.code(), Code::Aborted, "{refused:?}");
    assert_eq!(second.add(10, 4).await, (14, 4, 0));
    assert_eq!(studio.counts().await.active, 14);
}

#[tokio::test]
async fn what_is_no_stream_is_refused_in_words() {
    let mut studio = Studio::with_film().await;
    studio.make(job("other")).await;
    let (mut used, _) = Stream::open(studio.tasks.clone(), "used").await.unwrap();
    used.add(0, 1).await;
    let open = |job: &str, id: &str| {
        let open = wire::StreamCreateTasksOpen { job_id: job.into(), stream_id: id.into() };
        StreamCreateTasksRequest { body: Some(Body::Open(open)) }
    };
    let cases = [
        (chunk(0, 1), Code::InvalidArgument, "open"),
        (StreamCreateTasksRequest::default(), Code::InvalidArgument, "open"),
        (open("film", ""), Code::InvalidArgument, "open.stream_id"),
        (open("film", "a b"), Code::InvalidArgument, "open.stream_id"),
        (open("film", &"x".repeat(65)), Code::InvalidArgument, "64"),
        (open("nope", "s"), Code::NotFound, "'nope'"),
        (open("other", "used"), Code::InvalidArgument, "another job"),
    ];
    for (first, code, words) in cases {
        let refused = studio.tasks.stream_create_tasks(tokio_stream::iter([first])).await.unwrap_err();
        assert_eq!(refused.code(), code, "{refused:?}");
        assert!(refused.message().contains(words), "{words}: {refused:?}");
    }
    for (wrong, words) in [
        (chunk(5, 1), "chunk.offset is 5"),
        (chunk(0, 0), "chunk.tasks"),
        (chunk(0, 1001), "1001"),
        (opening("s"), "open"),
        (StreamCreateTasksRequest::default(), "chunk"),
    ] {
        let (mut stream, _) = Stream::open(studio.tasks.clone(), "s").await.unwrap();
        stream.say(wrong).await;
        let refused = stream.answer().await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{words}: {refused:?}");
        assert!(refused.message().contains(words), "{words}: {refused:?}");
    }
    assert_eq!(studio.counts().await.active, 1);
}

#[tokio::test]
async fn a_stream_ends_with_the_chunk_that_its_job_does_not_take_any_more() {
    let mut studio = Studio::with_film().await;
    let (mut stream, _) = Stream::open(studio.tasks.clone(), "s").await.unwrap();
    stream.add(0, 2).await;
    let end = wire::TerminateJobRequest { job_id: "film".into(), ..Default::default() };
    studio.jobs.terminate_job(end).await.unwrap();
    stream.say(chunk(2, 2)).await;
    let refused = stream.answer().await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(reason_of(&refused), Some(ErrorReason::JobCompleted), "{refused:?}");
    assert_eq!(studio.states().await.len(), 2);
}

#[tokio::test]
async fn a_stream_outlives_the_controller() {
    let folder = tempfile::tempdir().unwrap();
    let store = || Box::new(muster_store::SqliteStore::open(&folder.path().join("db")).unwrap());
    let mut studio = Studio::on(World::on(store()).await).await;
    studio.make(job("film")).await;
    let (mut stream, _) = Stream::open(studio.tasks.clone(), "s").await.unwrap();
    assert_eq!(stream.add(0, 10).await, (10, 10, 0));
    let watch = wire::WatchJobRequest { job_id: "film".into(), ..Default::default() };
    let mut watched = studio.jobs.watch_job(watch.clone()).await.unwrap().into_inner();
    let revision = soon(watched.message()).await.unwrap().unwrap().revision;
    drop((stream, watched));
    studio.world.stop().await;

    let mut studio = Studio::of(World::on(store()).await);
    assert_eq!(studio.counts().await.active, 10);
    let (mut again, next) = Stream::open(studio.tasks.clone(), "s").await.unwrap();
    assert_eq!(next, 10);
    assert_eq!(again.add(5, 10).await, (15, 5, 0));
    assert_eq!(studio.counts().await.active, 15);
    let resume = wire::WatchJobRequest { resume_revision: Some(revision), ..watch };
    let refused = studio.jobs.watch_job(resume).await.unwrap_err();
    assert_eq!(reason_of(&refused), Some(ErrorReason::RevisionTooOld), "revisions start anew");
    studio.world.stop().await;
}

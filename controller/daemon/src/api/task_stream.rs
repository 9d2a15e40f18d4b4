//! StreamCreateTasks: a stream of tasks of any length, in chunks that are handed in ahead of their answers.
//!
//! ```text
//!  client ──> Intake: check, convert, hand in ──> chunks under way ──> answers, in order ──> client
//! ```
//! What is durable of a stream are its chunks' requests, named `<stream>:<offset>:<count>` and kept for the replay window:
//! the stream goes on where their run ends. A chunk that was dealt with before is answered as it was then; of one that is
//! cut differently only what is new is added. Chunks under way are bounded by number and bytes; a client that is ahead of
//! that waits.
//!
//! Invariant: the request of a chunk begins where that of the chunk before ends, and one opening at a time hands them in
//! (`stream_owner`): no task of a stream is added twice.

use super::context::{Api, checked};
use super::feed::{End, Feed, Watch, open as open_stream};
use super::stream_chunk::{Answered, Chunk, UnderWay, convert};
use super::stream_owner::{StreamName, StreamOwner, TakenOver};
use super::{lookup, refused};
use crate::admission::StreamRoom;
use crate::auth::JobPermit;
use crate::refusal;
use muster_controller_core::input::{Command, Input};
use muster_controller_core::record::RequestRow;
use muster_model::limits::BATCH_TASKS_MAX;
use muster_model::{AccountName, JobId, RequestId};
use muster_proto::convert::{Problem, TaskStream, status, status_field};
use muster_proto::wire::stream_create_tasks_request::Body;
use muster_proto::wire::{
    ErrorReason, StreamCreateTasksChunk, StreamCreateTasksRequest, StreamCreateTasksResponse,
};
use prost::Message;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tonic::{Code, Status, Streaming};

/// How long a client may take to say which stream it opens.
const OPEN_WAIT_MAX: Duration = Duration::from_secs(10);

/// Chunks of one stream under way: enough that the next ones are converted while one commits.
const CHUNKS_AHEAD_MAX: usize = 16;

/// KiB of one stream's chunks under way: two of the largest.
const KIB_AHEAD_MAX: u32 = 16 * 1024;

/// Opens the stream, or opens it again.
pub(super) async fn open(
    api: &Api,
    permit: JobPermit,
    room: Option<StreamRoom>,
    mut inbound: Streaming<StreamCreateTasksRequest>,
) -> Result<Watch<StreamCreateTasksResponse>, Status> {
    let first = tokio::time::timeout(OPEN_WAIT_MAX, inbound.message()).await;
    let late = |_| {
        Status::deadline_exceeded(format!("no message came for {OPEN_WAIT_MAX:?}: open the stream at once"))
    };
    let Some(Body::Open(open)) = first.map_err(late)??.and_then(|message| message.body) else {
        return Err(status_field("open", Problem::Missing { hint: "send it as the first message" }));
    };
    let TaskStream { job, stream_id } = TaskStream::try_from(open)?;
    let account = permit.for_job(&job)?.clone();
    let allows_action = lookup::allows_job_actions(api, &account, &job).await?;
    let id = stream_id.to_ascii_lowercase();
    let owner = api.streams.take(StreamName { account: account.clone(), job: job.clone(), id }).await;
    let done = Done::read(api, &account, &job, &stream_id).await?;
    let intake = Intake { api: api.clone(), account, job, stream_id, owner, allows_action, done, room };
    Ok(open_stream(|feed| run(intake, inbound, feed)))
}

/// The chunks of a stream that have been handed in: durable ones, and those of this call.
#[derive(Debug, Default)]
struct Done {
    /// How many tasks each has, by its offset.
    chunks: BTreeMap<u64, usize>,
    /// Where the stream goes on.
    next: u64,
}

impl Done {
    /// The durable chunks. Everything that was handed in before is among them: the question is asked after it.
    async fn read(api: &Api, account: &AccountName, job: &JobId, stream: &str) -> Result<Self, Status> {
        let (of, prefix) = (account.clone(), format!("{stream}:"));
        let first = checked(|c| c.keep(RequestId::parse(&prefix)))?;
        let requests = api.query(move |core| {
            let rows = core.requests_from(&of, &first);
            rows.map(|row| (row.id.clone(), job_of(row).map(str::to_owned))).collect::<Vec<_>>()
        });
        let mut chunks = BTreeMap::new();
        for (id, of_job) in requests.await? {
            let Some((offset, count)) = place_of(&id, prefix.len()) else { continue };
            if !of_job.is_some_and(|of| of.eq_ignore_ascii_case(job.as_str())) {
                let words = format!(
                    "stream '{stream}' was used for another job, or its id for another request: give each stream an id of its own, best a UUID"
                );
                return Err(status(Code::InvalidArgument, ErrorReason::RequestIdReused, words));
            }
            chunks.insert(offset, count);
        }
        Ok(Self { next: run_end(&chunks), chunks })
    }
}

/// The job that a request's tasks were for.
fn job_of(row: &RequestRow) -> Option<&str> {
    row.command.strip_prefix("CreateTasks ")?.split(' ').next()
}

/// Offset and count in the id of a chunk's request.
fn place_of(id: &RequestId, prefix: usize) -> Option<(u64, usize)> {
    let (offset, count) = id.as_str().get(prefix..)?.split_once(':')?;
    Some((offset.parse().ok()?, count.parse().ok()?))
}

/// Where the run of chunks ends. It begins with the first that is still known: earlier ones may be past their window.
fn run_end(chunks: &BTreeMap<u64, usize>) -> u64 {
    let mut end = chunks.keys().next().copied().unwrap_or(0);
    for (offset, count) in chunks {
        if *offset != end {
            break;
        }
        end = offset.saturating_add(u64::try_from(*count).unwrap_or(u64::MAX));
    }
    end
}

/// Takes chunks in until the client has no more, and answers them.
async fn run(
    intake: Intake,
    inbound: Streaming<StreamCreateTasksRequest>,
    feed: Feed<StreamCreateTasksResponse>,
) -> Result<(), End> {
    let acknowledged_offset = intake.done.next;
    feed.send(StreamCreateTasksResponse { acknowledged_offset, ..Default::default() }).await?;
    let mut stopping = intake.api.parts.engine.subscribe();
    let (hand_over, under_way) = mpsc::channel(CHUNKS_AHEAD_MAX);
    let taking = intake.run(inbound, hand_over);
    let answering = answer_in_order(under_way, feed);
    tokio::pin!(taking, answering);
    tokio::select! {
        // Only a refusal or a client that has gone ends the answers before the chunks.
        answered = &mut answering => answered,
        taken = &mut taking => {
            answering.await?;
            taken
        }
        () = stopping.closed() => Err(refusal::stopping().into()),
    }
}

async fn answer_in_order(
    mut under_way: mpsc::Receiver<UnderWay>,
    feed: Feed<StreamCreateTasksResponse>,
) -> Result<(), End> {
    let mut added = 0;
    while let Some(chunk) = under_way.recv().await {
        let Answered { acknowledged, count, refused } = chunk.answered().await?;
        added += count;
        feed.send(StreamCreateTasksResponse { acknowledged_offset: acknowledged, added, refused }).await?;
    }
    Ok(())
}

/// The receiving half of a stream.
struct Intake {
    api: Api,
    account: AccountName,
    job: JobId,
    stream_id: String,
    owner: StreamOwner,
    /// Whether tasks may name actions on the job.
    allows_action: bool,
    done: Done,
    /// The room of its account for chunks under way, if that is bounded.
    room: Option<StreamRoom>,
}

impl Intake {
    async fn run(
        mut self,
        mut inbound: Streaming<StreamCreateTasksRequest>,
        hand_over: mpsc::Sender<UnderWay>,
    ) -> Result<(), End> {
        let room = Arc::new(Semaphore::new(usize::try_from(KIB_AHEAD_MAX).unwrap_or(usize::MAX)));
        while let Some(message) = inbound.message().await? {
            let chunk = match message.body {
                Some(Body::Chunk(chunk)) => chunk,
                Some(Body::Open(_)) => {
                    let problem = Problem::Conflict { other: "the first message" };
                    return Err(status_field("open", problem).into());
                }
                None => {
                    let problem = Problem::Missing { hint: "send chunks of tasks" };
                    return Err(status_field("chunk", problem).into());
                }
            };
            let kib = u32::try_from(chunk.encoded_len() / 1024).unwrap_or(u32::MAX).saturating_add(1);
            // Never closed while this runs.
            let room = Arc::clone(&room).acquire_many_owned(kib.min(KIB_AHEAD_MAX)).await.ok();
            let of_account = match &self.room {
                Some(room) => Some(room.take(kib).await?),
                None => None,
            };
            let mut under_way = self.take(chunk).await?;
            under_way.room = (room, of_account);
            // The answering half has ended and knows why.
            if hand_over.send(under_way).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Hands in what is new of a chunk.
    async fn take(&mut self, chunk: StreamCreateTasksChunk) -> Result<UnderWay, Status> {
        let StreamCreateTasksChunk { offset, mut tasks } = chunk;
        let given = tasks.len();
        if given == 0 {
            return Err(status_field("chunk.tasks", Problem::Missing { hint: "give at least one task" }));
        }
        if given > BATCH_TASKS_MAX {
            return Err(status_field("chunk.tasks", Problem::TooMany { given, max: BATCH_TASKS_MAX }));
        }
        let next = self.done.next;
        if offset > next {
            let words = format!(
                "chunk.offset is {offset}, but the tasks before this chunk are {next}: send the chunks in order and without gaps"
            );
            return Err(status(Code::InvalidArgument, ErrorReason::InvalidPropertyValue, words));
        }
        let end = offset.saturating_add(u64::try_from(given).unwrap_or(u64::MAX));
        if end <= next {
            if self.done.chunks.get(&offset) != Some(&given) {
                return Ok(UnderWay::dealt_with(next));
            }
            // Sent before, and just so: its request is known, and the first answer comes again.
            let chunk = convert(offset, tasks, self.allows_action);
            return self.hand_in(offset, given, chunk, next).await;
        }
        // Less than the chunk's length, so it fits.
        let known = usize::try_from(next - offset).unwrap_or(given);
        tasks.drain(..known);
        let chunk = convert(next, tasks, self.allows_action);
        let under_way = self.hand_in(next, given - known, chunk, end).await?;
        self.done.chunks.insert(next, given - known);
        self.done.next = end;
        Ok(under_way)
    }

    async fn hand_in(
        &self,
        offset: u64,
        count: usize,
        chunk: Chunk,
        acknowledged: u64,
    ) -> Result<UnderWay, Status> {
        let id = format!("{}:{offset}:{count}", self.stream_id);
        let request_id = Some(checked(|c| c.keep(RequestId::parse(&id)))?);
        let Chunk { specs, places, wrong } = chunk;
        let names = specs.iter().map(|spec| spec.id.clone()).collect();
        let command = Command::CreateTasks { job: self.job.clone(), tasks: specs };
        let input = Input::Client { account: self.account.clone(), request_id, command };
        let answer = self.owner.in_turn(self.api.parts.engine.hand_in(input)).await;
        let answer =
            answer.map_err(|TakenOver| self.taken_over())?.map_err(|error| refused::of_submit(&error))?;
        Ok(UnderWay {
            answer: Some(answer),
            offset,
            count,
            names,
            places,
            wrong,
            acknowledged,
            room: (None, None),
        })
    }

    fn taken_over(&self) -> Status {
        let words =
            format!("stream '{}' was opened again by another call, which goes on with it", self.stream_id);
        status(Code::Aborted, ErrorReason::OperationInvalidForCurrentState, words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end_of(chunks: &[(u64, usize)]) -> u64 {
        run_end(&chunks.iter().copied().collect())
    }

    #[test]
    fn a_stream_goes_on_where_the_run_of_its_chunks_ends() {
        assert_eq!(end_of(&[]), 0);
        assert_eq!(end_of(&[(0, 1000), (1000, 7)]), 1007);
        assert_eq!(end_of(&[(0, 1000), (2000, 1000)]), 1000, "a gap is never passed over");
        assert_eq!(end_of(&[(5000, 1000), (6000, 1)]), 6001, "the first chunks may be past their window");
    }

    #[test]
    fn places_are_read_from_the_ids_of_chunks_and_from_nothing_else() {
        let place = |id: &str| place_of(&RequestId::parse(id).unwrap(), "s:".len());
        assert_eq!(place("s:0:1000"), Some((0, 1000)));
        for other in ["s:0", "s:", "s:a:1", "s:1:b", "s:-1:2", "s:1:2:3"] {
            assert_eq!(place(other), None, "{other}");
        }
    }
}

//! Tasks on their way: encoded once, put together to chunks, and kept so until the controller has them.
//!
//! A chunk that is sent again after a broken connection is the same bytes. Tasks are encoded when they come, because the
//! message of a task takes many times the room of its bytes.
//!
//! Invariant: chunks follow each other without gaps, none is empty, none has more than [`BATCH_TASKS_MAX`] tasks, and only
//! a chunk of a single task has more than [`CHUNK_BYTES_MAX`] bytes.

use bytes::{BufMut, Bytes, BytesMut};
use muster_model::limits::{BATCH_TASKS_MAX, REQUEST_BYTES_MAX};
use muster_proto::wire;
use prost::Message;

/// Bytes of a chunk: large enough that its frame and its answer cost nothing beside it, small enough that the controller
/// works on one while the next one arrives.
const CHUNK_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of a request that are not the task: the tags and lengths around it, generously.
const OVERHEAD_BYTES: usize = 4096;

/// The tag of `chunk` in `StreamCreateTasksRequest`: field 2, with a length.
const CHUNK_TAG: u8 = 2 << 3 | 2;
/// The tag of `offset` in `StreamCreateTasksChunk`: field 1, a number.
const OFFSET_TAG: u8 = 1 << 3;
/// The tag of `tasks` in `StreamCreateTasksChunk`: field 2, with a length.
const TASK_TAG: u8 = 2 << 3 | 2;

/// The most bytes before the tasks of a chunk: two tags and two numbers.
const HEAD_BYTES_MAX: usize = 2 + 2 * 10;

/// A task that does not fit into a request by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the task is {bytes} bytes long, more than the {max} that one request may have; use fewer or shorter resource files, \
     environment settings or a script in a resource file"
)]
pub struct TaskTooLong {
    /// Its size on the wire.
    pub bytes: usize,
    /// The largest.
    pub max: usize,
}

/// A message of the client, encoded.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    head: Bytes,
    tasks: Bytes,
}

impl Frame {
    /// The message that opens a stream.
    pub(super) fn open(open: wire::StreamCreateTasksOpen) -> Self {
        let body = Some(wire::stream_create_tasks_request::Body::Open(open));
        let message = wire::StreamCreateTasksRequest { body };
        Self { head: message.encode_to_vec().into(), tasks: Bytes::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.head.len() + self.tasks.len()
    }

    pub(super) fn put(self, out: &mut impl BufMut) {
        out.put(self.head);
        out.put(self.tasks);
    }
}

/// Some tasks of a stream.
#[derive(Debug)]
pub(super) struct Chunk {
    offset: u64,
    count: u64,
    frame: Frame,
}

impl Chunk {
    /// How many tasks of the stream come before those after it.
    pub(super) const fn end(&self) -> u64 {
        self.offset + self.count
    }

    /// How many tasks it has.
    pub(super) const fn count(&self) -> u64 {
        self.count
    }

    /// The message, ready to send.
    pub(super) fn frame(&self) -> Frame {
        self.frame.clone()
    }

    /// Its size on the wire.
    pub(super) fn bytes(&self) -> usize {
        self.frame.len()
    }
}

/// Makes chunks of tasks.
#[derive(Debug, Default)]
pub(super) struct Chunker {
    offset: u64,
    count: u64,
    tasks: BytesMut,
}

impl Chunker {
    /// A chunker whose first task has so many before it in the stream.
    pub(super) fn at(offset: u64) -> Self {
        Self { offset, ..Self::default() }
    }

    /// How many tasks of the stream come before the next one.
    pub(super) const fn next_offset(&self) -> u64 {
        self.offset + self.count
    }

    /// Takes a task. `Some` is a chunk that is full; the task is not in it then, but in the next one.
    pub(super) fn push(&mut self, task: &wire::Task) -> Result<Option<Chunk>, TaskTooLong> {
        let (bytes, max) = (task.encoded_len(), REQUEST_BYTES_MAX - OVERHEAD_BYTES);
        if bytes > max {
            return Err(TaskTooLong { bytes, max });
        }
        let is_full = usize::try_from(self.count).is_ok_and(|count| count >= BATCH_TASKS_MAX)
            || self.tasks.len() + bytes > CHUNK_BYTES_MAX;
        let full = if is_full { self.cut() } else { None };
        self.tasks.reserve(bytes + HEAD_BYTES_MAX);
        self.tasks.put_u8(TASK_TAG);
        put_number(bytes as u64, &mut self.tasks);
        // There is room, and that is all that encoding can lack.
        let _roomy = task.encode(&mut self.tasks);
        self.count += 1;
        Ok(full)
    }

    /// The tasks so far as a chunk, `None` without any.
    pub(super) fn cut(&mut self) -> Option<Chunk> {
        if self.count == 0 {
            return None;
        }
        let (offset, count) = (self.offset, std::mem::take(&mut self.count));
        self.offset += count;
        let tasks = self.tasks.split().freeze();
        let mut number = BytesMut::with_capacity(HEAD_BYTES_MAX);
        if offset > 0 {
            number.put_u8(OFFSET_TAG);
            put_number(offset, &mut number);
        }
        let mut head = BytesMut::with_capacity(HEAD_BYTES_MAX);
        head.put_u8(CHUNK_TAG);
        put_number((number.len() + tasks.len()) as u64, &mut head);
        head.put(number);
        Some(Chunk { offset, count, frame: Frame { head: head.freeze(), tasks } })
    }
}

/// A number in the wire format: seven bits a byte, the lowest first.
fn put_number(mut number: u64, out: &mut BytesMut) {
    while number >= 0x80 {
        out.put_u8(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.put_u8(number.to_le_bytes()[0]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(id: u64) -> wire::Task {
        wire::Task { id: id.to_string(), command_line: "true".to_owned(), ..Default::default() }
    }

    fn decoded(chunk: &Chunk) -> wire::StreamCreateTasksChunk {
        let mut bytes = Vec::new();
        chunk.frame().put(&mut bytes);
        assert_eq!(bytes.len(), chunk.bytes());
        match wire::StreamCreateTasksRequest::decode(bytes.as_slice()).unwrap().body {
            Some(wire::stream_create_tasks_request::Body::Chunk(chunk)) => chunk,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn chunks_are_the_messages_of_the_api_without_gaps() {
        let mut chunker = Chunker::at(0);
        let mut chunks = Vec::new();
        for id in 0..2500 {
            assert_eq!(chunker.next_offset(), id);
            chunks.extend(chunker.push(&task(id)).unwrap());
        }
        chunks.extend(chunker.cut());
        assert!(chunker.cut().is_none());
        let mut next = 0;
        for chunk in &chunks {
            let wire::StreamCreateTasksChunk { offset, tasks } = decoded(chunk);
            assert_eq!(offset, next);
            assert!(tasks.iter().zip(next..).all(|(found, id)| *found == task(id)));
            next += tasks.len() as u64;
            assert_eq!(next, chunk.end());
        }
        assert_eq!((next, chunks.len()), (2500, 3));
    }

    #[test]
    fn a_chunk_stays_below_its_bytes_and_a_task_below_those_of_a_request() {
        let long = |bytes| wire::Task { command_line: "x".repeat(bytes), ..Default::default() };
        let mut chunker = Chunker::at(7);
        assert!(chunker.push(&long(700_000)).unwrap().is_none());
        let first = chunker.push(&long(700_000)).unwrap().unwrap();
        assert_eq!((first.offset, first.count), (7, 1));
        // One that is larger than a chunk goes alone.
        assert_eq!(chunker.push(&long(5_000_000)).unwrap().unwrap().count, 1);
        let alone = chunker.push(&task(1)).unwrap().unwrap();
        assert_eq!((alone.count, decoded(&alone).tasks[0].command_line.len()), (1, 5_000_000));
        let error = chunker.push(&long(REQUEST_BYTES_MAX)).unwrap_err();
        assert!(error.to_string().contains(&error.max.to_string()), "{error}");
        assert_eq!(chunker.next_offset(), 11);
    }
}

//! A chunk of a stream of tasks: its tasks checked, and what became of each once the engine has answered.
//!
//! Each task stands for itself: one that cannot be converted is refused before the rest is handed in, one that the core
//! refuses is refused alone. Only what concerns the whole chunk ends the stream.

use super::refused;
use super::task_batch::refused_of;
use crate::admission::RoomHeld;
use crate::engine::Answer;
use muster_controller_core::reply::TaskRefused;
use muster_model::TaskId;
use muster_model::spec::TaskSpec;
use muster_proto::convert::{FieldErrors, batch_task, job_action_refused, needs_job_action};
use muster_proto::wire::{self, ItemError, StreamTaskRefused};
use prost::Message;
use tokio::sync::OwnedSemaphorePermit;
use tonic::Status;

/// The most bytes of refusals with all their wrong fields in one answer: gRPC clients take messages of 4 MiB unless told
/// otherwise, and a thousand refusals in one sentence each are far less.
const DETAILS_BYTES_MAX: usize = 2 * 1024 * 1024;

/// The tasks of a chunk after their conversion.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    /// Those to hand in.
    pub(super) specs: Vec<TaskSpec>,
    /// The places of these in the chunk; empty when they are all of it.
    pub(super) places: Vec<usize>,
    /// Those that cannot be converted.
    pub(super) wrong: Vec<StreamTaskRefused>,
}

/// Checks the tasks of a chunk, of which the first has this offset.
pub(super) fn convert(offset: u64, tasks: Vec<wire::Task>, allows_action: bool) -> Chunk {
    let mut chunk = Chunk { specs: Vec::with_capacity(tasks.len()), ..Chunk::default() };
    for (place, task) in tasks.into_iter().enumerate() {
        let given = task.id.len();
        let id = if given > 80 { String::new() } else { task.id.clone() };
        match checked(place, task, allows_action) {
            Ok(spec) => {
                if !chunk.wrong.is_empty() {
                    chunk.places.push(place);
                }
                chunk.specs.push(spec);
            }
            Err(errors) => {
                if chunk.wrong.is_empty() {
                    chunk.places = (0..chunk.specs.len()).collect();
                }
                let error = Some(ItemError::from(&errors));
                chunk.wrong.push(StreamTaskRefused { offset: at(offset, place), task_id: id, error });
            }
        }
    }
    chunk
}

fn checked(place: usize, task: wire::Task, allows_action: bool) -> Result<TaskSpec, FieldErrors> {
    let spec = batch_task(place, task)?;
    if !allows_action && needs_job_action(&spec) {
        return Err(job_action_refused(&format!("tasks[{place}]")));
    }
    Ok(spec)
}

fn at(offset: u64, place: usize) -> u64 {
    offset.saturating_add(u64::try_from(place).unwrap_or(u64::MAX))
}

/// A chunk that was handed in and not yet answered.
#[derive(Debug)]
pub(super) struct UnderWay {
    /// The engine's answer to come; `None` when there was nothing to hand in.
    pub(super) answer: Option<Answer>,
    /// The offset of its first task.
    pub(super) offset: u64,
    /// How many tasks it has.
    pub(super) count: usize,
    /// The ids of the tasks that were handed in.
    pub(super) names: Vec<TaskId>,
    /// As in [`Chunk`].
    pub(super) places: Vec<usize>,
    /// As in [`Chunk`].
    pub(super) wrong: Vec<StreamTaskRefused>,
    /// How many tasks of the stream are dealt with once this is answered.
    pub(super) acknowledged: u64,
    /// The room that it takes, of its stream and of its account.
    pub(super) room: (Option<OwnedSemaphorePermit>, Option<RoomHeld>),
}

/// What became of a chunk.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) acknowledged: u64,
    /// How many of its tasks were added.
    pub(super) count: u64,
    /// The others, in their order.
    pub(super) refused: Vec<StreamTaskRefused>,
}

impl UnderWay {
    /// A chunk of which nothing is new and no answer is known.
    pub(super) const fn dealt_with(acknowledged: u64) -> Self {
        Self {
            answer: None,
            offset: 0,
            count: 0,
            names: Vec::new(),
            places: Vec::new(),
            wrong: Vec::new(),
            acknowledged,
            room: (None, None),
        }
    }

    /// Waits until it is durable. A refusal of the whole chunk ends the stream.
    pub(super) async fn answered(mut self) -> Result<Answered, Status> {
        let not_added = match self.answer.take() {
            Some(answer) => refused_of(answer.wait().await.map_err(|error| refused::of_submit(&error))?)?,
            None => Vec::new(),
        };
        let mut refused = std::mem::take(&mut self.wrong);
        refused.extend(not_added.iter().map(|task| self.refused(task)));
        refused.sort_by_key(|task| task.offset);
        trim(&mut refused);
        let count = self.count.saturating_sub(refused.len());
        Ok(Answered {
            acknowledged: self.acknowledged,
            count: u64::try_from(count).unwrap_or(u64::MAX),
            refused,
        })
    }

    fn refused(&self, task: &TaskRefused) -> StreamTaskRefused {
        let index = usize::try_from(task.index).unwrap_or(usize::MAX);
        let place = if self.places.is_empty() { Some(&index) } else { self.places.get(index) };
        StreamTaskRefused {
            offset: at(self.offset, place.copied().unwrap_or(index)),
            task_id: self.names.get(index).map(ToString::to_string).unwrap_or_default(),
            error: Some(refused::item_of(task)),
        }
    }
}

/// Leaves out the single wrong fields of refusals that would make an answer too large; their sentences stay.
fn trim(refused: &mut [StreamTaskRefused]) {
    let mut bytes = 0;
    for task in refused {
        bytes += task.encoded_len();
        if bytes > DETAILS_BYTES_MAX
            && let Some(error) = &mut task.error
        {
            error.violations.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_controller_core::reject::RejectKind;

    fn task(id: &str) -> wire::Task {
        wire::Task { id: id.into(), command_line: "/bin/true".into(), ..Default::default() }
    }

    fn under_way(offset: u64, chunk: Chunk, count: usize) -> UnderWay {
        let names = chunk.specs.iter().map(|spec| spec.id.clone()).collect();
        let Chunk { places, wrong, .. } = chunk;
        UnderWay { names, places, wrong, count, offset, ..UnderWay::dealt_with(0) }
    }

    #[test]
    fn a_refusal_names_the_task_by_its_place_in_the_stream_whoever_refused() {
        let chunk = convert(100, vec![task("a"), task("b c"), task("d"), task("e")], false);
        assert_eq!((chunk.specs.len(), chunk.places.as_slice()), (3, [0, 2, 3].as_slice()));
        assert_eq!((chunk.wrong[0].offset, chunk.wrong[0].task_id.as_str()), (101, "b c"));
        let exists = TaskRefused {
            index: 1,
            kind: RejectKind::AlreadyExists,
            code: "TaskExists".into(),
            message: "there is one".into(),
        };
        let refused = under_way(100, chunk, 4).refused(&exists);
        assert_eq!((refused.offset, refused.task_id.as_str()), (102, "d"));
        let whole = convert(7, vec![task("a"), task("b")], false);
        assert!(whole.places.is_empty());
        assert_eq!(under_way(7, whole, 2).refused(&exists).offset, 8);
    }

    #[test]
    fn a_thousand_tasks_that_are_wrong_in_many_ways_fit_into_an_answer() {
        let setting = wire::EnvironmentSetting { name: "=".repeat(100), value: String::new() };
        let bad = || wire::Task { environment_settings: vec![setting.clone(); 1000], ..task("x") };
        let mut refused = convert(0, (0..1000).map(|_| bad()).collect(), false).wrong;
        trim(&mut refused);
        let bytes: usize = refused.iter().map(Message::encoded_len).sum();
        assert!(refused.len() == 1000 && bytes < 4 * 1024 * 1024 - 64 * 1024, "{bytes}");
        assert!(!refused[0].error.as_ref().unwrap().message.is_empty());
    }
}

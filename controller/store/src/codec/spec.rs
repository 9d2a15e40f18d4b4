//! Specifications, kept as messages of `muster.v1`.
//!
//! The conversions of proto are the only ones between that form and the model, so that a field that is added there is
//! kept here without another list of fields. Reading checks values as a request does; a limit of the model may
//! therefore be widened but not narrowed without a new format.

use super::error::CodecError;
use muster_model::spec::{JobSpec, PoolSpec, SweepSpec, TaskSpec};
use muster_proto::wire;
use prost::Message;

pub(crate) fn pool_spec_bytes(spec: &PoolSpec) -> Vec<u8> {
    wire::Pool::from(spec).encode_to_vec()
}

pub(crate) fn job_spec_bytes(spec: &JobSpec) -> Vec<u8> {
    wire::Job::from(spec).encode_to_vec()
}

pub(crate) fn task_spec_bytes(spec: &TaskSpec) -> Vec<u8> {
    wire::Task::from(spec).encode_to_vec()
}

pub(crate) fn sweep_spec_bytes(spec: &SweepSpec) -> Vec<u8> {
    wire::Sweep::from(spec).encode_to_vec()
}

pub(crate) fn pool_spec(bytes: &[u8]) -> Result<PoolSpec, CodecError> {
    read::<wire::Pool, _>("pool specification", bytes)
}

pub(crate) fn job_spec(bytes: &[u8]) -> Result<JobSpec, CodecError> {
    read::<wire::Job, _>("job specification", bytes)
}

pub(crate) fn task_spec(bytes: &[u8]) -> Result<TaskSpec, CodecError> {
    read::<wire::Task, _>("task specification", bytes)
}

pub(crate) fn sweep_spec(bytes: &[u8]) -> Result<SweepSpec, CodecError> {
    read::<wire::Sweep, _>("sweep specification", bytes)
}

fn read<M, T>(what: &'static str, bytes: &[u8]) -> Result<T, CodecError>
where
    M: Message + Default,
    T: TryFrom<M, Error: std::error::Error + Send + Sync + 'static>,
{
    let message = M::decode(bytes).map_err(|cause| CodecError::Bytes { what, cause })?;
    T::try_from(message).map_err(|cause| CodecError::Invalid { what, cause: Box::new(cause) })
}

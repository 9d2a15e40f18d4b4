//! Every model value survives the way to the wire, through bytes, and back; and no bytes make a conversion panic.
//!
//! Strategies build values within the limits of the model. The second half feeds arbitrary bytes and damaged messages to
//! the decoders and conversions: they may refuse, never panic.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod values;

use muster_model::node::{MachineFacts, StartTaskInfo};
use muster_model::spec::{JobSpec, PoolSpec, SweepSpec, TaskSpec};
use muster_model::{AttemptId, FailureInfo};
use muster_proto::convert::{
    Amendment, AttemptPlan, Checker, Finished, HeldAttempt, JobUpdate, Metrics, NewAccount, NewJoinToken,
    NewSweep, NodeDisabling, NodeHealth, NodeRemoval, NodeRestart, NodeSettings, PoolResize, PoolUpdate,
    Progress, StartTaskPlan, SweepTarget, TaskStream, TaskUpdate, duration_out, failure_info, timestamp,
    timestamp_out,
};
use muster_proto::wire;
use proptest::prelude::*;
use prost::Message;

/// To the wire, to bytes, and back.
fn through<W, M>(value: &M) -> M
where
    W: Message + Default + for<'a> From<&'a M>,
    M: TryFrom<W>,
    <M as TryFrom<W>>::Error: std::fmt::Display,
{
    let bytes = W::from(value).encode_to_vec();
    match M::try_from(W::decode(bytes.as_slice()).unwrap()) {
        Ok(value) => value,
        Err(error) => panic!("a valid value was refused: {error}"),
    }
}

proptest! {
    #[test]
    fn a_pool_survives_the_wire(spec in values::pool_spec()) {
        prop_assert_eq!(through::<wire::Pool, PoolSpec>(&spec), spec);
    }

    #[test]
    fn a_job_survives_the_wire(spec in values::job_spec()) {
        prop_assert_eq!(through::<wire::Job, JobSpec>(&spec), spec);
    }

    #[test]
    fn a_task_survives_the_wire(spec in values::task_spec()) {
        prop_assert_eq!(through::<wire::Task, TaskSpec>(&spec), spec);
    }

    #[test]
    fn a_sweep_survives_the_wire(spec in values::sweep_spec()) {
        prop_assert_eq!(through::<wire::Sweep, SweepSpec>(&spec), spec);
    }

    #[test]
    fn new_limits_survive_the_wire(amendment in values::amendment()) {
        prop_assert_eq!(through::<wire::Amend, Amendment>(&amendment), amendment);
    }

    #[test]
    fn a_plan_survives_the_wire(plan in values::attempt_plan()) {
        prop_assert_eq!(through::<wire::AttemptPlan, AttemptPlan>(&plan), plan);
    }

    #[test]
    fn node_settings_survive_the_wire(settings in values::node_settings()) {
        prop_assert_eq!(through::<wire::NodeSettings, NodeSettings>(&settings), settings);
    }

    #[test]
    fn a_result_survives_the_wire(finished in values::finished()) {
        prop_assert_eq!(through::<wire::AttemptResult, Finished>(&finished), finished);
    }

    #[test]
    fn facts_survive_the_wire(facts in values::machine_facts()) {
        prop_assert_eq!(through::<wire::MachineFacts, MachineFacts>(&facts), facts);
    }

    #[test]
    fn a_start_tasks_course_survives_the_wire(info in values::start_task_info()) {
        prop_assert_eq!(through::<wire::StartTaskInfo, StartTaskInfo>(&info), info);
    }

    #[test]
    fn health_and_metrics_survive_the_wire(health in values::node_health(), metrics in values::metrics()) {
        prop_assert_eq!(through::<wire::NodeHealth, NodeHealth>(&health), health);
        prop_assert_eq!(through::<wire::Metrics, Metrics>(&metrics), metrics);
    }

    #[test]
    fn names_and_phases_of_attempts_survive_the_wire(
        attempt in values::attempt_id(), phase in values::phase(), time in values::time(),
    ) {
        prop_assert_eq!(through::<wire::AttemptRef, AttemptId>(&attempt), attempt.clone());
        let held = HeldAttempt { attempt: attempt.clone(), phase, incarnation: attempt.number.into() };
        prop_assert_eq!(through::<wire::HeldAttempt, HeldAttempt>(&held), held);
        let progress = Progress { attempt, phase, time };
        prop_assert_eq!(through::<wire::AttemptProgress, Progress>(&progress), progress);
    }

    #[test]
    fn a_failure_survives_the_wire(info in values::failure()) {
        let back = |wire: wire::FailureInfo| -> Option<FailureInfo> { failure_info(&mut Checker::new(), wire) };
        prop_assert_eq!(back((&info).into()), Some(info));
    }

    #[test]
    fn any_time_and_span_goes_out_without_overflow(micros: i64, seconds: u64) {
        let out = timestamp_out(muster_model::Timestamp::from_micros(micros));
        prop_assert!(timestamp(&mut Checker::new(), out).is_some());
        let span = duration_out(std::time::Duration::from_secs(seconds));
        prop_assert!((0..=315_576_000_000).contains(&span.seconds));
    }
}

/// Decodes and converts; the outcome does not matter, only that there is one.
fn swallow<W: Message + Default, M: TryFrom<W>>(bytes: &[u8]) {
    if let Ok(message) = W::decode(bytes) {
        let _refused_or_not = M::try_from(message);
    }
}

fn swallow_all(bytes: &[u8]) {
    swallow::<wire::Pool, PoolSpec>(bytes);
    swallow::<wire::Job, JobSpec>(bytes);
    swallow::<wire::Task, TaskSpec>(bytes);
    swallow::<wire::Sweep, SweepSpec>(bytes);
    swallow::<wire::CreateSweepRequest, NewSweep>(bytes);
    swallow::<wire::TerminateSweepRequest, SweepTarget>(bytes);
    swallow::<wire::StreamCreateTasksOpen, TaskStream>(bytes);
    swallow::<wire::Amend, Amendment>(bytes);
    swallow::<wire::UpdatePoolRequest, PoolUpdate>(bytes);
    swallow::<wire::UpdateJobRequest, JobUpdate>(bytes);
    swallow::<wire::UpdateTaskRequest, TaskUpdate>(bytes);
    swallow::<wire::ResizePoolRequest, PoolResize>(bytes);
    swallow::<wire::RemoveNodesRequest, NodeRemoval>(bytes);
    swallow::<wire::DisableNodeSchedulingRequest, NodeDisabling>(bytes);
    swallow::<wire::RebootNodeRequest, NodeRestart>(bytes);
    swallow::<wire::NodeHealth, NodeHealth>(bytes);
    swallow::<wire::Metrics, Metrics>(bytes);
    swallow::<wire::CreateJoinTokenRequest, NewJoinToken>(bytes);
    swallow::<wire::CreateAccountRequest, NewAccount>(bytes);
    swallow::<wire::AttemptPlan, AttemptPlan>(bytes);
    swallow::<wire::StartTaskPlan, StartTaskPlan>(bytes);
    swallow::<wire::NodeSettings, NodeSettings>(bytes);
    swallow::<wire::AttemptResult, Finished>(bytes);
    swallow::<wire::AttemptProgress, Progress>(bytes);
    swallow::<wire::MachineFacts, MachineFacts>(bytes);
    swallow::<wire::StartTaskInfo, StartTaskInfo>(bytes);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        swallow_all(&bytes);
    }

    #[test]
    fn damaged_messages_never_panic(message in message(), place: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
        let mut bytes = message;
        let at = place.index(bytes.len());
        bytes[at] = byte;
        swallow_all(&bytes);
        bytes.truncate(cut.index(bytes.len()));
        swallow_all(&bytes);
    }
}

/// The bytes of a message that is right. Boxed one by one: all these strategies together are too large for a stack.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let messages: [fn() -> BoxedStrategy<Vec<u8>>; 5] = [
        || values::task_spec().prop_map(|task| wire::Task::from(&task).encode_to_vec()).boxed(),
        || values::job_spec().prop_map(|job| wire::Job::from(&job).encode_to_vec()).boxed(),
        || values::sweep_spec().prop_map(|sweep| wire::Sweep::from(&sweep).encode_to_vec()).boxed(),
        || values::attempt_plan().prop_map(|plan| wire::AttemptPlan::from(&plan).encode_to_vec()).boxed(),
        || values::finished().prop_map(|result| wire::AttemptResult::from(&result).encode_to_vec()).boxed(),
    ];
    prop::strategy::Union::new(messages.into_iter().map(|message| message()))
}

//! What agents report, in the words of the core.
//!
//! A report of another version may be unreadable. It must not be sent for ever, and an attempt must not hang for want
//! of its end: an unreadable end becomes a failed one that says so, anything else unreadable is logged and skipped.
//! An end whose output files are not what was asked for, or whose content never came, becomes a failed upload.

use super::context::SessionContext;
use crate::engine::ReadError;
use muster_controller_core::input::{NodeKey, NumberedReport, Report};
use muster_model::node::StartTaskInfo;
use muster_model::spec::{FileDestination, OutputFile};
use muster_model::state::{AttemptPhase, ExecutionResult};
use muster_model::{AttemptId, AttemptResult, Cause, Digest, FailureInfo, FilePath, OutputEntry, Timestamp};
use muster_proto::convert::{FieldErrors, Finished, NodeHealth, Progress};
use muster_proto::wire;
use muster_runtime::clock;
use std::collections::BTreeMap;
use wire::report::Event;

/// Reports of one message, ready for the core.
pub(super) struct Batch {
    /// For the core, in order.
    pub(super) reports: Vec<NumberedReport>,
    /// The last number, if the core does not hear of it and so will not acknowledge it.
    pub(super) skipped_last: Option<u64>,
}

/// Reads the reports of one message.
pub(super) async fn read(
    context: &SessionContext,
    node: &NodeKey,
    reports: Vec<wire::Report>,
) -> Result<Batch, ReadError> {
    let mut batch = Batch { reports: Vec::with_capacity(reports.len()), skipped_last: None };
    for wire::Report { sequence, event } in reports {
        let report = match event.and_then(|event| report_of(node, event)) {
            Some(Report::Finished { attempt, result }) if !result.outputs.is_empty() => {
                let result = with_outputs_checked(context, node, &attempt, result).await?;
                Some(Report::Finished { attempt, result })
            }
            other => other,
        };
        batch.skipped_last = report.is_none().then_some(sequence);
        batch.reports.extend(report.map(|report| NumberedReport { number: sequence, report }));
    }
    Ok(batch)
}

fn report_of(node: &NodeKey, event: Event) -> Option<Report> {
    let unreadable = |error: &FieldErrors, what: &'static str| {
        tracing::error!(account = %node.account, node = %node.node, what, %error, "a report of a node cannot be read");
    };
    match event {
        Event::Progress(progress) => match Progress::try_from(progress) {
            Ok(progress) => started(progress),
            Err(error) => {
                unreadable(&error, "progress");
                None
            }
        },
        Event::Finished(finished) => finished_report(finished, unreadable),
        Event::Recalled(attempt) => match AttemptId::try_from(attempt) {
            Ok(attempt) => Some(Report::Returned { attempt }),
            Err(error) => {
                unreadable(&error, "recalled");
                None
            }
        },
        Event::StartTask(info) => match StartTaskInfo::try_from(info) {
            Ok(info) => Some(Report::StartTask(info)),
            Err(error) => {
                unreadable(&error, "start_task");
                None
            }
        },
        Event::Health(health) => match NodeHealth::try_from(health) {
            Ok(health) => Some(health_report(node, health)),
            Err(error) => {
                unreadable(&error, "health");
                None
            }
        },
        // Facts that changed are told anew with the next Hello.
        Event::Facts(_) => None,
    }
}

/// What is wrong with a node, all of it: an operator looks for it in the log, too.
fn health_report(node: &NodeKey, health: NodeHealth) -> Report {
    if health.errors.is_empty() {
        tracing::info!(account = %node.account, node = %node.node, "a node reports that it is well");
    }
    for error in &health.errors {
        tracing::warn!(account = %node.account, node = %node.node, code = error.code, message = error.message,
            "a node reports that something is wrong with it");
    }
    Report::Health(health.errors)
}

/// The first progress of an attempt is its start; what follows is for the node's own eyes.
fn started(progress: Progress) -> Option<Report> {
    match progress.phase {
        AttemptPhase::Staging | AttemptPhase::Running | AttemptPhase::Uploading => {
            Some(Report::Started { attempt: progress.attempt, time: progress.time })
        }
        AttemptPhase::Assigned | AttemptPhase::Finished => None,
    }
}

fn finished_report(
    finished: wire::AttemptResult,
    unreadable: impl Fn(&FieldErrors, &'static str),
) -> Option<Report> {
    let attempt = finished.attempt.clone();
    match Finished::try_from(finished) {
        Ok(Finished { attempt, result }) => Some(Report::Finished { attempt, result: Box::new(result) }),
        Err(error) => {
            unreadable(&error, "finished");
            let attempt = AttemptId::try_from(attempt?).ok()?;
            let words = format!("the node's report of the attempt's end cannot be read: {error}");
            let failure = FailureInfo::new(Cause::Internal, words);
            let mut result = AttemptResult::not_started(failure, now());
            // It may well have run: a retry is not free of side effects.
            result.start_time = Some(result.end_time);
            Some(Report::Finished { attempt, result: Box::new(result) })
        }
    }
}

/// The end as it was reported, or as a failed upload if its outputs cannot be published.
async fn with_outputs_checked(
    context: &SessionContext,
    node: &NodeKey,
    attempt: &AttemptId,
    mut result: Box<AttemptResult>,
) -> Result<Box<AttemptResult>, ReadError> {
    if let Some(failure) = outputs_failure(context, node, attempt, &result.outputs).await? {
        tracing::warn!(account = %node.account, node = %node.node, %attempt, message = failure.message,
            "an attempt's outputs cannot be published");
        result.outputs.clear();
        if result.result == ExecutionResult::Success {
            result.result = ExecutionResult::Failure;
            result.failure = Some(failure);
        }
    }
    Ok(result)
}

async fn outputs_failure(
    context: &SessionContext,
    node: &NodeKey,
    attempt: &AttemptId,
    outputs: &[OutputEntry],
) -> Result<Option<FailureInfo>, ReadError> {
    let mut digests: Vec<Digest> = outputs.iter().map(|entry| entry.digest).collect();
    digests.sort_unstable();
    digests.dedup();
    let (account, key, asked) = (node.account.clone(), attempt.task_key(), digests.clone());
    let (task, known) = context
        .engine
        .read(move |reader| Ok((reader.task(&account, &key)?, reader.content_sizes(&account, &asked)?)))
        .await?;
    // A task that is gone publishes nothing: the core will say so. A job's preparation and release tasks publish nothing.
    let Some(task) = task else { return Ok(None) };
    for entry in outputs {
        if !is_asked_for(&task.spec.spec.output_files, entry) {
            let words = format!(
                "the node published '{}/{}', which no output file of the task asks for",
                entry.container, entry.path
            );
            return Ok(Some(FailureInfo::new(Cause::UploadFailed, words)));
        }
    }
    // Whoever knows a digest must not get at another account's content by publishing it. What came before this start of
    // the controller is not remembered; then it is enough that the content is there.
    let is_older = task.state.state_since < context.started;
    for (digest, known) in digests.iter().zip(known) {
        if known.is_none() && !is_older && !context.uploaded.has(node, digest) {
            let words = format!("output content {digest} was not uploaded by the node");
            return Ok(Some(FailureInfo::new(Cause::UploadFailed, words)));
        }
    }
    let sizes: BTreeMap<Digest, u64> = outputs.iter().map(|entry| (entry.digest, entry.size)).collect();
    for (digest, size) in sizes {
        let found = context.blobs.size(&digest).await;
        let words = match found {
            Ok(Some(found)) if found == size => continue,
            Ok(Some(found)) => format!("output content {digest} has {found} bytes, the node says {size}"),
            Ok(None) => format!("output content {digest} is not in the store"),
            Err(error) => format!("output content {digest} cannot be looked up: {error}"),
        };
        return Ok(Some(FailureInfo::new(Cause::UploadFailed, words)));
    }
    Ok(None)
}

/// Whether some output file of the task leads to this name.
fn is_asked_for(asked: &[OutputFile], entry: &OutputEntry) -> bool {
    asked.iter().any(|file| {
        let FileDestination::FileStore { container, path } = &file.destination;
        let fits = |path: &FilePath| {
            let rest = entry.path.as_str().strip_prefix(path.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        *container == entry.container && path.as_ref().is_none_or(fits)
    })
}

fn now() -> Timestamp {
    Timestamp::from_micros(clock::wall_us())
}

/// The end of an attempt that never reached its node.
pub(super) fn never_sent(attempt: AttemptId, failure: FailureInfo) -> NumberedReport {
    let result = Box::new(AttemptResult::not_started(failure, now()));
    NumberedReport { number: OWN_REPORT, report: Report::Finished { attempt, result } }
}

/// The number of reports that the controller makes in a node's name; agents count from 1.
pub(super) const OWN_REPORT: u64 = 0;

#[cfg(test)]
mod tests {
    use super::*;
    use muster_model::state::UploadCondition;
    use muster_model::{AccountName, ContainerName, NodeId};

    fn entry(container: &str, path: &str) -> OutputEntry {
        OutputEntry {
            container: ContainerName::parse(container).unwrap(),
            path: FilePath::parse(path).unwrap(),
            digest: Digest::from_bytes([1; 32]),
            size: 1,
        }
    }

    fn asked(container: &str, path: Option<&str>) -> OutputFile {
        let path = path.map(|path| FilePath::parse(path).unwrap());
        let container = ContainerName::parse(container).unwrap();
        OutputFile {
            pattern: "*".to_owned(),
            destination: FileDestination::FileStore { container, path },
            condition: UploadCondition::TaskCompletion,
        }
    }

    #[test]
    fn outputs_stay_in_what_the_task_asked_for() {
        let files = [asked("film", Some("frames")), asked("logs", None)];
        for good in [entry("film", "frames/1.png"), entry("film", "frames"), entry("logs", "any/where.txt")] {
            assert!(is_asked_for(&files, &good), "{good:?}");
        }
        for bad in [entry("film", "frames2/1.png"), entry("film", "other"), entry("else", "frames/1.png")] {
            assert!(!is_asked_for(&files, &bad), "{bad:?}");
        }
        assert!(!is_asked_for(&[], &entry("film", "frames")));
    }

    #[test]
    fn health_is_passed_on_whole_and_what_cannot_be_read_is_not() {
        let node =
            NodeKey { account: AccountName::parse("studio").unwrap(), node: NodeId::parse("n").unwrap() };
        let error = wire::NodeError {
            code: "DiskPressure".to_owned(),
            occur_time: Some(muster_proto::convert::timestamp_out(now())),
            ..Default::default()
        };
        let health = |errors| report_of(&node, Event::Health(wire::NodeHealth { errors }));
        let Some(Report::Health(errors)) = health(vec![error]) else { panic!("no report") };
        assert_eq!(errors[0].code, "DiskPressure");
        assert!(matches!(health(Vec::new()), Some(Report::Health(errors)) if errors.is_empty()));
        assert!(health(vec![wire::NodeError::default()]).is_none());
    }

    #[test]
    fn an_unreadable_end_is_a_failed_end_and_not_a_hanging_attempt() {
        let node =
            NodeKey { account: AccountName::parse("studio").unwrap(), node: NodeId::parse("n").unwrap() };
        let attempt = wire::AttemptRef { job_id: "j".into(), task_id: "t".into(), attempt: 2 };
        let unreadable = wire::AttemptResult { attempt: Some(attempt), result: 99, ..Default::default() };
        let Some(Report::Finished { attempt, result }) = report_of(&node, Event::Finished(unreadable)) else {
            panic!("no end");
        };
        assert_eq!(attempt.number, 2);
        assert_eq!(result.failure.unwrap().cause, Cause::Internal);
        let nameless = wire::AttemptResult { result: 99, ..Default::default() };
        assert!(report_of(&node, Event::Finished(nameless)).is_none());
    }
}

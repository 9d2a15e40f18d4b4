//! The reports of one session: which are to be said, and how many at a time.
//!
//! They go out in messages of a bounded size, and only so many at a time: the next ones leave when the first are acknowledged. So a
//! heartbeat never has more before it on the stream than a slow network carries in time, and after hours without a
//! controller the node does not say everything at once.
//!
//! Invariant: they are said in the order of their numbers. What waits here is in the journal, too.

use crate::codec;
use muster_agent_core::report::NumberedReport;
use muster_model::AttemptId;
use muster_proto::version::SESSION_BATCH_MAX;
use muster_proto::wire;
use prost::Message;
use std::collections::VecDeque;

/// Bytes of reports in one message: excerpts make them large, and the controller takes 32 MiB.
const REPORTS_BYTES: usize = 256 * 1024;
/// Bytes of reports that are said and not acknowledged: a third of a lease of 30 s on a network of one megabit a second.
const UNACKNOWLEDGED_BYTES: usize = 1024 * 1024;

/// The reports of one session: what is to be said and what was said.
#[derive(Debug, Default)]
pub(super) struct Telling {
    waiting: VecDeque<NumberedReport>,
    /// Numbers and sizes of what was said and is not acknowledged.
    said: VecDeque<(u64, usize)>,
    said_bytes: usize,
}

impl Telling {
    /// Takes what is to be said next.
    pub(super) fn add(&mut self, reports: Vec<NumberedReport>) {
        self.waiting.extend(reports);
    }

    /// The controller has made everything up to this number durable.
    pub(super) fn acknowledged(&mut self, number: u64) {
        while let Some((_, bytes)) = self.said.pop_front_if(|(said, _)| *said <= number) {
            self.said_bytes = self.said_bytes.saturating_sub(bytes);
        }
        while self.waiting.pop_front_if(|report| report.number <= number).is_some() {}
    }

    /// What waits about this attempt is not to be said any more.
    pub(super) fn forget(&mut self, attempt: &AttemptId) {
        self.waiting.retain(|numbered| numbered.report.attempt() != Some(attempt));
    }

    /// The next message, if there is something to say and it may be said now.
    pub(super) fn next(&mut self) -> Option<wire::Reports> {
        let (mut reports, mut bytes) = (Vec::new(), 0_usize);
        while reports.len() < SESSION_BATCH_MAX
            && bytes < REPORTS_BYTES
            && self.said_bytes < UNACKNOWLEDGED_BYTES
        {
            let Some(numbered) = self.waiting.pop_front() else { break };
            let report = codec::report_out(&numbered);
            let size = report.encoded_len();
            self.said.push_back((numbered.number, size));
            self.said_bytes = self.said_bytes.saturating_add(size);
            bytes = bytes.saturating_add(size);
            reports.push(report);
        }
        (!reports.is_empty()).then_some(wire::Reports { reports })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_agent_core::report::Report;
    use muster_model::node::NodeError;

    fn report(number: u64, bytes: usize) -> NumberedReport {
        let (code, details) = (NodeError::AGENT_FAULT.to_owned(), Vec::new());
        let error =
            NodeError { code, message: "x".repeat(bytes), details, time: muster_model::Timestamp::EPOCH };
        NumberedReport { number, report: Report::Health(vec![error]) }
    }

    fn numbers(reports: Option<wire::Reports>) -> Vec<u64> {
        reports.map_or_else(Vec::new, |said| said.reports.iter().map(|report| report.sequence).collect())
    }

    #[test]
    fn reports_leave_in_order_a_few_at_a_time_and_the_rest_when_those_are_acknowledged() {
        let mut telling = Telling::default();
        let part = UNACKNOWLEDGED_BYTES / 4;
        telling.add((1..=10).map(|number| report(number, part)).collect());
        let mut said = Vec::new();
        while let Some(reports) = telling.next() {
            said.extend(numbers(Some(reports)));
        }
        assert_eq!(said, [1, 2, 3, 4]);
        telling.acknowledged(2);
        assert_eq!((numbers(telling.next()), numbers(telling.next())), (vec![5], vec![6]));
        assert!(telling.next().is_none());
        telling.acknowledged(8);
        assert_eq!(numbers(telling.next()), [9], "what is acknowledged needs not be said");
        telling.acknowledged(9);
        assert_eq!(telling.said_bytes, 0);
    }

    #[test]
    fn small_reports_share_a_message_and_a_large_one_leaves_however_large_it_is() {
        let mut telling = Telling::default();
        telling.add((1..=3).map(|number| report(number, 10)).collect());
        telling.add(vec![report(4, 4 * UNACKNOWLEDGED_BYTES), report(5, 10)]);
        assert_eq!(numbers(telling.next()), [1, 2, 3, 4]);
        assert!(telling.next().is_none());
        telling.acknowledged(4);
        assert_eq!(numbers(telling.next()), [5]);
    }
}

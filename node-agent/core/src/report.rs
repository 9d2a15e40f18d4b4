//! Reports to the controller: numbered, kept until they are acknowledged, sent again on every new session.
//!
//! Delivery is at least once and in the order of the numbers; the controller applies each once. How many wait is bounded: without
//! a lease no attempt begins, and none begins while there are too many ([`Outbox::is_full`]), as when a controller grants
//! leases and makes nothing durable.

use muster_model::node::{NodeError, StartTaskInfo};
use muster_model::state::AttemptPhase;
use muster_model::{AttemptId, AttemptResult, Excerpt, Timestamp};
use std::collections::BTreeMap;

/// Added to the next number when the machine was booted anew: the journal's last records may have been lost with the
/// page cache, and a number may never be used twice. No node makes this many reports between two writes to disk.
pub const NUMBERS_SKIPPED_AFTER_BOOT: u64 = 1 << 32;

/// Something that happened and must not be lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// An attempt has come further.
    Progress {
        /// Which.
        attempt: AttemptId,
        /// How far: staging or running.
        phase: AttemptPhase,
        /// When, by the node's clock.
        time: Timestamp,
    },
    /// An attempt is over.
    Finished {
        /// Which.
        attempt: AttemptId,
        /// What came of it.
        result: Box<AttemptResult>,
    },
    /// An attempt was given back before it began.
    Recalled(AttemptId),
    /// The start task started or ended.
    StartTask(Box<StartTaskInfo>),
    /// All that is wrong with the node; nothing is when all is well again.
    Health(Vec<NodeError>),
}

impl Report {
    /// The attempt that it is about; `None` for the start task and the node.
    #[must_use]
    pub const fn attempt(&self) -> Option<&AttemptId> {
        match self {
            Self::Progress { attempt, .. } | Self::Finished { attempt, .. } | Self::Recalled(attempt) => {
                Some(attempt)
            }
            Self::StartTask(_) | Self::Health(_) => None,
        }
    }
}

/// A report and its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberedReport {
    /// Grows by one with each report of the node, from 1, also over restarts.
    pub number: u64,
    /// What happened.
    pub report: Report,
}

/// Reports that wait from which on no attempt begins: what a node with hundreds of short tasks makes in a lease.
pub const WAITING_MAX: usize = 20_000;
/// The same in bytes of output that go with them: what an agent can well keep in memory.
pub const WAITING_EXCERPT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The reports that are not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outbox {
    next: u64,
    waiting: BTreeMap<u64, Report>,
    /// Bytes of excerpts of output in those that wait.
    excerpt_bytes: usize,
}

fn excerpt_bytes(report: &Report) -> usize {
    let Report::Finished { result, .. } = report else { return 0 };
    let bytes = |excerpt: &Excerpt| excerpt.head.len().saturating_add(excerpt.tail.len());
    bytes(&result.stdout).saturating_add(bytes(&result.stderr))
}

impl Default for Outbox {
    fn default() -> Self {
        Self { next: 1, waiting: BTreeMap::new(), excerpt_bytes: 0 }
    }
}

impl Outbox {
    /// The number of the next report.
    #[must_use]
    pub const fn next_number(&self) -> u64 {
        self.next
    }

    /// The oldest number that is not acknowledged, or the next one.
    #[must_use]
    pub fn oldest(&self) -> u64 {
        self.waiting.keys().next().copied().unwrap_or(self.next)
    }

    /// Whether so much waits that nothing may begin.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.waiting.len() >= WAITING_MAX || self.excerpt_bytes >= WAITING_EXCERPT_BYTES_MAX
    }

    /// Everything that waits, in order.
    pub fn waiting(&self) -> impl Iterator<Item = NumberedReport> + '_ {
        self.waiting.iter().map(|(number, report)| NumberedReport { number: *number, report: report.clone() })
    }

    /// The attempts whose end waits to be acknowledged.
    pub fn finished(&self) -> impl Iterator<Item = &AttemptId> + '_ {
        self.waiting.values().filter_map(|report| match report {
            Report::Finished { attempt, .. } => Some(attempt),
            Report::Progress { .. } | Report::Recalled(_) | Report::StartTask(_) | Report::Health(_) => None,
        })
    }

    /// Keeps a report; numbers below one that was kept before are taken as they are. A word about health says all, so an
    /// earlier one goes: a node without a session that gets ill and well again does not fill its journal.
    pub(crate) fn keep(&mut self, numbered: NumberedReport) {
        if matches!(numbered.report, Report::Health(_)) {
            self.waiting.retain(|_, report| !matches!(report, Report::Health(_)));
        }
        self.next = self.next.max(numbered.number.saturating_add(1));
        self.excerpt_bytes = self.excerpt_bytes.saturating_add(excerpt_bytes(&numbered.report));
        if let Some(before) = self.waiting.insert(numbered.number, numbered.report) {
            self.excerpt_bytes = self.excerpt_bytes.saturating_sub(excerpt_bytes(&before));
        }
    }

    /// Whether something waits about the node's health.
    pub(crate) fn tells_of_health(&self) -> bool {
        self.waiting.values().any(|report| matches!(report, Report::Health(_)))
    }

    /// Forgets everything up to a number.
    pub(crate) fn acknowledge(&mut self, up_to: u64) {
        let later = self.waiting.split_off(&up_to.saturating_add(1));
        self.let_go(later);
    }

    /// Whether something waits about this attempt.
    pub(crate) fn tells_of(&self, attempt: &AttemptId) -> bool {
        self.waiting.values().any(|report| report.attempt() == Some(attempt))
    }

    /// Forgets what waits about this attempt.
    pub(crate) fn forget(&mut self, attempt: &AttemptId) {
        let gone = self.waiting.extract_if(.., |_, report| report.attempt() == Some(attempt));
        let bytes: usize = gone.map(|(_, report)| excerpt_bytes(&report)).sum();
        self.excerpt_bytes = self.excerpt_bytes.saturating_sub(bytes);
    }

    /// Keeps only these of those that wait.
    fn let_go(&mut self, kept: BTreeMap<u64, Report>) {
        let gone = std::mem::replace(&mut self.waiting, kept);
        let bytes: usize = gone.values().map(excerpt_bytes).sum();
        self.excerpt_bytes = self.excerpt_bytes.saturating_sub(bytes);
    }

    /// Makes the next number at least this.
    pub(crate) fn skip_to(&mut self, number: u64) {
        self.next = self.next.max(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(number: u64) -> NumberedReport {
        let attempt = AttemptId { job: "j".parse().unwrap(), task: "t".parse().unwrap(), number: 1 };
        let report = Report::Progress { attempt, phase: AttemptPhase::Staging, time: Timestamp::EPOCH };
        NumberedReport { number, report }
    }

    #[test]
    fn what_is_not_acknowledged_waits_in_order() {
        let mut outbox = Outbox::default();
        for number in 1..=4 {
            outbox.keep(progress(number));
        }
        outbox.acknowledge(2);
        assert_eq!(outbox.waiting().map(|r| r.number).collect::<Vec<_>>(), [3, 4]);
        assert_eq!((outbox.oldest(), outbox.next_number()), (3, 5));
        outbox.acknowledge(u64::MAX);
        assert_eq!((outbox.oldest(), outbox.next_number()), (5, 5));
    }

    #[test]
    fn of_words_about_health_the_last_one_waits() {
        let mut outbox = Outbox::default();
        outbox.keep(progress(1));
        for number in 2..=4 {
            outbox.keep(NumberedReport { number, report: Report::Health(Vec::new()) });
        }
        assert!(outbox.tells_of_health());
        assert_eq!(outbox.waiting().map(|r| r.number).collect::<Vec<_>>(), [1, 4]);
    }
}

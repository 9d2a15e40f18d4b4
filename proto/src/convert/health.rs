//! How a node is: what is wrong with it, and what it and its attempts use at the moment.
//!
//! As with results, what a node says in excess is cut and not refused: that a disk is full must arrive, however long the
//! sentence about it. Metrics are for people and never durable.

use muster_model::node::{NodeError, NodeMetrics};
use muster_model::{AttemptId, Usage, limits};

use super::common::{required_timestamp, timestamp_out};
use super::error::{cut, details_in, details_out};
use super::session::attempt_id;
use super::task::usage;
use super::violation::{Checker, FieldErrors, Problem};
use crate::version::SESSION_BATCH_MAX;
use crate::wire;

impl From<&NodeError> for wire::NodeError {
    fn from(error: &NodeError) -> Self {
        Self {
            code: error.code.clone(),
            message: error.message.clone(),
            details: details_out(&error.details),
            occur_time: Some(timestamp_out(error.time)),
        }
    }
}

impl TryFrom<wire::NodeError> for NodeError {
    type Error = FieldErrors;

    fn try_from(error: wire::NodeError) -> Result<Self, FieldErrors> {
        let mut checker = Checker::new();
        let error = node_error(&mut checker, error);
        checker.finish(error)
    }
}

fn node_error(checker: &mut Checker, error: wire::NodeError) -> Option<NodeError> {
    let time = required_timestamp(checker, "occur_time", error.occur_time);
    if error.code.is_empty() {
        checker.note_at("code", Problem::Missing { hint: "say what is wrong in one word" });
    }
    let text = |text| cut(text, limits::NODE_TEXT_BYTES_MAX);
    let details = details_in(error.details);
    let details = details.into_iter().map(|(name, value)| (text(name), text(value))).collect();
    Some(NodeError { code: text(error.code), message: text(error.message), details, time: time? })
}

/// All that is wrong with a node, in place of what it said before.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeHealth {
    /// At most [`limits::NODE_ERRORS_MAX`]; empty: all is well.
    pub errors: Vec<NodeError>,
}

impl TryFrom<wire::NodeHealth> for NodeHealth {
    type Error = FieldErrors;

    fn try_from(mut health: wire::NodeHealth) -> Result<Self, FieldErrors> {
        let mut checker = Checker::new();
        health.errors.truncate(limits::NODE_ERRORS_MAX);
        let errors =
            checker.at("health", |c| c.each("errors", health.errors, limits::NODE_ERRORS_MAX, node_error));
        checker.finish(Some(Self { errors }))
    }
}

impl From<&NodeHealth> for wire::NodeHealth {
    fn from(health: &NodeHealth) -> Self {
        Self { errors: health.errors.iter().map(Into::into).collect() }
    }
}

impl From<&NodeMetrics> for wire::NodeMetrics {
    fn from(metrics: &NodeMetrics) -> Self {
        Self {
            measure_time: Some(timestamp_out(metrics.time)),
            cpu_millis: metrics.cpu_millis,
            memory_used_bytes: metrics.memory_used_bytes,
            memory_total_bytes: metrics.memory_total_bytes,
            disk_free_bytes: metrics.disk_free_bytes,
            disk_total_bytes: metrics.disk_total_bytes,
            cache_bytes: metrics.cache_bytes,
            agent_memory_bytes: metrics.agent_memory_bytes,
        }
    }
}

fn node_metrics(checker: &mut Checker, metrics: wire::NodeMetrics) -> Option<NodeMetrics> {
    let time = required_timestamp(checker, "measure_time", metrics.measure_time);
    Some(NodeMetrics {
        time: time?,
        cpu_millis: metrics.cpu_millis,
        memory_used_bytes: metrics.memory_used_bytes,
        memory_total_bytes: metrics.memory_total_bytes,
        disk_free_bytes: metrics.disk_free_bytes,
        disk_total_bytes: metrics.disk_total_bytes,
        cache_bytes: metrics.cache_bytes,
        agent_memory_bytes: metrics.agent_memory_bytes,
    })
}

/// What a node and its attempts use at the moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Metrics {
    /// The node; `None`: as before.
    pub node: Option<NodeMetrics>,
    /// Attempts that run and of which something has changed: at most [`SESSION_BATCH_MAX`].
    pub attempts: Vec<(AttemptId, Usage)>,
}

impl TryFrom<wire::Metrics> for Metrics {
    type Error = FieldErrors;

    fn try_from(metrics: wire::Metrics) -> Result<Self, FieldErrors> {
        let mut checker = Checker::new();
        let metrics = checker.at("metrics", |c| {
            let node = c.part("node", metrics.node, node_metrics);
            let attempts = c.each("attempts", metrics.attempts, SESSION_BATCH_MAX, |c, given| {
                let attempt = attempt_id(c, given.attempt);
                let usage = c.at("usage", |c| usage(c, given.usage.unwrap_or_default()));
                Some((attempt?, usage))
            });
            Some(Self { node: node?, attempts })
        });
        checker.finish(metrics)
    }
}

impl From<&Metrics> for wire::Metrics {
    fn from(metrics: &Metrics) -> Self {
        let attempt = |(attempt, usage): &(AttemptId, Usage)| wire::AttemptUsage {
            attempt: Some(attempt.into()),
            usage: Some(usage.into()),
        };
        Self {
            node: metrics.node.as_ref().map(Into::into),
            attempts: metrics.attempts.iter().map(attempt).collect(),
        }
    }
}

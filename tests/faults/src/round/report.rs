//! What round is wanted, and how it went: plain values, made by the runner and by `play.rs`.
//!
//! A report of a broken promise holds its story; the rest of the evidence is where the order said.

use crate::check::Violation;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// What round is to be played.
#[derive(Debug, Clone)]
pub struct Order {
    /// From which everything that is chosen follows.
    pub seed: u64,
    /// For how long faults are dealt.
    pub span: Duration,
    /// Where the evidence of a broken promise is kept.
    pub keep: PathBuf,
}

/// How a round went.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Tasks that were acknowledged, members of sweeps among them.
    pub told: u64,
    /// Calls of clients, each with all its repeats.
    pub calls: u64,
    /// Calls that were refused, also rightly: to terminate what has ended, to reactivate what has succeeded.
    pub refused: u64,
    /// Calls that nobody answered for as long as the client had patience.
    pub unanswered: u64,
    /// Tasks that are recorded as completed.
    pub ended: u64,
    /// Lives in the ledger: attempts whose command ran.
    pub lives: u64,
    /// Lives that came to no end of their own: what was killed with its node, terminated or fenced.
    pub cut: u64,
    /// Faults, by kind.
    pub faults: BTreeMap<&'static str, u32>,
    /// How long it took until everything had ended after the last fault.
    pub rest: Duration,
    /// Promises that were broken. The first is told in `story`.
    pub violations: Vec<Violation>,
    /// What was told, recorded and done, for the task of the first violation. Empty when nothing was broken.
    pub story: String,
}

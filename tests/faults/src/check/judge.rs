//! Every promise held against every task: the list of them, the gravest first, and what a broken one looks like.
//!
//! It reads nothing and remembers nothing: the same log, record and ledger are judged the same. The rules themselves are in
//! `task_rules.rs`, `life_rules.rs` and `job_rules.rs`.

use super::case::{self, Case};
use super::violation::Violation;
use super::{job_rules, life_rules, task_rules};
use crate::ledger::{self, Line};
use crate::record::Record;
use crate::told::Entry;

/// A rule about one task: what is wrong with it, if anything.
type Rule = fn(&Case<'_>) -> Option<String>;

/// The promises about one task, the gravest first.
const RULES: &[(&str, Rule)] = &[
    ("attempts of a task never overlap", life_rules::overlap),
    ("an attempt starts once", life_rules::attempt_twice),
    ("an at-most-once task starts at most once", life_rules::more_than_once),
    ("what is acknowledged is not lost", task_rules::lost),
    ("what is deleted stays deleted", task_rules::undead),
    ("what is refused is not done", task_rules::done_though_refused),
    ("a repeated request gets its first answer", task_rules::repeat_refused),
    ("a task is what was asked for", task_rules::changed),
    ("every task ends", task_rules::unended),
    ("a success is that of the attempt recorded", task_rules::empty_success),
    ("an exit code is that of the attempt recorded", task_rules::wrong_exit_code),
    ("outputs are those of the attempt recorded", task_rules::wrong_outputs),
    ("a failure was tried as often as asked", task_rules::untried),
    ("what is read as final never changes", task_rules::changed_end),
    ("attempts are numbered upwards", task_rules::backwards),
    ("nothing runs after its end was told", life_rules::after_end),
    ("only what was asked for runs", life_rules::unasked),
];

/// Everything that is wrong, the gravest promise first.
#[must_use]
pub fn check(told: &[Entry], record: &Record, ledger: &[Line]) -> Vec<Violation> {
    let lives = ledger::lives(ledger);
    let cases = case::cases(told, record, &lives);
    let mut found = Vec::new();
    for (promise, rule) in RULES {
        for case in &cases {
            if let Some(what) = rule(case) {
                found.push(Violation { promise, job: case.job.clone(), task: Some(case.task.clone()), what });
            }
        }
    }
    found.extend(job_rules::check(told, record));
    found
}

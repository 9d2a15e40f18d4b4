//! The judgement: what clients were told, what is recorded and what tasks wrote down, held against one another.
//!
//! A pure function (`judge.rs`). `case.rs` puts together what there is of each task; `task_rules.rs`, `life_rules.rs` and `job_rules.rs`
//! are the promises, each a function that says what is wrong with a task or a job; `tests.rs` shows each of them a history
//! that breaks it.

mod case;
mod job_rules;
mod judge;
mod life_rules;
mod task_rules;
#[cfg(test)]
mod tests;
mod violation;

pub use case::Case;
pub use judge::check;
pub use violation::Violation;

//! The supervisor's keys for commands, both ways.
//!
//! `job.task.3-12` for attempt 3 of the task of incarnation 12, `schedule.job-2.task.3-12` for one of a job of a schedule,
//! `start-task.7` for the start task: ids hold no dot, so the number of parts tells them apart. An attempt whose controller
//! told no incarnation has none in its key either.
//!
//! Invariant: no two commands of a node have had the same key, whatever was deleted and made again: what the supervisor
//! still holds of the earlier one is never taken for the later one.

use muster_agent_core::Subject;
use muster_model::AttemptId;
use muster_supervisor::{AttemptKey, KeyError};

/// The first part of the start task's keys.
const START_TASK: &str = "start-task";

/// A command as its key names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Keyed {
    /// Whose it is.
    pub(crate) subject: Subject,
    /// Tells the attempt's task from an earlier one of the same id; 0 for the start task.
    pub(crate) incarnation: u64,
}

impl Keyed {
    /// Its key.
    pub(crate) fn key(&self) -> Result<AttemptKey, KeyError> {
        match &self.subject {
            Subject::StartTask { run } => AttemptKey::new(format!("{START_TASK}.{run}")),
            Subject::Attempt(attempt) => {
                let (job, task) = (attempt.job.as_str().replace(':', "."), &attempt.task);
                let number = attempt.number;
                AttemptKey::new(match self.incarnation {
                    0 => format!("{job}.{task}.{number}"),
                    incarnation => format!("{job}.{task}.{number}-{incarnation}"),
                })
            }
        }
    }

    /// The command of a key; `None` if it is none of the agent's.
    pub(crate) fn of(key: &AttemptKey) -> Option<Self> {
        let parts: Vec<&str> = key.as_str().split('.').collect();
        let attempt = |job: &str, task: &str, last: &str| {
            let (number, incarnation) = match last.split_once('-') {
                Some((number, incarnation)) => (number, incarnation.parse().ok()?),
                None => (last, 0),
            };
            let (job, task) = (job.parse().ok()?, task.parse().ok()?);
            let attempt = AttemptId { job, task, number: number.parse().ok()? };
            Some(Self { subject: Subject::Attempt(attempt), incarnation })
        };
        match parts.as_slice() {
            [START_TASK, run] => {
                Some(Self { subject: Subject::StartTask { run: run.parse().ok()? }, incarnation: 0 })
            }
            [job, task, last] => attempt(job, task, last),
            [schedule, job, task, last] => attempt(&format!("{schedule}:{job}"), task, last),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_come_back_from_their_keys_and_each_has_its_own() {
        let mut keys = std::collections::BTreeSet::new();
        let longest = format!("{}:job-{}", "j".repeat(64), u32::MAX);
        for (job, task) in [("film", "t_1"), ("nightly:job-3", "1-2"), (&longest, &"t".repeat(64))] {
            for incarnation in [0, 1, u64::MAX] {
                let attempt =
                    AttemptId { job: job.parse().unwrap(), task: task.parse().unwrap(), number: u32::MAX };
                let keyed = Keyed { subject: Subject::Attempt(attempt), incarnation };
                let key = keyed.key().unwrap();
                assert_eq!(Keyed::of(&key), Some(keyed));
                assert!(keys.insert(key.to_string()), "{key} is used twice");
            }
        }
        let start_task = Keyed { subject: Subject::StartTask { run: 4 }, incarnation: 0 };
        assert_eq!(Keyed::of(&start_task.key().unwrap()), Some(start_task));
        for other in ["other", "film.t.1-", "film.t.1-x", "film.t.-1", "film.t.1-2-3"] {
            assert_eq!(Keyed::of(&AttemptKey::new(other).unwrap()), None, "{other}");
        }
    }

    #[test]
    fn the_key_of_an_attempt_whose_controller_tells_no_incarnation_is_that_of_earlier_versions() {
        let attempt = AttemptId { job: "film".parse().unwrap(), task: "t".parse().unwrap(), number: 3 };
        let keyed = Keyed { subject: Subject::Attempt(attempt), incarnation: 0 };
        assert_eq!(keyed.key().unwrap().as_str(), "film.t.3");
    }
}

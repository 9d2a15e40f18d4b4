//! The supervisor's keys for subjects, both ways.
//!
//! `job.task.3` for an attempt, `schedule.job-2.task.3` for one of a job of a schedule, `start-task.7` for the start
//! task: ids hold no dot, so the number of parts tells them apart.

use muster_agent_core::Subject;
use muster_model::AttemptId;
use muster_supervisor::{AttemptKey, KeyError};

/// The first part of the start task's keys.
const START_TASK: &str = "start-task";

/// The key of a subject.
pub(crate) fn key_of(subject: &Subject) -> Result<AttemptKey, KeyError> {
    match subject {
        Subject::StartTask { run } => AttemptKey::new(format!("{START_TASK}.{run}")),
        Subject::Attempt(attempt) => {
            let job = attempt.job.as_str().replace(':', ".");
            AttemptKey::new(format!("{job}.{}.{}", attempt.task, attempt.number))
        }
    }
}

/// The subject of a key; `None` if it is none of the agent's.
pub(crate) fn subject_of(key: &AttemptKey) -> Option<Subject> {
    let parts: Vec<&str> = key.as_str().split('.').collect();
    let attempt = |job: &str, task: &str, number: &str| {
        Some(Subject::Attempt(AttemptId {
            job: job.parse().ok()?,
            task: task.parse().ok()?,
            number: number.parse().ok()?,
        }))
    };
    match parts.as_slice() {
        [START_TASK, run] => Some(Subject::StartTask { run: run.parse().ok()? }),
        [job, task, number] => attempt(job, task, number),
        [schedule, job, task, number] => attempt(&format!("{schedule}:{job}"), task, number),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_come_back_from_their_keys() {
        for job in ["film", "nightly:job-3"] {
            let attempt = AttemptId { job: job.parse().unwrap(), task: "t_1".parse().unwrap(), number: 12 };
            let subject = Subject::Attempt(attempt);
            assert_eq!(subject_of(&key_of(&subject).unwrap()), Some(subject));
        }
        let start_task = Subject::StartTask { run: 4 };
        assert_eq!(subject_of(&key_of(&start_task).unwrap()), Some(start_task));
        assert_eq!(subject_of(&AttemptKey::new("other").unwrap()), None);
    }
}

//! What a task's end means to its job and to the tasks that depend on it (reference 3.7, exitConditions).
//!
//! Looked up in this order: the exact exit code, a range of codes, an upload error, an error before the command ran,
//! any other failure. What is not said takes the reference's default: success satisfies and does nothing to the job, failure
//! blocks and terminates it (where the job lets tasks act on it at all).

use muster_model::cause::Cause;
use muster_model::spec::{ExitConditions, ExitOptions};
use muster_model::state::{DependencyAction, ExecutionResult, JobAction};

/// How a task ended for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exit {
    pub(crate) result: ExecutionResult,
    pub(crate) exit_code: Option<i32>,
    pub(crate) cause: Option<Cause>,
    /// Whether the command ran.
    pub(crate) ran: bool,
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Consequence {
    pub(crate) job: JobAction,
    /// Whether tasks that wait for it to be satisfied may run.
    pub(crate) satisfies: bool,
}

/// The rule.
pub(crate) fn consequence(conditions: Option<&ExitConditions>, exit: Exit) -> Consequence {
    let said = conditions.and_then(|conditions| look_up(conditions, exit)).unwrap_or_default();
    let failed = exit.result == ExecutionResult::Failure;
    let dependents = said.dependency_action.unwrap_or(if failed {
        DependencyAction::Block
    } else {
        DependencyAction::Satisfy
    });
    Consequence {
        job: said.job_action.unwrap_or(if failed { JobAction::Terminate } else { JobAction::None }),
        satisfies: dependents == DependencyAction::Satisfy,
    }
}

fn look_up(conditions: &ExitConditions, exit: Exit) -> Option<ExitOptions> {
    let by_code = exit.exit_code.and_then(|code| {
        let exact = conditions.codes.iter().find(|(listed, _)| *listed == code).map(|(_, options)| *options);
        exact.or_else(|| {
            let ranges = conditions.ranges.iter();
            ranges.filter(|(start, end, _)| (*start..=*end).contains(&code)).map(|(_, _, o)| *o).next()
        })
    });
    if by_code.is_some() {
        return by_code;
    }
    if exit.cause == Some(Cause::UploadFailed) && conditions.file_upload_error.is_some() {
        return conditions.file_upload_error;
    }
    if exit.result == ExecutionResult::Failure && !exit.ran && conditions.pre_processing_error.is_some() {
        return conditions.pre_processing_error;
    }
    // The default is for ends that are not successes (Microsoft's page of ExitConditions says so).
    if exit.result == ExecutionResult::Failure { conditions.default } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(job: JobAction, dependents: DependencyAction) -> ExitOptions {
        ExitOptions { job_action: Some(job), dependency_action: Some(dependents) }
    }

    fn exit(code: i32) -> Exit {
        let failed = code != 0;
        Exit {
            result: if failed { ExecutionResult::Failure } else { ExecutionResult::Success },
            exit_code: Some(code),
            cause: failed.then_some(Cause::ExitCode),
            ran: true,
        }
    }

    #[test]
    fn without_conditions_success_satisfies_and_failure_blocks_and_terminates() {
        let good = consequence(None, exit(0));
        assert_eq!(good, Consequence { job: JobAction::None, satisfies: true });
        let bad = consequence(None, exit(3));
        assert_eq!(bad, Consequence { job: JobAction::Terminate, satisfies: false });
    }

    #[test]
    fn an_exact_code_wins_over_a_range_over_the_default() {
        let conditions = ExitConditions {
            codes: vec![(5, options(JobAction::None, DependencyAction::Satisfy))],
            ranges: vec![(1, 9, options(JobAction::Disable, DependencyAction::Block))],
            default: Some(options(JobAction::Terminate, DependencyAction::Block)),
            ..ExitConditions::default()
        };
        let of = |code| consequence(Some(&conditions), exit(code));
        assert_eq!(of(5), Consequence { job: JobAction::None, satisfies: true });
        assert_eq!(of(6), Consequence { job: JobAction::Disable, satisfies: false });
        assert_eq!(of(10), Consequence { job: JobAction::Terminate, satisfies: false });
    }

    #[test]
    fn errors_around_the_command_have_their_own_lines_but_a_listed_code_wins() {
        let satisfied = options(JobAction::None, DependencyAction::Satisfy);
        let conditions = ExitConditions {
            codes: vec![(7, options(JobAction::Disable, DependencyAction::Block))],
            pre_processing_error: Some(satisfied),
            file_upload_error: Some(satisfied),
            ..ExitConditions::default()
        };
        let failed = |exit_code, cause, ran| {
            let exit = Exit { result: ExecutionResult::Failure, exit_code, cause: Some(cause), ran };
            consequence(Some(&conditions), exit).satisfies
        };
        assert!(failed(None, Cause::StagingNotFound, false));
        assert!(failed(Some(0), Cause::UploadFailed, true));
        assert!(!failed(Some(7), Cause::UploadFailed, true));
        assert!(!failed(Some(8), Cause::ExitCode, true));
    }

    #[test]
    fn the_default_is_not_for_a_success() {
        let conditions = ExitConditions {
            default: Some(options(JobAction::Terminate, DependencyAction::Block)),
            ..ExitConditions::default()
        };
        let good = consequence(Some(&conditions), exit(0));
        assert_eq!(good, Consequence { job: JobAction::None, satisfies: true });
    }

    #[test]
    fn a_listed_success_may_block() {
        let conditions = ExitConditions {
            codes: vec![(0, options(JobAction::None, DependencyAction::Block))],
            ..ExitConditions::default()
        };
        assert!(!consequence(Some(&conditions), exit(0)).satisfies);
    }
}

//! The grammar of exit conditions: `--exit 3=satisfy`, `--exit 10-20=block,terminate`, `--exit default=none`.
//!
//! One rule for each option; the controller checks what they are together.

use std::str::FromStr;

use muster_proto::wire;

/// The way to write a rule.
const FORM: &str = "write WHEN=ACTION[,ACTION]; WHEN is an exit code, a range of codes such as 10-20, 'default', \
                    'pre-processing-error' or 'upload-error'; ACTION is satisfy or block for the tasks that depend on \
                    it, and none, disable or terminate for the job";

/// Why a value is not a rule.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExitRuleError {
    /// It has no '='.
    #[error("{FORM}")]
    Form,
    /// Not a way to end.
    #[error("'{given}' is no way to end, and exit codes are -2147483648 to 2147483647; {FORM}")]
    When {
        /// The text.
        given: String,
    },
    /// Not something that follows.
    #[error("'{given}' is no action; {FORM}")]
    Action {
        /// The text.
        given: String,
    },
    /// Two actions for the same.
    #[error("'{given}' says twice what follows for the {whom}")]
    Twice {
        /// The second one.
        given: String,
        /// For whom.
        whom: &'static str,
    },
}

/// A way to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// An exit code.
    Code(i32),
    /// An exit code of these.
    Codes(i32, i32),
    /// It failed before its command started.
    PreProcessingError,
    /// An output file could not be uploaded.
    UploadError,
    /// Everything else.
    Default,
}

/// What follows from one way to end.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ExitRule {
    /// The way to end.
    pub ending: Ending,
    /// What follows.
    pub options: wire::ExitOptions,
}

impl FromStr for ExitRule {
    type Err = ExitRuleError;

    fn from_str(text: &str) -> Result<Self, ExitRuleError> {
        let (when, actions) = text.split_once('=').ok_or(ExitRuleError::Form)?;
        let mut options = wire::ExitOptions::default();
        for action in actions.split(',') {
            let given = || action.chars().take(80).collect();
            let dependency = match action {
                "satisfy" => Some(wire::DependencyAction::Satisfy),
                "block" => Some(wire::DependencyAction::Block),
                _ => None,
            };
            let job = match action {
                "none" => Some(wire::JobAction::None),
                "disable" => Some(wire::JobAction::Disable),
                "terminate" => Some(wire::JobAction::Terminate),
                _ => None,
            };
            match (dependency, job) {
                (Some(_), _) if options.dependency_action != 0 => {
                    return Err(ExitRuleError::Twice { given: given(), whom: "tasks that depend on it" });
                }
                (None, Some(_)) if options.job_action != 0 => {
                    return Err(ExitRuleError::Twice { given: given(), whom: "job" });
                }
                (Some(action), _) => options.set_dependency_action(action),
                (None, Some(action)) => options.set_job_action(action),
                (None, None) => return Err(ExitRuleError::Action { given: given() }),
            }
        }
        Ok(Self { ending: ending(when)?, options })
    }
}

fn ending(text: &str) -> Result<Ending, ExitRuleError> {
    let wrong = || ExitRuleError::When { given: text.chars().take(80).collect() };
    match text {
        "default" => return Ok(Ending::Default),
        "pre-processing-error" => return Ok(Ending::PreProcessingError),
        "upload-error" => return Ok(Ending::UploadError),
        _ => {}
    }
    if let Ok(code) = text.parse() {
        return Ok(Ending::Code(code));
    }
    // The dash of a range is not the sign of its first number.
    let dash = text.char_indices().skip(1).find(|(_, c)| *c == '-').map(|(at, _)| at).ok_or_else(wrong)?;
    let number = |text: &str| text.parse::<i32>().map_err(|_| wrong());
    let (start, end) = (number(&text[..dash])?, number(&text[dash + 1..])?);
    if start <= end { Ok(Ending::Codes(start, end)) } else { Err(wrong()) }
}

/// The rules as the API's message; `None` without any.
#[must_use]
pub(crate) fn exit_conditions(rules: Vec<ExitRule>) -> Option<wire::ExitConditions> {
    if rules.is_empty() {
        return None;
    }
    let mut conditions = wire::ExitConditions::default();
    for ExitRule { ending, options } in rules {
        let exit_options = Some(options);
        match ending {
            Ending::Code(code) => conditions.exit_codes.push(wire::ExitCodeMapping { code, exit_options }),
            Ending::Codes(start, end) => {
                conditions.exit_code_ranges.push(wire::ExitCodeRangeMapping { start, end, exit_options });
            }
            Ending::PreProcessingError => conditions.pre_processing_error = exit_options,
            Ending::UploadError => conditions.file_upload_error = exit_options,
            Ending::Default => conditions.default_options = exit_options,
        }
    }
    Some(conditions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_say_what_follows_for_dependents_and_for_the_job() {
        let rule = |text: &str| text.parse::<ExitRule>().unwrap();
        let satisfy = wire::DependencyAction::Satisfy;
        assert_eq!(
            (rule("3=satisfy").ending, rule("3=satisfy").options.dependency_action()),
            (Ending::Code(3), satisfy)
        );
        let both = rule("10-20=block,terminate");
        assert_eq!(both.ending, Ending::Codes(10, 20));
        assert_eq!(both.options.dependency_action(), wire::DependencyAction::Block);
        assert_eq!(both.options.job_action(), wire::JobAction::Terminate);
        assert_eq!(rule("-9--1=none").ending, Ending::Codes(-9, -1));
        assert_eq!(rule("-5=disable").ending, Ending::Code(-5));
        let all =
            ["3=satisfy", "1-2=block", "default=none", "pre-processing-error=block", "upload-error=satisfy"];
        let conditions = exit_conditions(all.map(rule).into()).unwrap();
        assert_eq!((conditions.exit_codes.len(), conditions.exit_code_ranges.len()), (1, 1));
        assert!(conditions.default_options.is_some() && conditions.pre_processing_error.is_some());
        assert!(conditions.file_upload_error.is_some() && exit_conditions(vec![]).is_none());
    }

    #[test]
    fn what_is_no_rule_is_refused_with_the_form() {
        for (text, part) in [
            ("3", "WHEN=ACTION"),
            ("=satisfy", "exit codes are"),
            ("2-1=satisfy", "'2-1'"),
            ("99999999999=satisfy", "2147483647"),
            ("soon=satisfy", "'soon'"),
            ("3=", "'' is no action"),
            ("3=run", "'run'"),
            ("3=block,satisfy", "twice"),
            ("3=none,none", "twice"),
        ] {
            let error = text.parse::<ExitRule>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}

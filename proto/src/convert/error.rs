//! Errors on the wire: failure infos of attempts, and refusals of requests as `tonic::Status` with details.
//!
//! Every refusal carries `google.rpc.ErrorInfo` with the domain "muster" and a reason from `ErrorReason`; wrong fields
//! carry `google.rpc.BadRequest` too. This is the only place that builds and reads these details.
//!
//! Invariant: a status takes at most [`STATUS_HEADER_BYTES_MAX`] on the wire: message and details travel in headers, and
//! peers drop connections whose headers are too long.

use std::collections::HashMap;
use std::time::Duration;

use muster_model::{Cause, FailureInfo};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::enums::enumeration;
use super::violation::{Checker, FieldErrors, Problem};
use crate::version::ERROR_DOMAIN;
use crate::wire;

/// Three quarters of the 16 KiB that HTTP/2 peers commonly take for all headers of an answer.
pub const STATUS_HEADER_BYTES_MAX: usize = 12 * 1024;
/// The most bytes of wrong fields in a status: base64 makes a third more of it, and the message is sent twice beside it,
/// once with three bytes for each one that is not ASCII.
const VIOLATIONS_BYTES_MAX: usize = 4 * 1024;
/// The most bytes of one description in a status.
const DESCRIPTION_BYTES_MAX: usize = 512;
/// The most bytes of a status' message.
const MESSAGE_BYTES_MAX: usize = 1024;
/// The longest message of a failure info, in bytes; agents cut theirs, and what is longer is cut on arrival.
const FAILURE_MESSAGE_BYTES_MAX: usize = 4096;
/// The most facts of a failure info or of an error of a node; further ones are dropped on arrival: a report must not fail for them.
const FAILURE_DETAILS_MAX: usize = 32;

const REASON_PREFIX: &str = "ERROR_REASON_";

// ------------------------------------------------------------------------------------------------ failure infos

impl From<&FailureInfo> for wire::FailureInfo {
    fn from(info: &FailureInfo) -> Self {
        Self {
            category: wire::ErrorCategory::from(info.cause.category()).into(),
            cause: wire::FailureCause::from(info.cause).into(),
            code: info.cause.reference_code().to_owned(),
            message: info.message.clone(),
            details: details_out(&info.details),
        }
    }
}

/// A failure info, with the path of the checker at it. Category and code follow from the cause and are not read.
pub fn failure_info(checker: &mut Checker, info: wire::FailureInfo) -> Option<FailureInfo> {
    let cause: Option<Cause> =
        checker.at("cause", |c| enumeration::<wire::FailureCause>(c, info.cause, None));
    let details = details_in(info.details);
    let message = cut(info.message, FAILURE_MESSAGE_BYTES_MAX);
    Some(FailureInfo { cause: cause?, message, details })
}

/// Facts for the wire.
pub(super) fn details_out(details: &[(String, String)]) -> Vec<wire::NameValuePair> {
    let pair =
        |(name, value): &(String, String)| wire::NameValuePair { name: name.clone(), value: value.clone() };
    details.iter().map(pair).collect()
}

/// Facts from the wire: the first ones of too many.
pub(super) fn details_in(details: Vec<wire::NameValuePair>) -> Vec<(String, String)> {
    details.into_iter().take(FAILURE_DETAILS_MAX).map(|pair| (pair.name, pair.value)).collect()
}

/// The first bytes of a text, at a character's end.
pub(super) fn cut(mut text: String, max: usize) -> String {
    if text.len() > max {
        text.truncate(text.floor_char_boundary(max));
    }
    text
}

// ------------------------------------------------------------------------------------------------ refusals

/// The reason whose Azure Batch REST code this is: "TaskExists" is TASK_EXISTS. `None` for a code that is not listed.
#[must_use]
pub fn reason_of_code(code: &str) -> Option<wire::ErrorReason> {
    let mut name = String::with_capacity(REASON_PREFIX.len() + code.len() + 8);
    name.push_str(REASON_PREFIX);
    for (index, letter) in code.chars().enumerate() {
        if index > 0 && letter.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    wire::ErrorReason::from_str_name(&name)
}

/// A reason as it is written in `google.rpc.ErrorInfo`: without its prefix.
#[must_use]
pub fn reason_name(reason: wire::ErrorReason) -> &'static str {
    let name = reason.as_str_name();
    name.strip_prefix(REASON_PREFIX).unwrap_or(name)
}

/// A refusal of a request.
#[must_use]
pub fn status(code: Code, reason: wire::ErrorReason, message: impl Into<String>) -> Status {
    with_details(code, reason, message.into(), ErrorDetails::new())
}

/// A refusal for now: the caller may come back after `delay`.
#[must_use]
pub fn status_busy(code: Code, message: impl Into<String>, delay: Duration) -> Status {
    with_details(code, wire::ErrorReason::Busy, message.into(), ErrorDetails::with_retry_info(Some(delay)))
}

fn with_details(code: Code, reason: wire::ErrorReason, message: String, mut details: ErrorDetails) -> Status {
    details.set_error_info(reason_name(reason), ERROR_DOMAIN, HashMap::new());
    Status::with_error_details(code, cut(message, MESSAGE_BYTES_MAX), details)
}

/// The refusal of a message with wrong fields: INVALID_ARGUMENT with as many of them as fit.
#[must_use]
pub fn status_of(errors: &FieldErrors) -> Status {
    let mut details = ErrorDetails::new();
    let mut bytes = 0;
    for error in errors.errors() {
        let description = cut(error.problem.to_string(), DESCRIPTION_BYTES_MAX);
        bytes += error.path.len() + description.len();
        if bytes > VIOLATIONS_BYTES_MAX {
            break;
        }
        details.add_bad_request_violation(error.path.clone(), description);
    }
    let message = errors.to_string();
    with_details(Code::InvalidArgument, wire::ErrorReason::InvalidPropertyValue, message, details)
}

impl From<FieldErrors> for Status {
    fn from(errors: FieldErrors) -> Self {
        status_of(&errors)
    }
}

impl From<&FieldErrors> for wire::ItemError {
    fn from(errors: &FieldErrors) -> Self {
        let violation = |error: &super::violation::FieldError| wire::FieldViolation {
            field: error.path.clone(),
            description: error.problem.to_string(),
        };
        Self {
            code: Code::InvalidArgument.into(),
            reason: wire::ErrorReason::InvalidPropertyValue.into(),
            message: cut(errors.to_string(), MESSAGE_BYTES_MAX),
            violations: errors.errors().iter().map(violation).collect(),
        }
    }
}

/// The refusal of one item of a batch.
#[must_use]
pub fn item_error(code: Code, reason: wire::ErrorReason, message: impl Into<String>) -> wire::ItemError {
    wire::ItemError {
        code: code.into(),
        reason: reason.into(),
        message: cut(message.into(), MESSAGE_BYTES_MAX),
        violations: Vec::new(),
    }
}

/// The reason of a refusal, as a client reads it. `None` when the status is not Muster's (a proxy, a broken link).
#[must_use]
pub fn reason_of(status: &Status) -> Option<wire::ErrorReason> {
    let info = status.get_details_error_info().filter(|info| info.domain == ERROR_DOMAIN)?;
    wire::ErrorReason::from_str_name(&format!("{REASON_PREFIX}{}", info.reason))
}

/// The wrong fields of a refusal, as a client reads them: path and description.
#[must_use]
pub fn violations_of(status: &Status) -> Vec<wire::FieldViolation> {
    let Some(bad) = status.get_details_bad_request() else { return Vec::new() };
    let out =
        |v: tonic_types::FieldViolation| wire::FieldViolation { field: v.field, description: v.description };
    bad.field_violations.into_iter().map(out).collect()
}

/// After how long a refused request may be tried again, as a client reads it.
#[must_use]
pub fn retry_delay_of(status: &Status) -> Option<Duration> {
    status.get_details_retry_info().and_then(|info| info.retry_delay)
}

/// A problem with one field, outside of a conversion: a filter, a page token.
#[must_use]
pub fn status_field(path: &str, problem: Problem) -> Status {
    status_of(&FieldErrors::one(path, problem))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_read_as_the_references_codes() {
        assert_eq!(reason_of_code("TaskExists"), Some(wire::ErrorReason::TaskExists));
        let code = "TaskDependenciesNotSpecifiedOnJob";
        assert_eq!(reason_of_code(code), Some(wire::ErrorReason::TaskDependenciesNotSpecifiedOnJob));
        assert_eq!(reason_of_code("JobDisabled"), Some(wire::ErrorReason::JobDisabled));
        assert_eq!(reason_of_code("NoSuchThing"), None);
        assert_eq!(reason_of_code(""), None);
    }

    #[test]
    fn a_client_reads_reason_fields_and_delay_back() {
        let errors = FieldErrors::one("task.id", Problem::NulByte);
        let refused = status_of(&errors);
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert_eq!(reason_of(&refused), Some(wire::ErrorReason::InvalidPropertyValue));
        assert_eq!(violations_of(&refused)[0].field, "task.id");
        let busy = status_busy(Code::ResourceExhausted, "busy", Duration::from_millis(250));
        assert_eq!(retry_delay_of(&busy), Some(Duration::from_millis(250)));
        assert_eq!(reason_of(&Status::internal("a proxy's")), None);
    }

    #[test]
    fn a_flood_of_wrong_fields_fits_into_a_header() {
        let mut checker = Checker::new();
        for _ in 0..1000 {
            checker.note_at("field", Problem::NotHttpUrl { given: "é".repeat(80) });
        }
        let errors = checker.finish(Some(())).unwrap_err();
        let status = status_of(&errors);
        let on_the_wire = status.details().len() * 4 / 3 + status.message().len() * 3;
        assert!(on_the_wire < STATUS_HEADER_BYTES_MAX, "{on_the_wire}");
        assert!(!violations_of(&status).is_empty());
    }

    #[test]
    fn cutting_keeps_characters_whole() {
        assert_eq!(cut("éé".to_owned(), 3), "é");
        assert_eq!(cut("ab".to_owned(), 2), "ab");
    }
}

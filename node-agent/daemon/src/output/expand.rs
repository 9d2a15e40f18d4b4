//! Puts the variables of a task into the pattern of an output file (azure-batch.md 3.7), and brings the outcome below its
//! directory.
//!
//! `$NAME` and `${NAME}` are replaced as they stand, once; what comes out may have wildcards of its own. A `$` before
//! anything else is a `$`. An absolute pattern must lie in the task's own directory, which is how `$AZ_BATCH_TASK_DIR` is
//! written. Whether the files may be read is decided by how they are opened, not here.

use std::ffi::OsString;
use std::path::Path;

/// Variables by name, as the command got them.
pub(crate) type Environment = Vec<(OsString, OsString)>;

/// Longest pattern with its variables in place: no longer path can be opened.
const EXPANDED_BYTES_MAX: usize = 4096;

/// Why a pattern cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ExpandError {
    #[error(
        "the pattern '{pattern}' names the variable {name}, which the task's environment does not have: set it, or take it \
         out of the pattern"
    )]
    Unset { pattern: Box<str>, name: Box<str> },
    #[error("the pattern '{pattern}' has a '${{' without a name and a '}}' after it: write ${{NAME}}")]
    Braces { pattern: Box<str> },
    #[error("the pattern '{pattern}' has more than {EXPANDED_BYTES_MAX} bytes with its variables in place")]
    TooLong { pattern: Box<str> },
    #[error(
        "the pattern '{pattern}' means '{expanded}', which is not in the task's directory: only files of the task itself \
         are uploaded, so let it copy this one"
    )]
    Elsewhere { pattern: Box<str>, expanded: Box<str> },
}

/// The pattern with its variables in place, relative to the `wd` of `place`; `../` leads to `place` itself.
pub(super) fn expand(pattern: &str, environment: &Environment, place: &Path) -> Result<String, ExpandError> {
    let expanded = replaced(pattern, environment)?;
    let elsewhere = || ExpandError::Elsewhere { pattern: pattern.into(), expanded: expanded.as_str().into() };
    let (above, rest) = if expanded.starts_with('/') {
        let place = place.to_str().ok_or_else(elsewhere)?;
        let rest =
            expanded.strip_prefix(place).and_then(|rest| rest.strip_prefix('/')).ok_or_else(elsewhere)?;
        rest.strip_prefix("wd/").map_or((true, rest), |rest| (false, rest))
    } else {
        expanded.strip_prefix("../").map_or((false, expanded.as_str()), |rest| (true, rest))
    };
    let parts: Vec<&str> = rest.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if parts.is_empty() || parts.contains(&"..") {
        return Err(elsewhere());
    }
    let rest = parts.join("/");
    Ok(if above { format!("../{rest}") } else { rest })
}

fn replaced(pattern: &str, environment: &Environment) -> Result<String, ExpandError> {
    let mut expanded = String::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        let (name, next) = match after.strip_prefix('{') {
            Some(inner) => match inner.split_once('}') {
                Some((name, next)) if !name.is_empty() && name_length(name) == name.len() => (name, next),
                Some(_) | None => return Err(ExpandError::Braces { pattern: pattern.into() }),
            },
            None => after.split_at(name_length(after)),
        };
        if name.is_empty() {
            expanded.push('$');
        } else {
            let unset = || ExpandError::Unset { pattern: pattern.into(), name: name.into() };
            expanded.push_str(&value(environment, name).ok_or_else(unset)?);
        }
        if expanded.len() > EXPANDED_BYTES_MAX {
            return Err(ExpandError::TooLong { pattern: pattern.into() });
        }
        rest = next;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

/// How many bytes at the front are the name of a variable.
fn name_length(text: &str) -> usize {
    let is_name = |(index, byte): &(usize, u8)| {
        *byte == b'_' || byte.is_ascii_alphabetic() || (*index > 0 && byte.is_ascii_digit())
    };
    text.bytes().enumerate().take_while(is_name).count()
}

fn value(environment: &Environment, name: &str) -> Option<String> {
    let (_, value) = environment.iter().find(|(own, _)| own == name)?;
    value.to_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(pattern: &str) -> Result<String, ExpandError> {
        let environment = [
            ("X", "one"),
            ("X1", "two"),
            ("GLOB", "*.png"),
            ("LONG", &"x".repeat(3000)),
            ("AZ_BATCH_TASK_DIR", "/n/job-1/t"),
            ("AZ_BATCH_TASK_WORKING_DIR", "/n/job-1/t/wd"),
            ("AZ_BATCH_NODE_ROOT_DIR", "/n"),
        ];
        let environment = environment.map(|(name, value)| (name.into(), value.into())).to_vec();
        expand(pattern, &environment, Path::new("/n/job-1/t"))
    }

    #[test]
    fn variables_are_replaced_as_they_stand_and_other_dollars_stay() {
        let table = [
            ("a.txt", "a.txt"),
            ("$X.txt", "one.txt"),
            ("$X1/$GLOB", "two/*.png"),
            ("${X}1/a", "one1/a"),
            ("a$", "a$"),
            ("$1/$-", "$1/$-"),
            ("é$X", "éone"),
            ("../stdout.txt", "../stdout.txt"),
            ("$AZ_BATCH_TASK_DIR/stdout.txt", "../stdout.txt"),
            ("$AZ_BATCH_TASK_WORKING_DIR/out//./*.txt", "out/*.txt"),
            ("${AZ_BATCH_TASK_DIR}/wd/**/x", "**/x"),
        ];
        for (pattern, wanted) in table {
            assert_eq!(expanded(pattern).as_deref(), Ok(wanted), "{pattern}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_told() {
        let error = |pattern: &str| expanded(pattern).unwrap_err();
        assert!(matches!(error("$NONE/x"), ExpandError::Unset { name, .. } if &*name == "NONE"));
        for pattern in ["${X", "${}", "${X-y}", "${1}"] {
            assert!(matches!(error(pattern), ExpandError::Braces { .. }), "{pattern}");
        }
        assert!(matches!(error("$LONG$LONG"), ExpandError::TooLong { .. }));
        let away = [
            "$AZ_BATCH_NODE_ROOT_DIR/x",
            "$AZ_BATCH_TASK_DIR",
            "${AZ_BATCH_TASK_DIR}2/x",
            "$AZ_BATCH_TASK_DIR/../t2/x",
            "../../x",
            "a/../../../x",
            "..",
            "/etc/passwd",
        ];
        for pattern in away {
            assert!(matches!(error(pattern), ExpandError::Elsewhere { .. }), "{pattern}");
        }
    }
}

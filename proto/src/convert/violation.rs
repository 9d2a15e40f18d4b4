//! What is wrong with the fields of a message: collected all at once, each with its path.
//!
//! A conversion walks a message with a [`Checker`], which knows the path of the field that is looked at. A problem is
//! noted and the walk goes on, so a caller sees everything that is wrong in one answer. `finish` gives the value only
//! when nothing was noted.
//!
//! Invariant: a conversion that answers `None` for a required part has noted why.

use std::fmt::{self, Write as _};

use muster_model::spec::GlobError;
use muster_model::{IdError, PathError, digest::DigestError};

use crate::command_line::SplitError;
use crate::placeholder::UnknownPlaceholder;

/// The most problems that are kept of one message: more help nobody, and a hostile message must not make a long answer.
pub const FIELD_ERRORS_MAX: usize = 64;

/// The most characters of a wrong value that a message repeats.
const SHOWN_CHARS_MAX: usize = 80;

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// The path of the field from the request, for example `task.resource_files[3].file_path`.
    pub path: String,
    /// What is wrong with it.
    pub problem: Problem,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.problem)
    }
}

/// What can be wrong with a field. Each message holds the value, the limit and the way out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A required field is not there.
    #[error("is required: {hint}")]
    Missing {
        /// What to set.
        hint: &'static str,
    },
    /// A number outside of its range.
    #[error("{given} is out of range: use {min} to {max}")]
    OutOfRange {
        /// The number.
        given: i64,
        /// The smallest one allowed.
        min: i64,
        /// The largest one allowed.
        max: i64,
    },
    /// A text that is too long.
    #[error("has {given} {unit}: at most {max} are allowed")]
    TooLong {
        /// How long it is.
        given: usize,
        /// How long it may be.
        max: usize,
        /// What is counted.
        unit: &'static str,
    },
    /// A limit of parallel tasks that is neither a number of tasks nor "no limit".
    #[error("{given} is not a limit of tasks: use 1 to 2147483647, or -1 for no limit")]
    NotParallel {
        /// The number.
        given: i32,
    },
    /// A list that is too long.
    #[error("has {given} entries: at most {max} are allowed")]
    TooMany {
        /// How many there are.
        given: usize,
        /// How many may be.
        max: usize,
    },
    /// Not an id of its kind.
    #[error("{0}")]
    Id(#[from] IdError),
    /// Not a path inside a folder.
    #[error("{0}")]
    Path(#[from] PathError),
    /// Not a digest.
    #[error("{0}")]
    Digest(#[from] DigestError),
    /// Not a pattern of task ids.
    #[error("{0}")]
    Glob(#[from] GlobError),
    /// A command line that does not split into arguments.
    #[error("does not split into arguments: {0}")]
    CommandLine(#[from] SplitError),
    /// A text in a sweep's template with a name in braces that is no parameter.
    #[error("{0}")]
    Placeholder(#[from] UnknownPlaceholder),
    /// A number that an enum does not have.
    #[error("{given} is not a value of {kind}: use one of {allowed}")]
    UnknownEnum {
        /// The number.
        given: i32,
        /// The enum.
        kind: &'static str,
        /// The names of its values.
        allowed: String,
    },
    /// A URL that is not http or https, or is malformed.
    #[error("{given:?} is not an http or https URL: write it as https://host/path")]
    NotHttpUrl {
        /// The text, shortened.
        given: String,
    },
    /// Not octal permission bits.
    #[error("{given:?} is not a file mode: write octal digits from 0 to 0777, for example 0770")]
    NotFileMode {
        /// The text, shortened.
        given: String,
    },
    /// An environment variable's name or value with a forbidden character.
    #[error(
        "has a forbidden character: an environment name is not empty and has no '=', and neither name nor value has a NUL byte"
    )]
    NotEnvironment,
    /// A text with a NUL byte.
    #[error("has a NUL byte: leave it out")]
    NulByte,
    /// Two fields that exclude each other.
    #[error("cannot be set together with {other}: leave one of them out")]
    Conflict {
        /// The other field.
        other: &'static str,
    },
    /// An output pattern that leaves the task's directory, or is malformed.
    #[error(
        "{given:?} is not a pattern below the working directory: use relative names, '*', '**', '?', '[a-c]', or ../stdout.txt and ../stderr.txt"
    )]
    NotPattern {
        /// The pattern, shortened.
        given: String,
    },
    /// A time span that is negative, malformed or shorter than allowed.
    #[error("is {given}, which is not a usable time span: use at least {min_seconds} seconds")]
    NotDuration {
        /// The span as given, in words.
        given: String,
        /// The shortest span allowed, in seconds.
        min_seconds: u64,
    },
    /// A time span that is longer than allowed.
    #[error("is {given} seconds: at most {max} are allowed")]
    LongDuration {
        /// The span in whole seconds.
        given: i64,
        /// The longest span allowed, in seconds.
        max: i64,
    },
    /// A point in time that is malformed.
    #[error("is not a point in time: nanoseconds must be 0 to 999999999 and the year at most 9999")]
    NotTimestamp,
    /// An etag that this server never gave.
    #[error("{given:?} is not an etag of this server: send back what was answered, or leave it empty")]
    NotEtag {
        /// The text, shortened.
        given: String,
    },
    /// A range whose end is before its start.
    #[error("ends at {end}, before its start {start}: swap them")]
    EmptyRange {
        /// The first number.
        start: i128,
        /// The last number.
        end: i128,
    },
    /// Something that may be there once.
    #[error("{given} is there twice: leave one of them out")]
    Duplicate {
        /// What is there twice, shortened.
        given: String,
    },
    /// A name with a rule of its own.
    #[error("{given:?} is not a name for this: use {rule}")]
    NotName {
        /// The text, shortened.
        given: String,
        /// What a name is here.
        rule: &'static str,
    },
    /// A value that makes sense only together with another.
    #[error("cannot be set alone: {hint}")]
    Needs {
        /// What else to set.
        hint: &'static str,
    },
    /// An amount below another one that it must reach.
    #[error("{given} is below {min}, which is {what}: raise it")]
    Below {
        /// The amount.
        given: u64,
        /// What it must reach.
        min: u64,
        /// What that is.
        what: &'static str,
    },
    /// A factor that is none.
    #[error("{given} is not a factor: use 1.001 to {max}")]
    NotFactor {
        /// The number, as text.
        given: String,
        /// The largest one allowed.
        max: u32,
    },
    /// A row of a table with too few or too many values.
    #[error("has {given} values: the table has {wanted} names, and each row has a value for each")]
    RowLength {
        /// How many there are.
        given: usize,
        /// How many there must be.
        wanted: usize,
    },
    /// A value of a sweep that makes a wrong path where it is used.
    #[error("is used in {place} of the template, where only a relative path is allowed: {problem}")]
    ValueInPath {
        /// The field of the template.
        place: &'static str,
        /// What is wrong with it.
        problem: PathError,
    },
    /// A value of a sweep that makes a wrong URL where it is used.
    #[error("{given:?} is used in {place} of the template, where it makes no http or https URL: {rule}")]
    ValueInUrl {
        /// The value, shortened.
        given: String,
        /// The field of the template.
        place: &'static str,
        /// What it may be.
        rule: &'static str,
    },
    /// A field of an update mask that cannot be changed or does not exist.
    #[error("{given:?} cannot be updated: use {allowed}")]
    NotUpdatable {
        /// The path in the mask, shortened.
        given: String,
        /// The paths that can be.
        allowed: &'static str,
    },
    /// Known, and not part of this version.
    #[error("is not supported by this version: {instead}")]
    NotSupported {
        /// What to do instead.
        instead: &'static str,
    },
}

/// All that is wrong with one message: at least one field error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldErrors {
    errors: Vec<FieldError>,
    left_out: usize,
}

impl FieldErrors {
    /// One wrong field.
    #[must_use]
    pub fn one(path: impl Into<String>, problem: Problem) -> Self {
        Self { errors: vec![FieldError { path: path.into(), problem }], left_out: 0 }
    }

    /// The errors in the order of the fields: 1 to [`FIELD_ERRORS_MAX`].
    #[must_use]
    pub fn errors(&self) -> &[FieldError] {
        &self.errors
    }

    /// How many more there were.
    #[must_use]
    pub const fn left_out(&self) -> usize {
        self.left_out
    }
}

impl fmt::Display for FieldErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{error}")?;
        }
        if self.left_out > 0 {
            write!(f, "; and {} more", self.left_out)?;
        }
        Ok(())
    }
}

impl std::error::Error for FieldErrors {}

/// One step of a path.
#[derive(Debug, Clone)]
enum Step {
    Field(&'static str),
    Index(usize),
}

/// Walks a message: knows the path of the field in hand and keeps what is wrong.
#[derive(Debug, Default)]
pub struct Checker {
    steps: Vec<Step>,
    errors: Vec<FieldError>,
    left_out: usize,
    /// The parameters of the sweep whose template is walked; none elsewhere.
    parameters: Vec<String>,
}

impl Checker {
    /// A walk from the request itself.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs `look` with the path one field deeper.
    pub fn at<T>(&mut self, field: &'static str, look: impl FnOnce(&mut Self) -> T) -> T {
        self.steps.push(Step::Field(field));
        let value = look(self);
        self.steps.pop();
        value
    }

    /// Runs `look` on each item of a list with the path at that item; keeps what it answers. Lists above `max` are
    /// noted and not looked at.
    pub fn each<T, U>(
        &mut self,
        field: &'static str,
        items: Vec<T>,
        max: usize,
        mut look: impl FnMut(&mut Self, T) -> Option<U>,
    ) -> Vec<U> {
        self.at(field, |c| {
            if items.len() > max {
                c.note(Problem::TooMany { given: items.len(), max });
                return Vec::new();
            }
            let mut kept = Vec::with_capacity(items.len());
            for (index, item) in items.into_iter().enumerate() {
                c.steps.push(Step::Index(index));
                kept.extend(look(c, item));
                c.steps.pop();
            }
            kept
        })
    }

    /// Runs `look` with the path at one item of a list that the caller walks by itself.
    pub fn at_item<T>(&mut self, field: &'static str, index: usize, look: impl FnOnce(&mut Self) -> T) -> T {
        self.steps.push(Step::Field(field));
        self.steps.push(Step::Index(index));
        let value = look(self);
        self.steps.pop();
        self.steps.pop();
        value
    }

    /// Notes that the field in hand is wrong.
    pub fn note(&mut self, problem: Problem) {
        if self.errors.len() == FIELD_ERRORS_MAX {
            self.left_out = self.left_out.saturating_add(1);
            return;
        }
        self.errors.push(FieldError { path: self.path(), problem });
    }

    /// Notes that `field` below the field in hand is wrong.
    pub fn note_at(&mut self, field: &'static str, problem: Problem) {
        self.at(field, |c| c.note(problem));
    }

    /// Keeps the value of a check, or notes why there is none.
    pub fn keep<T, E: Into<Problem>>(&mut self, checked: Result<T, E>) -> Option<T> {
        match checked {
            Ok(value) => Some(value),
            Err(error) => {
                self.note(error.into());
                None
            }
        }
    }

    /// The part of a message at `field`, or a note that it is required.
    pub fn required<T>(&mut self, field: &'static str, value: Option<T>, hint: &'static str) -> Option<T> {
        if value.is_none() {
            self.note_at(field, Problem::Missing { hint });
        }
        value
    }

    /// Runs `look` on the optional part at `field`: `Some(None)` when it is unset, `None` when it is wrong (and noted).
    pub fn part<T, U>(
        &mut self,
        field: &'static str,
        value: Option<T>,
        look: impl FnOnce(&mut Self, T) -> Option<U>,
    ) -> Option<Option<U>> {
        match value {
            Some(value) => self.at(field, |c| look(c, value)).map(Some),
            None => Some(None),
        }
    }

    /// Runs `look` on a part that is the template of a sweep with these parameters.
    pub(super) fn template<T>(&mut self, parameters: Vec<String>, look: impl FnOnce(&mut Self) -> T) -> T {
        self.parameters = parameters;
        let value = look(self);
        self.parameters = Vec::new();
        value
    }

    /// Whether the text begins with a parameter of the template that is walked: what it becomes is not known here.
    pub(super) fn begins_with_parameter(&self, text: &str) -> bool {
        self.parameters.iter().any(|name| {
            text.strip_prefix('{')
                .and_then(|rest| rest.strip_prefix(name.as_str()))
                .is_some_and(|rest| rest.starts_with('}'))
        })
    }

    /// How many problems were noted so far.
    #[must_use]
    pub fn problems(&self) -> usize {
        self.errors.len().saturating_add(self.left_out)
    }

    /// Whether nothing was noted so far.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.errors.is_empty()
    }

    /// The value, if nothing was noted.
    ///
    /// # Errors
    /// [`FieldErrors`] with all that was noted.
    pub fn finish<T>(self, value: Option<T>) -> Result<T, FieldErrors> {
        match value {
            Some(value) if self.errors.is_empty() => Ok(value),
            Some(_) => Err(FieldErrors { errors: self.errors, left_out: self.left_out }),
            None if self.errors.is_empty() => {
                // A conversion that gives nothing notes why; this keeps a slip from turning into an empty refusal.
                Err(FieldErrors::one(self.path(), Problem::Missing { hint: "the message has no content" }))
            }
            None => Err(FieldErrors { errors: self.errors, left_out: self.left_out }),
        }
    }

    fn path(&self) -> String {
        let mut path = String::new();
        for step in &self.steps {
            match step {
                Step::Field(name) if path.is_empty() => path.push_str(name),
                Step::Field(name) => {
                    path.push('.');
                    path.push_str(name);
                }
                Step::Index(index) => {
                    // Writing to a String cannot fail.
                    let _ = write!(path, "[{index}]");
                }
            }
        }
        path
    }
}

/// The start of a text, for a message about it.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_problems_are_kept_with_their_paths() {
        let mut checker = Checker::new();
        checker.at("task", |c| {
            c.note_at("id", Problem::Missing { hint: "name the task" });
            c.each("resource_files", vec![1, 2], 10, |c, n| {
                if n == 2 {
                    c.note_at("file_path", Problem::NulByte);
                }
                Some(n)
            });
        });
        let errors = checker.finish(Some(())).unwrap_err();
        let paths: Vec<_> = errors.errors().iter().map(|e| e.path.as_str()).collect();
        assert_eq!(paths, ["task.id", "task.resource_files[1].file_path"]);
    }

    #[test]
    fn a_flood_of_problems_is_cut_and_counted() {
        let mut checker = Checker::new();
        for _ in 0..FIELD_ERRORS_MAX + 5 {
            checker.note(Problem::NulByte);
        }
        let errors = checker.finish(Some(())).unwrap_err();
        assert_eq!((errors.errors().len(), errors.left_out()), (FIELD_ERRORS_MAX, 5));
        assert!(errors.to_string().ends_with("and 5 more"));
    }

    #[test]
    fn nothing_without_a_note_is_still_an_error() {
        assert!(Checker::new().finish::<()>(None).is_err());
    }
}

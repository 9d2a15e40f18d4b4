//! Typed ids: one macro makes every id of the system, with parsing, display and its length limit.
//!
//! An id is checked once, when it is parsed, and is safe from then on: in a file name, an SQL parameter or a log
//! line. Pool, job and task ids keep the case they were written in but compare without regard to ASCII case, as
//! the reference demands (3.1); `Ord` and `Hash` agree with `Eq`, so they work as keys of any map.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Why a text is not an id. The message says what the id is for, what was given and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {given:?} is not valid: use {rule}")]
pub struct IdError {
    /// What the id names, such as "pool id".
    pub kind: &'static str,
    /// The text as given, cut to 80 characters.
    pub given: String,
    /// The rule in words.
    pub rule: &'static str,
}

impl IdError {
    fn new(kind: &'static str, given: &str, rule: &'static str) -> Self {
        Self { kind, given: given.chars().take(80).collect(), rule }
    }
}

/// Letters, digits, '-' and '_', as in `^[A-Za-z0-9_-]{1,max}$`.
fn is_plain(text: &str, max: usize) -> bool {
    !text.is_empty()
        && text.len() <= max
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

fn is_account_name(text: &str) -> bool {
    (3..=24).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

/// As the field's blob containers: lower-case letters, digits and single dashes between them.
fn is_container_name(text: &str) -> bool {
    (3..=63).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
        && !text.contains("--")
}

/// A job of a schedule is named `<schedule>:job-<n>`; any other job id follows the plain rule.
fn is_job_id(text: &str) -> bool {
    match text.split_once(":job-") {
        None => is_plain(text, 64),
        Some((schedule, number)) => {
            is_plain(schedule, 64) && number.len() <= 10 && number.parse::<u32>().is_ok_and(|n| n > 0)
        }
    }
}

/// Printable ASCII: a request id is chosen by the client (a UUID, say) and only compared.
fn is_user_name(text: &str) -> bool {
    (1..=20).contains(&text.len())
        && text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

fn is_request_id(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

/// As lower-case texts compare. Ids are the keys of large maps: what is equal as it stands is not folded.
fn compare(left: &[u8], right: &[u8]) -> std::cmp::Ordering {
    let mut at = 0;
    while let (Some(a), Some(b)) = (left.get(at), right.get(at)) {
        if a != b {
            let (a, b) = (a.to_ascii_lowercase(), b.to_ascii_lowercase());
            if a != b {
                return a.cmp(&b);
            }
        }
        at += 1;
    }
    left.len().cmp(&right.len())
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $rule:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `text` against the rule of this id.
            ///
            /// # Errors
            /// [`IdError`] names the id, the text and the rule.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                let check: fn(&str) -> bool = $check;
                if check(text) { Ok(Self(text.into())) } else { Err(IdError::new($kind, text, $rule)) }
            }

            /// The id as it was written.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            fn folded(&self) -> impl Iterator<Item = u8> + '_ {
                self.0.bytes().map(|b| b.to_ascii_lowercase())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "'{}'", self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::parse(text)
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.0.eq_ignore_ascii_case(&other.0)
            }
        }

        impl Eq for $name {}

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }

        impl Ord for $name {
            fn cmp(&self, other: &Self) -> std::cmp::Ordering {
                compare(self.0.as_bytes(), other.0.as_bytes())
            }
        }

        impl Hash for $name {
            fn hash<H: Hasher>(&self, state: &mut H) {
                for byte in self.folded() {
                    state.write_u8(byte);
                }
                state.write_u8(0xff);
            }
        }
    };
}

id!(
    /// An account: the boundary of every key, list and right.
    AccountName, "account name", "3 to 24 lower-case letters and digits", is_account_name
);
id!(
    /// A pool of compute nodes.
    PoolId, "pool id", "1 to 64 letters, digits, '-' and '_'", |t| is_plain(t, 64)
);
id!(
    /// A job: a named set of tasks bound to a pool.
    JobId, "job id", "1 to 64 letters, digits, '-' and '_'", is_job_id
);
id!(
    /// A task, unique within its job.
    TaskId, "task id", "1 to 64 letters, digits, '-' and '_'", |t| is_plain(t, 64)
);
id!(
    /// A sweep, unique within its job. Short enough that `<sweep>-<number>` is a task id.
    SweepId, "sweep id", "1 to 48 letters, digits, '-' and '_'", |t| is_plain(t, 48)
);

impl SweepId {
    /// The same text as a task id: every sweep id is one.
    #[must_use]
    pub fn as_task_id(&self) -> TaskId {
        TaskId(Arc::clone(&self.0))
    }
}

id!(
    /// A compute node. Chosen by the controller, never by a user.
    NodeId, "node id", "1 to 64 letters, digits, '-' and '_'", |t| is_plain(t, 64)
);
id!(
    /// A join token's public half.
    TokenId, "token id", "1 to 64 letters, digits, '-' and '_'", |t| is_plain(t, 64)
);
id!(
    /// A container of the file store.
    ContainerName, "container name",
    "3 to 63 lower-case letters, digits and single dashes, starting and ending with a letter or digit",
    is_container_name
);
id!(
    /// A named user of a pool's nodes (reference 3.2, at most 20 characters).
    UserName, "user name", "1 to 20 letters, digits, '-', '_' and '.', starting with a letter or '_'", is_user_name
);
id!(
    /// The client's name for one mutation; a repeat within the replay window returns the first answer.
    RequestId, "request id", "1 to 128 printable ASCII characters without blanks", is_request_id
);

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn ids_keep_their_case_but_compare_without_it() {
        let upper = TaskId::parse("Frame-1").unwrap();
        let lower = TaskId::parse("frame-1").unwrap();
        assert_eq!(upper, lower);
        assert_eq!(upper.as_str(), "Frame-1");
        assert_eq!(BTreeSet::from([upper, lower]).len(), 1);
    }

    #[test]
    fn malformed_ids_are_refused_with_the_rule() {
        for bad in ["", "a b", "a/b", "..", "é", &"x".repeat(65)] {
            let error = TaskId::parse(bad).unwrap_err().to_string();
            assert!(error.contains("task id") && error.contains("1 to 64"), "{error}");
        }
        assert!(TaskId::parse(&"x".repeat(64)).is_ok());
    }

    #[test]
    fn a_job_of_a_schedule_may_carry_its_number() {
        assert!(JobId::parse("nightly:job-12").is_ok());
        for bad in ["nightly:job-0", "nightly:job-", "nightly:job-x", ":job-1", "a:b"] {
            assert!(JobId::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn account_and_container_names_follow_the_reference() {
        assert!(AccountName::parse("studio1").is_ok());
        assert!(["ab", "Studio", "a-b", ""].iter().all(|t| AccountName::parse(t).is_err()));
        assert!(ContainerName::parse("film-out").is_ok());
        assert!(["ab", "-ab", "ab-", "a--b", "A-b"].iter().all(|t| ContainerName::parse(t).is_err()));
    }
}

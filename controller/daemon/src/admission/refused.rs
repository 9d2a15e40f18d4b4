//! Refusals of what is too much, each with the limit, whose it is, and the time to come back.
//!
//! All are RESOURCE_EXHAUSTED with `RetryInfo`: nothing of a refused call was done, and the same call succeeds later.

use super::owner::Owner;
use muster_proto::convert::status_busy;
use std::time::Duration;
use tonic::{Code, Status};

/// When whoever has too much under way may come back: what is under way ends in about that time.
const COME_BACK_AFTER: Duration = Duration::from_secs(1);

/// The shortest wait that is asked for: less than this is not worth a message.
const WAIT_MIN: Duration = Duration::from_millis(10);

/// What there is too much of.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum TooMuch {
    /// Calls a second of an owner.
    #[error(
        "{owner} makes more than {per_second} calls a second that {kind}: wait as long as this refusal says"
    )]
    Rate { owner: Owner, per_second: u32, kind: &'static str, wait: Duration },
    /// Things of an owner at one time.
    #[error("{owner} has {max} {what} already, which is as many as it may have: wait until one of them ends")]
    Count { owner: Owner, max: usize, what: &'static str },
    /// Bytes of an owner's requests.
    #[error(
        "the requests of {owner} that are under way have {max_kib} KiB, which is as much as they may have: wait until some of them are answered, and send fewer at one time"
    )]
    Bytes { owner: Owner, max_kib: u32 },
    /// Bytes of everybody's requests.
    #[error(
        "the controller is overloaded: requests of {max_kib} KiB are under way, and it takes no more at one time"
    )]
    AllBytes { max_kib: u32 },
    /// Calls a second without proof.
    #[error(
        "more than {per_second} calls a second without good credentials came from your address: wait, and check account and key"
    )]
    StrangerRate { per_second: u32, wait: Duration },
    /// Calls at one time without proof.
    #[error("{max} calls that need no credentials are under way already: try again in a moment")]
    Strangers { max: usize },
}

impl From<TooMuch> for Status {
    fn from(much: TooMuch) -> Self {
        let wait = match &much {
            TooMuch::Rate { wait, .. } | TooMuch::StrangerRate { wait, .. } => (*wait).max(WAIT_MIN),
            TooMuch::Count { .. }
            | TooMuch::Bytes { .. }
            | TooMuch::AllBytes { .. }
            | TooMuch::Strangers { .. } => COME_BACK_AFTER,
        };
        status_busy(Code::ResourceExhausted, much.to_string(), wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_model::AccountName;
    use muster_proto::convert::retry_delay_of;

    #[test]
    fn a_refusal_names_whose_limit_it_is_and_when_to_come_back() {
        let owner = Owner::Account(AccountName::parse("studio").unwrap());
        let wait = Duration::from_millis(250);
        let status = Status::from(TooMuch::Rate { owner, per_second: 7, kind: "read", wait });
        assert_eq!((status.code(), retry_delay_of(&status)), (Code::ResourceExhausted, Some(wait)));
        assert!(status.message().contains("account 'studio'") && status.message().contains("7 calls"));
    }
}

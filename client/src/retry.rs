//! When a call is tried again, and after how long.
//!
//! Goes in: what went wrong, how often, how long ago it began. Comes out: a wait, or the end. It is safe for every unary
//! call of this client: reads change nothing, and mutations carry a request id, so that a repeat is answered and not
//! done twice. It never sleeps itself.

use std::time::Duration;

use muster_proto::convert::retry_delay_of;
use muster_runtime::backoff::Backoff;
use tonic::{Code, Status};

use crate::connect::{connect_error, may_pass};
use crate::error::is_link_failure;

/// The bounds of one call's tries.
#[derive(Debug, Clone, Copy)]
pub struct RetryPolicy {
    /// The most tries, the first one included.
    pub attempts_max: u32,
    /// The first wait is at most this long; each further one at most twice the last.
    pub base: Duration,
    /// No wait of our own choice is longer.
    pub cap: Duration,
    /// The controller may ask for a wait up to this long; a longer one is an error for the caller to see.
    pub asked_max: Duration,
    /// How long one try may take.
    pub call_limit: Duration,
}

impl Default for RetryPolicy {
    /// Six tries within about three seconds of waiting: a controller that restarts is back by then, and a person who
    /// mistyped an address is not kept for long.
    fn default() -> Self {
        Self {
            attempts_max: 6,
            base: Duration::from_millis(100),
            cap: Duration::from_secs(2),
            asked_max: Duration::from_secs(30),
            call_limit: Duration::from_secs(60),
        }
    }
}

/// The tries of one call.
#[derive(Debug)]
pub(crate) struct Retries {
    policy: RetryPolicy,
    backoff: Backoff,
    attempts: u32,
}

impl Retries {
    pub(crate) fn new(policy: RetryPolicy) -> Self {
        Self { policy, backoff: Backoff::new(policy.base, policy.cap), attempts: 0 }
    }

    /// How often it was tried.
    pub(crate) const fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Notes a failed try. `Some` is how long to wait before the next.
    pub(crate) fn after(&mut self, status: &Status) -> Option<Duration> {
        self.attempts += 1;
        if self.attempts >= self.policy.attempts_max || !is_worth_retrying(status) {
            return None;
        }
        match retry_delay_of(status) {
            Some(asked) if asked > self.policy.asked_max => None,
            // Those who were asked to come back at the same moment come back spread over a little more.
            Some(asked) => Some(asked + self.backoff.next_delay()),
            None => Some(self.backoff.next_delay()),
        }
    }
}

/// Whether the same call may succeed a moment later.
pub(crate) fn is_worth_retrying(status: &Status) -> bool {
    if let Some(error) = connect_error(status) {
        return may_pass(error);
    }
    if is_link_failure(status) {
        return true;
    }
    match status.code() {
        Code::Unavailable => true,
        // Only with a time to come back: a quota that is reached stays reached.
        Code::ResourceExhausted => retry_delay_of(status).is_some(),
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::InvalidArgument
        | Code::DeadlineExceeded
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Internal
        | Code::DataLoss
        | Code::Unauthenticated => false,
    }
}

#[cfg(test)]
mod tests {
    use muster_proto::convert::status_busy;

    use super::*;

    #[test]
    fn only_what_may_pass_is_tried_again() {
        for (status, again) in [
            (Status::unavailable("restarting"), true),
            (Status::not_found("no"), false),
            (Status::aborted("etag"), false),
            (Status::resource_exhausted("quota"), false),
            (status_busy(Code::ResourceExhausted, "busy", Duration::from_secs(1)), true),
            (Status::from_error(Box::new(std::io::Error::other("reset"))), true),
        ] {
            assert_eq!(is_worth_retrying(&status), again, "{status:?}");
        }
    }

    #[test]
    fn the_controllers_wait_is_honoured_up_to_a_bound() {
        let mut retries = Retries::new(RetryPolicy::default());
        let wait = retries.after(&status_busy(Code::Unavailable, "busy", Duration::from_secs(7))).unwrap();
        assert!((Duration::from_secs(7)..Duration::from_millis(7100)).contains(&wait), "{wait:?}");
        assert!(retries.after(&status_busy(Code::Unavailable, "busy", Duration::from_secs(31))).is_none());
    }

    #[test]
    fn tries_are_bounded() {
        let mut retries = Retries::new(RetryPolicy::default());
        let waits = std::iter::from_fn(|| retries.after(&Status::unavailable("down"))).count();
        assert_eq!(waits, 5);
        assert_eq!(retries.attempts(), 6);
    }
}

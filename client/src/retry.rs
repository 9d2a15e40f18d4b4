//! When a call is tried again, and after how long.
//!
//! Two things may pass: a controller that cannot be reached, for which tries are counted; and one that says how long it is
//! busy, which is there and is believed: that costs time and no tries. Goes in: what went wrong, how often, how long ago it began. Comes out: a wait, or the end. It is safe for every unary
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
    /// How long a call waits in all for a controller that is busy and says when to come back.
    pub busy_max: Duration,
    /// How long one try may take.
    pub call_limit: Duration,
}

impl Default for RetryPolicy {
    /// Six tries within about three seconds of waiting: a controller that restarts is back by then, and a person who
    /// mistyped an address is not kept for long. Two minutes for a busy one: longer than any burst of a healthy cluster.
    fn default() -> Self {
        Self {
            attempts_max: 6,
            base: Duration::from_millis(100),
            cap: Duration::from_secs(2),
            asked_max: Duration::from_secs(30),
            busy_max: Duration::from_secs(120),
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
    /// How many of them found a controller that was busy, and how long was waited for that.
    busy: u32,
    busy_for: Duration,
}

impl Retries {
    pub(crate) fn new(policy: RetryPolicy) -> Self {
        let backoff = Backoff::new(policy.base, policy.cap);
        Self { policy, backoff, attempts: 0, busy: 0, busy_for: Duration::ZERO }
    }

    /// How often it was tried.
    pub(crate) const fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Notes a failed try. `Some` is how long to wait before the next.
    pub(crate) fn after(&mut self, status: &Status) -> Option<Duration> {
        self.attempts += 1;
        if !is_worth_retrying(status) {
            return None;
        }
        // Those who were asked to come back at the same moment come back spread over a little more, and over more and more.
        let spread = self.backoff.next_delay();
        let Some(asked) = retry_delay_of(status) else {
            return (self.attempts - self.busy < self.policy.attempts_max).then_some(spread);
        };
        if asked > self.policy.asked_max {
            return None;
        }
        if is_busy(status) {
            self.busy += 1;
            self.busy_for += asked + spread;
            return (self.busy_for <= self.policy.busy_max).then_some(asked + spread);
        }
        (self.attempts - self.busy < self.policy.attempts_max).then_some(asked + spread)
    }
}

/// Whether the controller is there, and says when it has room again.
pub(crate) fn is_busy(status: &Status) -> bool {
    status.code() == Code::ResourceExhausted && retry_delay_of(status).is_some()
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
    fn a_busy_controller_costs_time_and_no_tries() {
        let mut retries = Retries::new(RetryPolicy::default());
        let busy = status_busy(Code::ResourceExhausted, "busy", Duration::from_secs(3));
        let waits: Vec<Duration> = std::iter::from_fn(|| retries.after(&busy)).collect();
        let waited: Duration = waits.iter().sum();
        assert!(waits.len() > 20 && waited <= Duration::from_secs(120), "{} waits, {waited:?}", waits.len());
        assert!(waited > Duration::from_secs(110), "{waited:?}");
        let mut retries = Retries::new(RetryPolicy::default());
        assert!((0..10).all(|_| retries.after(&busy).is_some()));
        let waits = std::iter::from_fn(|| retries.after(&Status::unavailable("down"))).count();
        assert_eq!(waits, 5, "other failures are counted by themselves");
    }

    #[test]
    fn tries_are_bounded() {
        let mut retries = Retries::new(RetryPolicy::default());
        let waits = std::iter::from_fn(|| retries.after(&Status::unavailable("down"))).count();
        assert_eq!(waits, 5);
        assert_eq!(retries.attempts(), 6);
    }
}

//! What a client says while it waits: a program that shows it to a person keeps them from wondering.
//!
//! The client tells of every wait before a further try; which of them are worth words is for whoever listens. Nothing
//! depends on it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use muster_proto::convert::retry_delay_of;
use tonic::{Code, Status};

use crate::error::is_link_failure;

/// A wait before a call or stream is tried again.
#[derive(Debug, Clone)]
pub struct Waiting {
    /// What is waited for, in a few words.
    pub why: String,
    /// How long this wait is.
    pub wait: Duration,
    /// How long was waited before it for the same thing.
    pub waited: Duration,
}

/// Is told of waits.
#[derive(Clone)]
pub(crate) struct Listener(Arc<dyn Fn(&Waiting) + Send + Sync>);

impl Listener {
    pub(crate) fn new(listen: impl Fn(&Waiting) + Send + Sync + 'static) -> Self {
        Self(Arc::new(listen))
    }

    pub(crate) fn tell(&self, status: &Status, wait: Duration, waited: Duration) {
        (self.0)(&Waiting { why: why(status), wait, waited });
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listener")
    }
}

/// The reason in one line: the first sentence of the controller's words, which end in the way out.
fn why(status: &Status) -> String {
    if is_link_failure(status) {
        return "the controller cannot be reached".to_owned();
    }
    let words = status.message().split(['\n', ':']).next().unwrap_or_default();
    match (status.code(), words) {
        (Code::ResourceExhausted, words) if !words.is_empty() => words.to_owned(),
        (Code::ResourceExhausted, _) => "the controller is busy".to_owned(),
        (_, words) if retry_delay_of(status).is_some() && !words.is_empty() => words.to_owned(),
        (_, _) => "the connection to the controller broke".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use muster_proto::convert::status_busy;

    use super::*;

    #[test]
    fn the_reason_is_one_short_line() {
        let second = Duration::from_secs(1);
        for (status, words) in [
            (
                status_busy(Code::ResourceExhausted, "account 'a' makes too many calls: wait", second),
                "account 'a' makes too many calls",
            ),
            (status_busy(Code::ResourceExhausted, "", second), "the controller is busy"),
            (
                status_busy(Code::Unavailable, "the controller is stopping: connect again", second),
                "the controller is stopping",
            ),
            (Status::unavailable("transport"), "the connection to the controller broke"),
            (Status::from_error(Box::new(std::io::Error::other("x"))), "the controller cannot be reached"),
        ] {
            assert_eq!(why(&status), words);
        }
    }
}

//! When an interrupted stream is opened again: the patience that watches, logs, transfers and streams of tasks share.
//!
//! A stream that has worked is tried for [`PATIENCE`]; one that never did gives up like any other call. A controller that
//! says when to come back is believed. It opens nothing itself.

use std::time::{Duration, Instant};

use muster_proto::convert::retry_delay_of;
use muster_runtime::backoff::Backoff;
use tonic::Status;

use crate::call::Interrupted;
use crate::client::Client;
use crate::error::CallError;
use crate::retry::{Retries, is_worth_retrying};

/// For how long a watch that worked tries to reach the controller again: an upgrade or a reboot of its machine passes in
/// this time; a longer silence is for a person to look at.
const PATIENCE: Duration = Duration::from_secs(600);

/// The first wait after a break is at most this long.
const REOPEN_BASE: Duration = Duration::from_millis(100);

/// No wait between two tries is longer: a controller that is back is noticed soon.
const REOPEN_CAP: Duration = Duration::from_secs(3);

/// When an interrupted stream is opened again.
pub(crate) struct Reopen {
    retries: Retries,
    backoff: Backoff,
    has_worked: bool,
    broken_since: Option<Instant>,
    patience: Duration,
}

impl Reopen {
    pub(crate) fn new(client: &Client) -> Self {
        Self {
            retries: Retries::new(client.inner.retry),
            backoff: Backoff::new(REOPEN_BASE, REOPEN_CAP),
            has_worked: false,
            broken_since: None,
            patience: PATIENCE,
        }
    }

    /// The same with another time for which a stream that worked is opened again.
    pub(crate) fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// It could be opened: whatever breaks it now is worth the longer patience.
    pub(crate) fn opened(&mut self) {
        self.has_worked = true;
    }

    /// Something was received.
    pub(crate) fn worked(&mut self) {
        self.has_worked = true;
        self.broken_since = None;
        self.backoff.reset();
    }

    /// How long to wait after this break; `None` when it is no use.
    fn after(&mut self, status: &Status) -> Option<Duration> {
        if !self.has_worked {
            return self.retries.after(status);
        }
        let left = self.patience.checked_sub(self.broken_since.get_or_insert_with(Instant::now).elapsed())?;
        let asked = retry_delay_of(status).unwrap_or_default();
        (is_worth_retrying(status) && asked <= left).then(|| asked + self.backoff.next_delay())
    }

    /// Waits after a break, or says that it is no use.
    pub(crate) async fn wait(&mut self, client: &Client, broken: Interrupted) -> Result<(), CallError> {
        let status = match broken {
            Interrupted::Ours(error) => return Err(error),
            Interrupted::Status(status) => *status,
        };
        let Some(wait) = self.after(&status) else {
            return Err(client.failed(status, self.retries.attempts().max(1)));
        };
        let since = *self.broken_since.get_or_insert_with(Instant::now);
        client.wait(&status, wait, since.elapsed()).await;
        Ok(())
    }
}

//! Waiting until a pool has the nodes that it should have.
//!
//! There is no watch of nodes, so their counts are asked for: often at first, because a local node is there at once, then
//! less often, because a machine takes minutes.

use std::time::Duration;

use muster_proto::wire;
use muster_runtime::backoff::Backoff;

use crate::client::Client;
use crate::error::{CallError, ErrorKind};

/// The first wait between two looks, and the longest.
const LOOK_WAIT: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// Why waiting for nodes ended without them.
#[derive(Debug, thiserror::Error)]
pub enum NodesError {
    /// A call failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// Start tasks failed on so many nodes that the others are not enough.
    #[error(
        "the start task failed on {failed} nodes of pool '{pool}', so it does not get {wanted}; see: muster node list \
         {pool}, and 'muster node show' for the reason"
    )]
    StartTask {
        /// The pool.
        pool: String,
        /// How many nodes it failed on.
        failed: u32,
        /// How many nodes were waited for.
        wanted: u32,
    },
    /// The resize gave up.
    #[error("the resize of pool '{pool}' failed: {message}")]
    Resize {
        /// The pool.
        pool: String,
        /// The controller's words.
        message: String,
    },
}

impl NodesError {
    /// What kind of wrong it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Call(error) => error.kind(),
            Self::StartTask { .. } | Self::Resize { .. } => ErrorKind::Failure,
        }
    }
}

impl Client {
    /// Waits until a pool has at least `wanted` nodes that can take tasks and none that is leaving. `show` is told of
    /// every look.
    ///
    /// # Errors
    /// As the variants of [`NodesError`] say. There is no deadline: put it into a timeout.
    pub async fn wait_for_nodes(
        &self,
        pool: &str,
        wanted: u32,
        show: impl Fn(&wire::NodeCounts),
    ) -> Result<(), NodesError> {
        let mut backoff = Backoff::new(LOOK_WAIT.0, LOOK_WAIT.1);
        loop {
            let counts = self.pool_node_counts(pool).await?.into_iter().next();
            let counts = counts.and_then(|counts| counts.dedicated).unwrap_or_default();
            show(&counts);
            if counts.idle + counts.running >= wanted && counts.leaving_pool == 0 {
                return Ok(());
            }
            let others = counts.total.saturating_sub(counts.start_task_failed);
            if counts.start_task_failed > 0 && counts.total >= wanted && others < wanted {
                let (pool, failed) = (pool.to_owned(), counts.start_task_failed);
                return Err(NodesError::StartTask { pool, failed, wanted });
            }
            // The bound, not the jittered wait: nobody else looks at the same moment.
            let wait = backoff.bound();
            let _jitter = backoff.next_delay();
            tokio::time::sleep(wait).await;
            if wait == LOOK_WAIT.1 {
                self.refuse_failed_resize(pool).await?;
            }
        }
    }

    async fn refuse_failed_resize(&self, pool: &str) -> Result<(), NodesError> {
        let found = self.get_pool(pool).await?;
        let is_steady = found.allocation_state() == wire::AllocationState::Steady;
        match found.resize_errors.into_iter().next() {
            Some(error) if is_steady => {
                Err(NodesError::Resize { pool: pool.to_owned(), message: error.message })
            }
            Some(_) | None => Ok(()),
        }
    }
}

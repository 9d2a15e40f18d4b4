//! The thread for the node's directories: what is a handful of system calls each, done in the order in which it is asked for.
//!
//! A disk that is slow or hangs holds up this thread and what waits for it, and nobody else: the driver, which keeps the lease,
//! never touches the disk. The order keeps what belongs together: a directory is closed before its user's id comes to
//! another, and put away before it is made anew. Answers are inputs of the core.
//!
//! How many jobs wait is bounded by what the node holds: a few for each attempt, each of which ends only when they are done, and
//! one for each batch of directories that are removed.

use std::sync::mpsc::{Sender, channel};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

/// How long a stopping agent waits for what was asked for.
const FINISH_LIMIT: Duration = Duration::from_secs(2);

/// The way to the thread.
#[derive(Debug)]
pub(super) struct Hands {
    jobs: Sender<Job>,
}

impl Hands {
    /// Starts the thread; what it spawns runs on this runtime.
    pub(super) fn new(runtime: Handle) -> std::io::Result<Self> {
        let (jobs, waiting) = channel::<Job>();
        let work = move || {
            let _entered = runtime.enter();
            waiting.iter().for_each(|job| job());
        };
        std::thread::Builder::new().name("directories".to_owned()).spawn(work)?;
        Ok(Self { jobs })
    }

    /// Asks for something to be done after all that was asked for before.
    pub(super) fn ask(&self, job: impl FnOnce() + Send + 'static) {
        // The thread ends with the process; what a panic in a job has ended is logged, and found missing by whoever waits.
        if self.jobs.send(Box::new(job)).is_err() {
            tracing::error!("the thread for the node's directories has ended: this is a defect of Muster");
        }
    }

    /// Waits until all that was asked for is done, for a bounded time.
    pub(super) async fn finish(&self) {
        let (done, finished) = oneshot::channel();
        self.ask(move || {
            // Whoever asked may have given up waiting.
            let _nobody = done.send(());
        });
        if tokio::time::timeout(FINISH_LIMIT, finished).await.is_err() {
            tracing::warn!("stopping although the node's disk has not done all that was asked of it");
        }
    }
}

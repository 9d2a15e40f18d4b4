//! The order to stop, and how it reaches every part of a process.
//!
//! A first SIGTERM or SIGINT asks for a graceful stop, a second one for an immediate stop. Parts that end on
//! their own (one session, one transfer) hold a child: stopping it leaves the rest running, stopping the
//! parent stops it too.
//!
//! Invariant: the phase only moves forward. This file never ends the process: what a phase means, and the
//! exit code, belong to `main`.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// How far the order to stop has gone. Ordered: each phase contains those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Nothing was asked.
    Running,
    /// Take no new work, finish or hand over what is in hand, then stop.
    Graceful,
    /// Stop at once; durable state is kept by what was committed before.
    Immediate,
}

/// How waiting for the last work ended, see [`Shutdown::drain`].
#[derive(Debug, PartialEq, Eq)]
pub enum Drained<T> {
    /// The work ended by itself, with this result.
    Done(T),
    /// The time allowed after the graceful order ran out.
    Late,
    /// The immediate order came first.
    Forced,
}

/// Why a process cannot listen for signals.
#[derive(Debug, thiserror::Error)]
pub enum ShutdownError {
    /// The handler could not be installed.
    #[error("cannot listen for {signal}, so the process could not be stopped in order")]
    Listen {
        /// The name of the signal.
        signal: &'static str,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

/// A handle on the order to stop. Clones share one order; [`child`](Shutdown::child) makes a narrower one.
#[derive(Debug, Clone)]
pub struct Shutdown {
    own: watch::Sender<Phase>,
    parent: Option<Arc<Shutdown>>,
}

impl Shutdown {
    /// A handle that is stopped only by `begin` and `force`.
    #[must_use]
    pub fn new() -> Self {
        Self { own: watch::Sender::new(Phase::Running), parent: None }
    }

    /// A handle that SIGTERM and SIGINT stop: the first of them gracefully, the second immediately. To be called
    /// inside a tokio runtime with I/O enabled; the listening task ends with the runtime or after the second
    /// signal.
    ///
    /// # Errors
    /// When a handler cannot be installed.
    pub fn on_signals() -> Result<Self, ShutdownError> {
        let listen =
            |kind, name| signal(kind).map_err(|source| ShutdownError::Listen { signal: name, source });
        let term = listen(SignalKind::terminate(), "SIGTERM")?;
        let int = listen(SignalKind::interrupt(), "SIGINT")?;
        let shutdown = Self::new();
        tokio::spawn(follow_signals(term, int, shutdown.clone()));
        Ok(shutdown)
    }

    /// A handle that stops with this one, and can be stopped alone.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { own: watch::Sender::new(Phase::Running), parent: Some(Arc::new(self.clone())) }
    }

    /// Asks for a graceful stop. Does nothing when a stop was already asked.
    pub fn begin(&self) {
        self.raise(Phase::Graceful);
    }

    /// Asks for an immediate stop.
    pub fn force(&self) {
        self.raise(Phase::Immediate);
    }

    /// How far the order has gone, for this handle or any above it.
    #[must_use]
    pub fn phase(&self) -> Phase {
        let own = *self.own.borrow();
        self.parent.as_ref().map_or(own, |parent| own.max(parent.phase()))
    }

    /// Waits until a stop of either kind is asked; returns at once when it already was.
    pub async fn begun(&self) {
        self.reached(Phase::Graceful).await;
    }

    /// Waits until an immediate stop is asked.
    pub async fn forced(&self) {
        self.reached(Phase::Immediate).await;
    }

    /// Lets `work` run to its end; once a stop is asked it has `limit` more to end by itself, and an immediate
    /// order cuts it off. Work that is cut off is dropped, so it must be safe to drop.
    pub async fn drain<T>(&self, limit: Duration, work: impl Future<Output = T>) -> Drained<T> {
        let deadline = async {
            self.begun().await;
            tokio::time::sleep(limit).await;
        };
        tokio::select! {
            biased;
            done = work => Drained::Done(done),
            () = self.forced() => Drained::Forced,
            () = deadline => Drained::Late,
        }
    }

    fn raise(&self, phase: Phase) {
        self.own.send_if_modified(|current| {
            let forward = phase > *current;
            *current = phase.max(*current);
            forward
        });
    }

    /// Waits for `phase` here or above. Boxed, because a handle waits on its parent by the same function.
    fn reached(&self, phase: Phase) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            let mut own = self.own.subscribe();
            // `self` holds a sender, so the channel cannot close while this waits: the result says nothing.
            let own = async move { own.wait_for(|now| *now >= phase).await.map(|_| ()).unwrap_or(()) };
            match &self.parent {
                None => own.await,
                Some(parent) => tokio::select! {
                    () = own => {}
                    () = parent.reached(phase) => {}
                },
            }
        })
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

/// Turns the first signal into a graceful stop and the second into an immediate one.
async fn follow_signals(mut term: Signal, mut int: Signal, shutdown: Shutdown) {
    for order in [Phase::Graceful, Phase::Immediate] {
        let name = tokio::select! {
            _ = term.recv() => "SIGTERM",
            _ = int.recv() => "SIGINT",
        };
        tracing::info!(signal = name, phase = ?order, "asked to stop");
        shutdown.raise(order);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::{Signal as Kind, raise};

    const LIMIT: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn first_signal_is_graceful_and_second_immediate() {
        let shutdown = Shutdown::on_signals().unwrap();
        assert_eq!(shutdown.phase(), Phase::Running);
        raise(Kind::SIGTERM).unwrap();
        tokio::time::timeout(LIMIT, shutdown.begun()).await.unwrap();
        assert_eq!(shutdown.phase(), Phase::Graceful);
        raise(Kind::SIGINT).unwrap();
        tokio::time::timeout(LIMIT, shutdown.forced()).await.unwrap();
        assert_eq!(shutdown.phase(), Phase::Immediate);
    }

    #[tokio::test]
    async fn child_stops_alone_and_with_its_parent() {
        let parent = Shutdown::new();
        let (first, second) = (parent.child(), parent.child().child());
        first.begin();
        assert_eq!(
            (parent.phase(), first.phase(), second.phase()),
            (Phase::Running, Phase::Graceful, Phase::Running)
        );
        let waiting = tokio::spawn({
            let second = second.clone();
            async move { second.forced().await }
        });
        parent.force();
        tokio::time::timeout(LIMIT, waiting).await.unwrap().unwrap();
        assert_eq!((first.phase(), second.phase()), (Phase::Immediate, Phase::Immediate));
    }

    #[test]
    fn phase_never_goes_back() {
        let shutdown = Shutdown::new();
        shutdown.force();
        shutdown.begin();
        assert_eq!(shutdown.phase(), Phase::Immediate);
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_outlasts_the_limit_is_late_and_forced_work_is_cut_off() {
        let shutdown = Shutdown::new();
        assert_eq!(shutdown.drain(LIMIT, async { 7 }).await, Drained::Done(7));
        shutdown.begin();
        assert_eq!(shutdown.drain(LIMIT, std::future::pending::<()>()).await, Drained::Late);
        shutdown.force();
        assert_eq!(shutdown.drain(LIMIT, std::future::pending::<()>()).await, Drained::Forced);
    }
}

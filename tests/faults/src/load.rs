//! The load: some clients, each a thread, until they are told to finish.
//!
//! Threads and their connections begin in the thread that starts the load, so that a load in a network of its own is inside of it.

use crate::asker::Asker;
use crate::client::Client;
use crate::site::Site;
use crate::told::Told;
use crate::wire_call::{Caller, Skew};
use anyhow::anyhow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often a client that pauses looks whether it still should.
const PAUSED: Duration = Duration::from_millis(50);

/// What clients are told to do.
#[derive(Debug, Default)]
struct Signals {
    stop: AtomicBool,
    pause: AtomicBool,
}

/// Clients at work.
#[derive(Debug)]
pub struct Load {
    told: Told,
    skew: Skew,
    signals: Arc<Signals>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts the clients that a site's plan wants.
    ///
    /// # Errors
    /// When the site has not said how to reach it.
    pub fn start(site: &Site, seed: u64) -> anyhow::Result<Self> {
        let plan = &site.plan().load;
        let mut load = Self {
            told: Told::default(),
            skew: Skew::default(),
            signals: Arc::default(),
            threads: Vec::new(),
        };
        for number in 0..plan.clients {
            let caller = Caller::new(site, Arc::clone(&load.skew), plan.patience)?;
            let asker = Asker::new(caller, number, load.told.clone(), seed);
            let mut client = Client::new(asker, plan.clone(), site.labour(), number, seed);
            let signals = Arc::clone(&load.signals);
            load.threads.push(std::thread::spawn(move || {
                while !signals.stop.load(Ordering::Relaxed) {
                    let pause = if signals.pause.load(Ordering::Relaxed) { PAUSED } else { client.step() };
                    std::thread::park_timeout(pause);
                }
                client.finish();
            }));
        }
        Ok(load)
    }

    /// What the clients have been told so far.
    #[must_use]
    pub fn told(&self) -> &Told {
        &self.told
    }

    /// Has the clients ask nothing for a while.
    pub fn pause(&self) {
        self.signals.pause.store(true, Ordering::Relaxed);
    }

    /// Has them ask again.
    pub fn resume(&self) {
        self.signals.pause.store(false, Ordering::Relaxed);
    }

    /// Tells the clients that the controller's clock is so many seconds ahead of theirs, so that their tokens are good for it.
    pub fn controller_is_ahead(&self, seconds: i64) {
        self.skew.store(seconds, Ordering::Relaxed);
    }

    /// Has the clients finish and waits for them; all that they were told.
    ///
    /// # Errors
    /// When a client came to grief itself.
    pub fn finish(mut self) -> anyhow::Result<Told> {
        self.signals.stop.store(true, Ordering::Relaxed);
        for thread in std::mem::take(&mut self.threads) {
            thread.join().map_err(|_| anyhow!("a client panicked"))?;
        }
        Ok(self.told.clone())
    }
}

impl Drop for Load {
    /// A round that failed does not wait for clients that nobody answers: they end by themselves.
    fn drop(&mut self) {
        self.signals.stop.store(true, Ordering::Relaxed);
    }
}

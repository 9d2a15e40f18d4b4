//! Starting and stopping the engine, and how it fails.
//!
//! Start: load the rows, build the core, spawn both threads. Stop: nobody else gets in, what is there is made durable
//! and released, both threads end. Failure (a commit, a panic): nothing more is acknowledged, and whoever waits on
//! `failed` ends the process; a restart recovers from the store.

use super::accounts::AccountDirectory;
use super::batch::Batch;
use super::clock::{EngineClock, TimeSource};
use super::disk::Disk;
use super::events::Events;
use super::handle::{EngineHandle, READS_MAX, Shared};
use super::inbox::Inbox;
use super::routes::Routes;
use super::state::{EngineFailure, EngineState};
use super::thread::{EngineThread, LastInput};
use super::writer::Writer;
use muster_controller_core::{Core, Settings};
use muster_model::Timestamp;
use muster_store::{Store, StoreError};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::{Semaphore, watch};

/// Why the engine could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store could not be read.
    #[error("the store could not be loaded")]
    Load(#[source] StoreError),
    /// A thread could not be made.
    #[error("the engine's thread '{name}' could not be started")]
    Thread {
        /// Which.
        name: &'static str,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
}

/// The engine's two threads.
///
/// # What waits for what
/// And nothing else does:
///
/// 1. **Inputs are stepped one by one, in the order in which they found room.** Heartbeats are kept aside, the newest of
///    each session, and are stepped before whatever else waits: they find room always, and an earlier one is moot.
/// 2. **At most two batches**: one with the writer, one that grows. The growing one is handed over as soon as the writer is
///    free and nothing waits, or it is full. While it is full and the writer is not free, inputs, questions and deadlines
///    wait; heartbeats, the writer's word and the order to stop are still taken. The engine thread never waits for a commit.
/// 3. **A commit is whole**: all records of a batch in one transaction. Once it is durable, and not before, leave in this
///    order: accounts for the gate, the event, then replies, answers and effects as they were decided. A batch without
///    records takes its turn too, for a refusal may rest on a change that is not durable yet.
/// 4. **A lease waits for no commit.** The step of a heartbeat has no records, and what it grants rests on nothing that
///    could be lost: a controller that crashes grants nobody's work to others before a full lease with its margin has passed.
///    Nor can it follow a decision against the node: that has ended the session in the core, durable or not. So it leaves with
///    the step, past all batches, on a channel of its own; but only to a session whose Welcome has left (else it is
///    dropped, and the node asks again). A session hears everything else in the order of decision.
/// 5. **A full disk is waited out.** A commit that fails for want of space is tried again with the same batch, first with what
///    the store kept in reserve, then with pauses; what hangs on the batch waits, what is new is refused at the door
///    (`disk`). Any other failed commit, or a panic of the core, ends the engine without a further word: a restart recovers.
/// 6. **A crash** keeps the batch with the writer whole or not at all, and loses the one that grows: nothing of either has left.
///
/// Held at most: what `inbox` lets in (queued, growing and with the writer together), one heartbeat for each open session,
/// the outboxes of the open sessions (`routes`), the ring of names (`events`).
#[derive(Debug)]
pub struct Engine {
    handle: EngineHandle,
    threads: Vec<JoinHandle<()>>,
    stopping: Arc<AtomicBool>,
}

impl Engine {
    /// Loads the store and starts.
    ///
    /// # Errors
    /// [`StartError`]: the store cannot be read, or a thread cannot be made.
    pub fn start(
        mut store: Box<dyn Store>,
        settings: Settings,
        times: impl TimeSource,
    ) -> Result<(EngineHandle, Self), StartError> {
        let mut clock = EngineClock::new(times);
        let started = clock.now();
        let (core, accounts) = load(store.as_mut(), settings, started).map_err(StartError::Load)?;

        let disk = Disk::default();
        let (inbox, outlet) = Inbox::new(disk.clone());
        let (to_writer, batches) = channel();
        let stopping = Arc::new(AtomicBool::new(false));
        let routes = Arc::new(Routes::default());
        // Micros of the start: above every number that an earlier start can have given out.
        let first_number = u64::try_from(started.as_micros()).unwrap_or(0);
        let events = Arc::new(Events::new(first_number));
        let handle = EngineHandle {
            shared: Arc::new(Shared {
                inbox: inbox.clone(),
                disk: disk.clone(),
                accounts: Arc::clone(&accounts),
                routes: Arc::clone(&routes),
                events: Arc::clone(&events),
                reader: store.reader(),
                reads: Semaphore::new(READS_MAX),
                state: watch::Sender::new(EngineState::Running),
                next_session: AtomicU64::new(first_number),
            }),
        };
        let writer = Writer {
            store,
            batches,
            inbox,
            disk,
            accounts,
            routes: Arc::clone(&routes),
            events,
            revision: first_number,
            untidy: true,
            stopping: Arc::clone(&stopping),
            looked: None,
        };
        let last_input = LastInput::new(Mutex::new("nothing"));
        let thread = EngineThread {
            core,
            clock,
            inbox: outlet,
            writer: to_writer,
            routes,
            last_input: Arc::clone(&last_input),
            batch: Batch::default(),
            writer_busy: false,
            handed_over: None,
            stopping: false,
            quiet_until: Timestamp::EPOCH,
        };
        let threads = vec![
            spawn("muster-writer", &handle, "a commit", move || {
                writer.run().map_err(|error| EngineFailure::Commit(Arc::new(error)))
            })?,
            spawn_engine(&handle, thread, last_input)?,
        ];
        Ok((handle.clone(), Self { handle, threads, stopping }))
    }

    /// Lets nobody else in, makes durable what is there, and waits for both threads. Blocks. What a full disk has no
    /// room for is given up after a few seconds: none of it was acknowledged.
    pub fn stop(self) {
        self.handle.shared.inbox.close();
        self.stopping.store(true, Ordering::Release);
        self.handle.shared.inbox.stop();
        for thread in &self.threads {
            // The writer may be pausing for want of room on the disk.
            thread.thread().unpark();
        }
        for thread in self.threads {
            // A panic has been recorded by the thread itself.
            let _ = thread.join();
        }
        self.handle.shared.state.send_if_modified(|state| {
            let running = matches!(state, EngineState::Running);
            if running {
                *state = EngineState::Stopped;
            }
            running
        });
    }
}

/// The core and the accounts that the store describes. Tasks go into the core one by one: however many there are, their
/// specifications are never in memory together.
fn load(
    store: &mut dyn Store,
    settings: Settings,
    now: Timestamp,
) -> Result<(Core, Arc<AccountDirectory>), StoreError> {
    let rows = store.load()?;
    let accounts = Arc::new(AccountDirectory::new(rows.accounts.iter().cloned()));
    let mut loader = Core::loader(rows, settings, now);
    store.load_tasks(&mut |task| loader.take(task))?;
    Ok((loader.finish(), accounts))
}

fn spawn_engine<T: TimeSource>(
    handle: &EngineHandle,
    thread: EngineThread<T>,
    last_input: LastInput,
) -> Result<JoinHandle<()>, StartError> {
    let failing = handle.clone();
    let name = "muster-engine";
    let body = move || {
        // The core's state after a panic is not to be trusted, so the thread ends; nothing of the step was handed over.
        if catch_unwind(AssertUnwindSafe(|| thread.run())).is_err() {
            let input = *last_input.lock().unwrap_or_else(PoisonError::into_inner);
            failing.fail(EngineFailure::Panic { input });
        }
    };
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
        .map_err(|cause| StartError::Thread { name, cause })
}

fn spawn(
    name: &'static str,
    handle: &EngineHandle,
    doing: &'static str,
    work: impl FnOnce() -> Result<(), EngineFailure> + Send + 'static,
) -> Result<JoinHandle<()>, StartError> {
    let failing = handle.clone();
    let body = move || match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(())) => {}
        Ok(Err(failure)) => failing.fail(failure),
        Err(_) => failing.fail(EngineFailure::Panic { input: doing }),
    };
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
        .map_err(|cause| StartError::Thread { name, cause })
}

impl EngineHandle {
    /// Records the first failure and lets nobody else in.
    fn fail(&self, failure: EngineFailure) {
        self.shared.inbox.close();
        self.shared.inbox.writer_is_gone();
        self.shared.state.send_if_modified(|state| {
            let first = !matches!(state, EngineState::Failed(_));
            if first {
                tracing::error!(error = %failure, cause = ?std::error::Error::source(&failure), "the engine has failed");
                *state = EngineState::Failed(failure);
            }
            first
        });
    }
}

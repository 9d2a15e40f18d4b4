//! Starting and stopping the engine, and how it fails.
//!
//! Start: load the rows, build the core, spawn both threads. Stop: nobody else gets in, what is there is made durable
//! and released, both threads end. Failure (a commit, a panic): nothing more is acknowledged, and whoever waits on
//! `failed` ends the process; a restart recovers from the store.

use super::accounts::AccountDirectory;
use super::batch::Batch;
use super::clock::{EngineClock, TimeSource};
use super::events::Events;
use super::handle::{EngineHandle, READS_MAX, Shared};
use super::inbox::{Inbox, Message};
use super::routes::Routes;
use super::state::{EngineFailure, EngineState};
use super::thread::{EngineThread, LastInput};
use super::writer::Writer;
use muster_controller_core::{Core, Settings};
use muster_model::Timestamp;
use muster_store::{Store, StoreError};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicU64;
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
#[derive(Debug)]
pub struct Engine {
    handle: EngineHandle,
    threads: Vec<JoinHandle<()>>,
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

        let (inbox, messages) = Inbox::new();
        let (to_writer, batches) = channel();
        let (done, writer_done) = channel();
        let routes = Arc::new(Routes::default());
        // Micros of the start: above every number that an earlier start can have given out.
        let first_number = u64::try_from(started.as_micros()).unwrap_or(0);
        let events = Arc::new(Events::new(first_number));
        let handle = EngineHandle {
            shared: Arc::new(Shared {
                inbox: inbox.clone(),
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
            done,
            inbox,
            accounts,
            routes,
            events,
            revision: first_number,
            untidy: true,
        };
        let last_input = LastInput::new(Mutex::new("nothing"));
        let thread = EngineThread {
            core,
            clock,
            inbox: messages,
            writer: to_writer,
            writer_done,
            last_input: Arc::clone(&last_input),
            batch: Batch::default(),
            writer_busy: false,
            stopping: false,
            quiet_until: Timestamp::EPOCH,
        };
        let threads = vec![
            spawn("muster-writer", &handle, "a commit", move || {
                writer.run().map_err(|error| EngineFailure::Commit(Arc::new(error)))
            })?,
            spawn_engine(&handle, thread, last_input)?,
        ];
        Ok((handle.clone(), Self { handle, threads }))
    }

    /// Lets nobody else in, makes durable what is there, and waits for both threads. Blocks.
    pub fn stop(self) {
        self.handle.shared.inbox.close();
        self.handle.shared.inbox.send_internal(Message::Stop);
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
        // Wakes the engine thread if it sleeps; it finds the writer gone.
        self.shared.inbox.send_internal(Message::Stop);
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

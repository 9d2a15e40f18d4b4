//! The thread that writes the journal, so that nobody else waits for its disk, however slow that is.
//!
//! One job is under way at a time; whoever gives them holds what is to follow until a job is told to be safe. A job for which
//! there is no room is tried again until there is. Whether there is room for more than the ends of what runs is told when it
//! changes.
//!
//! Invariant: jobs are done in their order, each once, and none is given up but with the journal as a whole.

use super::{Found, Frame, Journal, JournalError};
use crate::workdir::Layout;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;
use tokio::sync::mpsc;

/// Pause before a full disk is tried again.
const RETRY: Duration = Duration::from_millis(500);
/// Words that wait for the driver: of one job at a time there are at most three.
const TOLD_MAX: usize = 8;

/// What the thread says.
#[derive(Debug)]
pub(crate) enum Told {
    /// The job is done: its records are safe.
    Safe {
        /// Whether a shorter journal should take the place of this one.
        wants_compaction: bool,
    },
    /// Whether there is room for the records of what begins.
    Room(bool),
    /// The journal cannot be used any more.
    Failed(JournalError),
}

/// What is to be written.
enum Job {
    /// A frame.
    Frame(Vec<u8>),
    /// A journal of these records in place of the one before; if there is no room for it, the frame, which says less.
    Anew { records: Vec<Vec<u8>>, frame: Vec<u8> },
}

/// The way to the thread. Dropping it ends the thread when its job is done.
#[derive(Debug)]
pub(crate) struct Scribe {
    jobs: SyncSender<Job>,
    told: mpsc::Receiver<Told>,
}

impl Scribe {
    /// Begins a journal that tells `records`, which is what was found and `added`. On a full disk the one that was found
    /// goes on with what was added; if it is of another boot, the new one waits for room.
    pub(crate) fn begin(
        layout: Arc<Layout>,
        boot_id: &str,
        found: &Found,
        records: Vec<Vec<u8>>,
        added: Frame,
    ) -> Result<Self, JournalError> {
        let (jobs, receiver) = sync_channel(1);
        let (sender, told) = mpsc::channel(TOLD_MAX);
        let mut writer = Writer {
            layout,
            boot_id: boot_id.to_owned(),
            journal: None,
            first: None,
            has_room: true,
            told: sender,
        };
        match Journal::create(writer.layout.agent(), boot_id, &records) {
            Ok(journal) => writer.journal = Some(journal),
            Err(error) if error.is_full() && found.boot_id.as_deref() == Some(boot_id) => {
                tracing::error!(
                    "the disk of the node is full: going on with the journal of the agent before"
                );
                writer.journal = Some(Journal::reopen(writer.layout.agent(), found)?);
                writer.first = Some(Job::Frame(added.seal()));
            }
            Err(error) if error.is_full() => {
                writer.first = Some(Job::Anew { records, frame: Vec::new() });
            }
            Err(error) => return Err(error),
        }
        let thread = std::thread::Builder::new().name("journal".to_owned());
        thread.spawn(move || writer.work(&receiver)).map_err(super::failed("begin to write"))?;
        Ok(Self { jobs, told })
    }

    /// Gives a frame to be written. To be called when nothing is under way.
    pub(crate) fn write(&self, frame: Frame) {
        // Without a thread the next word is that it has ended.
        let _ended = self.jobs.try_send(Job::Frame(frame.seal()));
    }

    /// Gives all records of a shorter journal; `frame` is those that the present one lacks.
    pub(crate) fn compact(&self, records: Vec<Vec<u8>>, frame: Frame) {
        let _ended = self.jobs.try_send(Job::Anew { records, frame: frame.seal() });
    }

    /// The next word; `None` when the thread has ended. Safe to drop.
    pub(crate) async fn told(&mut self) -> Option<Told> {
        self.told.recv().await
    }
}

/// The thread's own.
struct Writer {
    layout: Arc<Layout>,
    boot_id: String,
    journal: Option<Journal>,
    /// What is to be done before the next job: what had no room at the begin, or came while that waited.
    first: Option<Job>,
    has_room: bool,
    told: mpsc::Sender<Told>,
}

impl Writer {
    fn work(mut self, jobs: &Receiver<Job>) {
        let begun = match self.first.take() {
            Some(job) => self.carry_out(job, jobs),
            None => Ok(()),
        };
        let ended = begun.and_then(|()| self.go_on(jobs));
        if let Err(error) = ended {
            self.say(Told::Failed(error));
        }
    }

    fn go_on(&mut self, jobs: &Receiver<Job>) -> Result<(), JournalError> {
        loop {
            self.look_for_room()?;
            let job = match self.first.take() {
                Some(job) => Ok(job),
                None if self.has_room => jobs.recv().map_err(|_ended| RecvTimeoutError::Disconnected),
                None => jobs.recv_timeout(RETRY),
            };
            match job {
                Ok(job) => {
                    self.carry_out(job, jobs)?;
                    let wants_compaction = self.journal.as_ref().is_some_and(Journal::wants_compaction);
                    self.say(Told::Safe { wants_compaction });
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
    }

    /// Does a job, however long there is no room for it; gives up when nobody waits any more.
    fn carry_out(&mut self, mut job: Job, jobs: &Receiver<Job>) -> Result<(), JournalError> {
        loop {
            match self.try_job(&mut job) {
                Err(error) if error.is_full() => self.tell_room(false),
                done => return done,
            }
            if self.first.is_none() {
                match jobs.recv_timeout(RETRY) {
                    // Only at the begin, of which nobody is told.
                    Ok(next) => self.first = Some(next),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return Ok(()),
                }
            } else if let Err(RecvTimeoutError::Disconnected) = jobs.recv_timeout(RETRY) {
                return Ok(());
            }
        }
    }

    fn try_job(&mut self, job: &mut Job) -> Result<(), JournalError> {
        let Job::Anew { records, frame } = job else { return self.write(job) };
        match (Journal::create(self.layout.agent(), &self.boot_id, records), &mut self.journal) {
            (Ok(journal), _) => {
                self.journal = Some(journal);
                Ok(())
            }
            (Err(error), Some(journal)) if error.is_full() => {
                journal.postpone_compaction();
                *job = Job::Frame(std::mem::take(frame));
                self.write(job)
            }
            (Err(error), _) => Err(error),
        }
    }

    fn write(&mut self, job: &Job) -> Result<(), JournalError> {
        match (job, &mut self.journal) {
            (Job::Frame(frame), Some(journal)) => journal.write(frame),
            (Job::Frame(_), None) | (Job::Anew { .. }, _) => Ok(()),
        }
    }

    fn look_for_room(&mut self) -> Result<(), JournalError> {
        if let Some(journal) = &mut self.journal {
            let has_room = journal.reserve()?;
            self.tell_room(has_room);
        }
        Ok(())
    }

    fn tell_room(&mut self, has_room: bool) {
        if self.has_room == has_room {
            return;
        }
        self.has_room = has_room;
        if has_room {
            tracing::info!("there is room for the journal of the agent again");
        } else {
            tracing::error!(
                "the disk of the node is full: nothing begins until there is room for the agent's journal"
            );
        }
        self.say(Told::Room(has_room));
    }

    fn say(&self, told: Told) {
        // The driver has ended if nobody listens.
        let _ended = self.told.blocking_send(told);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{RESERVE_PART, read};
    use super::*;
    use std::io::Write;

    const KIB: usize = 1024;
    /// Of which 256 KiB are reserved.
    const DISK_BYTES: u64 = RESERVE_PART * 256 * 1024;

    /// A small file system of its own, which goes with its guard. Needs root.
    struct SmallDisk(tempfile::TempDir);

    impl SmallDisk {
        fn new(bytes: u64) -> Option<Self> {
            if !nix::unistd::geteuid().is_root() {
                return None;
            }
            let folder = tempfile::tempdir().unwrap();
            let options = format!("size={bytes},mode=0755");
            let flags = nix::mount::MsFlags::MS_NOSUID;
            nix::mount::mount(Some("tmpfs"), folder.path(), Some("tmpfs"), flags, Some(options.as_str()))
                .unwrap();
            Some(Self(folder))
        }

        /// Takes all room that is left.
        fn fill(&self) {
            let mut ballast = std::fs::File::create(self.0.path().join("ballast")).unwrap();
            while ballast.write_all(&[1; 4096]).is_ok() {}
        }

        fn free(&self) {
            std::fs::remove_file(self.0.path().join("ballast")).unwrap();
        }
    }

    impl Drop for SmallDisk {
        fn drop(&mut self) {
            let _busy = nix::mount::umount2(self.0.path(), nix::mount::MntFlags::MNT_DETACH);
        }
    }

    fn frame(bytes: &[u8]) -> Frame {
        let mut frame = Frame::new();
        frame.append(bytes);
        frame
    }

    async fn next(scribe: &mut Scribe) -> Told {
        tokio::time::timeout(Duration::from_secs(20), scribe.told()).await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn a_full_disk_is_told_before_the_last_room_is_used_and_nothing_is_lost_beyond_it() {
        let Some(disk) = SmallDisk::new(DISK_BYTES) else { return };
        let layout = Arc::new(Layout::open(disk.0.path()).unwrap());
        let found = read(layout.agent()).unwrap();
        let mut scribe =
            Scribe::begin(Arc::clone(&layout), "boot", &found, Vec::new(), Frame::new()).unwrap();
        scribe.write(frame(b"0"));
        assert!(matches!(next(&mut scribe).await, Told::Safe { .. }));
        disk.fill();
        let mut told_full = false;
        for _ in 0..6 {
            scribe.write(frame(&[7; 32 * KIB]));
            loop {
                match next(&mut scribe).await {
                    Told::Safe { .. } => break,
                    Told::Room(room) => told_full |= !room,
                    Told::Failed(error) => panic!("{error}"),
                }
            }
        }
        assert!(told_full, "and what was reserved could be used");
        scribe.write(frame(&vec![8; 512 * KIB]));
        assert_eq!(read(layout.agent()).unwrap().records.len(), 7, "this is more than was reserved");
        disk.free();
        let (mut safe, mut has_room) = (false, false);
        while !(safe && has_room) {
            match next(&mut scribe).await {
                Told::Safe { .. } => safe = true,
                Told::Room(room) => has_room = room,
                Told::Failed(error) => panic!("{error}"),
            }
        }
        let found = read(layout.agent()).unwrap();
        assert_eq!((found.records.len(), found.lost_bytes), (8, 0));
    }

    #[tokio::test]
    async fn an_agent_that_starts_on_a_full_disk_goes_on_with_the_journal_that_it_finds() {
        let Some(disk) = SmallDisk::new(DISK_BYTES) else { return };
        let layout = Arc::new(Layout::open(disk.0.path()).unwrap());
        let none = read(layout.agent()).unwrap();
        let mut scribe = Scribe::begin(Arc::clone(&layout), "boot", &none, Vec::new(), Frame::new()).unwrap();
        scribe.write(frame(b"before"));
        next(&mut scribe).await;
        drop(scribe);
        disk.fill();
        let found = read(layout.agent()).unwrap();
        let records = vec![vec![1; 64 * KIB]; 20];
        let mut scribe =
            Scribe::begin(Arc::clone(&layout), "boot", &found, records, frame(b"added")).unwrap();
        scribe.write(frame(b"after"));
        while !matches!(next(&mut scribe).await, Told::Safe { .. }) {}
        let found = read(layout.agent()).unwrap();
        assert_eq!(found.records, [b"before".to_vec(), b"added".to_vec(), b"after".to_vec()]);
        drop(scribe);
        // After a boot it is another journal, which waits for room, and what is given meanwhile with it.
        let mut scribe =
            Scribe::begin(Arc::clone(&layout), "next", &found, vec![vec![2; 4096]; 8], frame(b"added"))
                .unwrap();
        scribe.write(frame(b"later"));
        assert!(matches!(next(&mut scribe).await, Told::Room(false)));
        assert_eq!(read(layout.agent()).unwrap().boot_id.as_deref(), Some("boot"), "what was there is kept");
        disk.free();
        while !matches!(next(&mut scribe).await, Told::Safe { .. }) {}
        let found = read(layout.agent()).unwrap();
        assert_eq!((found.boot_id.as_deref(), found.records.len()), (Some("next"), 9));
    }
}

//! From a request to a running program.
//!
//! The order is the promise: journal, groups, keeper, `muster-started`, the word to go, reply. Whatever fails is
//! undone before it is answered, and a keeper that was cloned is reaped first.

use nix::sys::epoll::EpollFlags;
use nix::sys::signal::Signal;

use muster_supervisor::journal::{Accepted, Started};
use muster_supervisor::{AttemptKey, Refusal, Reply, Spec};

use super::{Custodian, Ground, TASKS_MAX};
use crate::cgroup::{Doors, Groups};
use crate::clock::{monotonic_us, wall_us};
use crate::log;
use crate::processes;
use crate::remains::Fence;
use crate::slots::Slot;
use crate::spawn::{Kept, Report, subject};
use crate::task::{Due, Launching, Stage, Task};
use crate::watch::Token;

impl Custodian {
    /// Starts an attempt. The answer follows when its program executes, unless it is refused at once.
    pub(super) fn start(&mut self, client: u64, request: u64, spec: Box<Spec>) -> Result<(), Refusal> {
        if self.stopping.is_some() {
            return Err(Refusal::Stopping);
        }
        if self.by_key.contains_key(&spec.key) {
            return Err(Refusal::KeyInUse { key: spec.key });
        }
        if spec.leased && self.ground.expiry.is_over() {
            return Err(Refusal::LeaseEnded);
        }
        if u32::try_from(self.tasks.len()).is_ok_and(|held| held >= TASKS_MAX) {
            return Err(Refusal::Full { limit: TASKS_MAX });
        }
        if let Some(limit) = Groups::unenforceable(self.groups.as_ref(), &spec.limits) {
            return Err(Refusal::NotEnforceable { limit });
        }
        if let Some(kind) = self.ground.separation.missing(&spec.isolation) {
            return Err(Refusal::NotSeparable { kind });
        }
        let place = self.ground.slots.take().ok_or(Refusal::Full { limit: TASKS_MAX })?;
        let started = self.start_in(client, request, spec, place);
        if started.is_err() {
            self.ground.slots.release(place);
        }
        started
    }

    /// Starts an attempt that may be started, with its exit slot.
    fn start_in(&mut self, client: u64, request: u64, spec: Box<Spec>, place: u32) -> Result<(), Refusal> {
        let accepted = Accepted {
            key: spec.key.clone(),
            boot_id: self.ground.boot_id.clone(),
            grouped: self.groups.is_some(),
            accepted_at_us: wall_us(),
            wall_clock_ms: spec.limits.wall_clock_ms,
            grace_ms: spec.grace_ms,
            memory_bytes: spec.limits.memory_bytes,
            slot: Some(place),
            leased: spec.leased,
        };
        let slot = Slot::new(place, &accepted.key, accepted.accepted_at_us);
        let mut documents = accepted.encode();
        let unrecorded = |errno| Refusal::Record { operation: "write".to_owned(), errno: errno as i32 };
        self.ground.state.append(&documents).map_err(unrecorded)?;
        let doors = match self.groups.as_ref().map(|groups| groups.create(&spec.key, &spec.limits)) {
            None => Ok(Doors::default()),
            Some(doors) => doors.map_err(Refusal::from),
        };
        let Ground { launcher, slots, .. } = &self.ground;
        let tracker = self.groups.as_ref().and_then(|groups| groups.tracker(&spec.key));
        let kept = Kept {
            slots,
            slot,
            fence: tracker.and_then(|(root, group)| Fence::new(root, &group)),
            leash: self.leash(spec.leased),
        };
        let launch = match doors.and_then(|doors| launcher.launch(&spec, &doors, &kept)) {
            Ok(launch) => launch,
            Err(refusal) => {
                self.remove_groups(&spec.key);
                self.record_gone(std::slice::from_ref(&spec.key));
                return Err(refusal);
            }
        };
        let started = Started {
            pid: launch.pid,
            // Our child cannot vanish before we reap it, so this is missing only without /proc.
            start_ticks: processes::look(launch.pid).map_or(0, |process| process.start_ticks),
            started_at_us: wall_us(),
            started_monotonic_us: monotonic_us(),
        };
        let document = started.encode(&spec.key);
        documents.extend_from_slice(&document);
        let launching = Launching { launch, spec, client, request, failure: None };
        let number = self.admit(&accepted, started, launching, documents);
        match self.ground.state.append(&document) {
            Ok(()) => self.go(number),
            Err(errno) => self.doom(number, unrecorded(errno)),
        }
        Ok(())
    }

    /// Lets the program be executed, unless the launch cannot be carried through.
    fn go(&mut self, number: u64) {
        let Some(Task { stage: Stage::Launching(launching), .. }) = self.tasks.get(&number) else { return };
        if launching.failure.is_none()
            && let Err(errno) = launching.launch.go()
        {
            self.doom(number, Refusal::Record { operation: "let go on".to_owned(), errno: errno as i32 });
        }
    }

    fn admit(
        &mut self,
        accepted: &Accepted,
        started: Started,
        launching: Launching,
        documents: Vec<u8>,
    ) -> u64 {
        let number = self.next_number();
        let memory_limited = accepted.memory_bytes.is_some();
        let report =
            self.ground.watch.add(&launching.launch.report, Token::Launch(number), EpollFlags::EPOLLIN);
        let mut task = Task {
            key: accepted.key.clone(),
            grouped: accepted.grouped,
            pid: started.pid,
            main_pid: None,
            slot: accepted.slot.map(|slot| Slot::new(slot, &accepted.key, accepted.accepted_at_us)),
            foreign: false,
            start_ticks: started.start_ticks,
            started_at_us: Some(started.started_at_us),
            started_monotonic_us: started.started_monotonic_us,
            grace_ms: accepted.grace_ms,
            memory_limited,
            leased: accepted.leased,
            ended_by: None,
            documents,
            memory_watch: None,
            due: Due::default(),
            stage: Stage::Launching(Box::new(launching)),
        };
        task.limit_wall_clock(accepted.wall_clock_ms);
        self.by_key.insert(task.key.clone(), number);
        self.by_pid.insert(task.pid, number);
        self.tasks.insert(number, task);
        if memory_limited {
            self.watch_memory(number);
        }
        self.queue(number);
        if let Err(errno) = report {
            self.doom(
                number,
                Refusal::Record { operation: "watch the start of".to_owned(), errno: errno as i32 },
            );
        }
        number
    }

    /// Watches an attempt with a memory limit, where the kernel would kill one of its processes and leave the
    /// others.
    pub(super) fn watch_memory(&mut self, number: u64) {
        let (Some(groups), Some(task)) = (&self.groups, self.tasks.get_mut(&number)) else { return };
        let Some(event) = task.grouped.then(|| groups.oom_watch(&task.key)).flatten() else { return };
        match self.ground.watch.add(&event, Token::Memory(number), EpollFlags::EPOLLIN) {
            Ok(()) => task.memory_watch = Some(event),
            Err(errno) => {
                log::warn("cannot watch the memory of an attempt", &[("key", &task.key), ("error", &errno)])
            }
        }
    }

    /// Gives up a launch that cannot be carried through. Its keeper, which never heard the word to go, hears the
    /// end of the connection and exits; when it is reaped, the request is answered.
    fn doom(&mut self, number: u64, refusal: Refusal) {
        let Some(task) = self.tasks.get_mut(&number) else { return };
        if let Stage::Launching(launching) = &mut task.stage {
            launching.failure = Some(refusal);
            self.ground.watch.remove(&launching.launch.report);
            launching.launch.hang_up();
        }
    }

    /// The connection to an attempt that is being launched has something to say.
    pub(crate) fn launch_ready(&mut self, number: u64) {
        let Some(task) = self.tasks.get_mut(&number) else { return };
        let Stage::Launching(launching) = &mut task.stage else { return };
        let report = launching.launch.look();
        if report == Report::Pending {
            return;
        }
        self.ground.watch.remove(&launching.launch.report);
        if let Report::Failed { step, item, errno } = report {
            let subject = subject(&launching.spec, step, item);
            launching.failure.get_or_insert(Refusal::Launch { step, subject, errno });
        }
        if launching.failure.is_some() {
            // It is answered when the process is reaped.
            return;
        }
        let (client, request) = (launching.client, launching.request);
        task.main_pid = processes::main_of(task.pid);
        let pid = task.shown_pid();
        let started = Reply::Started { pid, started_at_us: task.started_at_us.unwrap_or_default() };
        log::debug("started", &[("key", &task.key), ("pid", &pid), ("keeper_pid", &task.pid)]);
        let told_to_end = task.ended_by.is_some();
        task.stage = Stage::Running { pidfd: None };
        self.reply(client, request, Ok(started));
        if told_to_end {
            // When it was told there may have been no process yet to hear it.
            self.signal(number, Signal::SIGTERM);
        }
    }

    /// The process of a failed launch is reaped: nothing of it is left but to say so.
    pub(super) fn launch_failed(&mut self, number: u64) {
        let Some(task) = self.tasks.get_mut(&number) else { return };
        let Stage::Launching(launching) = &mut task.stage else { return };
        let Some(refusal) = launching.failure.take() else { return };
        let (client, request, key) = (launching.client, launching.request, task.key.clone());
        log::debug("not started", &[("key", &key), ("reason", &refusal)]);
        self.unwatch_memory(number);
        self.remove_groups(&key);
        self.record_gone(std::slice::from_ref(&key));
        self.forget(number);
        self.reply(client, request, Err(refusal));
    }

    /// Removes groups that have no processes any more.
    pub(super) fn remove_groups(&self, key: &AttemptKey) {
        match self.groups.as_ref().map(|groups| groups.remove(key)) {
            None | Some(Ok(true)) => {}
            Some(Ok(false)) => log::warn("a group stays behind", &[("key", key)]),
            Some(Err(error)) => log::warn("a group stays behind", &[("key", key), ("error", &error)]),
        }
    }
}

//! The keeper: the parent of one task's main process, which tells how that ended whoever else is alive.
//!
//! The supervisor clones it, with a process namespace where the task has one: there it is the first process,
//! and its end makes the kernel kill the rest. It waits for the supervisor's word, starts the task, reaps
//! whatever becomes its child, ends what the task leaves, writes the main process's end into its exit slot, and
//! exits. It holds the node's lease, too: if that is over a moment after the supervisor should have acted, the
//! supervisor is dead or frozen, and the keeper ends the task. It stays out of the task's control groups: no limit,
//! freeze or kill of the task meets it, and it counts for none.
//!
//! Invariant: without the supervisor's word, given once the start is recorded, nothing is executed; and nothing of a
//! task that ends with the lease outlives it by more than the budget in `lease_word.rs`, while its keeper lives.

use std::os::fd::{BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::prctl::{set_child_subreaper, set_dumpable, set_name};
use nix::sys::resource::{UsageWho, getrusage};
use nix::unistd::read;

use muster_supervisor::LaunchStep;
use muster_supervisor::record::Usage;

use crate::birth::{Birth, run_in_borrowed_memory};
use crate::child::{self, NOT_EXECUTED, Plan};
use crate::clock::{boottime_us, wall_us};
use crate::footprint::Layout;
use crate::isolate::Failure;
use crate::lease_word;
use crate::reap;
use crate::remains::{Fence, Pause, Reach};
use crate::slots::{End, Slip, Slot};
use crate::sys::{Alarm, await_event, block_signals, exit_now, hold_only, reap_any};

/// How long a keeper kills what its task left, where there is neither group nor namespace to do it.
const SWEEP_US: u64 = 10_000_000;
/// The same where a living supervisor would kill the group: it waits for the keeper's end to do so.
const GROUP_SWEEP_US: u64 = 1_000_000;
/// The first look at the lease comes after this long at the latest: a task that ends before costs no timer.
const FIRST_LOOK_MS: u64 = 1_000;
/// Pause until another look at a lease that cannot be read: it is being written at that moment.
const UNREADABLE_MS: u32 = 10;
/// Looks after which one that cannot be read counts as over, for that harms this task only.
const UNREADABLE_MAX: u32 = 5;
/// Exit code of a keeper that lost its task, which cannot be.
const TASK_LOST: i32 = 125;

/// What a keeper needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keeping<'a> {
    /// The exit slots.
    pub(crate) slots: BorrowedFd<'a>,
    pub(crate) slot: Slot,
    /// The cgroup v2 directory that the task is cloned into.
    pub(crate) group: Option<BorrowedFd<'a>>,
    /// Whether it is the first process of a namespace.
    pub(crate) process_namespace: bool,
    /// The task's group, where there are groups.
    pub(crate) fence: Option<Fence<'a>>,
    pub(crate) leash: Leash,
    pub(crate) layout: Layout,
    /// The words that `ps` shows.
    pub(crate) title: &'a [u8],
}

/// Whether the task ends with the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leash {
    /// It does not.
    Free,
    /// It does.
    Held {
        /// When its keeper acts, by what the supervisor knew at the clone; `None` if no lease was in force.
        act_at_us: Option<u64>,
    },
}

/// Lives a keeper's life.
pub(crate) fn keep(
    keeping: &Keeping<'_>,
    plan: &mut Plan<'_>,
    argv: &[*const libc::c_char],
    env: &[*const libc::c_char],
) -> ! {
    block_signals();
    // Only people look at the two names.
    let _ = set_name(c"muster-keeper");
    keeping.layout.retitle(keeping.title);
    if !heard_the_word(&plan.report) {
        give_up(keeping);
    }
    if !keeping.process_namespace {
        // Without it orphans of the task would go to the supervisor, which would know less of them.
        let _ = set_child_subreaper(true);
    }
    let birth = Birth { process_namespace: false, group: keeping.group };
    // However long the way there was: nothing begins under a lease that is over.
    let may_begin = || match keeping.leash {
        Leash::Held { act_at_us: Some(at) } if at <= boottime_us() => {
            // No system call but for such a one.
            matches!(lease_word::read(keeping.slots), Ok(at) if at.is_none_or(|at| at > boottime_us()))
        }
        Leash::Held { .. } | Leash::Free => true,
    };
    let task = || {
        child::run(plan, argv, env, &may_begin);
        note_not_executed(keeping);
    };
    match run_in_borrowed_memory(birth, task, NOT_EXECUTED) {
        Ok(main) => watch_over(keeping, main),
        Err(errno) => {
            child::report(&plan.report, Failure::at(LaunchStep::Clone, 0)(errno));
            give_up(keeping)
        }
    }
}

/// Says that nothing was executed.
fn note_not_executed(keeping: &Keeping<'_>) {
    // If it cannot be written, the exit code remains.
    let _ = keeping.slot.write(keeping.slots, &Slip::not_executed(wall_us()));
}

/// The same, and exits.
fn give_up(keeping: &Keeping<'_>) -> ! {
    note_not_executed(keeping);
    exit_now(NOT_EXECUTED)
}

/// Waits for the supervisor to say that the start is recorded; it is gone if it does not.
fn heard_the_word(report: &OwnedFd) -> bool {
    let mut word = [0];
    matches!(read(report, &mut word), Ok(1))
}

fn watch_over(keeping: &Keeping<'_>, main: i32) -> ! {
    let Keeping { slot, process_namespace, fence, mut leash, layout, .. } = *keeping;
    // Above all the report is closed, whose end is the word that the program executes.
    let outside = fence.filter(|_| !process_namespace);
    let held = hold_only(keeping.slots, outside.as_ref().map(Fence::root));
    // Without it a task of the same user could look into this process.
    let _ = set_dumpable(false);
    // From here on nothing is allocated, and nothing that was is used.
    layout.shed();
    let (slots, root) = match held {
        Ok((slots, root)) => (Some(slots), root),
        Err(_) => (None, None),
    };
    if slots.is_none() {
        leash = Leash::Free;
    }
    let fence = outside.and_then(|fence| root.map(|root| fence.moved(root)));
    let reach = if process_namespace { Reach::Namespace } else { Reach::Tree(fence.as_ref()) };
    let (status, lease_ended) = await_end(main, slots, leash, &reach);
    let code = if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 128 + libc::WTERMSIG(status) };
    if let Some(slots) = slots {
        let launched = code != NOT_EXECUTED || slot.read(slots).is_none();
        if launched {
            let end = if lease_ended { End::LeaseEnded(status) } else { End::Status(status) };
            let slip = Slip { end, ended_at_us: wall_us(), usage: usage_of_children() };
            // If it cannot be written, the exit code remains.
            let _ = slot.write(slots, &slip);
        }
    }
    if !process_namespace {
        let bound = if fence.is_some() { GROUP_SWEEP_US } else { SWEEP_US };
        // Nobody else would, at the end of a lease.
        reach.end((!lease_ended).then_some(bound));
    }
    exit_now(code)
}

/// Waits for the end of the main process, which it brings about when the lease is over; gives its wait status, and
/// whether the lease was the reason.
fn await_end(main: i32, slots: Option<BorrowedFd<'_>>, leash: Leash, reach: &Reach<'_>) -> (i32, bool) {
    let mut lease = slots.and_then(|slots| LeaseWatch::new(slots, leash));
    let mut killing: Option<Pause> = None;
    let mut pause = lease.as_ref().and_then(LeaseWatch::first_look);
    loop {
        await_event(pause);
        loop {
            match reap_any() {
                Ok(Some(reaped)) if reaped.pid == main => return (reaped.status, killing.is_some()),
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => exit_now(TASK_LOST),
            }
        }
        if killing.is_none()
            && let Some(lease) = &mut lease
        {
            match lease.look() {
                Look::Later(next) => pause = next,
                Look::Over => killing = Some(Pause::default()),
            }
        }
        if let Some(killing) = &mut killing {
            reach.kill();
            pause = Some(killing.next());
        }
    }
}

/// The lease as one keeper watches it.
struct LeaseWatch<'a> {
    slots: BorrowedFd<'a>,
    /// When to act, by what was known at the clone.
    act_at_us: Option<u64>,
    alarm: Option<Alarm>,
    unreadable: u32,
}

/// What a look at the lease says.
enum Look {
    /// Look again when a signal comes, or after so many milliseconds.
    Later(Option<u32>),
    /// The task is to end.
    Over,
}

impl<'a> LeaseWatch<'a> {
    fn new(slots: BorrowedFd<'a>, leash: Leash) -> Option<Self> {
        match leash {
            Leash::Free => None,
            Leash::Held { act_at_us } => Some(Self { slots, act_at_us, alarm: None, unreadable: 0 }),
        }
    }

    /// How long to wait before the first look, in milliseconds; `None` if the supervisor will say when.
    fn first_look(&self) -> Option<u32> {
        self.act_at_us.map(|at| millis(left_us(at).min(FIRST_LOOK_MS * 1_000)))
    }

    fn look(&mut self) -> Look {
        match lease_word::read(self.slots) {
            // If one comes into force, the supervisor says so.
            Ok(None) => Look::Later(None),
            Ok(Some(at)) if left_us(at) == 0 => Look::Over,
            Ok(Some(at)) => {
                self.unreadable = 0;
                Look::Later(self.ring_at(at).err().map(|_| millis(left_us(at))))
            }
            Err(_) if self.unreadable < UNREADABLE_MAX => {
                self.unreadable += 1;
                Look::Later(Some(UNREADABLE_MS))
            }
            Err(_) => Look::Over,
        }
    }

    /// Where no timer is to be had (each counts for its user's limit of signals that wait), the caller waits by a
    /// clock that stands still while the machine is suspended.
    fn ring_at(&mut self, at_us: u64) -> Result<(), Errno> {
        let alarm = match &mut self.alarm {
            Some(alarm) => alarm,
            none => none.insert(Alarm::new()?),
        };
        alarm.ring_at(at_us)
    }
}

/// Microseconds until a time of the boot clock.
fn left_us(at_us: u64) -> u64 {
    at_us.saturating_sub(boottime_us())
}

/// The same in milliseconds, rounded up so as not to wake before.
fn millis(micros: u64) -> u32 {
    u32::try_from(micros.div_ceil(1_000)).unwrap_or(u32::MAX)
}

/// What ended children of this process used, and those that they waited for.
fn usage_of_children() -> Usage {
    getrusage(UsageWho::RUSAGE_CHILDREN).map_or_else(|_| Usage::default(), |used| reap::usage(used.as_ref()))
}

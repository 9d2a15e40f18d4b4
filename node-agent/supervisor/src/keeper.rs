//! The keeper: the parent of one task's main process, which tells how that ended whoever else is alive.
//!
//! The supervisor clones it, with a process namespace where the task has one: there it is the first process,
//! and its end makes the kernel kill the rest. It waits for the supervisor's word, starts the task, reaps
//! whatever becomes its child, writes the main process's end into its exit slot, and exits. It stays out of
//! the task's control groups: no limit, freeze or kill of the task meets it, and it counts for none.
//!
//! Invariant: without the supervisor's word, given once the start is recorded, nothing is executed.

use std::os::fd::{BorrowedFd, OwnedFd};

use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::libc;
use nix::sys::prctl::{set_child_subreaper, set_dumpable, set_name};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, read};

use muster_supervisor::LaunchStep;
use muster_supervisor::record::Usage;

use crate::birth::{Birth, run_in_borrowed_memory};
use crate::child::{self, NOT_EXECUTED, Plan};
use crate::clock::{monotonic_us, wall_us};
use crate::footprint::Layout;
use crate::isolate::Failure;
use crate::reap;
use crate::slots::{End, Slip, Slot};
use crate::sys::{await_child, block_signals, exit_now, hold_only, reap_any, wait_any};

/// How long a keeper kills what its task left, where there is neither group nor namespace to do it.
const SWEEP_US: u64 = 10_000_000;
/// Pause between two rounds of it, unless a child ends before.
const SWEEP_PAUSE_MS: u32 = 20;
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
    /// Whether nobody else can tell what the task has left.
    pub(crate) sweeps: bool,
    pub(crate) layout: Layout,
    /// The words that `ps` shows.
    pub(crate) title: &'a [u8],
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
    let task = || {
        child::run(plan, argv, env);
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
    let Keeping { slot, process_namespace, sweeps, layout, .. } = *keeping;
    // Above all the report is closed, whose end is the word that the program executes.
    let held = hold_only(keeping.slots);
    // Without it a task of the same user could look into this process.
    let _ = set_dumpable(false);
    // From here on nothing is allocated, and nothing that was is used.
    layout.shed();
    let status = loop {
        match wait_any() {
            Ok(Some(reaped)) if reaped.pid == main => break reaped.status,
            Ok(_) => {}
            Err(_) => exit_now(TASK_LOST),
        }
    };
    let code = if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 128 + libc::WTERMSIG(status) };
    if let Ok(slots) = &held {
        let launched = code != NOT_EXECUTED || slot.read(*slots).is_none();
        if launched {
            let slip = Slip { end: End::Status(status), ended_at_us: wall_us(), usage: usage_of_children() };
            // If it cannot be written, the exit code remains.
            let _ = slot.write(*slots, &slip);
        }
    }
    if sweeps && !process_namespace {
        sweep();
    }
    exit_now(code)
}

/// What ended children of this process used, and those that they waited for.
fn usage_of_children() -> Usage {
    getrusage(UsageWho::RUSAGE_CHILDREN).map_or_else(|_| Usage::default(), |used| reap::usage(used.as_ref()))
}

/// Kills what the task left, round by round: whose parent is killed becomes our child.
fn sweep() {
    let until = monotonic_us().saturating_add(SWEEP_US);
    loop {
        kill_children();
        loop {
            match reap_any() {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => return,
            }
        }
        if monotonic_us() >= until {
            return;
        }
        await_child(SWEEP_PAUSE_MS);
    }
}

/// Sends SIGKILL to as many children as fit into a page; the rest are met in the next round.
fn kill_children() {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    // A kernel without this file leaves them to the supervisor.
    let Ok(file) = openat(AT_FDCWD, c"/proc/thread-self/children", flags, Mode::empty()) else { return };
    let mut text = [0; 4096];
    let length = read(&file, &mut text).unwrap_or(0);
    // The last number is cut if more would follow, so it counts only with the blank behind it.
    let mut number = 0_i32;
    for byte in &text[..length] {
        match byte {
            b'0'..=b'9' => number = number.saturating_mul(10).saturating_add((byte - b'0').into()),
            _ => {
                if number > 1 {
                    // A child that is gone by now needs no signal.
                    let _ = kill(Pid::from_raw(number), Signal::SIGKILL);
                }
                number = 0;
            }
        }
    }
}

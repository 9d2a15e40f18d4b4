//! What can be learnt from /proc: start times, parents, sessions; and, without control groups, who belongs to
//! a task.
//!
//! Without a group the processes of a task are the descendants of its keeper, to which orphans go. Those of one
//! without a keeper (an earlier build started it, or somebody killed the keeper) are its session and the
//! descendants of that; a descendant that left the session and whose parents have ended becomes a child of
//! ours and cannot be told from that of another task: such strays are killed when no task is left. This is why
//! limits and containment are reported as reduced.

use std::collections::HashSet;
use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// One process, as /proc gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    pub(crate) session: i32,
    /// Clock ticks since boot.
    pub(crate) start_ticks: u64,
    /// It has ended and waits to be reaped.
    pub(crate) ended: bool,
    /// Its wait status once it has ended; also shown to others than its parent, if they may trace it.
    pub(crate) status: i32,
}

/// Looks at one process; `None` if there is none of that id.
pub(crate) fn look(pid: i32) -> Option<Process> {
    parse(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The wait status of a process that has ended and was not reaped yet.
pub(crate) fn unreaped_status(pid: i32, start_ticks: u64) -> Option<i32> {
    look(pid)
        .filter(|process| process.ended && process.start_ticks == start_ticks)
        .map(|process| process.status)
}

fn parse(pid: i32, stat: &str) -> Option<Process> {
    // The name in brackets may hold anything, so fields are counted from the last bracket: state is the first
    // behind it.
    let (_, tail) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = tail.split_ascii_whitespace().collect();
    Some(Process {
        pid,
        parent: fields.get(1)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        start_ticks: fields.get(19)?.parse().ok()?,
        ended: matches!(*fields.first()?, "Z" | "X"),
        status: fields.get(49)?.parse().ok()?,
    })
}

fn all() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(look).filter(|process| !process.ended).collect()
}

/// The main process of a keeper: the first of its children, for orphans come behind those that it has. `None`
/// where the kernel does not tell, or it has none.
pub(crate) fn main_of(keeper: i32) -> Option<i32> {
    let children = fs::read_to_string(format!("/proc/{keeper}/task/{keeper}/children")).ok()?;
    children.split_ascii_whitespace().next()?.parse().ok()
}

/// What a keeper keeps: all its descendants, for no orphan gets past it.
pub(crate) fn kept(keeper: i32, start_ticks: u64) -> Vec<i32> {
    let mut members = tree(keeper, start_ticks);
    members.retain(|pid| *pid != keeper);
    members
}

/// Processes of the session that `main` leads and all their descendants, ended ones left out.
///
/// The kernel gives out an id again only when no session bears it, so a process of that id with another start
/// time means that nothing of the session is left.
pub(crate) fn tree(main: i32, start_ticks: u64) -> Vec<i32> {
    match look(main) {
        _ if main <= 1 => Vec::new(),
        Some(process) if process.start_ticks != start_ticks => Vec::new(),
        Some(_) | None => select(&all(), main),
    }
}

fn select(processes: &[Process], main: i32) -> Vec<i32> {
    let first = |process: &&Process| process.session == main || process.pid == main;
    let mut members: HashSet<i32> = processes.iter().filter(first).map(|process| process.pid).collect();
    loop {
        let before = members.len();
        let children =
            processes.iter().filter(|process| members.contains(&process.parent)).map(|process| process.pid);
        members.extend(children.collect::<Vec<_>>());
        if members.len() == before {
            return members.into_iter().collect();
        }
    }
}

/// Our own children apart from those given: strays of tasks that have ended.
pub(crate) fn strays(own: i32, known: &dyn Fn(i32) -> bool) -> Vec<i32> {
    all()
        .into_iter()
        .filter(|process| process.parent == own && !known(process.pid))
        .map(|process| process.pid)
        .collect()
}

/// Whether we have children apart from those given. Descendants of a child of ours that has ended are below
/// such a one, so without any there is nothing left of it, and no need to look at every process of the node.
pub(crate) fn have_strays(known: &dyn Fn(i32) -> bool) -> bool {
    let own = std::process::id();
    match fs::read_to_string(format!("/proc/self/task/{own}/children")) {
        Ok(children) => children.split_ascii_whitespace().any(|pid| pid.parse().is_ok_and(|pid| !known(pid))),
        // A kernel without this file: the long way finds out.
        Err(_) => true,
    }
}

/// Sends a signal to each process.
pub(crate) fn signal(pids: &[i32], signal: Signal) {
    for pid in pids {
        // A process that is gone by now needs no signal.
        let _ = kill(Pid::from_raw(*pid), signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_blanks_does_not_shift_the_fields() {
        let head = "42 (a) R (b) Z 7 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 123456";
        let stat = format!("{head}{} 5888", " 0".repeat(29));
        let wanted =
            Process { pid: 42, parent: 7, session: 42, start_ticks: 123_456, ended: true, status: 23 << 8 };
        assert_eq!(parse(42, &stat), Some(wanted));
        assert_eq!(parse(42, "42 (x)"), None);
    }

    #[test]
    fn a_tree_holds_the_session_and_descendants_that_left_it() {
        let process =
            |pid, parent, session| Process { pid, parent, session, start_ticks: 0, ended: false, status: 0 };
        let all = [
            process(10, 1, 10),
            process(11, 10, 10),
            process(12, 11, 12),
            process(13, 12, 13),
            process(20, 1, 20),
        ];
        let mut members = select(&all, 10);
        members.sort_unstable();
        assert_eq!(members, [10, 11, 12, 13]);
    }
}

//! What live attempts use at this moment, on request.
//!
//! Nothing is measured unless somebody asks, and asking costs the reading of a few small files for each attempt,
//! so an idle node pays nothing. What an attempt used in the end is read where it ends, in `ending`.
//!
//! Bytes read and written come from the group where it counts them, else from its processes: the kernel adds what
//! a process did to its parent when that waits for it, so the sum over those that exist is what all did.
//!
//! Invariant: reading changes nothing of an attempt.

use muster_supervisor::record::Usage;
use muster_supervisor::{AttemptKey, Reply};

use super::Custodian;
use crate::cgroup::Groups;

/// Most processes of an attempt that are asked for their bytes, at about 10 µs each; of an attempt with more the
/// bytes are unknown until its end.
const PROCESSES_ASKED_MAX: usize = 32;

impl Custodian {
    /// What those of the attempts use that are live and have groups; of the others there is nothing to read that
    /// would hold for all of their processes.
    pub(super) fn usages(&self, keys: &[AttemptKey]) -> Reply {
        let Some(groups) = &self.groups else { return Reply::Usages(Vec::new()) };
        let live = |key: &&AttemptKey| {
            let task = self.by_key.get(*key).and_then(|number| self.tasks.get(number));
            task.is_some_and(|task| task.is_live() && task.grouped)
        };
        let usage = |key: &AttemptKey| (key.clone(), usage(groups, key));
        Reply::Usages(keys.iter().filter(live).map(usage).collect())
    }
}

fn usage(groups: &Groups, key: &AttemptKey) -> Usage {
    let mut usage = groups.usage(key);
    if usage.read_bytes.is_none() {
        let members = groups.members(key);
        if members.len() <= PROCESSES_ASKED_MAX {
            let done =
                members.iter().filter_map(|pid| std::fs::read_to_string(format!("/proc/{pid}/io")).ok());
            let (read, written) = done
                .map(|text| io_bytes(&text))
                .fold((0_u64, 0_u64), |sum, one| (sum.0.saturating_add(one.0), sum.1.saturating_add(one.1)));
            (usage.read_bytes, usage.written_bytes) = (Some(read), Some(written));
        }
    }
    usage
}

/// Bytes read and written by a process and the children that it waited for, from the text of its `io` file; what was
/// written and then thrown away before it reached the disk is not counted.
fn io_bytes(text: &str) -> (u64, u64) {
    let number = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        value.and_then(|value| value.parse::<u64>().ok()).unwrap_or(0)
    };
    (number("read_bytes"), number("write_bytes").saturating_sub(number("cancelled_write_bytes")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_a_process_are_those_of_the_disk_without_what_was_thrown_away() {
        let text = "rchar: 9\nwchar: 8\nsyscr: 7\nsyscw: 6\nread_bytes: 4096\nwrite_bytes: 8192\n\
                    cancelled_write_bytes: 1000\n";
        assert_eq!(io_bytes(text), (4096, 7192));
        assert_eq!(io_bytes("read_bytes: x\nwrite_bytes: 1\ncancelled_write_bytes: 5\n"), (0, 0));
        assert_eq!(io_bytes(""), (0, 0));
    }
}

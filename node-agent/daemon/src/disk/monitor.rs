//! Looks at the directories of live attempts with a limit, and tells the core of those that are full.
//!
//! A look costs microseconds where the bound is hard, and a walk where it is only watched; so that all of it stays below a hundredth
//! of a processor, the pause after a round is as long as it takes for that. Nothing is looked at while no limited attempt is live.

use super::disks::Disks;
use muster_agent_core::input::OverDisk;
use muster_agent_core::{Input, Subject};
use muster_model::AttemptId;
use muster_model::state::DiskLimit;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Shortest pause between two rounds.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// Longest pause, however much there is to walk.
const PAUSE_MAX: Duration = Duration::from_secs(300);
/// The pause is so many times as long as the round took: the rest of a hundred.
const PAUSE_PARTS: u32 = 99;
/// A watched directory is not walked again while the node's disk has lost less than this part of what the directory may still take.
const ROOM_PART: u64 = 4;
/// How often in a row it may be passed over for that: others may have freed what it took.
const PASSED_OVER_MAX: u32 = 4;

/// What is known of the disk at the last walk of a directory.
#[derive(Debug, Clone, Copy)]
struct Walked {
    free_bytes: u64,
    passed_over: u32,
}

/// Looks for as long as somebody listens.
pub(crate) async fn monitor(disks: Arc<Disks>, inputs: mpsc::Sender<Input>) {
    let mut walked = BTreeMap::new();
    loop {
        let begun = disks.begun.notified();
        if disks.bounded().is_empty() {
            walked.clear();
            begun.await;
            continue;
        }
        let looking = Arc::clone(&disks);
        let round = tokio::task::spawn_blocking(move || round(&looking, walked)).await;
        // A panic there is logged by itself.
        let Ok(seen) = round else { return };
        for (attempt, over) in seen.full {
            let input = Input::OverDisk { subject: Subject::Attempt(attempt), over };
            if inputs.send(input).await.is_err() {
                return;
            }
        }
        walked = seen.walked;
        let pause = seen.took.saturating_mul(PAUSE_PARTS).clamp(PAUSE_MIN, PAUSE_MAX);
        tokio::time::sleep(pause).await;
    }
}

struct Round {
    full: Vec<(AttemptId, OverDisk)>,
    walked: BTreeMap<String, Walked>,
    took: Duration,
}

/// Looks at everything once.
fn round(disks: &Disks, before: BTreeMap<String, Walked>) -> Round {
    let begun = Instant::now();
    let (mut full, mut walked) = (Vec::new(), BTreeMap::new());
    for watched in disks.bounded() {
        if watched.means.kind() == DiskLimit::Watch {
            let free_bytes = free_bytes(disks);
            let last = before.get(&watched.name).copied();
            if let Some(last) = last.filter(|last| may_pass_over(*last, free_bytes, watched.seen.room_bytes))
            {
                let passed_over = last.passed_over.saturating_add(1);
                walked.insert(watched.name, Walked { passed_over, ..last });
                continue;
            }
            walked.insert(watched.name.clone(), Walked { free_bytes, passed_over: 0 });
        }
        match watched.means.look(&watched.spot) {
            Ok(look) => {
                let usage = disks.saw(&watched.name, look);
                full.extend(usage.and_then(|usage| Some((watched.attempt, usage.over()?))));
            }
            // Its directory may just be going.
            Err(error) => {
                tracing::debug!(attempt = %watched.attempt, %error, "cannot see how full a directory is")
            }
        }
    }
    Round { full, walked, took: begun.elapsed() }
}

/// Whether a directory cannot have grown much, by what the disk has lost since it was walked.
const fn may_pass_over(last: Walked, free_bytes: u64, room_bytes: u64) -> bool {
    last.passed_over < PASSED_OVER_MAX && last.free_bytes.saturating_sub(free_bytes) < room_bytes / ROOM_PART
}

fn free_bytes(disks: &Disks) -> u64 {
    nix::sys::statvfs::statvfs(disks.tasks())
        .map_or(0, |facts| facts.blocks_free().saturating_mul(facts.fragment_size()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_walked_again_when_the_disk_lost_what_it_may_have_taken_or_after_a_while() {
        let last = |passed_over| Walked { free_bytes: 1_000, passed_over };
        assert!(may_pass_over(last(0), 1_000, 400) && may_pass_over(last(3), 950, 400));
        assert!(may_pass_over(last(0), 2_000, 400), "others freed something");
        assert!(!may_pass_over(last(0), 900, 400), "it may have taken a quarter of its room");
        assert!(!may_pass_over(last(PASSED_OVER_MAX), 1_000, 400));
        assert!(!may_pass_over(last(0), 1_000, 0), "it is full");
    }
}

//! Reports of a session that wait for the engine, so that a heartbeat behind them on the stream is read all the same.
//!
//! While the disk is slow or full the engine takes no reports, but leases go on: the session goes on reading and keeps
//! what it cannot pass on here, in order. Bounded by bytes, for each session and for all together; a node that sends more
//! is not read until there is room, and may lose its lease by that. In: messages of reports. Out: the same.

use muster_proto::wire;
use prost::Message as _;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// Reports of one session that may wait, in KiB: two of the largest messages of an agent. A node has no more to report than
/// what it was given to run, and is given nothing while nothing is stored.
const SESSION_KIB_MAX: u32 = 16 * 1024;

/// Reports of all sessions together, in KiB: 256 MiB, a full message of each of 32 nodes, or a hundred reports of each of
/// a thousand.
const ALL_KIB_MAX: u32 = 256 * 1024;

/// The room that the sessions of a controller share.
#[derive(Debug, Clone)]
pub(super) struct ReportRoom(Arc<Semaphore>);

impl Default for ReportRoom {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(permits(ALL_KIB_MAX))))
    }
}

fn permits(kib: u32) -> usize {
    usize::try_from(kib).unwrap_or(usize::MAX)
}

/// A message of reports with the room that it takes.
pub(super) struct Waiting {
    pub(super) reports: wire::Reports,
    _rooms: [OwnedSemaphorePermit; 2],
}

/// The end that the stream's reader has.
pub(super) struct ReportLine {
    queue: mpsc::UnboundedSender<Waiting>,
    own: Arc<Semaphore>,
    all: ReportRoom,
}

/// A line for one session. Its length is bounded by the room that each message takes.
pub(super) fn line(all: &ReportRoom) -> (ReportLine, mpsc::UnboundedReceiver<Waiting>) {
    let (queue, receiver) = mpsc::unbounded_channel();
    let own = Arc::new(Semaphore::new(permits(SESSION_KIB_MAX)));
    (ReportLine { queue, own, all: all.clone() }, receiver)
}

impl ReportLine {
    /// Queues a message once there is room. When the other end is gone, so is the session.
    pub(super) async fn push(&self, reports: wire::Reports) {
        let kib = u32::try_from(reports.encoded_len() / 1024).unwrap_or(u32::MAX).saturating_add(1);
        let kib = kib.min(SESSION_KIB_MAX);
        let own = Arc::clone(&self.own).acquire_many_owned(kib).await;
        let all = Arc::clone(&self.all.0).acquire_many_owned(kib).await;
        // Neither is ever closed.
        if let (Ok(own), Ok(all)) = (own, all) {
            let _ = self.queue.send(Waiting { reports, _rooms: [own, all] });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    fn reports(kib: usize) -> wire::Reports {
        let error = wire::NodeError { message: "x".repeat(kib * 1024), ..Default::default() };
        let event = wire::report::Event::Health(wire::NodeHealth { errors: vec![error] });
        wire::Reports { reports: vec![wire::Report { sequence: 1, event: Some(event) }] }
    }

    #[test]
    fn what_waits_is_bounded_and_gives_its_room_back() {
        let all = ReportRoom::default();
        let (line, mut queue) = line(&all);
        let mut taken = 0;
        while line.push(reports(1023)).now_or_never().is_some() {
            taken += 1;
        }
        assert_eq!(taken, SESSION_KIB_MAX / 1024);
        drop(queue.try_recv().unwrap());
        assert!(line.push(reports(1023)).now_or_never().is_some());
        assert!(line.push(reports(1023)).now_or_never().is_none());
    }

    #[test]
    fn all_sessions_together_have_a_bound_too() {
        let all = ReportRoom::default();
        let lines: Vec<_> = (0..=ALL_KIB_MAX / SESSION_KIB_MAX).map(|_| line(&all)).collect();
        let (last, full) = lines.split_last().unwrap();
        for (line, _) in full {
            // More than any session may hold counts as all that it may hold.
            assert!(line.push(reports(20 * 1024)).now_or_never().is_some());
        }
        assert!(last.0.push(reports(0)).now_or_never().is_none());
    }
}

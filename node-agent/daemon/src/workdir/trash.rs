//! Removes trees late: putting one away is a rename, the deletion follows on a thread of its own.
//!
//! Deletion of many files slows down the creation of others on common file systems, so it is kept out of the way of
//! starting tasks. What a crash leaves in the trash goes at the next start.

use super::dir::Dir;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Puts trees away and removes them.
#[derive(Debug)]
pub(super) struct Trash {
    dir: Dir,
    next: AtomicU64,
    emptying: AtomicBool,
}

impl Trash {
    /// The trash in a directory that nobody else uses.
    pub(super) fn new(dir: Dir) -> Arc<Self> {
        Arc::new(Self { dir, next: AtomicU64::new(0), emptying: AtomicBool::new(false) })
    }

    /// Puts an entry of a directory away; none is fine too. It is removed by the next [`Trash::empty`].
    pub(super) fn put(&self, parent: &Dir, name: &str) -> io::Result<()> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let new_name = format!("{}-{number}", std::process::id());
        match parent.rename(name, &self.dir, &new_name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            // The node's directories may be mount points of their own.
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => parent.remove_tree(name),
            renamed => renamed,
        }
    }

    /// Removes what was put away, on a thread that may block; does nothing while that is under way already.
    pub(super) fn empty(self: &Arc<Self>) {
        if self.emptying.swap(true, Ordering::AcqRel) {
            return;
        }
        let trash = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            trash.empty_now();
            trash.emptying.store(false, Ordering::Release);
        });
    }

    fn empty_now(&self) {
        let entries = match self.dir.entries() {
            Ok(entries) => entries,
            Err(error) => {
                tracing::warn!(%error, "cannot list the trash of the node; directories stay until the next start");
                return;
            }
        };
        for (name, _) in entries {
            if let Err(error) = self.dir.remove_tree(&name) {
                tracing::warn!(name, %error, "cannot remove a directory; it stays until the next start");
            }
        }
    }
}

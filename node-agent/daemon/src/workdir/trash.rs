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
    /// How many entries have arrived.
    puts: AtomicU64,
    /// What `puts` was when everything before it had been removed; anything else: there may be something.
    emptied: AtomicU64,
    emptying: AtomicBool,
}

impl Trash {
    /// The trash in a directory that nobody else uses.
    pub(super) fn new(dir: Dir) -> Arc<Self> {
        Arc::new(Self {
            dir,
            next: AtomicU64::new(0),
            puts: AtomicU64::new(0),
            // What an earlier agent left is not counted.
            emptied: AtomicU64::new(u64::MAX),
            emptying: AtomicBool::new(false),
        })
    }

    /// Puts an entry of a directory away; none is fine too. It is removed by the next [`Trash::empty`].
    pub(super) fn put(&self, parent: &Dir, name: &str) -> io::Result<()> {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let new_name = format!("{}-{number}", std::process::id());
            return match parent.rename(name, &self.dir, &new_name) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                // An agent before this one had the same process id, as in containers, and left something.
                Err(error) if is_taken(&error) => continue,
                // The node's directories may be mount points of their own.
                Err(error) if error.kind() == io::ErrorKind::CrossesDevices => parent.remove_tree(name),
                renamed => {
                    // After the entry is there, or whoever empties could take it for removed.
                    self.puts.fetch_add(1, Ordering::AcqRel);
                    renamed
                }
            };
        }
    }

    /// Removes what was put away, on a thread that may block; costs nothing if that is nothing. A removal that is under way
    /// already goes on to what has come since.
    pub(super) fn empty(self: &Arc<Self>) {
        if self.puts.load(Ordering::Acquire) == self.emptied.load(Ordering::Acquire) {
            return;
        }
        if self.emptying.swap(true, Ordering::AcqRel) {
            return;
        }
        let trash = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            loop {
                let puts = trash.puts.load(Ordering::Acquire);
                trash.empty_now();
                trash.emptied.store(puts, Ordering::Release);
                trash.emptying.store(false, Ordering::Release);
                // Whoever put something away meanwhile may have seen the thread at work and left it to it.
                let more = trash.puts.load(Ordering::Acquire) != puts;
                if !more || trash.emptying.swap(true, Ordering::AcqRel) {
                    return;
                }
            }
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

fn is_taken(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::AlreadyExists
            | io::ErrorKind::DirectoryNotEmpty
            | io::ErrorKind::IsADirectory
            | io::ErrorKind::NotADirectory
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_an_earlier_agent_of_the_same_process_id_left_is_in_nobodys_way() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        for name in ["from/one", "from/two", "trash"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        fs::create_dir_all(root.join("trash").join(format!("{}-0", std::process::id())).join("left"))
            .unwrap();
        let trash = Trash::new(Dir::root(&root.join("trash")).unwrap());
        let from = Dir::root(&root.join("from")).unwrap();
        for name in ["one", "two", "none"] {
            trash.put(&from, name).unwrap();
        }
        assert_eq!(fs::read_dir(root.join("from")).unwrap().count(), 0);
        assert_eq!(fs::read_dir(root.join("trash")).unwrap().count(), 3);
        trash.empty_now();
        assert_eq!(fs::read_dir(root.join("trash")).unwrap().count(), 0);
    }
}

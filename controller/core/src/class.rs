//! What a task takes of a node: the equivalence class of placement.
//!
//! Tasks of one class fit, or do not fit, on the same nodes; so a pass of placement looks at each class once, however many
//! tasks it has. A class is shared by its tasks: a million queued tasks of one class hold one copy.

use muster_model::Resources;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// What a task takes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Class {
    pub(crate) needs: Resources,
    /// It has its node for itself.
    pub(crate) exclusive: bool,
}

/// The classes that a job's tasks have had. Says nothing about the job: two jobs that differ only here are the same.
#[derive(Default)]
pub(crate) struct Classes(BTreeSet<Arc<Class>>);

/// More classes than this are not shared any more: somebody gives each task needs of its own.
const CLASSES_MAX: usize = 1024;

impl Classes {
    /// The shared copy of a class.
    pub(crate) fn share(&mut self, class: Class) -> Arc<Class> {
        if let Some(known) = self.0.get(&class) {
            return Arc::clone(known);
        }
        let class = Arc::new(class);
        if self.0.len() < CLASSES_MAX {
            self.0.insert(Arc::clone(&class));
        }
        class
    }
}

impl fmt::Debug for Classes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("_")
    }
}

//! Control groups of tasks: v1 and v2 behind one small trait, in as many hierarchies as the node has.
//!
//! `detect` finds and makes our root group in each hierarchy, with `delegation` and `scope` on v2; `groups` makes,
//! limits, measures, kills and removes the groups of one task in all of them; `v1` and `v2` know the files, `files`
//! reads and writes them.
//!
//! Nothing is ever changed in a group that this supervisor did not make, except that on v2 controllers are enabled in
//! the parent of our root, and processes of a group that is delegated to us step aside into a leaf of it.
//! Invariant: the name of a task's group comes from its key alone, so a later supervisor finds it again.

mod delegation;
mod detect;
mod files;
mod groups;
mod hierarchy;
mod mounts;
mod scope;
mod v1;
mod v2;

pub(crate) use detect::{Found, RootSetting, detect, reopen};
pub(crate) use groups::{Doors, Groups};
pub(crate) use hierarchy::{Controllers, Place, Version};

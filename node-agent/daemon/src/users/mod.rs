//! As whom commands run: the pool's user, a user for one task alone, a named user of the pool, or an administrator.
//!
//! `identity` says what a plan's word means on this node, `owners` gives out and takes back the ids of users that belong
//! to one task. None of them is in the machine's password file: they are numbers that own nothing else.
//!
//! Invariant: an id of the range of task users is never that of two live attempts, and comes to another only after the
//! directory of the one before was closed to it.  [an_id_is_one_subject_s_until_it_is_released]

mod identity;
mod owners;

pub(crate) use identity::{Found, RunAs, UserSettings};
pub(crate) use owners::Owners;

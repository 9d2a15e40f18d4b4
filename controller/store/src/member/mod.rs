//! Members of sweeps that have no row of their own, shown as the tasks that they are.
//!
//! * `fate`: the groups that share a state, the state of a member of one, and the whole view of a member.
//! * `group`: such a group, and one of its members as a row of a list.
//! * `choice`: which members of a group a filter takes, as runs of indices and not one by one.
//! * `merge`: the first members behind a place in an order, and one page of them and of rows together.
//!
//! Within a group everything that lists order by is the same or grows with the index, so that a page costs what is on it and
//! some searches, whether the group has ten members or a hundred million.

mod choice;
mod fate;
mod group;
mod merge;

pub(crate) use fate::{Fate, Outline, Untouched, view};
pub(crate) use merge::{Found, first, page};

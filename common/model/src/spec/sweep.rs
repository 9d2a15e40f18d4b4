//! A sweep: one record that stands for up to a hundred million tasks, a template and the values that it is run for.
//!
//! Members are numbered; the number of a sweep over one range is the value itself, of any other sweep the place from 1. A
//! member's task id is `<sweep>-<number>` with leading zeros, so that ids sort as numbers do. What a member's command
//! line and paths become is the store's business (its `expand`); here are the names, the numbers and the count.

use super::task::TaskSpec;
use crate::id::{SweepId, TaskId};
use crate::limits::SWEEP_NUMBER_MAX;

/// The values of one or several parameters. A sweep runs for the product of its axes; the last one varies fastest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Axis {
    /// `start`, `start + step` and so on, not beyond `end`.
    Range {
        /// The parameter.
        name: String,
        /// The first value.
        start: u64,
        /// No value is above it; not below `start`.
        end: u64,
        /// More than 0.
        step: u64,
    },
    /// Rows of values, one column for each parameter.
    Table {
        /// The parameters.
        names: Vec<String>,
        /// The rows, each as long as `names`.
        rows: Vec<Vec<String>>,
    },
}

impl Axis {
    /// How many values it has.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::Range { start, end, step, .. } => end.saturating_sub(*start) / (*step).max(1) + 1,
            Self::Table { rows, .. } => rows.len() as u64,
        }
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its parameters.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let (one, many): (Option<&str>, &[String]) = match self {
            Self::Range { name, .. } => (Some(name), &[]),
            Self::Table { names, .. } => (None, names),
        };
        one.into_iter().chain(many.iter().map(String::as_str))
    }
}

/// A sweep as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweepSpec {
    /// Its id, unique among the sweeps of the job.
    pub id: SweepId,
    /// What every member is, with `{name}` where values go. Its id is the sweep's.
    pub template: TaskSpec,
    /// The values; at least one axis.
    pub axes: Vec<Axis>,
}

impl SweepSpec {
    /// How many members it has. Saturates.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.axes.iter().map(Axis::len).fold(1, u64::saturating_mul)
    }

    /// How its members are numbered.
    #[must_use]
    pub fn shape(&self) -> SweepShape {
        match self.axes.as_slice() {
            [Axis::Range { start, step, .. }] => {
                SweepShape { first: *start, step: *step, count: self.count() }
            }
            _ => SweepShape { first: 1, step: 1, count: self.count() },
        }
    }
}

/// How the members of a sweep are numbered: `first`, `first + step` and so on. An index counts members from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SweepShape {
    /// The number of the first member.
    pub first: u64,
    /// From one number to the next; more than 0.
    pub step: u64,
    /// How many members.
    pub count: u64,
}

impl SweepShape {
    /// The number of a member.
    #[must_use]
    pub const fn number(&self, index: u64) -> u64 {
        self.first.saturating_add(index.saturating_mul(self.step))
    }

    /// The number of the last member.
    #[must_use]
    pub const fn last(&self) -> u64 {
        self.number(self.count.saturating_sub(1))
    }

    /// The member with this number.
    #[must_use]
    pub fn index(&self, number: u64) -> Option<u64> {
        let offset = number.checked_sub(self.first)?;
        let index = offset / self.step.max(1);
        (offset.is_multiple_of(self.step.max(1)) && index < self.count).then_some(index)
    }

    /// The first and the last index whose numbers lie within `first..=last`; `None` if none does.
    #[must_use]
    pub fn indices(&self, first: u64, last: u64) -> Option<(u64, u64)> {
        let step = self.step.max(1);
        let low = first.saturating_sub(self.first).div_ceil(step);
        let high = (last.checked_sub(self.first)? / step).min(self.count.checked_sub(1)?);
        (low <= high).then_some((low, high))
    }

    /// The digits of a member's number in its id.
    fn width(&self) -> usize {
        self.last().to_string().len()
    }

    /// The task id of a member.
    ///
    /// # Panics
    /// Never for a checked sweep: its id has at most 48 characters and its numbers at most 15 digits.
    #[must_use]
    pub fn task_id(&self, sweep: &SweepId, index: u64) -> TaskId {
        let text = format!("{sweep}-{:0width$}", self.number(index), width = self.width());
        debug_assert!(self.last() <= SWEEP_NUMBER_MAX, "numbers are checked at submission");
        // A text of legal characters and at most 48 + 1 + 15 of them is a task id.
        TaskId::parse(&text).unwrap_or_else(|_| sweep.as_task_id())
    }

    /// The member that a task id names, with or without its leading zeros.
    #[must_use]
    pub fn find(&self, sweep: &SweepId, task: &TaskId) -> Option<u64> {
        let (name, number) = split_member(task)?;
        if name == *sweep { self.index(number) } else { None }
    }
}

/// The sweep and the number that a task id would name, were it a member's.
#[must_use]
pub fn split_member(task: &TaskId) -> Option<(SweepId, u64)> {
    let (sweep, digits) = task.as_str().rsplit_once('-')?;
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some((SweepId::parse(sweep).ok()?, digits.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sweep() -> SweepId {
        SweepId::parse("Frame").unwrap()
    }

    #[test]
    fn ids_sort_as_numbers_do_and_lead_back() {
        let shape = SweepShape { first: 0, step: 5, count: 21 };
        let ids: Vec<TaskId> = (0..21).map(|index| shape.task_id(&sweep(), index)).collect();
        assert_eq!((ids[0].as_str(), ids[20].as_str()), ("Frame-000", "Frame-100"));
        assert!(ids.is_sorted());
        for (index, id) in (0..).zip(&ids) {
            assert_eq!(shape.find(&sweep(), id), Some(index));
        }
        assert_eq!(shape.find(&sweep(), &TaskId::parse("frame-5").unwrap()), Some(1));
        assert_eq!(shape.find(&sweep(), &TaskId::parse("frame-6").unwrap()), None);
        assert_eq!(shape.find(&sweep(), &TaskId::parse("frame-105").unwrap()), None);
        assert_eq!(shape.find(&sweep(), &TaskId::parse("other-5").unwrap()), None);
    }

    #[test]
    fn numbers_of_a_range_become_indices() {
        let shape = SweepShape { first: 10, step: 10, count: 10 };
        assert_eq!(shape.indices(0, u64::MAX), Some((0, 9)));
        assert_eq!(shape.indices(15, 40), Some((1, 3)));
        assert_eq!(shape.indices(101, 200), None);
        assert_eq!(shape.indices(0, 9), None);
        assert_eq!(shape.indices(41, 49), None);
    }

    #[test]
    fn axes_multiply() {
        let range = Axis::Range { name: "i".to_owned(), start: 1, end: 10, step: 3 };
        let table = Axis::Table { names: vec!["a".to_owned()], rows: vec![vec!["x".to_owned()]; 3] };
        assert_eq!((range.len(), table.len()), (4, 3));
        assert!(range.names().eq(["i"]));
    }
}

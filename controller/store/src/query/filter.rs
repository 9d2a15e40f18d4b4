//! Conditions on rows: the syntax tree of a filter, its bounds, its meaning and its canonical text.
//!
//! `matches` is the meaning of a filter; the SQL that `sqlite` makes of one must agree with it (a property test holds
//! them together). Text becomes a filter in `parse`.

use super::comparison::{Comparison, ComparisonError};
use super::property::{Op, Property};
use super::value::{Fields, Value};
use std::fmt;

/// Deepest nesting of AND, OR and NOT: a person's condition has three; recursion over a filter needs a bound.
pub const FILTER_DEPTH_MAX: usize = 32;
/// Most comparisons of one filter: keeps the SQL made of it well below SQLite's expression depth of 1,000.
pub const FILTER_COMPARISONS_MAX: usize = 200;

/// A condition on the rows of a list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Filter<P> {
    /// One comparison.
    Compare(Comparison<P>),
    /// All of them hold; at least one is listed.
    And(Vec<Filter<P>>),
    /// One of them holds; at least one is listed.
    Or(Vec<Filter<P>>),
    /// It does not hold.
    Not(Box<Filter<P>>),
}

/// Why a filter is refused as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// Too deeply nested.
    #[error("the filter is nested deeper than {max} levels: ask for less at once")]
    TooDeep {
        /// [`FILTER_DEPTH_MAX`].
        max: usize,
    },
    /// Too many comparisons.
    #[error("the filter has more than {max} comparisons: ask for less at once")]
    TooLong {
        /// [`FILTER_COMPARISONS_MAX`].
        max: usize,
    },
    /// AND or OR of nothing.
    #[error("the filter has an empty AND or OR: name at least one condition in it")]
    Empty,
}

impl<P: Property> Filter<P> {
    /// A filter of one comparison.
    ///
    /// # Errors
    /// As [`Comparison::new`].
    pub fn compare(property: P, op: Op, value: Value) -> Result<Self, ComparisonError> {
        Comparison::new(property, op, value).map(Self::Compare)
    }

    /// Checks the bounds that let filters be walked by recursion and turned into SQL.
    ///
    /// # Errors
    /// [`FilterError`] names the bound.
    pub fn check(&self) -> Result<(), FilterError> {
        let mut comparisons = 0;
        self.check_below(1, &mut comparisons)
    }

    fn check_below(&self, depth: usize, comparisons: &mut usize) -> Result<(), FilterError> {
        if depth > FILTER_DEPTH_MAX {
            return Err(FilterError::TooDeep { max: FILTER_DEPTH_MAX });
        }
        match self {
            Self::Compare(_) => {
                *comparisons += 1;
                if *comparisons > FILTER_COMPARISONS_MAX {
                    return Err(FilterError::TooLong { max: FILTER_COMPARISONS_MAX });
                }
                Ok(())
            }
            Self::And(parts) | Self::Or(parts) if parts.is_empty() => Err(FilterError::Empty),
            Self::And(parts) | Self::Or(parts) => {
                parts.iter().try_for_each(|part| part.check_below(depth + 1, comparisons))
            }
            Self::Not(inner) => inner.check_below(depth + 1, comparisons),
        }
    }

    /// Whether `row` satisfies the filter.
    pub fn matches(&self, row: &impl Fields<P>) -> bool {
        match self {
            Self::Compare(comparison) => comparison.matches(row),
            Self::And(parts) => parts.iter().all(|part| part.matches(row)),
            Self::Or(parts) => parts.iter().any(|part| part.matches(row)),
            Self::Not(inner) => !inner.matches(row),
        }
    }
}

/// The canonical text: parsing it gives the filter again.
impl<P: Property> fmt::Display for Filter<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |f: &mut fmt::Formatter<'_>, parts: &[Self], word: &str| {
            f.write_str("(")?;
            for (index, part) in parts.iter().enumerate() {
                if index > 0 {
                    write!(f, " {word} ")?;
                }
                write!(f, "{part}")?;
            }
            f.write_str(")")
        };
        match self {
            Self::Compare(comparison) => write!(f, "{comparison}"),
            Self::And(parts) => joined(f, parts, "AND"),
            Self::Or(parts) => joined(f, parts, "OR"),
            Self::Not(inner) => write!(f, "NOT {inner}"),
        }
    }
}

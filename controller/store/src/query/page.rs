//! A query for one page of a list, checked and made ready for a backend; and the page that answers it.
//!
//! Paging is by key, never by offset: a page starts after the place where the one before ended, so that rows which
//! come and go meanwhile neither repeat nor hide others. Every order ends in the resource's key, so places are unique.

use super::comparison::compare_text;
use super::cursor::{CursorError, Fingerprint, PageCursor};
use super::filter::{Filter, FilterError};
use super::property::{Kind, Property};
use super::value::{Fields, Place};
use muster_model::limits::{PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX};
use std::cmp::Ordering;

/// Most terms of an order: more than any resource has orderable properties makes no difference.
pub const ORDER_TERMS_MAX: usize = 4;

/// One term of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderBy<P> {
    /// By what.
    pub property: P,
    /// Last first.
    pub descending: bool,
}

/// What is asked of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query<P> {
    /// Which rows; `None` for all.
    pub filter: Option<Filter<P>>,
    /// In which order; empty for the resource's default.
    pub order: Vec<OrderBy<P>>,
    /// The most rows to answer: 1 to `PAGE_SIZE_MAX`; what lies outside is brought inside.
    pub page_size: u32,
    /// Where the page before ended; `None` for the first page.
    pub after: Option<PageCursor>,
}

impl<P> Default for Query<P> {
    fn default() -> Self {
        Self { filter: None, order: Vec::new(), page_size: PAGE_SIZE_DEFAULT, after: None }
    }
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The rows, in the order asked.
    pub items: Vec<T>,
    /// Where the next page starts; `None` when this is the last.
    pub next: Option<PageCursor>,
}

/// Why a query is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// The filter passes a bound.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// The page token is not one of this list.
    #[error(transparent)]
    Cursor(#[from] CursorError),
    /// The list has no such order.
    #[error("{resource} cannot be ordered by '{property}': use one of {allowed}")]
    Order {
        /// The resource.
        resource: &'static str,
        /// The property.
        property: &'static str,
        /// The properties that can.
        allowed: String,
    },
    /// Too many terms.
    #[error("the order has {given} terms: at most {max} are allowed")]
    OrderTerms {
        /// How many.
        given: usize,
        /// [`ORDER_TERMS_MAX`].
        max: usize,
    },
}

/// The names of the properties by which a resource's lists can be ordered.
pub(super) fn orderable<P: Property>() -> String {
    let names: Vec<_> = P::ALL.iter().filter(|p| p.orderable()).map(|p| p.name()).collect();
    names.join(", ")
}

/// A checked query: every order complete, the cursor known to belong to it.
#[derive(Debug)]
pub(crate) struct Plan<'q, P> {
    pub(crate) filter: Option<&'q Filter<P>>,
    /// Ends in the resource's key.
    pub(crate) terms: Vec<OrderBy<P>>,
    /// One coordinate for each term.
    pub(crate) after: Option<&'q [Place]>,
    /// The most rows to answer.
    pub(crate) limit: usize,
    fingerprint: u64,
}

impl<P: Property> Query<P> {
    /// Checks the query against its bounds. `scope` names the parent of the list (account, job...), so that a token
    /// of one parent is refused at another.
    pub(crate) fn plan(&self, scope: &[&str]) -> Result<Plan<'_, P>, QueryError> {
        if let Some(filter) = &self.filter {
            filter.check()?;
        }
        let terms = self.terms()?;
        let fingerprint = self.fingerprint(scope, &terms);
        let after = match &self.after {
            None => None,
            Some(cursor) if cursor.fingerprint == fingerprint && fits(&terms, &cursor.places) => {
                Some(cursor.places.as_slice())
            }
            Some(_) => return Err(CursorError::OtherQuery { resource: P::RESOURCE }.into()),
        };
        let limit = usize::try_from(self.page_size.clamp(1, PAGE_SIZE_MAX)).unwrap_or(1);
        Ok(Plan { filter: self.filter.as_ref(), terms, after, limit, fingerprint })
    }

    fn terms(&self) -> Result<Vec<OrderBy<P>>, QueryError> {
        if self.order.len() > ORDER_TERMS_MAX {
            return Err(QueryError::OrderTerms { given: self.order.len(), max: ORDER_TERMS_MAX });
        }
        let (property, descending) = P::DEFAULT_ORDER;
        let default = [OrderBy { property, descending }];
        let mut terms: Vec<OrderBy<P>> = Vec::new();
        for term in if self.order.is_empty() { &default } else { self.order.as_slice() } {
            if !term.property.orderable() {
                return Err(QueryError::Order {
                    resource: P::RESOURCE,
                    property: term.property.name(),
                    allowed: orderable::<P>(),
                });
            }
            if terms.iter().all(|known| known.property != term.property) {
                terms.push(*term);
            }
            // The key tells all rows apart: what follows it orders nothing.
            if term.property == P::KEY {
                return Ok(terms);
            }
        }
        let descending = terms.last().is_some_and(|term| term.descending);
        terms.push(OrderBy { property: P::KEY, descending });
        Ok(terms)
    }

    fn fingerprint(&self, scope: &[&str], terms: &[OrderBy<P>]) -> u64 {
        let mut print = Fingerprint::new().part(P::RESOURCE.as_bytes());
        for name in scope {
            print = print.part(name.to_ascii_lowercase().as_bytes());
        }
        print = print.part(self.filter.as_ref().map(ToString::to_string).unwrap_or_default().as_bytes());
        for term in terms {
            print = print.part(term.property.name().as_bytes()).part(&[u8::from(term.descending)]);
        }
        print.value()
    }
}

/// Whether a cursor has a coordinate of the right kind for each term.
fn fits<P: Property>(terms: &[OrderBy<P>], places: &[Place]) -> bool {
    terms.len() == places.len()
        && terms.iter().zip(places).all(|(term, place)| {
            matches!(
                (term.property.kind(), place),
                (Kind::Id | Kind::Text | Kind::Path | Kind::OneOf(_), Place::Text(_))
                    | (Kind::Integer | Kind::Time | Kind::Boolean, Place::Integer(_))
            )
        })
}

impl<P: Property> Plan<'_, P> {
    /// Where a row stands in this order.
    pub(crate) fn places(&self, row: &impl Fields<P>) -> Vec<Place> {
        self.terms.iter().map(|term| row.place(term.property)).collect()
    }

    /// Makes the page of rows that were fetched with one more than the limit, to know whether more follow.
    pub(crate) fn page<T: Fields<P>>(&self, mut items: Vec<T>) -> Page<T> {
        if items.len() <= self.limit {
            return Page { items, next: None };
        }
        items.truncate(self.limit);
        let next =
            items.last().map(|last| PageCursor { fingerprint: self.fingerprint, places: self.places(last) });
        Page { items, next }
    }
}

/// Compares two places in an order.
pub(crate) fn compare_places<P: Property>(terms: &[OrderBy<P>], left: &[Place], right: &[Place]) -> Ordering {
    for (term, pair) in terms.iter().zip(left.iter().zip(right)) {
        let order = match pair {
            (Place::Text(left), Place::Text(right)) => compare_text(term.property.kind(), left, right),
            (Place::Integer(left), Place::Integer(right)) => left.cmp(right),
            // A property's places are all of one kind.
            (Place::Integer(_), Place::Text(_)) => Ordering::Less,
            (Place::Text(_), Place::Integer(_)) => Ordering::Greater,
        };
        let order = if term.descending { order.reverse() } else { order };
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

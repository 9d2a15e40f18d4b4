//! What readers ask of the store: filters, orders and pages over the properties of each resource.
//!
//! `property` lists what can be asked of which resource, `comparison` and `filter` are the syntax tree and its
//! meaning, `parse` reads filters and orders from text, `cursor` is the place where a page ended, `page` puts a query
//! together, `fields` ties properties to rows. Pure: no database, no clock; both backends answer a [`Query`] alike.

mod comparison;
mod cursor;
mod fields;
mod filter;
mod page;
mod parse;
mod property;
mod value;

pub use comparison::{Comparison, ComparisonError};
pub use cursor::{CURSOR_BYTES_MAX, CursorError, PageCursor};
pub use filter::{FILTER_COMPARISONS_MAX, FILTER_DEPTH_MAX, Filter, FilterError};
pub use page::{ORDER_TERMS_MAX, OrderBy, Page, Query, QueryError};
pub use parse::{OrderError, ParseError, parse_filter, parse_order};
pub use property::{
    AccountProperty, AttemptProperty, ContainerProperty, FileProperty, JobNodeProperty, JobProperty, Kind,
    NodeProperty, Op, PoolProperty, Property, SweepProperty, TaskProperty, TokenProperty,
};
pub use value::{Field, Fields, Place, Value};

pub(crate) use comparison::{compare_text, starts_with};
pub(crate) use fields::{TaskHead, integer, task_field};
pub(crate) use page::{Plan, compare_places};

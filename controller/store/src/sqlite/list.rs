//! Pages of lists: a query and the place of its list in the database to one SELECT.
//!
//! A page starts after the place where the one before ended, by comparison of the order's columns and never by
//! counting, so that the page after a million rows costs what the first one does.

use super::columns::Stored;
use super::fault::fault;
use super::filter::Condition;
use super::row::{Cells, RowError, unreadable};
use crate::port::StoreError;
use crate::query::{Fields, Page, Place, Plan};
use rusqlite::types::Value as Bound;
use rusqlite::{Connection, params_from_iter};

/// Where a list is: its rows, the parent that they hang on, and what else is known of them.
pub(super) struct Source<'s, P> {
    /// What a row is, for messages.
    pub(super) what: &'static str,
    /// The columns to read.
    pub(super) columns: &'s str,
    /// The tables, with the aliases that the columns use.
    pub(super) from: &'s str,
    /// Comparisons that hold for all its rows: column, operator and value. The parent's come first.
    pub(super) within: Vec<(&'static str, &'static str, Bound)>,
    /// Further conditions in words of SQL, each with AND before it, or empty.
    pub(super) also: [&'static str; 2],
    /// The column of each order.
    pub(super) order: fn(P) -> &'static str,
    /// Rows behind this place are not wanted.
    pub(super) until: Option<&'s [Place]>,
}

impl<'s, P: Stored> Source<'s, P> {
    /// The rows of a parent; `parent` are the columns of its key with their values.
    pub(super) fn of<const N: usize>(
        what: &'static str,
        columns: &'s str,
        from: &'s str,
        parent: [(&'static str, Bound); N],
    ) -> Self {
        let within = parent.into_iter().map(|(column, value)| (column, " = ", value)).collect();
        Self { what, columns, from, within, also: [""; 2], order: P::order_column, until: None }
    }
}

/// Reads one page.
pub(super) fn list<P: Stored, T: Fields<P>>(
    connection: &Connection,
    plan: &Plan<'_, P>,
    source: &Source<'_, P>,
    read: impl Fn(&mut Cells<'_, '_>) -> Result<T, RowError>,
) -> Result<Page<T>, StoreError> {
    rows(connection, plan, source, read).map(|items| plan.page(items))
}

/// Reads the rows of one page, and one more when there is one.
pub(super) fn rows<P: Stored, T>(
    connection: &Connection,
    plan: &Plan<'_, P>,
    source: &Source<'_, P>,
    read: impl Fn(&mut Cells<'_, '_>) -> Result<T, RowError>,
) -> Result<Vec<T>, StoreError> {
    const DOING: &str = "reading a page of a list";
    let select = select(plan, source);
    let mut statement = connection.prepare_cached(&select.sql).map_err(fault(DOING))?;
    let mut rows = statement.query(params_from_iter(select.bound)).map_err(fault(DOING))?;
    let mut items = Vec::new();
    while let Some(row) = rows.next().map_err(fault(DOING))? {
        items.push(read(&mut Cells::new(row)).map_err(|error| unreadable(source.what, row, error))?);
    }
    Ok(items)
}

/// The statement of one page, with one row more than the page has room for.
fn select<P: Stored>(plan: &Plan<'_, P>, source: &Source<'_, P>) -> Condition {
    let mut sql = Condition::default();
    sql.text("SELECT ");
    sql.text(source.columns);
    sql.text(" FROM ");
    sql.text(source.from);
    // A list without a parent still needs something to hang AND on.
    sql.text(" WHERE 1");
    for (column, op, value) in &source.within {
        sql.text(" AND ");
        sql.text(column);
        sql.text(op);
        sql.bind(value.clone());
    }
    source.also.iter().for_each(|condition| sql.text(condition));
    if let Some(filter) = plan.filter {
        sql.text(" AND ");
        sql.filter(filter);
    }
    if let Some(after) = plan.after {
        sql.text(" AND ");
        beyond_place(&mut sql, plan, source, after, Side::Behind);
    }
    if let Some(until) = source.until {
        sql.text(" AND ");
        beyond_place(&mut sql, plan, source, until, Side::Before);
    }
    for (index, term) in plan.terms.iter().enumerate() {
        sql.text(if index == 0 { " ORDER BY " } else { ", " });
        sql.text((source.order)(term.property));
        sql.text(if term.descending { " DESC" } else { " ASC" });
    }
    sql.text(" LIMIT ");
    sql.bind(i64::try_from(plan.limit).unwrap_or(i64::MAX).saturating_add(1));
    sql
}

/// On which side of a place rows are, in the order of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Before,
    Behind,
}

/// Rows on one side of a place: beyond it by the first column, or level there and beyond it by the next, and so on. The
/// bound on the first column alone comes first, because an index can start from it.
fn beyond_place<P: Stored>(
    sql: &mut Condition,
    plan: &Plan<'_, P>,
    source: &Source<'_, P>,
    places: &[Place],
    side: Side,
) {
    let mut pairs = plan.terms.iter().zip(places).peekable();
    let mut open = 0;
    while let Some((term, place)) = pairs.next() {
        let column = (source.order)(term.property);
        let less = term.descending == (side == Side::Behind);
        let (beyond, level_or_beyond) = if less { (" < ", " <= ") } else { (" > ", " >= ") };
        if pairs.peek().is_none() {
            compare(sql, column, beyond, place);
            break;
        }
        compare(sql, column, level_or_beyond, place);
        sql.text(" AND (");
        compare(sql, column, beyond, place);
        sql.text(" OR ");
        open += 1;
    }
    for _ in 0..open {
        sql.text(")");
    }
}

fn compare(sql: &mut Condition, column: &str, op: &str, place: &Place) {
    sql.text(column);
    sql.text(op);
    sql.bind(bound(place));
}

fn bound(place: &Place) -> Bound {
    match place {
        Place::Text(text) => Bound::Text(text.clone()),
        Place::Integer(number) => Bound::Integer(*number),
    }
}

//! Pages of lists: a query and the place of its list in the database to one SELECT.
//!
//! A page starts after the place where the one before ended, by comparison of the order's columns and never by
//! counting, so that the page after a million rows costs what the first one does.

use super::columns::Stored;
use super::fault::fault;
use super::filter::Condition;
use super::row::{Cells, RowError, unreadable};
use crate::port::StoreError;
use crate::query::{Fields, OrderBy, Page, Place, Plan};
use rusqlite::types::Value as Bound;
use rusqlite::{Connection, params_from_iter};

/// Where a list is: its rows, and the parent that they hang on.
pub(super) struct Source<'s> {
    /// What a row is, for messages.
    pub(super) what: &'static str,
    /// The columns to read.
    pub(super) columns: &'s str,
    /// The tables, with the aliases that the columns use.
    pub(super) from: &'static str,
    /// The columns of the parent, each with its value.
    pub(super) parent: Vec<(&'static str, Bound)>,
}

/// Reads one page.
pub(super) fn list<P: Stored, T: Fields<P>>(
    connection: &Connection,
    plan: &Plan<'_, P>,
    source: Source<'_>,
    read: impl Fn(&mut Cells<'_, '_>) -> Result<T, RowError>,
) -> Result<Page<T>, StoreError> {
    const DOING: &str = "reading a page of a list";
    let what = source.what;
    let select = select(plan, source);
    let mut statement = connection.prepare_cached(&select.sql).map_err(fault(DOING))?;
    let mut rows = statement.query(params_from_iter(select.bound)).map_err(fault(DOING))?;
    let mut items = Vec::new();
    while let Some(row) = rows.next().map_err(fault(DOING))? {
        items.push(read(&mut Cells::new(row)).map_err(|error| unreadable(what, row, error))?);
    }
    Ok(plan.page(items))
}

/// The statement of one page, with one row more than the page has room for.
fn select<P: Stored>(plan: &Plan<'_, P>, source: Source<'_>) -> Condition {
    let mut sql = Condition::default();
    sql.text("SELECT ");
    sql.text(source.columns);
    sql.text(" FROM ");
    sql.text(source.from);
    // A list without a parent still needs something to hang AND on.
    sql.text(" WHERE 1");
    for (column, value) in source.parent {
        sql.text(" AND ");
        sql.text(column);
        sql.text(" = ");
        sql.bind(value);
    }
    if let Some(filter) = plan.filter {
        sql.text(" AND ");
        sql.filter(filter);
    }
    if let Some(after) = plan.after {
        sql.text(" AND ");
        after_place(&mut sql, &plan.terms, after);
    }
    for (index, term) in plan.terms.iter().enumerate() {
        sql.text(if index == 0 { " ORDER BY " } else { ", " });
        sql.text(term.property.order_column());
        sql.text(if term.descending { " DESC" } else { " ASC" });
    }
    sql.text(" LIMIT ");
    sql.bind(i64::try_from(plan.limit).unwrap_or(i64::MAX).saturating_add(1));
    sql
}

/// Rows behind a place: behind it by the first column, or level there and behind it by the next, and so on. The bound
/// on the first column alone comes first, because an index can start from it.
fn after_place<P: Stored>(sql: &mut Condition, terms: &[OrderBy<P>], places: &[Place]) {
    let mut pairs = terms.iter().zip(places).peekable();
    let mut open = 0;
    while let Some((term, place)) = pairs.next() {
        let column = term.property.order_column();
        let (behind, level_or_behind) = if term.descending { (" < ", " <= ") } else { (" > ", " >= ") };
        if pairs.peek().is_none() {
            compare(sql, column, behind, place);
            break;
        }
        compare(sql, column, level_or_behind, place);
        sql.text(" AND (");
        compare(sql, column, behind, place);
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

//! A filter as a condition in SQL: its own words around bound values, never text from outside.
//!
//! Means what `Filter::matches` means: an absent property satisfies `!=` and nothing else, so that every comparison is
//! true or false and never NULL, and NOT can be SQL's. A prefix becomes a range, which an index can serve.

use super::columns::Stored;
use crate::query::{Comparison, Filter, Kind, Op, Value};
use rusqlite::types::Value as Bound;

/// SQL text under construction with the values bound to it.
#[derive(Debug, Default)]
pub(super) struct Condition {
    pub(super) sql: String,
    pub(super) bound: Vec<Bound>,
}

impl Condition {
    pub(super) fn text(&mut self, sql: &str) {
        self.sql.push_str(sql);
    }

    /// Binds a value and writes its place, `?1` being the first.
    pub(super) fn bind(&mut self, value: impl Into<Bound>) {
        self.bound.push(value.into());
        self.sql.push('?');
        self.sql.push_str(&self.bound.len().to_string());
    }

    /// Writes the condition of a filter, in parentheses.
    pub(super) fn filter<P: Stored>(&mut self, filter: &Filter<P>) {
        match filter {
            Filter::Compare(comparison) => self.comparison(comparison),
            Filter::And(parts) => self.joined(parts, " AND "),
            Filter::Or(parts) => self.joined(parts, " OR "),
            Filter::Not(inner) => {
                self.text("(NOT ");
                self.filter(inner);
                self.text(")");
            }
        }
    }

    fn joined<P: Stored>(&mut self, parts: &[Filter<P>], word: &str) {
        self.text("(");
        for (index, part) in parts.iter().enumerate() {
            if index > 0 {
                self.text(word);
            }
            self.filter(part);
        }
        self.text(")");
    }

    fn comparison<P: Stored>(&mut self, comparison: &Comparison<P>) {
        let column = comparison.property().column();
        self.text("(");
        if column.nullable {
            self.text(column.name);
            self.text(if comparison.op() == Op::NotEqual { " IS NULL OR " } else { " IS NOT NULL AND " });
        }
        match (comparison.op(), comparison.value()) {
            (Op::Prefix, Value::Text(prefix)) => {
                self.prefix(column.name, comparison.property().kind(), prefix)
            }
            (op, value) => {
                self.text(column.name);
                self.text(operator(op));
                self.bind(bound(value, column.code));
            }
        }
        self.text(")");
    }

    /// All texts from the prefix up to the first text behind all that start with it.
    fn prefix(&mut self, column: &str, kind: Kind, prefix: &str) {
        let (from, to) = match kind {
            Kind::Path => (prefix.to_owned(), behind(prefix)),
            Kind::Id | Kind::Text | Kind::OneOf(_) | Kind::Integer | Kind::Time | Kind::Boolean => {
                let folded = prefix.to_ascii_lowercase();
                let to = behind_folded(&folded);
                (folded, to)
            }
        };
        self.text(column);
        self.text(" >= ");
        self.bind(from);
        if let Some(to) = to {
            self.text(" AND ");
            self.text(column);
            self.text(" < ");
            self.bind(to);
        }
    }
}

const fn operator(op: Op) -> &'static str {
    match op {
        Op::Equal => " = ",
        Op::NotEqual => " <> ",
        Op::Less => " < ",
        Op::LessOrEqual => " <= ",
        // A prefix of anything but text is ruled out when a comparison is made.
        Op::GreaterOrEqual | Op::Prefix => " >= ",
        Op::Greater => " > ",
    }
}

fn bound(value: &Value, code: Option<fn(&str) -> Option<i64>>) -> Bound {
    match value {
        Value::Text(text) => Bound::Text(text.clone()),
        // A name without a code is ruled out when a comparison is made; 0 is the code of none.
        Value::Name(name) => Bound::Integer(code.and_then(|code| code(name)).unwrap_or(0)),
        Value::Integer(number) => Bound::Integer(*number),
        Value::Time(time) => Bound::Integer(time.as_micros()),
        Value::Boolean(truth) => Bound::Integer(i64::from(*truth)),
    }
}

/// The least text greater than all that start with `prefix`; `None` when there is no such text.
fn behind(prefix: &str) -> Option<String> {
    let mut text = prefix.to_owned();
    while let Some(last) = text.pop() {
        // The range of characters steps over the surrogates, which are none.
        if let Some(next) = (last..=char::MAX).nth(1) {
            text.push(next);
            return Some(text);
        }
    }
    None
}

/// The same among texts compared without regard to ASCII case, where no text has the letters A to Z.
fn behind_folded(folded: &str) -> Option<String> {
    behind(folded).map(|text| match text.strip_suffix('A') {
        Some(rest) => format!("{rest}["),
        None => text,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_behind_a_prefix_steps_over_what_is_no_character_or_no_folded_letter() {
        assert_eq!(behind("ab").as_deref(), Some("ac"));
        assert_eq!(behind("a\u{d7ff}").as_deref(), Some("a\u{e000}"));
        assert_eq!(behind("a\u{10ffff}\u{10ffff}").as_deref(), Some("b"));
        assert_eq!(behind("\u{10ffff}"), None);
        assert_eq!(behind(""), None);
        assert_eq!(behind_folded("a@").as_deref(), Some("a["));
        assert_eq!(behind_folded("az").as_deref(), Some("a{"));
    }
}

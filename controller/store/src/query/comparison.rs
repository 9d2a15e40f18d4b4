//! One property compared with one value: checked when it is made, and what it means for a row.
//!
//! The operator suits the property and the value is of its kind, so that neither the meaning nor the SQL made of a
//! comparison has anything left to refuse.
//!
//! Invariant: an absent property satisfies `!=` and no other comparison.

use super::property::{Kind, Op, Property};
use super::value::{Field, Fields, Value};
use muster_model::Timestamp;
use muster_model::state::UnknownName;
use std::cmp::Ordering;
use std::fmt;

/// One property compared with one value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Comparison<P> {
    property: P,
    op: Op,
    value: Value,
}

/// Why a comparison makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ComparisonError {
    /// The operator does not suit the property.
    #[error("'{property}' cannot be compared with '{op}': use one of {allowed}")]
    Operator {
        /// The property.
        property: &'static str,
        /// The operator.
        op: &'static str,
        /// The operators that suit it.
        allowed: String,
    },
    /// The value is not of the property's kind.
    #[error("'{property}' cannot be compared with {given:?}: use {wanted}")]
    Value {
        /// The property.
        property: &'static str,
        /// The value, cut to 80 characters.
        given: String,
        /// What it takes.
        wanted: &'static str,
    },
    /// The value is not one of the names that the property can have.
    #[error("'{property}': {source}")]
    Name {
        /// The property.
        property: &'static str,
        /// The names.
        source: UnknownName,
    },
}

impl<P: Property> Comparison<P> {
    /// Checks that `property`, `op` and `value` belong together.
    ///
    /// # Errors
    /// [`ComparisonError`] names what does not and what would.
    pub fn new(property: P, op: Op, value: Value) -> Result<Self, ComparisonError> {
        check_op(property, op)?;
        let wrong =
            |given: String, wanted| ComparisonError::Value { property: property.name(), given, wanted };
        let fits = match (&value, property.kind()) {
            (Value::Text(text), Kind::Id | Kind::Text | Kind::Path) => {
                if text.chars().any(char::is_control) {
                    return Err(wrong(cut(text), "text without control characters"));
                }
                true
            }
            (Value::Name(name), Kind::OneOf(parse)) => {
                parse(name).map_err(|source| ComparisonError::Name { property: property.name(), source })?;
                true
            }
            (Value::Time(time), Kind::Time) => jiff::Timestamp::from_microsecond(time.as_micros()).is_ok(),
            (Value::Integer(_), Kind::Integer) | (Value::Boolean(_), Kind::Boolean) => true,
            (
                Value::Text(_) | Value::Name(_) | Value::Integer(_) | Value::Time(_) | Value::Boolean(_),
                Kind::Id
                | Kind::Text
                | Kind::Path
                | Kind::OneOf(_)
                | Kind::Integer
                | Kind::Time
                | Kind::Boolean,
            ) => false,
        };
        if fits {
            Ok(Self { property, op, value })
        } else {
            Err(wrong(cut(&format!("{value:?}")), wanted(property.kind())))
        }
    }

    /// Reads the value from text as the property's kind writes it.
    ///
    /// # Errors
    /// [`ComparisonError`] when the operator or the text does not suit the property.
    pub fn from_text(property: P, op: Op, text: &str) -> Result<Self, ComparisonError> {
        check_op(property, op)?;
        let kind = property.kind();
        let wrong =
            || ComparisonError::Value { property: property.name(), given: cut(text), wanted: wanted(kind) };
        let value = match kind {
            Kind::Id if op != Op::Prefix && text.contains('*') => {
                return Err(ComparisonError::Value {
                    property: property.name(),
                    given: cut(text),
                    wanted: "an id without '*'; for all ids that start alike write ':' before the text",
                });
            }
            Kind::Id | Kind::Text | Kind::Path => {
                let prefix = if op == Op::Prefix { text.strip_suffix('*') } else { None };
                Value::Text(prefix.unwrap_or(text).to_owned())
            }
            Kind::OneOf(parse) => parse(text)
                .map(Value::Name)
                .map_err(|source| ComparisonError::Name { property: property.name(), source })?,
            Kind::Integer => Value::Integer(text.parse().map_err(|_| wrong())?),
            Kind::Time => {
                let time: jiff::Timestamp = text.parse().map_err(|_| wrong())?;
                Value::Time(Timestamp::from_micros(time.as_microsecond()))
            }
            Kind::Boolean if text.eq_ignore_ascii_case("true") => Value::Boolean(true),
            Kind::Boolean if text.eq_ignore_ascii_case("false") => Value::Boolean(false),
            Kind::Boolean => return Err(wrong()),
        };
        Self::new(property, op, value)
    }

    /// The property.
    pub const fn property(&self) -> P {
        self.property
    }

    /// The operator.
    pub const fn op(&self) -> Op {
        self.op
    }

    /// The value, of the property's kind.
    pub const fn value(&self) -> &Value {
        &self.value
    }

    /// Whether `row` satisfies it.
    pub(crate) fn matches(&self, row: &impl Fields<P>) -> bool {
        let Some(field) = row.field(self.property) else { return self.op == Op::NotEqual };
        if self.op == Op::Prefix {
            return match (field, &self.value) {
                (Field::Text(text), Value::Text(prefix)) => starts_with(self.property.kind(), text, prefix),
                _ => false,
            };
        }
        let Some(order) = compare(self.property.kind(), field, &self.value) else { return false };
        match self.op {
            Op::Equal => order.is_eq(),
            Op::NotEqual => order.is_ne(),
            Op::Less => order.is_lt(),
            Op::LessOrEqual => order.is_le(),
            Op::Greater => order.is_gt(),
            Op::GreaterOrEqual => order.is_ge(),
            Op::Prefix => false,
        }
    }
}

fn check_op<P: Property>(property: P, op: Op) -> Result<(), ComparisonError> {
    let ops = property.kind().ops();
    if ops.contains(&op) {
        return Ok(());
    }
    let allowed = ops.iter().map(|op| op.as_str()).collect::<Vec<_>>().join(" ");
    Err(ComparisonError::Operator { property: property.name(), op: op.as_str(), allowed })
}

const fn wanted(kind: Kind) -> &'static str {
    match kind {
        Kind::Id => "an id",
        Kind::Text => "text",
        Kind::Path => "a path",
        Kind::OneOf(_) => "one of its names",
        Kind::Integer => "a whole number",
        Kind::Time => "a time as in 2026-11-23T10:00:00Z (RFC 3339), years 1 to 9999",
        Kind::Boolean => "true or false",
    }
}

fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}

/// Compares texts as `kind` does: ids and free text without regard to ASCII case, paths byte by byte.
pub(crate) fn compare_text(kind: Kind, left: &str, right: &str) -> Ordering {
    match kind {
        Kind::Path => left.cmp(right),
        Kind::Id | Kind::Text | Kind::OneOf(_) | Kind::Integer | Kind::Time | Kind::Boolean => {
            let left = left.bytes().map(|b| b.to_ascii_lowercase());
            left.cmp(right.bytes().map(|b| b.to_ascii_lowercase()))
        }
    }
}

/// Whether a text begins with another, as `kind` compares them.
pub(crate) fn starts_with(kind: Kind, text: &str, prefix: &str) -> bool {
    let Some(head) = text.as_bytes().get(..prefix.len()) else { return false };
    match kind {
        Kind::Path => head == prefix.as_bytes(),
        Kind::Id | Kind::Text | Kind::OneOf(_) | Kind::Integer | Kind::Time | Kind::Boolean => {
            head.eq_ignore_ascii_case(prefix.as_bytes())
        }
    }
}

/// `None` when the two are of different kinds, which `Comparison::new` rules out.
fn compare(kind: Kind, field: Field<'_>, value: &Value) -> Option<Ordering> {
    match (field, value) {
        (Field::Text(left), Value::Text(right)) => Some(compare_text(kind, left, right)),
        (Field::Name(left), Value::Name(right)) => Some(left.cmp(right)),
        (Field::Integer(left), Value::Integer(right)) => Some(left.cmp(right)),
        (Field::Time(left), Value::Time(right)) => Some(left.cmp(right)),
        (Field::Boolean(left), Value::Boolean(right)) => Some(left.cmp(right)),
        (
            Field::Text(_) | Field::Name(_) | Field::Integer(_) | Field::Time(_) | Field::Boolean(_),
            Value::Text(_) | Value::Name(_) | Value::Integer(_) | Value::Time(_) | Value::Boolean(_),
        ) => None,
    }
}

impl<P: Property> fmt::Display for Comparison<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ", self.property.name(), self.op.as_str())?;
        match &self.value {
            Value::Text(text) => {
                f.write_str("\"")?;
                for c in text.chars() {
                    if matches!(c, '"' | '\\') {
                        f.write_str("\\")?;
                    }
                    write!(f, "{c}")?;
                }
                f.write_str(if self.op == Op::Prefix { "*\"" } else { "\"" })
            }
            Value::Name(name) => f.write_str(name),
            Value::Integer(number) => write!(f, "{number}"),
            Value::Time(time) => match jiff::Timestamp::from_microsecond(time.as_micros()) {
                Ok(time) => write!(f, "{time}"),
                // `new` refuses such a time; the number keeps the text distinct all the same.
                Err(_) => write!(f, "{}", time.as_micros()),
            },
            Value::Boolean(truth) => write!(f, "{truth}"),
        }
    }
}

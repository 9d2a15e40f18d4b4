//! Values of properties: in a comparison, in a row, and as a place in an order.
//!
//! They are plain values and know neither a property's name nor a column. Values of one property are of one kind, which
//! `property` gives; how two of them compare is in `comparison`. A place must say the same in every backend, since page
//! tokens carry it.

use muster_model::Timestamp;

/// The value that a property is compared with.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// For ids, texts and paths.
    Text(String),
    /// For properties with a closed list of names: the name's own spelling.
    Name(&'static str),
    /// For whole numbers.
    Integer(i64),
    /// For times.
    Time(Timestamp),
    /// For truth values.
    Boolean(bool),
}

/// What a row says of one of its properties.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field<'a> {
    /// An id, a text or a path.
    Text(&'a str),
    /// A name of a closed list.
    Name(&'static str),
    /// A whole number.
    Integer(i64),
    /// A time.
    Time(Timestamp),
    /// A truth value.
    Boolean(bool),
}

/// A row that can say what its properties are.
pub trait Fields<P> {
    /// The property of this row, or `None` when the row has none.
    fn field(&self, property: P) -> Option<Field<'_>>;

    /// Where this row stands in an order by `property`; differs from `field` only where a sequence number orders
    /// better than a clock.
    fn place(&self, property: P) -> Place {
        Place::of(self.field(property))
    }
}

/// One coordinate of a row's place in an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// By text, as the property's kind compares it.
    Text(String),
    /// By number.
    Integer(i64),
}

impl Place {
    /// The place that a property's own value gives. Orderable properties are never absent.
    pub(crate) fn of(field: Option<Field<'_>>) -> Self {
        match field {
            Some(Field::Text(text)) => Self::Text(text.to_owned()),
            Some(Field::Name(name)) => Self::Text(name.to_owned()),
            Some(Field::Integer(number)) => Self::Integer(number),
            Some(Field::Time(time)) => Self::Integer(time.as_micros()),
            Some(Field::Boolean(truth)) => Self::Integer(i64::from(truth)),
            None => Self::Integer(i64::MIN),
        }
    }
}

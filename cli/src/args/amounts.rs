//! The grammars of amounts: named counts, more memory after an end for lack of it, spans that may be none.
//!
//! Goes in: text of the command line. Comes out: numbers within the model's limits, or a message with the value, the limit
//! and an example. Sizes and spans themselves are read by `muster_runtime::config`.

use std::str::FromStr;

use muster_model::limits::{ESCALATION_FACTOR_MILLIS_MAX, NAMED_RESOURCE_CHARS_MAX};
use muster_proto::wire;
use muster_runtime::config::{ByteSize, ByteSizeError, Span, SpanError};

/// Why a value is not an amount.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AmountError {
    /// No named count.
    #[error(
        "'{given}' is not NAME=COUNT, for example licence=1; a name is 1 to {NAMED_RESOURCE_CHARS_MAX} letters, digits, \
         '-', '_' and '.'"
    )]
    Named {
        /// The text.
        given: String,
    },
    /// No rule for more memory.
    #[error("'{given}' is not FACTORx:MOST, for example 2x:64GiB; the factor is 1.001 to {}", *.most / 1000)]
    Escalation {
        /// The text.
        given: String,
        /// The largest factor, in thousandths.
        most: u32,
    },
    /// No size.
    #[error(transparent)]
    Size(#[from] ByteSizeError),
    /// No span.
    #[error("{0}, or write none")]
    Span(#[from] SpanError),
}

fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}

/// A count of something that the operator of the nodes has named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    /// What.
    pub name: String,
    /// How many.
    pub count: u64,
}

impl FromStr for Named {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        let wrong = || AmountError::Named { given: cut(text) };
        let (name, count) = text.split_once('=').ok_or_else(wrong)?;
        let is_name = (1..=NAMED_RESOURCE_CHARS_MAX).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        let count = count.parse().map_err(|_| wrong())?;
        if is_name { Ok(Self { name: name.to_owned(), count }) } else { Err(wrong()) }
    }
}

/// More memory for the next attempt when one ran out of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Escalation(pub wire::MemoryEscalation);

impl FromStr for Escalation {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        let most = ESCALATION_FACTOR_MILLIS_MAX;
        let wrong = || AmountError::Escalation { given: cut(text), most };
        let (factor, size) = text.split_once("x:").ok_or_else(wrong)?;
        let factor: f64 = factor.parse().map_err(|_| wrong())?;
        if !(1.001..=f64::from(most) / 1000.0).contains(&factor) {
            return Err(wrong());
        }
        let max_memory_bytes = size.parse::<ByteSize>()?.bytes();
        Ok(Self(wire::MemoryEscalation { factor, max_memory_bytes }))
    }
}

/// A span of time, or that there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MaybeSpan {
    /// None.
    None,
    /// This long.
    Span(Span),
}

impl FromStr for MaybeSpan {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        if text == "none" { Ok(Self::None) } else { Ok(Self::Span(text.parse()?)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_counts_have_a_name_and_a_number() {
        assert_eq!("a.b-c=2".parse::<Named>().unwrap(), Named { name: "a.b-c".into(), count: 2 });
        for bad in ["", "a", "a=", "=1", "a b=1", "a=-1", &format!("{}=1", "x".repeat(65))] {
            assert!(bad.parse::<Named>().unwrap_err().to_string().contains("licence=1"), "{bad}");
        }
    }

    #[test]
    fn memory_grows_by_a_factor_up_to_a_size() {
        let Escalation(two) = "2x:64GiB".parse().unwrap();
        assert_eq!((two.factor, two.max_memory_bytes), (2.0, 64 << 30));
        assert_eq!("1.5x:1G".parse::<Escalation>().unwrap().0.factor, 1.5);
        for bad in ["", "2", "2x", "1x:1G", "17x:1G", "NaNx:1G", "infx:1G", "-2x:1G"] {
            let error = bad.parse::<Escalation>().unwrap_err().to_string();
            assert!(error.contains("1.001 to 16") && error.contains("2x:64GiB"), "{error}");
        }
        assert!(matches!("2x:lots".parse::<Escalation>(), Err(AmountError::Size(_))));
    }

    #[test]
    fn a_span_may_be_none() {
        assert_eq!("none".parse::<MaybeSpan>().unwrap(), MaybeSpan::None);
        assert_eq!("2h".parse::<MaybeSpan>().unwrap(), MaybeSpan::Span("2h".parse().unwrap()));
        assert!("soon".parse::<MaybeSpan>().unwrap_err().to_string().contains("none"));
    }
}

//! The grammar of spans of time, for settings and for the command line: `30s`, `250ms`, `1h30m`, `7d`.
//!
//! A span is a row of whole numbers with units, from large to small, each unit at most once: `d` (24 hours),
//! `h`, `m` (minutes), `s`, `ms`, `us`. A zero may stand without a unit; any other number may not, because half
//! of all tools mean seconds by it and the other half milliseconds.
//!
//! Invariant: what `Display` writes, `FromStr` reads to the same span.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// A span of time in whole microseconds, at most `Span::MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span(u64);

/// Why a text is not a span of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpanError {
    /// A number is missing where one should stand.
    #[error("'{text}' is not a span of time; write numbers with units, for example 30s or 1h30m")]
    NoNumber {
        /// The text.
        text: String,
    },
    /// A number stands alone.
    #[error("'{text}' has no unit; write for example {text}s or {text}ms")]
    NoUnit {
        /// The text.
        text: String,
    },
    /// The unit is not known.
    #[error("'{text}' has the unknown unit '{unit}'; use d, h, m, s, ms or us")]
    Unit {
        /// The text.
        text: String,
        /// The part that is not a unit.
        unit: String,
    },
    /// A unit stands after a smaller one, or twice.
    #[error("'{text}' has '{unit}' out of order; write units from large to small, each once, as in 1h30m")]
    Order {
        /// The text.
        text: String,
        /// The unit.
        unit: String,
    },
    /// More than fits.
    #[error("'{text}' is more than {max}, the longest span", max = Span::MAX)]
    TooLong {
        /// The text.
        text: String,
    },
}

/// The units from large to small with their length in microseconds.
const UNITS: [(&str, u64); 6] = [
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
];

impl Span {
    /// The longest span: 36,500 days. A hundred years can be added to any time of this era without overflow,
    /// and nothing that a setting limits lasts longer.
    pub const MAX: Self = Self(36_500 * UNITS[0].1);

    /// A span of so many microseconds; more than the longest span gives the longest.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        if micros > Self::MAX.0 { Self::MAX } else { Self(micros) }
    }

    /// The span in microseconds.
    #[must_use]
    pub const fn micros(self) -> u64 {
        self.0
    }

    /// The span as the standard library's type.
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_micros(self.0)
    }
}

impl From<Span> for Duration {
    fn from(span: Span) -> Self {
        span.duration()
    }
}

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let own = || text.to_owned();
        let mut rest = text.trim();
        if rest == "0" {
            return Ok(Self(0));
        }
        let mut total_us = 0_u64;
        let mut smallest_us = u64::MAX;
        loop {
            let (number, tail) = split_where(rest, |c| !c.is_ascii_digit());
            let (unit, tail) = split_where(tail, |c| c.is_ascii_digit() || c.is_whitespace());
            if number.is_empty() {
                return Err(SpanError::NoNumber { text: own() });
            }
            if unit.is_empty() {
                return Err(SpanError::NoUnit { text: own() });
            }
            let known = UNITS.iter().find(|(name, _)| unit.eq_ignore_ascii_case(name));
            let (_, unit_us) = known.ok_or_else(|| SpanError::Unit { text: own(), unit: unit.to_owned() })?;
            if *unit_us >= smallest_us {
                return Err(SpanError::Order { text: own(), unit: unit.to_owned() });
            }
            smallest_us = *unit_us;
            total_us = number
                .parse::<u64>()
                .ok()
                .and_then(|count| count.checked_mul(*unit_us))
                .and_then(|part_us| total_us.checked_add(part_us))
                .filter(|sum_us| *sum_us <= Self::MAX.0)
                .ok_or_else(|| SpanError::TooLong { text: own() })?;
            rest = tail.trim_start();
            if rest.is_empty() {
                return Ok(Self(total_us));
            }
        }
    }
}

/// The part before the first character that `stop` accepts, and the rest.
fn split_where(text: &str, stop: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(stop).unwrap_or(text.len()))
}

impl fmt::Display for Span {
    /// Every unit that is not zero: `1h30m`; `0s` when all are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let mut rest_us = self.0;
        UNITS.iter().try_for_each(|(unit, unit_us)| {
            let count = rest_us / unit_us;
            rest_us %= unit_us;
            if count > 0 { write!(f, "{count}{unit}") } else { Ok(()) }
        })
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SpanVisitor)
    }
}

/// Reads a span from a text in the grammar; a bare number is refused with the reason.
struct SpanVisitor;

impl Visitor<'_> for SpanVisitor {
    type Value = Span;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a span of time such as \"30s\" or \"1h30m\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Span, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Span, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Span, E> {
        self.visit_str(&number.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_add_up() {
        for (text, micros) in [
            ("0", 0),
            ("0s", 0),
            ("30s", 30_000_000),
            ("250ms", 250_000),
            ("10us", 10),
            ("1h30m", 5_400_000_000),
            ("1h 30m", 5_400_000_000),
            (" 2D ", 172_800_000_000),
            ("1d2h3m4s5ms6us", 93_784_005_006),
            ("36500d", Span::MAX.0),
        ] {
            assert_eq!(text.parse(), Ok(Span(micros)), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_span_is_refused_by_the_right_name() {
        for text in ["", "s", "-5s", "1h-3m", "1.5h", "h1"] {
            let refused = text.parse::<Span>().unwrap_err();
            assert!(
                matches!(refused, SpanError::NoNumber { .. } | SpanError::Unit { .. }),
                "{text}: {refused}"
            );
        }
        for text in ["30", "1h30", "1 h"] {
            assert_eq!(text.parse::<Span>(), Err(SpanError::NoUnit { text: text.to_owned() }));
        }
        assert!("3w".parse::<Span>().unwrap_err().to_string().contains("unknown unit 'w'"));
        for text in ["1m1h", "1s2s"] {
            assert!(matches!(text.parse::<Span>(), Err(SpanError::Order { .. })), "{text}");
        }
        for text in ["36501d", "18446744073709551616us", "99999999999d"] {
            assert_eq!(text.parse::<Span>(), Err(SpanError::TooLong { text: text.to_owned() }));
        }
    }

    #[test]
    fn display_reads_back_to_the_same_span() {
        let mut micros = 1;
        while micros < Span::MAX.0 {
            for span in [Span(micros - 1), Span(micros), Span(micros + 1)] {
                assert_eq!(span.to_string().parse(), Ok(span));
            }
            micros *= 7;
        }
        assert_eq!(Span(5_400_000_000).to_string(), "1h30m");
        assert_eq!(Span::from_micros(u64::MAX), Span::MAX);
    }

    #[test]
    fn documents_hold_spans_as_text_only() {
        #[derive(serde::Deserialize)]
        struct Document {
            span: Span,
        }
        let read = |text: &str| toml::from_str::<Document>(text).map(|document| document.span.duration());
        assert_eq!(read("span = '90s'").unwrap(), Duration::from_secs(90));
        assert!(read("span = 90").unwrap_err().to_string().contains("has no unit"));
    }
}

//! The grammar of sizes in bytes, for settings and for the command line: `512M`, `1.5G`, `100KB`, `4096`.
//!
//! A size is a number, perhaps with a decimal fraction, and a unit: none or `B` for bytes; `K M G T P` (or
//! `KiB MiB ...`) for powers of 1024; `KB MB GB TB PB` for powers of 1000, as in the GNU tools. Upper and lower
//! case are the same, spaces may stand before the unit.
//!
//! Invariant: what `Display` writes, `FromStr` reads to the same number; nothing is rounded.

use std::fmt;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ByteSize(u64);

/// Why a text is not a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ByteSizeError {
    /// It does not start with a number.
    #[error("'{text}' is not a size; write a number and a unit, for example 512M or 1.5G")]
    NoNumber {
        /// The text.
        text: String,
    },
    /// The unit is not known.
    #[error(
        "'{text}' has the unknown unit '{unit}'; use B, K, M, G, T or P (1024), or KB, MB, GB, TB or PB (1000)"
    )]
    Unit {
        /// The text.
        text: String,
        /// The part that is not a unit.
        unit: String,
    },
    /// A fraction of a byte.
    #[error("'{text}' is not a whole number of bytes; use a smaller unit or fewer decimals")]
    Fraction {
        /// The text.
        text: String,
    },
    /// More than fits.
    #[error("'{text}' is more than {max}, the largest size", max = ByteSize::MAX)]
    TooLarge {
        /// The text.
        text: String,
    },
}

impl ByteSize {
    /// The largest size: one byte less than 16 EiB.
    pub const MAX: Self = Self(u64::MAX);

    /// A size of `bytes` bytes.
    #[must_use]
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The number of bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

/// The factor of a unit in lower case.
fn factor(unit: &str) -> Option<u64> {
    Some(match unit {
        "" | "b" => 1,
        "k" | "ki" | "kib" => 1 << 10,
        "m" | "mi" | "mib" => 1 << 20,
        "g" | "gi" | "gib" => 1 << 30,
        "t" | "ti" | "tib" => 1 << 40,
        "p" | "pi" | "pib" => 1 << 50,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        "pb" => 1_000_000_000_000_000,
        _ => return None,
    })
}

impl FromStr for ByteSize {
    type Err = ByteSizeError;

    fn from_str(text: &str) -> Result<Self, ByteSizeError> {
        let own = || text.to_owned();
        let trimmed = text.trim();
        let end = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(end);
        let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(decimals) {
            return Err(ByteSizeError::NoNumber { text: own() });
        }
        let unit = unit.trim_start();
        let factor = factor(&unit.to_ascii_lowercase())
            .ok_or_else(|| ByteSizeError::Unit { text: own(), unit: unit.to_owned() })?;
        let whole: u64 = whole.parse().map_err(|_| ByteSizeError::TooLarge { text: own() })?;
        let decimals = decimals.trim_end_matches('0');
        let part = fraction(decimals, factor).ok_or_else(|| ByteSizeError::Fraction { text: own() })?;
        let bytes = whole.checked_mul(factor).and_then(|bytes| bytes.checked_add(part));
        bytes.map(Self).ok_or_else(|| ByteSizeError::TooLarge { text: own() })
    }
}

/// `0.decimals` times `factor`, when that is a whole number.
fn fraction(decimals: &str, factor: u64) -> Option<u64> {
    if decimals.is_empty() {
        return Some(0);
    }
    // No factor has more than 50 powers of two or 15 of ten in it, so more decimals are never whole; and so
    // many fit in 128 bits only up to 38, which is more than any person writes.
    let scale = 10_u128.checked_pow(u32::try_from(decimals.len()).ok()?)?;
    let product = decimals.parse::<u128>().ok()?.checked_mul(u128::from(factor))?;
    if product % scale == 0 { u64::try_from(product / scale).ok() } else { None }
}

impl fmt::Display for ByteSize {
    /// The largest power of 1024 that leaves a whole number: `512M`, `1536K`, `1000`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(50, "P"), (40, "T"), (30, "G"), (20, "M"), (10, "K")];
        let fits = |(shift, _): &&(u32, &str)| self.0 > 0 && self.0.trailing_zeros() >= *shift;
        match units.iter().find(fits) {
            Some((shift, unit)) => write!(f, "{}{unit}", self.0 >> shift),
            None => write!(f, "{}", self.0),
        }
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ByteSizeVisitor)
    }
}

/// Reads a size from a text in the grammar, or from a number of bytes.
struct ByteSizeVisitor;

impl Visitor<'_> for ByteSizeVisitor {
    type Value = ByteSize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a size such as \"512M\", or a number of bytes")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<ByteSize, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_u64<E: Error>(self, bytes: u64) -> Result<ByteSize, E> {
        Ok(ByteSize(bytes))
    }

    fn visit_i64<E: Error>(self, bytes: i64) -> Result<ByteSize, E> {
        self.visit_str(&bytes.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_unit_has_its_factor() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("17B", 17),
            ("512M", 512 << 20),
            ("512 mib", 512 << 20),
            ("2Gi", 2 << 30),
            ("1.5G", 3 << 29),
            ("0.5K", 512),
            ("100KB", 100_000),
            ("1.25MB", 1_250_000),
            ("3T", 3 << 40),
            ("1P", 1 << 50),
            (" 7k ", 7 << 10),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_size_is_refused_by_the_right_name() {
        for text in ["", "M", "-1", ".5G", "1.G", "1.2.3G", "+4", "½"] {
            assert_eq!(text.parse::<ByteSize>(), Err(ByteSizeError::NoNumber { text: text.to_owned() }));
        }
        for (text, unit) in [("5x", "x"), ("1e3", "e3"), ("10 G B", "G B"), ("1_000", "_000")] {
            let wanted = ByteSizeError::Unit { text: text.to_owned(), unit: unit.to_owned() };
            assert_eq!(text.parse::<ByteSize>(), Err(wanted));
        }
        for text in ["0.5", "1.0001K", "1.00000000000000000000000000000000000000000000001G"] {
            assert_eq!(text.parse::<ByteSize>(), Err(ByteSizeError::Fraction { text: text.to_owned() }));
        }
        for text in ["16384P", "18446744073709551616", "99999999999999999999999999"] {
            assert_eq!(text.parse::<ByteSize>(), Err(ByteSizeError::TooLarge { text: text.to_owned() }));
        }
    }

    #[test]
    fn display_reads_back_to_the_same_number() {
        for shift in 0..64 {
            for odd in [1_u64, 3, 5, 999, 1000] {
                let size = ByteSize(odd.wrapping_shl(shift));
                assert_eq!(size.to_string().parse(), Ok(size));
            }
        }
        for (bytes, text) in [(0, "0"), (1000, "1000"), (1536, "1536"), (3 << 9, "1536"), (512 << 20, "512M")]
        {
            assert_eq!(ByteSize(bytes).to_string(), text);
        }
        assert_eq!(ByteSize::MAX.to_string().parse(), Ok(ByteSize::MAX));
    }

    #[test]
    fn documents_hold_sizes_as_text_or_as_bytes() {
        #[derive(serde::Deserialize)]
        struct Document {
            size: ByteSize,
        }
        let read = |text: &str| toml::from_str::<Document>(text).map(|document| document.size.bytes());
        assert_eq!(read("size = '2K'").unwrap(), 2048);
        assert_eq!(read("size = 2048").unwrap(), 2048);
        assert!(read("size = -1").unwrap_err().to_string().contains("not a size"));
        assert!(read("size = 1.5").is_err());
    }
}

//! The version of what is stored, and the refusal of what a later version has stored.
//!
//! Every row that holds encoded parts carries the number. A message that gets a field keeps its version, as older rows read the
//! field as absent; a change that this build could misread in an older row makes a new one. Invariant: a row of an
//! unknown format is never decoded, let alone written back.

use super::error::CodecError;

/// The version of the formats that this build writes. It reads this one and all before.
pub(crate) const FORMAT: u8 = 1;

/// Refuses rows that a later version has written.
pub(crate) fn check_format(what: &'static str, format: i64) -> Result<(), CodecError> {
    if format == i64::from(FORMAT) {
        Ok(())
    } else {
        Err(CodecError::Format { what, found: format, known: FORMAT })
    }
}

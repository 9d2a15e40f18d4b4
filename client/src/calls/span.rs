//! Spans of time as the wire has them.
//!
//! Goes in: a span of the standard library. Comes out: the message. What a span may be is the controller's matter; see the
//! calls that have one.

use std::time::Duration;

/// A span of time on the wire; one that is too long for it is the longest.
pub(super) fn span(span: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
        // Always below a second, which fits.
        nanos: i32::try_from(span.subsec_nanos()).unwrap_or_default(),
    }
}

//! What a member of a sweep is as a task: the template with the member's values.
//!
//! `template` holds a decoded sweep and makes any one of its members in microseconds, whatever the size of its tables;
//! `error` says why values make no legal specification. What braces mean is proto's `placeholder`, which also checks
//! templates when they are submitted. Whether a member exists, and what has become of it, is not known here (`member`).

mod error;
mod template;

pub use error::ExpandError;
pub(crate) use template::Template;

//! The wire format `muster.v1` and the only conversions between it and the model.
//!
//! * [`wire`]: the generated messages, clients and servers of `muster/v1/*.proto`.
//! * [`convert`]: checked conversions to and from the model.
//! * [`command_line`] and [`placeholder`]: the two small languages inside of texts: quoting, and a sweep's `{name}`.
//! * [`version`]: the protocol's version, and the sizes and counts that both ends keep to.
//!
//! Nothing below the edge of a process names this crate's messages: handlers turn them into model types, with every
//! violation found at once, before anything else looks at them. docs/api.md has the conventions and the checklists.

pub mod command_line;
pub mod convert;
pub mod placeholder;
mod redact;
pub mod version;
pub mod wire;

pub use wire::FILE_DESCRIPTOR_SET;

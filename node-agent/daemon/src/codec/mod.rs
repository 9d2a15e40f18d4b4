//! The bytes of the journal's records: documents of the supervisor's text form, with the wire's messages inside.
//!
//! A plan, a result and a start task's course have a versioned form already, that of the wire; the rest is a few named
//! fields. A reader skips fields that it does not know (see `muster_supervisor::document`).
//!
//! Invariant: what was encoded comes back equal, but for plans, of which only the newest is needed.  [records_come_back_equal]

mod decode;
mod encode;
mod parts;

pub(crate) use decode::{CodecError, Entry, Payload, decode};
pub(crate) use encode::{encode, held_out, report_out};
pub(crate) use parts::{assignment, settings, start_task};

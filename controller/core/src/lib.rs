//! The controller's decisions: one pure state machine.
//!
//! `Core::handle(input, now)` answers with records to make durable and effects to carry out after that, or with
//! a typed refusal and no records. No async, clock, randomness or I/O: time is an argument and the next deadline a
//! return value. Start at `core`, which only dispatches; the rules live in the noun's own file.

pub mod effect;
pub mod input;
pub mod record;
pub mod reject;
pub mod reply;

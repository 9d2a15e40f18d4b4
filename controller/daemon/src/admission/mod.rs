//! How much anybody may ask of the controller at one time: rates, calls under way, bytes, for each account and node, and
//! for those of whom nothing is known: connection ──> `threshold` (strangers) ──> gate ──> `turnstile` (accounts, nodes).
//!
//! * [`share`]: what one `owner` has, at the pace of its [`bucket`]; `calls` are of these kinds. [`limits`]: the numbers.
//! * [`body`] counts requests in as they are read and lets answers out as they are taken. [`refused`]: the words, each with
//!   the time to come back.
//!
//! Nothing waits here but a stream of tasks for its own account's room: what is too much is refused at once. It decides
//! about no right: who may do what is the gate's.
//!
//! Invariant: whatever a caller holds here is given back when its call is over, however it ends.

mod body;
mod bucket;
mod calls;
mod limits;
mod owner;
mod refused;
mod share;
mod threshold;
mod turnstile;

pub use limits::Limits;
pub use share::{RoomHeld, Shares, StreamRoom};
pub use threshold::ThresholdLayer;
pub use turnstile::TurnstileLayer;

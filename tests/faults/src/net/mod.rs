//! A network that can be cut: a room of its own for a whole site, a cable to each node, and a proxy that stalls.
//!
//! `room.rs` has the namespaces, `cut.rs` what no longer passes in them, `proxy.rs` what is connected and says nothing. None of
//! it knows what a node or a controller is: they are addresses and ports.

mod cut;
mod proxy;
mod room;
mod tool;

pub use cut::{Cut, Line, Manner, Way};
pub use proxy::{Flow, Proxy};
pub use room::{CONTROLLER, Room, in_a_room};

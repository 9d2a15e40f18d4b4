//! The way to the controller: one HTTP/2 connection over mutual TLS at a time, shared by the session and by transfers.
//!
//! `channel` opens connections, `join` makes this machine a node. Who uses a [`Link`] waits for a connection for a bounded time
//! and takes what there is; when a connection breaks, the session makes the next one.

mod channel;
mod join;

pub(crate) use channel::{CONNECT_LIMIT, Link, LinkError, open};
pub(crate) use join::{JoinError, begin, join, renew};

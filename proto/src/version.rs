//! The version of the protocol between agent and controller, and the bounds of messages on the wire.
//!
//! A bound that belongs to a resource, a list or a request (how long an id may be, how large a page) lives in the
//! model's `limits`; here are only those that the two ends of a stream must agree on.

/// The name of the API package, as `GetVersion` answers it.
pub const API_VERSION: &str = "muster.v1";

/// The protocol that agent and controller speak on a session. It grows when an old peer would misunderstand a new one;
/// fields that an old peer may ignore do not change it. Since 2 the controller sends `Amend`, and 0 slots in plans; since 3 `Reboot`,
/// named users and isolation levels.
pub const PROTOCOL_VERSION: u32 = 3;

/// The oldest protocol that a controller of this version still speaks with an agent. One of protocol 1 passes `Amend` over:
/// changed constraints hold from the next attempt on. It takes one slot for a plan of none.
pub const PROTOCOL_VERSION_OLDEST: u32 = 1;

/// The domain in every `google.rpc.ErrorInfo`.
pub const ERROR_DOMAIN: &str = "muster";

/// The largest message on the node listener, both ways, in bytes: a plan of [`PLAN_FILES_MAX`] files, at about 200
/// bytes each, is 20 MB.
pub const NODE_MESSAGE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// How much content a sender puts into one chunk: large enough that framing costs nothing, small enough that a slow
/// reader's window does not hold more than a few of them.
pub const CHUNK_BYTES: usize = 256 * 1024;

/// The largest chunk that a receiver takes.
pub const CHUNK_BYTES_MAX: usize = 1024 * 1024;

/// The most digests, links or paths in one call of the file service.
pub const BATCH_FILES_MAX: usize = 1000;

/// The most nodes in one `RemoveNodes`: the reference's limit.
pub const BATCH_NODES_MAX: usize = 100;

/// The most items in one message of a session (plans, reports, kills, recalls): keeps one message from holding up
/// heartbeats.
pub const SESSION_BATCH_MAX: usize = 1000;

/// The most changed tasks, and the most deleted ones, in one event of `WatchTasks`: a page of a list.
pub const WATCH_TASKS_MAX: usize = 1000;

/// The most changed sweeps in one event of `WatchTasks`: sweeps change rarely, and each costs its reader a list.
pub const WATCH_SWEEPS_MAX: usize = 100;

/// The most files of one plan: a task's resource files after its file-store prefixes have become single files.
pub const PLAN_FILES_MAX: usize = 100_000;

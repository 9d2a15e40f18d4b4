//! The words that `muster-supervisor` and whoever talks to it have in common.
//!
//! The supervisor outlives upgrades of the node agent, so everything here is a versioned format: what is
//! written to its socket ([`request`], [`message`], [`frame`]) and what it keeps on disk ([`record`],
//! [`journal`], [`lease`]). All of it shares one text form ([`document`]); `tests/golden/` holds files of each version,
//! and a test reads them all.
//!
//! Nothing here opens, sends or waits: the agent drives [`frame::FrameReader`] from its own event loop. The
//! custodian itself (cgroups, clone, wait, kill) is the binary; its map is at the top of `main.rs`.
//!
//! Invariant: no decoder panics or allocates beyond its input's size, whatever bytes it is given.

pub mod document;
pub mod frame;
pub mod isolation;
pub mod journal;
pub mod key;
pub mod lease;
pub mod message;
pub mod record;
pub mod refusal;
pub mod request;
pub mod spec;
pub mod status;

pub use document::DecodeError;
pub use frame::{FrameError, FrameReader, SOCKET_NAME};
pub use isolation::{Isolation, Landlock, MountStep, Separation, SeparationKind};
pub use key::{AttemptKey, KeyError};
pub use message::{Message, Reply, Welcome};
pub use record::{EndedBy, ExitRecord, LostReason, Outcome};
pub use refusal::{LaunchStep, LimitKind, Refusal};
pub use request::{PROTOCOL_VERSION, Request, RequestError};
pub use spec::{Limits, Spec, SpecError, TaskUser};
pub use status::{Capabilities, Containment, Phase, TaskStatus};

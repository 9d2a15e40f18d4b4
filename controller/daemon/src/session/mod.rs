//! What node agents speak with: joining, the session, content for attempts, answers to reads.
//!
//! * [`service`]: the six calls of `NodeService`, each a line that leads to its file. [`context`]: what they share.
//! * [`join`]: a token and a signing request become a node with a certificate; renewal. [`recent_joins`]:
//!   the same request gets the same node.
//! * [`stream`]: one session, from Hello to its end. [`outbound`]: the effects of the core in the words of the wire.
//! * [`report`]: what agents report, in the words of the core.
//! * [`plan`]: specifications become plans in which nothing is left to choose; [`granted`] remembers their content.
//! * [`content`]: FetchFile and UploadFile; [`uploaded`] remembers who brought what. [`serve_file`]: answers to reads, for `relay`.
//!
//! A node can touch its own attempts alone. Nothing here decides about nodes and tasks, and nothing knows `api`.

mod content;
mod context;
mod granted;
mod identity;
mod join;
mod manager;
mod outbound;
mod plan;
mod recent_joins;
mod report;
mod report_line;
mod serve_file;
mod service;
mod stream;
mod uploaded;

pub use context::{SessionContext, SessionSettings};
pub use service::NodeSessions;

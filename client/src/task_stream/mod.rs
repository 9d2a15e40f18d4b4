//! Adding tasks without end: one stream of chunks, acknowledged part by part, that survives broken connections.
//!
//! `chunk.rs` puts tasks together, `stream.rs` sends them and takes answers, `lines.rs` reads them from lines of JSON.

mod chunk;
mod codec;
mod line_reader;
mod lines;
mod stream;

pub use chunk::TaskTooLong;
pub use lines::{LineError, LinesError, LinesEvent, LinesSummary};
pub use stream::{ChunkAnswer, TaskRefused, TaskStream, TaskStreamError};

//! How a daemon gets its settings: layers of sources, a full list of what is wrong, and the units of sizes and
//! times.
//!
//! `setting` is the list of keys that a program knows; `layers` puts defaults, file, environment and flags on
//! top of each other; `problems` gathers everything that is wrong before the program refuses to start;
//! `size` and `span` are the grammar of "512M" and "1h30m", which the command line uses too.

mod layers;
mod nearest;
mod origin;
mod problems;
mod setting;
mod size;
mod source;
mod span;

pub use layers::{Draft, Entry, Layers};
pub use origin::Origin;
pub use problems::{Problem, Problems};
pub use setting::{Kind, Setting};
pub use size::{ByteSize, ByteSizeError};
pub use span::{Span, SpanError};

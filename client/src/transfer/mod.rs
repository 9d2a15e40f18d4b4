//! Moving files between this machine and the file store.
//!
//! Up: hash, ask what is missing, name what is there, send the rest on a few streams side by side, go on after a break
//! where the controller says. Down: into a temporary file beside the target, by range, verified by digest, renamed.
//! Nothing is ever half there: neither in the store nor on this disk.
//!
//! `tree` finds local files, `digest` hashes them, `upload` and `download` move them, `progress` tells how far.

mod digest;
mod download;
mod error;
mod progress;
mod tree;
mod upload;

pub use digest::digest_file;
pub use download::{Download, Downloaded};
pub use error::TransferError;
pub use progress::{Progress, Silent};
pub use tree::{LocalFile, find_files};
pub use upload::Uploaded;

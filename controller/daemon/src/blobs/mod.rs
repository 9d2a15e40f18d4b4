//! Content: bytes under their SHA-256, in a local folder or any object store. Names are the file store's business.
//!
//! * `store`: `Blobs`, the door: is it there, read a range, begin an upload.
//! * `upload`: one upload: bytes are spooled to a local file, hashed on the way, verified; `publish`: made readable.
//! * `spool`: the files of uploads under way, and what interrupted ones left.
//! * `place`: where blobs live, from the setting `blob_store_url`.
//!
//! Invariants: a blob is visible whole or not at all; a digest is computed here, never believed; no text from a
//! caller ever becomes part of a path.

mod error;
mod place;
mod publish;
mod read;
mod spool;
mod store;
mod upload;

pub use error::{BLOB_BYTES_MAX, BlobError, PlaceError};
pub use publish::Stored;
pub use read::BlobStream;
pub use spool::UploadKey;
pub use store::Blobs;
pub use upload::{Announced, Upload};

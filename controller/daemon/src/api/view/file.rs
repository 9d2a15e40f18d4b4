//! Names of the file store and their containers.
//!
//! A file's etag is its content's digest: it changes exactly when the name gets other content, whoever gave the name
//! and how often.

use muster_controller_core::record::FileRow;
use muster_proto::convert::timestamp_out;
use muster_proto::wire;
use muster_store::ContainerView;

/// The etag of a file: its content's digest, since a name without other content has not changed.
pub(in crate::api) fn file_etag(row: &FileRow) -> String {
    row.digest.to_string()
}

/// What is known of a file.
pub(in crate::api) fn file_info(row: &FileRow) -> wire::FileInfo {
    wire::FileInfo {
        name: Some(wire::FileStorePath { container: row.container.to_string(), path: row.path.to_string() }),
        sha256: row.digest.to_string(),
        size_bytes: row.size,
        update_time: Some(timestamp_out(row.modified)),
        etag: file_etag(row),
    }
}

/// A container.
pub(in crate::api) fn container(view: &ContainerView) -> wire::Container {
    wire::Container { name: view.name.to_string() }
}

//! The generated package `muster.v1`: messages, enums, clients and servers, as `build.rs` wrote them.
//!
//! Owns nothing by hand but the descriptor set for the reflection service. Comments and meanings live in
//! `muster/v1/*.proto`; checks and model types live in `convert`. Code below the edge of a process never names
//! this module: it works with model types.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::wildcard_enum_match_arm,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::too_many_lines,
    reason = "generated code keeps its own habits"
)]

tonic::include_proto!("muster.v1");

/// The encoded `FileDescriptorSet` of the package and all that it imports, for the reflection service.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/muster.v1.fds"));

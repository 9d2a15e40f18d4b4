//! What kind of call a path is, as far as bounds go: one that answers once, or a stream; one that reads or writes.
//!
//! A test holds the lists against the protocol's own description. Rights are the gate's table and are only read here.

use crate::auth::{Right, right_of};

/// Calls whose request or answer is a stream: they are open as long as somebody likes.
const STREAMS: [&str; 15] = [
    "/grpc.health.v1.Health/Watch",
    "/muster.v1.FileService/GetFile",
    "/muster.v1.FileService/PutFile",
    "/muster.v1.FileService/ReadNodeFile",
    "/muster.v1.FileService/ReadTaskFile",
    "/muster.v1.JobService/WatchJob",
    "/muster.v1.NodeService/FetchFile",
    "/muster.v1.NodeService/ServeFile",
    "/muster.v1.NodeService/Session",
    "/muster.v1.NodeService/UploadFile",
    "/muster.v1.PoolService/WatchPools",
    "/muster.v1.TaskService/StreamCreateTasks",
    "/muster.v1.TaskService/WatchTask",
    "/muster.v1.TaskService/WatchTasks",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
];

/// Calls of clients whose request is a stream: what they send ahead lies in the controller's memory.
const UPLOADS: [&str; 2] = ["/muster.v1.FileService/PutFile", "/muster.v1.TaskService/StreamCreateTasks"];

/// How long a call is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Span {
    /// It answers once.
    Once,
    /// Its answer is a stream.
    Stream,
    /// Its request is a stream.
    Upload,
}

/// How a call is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    /// How long it is open.
    pub(super) span: Span,
    /// Whether it changes something.
    pub(super) is_write: bool,
}

/// The kind of a call that the gate has let in.
pub(super) fn kind_of(path: &str) -> Kind {
    let is_write = match right_of(path) {
        Some(Right::Write | Right::WriteJob | Right::Keys | Right::Operate | Right::Join) => true,
        Some(Right::Open | Right::Know | Right::Read | Right::ReadJob | Right::Node) | None => false,
    };
    let span = match (UPLOADS.contains(&path), STREAMS.contains(&path)) {
        (true, _) => Span::Upload,
        (false, true) => Span::Stream,
        (false, false) => Span::Once,
    };
    Kind { span, is_write }
}

/// Whether a call needs no proof at all.
pub(super) fn is_open(path: &str) -> bool {
    matches!(right_of(path), Some(Right::Open | Right::Join))
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;

    #[test]
    fn the_streams_are_those_of_the_protocol() {
        let set = prost_types::FileDescriptorSet::decode(muster_proto::FILE_DESCRIPTOR_SET).unwrap();
        let ours = set.file.iter().filter(|file| file.package() == "muster.v1");
        let (mut streams, mut uploads) = (Vec::new(), Vec::new());
        for service in ours.flat_map(|file| &file.service) {
            for method in &service.method {
                let path = format!("/muster.v1.{}/{}", service.name(), method.name());
                if method.client_streaming() && service.name() != "NodeService" {
                    uploads.push(path.clone());
                }
                if method.client_streaming() || method.server_streaming() {
                    streams.push(path);
                }
            }
        }
        streams.sort();
        uploads.sort();
        let mut listed: Vec<_> = STREAMS.into_iter().filter(|path| path.starts_with("/muster.")).collect();
        listed.sort_unstable();
        assert_eq!(streams, listed);
        assert_eq!(uploads, UPLOADS);
    }

    #[test]
    fn reading_and_writing_are_told_apart_by_their_rights() {
        assert!(kind_of("/muster.v1.TaskService/BatchCreateTasks").is_write);
        assert!(!kind_of("/muster.v1.TaskService/ListTasks").is_write);
        assert!(is_open("/grpc.health.v1.Health/Check") && is_open("/muster.v1.NodeService/Join"));
        assert!(!is_open("/muster.v1.NodeService/Session") && !is_open("/nowhere"));
    }
}

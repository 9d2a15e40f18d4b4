//! How chunks go into a call as the bytes that they are.
//!
//! Goes in: messages that are encoded already. Comes out: the frames of gRPC, and answers decoded as anywhere. The code that
//! is generated for the call would encode each task anew for each try.

use bytes::Buf;
use muster_proto::wire;
use prost::Message;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

use super::chunk::Frame;

/// Encoded messages out, decoded answers in.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ChunkCodec;

impl Codec for ChunkCodec {
    type Encode = Frame;
    type Decode = wire::StreamCreateTasksResponse;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for ChunkCodec {
    type Item = Frame;
    type Error = Status;

    fn encode(&mut self, frame: Frame, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.reserve(frame.len());
        frame.put(out);
        Ok(())
    }
}

impl Decoder for ChunkCodec {
    type Item = wire::StreamCreateTasksResponse;
    type Error = Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<Self::Item>, Status> {
        let answer = wire::StreamCreateTasksResponse::decode(bytes.copy_to_bytes(bytes.remaining()));
        answer.map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}

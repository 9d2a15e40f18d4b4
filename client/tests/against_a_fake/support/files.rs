//! The file service of the fake controller.
//!
//! Contents in a map by digest, names in another. It checks offsets and digests as the real one does, and breaks off where
//! a test says. Only calls that tests make are there.

use std::collections::BTreeMap;
use std::pin::Pin;

use bytes::Bytes;
use muster_model::Digest;
use muster_proto::convert::{item_error, status, status_busy};
use muster_proto::wire;
use muster_proto::wire::file_service_server::FileService;
use muster_proto::wire::{get_file_response, put_file_request, read_file_response};
use sha2::Digest as _;
use tokio_stream::{Stream, StreamExt};
use tonic::{Code, Request, Response, Status, Streaming};

use super::Fake;
use super::tasks::BUSY_FOR;

#[derive(Default)]
pub(crate) struct Files {
    pub contents: BTreeMap<String, Vec<u8>>,
    pub partial: BTreeMap<String, Vec<u8>>,
    pub names: BTreeMap<(String, String), String>,
    /// How many uploads came, and with how many bytes in all.
    pub puts: usize,
    pub put_bytes: usize,
    /// Breaks the next upload, and the next download, after so many bytes.
    pub break_put_at: Option<usize>,
    pub break_get_at: Option<usize>,
    /// So many uploads are refused because the fake is busy.
    pub busy_puts: u32,
    /// Offsets that downloads asked for.
    pub get_offsets: Vec<u64>,
    /// Flips a byte of what is downloaded.
    pub corrupt: bool,
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Digest::from_bytes(sha2::Sha256::digest(bytes).into()).to_string()
}

impl Files {
    pub(crate) fn put(&mut self, container: &str, path: &str, bytes: &[u8]) {
        let digest = sha256(bytes);
        self.contents.insert(digest.clone(), bytes.to_vec());
        self.names.insert((container.to_owned(), path.to_owned()), digest);
    }

    pub(crate) fn read(&self, container: &str, path: &str) -> Option<&[u8]> {
        let digest = self.names.get(&(container.to_owned(), path.to_owned()))?;
        self.contents.get(digest).map(Vec::as_slice)
    }

    fn info(&self, name: &wire::FileStorePath) -> Result<wire::FileInfo, Status> {
        let key = (name.container.clone(), name.path.clone());
        let missing =
            || status(Code::NotFound, wire::ErrorReason::FileNotFound, format!("no file '{}'", name.path));
        let sha256 = self.names.get(&key).cloned().ok_or_else(missing)?;
        let size_bytes = self.contents[&sha256].len() as u64;
        Ok(wire::FileInfo { name: Some(name.clone()), sha256, size_bytes, ..Default::default() })
    }
}

type Answer<T> = Result<Response<T>, Status>;
type Items<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn none<T>() -> Answer<T> {
    Err(Status::unimplemented("not in the fake"))
}

#[tonic::async_trait]
impl FileService for Fake {
    type GetFileStream = Items<wire::GetFileResponse>;
    type ReadTaskFileStream = Items<wire::ReadFileResponse>;
    type ReadNodeFileStream = Items<wire::ReadFileResponse>;

    async fn find_missing_files(
        &self,
        request: Request<wire::FindMissingFilesRequest>,
    ) -> Answer<wire::FindMissingFilesResponse> {
        self.admit(&request)?;
        let world = self.world();
        let missing = request
            .into_inner()
            .sha256
            .into_iter()
            .filter(|sha256| !world.files.contents.contains_key(sha256));
        let missing = missing.map(|sha256| {
            let resume_offset = world.files.partial.get(&sha256).map_or(0, |part| part.len() as u64);
            wire::MissingFile { sha256, resume_offset }
        });
        Ok(Response::new(wire::FindMissingFilesResponse { missing: missing.collect() }))
    }

    async fn put_file(
        &self,
        request: Request<Streaming<wire::PutFileRequest>>,
    ) -> Answer<wire::PutFileResponse> {
        self.admit(&request)?;
        let left = self.world().files.busy_puts.checked_sub(1);
        if let Some(left) = left {
            self.world().files.busy_puts = left;
            return Err(status_busy(Code::ResourceExhausted, "no room: wait", BUSY_FOR));
        }
        let mut stream = request.into_inner();
        let Some(Ok(wire::PutFileRequest { body: Some(put_file_request::Body::Header(header)) })) =
            stream.next().await
        else {
            return Err(Status::invalid_argument("no header"));
        };
        let (mut bytes, break_at) = {
            let mut world = self.world();
            world.files.puts += 1;
            (world.files.partial.remove(&header.sha256).unwrap_or_default(), world.files.break_put_at.take())
        };
        if bytes.len() as u64 != header.offset {
            return Err(Status::invalid_argument("wrong offset"));
        }
        while let Some(message) = stream.next().await {
            let Some(put_file_request::Body::Chunk(chunk)) = message?.body else {
                return Err(Status::invalid_argument("no chunk"));
            };
            bytes.extend_from_slice(&chunk);
            let mut world = self.world();
            world.files.put_bytes += chunk.len();
            if break_at.is_some_and(|at| bytes.len() >= at) {
                world.files.partial.insert(header.sha256, bytes);
                return Err(Status::unavailable("broken on purpose"));
            }
        }
        if sha256(&bytes) != header.sha256 {
            return Err(Status::data_loss("wrong digest"));
        }
        let mut world = self.world();
        let name = header.name.unwrap();
        world.files.put(&name.container, &name.path, &bytes);
        let file = Some(world.files.info(&name)?);
        Ok(Response::new(wire::PutFileResponse { file, already_present: false }))
    }

    async fn link_files(&self, request: Request<wire::LinkFilesRequest>) -> Answer<wire::LinkFilesResponse> {
        let id = request.get_ref().request_id.clone();
        self.world().request_ids.push(id);
        self.admit(&request)?;
        let mut world = self.world();
        let mut results = Vec::new();
        for link in request.into_inner().links {
            let name = link.name.unwrap();
            if world.files.contents.contains_key(&link.sha256) {
                world.files.names.insert((name.container.clone(), name.path.clone()), link.sha256);
                results.push(wire::LinkFileResult { file: Some(world.files.info(&name)?), error: None });
            } else {
                let error =
                    item_error(Code::FailedPrecondition, wire::ErrorReason::ContentMissing, "not there");
                results.push(wire::LinkFileResult { file: None, error: Some(error) });
            }
        }
        Ok(Response::new(wire::LinkFilesResponse { results }))
    }

    async fn get_file_info(&self, request: Request<wire::GetFileInfoRequest>) -> Answer<wire::FileInfo> {
        self.admit(&request)?;
        self.world().files.info(&request.into_inner().name.unwrap()).map(Response::new)
    }

    async fn get_file(&self, request: Request<wire::GetFileRequest>) -> Answer<Self::GetFileStream> {
        self.admit(&request)?;
        let request = request.into_inner();
        let mut world = self.world();
        let name = request.name.unwrap();
        let info = world.files.info(&name)?;
        world.files.get_offsets.push(request.offset);
        let start = usize::try_from(request.offset).unwrap();
        let mut bytes = world.files.contents[&info.sha256][start..].to_vec();
        if world.files.corrupt && !bytes.is_empty() {
            bytes[0] ^= 1;
        }
        let break_at = world.files.break_get_at.take();
        let end = break_at.unwrap_or(bytes.len()).min(bytes.len());
        let body = |body| Ok(wire::GetFileResponse { body: Some(body) });
        let mut items = vec![body(get_file_response::Body::Header(info))];
        items.extend(
            bytes[..end]
                .chunks(1000)
                .map(|part| body(get_file_response::Body::Chunk(Bytes::copy_from_slice(part)))),
        );
        if break_at.is_some() {
            items.push(Err(Status::unavailable("broken on purpose")));
        }
        Ok(Response::new(Box::pin(tokio_stream::iter(items))))
    }

    async fn read_task_file(
        &self,
        request: Request<wire::ReadTaskFileRequest>,
    ) -> Answer<Self::ReadTaskFileStream> {
        self.admit(&request)?;
        let request = request.into_inner();
        let mut world = self.world();
        world.tasks.reads.push((request.attempt, request.offset, request.follow));
        // Without a plan there is nothing new to read.
        let plan = world.tasks.read_plans.iter().position(|(attempt, _)| *attempt == request.attempt);
        let plan = plan.map(|at| world.tasks.read_plans.remove(at).1).unwrap_or_default();
        let header =
            wire::ReadFileHeader { attempt: request.attempt, offset: request.offset, ..Default::default() };
        let body = |body| Ok(wire::ReadFileResponse { body: Some(body) });
        let mut items = vec![body(read_file_response::Body::Header(header))];
        items.extend(plan.into_iter().map(|item| item.and_then(body)));
        Ok(Response::new(Box::pin(tokio_stream::iter(items))))
    }

    async fn list_containers(
        &self,
        _: Request<wire::ListContainersRequest>,
    ) -> Answer<wire::ListContainersResponse> {
        none()
    }
    async fn delete_container(
        &self,
        _: Request<wire::DeleteContainerRequest>,
    ) -> Answer<wire::DeleteContainerResponse> {
        none()
    }
    async fn list_files(&self, _: Request<wire::ListFilesRequest>) -> Answer<wire::ListFilesResponse> {
        none()
    }
    async fn delete_files(&self, _: Request<wire::DeleteFilesRequest>) -> Answer<wire::DeleteFilesResponse> {
        none()
    }
    async fn list_task_files(
        &self,
        _: Request<wire::ListTaskFilesRequest>,
    ) -> Answer<wire::ListTaskFilesResponse> {
        none()
    }
    async fn list_node_files(
        &self,
        _: Request<wire::ListNodeFilesRequest>,
    ) -> Answer<wire::ListNodeFilesResponse> {
        none()
    }
    async fn read_node_file(
        &self,
        _: Request<wire::ReadNodeFileRequest>,
    ) -> Answer<Self::ReadNodeFileStream> {
        none()
    }
}

//! FileService: the names of the file store, their containers, and their content by range.
//!
//! Uploads are in `upload`, linking in `file_link`, the files of tasks and nodes in `task_file` and `node_file`.

use super::context::{Api, answer, checked};
use super::feed::{End, Feed, Watch, open as open_stream};
use super::list::{ListRequest, next_page_token, query};
use super::upload::{check_etag, missing, row};
use super::{file_link, node_file, refused, task_file, upload, view};
use crate::auth::Permit;
use crate::refusal;
use futures_util::StreamExt;
use muster_controller_core::input::Command;
use muster_controller_core::record::FileRow;
use muster_model::{AccountName, ContainerName, FilePath, RequestId};
use muster_proto::convert::{
    Checker, FileName, Problem, container, file_name, request_id, status, status_field,
};
use muster_proto::version::BATCH_FILES_MAX;
use muster_proto::wire::file_service_server::FileService;
use muster_proto::wire::get_file_response::Body;
use muster_proto::wire::{self, ErrorReason, GetFileResponse};
use muster_store::query::{ContainerProperty, FileProperty, Filter, Op, Property, Query, Value};
use std::collections::BTreeSet;
use tonic::{Code, Request, Response, Status, Streaming};

/// The service.
pub(super) struct Files(pub(super) Api);

fn no_container(container: &ContainerName) -> Status {
    let words =
        format!("container '{container}' does not exist: see `muster file list`, or put a file into it");
    let refused = status(Code::NotFound, ErrorReason::ContainerNotFound, words);
    refused::with_resource(refused, "container", container.as_str())
}

/// A filter for names that start with a text; none for an empty text.
fn starts_with<P: Property>(property: P, prefix: &str) -> Result<Option<Filter<P>>, Status> {
    if prefix.is_empty() {
        return Ok(None);
    }
    let filter = Filter::compare(property, Op::Prefix, Value::Text(prefix.to_owned()));
    filter.map(Some).map_err(|error| {
        status(Code::InvalidArgument, ErrorReason::InvalidPropertyValue, format!("prefix: {error}"))
    })
}

fn name_of(c: &mut Checker, name: Option<wire::FileStorePath>) -> Option<FileName> {
    let name = c.required("name", name, "name the container and the path")?;
    c.at("name", |c| file_name(c, &name))
}

impl Files {
    async fn list_containers(
        &self,
        permit: Permit,
        request: wire::ListContainersRequest,
    ) -> Result<wire::ListContainersResponse, Status> {
        let list = ListRequest {
            page_size: request.page_size,
            page_token: &request.page_token,
            ..Default::default()
        };
        let mut query = query(list)?;
        query.filter = starts_with(ContainerProperty::Name, &request.prefix)?;
        let account = permit.account().clone();
        let page = self.0.read(move |reader| reader.containers(&account, &query)).await?;
        Ok(wire::ListContainersResponse {
            next_page_token: next_page_token(&page),
            containers: page.items.iter().map(view::container).collect(),
        })
    }

    async fn delete_container(
        &self,
        permit: Permit,
        request: wire::DeleteContainerRequest,
    ) -> Result<wire::DeleteContainerResponse, Status> {
        let (container, request_id) = checked(|c| {
            let request_id = request_id(c, &request.request_id);
            container(c, &request.container).map(|container| (container, request_id))
        })?;
        let (account, name) = (permit.account().clone(), container.clone());
        let (is_there, has_files) = self
            .0
            .read(move |reader| {
                let one = Query { page_size: 1, ..Query::default() };
                let has_files = !reader.files(&account, &name, &one)?.items.is_empty();
                Ok((reader.container(&account, &name)?.is_some(), has_files))
            })
            .await?;
        if has_files && !request.force {
            let words = format!(
                "container '{container}' has files: delete them first, or set force to delete them too"
            );
            return Err(status(Code::FailedPrecondition, ErrorReason::ContainerNotEmpty, words));
        }
        // A repeat of the request finds no container and still gets the first answer.
        if !is_there && request_id.is_none() {
            return Err(no_container(&container));
        }
        self.0.submit(permit.account(), request_id, Command::DeleteContainer { container }).await?;
        Ok(wire::DeleteContainerResponse {})
    }

    async fn info(
        &self,
        permit: Permit,
        request: wire::GetFileInfoRequest,
    ) -> Result<wire::FileInfo, Status> {
        let name = checked(|c| name_of(c, request.name))?;
        let row = row(&self.0, permit.account(), &name).await?.ok_or_else(|| missing(&name))?;
        Ok(view::file_info(&row))
    }

    async fn get(
        &self,
        permit: Permit,
        request: wire::GetFileRequest,
    ) -> Result<Watch<GetFileResponse>, Status> {
        let name = checked(|c| name_of(c, request.name))?;
        let account = permit.account();
        let row = row(&self.0, account, &name).await?.ok_or_else(|| missing(&name))?;
        if !request.etag.is_empty() && request.etag != view::file_etag(&row) {
            check_etag(&self.0, account, &name, &request.etag).await?;
        }
        if request.offset > row.size {
            let words = format!(
                "file '{}' has {} bytes: offset {} lies beyond its end",
                name.path, row.size, request.offset
            );
            return Err(status(Code::OutOfRange, ErrorReason::InvalidRange, words));
        }
        let end = match request.length {
            0 => row.size,
            length => request.offset.saturating_add(length).min(row.size),
        };
        let opened = self.0.parts.blobs.read(&row.digest, request.offset..end).await;
        let content = opened.map_err(|error| file_link::unreadable(&error, &name))?;
        Ok(open_stream(|feed| send_file(feed, row, content)))
    }

    async fn list(
        &self,
        permit: Permit,
        request: wire::ListFilesRequest,
    ) -> Result<wire::ListFilesResponse, Status> {
        let container = checked(|c| container(c, &request.container))?;
        let list = ListRequest {
            page_size: request.page_size,
            page_token: &request.page_token,
            ..Default::default()
        };
        let mut query = query(list)?;
        query.filter = starts_with(FileProperty::Path, &request.prefix)?;
        let (account, name) = (permit.account().clone(), container.clone());
        let page = self
            .0
            .read(move |reader| match reader.container(&account, &name)? {
                Some(_) => reader.files(&account, &name, &query).map(Some),
                None => Ok(None),
            })
            .await?
            .ok_or_else(|| no_container(&container))?;
        Ok(wire::ListFilesResponse {
            next_page_token: next_page_token(&page),
            files: page.items.iter().map(view::file_info).collect(),
        })
    }

    async fn delete(
        &self,
        permit: Permit,
        request: wire::DeleteFilesRequest,
    ) -> Result<wire::DeleteFilesResponse, Status> {
        let given = request.paths.len();
        if given == 0 && request.prefix.is_none() {
            return Err(status_field("paths", Problem::Missing { hint: "name the files, or set prefix" }));
        }
        if !request.etag.is_empty() && (given != 1 || request.prefix.is_some()) {
            return Err(status_field("etag", Problem::Conflict { other: "several paths or a prefix" }));
        }
        let (container, paths, request_id) = checked(|c| {
            let request_id = request_id(c, &request.request_id);
            let container = container(c, &request.container);
            let parse = |c: &mut Checker, path: String| c.keep(FilePath::parse(&path));
            let paths = c.each("paths", request.paths, BATCH_FILES_MAX, parse);
            container.map(|container| (container, paths, request_id))
        })?;
        let prefix = match request.prefix {
            Some(prefix) => Some(starts_with(FileProperty::Path, &prefix)?),
            None => None,
        };
        if let [path] = paths.as_slice() {
            let name = FileName { container: container.clone(), path: path.clone() };
            check_etag(&self.0, permit.account(), &name, &request.etag).await?;
        }
        let deleted = self.delete_all(permit.account(), &container, paths, prefix, request_id).await?;
        Ok(wire::DeleteFilesResponse { deleted })
    }

    /// Deletes those of `paths` that exist and, with a prefix, every file that it selects. Answers how many.
    async fn delete_all(
        &self,
        account: &AccountName,
        container: &ContainerName,
        paths: Vec<FilePath>,
        prefix: Option<Option<Filter<FileProperty>>>,
        request_id: Option<RequestId>,
    ) -> Result<u64, Status> {
        let mut deleted = self.delete_batch(account, container, paths, request_id).await?;
        let Some(filter) = prefix else { return Ok(deleted) };
        let mut query = Query { filter, page_size: muster_model::limits::PAGE_SIZE_MAX, ..Query::default() };
        loop {
            let (of, name, asked) = (account.clone(), container.clone(), query.clone());
            let page = self.0.read(move |reader| reader.files(&of, &name, &asked)).await?;
            let paths = page.items.into_iter().map(|row| row.path).collect();
            // Deleting what is gone changes nothing, so the batches of a prefix need no request id.
            deleted = deleted.saturating_add(self.delete_batch(account, container, paths, None).await?);
            match page.next {
                Some(next) => query.after = Some(next),
                None => return Ok(deleted),
            }
        }
    }

    async fn delete_batch(
        &self,
        account: &AccountName,
        container: &ContainerName,
        paths: Vec<FilePath>,
        request_id: Option<RequestId>,
    ) -> Result<u64, Status> {
        let (of, name, wanted) = (account.clone(), container.clone(), paths.clone());
        let found = self.0.read(move |reader| {
            let mut found = BTreeSet::new();
            for path in wanted {
                if reader.file(&of, &name, &path)?.is_some() {
                    found.insert(path);
                }
            }
            Ok(found)
        });
        let found = found.await?;
        if paths.is_empty() || (found.is_empty() && request_id.is_none()) {
            return Ok(0);
        }
        let deleted = u64::try_from(found.len()).unwrap_or(u64::MAX);
        let command = Command::DeleteFiles { container: container.clone(), paths };
        self.0.submit(account, request_id, command).await?;
        Ok(deleted)
    }
}

async fn send_file(
    feed: Feed<GetFileResponse>,
    row: FileRow,
    mut content: crate::blobs::BlobStream,
) -> Result<(), End> {
    feed.send(GetFileResponse { body: Some(Body::Header(view::file_info(&row))) }).await?;
    while let Some(chunk) = content.next().await {
        let chunk = chunk.map_err(|error| refusal::of_blob(&error))?;
        feed.send(GetFileResponse { body: Some(Body::Chunk(chunk)) }).await?;
    }
    Ok(())
}

#[tonic::async_trait]
impl FileService for Files {
    type GetFileStream = Watch<GetFileResponse>;
    type ReadTaskFileStream = Watch<wire::ReadFileResponse>;
    type ReadNodeFileStream = Watch<wire::ReadFileResponse>;

    async fn list_containers(
        &self,
        request: Request<wire::ListContainersRequest>,
    ) -> Result<Response<wire::ListContainersResponse>, Status> {
        answer(request, async |permit, body| self.list_containers(permit, body).await).await
    }

    async fn delete_container(
        &self,
        request: Request<wire::DeleteContainerRequest>,
    ) -> Result<Response<wire::DeleteContainerResponse>, Status> {
        answer(request, async |permit, body| self.delete_container(permit, body).await).await
    }

    async fn find_missing_files(
        &self,
        request: Request<wire::FindMissingFilesRequest>,
    ) -> Result<Response<wire::FindMissingFilesResponse>, Status> {
        answer(request, async |permit, body| file_link::find_missing(&self.0, permit, body).await).await
    }

    async fn put_file(
        &self,
        request: Request<Streaming<wire::PutFileRequest>>,
    ) -> Result<Response<wire::PutFileResponse>, Status> {
        answer(request, async |permit, body| upload::put(&self.0, permit, body).await).await
    }

    async fn link_files(
        &self,
        request: Request<wire::LinkFilesRequest>,
    ) -> Result<Response<wire::LinkFilesResponse>, Status> {
        answer(request, async |permit, body| file_link::link(&self.0, permit, body).await).await
    }

    async fn get_file_info(
        &self,
        request: Request<wire::GetFileInfoRequest>,
    ) -> Result<Response<wire::FileInfo>, Status> {
        answer(request, async |permit, body| self.info(permit, body).await).await
    }

    async fn get_file(
        &self,
        request: Request<wire::GetFileRequest>,
    ) -> Result<Response<Self::GetFileStream>, Status> {
        answer(request, async |permit, body| self.get(permit, body).await).await
    }

    async fn list_files(
        &self,
        request: Request<wire::ListFilesRequest>,
    ) -> Result<Response<wire::ListFilesResponse>, Status> {
        answer(request, async |permit, body| self.list(permit, body).await).await
    }

    async fn delete_files(
        &self,
        request: Request<wire::DeleteFilesRequest>,
    ) -> Result<Response<wire::DeleteFilesResponse>, Status> {
        answer(request, async |permit, body| self.delete(permit, body).await).await
    }

    async fn list_task_files(
        &self,
        request: Request<wire::ListTaskFilesRequest>,
    ) -> Result<Response<wire::ListTaskFilesResponse>, Status> {
        answer(request, async |permit, body| task_file::list(&self.0, permit, body).await).await
    }

    async fn read_task_file(
        &self,
        request: Request<wire::ReadTaskFileRequest>,
    ) -> Result<Response<Self::ReadTaskFileStream>, Status> {
        answer(request, async |permit, body| task_file::read(&self.0, permit, body).await).await
    }

    async fn list_node_files(
        &self,
        request: Request<wire::ListNodeFilesRequest>,
    ) -> Result<Response<wire::ListNodeFilesResponse>, Status> {
        answer(request, async |permit, body| node_file::list(&self.0, permit, body).await).await
    }

    async fn read_node_file(
        &self,
        request: Request<wire::ReadNodeFileRequest>,
    ) -> Result<Response<Self::ReadNodeFileStream>, Status> {
        answer(request, async |permit, body| node_file::read(&self.0, permit, body).await).await
    }
}

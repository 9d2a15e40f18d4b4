//! Calls on the file store and on the files of tasks, but for the transfers themselves.
//!
//! Goes in: names and prefixes. Comes out: what is known of files, never their content (`transfer/`, `logs.rs`).
//! Batches are the caller's to cut: each call here is one request.

use muster_proto::wire;

use super::pages::{Pages, Selection};
use crate::client::Client;
use crate::error::CallError;
use crate::identifier::request_id;

impl Client {
    /// Lists the containers whose name starts with a text.
    #[must_use]
    pub fn list_containers(&self, prefix: &str) -> Pages<wire::Container> {
        let (client, prefix) = (self.clone(), prefix.to_owned());
        let fetch = move |page_token: String, page_size: i32| {
            let client = client.clone();
            let request = wire::ListContainersRequest { page_size, page_token, prefix: prefix.clone() };
            Box::pin(async move {
                let call = |request| async { client.files().list_containers(request).await };
                let page = client.unary(request, call).await?;
                Ok((page.containers, page.next_page_token))
            }) as _
        };
        Pages::new(None, Box::new(fetch))
    }

    /// Deletes a container; with files in it only if `force` says so.
    ///
    /// # Errors
    /// As [`CallError`] says.
    pub async fn delete_container(&self, container: &str, force: bool) -> Result<(), CallError> {
        let request =
            wire::DeleteContainerRequest { container: container.to_owned(), force, request_id: request_id() };
        let call = |request| async { self.files().delete_container(request).await };
        self.unary(request, call).await.map(|_: wire::DeleteContainerResponse| ())
    }

    /// Lists the files of a container whose path starts with a text. Of the selection only the limit counts.
    #[must_use]
    pub fn list_files(&self, container: &str, prefix: &str, selection: &Selection) -> Pages<wire::FileInfo> {
        let (client, container, prefix) = (self.clone(), container.to_owned(), prefix.to_owned());
        let fetch = move |page_token: String, page_size: i32| {
            let client = client.clone();
            let (container, prefix) = (container.clone(), prefix.clone());
            let request = wire::ListFilesRequest { container, prefix, page_size, page_token };
            Box::pin(async move {
                let call = |request| async { client.files().list_files(request).await };
                let page = client.unary(request, call).await?;
                Ok((page.files, page.next_page_token))
            }) as _
        };
        Pages::new(selection.limit, Box::new(fetch))
    }

    /// Answers what is known of one file of the file store.
    ///
    /// # Errors
    /// As [`CallError`] says.
    pub async fn get_file_info(&self, name: wire::FileStorePath) -> Result<wire::FileInfo, CallError> {
        let request = wire::GetFileInfoRequest { name: Some(name) };
        self.unary(request, |request| async { self.files().get_file_info(request).await }).await
    }

    /// Deletes files by path (at most 1000) and by prefix (`None` means none). Answers how many there were.
    ///
    /// # Errors
    /// As [`CallError`] says.
    pub async fn delete_files(
        &self,
        container: &str,
        paths: Vec<String>,
        prefix: Option<String>,
    ) -> Result<u64, CallError> {
        let request = wire::DeleteFilesRequest {
            container: container.to_owned(),
            paths,
            prefix,
            request_id: request_id(),
            ..Default::default()
        };
        let call = |request| async { self.files().delete_files(request).await };
        self.unary(request, call).await.map(|answer: wire::DeleteFilesResponse| answer.deleted)
    }

    /// Says which of up to 1000 contents, by their SHA-256, are not in the store.
    ///
    /// # Errors
    /// As [`CallError`] says.
    pub async fn find_missing_files(&self, sha256: Vec<String>) -> Result<Vec<wire::MissingFile>, CallError> {
        let request = wire::FindMissingFilesRequest { sha256 };
        let call = |request| async { self.files().find_missing_files(request).await };
        self.unary(request, call).await.map(|answer: wire::FindMissingFilesResponse| answer.missing)
    }

    /// Gives up to 1000 names to contents that are in the store. Answers one result for each, in order.
    ///
    /// # Errors
    /// As [`CallError`] says.
    pub async fn link_files(
        &self,
        links: Vec<wire::FileLink>,
    ) -> Result<Vec<wire::LinkFileResult>, CallError> {
        let request = wire::LinkFilesRequest { links, request_id: request_id() };
        let call = |request| async { self.files().link_files(request).await };
        self.unary(request, call).await.map(|answer: wire::LinkFilesResponse| answer.results)
    }

    /// Lists the files in a task's directory, with its folders; attempt 0 means the latest.
    #[must_use]
    pub fn list_task_files(&self, job: &str, task: &str, attempt: u32) -> Pages<wire::NodeFile> {
        let (client, job_id, task_id) = (self.clone(), job.to_owned(), task.to_owned());
        let fetch = move |page_token: String, page_size: i32| {
            let client = client.clone();
            let request = wire::ListTaskFilesRequest {
                job_id: job_id.clone(),
                task_id: task_id.clone(),
                attempt,
                prefix: String::new(),
                recursive: true,
                page_size,
                page_token,
            };
            Box::pin(async move {
                let call = |request| async { client.files().list_task_files(request).await };
                let page = client.unary(request, call).await?;
                Ok((page.files, page.next_page_token))
            }) as _
        };
        Pages::new(None, Box::new(fetch))
    }
}

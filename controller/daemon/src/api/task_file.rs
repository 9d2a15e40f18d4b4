//! Reading and listing the files of a task: which attempt is meant, and from where it can be had.
//!
//! The node is asked first, since it has the whole; what was saved is the way out once the attempt has ended
//! (`attempt_file`). Following is in `follow`.

use super::attempt_file::{Wanted, attempt_target, gone, is_absent, open_anywhere, place, send_opened};
use super::context::{Api, checked};
use super::feed::{Watch, open as open_stream};
use super::lookup::{self, task_key};
use super::node_file::{Listing, entries};
use super::{follow, refused, saved};
use crate::auth::JobPermit;
use muster_controller_core::input::NodeKey;
use muster_model::FilePath;
use muster_proto::convert::Checker;
use muster_proto::wire::{self, TaskFileSource};
use tonic::Status;

/// Reads a file of a task.
pub(super) async fn read(
    api: &Api,
    permit: JobPermit,
    request: wire::ReadTaskFileRequest,
) -> Result<Watch<wire::ReadFileResponse>, Status> {
    let (key, path) = checked(|c| {
        let key = task_key(c, &request.job_id, &request.task_id);
        let path = c.at("path", |c| c.keep(FilePath::parse(&request.path)));
        Some((key?, path?))
    })?;
    let account = permit.for_job(&key.job)?.clone();
    let length = (request.length != 0).then_some(request.length);
    let wanted = Wanted { path, offset: request.offset, length };
    if request.follow {
        return follow::open(api, account, key, request.attempt, wanted).await;
    }
    let known = lookup::task(api, &account, &key).await?;
    let key = known.key();
    let place = place(api, &account, &key, &known, request.attempt).await?;
    let opened = open_anywhere(api, &account, &key, &place, &wanted).await?;
    Ok(open_stream(
        |feed| async move { send_opened(&feed, opened, &place, &account, &wanted).await.map(|_| ()) },
    ))
}

/// Lists the files of a task.
pub(super) async fn list(
    api: &Api,
    permit: JobPermit,
    request: wire::ListTaskFilesRequest,
) -> Result<wire::ListTaskFilesResponse, Status> {
    let mut checker = Checker::new();
    let wire::ListTaskFilesRequest { job_id, task_id, attempt, prefix, recursive, page_size, page_token } =
        request;
    let listing = Listing::of(&mut checker, prefix, recursive, page_size, &page_token)?;
    let found = task_key(&mut checker, &job_id, &task_id);
    let key = checker.finish(found)?;
    let account = permit.for_job(&key.job)?;
    let known = lookup::task(api, account, &key).await?;
    let key = known.key();
    let place = place(api, account, &key, &known, attempt).await?;
    let node = NodeKey { account: account.clone(), node: place.node.clone() };
    let asked = api.parts.relay.open(&node, listing.request(attempt_target(&key, place.number))).await;
    let listed = match asked {
        Ok(read) => entries(read, listing.page_size).await,
        Err(error) => Err(error),
    };
    let (found, source) = match (listed, &place.ended) {
        (Ok(files), _) => (files, TaskFileSource::Node),
        (Err(error), Some(row)) if is_absent(&error) => {
            let files = saved::files(row);
            if files.is_empty() {
                return Err(gone(&key, &place, "the directory", &error));
            }
            let is_wanted = |file: &wire::NodeFile| {
                file.path.starts_with(&listing.prefix) && file.path.as_str() > listing.after_path.as_str()
            };
            (files.into_iter().filter(is_wanted).collect(), TaskFileSource::Saved)
        }
        (Err(error), Some(_) | None) => return Err(refused::of_relay(&error)),
    };
    let (files, next_page_token) = listing.page(found);
    Ok(wire::ListTaskFilesResponse { files, next_page_token, attempt: place.number, source: source.into() })
}

//! `muster file`: names of the store against paths of this disk.
//!
//! Owns what a trailing slash means and which name a single file gets. Finding, hashing and moving files is the client
//! library's (`transfer/`).

use std::path::{Path, PathBuf};

use muster_client::transfer::{Download, find_files};
use muster_client::{Client, Selection};
use muster_proto::wire;

use super::Context;
use crate::args::{FileCommand, StoreName};
use crate::exit::{Exit, Failure};
use crate::{progress, render};

/// Why names of files do not go together.
#[derive(Debug, thiserror::Error)]
enum FileError {
    /// Several sources for one name.
    #[error("several files cannot all become '{dest}'; write '{dest}/' for a folder")]
    OneName { dest: String },
    /// A folder or a container without the word for it.
    #[error("'{name}' names many files; add --recursive to delete all of them")]
    Recursive { name: String },
    /// Nothing has that name.
    #[error("there is no file '{name}'; see: muster file list {container}")]
    NotFound { name: String, container: String },
    /// The target is a folder with no name for the file in it.
    #[error("'{path}' has no file name")]
    NoName { path: String },
}

/// Runs a command on files.
pub(super) async fn run(context: &Context, command: FileCommand) -> Result<Exit, Failure> {
    match command {
        FileCommand::Put { sources, dest } => put(context, sources, dest).await?,
        FileCommand::Get { source, dest } => get(context, source, dest.unwrap_or_default()).await?,
        FileCommand::List { name: None } => {
            let pages = context.client()?.list_containers("");
            context.list(pages, &["container"], |container| vec![container.name.as_str().into()]).await?;
        }
        FileCommand::List { name: Some(StoreName { container, path }) } => {
            let pages = context.client()?.list_files(&container, &path, &Selection::default());
            context.list(pages, &render::file::HEADINGS, render::file::row).await?;
        }
        FileCommand::Rm { names, recursive } => remove(context, names, recursive).await?,
    }
    Ok(Exit::Done)
}

async fn put(context: &Context, sources: Vec<PathBuf>, dest: StoreName) -> Result<(), Failure> {
    let is_folder = dest.path.is_empty() || dest.path.ends_with('/');
    if sources.len() > 1 && !is_folder {
        let dest = format!("{}/{}", dest.container, dest.path);
        return Err(Failure::new(Exit::Usage, FileError::OneName { dest }));
    }
    let mut files = Vec::new();
    for source in &sources {
        files.extend(find_files(source, &dest.path)?);
    }
    let client = context.client()?;
    let bar = progress::transfer(&context.outlet, "uploading");
    let done = client.upload(&dest.container, files, bar).await?;
    if context.outlet.is_json() {
        context.outlet.json(&serde_json::json!({
            "container": dest.container, "files": done.files, "size_bytes": done.bytes, "sent_bytes": done.sent_bytes,
        }))?;
    } else {
        let (all, sent) = (render::words::size(done.bytes), render::words::size(done.sent_bytes));
        context
            .outlet
            .line(&format!("{} files, {all} in {}; {sent} had to be sent", done.files, dest.container))?;
    }
    Ok(())
}

async fn get(context: &Context, source: StoreName, dest: PathBuf) -> Result<(), Failure> {
    let client = context.client()?;
    let files = if source.path.is_empty() || source.path.ends_with('/') {
        let found = client.list_files(&source.container, &source.path, &Selection::default()).all().await?;
        if found.is_empty() {
            let name = format!("{}/{}", source.container, source.path);
            let error = FileError::NotFound { name, container: source.container };
            return Err(Failure::new(Exit::NotFound, error));
        }
        let below = |file| Download::below(&dest, file, source.path.len());
        found.iter().map(below).collect::<Result<Vec<_>, _>>()?
    } else {
        vec![one(&client, &source, &dest).await?]
    };
    let bar = progress::transfer(&context.outlet, "downloading");
    let done = client.download(files, bar).await?;
    if context.outlet.is_json() {
        context.outlet.json(&serde_json::json!({
            "files": done.files, "size_bytes": done.bytes, "fetched_bytes": done.fetched_bytes,
        }))?;
    } else {
        context.outlet.line(&format!("{} files, {}", done.files, render::words::size(done.bytes)))?;
    }
    Ok(())
}

/// One file, under its own name or the one given.
async fn one(client: &Client, source: &StoreName, dest: &Path) -> Result<Download, Failure> {
    let name = wire::FileStorePath { container: source.container.clone(), path: source.path.clone() };
    let info = client.get_file_info(name.clone()).await?;
    let last = source.path.rsplit('/').next().unwrap_or(&source.path);
    let target = if dest.as_os_str().is_empty() {
        PathBuf::from(last)
    } else if dest.is_dir() {
        dest.join(last)
    } else {
        dest.to_owned()
    };
    if target.file_name().is_none() {
        let path = target.display().to_string();
        return Err(Failure::new(Exit::Usage, FileError::NoName { path }));
    }
    Ok(Download { name, sha256: info.sha256, size: info.size_bytes, target })
}

async fn remove(context: &Context, names: Vec<StoreName>, recursive: bool) -> Result<(), Failure> {
    for StoreName { container, path } in &names {
        let is_many = path.is_empty() || path.ends_with('/');
        if is_many && !recursive {
            let name = if path.is_empty() { container.clone() } else { format!("{container}/{path}") };
            return Err(Failure::new(Exit::Usage, FileError::Recursive { name }));
        }
    }
    let client = context.client()?;
    let mut deleted = 0;
    for StoreName { container, path } in names {
        let (paths, prefix) = match (path.is_empty() || path.ends_with('/'), recursive) {
            (true, _) => (Vec::new(), Some(path.clone())),
            (false, true) => (vec![path.clone()], Some(format!("{path}/"))),
            (false, false) => (vec![path.clone()], None),
        };
        let gone = client.delete_files(&container, paths, prefix).await?;
        if gone == 0 {
            let name = format!("{container}/{path}");
            return Err(Failure::new(Exit::NotFound, FileError::NotFound { name, container }));
        }
        deleted += gone;
    }
    if context.outlet.is_json() {
        context.outlet.json(&serde_json::json!({ "deleted": deleted }))?;
    } else {
        context.outlet.line(&format!("{deleted} files deleted"))?;
    }
    Ok(())
}

//! Keeps what an attempt leaves: excerpts of both streams, then its output files, all or none.
//!
//! The manifest is complete or there is none: one file that cannot be uploaded fails the attempt, and the controller publishes
//! nothing of it.

use super::excerpt;
use super::expand::{self, Environment, ExpandError};
use super::pattern::{self, PatternError};
use super::upload::{self, UploadError};
use crate::link::Link;
use crate::workdir::{Dir, Layout};
use futures_util::{StreamExt, TryStreamExt, stream};
use muster_agent_core::Subject;
use muster_agent_core::effect::UploadOf;
use muster_agent_core::input::Collected;
use muster_model::cause::FailureInfo;
use muster_model::spec::{FileDestination, OutputFile};
use muster_model::state::UploadCondition;
use muster_model::{AttemptId, Cause, ContainerName, FilePath, OutputEntry, limits};
use std::io;
use std::sync::Arc;

/// Files of one attempt that are uploaded at a time.
const UPLOADS_AT_A_TIME: usize = 4;

/// Why the outputs of an attempt cannot be kept.
#[derive(Debug, thiserror::Error)]
enum OutputError {
    #[error(transparent)]
    Expand(#[from] ExpandError),
    #[error(transparent)]
    Pattern(#[from] PatternError),
    #[error("the patterns name more than {max} files: pack them into an archive", max = limits::OUTPUT_ENTRIES_MAX)]
    TooMany,
    #[error("'{path}' cannot have the name '{name}' in the file store: {cause}")]
    Name { path: Box<str>, name: Box<str>, cause: muster_model::PathError },
    #[error("output file '{path}': {cause}")]
    Open { path: Box<str>, cause: io::Error },
    #[error("output file '{path}': {cause}")]
    Upload { path: Box<str>, cause: UploadError },
    #[error("the task's directory cannot be read: {0}")]
    Directory(#[source] io::Error),
}

/// One file to upload.
#[derive(Debug, PartialEq, Eq)]
struct Item {
    /// Below the task's directory.
    path: String,
    container: ContainerName,
    name: FilePath,
}

/// Keeps outputs.
#[derive(Debug)]
pub(crate) struct Outputs {
    layout: Arc<Layout>,
    link: Link,
}

impl Outputs {
    pub(crate) const fn new(layout: Arc<Layout>, link: Link) -> Self {
        Self { layout, link }
    }

    /// Whether any of these output files is meant for a command that ended so.
    pub(crate) fn wants_any(files: &[OutputFile], of: UploadOf) -> bool {
        files.iter().any(|file| is_meant(file.condition, of))
    }

    /// Takes the excerpts of both streams. Two short reads.
    pub(crate) fn excerpts(&self, subject: &Subject) -> Collected {
        match self.layout.existing(subject) {
            Ok(dir) => Collected {
                stdout: excerpt::take(&dir, "stdout.txt"),
                stderr: excerpt::take(&dir, "stderr.txt"),
                ..Collected::default()
            },
            Err(error) => {
                tracing::warn!(%subject, %error, "the directory of a command is gone");
                Collected::default()
            }
        }
    }

    /// Keeps what a subject leaves. `wanted` are the plan's output files and which of them are meant; `environment` is needed
    /// if one of their patterns names a variable.
    pub(crate) async fn collect(
        &self,
        subject: &Subject,
        wanted: Option<(UploadOf, &[OutputFile])>,
        environment: &Environment,
    ) -> Collected {
        let mut collected = self.excerpts(subject);
        if let (Subject::Attempt(attempt), Some((of, files))) = (subject, wanted) {
            let place = self.layout.place_path(subject);
            let meant = files.iter().filter(|file| is_meant(file.condition, of));
            let expanded: Result<Vec<_>, OutputError> = meant
                .map(|file| {
                    let pattern = expand::expand(&file.pattern, environment, &place)?;
                    Ok(OutputFile { pattern, ..file.clone() })
                })
                .collect();
            let uploaded = match expanded {
                Ok(meant) => self.upload_all(attempt, meant).await,
                Err(error) => Err(error),
            };
            match uploaded {
                Ok((outputs, bytes)) => (collected.outputs, collected.uploaded_bytes) = (outputs, bytes),
                Err(error) => collected.failure = Some(failure(&error)),
            }
        }
        collected
    }

    async fn upload_all(
        &self,
        attempt: &AttemptId,
        files: Vec<OutputFile>,
    ) -> Result<(Vec<OutputEntry>, u64), OutputError> {
        let dir = self.layout.existing(&Subject::Attempt(attempt.clone())).map_err(OutputError::Directory)?;
        let dir = Arc::new(dir);
        let found = Arc::clone(&dir);
        let items = tokio::task::spawn_blocking(move || find(&found, &files)).await;
        let items = items.unwrap_or_else(|panic| Err(OutputError::Directory(io::Error::other(panic))))?;
        let uploads = stream::iter(items.into_iter().map(|item| {
            let dir = Arc::clone(&dir);
            async move {
                let path = || Box::from(item.path.as_str());
                let (file, _) =
                    dir.open_file(&item.path).map_err(|cause| OutputError::Open { path: path(), cause })?;
                let uploaded = upload::upload(&self.link, attempt, file)
                    .await
                    .map_err(|cause| OutputError::Upload { path: path(), cause })?;
                let entry = OutputEntry {
                    container: item.container,
                    path: item.name,
                    digest: uploaded.digest,
                    size: uploaded.size,
                };
                Ok::<_, OutputError>((entry, uploaded.sent_bytes))
            }
        }));
        let done: Vec<(OutputEntry, u64)> = uploads.buffered(UPLOADS_AT_A_TIME).try_collect().await?;
        let bytes = done.iter().fold(0_u64, |sum, (_, bytes)| sum.saturating_add(*bytes));
        Ok((done.into_iter().map(|(entry, _)| entry).collect(), bytes))
    }
}

fn failure(error: &OutputError) -> FailureInfo {
    FailureInfo::new(Cause::UploadFailed, error.to_string())
}

const fn is_meant(condition: UploadCondition, of: UploadOf) -> bool {
    match (condition, of) {
        (UploadCondition::TaskCompletion, _)
        | (UploadCondition::TaskSuccess, UploadOf::Success)
        | (UploadCondition::TaskFailure, UploadOf::Failure) => true,
        (UploadCondition::TaskSuccess, UploadOf::Failure)
        | (UploadCondition::TaskFailure, UploadOf::Success) => false,
    }
}

/// The files of all patterns with their names in the store. A file that two patterns send to one name goes once.
fn find(dir: &Dir, files: &[OutputFile]) -> Result<Vec<Item>, OutputError> {
    let mut items: Vec<Item> = Vec::new();
    for file in files {
        // The two streams lie beside the working directory and are the only way out of it.
        let matches = match file.pattern.strip_prefix("../") {
            Some(stream) => {
                let found = pattern::find(dir, stream)?;
                found.into_iter().map(|path| (path.clone(), path)).collect::<Vec<_>>()
            }
            None => {
                let wd = dir.open_dir("wd").map_err(OutputError::Directory)?;
                pattern::find(&wd, &file.pattern)?
                    .into_iter()
                    .map(|path| (format!("wd/{path}"), path))
                    .collect()
            }
        };
        let FileDestination::FileStore { container, path: destination } = &file.destination;
        for (path, matched) in matches {
            let name = match destination {
                None => matched,
                Some(name) if pattern::is_plain(&file.pattern) => name.to_string(),
                Some(folder) => format!("{folder}/{matched}"),
            };
            let name = FilePath::parse(&name).map_err(|cause| OutputError::Name {
                path: path.as_str().into(),
                name: name.into(),
                cause,
            })?;
            let item = Item { path, container: container.clone(), name };
            if !items.contains(&item) {
                items.push(item);
            }
            if items.len() > limits::OUTPUT_ENTRIES_MAX {
                return Err(OutputError::TooMany);
            }
        }
    }
    Ok(items)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(pattern: &str, path: Option<&str>) -> OutputFile {
        OutputFile {
            pattern: pattern.into(),
            destination: FileDestination::FileStore {
                container: "film".parse().unwrap(),
                path: path.map(|path| FilePath::parse(path).unwrap()),
            },
            condition: UploadCondition::TaskCompletion,
        }
    }

    #[test]
    fn destinations_are_names_for_plain_patterns_and_folders_for_others() {
        let temporary = tempfile::tempdir().unwrap();
        let layout = Layout::open(temporary.path()).unwrap();
        let root = temporary.path().join("batch/shared");
        std::fs::create_dir_all(root.join("wd/d")).unwrap();
        for path in ["stdout.txt", "wd/a.png", "wd/d/b.png", "secret.txt"] {
            std::fs::write(root.join(path), "x").unwrap();
        }
        let dir = layout.batch().open_dir("shared").unwrap();
        let names = |output: OutputFile| -> Vec<(String, String)> {
            find(&dir, &[output])
                .unwrap()
                .into_iter()
                .map(|item| (item.path, item.name.to_string()))
                .collect()
        };
        let pair = |path: &str, name: &str| (path.to_owned(), name.to_owned());
        assert_eq!(names(output("a.png", Some("x/y.png"))), [pair("wd/a.png", "x/y.png")]);
        assert_eq!(names(output("a.png", None)), [pair("wd/a.png", "a.png")]);
        let below = [pair("wd/a.png", "f/a.png"), pair("wd/d/b.png", "f/d/b.png")];
        assert_eq!(names(output("**/*.png", Some("f"))), below);
        assert_eq!(names(output("../stdout.txt", Some("log"))), [pair("stdout.txt", "log")]);
    }

    #[test]
    fn conditions_choose_by_how_the_command_ended() {
        use UploadCondition::{TaskCompletion, TaskFailure, TaskSuccess};
        assert!(is_meant(TaskCompletion, UploadOf::Success) && is_meant(TaskCompletion, UploadOf::Failure));
        assert!(is_meant(TaskSuccess, UploadOf::Success) && !is_meant(TaskSuccess, UploadOf::Failure));
        assert!(is_meant(TaskFailure, UploadOf::Failure) && !is_meant(TaskFailure, UploadOf::Success));
    }
}

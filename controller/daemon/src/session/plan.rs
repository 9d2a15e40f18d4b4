//! Plans: specifications of attempts and start tasks with nothing left to choose.
//!
//! Names of the file store become content here, at the moment of dispatch. What cannot become a plan (a name that does
//! not exist) is the attempt's failure, and the caller reports it in the attempt's name. Runs where blocking is allowed;
//! one dispatch reads each job and each name once, however many attempts share them.

use muster_controller_core::input::NodeKey;
use muster_controller_core::record::{FileRow, JobRow, PoolRow};
use muster_model::spec::{
    EnvironmentSetting, FileSource, ResourceFile, StartTaskSpec, TaskConstraints, TaskSpec,
};
use muster_model::{
    AccountName, AttemptId, Cause, ContainerName, Digest, FailureInfo, FilePath, JobId, limits,
};
use muster_proto::convert::{AttemptLimits, AttemptPlan, PlannedFile, PlannedSource, StartTaskPlan};
use muster_proto::version::PLAN_FILES_MAX;
use muster_store::query::{Comparison, FileProperty, Filter, Op, Query, Value};
use muster_store::{Reader, StoreError, TaskView};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What became of one attempt of a dispatch.
#[derive(Debug)]
pub(super) enum Planned {
    /// It can run.
    Plan(Box<AttemptPlan>),
    /// It can never run: this is its end.
    Failed(AttemptId, FailureInfo),
}

/// The content that a plan names.
pub(super) fn digests(files: &[PlannedFile]) -> Vec<Digest> {
    let content = |file: &PlannedFile| match file.source {
        PlannedSource::Content(digest) => Some(digest),
        PlannedSource::Http(_) => None,
    };
    files.iter().filter_map(content).collect()
}

/// Makes plans for one account, remembering what it has read.
pub(super) struct Planner<'a> {
    reader: &'a dyn Reader,
    account: &'a AccountName,
    jobs: BTreeMap<JobId, Option<Arc<JobRow>>>,
    files: BTreeMap<(ContainerName, FilePath), Option<FileRow>>,
    prefixes: BTreeMap<(ContainerName, String), Arc<[FileRow]>>,
}

/// Why resource files have no plan.
enum Unplanned {
    Store(StoreError),
    Failed(FailureInfo),
}

impl From<StoreError> for Unplanned {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl<'a> Planner<'a> {
    pub(super) fn new(reader: &'a dyn Reader, account: &'a AccountName) -> Self {
        Self { reader, account, jobs: BTreeMap::new(), files: BTreeMap::new(), prefixes: BTreeMap::new() }
    }

    /// What becomes of an attempt of this node; `None` when it is not the node's current attempt (any more): whoever
    /// changed that has told the node.
    pub(super) fn attempt(
        &mut self,
        node: &NodeKey,
        attempt: &AttemptId,
    ) -> Result<Option<Planned>, StoreError> {
        let Some(task) = self.reader.task(self.account, &attempt.task_key())? else { return Ok(None) };
        if !is_current(&task, node, attempt) {
            return Ok(None);
        }
        let Some(job) = self.job(&attempt.job)? else { return Ok(None) };
        match self.resource_files(&task.spec.spec.resource_files) {
            Ok(files) => Ok(Some(Planned::Plan(Box::new(plan(attempt.clone(), &job, task, files))))),
            Err(Unplanned::Failed(failure)) => Ok(Some(Planned::Failed(attempt.clone(), failure))),
            Err(Unplanned::Store(error)) => Err(error),
        }
    }

    /// The plan of a pool's start task, or why it cannot run; `None` when the pool has none.
    pub(super) fn start_task(
        &mut self,
        pool: &PoolRow,
    ) -> Result<Option<Result<StartTaskPlan, FailureInfo>>, StoreError> {
        let Some(spec) = &pool.spec.start_task else { return Ok(None) };
        match self.resource_files(&spec.resource_files) {
            Ok(files) => Ok(Some(Ok(start_task_plan(pool.revision, spec, files)))),
            Err(Unplanned::Failed(failure)) => Ok(Some(Err(failure))),
            Err(Unplanned::Store(error)) => Err(error),
        }
    }

    fn job(&mut self, id: &JobId) -> Result<Option<Arc<JobRow>>, StoreError> {
        if let Some(known) = self.jobs.get(id) {
            return Ok(known.clone());
        }
        let job = self.reader.job(self.account, id)?.map(Arc::new);
        self.jobs.insert(id.clone(), job.clone());
        Ok(job)
    }

    fn resource_files(&mut self, files: &[ResourceFile]) -> Result<Vec<PlannedFile>, Unplanned> {
        let mut planned = Vec::with_capacity(files.len());
        for file in files {
            match (&file.source, &file.file_path) {
                (FileSource::Http(url), Some(path)) => planned.push(PlannedFile {
                    source: PlannedSource::Http(url.clone()),
                    path: path.clone(),
                    mode: file.mode,
                    expected: file.digest,
                    size: None,
                }),
                (FileSource::FileStore { container, path: name }, Some(path)) => {
                    let row = self.file(container, name)?;
                    let row = row.ok_or_else(|| Unplanned::Failed(absent(container, name.as_str())))?;
                    planned.push(content(&row, path.clone(), file));
                }
                (FileSource::FileStorePrefix { container, prefix }, folder) => {
                    let rows = self.prefix(container, prefix)?;
                    if rows.is_empty() {
                        return Err(Unplanned::Failed(absent(container, &format!("{prefix}*"))));
                    }
                    for row in rows.iter() {
                        planned.push(content(row, below(folder.as_ref(), &row.path)?, file));
                    }
                }
                (FileSource::Http(_) | FileSource::FileStore { .. }, None) => {
                    return Err(Unplanned::Failed(nameless()));
                }
            }
            if planned.len() > PLAN_FILES_MAX {
                return Err(Unplanned::Failed(too_many()));
            }
        }
        Ok(planned)
    }

    fn file(&mut self, container: &ContainerName, path: &FilePath) -> Result<Option<FileRow>, StoreError> {
        let key = (container.clone(), path.clone());
        if let Some(known) = self.files.get(&key) {
            return Ok(known.clone());
        }
        let row = self.reader.file(self.account, container, path)?;
        self.files.insert(key, row.clone());
        Ok(row)
    }

    /// All names of a container that start with the prefix, or one more than a plan may have.
    fn prefix(&mut self, container: &ContainerName, prefix: &str) -> Result<Arc<[FileRow]>, Unplanned> {
        let key = (container.clone(), prefix.to_owned());
        if let Some(known) = self.prefixes.get(&key) {
            return Ok(Arc::clone(known));
        }
        let filter = match prefix {
            "" => None,
            text => {
                let starts = Comparison::new(FileProperty::Path, Op::Prefix, Value::Text(text.to_owned()));
                // A prefix with control characters is the prefix of no name.
                Some(Filter::Compare(starts.map_err(|_| Unplanned::Failed(absent(container, text)))?))
            }
        };
        let mut query = Query { filter, page_size: limits::PAGE_SIZE_MAX, ..Query::default() };
        let mut rows = Vec::new();
        loop {
            let page = self.reader.files(self.account, container, &query)?;
            rows.extend(page.items);
            query.after = page.next;
            if query.after.is_none() || rows.len() > PLAN_FILES_MAX {
                break;
            }
        }
        let rows: Arc<[FileRow]> = rows.into();
        self.prefixes.insert(key, Arc::clone(&rows));
        Ok(rows)
    }
}

/// Whether this node holds this attempt now.
pub(super) fn is_current(task: &TaskView, node: &NodeKey, attempt: &AttemptId) -> bool {
    task.state.placed && task.state.attempt == attempt.number && task.state.node.as_ref() == Some(&node.node)
}

fn plan(attempt: AttemptId, job: &JobRow, task: TaskView, resource_files: Vec<PlannedFile>) -> AttemptPlan {
    let spec: TaskSpec = task.spec.spec;
    let constraints: TaskConstraints = task.state.constraints.unwrap_or(spec.constraints);
    AttemptPlan {
        attempt,
        command_line: spec.command_line,
        environment: merged(&job.spec.common_environment, spec.environment),
        resource_files,
        output_files: spec.output_files,
        limits: AttemptLimits {
            memory_bytes: spec.resources.memory_bytes,
            cpu_millis: spec.resources.cpu_millis,
            pids_max: spec.limits.pids_max,
            disk_bytes: spec.resources.disk_bytes,
            wall_clock: constraints.max_wall_clock_time,
        },
        user_identity: spec.user_identity,
        slots: spec.resources.slots,
        retention: constraints.retention_time.unwrap_or(limits::RETENTION_DEFAULT),
    }
}

fn start_task_plan(version: u64, spec: &StartTaskSpec, resource_files: Vec<PlannedFile>) -> StartTaskPlan {
    StartTaskPlan {
        version,
        command_line: spec.command_line.clone(),
        environment: spec.environment.clone(),
        resource_files,
        user_identity: spec.user_identity,
        max_retries: spec.max_task_retry_count,
        wait_for_success: spec.wait_for_success,
    }
}

/// The job's common settings but those that the task sets itself, then the task's own.
fn merged(common: &[EnvironmentSetting], own: Vec<EnvironmentSetting>) -> Vec<EnvironmentSetting> {
    let mut merged: Vec<_> =
        common.iter().filter(|setting| own.iter().all(|other| other.name != setting.name)).cloned().collect();
    merged.extend(own);
    merged
}

fn content(row: &FileRow, path: FilePath, file: &ResourceFile) -> PlannedFile {
    PlannedFile {
        source: PlannedSource::Content(row.digest),
        path,
        mode: file.mode,
        expected: file.digest,
        size: Some(row.size),
    }
}

fn below(folder: Option<&FilePath>, name: &FilePath) -> Result<FilePath, Unplanned> {
    let Some(folder) = folder else { return Ok(name.clone()) };
    FilePath::parse(&format!("{folder}/{name}")).map_err(|error| {
        let words = format!("'{name}' has no place below '{folder}': {error}; choose a shorter file_path");
        Unplanned::Failed(FailureInfo::new(Cause::StagingNotFound, words))
    })
}

fn absent(container: &ContainerName, name: &str) -> FailureInfo {
    let words = format!(
        "the file store has no '{container}/{name}' at the time of dispatch: upload it (`muster file put`) or correct the task's resource_files"
    );
    FailureInfo::new(Cause::StagingNotFound, words).with("container", container).with("path", name)
}

fn nameless() -> FailureInfo {
    FailureInfo::new(Cause::Internal, "a resource file has no file_path although its kind needs one")
}

fn too_many() -> FailureInfo {
    let words = format!(
        "the resource files are more than {PLAN_FILES_MAX} single files, the most of one task: use a longer prefix"
    );
    FailureInfo::new(Cause::StagingNotFound, words).with("files_max", PLAN_FILES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(name: &str, value: &str) -> EnvironmentSetting {
        EnvironmentSetting { name: name.to_owned(), value: value.to_owned() }
    }

    #[test]
    fn a_tasks_own_setting_wins_over_the_jobs() {
        let common = [setting("A", "job"), setting("B", "job")];
        let merged = merged(&common, vec![setting("B", "task"), setting("C", "task")]);
        assert_eq!(merged, [setting("A", "job"), setting("B", "task"), setting("C", "task")]);
    }

    #[test]
    fn names_of_a_prefix_are_kept_below_the_folder() {
        let name = FilePath::parse("scene/a.pov").unwrap();
        let folder = FilePath::parse("in").unwrap();
        let path = below(Some(&folder), &name).ok().unwrap();
        assert_eq!(path.as_str(), "in/scene/a.pov");
        assert_eq!(below(None, &name).ok().unwrap(), name);
        let long = FilePath::parse(&vec!["x"; 1_000].join("/")).unwrap();
        assert!(matches!(below(Some(&long), &long), Err(Unplanned::Failed(_))));
    }
}

//! Plans: specifications of attempts and start tasks with nothing left to choose.
//!
//! Names of the file store become content here, at the moment of dispatch. What cannot become a plan (a name that does
//! not exist, a sweep's member whose values make no command) is the attempt's failure, and the caller reports it in the
//! attempt's name. Runs where blocking is allowed; one dispatch reads each job and each name once, however many attempts
//! share them. A job's preparation and release tasks are attempts like any other, described by the job.

use super::manager::ManagerAccess;
use muster_controller_core::input::NodeKey;
use muster_controller_core::record::{FileRow, JobNodeRow, JobNodeTask, JobRow, PoolRow};
use muster_model::spec::{
    EnvironmentSetting, FileSource, JobPreparationSpec, JobReleaseSpec, OutputFile, ResourceFile,
    StartTaskSpec, UserIdentity,
};
use muster_model::{
    AccountName, AttemptId, Cause, ContainerName, Digest, FailureInfo, FilePath, JobId, limits,
};
use muster_proto::convert::{AttemptLimits, AttemptPlan, PlannedFile, PlannedSource, StartTaskPlan};
use muster_proto::version::PLAN_FILES_MAX;
use muster_store::query::{Comparison, FileProperty, Filter, Op, Query, Value};
use muster_store::{ExpandError, Reader, StoreError, TaskView};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

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
    manager: Option<ManagerAccess>,
}

/// What is to be run for an attempt, its files still by name.
struct Work {
    /// The task's sequence number; the job's own tasks have that of the job.
    sequence: Option<u64>,
    command_line: String,
    environment: Vec<EnvironmentSetting>,
    resource_files: Vec<ResourceFile>,
    output_files: Vec<OutputFile>,
    limits: AttemptLimits,
    user_identity: UserIdentity,
    slots: u32,
    gpus: u32,
    retention: Option<Duration>,
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
        Self {
            reader,
            account,
            jobs: BTreeMap::new(),
            files: BTreeMap::new(),
            prefixes: BTreeMap::new(),
            manager: None,
        }
    }

    /// Gives job manager tasks this access.
    pub(super) fn with_manager_access(mut self, access: Option<ManagerAccess>) -> Self {
        self.manager = access;
        self
    }

    /// What becomes of an attempt of this node; `None` when it is not the node's current attempt (any more): whoever
    /// changed that has told the node.
    pub(super) fn attempt(
        &mut self,
        node: &NodeKey,
        attempt: &AttemptId,
    ) -> Result<Option<Planned>, StoreError> {
        let Some(job) = self.job(&attempt.job)? else { return Ok(None) };
        let work = match own_task(&job, attempt) {
            Some(task) => self.work_of_job(node, attempt, task)?,
            None => self.work_of_task(node, attempt, &job)?,
        };
        let Some(work) = work else { return Ok(None) };
        let planned = work.and_then(|work| {
            let files = self.resource_files(&work.resource_files)?;
            Ok(plan(attempt.clone(), &job, work, files))
        });
        match planned {
            Ok(plan) => Ok(Some(Planned::Plan(Box::new(plan)))),
            Err(Unplanned::Failed(failure)) => Ok(Some(Planned::Failed(attempt.clone(), failure))),
            Err(Unplanned::Store(error)) => Err(error),
        }
    }

    /// What a task runs, if the attempt is the node's current one.
    fn work_of_task(
        &self,
        node: &NodeKey,
        attempt: &AttemptId,
        job: &JobRow,
    ) -> Result<Option<Result<Work, Unplanned>>, StoreError> {
        let Some(task) = self.reader.task(self.account, &attempt.task_key())? else { return Ok(None) };
        if !is_current(&task, node, attempt) {
            return Ok(None);
        }
        if let Some(fault) = &task.fault {
            return Ok(Some(Err(Unplanned::Failed(unfilled(fault)))));
        }
        let mut work = task_work(task);
        let is_manager = job.spec.manager.as_ref().is_some_and(|manager| manager.task.id == attempt.task);
        if let Some(access) = self.manager.as_ref().filter(|_| is_manager) {
            work.environment = merged(&access.settings(&attempt.job), work.environment);
        }
        Ok(Some(Ok(work)))
    }

    /// What a job's preparation or release task runs, if the attempt is the node's current one.
    fn work_of_job(
        &self,
        node: &NodeKey,
        attempt: &AttemptId,
        task: OwnTask<'_>,
    ) -> Result<Option<Result<Work, Unplanned>>, StoreError> {
        let row = self.reader.job_node(self.account, &attempt.job, &node.node)?;
        let state = row.as_ref().and_then(|row| task.state(row));
        let is_current = state.is_some_and(|state| state.placed && state.attempt == attempt.number);
        Ok(is_current.then(|| Ok(task.work())))
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

/// One of the tasks that a job brings itself and that run beside its ordinary tasks.
enum OwnTask<'a> {
    Preparation(&'a JobPreparationSpec),
    Release(&'a JobReleaseSpec),
}

/// The job's own task that an attempt is of, if it is.
fn own_task<'a>(job: &'a JobRow, attempt: &AttemptId) -> Option<OwnTask<'a>> {
    let preparation = job.spec.preparation.as_ref().filter(|spec| spec.id == attempt.task);
    let release = job.spec.release.as_ref().filter(|spec| spec.id == attempt.task);
    preparation.map(OwnTask::Preparation).or(release.map(OwnTask::Release))
}

impl OwnTask<'_> {
    /// How it goes on a node.
    const fn state<'r>(&self, row: &'r JobNodeRow) -> Option<&'r JobNodeTask> {
        match self {
            Self::Preparation(_) => Some(&row.preparation),
            Self::Release(_) => row.release.as_ref(),
        }
    }

    /// It runs beside the slots of its node, without limits but that of time.
    fn work(&self) -> Work {
        let work = |command_line: &str, environment: &[EnvironmentSetting], files: &[ResourceFile]| Work {
            sequence: None,
            command_line: command_line.to_owned(),
            environment: environment.to_vec(),
            resource_files: files.to_vec(),
            output_files: Vec::new(),
            limits: AttemptLimits::default(),
            user_identity: UserIdentity::default(),
            slots: 0,
            gpus: 0,
            retention: None,
        };
        match self {
            Self::Preparation(spec) => Work {
                limits: wall_clock(spec.constraints.max_wall_clock_time),
                user_identity: spec.user_identity.clone(),
                retention: spec.constraints.retention_time,
                ..work(&spec.command_line, &spec.environment, &spec.resource_files)
            },
            Self::Release(spec) => Work {
                limits: wall_clock(Some(spec.max_wall_clock_time)),
                user_identity: spec.user_identity.clone(),
                retention: spec.retention_time,
                ..work(&spec.command_line, &spec.environment, &spec.resource_files)
            },
        }
    }
}

fn wall_clock(span: Option<Duration>) -> AttemptLimits {
    AttemptLimits { wall_clock: span, ..AttemptLimits::default() }
}

/// What a task runs, with constraints and memory as they are by now.
fn task_work(task: TaskView) -> Work {
    let sequence = Some(task.spec.sequence);
    let (spec, state) = (task.spec.spec, task.state);
    let constraints = state.constraints.unwrap_or(spec.constraints);
    Work {
        sequence,
        command_line: spec.command_line,
        environment: spec.environment,
        resource_files: spec.resource_files,
        output_files: spec.output_files,
        limits: AttemptLimits {
            memory_bytes: state.memory_bytes.unwrap_or(spec.resources.memory_bytes),
            cpu_millis: spec.resources.cpu_millis,
            pids_max: spec.limits.pids_max,
            disk_bytes: spec.resources.disk_bytes,
            wall_clock: constraints.max_wall_clock_time,
        },
        user_identity: spec.user_identity,
        slots: spec.resources.slots,
        gpus: spec.resources.gpus,
        retention: constraints.retention_time,
    }
}

fn plan(attempt: AttemptId, job: &JobRow, work: Work, resource_files: Vec<PlannedFile>) -> AttemptPlan {
    AttemptPlan {
        attempt,
        command_line: work.command_line,
        environment: merged(&job.spec.common_environment, work.environment),
        resource_files,
        output_files: work.output_files,
        limits: work.limits,
        user_identity: work.user_identity,
        slots: work.slots,
        gpus: work.gpus,
        retention: work.retention.unwrap_or(limits::RETENTION_DEFAULT),
        job_preparation: job.spec.preparation.as_ref().map(|preparation| preparation.id.clone()),
        incarnation: work.sequence.unwrap_or(job.sequence),
    }
}

fn start_task_plan(version: u64, spec: &StartTaskSpec, resource_files: Vec<PlannedFile>) -> StartTaskPlan {
    StartTaskPlan {
        version,
        command_line: spec.command_line.clone(),
        environment: spec.environment.clone(),
        resource_files,
        user_identity: spec.user_identity.clone(),
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

/// The values of a sweep's member make no task that could run.
fn unfilled(fault: &ExpandError) -> FailureInfo {
    FailureInfo::new(
        Cause::LaunchFailed,
        format!("{fault}: correct the values or the template, and add it anew"),
    )
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

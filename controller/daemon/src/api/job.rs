//! JobService: jobs from creation to deletion, and the counts of their tasks.
//!
//! Every call on one job takes a [`JobPermit`], also those that only read: a token of one job ends here. Counts come
//! from the live core, everything else from the store. The stream is in `job_watch`, reasons are in `explain`, what a job did
//! on nodes is in `job_nodes`.

use super::context::{Api, answer, checked, required};
use super::feed::Watch;
use super::list::{ListRequest, fitting_page, next_page_token, query};
use super::read_mask::ReadMask;
use super::{explain, job_nodes, job_watch, lookup, refused, view};
use crate::auth::{JobPermit, Permit};
use muster_controller_core::input::{Command, DisableTasks};
use muster_controller_core::reject::Reject;
use muster_model::limits::DISPLAY_NAME_CHARS_MAX;
use muster_model::spec::JobSpec;
use muster_model::{AccountName, JobId, RequestId};
use muster_proto::convert::{Checker, JobUpdate, Problem, etag, job_id, request_id};
use muster_proto::wire::job_service_server::JobService;
use muster_proto::wire::{self, DisableTasksOption, JobState};
use muster_store::Reader;
use tonic::{Request, Response, Status};

/// The service.
pub(super) struct Jobs(pub(super) Api);

/// Why a job ends when whoever ends it does not say (reference 3.5).
const TERMINATE_REASON_DEFAULT: &str = "UserTerminate";

/// A job by id with the conditions of a mutation.
struct JobTarget {
    job: JobId,
    if_match: Option<u64>,
    request_id: Option<RequestId>,
}

impl JobTarget {
    fn check(c: &mut Checker, id: &str, given_etag: &str, given_request: &str) -> Option<Self> {
        let if_match = etag(c, given_etag);
        let request_id = request_id(c, given_request);
        job_id(c, id).map(|job| Self { job, if_match, request_id })
    }
}

impl Jobs {
    async fn create(&self, permit: Permit, request: wire::CreateJobRequest) -> Result<wire::Job, Status> {
        let request_id = checked(|c| Some(request_id(c, &request.request_id)))?;
        let spec = JobSpec::try_from(required("job", request.job, "describe the job")?)?;
        let job = spec.id.clone();
        self.0.submit(permit.account(), request_id, Command::CreateJob(Box::new(spec))).await?;
        Ok(view::job(&lookup::job(&self.0, permit.account(), &job).await?))
    }

    async fn get(&self, permit: JobPermit, request: wire::GetJobRequest) -> Result<wire::Job, Status> {
        let mask = ReadMask::of(request.read_mask, "Job")?;
        let job = checked(|c| job_id(c, &request.job_id))?;
        Ok(mask.apply(view::job(&lookup::job(&self.0, permit.for_job(&job)?, &job).await?)))
    }

    async fn list(
        &self,
        permit: Permit,
        request: wire::ListJobsRequest,
    ) -> Result<wire::ListJobsResponse, Status> {
        let mask = ReadMask::of(request.read_mask, "Job")?;
        let query = query(ListRequest {
            page_size: request.page_size,
            page_token: &request.page_token,
            filter: &request.filter,
            order_by: &request.order_by,
        })?;
        let account = permit.account().clone();
        let read = move |reader: &dyn Reader| {
            fitting_page(query, |query| {
                let page = reader.jobs(&account, query)?;
                let jobs = page.items.iter().map(|row| mask.apply(view::job(row))).collect();
                Ok((jobs, next_page_token(&page)))
            })
        };
        let (jobs, next_page_token) = self.0.read(read).await?;
        Ok(wire::ListJobsResponse { jobs, next_page_token })
    }

    async fn update(&self, permit: JobPermit, request: wire::UpdateJobRequest) -> Result<wire::Job, Status> {
        let JobUpdate { job, patch, if_match, request_id } = JobUpdate::try_from(request)?;
        let account = permit.for_job(&job)?;
        let command = Command::UpdateJob { job: job.clone(), patch, if_match };
        self.0.submit(account, request_id, command).await?;
        Ok(view::job(&lookup::job(&self.0, account, &job).await?))
    }

    /// Carries out a command on one job and answers the job as it is then.
    async fn change(
        &self,
        permit: &JobPermit,
        target: JobTarget,
        command: impl FnOnce(JobId, Option<u64>) -> Command,
    ) -> Result<wire::Job, Status> {
        let JobTarget { job, if_match, request_id } = target;
        let account = permit.for_job(&job)?;
        self.0.submit(account, request_id, command(job.clone(), if_match)).await?;
        Ok(view::job(&lookup::job(&self.0, account, &job).await?))
    }

    async fn terminate(
        &self,
        permit: JobPermit,
        request: wire::TerminateJobRequest,
    ) -> Result<wire::Job, Status> {
        let target = checked(|c| {
            let given = request.terminate_reason.chars().count();
            if given > DISPLAY_NAME_CHARS_MAX {
                let problem = Problem::TooLong { given, max: DISPLAY_NAME_CHARS_MAX, unit: "characters" };
                c.note_at("terminate_reason", problem);
            }
            JobTarget::check(c, &request.job_id, &request.etag, &request.request_id)
        })?;
        let reason = match request.terminate_reason {
            empty if empty.is_empty() => TERMINATE_REASON_DEFAULT.to_owned(),
            reason => reason,
        };
        let command = |job, if_match| Command::TerminateJob { job, reason, if_match };
        self.change(&permit, target, command).await
    }

    async fn disable(
        &self,
        permit: JobPermit,
        request: wire::DisableJobRequest,
    ) -> Result<wire::Job, Status> {
        let (target, tasks) = checked(|c| {
            let tasks = disable_tasks(c, request.disable_tasks);
            JobTarget::check(c, &request.job_id, &request.etag, &request.request_id).zip(tasks)
        })?;
        let command = |job, if_match| Command::DisableJob { job, tasks, if_match };
        self.change(&permit, target, command).await
    }

    async fn enable(&self, permit: JobPermit, request: wire::EnableJobRequest) -> Result<wire::Job, Status> {
        let target = checked(|c| JobTarget::check(c, &request.job_id, &request.etag, &request.request_id))?;
        self.change(&permit, target, |job, if_match| Command::EnableJob { job, if_match }).await
    }

    /// A job without running tasks is gone at once; it is then answered as it last was.
    async fn delete(&self, permit: JobPermit, request: wire::DeleteJobRequest) -> Result<wire::Job, Status> {
        let target = checked(|c| JobTarget::check(c, &request.job_id, &request.etag, &request.request_id))?;
        let account = permit.for_job(&target.job)?;
        let read = |of: AccountName, id: JobId| self.0.read(move |reader| reader.job(&of, &id));
        let before = read(account.clone(), target.job.clone()).await?;
        let command = Command::DeleteJob { job: target.job.clone(), if_match: target.if_match };
        self.0.submit(account, target.request_id, command).await?;
        if let Some(leaving) = read(account.clone(), target.job.clone()).await? {
            return Ok(view::job(&leaving));
        }
        let nothing = || wire::Job { id: target.job.to_string(), ..Default::default() };
        let last = before.map_or_else(nothing, |row| view::job(&row));
        Ok(wire::Job { state: JobState::Deleting.into(), ..last })
    }

    async fn task_counts(
        &self,
        permit: JobPermit,
        request: wire::GetTaskCountsRequest,
    ) -> Result<wire::TaskCountsReport, Status> {
        let job = checked(|c| job_id(c, &request.job_id))?;
        let found = lookup::task_counts(&self.0, permit.for_job(&job)?, &job).await?;
        let counts = found.ok_or_else(|| refused::of_reject(&Reject::JobNotFound(job)))?;
        Ok(view::task_counts(&counts))
    }
}

fn disable_tasks(c: &mut Checker, given: i32) -> Option<DisableTasks> {
    match DisableTasksOption::try_from(given) {
        Ok(DisableTasksOption::Unspecified | DisableTasksOption::Requeue) => Some(DisableTasks::Requeue),
        Ok(DisableTasksOption::Terminate) => Some(DisableTasks::Terminate),
        Ok(DisableTasksOption::Wait) => Some(DisableTasks::Wait),
        Err(_) => {
            let allowed =
                "DISABLE_TASKS_OPTION_REQUEUE, DISABLE_TASKS_OPTION_TERMINATE, DISABLE_TASKS_OPTION_WAIT";
            let problem =
                Problem::UnknownEnum { given, kind: "DisableTasksOption", allowed: allowed.to_owned() };
            c.note_at("disable_tasks", problem);
            None
        }
    }
}

#[tonic::async_trait]
impl JobService for Jobs {
    type WatchJobStream = Watch<wire::WatchJobResponse>;

    async fn create_job(
        &self,
        request: Request<wire::CreateJobRequest>,
    ) -> Result<Response<wire::Job>, Status> {
        answer(request, async |permit, body| self.create(permit, body).await).await
    }

    async fn get_job(&self, request: Request<wire::GetJobRequest>) -> Result<Response<wire::Job>, Status> {
        answer(request, async |permit, body| self.get(permit, body).await).await
    }

    async fn list_jobs(
        &self,
        request: Request<wire::ListJobsRequest>,
    ) -> Result<Response<wire::ListJobsResponse>, Status> {
        answer(request, async |permit, body| self.list(permit, body).await).await
    }

    async fn update_job(
        &self,
        request: Request<wire::UpdateJobRequest>,
    ) -> Result<Response<wire::Job>, Status> {
        answer(request, async |permit, body| self.update(permit, body).await).await
    }

    async fn delete_job(
        &self,
        request: Request<wire::DeleteJobRequest>,
    ) -> Result<Response<wire::Job>, Status> {
        answer(request, async |permit, body| self.delete(permit, body).await).await
    }

    async fn terminate_job(
        &self,
        request: Request<wire::TerminateJobRequest>,
    ) -> Result<Response<wire::Job>, Status> {
        answer(request, async |permit, body| self.terminate(permit, body).await).await
    }

    async fn disable_job(
        &self,
        request: Request<wire::DisableJobRequest>,
    ) -> Result<Response<wire::Job>, Status> {
        answer(request, async |permit, body| self.disable(permit, body).await).await
    }

    async fn enable_job(
        &self,
        request: Request<wire::EnableJobRequest>,
    ) -> Result<Response<wire::Job>, Status> {
        answer(request, async |permit, body| self.enable(permit, body).await).await
    }

    async fn get_task_counts(
        &self,
        request: Request<wire::GetTaskCountsRequest>,
    ) -> Result<Response<wire::TaskCountsReport>, Status> {
        answer(request, async |permit, body| self.task_counts(permit, body).await).await
    }

    async fn watch_job(
        &self,
        request: Request<wire::WatchJobRequest>,
    ) -> Result<Response<Self::WatchJobStream>, Status> {
        answer(request, async |permit, body| job_watch::open(&self.0, permit, body).await).await
    }

    async fn explain_job(
        &self,
        request: Request<wire::ExplainJobRequest>,
    ) -> Result<Response<wire::ExplainJobResponse>, Status> {
        answer(request, async |permit, body| explain::job(&self.0, permit, body).await).await
    }

    async fn list_job_preparation_and_release_task_status(
        &self,
        request: Request<wire::ListJobPreparationAndReleaseTaskStatusRequest>,
    ) -> Result<Response<wire::ListJobPreparationAndReleaseTaskStatusResponse>, Status> {
        answer(request, async |permit, body| job_nodes::list(&self.0, permit, body).await).await
    }
}

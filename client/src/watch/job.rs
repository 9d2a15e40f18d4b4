//! A job and its counts, watched until all is over, or for as long as there is the job.
//!
//! An event may lack the job when only its counts changed, so what was seen last is kept here and every progress is whole.

use muster_proto::wire;

use super::events::Events;
use crate::client::Client;
use crate::error::CallError;

/// A job and its counts as they were last.
#[derive(Debug, Clone, Default)]
pub struct JobProgress {
    /// The job.
    pub job: wire::Job,
    /// How many of its tasks are in each state.
    pub counts: wire::TaskCounts,
}

impl JobProgress {
    /// Whether nothing more will happen by itself: the job, or every task of it, is completed. A job without tasks counts as
    /// all complete, as in the reference; a progress that has not seen its job yet is not over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let seen = !self.job.id.is_empty();
        let all_done = self.counts.active == 0 && self.counts.running == 0;
        seen && (self.job.state() == wire::JobState::Completed || all_done)
    }
}

/// A job's progress, now and after every change, until all is over.
pub struct JobWatch {
    events: Events<wire::WatchJobResponse>,
    progress: JobProgress,
    /// Whether it ends when all tasks are completed although the job goes on.
    until_tasks: bool,
    is_over: bool,
}

impl JobWatch {
    /// The job as it is, then as it becomes. `None` after it was over, and when it is gone.
    ///
    /// # Errors
    /// As [`CallError`] says; NOT_FOUND when there is no such job.
    pub async fn next(&mut self) -> Result<Option<JobProgress>, CallError> {
        if self.is_over {
            return Ok(None);
        }
        let (event, _) = self.events.next().await?;
        if event.deleted {
            self.is_over = true;
            return Ok(None);
        }
        self.progress.job = event.job.unwrap_or_else(|| std::mem::take(&mut self.progress.job));
        if let Some(counts) = event.counts.and_then(|report| report.task_counts) {
            self.progress.counts = counts;
        }
        let is_completed = self.progress.job.state() == wire::JobState::Completed;
        self.is_over = is_completed || (self.until_tasks && self.progress.is_over());
        Ok(Some(self.progress.clone()))
    }
}

impl Client {
    /// Watches a job until it is completed, or all of its tasks are.
    #[must_use]
    pub fn watch_job(&self, job: &str) -> JobWatch {
        self.watch_job_until(job, true)
    }

    /// Watches a job until it is itself completed, which one without an end of its own never is.
    #[must_use]
    pub fn follow_job(&self, job: &str) -> JobWatch {
        self.watch_job_until(job, false)
    }

    fn watch_job_until(&self, job: &str, until_tasks: bool) -> JobWatch {
        let job_id = job.to_owned();
        let open = move |client: Client, resume_revision| {
            let job_id = job_id.clone();
            let request = wire::WatchJobRequest { job_id, until_complete: until_tasks, resume_revision };
            Box::pin(async move {
                client.stream(request, |request| async { client.jobs().watch_job(request).await }).await
            }) as _
        };
        let events = Events::new(self, Box::new(open));
        JobWatch { events, progress: JobProgress::default(), until_tasks, is_over: false }
    }
}

//! What a client says to the controller, each call written into the told-log with what came of it.
//!
//! Every mutation carries a request id of its own, which its repeats keep. Now and then one that was answered is asked once more
//! with the same id on purpose: the answer must not change, and nothing may be done a second time.

use crate::chance::Chance;
use crate::deed::Deed;
use crate::record::{Seen, State};
use crate::told::{Act, Answer, Entry, Told};
use crate::wire_call::{Called, Caller, Failure};
use muster_e2e::api::Wire;
use muster_proto::wire;
use muster_proto::wire::job_service_client::JobServiceClient;
use muster_proto::wire::task_service_client::TaskServiceClient;
use std::future::Future;
use tonic::{Request, Response, Status};

/// A client's voice.
#[derive(Debug)]
pub struct Asker {
    pub(crate) caller: Caller,
    client: u32,
    told: Told,
    chance: Chance,
    /// How many calls it has made: what makes request ids.
    calls: u64,
    prefix: String,
}

/// In how many of a hundred mutations an answered one is asked again.
const REPEATS_PERCENT: u64 = 10;

impl Asker {
    /// The voice of a client that writes down what it is told.
    #[must_use]
    pub fn new(caller: Caller, client: u32, told: Told, seed: u64) -> Self {
        let chance = Chance::of(seed, &format!("asker {client}"));
        Self { caller, client, told, chance, calls: 0, prefix: format!("client-{client}") }
    }

    /// A voice of nobody's, whose calls nobody checks.
    #[must_use]
    pub fn of(caller: Caller) -> Self {
        Self { prefix: "checker".to_owned(), ..Self::new(caller, u32::MAX, Told::default(), 0) }
    }

    fn request_id(&mut self) -> String {
        self.calls += 1;
        format!("{}-{}", self.prefix, self.calls)
    }

    /// Makes a mutation and perhaps, once it was answered, makes it again.
    fn mutate<Q: Clone, A, F>(
        &mut self,
        job: &str,
        task: Option<&str>,
        act: Act,
        request: &Q,
        make: impl Fn(Wire, Request<Q>) -> F,
    ) -> bool
    where
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let called = self.caller.call(request, &make);
        let is_done = self.note(job, task, act.clone(), called);
        if is_done && self.chance.percent(REPEATS_PERCENT) {
            let repeated = self.caller.call(request, &make);
            self.note(job, task, act, repeated);
        }
        is_done
    }

    fn note<A>(&self, job: &str, task: Option<&str>, act: Act, called: Called<A>) -> bool {
        let answer = match called.answer {
            Ok(_) => Answer::Done,
            Err(failure) => Self::failed(failure),
        };
        let is_done = answer == Answer::Done;
        self.told.note(Entry {
            client: self.client,
            asked_us: called.asked_us,
            answered_us: called.answered_us,
            tries: called.tries,
            job: job.to_owned(),
            task: task.map(str::to_owned),
            act,
            answer,
        });
        is_done
    }

    fn failed(failure: Failure) -> Answer {
        match failure {
            Failure::Gone => Answer::Gone,
            Failure::Refused(words) => Answer::Refused(words),
            Failure::Unknown(words) => Answer::Unknown(words),
        }
    }

    /// A new job; whether it is there.
    pub fn create_job(&mut self, job: &str) -> bool {
        let spec = wire::Job {
            id: job.to_owned(),
            pool_info: Some(wire::job::PoolInfo::PoolId("default".to_owned())),
            ..Default::default()
        };
        let request = wire::CreateJobRequest { job: Some(spec), request_id: self.request_id() };
        self.mutate(job, None, Act::CreateJob, &request, |wire, request| async move {
            JobServiceClient::new(wire).create_job(request).await
        })
    }

    /// A new task; whether it is there.
    pub fn create_task(&mut self, labour: &str, job: &str, task: &str, deed: Deed) -> bool {
        let request = wire::CreateTaskRequest {
            job_id: job.to_owned(),
            task: Some(deed.task(labour, job, task)),
            request_id: self.request_id(),
        };
        self.mutate(job, Some(task), Act::CreateTask(deed), &request, |wire, request| async move {
            TaskServiceClient::new(wire).create_task(request).await
        })
    }

    /// New tasks in one call; those that are there.
    pub fn create_tasks(&mut self, labour: &str, job: &str, deeds: &[(String, Deed)]) -> Vec<String> {
        let request = wire::BatchCreateTasksRequest {
            job_id: job.to_owned(),
            tasks: deeds.iter().map(|(task, deed)| deed.task(labour, job, task)).collect(),
            request_id: self.request_id(),
        };
        let called = self.caller.call(&request, |wire, request| async move {
            TaskServiceClient::new(wire).batch_create_tasks(request).await
        });
        let mut added = Vec::new();
        for (index, (task, deed)) in deeds.iter().enumerate() {
            let answer = match &called.answer {
                Ok(answer) => answer.results.get(index).map_or_else(
                    || Err(Failure::Refused("no result for this task".to_owned())),
                    one_of_batch,
                ),
                Err(failure) => Err(failure.clone()),
            };
            let (asked_us, answered_us, tries) = (called.asked_us, called.answered_us, called.tries);
            let one = Called { asked_us, answered_us, tries, answer };
            if self.note(job, Some(task), Act::CreateTask(*deed), one) {
                added.push(task.clone());
            }
        }
        added
    }

    /// A new sweep of members that are numbered from 1; whether it is there.
    pub fn create_sweep(&mut self, labour: &str, job: &str, sweep: &str, deed: Deed, count: u32) -> bool {
        let range = wire::SweepRange { name: "i".to_owned(), start: 1, end: u64::from(count), step: 1 };
        let axis = wire::SweepAxis { values: Some(wire::sweep_axis::Values::Range(range)) };
        // Members are told apart by their ids; a template has none.
        let template = wire::Task { id: String::new(), ..deed.task(labour, job, sweep) };
        let spec = wire::Sweep {
            id: sweep.to_owned(),
            template: Some(template),
            axes: vec![axis],
            ..Default::default()
        };
        let request = wire::CreateSweepRequest {
            job_id: job.to_owned(),
            sweep: Some(spec),
            request_id: self.request_id(),
        };
        self.mutate(job, Some(sweep), Act::CreateSweep(deed, count), &request, |wire, request| async move {
            TaskServiceClient::new(wire).create_sweep(request).await
        })
    }

    /// Reads a task; how it is, when it could be read.
    pub fn read(&mut self, job: &str, task: &str) -> Option<Seen> {
        let request =
            wire::GetTaskRequest { job_id: job.to_owned(), task_id: task.to_owned(), read_mask: None };
        let called = self.caller.call(&request, |wire, request| async move {
            TaskServiceClient::new(wire).get_task(request).await
        });
        let (answer, seen) = match called.answer {
            Ok(task) => {
                let seen = Seen::of(&task);
                (Answer::Seen(Box::new(seen.clone())), Some(seen))
            }
            Err(failure) => (Self::failed(failure), None),
        };
        self.told.note(Entry {
            client: self.client,
            asked_us: called.asked_us,
            answered_us: called.answered_us,
            tries: called.tries,
            job: job.to_owned(),
            task: Some(task.to_owned()),
            act: Act::Read,
            answer,
        });
        seen
    }

    /// Ends a task.
    pub fn terminate_task(&mut self, job: &str, task: &str) -> bool {
        let request = wire::TerminateTaskRequest {
            job_id: job.to_owned(),
            task_id: task.to_owned(),
            request_id: self.request_id(),
            ..Default::default()
        };
        self.mutate(job, Some(task), Act::Terminate, &request, |wire, request| async move {
            TaskServiceClient::new(wire).terminate_task(request).await
        })
    }

    /// Deletes a task.
    pub fn delete_task(&mut self, job: &str, task: &str) -> bool {
        let request = wire::DeleteTaskRequest {
            job_id: job.to_owned(),
            task_id: task.to_owned(),
            request_id: self.request_id(),
            ..Default::default()
        };
        self.mutate(job, Some(task), Act::Delete, &request, |wire, request| async move {
            TaskServiceClient::new(wire).delete_task(request).await
        })
    }

    /// Makes a failed task active again.
    pub fn reactivate_task(&mut self, job: &str, task: &str) -> bool {
        let request = wire::ReactivateTaskRequest {
            job_id: job.to_owned(),
            task_id: task.to_owned(),
            request_id: self.request_id(),
            ..Default::default()
        };
        self.mutate(job, Some(task), Act::Reactivate, &request, |wire, request| async move {
            TaskServiceClient::new(wire).reactivate_task(request).await
        })
    }

    /// Pauses a job; running tasks go on or are put back into the queue.
    pub fn disable(&mut self, job: &str, is_requeue: bool) -> bool {
        let (act, option) = if is_requeue {
            (Act::Requeue, wire::DisableTasksOption::Requeue)
        } else {
            (Act::Disable, wire::DisableTasksOption::Wait)
        };
        let request = wire::DisableJobRequest {
            job_id: job.to_owned(),
            disable_tasks: option.into(),
            request_id: self.request_id(),
            ..Default::default()
        };
        self.mutate(job, None, act, &request, |wire, request| async move {
            JobServiceClient::new(wire).disable_job(request).await
        })
    }

    /// Ends a job's pause.
    pub fn enable(&mut self, job: &str) -> bool {
        let request = wire::EnableJobRequest {
            job_id: job.to_owned(),
            request_id: self.request_id(),
            ..Default::default()
        };
        self.mutate(job, None, Act::Enable, &request, |wire, request| async move {
            JobServiceClient::new(wire).enable_job(request).await
        })
    }

    /// Ends a job.
    pub fn terminate_job(&mut self, job: &str) -> bool {
        let request = wire::TerminateJobRequest {
            job_id: job.to_owned(),
            request_id: self.request_id(),
            ..Default::default()
        };
        self.mutate(job, None, Act::Terminate, &request, |wire, request| async move {
            JobServiceClient::new(wire).terminate_job(request).await
        })
    }

    /// Deletes a job.
    pub fn delete_job(&mut self, job: &str) -> bool {
        let request = wire::DeleteJobRequest {
            job_id: job.to_owned(),
            request_id: self.request_id(),
            ..Default::default()
        };
        self.mutate(job, None, Act::Delete, &request, |wire, request| async move {
            JobServiceClient::new(wire).delete_job(request).await
        })
    }
}

/// What a batch says of one of its tasks.
fn one_of_batch(result: &wire::TaskAddResult) -> Result<(), Failure> {
    let words = || result.error.as_ref().map(|error| error.message.clone()).unwrap_or_default();
    match result.status() {
        wire::TaskAddStatus::Success => Ok(()),
        wire::TaskAddStatus::ClientError | wire::TaskAddStatus::Unspecified => Err(Failure::Refused(words())),
        wire::TaskAddStatus::ServerError => Err(Failure::Unknown(words())),
    }
}

/// Whether a task needs no more reading for its own sake.
#[must_use]
pub fn is_over(seen: &Seen) -> bool {
    seen.state == State::Completed
}

//! The door and the heart: one input in, one decision out.
//!
//! `handle` only dispatches; each arm is one call into the file of the noun that it is about. After the rule, placement
//! runs for the pools that the rule has touched, so that there is no moment between "a slot is free" and "the next
//! task leaves". `loader` is the only way to come back from the store: there is no other recovery code.

use crate::counts::TaskCounts;
use crate::effect::Effect;
use crate::explain::{Explanation, JobExplanation};
use crate::input::{Command, Input, NewAccount, NodeInput};
use crate::node::Node;
use crate::record::{Record, RequestRow};
use crate::reject::Reject;
use crate::reply::Reply;
use crate::settings::Settings;
use crate::tenant::Tenant;
use crate::timer::{Deadline, Deadlines};
use crate::turn::Turn;
use crate::{
    account, job_life, join, lease, node_command, node_life, placement, pool_command, probation, request,
    resize, restart, session,
};
use crate::{sweep_command, task_command, waiting};
use muster_model::spec::TaskSpec;
use muster_model::{AccountName, AttemptId, JobId, NodeId, RequestId, SweepId, TaskId, Timestamp, TokenId};
use std::collections::BTreeMap;

/// The answer to one input: what must be durable, what to do then, what to say then.
#[derive(Debug)]
pub struct Step {
    /// Written in one transaction, in this order.
    pub records: Vec<Record>,
    /// Carried out in this order once the records are durable.
    pub effects: Vec<Effect>,
    /// Given once the records are durable.
    pub reply: Reply,
}

/// The controller's state machine.
#[derive(Debug)]
pub struct Core {
    pub(crate) settings: Settings,
    pub(crate) tenants: BTreeMap<AccountName, Tenant>,
    /// Which account a token belongs to: a machine that joins names only the token.
    pub(crate) tokens: BTreeMap<TokenId, AccountName>,
    /// The last number of creation that was given out.
    pub(crate) sequence: u64,
    /// Up to which number that is durable beside the rows that have numbers.
    pub(crate) numbers_used: u64,
    pub(crate) deadlines: Deadlines,
}

impl Core {
    /// A core without anything in it.
    pub(crate) const fn empty(settings: Settings) -> Self {
        Self {
            settings,
            tenants: BTreeMap::new(),
            tokens: BTreeMap::new(),
            sequence: 0,
            numbers_used: 0,
            deadlines: Deadlines::new(),
        }
    }

    /// Decides about one input. A refusal has changed nothing.
    ///
    /// # Errors
    /// [`Reject`] says what was wrong with the input.
    pub fn handle(&mut self, input: Input, now: Timestamp) -> Result<Step, Reject> {
        match input {
            Input::Client { account, request_id, command } => self.client(account, request_id, command, now),
            Input::Node(input) => self.node(input, now),
            Input::DeadlinePassed => Ok(self.deadline_passed(now)),
        }
    }

    /// When the core wants `Input::DeadlinePassed` next, and why.
    #[must_use]
    pub fn next_deadline(&self) -> Option<(Timestamp, &Deadline)> {
        self.deadlines.next()
    }

    /// How many tasks of a job are where, live.
    #[must_use]
    pub fn task_counts(&self, account: &AccountName, job: &JobId) -> Option<TaskCounts> {
        Some(self.tenants.get(account)?.jobs.get(job)?.counts)
    }

    /// How many members of a sweep are where, live.
    #[must_use]
    pub fn sweep_counts(&self, account: &AccountName, job: &JobId, sweep: &SweepId) -> Option<TaskCounts> {
        Some(self.tenants.get(account)?.jobs.get(job)?.sweeps.get(sweep)?.counts)
    }

    /// The answered requests of an account, within their replay window, whose ids begin with that of `first` (ignoring
    /// case), in the order of their ids.
    pub fn requests_from<'a>(
        &'a self,
        account: &AccountName,
        first: &'a RequestId,
    ) -> impl Iterator<Item = &'a RequestRow> + use<'a> {
        let begins = |id: &RequestId| {
            id.as_str().get(..first.as_str().len()).is_some_and(|t| t.eq_ignore_ascii_case(first.as_str()))
        };
        let requests = self.tenants.get(account).map(|tenant| tenant.requests.range(first..));
        let rows = requests.into_iter().flatten();
        rows.take_while(move |(id, _)| begins(id)).map(|(_, row)| row)
    }

    /// The tasks that a node holds and when each has started: the newest start first, those that have not started last.
    #[must_use]
    pub fn tasks_on_node(&self, account: &AccountName, node: &NodeId) -> Vec<(AttemptId, Option<Timestamp>)> {
        let node = self.tenants.get(account).and_then(|tenant| tenant.nodes.get(node));
        node.map(Node::tasks).unwrap_or_default()
    }

    /// Why a task waits.
    ///
    /// # Errors
    /// If there is no such task.
    pub fn explain_task(
        &self,
        account: &AccountName,
        job: &JobId,
        task: &TaskId,
        now: Timestamp,
    ) -> Result<Explanation, Reject> {
        waiting::task(self.tenant(account)?, job, task, now)
    }

    /// Why the waiting tasks of a job wait.
    ///
    /// # Errors
    /// If there is no such job.
    pub fn explain_job(
        &self,
        account: &AccountName,
        job: &JobId,
        now: Timestamp,
    ) -> Result<JobExplanation, Reject> {
        waiting::job(self.tenant(account)?, job, now)
    }

    /// Whether a task that is not added yet could run, and what it would wait for now.
    ///
    /// # Errors
    /// What adding it would be refused for.
    pub fn explain_new(
        &self,
        account: &AccountName,
        job: &JobId,
        task: &TaskSpec,
        now: Timestamp,
    ) -> Result<Explanation, Reject> {
        waiting::new_task(self.tenant(account)?, job, task, now)
    }

    fn tenant(&self, account: &AccountName) -> Result<&Tenant, Reject> {
        self.tenants.get(account).ok_or_else(|| Reject::AccountNotFound(account.clone()))
    }

    #[cfg(any(test, feature = "check"))]
    pub(crate) fn tenants(&self) -> impl Iterator<Item = (&AccountName, &Tenant)> {
        self.tenants.iter()
    }

    #[cfg(any(test, feature = "check"))]
    pub(crate) fn tenants_mut(&mut self) -> impl Iterator<Item = &mut Tenant> {
        self.tenants.values_mut()
    }

    #[cfg(any(test, feature = "check"))]
    pub(crate) const fn deadlines(&self) -> &Deadlines {
        &self.deadlines
    }

    #[cfg(any(test, feature = "check"))]
    pub(crate) const fn settings(&self) -> &Settings {
        &self.settings
    }

    fn client(
        &mut self,
        account: AccountName,
        request_id: Option<RequestId>,
        command: Command,
        now: Timestamp,
    ) -> Result<Step, Reject> {
        if let Command::CreateAccount(new) = command {
            return self.create_account(account, request_id, new, now);
        }
        let tenant =
            self.tenants.get_mut(&account).ok_or_else(|| Reject::AccountNotFound(account.clone()))?;
        let mut turn = Turn::new(account, now, &self.settings, &mut self.sequence);
        let reply = match &request_id {
            Some(id) => request::repeated(tenant, id, &command)?,
            None => None,
        };
        if let Some(reply) = reply {
            return Ok(Step { records: Vec::new(), effects: Vec::new(), reply });
        }
        let name = request_id.map(|id| (id, request::name_of(&command)));
        let reply = obey(tenant, &mut turn, command)?;
        if let Some((id, name)) = name {
            request::remember(tenant, &mut turn, id, name, &reply);
        }
        conclude(tenant, &mut turn);
        let Turn { records, effects, deadlines, .. } = turn;
        self.index_tokens(&records);
        Ok(self.finish(records, effects, deadlines, reply))
    }

    /// Makes an account in the name of another one, whose request it is; the first account is made in its own name.
    fn create_account(
        &mut self,
        caller: AccountName,
        request_id: Option<RequestId>,
        new: NewAccount,
        now: Timestamp,
    ) -> Result<Step, Reject> {
        let command = Command::CreateAccount(new.clone());
        if let (Some(id), Some(tenant)) = (&request_id, self.tenants.get(&caller))
            && let Some(reply) = request::repeated(tenant, id, &command)?
        {
            return Ok(Step { records: Vec::new(), effects: Vec::new(), reply });
        }
        if self.tenants.contains_key(&new.name) {
            return Err(Reject::AccountExists(new.name));
        }
        let name = new.name.clone();
        let mut turn = Turn::new(caller.clone(), now, &self.settings, &mut self.sequence);
        let created = account::create(&mut turn, new);
        if let (Some(id), Some(tenant)) = (request_id, self.tenants.get_mut(&caller)) {
            request::remember(tenant, &mut turn, id, request::name_of(&command), &Reply::Done);
        }
        let Turn { records, effects, deadlines, .. } = turn;
        self.tenants.insert(name, created);
        Ok(self.finish(records, effects, deadlines, Reply::Done))
    }

    fn node(&mut self, input: NodeInput, now: Timestamp) -> Result<Step, Reject> {
        let account = match &input {
            NodeInput::Join { token, .. } => {
                self.tokens.get(token).cloned().ok_or_else(|| Reject::TokenUnknown(token.clone()))?
            }
            NodeInput::Connected(connected) => connected.node.account.clone(),
            NodeInput::Disconnected { node, .. }
            | NodeInput::Heartbeat { node, .. }
            | NodeInput::Reports { node, .. } => node.account.clone(),
        };
        let tenant =
            self.tenants.get_mut(&account).ok_or_else(|| Reject::AccountNotFound(account.clone()))?;
        let mut turn = Turn::new(account, now, &self.settings, &mut self.sequence);
        let reply = match input {
            NodeInput::Join { token, secret_hash, node, facts } => {
                join::join(tenant, &mut turn, &token, &secret_hash, node, *facts)
            }
            NodeInput::Connected(connected) => session::connected(tenant, &mut turn, *connected),
            NodeInput::Disconnected { node, session } => {
                session::disconnected(tenant, &mut turn, &node.node, session)
            }
            NodeInput::Heartbeat { node, session, sequence } => {
                lease::renew(tenant, &mut turn, &node.node, session, sequence)
            }
            NodeInput::Reports { node, session, reports } => {
                session::reports(tenant, &mut turn, &node.node, session, reports)
            }
        }?;
        conclude(tenant, &mut turn);
        let Turn { records, effects, deadlines, .. } = turn;
        Ok(self.finish(records, effects, deadlines, reply))
    }

    fn deadline_passed(&mut self, now: Timestamp) -> Step {
        let (mut records, mut effects, mut later) = (Vec::new(), Vec::new(), Vec::new());
        while let Some(due) = self.deadlines.pop_due(now) {
            let Some(tenant) = self.tenants.get_mut(due.account()) else { continue };
            let mut turn = Turn::new(due.account().clone(), now, &self.settings, &mut self.sequence);
            look_again(tenant, &mut turn, &due);
            conclude(tenant, &mut turn);
            records.append(&mut turn.records);
            effects.append(&mut turn.effects);
            later.append(&mut turn.deadlines);
        }
        self.index_tokens(&records);
        self.finish(records, effects, later, Reply::Done)
    }

    /// Keeps the index of tokens in step with what was just decided.
    fn index_tokens(&mut self, records: &[Record]) {
        for record in records {
            if let Record::Token(row) = record {
                self.tokens.insert(row.id.clone(), row.account.clone());
            } else if let Record::TokenGone(_, id) = record {
                self.tokens.remove(id);
            }
        }
    }

    fn finish(
        &mut self,
        mut records: Vec<Record>,
        effects: Vec<Effect>,
        deadlines: Vec<(Timestamp, Deadline)>,
        reply: Reply,
    ) -> Step {
        for (at, deadline) in deadlines {
            self.deadlines.add(at, deadline);
        }
        let removes = |record: &Record| {
            matches!(record, Record::JobGone(..) | Record::TaskGone(..) | Record::SweepGone(..))
        };
        if self.numbers_used < self.sequence && records.iter().any(removes) {
            self.numbers_used = self.sequence;
            records.push(Record::NumbersUsed(self.sequence));
        }
        Step { records, effects, reply }
    }
}

/// What every step ends with: what has become possible is placed, what has changed in bulk is recorded.
fn conclude(tenant: &mut Tenant, turn: &mut Turn<'_>) {
    placement::run(tenant, turn);
    sweep_command::save(tenant, turn);
}

/// One call for each command.
fn obey(tenant: &mut Tenant, turn: &mut Turn<'_>, command: Command) -> Result<Reply, Reject> {
    match command {
        Command::CreateAccount(new) => Err(Reject::AccountExists(new.name)),
        Command::RegenerateKey { name, key } => Ok(account::regenerate_key(tenant, turn, name, key)),
        Command::CreatePool(spec) => pool_command::create(tenant, turn, spec),
        Command::UpdatePool { pool, patch, if_match } => {
            pool_command::update(tenant, turn, &pool, patch, if_match)
        }
        Command::ResizePool { pool, target, timeout, option, if_match } => {
            resize::resize(tenant, turn, &pool, target, timeout, option, if_match)
        }
        Command::StopResize { pool, if_match } => resize::stop(tenant, turn, &pool, if_match),
        Command::DeletePool { pool, if_match } => pool_command::delete(tenant, turn, &pool, if_match),
        Command::CreateJoinToken(new) => join::create_token(tenant, turn, new),
        Command::RevokeJoinToken { token } => join::revoke_token(tenant, turn, &token),
        Command::RemoveNodes { pool, nodes, option, timeout, if_match } => {
            resize::remove_nodes(tenant, turn, &pool, &nodes, option, timeout, if_match)
        }
        Command::DisableScheduling { pool, node, option, deadline, if_match } => {
            let deadline = deadline.map(|span| turn.now.after(span));
            node_command::disable_scheduling(tenant, turn, &pool, &node, (option, deadline), if_match)
        }
        Command::EnableScheduling { pool, node, if_match } => {
            node_command::enable_scheduling(tenant, turn, &pool, &node, if_match)
        }
        Command::RestartNode { pool, node, option, reimage, if_match } => {
            node_command::restart(tenant, turn, &pool, &node, option, reimage, if_match)
        }
        Command::CreateJob(spec) => job_life::create(tenant, turn, *spec),
        Command::UpdateJob { job, patch, if_match } => job_life::update(tenant, turn, &job, patch, if_match),
        Command::TerminateJob { job, reason, if_match } => {
            job_life::terminate(tenant, turn, &job, reason, if_match)
        }
        Command::DisableJob { job, tasks, if_match } => {
            job_life::disable(tenant, turn, &job, tasks, if_match)
        }
        Command::EnableJob { job, if_match } => job_life::enable(tenant, turn, &job, if_match),
        Command::DeleteJob { job, if_match } => job_life::delete(tenant, turn, &job, if_match),
        Command::CreateTasks { job, tasks } => task_command::add(tenant, turn, &job, tasks),
        Command::UpdateTask { job, task, constraints, if_match } => {
            task_command::update(tenant, turn, &job, &task, constraints, if_match)
        }
        Command::TerminateTask { job, task, if_match } => {
            task_command::terminate(tenant, turn, &job, &task, if_match)
        }
        Command::ReactivateTask { job, task, if_match } => {
            task_command::reactivate(tenant, turn, &job, &task, if_match)
        }
        Command::DeleteTask { job, task, if_match } => {
            task_command::delete(tenant, turn, &job, &task, if_match)
        }
        Command::CreateSweep { job, sweep } => sweep_command::create(tenant, turn, &job, *sweep),
        Command::TerminateSweep { job, sweep, numbers } => {
            sweep_command::terminate(tenant, turn, &job, &sweep, numbers)
        }
        Command::ReactivateSweep { job, sweep, numbers } => {
            sweep_command::reactivate(tenant, turn, &job, &sweep, numbers)
        }
        Command::DeleteSweep { job, sweep } => sweep_command::delete(tenant, turn, &job, &sweep),
        Command::PutFile { container, path, digest, size } => {
            Ok(account::put_file(turn, container, path, digest, size))
        }
        Command::DeleteFiles { container, paths } => Ok(account::delete_files(turn, &container, paths)),
        Command::DeleteContainer { container } => {
            turn.record(Record::ContainerGone(turn.account.clone(), container));
            Ok(Reply::Done)
        }
    }
}

/// One call for each deadline; each checks whether its time has really come.
fn look_again(tenant: &mut Tenant, turn: &mut Turn<'_>, due: &Deadline) {
    match due {
        Deadline::Lease(_, node) => lease::expire(tenant, turn, node),
        Deadline::Retry(_, job, task) => {
            if let Some(found) = tenant.jobs.get_mut(job) {
                found.refresh(turn, task);
            }
            tenant.requeue_job(job);
        }
        Deadline::JobWallClock(_, job) => job_life::wall_clock_passed(tenant, turn, job),
        Deadline::TaskLives(_, job) => job_life::lives_passed(tenant, turn, job),
        Deadline::Drain(_, node) => node_life::drain_timed_out(tenant, turn, node),
        Deadline::Restart(_, node) => restart::timed_out(tenant, turn, node),
        Deadline::Probation(_, node) => probation::look(tenant, turn, node),
        Deadline::Resize(_, pool) => resize::timed_out(tenant, turn, pool),
        Deadline::Token(_, token) => join::forget_token(tenant, turn, token),
        Deadline::Request(_, request) => request::forget(tenant, turn, request),
    }
}

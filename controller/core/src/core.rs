//! The door and the heart: one input in, one decision out.
//!
//! `handle` only dispatches; each arm is one call into the file of the noun that it is about. After the rule, placement
//! runs for the pools that the rule has touched, so that there is no moment between "a slot is free" and "the next
//! task leaves". `load` is the only way to come back from the store: there is no other recovery code.

use crate::effect::Effect;
use crate::input::{Command, Input, NewAccount, NodeInput};
use crate::job::{Job, TaskCounts};
use crate::job_life;
use crate::node::Node;
use crate::placement;
use crate::pool::Pool;
use crate::record::{Record, Rows};
use crate::reject::Reject;
use crate::reply::Reply;
use crate::resize;
use crate::settings::Settings;
use crate::task::{Phase, Task};
use crate::tenant::Tenant;
use crate::timer::{Deadline, Deadlines};
use crate::turn::Turn;
use crate::{account, join, lease, node_command, pool_command, request, session, task_command};
use muster_model::state::ExecutionResult;
use muster_model::{AccountName, JobId, RequestId, Timestamp, TokenId};
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
    settings: Settings,
    tenants: BTreeMap<AccountName, Tenant>,
    /// Which account a token belongs to: a machine that joins names only the token.
    tokens: BTreeMap<TokenId, AccountName>,
    sequence: u64,
    deadlines: Deadlines,
}

impl Core {
    /// The core that these rows describe, without sessions, as after a crash at `now`.
    #[must_use]
    pub fn load(rows: Rows, settings: Settings, now: Timestamp) -> Self {
        let mut core = Self {
            settings,
            tenants: BTreeMap::new(),
            tokens: BTreeMap::new(),
            sequence: 0,
            deadlines: Deadlines::default(),
        };
        for row in rows.accounts {
            core.tenants.insert(row.name.clone(), Tenant::new(row));
        }
        core.load_fleet(rows.pools, rows.nodes, now);
        core.load_work(rows.jobs, rows.tasks, now);
        for row in rows.tokens {
            core.tokens.insert(row.id.clone(), row.account.clone());
            core.deadlines.add(join::forget_at(&row), Deadline::Token(row.account.clone(), row.id.clone()));
            if let Some(tenant) = core.tenants.get_mut(&row.account) {
                tenant.tokens.insert(row.id.clone(), row);
            }
        }
        for row in rows.requests {
            core.deadlines.add(row.expires, Deadline::Request(row.account.clone(), row.id.clone()));
            if let Some(tenant) = core.tenants.get_mut(&row.account) {
                tenant.requests.insert(row.id.clone(), row);
            }
        }
        core
    }

    fn load_fleet(
        &mut self,
        pools: Vec<crate::record::PoolRow>,
        nodes: Vec<crate::record::NodeRow>,
        now: Timestamp,
    ) {
        for row in pools {
            if let Some(at) = row.resize_deadline {
                self.deadlines.add(at, Deadline::Resize(row.account.clone(), row.spec.id.clone()));
            }
            if let Some(tenant) = self.tenants.get_mut(&row.account) {
                tenant.pools.insert(row.spec.id.clone(), Pool::new(row));
            }
        }
        // The controller that died may have granted any lease a moment ago.
        let lease_until = now.after(self.settings.lease_ttl);
        let lease_end = lease_until.after(self.settings.lease_margin);
        for mut row in nodes {
            self.deadlines.add(lease_end, Deadline::Lease(row.account.clone(), row.id.clone()));
            let Some(tenant) = self.tenants.get_mut(&row.account) else { continue };
            if let Some(pool) = tenant.pools.get_mut(&row.pool) {
                pool.nodes.insert(row.id.clone());
            }
            // Recounted from the tasks below.
            row.running_tasks = 0;
            row.running_slots = 0;
            tenant.nodes.insert(row.id.clone(), Node::new(row, lease_until));
        }
    }

    fn load_work(
        &mut self,
        jobs: Vec<crate::record::JobRow>,
        tasks: Vec<(crate::record::TaskSpecRow, crate::record::TaskStateRow)>,
        now: Timestamp,
    ) {
        for row in jobs {
            self.sequence = self.sequence.max(row.sequence);
            if let Some(end) = job_life::wall_clock_end(&row) {
                self.deadlines.add(end, Deadline::JobWallClock(row.account.clone(), row.spec.id.clone()));
            }
            if let Some(tenant) = self.tenants.get_mut(&row.account) {
                tenant.jobs.insert(row.spec.id.clone(), Job::new(row));
            }
        }
        let mut waiting = Vec::new();
        for (spec, state) in tasks {
            self.sequence = self.sequence.max(spec.sequence);
            let Some(tenant) = self.tenants.get_mut(&spec.account) else { continue };
            let task = Task::load(&spec, state);
            if let (Phase::Waiting, Some(at)) = (task.phase, task.not_before()) {
                let retry = Deadline::Retry(spec.account.clone(), spec.job.clone(), task.id.clone());
                self.deadlines.add(at, retry);
            }
            hold_again(tenant, &spec.job, &task);
            let Some(job) = tenant.jobs.get_mut(&spec.job) else { continue };
            if task.phase == Phase::Completed(ExecutionResult::Success) {
                job.note_success(&task.id);
            }
            // Dependencies can only be counted once every task is there.
            if task.phase == Phase::Waiting && task.depends_on.is_some() {
                waiting.push((spec.account, spec.job, task));
            } else {
                job.insert(task, now);
            }
        }
        for (account, job, task) in waiting {
            if let Some(job) = self.tenants.get_mut(&account).and_then(|tenant| tenant.jobs.get_mut(&job)) {
                job.insert(task, now);
            }
        }
        for tenant in self.tenants.values_mut() {
            let ids: Vec<JobId> = tenant.jobs.keys().cloned().collect();
            for id in ids {
                tenant.requeue_job(&id);
            }
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
        placement::run(tenant, &mut turn);
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
        placement::run(tenant, &mut turn);
        let Turn { records, effects, deadlines, .. } = turn;
        Ok(self.finish(records, effects, deadlines, reply))
    }

    fn deadline_passed(&mut self, now: Timestamp) -> Step {
        let (mut records, mut effects, mut later) = (Vec::new(), Vec::new(), Vec::new());
        while let Some(due) = self.deadlines.pop_due(now) {
            let Some(tenant) = self.tenants.get_mut(due.account()) else { continue };
            let mut turn = Turn::new(due.account().clone(), now, &self.settings, &mut self.sequence);
            look_again(tenant, &mut turn, &due);
            placement::run(tenant, &mut turn);
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
        records: Vec<Record>,
        effects: Vec<Effect>,
        deadlines: Vec<(Timestamp, Deadline)>,
        reply: Reply,
    ) -> Step {
        for (at, deadline) in deadlines {
            self.deadlines.add(at, deadline);
        }
        Step { records, effects, reply }
    }
}

/// Gives a node back the attempt that a loaded task says it holds.
fn hold_again(tenant: &mut Tenant, job: &JobId, task: &Task) {
    let Some(node) = task.holder().and_then(|id| tenant.nodes.get_mut(id)) else { return };
    node.hold(crate::node::Held {
        attempt: task.attempt_id(job),
        needs: task.needs,
        running: task.phase == Phase::Running,
        recalled: false,
    });
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
        Command::ResizePool { pool, target, timeout } => resize::resize(tenant, turn, &pool, target, timeout),
        Command::StopResize { pool } => resize::stop(tenant, turn, &pool),
        Command::DeletePool { pool } => pool_command::delete(tenant, turn, &pool),
        Command::CreateJoinToken(new) => join::create_token(tenant, turn, new),
        Command::RevokeJoinToken { token } => join::revoke_token(tenant, turn, &token),
        Command::RemoveNodes { pool, nodes } => resize::remove_nodes(tenant, turn, &pool, &nodes),
        Command::SetScheduling { pool, node, enabled } => {
            node_command::set_scheduling(tenant, turn, &pool, &node, enabled)
        }
        Command::CreateJob(spec) => job_life::create(tenant, turn, spec),
        Command::UpdateJob { job, patch, if_match } => job_life::update(tenant, turn, &job, patch, if_match),
        Command::TerminateJob { job, reason } => job_life::terminate(tenant, turn, &job, reason),
        Command::DisableJob { job, tasks } => job_life::disable(tenant, turn, &job, tasks),
        Command::EnableJob { job } => job_life::enable(tenant, turn, &job),
        Command::DeleteJob { job } => job_life::delete(tenant, turn, &job),
        Command::CreateTasks { job, tasks } => task_command::add(tenant, turn, &job, tasks),
        Command::UpdateTask { job, task, constraints, if_match } => {
            task_command::update(tenant, turn, &job, &task, constraints, if_match)
        }
        Command::TerminateTask { job, task } => task_command::terminate(tenant, turn, &job, &task),
        Command::ReactivateTask { job, task } => task_command::reactivate(tenant, turn, &job, &task),
        Command::DeleteTask { job, task } => task_command::delete(tenant, turn, &job, &task),
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
                found.awaken(turn, task);
            }
            tenant.requeue_job(job);
        }
        Deadline::JobWallClock(_, job) => job_life::wall_clock_passed(tenant, turn, job),
        Deadline::Resize(_, pool) => resize::timed_out(tenant, turn, pool),
        Deadline::Token(_, token) => join::forget_token(tenant, turn, token),
        Deadline::Request(_, request) => request::forget(tenant, turn, request),
    }
}

//! A world around a core: rows as a store would keep them, and nodes that do what they are told and obey their leases.
//!
//! It is simple on purpose. What a node really runs is kept apart from what the core believes, so that two live
//! attempts of one task show.

use super::rows::keep;
use crate::effect::{Effect, NodeMessage, Verdict};
use crate::input::{
    Command, Connected, HeldAttempt, Input, NewAccount, NewToken, NodeInput, NodeKey, NumberedReport, Report,
    SessionId,
};
use crate::record::{NodeRow, Rows};
use crate::reject::Reject;
use crate::reply::{CreatedNode, Reply};
use crate::{Core, Settings, Step};
use muster_model::account::AccessKey;
use muster_model::cause::Cause;
use muster_model::node::{Capabilities, MachineFacts, NodeError, StartTaskInfo};
use muster_model::spec::*;
use muster_model::state::*;
use muster_model::*;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// One real node: what its agent holds, whatever the core believes.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    pub(crate) id: NodeId,
    pub(crate) session: Option<SessionId>,
    pub(crate) lease_until: Timestamp,
    pub(crate) queue: Vec<AttemptId>,
    pub(crate) running: BTreeSet<AttemptId>,
    /// Results that have not been acknowledged.
    pub(crate) finished: BTreeMap<AttemptId, AttemptResult>,
    pub(crate) slots: usize,
    pub(crate) boots: u32,
    pub(crate) gone: bool,
    /// How the start task of this boot stands.
    pub(crate) start_task: Option<StartTaskInfo>,
    /// How often it was told to run the start task again.
    pub(crate) start_tasks_told: u32,
    /// How often it was told to restart since its last boot.
    pub(crate) restarts_told: u32,
    /// Attempts whose directories it was told to remove.
    pub(crate) cleared: Vec<AttemptId>,
}

pub(crate) struct World {
    pub(crate) core: Core,
    pub(crate) settings: Settings,
    pub(crate) rows: Rows,
    pub(crate) now: Timestamp,
    pub(crate) machines: Vec<Machine>,
    pub(crate) starts: BTreeMap<TaskKey, u32>,
    /// What nodes were told of changed constraints.
    pub(crate) amended: BTreeMap<AttemptId, TaskConstraints>,
    next_session: SessionId,
    next_node: u32,
}

pub(crate) fn account() -> AccountName {
    AccountName::parse("studio").unwrap()
}

pub(crate) fn pool_id() -> PoolId {
    PoolId::parse("render").unwrap()
}

pub(crate) fn job_id(text: &str) -> JobId {
    JobId::parse(text).unwrap()
}

pub(crate) fn task_id(text: &str) -> TaskId {
    TaskId::parse(text).unwrap()
}

/// A pool that asks for nothing special.
pub(crate) fn a_pool() -> PoolSpec {
    pool(1, 1)
}

pub(crate) fn pool(target: u32, slots: u32) -> PoolSpec {
    PoolSpec {
        id: pool_id(),
        display_name: String::new(),
        target_dedicated_nodes: target,
        task_slots_per_node: slots,
        node_fill_type: NodeFillType::Spread,
        job_default_order: JobDefaultOrder::None,
        start_task: None,
        resize_timeout: limits::RESIZE_TIMEOUT_DEFAULT,
        on_lease_expiry: OnLeaseExpiry::Kill,
        metadata: Vec::new(),
        isolation_level: None,
        task_network: TaskNetwork::Host,
        user_accounts: Vec::new(),
    }
}

/// A start task that the pool waits for.
pub(crate) fn start_task() -> StartTaskSpec {
    StartTaskSpec {
        command_line: "true".to_owned(),
        resource_files: Vec::new(),
        environment: Vec::new(),
        user_identity: UserIdentity::default(),
        max_task_retry_count: RetryLimit::Times(0),
        wait_for_success: true,
    }
}

pub(crate) fn job(id: &str) -> JobSpec {
    JobSpec {
        id: job_id(id),
        display_name: String::new(),
        pool: pool_id(),
        priority: 0,
        constraints: JobConstraints::default(),
        uses_task_dependencies: true,
        max_parallel_tasks: None,
        on_all_tasks_complete: OnAllTasksComplete::NoAction,
        on_task_failure: OnTaskFailure::NoAction,
        on_dependency_failure: OnDependencyFailure::Wait,
        manager: None,
        preparation: None,
        release: None,
        common_environment: Vec::new(),
        metadata: Vec::new(),
    }
}

pub(crate) fn task(id: &str) -> TaskSpec {
    TaskSpec {
        id: task_id(id),
        display_name: String::new(),
        command_line: "true".to_owned(),
        resource_files: Vec::new(),
        output_files: Vec::new(),
        environment: Vec::new(),
        constraints: TaskConstraints::default(),
        resources: Resources { slots: 1, ..Resources::default() },
        limits: TaskLimits::default(),
        user_identity: UserIdentity::default(),
        depends_on: DependsOn::default(),
        exit_conditions: None,
        affinity: None,
    }
}

/// A sweep over 1 to `count`.
pub(crate) fn sweep(id: &str, count: u64) -> SweepSpec {
    let axis = Axis::Range { name: "i".to_owned(), start: 1, end: count, step: 1 };
    SweepSpec { id: SweepId::parse(id).unwrap(), template: task(id), axes: vec![axis] }
}

pub(crate) fn preparation(id: &str) -> JobPreparationSpec {
    JobPreparationSpec {
        id: task_id(id),
        command_line: "true".to_owned(),
        resource_files: Vec::new(),
        environment: Vec::new(),
        constraints: TaskConstraints::default(),
        wait_for_success: true,
        user_identity: UserIdentity::default(),
        rerun_on_node_reboot_after_success: true,
    }
}

pub(crate) fn release(id: &str) -> JobReleaseSpec {
    JobReleaseSpec {
        id: task_id(id),
        command_line: "true".to_owned(),
        resource_files: Vec::new(),
        environment: Vec::new(),
        max_wall_clock_time: limits::JOB_RELEASE_WALL_CLOCK_MAX,
        retention_time: None,
        user_identity: UserIdentity::default(),
    }
}

pub(crate) fn facts() -> MachineFacts {
    MachineFacts {
        machine_id: "m".to_owned(),
        boot_id: "b0".to_owned(),
        hostname: "h".to_owned(),
        ip_address: "127.0.0.1".to_owned(),
        agent_version: "0".to_owned(),
        os: "linux".to_owned(),
        capacity: Resources {
            cpu_millis: 2000,
            memory_bytes: 1 << 30,
            disk_bytes: 1 << 40,
            named: NamedCounts::new([("licence".to_owned(), 1)]),
            ..Resources::default()
        },
        capabilities: Capabilities { reboot: true, reimage: true, ..Capabilities::default() },
        boot_time: Timestamp::EPOCH,
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(Settings::default())
    }

    pub(crate) fn with(settings: Settings) -> Self {
        let now = Timestamp::from_micros(1_000_000);
        let core = Core::load(Rows::default(), settings.clone(), now);
        let mut world = Self {
            core,
            settings,
            rows: Rows::default(),
            now,
            machines: Vec::new(),
            starts: BTreeMap::new(),
            amended: BTreeMap::new(),
            next_session: 1,
            next_node: 1,
        };
        let key = AccessKey::from_bytes([1; 32]);
        world.command(Command::CreateAccount(NewAccount {
            name: account(),
            display_name: String::new(),
            is_operator: true,
            primary: key.clone(),
            secondary: key,
        }));
        world
    }

    pub(crate) fn try_command(&mut self, command: Command) -> Result<Reply, Reject> {
        self.input(Input::Client { account: account(), request_id: None, command })
    }

    pub(crate) fn command(&mut self, command: Command) -> Reply {
        self.try_command(command).unwrap()
    }

    pub(crate) fn input(&mut self, input: Input) -> Result<Reply, Reject> {
        let Step { records, effects, reply } = self.core.handle(input, self.now)?;
        for record in records {
            keep(&mut self.rows, record);
        }
        for Effect::ToNode { node, session, message } in effects {
            self.deliver(&node.node, session, message);
        }
        Ok(reply)
    }

    pub(crate) fn add_tasks(&mut self, job: &str, tasks: Vec<TaskSpec>) -> Reply {
        self.command(Command::CreateTasks { job: job_id(job), tasks })
    }

    /// A new machine joins the pool and connects; its index.
    pub(crate) fn join(&mut self) -> usize {
        let number = self.next_node;
        self.next_node += 1;
        let token = TokenId::parse(&format!("t{number}")).unwrap();
        let secret_hash = Digest::from_bytes([7; 32]);
        let expires = self.now.after(Duration::from_secs(60));
        let new = NewToken { id: token.clone(), secret_hash, pool: pool_id(), expires, uses: 1 };
        self.command(Command::CreateJoinToken(new));
        let id = NodeId::parse(&format!("node-{number}")).unwrap();
        let node = CreatedNode { node: id.clone(), account: None, pool: None };
        self.input(Input::Node(NodeInput::Join { token, secret_hash, node, facts: Box::new(facts()) }))
            .unwrap();
        let slots = self.rows.pools[0].spec.task_slots_per_node as usize;
        self.machines.push(Machine {
            id,
            session: None,
            lease_until: self.now,
            queue: Vec::new(),
            running: BTreeSet::new(),
            finished: BTreeMap::new(),
            slots,
            boots: 0,
            gone: false,
            start_task: None,
            start_tasks_told: 0,
            restarts_told: 0,
            cleared: Vec::new(),
        });
        let index = self.machines.len() - 1;
        self.connect(index);
        index
    }

    fn key(&self, index: usize) -> NodeKey {
        NodeKey { account: account(), node: self.machines[index].id.clone() }
    }

    pub(crate) fn connect(&mut self, index: usize) {
        let boot_id = format!("b{}", self.machines[index].boots);
        self.connect_as(index, MachineFacts { boot_id, ..facts() });
    }

    /// Connects as a machine that may have changed.
    pub(crate) fn connect_as(&mut self, index: usize, facts: MachineFacts) {
        if self.machines[index].gone {
            return;
        }
        let session = self.next_session;
        self.next_session += 1;
        let machine = &mut self.machines[index];
        machine.session = Some(session);
        machine.lease_until = self.now.after(self.settings.lease_ttl);
        let phase = |attempts: Vec<AttemptId>, phase| {
            attempts.into_iter().map(move |attempt| HeldAttempt { attempt, phase, incarnation: 0 })
        };
        let held = phase(machine.queue.clone(), AttemptPhase::Assigned)
            .chain(phase(machine.running.iter().cloned().collect(), AttemptPhase::Running))
            .chain(phase(machine.finished.keys().cloned().collect(), AttemptPhase::Finished))
            .collect();
        let node = self.key(index);
        let start_task = self.machines[index].start_task.clone();
        let connected = Connected { node, session, connection: session, facts, held, start_task };
        if self.input(Input::Node(NodeInput::Connected(Box::new(connected)))).is_err() {
            self.machines[index].gone = true;
            self.machines[index].session = None;
            return;
        }
        let started: Vec<_> = self.machines[index].running.iter().cloned().collect();
        for attempt in started {
            self.report(index, Report::Started { attempt, time: self.now });
        }
        self.resend(index);
    }

    /// The machine loses what it runs and comes back with a new boot id.
    pub(crate) fn reboot(&mut self, index: usize) {
        self.disconnect(index);
        let machine = &mut self.machines[index];
        machine.running.clear();
        machine.queue.clear();
        machine.boots += 1;
        machine.start_task = None;
        machine.restarts_told = 0;
        let facts = MachineFacts { boot_id: format!("b{}", machine.boots), ..facts() };
        self.connect_as(index, facts);
    }

    fn resend(&mut self, index: usize) {
        let finished: Vec<_> = self.machines[index].finished.clone().into_iter().collect();
        for (attempt, result) in finished {
            self.report(index, Report::Finished { attempt, result: Box::new(result) });
        }
    }

    pub(crate) fn disconnect(&mut self, index: usize) {
        if let Some(session) = self.machines[index].session.take() {
            let node = self.key(index);
            let _ = self.input(Input::Node(NodeInput::Disconnected { node, session }));
        }
    }

    pub(crate) fn heartbeat(&mut self, index: usize) {
        if let Some(session) = self.machines[index].session {
            let asked = self.now;
            let node = self.key(index);
            let beat = NodeInput::Heartbeat { node, session, sequence: 1 };
            if self.input(Input::Node(beat)).is_ok() {
                self.machines[index].lease_until = asked.after(self.settings.lease_ttl);
            }
        }
    }

    /// The start task of this boot runs, or has ended.
    pub(crate) fn start_task(&mut self, index: usize, result: Option<ExecutionResult>) {
        let info = StartTaskInfo {
            state: result.map_or(StartTaskState::Running, |_| StartTaskState::Completed),
            start_time: self.now,
            end_time: result.map(|_| self.now),
            exit_code: None,
            retry_count: 0,
            result,
            failure: (result == Some(ExecutionResult::Failure))
                .then(|| FailureInfo::new(Cause::ExitCode, "exit code 3")),
        };
        self.machines[index].start_task = Some(info.clone());
        self.report(index, Report::StartTask(info));
    }

    /// The machine says what is wrong with it.
    pub(crate) fn health(&mut self, index: usize, codes: &[&str]) {
        let errors = codes.iter().map(|code| NodeError {
            code: (*code).to_owned(),
            message: "so it is".to_owned(),
            details: Vec::new(),
            time: self.now,
        });
        let errors = errors.collect();
        self.report(index, Report::Health(errors));
    }

    /// The first attempt in a machine's queue cannot be started, for a reason of the machine's own.
    pub(crate) fn fail_to_launch(&mut self, index: usize) {
        if !self.machines[index].queue.is_empty() {
            let attempt = self.machines[index].queue.remove(0);
            self.end_unstarted(index, attempt, FailureInfo::new(Cause::Internal, "no supervisor"));
        }
    }

    fn report(&mut self, index: usize, report: Report) {
        let Some(session) = self.machines[index].session else { return };
        let acknowledged = match &report {
            Report::Finished { attempt, .. } => Some(attempt.clone()),
            Report::Started { .. } | Report::Returned { .. } | Report::StartTask(_) | Report::Health(_) => {
                None
            }
        };
        let node = self.key(index);
        let reports = vec![NumberedReport { number: 1, report }];
        if self.input(Input::Node(NodeInput::Reports { node, session, reports })).is_ok()
            && let Some(attempt) = acknowledged
        {
            self.machines[index].finished.remove(&attempt);
        }
    }

    /// Starts what the machine's slots allow.
    pub(crate) fn start(&mut self, index: usize) {
        while self.machines[index].lease_until > self.now {
            let taken: usize =
                self.machines[index].running.iter().map(|attempt| self.slots_of(attempt)).sum();
            let Some(next) = self.machines[index].queue.first() else { return };
            if taken + self.slots_of(next) > self.machines[index].slots {
                return;
            }
            let machine = &mut self.machines[index];
            let attempt = machine.queue.remove(0);
            machine.running.insert(attempt.clone());
            *self.starts.entry(attempt.task_key()).or_default() += 1;
            self.report(index, Report::Started { attempt, time: self.now });
        }
    }

    /// What the node's own plan would say: nothing for preparation and release tasks.
    fn slots_of(&self, attempt: &AttemptId) -> usize {
        let mut specs = self.rows.tasks.iter().map(|(row, _)| row);
        let found = specs.find(|row| row.job == attempt.job && row.spec.id == attempt.task);
        let mut members = self.rows.members.iter().map(|(row, _)| row);
        let member = members.find(|row| row.job == attempt.job && row.task == attempt.task);
        let sweep = member.and_then(|member| {
            let mut sweeps = self.rows.sweeps.iter().map(|(row, _)| row);
            sweeps.find(|row| row.job == member.job && row.spec.id == member.sweep)
        });
        let plain = found.map(|row| row.spec.resources.slots);
        let slots = plain.or_else(|| sweep.map(|row| row.spec.template.resources.slots));
        slots.unwrap_or(0) as usize
    }

    /// Ends the first running attempt of a machine.
    pub(crate) fn finish(&mut self, index: usize, failure: Option<FailureInfo>) {
        let Some(attempt) = self.machines[index].running.first().cloned() else { return };
        self.end(index, attempt, failure);
    }

    fn end(&mut self, index: usize, attempt: AttemptId, failure: Option<FailureInfo>) {
        let ok = failure.is_none();
        let started = self.machines[index].running.remove(&attempt);
        let result = AttemptResult {
            result: if ok { ExecutionResult::Success } else { ExecutionResult::Failure },
            exit_code: ok.then_some(0),
            start_time: started.then_some(self.now),
            ..AttemptResult::not_started(FailureInfo::new(Cause::Internal, ""), self.now)
        };
        let result = AttemptResult { failure, ..result };
        self.machines[index].finished.insert(attempt.clone(), result.clone());
        self.report(index, Report::Finished { attempt, result: Box::new(result) });
    }

    /// Ends an attempt that the machine has taken out of its queue and never started.
    pub(crate) fn end_unstarted(&mut self, index: usize, attempt: AttemptId, failure: FailureInfo) {
        self.end(index, attempt, Some(failure));
    }

    /// Lets time pass in small steps in which every machine in session asks for its lease.
    pub(crate) fn beat_for(&mut self, span: Duration) {
        let step = Duration::from_secs(10);
        let mut left = span;
        while !left.is_zero() {
            for index in 0..self.machines.len() {
                self.heartbeat(index);
            }
            let now = step.min(left);
            self.pass(now);
            left -= now;
        }
    }

    fn deliver(&mut self, node: &NodeId, session: SessionId, message: NodeMessage) {
        let Some(index) = self.machines.iter().position(|m| m.id == *node) else { return };
        if self.machines[index].session != Some(session) {
            return;
        }
        match message {
            NodeMessage::Dispatch { attempts } => {
                self.check_dispatch(node, &attempts);
                self.machines[index].queue.extend(attempts);
            }
            NodeMessage::Restart { .. } => {
                assert_eq!(self.machines[index].running.len(), 0, "{node} is restarted under its tasks");
                self.machines[index].restarts_told += 1;
            }
            NodeMessage::RemoveDirectories { attempts } => {
                let machine = &mut self.machines[index];
                for attempt in &attempts {
                    let held = machine.queue.contains(attempt) || machine.running.contains(attempt);
                    assert!(!held, "{node} is to remove the directory of {attempt}, which it holds");
                }
                machine.cleared.extend(attempts);
            }
            NodeMessage::RunStartTask => self.machines[index].start_tasks_told += 1,
            NodeMessage::Kill { attempts, .. } => attempts.into_iter().for_each(|a| self.kill(index, a)),
            NodeMessage::Recall { attempts } => {
                for attempt in attempts {
                    if let Some(at) = self.machines[index].queue.iter().position(|a| *a == attempt) {
                        self.machines[index].queue.remove(at);
                        self.report(index, Report::Returned { attempt });
                    }
                }
            }
            NodeMessage::Welcome { verdicts } => {
                for (attempt, verdict) in verdicts {
                    if verdict != Verdict::Keep {
                        let machine = &mut self.machines[index];
                        machine.queue.retain(|a| *a != attempt);
                        machine.running.remove(&attempt);
                        machine.finished.remove(&attempt);
                    }
                }
            }
            NodeMessage::Leave { .. } => {
                let machine = &mut self.machines[index];
                machine.gone = true;
                machine.session = None;
                machine.queue.clear();
                machine.running.clear();
            }
            NodeMessage::Close { .. } => self.machines[index].session = None,
            NodeMessage::Amend { attempt, constraints } => {
                self.amended.insert(attempt, constraints);
            }
            NodeMessage::Lease { .. } | NodeMessage::Acknowledge { .. } => {}
        }
    }

    /// Nothing goes to a node that takes no tasks, and only one task to one that is being tried.
    fn check_dispatch(&self, node: &NodeId, attempts: &[AttemptId]) {
        let Some(row) = self.rows.nodes.iter().find(|row| row.id == *node) else { return };
        let tasks = attempts.iter().filter(|attempt| self.slots_of(attempt) > 0).count();
        if tasks == 0 {
            return;
        }
        assert_eq!(row.scheduling, SchedulingState::Enabled, "{attempts:?} went to {node}");
        assert_eq!((row.drain, row.probation.until), (None, None), "{attempts:?} went to {node}");
        assert_eq!(row.errors, [], "{attempts:?} went to {node}");
        // Its lease may have ended in the same step, after this was said.
        let serves = matches!(row.state, NodeState::Idle | NodeState::Running | NodeState::Unknown);
        assert!(serves, "{attempts:?} went to {node}, which is {}", row.state);
        assert!(row.probation.strikes == 0 || tasks == 1, "{tasks} tasks try {node}");
    }

    fn kill(&mut self, index: usize, attempt: AttemptId) {
        let held =
            self.machines[index].queue.contains(&attempt) || self.machines[index].running.contains(&attempt);
        if held {
            self.machines[index].queue.retain(|a| *a != attempt);
            self.end(index, attempt, Some(FailureInfo::new(Cause::Terminated, "killed")));
        }
    }

    /// Lets time pass: leases end on machines first, then deadlines in the core.
    pub(crate) fn pass(&mut self, span: Duration) {
        self.now = self.now.after(span);
        for index in 0..self.machines.len() {
            if self.machines[index].lease_until <= self.now {
                let machine = &mut self.machines[index];
                let queued = std::mem::take(&mut machine.queue);
                let held: Vec<_> = machine.running.iter().cloned().chain(queued).collect();
                for attempt in held {
                    self.end(index, attempt, Some(FailureInfo::new(Cause::NodeLost, "lease ended")));
                }
            }
        }
        self.input(Input::DeadlinePassed).unwrap();
    }

    /// kill -9 of the controller and a start from the rows.
    pub(crate) fn crash(&mut self) {
        self.core = Core::load(self.rows.clone(), self.settings.clone(), self.now);
        for machine in &mut self.machines {
            machine.session = None;
        }
    }

    /// Every invariant, and the recovery law.
    pub(crate) fn check(&mut self) {
        self.input(Input::DeadlinePassed).unwrap();
        self.core.check(self.now);
        let mut seen = BTreeSet::new();
        for attempt in self.machines.iter().flat_map(|machine| &machine.running) {
            // Preparation and release tasks run once on each node.
            if self.slots_of(attempt) == 0 {
                continue;
            }
            assert!(seen.insert(attempt.task_key()), "two live attempts of {}", attempt.task_key());
        }
        let loaded = Core::load(self.rows.clone(), self.settings.clone(), self.now);
        loaded.check(self.now);
        let volatile = self.core.volatile();
        self.core.forget_sessions(self.now);
        let (live, loaded) = (self.core.portrait(), loaded.portrait());
        assert!(live == loaded, "the recovery law is broken:\n{}", difference(&live, &loaded));
        self.core.restore(volatile);
    }

    pub(crate) fn state(&self, job: &str, task: &str) -> TaskState {
        self.row(job, task).state
    }

    pub(crate) fn node(&self, index: usize) -> &NodeRow {
        self.rows.nodes.iter().find(|row| row.id == self.machines[index].id).unwrap()
    }

    pub(crate) fn row(&self, job: &str, task: &str) -> &crate::record::TaskStateRow {
        let (job, task) = (job_id(job), task_id(task));
        let plain = self.rows.tasks.iter().find(|(s, _)| s.job == job && s.spec.id == task);
        let member = self.rows.members.iter().find(|(m, _)| m.job == job && m.task == task);
        plain.map(|row| &row.1).or_else(|| member.map(|row| &row.1)).unwrap()
    }
}

/// The first lines in which two portraits differ.
fn difference(live: &str, loaded: &str) -> String {
    let at = live.lines().zip(loaded.lines()).position(|(a, b)| a != b).unwrap_or(0);
    let around =
        |text: &str| text.lines().skip(at.saturating_sub(12)).take(16).collect::<Vec<_>>().join("\n");
    format!("live:\n{}\nloaded:\n{}", around(live), around(loaded))
}

//! Pools, start tasks and join tokens: inwards with all checks and defaults, outwards the fields that users set.
//!
//! States, counts and times of a pool are added by whoever answers it; they are no part of a specification.

use std::time::Duration;

use muster_model::spec::{PoolPatch, PoolSpec, StartTaskSpec};
use muster_model::state::{DrainOption, JobDefaultOrder, NodeFillType, OnLeaseExpiry, TaskNetwork};
use muster_model::{NodeId, PoolId, RequestId, Timestamp, limits};

use super::common::{
    command_line, count, display_name, duration_out, environment, environment_out, etag, metadata,
    metadata_out, optional_duration, optional_timestamp, request_id, retry_limit, retry_limit_out,
};
use super::enums::{deallocation_option, enumeration, optional_enumeration};
use super::file::resource_files;
use super::mask::Mask;
use super::unsupported::{self, refuse};
use super::user::{user_accounts, user_identity, user_identity_out};
use super::violation::{Checker, FieldErrors, Problem};
use crate::version::BATCH_NODES_MAX;
use crate::wire;

/// The most machines that may join with one token: as many as a pool may have.
const TOKEN_USES_MAX: u32 = limits::POOL_NODES_MAX;

/// The fields that `UpdatePool` changes.
const UPDATABLE: &str =
    "display_name, start_task, metadata, task_slots_per_node, task_scheduling_policy.node_fill_type";

/// The id of a pool at the field `pool_id`.
pub fn pool_id(checker: &mut Checker, id: &str) -> Option<PoolId> {
    checker.at("pool_id", |c| c.keep(PoolId::parse(id)))
}

impl TryFrom<wire::Pool> for PoolSpec {
    type Error = FieldErrors;

    fn try_from(pool: wire::Pool) -> Result<Self, FieldErrors> {
        let mut checker = Checker::new();
        let spec = checker.at("pool", |c| pool_spec(c, pool));
        checker.finish(spec)
    }
}

/// A pool, with the path of the checker at it.
pub(super) fn pool_spec(checker: &mut Checker, pool: wire::Pool) -> Option<PoolSpec> {
    refuse(checker, unsupported::POOL, &pool);
    let id = checker.at("id", |c| c.keep(PoolId::parse(&pool.id)));
    let nodes = pool.target_dedicated_nodes;
    let target_dedicated_nodes =
        count(checker, "target_dedicated_nodes", nodes, 0, 0, limits::POOL_NODES_MAX);
    let (node_fill_type, job_default_order) = scheduling_policy(checker, pool.task_scheduling_policy);
    let on_lease_expiry = checker.at("on_lease_expiry", |c| {
        enumeration::<wire::LeaseExpiryPolicy>(c, pool.on_lease_expiry, Some(OnLeaseExpiry::Kill))
    });
    let start_task = checker.part("start_task", pool.start_task, start_task);
    let resize_timeout = resize_timeout(checker, pool.resize_timeout);
    let metadata = metadata(checker, pool.metadata);
    let isolation_level = checker
        .at("isolation_level", |c| optional_enumeration::<wire::IsolationLevel>(c, pool.isolation_level));
    let task_network = task_network(checker, pool.task_network);
    let user_accounts = user_accounts(checker, pool.user_accounts);
    Some(PoolSpec {
        display_name: display_name(checker, pool.display_name),
        target_dedicated_nodes,
        task_slots_per_node: task_slots(checker, pool.task_slots_per_node),
        node_fill_type: node_fill_type?,
        job_default_order: job_default_order?,
        start_task: start_task?,
        resize_timeout: resize_timeout.unwrap_or(limits::RESIZE_TIMEOUT_DEFAULT),
        on_lease_expiry: on_lease_expiry?,
        metadata,
        isolation_level,
        task_network: task_network?,
        user_accounts,
        id: id?,
    })
}

/// What tasks see of the network, at the field `task_network`.
pub(super) fn task_network(checker: &mut Checker, given: i32) -> Option<TaskNetwork> {
    checker.at("task_network", |c| enumeration::<wire::TaskNetwork>(c, given, Some(TaskNetwork::Host)))
}

fn task_slots(checker: &mut Checker, given: u32) -> u32 {
    count(checker, "task_slots_per_node", given, 1, 1, limits::TASK_SLOTS_PER_NODE_MAX)
}

fn resize_timeout(checker: &mut Checker, given: Option<prost_types::Duration>) -> Option<Duration> {
    optional_duration(checker, "resize_timeout", given, limits::RESIZE_TIMEOUT_MIN)
}

fn scheduling_policy(
    checker: &mut Checker,
    policy: Option<wire::TaskSchedulingPolicy>,
) -> (Option<NodeFillType>, Option<JobDefaultOrder>) {
    let policy = policy.unwrap_or_default();
    checker.at("task_scheduling_policy", |c| {
        let fill = c.at("node_fill_type", |c| {
            enumeration::<wire::NodeFillType>(c, policy.node_fill_type, Some(NodeFillType::Spread))
        });
        let order = c.at("job_default_order", |c| {
            enumeration::<wire::JobDefaultOrder>(c, policy.job_default_order, Some(JobDefaultOrder::None))
        });
        (fill, order)
    })
}

/// A start task, with the path of the checker at it.
pub(super) fn start_task(checker: &mut Checker, task: wire::StartTask) -> Option<StartTaskSpec> {
    refuse(checker, unsupported::START_TASK, &task);
    let command_line = command_line(checker, task.command_line);
    let retries = retry_limit(checker, "max_task_retry_count", task.max_task_retry_count);
    Some(StartTaskSpec {
        resource_files: resource_files(checker, task.resource_files),
        environment: environment(checker, "environment_settings", task.environment_settings),
        user_identity: user_identity(checker, task.user_identity),
        wait_for_success: task.wait_for_success.unwrap_or(true),
        max_task_retry_count: retries?,
        command_line: command_line?,
    })
}

impl From<&StartTaskSpec> for wire::StartTask {
    fn from(task: &StartTaskSpec) -> Self {
        Self {
            command_line: task.command_line.clone(),
            resource_files: task.resource_files.iter().map(Into::into).collect(),
            environment_settings: environment_out(&task.environment),
            user_identity: Some(user_identity_out(&task.user_identity)),
            max_task_retry_count: retry_limit_out(task.max_task_retry_count),
            wait_for_success: Some(task.wait_for_success),
            container_settings: None,
        }
    }
}

impl From<&PoolSpec> for wire::Pool {
    fn from(spec: &PoolSpec) -> Self {
        Self {
            id: spec.id.to_string(),
            display_name: spec.display_name.clone(),
            target_dedicated_nodes: spec.target_dedicated_nodes,
            task_slots_per_node: spec.task_slots_per_node,
            task_scheduling_policy: Some(wire::TaskSchedulingPolicy {
                node_fill_type: wire::NodeFillType::from(spec.node_fill_type).into(),
                job_default_order: wire::JobDefaultOrder::from(spec.job_default_order).into(),
            }),
            start_task: spec.start_task.as_ref().map(Into::into),
            resize_timeout: Some(duration_out(spec.resize_timeout)),
            metadata: metadata_out(&spec.metadata),
            on_lease_expiry: wire::LeaseExpiryPolicy::from(spec.on_lease_expiry).into(),
            isolation_level: spec.isolation_level.map_or(0, |level| wire::IsolationLevel::from(level).into()),
            task_network: wire::TaskNetwork::from(spec.task_network).into(),
            user_accounts: spec.user_accounts.iter().map(Into::into).collect(),
            ..Self::default()
        }
    }
}

/// A checked `UpdatePool`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolUpdate {
    /// The pool.
    pub pool: PoolId,
    /// What changes.
    pub patch: PoolPatch,
    /// Only if the pool has this revision.
    pub if_match: Option<u64>,
    /// Names the request.
    pub request_id: Option<RequestId>,
}

impl TryFrom<wire::UpdatePoolRequest> for PoolUpdate {
    type Error = FieldErrors;

    fn try_from(request: wire::UpdatePoolRequest) -> Result<Self, FieldErrors> {
        let mut checker = Checker::new();
        let c = &mut checker;
        let pool = c.required("pool", request.pool, "name the pool and its new values");
        let update = pool.and_then(|pool| {
            let mask = Mask::read(c, request.update_mask, UPDATABLE);
            c.at("pool", |c| pool_patch(c, pool, &mask))
        });
        let if_match = etag(c, &request.etag);
        let request_id = request_id(c, &request.request_id);
        let update = update.map(|(pool, patch)| Self { pool, patch, if_match, request_id });
        checker.finish(update)
    }
}

fn pool_patch(c: &mut Checker, pool: wire::Pool, mask: &Mask) -> Option<(PoolId, PoolPatch)> {
    let id = c.at("id", |c| c.keep(PoolId::parse(&pool.id)));
    let mut patch = PoolPatch::default();
    if mask.names("display_name", !pool.display_name.is_empty()) {
        patch.display_name = Some(display_name(c, pool.display_name));
    }
    if mask.names("start_task", pool.start_task.is_some()) {
        // A wrong one is noted, and a patch with a note is never used.
        patch.start_task = c.part("start_task", pool.start_task, start_task);
    }
    if mask.names("metadata", !pool.metadata.is_empty()) {
        patch.metadata = Some(metadata(c, pool.metadata));
    }
    if mask.names("task_slots_per_node", pool.task_slots_per_node != 0) {
        patch.task_slots_per_node = Some(task_slots(c, pool.task_slots_per_node));
    }
    let has_fill_type = pool.task_scheduling_policy.is_some_and(|policy| policy.node_fill_type != 0);
    if mask.names("task_scheduling_policy.node_fill_type", has_fill_type) {
        patch.node_fill_type = scheduling_policy(c, pool.task_scheduling_policy).0;
    }
    Some((id?, patch))
}

/// A checked `ResizePool`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolResize {
    /// The pool.
    pub pool: PoolId,
    /// How many nodes it should have.
    pub target: u32,
    /// When to give up; `None` leaves the pool's setting.
    pub timeout: Option<Duration>,
    /// What becomes of the tasks of nodes that leave.
    pub option: DrainOption,
    /// Only if the pool has this revision.
    pub if_match: Option<u64>,
    /// Names the request.
    pub request_id: Option<RequestId>,
}

impl TryFrom<wire::ResizePoolRequest> for PoolResize {
    type Error = FieldErrors;

    fn try_from(request: wire::ResizePoolRequest) -> Result<Self, FieldErrors> {
        let mut checker = Checker::new();
        let c = &mut checker;
        refuse(c, unsupported::RESIZE_POOL, &request);
        let pool = pool_id(c, &request.pool_id);
        let hint = "give the number of nodes that the pool should have";
        let target = c.required("target_dedicated_nodes", request.target_dedicated_nodes, hint);
        let target = target.map(|n| count(c, "target_dedicated_nodes", n, 0, 0, limits::POOL_NODES_MAX));
        let timeout = resize_timeout(c, request.resize_timeout);
        let option = deallocation_option(c, "node_deallocation_option", request.node_deallocation_option);
        let if_match = etag(c, &request.etag);
        let request_id = request_id(c, &request.request_id);
        let resize = pool.zip(target).zip(option).map(|((pool, target), option)| Self {
            pool,
            target,
            timeout,
            option,
            if_match,
            request_id,
        });
        checker.finish(resize)
    }
}

/// A checked `RemoveNodes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRemoval {
    /// The pool.
    pub pool: PoolId,
    /// The nodes: at least one.
    pub nodes: Vec<NodeId>,
    /// What becomes of their tasks.
    pub option: DrainOption,
    /// With task completion, when tasks that still run are requeued: this long from now; `None` is the pool's setting.
    pub timeout: Option<Duration>,
    /// Only if the pool has this revision.
    pub if_match: Option<u64>,
    /// Names the request.
    pub request_id: Option<RequestId>,
}

impl TryFrom<wire::RemoveNodesRequest> for NodeRemoval {
    type Error = FieldErrors;

    fn try_from(request: wire::RemoveNodesRequest) -> Result<Self, FieldErrors> {
        let mut checker = Checker::new();
        let c = &mut checker;
        let pool = pool_id(c, &request.pool_id);
        if request.node_ids.is_empty() {
            c.note_at("node_ids", Problem::Missing { hint: "name at least one node" });
        }
        let nodes = c.each("node_ids", request.node_ids, BATCH_NODES_MAX, |c, id| c.keep(NodeId::parse(&id)));
        let timeout = resize_timeout(c, request.resize_timeout);
        let option = deallocation_option(c, "node_deallocation_option", request.node_deallocation_option);
        let if_match = etag(c, &request.etag);
        let request_id = request_id(c, &request.request_id);
        let removal = pool.zip(option);
        checker.finish(removal.map(|(pool, option)| Self {
            pool,
            nodes,
            option,
            timeout,
            if_match,
            request_id,
        }))
    }
}

/// A checked `CreateJoinToken`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewJoinToken {
    /// Where it leads.
    pub pool: PoolId,
    /// When it becomes worthless; `None` is the default of 24 hours from the controller's clock.
    pub expires: Option<Timestamp>,
    /// How many machines may use it.
    pub uses: u32,
    /// Names the request.
    pub request_id: Option<RequestId>,
}

impl TryFrom<wire::CreateJoinTokenRequest> for NewJoinToken {
    type Error = FieldErrors;

    fn try_from(request: wire::CreateJoinTokenRequest) -> Result<Self, FieldErrors> {
        let mut checker = Checker::new();
        let c = &mut checker;
        let request_id = request_id(c, &request.request_id);
        let token = c.required("join_token", request.join_token, "name the pool").and_then(|token| {
            c.at("join_token", |c| {
                let pool = pool_id(c, &token.pool_id);
                let expires = optional_timestamp(c, "expire_time", token.expire_time);
                let uses = count(c, "max_uses", token.max_uses, 1, 1, TOKEN_USES_MAX);
                Some(Self { pool: pool?, expires, uses, request_id })
            })
        });
        checker.finish(token)
    }
}

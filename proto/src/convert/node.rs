//! What machines say of themselves: facts, capabilities, what they have, the start task's course.
//!
//! These come from node agents, which are trusted to speak of their own machine only: texts are bounded, numbers are
//! taken as they are.

use std::collections::BTreeMap;

use muster_model::node::{Capabilities, MachineFacts, StartTaskInfo};
use muster_model::state::IsolationLevel;
use muster_model::{NamedCounts, NodeId, Resources, limits};

use super::common::{count, optional_timestamp, required_timestamp, text, timestamp_out};
use super::enums::{enumeration, optional_enumeration};
use super::error::{cut, failure_info};
use super::violation::{Checker, FieldErrors, Problem, shown};
use crate::wire;

/// The longest text that a machine says of itself, in characters: a host name's limit.
const FACT_CHARS_MAX: usize = 255;

/// The id of a node at the field `node_id`.
pub fn node_id(checker: &mut Checker, id: &str) -> Option<NodeId> {
    checker.at("node_id", |c| c.keep(NodeId::parse(id)))
}

impl TryFrom<wire::MachineFacts> for MachineFacts {
    type Error = FieldErrors;

    fn try_from(facts: wire::MachineFacts) -> Result<Self, FieldErrors> {
        let mut checker = Checker::new();
        let facts = checker.at("facts", |c| machine_facts(c, facts));
        checker.finish(facts)
    }
}

/// A machine's facts, with the path of the checker at them.
pub(super) fn machine_facts(checker: &mut Checker, facts: wire::MachineFacts) -> Option<MachineFacts> {
    let identities = [("machine_id", &facts.machine_id), ("boot_id", &facts.boot_id)];
    for (field, identity) in identities {
        if identity.is_empty() {
            checker.note_at(field, Problem::Missing { hint: "a node is bound to its machine and boot" });
        }
    }
    let boot_time = required_timestamp(checker, "boot_time", facts.boot_time);
    let capacity = capacity(checker, facts.capacity.unwrap_or_default());
    let given = facts.capabilities.unwrap_or_default();
    let capabilities = checker.at("capabilities", |c| capabilities(c, given));
    Some(MachineFacts {
        machine_id: text(checker, "machine_id", facts.machine_id, FACT_CHARS_MAX),
        boot_id: text(checker, "boot_id", facts.boot_id, FACT_CHARS_MAX),
        hostname: text(checker, "hostname", facts.hostname, FACT_CHARS_MAX),
        ip_address: text(checker, "ip_address", facts.ip_address, FACT_CHARS_MAX),
        agent_version: text(checker, "agent_version", facts.agent_version, FACT_CHARS_MAX),
        os: text(checker, "operating_system", facts.operating_system, FACT_CHARS_MAX),
        capacity,
        capabilities: capabilities?,
        boot_time: boot_time?,
    })
}

fn capacity(checker: &mut Checker, given: wire::ResourceCapacity) -> Resources {
    let wire::ResourceCapacity { cpu_millis, memory_bytes, disk_bytes, gpus, named } = given;
    let named = checker.at("capacity", |c| named_counts(c, named));
    Resources { slots: 0, cpu_millis, memory_bytes, disk_bytes, gpus, named }
}

/// Counts of what an operator has named, at the field `named`; those of 0 are left out.
pub(super) fn named_counts(checker: &mut Checker, named: BTreeMap<String, u64>) -> NamedCounts {
    let is_name = |name: &str| {
        (1..=limits::NAMED_RESOURCE_CHARS_MAX).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    };
    checker.at("named", |c| {
        if named.len() > limits::NAMED_RESOURCES_MAX {
            c.note(Problem::TooMany { given: named.len(), max: limits::NAMED_RESOURCES_MAX });
            return;
        }
        for name in named.keys().filter(|name| !is_name(name)) {
            let rule = "1 to 64 letters, digits, '-', '_' and '.'";
            c.note(Problem::NotName { given: shown(name), rule });
        }
    });
    if named.len() > limits::NAMED_RESOURCES_MAX { NamedCounts::default() } else { NamedCounts::new(named) }
}

/// Named counts for the wire.
#[must_use]
pub(super) fn named_out(named: &NamedCounts) -> BTreeMap<String, u64> {
    named.iter().map(|(name, count)| (name.to_owned(), count)).collect()
}

fn capabilities(checker: &mut Checker, given: wire::NodeCapabilities) -> Option<Capabilities> {
    let cgroup = match given.cgroup_version {
        0 => "none",
        1 => "v1",
        2 => "v2",
        other => {
            let problem = Problem::OutOfRange { given: other.into(), min: 0, max: 2 };
            checker.note_at("cgroup_version", problem);
            return None;
        }
    };
    // An agent of protocol 2 or older says nothing of isolation: it gave none.
    let isolation = checker.at("isolation_level", |c| {
        enumeration::<wire::IsolationLevel>(c, given.isolation_level, Some(IsolationLevel::None))
    });
    let disk_limit =
        checker.at("disk_limit", |c| optional_enumeration::<wire::DiskLimitMeans>(c, given.disk_limit));
    // Notes are for people: those in excess are dropped, and long ones cut.
    let notes = given.notes.into_iter().take(limits::CAPABILITY_NOTES_MAX);
    Some(Capabilities {
        cgroup: cgroup.to_owned(),
        memory_limit: given.memory_limit,
        cpu_limit: given.cpu_limit,
        pids_limit: given.pids_limit,
        user_switch: given.user_switch,
        task_users: given.task_users,
        admin_tasks: given.admin_tasks,
        isolation: isolation?,
        network_isolation: given.network_isolation,
        seccomp: given.seccomp,
        landlock_abi: given.landlock_abi,
        disk_limit,
        io_accounting: given.io_accounting,
        reboot: given.reboot,
        reimage: given.reimage,
        notes: notes.map(|note| cut(note, limits::NODE_TEXT_BYTES_MAX)).collect(),
    })
}

impl From<&Capabilities> for wire::NodeCapabilities {
    fn from(capabilities: &Capabilities) -> Self {
        let cgroup_version = match capabilities.cgroup.as_str() {
            "v1" => 1,
            "v2" => 2,
            _no_cgroup => 0,
        };
        Self {
            cgroup_version,
            memory_limit: capabilities.memory_limit,
            cpu_limit: capabilities.cpu_limit,
            pids_limit: capabilities.pids_limit,
            user_switch: capabilities.user_switch,
            task_users: capabilities.task_users,
            admin_tasks: capabilities.admin_tasks,
            isolation_level: wire::IsolationLevel::from(capabilities.isolation).into(),
            network_isolation: capabilities.network_isolation,
            seccomp: capabilities.seccomp,
            landlock_abi: capabilities.landlock_abi,
            disk_limit: capabilities.disk_limit.map_or(0, |means| wire::DiskLimitMeans::from(means).into()),
            io_accounting: capabilities.io_accounting,
            reboot: capabilities.reboot,
            reimage: capabilities.reimage,
            notes: capabilities.notes.clone(),
        }
    }
}

/// What a machine offers, for the wire. Slots are the pool's setting and not part of it.
#[must_use]
pub fn capacity_out(capacity: &Resources) -> wire::ResourceCapacity {
    wire::ResourceCapacity {
        cpu_millis: capacity.cpu_millis,
        memory_bytes: capacity.memory_bytes,
        disk_bytes: capacity.disk_bytes,
        gpus: capacity.gpus,
        named: named_out(&capacity.named),
    }
}

impl From<&MachineFacts> for wire::MachineFacts {
    fn from(facts: &MachineFacts) -> Self {
        Self {
            machine_id: facts.machine_id.clone(),
            boot_id: facts.boot_id.clone(),
            hostname: facts.hostname.clone(),
            agent_version: facts.agent_version.clone(),
            operating_system: facts.os.clone(),
            boot_time: Some(timestamp_out(facts.boot_time)),
            capacity: Some(capacity_out(&facts.capacity)),
            capabilities: Some((&facts.capabilities).into()),
            ip_address: facts.ip_address.clone(),
        }
    }
}

impl TryFrom<wire::StartTaskInfo> for StartTaskInfo {
    type Error = FieldErrors;

    fn try_from(info: wire::StartTaskInfo) -> Result<Self, FieldErrors> {
        let mut checker = Checker::new();
        let info = checker.at("start_task", |c| start_task_info(c, info));
        checker.finish(info)
    }
}

/// The course of a start task, with the path of the checker at it.
pub(super) fn start_task_info(checker: &mut Checker, info: wire::StartTaskInfo) -> Option<StartTaskInfo> {
    let state = checker.at("state", |c| enumeration::<wire::StartTaskState>(c, info.state, None));
    let start_time = required_timestamp(checker, "start_time", info.start_time);
    let result = checker.at("result", |c| optional_enumeration::<wire::ExecutionResult>(c, info.result));
    let failure = checker.part("failure_info", info.failure_info, failure_info);
    Some(StartTaskInfo {
        end_time: optional_timestamp(checker, "end_time", info.end_time),
        exit_code: info.exit_code,
        retry_count: info.retry_count,
        result,
        failure: failure?,
        state: state?,
        start_time: start_time?,
    })
}

impl From<&StartTaskInfo> for wire::StartTaskInfo {
    fn from(info: &StartTaskInfo) -> Self {
        Self {
            state: wire::StartTaskState::from(info.state).into(),
            start_time: Some(timestamp_out(info.start_time)),
            end_time: info.end_time.map(timestamp_out),
            exit_code: info.exit_code,
            failure_info: info.failure.as_ref().map(Into::into),
            retry_count: info.retry_count,
            result: info.result.map_or(0, |result| wire::ExecutionResult::from(result).into()),
        }
    }
}

/// The slots of a node, as the controller tells its agent.
pub(super) fn node_slots(checker: &mut Checker, given: u32) -> u32 {
    count(checker, "task_slots", given, 1, 1, limits::TASK_SLOTS_PER_NODE_MAX)
}

//! What nodes say of themselves, as messages of the store's own: facts of machines, and what is wrong with them.
//!
//! They follow protobuf's rules for change: a field is added with a new number and read as absent from older rows, which
//! is why a capability that older agents did not speak of reads as one that the node lacks. What filters ask for (a
//! machine's boot time) is in columns and not repeated here.

use super::codes::Coded;
use super::error::CodecError;
use super::part::{PairPart, decode, pairs_in, pairs_out};
use muster_model::node::{Capabilities, MachineFacts, NodeError};
use muster_model::state::{DiskLimit, IsolationLevel};
use muster_model::{NamedCounts, Resources, Timestamp};
use prost::Message;

// ---------------------------------------------------------------------------------------------------- errors

#[derive(Clone, PartialEq, Message)]
struct ErrorPart {
    #[prost(string, tag = "1")]
    code: String,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<PairPart>,
    /// Absent from rows before schema 3.
    #[prost(sint64, optional, tag = "4")]
    time: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct ErrorsPart {
    #[prost(message, repeated, tag = "1")]
    errors: Vec<ErrorPart>,
}

fn error_out(error: &NodeError) -> ErrorPart {
    ErrorPart {
        code: error.code.clone(),
        message: error.message.clone(),
        details: pairs_out(&error.details),
        time: Some(error.time.as_micros()),
    }
}

fn error_in(part: ErrorPart, since: Timestamp) -> NodeError {
    NodeError {
        code: part.code,
        message: part.message,
        details: pairs_in(part.details),
        time: part.time.map_or(since, Timestamp::from_micros),
    }
}

/// What is wrong with a node.
pub(crate) fn errors_bytes(errors: &[NodeError]) -> Vec<u8> {
    ErrorsPart { errors: errors.iter().map(error_out).collect() }.encode_to_vec()
}

/// What is wrong with a node; `since` is the time of errors that older rows keep without one.
pub(crate) fn errors(bytes: &[u8], since: Timestamp) -> Result<Vec<NodeError>, CodecError> {
    let part: ErrorsPart = decode("node errors", bytes)?;
    Ok(part.errors.into_iter().map(|part| error_in(part, since)).collect())
}

/// Why a node was taken out of use.
pub(crate) fn error_bytes(error: &NodeError) -> Vec<u8> {
    error_out(error).encode_to_vec()
}

/// Why a node was taken out of use; `since` as with [`errors`].
pub(crate) fn error(bytes: &[u8], since: Timestamp) -> Result<NodeError, CodecError> {
    decode::<ErrorPart>("node error", bytes).map(|part| error_in(part, since))
}

// ---------------------------------------------------------------------------------------------------- facts

#[derive(Clone, PartialEq, Message)]
struct FactsPart {
    #[prost(string, tag = "1")]
    machine_id: String,
    #[prost(string, tag = "2")]
    boot_id: String,
    #[prost(string, tag = "3")]
    hostname: String,
    #[prost(string, tag = "4")]
    ip_address: String,
    #[prost(string, tag = "5")]
    agent_version: String,
    #[prost(string, tag = "6")]
    os: String,
    #[prost(uint32, tag = "7")]
    slots: u32,
    #[prost(uint64, tag = "8")]
    cpu_millis: u64,
    #[prost(uint64, tag = "9")]
    memory_bytes: u64,
    #[prost(uint64, tag = "10")]
    disk_bytes: u64,
    #[prost(string, tag = "11")]
    cgroup: String,
    #[prost(bool, tag = "12")]
    memory_limit: bool,
    #[prost(bool, tag = "13")]
    cpu_limit: bool,
    #[prost(bool, tag = "14")]
    pids_limit: bool,
    #[prost(bool, tag = "15")]
    user_switch: bool,
    #[prost(uint32, tag = "16")]
    gpus: u32,
    #[prost(message, repeated, tag = "17")]
    named: Vec<CountPart>,
    #[prost(bool, tag = "18")]
    task_users: bool,
    #[prost(bool, tag = "19")]
    admin_tasks: bool,
    #[prost(int64, optional, tag = "20")]
    isolation: Option<i64>,
    #[prost(bool, tag = "21")]
    network_isolation: bool,
    #[prost(bool, tag = "22")]
    seccomp: bool,
    #[prost(uint32, tag = "23")]
    landlock_abi: u32,
    #[prost(int64, optional, tag = "24")]
    disk_limit: Option<i64>,
    #[prost(bool, tag = "25")]
    io_accounting: bool,
    #[prost(bool, tag = "26")]
    reboot: bool,
    #[prost(bool, tag = "27")]
    reimage: bool,
    #[prost(string, repeated, tag = "28")]
    notes: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct CountPart {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(uint64, tag = "2")]
    count: u64,
}

/// A machine's facts without its boot time, which has a column.
pub(crate) fn facts_bytes(facts: &MachineFacts) -> Vec<u8> {
    let MachineFacts { capacity, capabilities, .. } = facts;
    FactsPart {
        machine_id: facts.machine_id.clone(),
        boot_id: facts.boot_id.clone(),
        hostname: facts.hostname.clone(),
        ip_address: facts.ip_address.clone(),
        agent_version: facts.agent_version.clone(),
        os: facts.os.clone(),
        slots: capacity.slots,
        cpu_millis: capacity.cpu_millis,
        memory_bytes: capacity.memory_bytes,
        disk_bytes: capacity.disk_bytes,
        cgroup: capabilities.cgroup.clone(),
        memory_limit: capabilities.memory_limit,
        cpu_limit: capabilities.cpu_limit,
        pids_limit: capabilities.pids_limit,
        user_switch: capabilities.user_switch,
        gpus: capacity.gpus,
        named: capacity
            .named
            .iter()
            .map(|(name, count)| CountPart { name: name.to_owned(), count })
            .collect(),
        task_users: capabilities.task_users,
        admin_tasks: capabilities.admin_tasks,
        isolation: Some(capabilities.isolation.code()),
        network_isolation: capabilities.network_isolation,
        seccomp: capabilities.seccomp,
        landlock_abi: capabilities.landlock_abi,
        disk_limit: capabilities.disk_limit.map(Coded::code),
        io_accounting: capabilities.io_accounting,
        reboot: capabilities.reboot,
        reimage: capabilities.reimage,
        notes: capabilities.notes.clone(),
    }
    .encode_to_vec()
}

pub(crate) fn facts(bytes: &[u8], boot_time: Timestamp) -> Result<MachineFacts, CodecError> {
    let part: FactsPart = decode("machine facts", bytes)?;
    let isolation = part.isolation.map(IsolationLevel::from_code).transpose()?;
    let disk_limit = part.disk_limit.map(DiskLimit::from_code).transpose()?;
    Ok(MachineFacts {
        machine_id: part.machine_id,
        boot_id: part.boot_id,
        hostname: part.hostname,
        ip_address: part.ip_address,
        agent_version: part.agent_version,
        os: part.os,
        capacity: Resources {
            slots: part.slots,
            cpu_millis: part.cpu_millis,
            memory_bytes: part.memory_bytes,
            disk_bytes: part.disk_bytes,
            gpus: part.gpus,
            named: NamedCounts::new(part.named.into_iter().map(|part| (part.name, part.count))),
        },
        capabilities: Capabilities {
            cgroup: part.cgroup,
            memory_limit: part.memory_limit,
            cpu_limit: part.cpu_limit,
            pids_limit: part.pids_limit,
            user_switch: part.user_switch,
            task_users: part.task_users,
            admin_tasks: part.admin_tasks,
            isolation: isolation.unwrap_or(IsolationLevel::None),
            network_isolation: part.network_isolation,
            seccomp: part.seccomp,
            landlock_abi: part.landlock_abi,
            disk_limit,
            io_accounting: part.io_accounting,
            reboot: part.reboot,
            reimage: part.reimage,
            notes: part.notes,
        },
        boot_time,
    })
}

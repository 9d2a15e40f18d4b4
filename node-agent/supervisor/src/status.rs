//! What the node can do for attempts, and where each attempt is: the contents of two replies.
//!
//! The agent refuses work by the first (limits that cannot be enforced here) and finds its attempts again by the
//! second. How they are asked for is in [`crate::request`].

use crate::document::{DecodeError, Field, Reader, Writer, required};
use crate::isolation::Separation;
use crate::key::AttemptKey;
use crate::spec::read_key;

/// Newest version of the `task` document within a list.
const STATUS_VERSION: u32 = 1;

/// How sure the supervisor is to end every process of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Containment {
    /// The kernel kills a whole control group at once.
    GroupKill,
    /// A control group is frozen, killed and thawed.
    GroupFreeze,
    /// The members of a control group are killed until none is left.
    GroupSignal,
    /// There is no control group: the session and all descendants that can be found are killed.
    ProcessTree,
}

/// What the node can do for attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// Memory limits are enforced, and running out of memory is recognised.
    pub memory: bool,
    /// CPU quotas and weights are enforced.
    pub cpu: bool,
    /// Limits on the number of processes are enforced.
    pub pids: bool,
    /// CPU time counts every process of an attempt, not only those waited for.
    pub cpu_time: bool,
    /// Bytes that attempts read and write are counted.
    pub io: bool,
    /// The version of the control groups that enforce the limits, 1 or 2; 0 without any, and from a supervisor that does not
    /// say.
    pub cgroup_version: u32,
    /// How attempts are ended.
    pub containment: Containment,
    /// Exit codes of running attempts survive a restart of the supervisor. Always, by their keepers; a supervisor from
    /// before them says whether its kernel tells them to others than the parent.
    pub late_exit_status: bool,
    /// How attempts can be separated.
    pub separation: Separation,
    /// What is missing and why, for people; empty if nothing is.
    pub notes: Vec<String>,
}

/// Where an attempt is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Cloned; the program does not execute yet.
    Launching,
    /// The main process runs.
    Running,
    /// The main process is over; what it left behind is being killed.
    Sweeping,
    /// Over; the exit record waits for its acknowledgement.
    Ended,
}

/// One attempt that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskStatus {
    /// The attempt.
    pub key: AttemptKey,
    /// Where it is in its life.
    pub phase: Phase,
    /// Its main process; 0 if there never was one.
    pub pid: i32,
    /// When it started, in microseconds since the epoch.
    pub started_at_us: Option<i64>,
}

const CONTAINMENTS: [(Containment, &str); 4] = [
    (Containment::GroupKill, "group-kill"),
    (Containment::GroupFreeze, "group-freeze"),
    (Containment::GroupSignal, "group-signal"),
    (Containment::ProcessTree, "process-tree"),
];

const PHASES: [(Phase, &str); 4] = [
    (Phase::Launching, "launching"),
    (Phase::Running, "running"),
    (Phase::Sweeping, "sweeping"),
    (Phase::Ended, "ended"),
];

fn name_of<T: PartialEq>(names: &[(T, &'static str)], value: &T) -> &'static str {
    names.iter().find(|(item, _)| item == value).map_or("", |(_, name)| name)
}

fn named<T: Copy>(
    names: &[(T, &'static str)],
    field: &Field<'_>,
    wanted: &'static str,
) -> Result<T, DecodeError> {
    let text = field.text()?;
    names.iter().find(|(_, name)| *name == text).map(|(item, _)| *item).ok_or(field.wrong(wanted))
}

impl Capabilities {
    pub(crate) fn write(&self, writer: &mut Writer) {
        writer
            .flag("memory", self.memory)
            .flag("cpu", self.cpu)
            .flag("pids", self.pids)
            .flag("cpu_time", self.cpu_time)
            .flag("io", self.io)
            .optional("cgroup_version", Some(self.cgroup_version).filter(|version| *version > 0))
            .text("containment", name_of(&CONTAINMENTS, &self.containment))
            .flag("late_exit_status", self.late_exit_status);
        write_separation(&self.separation, writer);
        for note in &self.notes {
            writer.text("note", note);
        }
    }
}

/// What is missing is left out, so that a supervisor from before these fields reads as one that separates nothing.
fn write_separation(separation: &Separation, writer: &mut Writer) {
    let Separation { process_namespace, mount_namespace, ipc_namespace, network_namespace, .. } = *separation;
    writer
        .flag("process_namespace", process_namespace)
        .flag("mount_namespace", mount_namespace)
        .flag("ipc_namespace", ipc_namespace)
        .flag("network_namespace", network_namespace)
        .flag("seccomp", separation.seccomp)
        .optional("landlock_abi", Some(separation.landlock_abi).filter(|abi| *abi > 0));
}

/// The fields of capabilities while they are read.
#[derive(Default)]
pub(crate) struct CapabilitiesDraft {
    memory: bool,
    cpu: bool,
    pids: bool,
    cpu_time: bool,
    io: bool,
    cgroup_version: u32,
    containment: Option<Containment>,
    late_exit_status: bool,
    separation: Separation,
    notes: Vec<String>,
}

impl CapabilitiesDraft {
    pub(crate) fn take(&mut self, field: &Field<'_>) -> Result<(), DecodeError> {
        match field.name {
            "memory" => self.memory = field.flag()?,
            "cpu" => self.cpu = field.flag()?,
            "pids" => self.pids = field.flag()?,
            "cpu_time" => self.cpu_time = field.flag()?,
            "io" => self.io = field.flag()?,
            "cgroup_version" => self.cgroup_version = field.number()?,
            "containment" => self.containment = Some(named(&CONTAINMENTS, field, "a containment")?),
            "late_exit_status" => self.late_exit_status = field.flag()?,
            "process_namespace" => self.separation.process_namespace = field.flag()?,
            "mount_namespace" => self.separation.mount_namespace = field.flag()?,
            "ipc_namespace" => self.separation.ipc_namespace = field.flag()?,
            "network_namespace" => self.separation.network_namespace = field.flag()?,
            "seccomp" => self.separation.seccomp = field.flag()?,
            "landlock_abi" => self.separation.landlock_abi = field.number()?,
            "note" => self.notes.push(field.text()?.to_owned()),
            _ => field.skip()?,
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> Result<Capabilities, DecodeError> {
        Ok(Capabilities {
            memory: self.memory,
            cpu: self.cpu,
            pids: self.pids,
            cpu_time: self.cpu_time,
            io: self.io,
            cgroup_version: self.cgroup_version,
            containment: required(self.containment, "capabilities", "containment")?,
            late_exit_status: self.late_exit_status,
            separation: self.separation,
            notes: self.notes,
        })
    }
}

impl TaskStatus {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new("task", STATUS_VERSION);
        writer
            .text("key", self.key.as_str())
            .text("phase", name_of(&PHASES, &self.phase))
            .number("pid", self.pid)
            .optional("started_at_us", self.started_at_us);
        writer.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::of_kind(bytes, "task", STATUS_VERSION)?;
        let (mut key, mut phase, mut pid, mut started_at_us) = (None, None, None, None);
        while let Some(field) = reader.next_field()? {
            match field.name {
                "key" => key = Some(read_key(&field)?),
                "phase" => phase = Some(named(&PHASES, &field, "a phase")?),
                "pid" => pid = Some(field.number()?),
                "started_at_us" => started_at_us = Some(field.number()?),
                _ => field.skip()?,
            }
        }
        reader.close()?;
        Ok(Self {
            key: required(key, "task", "key")?,
            phase: required(phase, "task", "phase")?,
            pid: required(pid, "task", "pid")?,
            started_at_us,
        })
    }
}

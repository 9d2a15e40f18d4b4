//! What this machine is: capacity, capabilities, boot, names. Measured at start and told in every Hello.
//!
//! Capacity is what tasks may have: the processors and the memory of the agent's own control group if that has less than the
//! machine, and what the operator says that is not measured. What the node can enforce is put together by `capabilities`.

use crate::identity::machine_id;
use muster_model::limits;
use muster_model::node::{Capabilities, MachineFacts};
use muster_model::{NamedCounts, Resources, Timestamp};
use std::io;
use std::path::{Path, PathBuf};

/// Where the operating system keeps the name of its installation; the second is the older place.
const MACHINE_ID_FILES: [&str; 2] = ["/etc/machine-id", "/var/lib/dbus/machine-id"];
/// Where the kernel tells the name of the boot.
const BOOT_ID_FILE: &str = "/proc/sys/kernel/random/boot_id";

/// Where device files are, and how those of GPUs begin.
const DEVICES: &str = "/dev";
const GPU_DEVICE: &str = "nvidia";

/// Why the machine cannot be told apart from others.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FactsError {
    #[error("cannot read {path}, which tells this boot from others")]
    BootId {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("cannot measure the machine")]
    System {
        #[source]
        cause: sysinfo::Error,
    },
    #[error("cannot look at the file system of {path}")]
    Disk {
        path: PathBuf,
        #[source]
        cause: nix::errno::Errno,
    },
}

/// What is the same for the whole life of the process.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    pub(crate) machine_id: String,
    pub(crate) boot_id: String,
}

/// What is not measured here.
#[derive(Debug, Clone)]
pub(crate) struct Given {
    /// How many GPUs there are, by the operator's word; without it they are counted.
    pub(crate) gpus: Option<u32>,
    /// What else the operator says there is.
    pub(crate) named: NamedCounts,
    /// What the node can enforce.
    pub(crate) capabilities: Capabilities,
}

impl Machine {
    /// Looks at the machine. One without an installation name (a bare container) goes by its host name.
    pub(crate) fn look(root: &Path) -> Result<Self, FactsError> {
        let boot_id = std::fs::read_to_string(BOOT_ID_FILE)
            .map_err(|cause| FactsError::BootId { path: BOOT_ID_FILE.into(), cause })?;
        let system_id = MACHINE_ID_FILES
            .iter()
            .find_map(|path| std::fs::read_to_string(path).ok().filter(|text| !text.trim().is_empty()))
            .or_else(|| sysinfo::System::host_name().ok())
            .unwrap_or_default();
        Ok(Self { machine_id: machine_id(&system_id, root), boot_id: boot_id.trim().to_owned() })
    }

    /// Measures the facts.
    pub(crate) fn facts(&self, root: &Path, given: Given) -> Result<MachineFacts, FactsError> {
        let mut system = sysinfo::System::new().map_err(|cause| FactsError::System { cause })?;
        system.refresh_memory();
        let memory_bytes = system
            .cgroup_limits()
            .map_or(system.total_memory(), |limits| limits.total_memory.min(system.total_memory()));
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let disk = nix::sys::statvfs::statvfs(root)
            .map_err(|cause| FactsError::Disk { path: root.to_owned(), cause })?;
        let boot_seconds = i64::try_from(sysinfo::System::boot_time().unwrap_or(0)).unwrap_or(0);
        Ok(MachineFacts {
            machine_id: self.machine_id.clone(),
            boot_id: self.boot_id.clone(),
            hostname: sysinfo::System::host_name().unwrap_or_default(),
            // The controller sees the address of the connection.
            ip_address: String::new(),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            os: sysinfo::System::long_os_version().unwrap_or_default(),
            capacity: Resources {
                slots: 0,
                cpu_millis: u64::try_from(processors).unwrap_or(1).saturating_mul(1000),
                memory_bytes,
                disk_bytes: disk.blocks_available().saturating_mul(disk.fragment_size()),
                gpus: given.gpus.unwrap_or_else(|| gpu_devices(Path::new(DEVICES))),
                named: given.named,
            },
            capabilities: given.capabilities,
            boot_time: Timestamp::from_micros(boot_seconds.saturating_mul(1_000_000)),
        })
    }
}

/// How many GPUs have a device file there: `nvidia0`, `nvidia1` and so on, and none of the driver's own.
fn gpu_devices(devices: &Path) -> u32 {
    let is_gpu = |name: &str| {
        let number = name.strip_prefix(GPU_DEVICE);
        number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let entries = std::fs::read_dir(devices).into_iter().flatten().flatten();
    let found = entries.filter(|entry| entry.file_name().to_str().is_some_and(is_gpu)).count();
    u32::try_from(found).unwrap_or(u32::MAX).min(limits::GPUS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_facts() {
        let root = tempfile::tempdir().unwrap();
        let machine = Machine::look(root.path()).unwrap();
        let named = NamedCounts::new([("licence".to_owned(), 4)]);
        let given = Given { gpus: Some(2), named: named.clone(), capabilities: Capabilities::default() };
        let facts = machine.facts(root.path(), given).unwrap();
        assert_eq!((facts.capacity.gpus, facts.capacity.named), (2, named));
        assert_eq!(facts.machine_id.len(), 32);
        assert!(!facts.boot_id.is_empty() && facts.boot_time > Timestamp::EPOCH);
        assert!(
            facts.capacity.cpu_millis >= 1000
                && facts.capacity.memory_bytes > 0
                && facts.capacity.disk_bytes > 0
        );
    }

    #[test]
    fn device_files_of_gpus_are_counted_and_no_others() {
        let devices = tempfile::tempdir().unwrap();
        for name in
            ["nvidia0", "nvidia1", "nvidia10", "nvidia", "nvidiactl", "nvidia-uvm", "nvidia2x", "sda1"]
        {
            std::fs::write(devices.path().join(name), "").unwrap();
        }
        assert_eq!(gpu_devices(devices.path()), 3);
        assert_eq!(gpu_devices(&devices.path().join("none")), 0);
    }
}

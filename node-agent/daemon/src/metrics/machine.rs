//! What the machine uses: processors, memory, the disk of task directories, and agent and supervisor themselves.
//!
//! Read from the first lines of files that the kernel writes on the spot: a handful of system calls. What cannot be read
//! counts as 0; nobody decides by it.

use muster_model::Timestamp;
use muster_model::node::NodeMetrics;
use muster_runtime::clock;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// As much of a file as is looked at: what is wanted stands in its first lines.
const BYTES: usize = 2048;

/// Measures, and remembers what processor time has to be counted from.
#[derive(Debug)]
pub(crate) struct Meter {
    root: PathBuf,
    processors: u64,
    before: Option<Ticks>,
}

/// Processor time since the boot, in ticks of the kernel, of all processors together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ticks {
    busy: u64,
    all: u64,
}

impl Meter {
    /// Measures the file system of this directory, too.
    pub(crate) fn new(root: &Path) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { root: root.to_owned(), processors: u64::try_from(processors).unwrap_or(1), before: None }
    }

    /// Measures. `cache_bytes` is what the cache holds, `supervisor` its process.
    pub(crate) fn measure(&mut self, cache_bytes: u64, supervisor: Option<u32>) -> NodeMetrics {
        let ticks = ticks(&first_lines(Path::new("/proc/stat")));
        let cpu_millis = match (self.before, ticks) {
            (Some(before), Some(now)) => {
                let busy = now.busy.saturating_sub(before.busy);
                let all = now.all.saturating_sub(before.all).max(1);
                busy.saturating_mul(self.processors).saturating_mul(1000) / all
            }
            (None, _) | (_, None) => 0,
        };
        self.before = ticks;
        let memory = first_lines(Path::new("/proc/meminfo"));
        let total = kibibytes(&memory, "MemTotal:");
        let available = kibibytes(&memory, "MemAvailable:");
        let disk = nix::sys::statvfs::statvfs(&self.root).ok();
        let resident = |process: &str| {
            kibibytes(&first_lines(&Path::new("/proc").join(process).join("status")), "VmRSS:")
        };
        let supervisor = supervisor.map_or(0, |pid| resident(&pid.to_string()));
        NodeMetrics {
            time: Timestamp::from_micros(clock::wall_us()),
            cpu_millis,
            memory_used_bytes: total.saturating_sub(available),
            memory_total_bytes: total,
            disk_free_bytes: disk
                .map_or(0, |disk| disk.blocks_available().saturating_mul(disk.fragment_size())),
            disk_total_bytes: disk.map_or(0, |disk| disk.blocks().saturating_mul(disk.fragment_size())),
            cache_bytes,
            agent_memory_bytes: resident("self").saturating_add(supervisor),
        }
    }
}

fn first_lines(path: &Path) -> String {
    let mut bytes = [0; BYTES];
    let length = File::open(path).and_then(|mut file| file.read(&mut bytes)).unwrap_or(0);
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}

/// The first line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal. Guests are in user already.
fn ticks(text: &str) -> Option<Ticks> {
    let line = text.lines().next()?.strip_prefix("cpu ")?;
    let numbers: Vec<u64> = line.split_whitespace().take(8).map_while(|word| word.parse().ok()).collect();
    let all: u64 = numbers.iter().sum();
    let idle: u64 = numbers.get(3..5)?.iter().sum();
    Some(Ticks { busy: all.saturating_sub(idle), all })
}

/// The value of a line such as `VmRSS:  1234 kB`, in bytes; 0 if there is none.
fn kibibytes(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|rest| rest.split_whitespace().next()).and_then(|word| word.parse().ok());
    number.map_or(0, |kibibytes: u64| kibibytes.saturating_mul(1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_leaves_out_what_was_idle() {
        let text = "cpu  10 1 5 70 4 2 3 5 9 9\ncpu0 1 1 1 1\n";
        assert_eq!(ticks(text), Some(Ticks { busy: 26, all: 100 }));
        assert_eq!(ticks("cpu0 1"), None);
        assert_eq!(ticks("cpu 1 2"), None);
    }

    #[test]
    fn sizes_are_read_by_name() {
        let text = "Name:\tx\nVmRSS:\t    1234 kB\n";
        assert_eq!((kibibytes(text, "VmRSS:"), kibibytes(text, "VmHWM:")), (1234 * 1024, 0));
    }

    #[test]
    fn this_machine_can_be_measured() {
        let root = tempfile::tempdir().unwrap();
        let mut meter = Meter::new(root.path());
        let first = meter.measure(7, None);
        assert_eq!((first.cpu_millis, first.cache_bytes), (0, 7));
        assert!(first.memory_total_bytes > first.memory_used_bytes && first.memory_used_bytes > 0);
        assert!(first.disk_total_bytes >= first.disk_free_bytes && first.disk_total_bytes > 0);
        let second = meter.measure(0, Some(std::process::id()));
        assert!(second.agent_memory_bytes > first.agent_memory_bytes);
        assert!(second.cpu_millis <= meter.processors * 1000);
    }
}

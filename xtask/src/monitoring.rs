//! What watching costs: agents and supervisors with nothing to do, and with a thousand tasks that only wait.
//!
//! Figures only. Processor time is read from `/proc` before and after a span in which nothing is asked of the cluster, so all of
//! it is what the daemons do by themselves: heartbeats, leases, health, measuring. The floor is one tick of the kernel's
//! clock, the least that can be told from none.

use crate::cluster::Cluster;
use crate::run::{check, say, target};
use anyhow::Context;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Two rounds of measuring at the default interval.
const SPAN: Duration = Duration::from_secs(61);
/// Nodes, each of as many slots as a pool may give it.
const NODES: usize = 4;
/// Tasks at a time on all nodes together.
const TASKS: usize = 1000;
/// How long the tasks may take to start.
const START_MAX: Duration = Duration::from_secs(120);
/// Ticks in a second, as `/proc/PID/stat` counts on every Linux that matters here.
const TICKS: f64 = 100.0;

/// Measures both and prints a line for each.
pub(crate) fn measure(binaries: &Path) -> anyhow::Result<()> {
    let data = target().join("bench/monitoring");
    if data.exists() {
        std::fs::remove_dir_all(&data).with_context(|| format!("cannot clear {}", data.display()))?;
    }
    let (nodes, slots) = (NODES.to_string(), (TASKS / NODES).to_string());
    let cluster = Cluster::start(binaries, &data, &["--nodes", &nodes, "--slots", &slots])?;
    cluster.run(&["run", "--pool", "default", "--", "true"])?;
    report(&cluster, "idle")?;
    let mut tasks = String::new();
    for task in 0..TASKS {
        // Writing to a String cannot fail.
        let _ = writeln!(tasks, r#"{{"id":"{task}","command_line":"sleep 3600"}}"#);
    }
    let file = target().join("bench/sleepers.jsonl");
    std::fs::write(&file, tasks).with_context(|| format!("cannot write {}", file.display()))?;
    cluster.run(&["job", "create", "sleepers", "--pool", "default"])?;
    let add = ["task", "add", "sleepers", "--file", &file.to_string_lossy()];
    check(cluster.muster(&add).stdout(Stdio::null()))?;
    let begun = Instant::now();
    while !all_run(&cluster) && begun.elapsed() < START_MAX {
        pass(Duration::from_millis(200));
    }
    say(&format!("{TASKS} tasks run after {:.1} s", begun.elapsed().as_secs_f64()));
    report(&cluster, &format!("{TASKS} running tasks"))?;
    cluster.stop()
}

/// Lets time pass.
#[expect(
    clippy::disallowed_methods,
    reason = "a span in which nothing is asked of the cluster is what is measured"
)]
fn pass(span: Duration) {
    std::thread::sleep(span);
}

/// Whether every task has its keeper, so that nothing is being started any more.
fn all_run(cluster: &Cluster) -> bool {
    cluster.processes("muster-keeper").len() == TASKS
}

/// One line of what agents and supervisors took over the span.
fn report(cluster: &Cluster, when: &str) -> anyhow::Result<()> {
    let mut words = Vec::new();
    let before: Vec<u64> = daemons(cluster).iter().map(|(_, pid)| ticks(*pid)).collect();
    let begun = Instant::now();
    pass(SPAN);
    let took = begun.elapsed().as_secs_f64();
    let after = daemons(cluster);
    let mut all = 0;
    for ((name, pid), before) in after.iter().zip(before) {
        let used = ticks(*pid).saturating_sub(before);
        all += used;
        #[expect(clippy::cast_precision_loss, reason = "megabytes and ticks for people")]
        words.push(format!(
            "{name} {:.1} MB {:.3} %",
            memory(*pid) as f64 / 1e6,
            used as f64 / TICKS / took * 100.0
        ));
    }
    #[expect(clippy::cast_precision_loss, reason = "ticks for people")]
    let share = all as f64 / TICKS / took * 100.0;
    say(&format!(
        "{when}, {took:.0} s: {share:.3} % of a core for {NODES} nodes together; floor: a tick is {:.3} %; {}",
        100.0 / TICKS / took,
        words.join(", ")
    ));
    Ok(())
}

/// Agents and supervisors by name and process id.
fn daemons(cluster: &Cluster) -> Vec<(&'static str, u32)> {
    let agents = cluster.processes("muster-agent").into_iter().map(|pid| ("agent", pid));
    let supervisors = cluster.processes("muster-supervisor").into_iter().map(|pid| ("supervisor", pid));
    agents.chain(supervisors).collect()
}

/// Processor time of a process so far.
fn ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // After the name come state, parent and so on; user and system time are the 12th and 13th of these.
    let fields = stat.rsplit_once(") ").map(|(_, rest)| rest.to_owned()).unwrap_or_default();
    fields.split(' ').skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum()
}

fn memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()).unwrap_or(0) * 1024
}

//! A local cluster for a chore: `muster dev` in the background and `muster` commands against it.
//!
//! Nothing here knows more than a user: it runs the release binaries, waits for the line that says ready, and reads the
//! environment file. Dropping a cluster stops it.

use crate::run::{capture, cargo, check, target};
use anyhow::{Context, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Builds the release binaries; the folder that holds them.
pub(crate) fn build() -> anyhow::Result<PathBuf> {
    // By name: the tests' packages switch features on that have no place in what users run.
    let packages = ["muster-cli", "muster-controller", "muster-agent", "muster-supervisor"];
    let wanted = packages.iter().flat_map(|package| ["--package", package]);
    check(cargo().args(["build", "--release", "--bins"]).args(wanted))?;
    Ok(target().join("release"))
}

/// A running `muster dev`.
pub(crate) struct Cluster {
    binaries: PathBuf,
    environment: Vec<(String, String)>,
    dev: Child,
}

impl Cluster {
    /// Starts `muster dev` on a folder and waits until it is ready.
    pub(crate) fn start(binaries: &Path, data: &Path, options: &[&str]) -> anyhow::Result<Self> {
        std::fs::create_dir_all(data).with_context(|| format!("cannot make {}", data.display()))?;
        let mut dev = Command::new(binaries.join("muster"))
            .args(["dev", "--listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start muster dev")?;
        let mut cluster = match dev.stdout.take() {
            Some(stdout) => {
                let mut line = String::new();
                let read = BufReader::new(stdout).read_line(&mut line);
                let cluster = Self { binaries: binaries.to_path_buf(), environment: Vec::new(), dev };
                if read.context("muster dev")? == 0 {
                    bail!("muster dev ended before it was ready: see {}", data.join("logs").display());
                }
                cluster
            }
            None => bail!("muster dev has no stdout"),
        };
        cluster.environment = read_environment(&data.join("env"))?;
        Ok(cluster)
    }

    /// A `muster` command against this cluster.
    pub(crate) fn muster(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.binaries.join("muster"));
        command.args(arguments).envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs a `muster` command that must succeed; its stdout.
    pub(crate) fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        capture(&mut self.muster(arguments))
    }

    /// Bytes of memory that the cluster's process of this name has resident now.
    pub(crate) fn memory(&self, name: &str) -> anyhow::Result<u64> {
        let pid = self.process(name)?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
        Ok(kib.with_context(|| format!("/proc/{pid}/status has no VmRSS"))? * 1024)
    }

    /// The first process below `muster dev` of this name.
    fn process(&self, name: &str) -> anyhow::Result<u32> {
        self.processes(name).first().copied().with_context(|| format!("no process '{name}' below muster dev"))
    }

    /// The processes below `muster dev` that have this name, of which the kernel keeps 15 bytes.
    pub(crate) fn processes(&self, name: &str) -> Vec<u32> {
        let (mut open, mut found) = (vec![self.dev.id()], Vec::new());
        while let Some(pid) = open.pop() {
            let own = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            if own.trim_end() == name.get(..15).unwrap_or(name) {
                found.push(pid);
            }
            for thread in std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
                let children = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
                open.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
            }
        }
        found
    }

    /// Stops the cluster as Ctrl-C would and waits until it is gone.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        interrupt(&self.dev)?;
        let status = self.dev.wait().context("muster dev")?;
        if !status.success() {
            bail!("muster dev ended with {status}");
        }
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // After `stop` it has been waited for and this finds nothing to do.
        if matches!(self.dev.try_wait(), Ok(None)) && interrupt(&self.dev).is_ok() {
            let _ = self.dev.wait();
        }
    }
}

fn interrupt(child: &Child) -> anyhow::Result<()> {
    let pid = Pid::from_raw(i32::try_from(child.id()).context("a process id fits an i32")?);
    kill(pid, Signal::SIGINT).context("cannot interrupt muster dev")
}

/// `export NAME=value` lines; values may be quoted.
fn read_environment(path: &Path) -> anyhow::Result<Vec<(String, String)>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let settings = text.lines().filter_map(|line| line.strip_prefix("export ")?.split_once('='));
    Ok(settings.map(|(name, value)| (name.to_owned(), value.trim_matches(['\'', '"']).to_owned())).collect())
}

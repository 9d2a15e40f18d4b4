//! Tests of the supervisor and of the agent's disk limits, run again where there are a whole cgroup v2 tree and quotas.
//!
//! Nothing may be skipped here that this guest was made for.

use anyhow::ensure;
use muster_vm::Site;
use muster_vm::borrowed::{AGENT, CUSTODY, ensure_passed};
use muster_vm::site::MEDIA;
use std::time::Duration;

/// How long all tests of one program may take.
const PROGRAM: Duration = Duration::from_secs(240);

/// The supervisor's tests that look at control groups, at what is counted, and at tasks that misbehave.
const CUSTODY_TESTS: &str = "limits:: hostile:: usage:: ending::";

pub(crate) fn supervisor_keeps_its_limits_on_v2(site: &mut Site) -> anyhow::Result<()> {
    // In a delegated scope, for it makes its groups below its own.
    let run = format!(
        "cd /tmp; systemd-run --quiet --scope --property=Delegate=yes --property=TasksMax=infinity \
         {MEDIA}/tests/{} --test-threads 2 {CUSTODY_TESTS}",
        CUSTODY.name
    );
    let answer = site.guest.run_within(&run, PROGRAM)?;
    eprintln!("                 {} tests of the supervisor", ensure_passed(&answer.said)?);
    Ok(())
}

pub(crate) fn disk_limits_hold_by_every_means_of_this_kernel(site: &mut Site) -> anyhow::Result<()> {
    // Without the right to pass quotas, which tasks do not have either; ext4 lets root pass them.
    let run = format!(
        "cd /tmp; setpriv --bounding-set -sys_resource --inh-caps -sys_resource \
         {MEDIA}/tests/{} --test-threads 2 --nocapture disk::proof",
        AGENT.name
    );
    let answer = site.guest.run_within(&run, PROGRAM)?;
    let count = ensure_passed(&answer.said)?;
    let skipped: Vec<&str> = answer.said.lines().filter(|line| line.contains("skipped: ")).collect();
    ensure!(skipped.is_empty(), "{skipped:?}");
    eprintln!("                 {count} tests of disk limits");
    Ok(())
}

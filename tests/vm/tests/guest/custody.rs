//! Custody under systemd: whatever ends the agent or the supervisor, running tasks go on and are reported once.
//!
//! A task notes its start, waits for a gate, notes its end and exits with a code of its own. Gates and notes lie in the
//! node's shared directory, so nothing depends on how fast the guest is.

use crate::words::ensure_exit_code;
use anyhow::ensure;
use muster_vm::Site;
use muster_vm::site::SHARED;
use serde_json::json;

/// The agent's process, as systemd has it.
const AGENT: &str = "systemctl show -p MainPID --value muster-agent";

/// The supervisor's process: its comm is cut off by the kernel. The keepers of tasks have a name of their own.
const SUPERVISOR: &str = "pgrep -x muster-supervis";

/// A task that is held by a gate.
pub(crate) struct Held {
    id: String,
    code: i64,
}

impl Held {
    /// Starts it and waits until it runs.
    pub(crate) fn start(site: &mut Site, id: &str, code: i64) -> anyhow::Result<Self> {
        let script = format!(
            "cd $AZ_BATCH_NODE_SHARED_DIR; echo begin >> {id}.notes; \
             while [ ! -e {id}.gate ]; do sleep 0.3; done; echo end >> {id}.notes; exit {code}"
        );
        site.start_task(id, &script, &json!({ "constraints": { "max_task_retry_count": 0 } }))?;
        site.guest.wait_for("the task to run", &format!("test -s {SHARED}/{id}.notes"))?;
        Ok(Self { id: id.to_owned(), code })
    }

    /// Lets it end; its own exit code must come, and it must have run once.
    pub(crate) fn finish(self, site: &mut Site) -> anyhow::Result<()> {
        let Self { id, code } = self;
        site.guest.sh(&format!("touch {SHARED}/{id}.gate"))?;
        ensure_exit_code(&site.completed(&id)?, code)?;
        let notes = site.guest.sh(&format!("cat {SHARED}/{id}.notes"))?;
        ensure!(notes == "begin\nend", "task '{id}' has not run once: {notes}");
        Ok(())
    }
}

/// Two tasks run, something happens, the agent is another process afterwards; one task ends then, the other ended
/// while nobody looked.
fn through(site: &mut Site, name: &str, happens: &str, changed: &[&str]) -> anyhow::Result<()> {
    let longer = Held::start(site, &format!("{name}-longer"), 7)?;
    let shorter = Held::start(site, &format!("{name}-shorter"), 8)?;
    let before: Vec<String> = changed.iter().map(|what| site.guest.sh(what)).collect::<Result<_, _>>()?;
    site.guest.sh(&format!("{happens}; touch {SHARED}/{}.gate", shorter.id))?;
    for (what, before) in changed.iter().zip(before) {
        let other =
            format!("now=$({what}) && [ -n \"$now\" ] && [ \"$now\" != 0 ] && [ \"$now\" != '{before}' ]");
        site.guest.wait_for("another process", &other)?;
    }
    shorter.finish(site)?;
    longer.finish(site)?;
    site.still_works(name)
}

pub(crate) fn agent_killed_under_running_tasks_is_restarted_and_takes_them_over(
    site: &mut Site,
) -> anyhow::Result<()> {
    through(site, "agent-killed", &format!("kill -9 $({AGENT})"), &[AGENT])
}

pub(crate) fn supervisor_killed_under_running_tasks_is_replaced_and_their_exit_codes_come(
    site: &mut Site,
) -> anyhow::Result<()> {
    through(site, "supervisor-killed", &format!("kill -9 $({SUPERVISOR})"), &[SUPERVISOR])
}

pub(crate) fn both_killed_at_once_come_back_to_the_running_tasks(site: &mut Site) -> anyhow::Result<()> {
    let both = format!("kill -9 $({AGENT}) $({SUPERVISOR})");
    through(site, "both-killed", &both, &[AGENT, SUPERVISOR])
}

pub(crate) fn agent_restarted_by_systemd_takes_its_tasks_over(site: &mut Site) -> anyhow::Result<()> {
    through(site, "restarted", "systemctl restart muster-agent", &[AGENT])
}

pub(crate) fn upgrade_of_both_programs_leaves_running_tasks_running(site: &mut Site) -> anyhow::Result<()> {
    // As packages do it: another file in the place of the old one, then the service anew.
    let upgrade = "set -e; cd /usr/local/bin; for program in muster-agent muster-supervisor; do \
        cp $program $program.new; mv $program.new $program; done; systemctl restart muster-agent";
    through(site, "upgraded", upgrade, &[AGENT, SUPERVISOR])
}

pub(crate) fn stopping_the_scope_ends_the_tasks_and_the_node_goes_on(site: &mut Site) -> anyhow::Result<()> {
    let scopes =
        "systemctl list-units --plain --no-legend --state=running 'muster-*.scope' | cut -d ' ' -f 1";
    let before = site.guest.sh(scopes)?;
    Held::start(site, "stopped", 0)?;
    site.guest.sh("systemctl stop 'muster-*.scope'")?;
    let shown = site.completed("stopped")?;
    ensure!(shown["execution_info"]["result"] == json!("EXECUTION_RESULT_FAILURE"), "{shown}");
    site.still_works("stopped")?;
    let after = site.guest.sh(scopes)?;
    ensure!(!after.is_empty() && after != before, "scopes before: '{before}', after: '{after}'");
    Ok(())
}

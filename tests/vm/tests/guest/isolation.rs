//! What a task sees and may do on a node that separates as strongly as its kernel can, which is the default.
//!
//! One task looks at everything and says it in lines `name=value`; what it must not see has been put there before.

use crate::custody::Held;
use anyhow::ensure;
use muster_vm::Site;
use muster_vm::site::{ROOT, SHARED};
use serde_json::json;
use std::collections::BTreeMap;

/// Says what it sees. `may` says yes if a command succeeds.
const LOOK_AROUND: &str = r#"
may() { name=$1; shift; if "$@" > /dev/null 2>&1; then echo "$name=yes"; else echo "$name=no"; fi; }
status() { sed -n "s/^$2:[[:space:]]*//p" /proc/self/status | sed "s/^/$1=/"; }
echo user=$(id -u)
status capabilities CapEff
status bounding CapBnd
status no_new_privileges NoNewPrivs
status seccomp Seccomp
echo processes=$(ls -d /proc/[0-9]* | wc -l)
may see_agent grep -l muster-agent /proc/[0-9]*/comm
may see_tmp test -e /tmp/of-the-node
may write_tmp sh -c 'echo own > /tmp/of-the-task'
may write_shm sh -c 'echo own > /dev/shm/of-the-task'
may write_own sh -c 'echo own > own'
may write_shared sh -c 'echo own > $AZ_BATCH_NODE_SHARED_DIR/of-the-task'
may write_usr sh -c 'echo own > /usr/of-the-task'
may write_etc sh -c 'echo own > /etc/of-the-task'
may write_var sh -c 'echo own > /var/of-the-task'
may read_token grep -q . /etc/muster/token
may read_settings grep -q . /etc/muster/agent.toml
may read_state ls ROOT/state
may read_identity sh -c 'find ROOT -name "*.pem" | grep .'
may read_neighbour ls ROOT/batch/workitems/neighbour
may read_disk head -c 1 /dev/nvme0n1
may mount mount -t tmpfs none .
may unshare unshare -U true
may raise_user su -c true
may see_environment sh -c 'env | grep -e MUSTER_AGENT -e INVOCATION_ID -e JOURNAL_STREAM'
may replace_own_directory sh -c 'cd .. && mv wd away && ln -s /etc wd'
"#;

/// What it must have said, but for the numbers.
const WANTED: [(&str, &str); 24] = [
    ("capabilities", "0000000000000000"),
    ("bounding", "0000000000000000"),
    ("no_new_privileges", "1"),
    ("seccomp", "2"),
    ("see_agent", "no"),
    ("see_tmp", "no"),
    ("write_tmp", "yes"),
    ("write_shm", "yes"),
    ("write_own", "yes"),
    ("write_shared", "yes"),
    ("write_usr", "no"),
    ("write_etc", "no"),
    ("write_var", "no"),
    ("read_token", "no"),
    ("read_settings", "no"),
    ("read_state", "no"),
    ("read_identity", "no"),
    ("read_neighbour", "no"),
    ("read_disk", "no"),
    ("mount", "no"),
    ("unshare", "no"),
    ("raise_user", "no"),
    ("see_environment", "no"),
    ("replace_own_directory", "no"),
];

pub(crate) fn task_sees_itself_and_nothing_of_the_node(site: &mut Site) -> anyhow::Result<()> {
    site.guest.sh("echo secret > /tmp/of-the-node; chmod 644 /tmp/of-the-node")?;
    let neighbour = Held::start(site, "neighbour", 0)?;
    let said = site.output("look", &LOOK_AROUND.replace("ROOT", ROOT), &json!({}));
    neighbour.finish(site)?;
    let said = said?;
    let seen: BTreeMap<&str, &str> = said.lines().filter_map(|line| line.split_once('=')).collect();
    let wrong: Vec<_> = WANTED.iter().filter(|(name, value)| seen.get(name) != Some(value)).collect();
    ensure!(wrong.is_empty(), "wanted {wrong:?} in:\n{said}");
    ensure!(seen.get("user").is_some_and(|user| *user != "0"), "it runs as root:\n{said}");
    let processes = seen.get("processes").and_then(|count| count.parse::<u32>().ok()).unwrap_or(u32::MAX);
    // The shell, its substitution and their programs; the node has dozens.
    ensure!(processes <= 6, "it sees {processes} processes:\n{said}");
    let outside =
        "ls /tmp/of-the-task /dev/shm/of-the-task /usr/of-the-task /etc/of-the-task 2> /dev/null | wc -l";
    ensure!(site.guest.sh(outside)? == "0", "what the task wrote is seen outside");
    site.guest.sh(&format!("test -e {SHARED}/of-the-task && rm -f /tmp/of-the-node"))?;
    Ok(())
}

pub(crate) fn daemon_of_a_task_ends_with_it(site: &mut Site) -> anyhow::Result<()> {
    let script =
        "(setsid sh -c 'trap \"\" TERM HUP; setsid sleep 71200 & exec sleep 71200' &) ; sleep 0.5; exit 0";
    site.output("daemon", script, &json!({}))?;
    site.guest.wait_for("the daemon to be gone", "! pgrep -f '[s]leep 71200'").map(drop)
}

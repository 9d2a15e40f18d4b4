//! The node as systemd and `muster node show` have it, and the units as systemd reads them.
//!
//! What the node says that it can enforce is shown by `limits.rs` and `isolation.rs`; here it only must say it. The
//! controller of the host is not touched: the one that is started here is another.

use anyhow::ensure;
use muster_e2e::user::number;
use muster_vm::Site;
use muster_vm::site::POOL;
use serde_json::json;

pub(crate) fn agent_installed_as_a_service_joins_and_says_what_it_can_enforce(
    site: &mut Site,
) -> anyhow::Result<()> {
    let scopes = "systemctl list-units --plain --no-legend --state=running 'muster-*.scope' | wc -l";
    let states = site.guest.sh(&format!("systemctl is-active muster-agent; {scopes}"))?;
    ensure!(states == "active\n1", "the service is not active, or has not one scope: {states}");
    let node = site.node()?;
    ensure!(number(&node, "/capabilities/cgroup_version") == Some(2), "no cgroup v2: {node}");
    for name in ["memory_limit", "cpu_limit", "pids_limit", "io_accounting", "seccomp", "network_isolation"] {
        ensure!(node["capabilities"][name] == json!(true), "the node is not capable of {name}: {node}");
    }
    ensure!(node["capabilities"]["isolation_level"] == json!("ISOLATION_LEVEL_SANDBOX"), "{node}");
    let shown = site.cluster.ok(&["node", "show", POOL, node["id"].as_str().unwrap_or_default()])?;
    for words in ["v2", "sandbox"] {
        ensure!(shown.contains(words), "`muster node show` does not say '{words}':\n{shown}");
    }
    Ok(())
}

pub(crate) fn units_are_written_as_systemd_wants_them(site: &mut Site) -> anyhow::Result<()> {
    let said = site.guest.sh("systemd-analyze verify --man=no /etc/systemd/system/muster-*.service")?;
    ensure!(said.is_empty(), "{said}");
    Ok(())
}

pub(crate) fn controller_runs_under_its_own_unit(site: &mut Site) -> anyhow::Result<()> {
    let settings = "data_dir = \"/var/lib/muster-controller\"\n";
    site.guest.sh(&format!(
        "printf '{settings}' > /etc/muster/controller.toml; chmod 755 /etc/muster; chmod 644 /etc/muster/controller.toml
         systemctl start muster-controller"
    ))?;
    let ready =
        "systemctl is-active muster-controller && test -s /var/lib/private/muster-controller/operator.toml";
    let started = site.guest.wait_for("the controller in the guest", ready);
    let stopped =
        site.guest.sh("systemctl stop muster-controller; rm -rf /var/lib/private/muster-controller");
    started.and(stopped).map(drop)
}

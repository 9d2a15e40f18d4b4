//! What a task can see and do at each level of isolation, as tasks themselves find out: processes, files, users, rights, system
//! calls, network. Each level is the pool's wish; what is in force is shown by `muster node show`.
//!
//! Tasks print `name=value` lines; a test compares them. What this machine's kernel lacks is skipped in words.

use anyhow::{Context, ensure};
use muster_e2e::machine::{Need, has};
use muster_e2e::split::Split;
use muster_e2e::user::{number, script_task, word};
use muster_e2e::wait::SOON;
use muster_e2e::work::{cause, failure_text, with};
use muster_e2e::{Cluster, wait_until};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A cluster whose pool has a level of isolation.
fn level(name: &str) -> anyhow::Result<Split> {
    Cluster::new().pool_flags(&["--isolation", name]).split()
}

/// Runs a script as a task and answers the `name=value` lines that it prints.
fn ask(cluster: &Split, id: &str, script: &str, fields: &Value) -> anyhow::Result<BTreeMap<String, String>> {
    cluster.job(id, &[with(script_task("t", script), fields)])?;
    let shown = cluster.completed(id, "t")?;
    let (said, complained) =
        (cluster.ok(&["task", "logs", id, "t"])?, cluster.ok(&["task", "logs", id, "t", "--stderr"])?);
    ensure!(number(&shown, "/execution_info/exit_code") == Some(0), "{shown}\n{said}\n{complained}");
    let pairs = said.lines().filter_map(|line| line.split_once('='));
    Ok(pairs.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect())
}

/// What every task can say of itself.
const PORTRAIT: &str = r#"
echo uid=$(id -u)
echo groups=$(id -G)
status() { sed -n "s/^$1:[[:space:]]*//p" /proc/self/status; }
echo caps=$(status CapEff)$(status CapBnd)
echo nnp=$(status NoNewPrivs)
echo seccomp=$(status Seccomp)
echo processes=$(ls -d /proc/[0-9]* | wc -l)
echo agents=$(cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\0' '\n' | grep -c 'muster-agent$')
try() { if eval "$2" > /dev/null 2>&1; then echo $1=yes; else echo $1=no; fi; }
try etc 'echo x > /etc/muster-e2e-mark && rm /etc/muster-e2e-mark'
try own 'echo x > mark'
try tmp 'echo x > /tmp/mark'
try shm 'echo x > /dev/shm/mark'
try shared 'echo x > $AZ_BATCH_NODE_SHARED_DIR/mark && rm $AZ_BATCH_NODE_SHARED_DIR/mark'
try disk 'ls /dev/[nsv][vd]*'
try mount 'mount -t tmpfs none /mnt'
try unshare 'unshare --user true'
try core 'test $(ulimit -c) = 0'
echo interfaces=$(ls /sys/class/net 2>/dev/null | wc -l)
"#;

const NOBODYS_CAPS: &str = "00000000000000000000000000000000";

fn ensure_says(said: &BTreeMap<String, String>, wanted: &[(&str, &str)]) -> anyhow::Result<()> {
    for (name, value) in wanted {
        ensure!(said.get(*name).map(String::as_str) == Some(value), "wanted {name}={value}: {said:?}");
    }
    Ok(())
}

#[test]
fn sandbox_is_the_default_and_leaves_a_task_its_own_things_only() -> anyhow::Result<()> {
    if !has("sandbox", &[Need::Root]) {
        return Ok(());
    }
    let cluster = Cluster::new().split()?;
    let node = cluster.list(&["node", "list", "default"])?;
    let id = node[0].pointer("/id").and_then(Value::as_str).context("a node without an id")?;
    let node = cluster.json(&["node", "show", "default", id])?;
    let level = node.pointer("/isolation_level").and_then(Value::as_str).unwrap_or_default();
    if level != "ISOLATION_LEVEL_SANDBOX" {
        eprintln!("skipped: this kernel allows no sandbox: {node}");
        return Ok(());
    }
    let said = ask(&cluster, "who", PORTRAIT, &json!({}))?;
    let wanted = [("caps", NOBODYS_CAPS), ("nnp", "1"), ("agents", "0"), ("etc", "no"), ("own", "yes")];
    ensure_says(&said, &wanted)?;
    let wanted = [("tmp", "yes"), ("shm", "yes"), ("shared", "yes"), ("disk", "no"), ("mount", "no")];
    ensure_says(&said, &wanted)?;
    ensure_says(&said, &[("unshare", "no"), ("core", "yes"), ("seccomp", "2")])?;
    ensure!(said["uid"] != "0" && said["processes"].parse::<u32>()? <= 12, "{said:?}");
    // What ordinary programs need is there.
    let ordinary = "python3 - <<'END'\nimport multiprocessing, tempfile, socket\n\
                    if __name__ == '__main__':\n    with multiprocessing.Pool(2) as pool: print('sum=%d' % sum(pool.map(abs, [-1, 2])))\n\
                    \x20   tempfile.TemporaryFile().write(b'x'); socket.socketpair(); print('files=ok')\nEND\n\
                    cat <(echo subst=ok) 2>/dev/null || bash -c 'cat <(echo subst=ok)'";
    let said =
        ask(&cluster, "ordinary", &format!("bash -c {}", muster_e2e::user::quoted(ordinary)), &json!({}))?;
    ensure_says(&said, &[("sum", "3"), ("files", "ok"), ("subst", "ok")])
}

#[test]
fn process_level_hides_processes_and_other_tasks_and_leaves_the_rest() -> anyhow::Result<()> {
    if !has("process_level", &[Need::Root]) {
        return Ok(());
    }
    let cluster = level("process")?;
    let said = ask(&cluster, "who", PORTRAIT, &json!({}))?;
    ensure_says(
        &said,
        &[("caps", NOBODYS_CAPS), ("nnp", "1"), ("agents", "0"), ("tmp", "yes"), ("own", "yes")],
    )?;
    ensure!(said["processes"].parse::<u32>()? <= 12, "{said:?}");
    ensure!(!std::path::Path::new("/tmp/mark").exists(), "/tmp is the task's own");
    Ok(())
}

#[test]
fn level_none_still_takes_rights_away() -> anyhow::Result<()> {
    if !has("level_none", &[Need::Root]) {
        return Ok(());
    }
    let cluster = level("none")?;
    let said = ask(&cluster, "who", PORTRAIT, &json!({}))?;
    ensure_says(
        &said,
        &[("caps", NOBODYS_CAPS), ("nnp", "1"), ("etc", "no"), ("own", "yes"), ("core", "yes")],
    )?;
    ensure!(said["uid"] != "0", "{said:?}");
    let _ = std::fs::remove_file("/tmp/mark");
    let _ = std::fs::remove_file("/dev/shm/mark");
    Ok(())
}

#[test]
fn agent_s_secrets_and_other_tasks_directories_cannot_be_read() -> anyhow::Result<()> {
    if !has("secrets", &[Need::Root]) {
        return Ok(());
    }
    for name in ["none", "process", "sandbox"] {
        let cluster = level(name)?;
        let own = json!({ "user_identity": { "auto_user": { "scope": "AUTO_USER_SCOPE_TASK" } } });
        let secret = format!(
            "echo secret > private; echo x >> {}; {}",
            cluster.shared("ready"),
            cluster.until_open("gate")
        );
        cluster.job("victim", &[with(script_task("t", &secret), &own)])?;
        cluster.wait_for_lines("ready", 1, SOON)?;
        let root = cluster.agent_root(0);
        let script = format!(
            "look() {{ if eval \"$2\" > /dev/null 2>&1; then echo $1=yes; else echo $1=no; fi; }}\n\
             look victim 'cat {root}/batch/workitems/victim/job-1/t/wd/private'\n\
             look list 'ls {root}/batch/workitems/victim/job-1/t/wd'\n\
             look output 'cat {root}/batch/workitems/victim/job-1/t/stdout.txt'\n\
             look state 'ls {root}/agent || ls {root}/supervisor'\n\
             look key 'find / -name \"*.pem\" -path \"*agent*\" -exec cat {{}} + 2>/dev/null | grep -q PRIVATE'\n\
             look token 'cat {token}'\n\
             look environ 'cat /proc/*/environ 2>/dev/null | tr \"\\0\" \"\\n\" | grep CARGO_MANIFEST_DIR'\n\
             look kill 'kill -0 1'\n",
            root = root.display(),
            token = cluster.path("token-0").display(),
        );
        let said = ask(&cluster, "thief", &script, &own)?;
        let mut wanted =
            vec![("victim", "no"), ("list", "no"), ("output", "no"), ("state", "no"), ("key", "no")];
        wanted.extend([("environ", "no"), ("kill", "no")]);
        if name != "none" {
            wanted.push(("token", "no"));
        }
        ensure_says(&said, &wanted).with_context(|| name.to_owned())?;
        cluster.open("gate")?;
        cluster.wait_for_task("victim", "t", "completed")?;
        // Its user id may be another task's from now on, but not its files.
        let place = root.join("batch/workitems/victim/job-1/t");
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&place)?.permissions());
        ensure!(mode & 0o077 == 0, "{name}: {} has mode {mode:o} after its end", place.display());
    }
    Ok(())
}

#[test]
fn tasks_of_the_scope_task_have_users_of_their_own_and_those_of_the_pool_share_one() -> anyhow::Result<()> {
    if !has("users", &[Need::Root]) {
        return Ok(());
    }
    let cluster =
        Cluster::new().slots(4).pool_flags(&["--user", "ann", "--user", "bob:1900:1901"]).split()?;
    let scope = |scope: &str| json!({ "user_identity": { "auto_user": { "scope": scope } } });
    let named = |name: &str| json!({ "user_identity": { "username": name } });
    let all = [
        ("own1", scope("AUTO_USER_SCOPE_TASK")),
        ("own2", scope("AUTO_USER_SCOPE_TASK")),
        ("pool1", scope("AUTO_USER_SCOPE_POOL")),
        ("pool2", json!({})),
    ];
    let wait = cluster.until_open("gate");
    let script = |id: &str| {
        format!(
            "echo {id} $(id -u) $(id -g) $(id -G | wc -w) $(stat -c %u .) >> {}; {wait}",
            cluster.shared("ids")
        )
    };
    // Whoever comes first makes the file; the others are other users.
    let ids = cluster.file("shared/ids", "")?;
    std::fs::set_permissions(&ids, std::os::unix::fs::PermissionsExt::from_mode(0o666))?;
    let tasks: Vec<Value> =
        all.iter().map(|(id, fields)| with(script_task(id, &script(id)), fields)).collect();
    cluster.job("scopes", &tasks)?;
    cluster.wait_for_lines("ids", 4, SOON)?;
    cluster.open("gate")?;
    cluster.ok(&["job", "wait", "scopes"])?;
    let lines = cluster.shared_lines("ids");
    let line = |id: &str| -> anyhow::Result<Vec<u32>> {
        let found = lines.iter().find_map(|line| line.strip_prefix(&format!("{id} ")));
        Ok(found.context("no line")?.split(' ').map(str::parse).collect::<Result<_, _>>()?)
    };
    let (own1, own2, pool1, pool2) = (line("own1")?, line("own2")?, line("pool1")?, line("pool2")?);
    ensure!(own1[0] != own2[0] && own1[1] != own2[1], "each its own: {lines:?}");
    ensure!(pool1 == pool2 && pool1[0] != own1[0], "the pool's is shared: {lines:?}");
    ensure!(
        [&own1, &own2, &pool1].iter().all(|ids| ids[0] != 0 && ids[2] == 1 && ids[3] == ids[0]),
        "{lines:?}"
    );

    let said = ask(&cluster, "ann", "echo uid=$(id -u)", &named("ann"))?;
    let again = ask(&cluster, "ann-2", "echo uid=$(id -u)", &named("ann"))?;
    ensure!(said["uid"] == again["uid"] && said["uid"] != "0", "a named user is the same each time");
    let said = ask(&cluster, "bob", "echo uid=$(id -u); echo gid=$(id -g)", &named("bob"))?;
    ensure_says(&said, &[("uid", "1900"), ("gid", "1901")])?;
    cluster.ok(&["job", "create", "eve", "--pool", "default"])?;
    let refused = cluster.add_tasks("eve", &[with(script_task("t", "true"), &named("eve"))])?;
    ensure!(!refused.status.success() && refused.err().contains("eve"), "{refused}");
    Ok(())
}

#[test]
fn administrators_are_root_in_their_own_process_tree_where_the_node_allows_them() -> anyhow::Result<()> {
    if !has("admin", &[Need::Root]) {
        return Ok(());
    }
    let admin = json!({ "user_identity": { "auto_user": { "elevation_level": "ELEVATION_LEVEL_ADMIN" } } });
    let cluster = Cluster::new().split()?;
    let mark = cluster.path("by-admin").to_string_lossy().into_owned();
    let script = format!("{PORTRAIT}\necho outside > {mark} 2>/dev/null; true");
    let said = ask(&cluster, "root", &script, &admin)?;
    ensure_says(&said, &[("uid", "0"), ("agents", "0"), ("nnp", "1")])?;
    let strict = Cluster::new().agent_flags(&["--set", "admin_tasks=false"]).split()?;
    strict.job("root", &[with(script_task("t", "id -u"), &admin)])?;
    let shown = strict.completed("root", "t")?;
    ensure!(cause(&shown) == "LAUNCH_FAILED" && failure_text(&shown).contains("admin_tasks"), "{shown}");
    Ok(())
}

#[test]
fn network_can_be_taken_away() -> anyhow::Result<()> {
    if !has("network", &[Need::Root]) {
        return Ok(());
    }
    let cluster = Cluster::new().pool_flags(&["--task-network", "none"]).split()?;
    let script = "echo devices=$(awk -F: 'NR > 2 { gsub(/ /, \"\", $1); print $1 }' /proc/self/net/dev | tr '\\n' ',')\n\
                  python3 -c \"import socket\ns = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen(); c = socket.create_connection(s.getsockname()); print('loopback=ok')\"";
    let said = ask(&cluster, "alone", script, &json!({}))?;
    ensure_says(&said, &[("devices", "lo,"), ("loopback", "ok")])
}

#[test]
fn node_that_cannot_give_what_its_pool_asks_is_unusable_and_says_so() -> anyhow::Result<()> {
    if !has("unavailable", &[Need::Root]) {
        return Ok(());
    }
    // Without root an agent can separate nothing.
    let cluster = Cluster::new().nodes(0).split()?;
    cluster.ok(&["pool", "create", "strict", "--nodes", "1", "--isolation", "sandbox"])?;
    let (root, token) = (cluster.path("weak"), cluster.token("strict", &[])?);
    std::fs::create_dir(&root)?;
    nix::unistd::chown(
        &root,
        Some(nix::unistd::Uid::from_raw(65_534)),
        Some(nix::unistd::Gid::from_raw(65_534)),
    )?;
    let mut command = cluster.agent_command(&root)?;
    command.env("MUSTER_AGENT__TOKEN", token);
    std::os::unix::process::CommandExt::uid(&mut command, 65_534);
    std::os::unix::process::CommandExt::gid(&mut command, 65_534);
    let _agent = muster_e2e::daemon::Daemon::start(&mut command, &cluster.path("logs/weak.log"))?;
    let node = || -> anyhow::Result<Option<Value>> {
        let nodes = cluster.list(&["node", "list", "strict"])?;
        Ok(nodes.into_iter().find(|node| word(node, "/state").as_deref() == Some("unusable")))
    };
    let node = wait_until(SOON, "the node to be unusable", node)?;
    let shown = cluster.ok(&["node", "show", "strict", node["id"].as_str().unwrap_or_default()])?;
    ensure!(shown.contains("isolation unavailable") && shown.contains("sandbox"), "{shown}");
    Ok(())
}

#[test]
fn task_reads_its_own_limits_as_runtimes_do() -> anyhow::Result<()> {
    if !has("own_limits", &[Need::Root, Need::Cgroups]) {
        return Ok(());
    }
    let cluster = Cluster::new().split()?;
    let script = "own() { sed -n \"s/^[0-9]*:$1://p\" /proc/self/cgroup; }\n\
                  if [ -d /sys/fs/cgroup/memory ]; then file=/sys/fs/cgroup/memory$(own memory)/memory.limit_in_bytes\n\
                  else file=/sys/fs/cgroup$(own '')/memory.max; fi\necho limit=$(cat $file)";
    let said = ask(&cluster, "limits", script, &json!({ "resources": { "memory_bytes": 64 << 20 } }))?;
    ensure_says(&said, &[("limit", "67108864")])
}

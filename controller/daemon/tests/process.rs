//! The binary itself: what it says of wrong settings, where it says it is, how it starts again and how it stops.
//!
//! Each test runs processes of its own on free ports below a folder of its own; a process is killed when its test ends,
//! however that ends.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a test has no API, and its helpers fail by panicking as its tests do"
)]

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

/// Far more than a start or a stop takes.
const LIMIT: Duration = Duration::from_secs(60);

fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_muster-controller"));
    command.env_remove("MUSTER_LOG");
    command
}

/// Tries again until there is an answer; a condition has a deadline here and never a fixed wait.
fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < LIMIT, "not in time: {what}");
        std::thread::yield_now();
    }
}

/// A controller that runs; killed when dropped, also by a failed test.
struct Running {
    child: Child,
    ready: serde_json::Value,
}

impl Running {
    fn start(data: &Path, more: &[&str]) -> Self {
        let ready_file = data.with_extension("ready.json");
        // One that an earlier start left is not this one's.
        let _ = std::fs::remove_file(&ready_file);
        let mut child = command(data, &ready_file)
            .args(more)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let text = until("ready", || {
            assert_eq!(child.try_wait().unwrap(), None, "ended before it was ready");
            std::fs::read_to_string(&ready_file).ok()
        });
        Self { child, ready: serde_json::from_str(&text).unwrap() }
    }

    fn field(&self, name: &str) -> String {
        self.ready[name].as_str().unwrap().to_owned()
    }

    fn stop(mut self) -> ExitStatus {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
        until("stopped", || self.child.try_wait().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Already gone after `stop`.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(data: &Path, ready_file: &Path) -> Command {
    let mut command = binary();
    command.args(["--listen", "127.0.0.1:0", "--node-listen", "127.0.0.1:0", "--data-dir"]).arg(data);
    command.arg("--ready-file").arg(ready_file);
    command
}

fn text(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn wrong_settings_are_told_all_at_once_with_their_places() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("c.toml");
    std::fs::write(&file, "listen = '0.0.0.0:1'\nlisten_nodes = 'x'\n").unwrap();
    let output = binary()
        .args(["--check-config", "--lease-ttl", "30", "--config"])
        .arg(&file)
        .env("MUSTER_CONTROLLER__CONNECTIONS_MAX", "0")
        .output()
        .unwrap();
    let (_, said) = text(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    for wanted in [
        "data_dir is required",
        "listen_nodes",
        "c.toml:2",
        "--lease-ttl",
        "MUSTER_CONTROLLER__CONNECTIONS_MAX",
        "names",
    ] {
        assert!(said.contains(wanted), "no '{wanted}' in:\n{said}");
    }
}

#[test]
fn good_settings_are_shown_with_where_they_come_from() {
    let output = binary().args(["--check-config", "--data-dir", "d"]).output().unwrap();
    let (shown, said) = text(&output);
    assert!(output.status.success(), "{said}");
    assert!(shown.contains("data_dir = \"d\"  # --data-dir"), "{shown}");
    assert!(shown.contains("lease_ttl = \"30s\"  # default"), "{shown}");
}

#[test]
fn it_starts_says_where_it_is_stops_and_carries_on_with_the_same_identity() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let first = Running::start(&data, &[]);
    let operator = std::fs::read_to_string(first.field("operator_file")).unwrap();
    assert!(operator.contains(&first.field("endpoint")) && operator.contains("account = \"muster\""));
    let ca = std::fs::read(first.field("ca_cert")).unwrap();
    assert_ne!(first.field("endpoint"), first.field("node_endpoint"));
    assert_eq!(first.stop().code(), Some(0));

    let second = Running::start(&data, &["--log-format", "json"]);
    assert_eq!(std::fs::read(second.field("ca_cert")).unwrap(), ca);
    assert_eq!(std::fs::read_to_string(second.field("operator_file")).unwrap(), operator);
    assert_eq!(second.stop().code(), Some(0));
}

#[test]
fn a_second_controller_on_the_same_folder_is_refused_and_a_kill_leaves_no_lock() {
    let dir = tempfile::tempdir().unwrap();
    let data: PathBuf = dir.path().join("data");
    let mut first = Running::start(&data, &[]);
    let output = command(&data, &dir.path().join("other.json")).output().unwrap();
    let (_, said) = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("another controller (process"), "{said}");
    first.child.kill().unwrap();
    first.child.wait().unwrap();
    let third = Running::start(&data, &[]);
    assert_eq!(third.stop().code(), Some(0));
}

#[test]
fn a_port_that_is_taken_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = binary()
        .args(["--node-listen", "127.0.0.1:0", "--listen", &address, "--data-dir"])
        .arg(dir.path().join("data"))
        .output()
        .unwrap();
    let (_, said) = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("cannot listen on {address}: choose another address")), "{said}");
}

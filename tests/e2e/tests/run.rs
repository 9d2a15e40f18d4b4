//! `muster run`: a command elsewhere that behaves as if it ran here. Streams, exit codes, files, Ctrl-C.
//!
//! Exit codes are compared with what `muster run --help` promises (`exit_code.rs`). What happens to a run when a daemon dies
//! under it is in `crash.rs`.

use anyhow::ensure;
use muster_e2e::exit_code::{RUN_ENDED, RUN_FAILED, RUN_INTERRUPTED, RUN_UNREAD};
use muster_e2e::machine::{self, Need};
use muster_e2e::outcome::{Outcome, run};
use muster_e2e::pipe::Pipe;
use muster_e2e::user::word;
use muster_e2e::wait::{SOON, WORK};
use muster_e2e::{Cluster, User, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::process::{Command, Stdio};

/// Bytes of big output: the figure.
const BIG: usize = 100_000_000;

/// What makes [`BIG`] bytes in which each line is different, so that a lost, doubled or moved part shows.
fn big_output() -> String {
    format!("seq 1 20000000 | head -c {BIG}")
}

fn big_bytes() -> anyhow::Result<Vec<u8>> {
    let made = run(Command::new("/bin/sh").args(["-c", &big_output()]), WORK)?.ok()?.stdout;
    ensure!(made.len() == BIG, "seq made {} bytes", made.len());
    Ok(made)
}

/// Where two texts part, for a message that is not 100 MB long.
fn ensure_same(found: &[u8], wanted: &[u8]) -> anyhow::Result<()> {
    let parts_at = found.iter().zip(wanted).position(|(a, b)| a != b);
    ensure!(
        found == wanted,
        "{} bytes instead of {}; the first that differs is {parts_at:?}",
        found.len(),
        wanted.len()
    );
    Ok(())
}

#[test]
fn hundred_megabytes_of_stdout_arrive_byte_for_byte() -> anyhow::Result<()> {
    let cluster = Cluster::new().dev()?;
    let outcome = cluster.run_script(&[], &big_output())?.ok()?;
    ensure_same(&outcome.stdout, &big_bytes()?)?;
    ensure!(!outcome.err().contains("error"), "{outcome}");
    Ok(())
}

#[test]
fn hundred_megabytes_of_stderr_arrive_byte_for_byte_and_only_there() -> anyhow::Result<()> {
    let cluster = Cluster::new().dev()?;
    let outcome = cluster.run_script(&[], &format!("{{ {}; }} >&2; echo done", big_output()))?.ok()?;
    ensure_same(&outcome.stderr, &big_bytes()?)?;
    assert_eq!(outcome.out(), "done\n");
    Ok(())
}

#[test]
fn exit_code_of_the_command_is_the_exit_code_here() -> anyhow::Result<()> {
    let cluster = Cluster::new().dev()?;
    for code in [0, 1, 2, 42, 255] {
        let outcome =
            cluster.run_script(&[], &format!("echo out; echo err >&2; exit {code}"))?.with_code(code)?;
        assert_eq!(outcome.out(), "out\n", "{outcome}");
        ensure!(outcome.err().starts_with("err\n"), "{outcome}");
    }
    for (name, number) in [("TERM", 15), ("KILL", 9), ("SEGV", 11), ("INT", 2)] {
        cluster.run_script(&[], &format!("kill -{name} $$"))?.with_code(128 + number)?;
    }
    Ok(())
}

#[test]
fn stdin_of_the_task_is_empty_whatever_it_is_here() -> anyhow::Result<()> {
    let cluster = Cluster::new().dev()?;
    // Closed, as under a daemon that has no descriptors at all.
    let closed = ["-c", "exec \"$@\" <&-", "sh"];
    let mut command = Command::new("/bin/sh");
    command.args(closed).arg(cluster.command(&[]).get_program());
    command.args(["run", "--pool", "default", "--", "wc", "-c"]);
    command.envs(cluster.command(&[]).get_envs().filter_map(|(name, value)| Some((name, value?))));
    assert_eq!(run(&mut command, WORK)?.ok()?.out().trim(), "0");
    // A pipe that nobody writes to and nobody closes.
    let (reader, _writer) = std::io::pipe()?;
    let mut command = cluster.command(&["run", "--pool", "default", "--", "wc", "-c"]);
    assert_eq!(run(command.stdin(reader), WORK)?.ok()?.out().trim(), "0");
    Ok(())
}

#[test]
fn what_muster_ended_has_a_code_of_its_own_and_the_cause_in_words() -> anyhow::Result<()> {
    if !machine::has("what_muster_ended", &[Need::Cgroups]) {
        return Ok(());
    }
    let cluster = Cluster::new().dev()?;
    let ended = |options: &[&str], command: &[&str], words: &[&str]| -> anyhow::Result<Outcome> {
        let outcome = cluster.muster(&[&["run", "--pool", "default"], options, &["--"], command].concat())?;
        outcome.refused(RUN_ENDED, words)
    };
    ended(&["--memory", "64M"], &["tail", "/dev/zero"], &["memory", "64"])?;
    ended(&["--timeout", "1s"], &["sleep", "600"], &["time", "1s"])?;
    ended(&[], &["no-such-program-anywhere"], &["no-such-program-anywhere", "not found"])?;
    ended(&[], &["/etc/passwd"], &["/etc/passwd", "execut"])?;
    ended(&[], &["./not-there"], &["./not-there", "not found"])?;
    cluster.still_works()
}

#[test]
fn inputs_go_there_and_outputs_come_back() -> anyhow::Result<()> {
    let cluster = Cluster::new().dev()?;
    cluster.file("tree/a.txt", "first ")?;
    cluster.file("tree/deep/b.txt", "second ")?;
    cluster.file("alone.txt", "third")?;
    let inputs = [
        "--input",
        "tree",
        "--input",
        "tree:sub/tree",
        "--input",
        "alone.txt",
        "--input",
        "alone.txt:in/c.txt",
    ];
    let outputs = ["--output", "*.out", "--output", "more/*", "--output-dir", "back"];
    let script = "cat a.txt sub/tree/deep/b.txt in/c.txt > all.out && cmp alone.txt in/c.txt && cmp deep/b.txt sub/tree/deep/b.txt \
                  && mkdir more && echo 4 > more/d && echo no > left";
    cluster.run_script(&[&inputs[..], &outputs].concat(), script)?.ok()?;
    assert_eq!(std::fs::read_to_string(cluster.path("back/all.out"))?, "first second third");
    assert_eq!(std::fs::read_to_string(cluster.path("back/more/d"))?, "4\n");
    ensure!(!cluster.path("back/left").exists(), "only what was asked for comes back");
    ensure!(!cluster.path("back/a.txt").exists(), "inputs stay where they are");

    let outcome = cluster.muster(&["run", "--pool", "default", "--input", "nowhere.txt", "--", "true"])?;
    outcome.refused(RUN_FAILED, &["nowhere.txt"])?;
    cluster.muster(&["run", "--pool", "nowhere", "--", "true"])?.refused(RUN_FAILED, &["nowhere", "pool"])?;
    Ok(())
}

#[test]
fn reader_that_goes_away_ends_the_run_without_noise() -> anyhow::Result<()> {
    let cluster = Cluster::new().dev()?;
    let mut command = cluster.command(&["run", "--pool", "default", "--", "seq", "1", "3000000"]);
    let (reader, writer) = std::io::pipe()?;
    let mut child = command.stdout(writer).stderr(Stdio::piped()).spawn()?;
    // The command's own copy of the writing end would keep the pipe open.
    drop(command);
    let stderr = Pipe::read(child.stderr.take());
    let mut head = Command::new("head").arg("-1").stdin(reader).stdout(Stdio::piped()).spawn()?;
    let first = Pipe::read(head.stdout.take()).all(WORK)?;
    head.wait()?;
    let status = wait_until(WORK, "the end of a run without a reader", || Ok(child.try_wait()?))?;
    let said = String::from_utf8_lossy(&stderr.all(SOON)?).into_owned();
    assert_eq!(first, b"1\n");
    ensure!(!said.contains("panicked") && status.code() == Some(RUN_UNREAD), "{status}: {said}");
    cluster.still_works()
}

/// Starts a run that goes on until it is ended, as a shell does: in a process group of its own.
fn endless(cluster: &User) -> anyhow::Result<(std::process::Child, Pipe, Pipe)> {
    use std::os::unix::process::CommandExt;
    let mut command =
        cluster.command(&["run", "--pool", "default", "--", "/bin/sh", "-c", "echo begun; exec sleep 600"]);
    let mut child = command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (stdout, stderr) = (Pipe::read(child.stdout.take()), Pipe::read(child.stderr.take()));
    let begun = wait_until(WORK, "the task to begin", || Ok(stdout.has("begun").then_some(())));
    if begun.is_err() {
        child.kill()?;
    }
    begun.map(|()| (child, stdout, stderr))
}

#[test]
fn ctrl_c_asks_once_and_ends_the_task_the_second_time() -> anyhow::Result<()> {
    let cluster = Cluster::new().dev()?;
    let (mut child, _stdout, stderr) = endless(&cluster)?;
    let group = Pid::from_raw(-i32::try_from(child.id())?);
    kill(group, Signal::SIGINT)?;
    wait_until(SOON, "the question", || Ok(stderr.has("again").then_some(())))?;
    ensure!(child.try_wait()?.is_none(), "one Ctrl-C only asks");
    kill(group, Signal::SIGINT)?;
    let status = wait_until(SOON, "the end after the second Ctrl-C", || Ok(child.try_wait()?))?;
    let said = String::from_utf8_lossy(&stderr.all(SOON)?).into_owned();
    assert_eq!(status.code(), Some(RUN_INTERRUPTED), "{said}");
    let job = only_job(&cluster)?;
    let shown = cluster.json(&["task", "show", &job, "main"])?;
    assert_eq!(word(&shown, "/state").as_deref(), Some("completed"), "{shown}");
    let cause = shown.pointer("/execution_info/failure_info/cause").and_then(serde_json::Value::as_str);
    assert_eq!(cause, Some("FAILURE_CAUSE_TERMINATED"), "{shown}");
    Ok(())
}

#[test]
fn sigterm_ends_the_task_at_once() -> anyhow::Result<()> {
    let cluster = Cluster::new().dev()?;
    let (mut child, _stdout, stderr) = endless(&cluster)?;
    kill(Pid::from_raw(i32::try_from(child.id())?), Signal::SIGTERM)?;
    let status = wait_until(SOON, "the end after SIGTERM", || Ok(child.try_wait()?))?;
    let said = String::from_utf8_lossy(&stderr.all(SOON)?).into_owned();
    assert_eq!(status.code(), Some(128 + 15), "{said}");
    assert_eq!(cluster.task_state(&only_job(&cluster)?, "main")?, "completed");
    Ok(())
}

/// The job that `muster run` made for itself.
fn only_job(cluster: &User) -> anyhow::Result<String> {
    let jobs = cluster.list(&["job", "list"])?;
    let ids: Vec<&str> = jobs.iter().filter_map(|job| job.get("id")?.as_str()).collect();
    ensure!(ids.len() == 1, "wanted one job: {ids:?}");
    Ok(ids[0].to_owned())
}

//! Streams of tasks: as long as one likes, each task once whatever breaks in between, and refusals told line by line.
//!
//! The test feeds `muster task add --file -` by hand, so that the controller dies in a known place of the stream.

use anyhow::{Context, ensure};
use muster_e2e::exit_code::PARTLY;
use muster_e2e::pipe::Pipe;
use muster_e2e::wait::{SOON, WORK, when};
use muster_e2e::work::counts;
use muster_e2e::{Cluster, User, wait_until};
use serde_json::json;
use std::io::Write;
use std::ops::Range;
use std::process::{Child, ChildStdin, Stdio};

/// A running `muster task add JOB --file -`.
struct Stream {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Pipe,
    stderr: Pipe,
}

impl Stream {
    fn open(cluster: &User, job: &str) -> anyhow::Result<Self> {
        Self::open_with(cluster, job, &[])
    }

    fn open_with(cluster: &User, job: &str, options: &[&str]) -> anyhow::Result<Self> {
        let mut command = cluster.command(&[&["task", "add", job, "--file", "-"], options].concat());
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let (stdin, stdout) = (child.stdin.take(), Pipe::read(child.stdout.take()));
        let stderr = Pipe::read(child.stderr.take());
        Ok(Self { child, stdin, stdout, stderr })
    }

    fn write(&mut self, numbers: Range<usize>) -> anyhow::Result<()> {
        let lines =
            numbers.map(|id| json!({ "id": id.to_string(), "command_line": "/bin/true" }).to_string() + "\n");
        self.write_text(&lines.collect::<String>())
    }

    fn write_text(&mut self, text: &str) -> anyhow::Result<()> {
        let stdin = self.stdin.as_mut().context("the stream is closed")?;
        stdin
            .write_all(text.as_bytes())
            .with_context(|| String::from_utf8_lossy(&self.stderr.so_far()).into_owned())
    }

    /// Closes the stream: its exit code, and all that it said.
    fn close(mut self) -> anyhow::Result<(Option<i32>, String)> {
        drop(self.stdin.take());
        let ended = wait_until(WORK, "the end of the stream", || Ok(self.child.try_wait()?));
        if ended.is_err() {
            self.child.kill()?;
        }
        let (out, err) = (self.stdout.all(SOON)?, self.stderr.all(SOON)?);
        let said = String::from_utf8_lossy(&[out, err].concat()).into_owned();
        Ok((ended.context(said.clone())?.code(), said))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // A test that failed must not leave the writer behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn stream_goes_on_where_it_was_when_the_controller_is_killed_under_it() -> anyhow::Result<()> {
    const PART: usize = 2_500;
    let mut cluster = Cluster::new().nodes(0).split()?;
    cluster.ok(&["job", "create", "many", "--pool", "default"])?;
    let mut stream = Stream::open(&cluster, "many")?;
    let there = |cluster: &User| -> anyhow::Result<u64> { Ok(cluster.counts("many")?.active) };
    for part in 0..3 {
        let before = there(&cluster)?;
        stream.write(part * PART..(part + 1) * PART)?;
        wait_until(SOON, "some of this part to be acknowledged", || Ok(when(there(&cluster)? > before)))?;
        cluster.kill_controller()?;
        cluster.start_controller()?;
    }
    stream.write(3 * PART..4 * PART)?;
    let (code, said) = stream.close()?;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(cluster.counts("many")?, counts(4 * PART as u64, 0, 0, 0), "{said}");
    ensure!(said.contains(&(4 * PART).to_string()), "it says how many it added: {said}");
    let listed = cluster.list(&["task", "list", "many", "--select", "id"])?;
    let mut numbers: Vec<usize> =
        listed.iter().filter_map(|task| task.get("id")?.as_str()?.parse().ok()).collect();
    numbers.sort_unstable();
    ensure!(numbers.into_iter().eq(0..4 * PART), "each task once");
    Ok(())
}

#[test]
fn client_that_was_killed_goes_on_with_the_name_of_its_stream() -> anyhow::Result<()> {
    const ALL: usize = 3_500;
    let cluster = Cluster::new().nodes(0).dev()?;
    cluster.ok(&["job", "create", "many", "--pool", "default"])?;
    let named = ["--stream-id", "monday"];
    let mut stream = Stream::open_with(&cluster, "many", &named)?;
    stream.write(0..ALL - 1000)?;
    wait_until(SOON, "some tasks", || Ok(when(cluster.counts("many")?.active > 0)))?;
    // Killed with a part of its lines sent, a part acknowledged and a part unread.
    drop(stream);
    let before = cluster.counts("many")?.active;
    ensure!(before < ALL as u64, "all {before} are there already");
    let mut stream = Stream::open_with(&cluster, "many", &named)?;
    stream.write(0..ALL)?;
    let (code, said) = stream.close()?;
    assert_eq!(code, Some(0), "what was added before is no mistake: {said}");
    assert_eq!(cluster.counts("many")?, counts(ALL as u64, 0, 0, 0), "{said}");
    Ok(())
}

#[test]
fn refusals_of_a_stream_are_told_by_line_before_and_after_a_broken_connection() -> anyhow::Result<()> {
    let mut cluster = Cluster::new().nodes(0).split()?;
    cluster.ok(&["job", "create", "mixed", "--pool", "default"])?;
    let mut stream = Stream::open(&cluster, "mixed")?;
    stream.write(0..999)?;
    // Line 1000 is taken; line 1001 is no JSON; the rest of the first chunks is good.
    stream.write(5..6)?;
    stream.write_text("{\"id\": \n")?;
    stream.write(1000..2500)?;
    wait_until(SOON, "the first tasks", || Ok(when(cluster.counts("mixed")?.active > 0)))?;
    cluster.kill_controller()?;
    cluster.start_controller()?;
    stream.write(2500..2600)?;
    stream.write_text("{\"id\": \"a b\", \"command_line\": \"true\"}\n\n{\"id\": \"x\"}\n")?;
    let (code, said) = stream.close()?;
    assert_eq!(code, Some(PARTLY), "{said}");
    for (line, words) in [(1000, "'5'"), (1001, ""), (2602, "a b"), (2604, "command_line")] {
        let told: Vec<&str> = said.lines().filter(|text| text.contains(&format!("line {line}"))).collect();
        ensure!(told.len() == 1 && told[0].contains(words), "line {line} with '{words}' once: {said}");
    }
    assert_eq!(said.matches("line ").count(), 4, "{said}");
    assert_eq!(cluster.counts("mixed")?, counts(2599, 0, 0, 0), "{said}");
    Ok(())
}

#[test]
fn tasks_of_a_stream_run_while_it_is_still_open() -> anyhow::Result<()> {
    let cluster = Cluster::new().dev()?;
    cluster.ok(&["job", "create", "live", "--pool", "default"])?;
    let mut stream = Stream::open(&cluster, "live")?;
    stream.write(0..1000)?;
    wait_until(SOON, "the first tasks to complete", || Ok(when(cluster.counts("live")?.succeeded > 0)))?;
    stream.write(1000..1001)?;
    let (code, said) = stream.close()?;
    assert_eq!(code, Some(0), "{said}");
    cluster.ok(&["job", "terminate", "live"]).map(drop)
}

//! Who uses a cluster: `muster` commands with the cluster's environment, files to give and to get, and the API.
//!
//! Goes in: the words of a command. Comes out: how it ended. Nothing here knows how the cluster was started.

use crate::api::{Access, Api};
use crate::outcome::{Outcome, run};
use crate::wait::{SOON, WORK, wait_until, when};
use anyhow::{Context, ensure};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// A user of a cluster.
#[derive(Debug)]
pub struct User {
    pub(crate) binaries: PathBuf,
    pub(crate) folder: PathBuf,
    pub(crate) environment: BTreeMap<String, String>,
}

impl User {
    /// A `muster` command against the cluster, with an empty stdin and in the cluster's folder.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.binaries.join("muster"));
        let outer = std::env::vars_os().map(|(name, _)| name);
        for name in outer.filter(|name| name.to_string_lossy().starts_with("MUSTER_")) {
            command.env_remove(name);
        }
        command.args(arguments).envs(&self.environment).current_dir(&self.folder).stdin(Stdio::null());
        command
    }

    /// Runs a `muster` command to its end.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn muster(&self, arguments: &[&str]) -> anyhow::Result<Outcome> {
        run(&mut self.command(arguments), WORK)
    }

    /// Runs a `muster` command that must succeed; its stdout.
    ///
    /// # Errors
    /// With everything it said, when it fails.
    pub fn ok(&self, arguments: &[&str]) -> anyhow::Result<String> {
        Ok(self.muster(arguments)?.ok()?.out())
    }

    /// Runs a `muster` command that must succeed with `-o json`; what it answers.
    ///
    /// # Errors
    /// When it fails or answers something else.
    pub fn json(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        self.muster(&[&["-o", "json"], arguments].concat())?.ok()?.json()
    }

    /// Runs a `muster` command that lists things, with `-o json`; the things, whether they come as one array or one a line.
    ///
    /// # Errors
    /// When it fails or answers something else.
    pub fn list(&self, arguments: &[&str]) -> anyhow::Result<Vec<Value>> {
        let listed = self.ok(&[&["-o", "json"], arguments].concat())?;
        let mut found = Vec::new();
        for value in serde_json::Deserializer::from_str(&listed).into_iter::<Value>() {
            let value = value.with_context(|| format!("not JSON: {listed}"))?;
            match value.as_array() {
                Some(values) => found.extend_from_slice(values),
                None => found.push(value),
            }
        }
        Ok(found)
    }

    /// Runs a command as a task of the pool `default` and waits for it; how `muster run` ended.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn run(&self, command: &[&str]) -> anyhow::Result<Outcome> {
        self.muster(&[&["run", "--pool", "default", "--"], command].concat())
    }

    /// Runs a script with `/bin/sh -c` as [`User::run`] does, with options of `muster run` before it.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn run_script(&self, options: &[&str], script: &str) -> anyhow::Result<Outcome> {
        self.muster(&[&["run", "--pool", "default"], options, &["--", "/bin/sh", "-c", script]].concat())
    }

    /// Requires that the cluster still does what it is for.
    ///
    /// # Errors
    /// When a simple task does not succeed.
    pub fn still_works(&self) -> anyhow::Result<()> {
        self.run(&["true"])?.ok().context("the cluster no longer runs tasks")?;
        Ok(())
    }

    /// The state of a task, in the reference's word.
    ///
    /// # Errors
    /// When there is no such task.
    pub fn task_state(&self, job: &str, task: &str) -> anyhow::Result<String> {
        let shown = self.json(&["task", "show", job, task])?;
        word(&shown, "/state").with_context(|| format!("a task without a state: {shown}"))
    }

    /// Waits until a task is in a state.
    ///
    /// # Errors
    /// When it does not get there in time.
    pub fn wait_for_task(&self, job: &str, task: &str, state: &str) -> anyhow::Result<()> {
        let what = format!("task '{task}' of job '{job}' to be {state}");
        wait_until(SOON, &what, || Ok(when(self.task_state(job, task)? == state)))
    }

    /// Creates a job in the pool `default` and adds tasks to it, each a JSON object as `task add --file` takes it.
    ///
    /// # Errors
    /// When the job or a task is refused.
    pub fn job(&self, job: &str, tasks: &[Value]) -> anyhow::Result<()> {
        self.ok(&["job", "create", job, "--pool", "default"])?;
        self.add_tasks(job, tasks)?.ok().map(drop)
    }

    /// Adds tasks to a job with `task add --file`; how that ended.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn add_tasks(&self, job: &str, tasks: &[Value]) -> anyhow::Result<Outcome> {
        let lines: Vec<String> = tasks.iter().map(Value::to_string).collect();
        let path = self.file(&format!("{job}.jsonl"), lines.join("\n"))?;
        self.muster(&["task", "add", job, "--file", &path])
    }

    /// Makes a file in the cluster's folder; its path.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> anyhow::Result<String> {
        let path = self.folder.join(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path.to_string_lossy().into_owned())
    }

    /// The cluster's folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The path of a file in the cluster's folder, whether it exists or not.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The path of a file in the folder that every task may write to.
    #[must_use]
    pub fn shared(&self, name: &str) -> String {
        self.folder.join("shared").join(name).to_string_lossy().into_owned()
    }

    /// The lines of a file in the shared folder; none if it does not exist.
    #[must_use]
    pub fn shared_lines(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.folder.join("shared").join(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Waits until a file in the shared folder has `count` lines.
    ///
    /// # Errors
    /// When it has not, in time.
    pub fn wait_for_lines(&self, name: &str, count: usize, deadline: Duration) -> anyhow::Result<()> {
        let what = format!("{count} lines in the shared file '{name}'");
        wait_until(deadline, &what, || Ok(when(self.shared_lines(name).len() >= count)))
    }

    /// The path of one of the programs under test.
    #[must_use]
    pub fn binary(&self, name: &str) -> String {
        self.binaries.join(name).to_string_lossy().into_owned()
    }

    /// One of the settings that a user exports.
    ///
    /// # Errors
    /// When the cluster did not give it.
    pub fn setting(&self, name: &str) -> anyhow::Result<&str> {
        self.environment.get(name).map(String::as_str).with_context(|| format!("the cluster gave no {name}"))
    }

    /// The API as this user sees it.
    ///
    /// # Errors
    /// When the cluster's settings cannot be used.
    pub fn api(&self) -> anyhow::Result<Api> {
        let access = Access {
            endpoint: self.setting("MUSTER_ENDPOINT")?.to_owned(),
            ca_cert: fs::read(self.setting("MUSTER_CA_CERT")?)?,
            bearer: Some(crate::api::bearer(self.setting("MUSTER_ACCOUNT")?, self.setting("MUSTER_KEY")?)?),
            identity: None,
        };
        Api::connect(access)
    }

    /// Reads `export NAME=value` lines, as the shell would.
    pub(crate) fn read_environment(path: &Path) -> anyhow::Result<BTreeMap<String, String>> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let pairs = text.lines().filter_map(|line| line.strip_prefix("export ")?.split_once('='));
        let found: BTreeMap<String, String> = pairs
            .map(|(name, value)| (name.to_owned(), value.trim_matches(['\'', '"']).to_owned()))
            .collect();
        ensure!(!found.is_empty(), "{} exports nothing:\n{text}", path.display());
        Ok(found)
    }
}

/// The number at a pointer of a JSON value.
#[must_use]
pub fn number(value: &Value, pointer: &str) -> Option<i64> {
    value.pointer(pointer)?.as_i64()
}

/// A task with a script for `/bin/sh -c`, as `task add --file` takes it.
#[must_use]
pub fn script_task(id: &str, script: &str) -> Value {
    json!({ "id": id, "command_line": format!("/bin/sh -c {}", quoted(script)) })
}

/// A text as one word of a command line.
#[must_use]
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// A text of a JSON value by its pointer, in the reference's spelling: without an enum's prefix, in lower case.
#[must_use]
pub fn word(value: &Value, pointer: &str) -> Option<String> {
    let text = value.pointer(pointer)?.as_str()?.to_lowercase();
    Some(text.rsplit("_state_").next().unwrap_or_default().replace('_', ""))
}

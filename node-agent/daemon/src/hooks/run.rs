//! Runs one of the operator's commands and says why the machine did not go down.
//!
//! It waits and decides nothing: whether tasks are still held is the core's to know before, what an error means the health
//! module's afterwards. The environment starts empty, like that of tasks.
//! Invariant: the command is never ended by the agent, also when its time is up.

use muster_model::Timestamp;
use muster_model::node::NodeError;
use muster_runtime::clock;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::process::Command;

/// PATH of the commands: where a Linux system keeps its programs.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The operator's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HookSettings {
    /// Words of the command that restarts the machine.
    pub(crate) reboot: Option<Vec<String>>,
    /// Words of the command that sets it up anew.
    pub(crate) reimage: Option<Vec<String>>,
    /// How long it may take until the machine goes down.
    pub(crate) time_limit: Duration,
}

/// The commands and what they are told.
#[derive(Debug, Clone)]
pub(crate) struct Hooks {
    settings: Arc<HookSettings>,
    variables: Arc<[(&'static str, String)]>,
    log: PathBuf,
}

/// Why the machine was not restarted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HookError {
    #[error("the agent's settings name no command for it: set {key}")]
    Missing { key: &'static str },
    #[error("{key}: cannot start {program}: {cause}")]
    Start {
        key: &'static str,
        program: String,
        #[source]
        cause: io::Error,
    },
    #[error("{key}: {program} ended with {status}; what it said is in {log}", log = log.display())]
    Failed { key: &'static str, program: String, status: ExitStatus, log: PathBuf },
    #[error("{key}: the machine is still up {limit:?} after {program} was started; what it said is in {log}", log = log.display())]
    Overdue { key: &'static str, program: String, limit: Duration, log: PathBuf },
}

impl HookError {
    /// What is told of the node.
    pub(crate) fn node_error(&self, reimage: bool) -> NodeError {
        let what = if reimage { "set up anew" } else { "restarted" };
        NodeError {
            code: NodeError::RESTART_FAILED.to_owned(),
            message: format!("the machine was to be {what} and was not: {self}"),
            details: Vec::new(),
            time: Timestamp::from_micros(clock::wall_us()),
        }
    }
}

impl Hooks {
    /// The commands, with variables for them. `log` is the file that takes what they say.
    pub(crate) fn new(
        settings: HookSettings,
        variables: impl IntoIterator<Item = (&'static str, String)>,
        log: PathBuf,
    ) -> Self {
        Self { settings: Arc::new(settings), variables: variables.into_iter().collect(), log }
    }

    /// Restarts the machine, or sets it up anew. Comes back only if that failed.
    pub(crate) async fn run(&self, reimage: bool) -> HookError {
        let (key, words) = if reimage {
            ("hooks.reimage", &self.settings.reimage)
        } else {
            ("hooks.reboot", &self.settings.reboot)
        };
        let Some((program, arguments)) = words.as_ref().and_then(|words| words.split_first()) else {
            return HookError::Missing { key };
        };
        let start = |cause| HookError::Start { key, program: program.clone(), cause };
        let mut child =
            match self.command(reimage, program, arguments).and_then(|mut command| command.spawn()) {
                Ok(child) => child,
                Err(cause) => return start(cause),
            };
        tracing::info!(key, program, pid = child.id(), "restarting the machine by the operator's command");
        let limit = self.settings.time_limit;
        let overdue = tokio::time::sleep(limit);
        tokio::pin!(overdue);
        tokio::select! {
            ended = child.wait() => match ended {
                Ok(status) if status.success() => {}
                Ok(status) => {
                    let (program, log) = (program.clone(), self.log.clone());
                    return HookError::Failed { key, program, status, log };
                }
                Err(cause) => return start(cause),
            },
            () = &mut overdue => {
                return HookError::Overdue { key, program: program.clone(), limit, log: self.log.clone() };
            }
        }
        // The command has asked somebody else to do it, who needs a while.
        overdue.await;
        HookError::Overdue { key, program: program.clone(), limit, log: self.log.clone() }
    }

    fn command(&self, reimage: bool, program: &str, arguments: &[String]) -> io::Result<Command> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .env("PATH", PATH)
            .env("MUSTER_HOOK", if reimage { "reimage" } else { "reboot" })
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .kill_on_drop(false);
        Ok(command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hooks(folder: &tempfile::TempDir, line: &[&str], time_limit: Duration) -> Hooks {
        let words = line.iter().map(|word| (*word).to_owned()).collect();
        let settings = HookSettings { reboot: Some(words), reimage: None, time_limit };
        let variables = [("MUSTER_NODE_ID", "n-1".to_owned())];
        Hooks::new(settings, variables, folder.path().join("hook.log"))
    }

    #[tokio::test]
    async fn a_command_that_fails_is_named_with_its_status_and_its_words_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let line = ["sh", "-c", "echo $MUSTER_NODE_ID $MUSTER_HOOK; env | wc -l; exit 3"];
        let error = hooks(&folder, &line, Duration::from_secs(60)).run(false).await;
        let error = error.node_error(false);
        assert_eq!(error.code, NodeError::RESTART_FAILED);
        for words in ["restarted and was not", "hooks.reboot", "exit status: 3", "hook.log"] {
            assert!(error.message.contains(words), "{words}: {}", error.message);
        }
        let log = std::fs::read_to_string(folder.path().join("hook.log")).unwrap();
        let lines: Vec<_> = log.lines().collect();
        assert_eq!(lines.first(), Some(&"n-1 reboot"));
        let count: u32 = lines[1].trim().parse().unwrap();
        assert!(count <= 6, "the agent's environment leaks into hooks: {log}");
    }

    #[tokio::test]
    async fn a_machine_that_stays_up_is_told_of() {
        let folder = tempfile::tempdir().unwrap();
        for line in [["true"].as_slice(), &["sleep", "2"]] {
            let error = hooks(&folder, line, Duration::from_millis(50)).run(false).await;
            assert!(matches!(error, HookError::Overdue { .. }), "{error}");
        }
    }

    #[tokio::test]
    async fn what_is_not_configured_or_not_there_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let hooks = hooks(&folder, &["/no/such/program"], Duration::from_secs(1));
        assert!(matches!(hooks.run(true).await, HookError::Missing { key: "hooks.reimage" }));
        assert!(matches!(hooks.run(false).await, HookError::Start { .. }));
    }
}

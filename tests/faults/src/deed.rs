//! What a task is to do, so that it can be known afterwards whether it did: how long it runs, how it exits, what it writes.
//!
//! Goes out: a task of the API whose command is the program `labour`. The checker knows a task by its deed alone.

use muster_proto::wire;
use std::time::Duration;

/// What a task does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deed {
    /// How long it runs, in milliseconds.
    pub span_ms: u64,
    /// How it exits, each time.
    pub exit_code: u8,
    /// Its `max_task_retry_count`: 0 means that it starts at most once.
    pub retries: u8,
    /// Whether it writes an output file, which names the life that wrote it.
    pub writes: bool,
}

/// The file that a task writes.
pub const OUTPUT: &str = "result.txt";

/// How a task exits whose output file could not be written.
pub const CANNOT_WRITE_OUTPUT: u8 = 98;

impl Deed {
    /// What its output file holds when one life of it wrote that.
    #[must_use]
    pub fn output(job: &str, task: &str, attempt: u32, life: &str) -> String {
        format!("{job} {task} {attempt} {life}\n")
    }

    /// The task of the API, of a site whose tasks begin with `labour`.
    #[must_use]
    pub fn task(self, labour: &str, job: &str, id: &str) -> wire::Task {
        let output = wire::OutputFile {
            file_pattern: OUTPUT.to_owned(),
            destination: Some(wire::output_file::Destination::FileStore(wire::FileStorePath {
                container: format!("out-{job}"),
                path: format!("{id}/{OUTPUT}"),
            })),
            upload_condition: wire::UploadCondition::TaskCompletion.into(),
        };
        let constraints = wire::TaskConstraints {
            max_task_retry_count: Some(i32::from(self.retries)),
            ..Default::default()
        };
        wire::Task {
            id: id.to_owned(),
            command_line: self.command_line(labour),
            constraints: Some(constraints),
            output_files: if self.writes { vec![output] } else { Vec::new() },
            ..Default::default()
        }
    }

    /// The command line.
    #[must_use]
    pub fn command_line(self, labour: &str) -> String {
        let file = if self.writes { OUTPUT } else { "-" };
        format!("{labour} {} {} {file}", self.span_ms, self.exit_code)
    }

    /// How long it runs.
    #[must_use]
    pub fn span(self) -> Duration {
        Duration::from_millis(self.span_ms)
    }
}

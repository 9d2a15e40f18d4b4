//! Logging for a daemon or a tool: which events, in which form, to which place.
//!
//! It is set up once, in `main`. It never decides what is worth logging, holds no metrics, and no secret can
//! pass through it, because `Secret` has no content in its `Debug` form.
//!
//! Invariant: standard output belongs to the program's results; logs go to standard error or to a file.

mod apart;

pub use apart::LogThread;

use std::fs::{File, OpenOptions};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde::Deserialize;
use tracing::Dispatch;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

/// The environment variable that overrides the level of the settings, in the same grammar.
pub const LEVEL_VARIABLE: &str = "MUSTER_LOG";

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// `human` when standard error is a terminal and no file is given, else `compact`.
    #[default]
    Auto,
    /// Coloured, for eyes.
    Human,
    /// One line for each event, without colour.
    Compact,
    /// One JSON object for each event, for a collector.
    Json,
}

/// The settings of logging. Meant to be the `[log]` section of a daemon's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogSettings {
    /// A level (`error`, `warn`, `info`, `debug`, `trace`), or directives for single targets such as
    /// `info,muster_agent::staging=debug`. Default `info`.
    pub level: String,
    /// The form of a line. Default `auto`.
    pub format: LogFormat,
    /// A file to append to instead of standard error. It is created with mode 0640; its folder must exist.
    pub file: Option<PathBuf>,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::default(), file: None }
    }
}

/// Why logging cannot start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The level is not a filter.
    #[error("log level '{level}' is not a filter; write a level such as 'info', or 'info,target=debug'")]
    Level {
        /// The level as given.
        level: String,
        /// What is wrong in it.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// The file cannot be opened.
    #[error("cannot open the log file {path}; its folder must exist and be writable")]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The thread for the log cannot be started.
    #[error("cannot start the thread that writes the log")]
    Thread {
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Logging was started before in this process.
    #[error("logging is already set up in this process; start it once, in main")]
    Twice,
}

/// Sets logging up for the whole process and makes panics an `error` event in the same form. The level in
/// `MUSTER_LOG`, when set and not empty, goes before the settings'.
///
/// # Errors
/// When the level cannot be read, the file cannot be opened, or logging was already set up.
pub fn start(settings: &LogSettings) -> Result<(), TelemetryError> {
    let writer = match &settings.file {
        Some(path) => BoxMakeWriter::new(Mutex::new(open(path)?)),
        None => BoxMakeWriter::new(std::io::stderr),
    };
    install(settings, writer)
}

/// The same for a process that must never wait for its log: lines are written by a thread, and left out when it cannot keep up.
///
/// # Errors
/// As [`start`], and when there is no thread to be had.
pub fn start_apart(settings: &LogSettings) -> Result<LogThread, TelemetryError> {
    let place: Box<dyn std::io::Write + Send> = match &settings.file {
        Some(path) => Box::new(open(path)?),
        None => Box::new(std::io::stderr()),
    };
    let (lines, thread) = apart::Lines::begin(place).map_err(|source| TelemetryError::Thread { source })?;
    install(settings, BoxMakeWriter::new(move || lines.clone()))?;
    Ok(thread)
}

fn install(settings: &LogSettings, writer: BoxMakeWriter) -> Result<(), TelemetryError> {
    let variable = std::env::var(LEVEL_VARIABLE).ok().filter(|level| !level.is_empty());
    let dispatch = build(settings, variable.as_deref(), writer)?;
    tracing::dispatcher::set_global_default(dispatch).map_err(|_| TelemetryError::Twice)?;
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let words = panic.payload_as_str().unwrap_or("no message");
        tracing::error!(place, words, "a thread panicked: this is a defect of Muster");
    }));
    Ok(())
}

/// The subscriber that is installed.
fn build(
    settings: &LogSettings,
    level_override: Option<&str>,
    writer: BoxMakeWriter,
) -> Result<Dispatch, TelemetryError> {
    let level = level_override.unwrap_or(&settings.level);
    let filter = EnvFilter::try_new(level)
        .map_err(|source| TelemetryError::Level { level: level.to_owned(), source })?;
    let on_terminal = settings.file.is_none() && std::io::stderr().is_terminal();
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    Ok(match settings.format {
        LogFormat::Auto if on_terminal => Dispatch::new(subscriber.with_ansi(true).finish()),
        LogFormat::Human => Dispatch::new(subscriber.with_ansi(on_terminal).finish()),
        LogFormat::Auto | LogFormat::Compact => Dispatch::new(subscriber.with_ansi(false).compact().finish()),
        LogFormat::Json => Dispatch::new(subscriber.json().flatten_event(true).finish()),
    })
}

fn open(path: &Path) -> Result<File, TelemetryError> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o640)
        .open(path)
        .map_err(|source| TelemetryError::Open { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Logs one event of each level below `settings` and gives back what reached the file.
    fn logged(format: LogFormat, level: &str, level_override: Option<&str>) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("daemon.log");
        let settings = LogSettings { level: level.to_owned(), format, file: Some(path.clone()) };
        let writer = BoxMakeWriter::new(Mutex::new(open(&path).unwrap()));
        let dispatch = build(&settings, level_override, writer).unwrap();
        tracing::dispatcher::with_default(&dispatch, || {
            tracing::info!(node = "n1", "joined");
            tracing::debug!("detail");
        });
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn json_lines_carry_fields_by_name() {
        let text = logged(LogFormat::Json, "info", None);
        let event: serde_json::Value = serde_json::from_str(text.trim_end()).unwrap();
        assert_eq!((event["level"].as_str(), event["node"].as_str()), (Some("INFO"), Some("n1")));
        assert_eq!(event["message"], "joined");
    }

    #[test]
    fn level_of_the_variable_goes_before_the_setting() {
        assert!(!logged(LogFormat::Compact, "info", None).contains("detail"));
        assert!(logged(LogFormat::Compact, "info", Some("debug")).contains("detail"));
        assert!(logged(LogFormat::Compact, "info", Some("warn")).is_empty());
    }

    #[test]
    fn file_output_has_no_colour_codes() {
        for format in [LogFormat::Auto, LogFormat::Human, LogFormat::Compact] {
            let text = logged(format, "info", None);
            assert!(text.contains("joined") && !text.contains('\u{1b}'), "{format:?}: {text}");
        }
    }

    #[test]
    fn bad_level_and_unwritable_file_are_named() {
        let bad = LogSettings { level: "muster=loud".to_owned(), ..LogSettings::default() };
        assert!(start(&bad).unwrap_err().to_string().contains("muster=loud"));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("absent/daemon.log");
        let lost = LogSettings { file: Some(path.clone()), ..LogSettings::default() };
        assert!(start(&lost).unwrap_err().to_string().contains(&path.display().to_string()));
    }

    #[test]
    fn settings_refuse_unknown_keys_and_default_to_info() {
        assert_eq!(toml::from_str::<LogSettings>("").unwrap(), LogSettings::default());
        assert!(toml::from_str::<LogSettings>("levle = 'info'").is_err());
        assert_eq!(toml::from_str::<LogSettings>("format = 'json'").unwrap().format, LogFormat::Json);
    }
}

//! One task from one line of JSON, cheaply: files of tasks have a million lines.
//!
//! The usual fields are read straight into the message. A line that has anything else in it (another field, a mistake, an
//! unusual way to write a value) is read again by `json.rs`, which knows every field from the descriptors and says what is
//! wrong; so there is one grammar, and this file is only its short way.
//!
//! Invariant: what the short way takes, the long way takes too, and reads the same.  [both_ways_read_the_same]

use muster_proto::wire;
use prost_types::Duration;
use serde::{Deserialize, Deserializer};

use crate::json::{JsonError, from_text};

/// Reads a task.
///
/// # Errors
/// [`JsonError`] says where and what.
pub(crate) fn task_from_line(line: &str) -> Result<wire::Task, JsonError> {
    match serde_json::from_str::<Usual>(line) {
        Ok(usual) => Ok(usual.into()),
        Err(_unusual) => from_text(line),
    }
}

/// The usual fields of a task.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Usual {
    #[serde(default)]
    id: String,
    #[serde(default, alias = "displayName")]
    display_name: String,
    #[serde(default, alias = "commandLine")]
    command_line: String,
    #[serde(default, alias = "resourceFiles")]
    resource_files: Vec<ResourceFile>,
    #[serde(default, alias = "outputFiles")]
    output_files: Vec<OutputFile>,
    #[serde(default, alias = "environmentSettings")]
    environment_settings: Vec<Setting>,
    #[serde(default, alias = "affinityId")]
    affinity_id: String,
    #[serde(default, deserialize_with = "there")]
    constraints: Option<Constraints>,
    #[serde(default, alias = "requiredSlots")]
    required_slots: u32,
    #[serde(default, deserialize_with = "there")]
    resources: Option<Resources>,
    #[serde(default, alias = "dependsOn", deserialize_with = "there")]
    depends_on: Option<DependsOn>,
    #[serde(default, alias = "userIdentity", deserialize_with = "there")]
    user_identity: Option<NamedUser>,
}

/// A user of the pool; automatic users are read the long way.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NamedUser {
    username: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Setting {
    #[serde(default)]
    name: String,
    #[serde(default)]
    value: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StorePath {
    #[serde(default)]
    container: String,
    #[serde(default)]
    path: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ResourceFile {
    #[serde(alias = "fileStore")]
    file_store: StorePath,
    #[serde(default, alias = "filePath")]
    file_path: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OutputFile {
    #[serde(default, alias = "filePattern")]
    file_pattern: String,
    #[serde(alias = "fileStore")]
    file_store: StorePath,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Constraints {
    #[serde(default, alias = "maxWallClockTime", deserialize_with = "whole_seconds")]
    max_wall_clock_time: Option<Duration>,
    #[serde(default, alias = "retentionTime", deserialize_with = "whole_seconds")]
    retention_time: Option<Duration>,
    #[serde(default, alias = "maxTaskRetryCount", deserialize_with = "there")]
    max_task_retry_count: Option<i32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Resources {
    #[serde(default, alias = "cpuMillis")]
    cpu_millis: u64,
    #[serde(default, alias = "memoryBytes")]
    memory_bytes: u64,
    #[serde(default, alias = "diskBytes")]
    disk_bytes: u64,
    #[serde(default, alias = "pidsMax")]
    pids_max: u32,
    #[serde(default)]
    gpus: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DependsOn {
    #[serde(default, alias = "taskIds")]
    task_ids: Vec<String>,
}

/// A value that is there: `null` is not usual.
fn there<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// A span of whole seconds without a sign: `"3600s"`. At most nine digits, which is within what a span may be.
fn whole_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let unusual = || serde::de::Error::custom("not whole seconds");
    let text = String::deserialize(deserializer)?;
    let digits = text.strip_suffix('s').ok_or_else(unusual)?;
    if !(1..=9).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(unusual());
    }
    let seconds = digits.parse().map_err(|_| unusual())?;
    Ok(Some(Duration { seconds, nanos: 0 }))
}

impl From<StorePath> for wire::FileStorePath {
    fn from(StorePath { container, path }: StorePath) -> Self {
        Self { container, path }
    }
}

impl From<Usual> for wire::Task {
    fn from(usual: Usual) -> Self {
        let resource_file = |file: ResourceFile| wire::ResourceFile {
            source: Some(wire::resource_file::Source::FileStore(file.file_store.into())),
            file_path: file.file_path,
            ..Default::default()
        };
        let output_file = |file: OutputFile| wire::OutputFile {
            file_pattern: file.file_pattern,
            destination: Some(wire::output_file::Destination::FileStore(file.file_store.into())),
            ..Default::default()
        };
        let setting = |Setting { name, value }| wire::EnvironmentSetting { name, value };
        Self {
            id: usual.id,
            display_name: usual.display_name,
            command_line: usual.command_line,
            resource_files: usual.resource_files.into_iter().map(resource_file).collect(),
            output_files: usual.output_files.into_iter().map(output_file).collect(),
            environment_settings: usual.environment_settings.into_iter().map(setting).collect(),
            affinity_id: usual.affinity_id,
            constraints: usual.constraints.map(|given| wire::TaskConstraints {
                max_wall_clock_time: given.max_wall_clock_time,
                retention_time: given.retention_time,
                max_task_retry_count: given.max_task_retry_count,
                on_out_of_memory: None,
            }),
            required_slots: usual.required_slots,
            resources: usual.resources.map(|given| wire::ResourceRequests {
                cpu_millis: given.cpu_millis,
                memory_bytes: given.memory_bytes,
                disk_bytes: given.disk_bytes,
                pids_max: given.pids_max,
                gpus: given.gpus,
                ..Default::default()
            }),
            depends_on: usual
                .depends_on
                .map(|given| wire::TaskDependencies { task_ids: given.task_ids, ..Default::default() }),
            user_identity: usual.user_identity.map(|given| wire::UserIdentity {
                user: Some(wire::user_identity::User::Username(given.username)),
            }),
            ..Default::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: [&str; 13] = [
        r#"{"id": "t", "command_line": "/bin/echo \"\u00e9\" \ud83d\ude00"}"#,
        r#"{"commandLine": "x", "displayName": "y", "requiredSlots": 4294967295, "affinityId": "n"}"#,
        r#"{"environment_settings": [{"name": "A", "value": "1"}, {"name": "B"}]}"#,
        r#"{"resources": {}}"#,
        r#"{"resources": {"cpu_millis": 1500, "memoryBytes": 18446744073709551615, "disk_bytes": 1, "pids_max": 2, "gpus": 3}}"#,
        r#"{"constraints": {}}"#,
        r#"{"constraints": {"max_wall_clock_time": "3600s", "retentionTime": "000000000s", "max_task_retry_count": -1}}"#,
        r#"{"constraints": {"max_wall_clock_time": "999999999s", "max_task_retry_count": 0}}"#,
        r#"{"resource_files": [{"file_store": {"container": "c", "path": "p"}, "file_path": "d/p"}]}"#,
        r#"{"output_files": [{"file_pattern": "*.png", "fileStore": {"container": "c"}}]}"#,
        r#"{"depends_on": {"task_ids": ["a", "b"]}, "required_slots": 0}"#,
        r#"{"user_identity": {"username": "ann"}, "id": "1"}"#,
        "{}",
    ];

    #[test]
    fn both_ways_read_the_same() {
        for line in USUAL {
            let short: wire::Task = serde_json::from_str::<Usual>(line).expect(line).into();
            assert_eq!(short, from_text(line).unwrap(), "{line}");
        }
        // Each text with a part changed: the short way may give up, but not differ.
        let changes =
            [("\"", "'"), (": ", ": null, \"x\": "), ("1", "1.5"), ("1", "-1"), ("s\"", "\""), ("9", "99")];
        let more =
            [("{", "{\"id\": \"a\", \"id\": \"b\","), ("{", "{\"state\": 1, "), ("}", "}}"), ("0", "\"0\"")];
        for line in USUAL {
            for (part, other) in changes.iter().chain(&more) {
                for changed in [line.replace(part, other), line.replacen(part, other, 1)] {
                    if let Ok(short) = serde_json::from_str::<Usual>(&changed) {
                        let long: wire::Task = from_text(&changed).expect(&changed);
                        assert_eq!(wire::Task::from(short), long, "{changed}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_unusual_is_read_the_long_way() {
        for line in [
            r#"{"id": null, "required_slots": "7", "resources": {"named": {"licence": 1}}}"#,
            r#"{"constraints": {"max_wall_clock_time": "1.5s"}}"#,
            r#"{"resource_files": [{"http_url": "https://h/a", "file_path": "a"}]}"#,
            r#"{"depends_on": {"task_id_globs": ["frame-*"]}}"#,
            r#"{"user_identity": {"auto_user": {"scope": "AUTO_USER_SCOPE_TASK"}}}"#,
        ] {
            assert!(serde_json::from_str::<Usual>(line).is_err(), "{line}");
            assert_eq!(task_from_line(line).unwrap(), from_text(line).unwrap());
        }
        let error = task_from_line(r#"{"id": "t", "comand_line": "x"}"#).unwrap_err().to_string();
        assert!(error.contains("comand_line"), "{error}");
    }
}

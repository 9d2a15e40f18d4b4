//! The API's messages as JSON, with the field names of the .proto files.
//!
//! It is the protobuf JSON form: enums by name, timestamps as RFC 3339, spans as "3600s", bytes as base64; field names
//! stay in snake_case and 64-bit numbers are numbers. Reading takes camelCase names too and refuses unknown ones. The
//! descriptors that the API answers to reflection drive both ways, so no message has a second definition here.

use std::sync::OnceLock;

use muster_proto::{FILE_DESCRIPTOR_SET, wire};
use prost::Message;
use prost_reflect::{
    DescriptorPool, DeserializeOptions, DynamicMessage, MessageDescriptor, SerializeOptions,
};
use serde_json::Value;

/// A message that has a JSON form here.
pub trait Json: Message + Default {
    /// Its full name in the package.
    const NAME: &'static str;
}

macro_rules! json {
    ($($message:ident)+) => { $(impl Json for wire::$message { const NAME: &'static str = concat!("muster.v1.", stringify!($message)); })+ };
}

json! {
    Account AccountKeys CreateAccountResponse GetVersionResponse
    Pool PoolNodeCounts JoinToken CreateJoinTokenResponse ComputeNode
    Job TaskCounts TaskCountsReport Task TaskAddResult TaskAttempt Sweep
    ExplainJobResponse ExplainTaskResponse JobPreparationAndReleaseTaskStatus
    Container FileInfo NodeFile OutputManifestEntry
}

/// Why a text is not a message.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// It is not JSON, or not of this message's form.
    #[error("{0}")]
    Syntax(#[source] serde_json::Error),
    /// More follows after the message.
    #[error("{0}; write one object on each line")]
    Trailing(#[source] serde_json::Error),
    /// The descriptors of the API, which are part of this program, do not fit it.
    #[error("{name} is not described; this program was not built as a whole")]
    Undescribed {
        /// The message.
        name: &'static str,
    },
}

/// The descriptor of a message. The set is read once, when the first JSON is wanted.
fn descriptor(name: &'static str) -> Result<MessageDescriptor, JsonError> {
    static POOL: OnceLock<Option<DescriptorPool>> = OnceLock::new();
    POOL.get_or_init(|| DescriptorPool::decode(FILE_DESCRIPTOR_SET).ok())
        .as_ref()
        .and_then(|pool| pool.get_message_by_name(name))
        .ok_or(JsonError::Undescribed { name })
}

/// A message as a JSON value. Fields that are unset, or have their type's zero, are left out.
///
/// # Errors
/// [`JsonError`], only if this program was built from parts that do not fit.
pub fn to_value<M: Json>(message: &M) -> Result<Value, JsonError> {
    let undescribed = || JsonError::Undescribed { name: M::NAME };
    let dynamic = DynamicMessage::decode(descriptor(M::NAME)?, message.encode_to_vec().as_slice())
        .map_err(|_| undescribed())?;
    let options = SerializeOptions::new().use_proto_field_name(true).stringify_64_bit_integers(false);
    dynamic.serialize_with_options(serde_json::value::Serializer, &options).map_err(JsonError::Syntax)
}

/// Reads a message from JSON. Unknown fields are refused by name.
///
/// # Errors
/// [`JsonError`] says where and what.
pub fn from_text<M: Json>(text: &str) -> Result<M, JsonError> {
    let descriptor = descriptor(M::NAME)?;
    let mut reader = serde_json::Deserializer::from_str(text);
    let options = DeserializeOptions::new().deny_unknown_fields(true);
    let dynamic = DynamicMessage::deserialize_with_options(descriptor, &mut reader, &options)
        .map_err(JsonError::Syntax)?;
    reader.end().map_err(JsonError::Trailing)?;
    dynamic.transcode_to().map_err(|_| JsonError::Undescribed { name: M::NAME })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_reads_with_the_names_of_the_proto_file() {
        let text = r#"{"id": "t1", "command_line": "/bin/true", "required_slots": 2,
            "resources": {"memory_bytes": 536870912},
            "constraints": {"max_wall_clock_time": "90s", "max_task_retry_count": -1},
            "resource_files": [{"file_store": {"container": "in", "path": "a"}, "file_path": "a"}],
            "output_files": [{"file_pattern": "*.png", "file_store": {"container": "out"},
                              "upload_condition": "UPLOAD_CONDITION_TASK_SUCCESS"}]}"#;
        let task: wire::Task = from_text(text).unwrap();
        assert_eq!((task.id.as_str(), task.required_slots), ("t1", 2));
        assert_eq!(task.resources.as_ref().unwrap().memory_bytes, 536_870_912);
        let constraints = task.constraints.as_ref().unwrap();
        assert_eq!(constraints.max_wall_clock_time.unwrap().seconds, 90);
        assert_eq!(constraints.max_task_retry_count, Some(-1));
        assert_eq!(task.output_files[0].upload_condition(), wire::UploadCondition::TaskSuccess);
        let shown = to_value(&task).unwrap();
        assert_eq!(shown["resources"]["memory_bytes"], 536_870_912);
        assert_eq!(shown["constraints"]["max_wall_clock_time"], "90s");
        assert!(shown.get("job_id").is_none());
        assert_eq!(from_text::<wire::Task>(&shown.to_string()).unwrap(), task);
    }

    #[test]
    fn mistakes_are_refused_in_words() {
        for (text, part) in [
            (r#"{"id": "t", "comand_line": "x"}"#, "comand_line"),
            (r#"{"id": 7}"#, "string"),
            (r#"{"id": "t"} {"id": "u"}"#, "one object on each line"),
            (r#"{"state": "TASK_STATE_NOPE"}"#, "TASK_STATE_NOPE"),
            (r#"[1]"#, "map"),
            (r#"{"id": "#, "EOF"),
        ] {
            let error = from_text::<wire::Task>(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn every_listed_message_is_described() {
        assert!(to_value(&wire::Pool::default()).unwrap().as_object().unwrap().is_empty());
        assert!(to_value(&wire::CreateJoinTokenResponse::default()).is_ok());
        assert!(to_value(&wire::OutputManifestEntry::default()).is_ok());
        assert!(to_value(&wire::GetVersionResponse::default()).is_ok());
    }
}

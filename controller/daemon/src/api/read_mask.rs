//! Read masks: which fields of an answer the caller wants to have.
//!
//! A mask is a list of dotted field paths; `*` or nothing means the default. It is checked against the message's own
//! description (the descriptor set that the reflection service answers), and carried out on the encoded message: what
//! is not named is left out. So every message has masks without a line of code of its own.

use muster_proto::FILE_DESCRIPTOR_SET;
use muster_proto::convert::status;
use muster_proto::wire::ErrorReason;
use prost::Message;
use prost::bytes::Buf;
use prost::encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint};
use prost_types::field_descriptor_proto::Type;
use prost_types::{DescriptorProto, FieldMask, FileDescriptorSet};
use std::collections::BTreeMap;
use std::sync::LazyLock;
use tonic::{Code, Status};

/// The most paths of a mask: no message has more fields.
const PATHS_MAX: usize = 100;

/// The deepest path: no message is nested deeper.
const DEPTH_MAX: usize = 8;

/// One field of a message, as a mask needs it.
#[derive(Debug, Clone)]
struct FieldInfo {
    number: u32,
    /// The message that it holds, for paths that go on.
    message: Option<String>,
}

/// The fields of every message of the API, by message and name.
static MESSAGES: LazyLock<BTreeMap<String, BTreeMap<String, FieldInfo>>> = LazyLock::new(|| {
    // The bytes come from this very build; if they did not decode, every mask would be refused as unknown.
    let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap_or_default();
    let mut messages = BTreeMap::new();
    for file in &set.file {
        for message in &file.message_type {
            messages.insert(format!(".{}.{}", file.package(), message.name()), fields_of(message));
        }
    }
    messages
});

fn fields_of(message: &DescriptorProto) -> BTreeMap<String, FieldInfo> {
    let info = |field: &prost_types::FieldDescriptorProto| {
        let number = u32::try_from(field.number()).ok()?;
        let message = (field.r#type() == Type::Message).then(|| field.type_name().to_owned());
        Some((field.name().to_owned(), FieldInfo { number, message }))
    };
    message.field.iter().filter_map(info).collect()
}

/// The fields that are wanted: numbers, and for each either the whole field or a selection within it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Selection(BTreeMap<u32, Option<Selection>>);

/// A checked mask for messages of one type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ReadMask {
    selection: Option<Selection>,
    paths: Vec<String>,
}

impl ReadMask {
    /// Checks a mask for the message `muster.v1.<message>`.
    pub(super) fn of(mask: Option<FieldMask>, message: &'static str) -> Result<Self, Status> {
        let paths = mask.map(|mask| mask.paths).unwrap_or_default();
        if paths.is_empty() || paths.iter().any(|path| path == "*") {
            return Ok(Self { selection: None, paths });
        }
        if paths.len() > PATHS_MAX {
            let given = paths.len();
            return Err(refused(format!("read_mask has {given} paths: at most {PATHS_MAX} are allowed")));
        }
        let mut selection = Selection::default();
        for path in &paths {
            select(&mut selection, &format!(".muster.v1.{message}"), path, message)?;
        }
        Ok(Self { selection: Some(selection), paths })
    }

    /// Whether the mask names this top-level field (or everything, by `*`). False for an empty mask.
    pub(super) fn names(&self, field: &str) -> bool {
        self.paths.iter().any(|path| path == "*" || path.split('.').next() == Some(field))
    }

    /// The message with the wanted fields alone.
    pub(super) fn apply<M: Message + Default>(&self, message: M) -> M {
        let Some(selection) = &self.selection else { return message };
        let encoded = message.encode_to_vec();
        let mut kept = Vec::with_capacity(encoded.len());
        if copy_selected(&encoded, selection, &mut kept).is_none() {
            // Our own encoding always walks; answering more than was wanted is the harmless way out.
            return message;
        }
        M::decode(kept.as_slice()).unwrap_or(message)
    }
}

fn refused(words: String) -> Status {
    status(Code::InvalidArgument, ErrorReason::InvalidPropertyValue, words)
}

fn select(selection: &mut Selection, message: &str, path: &str, root: &'static str) -> Result<(), Status> {
    let mut here = selection;
    let mut message = message.to_owned();
    let names: Vec<&str> = path.split('.').collect();
    let shown: String = path.chars().take(80).collect();
    if names.len() > DEPTH_MAX {
        return Err(refused(format!(
            "read_mask path {shown:?} is deeper than {DEPTH_MAX} levels: name a field of {root}"
        )));
    }
    for (depth, name) in names.iter().enumerate() {
        let fields = MESSAGES.get(&message);
        let Some(field) = fields.and_then(|fields| fields.get(*name)) else {
            let known = fields.map(|fields| fields.keys().cloned().collect::<Vec<_>>().join(", "));
            let known = known.unwrap_or_else(|| "no field: it has none".to_owned());
            return Err(refused(format!(
                "read_mask path {shown:?} names no field of {root}: at '{name}' use one of {known}"
            )));
        };
        if depth + 1 == names.len() {
            here.0.insert(field.number, None);
            return Ok(());
        }
        let Some(inner) = &field.message else {
            return Err(refused(format!(
                "read_mask path {shown:?} goes on below '{name}', which has no fields: end it there"
            )));
        };
        message.clone_from(inner);
        match here.0.entry(field.number).or_insert_with(|| Some(Selection::default())) {
            // The whole field is wanted already.
            None => return Ok(()),
            Some(below) => here = below,
        }
    }
    Ok(())
}

/// Copies the selected fields of an encoded message; `None` when the bytes are not a message.
fn copy_selected(mut from: &[u8], selection: &Selection, to: &mut Vec<u8>) -> Option<()> {
    while from.has_remaining() {
        let (number, kind) = decode_key(&mut from).ok()?;
        let value = take_value(&mut from, kind)?;
        match selection.0.get(&number) {
            None => {}
            Some(Some(below)) if kind == WireType::LengthDelimited => {
                let mut inner = Vec::with_capacity(value.len());
                copy_selected(value, below, &mut inner)?;
                encode_key(number, kind, to);
                encode_varint(u64::try_from(inner.len()).ok()?, to);
                to.extend_from_slice(&inner);
            }
            Some(None | Some(_)) => {
                encode_key(number, kind, to);
                if kind == WireType::LengthDelimited {
                    encode_varint(u64::try_from(value.len()).ok()?, to);
                }
                to.extend_from_slice(value);
            }
        }
    }
    Some(())
}

/// The bytes of one value, without the length in front.
fn take_value<'a>(from: &mut &'a [u8], kind: WireType) -> Option<&'a [u8]> {
    let length = match kind {
        WireType::Varint => {
            let mut rest = *from;
            decode_varint(&mut rest).ok()?;
            from.len() - rest.len()
        }
        WireType::SixtyFourBit => 8,
        WireType::ThirtyTwoBit => 4,
        WireType::LengthDelimited => usize::try_from(decode_varint(from).ok()?).ok()?,
        // proto3 has no groups.
        WireType::StartGroup | WireType::EndGroup => return None,
    };
    let (value, rest) = from.split_at_checked(length)?;
    *from = rest;
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_proto::wire;

    fn mask(paths: &[&str]) -> Option<FieldMask> {
        Some(FieldMask { paths: paths.iter().map(ToString::to_string).collect() })
    }

    fn task() -> wire::Task {
        wire::Task {
            job_id: "film".into(),
            id: "f1".into(),
            required_slots: 3,
            resource_files: vec![
                wire::ResourceFile { file_path: "a".into(), file_mode: "0600".into(), ..Default::default() },
                wire::ResourceFile { file_path: "b".into(), ..Default::default() },
            ],
            execution_info: Some(wire::TaskExecutionInfo {
                exit_code: Some(-7),
                retry_count: 2,
                failure_info: Some(wire::FailureInfo {
                    message: "m".into(),
                    code: "c".into(),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    #[test]
    fn only_what_is_named_is_kept_also_deep_inside() {
        let paths = [
            "id",
            "execution_info.exit_code",
            "execution_info.failure_info.message",
            "resource_files.file_path",
        ];
        let kept = ReadMask::of(mask(&paths), "Task").unwrap().apply(task());
        let failure = wire::FailureInfo { message: "m".into(), ..Default::default() };
        let expected = wire::Task {
            id: "f1".into(),
            resource_files: vec![
                wire::ResourceFile { file_path: "a".into(), ..Default::default() },
                wire::ResourceFile { file_path: "b".into(), ..Default::default() },
            ],
            execution_info: Some(wire::TaskExecutionInfo {
                exit_code: Some(-7),
                failure_info: Some(failure),
                ..Default::default()
            }),
            ..Default::default()
        };
        assert_eq!(kept, expected);
    }

    #[test]
    fn nothing_and_a_star_keep_everything_and_a_whole_field_wins_over_its_parts() {
        for all in [None, mask(&[]), mask(&["*"]), mask(&["*", "nonsense"])] {
            assert_eq!(ReadMask::of(all, "Task").unwrap().apply(task()), task());
        }
        for both in
            [["execution_info", "execution_info.exit_code"], ["execution_info.exit_code", "execution_info"]]
        {
            let kept = ReadMask::of(mask(&both), "Task").unwrap().apply(task());
            assert_eq!(kept.execution_info, task().execution_info);
        }
    }

    #[test]
    fn paths_that_lead_nowhere_are_refused_with_the_fields_that_there_are() {
        let words = |path: &str| ReadMask::of(mask(&[path]), "Task").unwrap_err().message().to_owned();
        assert!(words("nmae").contains("\"nmae\"") && words("nmae").contains("display_name"));
        assert!(words("id.x").contains("has no fields"));
        assert!(words("execution_info.nope").contains("exit_code"));
        assert!(words("").contains("display_name"));
        assert!(ReadMask::of(mask(&["id"; 101]), "Task").is_err());
        assert!(ReadMask::of(mask(&[&["execution_info"; 9].join(".")]), "Task").is_err());
    }

    #[test]
    fn a_mask_knows_the_costly_fields_that_it_names() {
        let named = ReadMask::of(mask(&["stdout.head", "id"]), "Task").unwrap();
        assert!(named.names("stdout") && !named.names("stderr"));
        assert!(!ReadMask::of(None, "Task").unwrap().names("stdout"));
        assert!(ReadMask::of(mask(&["*"]), "Task").unwrap().names("stdout"));
    }
}

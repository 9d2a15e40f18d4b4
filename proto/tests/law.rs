//! The law of the wire, checked on the descriptor set that the reflection service serves.
//!
//! Everything has a comment; enums start with UNSPECIFIED and carry their name; every mutation has a request id; every list
//! has pages. A new message that forgets one of these fails here, not in review.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use muster_proto::FILE_DESCRIPTOR_SET;
use prost::Message;
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet};

/// Calls that change something for a client or an operator. (Node agents' calls have their own rules.)
const MUTATION_VERBS: [&str; 16] = [
    "Create",
    "Update",
    "Delete",
    "Regenerate",
    "Resize",
    "StopResize",
    "Revoke",
    "Remove",
    "Disable",
    "Enable",
    "Reboot",
    "Reimage",
    "Terminate",
    "Reactivate",
    "BatchCreate",
    "Link",
];

fn files() -> Vec<FileDescriptorProto> {
    let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
    set.file.into_iter().filter(|file| file.package() == "muster.v1").collect()
}

fn messages() -> BTreeMap<String, DescriptorProto> {
    let all = files().into_iter().flat_map(|file| file.message_type);
    all.map(|message| (message.name().to_owned(), message)).collect()
}

fn has_field(message: &DescriptorProto, name: &str) -> bool {
    message.field.iter().any(|field| field.name() == name)
}

/// Paths of all elements of a file that need a comment, with a name for each.
fn elements(file: &FileDescriptorProto) -> Vec<(Vec<i32>, String)> {
    let number = |n: usize| i32::try_from(n).unwrap();
    let mut found = Vec::new();
    for (m, message) in file.message_type.iter().enumerate() {
        found.push((vec![4, number(m)], message.name().to_owned()));
        for (f, field) in message.field.iter().enumerate() {
            found.push((vec![4, number(m), 2, number(f)], format!("{}.{}", message.name(), field.name())));
        }
        for (o, oneof) in message.oneof_decl.iter().enumerate() {
            // `optional` fields are oneofs of one that have no place in the file.
            if !oneof.name().starts_with('_') {
                found
                    .push((vec![4, number(m), 8, number(o)], format!("{}.{}", message.name(), oneof.name())));
            }
        }
    }
    for (e, kind) in file.enum_type.iter().enumerate() {
        found.push((vec![5, number(e)], kind.name().to_owned()));
        for (v, value) in kind.value.iter().enumerate() {
            found.push((vec![5, number(e), 2, number(v)], value.name().to_owned()));
        }
    }
    for (s, service) in file.service.iter().enumerate() {
        found.push((vec![6, number(s)], service.name().to_owned()));
        for (r, method) in service.method.iter().enumerate() {
            found.push((vec![6, number(s), 2, number(r)], format!("{}.{}", service.name(), method.name())));
        }
    }
    found
}

#[test]
fn every_message_field_enum_value_and_call_has_a_comment() {
    let mut bare = Vec::new();
    for file in files() {
        let info = file.source_code_info.clone().unwrap();
        let commented: BTreeSet<Vec<i32>> = info
            .location
            .into_iter()
            .filter(|location| !location.leading_comments().trim().is_empty())
            .map(|location| location.path)
            .collect();
        bare.extend(
            elements(&file).into_iter().filter(|(path, _)| !commented.contains(path)).map(|(_, name)| name),
        );
    }
    assert!(bare.is_empty(), "without a comment: {bare:?}");
}

fn upper_snake(name: &str) -> String {
    let mut out = String::new();
    for (index, letter) in name.chars().enumerate() {
        if index > 0 && letter.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(letter.to_ascii_uppercase());
    }
    out
}

#[test]
fn every_enum_starts_with_unspecified_and_every_value_carries_its_enums_name() {
    let enums: Vec<EnumDescriptorProto> = files().into_iter().flat_map(|file| file.enum_type).collect();
    assert!(enums.len() > 20);
    for kind in enums {
        let prefix = format!("{}_", upper_snake(kind.name()));
        assert_eq!(kind.value[0].name(), format!("{prefix}UNSPECIFIED"));
        assert_eq!(kind.value[0].number(), 0);
        for value in &kind.value {
            assert!(value.name().starts_with(&prefix), "{} in {}", value.name(), kind.name());
        }
    }
}

#[test]
fn every_mutation_of_a_client_has_a_request_id() {
    let messages = messages();
    let mut seen = 0;
    for service in files().iter().flat_map(|file| &file.service).filter(|s| s.name() != "NodeService") {
        for method in &service.method {
            let is_mutation = MUTATION_VERBS.iter().any(|verb| method.name().starts_with(verb));
            let input = &messages[method.input_type().trim_start_matches(".muster.v1.")];
            if is_mutation && !method.client_streaming() {
                assert!(has_field(input, "request_id"), "{} has no request_id", input.name());
                seen += 1;
            }
        }
    }
    assert!(seen > 25, "the verbs no longer match the calls: {seen}");
}

#[test]
fn every_list_has_pages_and_every_answer_says_where_the_next_one_is() {
    let messages = messages();
    for service in files().iter().flat_map(|file| &file.service) {
        for method in service.method.iter().filter(|method| method.name().starts_with("List")) {
            let input = &messages[method.input_type().trim_start_matches(".muster.v1.")];
            assert!(has_field(input, "page_size") && has_field(input, "page_token"), "{}", input.name());
            let output = &messages[method.output_type().trim_start_matches(".muster.v1.")];
            assert!(has_field(output, "next_page_token"), "{}", output.name());
        }
    }
}

#[test]
fn every_update_and_delete_of_a_resource_with_an_etag_takes_one() {
    for (name, message) in messages() {
        let conditional = ["UpdatePoolRequest", "UpdateJobRequest", "UpdateTaskRequest", "DeletePoolRequest"];
        if conditional.contains(&name.as_str()) || name == "DeleteJobRequest" || name == "DeleteTaskRequest" {
            assert!(has_field(&message, "etag"), "{name}");
        }
    }
}

#[test]
fn every_watch_can_be_resumed() {
    let messages = messages();
    let mut seen = 0;
    for service in files().iter().flat_map(|file| &file.service) {
        for method in service.method.iter().filter(|method| method.name().starts_with("Watch")) {
            let input = &messages[method.input_type().trim_start_matches(".muster.v1.")];
            let output = &messages[method.output_type().trim_start_matches(".muster.v1.")];
            assert!(method.server_streaming() && has_field(input, "resume_revision"), "{}", method.name());
            assert!(has_field(output, "revision"), "{}", output.name());
            seen += 1;
        }
    }
    assert!(seen >= 3, "the watches are gone: {seen}");
}

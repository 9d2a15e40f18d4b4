//! What has become of the members of a sweep: sets of indices as runs, and groups of members that ended together.
//!
//! A set is the gaps between its runs and their lengths, each a small number, so that a million members that wait are
//! a few bytes. What is read is checked: runs cannot overlap or pass the end of numbers, whatever the bytes say.

use super::codes::Coded as _;
use super::error::CodecError;
use super::part::{decode, failure, failure_bytes};
use muster_controller_core::record::EndedMembers;
use muster_model::state::ExecutionResult;
use muster_model::{IndexSet, Timestamp};
use prost::Message;

#[derive(Clone, PartialEq, Message)]
struct IndexSetPart {
    /// For each run: how many indices are missing before it, and how many follow its first.
    #[prost(uint64, repeated, tag = "1")]
    runs: Vec<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct GroupPart {
    #[prost(message, optional, tag = "1")]
    members: Option<IndexSetPart>,
    #[prost(sint64, tag = "2")]
    at: i64,
    #[prost(int64, tag = "3")]
    result: i64,
    #[prost(int64, optional, tag = "4")]
    cause: Option<i64>,
    #[prost(bytes = "vec", tag = "5")]
    failure: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct EndedPart {
    #[prost(message, repeated, tag = "1")]
    groups: Vec<GroupPart>,
}

fn set_out(set: &IndexSet) -> IndexSetPart {
    let mut runs = Vec::new();
    let mut next = 0;
    for (first, last) in set.runs() {
        runs.extend([first - next, last - first]);
        next = last.saturating_add(1);
    }
    IndexSetPart { runs }
}

fn set_in(part: &IndexSetPart) -> Result<IndexSet, CodecError> {
    const WHAT: &str = "set of members";
    let wrong = || CodecError::Code { what: WHAT, found: i64::try_from(part.runs.len()).unwrap_or(i64::MAX) };
    let mut set = IndexSet::default();
    let mut next = 0_u64;
    for run in part.runs.chunks(2) {
        let [gap, more] = run else { return Err(CodecError::Missing { what: WHAT }) };
        let first = next.checked_add(*gap).ok_or_else(wrong)?;
        let last = first.checked_add(*more).ok_or_else(wrong)?;
        next = last.checked_add(1).ok_or_else(wrong)?;
        set.insert(first, last);
    }
    Ok(set)
}

pub(crate) fn index_set_bytes(set: &IndexSet) -> Vec<u8> {
    set_out(set).encode_to_vec()
}

pub(crate) fn index_set(bytes: &[u8]) -> Result<IndexSet, CodecError> {
    set_in(&decode("set of members", bytes)?)
}

/// The groups of members that ended; none are no bytes.
pub(crate) fn ended_bytes(groups: &[EndedMembers]) -> Vec<u8> {
    let group = |group: &EndedMembers| GroupPart {
        members: Some(set_out(&group.members)),
        at: group.at.as_micros(),
        result: group.result.code(),
        cause: group.failure.as_ref().map(|failure| failure.cause.code()),
        failure: group.failure.as_ref().map(failure_bytes).unwrap_or_default(),
    };
    EndedPart { groups: groups.iter().map(group).collect() }.encode_to_vec()
}

pub(crate) fn ended(bytes: &[u8]) -> Result<Vec<EndedMembers>, CodecError> {
    const WHAT: &str = "ended members";
    let group = |part: GroupPart| -> Result<EndedMembers, CodecError> {
        let members = part.members.ok_or(CodecError::Missing { what: WHAT })?;
        Ok(EndedMembers {
            members: set_in(&members)?,
            at: Timestamp::from_micros(part.at),
            result: ExecutionResult::from_code(part.result)?,
            failure: failure(part.cause, Some(&part.failure))?,
        })
    };
    decode::<EndedPart>(WHAT, bytes)?.groups.into_iter().map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sets_come_back_and_no_bytes_make_a_panic(
            runs in vec((0_u64..60, 0_u64..60), 0..9),
            far in any::<u64>(),
            bytes in vec(any::<u8>(), 0..40),
            numbers in vec(any::<u64>(), 0..6),
        ) {
            let mut set = IndexSet::default();
            for (first, more) in runs {
                set.insert(first, first + more);
            }
            set.insert(far.min(u64::MAX - 1), far.min(u64::MAX - 1));
            prop_assert_eq!(index_set(&index_set_bytes(&set)).unwrap(), set);
            let _ = index_set(&bytes);
            let _ = set_in(&IndexSetPart { runs: numbers });
        }
    }

    #[test]
    fn a_million_members_that_wait_are_a_few_bytes() {
        let mut set = IndexSet::below(1_000_000);
        set.remove(10, 4_000);
        assert!(index_set_bytes(&set).len() < 16);
        assert!(ended_bytes(&[]).is_empty());
    }
}

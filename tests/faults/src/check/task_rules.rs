//! Promises about what is told and recorded of a task, and about what its lives say to that.
//!
//! Each rule answers what is wrong, or nothing. A call that nobody answered may have been done at any time after it was asked, or never:
//! no rule may hold either against the controller.

use super::Case;
use crate::deed::Deed;
use crate::record::{Output, Seen, State};
use crate::told::{Act, Answer};
use muster_proto::wire::FailureCause;
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// An acknowledged task that nobody asked to delete is there.
pub(super) fn lost(case: &Case<'_>) -> Option<String> {
    if !case.is_acknowledged() || case.effective(&Act::Delete).next().is_some() {
        return None;
    }
    if case.kept.is_none() {
        return Some("it was acknowledged, nobody asked to delete it, and it is not there".to_owned());
    }
    let gone = case.calls.iter().find(|entry| entry.act == Act::Read && entry.answer == Answer::Gone);
    let acknowledged = case.creations.iter().filter(|entry| entry.answer == Answer::Done);
    let since = acknowledged.map(|entry| entry.answered_us).min()?;
    gone.filter(|entry| entry.asked_us > since)
        .map(|entry| format!("it could not be found for a while: {entry}"))
}

/// A task that was deleted, with an answer, is not there at the end.
pub(super) fn undead(case: &Case<'_>) -> Option<String> {
    let deleted = case.effective(&Act::Delete).find(|entry| entry.answer == Answer::Done)?;
    case.kept.map(|kept| format!("it is there though it was deleted ({deleted}): {}", kept.seen))
}

/// What was refused is not there.
pub(super) fn done_though_refused(case: &Case<'_>) -> Option<String> {
    let is_refused = |answer: &Answer| match answer {
        Answer::Refused(_) | Answer::Gone => true,
        Answer::Done | Answer::Seen(_) | Answer::Unknown(_) => false,
    };
    if case.creations.is_empty() || !case.creations.iter().all(|entry| is_refused(&entry.answer)) {
        return None;
    }
    let refused = case.creations.first()?;
    (case.kept.is_some() || !case.lives.is_empty())
        .then(|| format!("it is there, or ran, though it was refused: {refused}"))
}

/// No other client uses the ids, so that "it exists" is an answer to a repeat that was not known again; and a repeat of what was done
/// is done.
pub(super) fn repeat_refused(case: &Case<'_>) -> Option<String> {
    let exists = case.creations.iter().find(|entry| match &entry.answer {
        Answer::Refused(words) => words.contains("AlreadyExists"),
        Answer::Done | Answer::Seen(_) | Answer::Gone | Answer::Unknown(_) => false,
    });
    if let Some(entry) = exists {
        return Some(format!("a repeat was taken for another request: {entry}"));
    }
    // Only a repeat has more than one call with the same deed and id.
    let first = case.creations.iter().position(|entry| entry.answer == Answer::Done)?;
    let other = case.creations[first..].iter().find(|entry| match entry.answer {
        Answer::Done | Answer::Unknown(_) => false,
        Answer::Seen(_) | Answer::Gone | Answer::Refused(_) => true,
    });
    other.map(|entry| format!("the repeat of a request that was done got another answer: {entry}"))
}

/// The command is the one that was given.
pub(super) fn changed(case: &Case<'_>) -> Option<String> {
    let (deed, kept) = (case.deed?, case.kept?);
    let wanted = deed.command_line("");
    (!kept.command_line.ends_with(&wanted)).then(|| {
        format!("its command line is {:?}, given was one that ends with {wanted:?}", kept.command_line)
    })
}

/// Every task is completed when everything has had its time.
pub(super) fn unended(case: &Case<'_>) -> Option<String> {
    let kept = case.kept?;
    (kept.seen.state != State::Completed).then(|| {
        format!("it is still {:?}, attempt {}: {}", kept.seen.state, kept.seen.attempt, kept.waits_for)
    })
}

/// All that a task was read as, ended.
fn ended<'a>(case: &'a Case<'_>) -> impl Iterator<Item = &'a Seen> {
    case.readings().into_iter().map(|(_, _, seen)| seen).filter(|seen| seen.state == State::Completed)
}

/// A success has a life of exactly that attempt on that node which exited with 0.
pub(super) fn empty_success(case: &Case<'_>) -> Option<String> {
    let ours = |seen: &&Seen| seen.is_success == Some(true);
    let empty = ended(case).filter(ours).find(|seen| {
        let mut lives = case.lives_of(seen.attempt);
        !lives.any(|life| life.exit_code == Some(0) && (seen.node.is_empty() || life.node == seen.node))
    });
    let by_record = empty.map(|seen| {
        format!(
            "attempt {} is recorded as a success, and no life of it exited with 0: {seen:?}",
            seen.attempt
        )
    });
    by_record.or_else(|| {
        let tried = case.kept?.tried.iter().filter(|tried| tried.is_success);
        let empty = tried.clone().find(|tried| {
            !case.lives_of(tried.attempt).any(|life| life.exit_code == Some(0) && life.node == tried.node)
        });
        empty.map(|tried| format!("an attempt is recorded as a success that no life ended with: {tried:?}"))
    })
}

/// An exit code that is recorded was written down by a life of that attempt as its last word.
pub(super) fn wrong_exit_code(case: &Case<'_>) -> Option<String> {
    let by_life = |attempt: u32, code: i32| {
        case.lives_of(attempt).any(|life| life.exit_code.map(i32::from) == Some(code))
    };
    let told = ended(case).filter(|seen| seen.cause == Some(FailureCause::ExitCode)).find_map(|seen| {
        let code = seen.exit_code.unwrap_or(-1);
        (!by_life(seen.attempt, code))
            .then(|| format!("exit code {code} of attempt {} is no life's", seen.attempt))
    });
    told.or_else(|| {
        let tried = case.kept?.tried.iter().filter(|tried| tried.cause == Some(FailureCause::ExitCode));
        let wrong = tried.clone().find(|tried| !by_life(tried.attempt, tried.exit_code.unwrap_or(-1)));
        wrong.map(|tried| format!("an attempt is recorded with an exit code that is no life's: {tried:?}"))
    })
}

/// What is published was written by the life of the attempt that is recorded; and a success has published all.
pub(super) fn wrong_outputs(case: &Case<'_>) -> Option<String> {
    let deed = case.deed?;
    for seen in ended(case) {
        let wanted: Vec<String> = case
            .lives_of(seen.attempt)
            .map(|life| digest(&Deed::output(&case.job, &case.task, life.attempt, &life.life)))
            .collect();
        if let Some(Output { place, sha256 }) =
            seen.outputs.iter().find(|output| !wanted.contains(&output.sha256))
        {
            return Some(format!(
                "attempt {} published {place} with {sha256}, which its life did not write",
                seen.attempt
            ));
        }
        if deed.writes && seen.is_success == Some(true) && seen.outputs.is_empty() {
            return Some(format!("attempt {} succeeded and published nothing", seen.attempt));
        }
    }
    None
}

/// A digest as the API writes it.
pub(super) fn digest(content: &str) -> String {
    let mut text = String::new();
    for byte in Sha256::digest(content.as_bytes()) {
        // Writing into a text cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// A task that is given up for its exit code has had all its tries.
pub(super) fn untried(case: &Case<'_>) -> Option<String> {
    let (deed, kept) = (case.deed?, case.kept?);
    if kept.seen.cause != Some(FailureCause::ExitCode) || case.reactivations() > 0 {
        return None;
    }
    let tries = case.lives.iter().filter(|life| life.exit_code.is_some_and(|code| code != 0)).count();
    let wanted = usize::from(deed.retries) + 1;
    (tries < wanted).then(|| format!("it was given up after {tries} tries of {wanted}"))
}

/// Between two readings of a task that has ended nothing changes, unless somebody asked to run it once more.
pub(super) fn changed_end(case: &Case<'_>) -> Option<String> {
    let readings = case.readings();
    let pairs = readings.iter().zip(readings.iter().skip(1));
    for ((_, answered, first), (_, second_answered, second)) in pairs {
        let may_change = case.effective(&Act::Reactivate).any(|entry| {
            // One whose answer never came may have been done at any time after it was asked.
            let until = match entry.answer {
                Answer::Unknown(_) => u64::MAX,
                Answer::Done | Answer::Seen(_) | Answer::Gone | Answer::Refused(_) => entry.answered_us,
            };
            entry.asked_us < *second_answered && until > *answered
        });
        if first.state == State::Completed && first != second && !may_change {
            return Some(format!("it ended as {first:?} and was read later as {second:?}"));
        }
    }
    None
}

/// A later reading never shows an earlier attempt.
pub(super) fn backwards(case: &Case<'_>) -> Option<String> {
    let readings = case.readings();
    let mut pairs = readings.iter().zip(readings.iter().skip(1));
    let wrong = pairs.find(|((_, _, first), (_, _, second))| second.attempt < first.attempt);
    wrong.map(|((_, _, first), (_, _, second))| {
        format!("it was read in attempt {} and later in attempt {}", first.attempt, second.attempt)
    })
}

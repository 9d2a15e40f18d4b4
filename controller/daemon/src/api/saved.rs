//! What outlives a node of a task's files: the saved first and last part of stdout.txt and stderr.txt.
//!
//! An excerpt answers any range of its stream, with a gap where the middle was not kept. Pure: the rows come in, the
//! pieces go out.

use bytes::Bytes;
use muster_controller_core::record::AttemptRow;
use muster_model::{Cause, Excerpt};
use muster_proto::wire;

/// One piece of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// Bytes that were kept.
    Bytes(Bytes),
    /// So many bytes that were not.
    Gap(u64),
}

/// The names under which a command's output lies in its task's directory.
pub(super) const STDOUT: &str = "stdout.txt";
/// The names under which a command's output lies in its task's directory.
pub(super) const STDERR: &str = "stderr.txt";

/// The saved part of a file of an attempt, if anything of it was saved.
pub(super) fn excerpt_of<'a>(attempt: &'a AttemptRow, path: &str) -> Option<&'a Excerpt> {
    if went_with_its_node(attempt) {
        return None;
    }
    match path {
        STDOUT => Some(&attempt.result.stdout),
        STDERR => Some(&attempt.result.stderr),
        _other => None,
    }
}

/// Whether the attempt's end is the controller's conclusion alone: its node has not said what the command wrote.
fn went_with_its_node(attempt: &AttemptRow) -> bool {
    let cause = attempt.result.failure.as_ref().map(|failure| failure.cause);
    let is_lost = matches!(cause, Some(Cause::NodeLost | Cause::NodePreempted));
    is_lost && attempt.result.stdout.total_bytes == 0 && attempt.result.stderr.total_bytes == 0
}

/// The saved files of an attempt as a directory would list them.
pub(super) fn files(attempt: &AttemptRow) -> Vec<wire::NodeFile> {
    let file = |path: &str| {
        excerpt_of(attempt, path).map(|excerpt| wire::NodeFile {
            path: path.to_owned(),
            size_bytes: excerpt.total_bytes,
            ..wire::NodeFile::default()
        })
    };
    // In the order of their paths.
    [STDERR, STDOUT].into_iter().filter_map(file).collect()
}

/// A range of the stream that `excerpt` was taken from; `None` when it begins beyond the end.
pub(super) fn pieces(excerpt: &Excerpt, offset: u64, length: Option<u64>) -> Option<Vec<Piece>> {
    if offset > excerpt.total_bytes {
        return None;
    }
    let end =
        length.map_or(excerpt.total_bytes, |length| offset.saturating_add(length).min(excerpt.total_bytes));
    let head_end = count(&excerpt.head).min(excerpt.total_bytes);
    let tail_start = excerpt.total_bytes.saturating_sub(count(&excerpt.tail)).max(head_end);
    let mut pieces = Vec::new();
    pieces.extend(part(&excerpt.head, 0, offset, end.min(head_end)).map(Piece::Bytes));
    let (gap_start, gap_end) = (offset.max(head_end), end.min(tail_start));
    if gap_start < gap_end {
        pieces.push(Piece::Gap(gap_end - gap_start));
    }
    pieces.extend(part(&excerpt.tail, tail_start, offset.max(tail_start), end).map(Piece::Bytes));
    Some(pieces)
}

fn count(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// The bytes from `start` to `end` of a part that begins at `origin` in its stream.
fn part(bytes: &[u8], origin: u64, start: u64, end: u64) -> Option<Bytes> {
    let from = usize::try_from(start.checked_sub(origin)?).ok()?;
    let to = usize::try_from(end.checked_sub(origin)?).ok()?.min(bytes.len());
    let slice = bytes.get(from..to)?;
    (!slice.is_empty()).then(|| Bytes::copy_from_slice(slice))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut_stream() -> Excerpt {
        Excerpt { head: b"0123".to_vec(), tail: b"6789".to_vec(), total_bytes: 10 }
    }

    fn bytes(text: &'static str) -> Piece {
        Piece::Bytes(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn the_middle_that_was_not_kept_is_a_gap() {
        let all = pieces(&cut_stream(), 0, None).unwrap();
        assert_eq!(all, [bytes("0123"), Piece::Gap(2), bytes("6789")]);
    }

    #[test]
    fn every_range_is_as_long_as_it_should_be_and_has_the_right_bytes() {
        let whole = b"0123456789";
        for offset in 0..=10_u64 {
            for length in 0..=11_u64 {
                let pieces = pieces(&cut_stream(), offset, Some(length)).unwrap();
                let mut at = usize::try_from(offset).unwrap();
                for piece in &pieces {
                    match piece {
                        Piece::Bytes(bytes) => {
                            assert_eq!(bytes, &whole[at..at + bytes.len()], "{offset}+{length}");
                            at += bytes.len();
                        }
                        Piece::Gap(skipped) => at += usize::try_from(*skipped).unwrap(),
                    }
                }
                assert_eq!(u64::try_from(at).unwrap(), (offset + length).min(10), "{offset}+{length}");
            }
        }
    }

    #[test]
    fn a_stream_that_was_kept_whole_has_no_gap() {
        let short = Excerpt { head: b"abc".to_vec(), tail: Vec::new(), total_bytes: 3 };
        assert_eq!(pieces(&short, 0, None).unwrap(), [bytes("abc")]);
        assert_eq!(pieces(&short, 3, None).unwrap(), []);
        assert_eq!(pieces(&short, 4, None), None);
        let full = Excerpt { head: b"abc".to_vec(), tail: b"def".to_vec(), total_bytes: 6 };
        assert_eq!(pieces(&full, 1, Some(4)).unwrap(), [bytes("bc"), bytes("de")]);
    }

    #[test]
    fn an_excerpt_that_contradicts_itself_is_read_without_a_panic() {
        let odd = Excerpt { head: b"abcdef".to_vec(), tail: b"xyz".to_vec(), total_bytes: 4 };
        for offset in 0..6 {
            for length in [None, Some(0), Some(2), Some(u64::MAX)] {
                let _ = pieces(&odd, offset, length);
            }
        }
    }
}

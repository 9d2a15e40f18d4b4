//! The first and the last part of a stream, which outlive the node.
//!
//! Read once, when the command has ended. A stream that is missing or is no regular file any more gives an empty excerpt: it
//! must not keep the attempt from ending.

use crate::workdir::Dir;
use muster_model::{Excerpt, limits};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

/// Bytes of each part.
const PART_BYTES: u64 = (limits::EXCERPT_BYTES_MAX / 2) as u64;

/// Takes the excerpt of a file. One that is not there, or is no regular file, gives an empty one.
pub(super) fn take(dir: &Dir, name: &str) -> Excerpt {
    match read(dir, name) {
        Ok(excerpt) => excerpt,
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(name, %error, "cannot read the output of a command");
            }
            Excerpt::default()
        }
    }
}

fn read(dir: &Dir, name: &str) -> io::Result<Excerpt> {
    let (mut file, facts) = dir.open_file(name)?;
    let total_bytes = facts.size;
    let head = part(&mut file, total_bytes.min(PART_BYTES))?;
    let rest = total_bytes.saturating_sub(PART_BYTES);
    let tail = if rest == 0 {
        Vec::new()
    } else {
        file.seek(SeekFrom::Start(total_bytes.saturating_sub(rest.min(PART_BYTES))))?;
        part(&mut file, rest.min(PART_BYTES))?
    };
    Ok(Excerpt { head, tail, total_bytes })
}

fn part(file: &mut File, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if length > 0 {
        file.take(length).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workdir::Layout;

    #[test]
    fn short_streams_are_whole_and_long_ones_lose_their_middle() {
        let temporary = tempfile::tempdir().unwrap();
        let layout = Layout::open(temporary.path()).unwrap();
        let part = limits::EXCERPT_BYTES_MAX / 2;
        for length in [0, 1, part, part + 1, 2 * part, 2 * part + 1, 5 * part] {
            let bytes: Vec<u8> = (0..length).map(|i| u8::try_from(i % 251).unwrap()).collect();
            std::fs::write(temporary.path().join("batch/out"), &bytes).unwrap();
            let excerpt = take(layout.batch(), "out");
            assert_eq!(usize::try_from(excerpt.total_bytes).unwrap(), length);
            assert_eq!(excerpt.head, bytes[..length.min(part)]);
            let tail = length.saturating_sub(part).min(part);
            assert_eq!(excerpt.tail, bytes[length - tail..]);
        }
        assert_eq!(take(layout.batch(), "none"), Excerpt::default());
    }
}

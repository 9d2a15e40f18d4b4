//! The tail of a journal that is written by appending: the agent's, in frames, and the supervisor's, in documents.
//!
//! Both survive the death of their process whole, for the kernel has what was written; what a death can cut short is the one
//! write that was under way. So a tail is appended and nothing is taken away: a head without its payload, a payload that is
//! not what its head says, zeros.

use anyhow::Context;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

/// What stands behind the last whole entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// The first bytes of the journal once more: the beginning of an entry.
    Copy,
    /// A frame's head that promises more than there is.
    Promise,
    /// Noise.
    Noise,
    /// Zeros: the length was there before the bytes.
    Zeros,
}

impl Tail {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Copy, Self::Promise, Self::Noise, Self::Zeros];
}

/// Appends a torn tail to a journal whose writer is dead. `chance` draws a number below the one that it is given.
///
/// # Errors
/// When it cannot be read or written.
pub fn tear_journal(
    path: &Path,
    tail: Tail,
    mut chance: impl FnMut(usize) -> usize,
) -> anyhow::Result<usize> {
    /// More than a head, less than a plan.
    const BYTES_MAX: usize = 300;
    /// Less than any whole entry.
    const COPY_BYTES_MAX: usize = 40;
    let whole = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let length = 1 + chance(BYTES_MAX);
    let bytes: Vec<u8> = match tail {
        Tail::Copy => whole.iter().copied().take(length.min(COPY_BYTES_MAX)).collect(),
        Tail::Promise => {
            let mut frame = 100_000_u32.to_le_bytes().to_vec();
            frame.resize(length.max(5), 7);
            frame
        }
        Tail::Noise => (0..length).map(|_| chance(256).to_le_bytes()[0]).collect(),
        Tail::Zeros => vec![0; length],
    };
    let mut file = OpenOptions::new().append(true).open(path)?;
    file.write_all(&bytes)?;
    Ok(bytes.len())
}

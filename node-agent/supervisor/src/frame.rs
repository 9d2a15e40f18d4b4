//! Frames on the socket: a length in four bytes, little-endian, then one document of that many bytes.
//!
//! [`FrameReader`] takes bytes as they arrive, in any pieces, and gives whole documents back. It neither
//! reads nor waits.
//!
//! Invariant: it never holds more than one frame of the largest size and what was pushed since the last look.

use std::error::Error;
use std::fmt;

/// Name of the socket inside the supervisor's state directory.
pub const SOCKET_NAME: &str = "supervisor.sock";

/// Largest document in a frame: a spec of the largest size the kernel would execute, with its overhead, fits.
pub const FRAME_BYTES_MAX: usize = 4 << 20;

/// Bytes of the length in front of each document.
const LENGTH_BYTES: usize = 4;

/// Puts the length in front of a document.
///
/// # Errors
/// [`FrameError::Long`] above [`FRAME_BYTES_MAX`].
pub fn frame(document: &[u8]) -> Result<Vec<u8>, FrameError> {
    let too_long = FrameError::Long { bytes: document.len() };
    if document.len() > FRAME_BYTES_MAX {
        return Err(too_long);
    }
    let length = u32::try_from(document.len()).map_err(|_| too_long)?;
    let mut bytes = Vec::with_capacity(LENGTH_BYTES + document.len());
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(document);
    Ok(bytes)
}

/// Cuts a stream of bytes into documents.
#[derive(Debug, Default)]
pub struct FrameReader {
    buffer: Vec<u8>,
    taken: usize,
}

impl FrameReader {
    /// An empty reader.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes as they came from the socket.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.taken > 0 {
            self.buffer.drain(..self.taken);
            self.taken = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole document, or `None` until more bytes are pushed.
    ///
    /// # Errors
    /// [`FrameError::Long`] if the peer announces a frame that is too long; the connection is of no use after
    /// that.
    pub fn next_frame(&mut self) -> Result<Option<&[u8]>, FrameError> {
        let Some((head, rest)) = self.buffer[self.taken..].split_first_chunk::<LENGTH_BYTES>() else {
            return Ok(None);
        };
        let announced = u32::from_le_bytes(*head);
        let length = usize::try_from(announced).unwrap_or(usize::MAX);
        if length > FRAME_BYTES_MAX {
            return Err(FrameError::Long { bytes: length });
        }
        if rest.len() < length {
            return Ok(None);
        }
        let start = self.taken + LENGTH_BYTES;
        self.taken = start + length;
        Ok(Some(&self.buffer[start..self.taken]))
    }
}

/// Why bytes are no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameError {
    /// A document above [`FRAME_BYTES_MAX`].
    Long {
        /// Its length.
        bytes: usize,
    },
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Long { bytes } => {
                write!(
                    f,
                    "a message of {bytes} bytes, at most {FRAME_BYTES_MAX} are taken: shorten the task's arguments"
                )
            }
        }
    }
}

impl Error for FrameError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_whole_however_they_are_cut() {
        let stream = [frame(b"one").unwrap(), frame(b"").unwrap(), frame(b"three").unwrap()].concat();
        for piece in 1..=stream.len() {
            let mut reader = FrameReader::new();
            let mut seen = Vec::new();
            for bytes in stream.chunks(piece) {
                reader.push(bytes);
                while let Some(document) = reader.next_frame().unwrap() {
                    seen.push(document.to_vec());
                }
            }
            assert_eq!(seen, [b"one".to_vec(), b"".to_vec(), b"three".to_vec()], "pieces of {piece}");
        }
    }

    #[test]
    fn a_length_above_the_limit_is_refused_before_its_bytes_arrive() {
        let mut reader = FrameReader::new();
        reader.push(&u32::MAX.to_le_bytes());
        assert_eq!(reader.next_frame(), Err(FrameError::Long { bytes: 4_294_967_295 }));
        assert_eq!(
            frame(&vec![0; FRAME_BYTES_MAX + 1]),
            Err(FrameError::Long { bytes: FRAME_BYTES_MAX + 1 })
        );
    }
}

//! The place where a page ended, as opaque text that a client hands back for the next page.
//!
//! A cursor holds the coordinates of the last row in the list's order, and the fingerprint of the list (resource,
//! parent, filter, order) that it belongs to. It is no secret and grants nothing: the reader's own scope decides what
//! may be seen, and a forged position only starts elsewhere in the same list.
//!
//! Text form: base64url without padding of version 1, fingerprint (8 bytes), coordinates, checksum (4 bytes).

use super::value::Place;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Longest text that is looked at: a path of 2,048 bytes and some numbers in base64 need less.
pub const CURSOR_BYTES_MAX: usize = 4_096;

const VERSION: u8 = 1;
const TAG_TEXT: u8 = 1;
const TAG_INTEGER: u8 = 2;
const CHECKSUM_BYTES: usize = 4;

/// The place where a page of one list ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageCursor {
    pub(super) fingerprint: u64,
    pub(super) places: Vec<Place>,
}

/// Why a page token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CursorError {
    /// The text is not what a page answered.
    #[error(
        "the page token is damaged: hand back next_page_token as it was answered, or leave it empty to start over"
    )]
    Damaged,
    /// A later version wrote it.
    #[error("the page token is of version {found}, this server knows {known}: leave it empty to start over")]
    Version {
        /// The version in the token.
        found: u8,
        /// The version known here.
        known: u8,
    },
    /// It belongs to another list.
    #[error(
        "the page token belongs to another list of {resource}: keep parent, filter and order_by the same from page to page"
    )]
    OtherQuery {
        /// The resource that is listed.
        resource: &'static str,
    },
}

impl PageCursor {
    /// The text that a client hands back.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&self.fingerprint.to_be_bytes());
        for place in &self.places {
            match place {
                Place::Text(text) => {
                    bytes.push(TAG_TEXT);
                    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
                    bytes.extend_from_slice(&length.to_be_bytes());
                    bytes.extend_from_slice(text.as_bytes());
                }
                Place::Integer(number) => {
                    bytes.push(TAG_INTEGER);
                    bytes.extend_from_slice(&number.to_be_bytes());
                }
            }
        }
        let sum = checksum(&bytes);
        bytes.extend_from_slice(&sum);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads the text again. Whether the cursor belongs to the list at hand is checked when that is read.
    ///
    /// # Errors
    /// [`CursorError::Damaged`] and [`CursorError::Version`].
    pub fn decode(text: &str) -> Result<Self, CursorError> {
        if text.len() > CURSOR_BYTES_MAX {
            return Err(CursorError::Damaged);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| CursorError::Damaged)?;
        let split = bytes.len().checked_sub(CHECKSUM_BYTES).ok_or(CursorError::Damaged)?;
        let (body, sum) = bytes.split_at(split);
        if checksum(body) != *sum {
            return Err(CursorError::Damaged);
        }
        let mut body = Bytes(body);
        let found = body.take::<1>()?[0];
        if found != VERSION {
            return Err(CursorError::Version { found, known: VERSION });
        }
        let fingerprint = u64::from_be_bytes(body.take()?);
        let mut places = Vec::new();
        while !body.0.is_empty() {
            places.push(body.place()?);
        }
        Ok(Self { fingerprint, places })
    }
}

/// A reader of the token's bytes that cannot run over their end.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], CursorError> {
        let (head, rest) = self.0.split_first_chunk().ok_or(CursorError::Damaged)?;
        self.0 = rest;
        Ok(*head)
    }

    fn place(&mut self) -> Result<Place, CursorError> {
        match self.take::<1>()?[0] {
            TAG_TEXT => {
                let length =
                    usize::try_from(u32::from_be_bytes(self.take()?)).map_err(|_| CursorError::Damaged)?;
                let (text, rest) = self.0.split_at_checked(length).ok_or(CursorError::Damaged)?;
                self.0 = rest;
                let text = std::str::from_utf8(text).map_err(|_| CursorError::Damaged)?;
                Ok(Place::Text(text.to_owned()))
            }
            TAG_INTEGER => Ok(Place::Integer(i64::from_be_bytes(self.take()?))),
            _ => Err(CursorError::Damaged),
        }
    }
}

/// FNV-1a with 64 bits: the same in every version and on every machine, which `std`'s hasher does not promise.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fingerprint(u64);

impl Fingerprint {
    pub(super) const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// Takes in one part; the length in front keeps "ab","c" apart from "a","bc".
    pub(super) fn part(mut self, bytes: &[u8]) -> Self {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes();
        for byte in length.iter().chain(bytes) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        self
    }

    pub(super) const fn value(self) -> u64 {
        self.0
    }
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let [a, b, c, d, e, f, g, h] = Fingerprint::new().part(bytes).value().to_be_bytes();
    [a ^ e, b ^ f, c ^ g, d ^ h]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cursor() -> PageCursor {
        PageCursor {
            fingerprint: 0x0123_4567_89ab_cdef,
            places: vec![Place::Integer(-5), Place::Text("främe-1".into()), Place::Integer(i64::MAX)],
        }
    }

    #[test]
    fn a_token_reads_back_and_no_changed_character_goes_unseen() {
        let text = cursor().encode();
        assert_eq!(PageCursor::decode(&text), Ok(cursor()));
        for index in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
            assert!(PageCursor::decode(std::str::from_utf8(&bytes).unwrap()).is_err(), "character {index}");
            assert!(PageCursor::decode(&text[..index]).is_err(), "cut at {index}");
        }
        assert_eq!(PageCursor::decode(&"A".repeat(CURSOR_BYTES_MAX + 1)), Err(CursorError::Damaged));
    }

    #[test]
    fn a_token_of_a_later_version_is_refused_by_name() {
        let mut bytes = vec![2, 0, 0];
        let sum = checksum(&bytes);
        bytes.extend_from_slice(&sum);
        let text = URL_SAFE_NO_PAD.encode(bytes);
        assert_eq!(PageCursor::decode(&text), Err(CursorError::Version { found: 2, known: 1 }));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_without_a_panic(text in "\\PC{0,200}") {
            let _ = PageCursor::decode(&text);
        }

        #[test]
        fn any_bytes_are_read_or_refused_without_a_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            bytes.splice(0..0, [VERSION]);
            let sum = checksum(&bytes);
            bytes.extend_from_slice(&sum);
            let _ = PageCursor::decode(&URL_SAFE_NO_PAD.encode(bytes));
        }
    }
}

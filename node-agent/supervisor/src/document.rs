//! The text form of every message and file of the supervisor: a kind, a version, and named fields.
//!
//! The first line is `kind version`, each field is `name length:bytes` and a newline, and `end 0:` closes the
//! document, so that one cut short by a crash is told from a whole one. Any bytes may stand in a field, newlines
//! and other documents included, and it can still be read by eye (`tests/golden/`). A name may repeat.
//!
//! Compatibility: a reader skips fields that it does not know, except those whose name begins with `!`: these
//! change what the document means (an isolation that must be in force, say) and are refused by a reader that
//! does not know them. A version above the reader's is refused. What each kind holds is beside its type.

use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// Longest name of a kind or a field, in bytes; ours have at most 24, and a bound keeps garbage from being
/// searched.
const NAME_BYTES_MAX: usize = 40;
/// Most digits of a length: ten cover 4 GiB, far above the largest frame.
const LENGTH_DIGITS_MAX: usize = 10;

/// Builds one document.
#[derive(Debug)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// Starts a document of `kind`, which must be made of lower-case letters, digits, `-` and `_`.
    #[must_use]
    pub fn new(kind: &str, version: u32) -> Self {
        let mut bytes = Vec::with_capacity(512);
        bytes.extend_from_slice(kind.as_bytes());
        bytes.extend_from_slice(format!(" {version}\n").as_bytes());
        Self { bytes }
    }

    /// Adds a field of raw bytes.
    pub fn bytes(&mut self, name: &str, value: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(b' ');
        self.bytes.extend_from_slice(value.len().to_string().as_bytes());
        self.bytes.push(b':');
        self.bytes.extend_from_slice(value);
        self.bytes.push(b'\n');
        self
    }

    /// Adds a field of text.
    pub fn text(&mut self, name: &str, value: &str) -> &mut Self {
        self.bytes(name, value.as_bytes())
    }

    /// Adds a number in decimal.
    pub fn number(&mut self, name: &str, value: impl Into<i128>) -> &mut Self {
        let value: i128 = value.into();
        self.text(name, &value.to_string())
    }

    /// Adds a number if there is one.
    pub fn optional(&mut self, name: &str, value: Option<impl Into<i128>>) -> &mut Self {
        match value {
            Some(value) => self.number(name, value),
            None => self,
        }
    }

    /// Adds `1` for true; false is the absence of the field.
    pub fn flag(&mut self, name: &str, value: bool) -> &mut Self {
        if value { self.text(name, "1") } else { self }
    }

    /// Closes the document and gives its bytes.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.bytes("end", b"");
        self.bytes
    }
}

/// Reads one document from the front of a slice.
#[derive(Debug)]
pub struct Reader<'a> {
    kind: &'a str,
    version: u32,
    rest: &'a [u8],
    ended: bool,
}

impl<'a> Reader<'a> {
    /// Reads the head of a document of any kind; the caller looks at [`Reader::kind`].
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] or [`DecodeError::Head`] if the bytes do not begin as a document does.
    pub fn open(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let window = &bytes[..bytes.len().min(NAME_BYTES_MAX + LENGTH_DIGITS_MAX + 2)];
        let Some(line_end) = window.iter().position(|byte| *byte == b'\n') else {
            let whole =
                window.len() == bytes.len() && bytes.iter().all(|byte| is_name_byte(*byte) || *byte == b' ');
            return Err(if whole { DecodeError::Truncated } else { DecodeError::Head });
        };
        let line = std::str::from_utf8(&bytes[..line_end]).map_err(|_| DecodeError::Head)?;
        let (kind, version) = line.split_once(' ').ok_or(DecodeError::Head)?;
        if kind.is_empty()
            || !kind.bytes().all(is_name_byte)
            || !version.bytes().all(|byte| byte.is_ascii_digit())
        {
            return Err(DecodeError::Head);
        }
        let version = version.parse().map_err(|_| DecodeError::Head)?;
        Ok(Self { kind, version, rest: &bytes[line_end + 1..], ended: false })
    }

    /// Reads the head of a document that must be of `kind`, in a version that is at most `newest`.
    ///
    /// # Errors
    /// As [`Reader::open`], and [`DecodeError::Kind`] or [`DecodeError::Version`].
    pub fn of_kind(bytes: &'a [u8], kind: &'static str, newest: u32) -> Result<Self, DecodeError> {
        let reader = Self::open(bytes)?;
        if reader.kind != kind {
            return Err(DecodeError::Kind { wanted: kind, found: reader.kind.to_owned() });
        }
        reader.at_most(newest)?;
        Ok(reader)
    }

    /// Refuses a document newer than `newest`.
    ///
    /// # Errors
    /// [`DecodeError::Version`].
    pub fn at_most(&self, newest: u32) -> Result<(), DecodeError> {
        if self.version == 0 || self.version > newest {
            return Err(DecodeError::Version { kind: self.kind.to_owned(), found: self.version, newest });
        }
        Ok(())
    }

    /// The kind of the document.
    #[must_use]
    pub fn kind(&self) -> &'a str {
        self.kind
    }

    /// The next field, or `None` at the end of the document.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] if the bytes stop before `end`, [`DecodeError::Field`] if they are not a
    /// field.
    pub fn next_field(&mut self) -> Result<Option<Field<'a>>, DecodeError> {
        if self.ended {
            return Ok(None);
        }
        let (name, after) = split_name(self.rest)?;
        let (length, after) = split_length(after)?;
        if after.len() <= length {
            return Err(DecodeError::Truncated);
        }
        let (value, after) = after.split_at(length);
        let Some((b'\n', after)) = after.split_first() else {
            return Err(DecodeError::Field);
        };
        self.rest = after;
        if name == "end" {
            self.ended = true;
            return Ok(None);
        }
        Ok(Some(Field { name, value }))
    }

    /// What follows the document, once [`Reader::next_field`] gave `None`.
    #[must_use]
    pub fn remaining(&self) -> &'a [u8] {
        self.rest
    }

    /// Checks that nothing follows the document.
    ///
    /// # Errors
    /// [`DecodeError::Trailing`] with the number of bytes too many.
    pub fn close(&self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::Trailing { bytes: self.rest.len() }) }
    }
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-' | b'!')
}

fn split_name(bytes: &[u8]) -> Result<(&str, &[u8]), DecodeError> {
    let window = &bytes[..bytes.len().min(NAME_BYTES_MAX + 1)];
    let length = window
        .iter()
        .position(|byte| !is_name_byte(*byte))
        .ok_or(if window.len() == bytes.len() { DecodeError::Truncated } else { DecodeError::Field })?;
    if length == 0 || bytes[length] != b' ' {
        return Err(DecodeError::Field);
    }
    // Only ASCII passed is_name_byte, so this is UTF-8.
    let name = std::str::from_utf8(&bytes[..length]).map_err(|_| DecodeError::Field)?;
    Ok((name, &bytes[length + 1..]))
}

fn split_length(bytes: &[u8]) -> Result<(usize, &[u8]), DecodeError> {
    let window = &bytes[..bytes.len().min(LENGTH_DIGITS_MAX + 1)];
    let digits = window
        .iter()
        .position(|byte| !byte.is_ascii_digit())
        .ok_or(if window.len() == bytes.len() { DecodeError::Truncated } else { DecodeError::Field })?;
    if digits == 0 || bytes[digits] != b':' {
        return Err(DecodeError::Field);
    }
    let text = std::str::from_utf8(&bytes[..digits]).map_err(|_| DecodeError::Field)?;
    let length = text.parse().map_err(|_| DecodeError::Field)?;
    Ok((length, &bytes[digits + 1..]))
}

/// One field of a document, and the ways to read its value.
#[derive(Debug, Clone, Copy)]
pub struct Field<'a> {
    /// The field's name.
    pub name: &'a str,
    /// The field's bytes.
    pub value: &'a [u8],
}

impl<'a> Field<'a> {
    /// The value as text.
    ///
    /// # Errors
    /// [`DecodeError::Value`] if it is not UTF-8.
    pub fn text(&self) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.value).map_err(|_| self.wrong("UTF-8 text"))
    }

    /// The value as a decimal number that fits `T`.
    ///
    /// # Errors
    /// [`DecodeError::Value`] if it is not such a number.
    pub fn number<T: TryFrom<i128>>(&self) -> Result<T, DecodeError> {
        let value: i128 = self.text()?.parse().map_err(|_| self.wrong("a decimal number"))?;
        T::try_from(value).map_err(|_| self.wrong("a number in the range of this field"))
    }

    /// The value as a flag: `1` or `0`.
    ///
    /// # Errors
    /// [`DecodeError::Value`] if it is neither.
    pub fn flag(&self) -> Result<bool, DecodeError> {
        match self.value {
            b"1" => Ok(true),
            b"0" => Ok(false),
            _ => Err(self.wrong("0 or 1")),
        }
    }

    /// The value as a string of the operating system.
    #[must_use]
    pub fn os_string(&self) -> OsString {
        OsString::from_vec(self.value.to_vec())
    }

    /// The value as a path.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        PathBuf::from(self.os_string())
    }

    /// What a reader does with a field that it does not know: skips it, unless it must be understood.
    ///
    /// # Errors
    /// [`DecodeError::MustUnderstand`] if the name begins with `!`.
    pub fn skip(&self) -> Result<(), DecodeError> {
        if self.name.starts_with('!') {
            return Err(DecodeError::MustUnderstand { field: self.name.to_owned() });
        }
        Ok(())
    }

    /// The error for a value that is not what this field holds.
    #[must_use]
    pub fn wrong(&self, wanted: &'static str) -> DecodeError {
        DecodeError::Value { field: self.name.to_owned(), wanted }
    }
}

/// Takes a field that a document cannot do without.
///
/// # Errors
/// [`DecodeError::Missing`] if it was not there.
pub fn required<T>(value: Option<T>, kind: &'static str, field: &'static str) -> Result<T, DecodeError> {
    value.ok_or(DecodeError::Missing { kind, field })
}

/// Why bytes are not the document that was expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DecodeError {
    /// The bytes stop before the document's end.
    Truncated,
    /// The first line is not `kind version`.
    Head,
    /// A document of another kind.
    Kind {
        /// The kind that was asked for.
        wanted: &'static str,
        /// The kind that was found.
        found: String,
    },
    /// A document of a version that this build cannot read.
    Version {
        /// The document's kind.
        kind: String,
        /// The version that was found.
        found: u32,
        /// The newest version that this build reads.
        newest: u32,
    },
    /// Something that is not `name length:bytes`.
    Field,
    /// A field whose value is not what it must be.
    Value {
        /// The field's name.
        field: String,
        /// What the field must hold.
        wanted: &'static str,
    },
    /// A field that the document cannot do without is not there.
    Missing {
        /// The document's kind.
        kind: &'static str,
        /// The field's name.
        field: &'static str,
    },
    /// A field that this build does not know and may not skip.
    MustUnderstand {
        /// The field's name.
        field: String,
    },
    /// Bytes behind the document's end.
    Trailing {
        /// How many.
        bytes: usize,
    },
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => write!(f, "the document is cut short: it has no 'end' field"),
            Self::Head => write!(f, "not a document: its first line must be a kind and a version"),
            Self::Kind { wanted, found } => write!(f, "expected a '{wanted}' document, found '{found}'"),
            Self::Version { kind, found, newest } => {
                write!(
                    f,
                    "'{kind}' has version {found}, this build reads 1 to {newest}: upgrade muster-supervisor"
                )
            }
            Self::Field => write!(f, "a field must have the form 'name length:bytes'"),
            Self::Value { field, wanted } => write!(f, "field '{field}' must be {wanted}"),
            Self::Missing { kind, field } => write!(f, "'{kind}' needs the field '{field}'"),
            Self::MustUnderstand { field } => {
                write!(
                    f,
                    "field '{field}' must be in force and this build does not know it: upgrade muster-supervisor"
                )
            }
            Self::Trailing { bytes } => write!(f, "{bytes} bytes follow the end of the document"),
        }
    }
}

impl Error for DecodeError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let mut writer = Writer::new("sample", 1);
        writer.text("key", "a\nb").number("count", 7).bytes("raw", &[0, 255, b'\n']).flag("on", true);
        writer.finish()
    }

    #[test]
    fn fields_come_back_in_order_with_any_bytes() {
        let bytes = sample();
        let mut reader = Reader::of_kind(&bytes, "sample", 1).unwrap();
        let mut seen = Vec::new();
        while let Some(field) = reader.next_field().unwrap() {
            seen.push((field.name.to_owned(), field.value.to_vec()));
        }
        reader.close().unwrap();
        let wanted: [(&str, &[u8]); 4] =
            [("key", b"a\nb"), ("count", b"7"), ("raw", &[0, 255, b'\n']), ("on", b"1")];
        assert_eq!(seen, wanted.map(|(name, value)| (name.to_owned(), value.to_vec())));
    }

    #[test]
    fn every_prefix_is_refused_as_truncated() {
        let bytes = sample();
        for length in 0..bytes.len() {
            let read = || {
                let mut reader = Reader::of_kind(&bytes[..length], "sample", 1)?;
                while reader.next_field()?.is_some() {}
                reader.close()
            };
            assert_eq!(read(), Err(DecodeError::Truncated), "prefix of {length} bytes");
        }
    }

    #[test]
    fn newer_versions_and_fields_that_must_be_understood_are_refused() {
        let newer = Writer::new("sample", 2).finish();
        let error = Reader::of_kind(&newer, "sample", 1).unwrap_err();
        assert_eq!(error, DecodeError::Version { kind: "sample".into(), found: 2, newest: 1 });
        let unknown = Field { name: "colour", value: b"red" };
        assert_eq!(unknown.skip(), Ok(()));
        let vital = Field { name: "!seccomp", value: b"strict" };
        assert_eq!(vital.skip(), Err(DecodeError::MustUnderstand { field: "!seccomp".into() }));
    }
}

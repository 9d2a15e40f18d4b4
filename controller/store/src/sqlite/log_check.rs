//! Whether the write-ahead log has lost commits that were durable, looked at before SQLite opens it.
//!
//! SQLite reads the log up to the first frame whose checksum is wrong and forgets the rest, which is right for the end of
//! a commit that a crash cut off: nobody was told of it. A frame that went bad in the middle looks the same to it, and with
//! the rest go commits that were told of. The two can be told apart: a commit's frames are written only when the commit before
//! it was durable. So when behind the bad frame one commit is followed by another, the first was durable, and the log is
//! damaged. Each checksum begins with the one before it, which shows what follows what, and what is only a remnant.
//!
//! What cannot be told is whether the last commit of all was durable: a disk that garbles that is found out by nobody.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

const HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;
/// The first four bytes of a log, but for the last bit, which says how checksums are counted.
const MAGIC: u32 = 0x377f_0682;
/// The size of pages that databases of ours are made with, in bytes, for a log whose header says nothing.
const PAGE_BYTES: u32 = 4096;

/// A log that has lost durable commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "frame {frame} of its write-ahead log is garbled, and {commits} commits that were durable stand behind it"
)]
pub(super) struct LogDamage {
    /// The first bad frame, from 1; 0 is the header.
    frame: u64,
    /// At least so many commits are lost.
    commits: u64,
}

/// Two running sums, as the file format has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sums(u32, u32);

/// How a log is written down.
#[derive(Debug, Clone, Copy)]
struct Form {
    big_endian: bool,
    page_bytes: u32,
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_be_bytes)
}

impl Form {
    fn sum(self, from: Sums, bytes: &[u8]) -> Sums {
        let value = |four: &[u8]| {
            let four = four.try_into().unwrap_or([0; 4]);
            if self.big_endian { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) }
        };
        bytes.chunks_exact(8).fold(from, |Sums(a, b), eight| {
            let (first, second) = eight.split_at(4);
            let a = a.wrapping_add(value(first)).wrapping_add(b);
            let b = b.wrapping_add(value(second)).wrapping_add(a);
            Sums(a, b)
        })
    }
}

/// One frame as it stands there.
struct Frame {
    is_commit: bool,
    salts: (u32, u32),
    stored: Sums,
    /// Its checksum is right if the one before it is this.
    bytes: Vec<u8>,
}

impl Frame {
    fn read(bytes: Vec<u8>) -> Self {
        Self {
            is_commit: word(&bytes, 4) != 0,
            salts: (word(&bytes, 8), word(&bytes, 12)),
            stored: Sums(word(&bytes, 16), word(&bytes, 20)),
            bytes,
        }
    }

    fn follows(&self, form: Form, before: Sums) -> bool {
        let head = self.bytes.get(..8).unwrap_or_default();
        let page = self.bytes.get(FRAME_HEADER_BYTES..).unwrap_or_default();
        form.sum(form.sum(before, head), page) == self.stored
    }
}

/// Looks at the log of a database; one that is not there, or ends in a commit that was cut off, is good.
///
/// # Errors
/// When it cannot be read.
pub(super) fn check(log: &Path) -> io::Result<Option<LogDamage>> {
    let file = match File::open(log) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut file = BufReader::with_capacity(1 << 20, file);
    let mut header = [0; HEADER_BYTES];
    if !fill(&mut file, &mut header)? {
        return Ok(None);
    }
    let magic = word(&header, 0);
    let form = Form { big_endian: magic & 1 == 1, page_bytes: word(&header, 8) };
    let sums = Sums(word(&header, 24), word(&header, 28));
    let good = magic & !1 == MAGIC && form.sum(Sums(0, 0), &header[..24]) == sums;
    let salts = good.then(|| (word(&header, 16), word(&header, 20)));
    let form =
        if good { form } else { Form { big_endian: cfg!(target_endian = "big"), page_bytes: PAGE_BYTES } };
    scan(&mut file, form, sums, salts)
}

/// Walks the frames: the good ones, then what stands behind the first that is not.
fn scan(
    file: &mut impl Read,
    form: Form,
    header: Sums,
    salts: Option<(u32, u32)>,
) -> io::Result<Option<LogDamage>> {
    let page = usize::try_from(form.page_bytes).map_err(io::Error::other)?;
    let (mut number, mut before) = (0_u64, header);
    // The first bad frame; the frame before this one, once there is a bad one; commits that stand behind it.
    let mut bad = salts.is_none().then_some(0);
    let mut last: Option<Frame> = None;
    let mut commits = 0;
    loop {
        let mut bytes = vec![0; FRAME_HEADER_BYTES + page];
        if !fill(file, &mut bytes)? {
            break;
        }
        number += 1;
        let frame = Frame::read(bytes);
        let of_this_log = salts.is_none_or(|salts| salts == frame.salts);
        if bad.is_none() {
            if of_this_log && frame.follows(form, before) {
                before = frame.stored;
                continue;
            }
            bad = Some(number);
        } else if of_this_log
            && let Some(last) = &last
            && last.is_commit
            && last.salts == frame.salts
            && frame.follows(form, last.stored)
        {
            commits += 1;
        }
        last = Some(frame);
    }
    Ok(bad.filter(|_| commits > 0).map(|frame| LogDamage { frame, commits }))
}

/// Fills the buffer; `false` when the file ends before.
fn fill(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

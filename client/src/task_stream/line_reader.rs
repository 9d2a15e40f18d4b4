//! Lines of a long input, without an allocation for each.
//!
//! Goes in: bytes as they come. Comes out: lines, of at most [`LINE_BYTES_MAX`] bytes. What is read and not yet asked for
//! stays; waiting for more may be cancelled.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// The most bytes of one line: twice the largest task, for what JSON adds to it. An input without line ends is no list of
/// tasks.
pub(super) const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Bytes that are read at one time, at most.
const READ_BYTES: usize = 256 * 1024;

/// A place in the buffer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    start: usize,
    end: usize,
}

/// What asking for a line found.
#[derive(Debug, Clone, Copy)]
pub(super) enum Found {
    /// A line is there.
    Line(Line),
    /// It has to be read first.
    More,
    /// There are no more.
    End,
    /// A line is longer than [`LINE_BYTES_MAX`].
    TooLong,
}

/// Reads lines.
pub(super) struct LineReader<R> {
    input: R,
    buffer: Vec<u8>,
    /// The first byte that was not asked for, and the first one that was not looked at for a line end.
    start: usize,
    looked: usize,
    is_over: bool,
}

impl<R: AsyncRead + Unpin> LineReader<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, buffer: Vec::new(), start: 0, looked: 0, is_over: false }
    }

    /// The next line, if it is there. It is passed with this.
    pub(super) fn next(&mut self) -> Found {
        let found = self.buffer[self.looked..].iter().position(|byte| *byte == b'\n');
        if let Some(at) = found {
            let line = Line { start: self.start, end: self.looked + at };
            self.start = line.end + 1;
            self.looked = self.start;
            return Found::Line(line);
        }
        self.looked = self.buffer.len();
        if self.looked - self.start > LINE_BYTES_MAX {
            return Found::TooLong;
        }
        if !self.is_over {
            return Found::More;
        }
        if self.start == self.looked {
            return Found::End;
        }
        // The last line has no end.
        let line = Line { start: self.start, end: self.looked };
        self.start = self.looked;
        Found::Line(line)
    }

    /// The bytes of a line, until more is read.
    pub(super) fn bytes(&self, line: Line) -> &[u8] {
        &self.buffer[line.start..line.end]
    }

    /// Reads more.
    pub(super) async fn read(&mut self) -> io::Result<()> {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.looked -= self.start;
            self.start = 0;
        }
        self.buffer.reserve(READ_BYTES);
        let most = READ_BYTES as u64;
        let read = (&mut self.input).take(most).read_buf(&mut self.buffer).await?;
        self.is_over = read == 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines(input: impl AsyncRead + Unpin) -> Vec<String> {
        let mut reader = LineReader::new(input);
        let mut lines = Vec::new();
        loop {
            match reader.next() {
                Found::Line(line) => lines.push(String::from_utf8(reader.bytes(line).to_vec()).unwrap()),
                Found::More => reader.read().await.unwrap(),
                Found::End => return lines,
                Found::TooLong => panic!("too long"),
            }
        }
    }

    #[tokio::test]
    async fn lines_are_parted_wherever_the_input_is_cut() {
        let text = "one\n\ntwo\r\nthree";
        assert_eq!(lines(text.as_bytes()).await, ["one", "", "two\r", "three"]);
        for cut in 0..text.len() {
            let (first, second) = text.split_at(cut);
            let input = first.as_bytes().chain(second.as_bytes());
            assert_eq!(lines(input).await, ["one", "", "two\r", "three"], "{cut}");
        }
        assert!(lines(&b""[..]).await.is_empty());
        assert_eq!(lines(&b"a\n"[..]).await, ["a"]);
    }

    #[tokio::test]
    async fn a_line_without_end_is_noticed() {
        let mut reader = LineReader::new(tokio::io::repeat(b'x'));
        loop {
            match reader.next() {
                Found::More => reader.read().await.unwrap(),
                Found::TooLong => break,
                Found::Line(_) | Found::End => panic!("there is no line"),
            }
        }
        assert!(reader.buffer.len() <= LINE_BYTES_MAX + 2 * READ_BYTES);
    }
}

//! The only place that writes: results to standard output, words to standard error.
//!
//! Goes in: tables, JSON, lines, bytes. A reader that has gone away is an error like any other here, and no panic;
//! `start.rs` ends the program quietly for it. Whether there is a terminal, and whether colours are wanted, is decided
//! once, at the start.

use std::io::{self, IsTerminal, Write};

use comfy_table::{Cell, CellAlignment, Color, Table, presets};
use serde_json::Value;

use crate::args::{ColorChoice, Format};

/// Where results and words go, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outlet {
    format: Format,
    is_coloured: bool,
    is_watched: bool,
}

/// How a value in a table is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// As it is.
    Plain,
    /// Good news.
    Good,
    /// On its way.
    Busy,
    /// Bad news.
    Bad,
}

/// One value of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field {
    text: String,
    tone: Tone,
    is_number: bool,
}

impl Field {
    /// A value with a tone.
    pub(crate) fn toned(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: text.into(), tone, is_number: false }
    }

    /// A number: stands at the right.
    pub(crate) fn number(value: impl Into<u64>) -> Self {
        Self { text: value.into().to_string(), tone: Tone::Plain, is_number: true }
    }

    /// A value that stands at the right, like a number.
    #[must_use]
    pub(crate) fn at_right(text: impl Into<String>) -> Self {
        Self { text: text.into(), tone: Tone::Plain, is_number: true }
    }

    fn cell(&self) -> Cell {
        let cell = Cell::new(printable(&self.text));
        let cell = if self.is_number { cell.set_alignment(CellAlignment::Right) } else { cell };
        match self.tone {
            Tone::Plain => cell,
            Tone::Good => cell.fg(Color::Green),
            Tone::Busy => cell.fg(Color::Yellow),
            Tone::Bad => cell.fg(Color::Red),
        }
    }
}

impl From<&str> for Field {
    fn from(text: &str) -> Self {
        Self::toned(text, Tone::Plain)
    }
}

impl From<String> for Field {
    fn from(text: String) -> Self {
        Self::toned(text, Tone::Plain)
    }
}

impl Outlet {
    /// Decides about colours and terminals.
    #[must_use]
    pub(crate) fn new(format: Format, color: ColorChoice) -> Self {
        let is_coloured = match color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => {
                io::stdout().is_terminal()
                    && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            }
        };
        Self { format, is_coloured, is_watched: io::stderr().is_terminal() }
    }

    /// Whether results are JSON.
    #[must_use]
    pub(crate) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Whether a person watches standard error: only then are there progress bars and remarks.
    #[must_use]
    pub(crate) const fn is_watched(&self) -> bool {
        self.is_watched
    }

    /// Writes rows below their headings.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub(crate) fn table(&self, headings: &[&str], rows: &[Vec<Field>]) -> io::Result<()> {
        if rows.is_empty() {
            self.remark("nothing found");
            return Ok(());
        }
        let mut table = self.empty_table();
        table.set_header(headings.iter().map(|heading| heading.to_uppercase()));
        for row in rows {
            table.add_row(row.iter().map(Field::cell));
        }
        self.line(&finished(table))
    }

    /// Writes names with their values, one a line.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub(crate) fn record(&self, fields: &[(&str, Field)]) -> io::Result<()> {
        let mut table = self.empty_table();
        for (name, field) in fields.iter().filter(|(_, field)| !field.text.is_empty()) {
            table.add_row([Cell::new(format!("{name}:")), field.cell()]);
        }
        self.line(&finished(table))
    }

    fn empty_table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        if self.is_coloured {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        table
    }

    /// Writes one JSON document.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub(crate) fn json(&self, value: &Value) -> io::Result<()> {
        self.line(&format!("{value:#}"))
    }

    /// Writes one line of JSON of a stream.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub(crate) fn json_line(&self, value: &Value) -> io::Result<()> {
        self.line(&value.to_string())
    }

    /// Writes a line of text.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub(crate) fn line(&self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        writeln!(out, "{text}")?;
        out.flush()
    }

    /// Writes a sentence of somebody else's below a table, without what could move the cursor.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub(crate) fn note(&self, text: &str) -> io::Result<()> {
        self.line(&format!("note: {}", printable(text).replace('\n', " ")))
    }

    /// Writes a sentence about what was done, for people: nothing in JSON.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub(crate) fn done(&self, text: &str) -> io::Result<()> {
        if self.is_json() { Ok(()) } else { self.line(text) }
    }

    /// Writes bytes as they are.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(bytes)?;
        out.flush()
    }

    /// Says something on standard error to whoever watches: nothing when it is not a terminal.
    pub(crate) fn remark(&self, text: &str) {
        if self.is_watched {
            self.warn(text);
        }
    }

    /// The same on a line of its own, whatever progress stands on the present one.
    pub(crate) fn aside(&self, text: &str) {
        if self.is_watched {
            let _unread = writeln!(io::stderr().lock(), "\r\x1b[2Kmuster: {}", printable(text));
        }
    }

    /// Says something on standard error. That nobody can read it is no reason to fail.
    pub(crate) fn warn(&self, text: &str) {
        let _unread = writeln!(io::stderr().lock(), "muster: {text}");
    }
}

/// A text whose control characters cannot move the cursor of whoever looks at it.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

/// The table as text, with two spaces between its columns and none at the ends.
fn finished(mut table: Table) -> String {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

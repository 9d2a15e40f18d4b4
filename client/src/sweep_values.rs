//! The values of a sweep from lines, from CSV, from JSON: files become the axes of a sweep.
//!
//! Goes in: an input, and a name for a column that has none. Comes out: one axis, or why there is none. What the values
//! mean, and whether they fit their template, is the controller's business; here is only what it could not be sent.
//!
//! Invariant: nothing here holds more than [`SWEEP_VALUES_BYTES_MAX`] bytes of values, however long the input is.

use std::io::{self, BufRead, BufReader, Read};

use muster_model::limits::SWEEP_VALUES_BYTES_MAX;
use muster_proto::wire;
use muster_proto::wire::sweep_axis::Values;
use serde::de::{DeserializeSeed, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Why an input has no values of a sweep.
#[derive(Debug, thiserror::Error)]
pub enum SweepValuesError {
    /// It cannot be read.
    #[error("the values cannot be read")]
    Read(#[source] io::Error),
    /// It is not CSV, or its rows are not all as long as its header.
    #[error("the values are not CSV with a header: {0}")]
    Csv(#[source] csv::Error),
    /// It is not JSON of that form.
    #[error("the values are not a JSON array of objects such as {EXAMPLE}: {0}")]
    Json(#[source] serde_json::Error),
    /// It has none.
    #[error("there are no values; a sweep has at least one task")]
    Empty,
    /// It has too many.
    #[error(
        "the values have more than {SWEEP_VALUES_BYTES_MAX} bytes, the most that a sweep may have (each value counts one byte \
         more); make each of them a task of its own: one JSON object on each line of a file for 'muster task add JOB --file'"
    )]
    TooLarge,
}

const EXAMPLE: &str = r#"[{"scene": "boat", "frame": 7}]"#;

/// Counts the bytes of values as the controller does.
#[derive(Debug, Default)]
struct Room(usize);

impl Room {
    fn take(&mut self, value: &str) -> Result<(), SweepValuesError> {
        self.0 += value.len() + 1;
        if self.0 > SWEEP_VALUES_BYTES_MAX { Err(SweepValuesError::TooLarge) } else { Ok(()) }
    }

    fn take_row(&mut self, values: Vec<String>) -> Result<wire::SweepRow, SweepValuesError> {
        values.iter().try_for_each(|value| self.take(value))?;
        Ok(wire::SweepRow { values })
    }
}

fn table(names: Vec<String>, rows: Vec<wire::SweepRow>) -> Result<wire::SweepAxis, SweepValuesError> {
    if rows.is_empty() {
        return Err(SweepValuesError::Empty);
    }
    Ok(wire::SweepAxis { values: Some(Values::Table(wire::SweepTable { names, rows })) })
}

/// One parameter whose values are the lines of an input. Blank lines are skipped, and blanks at the ends of lines.
///
/// # Errors
/// As [`SweepValuesError`] says.
pub fn axis_of_lines(name: &str, input: impl Read) -> Result<wire::SweepAxis, SweepValuesError> {
    let (mut rows, mut room) = (Vec::new(), Room::default());
    // A line that is longer than all values may be is not read to its end.
    let most = SWEEP_VALUES_BYTES_MAX as u64 + 1;
    let mut input = BufReader::new(input);
    let mut line = String::new();
    while input.by_ref().take(most).read_line(&mut line).map_err(SweepValuesError::Read)? > 0 {
        let value = line.trim();
        if !value.is_empty() {
            rows.push(room.take_row(vec![value.to_owned()])?);
        }
        line.clear();
    }
    table(vec![name.to_owned()], rows)
}

/// A parameter for each column of a CSV input, whose first row has their names.
///
/// # Errors
/// As [`SweepValuesError`] says.
pub fn axis_of_csv(input: impl Read) -> Result<wire::SweepAxis, SweepValuesError> {
    // No record that is read is longer than what all values may have and their separators and quotes.
    let input = Bounded { input, left: 4 * SWEEP_VALUES_BYTES_MAX as u64, is_over: false };
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::Headers).from_reader(input);
    let names = reader.headers().map_err(of_csv)?.iter().map(str::to_owned).collect();
    let (mut rows, mut room) = (Vec::new(), Room::default());
    for record in reader.records() {
        rows.push(room.take_row(record.map_err(of_csv)?.iter().map(str::to_owned).collect())?);
    }
    table(names, rows)
}

fn of_csv(error: csv::Error) -> SweepValuesError {
    let is_too_large = if let csv::ErrorKind::Io(cause) = error.kind() { is_over(cause) } else { false };
    if is_too_large { SweepValuesError::TooLarge } else { SweepValuesError::Csv(error) }
}

/// A parameter for each name in a JSON array of objects; values are texts, numbers, true and false. Every object has the
/// same names.
///
/// # Errors
/// As [`SweepValuesError`] says.
pub fn axis_of_json(input: impl Read) -> Result<wire::SweepAxis, SweepValuesError> {
    let input = Bounded { input, left: 16 * SWEEP_VALUES_BYTES_MAX as u64, is_over: false };
    let mut reader = serde_json::Deserializer::from_reader(BufReader::new(input));
    let mut rows = Rows::default();
    let read = rows.deserialize(&mut reader).and_then(|()| reader.end());
    if rows.is_too_large {
        return Err(SweepValuesError::TooLarge);
    }
    read.map_err(|error| match error.classify() {
        serde_json::error::Category::Io => of_json_io(error),
        serde_json::error::Category::Syntax
        | serde_json::error::Category::Data
        | serde_json::error::Category::Eof => SweepValuesError::Json(error),
    })?;
    table(rows.names, rows.rows)
}

fn of_json_io(error: serde_json::Error) -> SweepValuesError {
    let cause = io::Error::from(error);
    if is_over(&cause) { SweepValuesError::TooLarge } else { SweepValuesError::Read(cause) }
}

/// An input that fails when it is longer than a bound: what is read of it stays in memory for a while.
struct Bounded<R> {
    input: R,
    left: u64,
    is_over: bool,
}

/// The input is longer than its bound.
#[derive(Debug, thiserror::Error)]
#[error("the input is too long")]
struct Over;

fn is_over(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|cause| cause.is::<Over>())
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.is_over {
            return Err(io::Error::other(Over));
        }
        let read = self.input.read(buffer)?;
        match self.left.checked_sub(read as u64) {
            Some(left) => self.left = left,
            None => self.is_over = true,
        }
        if self.is_over { Err(io::Error::other(Over)) } else { Ok(read) }
    }
}

/// The rows of a JSON array, taken one by one.
#[derive(Default)]
struct Rows {
    names: Vec<String>,
    rows: Vec<wire::SweepRow>,
    room: Room,
    is_too_large: bool,
}

impl Rows {
    fn take(&mut self, object: Map<String, Value>) -> Result<(), String> {
        if self.rows.is_empty() {
            self.names = object.keys().cloned().collect();
        }
        let row = self.rows.len() + 1;
        if object.len() != self.names.len() {
            return Err(format!(
                "object {row} has {} names, the first one has {}",
                object.len(),
                self.names.len()
            ));
        }
        let mut values = Vec::with_capacity(object.len());
        for name in &self.names {
            values.push(match object.get(name) {
                Some(Value::String(text)) => text.clone(),
                Some(value @ (Value::Number(_) | Value::Bool(_))) => value.to_string(),
                Some(Value::Null | Value::Array(_) | Value::Object(_)) => {
                    return Err(format!("'{name}' of object {row} is neither a text nor a number"));
                }
                None => return Err(format!("object {row} has no '{name}', the first one has")),
            });
        }
        match self.room.take_row(values) {
            Ok(row) => self.rows.push(row),
            Err(_too_large) => {
                self.is_too_large = true;
                return Err("too large".to_owned());
            }
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for &mut Rows {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for &mut Rows {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        while let Some(object) = sequence.next_element::<Map<String, Value>>()? {
            self.take(object).map_err(serde::de::Error::custom)?;
        }
        Ok(())
    }
}

/// Refuses axes whose values, each of which fits, do not fit together.
///
/// # Errors
/// [`SweepValuesError::TooLarge`].
pub fn check_axes(axes: &[wire::SweepAxis]) -> Result<(), SweepValuesError> {
    let mut room = Room::default();
    for axis in axes {
        if let Some(Values::Table(table)) = &axis.values {
            table.rows.iter().flat_map(|row| &row.values).try_for_each(|value| room.take(value))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(axis: Result<wire::SweepAxis, SweepValuesError>) -> (Vec<String>, Vec<Vec<String>>) {
        match axis.unwrap().values {
            Some(Values::Table(table)) => {
                (table.names, table.rows.into_iter().map(|row| row.values).collect())
            }
            other => panic!("{other:?}"),
        }
    }

    fn texts(rows: &[&[&str]]) -> Vec<Vec<String>> {
        rows.iter().map(|row| row.iter().map(|value| (*value).to_owned()).collect()).collect()
    }

    #[test]
    fn lines_columns_and_objects_become_rows() {
        let (names, rows) = shown(axis_of_lines("scene", "boat\r\n\n  two words \nlast".as_bytes()));
        assert_eq!((names, rows), (vec!["scene".to_owned()], texts(&[&["boat"], &["two words"], &["last"]])));
        let (names, rows) = shown(axis_of_csv("scene, frame\nboat,7\n\"a,b\",\"\"\n".as_bytes()));
        assert_eq!(
            (names.join(" "), rows),
            ("scene frame".to_owned(), texts(&[&["boat", "7"], &["a,b", ""]]))
        );
        let json = r#"[{"s": "boat", "f": 7}, {"f": 1.5, "s": true}]"#;
        let (names, rows) = shown(axis_of_json(json.as_bytes()));
        assert_eq!((names.join(" "), rows), ("f s".to_owned(), texts(&[&["7", "boat"], &["1.5", "true"]])));
    }

    #[test]
    fn inputs_of_another_form_are_refused_in_words() {
        let errors = [
            (axis_of_csv("a,b\n1\n".as_bytes()), "fields"),
            (axis_of_json("{}".as_bytes()), "array"),
            (axis_of_json(r#"[{"a": 1}, {"b": 1}]"#.as_bytes()), "object 2 has no 'a'"),
            (axis_of_json(r#"[{"a": 1}, {"a": 1, "b": 1}]"#.as_bytes()), "2 names"),
            (axis_of_json(r#"[{"a": []}]"#.as_bytes()), "neither a text nor a number"),
            (axis_of_json(r#"[{"a": 1}"#.as_bytes()), "EOF"),
            (axis_of_json(r#"[{"a": 1}] x"#.as_bytes()), "trailing"),
            (axis_of_json("[]".as_bytes()), "no values"),
            (axis_of_csv("a,b\n".as_bytes()), "no values"),
            (axis_of_lines("i", "\n \n".as_bytes()), "no values"),
        ];
        for (axis, part) in errors {
            let error = axis.unwrap_err().to_string();
            assert!(error.contains(part), "{part}: {error}");
        }
    }

    #[test]
    fn more_than_a_sweep_may_have_is_refused_with_the_way_out() {
        let line = format!("{}\n", "x".repeat(1023));
        let fits = line.repeat(SWEEP_VALUES_BYTES_MAX / 1024);
        assert!(axis_of_lines("i", fits.as_bytes()).is_ok());
        let over = format!("{fits}y\n");
        let json = |text: &str| {
            format!("[{}]", text.lines().map(|l| format!(r#"{{"a": "{l}"}}"#)).collect::<Vec<_>>().join(","))
        };
        for axis in [
            axis_of_lines("i", over.as_bytes()),
            axis_of_csv(format!("a\n{over}").as_bytes()),
            axis_of_json(json(&over).as_bytes()),
            axis_of_lines("i", io::repeat(b'x')),
            axis_of_csv(io::repeat(b'x')),
            axis_of_json(io::repeat(b' ')),
            axis_of_lines("i", fits.as_bytes())
                .and_then(|axis| check_axes(&[axis.clone(), axis]).map(|()| wire::SweepAxis::default())),
        ] {
            let error = axis.unwrap_err();
            assert!(matches!(error, SweepValuesError::TooLarge), "{error}");
            assert!(error.to_string().contains("4194304") && error.to_string().contains("--file"), "{error}");
        }
    }
}

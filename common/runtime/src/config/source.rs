//! Where settings come from: reads a TOML file, the environment and flags into values with their origin.
//!
//! It knows which keys exist and nothing of their types. A key that does not exist is a problem that names its
//! source and the nearest key; such a key is left out, so that the others can still be checked.
//!
//! Invariant: only known keys leave this file.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use config::{Value, ValueKind};
use serde::Deserialize;
use toml::de::DeTable;

use super::nearest::nearest;
use super::origin::Origin;
use super::problems::{Problem, Problems};
use super::setting::{Kind, Setting};

/// The largest configuration file that is read, in bytes. A thousand times a full one; a wrong path (a disk
/// image, a log) is refused before it fills the memory.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// A value and where it was given.
#[derive(Debug, Clone)]
pub(super) struct Given {
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// One layer: known keys with their values.
pub(super) type Layer = BTreeMap<&'static str, Given>;

/// Reads the file at `path`. A file that is absent is an empty layer unless it is `required`.
pub(super) fn file(
    settings: &'static [Setting],
    path: &Path,
    required: bool,
    problems: &mut Problems,
) -> Layer {
    let text = match read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !required => return Layer::new(),
        Err(error) => {
            problems.add(Problem {
                key: path.display().to_string(),
                value: None,
                origin: Origin::Default,
                wrong: format!("cannot be read: {error}"),
                remedy: "name a TOML file of at most 1 MiB that this user may read".to_owned(),
            });
            return Layer::new();
        }
    };
    match (DeTable::parse(&text), text.parse::<toml::Table>()) {
        (Ok(places), Ok(values)) => {
            let mut reading = FileReading { settings, path, text: &text, layer: Layer::new(), problems };
            reading.section("", places.get_ref(), values);
            reading.layer
        }
        (Err(error), _) | (_, Err(error)) => {
            let line = line_at(&text, error.span().map_or(0, |span| span.start));
            problems.add(Problem {
                key: format!("{}:{line}", path.display()),
                value: None,
                origin: Origin::Default,
                wrong: format!("is not TOML: {}", error.message()),
                remedy: "write 'key = value' lines below '[section]' headings".to_owned(),
            });
            Layer::new()
        }
    }
}

fn read(path: &Path) -> std::io::Result<String> {
    use std::io::Read;
    let mut text = String::new();
    let read = std::fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if u64::try_from(read).is_ok_and(|read| read > FILE_BYTES_MAX) {
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, "larger than 1 MiB"));
    }
    Ok(text)
}

/// The line, counted from 1, on which the byte at `offset` stands.
fn line_at(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// The walk through the tables of one file.
struct FileReading<'a> {
    settings: &'static [Setting],
    path: &'a Path,
    text: &'a str,
    layer: Layer,
    problems: &'a mut Problems,
}

impl FileReading<'_> {
    /// Reads the table below `prefix` ("" or "section."): `places` has the positions, `values` the values.
    fn section(&mut self, prefix: &str, places: &DeTable<'_>, values: toml::Table) {
        for (name, value) in values {
            let key = format!("{prefix}{name}");
            let place = places.get_key_value(name.as_str());
            let offset = place.map_or(0, |(name, _)| name.span().start);
            let origin = Origin::File { path: self.path.to_owned(), line: line_at(self.text, offset) };
            let inner = place.and_then(|(_, inner)| inner.get_ref().as_table());
            let is_section = self
                .settings
                .iter()
                .any(|known| known.key.strip_prefix(key.as_str()).is_some_and(|rest| rest.starts_with('.')));
            match (find(self.settings, &key), value, inner) {
                (Some(setting), value, _) => self.value(setting, value, origin),
                (None, toml::Value::Table(table), Some(inner)) if is_section => {
                    self.section(&format!("{key}."), inner, table);
                }
                (None, ..) => self.problems.add(unknown(self.settings, &key, origin)),
            }
        }
    }

    fn value(&mut self, setting: &'static Setting, value: toml::Value, origin: Origin) {
        match Value::deserialize(value) {
            Ok(value) => {
                self.layer.insert(setting.key, Given { value, origin });
            }
            Err(error) => self.problems.add(Problem {
                key: setting.key.to_owned(),
                value: None,
                origin,
                wrong: format!("cannot be read: {error}"),
                remedy: String::new(),
            }),
        }
    }
}

/// Reads the variables that start with `prefix` and a double line.
pub(super) fn environment(
    settings: &'static [Setting],
    prefix: &str,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    problems: &mut Problems,
) -> Layer {
    let mut layer = Layer::new();
    let names: BTreeMap<String, &'static Setting> =
        settings.iter().map(|setting| (setting.variable(prefix), setting)).collect();
    for (name, value) in variables {
        let Some(name) = name.to_str().filter(|name| name.starts_with(prefix)) else { continue };
        let origin = Origin::Environment(name.to_owned());
        match (names.get(name), value.to_str()) {
            (Some(setting), Some(text)) => {
                layer.insert(setting.key, Given { value: from_text(setting, text), origin });
            }
            (Some(setting), None) => problems.add(Problem {
                key: setting.key.to_owned(),
                value: None,
                origin,
                wrong: "is not UTF-8".to_owned(),
                remedy: "give it as plain text".to_owned(),
            }),
            (None, _) => problems.extend(unknown_variable(name, prefix, &names)),
        }
    }
    layer
}

/// Reads flags: each a key and its text.
pub(super) fn flags(
    settings: &'static [Setting],
    given: impl IntoIterator<Item = (String, String)>,
    problems: &mut Problems,
) -> Layer {
    let mut layer = Layer::new();
    for (key, text) in given {
        match find(settings, &key) {
            Some(setting) => {
                let origin = Origin::Flag(setting.flag());
                layer.insert(setting.key, Given { value: from_text(setting, &text), origin });
            }
            None => problems.add(unknown(settings, &key, Origin::Flag(format!("--{key}")))),
        }
    }
    layer
}

pub(super) fn find(settings: &'static [Setting], key: &str) -> Option<&'static Setting> {
    settings.iter().find(|setting| setting.key == key)
}

/// A value written as one text, as the environment, flags and defaults give it.
pub(super) fn from_text(setting: &Setting, text: &str) -> Value {
    let kind = match setting.kind {
        Kind::Value | Kind::Secret => ValueKind::String(text.to_owned()),
        Kind::List => ValueKind::Array(
            text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(Value::from).collect(),
        ),
    };
    Value::new(None, kind)
}

/// The problem of a key that is not known. Its value is not shown: it may be a secret below a mistyped name.
fn unknown(settings: &'static [Setting], key: &str, origin: Origin) -> Problem {
    let remedy = match nearest(key, settings.iter().map(|setting| setting.key)) {
        Some(near) => format!("did you mean '{near}'?"),
        None => "remove it; the reference page lists all keys".to_owned(),
    };
    Problem { key: key.to_owned(), value: None, origin, wrong: "is not a known setting".to_owned(), remedy }
}

/// The problem of a variable with our prefix that names no setting, if it was meant to name one.
fn unknown_variable(name: &str, prefix: &str, names: &BTreeMap<String, &'static Setting>) -> Option<Problem> {
    let rest = name.strip_prefix(prefix)?;
    let single = |variable: &String| variable.replace("__", "_") == name;
    let near = if rest.starts_with("__") {
        nearest(name, names.keys().map(String::as_str))
    } else {
        // Another program's variable, unless it is one of ours written with single lines.
        Some(names.keys().find(|variable| single(variable))?.as_str())
    };
    let remedy = match near {
        Some(near) => format!("did you mean '{near}'?"),
        None => "unset it; the reference page lists all variables".to_owned(),
    };
    Some(Problem {
        key: name.to_owned(),
        value: None,
        origin: Origin::Environment(name.to_owned()),
        wrong: "is not a known variable".to_owned(),
        remedy,
    })
}

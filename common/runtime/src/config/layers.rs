//! Defaults below a file, below the environment, below flags: puts the layers of a configuration together and
//! reads the program's typed settings from them.
//!
//! What cannot be read is noted and replaced by its default, so that one pass finds every mistake and the
//! program's own checks run on the rest. A draft that has problems never becomes settings.
//!
//! It has no rule about any value. See `source.rs` for the layers and `setting.rs` for the list of keys.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Display;
use std::path::PathBuf;

use config::{Config, ConfigError, Value, ValueKind};
use serde::de::DeserializeOwned;

use super::origin::Origin;
use super::problems::{Problem, Problems};
use super::setting::{Kind, Setting};
use super::source::{self, Given, Layer};

/// The sources of a configuration, lowest first: defaults, file, environment, flags.
#[derive(Debug)]
pub struct Layers {
    settings: &'static [Setting],
    file: Layer,
    environment: Layer,
    flags: Layer,
    problems: Problems,
}

/// Typed settings that are not yet known to be good.
#[derive(Debug)]
pub struct Draft<T> {
    value: T,
    entries: BTreeMap<&'static str, Entry>,
    problems: Problems,
}

/// One setting as it will be used, for `--check-config` and for the log at start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: &'static str,
    /// The value as text; `None` when there is none or when it is a secret.
    pub value: Option<String>,
    /// Where it was given.
    pub origin: Origin,
}

impl Layers {
    /// Starts from the defaults of `settings`.
    #[must_use]
    pub fn new(settings: &'static [Setting]) -> Self {
        Self {
            settings,
            file: Layer::new(),
            environment: Layer::new(),
            flags: Layer::new(),
            problems: Problems::new(),
        }
    }

    /// Adds a TOML file that must be there (`--config PATH`).
    #[must_use]
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.file = source::file(self.settings, &path.into(), true, &mut self.problems);
        self
    }

    /// Adds a TOML file if it is there (the default path of a packaged daemon).
    #[must_use]
    pub fn file_if_present(mut self, path: impl Into<PathBuf>) -> Self {
        self.file = source::file(self.settings, &path.into(), false, &mut self.problems);
        self
    }

    /// Adds the variables named `PREFIX__KEY` and `PREFIX__SECTION__KEY`, usually from `std::env::vars_os()`.
    #[must_use]
    pub fn environment(
        mut self,
        prefix: &str,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Self {
        self.environment = source::environment(self.settings, prefix, variables, &mut self.problems);
        self
    }

    /// Adds flags, each a key (`tls.cert_file`) and its text.
    #[must_use]
    pub fn flags(mut self, flags: impl IntoIterator<Item = (String, String)>) -> Self {
        self.flags = source::flags(self.settings, flags, &mut self.problems);
        self
    }

    /// Reads the typed settings. Values that do not fit are problems of the draft and are replaced by their
    /// default (or by the example of a required key), so that `Draft::check` always has a whole `T` to look at.
    ///
    /// # Errors
    /// When the list of settings does not fit `T` at all: a defect of the program that a test which loads from
    /// nothing finds. The problems found until then come with it.
    pub fn load<T: DeserializeOwned>(mut self) -> Result<Draft<T>, Problems> {
        let mut repairs: BTreeMap<&'static str, Value> = BTreeMap::new();
        for setting in self.settings {
            if let Some(example) = setting.example.filter(|_| self.given(setting.key).is_none()) {
                self.problems.add(Problem {
                    key: setting.key.to_owned(),
                    value: None,
                    origin: Origin::Default,
                    wrong: "is required and not set".to_owned(),
                    remedy: format!("for example {} = \"{example}\"", setting.key),
                });
                repairs.insert(setting.key, source::from_text(setting, example));
            }
        }
        // Each turn repairs one key more, so there are at most as many turns as keys.
        let value = loop {
            match self.build(&repairs).and_then(Config::try_deserialize::<T>) {
                Ok(value) => break value,
                Err(error) => {
                    let Some(setting) = self.blamed(&error).filter(|known| !repairs.contains_key(known.key))
                    else {
                        self.problems.add(defect(&error));
                        return Err(self.problems);
                    };
                    self.problems.add(self.misfit(setting, &error));
                    let fallback = setting.default.or(setting.example);
                    let nil = || Value::new(None, ValueKind::Nil);
                    repairs.insert(
                        setting.key,
                        fallback.map_or_else(nil, |text| source::from_text(setting, text)),
                    );
                }
            }
        };
        Ok(Draft { value, entries: self.entries(), problems: self.problems })
    }

    /// The value of the highest layer that gives `key`.
    fn given(&self, key: &str) -> Option<&Given> {
        [&self.flags, &self.environment, &self.file].into_iter().find_map(|layer| layer.get(key))
    }

    fn build(&self, repairs: &BTreeMap<&'static str, Value>) -> Result<Config, ConfigError> {
        let mut builder = Config::builder();
        for setting in self.settings {
            if let Some(default) = setting.default {
                builder = builder.set_default(setting.key, source::from_text(setting, default))?;
            }
        }
        for layer in [&self.file, &self.environment, &self.flags] {
            for (key, given) in layer {
                builder = builder.set_override(*key, given.value.clone())?;
            }
        }
        for (key, value) in repairs {
            builder = builder.set_override(*key, value.clone())?;
        }
        builder.build()
    }

    /// The setting that an error of reading `T` is about: its key, or the key that an item of a list belongs to.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the enum is another crate's; what has no key is nobody's"
    )]
    fn blamed(&self, error: &ConfigError) -> Option<&'static Setting> {
        let key = match error {
            ConfigError::Type { key: Some(key), .. } | ConfigError::At { key: Some(key), .. } => key,
            ConfigError::NotFound(key) => key,
            _ => return None,
        };
        let inside = |rest: &str| rest.is_empty() || rest.starts_with(['.', '[']);
        self.settings.iter().find(|setting| key.strip_prefix(setting.key).is_some_and(inside))
    }

    fn misfit(&self, setting: &'static Setting, error: &ConfigError) -> Problem {
        let entry = self.entry(setting);
        let wrong = match (setting.kind, error) {
            (Kind::Secret, _) => "does not fit".to_owned(),
            (_, ConfigError::Type { expected, .. }) => format!("is not {expected}"),
            (_, ConfigError::At { error, .. }) => format!("cannot be used: {error}"),
            (_, other) => format!("cannot be used: {other}"),
        };
        let remedy = setting.default.or(setting.example).filter(|text| !text.is_empty());
        Problem {
            key: setting.key.to_owned(),
            value: entry.value,
            origin: entry.origin,
            wrong,
            remedy: remedy.map_or_else(String::new, |text| format!("a valid value is \"{text}\"")),
        }
    }

    fn entry(&self, setting: &'static Setting) -> Entry {
        let default = || setting.default.map(|text| source::from_text(setting, text));
        let (value, origin) = match self.given(setting.key) {
            Some(given) => (Some(given.value.clone()), given.origin.clone()),
            None => (default(), Origin::Default),
        };
        Entry { key: setting.key, value: value.and_then(|value| shown(setting.kind, &value)), origin }
    }

    fn entries(&self) -> BTreeMap<&'static str, Entry> {
        self.settings.iter().map(|setting| (setting.key, self.entry(setting))).collect()
    }
}

/// How a value is shown, unless it is a secret.
fn shown(kind: Kind, value: &Value) -> Option<String> {
    match (kind, &value.kind) {
        (Kind::Secret, _) => None,
        (_, ValueKind::String(text)) => Some(format!("{text:?}")),
        (_, other) => Some(other.to_string()),
    }
}

/// The problem of a list of settings that does not fit the struct read from it.
fn defect(error: &ConfigError) -> Problem {
    Problem {
        key: "settings".to_owned(),
        value: None,
        origin: Origin::Default,
        wrong: format!("do not fit the program's own types: {error}"),
        remedy: "this is a defect of the program, not of the configuration".to_owned(),
    }
}

impl<T> Draft<T> {
    /// The settings as read so far; what could not be read has its default.
    pub fn value(&self) -> &T {
        &self.value
    }

    /// Every known setting in the order of the keys, with its value and origin; secrets without their value.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// Notes that the value of `key` breaks a rule: `wrong` ends a sentence that starts with the key ("is not a
    /// loopback address"), `remedy` is the way out. Value and origin are filled in from the sources.
    pub fn wrong(&mut self, key: &str, wrong: impl Display, remedy: impl Display) {
        let entry = self.entries.get(key);
        self.problems.add(Problem {
            key: key.to_owned(),
            value: entry.and_then(|entry| entry.value.clone()),
            origin: entry.map_or(Origin::Default, |entry| entry.origin.clone()),
            wrong: wrong.to_string(),
            remedy: remedy.to_string(),
        });
    }

    /// The settings, if nothing is wrong with them.
    ///
    /// # Errors
    /// Everything that is wrong: unknown keys, values that do not fit, and what was noted by `wrong`.
    pub fn finish(self) -> Result<T, Problems> {
        if self.problems.is_empty() { Ok(self.value) } else { Err(self.problems) }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use serde::Deserialize;

    use super::*;
    use crate::config::{ByteSize, Span};
    use crate::secret::Secret;

    const PREFIX: &str = "MUSTER_TEST";

    const SETTINGS: &[Setting] = &[
        Setting::new("listen", "127.0.0.1:7600", "Where to listen."),
        Setting::required("data_dir", "data", "Where to keep state."),
        Setting::optional("token", "The join token.").secret(),
        Setting::new("cache.size", "1G", "How large the cache may grow."),
        Setting::new("cache.age", "1d", "How old an entry may grow."),
        Setting::new("tags", "", "Words.").list(),
        Setting::new("workers", "4", "Threads."),
    ];

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Settings {
        listen: SocketAddr,
        data_dir: PathBuf,
        token: Option<Secret>,
        cache: Cache,
        tags: Vec<String>,
        workers: u16,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Cache {
        size: ByteSize,
        age: Span,
    }

    struct Given<'a> {
        file: &'a str,
        environment: &'a [(&'a str, &'a str)],
        flags: &'a [(&'a str, &'a str)],
    }

    fn load(given: Given<'_>) -> (Draft<Settings>, String) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.toml");
        std::fs::write(&path, given.file).unwrap();
        let draft = Layers::new(SETTINGS)
            .file(&path)
            .environment(PREFIX, given.environment.iter().map(|(k, v)| ((*k).into(), (*v).into())))
            .flags(given.flags.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())))
            .load::<Settings>()
            .unwrap();
        let said = draft.problems.to_string().replace(&path.display().to_string(), "t.toml");
        (draft, said)
    }

    #[test]
    fn each_layer_goes_before_the_one_below() {
        let (draft, said) = load(Given {
            file: "data_dir = 'f'\nworkers = 8\ntags = ['f']\n[cache]\nsize = '2G'\nage = '2d'\n",
            environment: &[("MUSTER_TEST__CACHE__SIZE", "3G"), ("MUSTER_TEST__TAGS", "a, b"), ("HOME", "x")],
            flags: &[("cache.size", "4G")],
        });
        let settings = draft.finish().expect(&said);
        assert_eq!(settings.listen, "127.0.0.1:7600".parse().unwrap());
        assert_eq!(settings.data_dir, PathBuf::from("f"));
        assert_eq!((settings.cache.size.bytes(), settings.cache.age.to_string()), (4 << 30, "2d".to_owned()));
        assert_eq!((settings.tags, settings.workers), (vec!["a".to_owned(), "b".to_owned()], 8));
        assert!(settings.token.is_none());
    }

    #[test]
    fn all_mistakes_of_all_layers_are_told_at_once_with_their_places() {
        let (mut draft, said) = load(Given {
            file: "# a comment\nlisten = 'nowhere'\nlisen = 1\n\n[cache]\nsize = 'big'\n[cahce]\nage = 1\n",
            environment: &[
                ("MUSTER_TEST__WORKERS", "many"),
                ("MUSTER_TEST__TOKE", "x"),
                ("MUSTER_TEST_LISTEN", "x"),
            ],
            flags: &[("cache.age", "30")],
        });
        for wanted in [
            "lisen (t.toml:3) is not a known setting; did you mean 'listen'?",
            "cahce (t.toml:7) is not a known setting",
            "MUSTER_TEST__TOKE is not a known variable; did you mean 'MUSTER_TEST__TOKEN'?",
            "MUSTER_TEST_LISTEN is not a known variable; did you mean 'MUSTER_TEST__LISTEN'?",
            "data_dir is required and not set; for example data_dir = \"data\"",
            "listen = \"nowhere\" (t.toml:2) cannot be used: invalid socket address",
            "cache.size = \"big\" (t.toml:6) cannot be used",
            "cache.age = \"30\" (--cache-age) cannot be used: '30' has no unit",
            "workers = \"many\" (MUSTER_TEST__WORKERS) is not an integer; a valid value is \"4\"",
            "9 things are wrong",
        ] {
            assert!(said.contains(wanted), "no '{wanted}' in:\n{said}");
        }
        assert_eq!(draft.value().workers, 4, "what cannot be read has its default");
        draft.wrong("tags", "is empty", "name one");
        assert_eq!(draft.finish().unwrap_err().list().len(), 10);
    }

    #[test]
    fn secret_is_shown_neither_in_problems_nor_in_entries() {
        let (mut draft, said) = load(Given {
            file: "data_dir = 'd'\ntoken = ['hunter2']\npasword = 'hunter2'",
            environment: &[],
            flags: &[],
        });
        draft.wrong("token", "is old", "make a new one");
        let entries: Vec<_> = draft.entries().cloned().collect();
        assert!(said.contains("token") && said.contains("pasword"), "{said}");
        for text in [said, format!("{entries:?}"), format!("{:?}", draft.problems)] {
            assert!(!text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn broken_absent_and_oversized_files_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.toml");
        let said = |layers: Layers| layers.load::<Settings>().unwrap().finish().unwrap_err().to_string();
        assert!(said(Layers::new(SETTINGS).file(&path)).contains("cannot be read"));
        assert!(!said(Layers::new(SETTINGS).file_if_present(&path)).contains("cannot be read"));
        std::fs::write(&path, "a = 1\nb = = 2\n").unwrap();
        assert!(said(Layers::new(SETTINGS).file(&path)).contains("c.toml:2 is not TOML"));
        std::fs::write(&path, "#".repeat(1024 * 1024 + 1)).unwrap();
        assert!(said(Layers::new(SETTINGS).file(&path)).contains("larger than 1 MiB"));
    }

    #[test]
    fn settings_that_do_not_fit_the_struct_are_a_defect_not_a_loop() {
        const WRONG: &[Setting] = &[Setting::new("workers", "many", "Threads.")];
        #[derive(Debug, Deserialize)]
        #[expect(dead_code, reason = "only its shape matters")]
        struct Shape {
            workers: u16,
        }
        let problems = Layers::new(WRONG).load::<Shape>().unwrap_err();
        assert!(problems.to_string().contains("defect of the program"), "{problems}");
    }

    #[test]
    fn variable_and_flag_of_a_key_are_derived_from_it() {
        let setting = Setting::new("cache.max_age", "1d", "");
        assert_eq!(setting.variable("MUSTER_AGENT"), "MUSTER_AGENT__CACHE__MAX_AGE");
        assert_eq!(setting.flag(), "--cache-max-age");
    }
}

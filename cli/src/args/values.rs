//! The grammars of single values: what goes into a task's directory, what comes out, settings, cores.
//!
//! Each is a type with `FromStr`, so that clap refuses a bad value before anything happens, with the way to write it.
//! They know the syntax only: whether a container exists or an id is free is the controller's matter.

use std::path::PathBuf;
use std::str::FromStr;

use muster_model::{ContainerName, FilePath, IdError, PathError};
use muster_proto::wire;

/// Why a value is not valid.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ValueError {
    /// A resource file without a source.
    #[error(
        "write SRC[:DEST]; SRC is an http(s) URL, CONTAINER/PATH, or CONTAINER/FOLDER/ for all files below"
    )]
    Resource,
    /// A source whose file name cannot be told.
    #[error("'{given}' has no file name; say where the file goes: {given}:DEST")]
    NoName {
        /// The source.
        given: String,
    },
    /// An input without a path.
    #[error("write PATH[:DEST]; PATH is a file or folder here, DEST its path in the working directory there")]
    Input,
    /// An output without a pattern.
    #[error("write PATTERN[:CONTAINER[/PATH]], for example 'frame-*.png:film/frames'")]
    Output,
    /// A name of the file store without a container.
    #[error("write CONTAINER or CONTAINER/PATH")]
    Store,
    /// The container's name is not one.
    #[error(transparent)]
    Container(#[from] IdError),
    /// The path is not one.
    #[error(transparent)]
    Path(#[from] PathError),
    /// An environment setting without a name.
    #[error("write NAME=VALUE, for example LANG=C")]
    Setting,
    /// A number of cores that is not one.
    #[error("'{given}' is not a number of cores; write for example 2 or 0.5, at most 3 decimals")]
    Cpus {
        /// The text.
        given: String,
    },
    /// A note without a name.
    #[error("write NAME=VALUE, for example project=boat")]
    Note,
}

/// A file that the node fetches before a task starts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ResourceSpec(pub wire::ResourceFile);

impl FromStr for ResourceSpec {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        use wire::resource_file::Source;
        let is_url = ["http://", "https://"].iter().any(|scheme| text.starts_with(scheme));
        // The colons of a URL's scheme and port come before its path.
        let path_start = if is_url {
            text.find("://")
                .and_then(|at| text[at + 3..].find('/').map(|slash| at + 3 + slash))
                .unwrap_or(text.len())
        } else {
            0
        };
        let (source, dest) = match text[path_start..].rfind(':') {
            Some(colon) => (&text[..path_start + colon], Some(&text[path_start + colon + 1..])),
            None => (text, None),
        };
        if source.is_empty() || dest.is_some_and(str::is_empty) {
            return Err(ValueError::Resource);
        }
        let no_name = || ValueError::NoName { given: source.to_owned() };
        let name = || source.rsplit('/').next().filter(|name| !name.is_empty()).ok_or_else(no_name);
        let mut file = wire::ResourceFile::default();
        if is_url {
            let last = source.split(['?', '#']).next().unwrap_or(source);
            let last = last.get(path_start..).and_then(|path| path.rsplit('/').next()).unwrap_or_default();
            file.file_path = match dest {
                Some(dest) => dest.to_owned(),
                None if last.is_empty() => return Err(no_name()),
                None => last.to_owned(),
            };
            file.source = Some(Source::HttpUrl(source.to_owned()));
        } else {
            let (container, path) = source.split_once('/').ok_or(ValueError::Resource)?;
            let container = ContainerName::parse(container)?.to_string();
            if path.is_empty() || path.ends_with('/') {
                let prefix = wire::FileStorePrefix { container, prefix: path.to_owned() };
                file.file_path = dest.unwrap_or_default().to_owned();
                file.source = Some(Source::FileStorePrefix(prefix));
            } else {
                let path = FilePath::parse(path)?.to_string();
                file.file_path = dest.map_or_else(name, Ok)?.to_owned();
                file.source = Some(Source::FileStore(wire::FileStorePath { container, path }));
            }
        }
        if !file.file_path.is_empty() {
            FilePath::parse(&file.file_path)?;
        }
        Ok(Self(file))
    }
}

/// A local file or folder that goes into the working directory of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Input {
    /// Where it is here.
    pub source: PathBuf,
    /// Its path there; empty means: under its own name (a folder: its content at the top).
    pub dest: String,
}

impl FromStr for Input {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        // A file here may have a colon in its name: then it is that file, and not a file with a destination.
        let (source, dest) = match text.rsplit_once(':') {
            Some((source, dest)) if !PathBuf::from(text).exists() => (source, dest),
            Some(_) | None => (text, ""),
        };
        if source.is_empty() || text.ends_with(':') {
            return Err(ValueError::Input);
        }
        if !dest.trim_end_matches('/').is_empty() {
            FilePath::parse(dest.trim_end_matches('/'))?;
        }
        Ok(Self { source: source.into(), dest: dest.to_owned() })
    }
}

/// Files that are uploaded after a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OutputSpec {
    /// Which, relative to the working directory.
    pub pattern: String,
    /// Where they go; `None` means the job's own place.
    pub dest: Option<StoreName>,
}

impl FromStr for OutputSpec {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let (pattern, dest) = match text.rsplit_once(':') {
            Some((pattern, dest)) => (pattern, Some(dest.parse()?)),
            None => (text, None),
        };
        if pattern.is_empty() {
            return Err(ValueError::Output);
        }
        Ok(Self { pattern: pattern.to_owned(), dest })
    }
}

/// A container, or a file or folder in one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoreName {
    /// The container.
    pub container: String,
    /// The path in it; empty means the whole container; a trailing slash means a folder.
    pub path: String,
}

impl FromStr for StoreName {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let (container, path) = text.split_once('/').unwrap_or((text, ""));
        if container.is_empty() {
            return Err(ValueError::Store);
        }
        let container = ContainerName::parse(container)?.to_string();
        if !path.is_empty() {
            FilePath::parse(path.strip_suffix('/').unwrap_or(path))?;
        }
        Ok(Self { container, path: path.to_owned() })
    }
}

/// An environment setting.
#[derive(Debug, Clone)]
pub(crate) struct Setting(pub wire::EnvironmentSetting);

impl FromStr for Setting {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => {
                Ok(Self(wire::EnvironmentSetting { name: name.to_owned(), value: value.to_owned() }))
            }
            Some(_) | None => Err(ValueError::Setting),
        }
    }
}

/// A note of the user's.
#[derive(Debug, Clone)]
pub(crate) struct Note(pub wire::MetadataItem);

impl FromStr for Note {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => {
                Ok(Self(wire::MetadataItem { name: name.to_owned(), value: value.to_owned() }))
            }
            Some(_) | None => Err(ValueError::Note),
        }
    }
}

/// A number of cores, in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cpus(pub u64);

impl FromStr for Cpus {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let wrong = || ValueError::Cpus { given: text.chars().take(80).collect() };
        let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
        let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() && decimals.is_empty()
            || !is_number(whole)
            || !is_number(decimals)
            || decimals.len() > 3
        {
            return Err(wrong());
        }
        let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| wrong())? };
        let millis: u64 = format!("{decimals:0<3}").parse().map_err(|_| wrong())?;
        let cpus = whole.checked_mul(1000).and_then(|cpus| cpus.checked_add(millis)).ok_or_else(wrong)?;
        if cpus == 0 { Err(wrong()) } else { Ok(Self(cpus)) }
    }
}

#[cfg(test)]
mod tests {
    use muster_proto::wire::resource_file::Source;

    use super::*;

    #[test]
    fn resource_files_come_from_urls_files_and_folders_of_the_store() {
        let url = |text: &str| Source::HttpUrl(text.to_owned());
        let store = |container: &str, path: &str| {
            Source::FileStore(wire::FileStorePath { container: container.into(), path: path.into() })
        };
        let prefix = |container: &str, prefix: &str| {
            Source::FileStorePrefix(wire::FileStorePrefix {
                container: container.into(),
                prefix: prefix.into(),
            })
        };
        for (text, source, path) in [
            ("https://h:8080/a/b.txt", url("https://h:8080/a/b.txt"), "b.txt"),
            ("https://h:8080/a/b.txt?x=1:in/c", url("https://h:8080/a/b.txt?x=1"), "in/c"),
            ("http://h/a?b=c/d", url("http://h/a?b=c/d"), "a"),
            ("scene/boat.inc", store("scene", "boat.inc"), "boat.inc"),
            ("scene/a/boat.inc:x.inc", store("scene", "a/boat.inc"), "x.inc"),
            ("scene/", prefix("scene", ""), ""),
            ("scene/tex/:textures", prefix("scene", "tex/"), "textures"),
        ] {
            let ResourceSpec(file) = text.parse().unwrap();
            assert_eq!((file.source, file.file_path.as_str()), (Some(source), path), "{text}");
        }
        for bad in
            ["", "scene", ":x", "scene/a:", "https://h/", "https://h", "Sc/a", "scene/../a", "scene/a:../b"]
        {
            assert!(bad.parse::<ResourceSpec>().is_err(), "{bad}");
        }
    }

    #[test]
    fn inputs_have_a_destination_only_if_no_file_has_the_whole_name() {
        let input = |text: &str| text.parse::<Input>().map(|input| (input.source, input.dest));
        assert_eq!(input("a/b.txt").unwrap(), ("a/b.txt".into(), String::new()));
        assert_eq!(input("a/b.txt:in/c").unwrap(), ("a/b.txt".into(), "in/c".to_owned()));
        let folder = tempfile::tempdir().unwrap();
        let odd = folder.path().join("a:b");
        std::fs::write(&odd, "").unwrap();
        assert_eq!(input(odd.to_str().unwrap()).unwrap(), (odd, String::new()));
        assert!(
            input("").is_err()
                && input("a:").is_err()
                && input("a:/abs").is_err()
                && input("a:../b").is_err()
        );
    }

    #[test]
    fn outputs_name_a_pattern_and_perhaps_a_place() {
        let output: OutputSpec = "frame-*.png:film/frames".parse().unwrap();
        assert_eq!(output.pattern, "frame-*.png");
        assert_eq!(output.dest, Some(StoreName { container: "film".into(), path: "frames".into() }));
        assert_eq!("*.png".parse::<OutputSpec>().unwrap().dest, None);
        assert!("".parse::<OutputSpec>().is_err() && "x:UPPER/a".parse::<OutputSpec>().is_err());
    }

    #[test]
    fn cores_are_decimal_numbers() {
        for (text, millis) in [("1", 1000), ("1.5", 1500), ("0.25", 250), (".5", 500), ("64", 64_000)] {
            assert_eq!(text.parse::<Cpus>().unwrap(), Cpus(millis), "{text}");
        }
        for bad in ["", ".", "0", "-1", "1.2345", "two", "1e3", "99999999999999999999"] {
            assert!(bad.parse::<Cpus>().is_err(), "{bad}");
        }
    }

    #[test]
    fn settings_have_a_name() {
        let Setting(setting) = "A=b=c".parse().unwrap();
        assert_eq!((setting.name.as_str(), setting.value.as_str()), ("A", "b=c"));
        assert!("A".parse::<Setting>().is_err() && "=b".parse::<Setting>().is_err());
        let Note(note) = "project=boat".parse().unwrap();
        assert_eq!((note.name.as_str(), note.value.as_str()), ("project", "boat"));
        assert!("project".parse::<Note>().is_err());
    }
}

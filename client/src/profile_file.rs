//! The profile file: named sets of connection settings, so that a person need not export four variables.
//!
//! Goes in: the path of a TOML file. Comes out: one profile's values as they stand there. It has no rule about any of
//! them (`profile.rs` has). A file with a key in it that others may read is refused, as ssh does with its keys.
//!
//! ```toml
//! default = "lab"
//! [profiles.lab]
//! endpoint = "https://lab.example.org:7140"
//! account = "render"
//! key_file = "lab.key"   # or key = "..."; paths start at this file's folder; ca_cert likewise
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use muster_runtime::secret::Secret;
use serde::Deserialize;

/// The largest profile file that is read, in bytes: room for a thousand profiles, not for a file given by mistake.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The file as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    default: Option<String>,
    #[serde(default)]
    profiles: BTreeMap<String, Entry>,
}

/// One profile as it is written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    pub(crate) endpoint: Option<String>,
    pub(crate) account: Option<String>,
    pub(crate) key: Option<Secret>,
    pub(crate) key_file: Option<PathBuf>,
    pub(crate) ca_cert: Option<PathBuf>,
}

/// Why the profile file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProfileFileError {
    /// It cannot be read.
    #[error("cannot read the profile file {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It is not TOML with profiles.
    #[error("the profile file {path} is not valid")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and what.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// Others may read a key in it.
    #[error("the profile file {path} holds a key and others may read it; run: chmod 600 {path}")]
    Open {
        /// The file.
        path: PathBuf,
    },
    /// The profile asked for is not in it.
    #[error("there is no profile '{name}' in {path}; it has: {known}")]
    Unknown {
        /// The file.
        path: PathBuf,
        /// The name asked for.
        name: String,
        /// The names that are there, separated by commas; "none" without any.
        known: String,
    },
}

/// Reads the profile `name`, or the default one of the file, or its only one. `None` when there is no file, or when it
/// has several profiles and no default, and no name was asked for.
pub(crate) fn read(path: &Path, name: Option<&str>) -> Result<Option<Entry>, ProfileFileError> {
    let opened = File::open(path).and_then(|file| Ok((file.metadata()?, file)));
    let (metadata, file) = match opened {
        Ok(opened) => opened,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return match name {
                None => Ok(None),
                Some(name) => Err(unknown(path, name, &BTreeMap::new())),
            };
        }
        Err(source) => return Err(ProfileFileError::Read { path: path.to_owned(), source }),
    };
    let mut text = String::new();
    file.take(FILE_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(|source| ProfileFileError::Read { path: path.to_owned(), source })?;
    let document: Document = toml::from_str(&text)
        .map_err(|source| ProfileFileError::Syntax { path: path.to_owned(), source: Box::new(source) })?;
    let is_open = metadata.permissions().mode() & 0o077 != 0;
    if is_open && document.profiles.values().any(|entry| entry.key.is_some()) {
        return Err(ProfileFileError::Open { path: path.to_owned() });
    }
    let only =
        || (document.profiles.len() == 1).then(|| document.profiles.keys().next().map(String::as_str))?;
    let Some(name) = name.or(document.default.as_deref()).or_else(only) else { return Ok(None) };
    let entry = document.profiles.get(name).ok_or_else(|| unknown(path, name, &document.profiles))?;
    Ok(Some(from_folder_of(path, entry.clone())))
}

fn unknown(path: &Path, name: &str, profiles: &BTreeMap<String, Entry>) -> ProfileFileError {
    let known = if profiles.is_empty() {
        "none".to_owned()
    } else {
        profiles.keys().cloned().collect::<Vec<_>>().join(", ")
    };
    ProfileFileError::Unknown { path: path.to_owned(), name: name.to_owned(), known }
}

/// Relative paths of a profile start at the folder of its file.
fn from_folder_of(path: &Path, mut entry: Entry) -> Entry {
    let folder = path.parent().unwrap_or(Path::new(""));
    for file in [&mut entry.key_file, &mut entry.ca_cert].into_iter().flatten() {
        if file.is_relative() {
            *file = folder.join(&file);
        }
    }
    entry
}

/// Reads a key file: its first line.
pub(crate) fn read_key_file(path: &Path) -> io::Result<Secret> {
    let text = Secret::new(fs::read(path)?);
    let line = text.expose_str().and_then(|text| text.lines().next()).unwrap_or_default();
    Ok(Secret::new(line.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(text: &str, mode: u32) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("profile.toml");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (folder, path)
    }

    const TWO: &str = "default = 'a'\n[profiles.a]\nendpoint = 'https://a'\nca_cert = 'ca.pem'\n\
                       [profiles.b]\nendpoint = 'https://b'\nkey_file = '/abs/key'\n";

    #[test]
    fn the_named_profile_wins_over_the_default_one() {
        let (folder, path) = write(TWO, 0o644);
        let default = read(&path, None).unwrap().unwrap();
        assert_eq!(default.endpoint.as_deref(), Some("https://a"));
        assert_eq!(default.ca_cert, Some(folder.path().join("ca.pem")));
        let named = read(&path, Some("b")).unwrap().unwrap();
        assert_eq!(named.key_file, Some(PathBuf::from("/abs/key")));
    }

    #[test]
    fn the_only_profile_is_the_default() {
        let (_folder, path) = write("[profiles.one]\naccount = 'render'\n", 0o644);
        assert_eq!(read(&path, None).unwrap().unwrap().account.as_deref(), Some("render"));
        let (_folder, path) = write("[profiles.one]\n[profiles.two]\n", 0o644);
        assert!(read(&path, None).unwrap().is_none());
    }

    #[test]
    fn unknown_profiles_and_keys_are_refused_by_name() {
        let (_folder, path) = write(TWO, 0o644);
        let error = read(&path, Some("c")).unwrap_err().to_string();
        assert!(error.contains("no profile 'c'") && error.contains("a, b"), "{error}");
        let missing = path.with_file_name("other.toml");
        assert!(read(&missing, None).unwrap().is_none());
        assert!(read(&missing, Some("c")).unwrap_err().to_string().contains("it has: none"));
        let (_folder, path) = write("[profiles.a]\nendpint = 'x'\n", 0o644);
        assert!(matches!(read(&path, None).unwrap_err(), ProfileFileError::Syntax { .. }));
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        let text = "[profiles.a]\nkey = 'c2VjcmV0'\n";
        let (_folder, path) = write(text, 0o644);
        let error = read(&path, None).unwrap_err().to_string();
        assert!(error.contains("chmod 600") && !error.contains("c2VjcmV0"), "{error}");
        let (_folder, path) = write(text, 0o600);
        assert_eq!(read(&path, None).unwrap().unwrap().key.unwrap().expose(), b"c2VjcmV0");
    }
}

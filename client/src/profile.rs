//! What a client needs to know to use a controller: endpoint, account, key, CA certificate, and where each was given.
//!
//! Goes in: overrides (flags of a tool), the environment, the profile file. Comes out: a complete [`Profile`], or an
//! error that names *everything* that is missing and each way to give it.
//!
//! Order, the first that has a value wins: an override; the profile that an override names; `MUSTER_ENDPOINT`,
//! `MUSTER_ACCOUNT`, `MUSTER_KEY`, `MUSTER_CA_CERT`; the profile that `MUSTER_PROFILE` names, or the file's default.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use muster_model::{AccessKey, AccountName, IdError};
use muster_runtime::secret::Secret;
use muster_runtime::tls::{CertificateDer, MaterialError, read_certificates};

use crate::credentials::{CredentialError, parse_key};
use crate::endpoint::{Endpoint, EndpointError};
use crate::profile_file::{self, Entry, ProfileFileError};

/// Values that were given outright and win over everything else.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// The endpoint, `https://HOST[:PORT]`.
    pub endpoint: Option<String>,
    /// The account's name.
    pub account: Option<String>,
    /// A file whose first line is the account's key.
    pub key_file: Option<PathBuf>,
    /// The file with the controller's CA certificate.
    pub ca_cert: Option<PathBuf>,
    /// A profile of the profile file.
    pub profile: Option<String>,
}

/// A complete set of connection settings, checked.
#[derive(Debug, Clone)]
pub struct Profile {
    /// Where the controller listens.
    pub endpoint: Endpoint,
    /// The account.
    pub account: AccountName,
    /// One of its keys.
    pub key: AccessKey,
    /// The CA certificates that are trusted to sign the controller's.
    pub authorities: Vec<CertificateDer<'static>>,
}

/// One of the four settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// The endpoint.
    Endpoint,
    /// The account.
    Account,
    /// The account's key.
    Key,
    /// The CA certificate.
    CaCert,
}

impl Need {
    /// What it is, and each way to give it.
    fn ways(self) -> &'static str {
        match self {
            Self::Endpoint => {
                "the controller's address: MUSTER_ENDPOINT, --endpoint or 'endpoint' in the profile file"
            }
            Self::Account => "the account: MUSTER_ACCOUNT, --account or 'account' in the profile file",
            Self::Key => "the account's key: MUSTER_KEY, --key-file or 'key'/'key_file' in the profile file",
            Self::CaCert => {
                "the controller's CA certificate (a PEM file): MUSTER_CA_CERT, --ca-cert or 'ca_cert' in the profile file"
            }
        }
    }
}

/// Several needs, one a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needs(pub Vec<Need>);

impl fmt::Display for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|need| write!(f, "\n  {}", need.ways()))
    }
}

/// Why there is no usable profile.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// Settings were given nowhere.
    #[error(
        "it is not said how to reach a controller; missing:{needs}\nThe profile file is {file}. For a local cluster run \
         'muster dev' and then: source DIR/env"
    )]
    Missing {
        /// Which.
        needs: Needs,
        /// Where the profile file is looked for.
        file: PathBuf,
    },
    /// The profile file is of no use.
    #[error(transparent)]
    File(#[from] ProfileFileError),
    /// The endpoint is not one.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The account's name is not one.
    #[error(transparent)]
    Account(#[from] IdError),
    /// The key is not one.
    #[error(transparent)]
    Key(#[from] CredentialError),
    /// The key file cannot be read.
    #[error("cannot read the key file {path}")]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The CA certificate cannot be read.
    #[error("the CA certificate of the controller cannot be used")]
    CaCert(#[source] MaterialError),
}

/// Where the profile file is: `MUSTER_PROFILE_FILE`, or `muster/profile.toml` in the user's configuration folder.
#[must_use]
pub fn profile_path(environment: impl Fn(&str) -> Option<OsString>) -> PathBuf {
    let folder = |name: &str| environment(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    folder("MUSTER_PROFILE_FILE").unwrap_or_else(|| {
        folder("XDG_CONFIG_HOME")
            .filter(|folder| folder.is_absolute())
            .unwrap_or_else(|| folder("HOME").unwrap_or_default().join(".config"))
            .join("muster/profile.toml")
    })
}

/// The four settings as text, each from the first place that has it.
#[derive(Default)]
struct Draft {
    endpoint: Option<String>,
    account: Option<String>,
    key: Option<Secret>,
    key_file: Option<PathBuf>,
    ca_cert: Option<PathBuf>,
}

impl Draft {
    /// Fills what is still open from an entry of the profile file.
    fn fill(&mut self, entry: Entry) {
        self.endpoint = self.endpoint.take().or(entry.endpoint);
        self.account = self.account.take().or(entry.account);
        if self.key.is_none() && self.key_file.is_none() {
            self.key = entry.key;
            self.key_file = entry.key_file;
        }
        self.ca_cert = self.ca_cert.take().or(entry.ca_cert);
    }

    fn is_complete(&self) -> bool {
        self.missing().is_empty()
    }

    fn missing(&self) -> Vec<Need> {
        let mut needs = Vec::new();
        let mut need = |is_there: bool, need| {
            if !is_there {
                needs.push(need);
            }
        };
        need(self.endpoint.is_some(), Need::Endpoint);
        need(self.account.is_some(), Need::Account);
        need(self.key.is_some() || self.key_file.is_some(), Need::Key);
        need(self.ca_cert.is_some(), Need::CaCert);
        needs
    }
}

impl Profile {
    /// The key in the text form in which it is given: for programs that set up others.
    #[must_use]
    pub fn key_text(&self) -> Secret {
        Secret::new(STANDARD.encode(self.key.expose()))
    }

    /// Finds the settings and reads the files that they name. `environment` answers variables, as `std::env::var_os`.
    ///
    /// # Errors
    /// As the variants of [`ProfileError`] say.
    pub fn resolve(
        overrides: Overrides,
        environment: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, ProfileError> {
        let text = |name: &str| {
            environment(name).and_then(|value| value.into_string().ok()).filter(|value| !value.is_empty())
        };
        let file = profile_path(&environment);
        let Overrides { endpoint, account, key_file, ca_cert, profile } = overrides;
        let mut draft = Draft { endpoint, account, key: None, key_file, ca_cert };
        if let Some(name) = profile.as_deref() {
            draft.fill(profile_file::read(&file, Some(name))?.unwrap_or_default());
        }
        draft.fill(Entry {
            endpoint: text("MUSTER_ENDPOINT"),
            account: text("MUSTER_ACCOUNT"),
            key: text("MUSTER_KEY").map(Secret::new),
            key_file: None,
            ca_cert: text("MUSTER_CA_CERT").map(PathBuf::from),
        });
        if !draft.is_complete() && profile.is_none() {
            draft.fill(profile_file::read(&file, text("MUSTER_PROFILE").as_deref())?.unwrap_or_default());
        }
        Self::check(draft, file)
    }

    fn check(draft: Draft, file: PathBuf) -> Result<Self, ProfileError> {
        let needs = Needs(draft.missing());
        let missing = || ProfileError::Missing { needs: needs.clone(), file: file.clone() };
        let endpoint = draft.endpoint.ok_or_else(missing)?;
        let account = draft.account.ok_or_else(missing)?;
        let ca_cert = draft.ca_cert.ok_or_else(missing)?;
        let key = match (draft.key, draft.key_file) {
            (Some(key), _) => key,
            (None, Some(path)) => {
                profile_file::read_key_file(&path).map_err(|source| ProfileError::KeyFile { path, source })?
            }
            (None, None) => return Err(missing()),
        };
        Ok(Self {
            endpoint: endpoint.parse()?,
            account: AccountName::parse(&account)?,
            key: parse_key(&key)?,
            authorities: read_certificates(&ca_cert).map_err(ProfileError::CaCert)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::Path;

    use super::*;

    struct Place {
        folder: tempfile::TempDir,
        variables: BTreeMap<String, OsString>,
    }

    impl Place {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let cert = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
            fs::write(folder.path().join("ca.pem"), cert.cert.pem()).unwrap();
            let key = STANDARD.encode([1_u8; 32]);
            fs::write(folder.path().join("key"), format!("{key}\n")).unwrap();
            let variables = [
                ("HOME", folder.path().as_os_str().to_owned()),
                ("MUSTER_ENDPOINT", "https://env:1".into()),
                ("MUSTER_ACCOUNT", "envaccount".into()),
                ("MUSTER_KEY", key.into()),
                ("MUSTER_CA_CERT", folder.path().join("ca.pem").into()),
            ];
            Self { folder, variables: variables.map(|(name, value)| (name.to_owned(), value)).into() }
        }

        fn profile_file(&self, text: &str) -> &Self {
            let path = self.folder.path().join(".config/muster/profile.toml");
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
            self
        }

        fn resolve(&self, overrides: Overrides) -> Result<Profile, ProfileError> {
            Profile::resolve(overrides, |name| self.variables.get(name).cloned())
        }

        fn path(&self) -> &Path {
            self.folder.path()
        }
    }

    const FILE: &str = "default = 'lab'\n[profiles.lab]\nendpoint = 'https://lab'\naccount = 'labaccount'\n\
                        key_file = '../../key'\nca_cert = '../../ca.pem'\n[profiles.part]\nendpoint = 'https://part'\n";

    #[test]
    fn flags_win_over_the_environment_and_that_over_the_file() {
        let mut place = Place::new();
        place.profile_file(FILE);
        let flags = Overrides { endpoint: Some("https://flag:2".into()), ..Overrides::default() };
        let profile = place.resolve(flags).unwrap();
        assert_eq!(profile.endpoint.to_string(), "https://flag:2");
        assert_eq!(profile.account.as_str(), "envaccount");
        place.variables.retain(|name, _| name == "HOME");
        let profile = place.resolve(Overrides::default()).unwrap();
        assert_eq!((profile.endpoint.host(), profile.account.as_str()), ("lab", "labaccount"));
        assert_eq!(profile.key.expose(), &[1; 32]);
    }

    #[test]
    fn a_profile_named_by_flag_wins_over_the_environment() {
        let place = Place::new();
        place.profile_file(FILE);
        let profile =
            place.resolve(Overrides { profile: Some("part".into()), ..Overrides::default() }).unwrap();
        assert_eq!((profile.endpoint.host(), profile.account.as_str()), ("part", "envaccount"));
    }

    #[test]
    fn all_that_is_missing_is_named_with_the_ways_to_give_it() {
        let mut place = Place::new();
        place.variables.retain(|name, _| name == "HOME" || name == "MUSTER_ACCOUNT");
        let error = place.resolve(Overrides::default()).unwrap_err().to_string();
        for part in
            ["MUSTER_ENDPOINT", "--endpoint", "MUSTER_KEY", "--key-file", "MUSTER_CA_CERT", "muster dev"]
        {
            assert!(error.contains(part), "{part} in {error}");
        }
        assert!(!error.contains("MUSTER_ACCOUNT"), "{error}");
        assert!(
            error.contains(&place.path().join(".config/muster/profile.toml").display().to_string()),
            "{error}"
        );
    }

    #[test]
    fn bad_values_are_refused_in_words() {
        let mut place = Place::new();
        place.variables.insert("MUSTER_CA_CERT".into(), place.path().join("none.pem").into());
        assert!(matches!(place.resolve(Overrides::default()), Err(ProfileError::CaCert(_))));
        let flags = Overrides { account: Some("Not An Account".into()), ..Overrides::default() };
        assert!(matches!(place.resolve(flags), Err(ProfileError::Account(_))));
        let flags = Overrides { key_file: Some(place.path().join("none")), ..Overrides::default() };
        assert!(matches!(place.resolve(flags), Err(ProfileError::KeyFile { .. })));
    }
}

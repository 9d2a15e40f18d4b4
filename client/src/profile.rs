//! What a client needs to know to use a controller: endpoint, account, key or token, CA certificate, and where each was
//! given.
//!
//! Goes in: overrides (flags of a tool), the environment, the profile file. Comes out: a complete [`Profile`], or an
//! error that names *everything* that is missing and each way to give it.
//!
//! Order, the first that has a value wins: an override; the profile that an override names; `MUSTER_ENDPOINT`,
//! `MUSTER_ACCOUNT`, `MUSTER_KEY`, `MUSTER_CA_CERT`; the profile that `MUSTER_PROFILE` names, or the file's default.
//! Inside of a job manager task the environment has `MUSTER_JOB_TOKEN` and `MUSTER_CA` (the certificate itself) instead of
//! the last two; a key and a certificate file that are given as well win over them.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use muster_model::{AccessKey, AccountName, IdError};
use muster_runtime::secret::Secret;
use muster_runtime::tls::{CertificateDer, MaterialError, certificates_from_pem, read_certificates};

use crate::credentials::{CredentialError, Credentials, parse_key};
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
    /// What proves that one may act for it.
    pub credential: Credential,
    /// The CA certificates that are trusted to sign the controller's.
    pub authorities: Vec<CertificateDer<'static>>,
}

/// What proves that one may act for an account.
#[derive(Debug, Clone)]
pub enum Credential {
    /// One of its keys: everything.
    Key(AccessKey),
    /// A token that somebody else signed: what that allows. A job manager's is good for its job.
    Token(Secret),
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

/// What proves that one may act for an account, as it was given.
enum Proof {
    Key(Secret),
    KeyFile(PathBuf),
    Token(Secret),
}

/// Where the CA certificate is, as it was given.
enum Authority {
    File(PathBuf),
    Pem(String),
}

/// The four settings as text, each from the first place that has it.
#[derive(Default)]
struct Draft {
    endpoint: Option<String>,
    account: Option<String>,
    proof: Option<Proof>,
    authority: Option<Authority>,
}

impl Draft {
    /// Fills what is still open from an entry of the profile file.
    fn fill(&mut self, entry: Entry) {
        self.endpoint = self.endpoint.take().or(entry.endpoint);
        self.account = self.account.take().or(entry.account);
        let given = || entry.key.map(Proof::Key).or(entry.key_file.map(Proof::KeyFile));
        self.proof = self.proof.take().or_else(given);
        self.authority = self.authority.take().or(entry.ca_cert.map(Authority::File));
    }

    /// Fills what is still open from what a job manager task is given.
    fn fill_of_task(&mut self, token: Option<String>, authority: Option<String>) {
        self.proof = self.proof.take().or(token.map(|token| Proof::Token(Secret::new(token))));
        let parse = |text: String| {
            if text.contains("-----BEGIN") { Authority::Pem(text) } else { Authority::File(text.into()) }
        };
        self.authority = self.authority.take().or(authority.map(parse));
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
        need(self.proof.is_some(), Need::Key);
        need(self.authority.is_some(), Need::CaCert);
        needs
    }
}

impl Profile {
    /// The key in the text form in which it is given, for programs that set up others. `None` without a key.
    #[must_use]
    pub fn key_text(&self) -> Option<Secret> {
        match &self.credential {
            Credential::Key(key) => Some(Secret::new(STANDARD.encode(key.expose()))),
            Credential::Token(_) => None,
        }
    }

    /// What signs this profile's calls.
    ///
    /// # Errors
    /// [`CredentialError::Token`] when the token cannot be one.
    pub fn credentials(&self) -> Result<Credentials, CredentialError> {
        match &self.credential {
            Credential::Key(key) => Ok(Credentials::new(self.account.clone(), key)),
            Credential::Token(token) => Credentials::bearer(self.account.clone(), token),
        }
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
        let (proof, authority) = (key_file.map(Proof::KeyFile), ca_cert.map(Authority::File));
        let mut draft = Draft { endpoint, account, proof, authority };
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
        draft.fill_of_task(text("MUSTER_JOB_TOKEN"), text("MUSTER_CA"));
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
        let authority = draft.authority.ok_or_else(missing)?;
        let proof = draft.proof.ok_or_else(missing)?;
        let (endpoint, account) = (endpoint.parse()?, AccountName::parse(&account)?);
        let credential = match proof {
            Proof::Key(key) => Credential::Key(parse_key(&key)?),
            Proof::KeyFile(path) => {
                let read = profile_file::read_key_file(&path);
                Credential::Key(parse_key(&read.map_err(|source| ProfileError::KeyFile { path, source })?)?)
            }
            Proof::Token(token) => Credential::Token(token),
        };
        let authorities = match authority {
            Authority::File(path) => read_certificates(&path),
            Authority::Pem(text) => certificates_from_pem(text.as_bytes(), "MUSTER_CA"),
        };
        Ok(Self { endpoint, account, credential, authorities: authorities.map_err(ProfileError::CaCert)? })
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
        assert!(matches!(profile.credential, Credential::Key(key) if key.expose() == &[1; 32]));
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
    fn a_job_managers_environment_is_enough() {
        let mut place = Place::new();
        let pem = fs::read_to_string(place.path().join("ca.pem")).unwrap();
        place
            .variables
            .retain(|name, _| ["HOME", "MUSTER_ENDPOINT", "MUSTER_ACCOUNT"].contains(&name.as_str()));
        place.variables.insert("MUSTER_JOB_TOKEN".into(), "ey.a.b".into());
        place.variables.insert("MUSTER_CA".into(), pem.into());
        let profile = place.resolve(Overrides::default()).unwrap();
        assert_eq!(profile.authorities.len(), 1);
        assert!(profile.key_text().is_none() && !format!("{profile:?}").contains("ey.a.b"));
        assert!(profile.credentials().is_ok());
        // The certificate may be named too, and a key that is given as well wins.
        place.variables.insert("MUSTER_CA".into(), place.path().join("ca.pem").into());
        place.variables.insert("MUSTER_KEY".into(), STANDARD.encode([2_u8; 32]).into());
        assert!(matches!(place.resolve(Overrides::default()).unwrap().credential, Credential::Key(_)));
        place.variables.insert("MUSTER_CA".into(), "-----BEGIN nothing".into());
        assert!(matches!(place.resolve(Overrides::default()), Err(ProfileError::CaCert(_))));
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

//! Certificates and private keys in PEM: reading them with errors that name the file, writing them so that
//! nobody else can read them.
//!
//! It makes no certificate and judges none. Reading and writing block: daemons do both at start or on their
//! blocking threads.
//!
//! Invariant: a private file is never visible half-written or to another user, not for a moment.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// The largest PEM file that is read, in bytes: the largest bundle of public CAs in use is a fifth of it, and a
/// wrong path is refused before it fills the memory.
const PEM_BYTES_MAX: u64 = 1024 * 1024;

/// Why certificates or keys cannot be read or written. `origin` is a path, or a word for a text that is not in
/// a file.
#[derive(Debug, thiserror::Error)]
pub enum MaterialError {
    /// The file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file is larger than any PEM file.
    #[error("{path} is larger than {limit} bytes, so it is no PEM file; check the path")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit in bytes.
        limit: u64,
    },
    /// A PEM section is broken.
    #[error("{origin} is not valid PEM; it must hold '-----BEGIN ...-----' sections in base64")]
    Malformed {
        /// Where the text is from.
        origin: String,
        /// What is wrong in it.
        #[source]
        source: pem::Error,
    },
    /// There is no certificate in it.
    #[error("{origin} holds no certificate; it must have a '-----BEGIN CERTIFICATE-----' section")]
    NoCertificate {
        /// Where the text is from.
        origin: String,
    },
    /// There is no private key in it.
    #[error("{origin} holds no private key; it must have a '-----BEGIN PRIVATE KEY-----' section")]
    NoKey {
        /// Where the text is from.
        origin: String,
    },
    /// The file cannot be written.
    #[error("cannot write {path}; its folder must exist and be writable")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// A certificate chain with the private key of its first certificate. Whether the two belong together is
/// checked where a configuration is made of them.
#[derive(Debug)]
pub struct Identity {
    /// The chain, the end-entity certificate first. For peers that pin the CA it must hold the CA's too.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key; its `Debug` form has no content.
    pub key: PrivateKeyDer<'static>,
}

impl Identity {
    /// Reads chain and key from PEM texts; `origin` is what errors call them.
    ///
    /// # Errors
    /// When either text is not PEM or lacks its section.
    pub fn from_pem(chain_pem: &[u8], key_pem: &[u8], origin: &str) -> Result<Self, MaterialError> {
        Ok(Self { chain: certificates_from_pem(chain_pem, origin)?, key: key_from_pem(key_pem, origin)? })
    }
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Self { chain: self.chain.clone(), key: self.key.clone_key() }
    }
}

/// Reads all certificates of a PEM text, at least one; `origin` is what errors call it.
///
/// # Errors
/// When the text is not PEM or holds no certificate.
pub fn certificates_from_pem(
    text: &[u8],
    origin: &str,
) -> Result<Vec<CertificateDer<'static>>, MaterialError> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(text)
        .collect::<Result<_, _>>()
        .map_err(|source| MaterialError::Malformed { origin: origin.to_owned(), source })?;
    if found.is_empty() { Err(MaterialError::NoCertificate { origin: origin.to_owned() }) } else { Ok(found) }
}

fn key_from_pem(text: &[u8], origin: &str) -> Result<PrivateKeyDer<'static>, MaterialError> {
    PrivateKeyDer::from_pem_slice(text).map_err(|source| {
        if matches!(source, pem::Error::NoItemsFound) {
            MaterialError::NoKey { origin: origin.to_owned() }
        } else {
            MaterialError::Malformed { origin: origin.to_owned(), source }
        }
    })
}

/// Reads all certificates of a PEM file, at least one.
///
/// # Errors
/// When the file cannot be read, is not PEM or holds no certificate; each names the file.
pub fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, MaterialError> {
    certificates_from_pem(&read(path)?, &path.display().to_string())
}

/// Reads a certificate chain and its private key from two PEM files (which may be one and the same).
///
/// # Errors
/// When a file cannot be read, is not PEM or lacks its section; each names the file.
pub fn read_identity(chain: &Path, key: &Path) -> Result<Identity, MaterialError> {
    let text = zeroize::Zeroizing::new(read(key)?);
    Ok(Identity { chain: read_certificates(chain)?, key: key_from_pem(&text, &key.display().to_string())? })
}

fn read(path: &Path) -> Result<Vec<u8>, MaterialError> {
    let failed = |source| MaterialError::Read { path: path.to_owned(), source };
    let mut text = Vec::new();
    File::open(path).and_then(|file| file.take(PEM_BYTES_MAX + 1).read_to_end(&mut text)).map_err(failed)?;
    if u64::try_from(text.len()).is_ok_and(|length| length <= PEM_BYTES_MAX) {
        Ok(text)
    } else {
        Err(MaterialError::TooLarge { path: path.to_owned(), limit: PEM_BYTES_MAX })
    }
}

/// Writes a file that only this user may read (mode 0600), replacing what was there in one step: after a crash
/// at any instant the file has the old content or the new, and the new one is on the disk when this returns.
///
/// # Errors
/// When any step fails; the old file is then untouched.
pub fn write_private(path: &Path, content: &[u8]) -> Result<(), MaterialError> {
    // Process id and counter make the name unique among all live writers; a file that a crash left behind
    // under the same name is in nobody's use.
    static WRITES: AtomicU64 = AtomicU64::new(0);
    let failed = |source| MaterialError::Write { path: path.to_owned(), source };
    let name = path.file_name().ok_or_else(|| failed(io::Error::from(io::ErrorKind::IsADirectory)))?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mark = format!(".{}.{}.new", std::process::id(), WRITES.fetch_add(1, Ordering::Relaxed));
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(mark);
    let temporary = dir.join(temporary);
    let written = write_new(&temporary, content)
        .and_then(|()| std::fs::rename(&temporary, path))
        .and_then(|()| File::open(dir)?.sync_all());
    if written.is_err() {
        // The error that counts is the first one; a temporary file that cannot be removed is only litter.
        let _litter = std::fs::remove_file(&temporary);
    }
    written.map_err(failed)
}

fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn private_file_has_mode_0600_and_is_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.key");
        std::fs::write(&path, "an old key that anybody may read").unwrap();
        write_private(&path, b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file stays");
    }

    #[test]
    fn private_file_does_not_follow_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let (path, target) = (dir.path().join("node.key"), dir.path().join("target"));
        std::fs::write(&target, "untouched").unwrap();
        std::os::unix::fs::symlink(&target, &path).unwrap();
        write_private(&path, b"new").unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"untouched");
        assert!(std::fs::symlink_metadata(&path).unwrap().is_file());
    }

    #[test]
    fn failed_write_names_the_file_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let absent = dir.path().join("absent/node.key");
        let said = write_private(&absent, b"x").unwrap_err().to_string();
        assert!(said.contains(&absent.display().to_string()), "{said}");
        let taken = dir.path().join("taken");
        std::fs::create_dir(&taken).unwrap();
        assert!(write_private(&taken, b"x").is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn each_way_to_be_no_pem_file_has_its_own_words() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        let said = || read_certificates(&path).unwrap_err().to_string();
        assert!(said().starts_with("cannot read"), "{}", said());
        std::fs::write(&path, "nothing").unwrap();
        assert!(said().contains("holds no certificate"), "{}", said());
        std::fs::write(&path, "-----BEGIN CERTIFICATE-----\n%%%\n-----END CERTIFICATE-----\n").unwrap();
        assert!(said().contains("not valid PEM"), "{}", said());
        std::fs::write(&path, vec![b'#'; 1024 * 1024 + 1]).unwrap();
        assert!(said().contains("larger than"), "{}", said());
        let identity = Identity::from_pem(b"", b"", "the store");
        assert!(identity.unwrap_err().to_string().contains("the store"));
    }

    #[test]
    fn identity_is_read_from_files_and_hides_its_key() {
        let dir = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["a.test".to_owned()]).unwrap();
        let (chain, key) = (dir.path().join("c.pem"), dir.path().join("k.pem"));
        std::fs::write(&chain, made.cert.pem()).unwrap();
        write_private(&key, made.signing_key.serialize_pem().as_bytes()).unwrap();
        let identity = read_identity(&chain, &key).unwrap();
        assert_eq!(identity.chain, [made.cert.der().clone()]);
        assert!(!format!("{identity:?}").contains(&format!("{:?}", made.signing_key.serialize_der())));
        assert!(read_identity(&chain, &chain).unwrap_err().to_string().contains("holds no private key"));
    }
}

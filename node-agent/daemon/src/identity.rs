//! Who this node is: the file that holds its id, its certificate and its key, bound to the machine.
//!
//! The identity names a machine: the installation of the operating system together with the root directory. When an image with
//! an identity in it is cloned, the copies find another machine id, discard what they found and join anew.
//!
//! Invariant: the file is readable by the agent's user alone and is replaced in one step.

use muster_model::{AccountName, IdError, NodeId, PoolId};
use muster_runtime::tls::{
    CertificateDer, Identity as TlsIdentity, MaterialError, certificates_from_pem, write_private,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Name of the file in the agent's directory.
const NAME: &str = "identity.json";
/// Name of the file that keeps the key while the node joins.
const JOINING_NAME: &str = "joining.key";
/// Version of the file.
const VERSION: u32 = 1;
/// Largest file that is read: three certificates and a key are a few kilobytes.
const BYTES_MAX: u64 = 256 * 1024;

/// Why an identity cannot be read, used or made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    #[error("cannot read {path}")]
    Read {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("{path} is no identity of this version: remove it to let the node join anew")]
    Malformed {
        path: PathBuf,
        #[source]
        cause: serde_json::Error,
    },
    #[error(
        "{path} has version {found}, this agent reads {VERSION}: upgrade the agent, or remove the file to join anew"
    )]
    Version { path: PathBuf, found: u32 },
    #[error("cannot remove {path}")]
    Remove {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("the node's identity has a wrong name")]
    Name(#[from] IdError),
    #[error("the node's identity cannot be stored or used")]
    Material(#[from] MaterialError),
    #[error("the node's certificate cannot be read")]
    Certificate {
        #[source]
        cause: x509_parser::asn1_rs::Err<x509_parser::error::X509Error>,
    },
    #[error("cannot make a key for the node")]
    Key {
        #[source]
        cause: rcgen::Error,
    },
}

/// The file as it is on disk.
#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    machine_id: String,
    account: String,
    pool: String,
    node: String,
    certificate_chain_pem: String,
    ca_pem: String,
    key_pem: String,
}

/// A node's identity. Its `Debug` shows no key.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) account: AccountName,
    pub(crate) pool: PoolId,
    pub(crate) node: NodeId,
    pub(crate) chain_pem: String,
    pub(crate) ca_pem: String,
    pub(crate) key_pem: String,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { account, pool, node, .. } = self;
        f.debug_struct("Identity")
            .field("account", account)
            .field("pool", pool)
            .field("node", node)
            .finish_non_exhaustive()
    }
}

/// What a machine is called by itself: a hash of what its operating system has and of the root directory, so that several
/// nodes on one machine are several machines to the controller.
pub(crate) fn machine_id(system_id: &str, root: &Path) -> String {
    let mut hash = Sha256::new();
    hash.update(system_id.trim().as_bytes());
    hash.update([0]);
    hash.update(root.as_os_str().as_encoded_bytes());
    let bytes: [u8; 32] = hash.finalize().into();
    bytes[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads the identity of this machine; `None` if there is none, or if it was another machine's, which is then removed.
pub(crate) fn load(agent_dir: &Path, machine_id: &str) -> Result<Option<Identity>, IdentityError> {
    let path = agent_dir.join(NAME);
    let text = match read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(IdentityError::Read { path, cause }),
    };
    let stored: Stored = serde_json::from_slice(&text)
        .map_err(|cause| IdentityError::Malformed { path: path.clone(), cause })?;
    if stored.version != VERSION {
        return Err(IdentityError::Version { path, found: stored.version });
    }
    if stored.machine_id != machine_id {
        tracing::warn!(node = stored.node, "the identity found here is another machine's; joining anew");
        remove(agent_dir)?;
        return Ok(None);
    }
    Ok(Some(Identity {
        account: stored.account.parse()?,
        pool: stored.pool.parse()?,
        node: stored.node.parse()?,
        chain_pem: stored.certificate_chain_pem,
        ca_pem: stored.ca_pem,
        key_pem: stored.key_pem,
    }))
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    use std::io::Read;
    let mut text = Vec::new();
    std::fs::File::open(path)?.take(BYTES_MAX).read_to_end(&mut text)?;
    Ok(text)
}

/// Stores an identity in place of any other.
pub(crate) fn store(agent_dir: &Path, machine_id: &str, identity: &Identity) -> Result<(), IdentityError> {
    let stored = Stored {
        version: VERSION,
        machine_id: machine_id.to_owned(),
        account: identity.account.to_string(),
        pool: identity.pool.to_string(),
        node: identity.node.to_string(),
        certificate_chain_pem: identity.chain_pem.clone(),
        ca_pem: identity.ca_pem.clone(),
        key_pem: identity.key_pem.clone(),
    };
    let path = agent_dir.join(NAME);
    let text = serde_json::to_vec_pretty(&stored)
        .map_err(|cause| IdentityError::Malformed { path: path.clone(), cause })?;
    write_private(&path, &text)?;
    // The key is part of the identity; a copy that cannot be removed is used once more at worst.
    let _spent = std::fs::remove_file(agent_dir.join(JOINING_NAME));
    Ok(())
}

/// Removes the identity; none is fine too.
pub(crate) fn remove(agent_dir: &Path) -> Result<(), IdentityError> {
    let path = agent_dir.join(NAME);
    match std::fs::remove_file(&path) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(IdentityError::Remove { path, cause }),
        Ok(()) | Err(_) => Ok(()),
    }
}

impl Identity {
    /// The certificate and key as TLS takes them.
    pub(crate) fn tls(&self) -> Result<TlsIdentity, IdentityError> {
        Ok(TlsIdentity::from_pem(self.chain_pem.as_bytes(), self.key_pem.as_bytes(), "the node's identity")?)
    }

    /// The authorities that sign the controller's certificate.
    pub(crate) fn authorities(&self) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
        Ok(certificates_from_pem(self.ca_pem.as_bytes(), "the controller's CA")?)
    }

    /// How long from `now_s` (seconds since the epoch) until two thirds of the certificate's life have passed.
    pub(crate) fn renew_in(&self, now_s: i64) -> Result<Duration, IdentityError> {
        let chain = certificates_from_pem(self.chain_pem.as_bytes(), "the node's certificate")?;
        let Some(first) = chain.first() else { return Ok(Duration::ZERO) };
        let (_, certificate) =
            X509Certificate::from_der(first).map_err(|cause| IdentityError::Certificate { cause })?;
        let (from, until) =
            (certificate.validity().not_before.timestamp(), certificate.validity().not_after.timestamp());
        let due = from.saturating_add(until.saturating_sub(from) / 3 * 2);
        Ok(Duration::from_secs(u64::try_from(due.saturating_sub(now_s)).unwrap_or(0)))
    }
}

/// A fresh key and a request to sign it.
pub(crate) struct Csr {
    pub(crate) key_pem: String,
    pub(crate) csr_der: Vec<u8>,
}

/// Makes a key and a signing request.
pub(crate) fn new_csr() -> Result<Csr, IdentityError> {
    csr_of(rcgen::KeyPair::generate().map_err(|cause| IdentityError::Key { cause })?)
}

/// The same, with the key that an earlier try to join left, or a new one that is left for the next.
pub(crate) fn kept_csr(agent_dir: &Path) -> Result<Csr, IdentityError> {
    let path = agent_dir.join(JOINING_NAME);
    let kept = read(&path).ok().and_then(|pem| rcgen::KeyPair::from_pem(&String::from_utf8(pem).ok()?).ok());
    match kept {
        Some(key) => csr_of(key),
        None => {
            let csr = new_csr()?;
            write_private(&path, csr.key_pem.as_bytes())?;
            Ok(csr)
        }
    }
}

fn csr_of(key: rcgen::KeyPair) -> Result<Csr, IdentityError> {
    let make = || {
        let request = rcgen::CertificateParams::new(Vec::<String>::new())?.serialize_request(&key)?;
        Ok(Csr { key_pem: key.serialize_pem(), csr_der: request.der().to_vec() })
    };
    make().map_err(|cause| IdentityError::Key { cause })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Identity {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["n".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2030, 1, 1);
        params.not_after = rcgen::date_time_ymd(2030, 1, 31);
        let pem = params.self_signed(&key).unwrap().pem();
        Identity {
            account: "studio".parse().unwrap(),
            pool: "p".parse().unwrap(),
            node: "n-1".parse().unwrap(),
            chain_pem: pem.clone(),
            ca_pem: pem,
            key_pem: key.serialize_pem(),
        }
    }

    #[test]
    fn an_identity_comes_back_on_its_machine_and_is_discarded_on_another() {
        let dir = tempfile::tempdir().unwrap();
        store(dir.path(), "m-1", &sample()).unwrap();
        let mode = std::os::unix::fs::MetadataExt::mode(&dir.path().join(NAME).metadata().unwrap());
        assert_eq!(mode & 0o777, 0o600);
        let found = load(dir.path(), "m-1").unwrap().unwrap();
        assert_eq!(found.node.as_str(), "n-1");
        assert!(found.tls().is_ok());
        assert!(!format!("{found:?}").contains("PRIVATE"));
        assert!(load(dir.path(), "m-2").unwrap().is_none());
        assert!(!dir.path().join(NAME).exists());
    }

    #[test]
    fn renewal_is_due_at_two_thirds_of_the_life() {
        let begin = 1_893_456_000; // 2030-01-01
        assert_eq!(sample().renew_in(begin).unwrap(), Duration::from_secs(20 * 24 * 3600));
        assert_eq!(sample().renew_in(begin + 25 * 24 * 3600).unwrap(), Duration::ZERO);
    }

    #[test]
    fn two_roots_on_one_machine_are_two_machines() {
        assert_eq!(machine_id("abc\n", Path::new("/a")), machine_id("abc", Path::new("/a")));
        assert_ne!(machine_id("abc", Path::new("/a")), machine_id("abc", Path::new("/b")));
    }
}

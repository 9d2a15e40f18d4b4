//! The certificate authority: loaded from its folder, or made on the first start.
//!
//! Its key never leaves this module. An operator may put a CA of their own into the folder before the first start; it
//! must be allowed to sign, its key must fit it, and nobody else may read the key.

use super::error::CaError;
use super::files;
use muster_model::Digest;
use muster_runtime::clock;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PublicKeyData, date_time_ymd,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use sha2::{Digest as _, Sha256};
use std::path::{Path, PathBuf};
use std::time::Duration;
use x509_parser::prelude::{FromDer, X509Certificate};

/// How long a CA made here lasts: twenty years, longer than any installation; replacing it means joining all nodes anew.
const CA_LIFE: Duration = Duration::from_secs(20 * 365 * 24 * 3600);

/// How far before its making the authority is valid, for peers whose clocks are behind.
const BACKDATED: Duration = Duration::from_secs(3600);

/// The authority with its key.
pub struct Authority {
    pub(super) issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pem: String,
    /// Since when it is valid, counted from 1970.
    since: Duration,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("fingerprint", &self.fingerprint()).finish_non_exhaustive()
    }
}

impl Authority {
    /// The authority of `folder` (`ca.pem`, `ca.key`), made there if there is none.
    ///
    /// # Errors
    /// [`CaError`] says which file is wrong and what to do.
    pub fn load_or_make(folder: &Path) -> Result<Self, CaError> {
        let (certificate_path, key_path) = Self::paths(folder);
        match (files::read(&certificate_path)?, files::read_key(&key_path)?) {
            (Some(pem), Some(key)) => Self::load(pem, &key, &certificate_path, &key_path),
            // The key is written first: without a certificate nobody can have trusted it.
            (None, Some(_)) if !key_path.with_extension("made-here").exists() => {
                Err(CaError::Half { found: key_path, absent: certificate_path })
            }
            (None, _) => Self::make(folder),
            (Some(_), None) => Err(CaError::Half { found: certificate_path, absent: key_path }),
        }
    }

    /// Where the certificate lies in `folder`, for clients on the same machine.
    #[must_use]
    pub fn certificate_path(folder: &Path) -> PathBuf {
        folder.join("ca.pem")
    }

    fn paths(folder: &Path) -> (PathBuf, PathBuf) {
        (Self::certificate_path(folder), folder.join("ca.key"))
    }

    fn make(folder: &Path) -> Result<Self, CaError> {
        let (certificate_path, key_path) = Self::paths(folder);
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        let since = now().saturating_sub(BACKDATED);
        set_life(&mut params, since, CA_LIFE);
        let mut name = DistinguishedName::new();
        name.push(DnType::CommonName, "Muster controller CA");
        params.distinguished_name = name;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key)?;
        files::make_private_folder(folder)?;
        // Both in this order and under a mark, so that a crash in between is told from an operator's half.
        let mark = key_path.with_extension("made-here");
        files::write_whole(&mark, b"", 0o600)?;
        files::write_whole(&key_path, key.serialize_pem().as_bytes(), 0o600)?;
        files::write_whole(&certificate_path, certificate.pem().as_bytes(), 0o644)?;
        files::remove(&mark)?;
        tracing::info!(path = %certificate_path.display(), "made a certificate authority");
        let (pem, der) = (certificate.pem(), certificate.der().clone());
        Ok(Self { issuer: Issuer::new(params, key), certificate: der, pem, since })
    }

    fn load(pem: String, key: &str, certificate_path: &Path, key_path: &Path) -> Result<Self, CaError> {
        let path = || certificate_path.to_owned();
        let der = CertificateDer::from_pem_slice(pem.as_bytes())
            .map_err(|_| CaError::NotACertificate { path: path() })?;
        let (_, parsed) =
            X509Certificate::from_der(&der).map_err(|_| CaError::NotACertificate { path: path() })?;
        let may_sign = parsed.is_ca()
            && parsed.key_usage().ok().flatten().is_none_or(|usage| usage.value.key_cert_sign());
        if !may_sign {
            return Err(CaError::NotAnAuthority { path: path() });
        }
        let seconds = clock::wall_us() / 1_000_000;
        let life = parsed.validity();
        let since = Duration::from_secs(u64::try_from(life.not_before.timestamp()).unwrap_or(0));
        if seconds < life.not_before.timestamp() || seconds > life.not_after.timestamp() {
            return Err(CaError::NotValidNow { path: path() });
        }
        let wrong_key = || CaError::WrongKey { path: key_path.to_owned() };
        let key = KeyPair::from_pem(key).map_err(|_| wrong_key())?;
        if parsed.public_key().raw != key.subject_public_key_info() {
            return Err(wrong_key());
        }
        let certificate = der.clone().into_owned();
        Ok(Self { issuer: Issuer::from_ca_cert_der(&der, key)?, certificate, pem, since })
    }

    /// The certificate, for those who are to trust this controller.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The same as PEM.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Makes a certificate of this authority valid from now on for `life`, and backwards as long as the authority itself is:
    /// one that was made while this machine's clock was ahead must not shut peers out once the clock is right again.
    pub(super) fn set_life(&self, params: &mut CertificateParams, life: Duration) {
        set_life(params, self.since, life);
    }

    /// SHA-256 of the certificate's DER form: what a join token carries.
    #[must_use]
    pub fn fingerprint(&self) -> Digest {
        Digest::from_bytes(Sha256::digest(&self.certificate).into())
    }
}

/// This moment, counted from 1970.
fn now() -> Duration {
    Duration::from_micros(u64::try_from(clock::wall_us()).unwrap_or(0))
}

/// Valid since then, and from now on for `life`.
fn set_life(params: &mut CertificateParams, since: Duration, life: Duration) {
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + since;
    params.not_after = epoch + now().saturating_add(life);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_second_start_finds_the_authority_of_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("tls");
        let first = Authority::load_or_make(&folder).unwrap();
        let second = Authority::load_or_make(&folder).unwrap();
        assert_eq!(first.fingerprint(), second.fingerprint());
        assert_eq!(fs::metadata(folder.join("ca.key")).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_key_that_others_can_read_is_refused_with_the_way_out() {
        let dir = tempfile::tempdir().unwrap();
        Authority::load_or_make(dir.path()).unwrap();
        fs::set_permissions(dir.path().join("ca.key"), fs::Permissions::from_mode(0o644)).unwrap();
        let error = Authority::load_or_make(dir.path()).unwrap_err().to_string();
        assert!(error.contains("644") && error.contains("chmod 600"), "{error}");
    }

    #[test]
    fn half_an_authority_is_refused_and_a_crash_while_making_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        Authority::load_or_make(dir.path()).unwrap();
        fs::remove_file(dir.path().join("ca.pem")).unwrap();
        assert!(matches!(Authority::load_or_make(dir.path()), Err(CaError::Half { .. })));
        // As after a crash between key and certificate.
        fs::write(dir.path().join("ca.made-here"), "").unwrap();
        Authority::load_or_make(dir.path()).unwrap();
        fs::remove_file(dir.path().join("ca.key")).unwrap();
        assert!(matches!(Authority::load_or_make(dir.path()), Err(CaError::Half { .. })));
    }

    #[test]
    fn a_foreign_key_a_leaf_certificate_and_rubbish_are_told_apart() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        Authority::load_or_make(dir.path()).unwrap();
        Authority::load_or_make(other.path()).unwrap();
        let pem = |dir: &tempfile::TempDir| Authority::certificate_path(dir.path());
        fs::copy(pem(&other), pem(&dir)).unwrap();
        assert!(matches!(Authority::load_or_make(dir.path()), Err(CaError::WrongKey { .. })));
        let leaf = CertificateParams::default().self_signed(&KeyPair::generate().unwrap()).unwrap();
        fs::write(pem(&dir), leaf.pem()).unwrap();
        assert!(matches!(Authority::load_or_make(dir.path()), Err(CaError::NotAnAuthority { .. })));
        fs::write(pem(&dir), "rubbish").unwrap();
        assert!(matches!(Authority::load_or_make(dir.path()), Err(CaError::NotACertificate { .. })));
    }
}

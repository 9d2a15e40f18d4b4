//! Nodes' certificates: from a signing request, the public key and nothing else.
//!
//! Subject, names, usages and dates that a request asks for are ignored; the proof that the asker holds the key is
//! not. The certificate says which node it is, is good for client authentication only, and lives a few days.

use super::authority::Authority;
use super::error::CaError;
use crate::auth::NodeIdentity;
use rcgen::{
    CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PublicKeyData,
    SanType,
};
use rustls_pki_types::CertificateSigningRequestDer;
use std::time::Duration;

/// How long a node's certificate lasts when the configuration does not say: a node that was away for a weekend need
/// not join anew, and one that was removed is soon nobody.
pub const NODE_CERTIFICATE_LIFE_DEFAULT: Duration = Duration::from_secs(7 * 24 * 3600);

/// Longest signing request: one with a P-256 key has about 300 bytes.
const CSR_BYTES_MAX: usize = 16 * 1024;

/// Why a signing request gets no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CsrError {
    /// Too long.
    #[error(
        "the signing request is {bytes} bytes long, at most {max} are read: send one with nothing but a key"
    )]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// Not a request, or one whose signature does not fit its key.
    #[error("the signing request cannot be read as PKCS#10 in DER form with a valid signature")]
    Unreadable,
    /// A weak or unknown kind of key.
    #[error("the signing request has a key of another kind: use P-256, P-384 or Ed25519")]
    KeyKind,
    /// Signing failed.
    #[error("the certificate could not be signed")]
    Sign(#[source] CaError),
}

/// A signing request that has been read and found good, before anybody decided about its sender.
#[derive(Debug)]
pub struct CheckedCsr {
    request: CertificateSigningRequestParams,
}

impl CheckedCsr {
    /// The public key, which its sender has proved to hold.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        self.request.public_key.der_bytes()
    }
}

impl Authority {
    /// Reads a signing request and checks its size, its signature and its kind of key.
    ///
    /// # Errors
    /// [`CsrError`] in words for the sender.
    pub fn check_csr(csr_der: &[u8]) -> Result<CheckedCsr, CsrError> {
        if csr_der.len() > CSR_BYTES_MAX {
            return Err(CsrError::TooLong { bytes: csr_der.len(), max: CSR_BYTES_MAX });
        }
        let request = CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(csr_der))
            .map_err(|_| CsrError::Unreadable)?;
        let allowed = [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_ED25519];
        if !allowed.contains(&request.public_key.algorithm()) {
            return Err(CsrError::KeyKind);
        }
        Ok(CheckedCsr { request })
    }

    /// The certificate of a node that the core has accepted, as PEM.
    ///
    /// # Errors
    /// [`CsrError::Sign`].
    pub fn sign_node(
        &self,
        csr: CheckedCsr,
        identity: &NodeIdentity,
        life: Duration,
    ) -> Result<String, CsrError> {
        let failed = |error: rcgen::Error| CsrError::Sign(CaError::Make(error));
        let uri = identity.to_uri().as_str().try_into().map_err(failed)?;
        let mut params = CertificateParams::default();
        self.set_life(&mut params, life);
        let mut name = DistinguishedName::new();
        name.push(DnType::CommonName, identity.node.as_str());
        params.distinguished_name = name;
        params.subject_alt_names = vec![SanType::URI(uri)];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&csr.request.public_key, &self.issuer).map_err(failed)?;
        Ok(certificate.pem())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_model::{AccountName, NodeId, PoolId};
    use rcgen::{BasicConstraints, KeyPair};
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject;
    use x509_parser::prelude::{FromDer, X509Certificate};

    fn identity() -> NodeIdentity {
        NodeIdentity {
            account: AccountName::parse("studio").unwrap(),
            pool: PoolId::parse("render").unwrap(),
            node: NodeId::parse("tvm-1_1-20260101t000000z").unwrap(),
        }
    }

    fn authority() -> Authority {
        Authority::load_or_make(tempfile::tempdir().unwrap().path()).unwrap()
    }

    #[test]
    fn what_a_request_asks_for_is_ignored_but_for_its_key() {
        let key = KeyPair::generate().unwrap();
        let mut asked = CertificateParams::new(vec!["controller.example.org".to_owned()]).unwrap();
        asked.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        asked.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let uri = "muster://node/other1/render/tvm-2".try_into().unwrap();
        asked.subject_alt_names.push(SanType::URI(uri));
        let csr = Authority::check_csr(asked.serialize_request(&key).unwrap().der()).unwrap();

        let pem = authority().sign_node(csr, &identity(), Duration::from_secs(3600)).unwrap();
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        assert_eq!(NodeIdentity::of_certificate(&der).unwrap(), identity());
        let (_, certificate) = X509Certificate::from_der(&der).unwrap();
        assert!(!certificate.is_ca());
        let usage = certificate.extended_key_usage().unwrap().unwrap().value;
        assert!(usage.client_auth && !usage.server_auth);
        let names = certificate.subject_alternative_name().unwrap().unwrap().value;
        assert_eq!(names.general_names.len(), 1);
        let life = certificate.validity().time_to_expiration().unwrap();
        assert!(life.whole_seconds() <= 3600, "{life:?}");
    }

    #[test]
    fn a_certificate_that_was_made_while_the_clock_was_ahead_is_good_when_it_is_right_again() {
        let authority = authority();
        let key = KeyPair::generate().unwrap();
        let csr = Authority::check_csr(CertificateParams::default().serialize_request(&key).unwrap().der())
            .unwrap();
        let pem = authority.sign_node(csr, &identity(), Duration::from_secs(3600)).unwrap();
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let begins = |der: &CertificateDer<'_>| {
            X509Certificate::from_der(der).unwrap().1.validity().not_before.timestamp()
        };
        assert_eq!(begins(&der), begins(authority.certificate()), "no clock of this moment is in it");
    }

    #[test]
    fn damaged_oversized_and_weak_requests_are_refused() {
        let key = KeyPair::generate().unwrap();
        let good = CertificateParams::default().serialize_request(&key).unwrap().der().to_vec();
        let mut damaged = good.clone();
        *damaged.last_mut().unwrap() ^= 1;
        assert!(matches!(Authority::check_csr(&damaged), Err(CsrError::Unreadable)));
        assert!(matches!(Authority::check_csr(&good[..40]), Err(CsrError::Unreadable)));
        assert!(matches!(Authority::check_csr(b""), Err(CsrError::Unreadable)));
        assert!(matches!(Authority::check_csr(&vec![0; CSR_BYTES_MAX + 1]), Err(CsrError::TooLong { .. })));
        let rsa = KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
        let other = CertificateParams::default().serialize_request(&rsa).unwrap();
        assert!(matches!(Authority::check_csr(other.der()), Err(CsrError::KeyKind)));
    }
}

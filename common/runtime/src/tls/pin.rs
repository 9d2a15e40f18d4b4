//! Trust in a CA that is known by its fingerprint only: how a node that joins knows its controller.
//!
//! The join token carries the fingerprint; the server shows the CA's certificate in its chain. Only when a
//! certificate of that chain has the fingerprint is it taken as the trust anchor, and then the ordinary checks
//! run against it: signatures, validity, and the server's name.
//!
//! Invariant: the pin adds a condition and removes none. A certificate with the right fingerprint that did not
//! sign the server's certificate opens nothing.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use sha2::{Digest, Sha256};

/// SHA-256 over the DER form of a certificate. Written as 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

/// Why a text is not a fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FingerprintError {
    /// The length is wrong.
    #[error("a fingerprint has 64 hexadecimal digits, this has {found} characters")]
    Length {
        /// How many characters it has.
        found: usize,
    },
    /// A character is not a digit.
    #[error("a fingerprint has only hexadecimal digits, this has '{found}'")]
    Digit {
        /// The character.
        found: char,
    },
}

/// No certificate that the server showed has the expected fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "none of the {shown} certificates that the server showed has the fingerprint {wanted}; the token is from \
     another controller, or something between here and the controller answers in its place"
)]
pub struct PinMismatch {
    /// The fingerprint that was expected.
    pub wanted: Fingerprint,
    /// How many certificates the server showed.
    pub shown: usize,
}

impl Fingerprint {
    /// The fingerprint of a certificate.
    #[must_use]
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        Self(Sha256::digest(certificate.as_ref()).into())
    }

    /// The fingerprint as bytes.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for Fingerprint {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let digits = text
            .chars()
            .map(|found| {
                let digit = found.to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                digit.ok_or(FingerprintError::Digit { found })
            })
            .collect::<Result<Vec<u8>, _>>()?;
        let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
        match <[u8; 32]>::try_from(bytes) {
            Ok(bytes) if digits.len() == 64 => Ok(Self(bytes)),
            Ok(_) | Err(_) => Err(FingerprintError::Length { found: digits.len() }),
        }
    }
}

/// The verifier that takes the pinned CA out of the server's own chain.
#[derive(Debug)]
pub(super) struct PinnedAuthority {
    wanted: Fingerprint,
    provider: Arc<CryptoProvider>,
}

impl PinnedAuthority {
    pub(super) fn new(wanted: Fingerprint, provider: Arc<CryptoProvider>) -> Self {
        Self { wanted, provider }
    }
}

impl ServerCertVerifier for PinnedAuthority {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let authority = intermediates
            .iter()
            .find(|certificate| Fingerprint::of(certificate) == self.wanted)
            .ok_or_else(|| {
                let mismatch = PinMismatch { wanted: self.wanted, shown: intermediates.len() + 1 };
                Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(mismatch))))
            })?;
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider))
            .build()
            .map_err(|error| Error::General(error.to_string()))?
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        // The configuration speaks TLS 1.3 only; the trait asks for this all the same.
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprint_is_the_sha256_of_the_der_form_in_hex() {
        let wanted = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let found = Fingerprint::of(&CertificateDer::from(b"abc".to_vec()));
        assert_eq!(found.to_string(), wanted);
        assert_eq!(wanted.parse(), Ok(found));
        assert_eq!(wanted.to_uppercase().parse(), Ok(found));
        assert_eq!(Fingerprint::from(*found.bytes()), found);
    }

    #[test]
    fn what_is_not_a_fingerprint_is_refused() {
        for length in [0, 1, 63, 65, 66, 1000] {
            let refused = "a".repeat(length).parse::<Fingerprint>();
            assert_eq!(refused, Err(FingerprintError::Length { found: length }));
        }
        assert_eq!("é".repeat(64).parse::<Fingerprint>(), Err(FingerprintError::Digit { found: 'é' }));
    }
}

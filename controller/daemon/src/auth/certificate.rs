//! A node's certificate becomes its identity: the URI `muster://node/<account>/<pool>/<node id>` in its SAN.
//!
//! TLS has checked the chain, the dates and the possession of the key before this looks; here only the name is read,
//! strictly: exactly one such URI, exactly three parts, each a well-formed id. Whether the node still exists is the
//! core's to say.

use muster_model::{AccountName, IdError, NodeId, PoolId};
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate};

/// How the SAN of every node's certificate begins.
pub(super) const NODE_URI_PREFIX: &str = "muster://node/";

/// A node, as its certificate names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeIdentity {
    /// The account of its pool.
    pub account: AccountName,
    /// Its pool.
    pub pool: PoolId,
    /// Its id.
    pub node: NodeId,
}

/// Why a certificate names no node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Not a certificate.
    #[error("the client certificate cannot be read as X.509")]
    Unreadable,
    /// No URI of ours, or several.
    #[error("the client certificate has {found} '{NODE_URI_PREFIX}' names, a node's has exactly one")]
    NotANode {
        /// How many there are.
        found: usize,
    },
    /// The URI has not exactly three parts.
    #[error("the client certificate's name '{uri}' is not '{NODE_URI_PREFIX}<account>/<pool>/<node>'")]
    Shape {
        /// The URI, cut to 256 characters.
        uri: String,
    },
    /// A part is not an id.
    #[error("the client certificate names a node with a malformed id")]
    Id(#[from] IdError),
}

impl NodeIdentity {
    /// The URI for the node's certificate.
    #[must_use]
    pub fn to_uri(&self) -> String {
        format!("{NODE_URI_PREFIX}{}/{}/{}", self.account, self.pool, self.node)
    }

    /// Reads the identity from a certificate that TLS has verified.
    ///
    /// # Errors
    /// [`CertificateError`] when it is not a node's certificate.
    pub fn of_certificate(der: &[u8]) -> Result<Self, CertificateError> {
        let (_, certificate) = X509Certificate::from_der(der).map_err(|_| CertificateError::Unreadable)?;
        let mut uris = Vec::new();
        for extension in certificate.extensions() {
            if let ParsedExtension::SubjectAlternativeName(names) = extension.parsed_extension() {
                uris.extend(names.general_names.iter().filter_map(node_uri));
            }
        }
        match uris.as_slice() {
            [uri] => Self::of_uri(uri),
            others => Err(CertificateError::NotANode { found: others.len() }),
        }
    }

    fn of_uri(uri: &str) -> Result<Self, CertificateError> {
        let shape = || CertificateError::Shape { uri: uri.chars().take(256).collect() };
        let rest = uri.strip_prefix(NODE_URI_PREFIX).ok_or_else(shape)?;
        let parts: Vec<&str> = rest.split('/').collect();
        let [account, pool, node] = parts.as_slice() else { return Err(shape()) };
        Ok(Self {
            account: AccountName::parse(account)?,
            pool: PoolId::parse(pool)?,
            node: NodeId::parse(node)?,
        })
    }
}

/// The text of a name that is a URI of ours.
fn node_uri<'a>(name: &GeneralName<'a>) -> Option<&'a str> {
    if let GeneralName::URI(uri) = name {
        Some(*uri).filter(|uri| uri.starts_with(NODE_URI_PREFIX))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, SanType};

    fn certificate(uris: &[&str]) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        for uri in uris {
            params.subject_alt_names.push(SanType::URI((*uri).try_into().unwrap()));
        }
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn the_uri_of_a_certificate_is_the_identity() {
        let identity =
            NodeIdentity::of_certificate(&certificate(&["muster://node/studio/render/n-1"])).unwrap();
        assert_eq!(identity.account.as_str(), "studio");
        assert_eq!(identity.pool.as_str(), "render");
        assert_eq!(identity.node.as_str(), "n-1");
        assert_eq!(identity.to_uri(), "muster://node/studio/render/n-1");
    }

    #[test]
    fn anything_but_exactly_one_well_formed_name_is_refused() {
        let refused = |uris: &[&str]| NodeIdentity::of_certificate(&certificate(uris)).unwrap_err();
        assert_eq!(refused(&[]), CertificateError::NotANode { found: 0 });
        assert_eq!(refused(&["https://example.org"]), CertificateError::NotANode { found: 0 });
        let two = ["muster://node/studio/a/b", "muster://node/other1/a/b"];
        assert_eq!(refused(&two), CertificateError::NotANode { found: 2 });
        for bad in ["muster://node/studio/render", "muster://node/studio/render/n/x", "muster://node/"] {
            assert!(matches!(refused(&[bad]), CertificateError::Shape { .. }), "{bad}");
        }
        for bad in ["muster://node/Studio/render/n", "muster://node/studio/../n", "muster://node/studio//n"] {
            assert!(matches!(refused(&[bad]), CertificateError::Id(_)), "{bad}");
        }
        assert_eq!(NodeIdentity::of_certificate(b"no certificate"), Err(CertificateError::Unreadable));
    }
}

//! How this machine becomes a node, and how its certificate is renewed.
//!
//! The token carries the fingerprint of the controller's CA, so the first connection trusts that CA and no other. The key is
//! written to disk before it is sent: a repeat after a lost answer, also by a restarted agent, asks with the same key and
//! gets the same node.

use super::channel::{LinkError, Node, pinned};
use crate::config::ControllerUrl;
use crate::identity::{Identity, IdentityError, kept_csr, new_csr};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use muster_model::IdError;
use muster_model::node::MachineFacts;
use muster_proto::wire;
use muster_runtime::secret::Secret;
use muster_runtime::tls::{Fingerprint, FingerprintError};
use std::path::Path;

/// First part of every token of this form.
const PREFIX: &str = "mjt1";

/// Why a machine cannot join, or a certificate cannot be renewed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JoinError {
    #[error(
        "the node has not joined a pool yet and there is no join token: make one by `muster token create POOL` and give it by --token-file"
    )]
    NoToken,
    #[error(
        "the join token does not have the form mjt1.ID.SECRET.FINGERPRINT: copy the whole line that `muster token create POOL` printed"
    )]
    Token,
    #[error(
        "the join token's fingerprint is damaged: copy the whole line that `muster token create POOL` printed"
    )]
    Fingerprint(#[source] FingerprintError),
    #[error("the controller cannot be reached")]
    Link(#[from] LinkError),
    #[error("the controller refused: {}", .0.message())]
    Refused(#[source] Box<tonic::Status>),
    #[error("no key or no identity could be made")]
    Identity(#[from] IdentityError),
    #[error("the controller answered with a wrong name")]
    Name(#[from] IdError),
}

impl JoinError {
    /// Whether trying again later may help.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::NoToken | Self::Token | Self::Fingerprint(_) | Self::Identity(_) | Self::Name(_) => false,
            Self::Link(error) => match error {
                LinkError::Connect { .. } => !error.is_other_controller(),
                LinkError::Unconnected(_) => true,
                LinkError::Tls { .. } | LinkError::Identity(_) | LinkError::Url { .. } => false,
            },
            Self::Refused(status) => matches!(
                status.code(),
                tonic::Code::Unavailable
                    | tonic::Code::DeadlineExceeded
                    | tonic::Code::ResourceExhausted
                    | tonic::Code::Aborted
                    | tonic::Code::Internal
                    | tonic::Code::Unknown
                    | tonic::Code::Cancelled
            ),
        }
    }
}

/// A key and a signing request that are kept for repeats of one joining.
pub(crate) struct Joining {
    csr: crate::identity::Csr,
    token: Secret,
    ca: Fingerprint,
}

/// Reads the token and makes a key, or finds the one of an earlier try.
pub(crate) fn begin(token: Option<&Secret>, agent_dir: &Path) -> Result<Joining, JoinError> {
    let token = token.ok_or(JoinError::NoToken)?;
    let text = token.expose_str().map(str::trim).ok_or(JoinError::Token)?;
    let parts: Vec<&str> = text.split('.').collect();
    let [PREFIX, id, secret, fingerprint] = parts.as_slice() else { return Err(JoinError::Token) };
    if [id, secret].iter().any(|part| URL_SAFE_NO_PAD.decode(part).is_err()) {
        return Err(JoinError::Token);
    }
    let ca = fingerprint.parse().map_err(JoinError::Fingerprint)?;
    Ok(Joining { csr: kept_csr(agent_dir)?, token: Secret::new(text.to_owned()), ca })
}

/// Asks once to join.
pub(crate) async fn join(
    joining: &Joining,
    controller: &ControllerUrl,
    facts: &MachineFacts,
) -> Result<Identity, JoinError> {
    let mut node = pinned(controller, joining.ca).await?;
    let request = wire::JoinRequest {
        join_token: joining.token.expose_str().unwrap_or_default().to_owned(),
        csr_der: joining.csr.csr_der.clone(),
        facts: Some(facts.into()),
    };
    let answer =
        node.join(request).await.map_err(|status| JoinError::Refused(Box::new(status)))?.into_inner();
    Ok(Identity {
        account: answer.account_name.parse()?,
        pool: answer.pool_id.parse()?,
        node: answer.node_id.parse()?,
        chain_pem: answer.certificate_chain_pem,
        ca_pem: answer.ca_pem,
        key_pem: joining.csr.key_pem.clone(),
    })
}

/// Asks for a fresh certificate, with a fresh key.
pub(crate) async fn renew(node: &mut Node, old: &Identity) -> Result<Identity, JoinError> {
    let csr = new_csr()?;
    let answer = node
        .renew(wire::RenewRequest { csr_der: csr.csr_der })
        .await
        .map_err(|status| JoinError::Refused(Box::new(status)))?
        .into_inner();
    let renewed = Identity {
        chain_pem: answer.certificate_chain_pem,
        ca_pem: answer.ca_pem,
        key_pem: csr.key_pem,
        ..old.clone()
    };
    // What cannot be used must not take the place of what can.
    renewed.tls()?;
    renewed.authorities()?;
    Ok(renewed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(text: &str) -> Result<Joining, JoinError> {
        let dir = tempfile::tempdir().unwrap();
        begin(Some(&Secret::new(text.to_owned())), dir.path())
    }

    #[test]
    fn a_token_is_read_and_a_damaged_one_is_refused() {
        let fingerprint = "ab".repeat(32);
        assert!(begun(&format!(" mjt1.dG9r.c2VjcmV0.{fingerprint}\n")).is_ok());
        for bad in
            ["", "mjt1.a.b", &format!("mjt2.dG9r.c2VjcmV0.{fingerprint}"), &format!("mjt1.!.b.{fingerprint}")]
        {
            assert!(matches!(begun(bad), Err(JoinError::Token)), "{bad}");
        }
        assert!(matches!(begun("mjt1.dG9r.c2VjcmV0.xyz"), Err(JoinError::Fingerprint(_))));
        assert!(matches!(begin(None, Path::new("/")), Err(JoinError::NoToken)));
    }
}

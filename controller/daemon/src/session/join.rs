//! Joining and renewing: how a machine gets a certificate that says which node it is.
//!
//! Everything that can be wrong with a request is found before the core is asked; the core decides about the token;
//! the certificate is signed only after its acceptance is durable. A repeated request (the answer was lost) gets the node
//! that the first one made, as long as this process remembers it.

use super::context::{SessionContext, key_of};
use super::identity;
use crate::auth::NodeIdentity;
use crate::ca::{Authority, CheckedCsr, CsrError};
use crate::join_token::{JoinToken, JoinTokenError};
use crate::refusal;
use muster_controller_core::input::{Input, NodeInput};
use muster_controller_core::reject::Reject;
use muster_controller_core::reply::{CreatedNode, Reply};
use muster_model::node::MachineFacts;
use muster_model::{Digest, Timestamp};
use muster_proto::convert::{Problem, status, status_field};
use muster_proto::wire::{self, ErrorReason};
use muster_runtime::clock;
use sha2::{Digest as _, Sha256};
use std::net::IpAddr;
use tonic::{Code, Status};

/// Handles a Join.
pub(super) async fn join(
    context: &SessionContext,
    request: wire::JoinRequest,
    peer: Option<IpAddr>,
) -> Result<wire::JoinResponse, Status> {
    let token = JoinToken::parse(&request.join_token).map_err(|error| damaged_token(&error))?;
    if token.fingerprint != context.authority.fingerprint() {
        let words = format!(
            "join token '{}' is for a controller whose CA has the fingerprint {}, this one's is {}: check the address, or make a token here with `muster token create POOL`",
            token.id,
            token.fingerprint,
            context.authority.fingerprint()
        );
        return Err(status(Code::PermissionDenied, ErrorReason::JoinTokenUnknown, words));
    }
    let missing = || status_field("facts", Problem::Missing { hint: "say what the machine is" });
    let facts = facts_of(request.facts.ok_or_else(missing)?, peer)?;
    let csr = Authority::check_csr(&request.csr_der).map_err(|error| csr_status(&error))?;

    let seed = seed_of(&token, &facts, &csr);
    let identity = match context.recent_joins.find(&seed) {
        Some(identity) => identity,
        None => {
            let identity = accept(context, &token, facts, &seed).await?;
            context.recent_joins.remember(seed, identity.clone());
            identity
        }
    };
    let life = context.settings.node_certificate_life;
    let certificate =
        context.authority.sign_node(csr, &identity, life).map_err(|error| csr_status(&error))?;
    Ok(wire::JoinResponse {
        account_name: identity.account.to_string(),
        pool_id: identity.pool.to_string(),
        node_id: identity.node.to_string(),
        certificate_chain_pem: certificate,
        ca_pem: context.authority.pem().to_owned(),
    })
}

/// Asks the core; what it answers is durable.
async fn accept(
    context: &SessionContext,
    token: &JoinToken,
    facts: MachineFacts,
    seed: &Digest,
) -> Result<NodeIdentity, Status> {
    let now = Timestamp::from_micros(clock::wall_us());
    let node = identity::node_id(seed, 1, now).map_err(|error| refusal::internal(&error, "naming a node"))?;
    let (hostname, machine) = (facts.hostname.clone(), facts.machine_id.clone());
    let input = NodeInput::Join {
        token: token.id.clone(),
        secret_hash: token.secret_hash(),
        node: CreatedNode { node, account: None, pool: None },
        facts: Box::new(facts),
    };
    match context.engine.submit(Input::Node(input)).await {
        Ok(Reply::Joined(CreatedNode { node, account: Some(account), pool: Some(pool) })) => {
            tracing::info!(%account, %pool, %node, hostname, machine, token = %token.id, "a machine has joined");
            Ok(NodeIdentity { account, pool, node })
        }
        Ok(Reply::Joined(_) | Reply::Done | Reply::Tasks(_)) => {
            Err(refusal::internal(&UnexpectedReply, "joining a machine"))
        }
        Err(error) => {
            tracing::info!(token = %token.id, hostname, machine, %error, "a machine may not join");
            Err(refusal::of_submit(&error))
        }
    }
}

/// The core answered a join with something else: a fault of ours.
#[derive(Debug, thiserror::Error)]
#[error("the core answered a join with another reply")]
struct UnexpectedReply;

/// Handles a Renew: the same identity, if the node is still one.
pub(super) async fn renew(
    context: &SessionContext,
    identity: &NodeIdentity,
    request: &wire::RenewRequest,
) -> Result<wire::RenewResponse, Status> {
    let csr = Authority::check_csr(&request.csr_der).map_err(|error| csr_status(&error))?;
    let key = key_of(identity);
    let known = context.engine.read(move |reader| reader.node(&key.account, &key.node)).await;
    let known = known.map_err(|error| refusal::of_read(&error))?;
    if known.is_none_or(|row| row.pool != identity.pool) {
        return Err(refusal::of_reject(&Reject::NodeUnknown(identity.node.clone())));
    }
    let life = context.settings.node_certificate_life;
    let certificate = context.authority.sign_node(csr, identity, life).map_err(|error| csr_status(&error))?;
    tracing::debug!(account = %identity.account, node = %identity.node, "renewed a node's certificate");
    Ok(wire::RenewResponse { certificate_chain_pem: certificate, ca_pem: context.authority.pem().to_owned() })
}

/// What the machine says of itself; its address is where it calls from when it names none.
pub(super) fn facts_of(facts: wire::MachineFacts, peer: Option<IpAddr>) -> Result<MachineFacts, Status> {
    let mut facts = MachineFacts::try_from(facts)?;
    if facts.ip_address.is_empty() {
        facts.ip_address = peer.map(|peer| peer.to_string()).unwrap_or_default();
    }
    Ok(facts)
}

/// Names the machine and its request: the same token, machine and key are the same request, made again. Whoever lacks
/// the key or the token's secret cannot make the same one.
fn seed_of(token: &JoinToken, facts: &MachineFacts, csr: &CheckedCsr) -> Digest {
    let mut hasher = Sha256::new();
    for part in [token.id.as_str().as_bytes(), facts.machine_id.as_bytes(), csr.key(), token.secret.expose()]
    {
        hasher.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hasher.update(part);
    }
    Digest::from_bytes(hasher.finalize().into())
}

fn damaged_token(error: &JoinTokenError) -> Status {
    status(Code::PermissionDenied, ErrorReason::JoinTokenUnknown, error.to_string())
}

fn csr_status(error: &CsrError) -> Status {
    match error {
        CsrError::TooLong { .. } | CsrError::Unreadable | CsrError::KeyKind => {
            let words = format!("csr_der: {error}");
            status(Code::InvalidArgument, ErrorReason::InvalidPropertyValue, words)
        }
        CsrError::Sign(cause) => refusal::internal(cause, "signing a node's certificate"),
    }
}

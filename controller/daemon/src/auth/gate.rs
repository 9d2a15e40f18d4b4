//! The gate itself: from a call's path, headers and peer certificate to an admission or a refusal.
//!
//! The order is fixed: is there such a call, is it served at this door, who calls, does that role have the right. It
//! reads no body, keeps no state of its own and treats every service alike. Clients are known by their token alone and
//! nodes by their certificate alone: neither proves anything at the other's door.

use super::accounts::AccountLookup;
use super::certificate::NodeIdentity;
use super::denied::Denied;
use super::permit::{Admission, Caller};
use super::table::{Right, Role, right_of};
use super::token;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use muster_model::Timestamp;
use std::sync::Arc;

/// Where the time comes from.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// One of the controller's two listeners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// For clients: bearer tokens.
    Clients,
    /// For nodes: certificates.
    Nodes,
}

/// Decides about every call. Clones look up in the same accounts.
#[derive(Clone)]
pub struct Gate {
    accounts: AccountLookup,
    clock: Clock,
}

impl Gate {
    /// A gate for these accounts.
    #[must_use]
    pub fn new(accounts: AccountLookup, clock: Clock) -> Self {
        Self { accounts, clock }
    }

    /// Decides about one call. `certificate` is the peer's, in DER, if it showed one that TLS verified.
    ///
    /// # Errors
    /// [`Denied`] with words for the caller.
    pub(super) fn admit(
        &self,
        door: Door,
        path: &str,
        headers: &HeaderMap,
        certificate: Option<&[u8]>,
    ) -> Result<Admission, Denied> {
        let right =
            right_of(path).ok_or_else(|| Denied::UnknownCall { path: path.chars().take(200).collect() })?;
        if right == Right::Open {
            return Ok(Admission::Open);
        }
        match (door, right.is_for_nodes()) {
            (Door::Clients, false) => self.admit_client(right, path, headers),
            (Door::Nodes, true) => Self::admit_node(right, certificate),
            (Door::Clients, true) => {
                Err(Denied::OtherDoor { path: path.to_owned(), listener: "listener for nodes" })
            }
            (Door::Nodes, false) => {
                Err(Denied::OtherDoor { path: path.to_owned(), listener: "listener for clients" })
            }
        }
    }

    fn admit_client(&self, right: Right, path: &str, headers: &HeaderMap) -> Result<Admission, Denied> {
        let caller = self.authenticate(headers)?;
        if !right.is_held_by(caller.role()) {
            let shown = role_in_words(caller.role());
            return Err(Denied::NotAllowed { path: path.to_owned(), shown, needed: right_in_words(right) });
        }
        Ok(Admission::of_client(right, caller))
    }

    fn admit_node(right: Right, certificate: Option<&[u8]>) -> Result<Admission, Denied> {
        let identity = certificate.map(NodeIdentity::of_certificate).transpose();
        if right.is_held_by(Role::Nobody) {
            // Joining anew is how a machine with a stale or foreign certificate gets a good one.
            return Ok(Admission::of_node(identity.ok().flatten()));
        }
        let identity = identity.map_err(Denied::Certificate)?.ok_or(Denied::NoCertificate)?;
        Ok(Admission::of_node(Some(identity)))
    }

    fn authenticate(&self, headers: &HeaderMap) -> Result<Caller, Denied> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let value = values.next().ok_or(Denied::NoToken)?;
        if values.next().is_some() {
            return Err(Denied::NotBearer);
        }
        let text = value.to_str().map_err(|_| Denied::NotBearer)?;
        let (scheme, token) = text.split_once(' ').ok_or(Denied::NotBearer)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(Denied::NotBearer);
        }
        token::verify(token.trim(), &self.accounts, (self.clock)())
    }
}

const fn role_in_words(role: Role) -> &'static str {
    match role {
        Role::Operator => "a token of an operator's account",
        Role::Account => "a token of an account that is not an operator's",
        Role::Reader => "a read-only token (scope \"read\")",
        Role::Job => "a token that is for one job",
        Role::JobReader => "a read-only token that is for one job",
        Role::Node => "a node's certificate",
        Role::Nobody => "no token",
    }
}

const fn right_in_words(right: Right) -> &'static str {
    match right {
        Right::Open => "nothing",
        Right::Know | Right::ReadJob => "any token of the account",
        Right::Read => "a token without the claim 'job'",
        Right::Write | Right::Keys => "a token without the claims 'scope' and 'job'",
        Right::WriteJob => "a token without the claim 'scope'",
        Right::Operate => "an operator's account and a token without the claims 'scope' and 'job'",
        Right::Join => "a join token",
        Right::Node => "a node's certificate",
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{NOW_SECONDS, account, lookup, now, sign};
    use super::*;
    use http::HeaderValue;
    use muster_model::JobId;
    use serde_json::json;

    fn gate() -> Gate {
        Gate::new(lookup([account("studio", false, 1), account("boss", true, 3)]), Arc::new(now))
    }

    fn headers_of(role: Role) -> HeaderMap {
        let exp = NOW_SECONDS + 600;
        let token = match role {
            Role::Operator => Some(sign(3, &json!({"sub": "boss", "exp": exp}))),
            Role::Account => Some(sign(1, &json!({"sub": "studio", "exp": exp}))),
            Role::Reader => Some(sign(1, &json!({"sub": "studio", "exp": exp, "scope": "read"}))),
            Role::Job => Some(sign(1, &json!({"sub": "studio", "exp": exp, "job": "film"}))),
            Role::JobReader => {
                Some(sign(1, &json!({"sub": "studio", "exp": exp, "job": "film", "scope": "read"})))
            }
            Role::Node | Role::Nobody => None,
        };
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            headers.insert(AUTHORIZATION, HeaderValue::try_from(format!("Bearer {token}")).unwrap());
        }
        headers
    }

    fn node_certificate() -> Vec<u8> {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        let uri = "muster://node/studio/render/n-1".try_into().unwrap();
        params.subject_alt_names.push(rcgen::SanType::URI(uri));
        params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    fn all_paths() -> Vec<&'static str> {
        super::super::table::all().map(|(path, _)| path).collect()
    }

    #[test]
    fn every_call_with_every_role_at_every_door_is_decided_by_the_table() {
        let gate = gate();
        let certificate = node_certificate();
        for path in all_paths() {
            let right = right_of(path).unwrap();
            for role in Role::ALL {
                let headers = headers_of(role);
                let certificate = (role == Role::Node).then_some(certificate.as_slice());
                for door in [Door::Clients, Door::Nodes] {
                    let verdict = gate.admit(door, path, &headers, certificate);
                    let right_door = right == Right::Open || right.is_for_nodes() == (door == Door::Nodes);
                    let expected = right_door && right.is_held_by(role);
                    assert_eq!(verdict.is_ok(), expected, "{path} as {role:?} at {door:?}: {verdict:?}");
                }
            }
        }
    }

    /// The table again, independent of it: who may do what, in the words of the design.
    #[test]
    fn the_roles_mean_what_the_design_says() {
        let gate = gate();
        let may = |role: Role, call: &str| {
            gate.admit(Door::Clients, &format!("/muster.v1.{call}"), &headers_of(role), None).is_ok()
        };
        for role in [Role::Account, Role::Reader, Role::Job, Role::JobReader, Role::Node, Role::Nobody] {
            assert!(!may(role, "AccountService/CreateAccount"), "{role:?}");
            assert!(!may(role, "AccountService/ListAccounts"), "{role:?}");
        }
        for role in [Role::Reader, Role::Job, Role::JobReader, Role::Node, Role::Nobody] {
            assert!(!may(role, "AccountService/GetAccountKeys"), "{role:?}");
            assert!(!may(role, "PoolService/CreateJoinToken"), "{role:?}");
            assert!(!may(role, "JobService/CreateJob"), "{role:?}");
            assert!(!may(role, "FileService/PutFile"), "{role:?}");
        }
        for role in [Role::Job, Role::JobReader] {
            assert!(!may(role, "JobService/ListJobs") && !may(role, "PoolService/ListPools"), "{role:?}");
            assert!(!may(role, "FileService/GetFile") && !may(role, "FileService/ReadNodeFile"), "{role:?}");
            assert!(may(role, "FileService/ReadTaskFile") && may(role, "TaskService/GetTask"), "{role:?}");
        }
        assert!(may(Role::Job, "TaskService/CreateTask") && !may(Role::JobReader, "TaskService/CreateTask"));
        assert!(
            may(Role::Reader, "FileService/GetFile") && may(Role::Operator, "AccountService/CreateAccount")
        );
    }

    #[test]
    fn a_job_token_reaches_its_job_and_no_other() {
        let gate = gate();
        let path = "/muster.v1.TaskService/GetTask";
        let admission = gate.admit(Door::Clients, path, &headers_of(Role::Job), None).unwrap();
        let Admission::Job(permit) = admission else { panic!("{admission:?}") };
        assert_eq!(permit.for_job(&JobId::parse("FILM").unwrap()).unwrap().as_str(), "studio");
        for other in ["fil", "film2", "film-1", "other"] {
            let denied = permit.for_job(&JobId::parse(other).unwrap()).unwrap_err();
            assert!(denied.to_string().contains("'film'") && denied.to_string().contains(other), "{denied}");
        }
    }

    #[test]
    fn headers_of_another_shape_are_refused() {
        let gate = gate();
        let path = "/muster.v1.VersionService/GetVersion";
        let good = headers_of(Role::Account).remove(AUTHORIZATION).unwrap();
        let try_value = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, HeaderValue::try_from(value).unwrap());
            gate.admit(Door::Clients, path, &headers, None).map(|_| ())
        };
        assert_eq!(try_value("Basic c3R1ZGlvOmtleQ=="), Err(Denied::NotBearer));
        assert_eq!(try_value("Bearer"), Err(Denied::NotBearer));
        assert_eq!(try_value("Bearer "), Err(Denied::NotJwt));
        assert_eq!(try_value(&good.to_str().unwrap().replace("Bearer", "bearer")), Ok(()));
        let mut twice = HeaderMap::new();
        twice.append(AUTHORIZATION, good.clone());
        twice.append(AUTHORIZATION, good);
        assert_eq!(gate.admit(Door::Clients, path, &twice, None).map(|_| ()), Err(Denied::NotBearer));
    }

    #[test]
    fn certificates_prove_nothing_to_clients_calls_and_tokens_nothing_to_nodes() {
        let gate = gate();
        let certificate = node_certificate();
        let read = "/muster.v1.PoolService/GetPool";
        let verdict = gate.admit(Door::Clients, read, &HeaderMap::new(), Some(&certificate));
        assert_eq!(verdict.map(|_| ()), Err(Denied::NoToken));
        let session = "/muster.v1.NodeService/Session";
        let verdict = gate.admit(Door::Nodes, session, &headers_of(Role::Operator), None);
        assert_eq!(verdict.map(|_| ()), Err(Denied::NoCertificate));
        let verdict = gate.admit(Door::Nodes, session, &HeaderMap::new(), Some(b"junk"));
        assert!(matches!(verdict.map(|_| ()), Err(Denied::Certificate(_))));
    }
}

//! The proofs that the gate hands to handlers: that this caller may make this call, and in whose name.
//!
//! A proof has no public constructor. A handler takes one as its first argument and has no other way to an account
//! name, so a handler that forgot to ask cannot be written. A call on one job yields a [`JobPermit`], which gives the
//! account away only against the job's id: a token of one job can never reach another.

use super::certificate::NodeIdentity;
use super::denied::Denied;
use super::table::{Right, Role};
use http::Extensions;
use muster_model::{AccountName, JobId};

/// A client that showed a good token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The account in whose name it calls.
    pub account: AccountName,
    /// Whether that account may manage accounts. Always false for a scoped token.
    pub is_operator: bool,
    /// The only job that the token is for, if it has one.
    pub job: Option<JobId>,
    /// Whether the token only reads.
    pub read_only: bool,
}

impl Caller {
    /// The role that the table knows this caller by.
    #[must_use]
    pub const fn role(&self) -> Role {
        match (&self.job, self.read_only, self.is_operator) {
            (None, false, true) => Role::Operator,
            (None, false, false) => Role::Account,
            (None, true, _) => Role::Reader,
            (Some(_), false, _) => Role::Job,
            (Some(_), true, _) => Role::JobReader,
        }
    }
}

/// The handler asked for another proof than the table's right yields: a fault of this program, not of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this call was let in without {wanted}: its right in the table does not fit its handler")]
pub struct Unproved {
    /// What the handler needs.
    pub wanted: &'static str,
}

/// Proof that the caller may make this call on what belongs to its account.
#[derive(Debug, Clone)]
pub struct Permit {
    caller: Caller,
}

/// Proof that the caller may make this call on one job, not yet which.
#[derive(Debug, Clone)]
pub struct JobPermit {
    caller: Caller,
}

/// Proof that the caller is a node (or, for Join, a machine that wants to be one).
#[derive(Debug, Clone)]
pub struct NodePermit {
    identity: Option<NodeIdentity>,
}

impl Permit {
    /// The account in whose name the call is made.
    #[must_use]
    pub const fn account(&self) -> &AccountName {
        &self.caller.account
    }

    /// Whether the caller may manage other accounts.
    #[must_use]
    pub const fn is_operator(&self) -> bool {
        self.caller.is_operator
    }

    /// The proof that the gate left with the request.
    ///
    /// # Errors
    /// [`Unproved`] when the table's right for this call yields another one.
    pub fn of(extensions: &Extensions) -> Result<Self, Unproved> {
        extensions.get().cloned().ok_or(Unproved { wanted: "a permit for its account" })
    }
}

impl JobPermit {
    /// Whose token it is, for those who count its calls. What belongs to the account is reached by
    /// [`JobPermit::for_job`] alone.
    pub(crate) const fn owner(&self) -> &AccountName {
        &self.caller.account
    }

    /// The account, for work on this job alone.
    ///
    /// # Errors
    /// [`Denied::OtherJob`] when the token is for another job.
    pub fn for_job(&self, job: &JobId) -> Result<&AccountName, Denied> {
        match &self.caller.job {
            Some(own) if own != job => Err(Denied::OtherJob { own: own.clone(), asked: job.clone() }),
            Some(_) | None => Ok(&self.caller.account),
        }
    }

    /// The proof that the gate left with the request.
    ///
    /// # Errors
    /// [`Unproved`] when the table's right for this call yields another one.
    pub fn of(extensions: &Extensions) -> Result<Self, Unproved> {
        extensions.get().cloned().ok_or(Unproved { wanted: "a permit for a job" })
    }
}

impl NodePermit {
    /// The node.
    ///
    /// # Errors
    /// [`Unproved`] for Join, which is let in without a certificate.
    pub fn node(&self) -> Result<&NodeIdentity, Unproved> {
        self.identity.as_ref().ok_or(Unproved { wanted: "a node's certificate" })
    }

    /// The proof that the gate left with the request.
    ///
    /// # Errors
    /// [`Unproved`] when the table's right for this call yields another one.
    pub fn of(extensions: &Extensions) -> Result<Self, Unproved> {
        extensions.get().cloned().ok_or(Unproved { wanted: "a permit for a node" })
    }
}

/// What the gate decided: the proof for the handler, if the call has one.
#[derive(Debug, Clone)]
pub(super) enum Admission {
    Open,
    Account(Permit),
    Job(JobPermit),
    Node(NodePermit),
}

impl Admission {
    /// The proof that `right` yields for a client. The gate has checked that the caller holds the right.
    pub(super) fn of_client(right: Right, caller: Caller) -> Self {
        match right {
            Right::Open | Right::Join | Right::Node => Self::Open,
            Right::ReadJob | Right::WriteJob => Self::Job(JobPermit { caller }),
            Right::Know | Right::Read | Right::Write | Right::Keys | Right::Operate => {
                Self::Account(Permit { caller })
            }
        }
    }

    pub(super) const fn of_node(identity: Option<NodeIdentity>) -> Self {
        Self::Node(NodePermit { identity })
    }

    pub(super) fn leave_in(self, extensions: &mut Extensions) {
        match self {
            Self::Open => {}
            Self::Account(permit) => {
                extensions.insert(permit);
            }
            Self::Job(permit) => {
                extensions.insert(permit);
            }
            Self::Node(permit) => {
                extensions.insert(permit);
            }
        }
    }
}

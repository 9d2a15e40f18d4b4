//! The gate: who calls, and whether this call is theirs to make. Decided once, before a request's body is read.
//!
//! * `table`: every RPC with the right that it needs; a call that is not in it is refused.
//! * `token`: a client's bearer token (JWT, HS256, signed with an account key) becomes a `Caller`.
//! * `certificate`: a node's certificate becomes a `NodeIdentity`.
//! * `accounts`: where accounts and their keys are looked up.
//! * `gate` puts these together, `layer` stands before the services and runs it, `permit` is its proof.
//!
//! Invariant: a `Permit`, `JobPermit` or `NodePermit` is made by the gate alone, and handlers learn their account
//! from nowhere else.

mod accounts;
mod certificate;
mod denied;
mod gate;
mod layer;
mod permit;
mod table;
#[cfg(test)]
pub(crate) mod testing;
mod token;

pub use accounts::AccountLookup;
pub use certificate::NodeIdentity;
pub use denied::Denied;
pub use gate::{Clock, Door, Gate};
pub use layer::{GateLayer, GateService};
pub use permit::{Caller, JobPermit, NodePermit, Permit, Unproved};
pub use table::{Right, Role, right_of};
pub use token::{JOB_TOKEN_LIFE_MAX, TOKEN_LEEWAY, TOKEN_LIFE_MAX, job_token};

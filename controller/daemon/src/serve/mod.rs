//! The two listeners: the bounds that hold before anybody has shown who they are, and stopping in order.
//!
//! * [`incoming`]: connections for tonic; `muster_runtime::tls` accepts them within bounds.
//! * [`deadline`]: no call that answers once may take for ever.
//! * [`listener`]: puts these under tonic.
//!
//! Nothing here knows a service or an account.

mod deadline;
mod error;
mod incoming;
mod listener;

pub use error::ServeError;
pub use incoming::Bound;
pub use listener::run;

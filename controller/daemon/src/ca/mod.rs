//! The controller's certificates: its own authority, the server certificate, the nodes' certificates.
//!
//! * [`authority`]: the CA in `data_dir/tls`, made on the first start or put there by the operator.
//! * [`node`]: a machine's signing request becomes a short-lived certificate that names the node.
//! * [`server`]: the certificate of both listeners, kept in memory and renewed while the process runs.
//!
//! Nothing here decides who may have a certificate: `session` asks only after the core has accepted the machine.

mod authority;
mod error;
mod files;
mod node;
mod server;

pub use authority::Authority;
pub use error::CaError;
pub use node::{CheckedCsr, CsrError, NODE_CERTIFICATE_LIFE_DEFAULT};
pub use server::ServerCertificate;

//! Why a listener does not serve: it has no port, or the server below it has failed.
//!
//! Either ends the process, and the address says which listener it was. What is wrong with one connection or one call
//! is no error of these: it ends that connection or that call alone.

use std::io;
use std::net::SocketAddr;

/// Why a listener does not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be had.
    #[error("cannot listen on {address}: choose another address, or end the process that has it")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The HTTP/2 server failed.
    #[error("the server on {address} failed")]
    Server {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        cause: tonic::transport::Error,
    },
}

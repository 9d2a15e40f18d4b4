//! The URL of the controller's address for nodes: `https://HOST:PORT` and nothing else.
//!
//! It is taken apart once: what is dialled, and the name that the certificate must have. Nothing is resolved or opened here.
//! Invariant: the port is not 0 and the name is one that TLS can check.

use muster_runtime::tls::ServerName;

/// Where the controller is.
#[derive(Debug, Clone)]
pub(crate) struct ControllerUrl {
    /// As it was given, without a trailing slash.
    pub(crate) url: String,
    /// `host:port`.
    pub(crate) address: String,
    /// The name that its certificate must have.
    pub(crate) server_name: ServerName<'static>,
}

impl ControllerUrl {
    /// Reads `https://HOST:PORT`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let rest = text.trim_end_matches('/');
        let address = rest.strip_prefix("https://")?;
        let (host, port) = address.rsplit_once(':')?;
        let _port: u16 = port.parse().ok().filter(|port| *port > 0)?;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let server_name = ServerName::try_from(bare.to_owned()).ok()?;
        Some(Self { url: rest.to_owned(), address: address.to_owned(), server_name })
    }
}

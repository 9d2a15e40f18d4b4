//! The address of a controller: `https://HOST[:PORT]`.
//!
//! Owns the text form and its rule. It resolves no names and opens no connection (`connect.rs` does).
//!
//! Invariant: an endpoint is always TLS. There is no form that sends a token in clear text.

use std::fmt;
use std::str::FromStr;

use tonic::transport::Uri;

/// The port of a controller that is given without one.
pub(crate) const DEFAULT_PORT: u16 = 7140;

/// Where a controller listens for clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    host: String,
    port: u16,
}

/// Why a text is not an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// It has another scheme than https, or none.
    #[error(
        "endpoint '{given}' does not start with https://; write for example https://127.0.0.1:{DEFAULT_PORT}"
    )]
    Scheme {
        /// The text.
        given: String,
    },
    /// It has no host, or one that cannot be read.
    #[error(
        "endpoint '{given}' has no host that can be read; write for example https://127.0.0.1:{DEFAULT_PORT}"
    )]
    Host {
        /// The text.
        given: String,
    },
    /// It has a user, a path or a query.
    #[error("endpoint '{given}' has more than a host and a port; leave out users, paths and queries")]
    Extra {
        /// The text.
        given: String,
    },
}

impl Endpoint {
    /// The host: a name, an IPv4 address, or an IPv6 address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// `HOST:PORT`, with brackets around an IPv6 address.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let given = || text.chars().take(200).collect::<String>();
        let trimmed = text.trim();
        if !trimmed.to_ascii_lowercase().starts_with("https://") {
            return Err(EndpointError::Scheme { given: given() });
        }
        let uri: Uri = trimmed.parse().map_err(|_| EndpointError::Host { given: given() })?;
        let authority = uri.authority().ok_or_else(|| EndpointError::Host { given: given() })?;
        let has_path = !matches!(uri.path(), "" | "/") || uri.query().is_some();
        if has_path || authority.as_str().contains('@') {
            return Err(EndpointError::Extra { given: given() });
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = match authority.port() {
            Some(port) => port.as_u16(),
            None if authority.as_str().ends_with(authority.host()) => DEFAULT_PORT,
            // "https://host:99999" has a port that is none.
            None => return Err(EndpointError::Host { given: given() }),
        };
        if host.is_empty() || port == 0 {
            return Err(EndpointError::Host { given: given() });
        }
        Ok(Self { host, port })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}", self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_read_with_and_without_port() {
        for (text, shown) in [
            ("https://127.0.0.1:7140", "https://127.0.0.1:7140"),
            ("https://render.example.org", "https://render.example.org:7140"),
            ("HTTPS://render.example.org:443/", "https://render.example.org:443"),
            (" https://[::1]:9000 ", "https://[::1]:9000"),
            ("https://[::1]", "https://[::1]:7140"),
        ] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!(endpoint.to_string(), shown, "{text}");
        }
        assert_eq!("https://[::1]:9000".parse::<Endpoint>().unwrap().host(), "::1");
    }

    #[test]
    fn what_is_no_endpoint_is_refused_with_an_example() {
        for (text, part) in [
            ("127.0.0.1:7140", "does not start with https://"),
            ("http://127.0.0.1:7140", "does not start with https://"),
            ("https://", "no host"),
            ("https://host:99999", "no host"),
            ("https://host:0", "no host"),
            ("https://host/api", "more than a host"),
            ("https://user@host", "more than a host"),
        ] {
            let error = text.parse::<Endpoint>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}

//! Contents from http and https URLs.
//!
//! One GET, following a bounded number of redirects that are each checked again; what breaks off goes on by a range if the server
//! said by what the content is known (ETag). Nothing is unpacked. Proxies are those of the agent's environment.
//!
//! Link-local addresses, where clouds keep the credentials of their machines, are refused: as addresses in a URL, and as
//! what a name resolves to.

use super::download::Download;
use super::error::{FetchError, Place};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{ETAG, HeaderMap, IF_NONE_MATCH, IF_RANGE, RANGE};
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, StatusCode, Url};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Most redirects: browsers take 20, honest downloads need two.
const REDIRECTS_MAX: usize = 5;
/// How long a connection may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// How long nothing may arrive.
const READ_LIMIT: Duration = Duration::from_secs(60);

/// The HTTP clients of the node, made when they are first needed: a node that fetches nothing does not hold the authorities
/// of the web in memory, and one whose system has none can do everything else.
#[derive(Debug)]
pub(super) struct Http {
    /// For every URL; in words, why there is none.
    client: OnceLock<Result<Client, Box<str>>>,
    /// For http alone, where there is no other.
    plain: OnceLock<Option<Client>>,
    allow_link_local: bool,
}

/// What one GET came to.
pub(super) enum Got {
    /// All has arrived.
    Whole {
        /// By what the server knows this content.
        etag: Option<String>,
    },
    /// The content is the one that was known before.
    NotModified,
}

/// Why one GET failed.
pub(super) enum GetError {
    /// For good.
    Final(FetchError),
    /// Trying again may help.
    Passing(Box<str>),
}

impl From<FetchError> for GetError {
    fn from(error: FetchError) -> Self {
        Self::Final(error)
    }
}

impl Http {
    pub(super) const fn new(allow_link_local: bool) -> Self {
        Self { client: OnceLock::new(), plain: OnceLock::new(), allow_link_local }
    }

    /// The client for a URL.
    fn client(&self, url: &Url) -> Result<&Client, FetchError> {
        let client = self.client.get_or_init(|| self.builder().build().map_err(|error| chain(&error)));
        match client {
            Ok(client) => Ok(client),
            Err(reason) => {
                let without = || self.builder().tls_certs_only([]).build().ok();
                let plain = self.plain.get_or_init(without).as_ref().filter(|_| url.scheme() == "http");
                let from = Place::of_url(url);
                plain.ok_or_else(|| FetchError::NoAuthorities { from, reason: reason.clone() })
            }
        }
    }

    fn builder(&self) -> ClientBuilder {
        let allow_link_local = self.allow_link_local;
        let policy = Policy::custom(move |attempt| {
            if attempt.previous().len() > REDIRECTS_MAX {
                return attempt.error(TooMany);
            }
            if allowed(attempt.url(), allow_link_local) {
                attempt.follow()
            } else {
                let to = shown_host(attempt.url());
                attempt.error(Elsewhere { to })
            }
        });
        Client::builder()
            .redirect(policy)
            .connect_timeout(CONNECT_LIMIT)
            .read_timeout(READ_LIMIT)
            .dns_resolver(Arc::new(Resolver { allow_link_local }))
            .user_agent(concat!("muster-agent/", env!("CARGO_PKG_VERSION")))
    }

    /// Reads a URL.
    pub(super) fn parse(text: &str) -> Result<Url, FetchError> {
        Url::parse(text).map_err(|_| FetchError::NoUrl { from: Place::Url(text.chars().take(80).collect()) })
    }

    /// Asks for what `download` does not have yet. `resume` is the ETag under which its first bytes arrived, `known` that
    /// of a content that is in the cache.
    pub(super) async fn get(
        &self,
        url: &Url,
        download: &mut Download<'_>,
        resume: &mut Option<String>,
        known: Option<&str>,
    ) -> Result<Got, GetError> {
        let from = Place::of_url(url);
        if !allowed(url, self.allow_link_local) {
            return Err(FetchError::NotAllowed { from, to: shown_host(url) }.into());
        }
        let mut request = self.client(url)?.get(url.clone());
        match (&resume, download.written()) {
            (Some(etag), 1..) => {
                request =
                    request.header(RANGE, format!("bytes={}-", download.written())).header(IF_RANGE, etag);
            }
            (Some(_), 0) | (None, _) => download.restart()?,
        }
        if let (Some(known), 0) = (known, download.written()) {
            request = request.header(IF_NONE_MATCH, known);
        }
        let mut response = request.send().await.map_err(|error| sending_failed(&error, &from))?;
        let status = response.status();
        match status {
            StatusCode::OK => {
                download.restart()?;
                *resume = strong_etag(response.headers());
            }
            StatusCode::PARTIAL_CONTENT if download.written() > 0 => {}
            StatusCode::NOT_MODIFIED if known.is_some() => return Ok(Got::NotModified),
            StatusCode::RANGE_NOT_SATISFIABLE => {
                *resume = None;
                return Err(GetError::Passing("the server refused to go on where it broke off".into()));
            }
            _ => return Err(status_failed(status, from)),
        }
        let etag = strong_etag(response.headers());
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) => download.append(&chunk)?,
                Ok(None) => return Ok(Got::Whole { etag }),
                Err(error) => return Err(GetError::Passing(chain(&error))),
            }
        }
    }
}

/// The ETag of a response if it names these bytes exactly; a weak one (`W/`) does not.
fn strong_etag(headers: &HeaderMap) -> Option<String> {
    let etag = headers.get(ETAG)?.to_str().ok()?;
    (!etag.starts_with("W/")).then(|| etag.to_owned())
}

fn status_failed(status: StatusCode, from: Place) -> GetError {
    let code = status.as_u16();
    match status {
        StatusCode::NOT_FOUND | StatusCode::GONE => FetchError::NotFound { from, status: code }.into(),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
            GetError::Passing(format!("the server answered {status}").into())
        }
        _ if status.is_server_error() => GetError::Passing(format!("the server answered {status}").into()),
        _ => FetchError::Denied { from, status: code }.into(),
    }
}

fn sending_failed(error: &reqwest::Error, from: &Place) -> GetError {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if cause.is::<TooMany>() {
            return FetchError::Redirects { from: from.clone(), limit: REDIRECTS_MAX }.into();
        }
        if let Some(Elsewhere { to }) = cause.downcast_ref() {
            return FetchError::NotAllowed { from: from.clone(), to: to.clone() }.into();
        }
        source = cause.source();
    }
    GetError::Passing(chain(error))
}

/// An error with what caused it, without the URL, which may hold a secret.
fn chain(error: &reqwest::Error) -> Box<str> {
    let mut words = String::new();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if !words.is_empty() {
            words.push_str(": ");
        }
        words.push_str(&cause.to_string());
        source = cause.source();
    }
    if words.is_empty() { "the connection broke".into() } else { words.into() }
}

/// A redirect too many.
#[derive(Debug, thiserror::Error)]
#[error("too many redirects")]
struct TooMany;

/// A place that is not fetched from.
#[derive(Debug, thiserror::Error)]
#[error("'{to}' is not an allowed place")]
struct Elsewhere {
    to: Box<str>,
}

/// What is shown of a URL that is not fetched from.
fn shown_host(url: &Url) -> Box<str> {
    url.host_str().unwrap_or(url.scheme()).into()
}

/// Whether a URL may be fetched, as far as it says itself.
fn allowed(url: &Url, allow_link_local: bool) -> bool {
    let literal = url.host_str().and_then(|host| host.trim_matches(['[', ']']).parse::<IpAddr>().ok());
    matches!(url.scheme(), "http" | "https")
        && url.host_str().is_some()
        && (allow_link_local || literal.is_none_or(|address| !is_link_local(address)))
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => {
            let metadata = address.segments() == [0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254];
            let mapped = address.to_ipv4_mapped().is_some_and(|address| address.is_link_local());
            address.is_unicast_link_local() || metadata || mapped
        }
    }
}

/// Resolves names and leaves out addresses that are not allowed.
#[derive(Debug, Clone, Copy)]
struct Resolver {
    allow_link_local: bool,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let allow_link_local = self.allow_link_local;
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let any = !found.is_empty();
            let allowed: Vec<_> =
                found.into_iter().filter(|found| allow_link_local || !is_link_local(found.ip())).collect();
            if any && allowed.is_empty() {
                return Err(Box::new(Elsewhere { to: name.as_str().into() })
                    as Box<dyn std::error::Error + Send + Sync>);
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_http_and_no_link_local_addresses() {
        let may = |url: &str| Url::parse(url).is_ok_and(|url| allowed(&url, false));
        assert!(may("http://10.0.0.1/x") && may("https://[2001:db8::1]/x") && may("http://name/"));
        for bad in [
            "file:///etc/passwd",
            "ftp://h/x",
            "http://169.254.169.254/latest",
            "http://[fe80::1]/",
            "http://[fd00:ec2::254]/",
            "http://[::ffff:169.254.169.254]/",
        ] {
            assert!(!may(bad), "{bad}");
        }
        assert!(Url::parse("http://169.254.169.254/").is_ok_and(|url| allowed(&url, true)));
    }
}

//! The rules between settings; a configuration that breaks one is refused with all others that it breaks.
//!
//! Goes in: a draft, in which every value that could not be read has its default. Comes out: a [`Config`], or every
//! problem with its value, its origin and the way out. Touches no file, no port and no clock.

use super::settings::{ENVIRONMENT_PREFIX, SETTINGS, Settings};
use crate::admission::Limits;
use muster_controller_core::Settings as CoreSettings;
use muster_model::AccountName;
use muster_runtime::config::{Draft, Layers, Problems, Span};
use muster_runtime::telemetry::LogSettings;
use muster_runtime::tls::{AcceptLimits, ServerName};
use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

const SECOND: u64 = 1_000_000;
const MINUTE: u64 = 60 * SECOND;
const DAY: u64 = 24 * 60 * MINUTE;

/// A margin must cover clocks that run at different rates and the time that kills take: a tenth of the lease, at least.
const MARGIN_PARTS: u64 = 10;

/// Bytes of requests under way that an account may have: at least one of the largest, and at most more than a machine has.
const REQUEST_ROOM_MIN: u64 = 8 * 1024 * 1024;
const REQUEST_ROOM_MAX: u64 = 16 * 1024 * 1024 * 1024;

/// Settings that have passed every rule.
#[derive(Debug, Clone)]
pub struct Config {
    /// Folder of everything durable.
    pub data_dir: PathBuf,
    /// Address for clients.
    pub listen: SocketAddr,
    /// Address for nodes.
    pub node_listen: SocketAddr,
    /// Names for the server certificate; at least one.
    pub names: Vec<String>,
    /// The API as clients see it, when it was set.
    pub public_url: Option<String>,
    /// Object store for content.
    pub blob_store_url: Option<String>,
    /// The account that the first start makes.
    pub operator_account: AccountName,
    /// The core's settings.
    pub core: CoreSettings,
    /// How long a node's certificate lasts.
    pub node_certificate_life: Duration,
    /// Connections of each listener, and what strangers may have of them.
    pub accept: AcceptLimits,
    /// What accounts, nodes and strangers may ask at one time.
    pub admission: Limits,
    /// Logging.
    pub log: LogSettings,
}

/// Reads all layers. The draft has every setting with its origin; [`Config`] comes of it by [`Config::of`].
///
/// # Errors
/// [`Problems`] when the program's own list of settings is broken.
pub fn load(
    file: Option<&Path>,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    flags: impl IntoIterator<Item = (String, String)>,
) -> Result<Draft<Settings>, Problems> {
    let layers = Layers::new(SETTINGS);
    let layers = match file {
        Some(path) => layers.file(path),
        None => layers,
    };
    layers.environment(ENVIRONMENT_PREFIX, variables).flags(flags).load()
}

impl Config {
    /// Applies every rule.
    ///
    /// # Errors
    /// [`Problems`] with everything that is wrong, each with its value, its origin and the way out.
    pub fn of(mut draft: Draft<Settings>) -> Result<Self, Problems> {
        let settings = draft.value().clone();
        check_addresses(&mut draft, &settings);
        check_names(&mut draft, &settings);
        check_spans(&mut draft, &settings);
        if settings.data_dir.as_os_str().is_empty() {
            draft.wrong("data_dir", "is empty", "name a folder");
        }
        if !(1..=1_000).contains(&settings.nodes.launch_failures_max) {
            draft.wrong("nodes.launch_failures_max", "is out of range", "use 1 to 1000");
        }
        check_numbers(&mut draft, &settings);
        let operator = AccountName::parse(&settings.operator_account);
        if let Err(error) = &operator {
            draft.wrong("operator_account", "is not an account name", format!("use {}", error.rule));
        }
        // Without problems there is an operator; with problems this ends here.
        let (Settings { data_dir, listen, node_listen, log, .. }, Ok(operator_account)) =
            (draft.finish()?, operator)
        else {
            return Err(Problems::new());
        };
        Ok(Self {
            data_dir,
            listen,
            node_listen,
            names: names_for_certificate(&settings),
            core: core_settings(&settings),
            node_certificate_life: settings.node_certificate_life.duration(),
            accept: accept_limits(&settings),
            admission: admission_limits(&settings),
            public_url: settings.public_url,
            blob_store_url: settings.blob_store_url,
            operator_account,
            log,
        })
    }

    /// The URL of a listener of ours under the name that a client would use.
    #[must_use]
    pub fn url_of(&self, address: SocketAddr) -> String {
        let is_reachable = !address.ip().is_unspecified();
        let host = match self.names.first() {
            Some(name) if !(is_reachable && address.ip().is_loopback()) => name.clone(),
            Some(_) | None => address.ip().to_string(),
        };
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        format!("https://{host}:{}", address.port())
    }
}

fn core_settings(settings: &Settings) -> CoreSettings {
    let nodes = &settings.nodes;
    CoreSettings {
        lease_ttl: settings.lease_ttl.duration(),
        lease_margin: settings.lease_margin.duration(),
        replay_window: settings.replay_window.duration(),
        launch_failures_max: nodes.launch_failures_max,
        probation_first: nodes.probation_first.duration(),
        probation_max: nodes.probation_max.duration(),
        probation_trial: nodes.probation_trial.duration(),
        restart_timeout: nodes.restart_timeout.duration(),
        ..CoreSettings::default()
    }
}

fn accept_limits(settings: &Settings) -> AcceptLimits {
    let strangers = &settings.strangers;
    AcceptLimits {
        connections_max: settings.connections_max,
        strangers_max: strangers.connections_max,
        strangers_per_source_max: strangers.per_source_max,
        handshake_deadline: strangers.handshake_max.duration(),
        stranger_time_max: strangers.time_max.duration(),
        ..AcceptLimits::default()
    }
}

fn admission_limits(settings: &Settings) -> Limits {
    let accounts = &settings.accounts;
    Limits {
        reads_per_second: accounts.reads_per_second,
        writes_per_second: accounts.writes_per_second,
        burst: accounts.burst.duration(),
        calls_max: accounts.calls_max,
        streams_max: accounts.streams_max,
        connections_max: accounts.connections_max,
        // Checked to fit.
        request_kib_max: u32::try_from(accounts.request_bytes_max.bytes() / 1024).unwrap_or(u32::MAX),
        stranger_calls_per_second: settings.strangers.calls_per_second,
    }
}

/// Numbers that are at least one, and at most more than anybody has.
fn check_numbers(draft: &mut Draft<Settings>, settings: &Settings) {
    const MAX: u64 = 1_000_000;
    let (strangers, accounts) = (&settings.strangers, &settings.accounts);
    let of = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let numbers = [
        ("connections_max", of(settings.connections_max)),
        ("strangers.connections_max", of(strangers.connections_max)),
        ("strangers.per_source_max", of(strangers.per_source_max)),
        ("strangers.calls_per_second", strangers.calls_per_second.into()),
        ("accounts.reads_per_second", accounts.reads_per_second.into()),
        ("accounts.writes_per_second", accounts.writes_per_second.into()),
        ("accounts.calls_max", of(accounts.calls_max)),
        ("accounts.streams_max", of(accounts.streams_max)),
        ("accounts.connections_max", of(accounts.connections_max)),
    ];
    for (key, number) in numbers {
        if !(1..=MAX).contains(&number) {
            draft.wrong(key, "is out of range", format!("use 1 to {MAX}"));
        }
    }
    if !(REQUEST_ROOM_MIN..=REQUEST_ROOM_MAX).contains(&accounts.request_bytes_max.bytes()) {
        draft.wrong("accounts.request_bytes_max", "is out of range", "use 8MiB to 16GiB");
    }
}

fn check_addresses(draft: &mut Draft<Settings>, settings: &Settings) {
    if settings.listen == settings.node_listen && settings.listen.port() != 0 {
        let wrong = "is the address of 'listen' too";
        draft.wrong("node_listen", wrong, "give nodes an address or a port of their own");
    }
    if let Some(url) = &settings.public_url
        && !url.strip_prefix("https://").is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
    {
        draft.wrong("public_url", "is not an https URL", "write https://HOST:PORT");
    }
}

fn check_names(draft: &mut Draft<Settings>, settings: &Settings) {
    for name in &settings.names {
        if ServerName::try_from(name.as_str()).is_err() {
            let wrong = format!("has the entry '{name}', which is neither a DNS name nor an IP address");
            draft.wrong("names", wrong, "write names such as batch.example.org or 10.0.0.5");
        }
    }
    let is_open = |address: &SocketAddr| !address.ip().is_loopback();
    let open = [("listen", settings.listen), ("node_listen", settings.node_listen)];
    if let Some((key, _)) = open.iter().find(|(_, address)| is_open(address))
        && settings.names.is_empty()
    {
        let wrong =
            format!("is empty while '{key}' is open to other machines: they could not verify the controller");
        draft.wrong("names", wrong, "name the DNS name or IP address under which they reach it");
    }
}

fn check_spans(draft: &mut Draft<Settings>, settings: &Settings) {
    let nodes = &settings.nodes;
    let (strangers, accounts) = (&settings.strangers, &settings.accounts);
    let bounds: [(&str, Span, u64, u64); 11] = [
        ("strangers.handshake_max", strangers.handshake_max, SECOND / 10, 10 * MINUTE),
        ("strangers.time_max", strangers.time_max, SECOND, 60 * MINUTE),
        ("accounts.burst", accounts.burst, SECOND / 1000, 60 * MINUTE),
        ("lease_ttl", settings.lease_ttl, SECOND, 10 * MINUTE),
        ("lease_margin", settings.lease_margin, settings.lease_ttl.micros() / MARGIN_PARTS, 10 * MINUTE),
        ("replay_window", settings.replay_window, MINUTE, 30 * DAY),
        ("node_certificate_life", settings.node_certificate_life, 10 * MINUTE, 365 * DAY),
        ("nodes.probation_first", nodes.probation_first, SECOND, DAY),
        ("nodes.probation_max", nodes.probation_max, nodes.probation_first.micros(), 7 * DAY),
        ("nodes.probation_trial", nodes.probation_trial, SECOND, DAY),
        ("nodes.restart_timeout", nodes.restart_timeout, SECOND, 7 * DAY),
    ];
    for (key, span, min, max) in bounds {
        if !(min..=max).contains(&span.micros()) {
            let remedy = format!("use {} to {}", Span::from_micros(min), Span::from_micros(max));
            draft.wrong(key, "is out of range", remedy);
        }
    }
}

/// What was set, and how a client on the same machine says it.
fn names_for_certificate(settings: &Settings) -> Vec<String> {
    let mut names = settings.names.clone();
    let own = [settings.listen.ip(), settings.node_listen.ip()];
    let own = own.iter().filter(|ip| !ip.is_unspecified()).map(IpAddr::to_string);
    let local = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    for name in own.chain(local) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(flags: &[(&str, &str)]) -> Result<Config, Problems> {
        let given = flags.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned()));
        Config::of(load(None, [], given).unwrap())
    }

    #[test]
    fn the_defaults_need_only_a_folder() {
        let config = with(&[("data_dir", "d")]).unwrap();
        assert_eq!(config.listen, "127.0.0.1:7140".parse().unwrap());
        assert_eq!(config.core, CoreSettings::default(), "the defaults are said once");
        assert_eq!(config.accept, AcceptLimits::default());
        assert_eq!(config.admission, Limits::default());
        assert_eq!(config.operator_account.as_str(), "muster");
        assert!(config.names.contains(&"localhost".to_owned()), "{:?}", config.names);
        assert_eq!(config.url_of(config.listen), "https://127.0.0.1:7140");
    }

    #[test]
    fn every_rule_that_is_broken_is_told_at_once() {
        let said = with(&[
            ("listen", "0.0.0.0:1"),
            ("node_listen", "0.0.0.0:1"),
            ("public_url", "http://x"),
            ("operator_account", "Not-OK"),
            ("lease_ttl", "1ms"),
            ("lease_margin", "1h"),
            ("replay_window", "40d"),
            ("node_certificate_life", "1s"),
            ("connections_max", "0"),
            ("strangers.per_source_max", "0"),
            ("strangers.time_max", "1ms"),
            ("accounts.reads_per_second", "0"),
            ("accounts.request_bytes_max", "1MiB"),
            ("nodes.launch_failures_max", "0"),
            ("nodes.probation_first", "2h"),
            ("nodes.probation_trial", "1ms"),
            ("nodes.restart_timeout", "1ms"),
        ])
        .unwrap_err()
        .to_string();
        for wanted in [
            "data_dir is required",
            "node_listen = \"0.0.0.0:1\" (--node-listen) is the address of 'listen' too",
            "public_url",
            "operator_account",
            "3 to 24 lower-case letters and digits",
            "lease_ttl",
            "use 1s to 10m",
            "lease_margin",
            "replay_window",
            "node_certificate_life",
            "connections_max",
            "strangers.per_source_max",
            "strangers.time_max",
            "accounts.reads_per_second",
            "use 8MiB to 16GiB",
            "nodes.launch_failures_max",
            "use 2h to 7d",
            "nodes.probation_trial",
            "nodes.restart_timeout",
            "they could not verify the controller",
        ] {
            assert!(said.contains(wanted), "no '{wanted}' in:\n{said}");
        }
    }

    #[test]
    fn names_are_checked_and_come_first_in_urls_off_loopback() {
        let open = [("data_dir", "d"), ("listen", "0.0.0.0:7"), ("node_listen", "0.0.0.0:8")];
        let named = |names: &'static str| with(&[&open[..], &[("names", names)]].concat());
        let config = named("batch.example.org,10.0.0.5").unwrap();
        assert_eq!(config.url_of(config.listen), "https://batch.example.org:7");
        let said = named("not a name").unwrap_err().to_string();
        assert!(said.contains("'not a name'"), "{said}");
        let six = with(&[("data_dir", "d"), ("listen", "[::1]:7")]).unwrap();
        assert_eq!(six.url_of(six.listen), "https://[::1]:7");
    }
}

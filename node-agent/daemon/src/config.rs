//! The agent's settings: the list of keys, the command line, and the rules between them.
//!
//! Layers (defaults, file, environment `MUSTER_AGENT__*`, flags) come from `muster_runtime::config`, and so does the
//! list of everything that is wrong at once. A [`Config`] in hand has passed every rule.

mod named;

use self::named::Named;
use crate::launch::Users;
use clap::Parser;
use muster_model::{NamedCounts, limits};
use muster_runtime::config::{ByteSize, Draft, Layers, Problems, Setting};
use muster_runtime::secret::Secret;
use muster_runtime::telemetry::LogSettings;
use muster_runtime::tls::ServerName;
use serde::Deserialize;
use std::ffi::OsString;
use std::path::PathBuf;

/// Variables are called `MUSTER_AGENT__ROOT`, `MUSTER_AGENT__LOG__LEVEL` and so on.
const ENVIRONMENT_PREFIX: &str = "MUSTER_AGENT";
/// Largest file that a join token is read from: a token has some 200 characters.
const TOKEN_FILE_BYTES_MAX: u64 = 4096;

/// The keys, with their defaults.
const SETTINGS: &[Setting] = &[
    Setting::required(
        "root",
        "/var/lib/muster-agent",
        "Directory of the node: task directories, cache, identity. Made if it is not there.",
    ),
    Setting::required(
        "controller",
        "https://muster.example.org:7141",
        "URL of the controller's address for nodes.",
    ),
    Setting::optional("token", "A join token, needed until the node has joined.").secret(),
    Setting::optional("token_file", "A file that holds a join token, instead of `token`."),
    Setting::optional(
        "supervisor",
        "Path of the program muster-supervisor. Without it, the one beside this program.",
    ),
    Setting::new(
        "cgroup_root",
        "auto",
        "Parent control group of tasks: auto, none (no limits can be enforced), or a name; see muster-supervisor --help.",
    ),
    Setting::new(
        "task_uid",
        "64000",
        "User id that tasks run as when the agent is root, unless they are administrators.",
    ),
    Setting::new("task_gid", "64000", "Group id of the same."),
    Setting::new("cache_size_max", "20G", "How much of the disk the cache of resource files may take."),
    Setting::new(
        "allow_link_local",
        "false",
        "Whether resource files may come from link-local addresses, where clouds keep their credentials.",
    ),
    Setting::optional(
        "resources.gpus",
        "How many GPUs tasks may ask for, numbered from 0. Without it, as many as there are devices /dev/nvidia0 and so on.",
    ),
    Setting::new(
        "resources.named",
        "",
        "What else tasks may ask for on this node, by names of your own: a table such as { licence = 4 }, or licence=4,tape-drive=1.",
    ),
    Setting::optional(
        "ready_file",
        "A file that is written (JSON) when the node has connected for the first time.",
    ),
    Setting::new(
        "stop_tasks_on_exit",
        "false",
        "Whether tasks and supervisor are ended with the agent; otherwise they run on and the next agent takes them over.",
    ),
    Setting::new(
        "log.level",
        "info",
        "Least level of log lines, or filters such as info,muster_agent=debug.",
    ),
    Setting::new("log.format", "auto", "Form of log lines: auto, human, compact or json."),
    Setting::optional("log.file", "File to log to instead of standard error."),
];

/// The node agent of Muster: makes this machine a compute node of a pool and runs its tasks.
///
/// The first time it needs a join token (`muster token create POOL` prints one); then it has an identity of its own.
/// It needs no inbound connection. Tasks are kept by muster-supervisor, which the agent starts and which outlives it:
/// stopping or upgrading the agent leaves running tasks running.
#[derive(Debug, Parser)]
#[command(name = "muster-agent", version, max_term_width = 110, after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Directory of the node: task directories, cache, identity
    #[arg(long, value_name = "DIR")]
    root: Option<String>,
    /// URL of the controller's address for nodes, https://HOST:PORT
    #[arg(long, value_name = "URL")]
    controller: Option<String>,
    /// A join token; safer in a file or in the environment, where other users cannot see it
    #[arg(long, value_name = "TOKEN", conflicts_with = "token_file")]
    token: Option<String>,
    /// A file that holds a join token
    #[arg(long, value_name = "FILE")]
    token_file: Option<String>,
    /// Path of the program muster-supervisor; without it, the one beside this program
    #[arg(long, value_name = "FILE")]
    supervisor: Option<String>,
    /// Parent control group of tasks: auto, none, or a name
    #[arg(long, value_name = "NAME")]
    cgroup_root: Option<String>,
    /// A file to write (JSON) when the node has connected for the first time
    #[arg(long, value_name = "FILE")]
    ready_file: Option<String>,
    /// End tasks and supervisor with the agent
    #[arg(long)]
    stop_tasks_on_exit: bool,
    /// A TOML file with settings
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Any setting by its key; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// Check the settings, print them with their origin, and exit
    #[arg(long)]
    pub(crate) check_config: bool,
}

const AFTER_HELP: &str = "\
Every setting can be given in a file (--config), as a variable such as MUSTER_AGENT__TASK_UID, or by --set KEY=VALUE.
--check-config prints all of them. MUSTER_LOG sets the log level.

Examples:
  muster-agent --root /var/lib/muster-agent --controller https://muster.example.org:7141 --token-file token
  muster-agent --root ./node1 --controller https://127.0.0.1:7141 --token mjt1.... --cgroup-root none

Signals: SIGTERM stops the agent and leaves tasks running, unless --stop-tasks-on-exit is given.";

/// The settings as they are read.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    root: PathBuf,
    controller: String,
    token: Option<Secret>,
    token_file: Option<PathBuf>,
    supervisor: Option<PathBuf>,
    cgroup_root: String,
    task_uid: u32,
    task_gid: u32,
    cache_size_max: ByteSize,
    allow_link_local: bool,
    resources: ResourceSettings,
    ready_file: Option<PathBuf>,
    stop_tasks_on_exit: bool,
    log: LogSettings,
}

/// What the node has that is not measured.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct ResourceSettings {
    gpus: Option<u32>,
    named: Named,
}

/// Settings that have passed every rule.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) root: PathBuf,
    pub(crate) controller: ControllerUrl,
    pub(crate) token: Option<Secret>,
    pub(crate) supervisor: PathBuf,
    pub(crate) cgroup_root: String,
    pub(crate) users: Users,
    pub(crate) cache_bytes_max: u64,
    pub(crate) allow_link_local: bool,
    /// `None`: those that are found.
    pub(crate) gpus: Option<u32>,
    pub(crate) named: NamedCounts,
    pub(crate) ready_file: Option<PathBuf>,
    pub(crate) stop_tasks_on_exit: bool,
    pub(crate) log: LogSettings,
}

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
    fn parse(text: &str) -> Option<Self> {
        let rest = text.trim_end_matches('/');
        let address = rest.strip_prefix("https://")?;
        let (host, port) = address.rsplit_once(':')?;
        let _port: u16 = port.parse().ok().filter(|port| *port > 0)?;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let server_name = ServerName::try_from(bare.to_owned()).ok()?;
        Some(Self { url: rest.to_owned(), address: address.to_owned(), server_name })
    }
}

/// Reads all layers.
fn load(
    args: &Args,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Draft<Settings>, Problems> {
    let layers = Layers::new(SETTINGS);
    let layers = match &args.config {
        Some(path) => layers.file(path),
        None => layers,
    };
    let named = [
        ("root", &args.root),
        ("controller", &args.controller),
        ("token", &args.token),
        ("token_file", &args.token_file),
        ("supervisor", &args.supervisor),
        ("cgroup_root", &args.cgroup_root),
        ("ready_file", &args.ready_file),
    ];
    let named = named.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value.clone()?)));
    let stop = args.stop_tasks_on_exit.then(|| ("stop_tasks_on_exit".to_owned(), "true".to_owned()));
    let pair = |text: &String| {
        text.split_once('=').map_or((text.clone(), String::new()), |(k, v)| (k.into(), v.into()))
    };
    let others = args.settings.iter().map(pair);
    layers.environment(ENVIRONMENT_PREFIX, variables).flags(others.chain(named).chain(stop)).load()
}

impl Config {
    /// Reads all layers and applies every rule; also answers the settings as text, each with its origin.
    pub(crate) fn read(
        args: &Args,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<(Self, String), Problems> {
        let mut draft = load(args, variables)?;
        let settings = draft.value().clone();
        let controller = ControllerUrl::parse(&settings.controller);
        if controller.is_none() {
            draft.wrong("controller", "is not the URL of a controller", "write https://HOST:PORT");
        }
        if settings.root.as_os_str().is_empty() {
            draft.wrong("root", "is empty", "name a directory");
        }
        if settings.task_uid == 0 {
            draft.wrong("task_uid", "is root", "choose an unprivileged user id, for example 64000");
        }
        if settings.task_gid == 0 {
            draft.wrong("task_gid", "is root's group", "choose an unprivileged group id, for example 64000");
        }
        if settings.resources.gpus.is_some_and(|gpus| gpus > limits::GPUS_MAX) {
            draft.wrong(
                "resources.gpus",
                format!("is more than {}", limits::GPUS_MAX),
                "give what the node has",
            );
        }
        let named = settings.resources.named.check().unwrap_or_else(|error| {
            draft.wrong("resources.named", error, "write for example { licence = 4 }");
            NamedCounts::default()
        });
        let token = match (&settings.token, &settings.token_file) {
            (Some(_), Some(_)) => {
                draft.wrong("token_file", "is given beside a token", "give one of them");
                None
            }
            (Some(token), None) => Some(token.clone()),
            (None, Some(path)) => match read_token(path) {
                Ok(token) => Some(token),
                Err(error) => {
                    let remedy = "name a readable file that holds a join token and nothing else";
                    draft.wrong("token_file", format!("cannot be read: {error}"), remedy);
                    None
                }
            },
            (None, None) => None,
        };
        let supervisor = settings.supervisor.clone().unwrap_or_else(supervisor_beside_us);
        let entries = draft.entries().map(|entry| {
            format!(
                "{} = {}  # {}\n",
                entry.key,
                entry.value.as_deref().unwrap_or("(not shown or not set)"),
                entry.origin
            )
        });
        let listing: String = entries.collect();
        // Without problems there is a controller; with problems this ends here.
        let (settings, Some(controller)) = (draft.finish()?, controller) else { return Err(Problems::new()) };
        let privileged = nix::unistd::geteuid().is_root();
        let config = Self {
            root: settings.root,
            controller,
            token,
            supervisor,
            cgroup_root: settings.cgroup_root,
            users: Users { privileged, task_uid: settings.task_uid, task_gid: settings.task_gid },
            cache_bytes_max: settings.cache_size_max.bytes(),
            allow_link_local: settings.allow_link_local,
            gpus: settings.resources.gpus,
            named,
            ready_file: settings.ready_file,
            stop_tasks_on_exit: settings.stop_tasks_on_exit,
            log: settings.log,
        };
        Ok((config, listing))
    }
}

fn read_token(path: &std::path::Path) -> std::io::Result<Secret> {
    use std::io::Read;
    let mut text = String::new();
    std::fs::File::open(path)?.take(TOKEN_FILE_BYTES_MAX).read_to_string(&mut text)?;
    Ok(Secret::new(text.trim().to_owned()))
}

fn supervisor_beside_us() -> PathBuf {
    let beside =
        std::env::current_exe().ok().and_then(|program| Some(program.parent()?.join("muster-supervisor")));
    beside.unwrap_or_else(|| PathBuf::from("muster-supervisor"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str]) -> Result<Config, Problems> {
        let args = Args::parse_from(["muster-agent"].into_iter().chain(arguments.iter().copied()));
        Config::read(&args, Vec::new()).map(|(config, _)| config)
    }

    #[test]
    fn the_command_line_is_well_formed() {
        <Args as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn settings_come_from_flags_and_have_defaults() {
        let config =
            read(&["--root", "/r", "--controller", "https://[::1]:7141/", "--set", "task_uid=7"]).unwrap();
        assert_eq!(config.controller.address, "[::1]:7141");
        assert_eq!((config.users.task_uid, config.users.task_gid), (7, 64_000));
        assert_eq!(config.cache_bytes_max, 20 << 30);
        assert!(!config.stop_tasks_on_exit);
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        let problems = read(&[
            "--root",
            "/r",
            "--controller",
            "http://x:1",
            "--set",
            "task_uid=0",
            "--set",
            "colour=red",
        ])
        .unwrap_err()
        .to_string();
        for words in ["controller", "https://HOST:PORT", "task_uid", "colour"] {
            assert!(problems.contains(words), "{words}: {problems}");
        }
    }

    #[test]
    fn what_a_node_has_beside_its_processors_is_read_from_every_layer() {
        let base = ["--root", "/r", "--controller", "https://h:1"];
        let named = |config: &Config| {
            config.named.iter().map(|(name, count)| (name.to_owned(), count)).collect::<Vec<_>>()
        };
        let pair = |name: &str, count| (name.to_owned(), count);
        let plain = read(&base).unwrap();
        assert_eq!((plain.gpus, named(&plain)), (None, vec![]));
        let temporary = tempfile::tempdir().unwrap();
        let file = temporary.path().join("agent.toml");
        std::fs::write(&file, "[resources]\ngpus = 2\nnamed = { Licence = 4, \"tape.drive\" = 1 }\n")
            .unwrap();
        let from_file = [&base[..], &["--config", file.to_str().unwrap()]].concat();
        let config = read(&from_file).unwrap();
        assert_eq!((config.gpus, named(&config)), (Some(2), vec![pair("Licence", 4), pair("tape.drive", 1)]));
        let args = Args::parse_from(["muster-agent"].iter().chain(&from_file).copied());
        let variable = |name: &str, value: &str| (OsString::from(name), OsString::from(value));
        let variables = [
            variable("MUSTER_AGENT__RESOURCES__GPUS", "0"),
            variable("MUSTER_AGENT__RESOURCES__NAMED", "matlab=3, licence = 5"),
        ];
        let (config, _) = Config::read(&args, variables).unwrap();
        assert_eq!((config.gpus, named(&config)), (Some(0), vec![pair("licence", 5), pair("matlab", 3)]));
        for (setting, words) in [
            ("resources.gpus=1025", "more than 1024"),
            ("resources.gpus=-1", "resources.gpus"),
            ("resources.named=two words=1", "'two words'"),
            ("resources.named=licence", "NAME=COUNT"),
            ("resources.named=licence=-1", "NAME=COUNT"),
            ("resources.named=a=1,a=2", "a second time"),
        ] {
            let problems = read(&[&base[..], &["--set", setting]].concat()).unwrap_err().to_string();
            assert!(problems.contains(words), "{setting}: {problems}");
        }
    }

    #[test]
    fn a_token_is_never_shown() {
        let args =
            Args::parse_from(["a", "--root", "/r", "--controller", "https://h:1", "--token", "mjt1.secret"]);
        let (config, listing) = Config::read(&args, Vec::new()).unwrap();
        assert!(!listing.contains("mjt1") && !format!("{config:?}").contains("mjt1"));
        assert_eq!(
            config.token.and_then(|token| token.expose_str().map(str::to_owned)).as_deref(),
            Some("mjt1.secret")
        );
    }
}

//! The agent's settings: the rules between them, and what has passed.
//!
//! Layers (defaults, file, environment `MUSTER_AGENT__*`, flags) come from `muster_runtime::config`, and so does the
//! list of everything that is wrong at once. The keys are listed in `table`, read into `given`; `args` is the command line. A
//! [`Config`] in hand has passed every rule.

mod args;
mod given;
mod named;
mod table;
mod url;

pub(crate) use self::args::Args;
use self::given::{IsolationPlaces, Settings};
use self::table::SETTINGS;
pub(crate) use self::url::ControllerUrl;
use crate::disk::Choice;
use crate::hooks::HookSettings;
use crate::launch::LimitSettings;
use crate::users::UserSettings;
use muster_model::{NamedCounts, limits};
use muster_proto::command_line;
use muster_runtime::config::{ByteSize, Draft, Layers, Problems};
use muster_runtime::secret::Secret;
use muster_runtime::telemetry::LogSettings;
use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

/// Variables are called `MUSTER_AGENT__ROOT`, `MUSTER_AGENT__LOG__LEVEL` and so on.
const ENVIRONMENT_PREFIX: &str = "MUSTER_AGENT";
/// Largest file that a join token is read from: a token has some 200 characters.
const TOKEN_FILE_BYTES_MAX: u64 = 4096;
/// Most paths of one setting: each is a mount of every task.
const PLACES_MAX: usize = 16;
/// Largest limit of processes: the kernel's own bound on their ids.
const PIDS_MAX: u32 = 4_194_304;
/// Open files that programs need at least, and the most that the kernel counts.
const OPEN_FILES: RangeInclusive<u64> = 64..=1_073_741_816;
/// Clocks that agree within this are as good as can be told over a network.
const CLOCK_SKEW_MIN: Duration = Duration::from_secs(1);
/// Measuring more often than this costs more than it tells.
const METRICS_INTERVAL_MIN: Duration = Duration::from_secs(1);

/// Settings that have passed every rule.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) root: PathBuf,
    pub(crate) controller: ControllerUrl,
    pub(crate) token: Option<Secret>,
    pub(crate) supervisor: PathBuf,
    pub(crate) cgroup_root: String,
    pub(crate) users: UserSettings,
    /// Directories that tasks may write to at every isolation level.
    pub(crate) writable: Vec<PathBuf>,
    /// What no isolated task may see: the agent's own files with secrets, and what the operator adds.
    pub(crate) hidden: Vec<PathBuf>,
    pub(crate) limits: LimitSettings,
    pub(crate) disk_limit: Choice,
    /// `None`: a share of the disk.
    pub(crate) disk_reserve_bytes: Option<u64>,
    pub(crate) clock_skew_max: Duration,
    pub(crate) hooks: HookSettings,
    /// `None`: nothing is measured.
    pub(crate) metrics_interval: Option<Duration>,
    pub(crate) cache_bytes_max: u64,
    pub(crate) allow_link_local: bool,
    /// `None`: those that are found.
    pub(crate) gpus: Option<u32>,
    pub(crate) named: NamedCounts,
    pub(crate) ready_file: Option<PathBuf>,
    pub(crate) stop_tasks_on_exit: bool,
    pub(crate) log: LogSettings,
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
        check_users(&mut draft, &settings);
        check_paths(&mut draft, &settings.isolation);
        let reboot = hook(&mut draft, "hooks.reboot", settings.hooks.reboot.as_deref());
        let reimage = hook(&mut draft, "hooks.reimage", settings.hooks.reimage.as_deref());
        check_limits(&mut draft, &settings);
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
        let disk_limit = check_disk(&mut draft, &settings);
        let token = token(&mut draft, &settings);
        let supervisor = settings.supervisor.clone().unwrap_or_else(supervisor_beside_us);
        let listing = listing(&draft);
        // Without problems there is a controller; with problems this ends here.
        let (settings, Some(controller)) = (draft.finish()?, controller) else { return Err(Problems::new()) };
        let privileged = nix::unistd::geteuid().is_root();
        let config = Self {
            root: settings.root,
            controller,
            token,
            supervisor,
            cgroup_root: settings.cgroup_root,
            users: UserSettings {
                privileged,
                task_uid: settings.task_uid,
                task_gid: settings.task_gid,
                first: settings.task_users.first,
                count: settings.task_users.count,
                admin_tasks: settings.admin_tasks,
            },
            writable: settings.isolation.writable,
            hidden: hidden(settings.isolation.hidden, [args.config.clone(), settings.token_file]),
            limits: LimitSettings {
                pids_max: Some(settings.limits.pids_max),
                open_files: settings.limits.open_files,
                core_bytes: settings.limits.core_bytes.bytes(),
                cpu: settings.limits.cpu,
            },
            disk_limit,
            disk_reserve_bytes: settings.disk_reserve.map(ByteSize::bytes),
            clock_skew_max: settings.clock_skew_max.duration(),
            hooks: HookSettings { reboot, reimage, time_limit: settings.hooks.time_limit.duration() },
            metrics_interval: Some(settings.metrics.interval.duration()).filter(|span| !span.is_zero()),
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

/// The token, of whichever setting gives it.
fn token(draft: &mut Draft<Settings>, settings: &Settings) -> Option<Secret> {
    match (&settings.token, &settings.token_file) {
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
    }
}

/// The settings as text, each with its origin.
fn listing(draft: &Draft<Settings>) -> String {
    let entries = draft.entries().map(|entry| {
        format!(
            "{} = {}  # {}\n",
            entry.key,
            entry.value.as_deref().unwrap_or("(not shown or not set)"),
            entry.origin
        )
    });
    entries.collect()
}

fn check_users(draft: &mut Draft<Settings>, settings: &Settings) {
    if settings.task_uid == 0 {
        draft.wrong("task_uid", "is root", "choose an unprivileged user id, for example 64000");
    }
    if settings.task_gid == 0 {
        draft.wrong("task_gid", "is root's group", "choose an unprivileged group id, for example 64000");
    }
    let users = &settings.task_users;
    if !UserSettings::range_is_possible(users.first, users.count) {
        draft.wrong(
            "task_users.first",
            format!("with task_users.count = {} makes a range of ids that is not possible", users.count),
            "choose 1000 or more, a count of 1 or more, and an end below 4294967000",
        );
    }
}

fn check_paths(draft: &mut Draft<Settings>, places: &IsolationPlaces) {
    for (key, paths) in [("isolation.writable", &places.writable), ("isolation.hidden", &places.hidden)] {
        if paths.len() > PLACES_MAX {
            draft.wrong(key, format!("names more than {PLACES_MAX} paths"), "name directories above them");
        }
        if paths.iter().any(|path| !path.is_absolute() || path.parent().is_none()) {
            draft.wrong(key, "holds a path that is not absolute, or /", "write paths such as /scratch");
        }
    }
}

/// What is said of the disk and of the clock.
fn check_disk(draft: &mut Draft<Settings>, settings: &Settings) -> Choice {
    if settings.clock_skew_max.duration() < CLOCK_SKEW_MIN {
        draft.wrong("clock_skew_max", format!("is less than {CLOCK_SKEW_MIN:?}"), "write for example 30s");
    }
    Choice::parse(&settings.disk_limit).unwrap_or_else(|error| {
        draft.wrong("disk_limit", error, "write auto, or what the node shall do");
        Choice::Auto
    })
}

fn check_limits(draft: &mut Draft<Settings>, settings: &Settings) {
    if !(1..=PIDS_MAX).contains(&settings.limits.pids_max) {
        draft.wrong("limits.pids_max", format!("is not 1 to {PIDS_MAX}"), "for example 8192");
    }
    if !(OPEN_FILES.contains(&settings.limits.open_files)) {
        draft.wrong("limits.open_files", "is not 64 to 1073741816", "for example 1048576");
    }
    let interval = settings.metrics.interval.duration();
    if !interval.is_zero() && interval < METRICS_INTERVAL_MIN {
        draft.wrong("metrics.interval", "is less than a second", "for example 30s, or 0 for never");
    }
    if settings.hooks.time_limit.duration().is_zero() {
        draft.wrong("hooks.time_limit", "is no time at all", "for example 10m");
    }
}

/// The words of a command line that is given.
fn hook(draft: &mut Draft<Settings>, key: &'static str, line: Option<&str>) -> Option<Vec<String>> {
    match command_line::split(line?) {
        Ok(words) => Some(words),
        Err(error) => {
            draft.wrong(key, format!("cannot be split: {error}"), "for example systemctl reboot");
            None
        }
    }
}

/// What isolated tasks must not see: what the operator adds, and files of the agent that may hold a token.
fn hidden(mut added: Vec<PathBuf>, own: [Option<PathBuf>; 2]) -> Vec<PathBuf> {
    let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
    added.extend(own.into_iter().flatten().map(absolute));
    added
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
    use clap::Parser;

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

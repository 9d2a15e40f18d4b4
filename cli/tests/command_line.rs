//! The binary as scripts and people meet it: help, mistakes, exit codes, where words go.
//!
//! Nothing here reaches a controller: what happens with one is in tests/e2e. The environment is emptied, so that the
//! settings of whoever runs the tests do not count.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, its helpers too"
)]

use std::process::{Command, Output, Stdio};

/// Runs `muster` in an environment without settings.
fn muster(arguments: &[&str]) -> Output {
    let home = tempfile::tempdir().unwrap();
    Command::new(env!("CARGO_BIN_EXE_muster"))
        .args(arguments)
        .env_clear()
        .env("HOME", home.path())
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Runs a command that must fail with a code, with nothing on standard output. Answers standard error.
fn fails(arguments: &[&str], code: i32) -> String {
    let output = muster(arguments);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
    assert_eq!(text(&output.stdout), "", "{arguments:?}");
    stderr
}

/// Runs a command that must succeed. Answers standard output.
fn shows(arguments: &[&str]) -> String {
    let output = muster(arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "", "{arguments:?}");
    text(&output.stdout)
}

const COMMANDS: [&[&str]; 55] = [
    &["run"],
    &["dev"],
    &["version"],
    &["completion"],
    &["pool", "create"],
    &["pool", "list"],
    &["pool", "show"],
    &["pool", "resize"],
    &["pool", "delete"],
    &["node", "list"],
    &["node", "show"],
    &["node", "disable"],
    &["node", "drain"],
    &["node", "enable"],
    &["node", "reboot"],
    &["node", "reimage"],
    &["node", "remove"],
    &["job", "create"],
    &["job", "list"],
    &["job", "show"],
    &["job", "update"],
    &["job", "disable"],
    &["job", "enable"],
    &["job", "wait"],
    &["job", "watch"],
    &["job", "explain"],
    &["job", "nodes"],
    &["job", "counts"],
    &["job", "terminate"],
    &["job", "delete"],
    &["task", "add"],
    &["task", "list"],
    &["task", "show"],
    &["task", "attempts"],
    &["task", "explain"],
    &["task", "update"],
    &["task", "logs"],
    &["task", "terminate"],
    &["task", "reactivate"],
    &["task", "delete"],
    &["sweep", "list"],
    &["sweep", "show"],
    &["sweep", "terminate"],
    &["sweep", "reactivate"],
    &["sweep", "delete"],
    &["file", "put"],
    &["file", "get"],
    &["file", "list"],
    &["file", "rm"],
    &["token", "create"],
    &["token", "list"],
    &["token", "revoke"],
    &["account", "create"],
    &["account", "show"],
    &["account", "keys"],
];

#[test]
fn every_command_has_help_with_an_example() {
    for command in COMMANDS {
        let help = shows(&[command, &["--help"]].concat());
        assert!(help.contains("Usage: muster") || help.contains("Usage:\n"), "{command:?}: {help}");
        assert!(help.contains("Example"), "{command:?} teaches nothing:\n{help}");
        assert!(help.lines().all(|line| line.chars().count() <= 130), "{command:?} is too wide:\n{help}");
    }
}

#[test]
fn the_first_help_names_every_command_and_every_exit_code() {
    let help = shows(&["--help"]);
    for command in COMMANDS {
        assert!(help.lines().any(|line| line.starts_with(&format!("  {} ", command[0]))), "{command:?}");
    }
    for code in 0..=7 {
        assert!(help.lines().any(|line| line.starts_with(&format!("  {code}  "))), "exit code {code}");
    }
    for part in ["MUSTER_ENDPOINT", "MUSTER_CA_CERT", "--profile", "--format", "muster dev"] {
        assert!(help.contains(part), "{part}");
    }
    // Without any argument the same words come, as a mistake.
    let output = muster(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("Run work:"));
}

#[test]
fn the_help_of_run_names_its_exit_codes() {
    let help = shows(&["run", "--help"]);
    for code in ["128+n", "  120 ", "  125 ", "  130, 143", "  141 "] {
        assert!(help.contains(code), "{code}");
    }
}

#[test]
fn mistakes_are_told_with_the_way_out() {
    for (arguments, part) in [
        (&["poool"][..], "pool"),
        (&["pool", "create"], "<ID>"),
        (&["pool", "create", "p", "--nodes", "many"], "many"),
        (&["pool", "create", "p", "--start-task-admin"], "--start-task"),
        (&["pool", "create", "p", "--user", "ann:1000"], "ann:1000:1000"),
        (&["pool", "create", "p", "--isolation", "strong"], "strong"),
        (&["pool", "create", "p", "--start-task", "x", "--start-task-user", "9x"], "9x"),
        (&["pool", "resize", "p", "--nodes", "1", "--option", "kill"], "kill"),
        (&["node", "disable", "p", "n", "--option", "requeue", "--deadline", "30m"], "taskcompletion"),
        (&["node", "drain", "p", "n", "--deadline", "30"], "for example 30s"),
        (&["node", "reboot", "p", "n", "--timeout", "1h"], "--wait"),
        (&["node", "remove", "p"], "<NODE>"),
        (&["task", "add", "job", "id", "--user", "ann", "--admin", "--", "true"], "cannot be used with"),
        (&["task", "add", "job", "id", "--user", "9x", "--", "true"], "user name"),
        (&["run", "--pool", "p", "--user-scope", "job", "--", "true"], "job"),
        (&["dev", "--writable", "/none"], "--writable /none"),
        (&["run", "--", "true"], "--pool"),
        (&["run", "--pool", "p"], "<CMD>"),
        (&["run", "--pool", "p", "--memory", "lots", "--", "true"], "for example 512M"),
        (&["run", "--pool", "p", "--timeout", "10", "--", "true"], "10s"),
        (&["run", "--pool", "p", "--input", "x:../y", "--", "true"], "'..'"),
        (&["task", "add", "job"], "--file"),
        (&["task", "add", "job", "id"], "CMD"),
        (&["task", "add", "job", "id", "--file", "x"], "cannot be used with"),
        (&["task", "add", "job", "id", "--resource-file", "x", "--", "true"], "CONTAINER/PATH"),
        (&["task", "add", "job", "id", "--depends-on", "9-1", "--", "true"], "neither a task id nor a range"),
        (&["task", "add", "job", "id", "--sweep", "1-9", "--file", "x"], "cannot be used with"),
        (&["task", "add", "job", "id", "--on-oom", "2x:4G", "--", "true"], "--memory"),
        (&["task", "add", "job", "--file", "x", "--dry-run"], "cannot be used with"),
        (&["task", "add", "job", "t", "--stream-id", "s", "--", "true"], "cannot be used with"),
        (&["task", "add", "job", "t", "--stream-id", "s"], "--file"),
        (&["task", "add", "job", "t", "--step", "2", "--", "true"], "--sweep"),
        (&["task", "update", "job", "t"], "--max-wall-clock"),
        (&["job", "create", "j"], "--pool"),
        (&["job", "create", "j", "--pool", "p", "--keep-job"], "--manager"),
        (&["job", "create", "j", "--pool", "p", "--on-dependency-failure", "panic"], "panic"),
        (&["job", "update", "j"], "nothing is to change"),
        (&["job", "disable", "j", "--tasks", "kill"], "kill"),
        (&["task", "add", "job", "id", "--cpus", "two", "--", "true"], "number of cores"),
        (&["task", "add", "job", "id", "--env", "X", "--", "true"], "NAME=VALUE"),
        (&["task", "logs", "job", "id", "--follow", "--attempt", "2"], "cannot be used with"),
        (&["file", "put", "a"], "CONTAINER"),
        (&["file", "list", "Not_A_Container"], "container"),
        (&["file", "rm", "con", "-o", "yaml"], "yaml"),
        (&["job", "wait", "j", "--timeout", "soon"], "for example 30s"),
        (&["dev", "--listen", "here"], "here"),
    ] {
        let stderr = fails(arguments, 2);
        assert!(stderr.contains(part), "{arguments:?} does not say '{part}':\n{stderr}");
    }
}

/// Values that no controller is needed to refuse: the message has the value and the limit.
#[test]
fn values_beyond_their_limits_are_refused_with_the_limit() {
    let job = ["job", "create", "j", "--pool", "p"];
    let task = ["task", "add", "j", "t", "--memory", "1G"];
    let command = ["--", "true"];
    for (options, parts) in [
        (["--priority", "1001"], ["1001", "1000"]),
        (["--priority", "-1001"], ["-1001", "-1000"]),
        (["--max-parallel-tasks", "0"], ["'0'", "-1 for no limit"]),
        (["--max-parallel-tasks", "-2"], ["'-2'", "2147483647"]),
        (["--max-retries", "-2"], ["-2", "-1"]),
        (["--max-wall-clock", "5"], ["'5'", "for example 5s"]),
        (["--metadata", "x"], ["x", "NAME=VALUE"]),
        (["--manager-slots", "257"], ["257", "256"]),
    ] {
        let arguments = [&job[..], &["--manager", "m"], &options].concat();
        let stderr = fails(&arguments, 2);
        assert!(parts.iter().all(|part| stderr.contains(part)), "{options:?}: {stderr}");
    }
    for (options, parts) in [
        (["--slots", "0"], ["0", "1..=256"]),
        (["--slots", "257"], ["257", "256"]),
        (["--gpus", "1025"], ["1025", "1024"]),
        (["--named", "a b=1"], ["a b=1", "64 letters"]),
        (["--max-retries", "-2"], ["-2", "-1"]),
        (["--on-oom", "17x:64G"], ["17x:64G", "1.001 to 16"]),
        (["--exit", "2147483648=satisfy"], ["2147483648", "2147483647"]),
        (["--exit", "3=stop"], ["stop", "satisfy or block"]),
        (["--depends-on", "1-4294967296"], ["1-4294967296", "4294967295"]),
        (["--depends-on", "a/b"], ["a/b", "frame-*"]),
        (["--depends-on-sweep", "frame@101%"], ["frame@101%", "1 to 100"]),
        (["--depends-on-sweep", "frame:9-1"], ["frame:9-1", "FIRST-LAST"]),
        (["--depends-condition", "late"], ["late", "completed"]),
    ] {
        let stderr = fails(&[&task[..], &options, &command].concat(), 2);
        assert!(parts.iter().all(|part| stderr.contains(part)), "{options:?}: {stderr}");
    }
    for (options, parts) in [
        (["--sweep", "9-1"], ["9-1", "FIRST-LAST"]),
        (["--sweep", "1-1000000000000000"], ["1-1000000000000000", "999999999999999"]),
        (["--sweep", "1-9:0"], ["1-9:0", "STEP is 1 or more"]),
    ] {
        let stderr = fails(&[&["task", "add", "j"][..], &options, &command].concat(), 2);
        assert!(parts.iter().all(|part| stderr.contains(part)), "{options:?}: {stderr}");
    }
    let stderr = fails(&["sweep", "terminate", "j", "s", "--range", "9-1"], 2);
    assert!(stderr.contains("9-1") && stderr.contains("FIRST-LAST"), "{stderr}");
}

#[test]
fn files_are_looked_at_before_a_controller_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).unwrap();
        folder.path().join(name).to_str().unwrap().to_owned()
    };
    let job = write("job.json", "{\"id\": \"j\", \"pol_id\": \"p\"}");
    let uneven = write("uneven.csv", "a,b\n1\n");
    let object = write("object.json", "{}");
    let empty = write("empty.txt", "\n");
    let large = write("large.txt", &format!("{}\n", "x".repeat(1000)).repeat(5000));
    let sweep = |option: &'static str, file: &str| {
        ["task", "add", "j", option, file, "--", "true"].map(str::to_owned).to_vec()
    };
    for (arguments, code, parts) in [
        (["job", "create", "--file", &job].map(str::to_owned).to_vec(), 2, ["job.json", "pol_id"]),
        (["job", "create", "--file", "/none"].map(str::to_owned).to_vec(), 3, ["/none", "because"]),
        (sweep("--sweep-csv", &uneven), 2, ["uneven.csv", "fields"]),
        (sweep("--sweep-json", &object), 2, ["object.json", "array"]),
        (sweep("--sweep-lines", &empty), 2, ["empty.txt", "no values"]),
        (sweep("--sweep-lines", &large), 2, ["4194304", "--file"]),
        (sweep("--sweep-lines", "/none"), 3, ["/none", "because"]),
        (["task", "add", "j", "--file", "/none"].map(str::to_owned).to_vec(), 3, ["/none", "because"]),
    ] {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let stderr = fails(&arguments, code);
        assert!(parts.iter().all(|part| stderr.contains(part)), "{arguments:?}: {stderr}");
    }
}

#[test]
fn a_job_managers_environment_is_enough_to_reach_for_the_controller() {
    let output = Command::new(env!("CARGO_BIN_EXE_muster"))
        .args(["task", "list", "j"])
        .env_clear()
        .envs([("MUSTER_ENDPOINT", "https://127.0.0.1:1"), ("MUSTER_ACCOUNT", "render")])
        .envs([("MUSTER_JOB_TOKEN", "ey.a.b"), ("MUSTER_CA", "-----BEGIN nonsense")])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    // All four settings are there, and the last one is looked at.
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("CA certificate") && stderr.contains("MUSTER_CA"), "{stderr}");
    assert!(!stderr.contains("ey.a.b"), "{stderr}");
}

#[test]
fn settings_that_are_missing_are_all_named() {
    for arguments in
        [&["pool", "list"][..], &["version", "--server"], &["file", "get", "con/x"], &["account", "show"]]
    {
        let stderr = fails(arguments, 2);
        for part in [
            "MUSTER_ENDPOINT",
            "MUSTER_ACCOUNT",
            "MUSTER_KEY",
            "MUSTER_CA_CERT",
            "profile.toml",
            "muster dev",
        ] {
            assert!(stderr.contains(part), "{arguments:?}: {part} in\n{stderr}");
        }
    }
}

#[test]
fn a_failure_of_run_itself_does_not_look_like_an_exit_code_of_the_command() {
    let stderr = fails(&["run", "--pool", "p", "--", "true"], 125);
    assert!(stderr.contains("MUSTER_ENDPOINT"), "{stderr}");
}

#[test]
fn a_wrong_setting_is_told_in_words() {
    let given = [
        "--endpoint",
        "http://h",
        "--account",
        "render",
        "--key-file",
        "/dev/null",
        "--ca-cert",
        "/none.pem",
    ];
    let stderr = fails(&[&["pool", "list"][..], &given].concat(), 2);
    assert!(stderr.contains("does not start with https://"), "{stderr}");
    let given =
        ["--endpoint", "https://h", "--account", "render", "--key-file", "/none", "--ca-cert", "/none.pem"];
    let stderr = fails(&[&["pool", "list"][..], &given].concat(), 2);
    assert!(stderr.contains("cannot read the key file /none") && stderr.contains("because:"), "{stderr}");
}

#[test]
fn the_version_is_one_line_and_needs_no_controller() {
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(shows(&["version"]), format!("muster {version}\n"));
    let json: serde_json::Value = serde_json::from_str(&shows(&["version", "-o", "json"])).unwrap();
    assert_eq!(json["client_version"], version);
}

#[test]
fn there_are_completions_for_the_usual_shells() {
    for (shell, part) in [("bash", "_muster()"), ("zsh", "#compdef muster"), ("fish", "complete -c muster")] {
        assert!(shows(&["completion", shell]).contains(part), "{shell}");
    }
    assert!(fails(&["completion", "tcl"], 2).contains("tcl"));
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = Command::new(env!("CARGO_BIN_EXE_muster"))
        .args(["completion", "zsh"])
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
        .wait_with_output()
        .unwrap();
    assert_eq!(output.status.code(), Some(141));
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn dev_says_which_binary_it_misses() {
    let empty = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_muster"))
        .args(["dev", "--data"])
        .arg(empty.path().join("data"))
        .env("MUSTER_BIN_DIR", empty.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(
        stderr.contains("there is no muster-supervisor in") && stderr.contains("MUSTER_BIN_DIR"),
        "{stderr}"
    );
    assert!(!empty.path().join("data").exists(), "nothing is made before it is clear that it can start");
}

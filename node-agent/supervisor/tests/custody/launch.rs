//! How a task is started: its environment, files, user and descriptors, and the words when it cannot be.
//!
//! What a task sees is asked of the task itself, through its output. A refused start must leave nothing
//! behind, and that is asserted with each refusal.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;

use muster_supervisor::{EndedBy, LaunchStep, LimitKind, Outcome, Refusal, TaskUser};

use crate::harness::{World, is_root, script, skip, spec};

#[test]
fn exit_codes_and_signals_are_recorded() {
    let world = World::new();
    let mut agent = world.subscribe();
    for code in [0, 1, 42, 255] {
        let record = agent.run(&script(&format!("exit-{code}"), &format!("exit {code}")));
        assert_eq!(record.outcome, Outcome::Exited { code });
        assert_eq!(record.ended_by, EndedBy::Itself);
        assert!(!record.leftovers && record.started_at_us.is_some_and(|at| at <= record.ended_at_us));
    }
    let record = agent.run(&script("signal", "kill -USR1 $$"));
    assert_eq!(record.outcome, Outcome::Signaled { signal: 10, core_dumped: false });
    assert_eq!(record.ended_by, EndedBy::Itself);
}

#[test]
fn cpu_time_and_peak_memory_are_recorded() {
    let world = World::new();
    let mut agent = world.subscribe();
    let text = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; head -c 30000000 /dev/zero | sort | wc -c";
    let record = agent.run(&script("work", text));
    let cpu = record.usage.user_cpu_us.unwrap() + record.usage.system_cpu_us.unwrap();
    assert!(cpu > 10_000, "{:?}", record.usage);
    assert!(record.usage.peak_memory_bytes.unwrap() > 1 << 20, "{:?}", record.usage);
}

#[test]
fn output_is_appended_to_the_two_files() {
    let world = World::new();
    let mut agent = world.subscribe();
    let (out, err) = (world.path("out.txt"), world.path("err.txt"));
    for round in 0..2 {
        let mut task = script(&format!("write-{round}"), "echo to stdout; echo to stderr >&2; pwd");
        (task.stdout, task.stderr) = (Some(out.clone()), Some(err.clone()));
        task.cwd = world.path("");
        assert_eq!(agent.run(&task).outcome, Outcome::Exited { code: 0 });
    }
    let line = format!("to stdout\n{}\n", fs::canonicalize(world.dir.path()).unwrap().display());
    assert_eq!(fs::read_to_string(&out).unwrap(), line.repeat(2));
    assert_eq!(fs::read_to_string(&err).unwrap(), "to stderr\n".repeat(2));
    assert_eq!(fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o640);
}

#[test]
fn the_environment_is_exactly_what_was_given() {
    let world = World::new();
    let mut agent = world.subscribe();
    let mut task = spec("env", &["/usr/bin/env"]);
    task.env = vec![("B".into(), "2 and more".into()), ("A".into(), "".into()), ("C".into(), "x=y".into())];
    task.stdout = Some(world.path("out"));
    assert_eq!(agent.run(&task).outcome, Outcome::Exited { code: 0 });
    assert_eq!(fs::read_to_string(world.path("out")).unwrap(), "B=2 and more\nA=\nC=x=y\n");
}

#[test]
fn arguments_arrive_as_they_are_without_a_shell() {
    let world = World::new();
    let mut agent = world.subscribe();
    let mut task = spec("args", &["printf", "%s|", "a b", "$HOME", "*", "", "new\nline"]);
    task.stdout = Some(world.path("out"));
    assert_eq!(agent.run(&task).outcome, Outcome::Exited { code: 0 });
    assert_eq!(fs::read_to_string(world.path("out")).unwrap(), "a b|$HOME|*||new\nline|");
}

#[test]
fn a_task_has_three_descriptors_a_session_of_its_own_and_default_signals() {
    let world = World::new();
    let mut agent = world.subscribe();
    let mut task = script(
        "fds",
        "ls -l /proc/self/fd | awk '{print $9 $10 $11}'; cat /proc/self/status /proc/self/stat",
    );
    task.stdout = Some(world.path("out"));
    task.stderr = Some(world.path("err"));
    assert_eq!(agent.run(&task).outcome, Outcome::Exited { code: 0 });
    let text = fs::read_to_string(world.path("out")).unwrap();
    let of = |fd: &str| text.lines().find(|line| line.starts_with(&format!("{fd}->"))).map(str::to_owned);
    assert_eq!(of("0").unwrap(), "0->/dev/null");
    assert!(of("2").unwrap().ends_with("/err"));
    // 1 is awk's pipe and 3 the directory that ls reads.
    assert!(
        ["4", "5", "6", "7", "8", "9", "10", "11", "12"].into_iter().all(|fd| of(fd).is_none()),
        "{text}"
    );
    let status = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        line.rsplit('\t').next().unwrap().to_owned()
    };
    assert_eq!(status("SigBlk:"), "0".repeat(16));
    // 32 and 33 belong to the C library, which does not let anyone else set them.
    let ignored = u64::from_str_radix(&status("SigIgn:"), 16).unwrap() & !0x1_8000_0000;
    assert_eq!(ignored, 0, "{ignored:x}");
    assert_eq!(status("NoNewPrivs:"), "1");
    let fields: Vec<_> = text.lines().last().unwrap().rsplit(") ").next().unwrap().split(' ').collect();
    let (parent, session) = (fields[1], fields[3]);
    assert_eq!(parent, session, "the shell leads the session");
}

#[test]
fn a_task_runs_as_the_user_it_names_and_owns_its_output() {
    if !is_root() {
        return skip("becoming another user needs root");
    }
    let world = World::new();
    let mut agent = world.subscribe();
    // The user must be able to enter its working directory, not the directories above it.
    let cwd = world.path("wd");
    fs::create_dir(&cwd).unwrap();
    std::os::unix::fs::chown(&cwd, Some(4321), Some(8765)).unwrap();
    let mut task =
        script("who", "id -u; id -g; id -G; umask; echo again >> /dev/stdout; touch made; cat /etc/shadow");
    task.user = Some(TaskUser { uid: 4321, gid: 8765, groups: vec![100, 200] });
    task.umask = 0o027;
    task.cwd.clone_from(&cwd);
    task.stdout = Some(world.path("out"));
    assert_eq!(agent.run(&task).outcome, Outcome::Exited { code: 1 });
    let text = fs::read_to_string(world.path("out")).unwrap();
    assert_eq!(text, "4321\n8765\n8765 100 200\n0027\nagain\n");
    let made = fs::metadata(cwd.join("made")).unwrap();
    assert_eq!((made.uid(), made.gid(), made.permissions().mode() & 0o777), (4321, 8765, 0o640));
    assert_eq!(fs::metadata(world.path("out")).unwrap().uid(), 4321);
}

#[test]
fn resource_limits_are_set() {
    let world = World::new();
    let mut agent = world.subscribe();
    let mut task = script("rlimits", "ulimit -c; ulimit -n; cat /proc/self/oom_score_adj");
    task.limits.open_files = Some(77);
    task.oom_score_adj = 321;
    task.stdout = Some(world.path("out"));
    assert_eq!(agent.run(&task).outcome, Outcome::Exited { code: 0 });
    assert_eq!(fs::read_to_string(world.path("out")).unwrap(), "0\n77\n321\n");
}

#[test]
fn what_cannot_be_started_is_refused_with_its_step() {
    let mut world = World::new();
    let mut agent = world.subscribe();
    let file = |name: &str, text: &str, mode: u32| {
        let path = world.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let plain = file("plain", "#!/bin/sh\n", 0o644);
    let text = file("text", "no program\n", 0o755);
    let orphan = file("orphan", "#!/no/such/interpreter\n", 0o755);
    let directory = world.path("").to_str().unwrap().to_owned();
    let cases: [(&[&str], LaunchStep); 6] = [
        (&["no-such-program"], LaunchStep::ProgramNotFound),
        (&["/no/such/program"], LaunchStep::ProgramNotFound),
        (&[&plain], LaunchStep::ProgramNotExecutable),
        (&[&directory], LaunchStep::ProgramNotExecutable),
        (&[&text], LaunchStep::ProgramNotExecutable),
        (&[&orphan], LaunchStep::InterpreterNotFound),
    ];
    for (argv, wanted) in cases {
        match agent.start(&spec("refused", argv)) {
            Err(Refusal::Launch { step, subject, errno }) => {
                assert_eq!((step, subject.to_str().unwrap()), (wanted, argv[0]));
                assert_ne!(errno, 0);
            }
            other => panic!("{argv:?}: {other:?}"),
        }
    }
    assert!(agent.list().is_empty(), "a refused start leaves nothing");
    assert_eq!(agent.run(&spec("refused", &["true"])).outcome, Outcome::Exited { code: 0 });
    assert!(agent.events().is_empty());
    agent.start(&spec("refused-last", &["no-such-program"])).unwrap_err();
    world.kill_supervisor();
    world.start();
    let held = world.connect().list();
    assert_eq!(
        held.iter().map(|task| task.key.as_str()).collect::<Vec<_>>(),
        ["refused"],
        "only what ran is told"
    );
}

#[test]
fn paths_that_could_redirect_root_are_refused() {
    let world = World::new();
    let mut agent = world.subscribe();
    let victim = world.path("victim");
    fs::write(&victim, "untouched").unwrap();
    fs::create_dir(world.path("real")).unwrap();
    symlink(&victim, world.path("link")).unwrap();
    symlink(world.path("real"), world.path("linked-dir")).unwrap();
    fs::hard_link(&victim, world.path("second-name")).unwrap();
    nix::unistd::mkfifo(&world.path("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let cases = [
        ("link", LaunchStep::StdoutUnsafe),
        ("linked-dir/out", LaunchStep::StdoutUnsafe),
        ("second-name", LaunchStep::StdoutUnsafe),
        ("fifo", LaunchStep::StdoutUnsafe),
        ("missing/out", LaunchStep::Stdout),
    ];
    for (name, wanted) in cases {
        let mut task = spec("output", &["echo", "overwritten"]);
        task.stdout = Some(world.path(name));
        let refusal = agent.start(&task).unwrap_err();
        assert!(matches!(refusal, Refusal::Launch { step, .. } if step == wanted), "{name}: {refusal}");
    }
    for cwd in [PathBuf::from("/no/such/dir"), world.path("linked-dir"), victim.clone()] {
        let mut task = spec("cwd", &["true"]);
        task.cwd = cwd;
        let refusal = agent.start(&task).unwrap_err();
        assert!(matches!(refusal, Refusal::Launch { step: LaunchStep::WorkingDirectory, .. }), "{refusal}");
    }
    assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
}

#[test]
fn a_key_is_used_once_until_it_is_acknowledged() {
    let world = World::new();
    let mut agent = world.subscribe();
    let task = spec("once", &["true"]);
    agent.run(&task);
    let in_use = Err(Refusal::KeyInUse { key: task.key.clone() });
    assert_eq!(agent.start(&task), in_use);
    agent.acknowledge("once");
    agent.acknowledge("once");
    agent.run(&task);
}

#[test]
fn without_groups_limits_are_refused_and_the_rest_works() {
    let world = World::without_groups();
    let mut agent = world.subscribe();
    let mut task = spec("limited", &["true"]);
    task.limits.pids_max = Some(5);
    assert_eq!(agent.start(&task), Err(Refusal::NotEnforceable { limit: LimitKind::Pids }));
    let can = agent.probe();
    assert!(!can.memory && !can.cpu && !can.pids && !can.notes.is_empty());
    assert_eq!(agent.run(&script("plain", "exit 3")).outcome, Outcome::Exited { code: 3 });
}

//! What separates a task from its node and from other tasks, asked of tasks themselves.
//!
//! The specs here are written out step by step; which steps make a level of a pool is the agent's to say. Where
//! this kernel lacks a means the test says SKIPPED with the supervisor's own words for it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

use muster_supervisor::{
    Isolation, LaunchStep, MountStep, Outcome, Phase, Refusal, SeparationKind, Spec, TaskUser,
};

use crate::harness::{Connection, World, is_running, line_in, parent_of, script, skip, spec, until};

/// A user that no test directory belongs to.
const STRANGER: u32 = 4_321;

fn tmpfs(at: impl AsRef<Path>, mode: u32) -> MountStep {
    MountStep::Tmpfs { at: at.as_ref().into(), mode, size_bytes: Some(16 << 20) }
}

fn show(path: impl AsRef<Path>) -> MountStep {
    MountStep::Bind { source: path.as_ref().into(), at: path.as_ref().into(), read_only: false }
}

/// A process tree of its own, and these mounts.
fn alone(mounts: Vec<MountStep>) -> Isolation {
    let mounts = [mounts, vec![MountStep::Proc]].concat();
    Isolation { process_namespace: true, mounts, ..Isolation::default() }
}

/// Whether the node has all that is asked for; says what it lacks.
fn able(world: &World, isolation: &Isolation) -> bool {
    let can = world.connect().probe();
    match can.separation.missing(isolation) {
        None => true,
        Some(kind) => {
            skip(&format!("{}; {:?}", kind.words(), can.notes));
            false
        }
    }
}

/// Runs a script under an isolation; gives its output, both streams, which must end well.
fn output(world: &World, agent: &mut Connection, task: &Spec) -> String {
    let mut task = task.clone();
    let out = world.path(&format!("{}.out", task.key));
    (task.stdout, task.stderr) = (Some(out.clone()), Some(out.clone()));
    let record = agent.run(&task);
    let text = fs::read_to_string(&out).unwrap();
    assert_eq!(record.outcome, Outcome::Exited { code: 0 }, "{text}");
    text
}

#[test]
fn a_task_in_a_process_namespace_sees_and_reaches_itself_only() {
    let world = World::new();
    let isolation = alone(Vec::new());
    if !able(&world, &isolation) {
        return;
    }
    let mut agent = world.subscribe();
    let victim = agent.start(&spec("victim", &["sleep", "1000"])).unwrap();
    let text = format!(
        "echo $$; ls /proc | grep -c '^[0-9]'; kill -9 {victim} 2>/dev/null || echo unreachable; kill -9 1; cat /proc/1/comm"
    );
    let mut task = script("alone", &text);
    task.isolation = isolation;
    let text = output(&world, &mut agent, &task);
    let lines: Vec<_> = text.lines().collect();
    let [own, count, reached, keeper] = lines[..] else { panic!("{text}") };
    assert_eq!((own, reached, keeper), ("2", "unreachable", "muster-keeper"));
    // Keeper, shell, ls and grep.
    assert!((2..=5).contains(&count.parse::<u32>().unwrap()), "{text}");
    assert!(is_running(victim));
    // What is told of it is in the node's own numbers.
    let mut task = spec("shown", &["sleep", "1000"]);
    task.isolation = alone(Vec::new());
    let pid = agent.start(&task).unwrap();
    assert_eq!(fs::read_to_string(format!("/proc/{pid}/comm")).unwrap(), "sleep\n");
    assert_eq!(fs::read_to_string(format!("/proc/{}/comm", parent_of(pid))).unwrap(), "muster-keeper\n");
}

/// Whether any process runs with these words in its command line.
fn runs(words: &str) -> bool {
    let all = fs::read_dir("/proc").unwrap().flatten();
    all.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
        .any(|line| String::from_utf8_lossy(&line).replace('\0', " ").contains(words))
}

#[test]
fn a_daemon_that_left_its_session_twice_is_gone_with_its_namespace() {
    // Without groups it is the namespace that ends it.
    for (round, world) in [World::new(), World::without_groups()].into_iter().enumerate() {
        let isolation = alone(Vec::new());
        if !able(&world, &isolation) {
            return;
        }
        let mut agent = world.subscribe();
        let words = format!("sleep 1000.{}{round}", std::process::id());
        let text = format!(
            "(setsid sh -c 'trap \"\" TERM HUP; (setsid {words} &) ' &); while ! pgrep -f '{words}'; do sleep 0.01; done; exit 4"
        );
        let mut task = script("daemoniser", &text);
        task.isolation = isolation;
        task.stdout = Some(world.path("out"));
        let record = agent.run(&task);
        assert_eq!((record.outcome, record.leftovers), (Outcome::Exited { code: 4 }, false));
        assert!(!fs::read_to_string(world.path("out")).unwrap().is_empty());
        assert!(!runs(&words), "the end is told only when nothing is left");
    }
}

#[test]
fn an_isolated_task_outlives_its_supervisor_and_its_exit_code_does_too() {
    let mut world = World::new();
    let isolation = alone(vec![tmpfs("/dev/shm", 0o1777)]);
    if !able(&world, &isolation) {
        return;
    }
    let mut agent = world.connect();
    let mut pids = Vec::new();
    for (key, go) in [("first", "go-first"), ("second", "go-second")] {
        let mut task = script(key, &format!("echo up; while [ ! -e {go} ]; do sleep 0.01; done; exit 17"));
        task.isolation = isolation.clone();
        task.cwd = world.path("");
        task.stdout = Some(world.path(key));
        pids.push(agent.start(&task).unwrap());
        line_in(&world.path(key));
    }
    let keeper = parent_of(pids[0]);
    world.kill_supervisor();
    fs::write(world.path("go-first"), "").unwrap();
    until("the first task ends", || !is_running(keeper));
    world.start();
    let mut agent = world.subscribe();
    assert_eq!(agent.exit_of("first").outcome, Outcome::Exited { code: 17 });
    let running: Vec<_> = agent.list().into_iter().filter(|task| task.phase == Phase::Running).collect();
    assert_eq!((running.len(), running[0].pid), (1, pids[1]));
    fs::write(world.path("go-second"), "").unwrap();
    assert_eq!(agent.exit_of("second").outcome, Outcome::Exited { code: 17 });
}

#[test]
fn a_task_has_a_tmp_and_a_shm_of_its_own_and_is_shown_what_a_step_has_hidden() {
    let world = World::new();
    fs::create_dir(world.path("wd")).unwrap();
    chown(world.path("wd"), Some(STRANGER), Some(STRANGER)).unwrap();
    fs::write(world.path("secret"), "of another").unwrap();
    // The test's own directory lies below /tmp: what hides it must not hide the working directory.
    let devices = MountStep::Devices { extra: Vec::new(), shm_bytes: Some(1 << 20) };
    let isolation = alone(vec![tmpfs("/tmp", 0o1777), show(world.path("wd")), devices]);
    if !able(&world, &isolation) {
        return;
    }
    // Disks of other tests come and go.
    let mounts = || -> Vec<String> {
        let all = fs::read_to_string("/proc/self/mountinfo").unwrap();
        all.lines().filter(|mount| !mount.contains("/dev/loop")).map(str::to_owned).collect()
    };
    let before = mounts();
    let mut agent = world.subscribe();
    let secret = world.path("secret");
    let text = format!(
        "set -e; echo mine > /tmp/muster-mine; echo mine > /dev/shm/muster-mine; echo mine > made; pwd; ls {0} 2>&1 || true; \
         ls -a /tmp | tr '\\n' ' '; df /dev/shm | tail -1 | awk '{{print $2}}'",
        secret.display()
    );
    let mut task = script("private", &text);
    task.isolation = isolation;
    task.cwd = world.path("wd");
    task.user = Some(TaskUser { uid: STRANGER, gid: STRANGER, groups: Vec::new() });
    let text = output(&world, &mut agent, &task);
    assert!(text.contains("No such file or directory") && !text.contains("of another"), "{text}");
    assert!(text.starts_with(world.path("wd").to_str().unwrap()), "{text}");
    assert!(text.ends_with("1024\n"), "{text}");
    assert_eq!(fs::read_to_string(world.path("wd").join("made")).unwrap(), "mine\n");
    for path in ["/tmp/muster-mine", "/dev/shm/muster-mine"] {
        assert!(!Path::new(path).exists(), "{path}");
    }
    assert_eq!(mounts(), before, "no mount leaks to the node");
}

#[test]
fn a_hidden_directory_is_empty_for_the_task_and_as_it_was_for_the_node() {
    let world = World::new();
    let hidden = world.path("state");
    let isolation = alone(vec![tmpfs(&hidden, 0)]);
    if !able(&world, &isolation) {
        return;
    }
    let mut agent = world.subscribe();
    let mut task = script("peeps", &format!("ls {0} 2>&1; cat {0}/journal 2>&1; true", hidden.display()));
    task.isolation = isolation;
    let text = output(&world, &mut agent, &task);
    assert!(text.contains("No such file") && !text.contains("muster-attempt"), "{text}");
    task.key = "peeps-as-another".parse().unwrap();
    task.user = Some(TaskUser { uid: STRANGER, gid: STRANGER, groups: Vec::new() });
    let text = output(&world, &mut agent, &task);
    assert_eq!(text.matches("Permission denied").count(), 2, "{text}");
    assert!(hidden.join("journal").exists());
}

#[test]
fn a_read_only_view_is_read_only_also_for_root_but_for_what_is_shown() {
    let world = World::new();
    for name in ["wd", "shared"] {
        fs::create_dir(world.path(name)).unwrap();
    }
    let shared = MountStep::Bind { source: world.path("shared"), at: world.path("shared"), read_only: true };
    let isolation = alone(vec![MountStep::ReadOnly, show(world.path("wd")), shared]);
    if !able(&world, &isolation) {
        return;
    }
    let mut agent = world.subscribe();
    let text = "for f in /muster-x /usr/muster-x shared/x x wd/x; do touch $f 2>/dev/null && echo wrote $f; done; \
                echo through >> /dev/stdout; true";
    let mut task = script("reader", text);
    task.isolation = isolation;
    task.cwd = world.path("");
    assert_eq!(output(&world, &mut agent, &task), "wrote wd/x\nthrough\n");
    assert!(world.path("wd").join("x").exists());
}

#[test]
fn a_small_dev_holds_what_programs_need_and_nothing_of_the_machine() {
    let world = World::new();
    let extra = vec!["/dev/kmsg".into(), "/dev/no-such-device".into()];
    let isolation = alone(vec![MountStep::Devices { extra, shm_bytes: None }]);
    if !able(&world, &isolation) {
        return;
    }
    let mut agent = world.subscribe();
    let text = "ls /dev | tr '\\n' ' '; echo; echo x > /dev/null; head -c 3 /dev/zero | wc -c; head -c 2 /dev/urandom | wc -c; \
                [ -c /dev/pts/ptmx ] && [ -c /dev/ptmx ] && echo terminals; cat < /dev/fd/0; stat -c %a /dev/shm /dev/null";
    let mut task = script("devices", text);
    task.isolation = isolation;
    let text = output(&world, &mut agent, &task);
    let kmsg = if Path::new("/dev/kmsg").exists() { "kmsg " } else { "" };
    let listed = format!("fd full {kmsg}null ptmx pts random shm stderr stdin stdout tty urandom zero \n");
    assert_eq!(text, format!("{listed}3\n2\nterminals\n1777\n666\n"));
}

#[test]
fn a_network_namespace_holds_a_loopback_that_works_and_nothing_else() {
    let world = World::new();
    let isolation = Isolation { network_namespace: true, ..alone(Vec::new()) };
    if !able(&world, &isolation) || !Path::new("/bin/bash").exists() {
        return;
    }
    let mut agent = world.subscribe();
    let text = "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '; exec 3<>/dev/udp/127.0.0.1/9 && echo up; \
                (exec 4<>/dev/udp/192.0.2.1/9) 2>/dev/null || echo nowhere";
    let mut task = spec("offline", &["/bin/bash", "-c", text]);
    task.isolation = isolation;
    assert_eq!(output(&world, &mut agent, &task), "lo\nup\nnowhere\n");
}

#[test]
fn dropped_capabilities_are_gone_for_ever_also_for_root() {
    let world = World::new();
    if !crate::harness::is_root() {
        return skip("capabilities are root's");
    }
    let mut agent = world.subscribe();
    for user in [None, Some(TaskUser { uid: STRANGER, gid: STRANGER, groups: Vec::new() })] {
        let mut task =
            script(&format!("powerless-{}", user.is_some()), "grep -E '^(Cap|NoNewPrivs)' /proc/self/status");
        task.isolation.drop_capabilities = true;
        task.user = user;
        let text = output(&world, &mut agent, &task);
        let none = "0".repeat(16);
        let sets = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map(|set| format!("{set}:\t{none}\n"));
        assert_eq!(text, format!("{}NoNewPrivs:\t1\n", sets.concat()));
    }
}

/// A filter that refuses some system calls with EPERM.
fn refusing(calls: &[nix::libc::c_long]) -> Vec<u8> {
    let instruction =
        |code: u16, jt: u8, k: u32| [&code.to_ne_bytes()[..], &[jt, 0], &k.to_ne_bytes()].concat();
    // Load the number; jump to the refusal at the end if it is one of these; allow; refuse.
    let mut program = instruction(0x20, 0, 0);
    for (index, call) in calls.iter().enumerate() {
        let left = u8::try_from(calls.len() - index).unwrap();
        program.extend(instruction(0x15, left, u32::try_from(*call).unwrap()));
    }
    program.extend(instruction(0x06, 0, 0x7fff_0000));
    program.extend(instruction(0x06, 0, 0x0005_0001));
    program
}

#[test]
fn a_filter_refuses_a_system_call_and_leaves_the_others() {
    let world = World::new();
    #[cfg(target_arch = "x86_64")]
    let calls = [nix::libc::SYS_mkdirat, nix::libc::SYS_mkdir];
    #[cfg(not(target_arch = "x86_64"))]
    let calls = [nix::libc::SYS_mkdirat];
    let isolation = Isolation { seccomp: vec![refusing(&calls)], ..Isolation::default() };
    if !able(&world, &isolation) {
        return;
    }
    let mut agent = world.subscribe();
    let mut task = script("filtered", "mkdir made 2>&1; touch file && grep ^Seccomp: /proc/self/status");
    task.isolation = isolation;
    task.cwd = world.path("");
    let text = output(&world, &mut agent, &task);
    assert!(text.contains("Operation not permitted") && text.ends_with("Seccomp:\t2\n"), "{text}");
    assert!(world.path("file").exists() && !world.path("made").exists());

    let mut task = spec("unexecutable", &["true"]);
    task.isolation.seccomp = vec![refusing(&[nix::libc::SYS_execve])];
    let refusal = agent.start(&task).unwrap_err();
    assert_eq!(refusal, Refusal::Launch { step: LaunchStep::Execute, subject: "true".into(), errno: 1 });
    // Jumps behind its end: the kernel takes no such program.
    task.isolation.seccomp = vec![refusing(&calls), vec![0x15, 0, 9, 9, 0, 0, 0, 0]];
    let refusal = agent.start(&task).unwrap_err();
    assert!(matches!(refusal, Refusal::Launch { step: LaunchStep::Seccomp, .. }), "{refusal}");
    assert_eq!(agent.list().len(), 1, "a refused start leaves nothing");
}

#[test]
fn landlock_refuses_what_no_rule_names_whoever_the_file_belongs_to() {
    let world = World::new();
    for name in ["wd", "other"] {
        fs::create_dir(world.path(name)).unwrap();
        fs::set_permissions(world.path(name), fs::Permissions::from_mode(0o777)).unwrap();
    }
    fs::write(world.path("other").join("file"), "readable by all").unwrap();
    let read = ["/usr", "/bin", "/lib", "/lib64", "/etc", "/proc", "/no/such/tree"].map(Into::into).to_vec();
    let write = vec![world.path("wd"), "/dev/null".into()];
    let landlock = Some(muster_supervisor::Landlock { read, write });
    let isolation = Isolation { landlock, ..Isolation::default() };
    if !able(&world, &isolation) {
        return;
    }
    let mut agent = world.subscribe();
    let text = "echo x > made && mkdir sub && mv made sub/made && echo wrote; (echo x > ../other/made) 2>/dev/null || echo refused; \
                cat ../other/file 2>/dev/null || echo unread; echo > /dev/null && echo null; cat /etc/hostname >/dev/null && echo read; \
                (echo x >> /etc/hostname) 2>/dev/null || echo safe";
    let mut task = script("fenced", text);
    task.isolation = isolation;
    task.cwd = world.path("wd");
    let text = output(&world, &mut agent, &task);
    assert_eq!(text, "wrote\nrefused\nunread\nnull\nread\nsafe\n");
    assert!(!world.path("other").join("made").exists());
}

#[test]
fn a_fenced_task_signals_none_but_its_own() {
    let world = World::new();
    let everything = Some(muster_supervisor::Landlock { read: vec!["/".into()], write: vec!["/".into()] });
    let isolation = Isolation { landlock: everything, ..Isolation::default() };
    if !able(&world, &isolation) {
        return;
    }
    if world.connect().probe().separation.landlock_abi < 6 {
        return skip("this kernel's Landlock does not know of signals");
    }
    let mut agent = world.subscribe();
    let victim = agent.start(&spec("victim", &["sleep", "1000"])).unwrap();
    let text = format!("kill {victim} 2>/dev/null || echo refused; sleep 1000 & kill $! && echo own");
    let mut task = script("fenced", &text);
    task.isolation = isolation;
    assert_eq!(output(&world, &mut agent, &task), "refused\nown\n");
    assert!(is_running(victim));
}

#[test]
fn ipc_objects_of_the_node_are_invisible_and_those_of_a_task_end_with_it() {
    let world = World::new();
    let isolation = Isolation { ipc_namespace: true, ..alone(Vec::new()) };
    if !able(&world, &isolation) || !Path::new("/usr/bin/ipcmk").exists() {
        return;
    }
    let mut agent = world.subscribe();
    let count = || fs::read_to_string("/proc/sysvipc/msg").unwrap().lines().count();
    let text = "id=$(ipcmk -Q | awk '{print $4}'); tail -n +2 /proc/sysvipc/msg | wc -l; \
                trap 'ipcrm -q $id; exit 0' TERM; while :; do sleep 0.01; done";
    let mut outside = script("outside", text);
    outside.stdout = Some(world.path("outside.out"));
    agent.start(&outside).unwrap();
    let on_node: u32 = line_in(&world.path("outside.out")).parse().unwrap();
    let before = count();
    let mut task = script(
        "inside",
        "tail -n +2 /proc/sysvipc/msg | wc -l; ipcmk -Q >/dev/null && tail -n +2 /proc/sysvipc/msg | wc -l",
    );
    task.isolation = isolation;
    assert_eq!(output(&world, &mut agent, &task), "0\n1\n");
    assert_eq!(count(), before);
    assert!(on_node >= 1);
    agent.kill("outside", "enough", 60_000).unwrap();
    assert_eq!(agent.exit_of("outside").outcome, Outcome::Exited { code: 0 });
}

#[test]
fn a_planted_link_is_neither_mounted_on_nor_shown() {
    let world = World::new();
    let victim = world.path("victim");
    fs::create_dir(&victim).unwrap();
    fs::write(victim.join("file"), "untouched").unwrap();
    symlink(&victim, world.path("link")).unwrap();
    fs::create_dir(world.path("place")).unwrap();
    if !able(&world, &alone(Vec::new())) {
        return;
    }
    let mut agent = world.subscribe();
    let at = |name: &str| world.path(name);
    let bind =
        |source: &str, place: &str| MountStep::Bind { source: at(source), at: at(place), read_only: false };
    let cases = [
        (tmpfs(at("link"), 0o755), LaunchStep::MountTarget, "link"),
        (tmpfs(at("link/below"), 0o755), LaunchStep::MountTarget, "link/below"),
        (tmpfs(at("missing"), 0o755), LaunchStep::MountTarget, "missing"),
        (bind("link", "place"), LaunchStep::MountSource, "link"),
        (bind("link/file", "place"), LaunchStep::MountSource, "link/file"),
        (bind("missing", "place"), LaunchStep::MountSource, "missing"),
        (bind("victim", "link"), LaunchStep::MountTarget, "link"),
        (bind("victim/file", "place"), LaunchStep::Mount, "place"),
    ];
    for (mount, wanted, about) in cases {
        let mut task = spec("refused", &["true"]);
        task.isolation = alone(vec![mount.clone()]);
        match agent.start(&task) {
            Err(Refusal::Launch { step, subject, errno }) => {
                assert_eq!((step, Path::new(&subject)), (wanted, at(about).as_path()), "{mount:?}");
                assert_ne!(errno, 0);
            }
            other => panic!("{mount:?}: {other:?}"),
        }
    }
    assert!(agent.list().is_empty(), "a refused start leaves nothing");
    assert_eq!(fs::read_to_string(victim.join("file")).unwrap(), "untouched");
}

#[test]
fn the_program_and_the_directory_are_those_of_the_tasks_own_view() {
    let world = World::new();
    let isolation = alone(vec![tmpfs(world.path("bin"), 0o755), tmpfs(world.path("wd"), 0o755)]);
    fs::create_dir(world.path("bin")).unwrap();
    fs::create_dir_all(world.path("wd").join("below")).unwrap();
    fs::copy("/bin/true", world.path("bin").join("hidden-program")).unwrap();
    if !able(&world, &isolation) {
        return;
    }
    let mut agent = world.subscribe();
    let program = world.path("bin").join("hidden-program");
    let mut task = spec("hidden", &[program.to_str().unwrap()]);
    assert_eq!(agent.run(&task).outcome, Outcome::Exited { code: 0 });
    task.isolation = isolation;
    task.key = "hidden-2".parse().unwrap();
    let refusal = agent.start(&task).unwrap_err();
    assert!(matches!(refusal, Refusal::Launch { step: LaunchStep::ProgramNotFound, .. }), "{refusal}");
    task.argv = vec!["true".into()];
    task.cwd = world.path("wd").join("below");
    let refusal = agent.start(&task).unwrap_err();
    assert!(matches!(refusal, Refusal::Launch { step: LaunchStep::WorkingDirectory, .. }), "{refusal}");
}

#[test]
fn nobody_looks_into_the_keeper_from_inside() {
    let world = World::new();
    let isolation = Isolation { drop_capabilities: true, ..alone(Vec::new()) };
    if !able(&world, &isolation) || !crate::harness::is_root() {
        return;
    }
    let mut agent = world.subscribe();
    let text = "for f in environ maps mem; do cat /proc/1/$f >/dev/null 2>&1 && echo read $f; done; \
                for l in root cwd exe; do readlink /proc/1/$l && echo followed $l; done; ls /proc/1/fd 2>/dev/null; \
                tr '\\0' ' ' < /proc/1/cmdline";
    let mut task = script("curious", text);
    task.isolation = isolation;
    task.user = Some(TaskUser { uid: STRANGER, gid: STRANGER, groups: Vec::new() });
    let text = output(&world, &mut agent, &task);
    assert_eq!(text.trim_end(), "muster-keeper curious");
}

#[test]
fn a_node_that_may_not_separate_says_why_and_refuses_instead_of_weakening() {
    if !crate::harness::is_root() || !Path::new("/usr/bin/setpriv").exists() {
        return skip("needs root and setpriv");
    }
    let world = World::without_right("sys_admin");
    let mut agent = world.subscribe();
    let can = agent.probe();
    let separation = can.separation;
    assert!(!separation.process_namespace && !separation.mount_namespace && !separation.network_namespace);
    assert!(
        can.notes.iter().any(|note| note.contains("process namespaces: Operation not permitted")),
        "{:?}",
        can.notes
    );
    let mut task = spec("asks", &["true"]);
    task.isolation = alone(Vec::new());
    let kind = SeparationKind::ProcessNamespace;
    assert_eq!(agent.start(&task), Err(Refusal::NotSeparable { kind }));
    task.isolation = Isolation { network_namespace: true, ..Isolation::default() };
    let kind = SeparationKind::NetworkNamespace;
    assert_eq!(agent.start(&task), Err(Refusal::NotSeparable { kind }));
    task.isolation = Isolation::default();
    assert_eq!(agent.run(&task).outcome, Outcome::Exited { code: 0 });
}

#[test]
fn everything_at_once_runs_an_interpreter_with_semaphores() {
    let world = World::new();
    fs::create_dir(world.path("wd")).unwrap();
    chown(world.path("wd"), Some(STRANGER), Some(STRANGER)).unwrap();
    let devices = MountStep::Devices { extra: Vec::new(), shm_bytes: Some(64 << 20) };
    let mounts = vec![MountStep::ReadOnly, tmpfs("/tmp", 0o1777), show(world.path("wd")), devices];
    let read = vec!["/".into()];
    let write = vec![world.path("wd"), "/tmp".into(), "/dev".into()];
    let isolation = Isolation {
        ipc_namespace: true,
        network_namespace: true,
        drop_capabilities: true,
        seccomp: vec![refusing(&[nix::libc::SYS_mount])],
        landlock: Some(muster_supervisor::Landlock { read, write }),
        ..alone(mounts)
    };
    if !able(&world, &isolation) {
        return;
    }
    let mut agent = world.subscribe();
    let python = "import multiprocessing as m\nif __name__ == '__main__':\n    print(sum(m.Pool(2).map(abs, [-1, 2, -3])))\n";
    fs::write(world.path("wd").join("sum.py"), python).unwrap();
    let here = Path::new("/usr/bin/python3").exists();
    let run = if here { "/usr/bin/python3 sum.py" } else { "echo 6" };
    let mut task = script("all", &format!("id -u; echo x > /tmp/x; {run}"));
    task.isolation = isolation;
    task.cwd = world.path("wd");
    task.user = Some(TaskUser { uid: STRANGER, gid: STRANGER, groups: Vec::new() });
    assert_eq!(output(&world, &mut agent, &task), format!("{STRANGER}\n6\n"));
}

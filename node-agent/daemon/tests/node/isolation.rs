//! What a command sees and may do at each level of isolation.
//!
//! Commands look around and print what they find. Each test needs an agent that is root and a kernel with namespaces; where
//! one is missing it says so and shows nothing.

use super::controller::plan;
use super::world::{World, eventually};
use muster_proto::wire;
use muster_proto::wire::IsolationLevel as Level;
use std::path::Path;

/// Numbers of system calls that the sandbox refuses whatever their arguments are, and two that depend on them.
const REFUSED: &str = r#"perl -e '
    my %calls = (mount => 165, umount2 => 166, pivot_root => 155, setns => 308, bpf => 321, perf_event_open => 298,
        userfaultfd => 323, keyctl => 250, add_key => 248, open_by_handle_at => 304, io_uring_setup => 425, kexec_load => 246,
        init_module => 175, finit_module => 313, delete_module => 176, reboot => 169, swapon => 167, settimeofday => 164,
        clock_settime => 227, adjtimex => 159, acct => 163, quotactl => 179, syslog => 103, vhangup => 153, fsopen => 430,
        open_tree => 428, move_mount => 429, mount_setattr => 442, iopl => 172, ioperm => 173, chroot => 161);
    my $zero = 0;
    for (sort keys %calls) {
        $! = 0;
        my $answer = syscall($calls{$_}, $zero, $zero, $zero, $zero, $zero);
        print "$_ $answer ", $! + 0, "\n" unless $answer == -1 && $! == 1;
    }
    $! = 0; syscall(272, 0x10000000); print "unshare ", $! + 0, "\n";
    $! = 0; syscall(435, 0, 0); print "clone3 ", $! + 0, "\n";
    $! = 0; syscall(41, 17, 3, 0); print "packet ", $! + 0, "\n";
    $! = 0; syscall(41, 38, 5, 0); print "alg ", $! + 0, "\n";
    my $socket = syscall(41, 2, 1, 0); print "inet ", $socket >= 0 ? "ok" : $!, "\n";
    print "done\n";
'"#;

/// A node whose pool asks for a level, with one slot more than a test needs; `None` with a word if it cannot give it.
async fn node(level: Level) -> Option<World> {
    node_with(level, |_| ()).await
}

async fn node_with(level: Level, change: impl FnOnce(&mut World)) -> Option<World> {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: isolation needs root");
        return None;
    }
    let mut world = World::prepare(3).await;
    change(&mut world);
    world.controller.with(|state| state.settings.isolation_level = level.into());
    world.start_agent();
    world.controller.connected(1).await;
    let told = world.controller.with(|state| state.hellos[0].facts.clone().unwrap().capabilities.unwrap());
    if told.isolation_level < i32::from(level) {
        println!("skipped: this machine has no isolation level {level:?}: {:?}", told.notes);
        return None;
    }
    Some(world)
}

async fn output(world: &World, task: &str, line: &str) -> String {
    let result = world.controller.run(plan(task, line)).await;
    let text = |excerpt: Option<wire::OutputExcerpt>| {
        String::from_utf8_lossy(&excerpt.unwrap_or_default().head).into_owned()
    };
    assert!(result.start_time.is_some(), "{task} did not run: {:?}", result.failure_info);
    text(result.stdout) + &text(result.stderr)
}

fn has(program: &str) -> bool {
    ["/usr/bin", "/bin"].iter().any(|folder| Path::new(folder).join(program).exists())
}

#[tokio::test(flavor = "multi_thread")]
async fn isolated_tasks_see_no_other_task_and_nothing_of_the_agent() {
    for level in [Level::Process, Level::Sandbox] {
        let Some(world) = node(level).await else { return };
        world.controller.assign(vec![plan("other", "sh -c 'echo x > secret; exec sleep 1000'")]);
        let secret = world.task_dir("other").join("wd/secret");
        eventually("the other task to run", || secret.exists()).await;
        let pid = world.process_of("other", "sleep").await;
        let root = world.root.display();
        let script = format!(
            "sh -c 'ls {root} {root}/batch {root}/batch/workitems/job/job-1; cat {secret}; cat {root}/agent/identity.json; \
             ls {root}/supervisor; kill -0 {pid} && echo reached; ls /proc | grep -c ^[0-9]; ls /tmp /var/tmp; \
             echo mine > /tmp/mine; cat /var/tmp/mine; cat ../tmp/mine; ls /dev/shm; echo shared > {root}/batch/shared/{level:?}; \
             grep -E \"^(CapEff|CapBnd|NoNewPrivs|Seccomp):\" /proc/self/status; ipcs -q | grep -c 0x'",
            secret = secret.display(),
        );
        let found = output(&world, "looks", &script).await;
        let lines: Vec<&str> = found.lines().collect();
        let shown = ["applications", "fsmounts", "shared", "startup", "volatile", "workitems"];
        assert!(shown.iter().all(|name| lines.contains(name)), "{found}");
        assert!(lines.contains(&"looks") && !lines.contains(&"other"), "another task shows: {found}");
        for word in ["agent", "supervisor", "trash", "reached", "certificate"] {
            assert!(!lines.contains(&word), "{word} shows: {found}");
        }
        assert_eq!(lines.iter().filter(|line| **line == "mine").count(), 2, "its own /tmp: {found}");
        for wanted in ["CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1"] {
            assert!(lines.contains(&wanted), "{wanted}: {found}");
        }
        let filtered = lines.contains(&"Seccomp:\t2");
        assert_eq!(filtered, level == Level::Sandbox, "{found}");
        let kept = world.root.join(format!("batch/shared/{level:?}"));
        assert!(kept.exists() && world.task_dir("looks").join("tmp/mine").exists(), "{found}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sandbox_is_read_only_but_for_the_task_s_own_places() {
    let Some(world) = node(Level::Sandbox).await else { return };
    let script = "sh -c 'for place in /etc /usr /var /root /opt /run /sys /srv; do touch $place/x 2>/dev/null && echo wrote $place; \
                  done; for place in . /tmp /var/tmp /dev/shm $AZ_BATCH_NODE_SHARED_DIR; do touch $place/x || echo refused \
                  $place; done; echo x > /dev/null; head -c1 /dev/urandom | wc -c; ls /dev; mount | grep -c \" / .*ro[,)]\"'";
    let found = output(&world, "writes", script).await;
    assert!(!found.contains("wrote") && !found.contains("refused"), "{found}");
    let devices: Vec<&str> = found.lines().collect();
    assert!(devices.contains(&"null") && devices.contains(&"shm"), "{found}");
    for device in ["kvm", "fuse", "mem", "kmsg", "loop-control", "vda", "sda"] {
        assert!(!devices.contains(&device), "/dev/{device} shows: {found}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sandbox_refuses_the_calls_on_its_list_and_lets_ordinary_programs_work() {
    if cfg!(not(target_arch = "x86_64")) || !has("perl") {
        println!("skipped: needs perl on x86-64");
        return;
    }
    let Some(world) = node(Level::Sandbox).await else { return };
    let found = output(&world, "calls", REFUSED).await;
    assert_eq!(found, "unshare 1\nclone3 38\npacket 97\nalg 97\ninet ok\ndone\n");
    let script = "bash -c 'cat <(echo substituted); echo $(( $(nproc) > 0 )); (exit 3); echo $?; sleep 0 & wait; \
                  perl -e \"fork or exit; wait; print qq(forked\\n)\"; readlink /proc/self/exe | wc -l; ls /dev/fd/ > /dev/null; \
                  cp /bin/true ./mine; ./mine && echo ran; ln -s mine link; ./link && echo linked'";
    if has("bash") {
        let found = output(&world, "ordinary", script).await;
        assert_eq!(found, "substituted\n1\n3\nforked\n1\nran\nlinked\n");
    }
    if has("python3") {
        let script = "python3 -c 'import multiprocessing as m, tempfile\nwith m.Pool(2) as pool: print(sum(pool.map(abs, [-1, \
                      -2])))\nprint(len(tempfile.mkdtemp()) > 0)'";
        assert_eq!(output(&world, "python", script).await, "3\nTrue\n");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_job_s_preparation_and_the_start_task_s_files_can_be_read_and_not_changed() {
    let Some(world) = node(Level::Process).await else { return };
    let with_preparation = |task: &str, line: &str| wire::AttemptPlan {
        job_preparation_task_id: "prep".to_owned(),
        ..plan(task, line)
    };
    let mut preparation = with_preparation("prep", "sh -c 'echo prepared > data; chmod 666 data'");
    preparation.required_slots = 0;
    assert_eq!(world.controller.run(preparation).await.exit_code, Some(0));
    let script = "sh -c 'cat $AZ_BATCH_JOB_PREP_WORKING_DIR/data; echo x > $AZ_BATCH_JOB_PREP_WORKING_DIR/data; touch \
                  $AZ_BATCH_NODE_STARTUP_DIR/x; ls $AZ_BATCH_NODE_STARTUP_DIR'";
    world.controller.assign(vec![with_preparation("reads", script)]);
    let result = world.controller.finished("reads").await;
    assert_eq!(result.stdout.unwrap().head.as_ref(), b"prepared\n");
    let words = String::from_utf8(result.stderr.unwrap().head.to_vec()).unwrap();
    assert_eq!(words.matches("Read-only file system").count(), 2, "{words}");
    let script = "sh -c 'rm $AZ_BATCH_JOB_PREP_WORKING_DIR/data && echo cleaned'";
    let release = wire::AttemptPlan { required_slots: 0, ..with_preparation("release", script) };
    let result = world.controller.run(release).await;
    assert_eq!(result.stdout.unwrap().head.as_ref(), b"cleaned\n", "the release task cleans up");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_isolation_a_task_sees_the_node_and_still_has_no_rights() {
    let Some(world) = node(Level::None).await else { return };
    let script = "sh -c 'grep -E \"^(CapBnd|NoNewPrivs|Seccomp):\" /proc/self/status; cat /proc/1/comm | wc -l; ls /proc | \
                  grep -c ^[0-9]; cat '$AZ_BATCH_NODE_ROOT_DIR'../agent/identity.json'";
    let found = output(&world, "t", script).await;
    for wanted in ["CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t0"] {
        assert!(found.contains(wanted), "{found}");
    }
    assert!(!found.contains("PRIVATE KEY"), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_kept_from_the_network_have_a_loopback_device_and_nothing_else() {
    let change = |world: &mut World| {
        world.controller.with(|state| state.settings.task_network = wire::TaskNetwork::None.into());
    };
    let Some(world) = node_with(Level::Process, change).await else { return };
    let found = output(
        &world,
        "t",
        "sh -c 'tail -n +3 /proc/net/dev | cut -d: -f1; cat /sys/class/net/lo/operstate'",
    )
    .await;
    assert_eq!(found.split_whitespace().next(), Some("lo"), "{found}");
    let script = format!(
        "perl -MIO::Socket::INET -e 'print IO::Socket::INET->new(q(127.0.0.1:{})) ? 1 : 0'",
        world.controller.port
    );
    if has("perl") {
        assert_eq!(output(&world, "connects", &script).await, "0", "the node's loopback can be reached");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_s_writable_places_and_hidden_files_hold_also_below_tmp() {
    let places = tempfile::tempdir_in("/tmp").unwrap();
    std::fs::set_permissions(places.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let hidden = tempfile::Builder::new().tempfile_in("/var").unwrap();
    std::fs::write(hidden.path(), "secret").unwrap();
    std::fs::set_permissions(hidden.path(), std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let scratch = places.path().join("scratch");
    std::fs::create_dir(&scratch).unwrap();
    std::fs::set_permissions(&scratch, std::os::unix::fs::PermissionsExt::from_mode(0o1777)).unwrap();
    for level in [Level::Process, Level::Sandbox] {
        let change = |world: &mut World| {
            world.flag("--set");
            world.flag(&format!("isolation.writable={}", scratch.display()));
            world.flag("--set");
            world.flag(&format!("isolation.hidden={},/no/such/file", hidden.path().display()));
        };
        let Some(world) = node_with(level, change).await else { return };
        let script = format!(
            "sh -c 'echo x > {}/{level:?}; cat {}; echo end'",
            scratch.display(),
            hidden.path().display()
        );
        assert_eq!(output(&world, "t", &script).await, "end\n");
        assert!(scratch.join(format!("{level:?}")).exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_level_that_the_node_cannot_give_makes_it_unhealthy_and_starts_nothing() {
    if nix::unistd::geteuid().is_root() {
        println!("skipped: as root this machine may give every level");
        return;
    }
    let world = World::prepare(1).await;
    world.controller.with(|state| state.settings.isolation_level = Level::Sandbox.into());
    let mut world = world;
    world.start_agent();
    world.controller.connected(1).await;
    world.controller.health("IsolationUnavailable").await;
}

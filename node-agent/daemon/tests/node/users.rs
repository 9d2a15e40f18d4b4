//! As whom commands run, and whose their directories are.
//!
//! Commands print their ids; owners and permission bits are read from the disk. An agent that is not root has one user for all,
//! so most of it needs root and says so where it shows nothing.

use super::controller::plan;
use super::world::{World, eventually};
use muster_proto::wire;
use std::os::unix::fs::MetadataExt;

const FIRST: u32 = 1_900_000_000;

fn identity(user: wire::user_identity::User) -> Option<wire::UserIdentity> {
    Some(wire::UserIdentity { user: Some(user) })
}

fn own() -> Option<wire::UserIdentity> {
    identity(wire::user_identity::User::AutoUser(wire::AutoUser {
        scope: wire::AutoUserScope::Task.into(),
        elevation_level: wire::ElevationLevel::NonAdmin.into(),
    }))
}

fn admin() -> Option<wire::UserIdentity> {
    identity(wire::user_identity::User::AutoUser(wire::AutoUser {
        scope: wire::AutoUserScope::Pool.into(),
        elevation_level: wire::ElevationLevel::Admin.into(),
    }))
}

fn as_user(task: &str, line: &str, user_identity: Option<wire::UserIdentity>) -> wire::AttemptPlan {
    wire::AttemptPlan { user_identity, ..plan(task, line) }
}

fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        println!("skipped: only root gives tasks other users");
    }
    root
}

fn text(result: &wire::AttemptResult) -> String {
    String::from_utf8(result.stdout.clone().unwrap_or_default().head.to_vec()).unwrap()
}

fn owner(world: &World, task: &str) -> u32 {
    world.task_dir(task).join("wd").metadata().unwrap().uid()
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_with_users_of_their_own_share_none_also_after_a_restart_of_the_agent() {
    if !is_root() {
        return;
    }
    let mut world = World::start(3).await;
    let line = "sh -c 'touch runs; while ! test -e go; do sleep 0.02; done; id -u; id -g; echo $HOME; touch $HOME/x ../tmp/y'";
    world.controller.assign(vec![as_user("a", line, own()), as_user("b", line, own())]);
    for task in ["a", "b"] {
        let runs = world.task_dir(task).join("wd/runs");
        eventually("a task to run", || runs.exists()).await;
    }
    world.kill_agent();
    world.start_agent();
    world.controller.connected(2).await;
    world.controller.assign(vec![as_user("c", line, own())]);
    let runs = world.task_dir("c").join("wd/runs");
    eventually("the third task to run", || runs.exists()).await;
    let owners: std::collections::BTreeSet<u32> =
        ["a", "b", "c"].iter().map(|task| owner(&world, task)).collect();
    assert_eq!(owners.len(), 3, "{owners:?}");
    assert!(owners.iter().all(|uid| (FIRST..FIRST + 4_096).contains(uid)), "{owners:?}");
    for task in ["a", "b", "c"] {
        let dir = world.task_dir(task);
        let facts = dir.metadata().unwrap();
        let uid = owner(&world, task);
        assert_eq!((facts.uid(), facts.gid(), facts.mode() & 0o7777), (0, uid, 0o750), "{task}");
        std::fs::write(dir.join("wd/go"), "").unwrap();
        let result = world.controller.finished(task).await;
        assert_eq!(text(&result), format!("{uid}\n{uid}\n{}\n", dir.join("wd").display()));
        let closed = || {
            let facts = dir.metadata().unwrap();
            (facts.uid(), facts.gid(), facts.mode() & 0o7777) == (0, 0, 0o700)
        };
        eventually("the directory to be closed", closed).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_s_id_comes_to_another_task_only_when_the_directory_is_closed() {
    if !is_root() {
        return;
    }
    let mut world = World::prepare(1).await;
    world.flag("--set");
    world.flag("task_users.count=1");
    world.start_agent();
    world.controller.connected(1).await;
    world.controller.with(|state| state.settings.isolation_level = wire::IsolationLevel::None.into());
    world.controller.hang_up();
    world.controller.connected(2).await;
    for (task, other) in [("a", "c"), ("b", "a"), ("c", "b")] {
        let line = format!("sh -c 'id -u; ls ../../{other}/wd'");
        let result = world.controller.run(as_user(task, &line, own())).await;
        assert_eq!(text(&result), format!("{FIRST}\n"), "{result:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn named_users_and_administrators_run_as_who_they_are() {
    if !is_root() {
        return;
    }
    let world = World::prepare(1).await;
    let account = |name: &str, elevation: wire::ElevationLevel, id: Option<u32>| wire::UserAccount {
        name: name.to_owned(),
        elevation_level: elevation.into(),
        uid: id,
        gid: id,
        ..Default::default()
    };
    world.controller.with(|state| {
        state.settings.user_accounts = vec![
            account("ann", wire::ElevationLevel::NonAdmin, Some(5_555)),
            account("bob", wire::ElevationLevel::NonAdmin, None),
            account("zoe", wire::ElevationLevel::Admin, None),
        ];
    });
    let mut world = world;
    world.start_agent();
    world.controller.connected(1).await;
    let bob = FIRST + 4_096 + 1;
    for (name, uid) in [("ann", 5_555), ("bob", bob), ("zoe", 0)] {
        let user = identity(wire::user_identity::User::Username(name.to_owned()));
        let result = world.controller.run(as_user(name, "sh -c 'id -u; touch x; stat -c %u .'", user)).await;
        assert_eq!(text(&result), format!("{uid}\n{uid}\n"), "{name}: {result:?}");
    }
    let result =
        world.controller.run(as_user("root", "sh -c 'id -u; touch /var/tmp/x && echo ok'", admin())).await;
    assert_eq!(text(&result), "0\nok\n", "{result:?}");
    let user = identity(wire::user_identity::User::Username("mallory".to_owned()));
    let result = world.controller.run(as_user("nobody", "true", user)).await;
    assert!(result.failure_info.unwrap().message.contains("no user account 'mallory'"));
}

#[tokio::test(flavor = "multi_thread")]
async fn administrators_are_refused_where_the_operator_wants_none() {
    let mut world = World::prepare(1).await;
    world.flag("--set");
    world.flag("admin_tasks=false");
    world.start_agent();
    world.controller.connected(1).await;
    let told = world.controller.with(|state| state.hellos[0].facts.clone().unwrap().capabilities.unwrap());
    assert!(!told.admin_tasks);
    let result = world.controller.run(as_user("root", "id -u", admin())).await;
    let failure = result.failure_info.unwrap();
    assert_eq!(failure.cause(), wire::FailureCause::LaunchFailed);
    assert!(failure.message.contains("administrator"), "{}", failure.message);
}

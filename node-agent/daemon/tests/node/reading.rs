//! Files of the node are read by the controller: ranges, following, lists, refusals.
//!
//! A wish goes out on the session; the answer comes on a stream of its own, or as a refusal on the session.

use super::controller::{attempt, plan};
use super::world::World;
use muster_proto::wire;
use muster_proto::wire::controller_message::Body;

fn of(task: &str) -> Option<wire::ReadTarget> {
    Some(wire::ReadTarget { target: Some(wire::read_target::Target::Attempt(attempt(task, 1))) })
}

fn read(world: &World, id: &str, task: &str, path: &str, range: (u64, u64), follow: bool) {
    let (offset, length) = range;
    let (read_id, path) = (id.to_owned(), path.to_owned());
    world.controller.send(Body::ReadFile(wire::ReadFile {
        read_id,
        target: of(task),
        path,
        offset,
        length,
        follow,
    }));
}

async fn answer(world: &World, id: &str) -> String {
    let what = format!("the answer to {id}");
    let bytes = world
        .controller
        .wait(&what, |state| state.served.get(id).filter(|(.., done)| *done).map(|s| s.0.clone()));
    String::from_utf8(bytes.await).unwrap()
}

async fn refusal(world: &World, id: &str) -> wire::ReadRefusal {
    let what = format!("the refusal of {id}");
    world
        .controller
        .wait(&what, |state| state.refused.iter().find(|r| r.read_id == id).map(|r| r.refusal()))
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn output_is_followed_while_the_task_runs_and_ends_with_it() {
    let world = World::start(1).await;
    let fifo = world.root.join("batch/shared/go");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_truncate(0o666)).unwrap();
    std::fs::set_permissions(&fifo, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    let line = format!("sh -c 'echo first; cat {} > /dev/null; echo last'", fifo.display());
    world.controller.assign(vec![plan("t", &line), plan("queued", "echo in turn")]);
    read(&world, "follow", "t", "stdout.txt", (0, 0), true);
    read(&world, "later", "queued", "stdout.txt", (0, 0), true);
    world
        .controller
        .wait("the first line", |state| state.served.get("follow").filter(|s| s.0 == b"first\n").map(|_| ()))
        .await;
    tokio::task::spawn_blocking(move || std::fs::write(fifo, "go")).await.unwrap().unwrap();
    assert_eq!(answer(&world, "follow").await, "first\nlast\n");
    assert_eq!(answer(&world, "later").await, "in turn\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_lists_and_refusals_after_the_task_has_ended() {
    let world = World::start(1).await;
    world
        .controller
        .run(plan("t", "sh -c 'echo 0123456789; mkdir d; echo x > d/f; ln -s /etc/passwd link'"))
        .await;
    read(&world, "range", "t", "stdout.txt", (3, 4), false);
    assert_eq!(answer(&world, "range").await, "3456");
    read(&world, "followed", "t", "stdout.txt", (0, 0), true);
    assert_eq!(answer(&world, "followed").await, "0123456789\n");
    let list = wire::ListNodeDirectory {
        read_id: "list".to_owned(),
        target: of("t"),
        prefix: String::new(),
        recursive: true,
        after_path: String::new(),
        limit: 100,
    };
    world.controller.send(Body::ListDirectory(list));
    answer(&world, "list").await;
    let listed: Vec<String> =
        world.controller.with(|state| state.served["list"].1.iter().map(|file| file.path.clone()).collect());
    // In the task's own /tmp there may be mount points.
    let listed: Vec<_> = listed.iter().filter(|path| !path.starts_with("tmp/")).collect();
    assert_eq!(listed, ["stderr.txt", "stdout.txt", "tmp", "wd", "wd/d", "wd/d/f"]);
    let root =
        Some(wire::ReadTarget { target: Some(wire::read_target::Target::NodeRoot(wire::NodeRoot {})) });
    let path = "workitems/job/job-1/t/stdout.txt".to_owned();
    let by_root =
        wire::ReadFile { read_id: "root".into(), target: root, path, offset: 0, length: 2, follow: false };
    world.controller.send(Body::ReadFile(by_root));
    assert_eq!(answer(&world, "root").await, "01");
    for (id, task, path, range, wanted) in [
        ("none", "t", "wd/none", (0, 0), wire::ReadRefusal::NotFound),
        ("link", "t", "wd/link", (0, 0), wire::ReadRefusal::NotAllowed),
        ("dir", "t", "wd/d", (0, 0), wire::ReadRefusal::NotAllowed),
        ("beyond", "t", "stdout.txt", (99, 0), wire::ReadRefusal::OutOfRange),
        ("unknown", "other", "stdout.txt", (0, 0), wire::ReadRefusal::AttemptUnknown),
    ] {
        read(&world, id, task, path, range, false);
        assert_eq!(refusal(&world, id).await, wanted, "{id}");
    }
}

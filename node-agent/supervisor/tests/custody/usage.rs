//! What live attempts use: told on request, growing, and no less in the record than it was while they lived.
//!
//! What an attempt used in the end is in `launch.rs` and `limits.rs`.

use std::fs;

use muster_supervisor::record::Usage;
use muster_supervisor::{AttemptKey, Outcome, Refusal, Reply, Request};

use crate::harness::{Connection, World, key, line_in, script, skip, spec, until};

fn ask(agent: &mut Connection, names: &[&str]) -> Vec<(AttemptKey, Usage)> {
    match agent.call(&Request::Usage { keys: names.iter().map(|name| key(name)).collect() }) {
        Ok(Reply::Usages(usages)) => usages,
        other => panic!("unexpected {other:?}"),
    }
}

#[test]
fn live_attempts_tell_what_they_use_and_others_are_left_out() {
    let world = World::new();
    let mut agent = world.subscribe();
    if world.groups().is_empty() {
        return skip("no control groups");
    }
    assert_eq!(agent.run(&spec("over", &["true"])).outcome, Outcome::Exited { code: 0 });
    for name in ["one", "two"] {
        let mut task =
            script(name, "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo done; sleep 1000");
        task.stdout = Some(world.path(name));
        agent.start(&task).unwrap();
        line_in(&world.path(name));
    }
    let usages = ask(&mut agent, &["one", "nobody", "over", "two"]);
    let names: Vec<_> = usages.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(names, ["one", "two"]);
    for (key, usage) in &usages {
        assert!(usage.user_cpu_us.unwrap() + usage.system_cpu_us.unwrap() > 1_000, "{key}: {usage:?}");
        assert_eq!(usage.peak_memory_bytes.is_some(), agent.probe().memory, "{key}: {usage:?}");
        assert!(usage.read_bytes.is_some() && usage.written_bytes.is_some(), "{key}: {usage:?}");
    }
    assert_eq!(ask(&mut agent, &[]), []);
    assert_eq!(agent.events(), []);
}

#[test]
fn bytes_written_are_seen_while_a_task_lives_and_kept_in_its_record() {
    const WRITTEN: u64 = 16 << 20;
    let world = World::new();
    let mut agent = world.subscribe();
    if world.groups().is_empty() {
        return skip("no control groups");
    }
    // By a child that has ended, and through to the disk.
    let text = format!(
        "dd if=/dev/zero of=$0 bs=1M count=16 conv=fsync 2>/dev/null; echo done; while [ -e {} ]; do sleep 0.01; done",
        world.path("go-on").display()
    );
    fs::write(world.path("go-on"), "").unwrap();
    let mut task = script("writer", &text);
    task.argv.push(world.path("file").into_os_string());
    task.stdout = Some(world.path("out"));
    agent.start(&task).unwrap();
    line_in(&world.path("out"));
    let now = ask(&mut agent, &["writer"])[0].1.written_bytes.unwrap();
    if now == 0 {
        return skip("the file system of the test's directory is not on a device");
    }
    assert!((WRITTEN..2 * WRITTEN).contains(&now), "{now}");
    fs::remove_file(world.path("go-on")).unwrap();
    let record = agent.exit_of("writer");
    let then = record.usage.written_bytes.unwrap();
    assert!((now..2 * WRITTEN).contains(&then), "{now} while it lived, {then} in the end");
}

#[test]
fn a_question_about_too_many_is_refused_and_the_connection_goes_on() {
    let world = World::without_groups();
    let mut agent = world.connect();
    let keys = (0..65).map(|number| key(&format!("k{number}"))).collect();
    let answer = agent.call(&Request::Usage { keys });
    assert!(matches!(answer, Err(Refusal::Unreadable { .. })), "{answer:?}");
    assert_eq!(ask(&mut agent, &["k1"]), []);
}

#[test]
fn a_live_attempt_is_asked_across_a_restart_of_the_supervisor() {
    let mut world = World::new();
    if world.groups().is_empty() {
        return skip("no control groups");
    }
    let mut agent = world.connect();
    agent.start(&spec("kept", &["sleep", "1000"])).unwrap();
    drop(agent);
    world.kill_supervisor();
    world.start();
    let mut agent = world.connect();
    let mut usages = Vec::new();
    until("it is asked", || {
        usages = ask(&mut agent, &["kept"]);
        !usages.is_empty()
    });
    assert!(usages[0].1.user_cpu_us.is_some(), "{usages:?}");
}

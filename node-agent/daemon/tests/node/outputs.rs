//! Output files: found, uploaded once, named in the manifest, and never read through a link.
//!
//! What a pattern matches is tested beside the code (`output/pattern.rs`); here it is the whole way to the controller.

use super::controller::{plan, sha256};
use super::world::World;
use muster_proto::wire;
use muster_proto::wire::FailureCause as Cause;

fn output(pattern: &str, path: &str) -> wire::OutputFile {
    let store = wire::FileStorePath { container: "film".to_owned(), path: path.to_owned() };
    wire::OutputFile {
        file_pattern: pattern.to_owned(),
        destination: Some(wire::output_file::Destination::FileStore(store)),
        upload_condition: wire::UploadCondition::TaskCompletion.into(),
    }
}

fn names(result: &wire::AttemptResult) -> Vec<(String, String)> {
    let entry = |entry: &wire::OutputManifestEntry| match &entry.destination {
        Some(wire::output_manifest_entry::Destination::FileStore(path)) => {
            (path.path.clone(), entry.sha256.clone())
        }
        _ => panic!("{entry:?}"),
    };
    result.outputs.iter().map(entry).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn matched_files_are_uploaded_with_their_digests_and_those_known_are_not_sent() {
    let world = World::start(1).await;
    let line = "sh -c 'mkdir d; printf one > a.png; printf two > d/b.png; printf x > .hidden.png; head -c 3000000 \
                /dev/zero > big.bin; echo said'";
    let mut first = plan("t1", line);
    first.output_files =
        vec![output("**/*.png", "frames"), output("big.bin", "big"), output("../stdout.txt", "log")];
    let result = world.controller.run(first.clone()).await;
    let wanted = [
        ("frames/a.png".to_owned(), sha256(b"one")),
        ("frames/d/b.png".to_owned(), sha256(b"two")),
        ("big".to_owned(), sha256(&vec![0; 3_000_000])),
        ("log".to_owned(), sha256(b"said\n")),
    ];
    assert_eq!(names(&result), wanted);
    assert_eq!(world.controller.with(|state| state.uploads.len()), 4);
    let again = wire::AttemptPlan { attempt: Some(super::controller::attempt("t2", 1)), ..first };
    assert_eq!(names(&world.controller.run(again).await), wanted);
    assert_eq!(world.controller.with(|state| state.uploads.len()), 4, "known contents were sent again");
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_and_failures_decide_what_is_kept() {
    let world = World::start(1).await;
    let condition = |pattern: &str, condition: wire::UploadCondition| wire::OutputFile {
        upload_condition: condition.into(),
        ..output(pattern, pattern)
    };
    let files = vec![
        condition("good", wire::UploadCondition::TaskSuccess),
        condition("bad", wire::UploadCondition::TaskFailure),
        condition("none", wire::UploadCondition::TaskCompletion),
    ];
    let kept = async |task: &str, code: u32| {
        let line = format!("sh -c 'echo g > good; echo b > bad; exit {code}'");
        let result = world
            .controller
            .run(wire::AttemptPlan { output_files: files.clone(), ..plan(task, &line) })
            .await;
        names(&result).into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    assert_eq!(kept("ok", 0).await, ["good"]);
    assert_eq!(kept("failed", 3).await, ["bad"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_of_the_task_are_put_into_patterns() {
    let world = World::start(1).await;
    let mut plan = plan("t", "sh -c 'mkdir out; echo a > out/a-7.png; echo b > out/b-8.png; echo said'");
    plan.environment_settings = vec![wire::EnvironmentSetting { name: "N".into(), value: "7".into() }];
    plan.output_files = vec![
        output("out/*-$N.png", "seven"),
        output("$AZ_BATCH_TASK_WORKING_DIR/out/b-*", "eight"),
        output("${AZ_BATCH_TASK_DIR}/stdout.txt", "log-of-t"),
    ];
    let result = world.controller.run(plan).await;
    let wanted = [
        ("seven/out/a-7.png".to_owned(), sha256(b"a\n")),
        ("eight/out/b-8.png".to_owned(), sha256(b"b\n")),
        ("log-of-t".to_owned(), sha256(b"said\n")),
    ];
    assert_eq!(names(&result), wanted, "{:?}", result.failure_info);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pattern_that_cannot_be_used_fails_the_upload_with_words_and_an_exit_code_counts_more() {
    let world = World::start(1).await;
    let failing = async |task: &str, line: &str, pattern: &str| {
        let mut plan = plan(task, line);
        plan.output_files = vec![output("a", "a"), output(pattern, "x")];
        let result = world.controller.run(plan).await;
        assert!(result.outputs.is_empty() && result.start_time.is_some());
        let failure = result.failure_info.unwrap();
        (failure.cause(), result.exit_code, failure)
    };
    for (task, pattern, words) in [
        ("syntax", "[", "the pattern '[' is not valid"),
        ("unset", "$NOBODY/x", "names the variable NOBODY"),
        ("braces", "${X", "write ${NAME}"),
        ("outside", "$AZ_BATCH_NODE_ROOT_DIR/shared/x", "not in the task's directory"),
    ] {
        let (cause, exit_code, failure) = failing(task, "touch a", pattern).await;
        assert_eq!((cause, exit_code), (Cause::UploadFailed, Some(0)), "{failure:?}");
        assert!(failure.message.contains(words), "{failure:?}");
    }
    let (cause, exit_code, failure) = failing("both", "sh -c 'touch a; exit 3'", "[").await;
    assert_eq!((cause, exit_code), (Cause::ExitCode, Some(3)), "{failure:?}");
    assert!(failure.details.iter().any(|detail| detail.value.contains("is not valid")), "{failure:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_in_the_working_directory_does_not_let_a_task_read_the_agents_files() {
    let world = World::start(1).await;
    let secret = world.root.join("agent/identity.json");
    let line = format!(
        "sh -c 'ln -s {} stolen; ln -s {} dir; ln -s / root; true'",
        secret.display(),
        world.root.join("agent").display()
    );
    let mut named = plan("named", &line);
    named.output_files = vec![output("stolen", "x")];
    let result = world.controller.run(named).await;
    let failure = result.failure_info.clone().unwrap();
    assert_eq!(failure.cause(), wire::FailureCause::UploadFailed);
    assert!(failure.message.contains("symbolic link"), "{}", failure.message);
    assert!(result.outputs.is_empty());
    let mut wild = plan("wild", &line);
    wild.output_files = vec![output("*", "x"), output("dir/*", "y"), output("**", "z")];
    let result = world.controller.run(wild).await;
    assert_eq!((result.exit_code, names(&result)), (Some(0), Vec::new()));
    let uploaded = world.controller.with(|state| state.uploads.len());
    assert_eq!(uploaded, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_middle_of_long_output_is_left_out_of_the_excerpt() {
    let world = World::start(1).await;
    let result = world.controller.run(plan("long", "sh -c 'seq 1 100000'")).await;
    let stdout = result.stdout.unwrap();
    assert_eq!((stdout.head.len(), stdout.tail.len(), stdout.total_bytes), (32_768, 32_768, 588_895));
    assert!(stdout.head.starts_with(b"1\n2\n") && stdout.tail.ends_with(b"\n100000\n"));
}

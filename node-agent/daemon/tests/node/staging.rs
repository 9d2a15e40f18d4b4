//! Resource files: from the web and from the file store, once, whole, and with words when they cannot be had.
//!
//! The web server counts what it is asked, so a second download shows.

use super::controller::{plan, sha256};
use super::web::{Page, Web};
use super::world::World;
use muster_proto::wire;
use muster_proto::wire::FailureCause as Cause;
use muster_proto::wire::planned_file::Source;

fn file(source: Source, path: &str) -> wire::PlannedFile {
    wire::PlannedFile {
        source: Some(source),
        file_path: path.to_owned(),
        file_mode: 0o640,
        expected_sha256: String::new(),
        size_bytes: None,
    }
}

fn from_web(url: String, path: &str) -> wire::PlannedFile {
    file(Source::HttpUrl(url), path)
}

fn with_files(task: &str, line: &str, files: Vec<wire::PlannedFile>) -> wire::AttemptPlan {
    wire::AttemptPlan { resource_files: files, ..plan(task, line) }
}

async fn fails(world: &World, task: &str, file: wire::PlannedFile) -> (Cause, String) {
    let result = world.controller.run(with_files(task, "true", vec![file])).await;
    let failure = result.failure_info.unwrap();
    (failure.cause(), failure.message)
}

#[tokio::test(flavor = "multi_thread")]
async fn files_come_from_the_web_and_the_store_and_may_be_written_without_harm_to_the_cache() {
    let world = World::start(2).await;
    let web = Web::start().await;
    let url = web.put("/scene.pov", Page::ok("from the web\n"));
    let content = vec![b'x'; 300_000];
    let digest = sha256(&content);
    world.controller.with(|state| state.contents.insert(digest.clone(), content));
    for task in ["one", "two"] {
        let files = || {
            let read_only = wire::PlannedFile {
                file_mode: 0o444,
                ..file(Source::ContentSha256(digest.clone()), "in/ro")
            };
            vec![
                from_web(url.clone(), "a/scene.pov"),
                file(Source::ContentSha256(digest.clone()), "in/x"),
                read_only,
            ]
        };
        let line = "sh -c 'cat a/scene.pov; wc -c < in/x; wc -c < in/ro; echo spoilt > in/x; chmod u+w in/ro; \
                    echo spoilt > in/ro; stat -c %a a/scene.pov'";
        let result = world.controller.run(with_files(task, line, files())).await;
        let stdout = String::from_utf8(result.stdout.unwrap().head.to_vec()).unwrap();
        assert_eq!(stdout, "from the web\n300000\n300000\n640\n", "{task}");
    }
    assert_eq!(world.controller.with(|state| state.fetches), 1, "the cache was not used");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_download_serves_all_who_want_it_at_the_same_time() {
    let world = World::start(8).await;
    let web = Web::start().await;
    let body = vec![b'y'; 2_000_000];
    let url = web.put("/big", Page { etag: Some("\"v1\"".into()), ..Page::ok(body.clone()) });
    let plans = (0..8).map(|n| with_files(&format!("t{n}"), "wc -c big", vec![from_web(url.clone(), "big")]));
    world.controller.assign(plans.collect());
    let mut staged = 0;
    for n in 0..8 {
        let result = world.controller.finished(&format!("t{n}")).await;
        assert_eq!(result.exit_code, Some(0));
        staged += result.usage.unwrap_or_default().staged_bytes;
    }
    assert_eq!(staged, 2_000_000, "only whoever fetched it counts it");
    let whole: Vec<_> = web.hits().into_iter().filter(|hit| hit == "/big").collect();
    assert_eq!(whole.len(), 1, "{:?}", web.hits());
    let result =
        world.controller.run(with_files("later", "wc -c big", vec![from_web(url.clone(), "big")])).await;
    assert_eq!((result.exit_code, web.hits().last().map(String::as_str)), (Some(0), Some("/big \"v1\"")));
    let known = wire::PlannedFile { expected_sha256: sha256(&body), ..from_web(url, "big") };
    let asked = web.hits().len();
    let result = world.controller.run(with_files("known", "wc -c big", vec![known])).await;
    assert_eq!((result.exit_code, web.hits().len()), (Some(0), asked), "a known digest needs no request");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_breaks_off_goes_on_where_it_was() {
    let world = World::start(1).await;
    let web = Web::start().await;
    let body: Vec<u8> = (0..500_000_u32).flat_map(u32::to_le_bytes).collect();
    let page =
        Page { etag: Some("\"v1\"".into()), breaks_once_after: Some(700_000), ..Page::ok(body.clone()) };
    let url = web.put("/big", page);
    let wanted = wire::PlannedFile { expected_sha256: sha256(&body), ..from_web(url, "big") };
    let result = world.controller.run(with_files("t", "true", vec![wanted])).await;
    assert_eq!(result.exit_code, Some(0), "{result:?}");
    let hits = web.hits();
    assert!(hits.len() == 2 && hits[1].starts_with("/big bytes=") && !hits[1].ends_with("=0-"), "{hits:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_had_is_told_with_file_url_and_status() {
    let world = World::start(1).await;
    let web = Web::start().await;
    let (cause, words) = fails(&world, "none", from_web(web.url("/none?secret=1"), "in.txt")).await;
    assert_eq!(cause, Cause::StagingNotFound);
    assert!(words.contains("'in.txt'") && words.contains("/none") && words.contains("404"), "{words}");
    assert!(!words.contains("secret"), "{words}");
    let url = web.put("/mine", Page::status(403));
    assert_eq!(fails(&world, "denied", from_web(url, "in.txt")).await.0, Cause::StagingDenied);
    let url = web.put("/a", Page::ok("other bytes"));
    let wrong =
        wire::PlannedFile { expected_sha256: sha256(b"these bytes"), ..from_web(url.clone(), "in.txt") };
    let (cause, words) = fails(&world, "corrupt", wrong).await;
    assert_eq!(cause, Cause::StagingCorrupt);
    assert!(words.contains(&sha256(b"other bytes")) && words.contains(&sha256(b"these bytes")), "{words}");
    let short = wire::PlannedFile { size_bytes: Some(5), ..from_web(url, "in.txt") };
    assert_eq!(fails(&world, "size", short).await.0, Cause::StagingCorrupt);
    let absent = file(Source::ContentSha256(sha256(b"absent")), "in.txt");
    assert_eq!(fails(&world, "absent", absent).await.0, Cause::StagingNotFound);
    let page = Page { location: Some("http://169.254.169.254/latest/meta-data".into()), ..Page::status(302) };
    let (cause, words) = fails(&world, "redirect", from_web(web.put("/sly", page), "in.txt")).await;
    assert_eq!((cause, words.contains("169.254.169.254")), (Cause::StagingDenied, true), "{words}");
    let lost = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (cause, words) = fails(&world, "lost", from_web(format!("http://{lost}/x"), "in.txt")).await;
    assert_eq!((cause, words.contains("5 tries")), (Cause::StagingNetwork, true), "{words}");
    assert_eq!(world.controller.run(plan("after", "true")).await.exit_code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_fails_the_attempt_with_its_cause_and_nothing_else() {
    if !nix::unistd::geteuid().is_root() {
        println!("not root: a small disk cannot be mounted");
        return;
    }
    let mut world = World::prepare(1).await;
    world.mount_small_disk(8 << 20);
    world.start_agent();
    world.controller.connected(1).await;
    let web = Web::start().await;
    let url = web.put("/huge", Page::ok(vec![b'z'; 16 << 20]));
    let (cause, words) = fails(&world, "full", from_web(url, "in.bin")).await;
    assert_eq!((cause, words.contains("disk")), (Cause::DiskFull, true), "{words}");
    assert_eq!(world.controller.run(plan("after", "sh -c 'echo x > small'")).await.exit_code, Some(0));
    // A task that fills the disk itself does not take the agent with it.
    let greedy = world.controller.run(plan("greedy", "sh -c 'cat /dev/zero > big; rm big; exit 9'")).await;
    assert_eq!(greedy.exit_code, Some(9));
    assert_eq!(world.controller.run(plan("last", "true")).await.exit_code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_ends_staging_at_once() {
    let world = World::start(1).await;
    let stuck = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/never", stuck.local_addr().unwrap());
    world.controller.assign(vec![with_files("t", "true", vec![from_web(url, "x")])]);
    let _open = stuck.accept().await.unwrap();
    world.controller.kill("t", wire::KillReason::Terminated);
    let result = world.controller.finished("t").await;
    assert_eq!(result.failure_info.unwrap().cause(), Cause::Terminated);
}

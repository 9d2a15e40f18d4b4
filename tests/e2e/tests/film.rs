//! The demo's flow in small: a start task, inputs from the file store, frames as tasks, a merge that depends on them all.
//!
//! Text stands for pictures and `cat` for the renderer; everything else is as `cargo xtask demo` does it, so the demo cannot
//! break without this failing first.

use muster_e2e::user::quoted;
use muster_e2e::{Cluster, User};
use serde_json::{Value, json};

const FRAMES: usize = 6;

/// What a start task leaves for all tasks of its node, as an installed program would be.
const START_TASK: &str = "printf 'lamp of %s' \"$AZ_BATCH_POOL_ID\" > \"$AZ_BATCH_NODE_SHARED_DIR/lamp\"\n";

fn frame(number: usize) -> Value {
    let image = format!("frame-{number:04}.txt");
    let script = format!(
        "{{ cat scene.txt; echo \" {number}, $(cat \"$AZ_BATCH_NODE_SHARED_DIR/lamp\")\"; }} > {image}"
    );
    json!({
        "id": number.to_string(),
        "command_line": format!("/bin/sh -c {}", quoted(&script)),
        "resource_files": [{ "file_store": { "container": "scene", "path": "scene.txt" }, "file_path": "scene.txt" }],
        "output_files": [{
            "file_pattern": image,
            "file_store": { "container": "film-1", "path": format!("frames/{image}") },
            "upload_condition": "UPLOAD_CONDITION_TASK_SUCCESS",
        }],
    })
}

fn merge() -> Value {
    json!({
        "id": "merge",
        "command_line": "/bin/sh -c 'cat frames/frame-*.txt > film.txt'",
        "depends_on": { "task_id_ranges": [{ "start": 0, "end": FRAMES - 1 }] },
        "resource_files": [{ "file_store_prefix": { "container": "film-1", "prefix": "frames/" } }],
        "output_files": [{
            "file_pattern": "film.txt",
            "file_store": { "container": "film-1", "path": "film.txt" },
            "upload_condition": "UPLOAD_CONDITION_TASK_SUCCESS",
        }],
    })
}

fn put(cluster: &User, name: &str, content: &str) -> anyhow::Result<()> {
    let path = cluster.file(name, content)?;
    cluster.ok(&["file", "put", &path, &format!("scene/{name}")]).map(drop)
}

#[test]
fn frames_are_staged_back_and_merged_into_a_film_that_is_downloaded() -> anyhow::Result<()> {
    let cluster = Cluster::new().nodes(0).dev()?;
    put(&cluster, "scene.txt", "a boat, frame")?;
    put(&cluster, "start-task.sh", START_TASK)?;
    let pool = ["pool", "create", "film", "--nodes", "2", "--slots", "2"];
    let start_task = ["--start-task", "sh start-task.sh", "--start-task-file", "scene/start-task.sh"];
    cluster.ok(&[&pool[..], &start_task].concat())?;
    cluster.ok(&["job", "create", "film-1", "--pool", "film", "--dependencies"])?;

    let tasks: Vec<Value> = (0..FRAMES).map(frame).chain([merge()]).collect();
    cluster.add_tasks("film-1", &tasks)?.ok()?;
    cluster.ok(&["job", "wait", "film-1"])?;

    let film = cluster.path("film.txt").to_string_lossy().into_owned();
    cluster.ok(&["file", "get", "film-1/film.txt", &film])?;
    let wanted: String =
        (0..FRAMES).map(|number| format!("a boat, frame {number}, lamp of film\n")).collect();
    assert_eq!(std::fs::read_to_string(&film)?, wanted);

    let listed = cluster.list(&["file", "list", "film-1"])?;
    assert_eq!(listed.len(), FRAMES + 1, "nothing but the frames and the film: {listed:?}");
    cluster.ok(&["pool", "delete", "film"])?;
    Ok(())
}

//! `cargo xtask demo`: the main job, end to end, as a user would do it with `muster` commands.
//!
//! A pool of three nodes whose start task installs POV-Ray and ffmpeg, a task for each frame, a last task that depends on
//! all of them and merges the film. Nothing in Muster knows of the demo; nothing here does what the command line cannot.

use crate::cluster::{Cluster, build};
use crate::run::{check, has, say, seconds, target, top};
use anyhow::{Context, bail, ensure};
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How to run the demo.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// How many frames to render
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..=1000))]
    frames: u32,
    /// How many nodes to start
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=16))]
    nodes: u32,
}

/// What the frames are rendered from.
const SCENE: [&str; 4] = ["scene.pov", "boat.inc", "fleet.inc", "lake.inc"];
/// Slots for each node: POV-Ray idles half a second in each run, so three nodes of two slots fill two cores.
const SLOTS: &str = "2";

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let mut times = Times::default();
    say("building Muster (release)");
    let binaries = build()?;
    times.note("build");

    let folder = target().join("demo");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let film = folder.join("film.mp4");
    remove_old(&film)?;
    say("starting a local cluster: one controller, node agents as separate processes");
    let cluster = Cluster::start(&binaries, &folder.join("cluster"), &["--nodes", "0"])?;
    times.note("cluster start");

    // A name of its own for each run: what an interrupted one left behind is in nobody's way.
    let stamp = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let name = format!("film-{stamp}");
    prepare_pool(&cluster, &name, options)?;
    times.note("upload, pool and start tasks");
    submit(&cluster, &name, options, &folder)?;
    times.note("submit");
    check(&mut cluster.muster(&["job", "wait", &name]))?;
    times.note("frames and merge");

    let source = format!("{name}/film.mp4");
    check(&mut cluster.muster(&["file", "get", &source, &film.to_string_lossy()]))?;
    times.note("download");
    cluster.run(&["job", "terminate", &name])?;
    cluster.run(&["pool", "delete", &name])?;
    cluster.stop()?;
    times.note("clean stop");

    check_film(&film, options.frames)?;
    times.print();
    say(&format!("{} frames: {}", options.frames, film.display()));
    Ok(())
}

fn remove_old(film: &Path) -> anyhow::Result<()> {
    match std::fs::remove_file(film) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", film.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Uploads what the nodes need and makes the pool whose start task installs the programs.
fn prepare_pool(cluster: &Cluster, pool: &str, options: &Options) -> anyhow::Result<()> {
    let assets = top().join("xtask/demo");
    let names = SCENE.into_iter().chain(["start-task.sh"]);
    let paths: Vec<String> = names.map(|name| assets.join(name).to_string_lossy().into_owned()).collect();
    let put: Vec<&str> =
        ["file", "put"].into_iter().chain(paths.iter().map(String::as_str)).chain(["scene"]).collect();
    check(&mut cluster.muster(&put))?;
    say(&format!("pool '{pool}': {} nodes, a start task that installs POV-Ray and ffmpeg", options.nodes));
    let nodes = options.nodes.to_string();
    cluster.run(&[
        "pool",
        "create",
        pool,
        "--nodes",
        &nodes,
        "--slots",
        SLOTS,
        "--start-task",
        "sh start-task.sh",
        "--start-task-file",
        "scene/start-task.sh:start-task.sh",
        "--start-task-admin",
        "--wait",
    ])?;
    Ok(())
}

/// One task for each frame and the merge that depends on them all. The job has the pool's name, and so has the
/// container of what it makes.
fn submit(cluster: &Cluster, job: &str, options: &Options, folder: &Path) -> anyhow::Result<()> {
    let tasks = folder.join("tasks.jsonl");
    std::fs::write(&tasks, tasks_jsonl(job, options.frames))
        .with_context(|| format!("cannot write {}", tasks.display()))?;
    cluster.run(&["job", "create", job, "--pool", job, "--dependencies"])?;
    check(&mut cluster.muster(&["task", "add", job, "--file", &tasks.to_string_lossy()]))?;
    Ok(())
}

/// The tasks in the form of `muster task add --file`: one JSON object on each line.
fn tasks_jsonl(job: &str, frames: u32) -> String {
    let scene: Vec<String> = SCENE
        .iter()
        .map(|name| {
            format!(r#"{{"file_store":{{"container":"scene","path":"{name}"}},"file_path":"{name}"}}"#)
        })
        .collect();
    let scene = scene.join(",");
    let mut text = String::new();
    for frame in 0..frames {
        let clock = f64::from(frame) / f64::from(frames);
        let image = format!("frame-{frame:04}.png");
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            r#"{{"id":"{frame}","command_line":"povray scene.pov +O{image} +W480 +H270 +A0.2 +K{clock:.4} +WT1 -D","resource_files":[{scene}],"output_files":[{{"file_pattern":"{image}","file_store":{{"container":"{job}","path":"frames/{image}"}},"upload_condition":"UPLOAD_CONDITION_TASK_SUCCESS"}}]}}"#
        );
    }
    let last = frames - 1;
    let _ = writeln!(
        text,
        r#"{{"id":"merge","command_line":"ffmpeg -nostdin -y -loglevel warning -framerate 20 -i frames/frame-%04d.png -c:v libx264 -preset slow -crf 16 -pix_fmt yuv420p -movflags +faststart film.mp4","depends_on":{{"task_id_ranges":[{{"start":0,"end":{last}}}]}},"resource_files":[{{"file_store_prefix":{{"container":"{job}","prefix":"frames/"}}}}],"output_files":[{{"file_pattern":"film.mp4","file_store":{{"container":"{job}","path":"film.mp4"}},"upload_condition":"UPLOAD_CONDITION_TASK_SUCCESS"}}]}}"#
    );
    text
}

/// Looks whether the film is what it should be, with ffprobe, which came with ffmpeg.
fn check_film(film: &Path, frames: u32) -> anyhow::Result<()> {
    ensure!(film.metadata().is_ok_and(|file| file.len() > 0), "{} is empty", film.display());
    if !has("ffprobe") {
        return Ok(());
    }
    let arguments = ["-v", "error", "-count_frames", "-select_streams", "v:0", "-of", "csv=p=0"];
    let counted = crate::run::capture(
        Command::new("ffprobe").args(arguments).args(["-show_entries", "stream=nb_read_frames"]).arg(film),
    )?;
    if counted.trim().trim_end_matches(',') != frames.to_string() {
        bail!("{} has {} frames, not {frames}", film.display(), counted.trim());
    }
    Ok(())
}

/// How long each part took.
struct Times {
    last: Instant,
    parts: Vec<(&'static str, Duration)>,
}

impl Default for Times {
    fn default() -> Self {
        Self { last: Instant::now(), parts: Vec::new() }
    }
}

impl Times {
    fn note(&mut self, part: &'static str) {
        self.parts.push((part, self.last.elapsed()));
        self.last = Instant::now();
    }

    fn print(&self) {
        say("");
        for (part, span) in &self.parts {
            say(&format!("  {part:<32} {:>8}", seconds(*span)));
        }
    }
}

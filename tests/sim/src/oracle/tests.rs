//! That each promise about processes can be seen to be broken.
//!
//! A watchman who never calls is worth nothing: every case here does one wrong thing and names the promise that must be
//! called broken.

use super::*;
use crate::draw;
use crate::names;
use muster_model::spec::{JobManagerSpec, JobSpec, RetryLimit, TaskSpec};
use std::rc::Rc;

/// A job of three tasks on two machines, all placed on the first one.
struct Scene {
    book: Book,
    oracle: Oracle,
    nodes: [NodeId; 2],
}

fn now() -> Timestamp {
    Timestamp::from_micros(1)
}

fn attempt(task: &str) -> AttemptId {
    AttemptId { job: names::job(0), task: names::task_id(task), number: 1 }
}

fn scene(change: impl FnOnce(&mut JobSpec)) -> Scene {
    // Draws of this number bring nothing but a task of one slot.
    let mut spec = draw::job(names::job(0), 0);
    (spec.preparation, spec.release, spec.manager, spec.max_parallel_tasks) = (None, None, None, None);
    spec.constraints.max_task_retry_count = RetryLimit::Times(0);
    change(&mut spec);
    let nodes = [names::node(0), names::node(1)];
    let mut job = KnownJob::new(spec, 1);
    let mut oracle = Oracle::default();
    for name in ["0", "1", "2"] {
        let mut task: TaskSpec = draw::task(names::task_id(name), 0);
        (task.constraints, task.resources) =
            (Default::default(), Resources { slots: 1, ..Resources::default() });
        let mut known = Known::new(Rc::new(task), None);
        known.stand.attempt = 1;
        known.stand.placed = true;
        known.stand.node = Some(nodes[0].clone());
        let grant = Grant {
            resources: known.spec.resources.clone(),
            exclusive: job.spec.manager.as_ref().is_some_and(|manager| manager.task.id == known.spec.id),
            parallel: job.spec.max_parallel_tasks,
            at: now(),
            step: 0,
            wall_least: None,
            changed: now(),
        };
        oracle.grants.insert(attempt(name), grant);
        job.tasks.insert(known.spec.id.clone(), known);
    }
    let mut book = Book::default();
    book.jobs.insert(job.spec.id.clone(), job);
    Scene { book, oracle, nodes }
}

impl Scene {
    fn start(&mut self, machine: usize, task: &str) -> Kept {
        let place = Place { machine, node: &self.nodes[machine], boot: 0, pool: 0 };
        self.oracle.started(&self.book, place, &attempt(task), &[], now()).map(drop)
    }

    fn end(&mut self, machine: usize, task: &str, by: EndedBy) -> Kept {
        let place = Place { machine, node: &self.nodes[machine], boot: 0, pool: 0 };
        self.oracle.ended(&self.book, place, &attempt(task), (Ended::Exited(0), by), now())
    }
}

fn breaks(kept: Kept) -> Option<&'static str> {
    kept.err().map(|broken| broken.promise)
}

#[test]
fn two_attempts_of_a_task_are_seen_wherever_they_run() {
    let mut scene = scene(|_| {});
    assert_eq!(breaks(scene.start(0, "0")), None);
    assert_eq!(breaks(scene.start(1, "0")), Some("one live attempt"));
}

#[test]
fn an_attempt_on_another_node_than_its_own_is_seen() {
    assert_eq!(breaks(scene(|_| {}).start(1, "0")), Some("only the current attempt runs"));
}

#[test]
fn a_second_start_is_seen_unless_somebody_asked_for_it() {
    let mut scene = scene(|_| {});
    for _ in 0..2 {
        assert_eq!(breaks(scene.start(0, "0")), None);
        assert_eq!(breaks(scene.end(0, "0", EndedBy::Itself)), None);
        let job = &scene.book.jobs[&names::job(0)];
        scene.oracle.allow_another(job, &names::task_id("0"));
    }
    assert_eq!(breaks(scene.start(0, "0")), None);
    assert_eq!(breaks(scene.end(0, "0", EndedBy::Itself)), None);
    assert_eq!(breaks(scene.start(0, "0")), Some("at most once"));
}

#[test]
fn what_takes_more_than_there_is_is_seen() {
    let mut scene = scene(|_| {});
    for name in ["0", "1"] {
        if let Some(grant) = scene.oracle.grants.get_mut(&attempt(name)) {
            grant.resources.slots = 2;
        }
    }
    assert_eq!(breaks(scene.start(0, "0")), None);
    assert_eq!(breaks(scene.start(0, "1")), Some("nothing is oversubscribed"));
}

#[test]
fn gpus_that_were_asked_for_and_not_given_are_seen() {
    let mut scene = scene(|_| {});
    if let Some(grant) = scene.oracle.grants.get_mut(&attempt("0")) {
        grant.resources.gpus = 1;
    }
    assert_eq!(breaks(scene.start(0, "0")), Some("every GPU is one attempt's"));
}

#[test]
fn company_of_an_exclusive_manager_is_seen() {
    let mut scene = scene(|job| {
        let task = draw::task(names::task_id("0"), 0);
        job.manager = Some(JobManagerSpec { task, kill_job_on_completion: false, run_exclusive: true });
    });
    assert_eq!(breaks(scene.start(0, "0")), None);
    assert_eq!(breaks(scene.start(0, "1")), Some("who wants a node alone has it alone"));
}

#[test]
fn more_tasks_than_the_job_may_have_are_seen() {
    let mut scene = scene(|job| job.max_parallel_tasks = Some(1));
    assert_eq!(breaks(scene.start(0, "0")), None);
    assert_eq!(breaks(scene.start(0, "1")), Some("max_parallel_tasks"));
}

#[test]
fn an_unprepared_node_and_a_task_after_a_release_are_seen() {
    let drawn = |job: &mut JobSpec| {
        // The first draw with both.
        let both = (0..).map(|draw| draw::job(names::job(0), draw)).find(|job| {
            job.release.is_some() && job.preparation.as_ref().is_some_and(|spec| spec.wait_for_success)
        });
        (job.preparation, job.release) = both.map_or((None, None), |both| (both.preparation, both.release));
    };
    let mut scene = scene(drawn);
    assert_eq!(breaks(scene.start(0, "0")), Some("a task runs only on a prepared node"));
    assert_eq!(breaks(scene.end(0, "0", EndedBy::Requested)), None);
    assert_eq!(breaks(scene.start(0, "prep")), None);
    assert_eq!(breaks(scene.end(0, "prep", EndedBy::Itself)), None);
    assert_eq!(breaks(scene.start(0, "1")), None);
    assert_eq!(breaks(scene.start(0, "release")), Some("a release comes after all tasks"));
    assert_eq!(breaks(scene.end(0, "1", EndedBy::Itself)), None);
    assert_eq!(breaks(scene.end(0, "release", EndedBy::Itself)), None);
    assert_eq!(breaks(scene.start(0, "release")), None);
    assert_eq!(breaks(scene.start(0, "2")), Some("a release comes after all tasks"));
}

#[test]
fn a_wall_clock_that_nobody_set_is_seen() {
    let mut scene = scene(|_| {});
    assert_eq!(breaks(scene.start(0, "0")), None);
    assert_eq!(breaks(scene.end(0, "0", EndedBy::WallClock)), Some("no wall clock runs fast"));
}

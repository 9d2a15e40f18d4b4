//! What is about the node as a whole: its health, its disk, the order to restart its machine.
//!
//! The shell measures and the controller orders; here it is played what the core makes of it.

use super::*;
use muster_agent_core::OverDisk;
use muster_model::node::NodeError;

fn policy() -> NodeSettings {
    settings(OnLeaseExpiry::Keep, None)
}

fn error(code: &str) -> NodeError {
    let (message, details) = ("it is not well".to_owned(), Vec::new());
    NodeError { code: code.to_owned(), message, details, time: Timestamp::EPOCH }
}

/// What is said about the node's health, oldest first.
fn told(effects: &[Effect]) -> Vec<Vec<NodeError>> {
    let reports = effects.iter().filter_map(|effect| match effect {
        Effect::Send { message: AgentMessage::Reports(reports), .. } => Some(reports),
        _ => None,
    });
    let errors = |numbered: &NumberedReport| match &numbered.report {
        Report::Health(errors) => Some(errors.clone()),
        _ => None,
    };
    reports.flatten().filter_map(errors).collect()
}

fn over_disk(scene: &mut Scene, task: &str, used_bytes: u64) -> Vec<Effect> {
    scene.feed(Input::OverDisk { subject: subject(task), over: OverDisk { limit_bytes: 1_000, used_bytes } })
}

fn kills(effects: &[Effect], task: &str) -> bool {
    effects.contains(&Effect::Kill { subject: subject(task), grace: Duration::ZERO })
}

fn restarts(effects: &[Effect]) -> Vec<bool> {
    let restart = |effect: &Effect| match effect {
        Effect::Restart { reimage } => Some(*reimage),
        _ => None,
    };
    effects.iter().filter_map(restart).collect()
}

#[test]
fn health_is_told_when_it_changes_and_on_a_new_session_while_something_is_wrong() {
    let mut scene = Scene::new(&policy());
    let (full, skewed) = (error(NodeError::DISK_PRESSURE), error(NodeError::CLOCK_SKEW));
    let health = |scene: &mut Scene, errors: &[NodeError]| told(&scene.feed(Input::Health(errors.to_vec())));
    assert_eq!(health(&mut scene, &[]), [vec![]], "the agent before may have said otherwise");
    assert_eq!(health(&mut scene, &[]), Vec::<Vec<_>>::new());
    assert_eq!(health(&mut scene, std::slice::from_ref(&full)), [vec![full.clone()]]);
    assert_eq!(health(&mut scene, std::slice::from_ref(&full)), Vec::<Vec<_>>::new());
    let both = vec![full.clone(), skewed];
    assert_eq!(health(&mut scene, &both), std::slice::from_ref(&both));
    assert_eq!(
        told(&scene.connect(&policy())),
        std::slice::from_ref(&both),
        "once, though it waits to be acknowledged"
    );
    let last = scene.agent.ledger().outbox().next_number();
    scene.say(ControllerMessage::Acknowledge(last));
    assert_eq!(told(&scene.connect(&policy())), [both], "the controller may have forgotten it");
    assert_eq!(health(&mut scene, &[]), [vec![]]);
    let last = scene.agent.ledger().outbox().next_number();
    scene.say(ControllerMessage::Acknowledge(last));
    assert_eq!(told(&scene.connect(&policy())), Vec::<Vec<_>>::new(), "all is well, and that was said");
    scene.restart(false);
    scene.connect(&policy());
    assert_eq!(health(&mut scene, &[]), [vec![]]);
}

#[test]
fn health_that_could_not_be_told_survives_a_restart_and_only_the_last_word_of_it() {
    let mut scene = Scene::new(&policy());
    scene.feed(Input::SessionClosed(1));
    for code in [NodeError::DISK_PRESSURE, NodeError::CLOCK_SKEW] {
        scene.feed(Input::Health(vec![error(code)]));
    }
    scene.restart(false);
    assert_eq!(told(&scene.connect(&policy())), [vec![error(NodeError::CLOCK_SKEW)]]);
}

#[test]
fn an_attempt_with_too_much_on_the_disk_is_ended_for_it_once() {
    let mut scene = Scene::new(&policy());
    scene.assign_all(vec![Assignment { disk_limit_bytes: Some(1_000), ..assignment("t") }]);
    scene.run(&subject("t"));
    assert!(kills(&over_disk(&mut scene, "t", 1_001), "t"));
    let records = scene.journal.len();
    assert_eq!((over_disk(&mut scene, "t", 1_002), scene.journal.len()), (vec![], records));
    assert!(kills(&scene.restart_with(false, &["t"]), "t"), "the order may have been lost");
    scene.connect(&policy());
    let effects = scene.end(&subject("t"), Ended::Signaled(9), EndedBy::Requested);
    let failure = failures(&effects).pop().unwrap();
    assert_eq!(failure.cause, Cause::DiskFull);
    let details = [("limit_bytes", "1000"), ("peak_bytes", "1001")];
    assert_eq!(failure.details, details.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!(over_disk(&mut scene, "t", 1_003), [], "it is over");
}

#[test]
fn a_command_that_fails_because_the_disk_is_full_has_that_cause_and_one_that_succeeds_none() {
    let mut scene = Scene::new(&policy());
    for (code, cause) in [(1, Some(Cause::DiskFull)), (0, None)] {
        let task = format!("t{code}");
        scene.assign(&task);
        scene.run(&subject(&task));
        over_disk(&mut scene, &task, 1_000);
        let effects = scene.end(&subject(&task), Ended::Exited(code), EndedBy::Itself);
        assert_eq!(causes(&effects), [cause]);
    }
}

#[test]
fn the_disk_ends_an_attempt_that_stages_and_means_nothing_to_one_that_waits() {
    let mut scene = Scene::new(&policy());
    scene.assign("stages");
    scene.assign("waits");
    assert_eq!(over_disk(&mut scene, "waits", 1_001), []);
    assert!(over_disk(&mut scene, "stages", 1_001).contains(&Effect::Cancel(subject("stages"))));
    let effects = scene.feed(Input::Staged { subject: subject("stages"), outcome: Ok(0) });
    assert_eq!((causes(&effects), stages(&effects)), (vec![Some(Cause::DiskFull)], vec![subject("waits")]));
}

#[test]
fn what_filled_the_node_s_disk_goes_at_once_and_what_had_a_limit_stays() {
    let mut scene = Scene::new(&policy());
    for (task, disk_limit_bytes, goes) in [("free", None, true), ("limited", Some(1_000), false)] {
        scene.assign_all(vec![Assignment { disk_limit_bytes, ..assignment(task) }]);
        scene.run(&subject(task));
        over_disk(&mut scene, task, 5_000);
        let effects = scene.end(&subject(task), Ended::Signaled(9), EndedBy::Requested);
        assert_eq!((causes(&effects), removes(&effects, task)), (vec![Some(Cause::DiskFull)], goes));
    }
    assert!(scene.agent.ledger().retained().holds(&attempt("free")), "that it has ended is remembered");
}

#[test]
fn under_pressure_directories_go_before_their_time_a_few_at_once_and_each_once() {
    let mut scene = Scene::new(&policy());
    let tasks: Vec<String> = (0..20).map(|number| format!("t{number:02}")).collect();
    for task in &tasks {
        scene.assign(task);
        scene.run(&subject(task));
        scene.end(&subject(task), Ended::Exited(0), EndedBy::Itself);
        scene.pass(Duration::from_secs(1));
    }
    let mut freed = || {
        let effects = scene.feed(Input::FreeDisk);
        tasks.iter().filter(|task| removes(&effects, task)).cloned().collect::<Vec<_>>()
    };
    assert_eq!(freed(), tasks[..16]);
    assert_eq!(freed(), tasks[16..]);
    assert_eq!(freed(), Vec::<String>::new());
}

#[test]
fn an_order_to_run_the_start_task_that_comes_twice_is_carried_out_once() {
    let wanted = start_task(0);
    let mut scene = Scene::new(&settings(OnLeaseExpiry::Keep, Some(wanted)));
    let run = |run| Subject::StartTask { run };
    scene.run(&run(1));
    scene.end(&run(1), Ended::Exited(1), EndedBy::Itself);
    assert_eq!(stages(&scene.say(ControllerMessage::RunStartTask(wanted))), [run(2)]);
    assert_eq!(stages(&scene.say(ControllerMessage::RunStartTask(wanted))), []);
    scene.run(&run(2));
    scene.end(&run(2), Ended::Exited(0), EndedBy::Itself);
    assert_eq!(stages(&scene.say(ControllerMessage::RunStartTask(wanted))), []);
    let changed = StartTaskSettings { version: 2, ..wanted };
    assert_eq!(stages(&scene.say(ControllerMessage::RunStartTask(changed))), [run(3)]);
}

#[test]
fn a_machine_is_restarted_once_and_not_before_its_results_are_safe() {
    let mut scene = Scene::new(&policy());
    scene.assign("t");
    scene.run(&subject("t"));
    assert_eq!(restarts(&scene.say(ControllerMessage::Restart { reimage: false })), []);
    assert_eq!(restarts(&scene.end(&subject("t"), Ended::Exited(0), EndedBy::Itself)), []);
    let last = scene.agent.ledger().outbox().next_number();
    assert_eq!(restarts(&scene.say(ControllerMessage::Acknowledge(last))), [false]);
    assert_eq!(restarts(&scene.pass(Duration::from_secs(1))), []);
    assert_eq!(restarts(&scene.say(ControllerMessage::Restart { reimage: true })), [true], "nothing is held");
}

#[test]
fn a_start_task_is_ended_for_a_restart_and_not_tried_again_before_it() {
    let policy = settings(OnLeaseExpiry::Keep, Some(start_task(9)));
    let mut scene = Scene::new(&policy);
    let first = Subject::StartTask { run: 1 };
    scene.run(&first);
    let effects = scene.say(ControllerMessage::Restart { reimage: true });
    assert!(effects.contains(&Effect::Kill { subject: first.clone(), grace: Duration::from_secs(2) }));
    assert_eq!(restarts(&effects), []);
    let effects = scene.end(&first, Ended::Signaled(15), EndedBy::Requested);
    assert_eq!((restarts(&effects), stages(&effects)), (vec![true], vec![]));
    assert_eq!(
        stages(&scene.pass(Duration::from_secs(9))),
        [Subject::StartTask { run: 2 }],
        "the command for it may have failed: the node works on"
    );
}

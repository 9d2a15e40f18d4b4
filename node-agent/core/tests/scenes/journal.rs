//! What may begin when, and what waits for the journal: full disks, lost records, late grants, a silent controller.
//!
//! The shell keeps the rule of the journal (`effect`); here it is played what the core does so that it can.

use super::*;
use muster_agent_core::report::{NUMBERS_SKIPPED_AFTER_BOOT, WAITING_EXCERPT_BYTES_MAX};
use muster_model::Excerpt;

fn policy() -> NodeSettings {
    settings(OnLeaseExpiry::Kill, None)
}

fn journal(scene: &mut Scene, writable: bool) -> Vec<Effect> {
    scene.feed(Input::Journal { writable })
}

fn said(effects: &[Effect]) -> Vec<Report> {
    let reports = effects.iter().filter_map(|effect| match effect {
        Effect::Send { message: AgentMessage::Reports(reports), .. } => Some(reports),
        _ => None,
    });
    reports.flatten().map(|numbered| numbered.report.clone()).collect()
}

fn beats(effects: &[Effect]) -> Vec<u64> {
    let beat = |effect: &Effect| match effect {
        Effect::Send { message: AgentMessage::Heartbeat { sequence }, .. } => Some(*sequence),
        _ => None,
    };
    effects.iter().filter_map(beat).collect()
}

#[test]
fn without_room_in_the_journal_nothing_begins_and_what_runs_goes_on() {
    let mut scene = Scene::new(&policy());
    scene.assign("runs");
    scene.assign("waits");
    scene.run(&subject("runs"));
    assert_eq!(journal(&mut scene, false), []);
    let records = scene.journal.len();
    assert_eq!(
        (said(&scene.assign("comes")), scene.journal.len()),
        (vec![], records),
        "nothing of it is recorded"
    );
    assert_eq!((said(&scene.assign("waits")), scene.journal.len()), (vec![], records), "it is held already");
    let effects = scene.say(ControllerMessage::Recall(vec![attempt("comes")]));
    assert_eq!(said(&effects), [Report::Recalled(attempt("comes"))], "it can be asked back");
    scene.assign("comes");
    let effects = scene.end(&subject("runs"), Ended::Exited(0), EndedBy::Itself);
    assert_eq!((causes(&effects), stages(&effects)), (vec![None], vec![]));
    assert_eq!(beats(&scene.pass(TTL / 3)), [1], "the lease goes on");
    assert_eq!(stages(&journal(&mut scene, true)), [subject("waits")]);
    assert!(scene.agent.ledger().attempt(&attempt("comes")).is_some(), "and the other one is held");
}

#[test]
fn without_room_in_the_journal_a_start_task_waits() {
    let monotonic = Monotonic::since_boot(Duration::from_secs(100));
    let now = Now { monotonic, wall: Timestamp::from_micros(1_000_000_000) };
    let agent = Agent::load([], false, now);
    let mut scene = Scene { agent, journal: Vec::new(), now, sessions: 0 };
    scene.feed(Input::Supervised(Vec::new()));
    journal(&mut scene, false);
    let effects = scene.connect(&settings(OnLeaseExpiry::Keep, Some(start_task(0))));
    assert_eq!(stages(&effects), []);
    assert_eq!(stages(&journal(&mut scene, true)), [Subject::StartTask { run: 1 }]);
}

#[test]
fn an_agent_that_comes_back_begins_nothing_before_the_controller_has_answered() {
    let mut scene = Scene::new(&policy());
    scene.assign("runs");
    scene.assign("waits");
    scene.run(&subject("runs"));
    scene.restart_with(false, &["runs"]);
    let effects = scene.end(&subject("runs"), Ended::Exited(0), EndedBy::Itself);
    assert_eq!(stages(&effects), [], "it may have been given back in a Hello of the agent before");
    assert_eq!(stages(&scene.connect(&policy())), [subject("waits")]);
}

#[test]
fn a_session_on_which_heartbeats_have_no_answer_is_given_up_in_time_for_another() {
    let mut scene = Scene::new(&policy());
    assert_eq!(beats(&scene.pass(TTL / 3)), [1]);
    let (at, reason) = scene.agent.next_deadline().unwrap();
    assert_eq!(at, scene.now.monotonic.after(TTL / 3));
    assert!(matches!(reason, DeadlineReason::HeartbeatDue | DeadlineReason::ControllerSilent));
    assert_eq!(scene.pass(TTL / 3), [Effect::CloseSession(1)]);
    assert!(scene.agent.ledger().lease_until().is_some(), "there is a third of the lease left");
    scene.connect(&policy());
    assert_eq!(beats(&scene.pass(TTL / 3)), [1]);
    scene.say(ControllerMessage::LeaseGranted { sequence: 1, ttl: TTL });
    assert_eq!(beats(&scene.pass(TTL / 3)), [2], "an answer keeps it open");
}

#[test]
fn a_grant_that_comes_after_its_own_end_begins_nothing() {
    let mut scene = Scene::new(&policy());
    scene.feed(Input::SessionClosed(1));
    scene.pass(TTL);
    scene.sessions += 1;
    scene.feed(Input::SessionOpened(scene.sessions));
    // Stopped for longer than the lease, with the Hello sent and its answer on the way.
    scene.now.monotonic = scene.now.monotonic.after(TTL + Duration::from_secs(1));
    let welcome = Welcome {
        lease_ttl: TTL,
        heartbeat_interval: None,
        settings: policy(),
        verdicts: Vec::new(),
        acknowledged: 0,
    };
    scene.say(ControllerMessage::Welcome(Box::new(welcome)));
    assert_eq!(scene.agent.ledger().lease_until(), None);
    let effects = scene.assign("t");
    assert_eq!((stages(&effects), beats(&effects)), (vec![], vec![1]), "it asks again at once");
    let effects = scene.say(ControllerMessage::LeaseGranted { sequence: 1, ttl: TTL });
    assert_eq!(stages(&effects), [subject("t")]);
}

#[test]
fn nothing_begins_while_too_much_waits_to_be_told() {
    let mut scene = Scene::new(&policy());
    let stdout = Excerpt { head: vec![0; WAITING_EXCERPT_BYTES_MAX / 2], tail: Vec::new(), total_bytes: 0 };
    for task in ["one", "two", "three"] {
        scene.assign(task);
    }
    let mut end = |task: &str| {
        scene.run(&subject(task));
        let exit = exit(Ended::Exited(0), EndedBy::Itself);
        scene.feed(Input::Exited { subject: subject(task), exit });
        let collected = Box::new(Collected { stdout: stdout.clone(), ..Collected::default() });
        stages(&scene.feed(Input::Collected { subject: subject(task), collected }))
    };
    assert_eq!(end("one"), [subject("two")]);
    assert_eq!(end("two"), []);
    let last = scene.agent.ledger().outbox().next_number() - 1;
    assert_eq!(stages(&scene.say(ControllerMessage::Acknowledge(last))), [subject("three")]);
    assert!(!scene.agent.ledger().outbox().is_full());
}

#[test]
fn after_lost_records_no_number_comes_again() {
    let scene = Scene::new(&settings(OnLeaseExpiry::Keep, Some(start_task(0))));
    let (report, run) = (scene.agent.ledger().outbox().next_number(), scene.agent.ledger().next_run());
    let records = scene.journal.clone();
    let agent = Agent::load(records, false, scene.now).with_lost_records();
    assert_eq!(agent.ledger().outbox().next_number(), report + NUMBERS_SKIPPED_AFTER_BOOT);
    assert!(agent.ledger().next_run() > run + 1_000);
    let again = Agent::load(agent.ledger().snapshot(), false, scene.now);
    assert_eq!(again.ledger(), agent.ledger(), "and the journal says so");
}

#[test]
fn only_what_keeps_the_lease_is_urgent() {
    let mut scene = Scene::new(&policy());
    let mut seen = scene.pass(TTL / 3);
    seen.extend(scene.assign("t"));
    seen.extend(scene.pass(TTL / 3));
    seen.extend(scene.connect(&policy()));
    let urgent = |effect: &&Effect| effect.is_urgent();
    assert_eq!(seen.iter().filter(urgent).count(), 3, "a heartbeat, a closing, a Hello: {seen:?}");
    assert!(seen.iter().any(|effect| !effect.is_urgent()));
}

#[test]
fn the_end_that_is_told_before_all_that_is_held_is_collected_once() {
    for restarted in [true, false] {
        let mut scene = Scene::new(&policy());
        scene.assign("t");
        scene.run(&subject("t"));
        let now = scene.now;
        scene.agent = Agent::load(scene.journal.clone(), false, now).with_gpus(GPUS);
        let collects = |effects: &[Effect]| {
            effects.iter().filter(|effect| matches!(effect, Effect::Collect { .. })).count()
        };
        // The record of the end overtakes the list, in which it counts as running.
        let exited = exit(Ended::Exited(0), EndedBy::Itself);
        let first = scene.feed(Input::Exited { subject: subject("t"), exit: exited });
        if restarted {
            scene.agent = Agent::load(scene.journal.clone(), false, now).with_gpus(GPUS);
        }
        let state = SupervisedState::Running(Timestamp::EPOCH);
        let held = || Input::Supervised(vec![Supervised { subject: subject("t"), state: state.clone() }]);
        let second = scene.feed(held());
        assert_eq!((collects(&first), collects(&second)), (1, usize::from(restarted)));
        assert_eq!(collects(&scene.feed(held())), 0, "another supervisor begins nothing again");
    }
}

#[test]
fn a_start_that_waited_for_its_records_until_its_attempt_was_to_end_is_not_made() {
    let mut scene = Scene::new(&policy());
    scene.assign("t");
    let t = subject("t");
    scene.feed(Input::Staged { subject: t.clone(), outcome: Ok(0) });
    assert_eq!(scene.agent.ledger().may_launch(&t), Ok(()));
    // The disk holds the start back, and the lease ends.
    scene.pass(TTL);
    let given_up = scene.agent.ledger().may_launch(&t).unwrap_err();
    assert!(given_up.message.contains("not started any more"), "{}", given_up.message);
    scene.feed(Input::Launched { subject: t, outcome: Err(given_up) });
    assert!(scene.agent.ledger().attempts().is_empty());
}

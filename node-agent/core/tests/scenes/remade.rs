//! Tasks that are deleted and made again under their old id, on the node that ran the earlier ones.
//!
//! The incarnation tells them apart. What is told must never be taken for the end of the wrong one.

use super::*;
use muster_agent_core::attempt::Attempt;
use muster_agent_core::input::{Kill, KillReason, Verdict};

fn made(incarnation: u64, number: u32) -> Assignment {
    let attempt = AttemptId { number, ..attempt("t") };
    Assignment { attempt, incarnation, ..assignment("t") }
}

fn of(number: u32) -> Subject {
    Subject::Attempt(AttemptId { number, ..attempt("t") })
}

fn scene() -> Scene {
    Scene::new(&settings(OnLeaseExpiry::Kill, None))
}

impl Scene {
    fn assign_made(&mut self, incarnation: u64, number: u32) -> Vec<Effect> {
        self.assign_all(vec![made(incarnation, number)])
    }

    /// An attempt that ran to its end.
    fn over(&mut self, incarnation: u64, number: u32) {
        assert_eq!(stages(&self.assign_made(incarnation, number)), [of(number)]);
        self.run(&of(number));
        let effects = self.end(&of(number), Ended::Exited(0), EndedBy::Itself);
        assert_eq!(causes(&effects), [None]);
    }

    fn running(&mut self, incarnation: u64, number: u32) {
        assert_eq!(stages(&self.assign_made(incarnation, number)), [of(number)]);
        self.run(&of(number));
    }

    fn kill(&mut self, number: u32) -> Vec<Effect> {
        let attempt = AttemptId { number, ..attempt("t") };
        let kill = Kill { attempt, reason: KillReason::Terminated, grace: Duration::ZERO };
        self.say(ControllerMessage::Kill(vec![kill]))
    }

    /// A new session on which the controller wants this of everything that is held; how much that was.
    fn reconnect(&mut self, verdict: Verdict) -> usize {
        self.sessions += 1;
        let held =
            self.feed(Input::SessionOpened(self.sessions)).into_iter().find_map(|effect| match effect {
                Effect::Send { message: AgentMessage::Hello(hello), .. } => Some(hello.held),
                _ => None,
            });
        let held = held.unwrap();
        self.say(ControllerMessage::Welcome(Box::new(Welcome {
            lease_ttl: TTL,
            heartbeat_interval: None,
            settings: settings(OnLeaseExpiry::Kill, None),
            verdicts: held.iter().map(|held| (held.attempt.clone(), verdict)).collect(),
            acknowledged: 0,
        })));
        held.len()
    }

    fn waiting_reports(&self) -> usize {
        self.agent.ledger().outbox().waiting().count()
    }
}

#[test]
fn of_the_same_task_only_higher_numbers_begin_and_of_an_earlier_one_none() {
    for ended in [true, false] {
        let mut scene = scene();
        if ended {
            scene.over(5, 2);
        } else {
            scene.running(5, 2);
        }
        let records = scene.journal.len();
        for (incarnation, number) in [(5, 2), (5, 1), (4, 3), (0, 9)] {
            assert_eq!(scene.assign_made(incarnation, number), [], "{incarnation} {number}");
        }
        assert_eq!((scene.journal.len(), scene.agent.deferred().count()), (records, 0));
    }
}

#[test]
fn a_task_that_was_made_again_runs_where_the_earlier_one_ended_and_its_directory_is_its_own() {
    for number in [1, 2, 3] {
        let mut scene = scene();
        scene.over(5, 1);
        scene.over(5, 2);
        let effects = scene.assign_made(6, number);
        assert_eq!(stages(&effects), [of(number)]);
        let removal = effects.iter().position(|effect| matches!(effect, Effect::RemoveDirectories(_)));
        let staging = effects.iter().position(|effect| matches!(effect, Effect::Stage(_)));
        assert!(removal.unwrap() < staging.unwrap(), "the old directory goes before the new one is made");
        scene.run(&of(number));
        // Not by the time of the earlier attempts, nor by an order that is about them.
        let all = (1..=3).map(|number| AttemptId { number, ..attempt("t") }).collect();
        let mut later = scene.say(ControllerMessage::RemoveDirectories(all));
        scene.connect(&settings(OnLeaseExpiry::Keep, None));
        later.extend(scene.pass(Duration::from_secs(9999)));
        assert!(!later.iter().any(|effect| matches!(effect, Effect::RemoveDirectories(_))), "{later:?}");
        scene.connect(&settings(OnLeaseExpiry::Keep, None));
        let effects = scene.end(&of(number), Ended::Exited(0), EndedBy::Itself);
        assert_eq!(causes(&effects), [None]);
        let gone = scene.pass(Duration::from_secs(601));
        assert!(gone.iter().any(|effect| matches!(effect, Effect::RemoveDirectories(_))));
    }
}

#[test]
fn a_task_that_was_made_again_waits_until_the_earlier_one_has_ended_and_nothing_is_told_of_that() {
    for number in [1, 2, 3] {
        let mut scene = scene();
        scene.running(5, 2);
        let effects = scene.assign_made(6, number);
        assert_eq!(stages(&effects), []);
        assert!(effects.contains(&Effect::Kill { subject: of(2), grace: Duration::ZERO }), "{effects:?}");
        assert_eq!(scene.waiting_reports(), 0, "what waited about the earlier one is taken back");
        assert_eq!(scene.assign_made(6, number), [], "a repeat is nothing");
        let effects = scene.end(&of(2), Ended::Signaled(15), EndedBy::Requested);
        assert_eq!((causes(&effects), stages(&effects)), (vec![], vec![of(number)]));
        scene.run(&of(number));
        let effects = scene.end(&of(number), Ended::Exited(0), EndedBy::Itself);
        assert_eq!(causes(&effects), [None]);
    }
}

#[test]
fn an_earlier_one_that_has_not_begun_ends_at_once_and_a_repeat_finds_the_later_one_in_its_place() {
    let mut scene = scene();
    scene.assign("full");
    assert_eq!(scene.assign_made(5, 1), []);
    let effects = scene.assign_all(vec![made(6, 1), made(6, 1)]);
    assert_eq!((causes(&effects), scene.agent.deferred().count()), (vec![], 0));
    assert_eq!(scene.agent.ledger().attempt(&attempt("t")).map(Attempt::incarnation), Some(6));
}

#[test]
fn what_waits_for_an_earlier_task_can_be_given_back_ended_and_changed() {
    let mut scene = scene();
    scene.running(5, 1);
    scene.assign_made(6, 1);
    scene.amend("t", Some(7));
    let limit = scene.agent.deferred().next().unwrap().wall_clock;
    assert_eq!(limit, Some(Duration::from_secs(7)));
    assert_eq!(
        scene.agent.ledger().attempt(&attempt("t")).unwrap().terms().wall_clock,
        assignment("t").wall_clock
    );
    let reports = scene.say(ControllerMessage::Recall(vec![attempt("t")]));
    assert!(matches!(reports.as_slice(), [Effect::Send { .. }]), "{reports:?}");
    assert_eq!(scene.agent.deferred().count(), 0);
    scene.assign_made(7, 1);
    assert_eq!(causes(&scene.kill(1)), [], "the old one has that name until its end");
    let effects = scene.end(&of(1), Ended::Signaled(15), EndedBy::Requested);
    assert_eq!((causes(&effects), stages(&effects)), (vec![Some(Cause::Terminated)], vec![]));
    assert_eq!(stages(&scene.assign_made(8, 1)), [of(1)]);
}

#[test]
fn a_waiting_one_whose_name_no_attempt_has_is_ended_at_once() {
    let mut scene = scene();
    scene.over(5, 1);
    scene.running(5, 2);
    scene.assign_made(6, 1);
    assert_eq!(causes(&scene.kill(1)), [Some(Cause::Terminated)]);
    assert_eq!(scene.assign_made(6, 1), [], "it has ended");
    let effects = scene.end(&of(2), Ended::Signaled(15), EndedBy::Requested);
    assert_eq!((causes(&effects), stages(&effects)), (vec![], vec![]));
}

#[test]
fn what_the_controller_does_not_count_is_not_named_again_and_its_end_not_told() {
    let mut scene = scene();
    scene.running(5, 1);
    assert_eq!(scene.reconnect(Verdict::Kill), 1);
    assert_eq!(scene.reconnect(Verdict::Keep), 0);
    scene.restart_with(false, &["t"]);
    assert_eq!(scene.reconnect(Verdict::Keep), 0, "also after a restart");
    scene.assign_made(6, 1);
    assert_eq!(scene.agent.deferred().count(), 1);
    assert_eq!(scene.reconnect(Verdict::Keep), 0, "what waits is placed anew");
    assert_eq!(scene.agent.deferred().count(), 0);
    scene.end(&of(1), Ended::Signaled(15), EndedBy::Requested);
    assert_eq!(scene.waiting_reports(), 0);
    assert_eq!(stages(&scene.assign_made(6, 1)), [of(1)]);
}

#[test]
fn the_end_of_an_earlier_task_that_was_told_is_not_told_again_when_its_id_is_in_use_again() {
    let mut scene = scene();
    scene.over(5, 1);
    assert!(scene.waiting_reports() > 0);
    scene.running(6, 1);
    let about = scene.agent.ledger().outbox().finished().count();
    assert_eq!(about, 0);
    assert_eq!(scene.reconnect(Verdict::Keep), 1);
}

#[test]
fn an_order_to_stop_gives_back_what_waits() {
    let mut scene = scene();
    scene.running(5, 1);
    scene.assign_made(6, 1);
    scene.feed(Input::Stop);
    let recalled = Report::Recalled(attempt("t"));
    assert!(scene.agent.ledger().outbox().waiting().any(|numbered| numbered.report == recalled));
    let effects = scene.end(&of(1), Ended::Signaled(15), EndedBy::Requested);
    assert!(effects.contains(&Effect::Stopped) && stages(&effects).is_empty(), "{effects:?}");
}

#[test]
fn an_attempt_of_which_nothing_was_heard_when_it_was_ended_does_not_stand_in_the_way_of_a_later_task() {
    let mut scene = scene();
    assert_eq!(causes(&scene.kill(1)), [Some(Cause::Terminated)]);
    assert_eq!(scene.assign_made(0, 1), []);
    assert_eq!(stages(&scene.assign_made(6, 1)), [of(1)]);
}

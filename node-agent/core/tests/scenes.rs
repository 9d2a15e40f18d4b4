//! Short scenes that a random walk rarely plays: the start task, the policy keep, stopping, directories.
//!
//! Each drives one agent by hand through its inputs; what is common to them is `Scene`. Random lives are in `properties`.

#![allow(clippy::unwrap_used, clippy::panic, clippy::wildcard_enum_match_arm, reason = "tests")]

use muster_agent_core::effect::{AgentMessage, Effect};
use muster_agent_core::input::{
    Assignment, Collected, ControllerMessage, Ended, EndedBy, Exit, Input, NodeSettings, StartTaskSettings,
    Welcome,
};
use muster_agent_core::report::Report;
use muster_agent_core::{Agent, DeadlineReason, Monotonic, Now, Record, Subject};
use muster_model::spec::RetryLimit;
use muster_model::state::{OnLeaseExpiry, StartTaskState};
use muster_model::{AttemptId, Cause, Timestamp, Usage};
use std::time::Duration;

const TTL: Duration = Duration::from_secs(30);

/// An agent with its journal and its clock.
struct Scene {
    agent: Agent,
    journal: Vec<Record>,
    now: Now,
    sessions: u64,
}

fn attempt(task: &str) -> AttemptId {
    AttemptId { job: "job".parse().unwrap(), task: task.parse().unwrap(), number: 1 }
}

fn subject(task: &str) -> Subject {
    Subject::Attempt(attempt(task))
}

fn settings(policy: OnLeaseExpiry, start_task: Option<StartTaskSettings>) -> NodeSettings {
    NodeSettings { task_slots: 1, on_lease_expiry: policy, start_task }
}

fn start_task(retries: u32) -> StartTaskSettings {
    StartTaskSettings { version: 1, max_retries: RetryLimit::Times(retries), wait_for_success: true }
}

fn exit(ended: Ended, by: EndedBy) -> Exit {
    let (start_time, end_time) = (Some(Timestamp::EPOCH), Timestamp::EPOCH);
    Exit { ended, by, start_time, end_time, usage: Usage::default(), oom_kills: 0 }
}

impl Scene {
    fn new(settings: &NodeSettings) -> Self {
        let monotonic = Monotonic::since_boot(Duration::from_secs(100));
        let now = Now { monotonic, wall: Timestamp::from_micros(1_000_000_000) };
        let mut scene = Self { agent: Agent::load([], false, now), journal: Vec::new(), now, sessions: 0 };
        scene.feed(Input::Supervised(Vec::new()));
        scene.connect(settings);
        scene
    }

    fn feed(&mut self, input: Input) -> Vec<Effect> {
        let mut others = Vec::new();
        for effect in self.agent.handle(input, self.now) {
            match effect {
                Effect::Append(record) => self.journal.push(record),
                other => others.push(other),
            }
        }
        self.agent.check().unwrap();
        others
    }

    fn connect(&mut self, settings: &NodeSettings) -> Vec<Effect> {
        self.sessions += 1;
        let mut effects = self.feed(Input::SessionOpened(self.sessions));
        effects.extend(self.say(ControllerMessage::Welcome(Box::new(Welcome {
            lease_ttl: TTL,
            heartbeat_interval: None,
            settings: settings.clone(),
            verdicts: Vec::new(),
            acknowledged: 0,
        }))));
        effects
    }

    fn say(&mut self, message: ControllerMessage) -> Vec<Effect> {
        self.feed(Input::Controller { session: self.sessions, message })
    }

    fn assign(&mut self, task: &str) -> Vec<Effect> {
        self.say(ControllerMessage::Assign(vec![Assignment {
            attempt: attempt(task),
            slots: 1,
            wall_clock: Some(Duration::from_secs(300)),
            retention: Duration::from_secs(600),
            memory_limit_bytes: None,
            has_files: false,
        }]))
    }

    fn pass(&mut self, span: Duration) -> Vec<Effect> {
        let wall = self.now.wall.after(span);
        self.now = Now { monotonic: self.now.monotonic.after(span), wall };
        self.feed(Input::DeadlinePassed)
    }

    fn run(&mut self, subject: &Subject) {
        self.feed(Input::Staged { subject: subject.clone(), outcome: Ok(0) });
        self.feed(Input::Launched { subject: subject.clone(), outcome: Ok(self.now.wall) });
    }

    fn end(&mut self, subject: &Subject, ended: Ended, by: EndedBy) -> Vec<Effect> {
        self.feed(Input::Exited { subject: subject.clone(), exit: exit(ended, by) });
        self.feed(Input::Collected { subject: subject.clone(), collected: Box::new(Collected::default()) })
    }

    fn restart(&mut self, rebooted: bool) -> Vec<Effect> {
        self.agent = Agent::load(self.journal.clone(), rebooted, self.now);
        self.feed(Input::Supervised(Vec::new()))
    }
}

fn stages(effects: &[Effect]) -> Vec<Subject> {
    let staged = |effect: &Effect| match effect {
        Effect::Stage(subject) => Some(subject.clone()),
        _ => None,
    };
    effects.iter().filter_map(staged).collect()
}

fn causes(effects: &[Effect]) -> Vec<Option<Cause>> {
    let reports = effects.iter().filter_map(|effect| match effect {
        Effect::Send { message: AgentMessage::Reports(reports), .. } => Some(reports),
        _ => None,
    });
    let finished = reports.flatten().filter_map(|numbered| match &numbered.report {
        Report::Finished { result, .. } => Some(result.failure.as_ref().map(|failure| failure.cause)),
        _ => None,
    });
    finished.collect()
}

#[test]
fn attempts_wait_until_the_start_task_has_succeeded_also_by_a_retry() {
    let mut scene = Scene::new(&settings(OnLeaseExpiry::Kill, Some(start_task(1))));
    assert_eq!(stages(&scene.assign("t")), []);
    let first = Subject::StartTask { run: 1 };
    scene.run(&first);
    assert_eq!(stages(&scene.end(&first, Ended::Exited(1), EndedBy::Itself)), []);
    assert_eq!(scene.agent.next_deadline().map(|(_, reason)| reason), Some(DeadlineReason::StartTaskRetry));
    let second = Subject::StartTask { run: 2 };
    assert_eq!(stages(&scene.pass(Duration::from_secs(1))), std::slice::from_ref(&second));
    scene.run(&second);
    assert_eq!(stages(&scene.end(&second, Ended::Exited(0), EndedBy::Itself)), [subject("t")]);
}

#[test]
fn a_start_task_that_failed_for_good_keeps_the_gate_shut_until_the_next_boot() {
    let mut scene = Scene::new(&settings(OnLeaseExpiry::Kill, Some(start_task(0))));
    let first = Subject::StartTask { run: 1 };
    scene.run(&first);
    scene.end(&first, Ended::Exited(1), EndedBy::Itself);
    assert_eq!(stages(&scene.assign("t")), []);
    assert_eq!(stages(&scene.restart(false)), []);
    assert_eq!(stages(&scene.restart(true)), [Subject::StartTask { run: 2 }]);
}

#[test]
fn a_start_task_that_was_cut_short_by_the_end_of_the_agent_runs_again() {
    let mut scene = Scene::new(&settings(OnLeaseExpiry::Kill, Some(start_task(0))));
    let first = Subject::StartTask { run: 1 };
    scene.run(&first);
    let stopping = scene.feed(Input::Stop);
    assert!(stopping.contains(&Effect::Kill { subject: first.clone(), grace: Duration::from_secs(2) }));
    let ended = scene.end(&first, Ended::Signaled(15), EndedBy::Requested);
    assert!(ended.contains(&Effect::Stopped));
    let info = scene.agent.ledger().start_task().unwrap().info.clone();
    assert_eq!(info.state, StartTaskState::Running);
    scene.restart(false);
    assert_eq!(stages(&scene.pass(Duration::from_secs(1))), [Subject::StartTask { run: 2 }]);
}

#[test]
fn a_launch_that_never_reached_the_supervisor_is_asked_for_again() {
    let mut scene = Scene::new(&settings(OnLeaseExpiry::Kill, None));
    scene.assign("t");
    let launches =
        |effects: Vec<Effect>| effects.iter().any(|effect| matches!(effect, Effect::Launch { .. }));
    assert!(launches(scene.feed(Input::Staged { subject: subject("t"), outcome: Ok(0) })));
    assert!(launches(scene.restart(false)));
    assert!(
        launches(scene.feed(Input::Supervised(Vec::new()))),
        "a supervisor that came back knows nothing of it"
    );
    scene.feed(Input::Launched { subject: subject("t"), outcome: Ok(Timestamp::EPOCH) });
    assert!(!launches(scene.restart(false)), "a command that ran is never started again");
}

#[test]
fn with_the_policy_keep_what_runs_goes_on_and_nothing_new_begins() {
    let policy = settings(OnLeaseExpiry::Keep, None);
    let mut scene = Scene::new(&policy);
    scene.assign("runs");
    scene.run(&subject("runs"));
    scene.assign("waits");
    let effects = scene.pass(TTL);
    assert!(effects.contains(&Effect::CloseSession(1)));
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Kill { .. })), "{effects:?}");
    assert_eq!(stages(&scene.end(&subject("runs"), Ended::Exited(0), EndedBy::Itself)), []);
    let effects = scene.connect(&policy);
    assert_eq!((stages(&effects), causes(&effects)), (vec![subject("waits")], vec![None]));
}

#[test]
fn after_a_reboot_what_ran_is_lost_and_what_waited_goes_on() {
    let policy = settings(OnLeaseExpiry::Kill, None);
    let mut scene = Scene::new(&policy);
    scene.assign("ran");
    scene.run(&subject("ran"));
    scene.assign("waited");
    let before = scene.agent.ledger().outbox().next_number();
    scene.restart(true);
    scene.feed(Input::Collected { subject: subject("ran"), collected: Box::default() });
    let effects = scene.connect(&policy);
    assert_eq!((causes(&effects), stages(&effects)), (vec![Some(Cause::NodeLost)], vec![subject("waited")]));
    assert!(scene.agent.ledger().outbox().next_number() > before + (1 << 32));
}

#[test]
fn an_end_by_the_supervisor_s_lease_is_the_node_s_and_not_the_user_s() {
    let mut scene = Scene::new(&settings(OnLeaseExpiry::Kill, None));
    scene.assign("t");
    scene.run(&subject("t"));
    let effects = scene.end(&subject("t"), Ended::Signaled(9), EndedBy::LeaseEnded);
    assert_eq!(causes(&effects), [Some(Cause::NodeLost)]);
}

#[test]
fn directories_go_after_their_retention_and_not_before() {
    let mut scene = Scene::new(&settings(OnLeaseExpiry::Keep, None));
    scene.assign("t");
    scene.run(&subject("t"));
    scene.end(&subject("t"), Ended::Exited(0), EndedBy::Itself);
    let removes = |effects: Vec<Effect>| effects.contains(&Effect::RemoveDirectories(vec![attempt("t")]));
    assert!(!removes(scene.pass(Duration::from_secs(599))));
    assert!(removes(scene.pass(Duration::from_secs(1))));
    assert!(!removes(scene.pass(Duration::from_secs(9999))));
}

#[test]
fn an_attempt_that_stages_beyond_its_wall_clock_time_is_ended_for_it() {
    let mut scene = Scene::new(&settings(OnLeaseExpiry::Keep, None));
    scene.assign("t");
    let effects = scene.pass(Duration::from_secs(300));
    assert!(effects.contains(&Effect::Cancel(subject("t"))));
    scene.feed(Input::Staged { subject: subject("t"), outcome: Ok(0) });
    let effects = scene.connect(&settings(OnLeaseExpiry::Keep, None));
    assert_eq!(causes(&effects), [Some(Cause::WallClock)]);
}

#[test]
fn a_task_that_wants_more_slots_than_there_are_fails_with_words() {
    let mut scene = Scene::new(&settings(OnLeaseExpiry::Kill, None));
    let effects = scene.say(ControllerMessage::Assign(vec![Assignment {
        attempt: attempt("wide"),
        slots: 2,
        wall_clock: None,
        retention: Duration::ZERO,
        memory_limit_bytes: None,
        has_files: false,
    }]));
    assert_eq!(causes(&effects), [Some(Cause::LaunchFailed)]);
}

//! Short scenes that a random walk rarely plays: the start task, the policy keep, stopping, directories.
//!
//! Each drives one agent by hand through its inputs; what is common to them is `Scene`. Random lives are in `properties`,
//! tasks that are made again under an old id in `remade`, what is about the node as a whole in `node`, what begins when in `journal`.

#![allow(clippy::unwrap_used, clippy::panic, clippy::wildcard_enum_match_arm, reason = "tests")]

mod journal;
mod node;
mod remade;

use muster_agent_core::admission::SLOTLESS_MAX;
use muster_agent_core::effect::{AgentMessage, Effect};
use muster_agent_core::input::{
    Amendment, Assignment, Collected, ControllerMessage, Ended, EndedBy, Exit, Input, NodeSettings,
    StartTaskSettings, Supervised, SupervisedState, Terms, Welcome,
};
use muster_agent_core::report::{NumberedReport, Report};
use muster_agent_core::{Agent, DeadlineReason, Monotonic, Now, Record, Subject};
use muster_model::spec::RetryLimit;
use muster_model::state::{OnLeaseExpiry, StartTaskState};
use muster_model::{AttemptId, Cause, FailureInfo, Timestamp, Usage};
use std::time::Duration;

const TTL: Duration = Duration::from_secs(30);
const GPUS: u32 = 2;

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

fn assignment(task: &str) -> Assignment {
    Assignment {
        attempt: attempt(task),
        incarnation: 0,
        slots: 1,
        gpus: 0,
        wall_clock: Some(Duration::from_secs(300)),
        retention: Duration::from_secs(600),
        memory_limit_bytes: None,
        disk_limit_bytes: None,
        process_limit: None,
        has_files: false,
        preparation: None,
    }
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
    let usage = Usage::default();
    Exit { ended, by, start_time, end_time, usage, oom_kills: 0, refused_processes: 0 }
}

impl Scene {
    fn new(settings: &NodeSettings) -> Self {
        let monotonic = Monotonic::since_boot(Duration::from_secs(100));
        let now = Now { monotonic, wall: Timestamp::from_micros(1_000_000_000) };
        let agent = Agent::load([], false, now).with_gpus(GPUS);
        let mut scene = Self { agent, journal: Vec::new(), now, sessions: 0 };
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
        self.assign_all(vec![assignment(task)])
    }

    fn assign_all(&mut self, assignments: Vec<Assignment>) -> Vec<Effect> {
        self.say(ControllerMessage::Assign(assignments))
    }

    fn amend(&mut self, task: &str, wall_clock: Option<u64>) -> Vec<Effect> {
        let terms =
            Terms { wall_clock: wall_clock.map(Duration::from_secs), retention: Duration::from_secs(60) };
        self.say(ControllerMessage::Amend(Amendment { attempt: attempt(task), terms }))
    }

    fn gpus(&self, task: &str) -> Vec<u32> {
        self.agent.ledger().attempt(&attempt(task)).unwrap().gpus.clone()
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
        self.restart_with(rebooted, &[])
    }

    /// A new agent whose supervisor has these running.
    fn restart_with(&mut self, rebooted: bool, running: &[&str]) -> Vec<Effect> {
        self.agent = Agent::load(self.journal.clone(), rebooted, self.now).with_gpus(GPUS);
        let state = SupervisedState::Running(self.now.wall);
        let held = running.iter().map(|task| Supervised { subject: subject(task), state: state.clone() });
        self.feed(Input::Supervised(held.collect()))
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

fn removes(effects: &[Effect], task: &str) -> bool {
    effects.iter().any(|effect| match effect {
        Effect::RemoveDirectories(attempts) => attempts.contains(&attempt(task)),
        _ => false,
    })
}

fn failures(effects: &[Effect]) -> Vec<FailureInfo> {
    let reports = effects.iter().filter_map(|effect| match effect {
        Effect::Send { message: AgentMessage::Reports(reports), .. } => Some(reports),
        _ => None,
    });
    let failure = |numbered: &NumberedReport| match &numbered.report {
        Report::Finished { result, .. } => result.failure.clone(),
        _ => None,
    };
    reports.flatten().filter_map(failure).collect()
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
    // Runs of before the boot may be missing in the journal, and the supervisor may know them.
    let again = stages(&scene.restart(true));
    assert!(matches!(again[..], [Subject::StartTask { run }] if run > 1 << 16), "{again:?}");
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
fn after_a_reboot_what_ran_is_lost_and_what_waited_is_left_to_the_controller() {
    let policy = settings(OnLeaseExpiry::Kill, None);
    let mut scene = Scene::new(&policy);
    scene.assign("ran");
    scene.run(&subject("ran"));
    scene.assign("waited");
    let before = scene.agent.ledger().outbox().next_number();
    scene.restart(true);
    scene.feed(Input::Collected { subject: subject("ran"), collected: Box::default() });
    let effects = scene.connect(&policy);
    assert_eq!((causes(&effects), stages(&effects)), (vec![Some(Cause::NodeLost)], vec![]));
    // By a journal whose last records are lost it waited; it may have run.
    assert!(scene.agent.ledger().attempt(&attempt("waited")).is_none());
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
    assert!(!removes(&scene.pass(Duration::from_secs(599)), "t"));
    assert!(removes(&scene.pass(Duration::from_secs(1)), "t"));
    assert!(!removes(&scene.pass(Duration::from_secs(9999)), "t"));
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
    let effects = scene.assign_all(vec![Assignment { slots: 2, ..assignment("wide") }]);
    assert_eq!(causes(&effects), [Some(Cause::LaunchFailed)]);
    let effects = scene.assign_all(vec![Assignment { gpus: 3, ..assignment("shiny") }]);
    assert_eq!(causes(&effects), [Some(Cause::LaunchFailed)]);
}

/// The limit that the supervisor is told for a running command, from its start.
fn limit(task: &str, seconds: Option<u64>) -> Effect {
    Effect::Limit { subject: subject(task), wall_clock: seconds.map(Duration::from_secs) }
}

#[test]
fn a_changed_wall_clock_time_reaches_the_running_command_less_what_passed_before_it() {
    let mut scene = Scene::new(&settings(OnLeaseExpiry::Keep, None));
    scene.assign("t");
    scene.pass(Duration::from_secs(10));
    scene.run(&subject("t"));
    assert_eq!(scene.amend("t", Some(100)), [limit("t", Some(90))]);
    let records = scene.journal.len();
    assert_eq!((scene.amend("t", Some(100)), scene.journal.len()), (vec![], records), "a repeat is nothing");
    assert_eq!(scene.amend("t", None), [limit("t", None)]);
    // Back to what it was assigned with: the supervisor knows the one between.
    assert_eq!(scene.amend("t", Some(300)), [limit("t", Some(290))]);
    assert_eq!(scene.amend("t", Some(5)), [limit("t", Some(0))], "over already");
    assert_eq!(scene.restart_with(false, &["t"]), [limit("t", Some(0))], "the word of it may have been lost");
    scene.connect(&settings(OnLeaseExpiry::Keep, None));
    let ended = Exit {
        start_time: Some(scene.now.wall),
        end_time: scene.now.wall.after(Duration::from_secs(2)),
        ..exit(Ended::Signaled(15), EndedBy::WallClock)
    };
    scene.feed(Input::Exited { subject: subject("t"), exit: ended });
    assert_eq!(scene.amend("t", Some(9999)), [], "its command is over");
    let effects = scene.feed(Input::Collected { subject: subject("t"), collected: Box::default() });
    let failure = failures(&effects).pop().unwrap();
    assert_eq!(failure.cause, Cause::WallClock);
    let detail = |name: &str| failure.details.iter().find(|(own, _)| own == name).map(|(_, v)| v.as_str());
    assert_eq!((detail("limit_seconds"), detail("elapsed_seconds")), (Some("5"), Some("12")));
}

#[test]
fn changed_terms_of_an_attempt_that_waits_or_stages_hold_from_then_on() {
    let policy = settings(OnLeaseExpiry::Keep, None);
    let mut scene = Scene::new(&policy);
    scene.assign("stages");
    scene.assign("waits");
    assert_eq!(scene.amend("waits", Some(20)), []);
    scene.pass(Duration::from_secs(7));
    assert_eq!(scene.amend("stages", Some(5)), []);
    let (at, reason) = scene.agent.next_deadline().unwrap();
    assert!(at <= scene.now.monotonic && reason == DeadlineReason::StagingTooLong, "{at:?} {reason:?}");
    assert!(scene.pass(Duration::ZERO).contains(&Effect::Cancel(subject("stages"))));
    let effects = scene.feed(Input::Staged { subject: subject("stages"), outcome: Ok(0) });
    assert_eq!((causes(&effects), stages(&effects)), (vec![Some(Cause::WallClock)], vec![subject("waits")]));
    scene.restart(false);
    scene.connect(&policy);
    let effects = scene.feed(Input::Staged { subject: subject("waits"), outcome: Ok(0) });
    let wall_clock = Some(Duration::from_secs(20));
    assert_eq!(effects, [Effect::Launch { subject: subject("waits"), wall_clock, gpus: vec![] }]);
    // Whether the supervisor was asked before or after the change, it is told what holds when it has begun.
    assert_eq!(scene.amend("waits", Some(30)), []);
    let effects = scene.feed(Input::Launched { subject: subject("waits"), outcome: Ok(scene.now.wall) });
    assert!(effects.contains(&limit("waits", Some(30))), "{effects:?}");
    scene.end(&subject("waits"), Ended::Exited(0), EndedBy::Itself);
    assert!(!removes(&scene.pass(Duration::from_secs(59)), "waits"));
    // It is remembered for longer, but nothing like the ten minutes that it was assigned with.
    assert!(removes(&scene.pass(Duration::from_secs(61)), "waits"));
}

#[test]
fn changed_terms_of_what_the_node_does_not_hold_mean_nothing() {
    let mut scene = Scene::new(&settings(OnLeaseExpiry::Keep, None));
    scene.assign("t");
    scene.run(&subject("t"));
    scene.end(&subject("t"), Ended::Exited(0), EndedBy::Itself);
    let records = scene.journal.len();
    assert_eq!((scene.amend("t", Some(1)), scene.amend("unknown", None)), (vec![], vec![]));
    assert_eq!(scene.journal.len(), records);
}

#[test]
fn attempts_without_slots_begin_at_once_and_in_order_beside_a_full_node() {
    let policy = settings(OnLeaseExpiry::Kill, None);
    let mut scene = Scene::new(&policy);
    let free = |task: &str| Assignment { slots: 0, ..assignment(task) };
    scene.assign("runs");
    scene.run(&subject("runs"));
    assert_eq!(stages(&scene.assign("waits")), []);
    assert_eq!(stages(&scene.assign_all(vec![free("p1"), free("p2")])), [subject("p1"), subject("p2")]);
    scene.run(&subject("p1"));
    scene.restart_with(false, &["runs", "p1"]);
    assert_eq!(scene.agent.ledger().slotless_used(), 2);
    scene.connect(&policy);
    let effects = scene.end(&subject("p1"), Ended::Exited(0), EndedBy::Itself);
    assert_eq!((causes(&effects), stages(&effects)), (vec![None], vec![]));
    assert_eq!(stages(&scene.end(&subject("runs"), Ended::Exited(0), EndedBy::Itself)), [subject("waits")]);
    let effects = scene.pass(TTL);
    assert!(
        effects.contains(&Effect::Cancel(subject("p2"))),
        "the lease ends them as any other: {effects:?}"
    );
}

#[test]
fn of_very_many_attempts_without_slots_some_wait_and_one_that_waits_can_be_given_back() {
    let mut scene = Scene::new(&settings(OnLeaseExpiry::Kill, None));
    let most = usize::try_from(SLOTLESS_MAX).unwrap();
    let names: Vec<String> = (0..most + 3).map(|number| format!("p{number:03}")).collect();
    let all = names.iter().map(|name| Assignment { slots: 0, ..assignment(name) }).collect();
    assert_eq!(stages(&scene.assign_all(all)).len(), most);
    scene.say(ControllerMessage::Recall(vec![attempt(&names[most]), attempt(&names[0])]));
    assert!(scene.agent.ledger().attempt(&attempt(&names[most])).is_none());
    scene.run(&subject(&names[0]));
    let effects = scene.end(&subject(&names[0]), Ended::Exited(0), EndedBy::Itself);
    assert_eq!(stages(&effects), [subject(&names[most + 1])]);
}

#[test]
fn gpus_are_one_attempt_s_at_a_time_and_stay_its_own_over_a_restart() {
    let policy = NodeSettings { task_slots: 9, ..settings(OnLeaseExpiry::Kill, None) };
    let mut scene = Scene::new(&policy);
    let shiny = |task: &str, gpus| Assignment { gpus, ..assignment(task) };
    let effects = scene.assign_all(vec![
        shiny("a", 1),
        assignment("plain"),
        shiny("b", 1),
        shiny("c", 1),
        assignment("d"),
    ]);
    assert_eq!(
        stages(&effects),
        [subject("a"), subject("plain"), subject("b")],
        "c waits and is not overtaken"
    );
    assert_eq!((scene.gpus("a"), scene.gpus("plain"), scene.gpus("b")), (vec![0], vec![], vec![1]));
    let effects = scene.feed(Input::Staged { subject: subject("b"), outcome: Ok(0) });
    let wall_clock = Some(Duration::from_secs(300));
    assert_eq!(effects, [Effect::Launch { subject: subject("b"), wall_clock, gpus: vec![1] }]);
    scene.restart_with(false, &["b"]);
    scene.connect(&policy);
    assert_eq!((scene.gpus("a"), scene.gpus("b"), scene.gpus("c")), (vec![0], vec![1], vec![]));
    let effects = scene.end(&subject("b"), Ended::Exited(0), EndedBy::Itself);
    assert_eq!(stages(&effects), [subject("c"), subject("d")]);
    assert_eq!(scene.gpus("c"), [1]);
}

#[test]
fn the_directory_of_a_job_preparation_stays_while_tasks_of_the_job_are_on_the_node() {
    let policy = settings(OnLeaseExpiry::Keep, None);
    let mut scene = Scene::new(&policy);
    let hour = Duration::from_secs(3600);
    scene.assign_all(vec![Assignment { slots: 0, retention: Duration::ZERO, ..assignment("prep") }]);
    scene.run(&subject("prep"));
    scene.end(&subject("prep"), Ended::Exited(0), EndedBy::Itself);
    let user = Assignment { preparation: Some("prep".parse().unwrap()), wall_clock: None, ..assignment("t") };
    scene.assign_all(vec![user]);
    scene.run(&subject("t"));
    for _ in 0..48 {
        assert!(!removes(&scene.pass(hour), "prep"), "a task needs it");
        let (at, _) = scene
            .agent
            .next_deadline()
            .unwrap_or((scene.now.monotonic.after(hour), DeadlineReason::LeaseEnds));
        assert!(at > scene.now.monotonic, "nothing may be due again and again");
    }
    scene.connect(&policy);
    assert!(
        !removes(&scene.say(ControllerMessage::RemoveDirectories(vec![attempt("prep")])), "prep"),
        "a task needs it"
    );
    scene.restart_with(false, &["t"]);
    assert!(!removes(&scene.pass(hour), "prep"));
    scene.end(&subject("t"), Ended::Exited(0), EndedBy::Itself);
    assert!(!removes(&scene.pass(hour), "prep"), "the next task may be on its way");
    let later: Vec<Effect> = (0..48).flat_map(|_| scene.pass(hour)).collect();
    assert!(removes(&later, "prep"), "{later:?}");
}

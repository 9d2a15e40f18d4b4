//! Random lives of an agent: messages lost, repeated and late, crashes between any two steps, time passing.
//!
//! The world here is as small as it can be: it answers effects when the test says so, and keeps its own books beside the
//! agent's. What must hold is checked after every step; the simulation of both cores together is another crate.

#![allow(clippy::unwrap_used, clippy::panic, clippy::wildcard_enum_match_arm, reason = "tests")]

use muster_agent_core::effect::{AgentMessage, Effect};
use muster_agent_core::input::{
    Amendment, Assignment, Collected, ControllerMessage, Ended, EndedBy, Exit, Input, Kill, KillReason,
    NodeSettings, OverDisk, Supervised, SupervisedState, Terms, Verdict, Welcome,
};
use muster_agent_core::ledger::{Ledger, Occupancy};
use muster_agent_core::report::Report;
use muster_agent_core::{Agent, Monotonic, Now, Record, Subject};
use muster_model::node::NodeError;
use muster_model::state::OnLeaseExpiry;
use muster_model::{AttemptId, Cause, FailureInfo, Timestamp, Usage};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const SLOTS: u32 = 3;
const GPUS: u32 = 2;
const TTL: Duration = Duration::from_secs(30);

/// What the test does next.
#[derive(Debug, Clone)]
enum Op {
    Assign {
        task: u8,
        incarnation: u64,
        number: u32,
        slots: u32,
        gpus: u32,
        repeat: bool,
    },
    Amend {
        task: u8,
        number: u32,
        seconds: Option<u64>,
    },
    Kill {
        task: u8,
        number: u32,
        reason: KillReason,
    },
    Recall {
        task: u8,
        number: u32,
    },
    /// Answers one of the effects that wait, whichever.
    Answer {
        which: usize,
        fails: bool,
        twice: bool,
    },
    /// One of the running commands ends.
    Exit {
        which: usize,
        code: i32,
    },
    Acknowledge,
    Connect {
        judge: u8,
    },
    Disconnect,
    Grant,
    Pass {
        seconds: u64,
    },
    Crash,
    SupervisorAgain,
    /// Any of what the node holds has too much on the disk, whatever it is doing.
    OverDisk {
        which: usize,
    },
    /// So many things are wrong with the node.
    Health {
        errors: usize,
    },
    Restart {
        reimage: bool,
    },
    FreeDisk,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let reason = prop::sample::select(vec![KillReason::Terminated, KillReason::Requeued, KillReason::Stale]);
    // Most tasks are never made again.
    let incarnation = prop_oneof![3 => Just(1_u64), 1 => 0..4_u64];
    let op = prop_oneof![
        6 => (0..6u8, incarnation, 1..4u32, 0..3u32, 0..3u32, any::<bool>()).prop_map(
            |(task, incarnation, number, slots, gpus, repeat)| Op::Assign {
                task, incarnation, number, slots, gpus, repeat,
            }
        ),
        2 => (0..6u8, 1..4u32, prop::option::of(0..60u64))
            .prop_map(|(task, number, seconds)| Op::Amend { task, number, seconds }),
        1 => (0..6u8, 1..4u32, reason).prop_map(|(task, number, reason)| Op::Kill { task, number, reason }),
        1 => (0..6u8, 1..4u32).prop_map(|(task, number)| Op::Recall { task, number }),
        12 => (any::<usize>(), prop::bool::weighted(0.1), prop::bool::weighted(0.2))
            .prop_map(|(which, fails, twice)| Op::Answer { which, fails, twice }),
        6 => (any::<usize>(), 0..3i32).prop_map(|(which, code)| Op::Exit { which, code }),
        2 => Just(Op::Acknowledge),
        2 => (0..4u8).prop_map(|judge| Op::Connect { judge }),
        1 => Just(Op::Disconnect),
        4 => Just(Op::Grant),
        3 => (0..25u64).prop_map(|seconds| Op::Pass { seconds }),
        1 => Just(Op::Crash),
        1 => Just(Op::SupervisorAgain),
        1 => any::<usize>().prop_map(|which| Op::OverDisk { which }),
        1 => (0..3_usize).prop_map(|errors| Op::Health { errors }),
        1 => any::<bool>().prop_map(|reimage| Op::Restart { reimage }),
        1 => Just(Op::FreeDisk),
    ];
    prop::collection::vec(op, 1..120)
}

/// The shell, the supervisor and the controller, as far as an agent can tell.
struct World {
    agent: Agent,
    journal: Vec<Record>,
    now: Now,
    session: Option<u64>,
    sessions: u64,
    waiting: Vec<Effect>,
    heartbeat: Option<u64>,
    running: BTreeMap<Subject, Timestamp>,
    exited: BTreeMap<Subject, Exit>,
    ever_run: BTreeMap<(AttemptId, u64), u32>,
    /// How often the end of each was told, with the incarnation of its task.
    finished: BTreeMap<(AttemptId, u64), u32>,
    /// The incarnation under which the name of an attempt was last in use.
    incarnations: BTreeMap<AttemptId, u64>,
    /// What nothing is to be told of.
    disowned: BTreeSet<(AttemptId, u64)>,
    numbers: BTreeSet<u64>,
    held: Vec<AttemptId>,
    /// What the last report about the node's health said.
    health: Option<usize>,
    restarts_ordered: u32,
    restarts: u32,
}

fn attempt(task: u8, number: u32) -> AttemptId {
    AttemptId { job: "job".parse().unwrap(), task: format!("t{task}").parse().unwrap(), number }
}

fn assignment(task: u8, incarnation: u64, number: u32) -> Assignment {
    Assignment {
        attempt: attempt(task, number),
        incarnation,
        slots: 0,
        gpus: 0,
        wall_clock: (task == 0).then_some(Duration::from_secs(40)),
        retention: Duration::from_secs(1),
        memory_limit_bytes: None,
        disk_limit_bytes: (task < 3).then_some(1_000),
        process_limit: None,
        has_files: task.is_multiple_of(2),
        preparation: (task > 2).then(|| "t1".parse().unwrap()),
    }
}

fn settings() -> NodeSettings {
    NodeSettings { task_slots: SLOTS, on_lease_expiry: OnLeaseExpiry::Kill, start_task: None }
}

impl World {
    fn new() -> Self {
        let now = Now {
            monotonic: Monotonic::since_boot(Duration::from_secs(100)),
            wall: Timestamp::from_micros(1_000_000_000),
        };
        let mut world = Self {
            agent: Agent::load([], false, now).with_gpus(GPUS),
            journal: Vec::new(),
            now,
            session: None,
            sessions: 0,
            waiting: Vec::new(),
            heartbeat: None,
            running: BTreeMap::new(),
            exited: BTreeMap::new(),
            ever_run: BTreeMap::new(),
            finished: BTreeMap::new(),
            incarnations: BTreeMap::new(),
            disowned: BTreeSet::new(),
            numbers: BTreeSet::new(),
            held: Vec::new(),
            health: None,
            restarts_ordered: 0,
            restarts: 0,
        };
        world.feed(Input::Supervised(Vec::new()));
        world.connect(0);
        world
    }

    fn feed(&mut self, input: Input) {
        let effects = self.agent.handle(input, self.now);
        self.agent.check().unwrap();
        let ledger = self.agent.ledger();
        assert!(ledger.slots_used() <= SLOTS, "slots are oversubscribed");
        let gpus: Vec<u32> = ledger.attempts().values().flat_map(|attempt| attempt.gpus.clone()).collect();
        assert_eq!(gpus.iter().collect::<BTreeSet<_>>().len(), gpus.len(), "a GPU is two attempts'");
        for attempt in ledger.attempts().values() {
            let wanted = if attempt.state.takes_slots() { attempt.assignment.gpus } else { 0 };
            assert_eq!(u32::try_from(attempt.gpus.len()).unwrap(), wanted, "{}", attempt.id());
        }
        for waits in self.agent.deferred() {
            let mut held = ledger.attempts_of(&waits.attempt.task_key());
            assert!(
                held.any(|held| held.incarnation() < waits.incarnation),
                "{} waits for nothing",
                waits.attempt
            );
        }
        let records = effects.iter().take_while(|effect| matches!(effect, Effect::Append(_))).count();
        for (index, effect) in effects.into_iter().enumerate() {
            assert_eq!(index < records, matches!(effect, Effect::Append(_)), "records come first");
            self.carry_out(effect);
        }
        assert_eq!(&Ledger::replay(self.journal.clone(), false), self.agent.ledger(), "replay equals live");
        assert_eq!(&Ledger::replay(self.agent.ledger().snapshot(), false), &normal(self.agent.ledger()));
        if self.agent.ledger().lease_until().is_none() {
            let attempts = self.running.keys().filter(|subject| matches!(subject, Subject::Attempt(_)));
            assert_eq!(attempts.count(), 0, "an attempt runs without a lease");
        }
    }

    /// Keeps a record, and the books beside it.
    fn write(&mut self, record: Record) {
        match &record {
            Record::Accepted(held) => {
                self.incarnations.insert(held.id().clone(), held.incarnation());
            }
            Record::Ended { attempt, incarnation, .. } => {
                self.incarnations.insert(attempt.clone(), *incarnation);
            }
            Record::Disowned { attempt, disowned } => {
                let name = (attempt.clone(), self.incarnations[attempt]);
                if *disowned {
                    self.disowned.insert(name);
                } else {
                    self.disowned.remove(&name);
                }
            }
            _ => {}
        }
        if let Record::Reported(report) = &record {
            assert!(self.numbers.insert(report.number), "a number is used twice");
            if let Report::Health(errors) = &report.report {
                self.health = Some(errors.len());
            }
            if let Report::Finished { attempt, .. } = &report.report {
                let name = (attempt.clone(), self.incarnations[attempt]);
                assert!(!self.disowned.contains(&name), "{attempt} is nobody's and its end was told");
                let times = self.finished.entry(name).or_default();
                *times += 1;
                assert_eq!(*times, 1, "{attempt} finished twice");
            }
        }
        self.journal.push(record);
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Append(record) => self.write(record),
            Effect::Send { message, .. } => match message {
                AgentMessage::Hello(hello) => {
                    self.held = hello.held.into_iter().map(|held| held.attempt).collect()
                }
                AgentMessage::Heartbeat { sequence } => self.heartbeat = Some(sequence),
                AgentMessage::Reports(reports) => {
                    assert!(reports.iter().all(|report| self.numbers.contains(&report.number)));
                    assert!(reports.is_sorted_by_key(|report| report.number));
                }
            },
            Effect::CloseSession(id) => {
                if self.session == Some(id) {
                    self.session = None;
                }
            }
            Effect::Kill { subject, .. } => self.end(&subject, 9, EndedBy::Requested),
            Effect::Limit { subject, wall_clock } => {
                let known = self.running.contains_key(&subject) || self.exited.contains_key(&subject);
                assert!(known, "{subject} is held to {wall_clock:?} before it runs");
            }
            Effect::AcknowledgeExit(subject) => {
                self.exited.remove(&subject);
            }
            Effect::Launch { ref subject, .. } => {
                assert!(self.agent.ledger().lease_until().is_some(), "launched without a lease");
                if !self.running.contains_key(subject) && !self.exited.contains_key(subject) {
                    self.running.insert(subject.clone(), self.now.wall);
                    let Subject::Attempt(id) = subject else { panic!("there is no start task") };
                    let name = (id.clone(), self.agent.ledger().attempt(id).unwrap().incarnation());
                    let times = self.ever_run.entry(name).or_default();
                    *times += 1;
                    assert_eq!(*times, 1, "{subject} ran twice");
                }
                self.waiting.push(effect);
            }
            Effect::Stage(_) | Effect::Collect { .. } => self.waiting.push(effect),
            Effect::Cancel(_) | Effect::RemoveDirectories(_) => {}
            Effect::Restart { .. } => {
                self.restarts += 1;
                assert!(self.restarts <= self.restarts_ordered, "nobody ordered a restart");
                assert!(self.running.is_empty() && self.agent.ledger().attempts().is_empty());
                assert_eq!(self.agent.ledger().outbox().finished().count(), 0, "results would be forgotten");
            }
            Effect::Leave | Effect::Stopped => panic!("nobody asked for {effect:?}"),
        }
    }

    fn end(&mut self, subject: &Subject, code: i32, by: EndedBy) {
        if let Some(start) = self.running.remove(subject) {
            let ended = if by == EndedBy::Requested { Ended::Signaled(code) } else { Ended::Exited(code) };
            let exit = Exit {
                ended,
                by,
                start_time: Some(start),
                end_time: self.now.wall,
                usage: Usage::default(),
                oom_kills: 0,
                refused_processes: 0,
            };
            self.exited.insert(subject.clone(), exit);
        }
    }

    fn supervised(&self) -> Input {
        let running = self.running.iter().map(|(s, at)| (s.clone(), SupervisedState::Running(*at)));
        let exited = self.exited.iter().map(|(s, exit)| (s.clone(), SupervisedState::Exited(exit.clone())));
        Input::Supervised(
            running.chain(exited).map(|(subject, state)| Supervised { subject, state }).collect(),
        )
    }

    fn connect(&mut self, judge: u8) {
        self.sessions += 1;
        self.session = Some(self.sessions);
        self.feed(Input::SessionOpened(self.sessions));
        let verdict = |index: usize| match (usize::from(judge), index) {
            (1, 0) => Verdict::Kill,
            (2, 0) => Verdict::Acknowledged,
            _ => Verdict::Keep,
        };
        let verdicts = self.held.iter().enumerate().map(|(index, id)| (id.clone(), verdict(index))).collect();
        self.say(ControllerMessage::Welcome(Box::new(Welcome {
            lease_ttl: TTL,
            heartbeat_interval: None,
            settings: settings(),
            verdicts,
            acknowledged: 0,
        })));
    }

    fn say(&mut self, message: ControllerMessage) {
        if let Some(session) = self.session {
            self.feed(Input::Controller { session, message });
        }
    }

    fn answer(&mut self, effect: &Effect, fails: bool) {
        let failure = || FailureInfo::new(Cause::StagingNetwork, "lost");
        match effect.clone() {
            Effect::Stage(subject) => {
                self.feed(Input::Staged { subject, outcome: if fails { Err(failure()) } else { Ok(5) } });
            }
            // Starting never fails here, because this world has begun the command already.
            Effect::Launch { subject, .. } => {
                self.feed(Input::Launched { subject, outcome: Ok(self.now.wall) });
            }
            Effect::Collect { subject, .. } => {
                let failure = fails.then(failure);
                let collected = Box::new(Collected { failure, ..Collected::default() });
                self.feed(Input::Collected { subject, collected });
            }
            other => panic!("{other:?} has no answer"),
        }
    }

    fn tell_exits(&mut self) {
        for (subject, exit) in self.exited.clone() {
            self.feed(Input::Exited { subject, exit });
        }
    }

    /// Whether an assignment can still be under way: none is for as long as the end of what it would begin is remembered,
    /// and words keep their order.
    fn may_be_assigned(&self, id: &AttemptId, incarnation: u64) -> bool {
        let remembered =
            self.agent.ledger().retained().get(id).is_some_and(|kept| kept.incarnation == incarnation);
        let name = (id.clone(), incarnation);
        let over = self.finished.contains_key(&name) || self.disowned.contains(&name);
        remembered || !over || self.agent.ledger().attempt(id).is_some()
    }

    /// Whether the order to end this attempt can still be under way.
    fn may_be_killed(&self, id: &AttemptId) -> bool {
        let ledger = self.agent.ledger();
        let held = ledger.attempt(id).is_some() || ledger.retained().holds(id);
        held || !self.finished.keys().chain(&self.disowned).any(|(over, _)| over == id)
    }

    fn amend(&mut self, attempt: AttemptId, seconds: Option<u64>) {
        let wall_clock = seconds.map(Duration::from_secs);
        let terms = Terms { wall_clock, retention: Duration::from_secs(seconds.unwrap_or(9)) };
        self.say(ControllerMessage::Amend(Amendment { attempt: attempt.clone(), terms }));
        // When its command is over the limit stays as it was.
        let held = self.agent.ledger().attempt(&attempt).filter(|held| !held.disowned);
        let kept = held.map(|held| held.terms().retention);
        assert!(kept.is_none_or(|kept| self.session.is_none() || kept == terms.retention));
    }

    fn over_disk(&mut self, which: usize) {
        let held: Vec<_> = self.agent.ledger().attempts().values().map(|held| held.subject()).collect();
        if !held.is_empty() {
            let over = OverDisk { limit_bytes: 1_000, used_bytes: 1_000 };
            self.feed(Input::OverDisk { subject: held[which % held.len()].clone(), over });
        }
    }

    fn tell_health(&mut self, errors: usize) {
        let error = NodeError {
            code: NodeError::DISK_PRESSURE.to_owned(),
            message: "full".to_owned(),
            details: Vec::new(),
            time: Timestamp::EPOCH,
        };
        self.feed(Input::Health(vec![error; errors]));
        assert_eq!(self.health, Some(errors), "it is not told how the node is");
        let waiting = self.agent.ledger().outbox().waiting();
        let told = waiting.filter(|waits| matches!(waits.report, Report::Health(_))).count();
        assert!(told <= 1, "words about health pile up");
    }

    fn run(&mut self, op: Op) {
        match op {
            Op::Assign { task, incarnation, number, .. }
                if !self.may_be_assigned(&attempt(task, number), incarnation) => {}
            Op::Kill { task, number, .. } if !self.may_be_killed(&attempt(task, number)) => {}
            Op::Assign { task, incarnation, number, slots, gpus, repeat } => {
                let assignment = Assignment { slots, gpus, ..assignment(task, incarnation, number) };
                let copies = if repeat { 2 } else { 1 };
                self.say(ControllerMessage::Assign(vec![assignment; copies]));
            }
            Op::Amend { task, number, seconds } => self.amend(attempt(task, number), seconds),
            Op::Kill { task, number, reason } => {
                let attempt = attempt(task, number);
                self.say(ControllerMessage::Kill(vec![Kill { attempt, reason, grace: Duration::ZERO }]));
            }
            Op::Recall { task, number } => self.say(ControllerMessage::Recall(vec![attempt(task, number)])),
            Op::Answer { which, fails, twice } => {
                if !self.waiting.is_empty() {
                    let effect = self.waiting.remove(which % self.waiting.len());
                    self.answer(&effect, fails);
                    if twice {
                        self.answer(&effect, !fails);
                    }
                }
            }
            Op::Exit { which, code } => {
                let subjects: Vec<_> = self.running.keys().cloned().collect();
                if !subjects.is_empty() {
                    self.end(&subjects[which % subjects.len()], code, EndedBy::Itself);
                    self.tell_exits();
                }
            }
            Op::Acknowledge => {
                self.say(ControllerMessage::Acknowledge(self.numbers.last().copied().unwrap_or(0)))
            }
            Op::Connect { judge } => self.connect(judge),
            Op::Disconnect => {
                if let Some(session) = self.session.take() {
                    self.feed(Input::SessionClosed(session));
                }
            }
            Op::Grant => {
                if let Some(sequence) = self.heartbeat.take() {
                    self.say(ControllerMessage::LeaseGranted { sequence, ttl: TTL });
                }
            }
            Op::Pass { seconds } => self.pass(Duration::from_secs(seconds)),
            Op::Crash => {
                self.agent = Agent::load(self.journal.clone(), false, self.now).with_gpus(GPUS);
                self.waiting.clear();
                self.session = None;
                let held = self.supervised();
                self.feed(held);
            }
            Op::SupervisorAgain => {
                let held = self.supervised();
                self.feed(held);
            }
            Op::OverDisk { which } => self.over_disk(which),
            Op::Health { errors } => self.tell_health(errors),
            Op::FreeDisk => self.feed(Input::FreeDisk),
            Op::Restart { reimage } => {
                if self.session.is_some() {
                    self.restarts_ordered += 1;
                }
                self.say(ControllerMessage::Restart { reimage });
            }
        }
    }

    /// Lets time pass from deadline to deadline, as the shell does.
    fn pass(&mut self, span: Duration) {
        let target = self.now.monotonic.after(span);
        for _ in 0..1_000 {
            let due = self.agent.next_deadline().map(|(at, _)| at).filter(|at| *at <= target);
            let at = due.unwrap_or(target).max(self.now.monotonic);
            let wall = self.now.wall.after(at.since(self.now.monotonic));
            self.now = Now { monotonic: at, wall };
            if due.is_none() {
                return;
            }
            self.feed(Input::DeadlinePassed);
            self.tell_exits();
        }
        panic!("deadlines do not move on: {:?} at {:?}", self.agent.next_deadline(), self.now);
    }

    /// Lets everything come to its end, and checks that it did.
    fn settle(&mut self) {
        self.connect(0);
        for _ in 0..2_000 {
            self.tell_exits();
            if let Some(effect) = self.waiting.pop() {
                self.answer(&effect, false);
            } else if let Some(subject) = self.running.keys().next().cloned() {
                self.end(&subject, 0, EndedBy::Itself);
            } else if self.agent.ledger().attempts().is_empty() {
                break;
            }
        }
        assert!(self.agent.ledger().attempts().is_empty(), "stuck: {:#?}", self.agent.ledger().attempts());
        assert_eq!(self.agent.ledger().occupancy(), Occupancy::default());
        self.tell_exits();
        assert!(self.exited.is_empty(), "exit records that nobody acknowledges: {:?}", self.exited.keys());
        let last = self.numbers.last().copied().unwrap_or(0);
        self.say(ControllerMessage::Acknowledge(last));
        assert_eq!(self.agent.ledger().outbox().waiting().count(), 0);
        let before = self.restarts;
        self.restarts_ordered += 1;
        self.say(ControllerMessage::Restart { reimage: false });
        assert_eq!(self.restarts, before + 1, "nothing is held, and the order is not carried out");
    }
}

/// A ledger as its own snapshot tells it: places in the order may have been forgotten with those who had them.
fn normal(ledger: &Ledger) -> Ledger {
    Ledger::replay(ledger.snapshot(), false)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn promises_hold_whatever_happens(ops in ops()) {
        let mut world = World::new();
        for op in ops {
            world.run(op);
        }
        world.settle();
        let accepted: BTreeSet<_> = world.journal.iter().filter_map(|record| match record {
            Record::Accepted(attempt) => Some((attempt.id().clone(), attempt.incarnation())),
            _ => None,
        }).collect();
        let given_back: BTreeSet<_> = world.journal.iter().filter_map(|record| match record {
            Record::GivenBack(attempt) => Some(attempt.clone()),
            _ => None,
        }).collect();
        prop_assert_eq!(world.agent.deferred().count(), 0);
        for name in accepted {
            if !given_back.contains(&name.0) && !world.disowned.contains(&name) {
                prop_assert_eq!(world.finished.get(&name), Some(&1), "{} has no end", name.0);
            }
        }
    }

    #[test]
    fn a_compacted_journal_tells_the_same_in_all_that_counts(ops in ops()) {
        let mut world = World::new();
        for op in ops {
            world.run(op);
        }
        let live = world.agent.ledger();
        let compacted = Ledger::replay(live.snapshot(), false);
        prop_assert_eq!(live.attempts(), compacted.attempts());
        prop_assert_eq!(live.outbox(), compacted.outbox());
        prop_assert_eq!(live.retained(), compacted.retained());
        prop_assert_eq!(live.lease_until(), compacted.lease_until());
        prop_assert_eq!(live.settings(), compacted.settings());
        prop_assert_eq!(live.occupancy(), compacted.occupancy());
    }
}

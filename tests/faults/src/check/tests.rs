//! Histories that keep every promise, and the same with one thing broken: each kind of violation is found.
//!
//! A history is written down in the order in which it happens; its clock goes on by itself. The broken promise must be the first that
//! is named, so that no rule hides behind another.

use super::{Violation, check};
use crate::deed::Deed;
use crate::ledger::{Line, Said};
use crate::record::{JobKept, Kept, Output, Record, Seen, State, Tried};
use crate::told::{Act, Answer, Entry};
use muster_proto::wire::{FailureCause, JobState};
use std::collections::BTreeMap;

const DEED: Deed = Deed { span_ms: 100, exit_code: 0, retries: 5, writes: true };
const ONCE: Deed = Deed { retries: 0, writes: false, ..DEED };
const FAILING: Deed = Deed { exit_code: 3, retries: 1, writes: false, ..DEED };

/// A history: what is told, recorded and written down, with the moment up to which it goes.
#[derive(Clone, Default)]
struct History {
    told: Vec<Entry>,
    record: Record,
    ledger: Vec<Line>,
    now_us: u64,
}

impl History {
    /// A job `j` with the task `t`, acknowledged.
    fn of(deed: Deed) -> Self {
        let mut history = Self::default();
        history.tell(None, Act::CreateJob, Answer::Done);
        history.tell(Some("t"), Act::CreateTask(deed), Answer::Done);
        let job = JobKept { state: JobState::Active, counts: (0, 0, 0), tasks: BTreeMap::new() };
        history.record.jobs.insert("j".to_owned(), job);
        history
    }

    /// The same, run once and read as it ended.
    fn ended(deed: Deed) -> Self {
        let mut history = Self::of(deed);
        history.live("t", 1, "a", Some(deed.exit_code));
        let seen = seen("t", deed, 1, "a");
        history.keep("t", deed, seen.clone());
        history.tell(Some("t"), Act::Read, Answer::Seen(Box::new(seen)));
        history
    }

    fn tell(&mut self, task: Option<&str>, act: Act, answer: Answer) {
        let asked_us = self.now_us + 10;
        self.now_us += 20;
        self.told.push(Entry {
            client: 0,
            asked_us,
            answered_us: self.now_us,
            tries: 1,
            job: "j".to_owned(),
            task: task.map(str::to_owned),
            act,
            answer,
        });
    }

    fn write(&mut self, task: &str, attempt: u32, life: &str, said: Said) {
        self.now_us += 10;
        let text = |word: &str| word.to_owned();
        self.ledger.push(Line {
            at_us: self.now_us,
            job: text("j"),
            task: text(task),
            attempt,
            life: text(life),
            node: text("n"),
            said,
        });
    }

    /// A life from its start to its end; one without an exit code is cut short.
    fn live(&mut self, task: &str, attempt: u32, life: &str, exit_code: Option<u8>) {
        self.write(task, attempt, life, Said::Start);
        self.write(task, attempt, life, exit_code.map_or(Said::Beat, Said::End));
    }

    /// Records a task and what its attempts came to.
    fn keep(&mut self, task: &str, deed: Deed, seen: Seen) {
        let job = self.record.jobs.get_mut("j").unwrap();
        match (seen.state, seen.is_success) {
            (State::Completed, Some(true)) => job.counts.0 += 1,
            (State::Completed, _) => job.counts.1 += 1,
            _ => job.counts.2 += 1,
        }
        let tried = Tried {
            attempt: seen.attempt,
            node: "n".to_owned(),
            exit_code: seen.exit_code,
            is_success: seen.is_success == Some(true),
            cause: seen.cause,
        };
        let command_line = deed.command_line("labour ledger locks");
        job.tasks.insert(
            task.to_owned(),
            Kept { seen, command_line, tried: vec![tried], waits_for: String::new() },
        );
    }

    fn kept(&mut self) -> &mut Kept {
        self.record.jobs.get_mut("j").unwrap().tasks.get_mut("t").unwrap()
    }

    fn check(&self) -> Vec<Violation> {
        check(&self.told, &self.record, &self.ledger)
    }

    /// Requires that this promise is the gravest that is broken.
    #[track_caller]
    fn breaks(&self, promise: &str) {
        let found = self.check();
        assert_eq!(found.first().map(|first| first.promise), Some(promise), "{found:#?}");
    }

    #[track_caller]
    fn keeps_all(&self) {
        assert_eq!(self.check(), []);
    }
}

/// How a task is read that did its deed in this life.
fn seen(task: &str, deed: Deed, attempt: u32, life: &str) -> Seen {
    let sha256 = super::task_rules::digest(&Deed::output("j", task, attempt, life));
    let output = Output { place: format!("out-j/{task}/result.txt"), sha256 };
    let is_success = deed.exit_code == 0;
    Seen {
        state: State::Completed,
        attempt,
        is_success: Some(is_success),
        exit_code: Some(i32::from(deed.exit_code)),
        signal: None,
        cause: (!is_success).then_some(FailureCause::ExitCode),
        retries: 0,
        end_us: Some(5),
        node: "n".to_owned(),
        outputs: if deed.writes { vec![output] } else { Vec::new() },
    }
}

fn lost_node(attempt: u32) -> Seen {
    Seen {
        is_success: Some(false),
        exit_code: None,
        cause: Some(FailureCause::NodeLost),
        outputs: Vec::new(),
        ..seen("t", ONCE, attempt, "")
    }
}

#[test]
fn histories_that_keep_every_promise_are_clean() {
    History::ended(DEED).keeps_all();
    // A node is lost, and the task runs again elsewhere.
    let mut moved = History::of(DEED);
    moved.live("t", 1, "a", None);
    moved.live("t", 2, "b", Some(0));
    moved.keep("t", DEED, seen("t", DEED, 2, "b"));
    moved.keeps_all();
    // The same without retries: it does not run again.
    let mut once = History::of(ONCE);
    once.live("t", 1, "a", None);
    once.keep("t", ONCE, lost_node(1));
    once.keeps_all();
    // It failed as often as asked, then again because somebody asked.
    let mut failing = History::of(FAILING);
    failing.live("t", 1, "a", Some(3));
    failing.live("t", 2, "b", Some(3));
    let first = seen("t", FAILING, 2, "b");
    failing.tell(Some("t"), Act::Read, Answer::Seen(Box::new(first)));
    failing.tell(Some("t"), Act::Reactivate, Answer::Done);
    failing.live("t", 3, "c", Some(3));
    failing.live("t", 4, "d", Some(3));
    failing.keep("t", FAILING, seen("t", FAILING, 4, "d"));
    failing.keeps_all();
    // It was deleted, and one that may have been.
    let mut deleted = History::of(DEED);
    deleted.tell(Some("t"), Act::Delete, Answer::Unknown("no answer".to_owned()));
    deleted.tell(Some("t"), Act::Read, Answer::Gone);
    deleted.keeps_all();
}

#[test]
fn sweep_s_members_are_judged_as_tasks() {
    let mut history = History::of(DEED);
    history.told.pop();
    history.tell(Some("s"), Act::CreateSweep(ONCE, 2), Answer::Done);
    history.live("s-1", 1, "a", Some(0));
    history.live("s-2", 1, "b", Some(0));
    history.keep("s-1", ONCE, seen("s-1", ONCE, 1, "a"));
    let mut half = history.clone();
    history.keep("s-2", ONCE, seen("s-2", ONCE, 1, "b"));
    history.keeps_all();
    half.breaks("what is acknowledged is not lost");
    half.tell(Some("s"), Act::Delete, Answer::Unknown("no answer".to_owned()));
    half.keeps_all();
}

#[test]
fn task_that_was_acknowledged_and_is_not_there_is_found() {
    let history = History::of(DEED);
    history.breaks("what is acknowledged is not lost");
    let mut for_a_while = History::ended(DEED);
    for_a_while.tell(Some("t"), Act::Read, Answer::Gone);
    for_a_while.breaks("what is acknowledged is not lost");
}

#[test]
fn job_that_is_lost_or_comes_back_or_counts_wrong_is_found() {
    let mut lost = History::ended(DEED);
    lost.told.retain(|entry| entry.task.is_none());
    lost.record.jobs.clear();
    lost.ledger.clear();
    lost.breaks("what is acknowledged is not lost");
    let mut back = History::ended(DEED);
    back.tell(None, Act::Delete, Answer::Done);
    back.breaks("what is deleted stays deleted");
    let mut wrong = History::ended(DEED);
    wrong.record.jobs.get_mut("j").unwrap().counts = (2, 0, 0);
    wrong.breaks("counts are right");
    let mut ended = History::ended(DEED);
    ended.tell(None, Act::Terminate, Answer::Done);
    ended.breaks("what is acknowledged is not lost");
    ended.record.jobs.get_mut("j").unwrap().state = JobState::Completed;
    ended.keeps_all();
}

#[test]
fn task_that_comes_back_after_its_deletion_is_found() {
    let mut history = History::ended(DEED);
    history.tell(Some("t"), Act::Delete, Answer::Done);
    history.breaks("what is deleted stays deleted");
}

#[test]
fn attempts_that_overlap_are_found_by_lock_and_by_time() {
    let mut by_lock = History::of(DEED);
    by_lock.live("t", 1, "a", None);
    by_lock.write("t", 2, "b", Said::Double);
    by_lock.write("t", 2, "b", Said::End(0));
    by_lock.keep("t", DEED, seen("t", DEED, 2, "b"));
    by_lock.breaks("attempts of a task never overlap");
    let mut by_time = History::of(DEED);
    by_time.write("t", 1, "a", Said::Start);
    by_time.write("t", 2, "b", Said::Start);
    by_time.write("t", 1, "a", Said::Beat);
    by_time.write("t", 2, "b", Said::End(0));
    by_time.keep("t", DEED, seen("t", DEED, 2, "b"));
    by_time.breaks("attempts of a task never overlap");
}

#[test]
fn attempt_that_starts_twice_is_found() {
    let mut history = History::of(DEED);
    history.live("t", 1, "a", None);
    history.live("t", 1, "b", Some(0));
    history.keep("t", DEED, seen("t", DEED, 1, "b"));
    history.breaks("an attempt starts once");
}

#[test]
fn at_most_once_task_that_runs_twice_is_found_unless_it_was_asked_for() {
    let mut history = History::of(ONCE);
    history.live("t", 1, "a", None);
    let mut asked = history.clone();
    history.live("t", 2, "b", Some(0));
    history.keep("t", ONCE, seen("t", ONCE, 2, "b"));
    history.breaks("an at-most-once task starts at most once");
    asked.tell(Some("t"), Act::Reactivate, Answer::Done);
    asked.live("t", 2, "b", Some(0));
    asked.keep("t", ONCE, seen("t", ONCE, 2, "b"));
    asked.keeps_all();
}

#[test]
fn success_without_a_life_of_that_attempt_is_found() {
    let mut never_ran = History::ended(DEED);
    never_ran.ledger.clear();
    never_ran.breaks("a success is that of the attempt recorded");
    let mut of_another = History::ended(ONCE);
    of_another.told.pop();
    of_another.kept().seen.attempt = 2;
    of_another.breaks("a success is that of the attempt recorded");
    let mut elsewhere = History::ended(ONCE);
    elsewhere.told.pop();
    elsewhere.kept().seen.node = "m".to_owned();
    elsewhere.breaks("a success is that of the attempt recorded");
    let mut cut = History::ended(ONCE);
    cut.ledger.pop();
    cut.breaks("a success is that of the attempt recorded");
}

#[test]
fn exit_code_that_no_life_wrote_is_found() {
    let mut history = History::of(Deed { retries: 0, ..FAILING });
    history.live("t", 1, "a", Some(3));
    history.keep("t", FAILING, seen("t", FAILING, 1, "a"));
    history.keeps_all();
    history.kept().seen.exit_code = Some(4);
    history.breaks("an exit code is that of the attempt recorded");
}

#[test]
fn outputs_of_another_attempt_and_missing_ones_are_found() {
    let mut stale = History::of(DEED);
    stale.live("t", 1, "a", None);
    stale.live("t", 2, "b", Some(0));
    let outputs = seen("t", DEED, 1, "a").outputs;
    stale.keep("t", DEED, Seen { outputs, ..seen("t", DEED, 2, "b") });
    stale.breaks("outputs are those of the attempt recorded");
    let mut missing = History::ended(DEED);
    missing.told.pop();
    missing.kept().seen.outputs.clear();
    missing.breaks("outputs are those of the attempt recorded");
}

#[test]
fn failure_that_was_not_tried_as_often_as_asked_is_found() {
    let mut history = History::of(FAILING);
    history.live("t", 1, "a", Some(3));
    history.keep("t", FAILING, seen("t", FAILING, 1, "a"));
    history.breaks("a failure was tried as often as asked");
}

#[test]
fn end_that_changes_after_it_was_read_is_found() {
    let mut history = History::ended(DEED);
    history.kept().seen.end_us = Some(6);
    history.breaks("what is read as final never changes");
    let mut undone = History::ended(ONCE);
    undone.kept().seen.state = State::Running;
    undone.record.jobs.get_mut("j").unwrap().counts = (0, 0, 1);
    let broken = undone.check();
    assert!(broken.iter().any(|found| found.promise == "what is read as final never changes"), "{broken:#?}");
}

#[test]
fn attempts_that_go_backwards_are_found() {
    let mut history = History::ended(DEED);
    let running = Seen { state: State::Running, attempt: 2, is_success: None, ..seen("t", DEED, 1, "a") };
    history.told.pop();
    history.tell(Some("t"), Act::Read, Answer::Seen(Box::new(running)));
    history.breaks("attempts are numbered upwards");
}

#[test]
fn task_that_does_not_end_is_found_with_why_it_waits() {
    let mut history = History::of(DEED);
    let waiting = Seen {
        state: State::Active,
        attempt: 0,
        is_success: None,
        outputs: Vec::new(),
        ..seen("t", DEED, 0, "")
    };
    history.keep("t", DEED, waiting);
    history.record.jobs.get_mut("j").unwrap().tasks.get_mut("t").unwrap().waits_for = "NO_NODES".to_owned();
    history.breaks("every task ends");
    assert!(history.check()[0].what.contains("NO_NODES"));
}

#[test]
fn life_after_the_end_was_told_is_found_but_for_terminated_ones() {
    let mut history = History::of(ONCE);
    history.live("t", 1, "a", None);
    let lost = lost_node(1);
    history.keep("t", ONCE, lost.clone());
    history.tell(Some("t"), Act::Read, Answer::Seen(Box::new(lost.clone())));
    history.keeps_all();
    history.write("t", 1, "a", Said::Beat);
    history.breaks("nothing runs after its end was told");
    let terminated = Seen { cause: Some(FailureCause::Terminated), ..lost };
    history.kept().seen = terminated.clone();
    history.kept().tried.clear();
    history.told.pop();
    history.told.push(Entry {
        answer: Answer::Seen(Box::new(terminated)),
        act: Act::Read,
        ..history.told[1].clone()
    });
    history.keeps_all();
}

#[test]
fn what_nobody_asked_for_and_what_was_refused_is_found() {
    let mut unasked = History::ended(DEED);
    unasked.live("u", 1, "x", Some(0));
    unasked.breaks("only what was asked for runs");
    let mut refused = History::ended(DEED);
    refused.told[1].answer = Answer::Refused("no".to_owned());
    refused.breaks("what is refused is not done");
    let mut other = History::ended(DEED);
    other.kept().command_line = "labour ledger locks 5 5 -".to_owned();
    other.breaks("a task is what was asked for");
}

#[test]
fn repeat_that_is_not_known_again_is_found() {
    let mut twice = History::ended(DEED);
    let mut repeat = twice.told[1].clone();
    twice.told.insert(2, repeat.clone());
    twice.keeps_all();
    repeat.answer = Answer::Refused("AlreadyExists: the task exists".to_owned());
    twice.told[2] = repeat;
    twice.breaks("a repeated request gets its first answer");
}

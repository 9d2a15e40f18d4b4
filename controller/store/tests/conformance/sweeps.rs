//! The life of a sweep: waiting members without rows, members that become tasks, members that end together, and its end.
//!
//! Each test runs on every backend. That lists with filters and orders agree with members made into tasks one by one is in
//! `filters`; what a member's specification becomes is tested beside `expand`.

use crate::fixture::*;
use crate::world::{World, on_every_backend};
use muster_controller_core::record::{EndedMembers, Record, SweepStateRow, TaskStateRow};
use muster_model::spec::Axis;
use muster_model::state::{ExecutionResult, TaskState};
use muster_model::*;
use muster_store::query::{Query, parse_filter, parse_order};
use muster_store::{ExpandError, Reader, StoreError, TaskView};

on_every_backend!(
    a_waiting_member_is_a_task_like_any_other,
    a_member_is_found_with_or_without_its_leading_zeros,
    a_member_that_becomes_a_task_keeps_its_place_and_its_specification,
    members_that_ended_together_say_when_and_why,
    a_deleted_member_is_not_there,
    a_deleted_sweep_takes_all_its_members_with_it,
    a_sweep_made_again_has_none_of_the_old_members,
    a_deleted_job_takes_its_sweeps_with_it,
    a_batch_out_of_order_is_refused,
    sweeps_are_listed_and_loaded_in_the_order_of_creation,
    members_and_tasks_share_one_order,
    a_member_whose_values_make_no_path_says_so,
    attempts_hang_on_members,
    what_a_job_does_on_nodes_is_listed,
    a_task_without_a_state_is_one_that_nothing_has_happened_to,
    a_large_sweep_is_listed_from_its_middle,
);

fn view(world: &mut World, task: &str) -> Option<TaskView> {
    world.reader().task(&account(), &key("j", task)).unwrap()
}

fn list(reader: &dyn Reader, filter: &str, order: &str) -> Vec<String> {
    let filter = parse_filter(filter).unwrap();
    let query = Query { filter, order: parse_order(order).unwrap(), page_size: 1_000, ..Query::default() };
    let page = reader.tasks(&account(), &job_id("j"), &query).unwrap();
    page.items.iter().map(|task| task.spec.spec.id.to_string()).collect()
}

/// The state of sweep `s` of job `j` with these members waiting.
fn pending(members: &[(u64, u64)]) -> SweepStateRow {
    let mut pending = IndexSet::default();
    for (first, last) in members {
        pending.insert(*first, *last);
    }
    SweepStateRow { pending, revision: 2, ..sweep_state("j", "s", 0) }
}

fn with_sweep(world: &mut World, count: u64) {
    world.commit(&[job("j", 1)]);
    world.commit(&sweep("j", "s", 100, count));
}

fn a_waiting_member_is_a_task_like_any_other(world: &mut World) {
    with_sweep(world, 12);
    let task = view(world, "s-07").unwrap();
    assert_eq!(task.sweep, Some((sweep_id("s"), 6)));
    assert_eq!((task.spec.sequence, task.spec.created), (106, at(2)));
    assert_eq!(task.spec.spec.command_line, "render --frame 7");
    let environment: Vec<_> =
        task.spec.spec.environment.iter().map(|s| format!("{}={}", s.name, s.value)).collect();
    assert_eq!(environment, ["MUSTER_SWEEP_ID=s", "MUSTER_SWEEP_NUMBER=7", "MUSTER_PARAM_I=7"]);
    assert_eq!(task.state, task_state("j", "s-07"));
    assert_eq!(task.fault, None);
    let specs = world.reader().task_specs(&account(), &[key("j", "s-13"), key("j", "s-07")]).unwrap();
    assert_eq!(specs, [None, Some(task.spec)]);
    assert!(world.load().members.is_empty(), "it costs no row");
}

fn a_member_is_found_with_or_without_its_leading_zeros(world: &mut World) {
    with_sweep(world, 120);
    let sweep = sweep_row("j", "s", 100, 120);
    world.commit(&running_member(&sweep, 4));
    world.commit(&[Record::SweepState(Box::new(pending(&[(5, 119)])))]);
    for (asked, found) in [("s-7", "s-007"), ("S-0007", "s-007"), ("s-5", "s-005"), ("s-120", "s-120")] {
        assert_eq!(view(world, asked).unwrap().spec.spec.id.as_str(), found, "{asked}");
    }
    for absent in ["s-0", "s-121", "s-4", "s-x", "s", "t-7"] {
        assert!(view(world, absent).is_none(), "{absent}");
    }
    world.commit(&task("j", "s-9", 900));
    assert_eq!(view(world, "s-9").unwrap().spec.sequence, 900, "a task of the very name comes first");
}

fn a_member_that_becomes_a_task_keeps_its_place_and_its_specification(world: &mut World) {
    with_sweep(world, 9);
    let before = view(world, "s-3").unwrap();
    let mut batch = running_member(&sweep_row("j", "s", 100, 9), 2).to_vec();
    batch.push(Record::SweepState(Box::new(pending(&[(0, 1), (3, 8)]))));
    world.commit(&batch);
    world.reopen();
    let after = view(world, "s-3").unwrap();
    assert_eq!((&after.spec, &after.sweep), (&before.spec, &before.sweep));
    assert_eq!(after.state.state, TaskState::Running);
    let all: Vec<_> = (1..=9).map(|number| format!("s-{number}")).collect();
    assert_eq!(list(&*world.reader(), "", ""), all);
    assert_eq!(list(&*world.reader(), "state = running", "id desc"), ["s-3"]);
    assert_eq!(list(&*world.reader(), "state = active", "").len(), 8);
    let rows = world.load();
    assert_eq!((rows.tasks.len(), rows.members.len()), (0, 1));
    assert_eq!(rows.members[0].0, member_row(&sweep_row("j", "s", 100, 9), 2));
    assert_eq!(rows.members[0].1, after.state);
}

fn members_that_ended_together_say_when_and_why(world: &mut World) {
    with_sweep(world, 9);
    let failure = FailureInfo::new(Cause::Terminated, "the sweep was terminated");
    let mut members = IndexSet::default();
    members.insert(3, 8);
    let group = EndedMembers {
        members,
        at: at(50),
        result: ExecutionResult::Failure,
        failure: Some(failure.clone()),
    };
    let state = SweepStateRow { ended: vec![group], ..pending(&[(0, 2)]) };
    world.commit(&[Record::SweepState(Box::new(state))]);
    let ended = view(world, "s-4").unwrap().state;
    let expected = TaskStateRow {
        state: TaskState::Completed,
        state_since: at(50),
        previous_state: Some(TaskState::Active),
        previous_state_since: Some(at(2)),
        ended: Some(at(50)),
        result: Some(ExecutionResult::Failure),
        satisfies: Some(false),
        failure: Some(failure),
        modified: at(50),
        revision: 2,
        ..task_state("j", "s-4")
    };
    assert_eq!(ended, expected);
    let reader = world.reader();
    assert_eq!(list(&*reader, "execution_info.result = failure AND id:s", "id").len(), 6);
    assert_eq!(list(&*reader, "execution_info.failure_info.cause = terminated", "id desc")[0], "s-9");
    assert_eq!(list(&*reader, "", "update_time desc, id")[..2], ["s-4", "s-5"]);
}

fn a_deleted_member_is_not_there(world: &mut World) {
    with_sweep(world, 9);
    let sweep = sweep_row("j", "s", 100, 9);
    world.commit(&running_member(&sweep, 0));
    world.commit(&[Record::SweepState(Box::new(pending(&[(3, 8)])))]);
    world.commit(&[Record::TaskGone(account(), job_id("j"), task_id("s-1"))]);
    for gone in ["s-1", "s-2", "s-3"] {
        assert!(view(world, gone).is_none(), "{gone}");
    }
    assert_eq!(list(&*world.reader(), "", "").len(), 6);
    assert!(world.load().members.is_empty());
}

fn a_deleted_sweep_takes_all_its_members_with_it(world: &mut World) {
    const MANY: u64 = 700;
    with_sweep(world, MANY + 10);
    let row = sweep_row("j", "s", 100, MANY + 10);
    let mut batch: Vec<_> = (0..MANY).flat_map(|index| running_member(&row, index)).collect();
    batch.extend(task("j", "plain", 5));
    batch.push(Record::Attempt(Box::new(attempt_row("j", "s-001", 1))));
    batch.push(Record::SweepState(Box::new(pending(&[(MANY, MANY + 9)]))));
    world.commit(&batch);
    assert_eq!(list(&*world.reader(), "sweep_id = S", "").len(), 710);
    world.commit(&[Record::SweepGone(account(), job_id("j"), sweep_id("S"))]);
    let reader = world.reader();
    for order in ["", "id", "create_time desc", "update_time"] {
        assert_eq!(list(&*reader, "", order), ["plain"], "{order}");
    }
    for filter in ["state = running", "sweep_id = s", "sweep_number > 3", "execution_info.result = failure"] {
        assert!(list(&*reader, filter, "").is_empty(), "{filter}");
    }
    assert_eq!(list(&*reader, "state = active", ""), ["plain"]);
    assert!(view(world, "s-001").is_none() && view(world, "s-705").is_none());
    assert!(reader.attempts(&account(), &key("j", "s-001"), &Query::default()).unwrap().items.is_empty());
    assert!(reader.sweep(&account(), &job_id("j"), &sweep_id("s")).unwrap().is_none());
    let rows = world.load();
    assert_eq!((rows.sweeps.len(), rows.members.len(), rows.tasks.len()), (0, 0, 1));
    while world.store().tidy().unwrap() {}
    assert_eq!(list(&*world.reader(), "", ""), ["plain"]);
}

fn a_sweep_made_again_has_none_of_the_old_members(world: &mut World) {
    const MANY: u64 = 700;
    with_sweep(world, MANY);
    let old = sweep_row("j", "s", 100, MANY);
    let mut batch: Vec<_> = (0..MANY).flat_map(|index| running_member(&old, index)).collect();
    batch.push(Record::SweepState(Box::new(pending(&[]))));
    batch.push(Record::Attempt(Box::new(attempt_row("j", "s-650", 1))));
    world.commit(&batch);
    world.commit(&[Record::SweepGone(account(), job_id("j"), sweep_id("s"))]);
    let mut again = sweep_row("j", "s", 5_000, MANY);
    again.spec.template.command_line = "again {i}".into();
    world.commit(&[
        Record::Sweep(Box::new(again.clone())),
        Record::SweepState(Box::new(sweep_state("j", "s", MANY))),
    ]);
    let waiting = view(world, "s-650").unwrap();
    assert_eq!((waiting.state.state, waiting.spec.sequence), (TaskState::Active, 5_649));
    world.commit(&running_member(&again, 649));
    // A plain task may take the name that an old member still has below.
    world.commit(&[Record::SweepState(Box::new(pending(&[(0, 600)])))]);
    world.commit(&task("j", "s-640", 9_000));
    let running = view(world, "s-650").unwrap();
    assert_eq!(running.spec.spec.command_line, "again 650");
    assert!(view(world, "s-640").unwrap().sweep.is_none());
    assert!(
        world.reader().attempts(&account(), &key("j", "s-650"), &Query::default()).unwrap().items.is_empty()
    );
    assert_eq!(list(&*world.reader(), "", "").len(), 603);
    while world.store().tidy().unwrap() {}
    assert_eq!(list(&*world.reader(), "", "").len(), 603);
    assert_eq!(world.load().members.len(), 1);
}

fn a_deleted_job_takes_its_sweeps_with_it(world: &mut World) {
    with_sweep(world, 5);
    let mut batch = running_member(&sweep_row("j", "s", 100, 5), 0).to_vec();
    batch.push(Record::JobNode(Box::new(job_node_row("j", "n"))));
    world.commit(&batch);
    world.commit(&[Record::JobGone(account(), job_id("j"))]);
    let gone = |world: &mut World| {
        let rows = world.load();
        assert!(rows.sweeps.is_empty() && rows.members.is_empty() && rows.job_nodes.is_empty());
    };
    gone(world);
    world.commit(&[job("j", 2)]);
    assert!(list(&*world.reader(), "", "").is_empty());
    while world.store().tidy().unwrap() {}
    gone(world);
    assert!(world.reader().sweeps(&account(), &job_id("j"), &Query::default()).unwrap().items.is_empty());
}

fn a_batch_out_of_order_is_refused(world: &mut World) {
    let row = sweep_row("j", "s", 1, 3);
    let [first, second] = sweep("j", "s", 1, 3);
    let refused = world.refused(std::slice::from_ref(&first));
    assert!(matches!(refused, StoreError::UnknownJob { what: "sweep", .. }), "{refused}");
    let refused = world.refused(&[job("j", 0), second]);
    assert!(matches!(refused, StoreError::UnknownSweep { what: "state", .. }), "{refused}");
    let [member, state] = running_member(&row, 1);
    let refused = world.refused(&[job("j", 0), member.clone()]);
    assert!(matches!(refused, StoreError::UnknownSweep { what: "member", .. }), "{refused}");
    let refused = world.refused(&[job("j", 0), first.clone(), state.clone()]);
    assert!(matches!(refused, StoreError::UnknownTask { .. }), "a member comes before its state: {refused}");
    let refused = world.refused(&[Record::JobNode(Box::new(job_node_row("j", "n")))]);
    assert!(matches!(refused, StoreError::UnknownJob { .. }), "{refused}");
    let gone = Record::SweepGone(account(), job_id("j"), sweep_id("s"));
    let refused = world.refused(&[job("j", 0), first.clone(), gone.clone(), member.clone()]);
    assert!(matches!(refused, StoreError::UnknownSweep { .. }), "{refused}");
    assert!(world.load().jobs.is_empty(), "a refused batch leaves nothing");
    // What a refused batch had made must not be believed, nor its key's values.
    let mut other = row.clone();
    other.spec.template.command_line = "other {i}".into();
    world.commit(&[job("j", 0), Record::Sweep(Box::new(other))]);
    world.commit(&[Record::SweepState(Box::new(sweep_state("j", "s", 3)))]);
    assert_eq!(view(world, "s-2").unwrap().spec.spec.command_line, "other 2");
    world.commit(&[gone]);
    let refused = world.refused(&[member, state]);
    assert!(matches!(refused, StoreError::UnknownSweep { .. }), "{refused}");
}

fn sweeps_are_listed_and_loaded_in_the_order_of_creation(world: &mut World) {
    let mut batch = vec![job("j", 1), job("k", 2)];
    for (job, id, sequence, count) in [("j", "b", 300, 3), ("j", "A", 200, 9), ("k", "c", 100, 4)] {
        batch.extend(sweep(job, id, sequence, count));
    }
    world.commit(&batch);
    let loaded: Vec<_> = world.load().sweeps.iter().map(|(row, _)| row.spec.id.to_string()).collect();
    assert_eq!(loaded, ["c", "A", "b"]);
    let reader = world.reader();
    let listed = |filter: &str, order: &str, page_size| {
        let mut query = Query {
            filter: parse_filter(filter).unwrap(),
            order: parse_order(order).unwrap(),
            page_size,
            ..Query::default()
        };
        let mut ids = Vec::new();
        loop {
            let page = reader.sweeps(&account(), &job_id("j"), &query).unwrap();
            ids.extend(page.items.iter().map(|sweep| sweep.row.spec.id.to_string()));
            query.after = page.next;
            if query.after.is_none() {
                return ids;
            }
        }
    };
    assert_eq!(listed("", "", 1), ["A", "b"]);
    assert_eq!(listed("", "id desc", 1), ["b", "A"]);
    assert_eq!(listed("count < 5 AND deleting = false", "", 10), ["b"]);
}

fn members_and_tasks_share_one_order(world: &mut World) {
    let mut batch = vec![job("j", 1)];
    batch.extend(sweep("j", "m", 10, 3));
    batch.extend(task("j", "m-10", 20));
    batch.extend(sweep("j", "m-1", 30, 2));
    batch.extend(task("j", "a", 40));
    world.commit(&batch);
    let reader = world.reader();
    let by_creation = ["m-1", "m-2", "m-3", "m-10", "m-1-1", "m-1-2", "a"];
    let by_id = ["a", "m-1", "m-1-1", "m-1-2", "m-10", "m-2", "m-3"];
    for (order, expected) in [("", by_creation), ("id", by_id)] {
        assert_eq!(list(&*reader, "", order), expected);
        for page_size in 1..=8 {
            let order = parse_order(order).unwrap();
            let mut query = Query { order, page_size, ..Query::default() };
            let mut walked = Vec::new();
            loop {
                let page = reader.tasks(&account(), &job_id("j"), &query).unwrap();
                walked.extend(page.items.iter().map(|task| task.spec.spec.id.to_string()));
                query.after = page.next;
                if query.after.is_none() {
                    break;
                }
            }
            assert_eq!(walked, expected, "pages of {page_size}");
        }
    }
    assert_eq!(list(&*reader, "sweep_id = m-1", ""), ["m-1-1", "m-1-2"]);
    assert_eq!(list(&*reader, "sweep_number >= 2", "id"), ["m-1-2", "m-2", "m-3"]);
    assert_eq!(list(&*reader, "id:m-1", "id desc"), ["m-10", "m-1-2", "m-1-1", "m-1"]);
}

fn a_member_whose_values_make_no_path_says_so(world: &mut World) {
    let mut row = sweep_row("j", "s", 10, 0);
    row.spec.template.display_name = "Scene {scene}".into();
    row.spec.template.command_line = "render {scene}".into();
    row.spec.template.output_files = vec![muster_model::spec::OutputFile {
        pattern: "out.png".into(),
        destination: muster_model::spec::FileDestination::FileStore {
            container: container("films"),
            path: Some(path("{scene}-{scene}/out.png")),
        },
        condition: muster_model::state::UploadCondition::TaskSuccess,
    }];
    // Legal by itself, but not twice in one name.
    let long = "x".repeat(200);
    let rows = [["lake"], [long.as_str()]].map(|row| row.map(str::to_owned).to_vec());
    row.spec.axes = vec![Axis::Table { names: vec!["scene".into()], rows: rows.to_vec() }];
    world.commit(&[
        job("j", 1),
        Record::Sweep(Box::new(row.clone())),
        Record::SweepState(Box::new(sweep_state("j", "s", 2))),
    ]);
    world.commit(&running_member(&row, 1));
    world.commit(&[Record::SweepState(Box::new(sweep_state("j", "s", 1)))]);
    assert_eq!(view(world, "s-1").unwrap().fault, None);
    let wrong = view(world, "s-2").unwrap();
    assert!(matches!(wrong.fault, Some(ExpandError::Path { .. })), "{:?}", wrong.fault);
    assert_eq!(wrong.spec.spec.display_name, format!("Scene {long}"), "the other parts are filled in");
    for (filter, found) in [("display_name = 'scene LAKE'", "s-1"), ("display_name:'Scene x'", "s-2")] {
        assert_eq!(list(&*world.reader(), filter, ""), [found]);
    }
}

fn attempts_hang_on_members(world: &mut World) {
    with_sweep(world, 50);
    world.commit(&running_member(&sweep_row("j", "s", 100, 50), 4));
    world.commit(&[Record::Attempt(Box::new(attempt_row("j", "s-05", 1)))]);
    let reader = world.reader();
    let attempts = reader.attempts(&account(), &key("j", "s-5"), &Query::default()).unwrap().items;
    assert_eq!(attempts, [attempt_row("j", "s-05", 1)]);
    let id = AttemptId { job: job_id("J"), task: task_id("s-5"), number: 1 };
    assert_eq!(reader.attempt(&account(), &id).unwrap().unwrap().task.as_str(), "s-05");
    assert!(reader.attempts(&account(), &key("j", "s-6"), &Query::default()).unwrap().items.is_empty());
    let refused = world.refused(&[Record::Attempt(Box::new(attempt_row("j", "s-06", 1)))]);
    assert!(matches!(refused, StoreError::UnknownTask { .. }), "{refused}");
}

fn what_a_job_does_on_nodes_is_listed(world: &mut World) {
    world.commit(&[job("j", 1), job("k", 2)]);
    for (job, node) in [("j", "n-2"), ("j", "N-1"), ("k", "n-3")] {
        world.commit(&[Record::JobNode(Box::new(job_node_row(job, node)))]);
    }
    let reader = world.reader();
    let listed = |filter: &str| -> Vec<_> {
        let query = Query { filter: parse_filter(filter).unwrap(), ..Query::default() };
        let page = reader.job_nodes(&account(), &job_id("J"), &query).unwrap();
        page.items.iter().map(|row| row.node.to_string()).collect()
    };
    assert_eq!(listed(""), ["N-1", "n-2"]);
    assert_eq!(listed("job_preparation_task_execution_info/state = running AND node_id = n-1"), ["N-1"]);
    assert!(listed("job_release_task_execution_info.exit_code = 0").is_empty());
    world.commit(&[Record::JobNodeGone(account(), job_id("j"), node_id("n-1"))]);
    let rows = world.load().job_nodes;
    assert_eq!(rows, [job_node_row("j", "n-2"), job_node_row("k", "n-3")]);
}

fn a_task_without_a_state_is_one_that_nothing_has_happened_to(world: &mut World) {
    let [spec, _] = task("j", "t", 2);
    world.commit(&[job("j", 1), spec]);
    assert_eq!(view(world, "t").unwrap().state, task_state("j", "t"));
    assert_eq!(list(&*world.reader(), "state = active AND update_time = 2026-01-01T00:00:02Z", ""), ["t"]);
    let odd = TaskStateRow { modified: at(9), ..task_state("j", "u") };
    let [spec, _] = task("j", "u", 3);
    world.commit(&[spec, Record::TaskState(Box::new(odd.clone()))]);
    assert_eq!(view(world, "u").unwrap().state, odd);
    let back = task_state("j", "u");
    world.commit(&[Record::TaskState(Box::new(back.clone()))]);
    assert_eq!(view(world, "u").unwrap().state, back);
    assert_eq!(list(&*world.reader(), "state != completed", ""), ["t", "u"]);
    assert_eq!(world.load().tasks.len(), 2);
}

fn a_large_sweep_is_listed_from_its_middle(world: &mut World) {
    const COUNT: u64 = 20_000;
    with_sweep(world, COUNT);
    let row = sweep_row("j", "s", 100, COUNT);
    let mut batch: Vec<_> = (10_000..10_003).flat_map(|index| running_member(&row, index)).collect();
    batch.push(Record::SweepState(Box::new(pending(&[(0, 9_999), (10_003, COUNT - 1)]))));
    world.commit(&batch);
    let reader = world.reader();
    let found = list(&*reader, "sweep_number >= 10000 AND sweep_number <= 10005", "");
    let numbers: Vec<_> = (10_000..=10_005).map(|number| format!("s-{number}")).collect();
    assert_eq!(found, numbers);
    assert_eq!(list(&*reader, "id >= s-10000 AND id < s-10006", "id"), numbers);
    assert_eq!(list(&*reader, "id = s-10002 OR id = s-19999", "id desc"), ["s-19999", "s-10002"]);
    assert_eq!(list(&*reader, "NOT id:s-1 AND sweep_number != 2", "id")[..2], ["s-00001", "s-00003"]);
    assert_eq!(list(&*reader, "state = running", ""), ["s-10001", "s-10002", "s-10003"]);
}

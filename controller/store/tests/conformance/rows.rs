//! Every kind of record is written, read back, replaced and removed; batches are whole and in order.
//!
//! Each test runs on every backend and looks only through `Store` and `Reader`. What is written must come back equal in
//! every field, from the store that wrote it and from one that was opened again. Rows are made in `fixture`; files that
//! are not as they should be are in `files`.

use crate::everything::everything;
use crate::fixture::*;
use crate::world::{World, on_every_backend};
use muster_controller_core::record::{FileRow, Record, TaskStateRow};
use muster_model::state::{PoolState, TaskState};
use muster_model::*;
use muster_store::query::Query;
use muster_store::{ContainerView, StoreError, TaskView};

on_every_backend!(
    an_empty_store_holds_nothing,
    every_record_reads_back_as_it_was_written,
    ids_are_found_in_any_case_and_keep_their_own,
    every_record_is_replaced_by_a_later_one,
    every_record_can_be_removed_and_removing_nothing_is_nothing,
    the_later_record_of_a_batch_wins,
    tasks_of_the_same_id_in_two_jobs_are_kept_apart,
    a_refused_batch_leaves_nothing_behind,
    numbers_beyond_what_a_database_holds_are_refused_by_name,
    a_job_made_again_has_none_of_the_old_tasks,
    a_container_made_again_has_none_of_the_old_files,
    a_task_made_again_has_none_of_the_old_attempts,
    a_reopened_store_holds_what_was_committed,
    tasks_are_loaded_in_sequence_order,
    specifications_are_read_in_the_order_asked,
    contents_are_found_by_digest_within_the_account,
    the_last_number_of_creation_outlives_what_had_it,
);

fn the_last_number_of_creation_outlives_what_had_it(world: &mut World) {
    assert_eq!(world.load().numbers_used, 0);
    world.commit(&[Record::NumbersUsed(7)]);
    world.commit(&[Record::NumbersUsed(9)]);
    world.reopen();
    assert_eq!(world.load().numbers_used, 9);
}

fn an_empty_store_holds_nothing(world: &mut World) {
    let rows = world.load();
    assert!(rows.accounts.is_empty() && rows.jobs.is_empty() && rows.tasks.is_empty());
    let reader = world.reader();
    assert!(reader.account(&account()).unwrap().is_none());
    assert!(reader.task(&account(), &key("j", "t")).unwrap().is_none());
    assert!(reader.tasks(&account(), &job_id("j"), &Query::default()).unwrap().items.is_empty());
    assert_eq!(reader.task_specs(&account(), &[key("j", "t")]).unwrap(), [None]);
}

fn every_record_reads_back_as_it_was_written(world: &mut World) {
    let records = everything();
    world.commit(&records);
    let reader = world.reader();
    let account = account();
    for record in &records {
        match record {
            Record::Account(row) => {
                let found = reader.account(&row.name).unwrap().unwrap();
                assert_eq!(format!("{found:?}"), format!("{row:?}"));
                assert_eq!(found.primary.expose(), row.primary.expose());
                assert_eq!(found.secondary.expose(), row.secondary.expose());
            }
            Record::Pool(row) => {
                assert_eq!(reader.pool(&account, &row.spec.id).unwrap().as_ref(), Some(&**row))
            }
            Record::Node(row) => assert_eq!(reader.node(&account, &row.id).unwrap().as_ref(), Some(&**row)),
            Record::Token(row) => assert_eq!(reader.token(&account, &row.id).unwrap().as_ref(), Some(row)),
            Record::Job(row) => {
                assert_eq!(reader.job(&account, &row.spec.id).unwrap().as_ref(), Some(&**row))
            }
            Record::TaskSpec(row) => {
                let key = TaskKey { job: row.job.clone(), task: row.spec.id.clone() };
                assert_eq!(reader.task(&account, &key).unwrap().unwrap().spec, **row);
            }
            Record::TaskState(row) => {
                let key = TaskKey { job: row.job.clone(), task: row.task.clone() };
                assert_eq!(reader.task(&account, &key).unwrap().unwrap().state, **row);
            }
            Record::Attempt(row) => {
                let id = AttemptId { job: row.job.clone(), task: row.task.clone(), number: row.number };
                assert_eq!(reader.attempt(&account, &id).unwrap().as_ref(), Some(&**row));
            }
            Record::File(row) => {
                assert_eq!(reader.file(&account, &row.container, &row.path).unwrap().as_ref(), Some(row));
            }
            Record::Request(row) => assert!(world.load().requests.contains(row)),
            Record::Sweep(row) => {
                let found = reader.sweep(&account, &row.job, &row.spec.id).unwrap().unwrap();
                assert_eq!(found.row, **row);
            }
            Record::SweepState(row) => {
                let found = reader.sweep(&account, &row.job, &row.sweep).unwrap().unwrap();
                assert_eq!(found.state, **row);
            }
            Record::Member(row) => {
                let key = TaskKey { job: row.job.clone(), task: row.task.clone() };
                let found = reader.task(&account, &key).unwrap().unwrap();
                assert_eq!(found.sweep, Some((row.sweep.clone(), row.index)));
                assert_eq!((found.spec.sequence, found.spec.created), (row.sequence, row.created));
                assert!(world.load().members.iter().any(|(member, _)| member == &**row));
            }
            Record::JobNode(row) => {
                assert_eq!(reader.job_node(&account, &row.job, &row.node).unwrap().as_ref(), Some(&**row));
            }
            Record::NumbersUsed(number) => assert_eq!(world.load().numbers_used, *number),
            Record::SweepGone(..)
            | Record::JobNodeGone(..)
            | Record::PoolGone(..)
            | Record::NodeGone(..)
            | Record::TokenGone(..)
            | Record::JobGone(..)
            | Record::TaskGone(..)
            | Record::FileGone(..)
            | Record::ContainerGone(..)
            | Record::RequestGone(..) => panic!("the fixture puts rows and removes none: {record:?}"),
        }
    }
    let view = ContainerView { account: account.clone(), name: container("scenes"), created: at(9) };
    assert_eq!(reader.container(&account, &container("scenes")).unwrap(), Some(view));
}

fn ids_are_found_in_any_case_and_keep_their_own(world: &mut World) {
    world.commit(&everything());
    let reader = world.reader();
    assert_eq!(reader.pool(&account(), &pool_id("FARM")).unwrap().unwrap().spec.id.as_str(), "Farm");
    assert_eq!(reader.node(&account(), &node_id("TVM-1_1")).unwrap().unwrap().id.as_str(), "tvm-1_1");
    assert_eq!(reader.job(&account(), &job_id("film")).unwrap().unwrap().spec.id.as_str(), "Film");
    let task = reader.task(&account(), &key("FILM", "frame-001")).unwrap().unwrap();
    assert_eq!(task.spec.spec.id.as_str(), "Frame-001");
    assert_eq!(reader.tasks(&account(), &job_id("FILM"), &Query::default()).unwrap().items.len(), 7);
    assert_eq!(
        reader.sweep(&account(), &job_id("FILM"), &sweep_id("FRAMES")).unwrap().unwrap().row.spec.id.as_str(),
        "Frames"
    );
    assert_eq!(
        reader.task(&account(), &key("film", "FRAMES-2")).unwrap().unwrap().spec.spec.id.as_str(),
        "Frames-2"
    );
    // Paths are files' names and keep apart.
    assert!(reader.file(&account(), &container("scenes"), &path("A/B.inc")).unwrap().is_none());
    let again = Record::Pool(Box::new(pool_row("FARM")));
    world.commit(&[again]);
    assert_eq!(world.load().pools.len(), 2);
}

fn every_record_is_replaced_by_a_later_one(world: &mut World) {
    world.commit(&everything());
    let mut account_row = account_row();
    account_row.display_name = "New name".into();
    let mut pool = pool_row("farm");
    pool.state = PoolState::Deleting;
    let mut job = job_row("film", 41);
    job.revision = 99;
    let mut spec = task_spec("film", "frame-001", 45);
    spec.spec.command_line = "another".into();
    let state = TaskStateRow { revision: 10, ..task_state("film", "frame-001") };
    let attempt = attempt_row("film", "frame-001", 2);
    let file = file_row("scenes", "a/b.inc", 10);
    world.commit(&[
        Record::Account(account_row),
        Record::Pool(Box::new(pool.clone())),
        Record::Node(Box::new(node_row("tvm-1_1", "farm"))),
        Record::Job(Box::new(job.clone())),
        Record::TaskSpec(Box::new(spec.clone())),
        Record::TaskState(Box::new(state.clone())),
        Record::Attempt(Box::new(attempt.clone())),
        Record::File(file.clone()),
    ]);
    let reader = world.reader();
    assert_eq!(reader.account(&account()).unwrap().unwrap().display_name, "New name");
    assert_eq!(reader.pool(&account(), &pool_id("Farm")).unwrap(), Some(pool));
    assert_eq!(reader.node(&account(), &node_id("tvm-1_1")).unwrap(), Some(node_row("tvm-1_1", "farm")));
    assert_eq!(reader.job(&account(), &job_id("Film")).unwrap(), Some(job));
    let task = reader.task(&account(), &key("Film", "Frame-001")).unwrap();
    assert_eq!(task, Some(TaskView { spec, state, sweep: None, fault: None }));
    let attempts = reader.attempts(&account(), &key("Film", "Frame-001"), &Query::default()).unwrap().items;
    assert_eq!(
        attempts,
        [attempt, attempt_row("Film", "Frame-001", 1)],
        "newest first, the replaced one once"
    );
    assert_eq!(reader.file(&account(), &container("scenes"), &path("a/b.inc")).unwrap(), Some(file));
    let created = reader.container(&account(), &container("scenes")).unwrap().unwrap().created;
    assert_eq!(created, at(9), "a container is as old as its first file");
}

fn every_record_can_be_removed_and_removing_nothing_is_nothing(world: &mut World) {
    let gone = [
        Record::PoolGone(account(), pool_id("FARM")),
        Record::PoolGone(account(), pool_id("spare")),
        Record::NodeGone(account(), node_id("tvm-1_1")),
        Record::NodeGone(account(), node_id("tvm-1_2")),
        Record::TokenGone(account(), TokenId::parse("token-1").unwrap()),
        Record::TaskGone(account(), job_id("other"), task_id("t1")),
        Record::JobNodeGone(account(), job_id("film"), node_id("TVM-1_1")),
        Record::SweepGone(account(), job_id("film"), sweep_id("FRAMES")),
        Record::JobGone(account(), job_id("other")),
        Record::JobGone(account(), job_id("FILM")),
        Record::FileGone(account(), container("scenes"), path("a/b.inc")),
        Record::RequestGone(account(), RequestId::parse("r-1").unwrap()),
        Record::RequestGone(account(), RequestId::parse("r-2").unwrap()),
        Record::RequestGone(account(), RequestId::parse("r-3").unwrap()),
    ];
    world.commit(&gone);
    world.commit(&everything());
    world.commit(&gone);
    let rows = world.load();
    assert_eq!(rows.accounts.len(), 1);
    assert!(rows.pools.is_empty() && rows.nodes.is_empty() && rows.tokens.is_empty());
    assert!(rows.jobs.is_empty() && rows.tasks.is_empty() && rows.requests.is_empty());
    assert!(rows.sweeps.is_empty() && rows.members.is_empty() && rows.job_nodes.is_empty());
    let reader = world.reader();
    assert!(reader.task(&account(), &key("Film", "Frame-001")).unwrap().is_none());
    let attempt = AttemptId { job: job_id("Film"), task: task_id("Frame-001"), number: 2 };
    assert!(reader.attempt(&account(), &attempt).unwrap().is_none());
    assert!(reader.file(&account(), &container("scenes"), &path("a/b.inc")).unwrap().is_none());
    assert!(reader.container(&account(), &container("scenes")).unwrap().is_some(), "it stays without files");
    world.commit(&[Record::ContainerGone(account(), container("scenes"))]);
    assert!(reader.container(&account(), &container("scenes")).unwrap().is_none());
    while world.store().tidy().unwrap() {}
}

fn the_later_record_of_a_batch_wins(world: &mut World) {
    let running = TaskStateRow { state: TaskState::Running, revision: 2, ..task_state("j", "t") };
    let done = TaskStateRow { state: TaskState::Completed, revision: 3, ..task_state("j", "t") };
    let mut batch = vec![job("j", 1)];
    batch.extend(task("j", "t", 2));
    batch.push(Record::TaskState(Box::new(running)));
    batch.push(Record::TaskState(Box::new(done.clone())));
    batch.extend(task("j", "gone", 3));
    batch.push(Record::TaskGone(account(), job_id("j"), task_id("gone")));
    batch.push(Record::TaskGone(account(), job_id("j"), task_id("back")));
    batch.extend(task("j", "back", 4));
    batch.push(Record::Pool(Box::new(pool_row("p"))));
    batch.push(Record::PoolGone(account(), pool_id("p")));
    world.commit(&batch);
    let reader = world.reader();
    assert_eq!(reader.task(&account(), &key("j", "t")).unwrap().unwrap().state, done);
    assert!(reader.task(&account(), &key("j", "gone")).unwrap().is_none());
    assert!(reader.task(&account(), &key("j", "back")).unwrap().is_some());
    assert!(reader.pool(&account(), &pool_id("p")).unwrap().is_none());
}

fn tasks_of_the_same_id_in_two_jobs_are_kept_apart(world: &mut World) {
    let mut batch = vec![job("a", 1), job("b", 2)];
    batch.extend(task("a", "t", 3));
    batch.extend(task("b", "t", 4));
    for (job, revision) in [("a", 10), ("b", 20)] {
        batch.push(Record::TaskState(Box::new(TaskStateRow { revision, ..task_state(job, "t") })));
        let number = AttemptNumber::try_from(revision).unwrap();
        batch.push(Record::Attempt(Box::new(attempt_row(job, "t", number))));
    }
    world.commit(&batch);
    let reader = world.reader();
    for (job, revision) in [("a", 10), ("b", 20)] {
        let task = key(job, "t");
        assert_eq!(reader.task(&account(), &task).unwrap().unwrap().state.revision, revision);
        let attempts = reader.attempts(&account(), &task, &Query::default()).unwrap().items;
        assert_eq!(attempts.iter().map(|attempt| u64::from(attempt.number)).collect::<Vec<_>>(), [revision]);
    }
    world.commit(&[Record::TaskGone(account(), job_id("a"), task_id("t"))]);
    assert!(reader.task(&account(), &key("a", "t")).unwrap().is_none());
    assert!(reader.task(&account(), &key("b", "t")).unwrap().is_some());
}

fn a_refused_batch_leaves_nothing_behind(world: &mut World) {
    let [spec, state] = task("j", "t", 1);
    let refused = world.refused(&[Record::Pool(Box::new(pool_row("p"))), spec.clone()]);
    assert!(matches!(refused, StoreError::UnknownJob { .. }), "{refused}");
    let refused = world.refused(&[job("j", 0), state.clone()]);
    assert!(matches!(refused, StoreError::UnknownTask { .. }), "{refused}");
    let gone = Record::JobGone(account(), job_id("j"));
    let refused = world.refused(&[job("j", 0), spec.clone(), state.clone(), gone.clone(), state.clone()]);
    assert!(matches!(refused, StoreError::UnknownTask { .. }), "{refused}");
    let attempt = Record::Attempt(Box::new(attempt_row("j", "t", 1)));
    let removed = Record::TaskGone(account(), job_id("j"), task_id("t"));
    let refused = world.refused(&[job("j", 0), spec.clone(), removed, attempt]);
    assert!(matches!(refused, StoreError::UnknownTask { .. }), "{refused}");
    let rows = world.load();
    assert!(rows.pools.is_empty() && rows.jobs.is_empty() && rows.tasks.is_empty());
    // What the refused batches had made and looked up must not be believed now.
    let refused = world.refused(&[job("j", 0), spec.clone(), task("j", "u", 2)[1].clone()]);
    assert!(matches!(refused, StoreError::UnknownTask { .. }), "{refused}");
    let refused = world.refused(&task("j", "u", 2));
    assert!(matches!(refused, StoreError::UnknownJob { .. }), "{refused}");
    world.commit(&[job("j", 0), spec, state.clone()]);
    let refused = world.refused(&[gone.clone(), job("j", 1), state]);
    assert!(matches!(refused, StoreError::UnknownTask { .. }), "a job made again has no tasks: {refused}");
    world.commit(&[gone]);
    let refused = world.refused(&task("j", "t", 2));
    assert!(matches!(refused, StoreError::UnknownJob { .. }), "{refused}");
}

fn numbers_beyond_what_a_database_holds_are_refused_by_name(world: &mut World) {
    let mut row = job_row("j", 0);
    row.revision = u64::MAX;
    let refused = world.refused(&[Record::Job(Box::new(row))]).to_string();
    assert!(refused.contains("revision") && refused.contains(&u64::MAX.to_string()), "{refused}");
    let mut file = file_row("files", "a", 1);
    file.size = 1 << 63;
    assert!(matches!(world.refused(&[Record::File(file)]), StoreError::TooLarge { what: "size", .. }));
}

/// More rows than one commit removes of a deleted parent, so that some are still there when it is made again.
const MANY: u64 = 500;

fn a_job_made_again_has_none_of_the_old_tasks(world: &mut World) {
    for round in 0..3 {
        let mut batch = vec![job("j", round)];
        for index in 0..MANY {
            let id = format!("r{round}-{index}");
            batch.extend(task("j", &id, round * MANY + index));
            batch.push(Record::Attempt(Box::new(attempt_row("j", &id, 1))));
        }
        world.commit(&batch);
        let reader = world.reader();
        let query = Query { page_size: 1_000, ..Query::default() };
        let tasks = reader.tasks(&account(), &job_id("j"), &query).unwrap().items;
        assert_eq!(u64::try_from(tasks.len()).unwrap(), MANY);
        assert!(tasks.iter().all(|task| task.spec.spec.id.as_str().starts_with(&format!("r{round}-"))));
        assert_eq!(u64::try_from(world.load().tasks.len()).unwrap(), MANY);
        world.commit(&[Record::JobGone(account(), job_id("j"))]);
        assert!(world.load().tasks.is_empty());
        assert!(reader.attempts(&account(), &key("j", "r0-0"), &Query::default()).unwrap().items.is_empty());
    }
    while world.store().tidy().unwrap() {}
    world.commit(&[job("j", 9)]);
    assert!(world.reader().tasks(&account(), &job_id("j"), &Query::default()).unwrap().items.is_empty());
}

fn a_container_made_again_has_none_of_the_old_files(world: &mut World) {
    let old: Vec<_> =
        (0..MANY).map(|index| Record::File(file_row("scenes", &format!("old-{index}"), 1))).collect();
    world.commit(&old);
    world.commit(&[Record::ContainerGone(account(), container("scenes"))]);
    world.commit(&[Record::File(file_row("scenes", "new", 3))]);
    let reader = world.reader();
    let files = reader.files(&account(), &container("scenes"), &Query::default()).unwrap().items;
    assert_eq!(files, [file_row("scenes", "new", 3)]);
    let digests = [1, 3].map(|byte| Digest::from_bytes([byte; 32]));
    assert_eq!(reader.content_sizes(&account(), &digests).unwrap(), [None, Some(3_000)]);
    assert_eq!(reader.container(&account(), &container("scenes")).unwrap().unwrap().created, at(3));
    while world.store().tidy().unwrap() {}
    assert_eq!(reader.files(&account(), &container("scenes"), &Query::default()).unwrap().items.len(), 1);
}

fn a_task_made_again_has_none_of_the_old_attempts(world: &mut World) {
    let mut batch = vec![job("j", 1)];
    batch.extend(task("j", "t", 2));
    batch.push(Record::Attempt(Box::new(attempt_row("j", "t", 1))));
    world.commit(&batch);
    world.commit(&[Record::TaskGone(account(), job_id("j"), task_id("t"))]);
    world.commit(&task("j", "t", 3));
    let attempts = world.reader().attempts(&account(), &key("j", "t"), &Query::default()).unwrap();
    assert!(attempts.items.is_empty());
}

fn a_reopened_store_holds_what_was_committed(world: &mut World) {
    world.commit(&everything());
    let before = world.load();
    assert_eq!((before.jobs.len(), before.tasks.len(), before.requests.len()), (2, 2, 3));
    world.reopen();
    assert_same(&before, &world.load());
    let done = TaskStateRow { revision: 2, ..task_state("other", "t1") };
    world.commit(&[Record::TaskState(Box::new(done.clone()))]);
    world.reopen();
    assert_eq!(world.reader().task(&account(), &key("other", "t1")).unwrap().unwrap().state, done);
}

fn tasks_are_loaded_in_sequence_order(world: &mut World) {
    let mut batch = vec![job("a", 1), job("b", 2)];
    for (sequence, (job, id)) in [("b", "z"), ("a", "m"), ("b", "a"), ("a", "b")].into_iter().enumerate() {
        batch.extend(task(job, id, 10 - u64::try_from(sequence).unwrap()));
    }
    world.commit(&batch);
    let ids: Vec<_> = world.load().tasks.iter().map(|(spec, _)| spec.spec.id.to_string()).collect();
    assert_eq!(ids, ["b", "a", "m", "z"]);
}

fn specifications_are_read_in_the_order_asked(world: &mut World) {
    world.commit(&everything());
    let keys = [key("other", "t1"), key("nowhere", "t1"), key("film", "frame-001"), key("film", "none")];
    let specs = world.reader().task_specs(&account(), &keys).unwrap();
    let ids: Vec<_> = specs.iter().map(|spec| spec.as_ref().map(|spec| spec.spec.id.as_str())).collect();
    assert_eq!(ids, [Some("t1"), None, Some("Frame-001"), None]);
}

fn contents_are_found_by_digest_within_the_account(world: &mut World) {
    world.commit(&[
        Record::File(file_row("scenes", "a", 1)),
        Record::File(file_row("scenes", "b", 1)),
        Record::File(file_row("other-files", "c", 2)),
    ]);
    let digests = [2, 7, 1].map(|byte| Digest::from_bytes([byte; 32]));
    let reader = world.reader();
    assert_eq!(reader.content_sizes(&account(), &digests).unwrap(), [Some(2_000), None, Some(1_000)]);
    let stranger = AccountName::parse("stranger").unwrap();
    world.commit(&[Record::File(FileRow { account: stranger.clone(), ..file_row("scenes", "z", 9) })]);
    assert_eq!(reader.content_sizes(&stranger, &digests).unwrap(), [None, None, None]);
    assert!(reader.file(&stranger, &container("scenes"), &path("a")).unwrap().is_none());
    assert!(reader.file(&account(), &container("scenes"), &path("z")).unwrap().is_none());
}

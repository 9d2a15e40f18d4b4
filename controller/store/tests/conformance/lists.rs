//! Pages: orders, sizes, tokens, and walks while others write.
//!
//! What every list promises is walked here on each backend: no row twice, none left out, whatever the size of a page and
//! whatever is written in between. Tokens go through their text, as a client's do. Which rows a filter takes is
//! checked in `filters`.

use crate::everything::everything;
use crate::fixture::*;
use crate::world::{World, on_every_backend};
use muster_controller_core::record::{Record, TaskStateRow};
use muster_model::*;
use muster_store::query::{
    CursorError, Filter, JobProperty, Op, OrderBy, PageCursor, Query, QueryError, TaskProperty, Value,
    parse_filter, parse_order,
};
use muster_store::{Reader, StoreError, TaskView};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

on_every_backend!(
    a_walk_sees_every_row_once_in_order_whatever_the_page_size,
    jobs_are_listed_by_several_terms,
    nodes_are_listed_by_pool_and_files_by_prefix,
    a_token_used_with_another_list_is_refused_with_words,
    a_token_may_be_kept_while_rows_come_and_go,
    an_order_that_a_list_does_not_have_is_refused,
    a_walk_during_writes_sees_every_old_row_exactly_once,
    many_readers_at_once_all_get_their_turn,
);

fn ids(tasks: &[TaskView]) -> Vec<String> {
    tasks.iter().map(|task| task.spec.spec.id.to_string()).collect()
}

/// All pages of a job's tasks, each token through its text.
fn walk(reader: &dyn Reader, job: &str, mut query: Query<TaskProperty>) -> Vec<TaskView> {
    let mut all = Vec::new();
    loop {
        let page = reader.tasks(&account(), &job_id(job), &query).unwrap();
        assert!(page.items.len() <= usize::try_from(query.page_size).unwrap());
        all.extend(page.items);
        match page.next {
            None => return all,
            Some(next) => query.after = Some(PageCursor::decode(&next.encode()).unwrap()),
        }
    }
}

/// Tasks whose ids, sequence and times are each in an order of their own.
fn shuffled() -> Vec<Record> {
    let mut batch = vec![job("j", 1), job("empty", 2)];
    for index in 0..23_u64 {
        let id = format!("{}{}", if index % 2 == 0 { "T" } else { "t" }, index * 7 % 23);
        let [spec, state] = task("j", &id, 100 + index);
        batch.push(spec);
        let Record::TaskState(mut row) = state else { panic!("a task's second record is its state") };
        let seconds = i64::try_from(index * 5 % 4).unwrap();
        *row = TaskStateRow { state_since: at(seconds), modified: at(-seconds), ..*row };
        batch.push(Record::TaskState(row));
    }
    batch
}

fn a_walk_sees_every_row_once_in_order_whatever_the_page_size(world: &mut World) {
    world.commit(&shuffled());
    let reader = world.reader();
    for order in ["", "id", "id desc", "create_time desc", "state_transition_time", "update_time desc, id"] {
        let order: Vec<OrderBy<TaskProperty>> = parse_order(order).unwrap();
        let whole = walk(&*reader, "j", Query { order: order.clone(), ..Query::default() });
        assert_eq!(whole.len(), 23);
        for page_size in [1, 2, 7, 22, 23, 24] {
            let query = Query { order: order.clone(), page_size, ..Query::default() };
            assert_eq!(ids(&walk(&*reader, "j", query)), ids(&whole), "{order:?} by {page_size}");
        }
    }
    let by =
        |order: &str| walk(&*reader, "j", Query { order: parse_order(order).unwrap(), ..Query::default() });
    let created = by("");
    assert!(created.is_sorted_by_key(|task| task.spec.sequence));
    assert!(by("id").is_sorted_by_key(|task| task.spec.spec.id.clone()));
    let since = by("state_transition_time desc");
    assert!(since.is_sorted_by(|a, b| {
        (b.state.state_since, &b.spec.spec.id) <= (a.state.state_since, &a.spec.spec.id)
    }));
    assert!(walk(&*reader, "empty", Query::default()).is_empty());
}

fn jobs_are_listed_by_several_terms(world: &mut World) {
    let rows = [("a", 5, 3), ("B", 5, 1), ("c", -2, 2), ("d", 900, 4)].map(|(id, priority, sequence)| {
        let mut row = job_row(id, sequence);
        row.spec.priority = priority;
        Record::Job(Box::new(row))
    });
    world.commit(&rows);
    let reader = world.reader();
    for (order, expected) in [
        ("", ["a", "B", "c", "d"]),
        ("priority desc, create_time", ["d", "B", "a", "c"]),
        ("priority, create_time desc", ["c", "a", "B", "d"]),
        ("create_time", ["B", "c", "a", "d"]),
    ] {
        let mut query: Query<JobProperty> =
            Query { order: parse_order(order).unwrap(), page_size: 1, ..Query::default() };
        let mut seen = Vec::new();
        loop {
            let page = reader.jobs(&account(), &query).unwrap();
            seen.extend(page.items.iter().map(|job| job.spec.id.to_string()));
            query.after = page.next;
            if query.after.is_none() {
                break;
            }
        }
        assert_eq!(seen, expected, "{order}");
    }
}

fn nodes_are_listed_by_pool_and_files_by_prefix(world: &mut World) {
    world.commit(&everything());
    world.commit(&[
        Record::Node(Box::new(node_row("elsewhere", "spare"))),
        Record::File(file_row("scenes", "a/c.inc", 1)),
        Record::File(file_row("scenes", "A/d.inc", 2)),
        Record::File(file_row("scenes", "b", 3)),
        Record::File(file_row("films", "a/b.inc", 4)),
    ]);
    let reader = world.reader();
    let nodes = reader.nodes(&account(), &pool_id("farm"), &Query::default()).unwrap().items;
    let names: Vec<_> = nodes.iter().map(|node| node.id.as_str()).collect();
    assert_eq!(names, ["tvm-1_1", "tvm-1_2"]);
    let files = |filter: &str| -> Vec<_> {
        let query = Query { filter: parse_filter(filter).unwrap(), ..Query::default() };
        let page = reader.files(&account(), &container("scenes"), &query).unwrap();
        page.items.iter().map(|file| file.path.to_string()).collect()
    };
    assert_eq!(files(""), ["A/d.inc", "a/b.inc", "a/c.inc", "b"], "paths are ordered byte by byte");
    assert_eq!(files("path:a/"), ["a/b.inc", "a/c.inc"]);
    let containers = reader.containers(&account(), &Query::default()).unwrap().items;
    let names: Vec<_> = containers.iter().map(|container| container.name.as_str()).collect();
    assert_eq!(names, ["films", "scenes"]);
    let tokens = Query { filter: parse_filter("pool_id = FARM").unwrap(), ..Query::default() };
    assert_eq!(reader.tokens(&account(), &tokens).unwrap().items.len(), 1);
    let operators = Query { filter: parse_filter("is_operator = true").unwrap(), ..Query::default() };
    assert_eq!(reader.accounts(&operators).unwrap().items.len(), 1);
    assert_eq!(reader.pools(&account(), &Query::default()).unwrap().items.len(), 2);
}

fn a_token_used_with_another_list_is_refused_with_words(world: &mut World) {
    world.commit(&shuffled());
    let reader = world.reader();
    let first = Query { page_size: 5, ..Query::default() };
    let token = reader.tasks(&account(), &job_id("j"), &first).unwrap().next.unwrap();
    let id = |op, text: &str| Filter::compare(TaskProperty::Id, op, Value::Text(text.into())).unwrap();
    let others = [
        Query { filter: Some(id(Op::Prefix, "t")), after: Some(token.clone()), ..Query::default() },
        Query { order: parse_order("id").unwrap(), after: Some(token.clone()), ..Query::default() },
        Query {
            order: parse_order("create_time desc").unwrap(),
            after: Some(token.clone()),
            ..Query::default()
        },
    ];
    for other in others {
        let refused = reader.tasks(&account(), &job_id("j"), &other).unwrap_err();
        assert!(
            matches!(
                refused,
                StoreError::Query(QueryError::Cursor(CursorError::OtherQuery { resource: "tasks" }))
            ),
            "{refused}"
        );
        assert!(refused.to_string().contains("keep parent, filter and order_by the same"), "{refused}");
    }
    let same = Query { after: Some(token.clone()), ..Query::default() };
    assert!(reader.tasks(&account(), &job_id("empty"), &same).is_err(), "another job");
    assert!(reader.tasks(&account(), &job_id("nowhere"), &same).is_err(), "a job that is not there");
    assert!(reader.tasks(&AccountName::parse("stranger").unwrap(), &job_id("j"), &same).is_err());
    assert_eq!(reader.tasks(&account(), &job_id("J"), &same).unwrap().items.len(), 18);
    let jobs = Query { after: Some(token), ..Query::default() };
    assert!(reader.jobs(&account(), &jobs).is_err(), "another resource");
}

fn a_token_may_be_kept_while_rows_come_and_go(world: &mut World) {
    let mut batch = vec![job("j", 1)];
    for (sequence, id) in (2..).zip(["a", "c", "e", "g"]) {
        batch.extend(task("j", id, sequence));
    }
    world.commit(&batch);
    let reader = world.reader();
    let order = parse_order("id").unwrap();
    let query = Query { order, page_size: 2, ..Query::default() };
    let page = reader.tasks(&account(), &job_id("j"), &query).unwrap();
    assert_eq!(ids(&page.items), ["a", "c"]);
    let mut batch = vec![Record::TaskGone(account(), job_id("j"), task_id("c"))];
    batch.extend(task("j", "b", 10));
    batch.extend(task("j", "f", 11));
    world.commit(&batch);
    let query = Query { after: page.next, page_size: 10, ..query };
    let page = reader.tasks(&account(), &job_id("j"), &query).unwrap();
    assert_eq!(ids(&page.items), ["e", "f", "g"]);
    assert!(page.next.is_none());
}

fn an_order_that_a_list_does_not_have_is_refused(world: &mut World) {
    let order = vec![OrderBy { property: TaskProperty::ExitCode, descending: false }];
    let query = Query { order, ..Query::default() };
    let refused = world.reader().tasks(&account(), &job_id("j"), &query).unwrap_err().to_string();
    assert!(refused.contains("execution_info.exit_code") && refused.contains("create_time"), "{refused}");
    let order = vec![OrderBy { property: TaskProperty::Id, descending: false }; 5];
    let query = Query { order, ..Query::default() };
    assert!(world.reader().tasks(&account(), &job_id("j"), &query).is_err());
    let query = Query { filter: Some(Filter::And(Vec::new())), ..Query::default() };
    assert!(world.reader().tasks(&account(), &job_id("j"), &query).is_err());
}

fn a_walk_during_writes_sees_every_old_row_exactly_once(world: &mut World) {
    const OLD: u64 = 300;
    let mut batch = vec![job("j", 1)];
    for index in 0..OLD {
        batch.extend(task("j", &format!("old-{index:04}"), 10 + index));
    }
    world.commit(&batch);
    let reader = world.reader();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0_u64.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                // New rows among the old ones, some of which go again; old rows change and stay.
                let mut batch =
                    task("j", &format!("old-{:04}-{round}", round * 7 % OLD), 1_000 + round).to_vec();
                let changed = format!("old-{:04}", round * 13 % OLD);
                let row = TaskStateRow { revision: round, ..task_state("j", &changed) };
                batch.push(Record::TaskState(Box::new(row)));
                if round > 0 {
                    let gone = format!("old-{:04}-{}", (round - 1) * 7 % OLD, round - 1);
                    batch.push(Record::TaskGone(account(), job_id("j"), task_id(&gone)));
                }
                world.commit(&batch);
            }
        });
        for order in ["", "id", "id desc", "create_time desc"] {
            let query = Query { order: parse_order(order).unwrap(), page_size: 11, ..Query::default() };
            let mut seen: BTreeMap<String, usize> = BTreeMap::new();
            for id in ids(&walk(&*reader, "j", query)) {
                *seen.entry(id).or_default() += 1;
            }
            assert!(seen.values().all(|times| *times == 1), "{order}: a row was seen twice");
            let old = (0..OLD).filter(|index| seen.contains_key(&format!("old-{index:04}"))).count();
            assert_eq!(u64::try_from(old).unwrap(), OLD, "{order}: an old row was missed");
        }
        stop.store(true, Ordering::Relaxed);
    });
}

fn many_readers_at_once_all_get_their_turn(world: &mut World) {
    world.commit(&shuffled());
    let reader = world.reader();
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                for _ in 0..20 {
                    let query = Query { page_size: 7, ..Query::default() };
                    assert_eq!(walk(&*reader, "j", query).len(), 23);
                }
            });
        }
    });
}

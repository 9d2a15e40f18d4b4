//! Random rows, filters, orders and page sizes: SQL answers what the filters mean, and their text reads back.
//!
//! The memory store's answer is the meaning: it evaluates filters row by row. Values come from small sets, so that
//! comparisons are often level, absent or alike but for their case.

use crate::fixture::*;
use muster_controller_core::record::{
    EndedMembers, JobNodeRow, JobNodeTask, JobRow, NodeRow, Record, SweepRow, SweepStateRow, TaskSpecRow,
    TaskStateRow,
};
use muster_model::node::StartTaskInfo;
use muster_model::state::*;
use muster_model::*;
use muster_store::query::{
    Comparison, Filter, JobNodeProperty, JobProperty, Kind, NodeProperty, Op, OrderBy, Page, Property, Query,
    SweepProperty, TaskProperty, Value, parse_filter,
};
use muster_store::{MemoryStore, Reader, SqliteStore, Store, StoreError};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use std::fmt::Debug;

const TEXTS: &[&str] =
    &["", "a", "A", "ab", "aB", "b", "Zz", "z", "[", "@", "_", "ä", "Ä", "a b", "a\"b\\", "*"];
const IDS: &[&str] = &["a", "B", "ab", "Ab-q", "aB-2q", "b_", "z", "Z9", "-", "_"];
/// Sweeps whose members' ids lie among those above and among each other.
const SWEEPS: &[&str] = &["A", "ab", "a-1"];

fn times() -> impl Strategy<Value = Timestamp> {
    (0_i64..4).prop_map(at)
}

fn value(kind: Kind) -> BoxedStrategy<String> {
    match kind {
        Kind::Id => prop_oneof![
            select(IDS).prop_map(str::to_owned),
            (select(SWEEPS), 0_u8..14).prop_map(|(sweep, number)| format!("{sweep}-{number:02}")),
            select(SWEEPS).prop_map(str::to_owned),
        ]
        .boxed(),
        Kind::Text | Kind::Path => select(TEXTS).prop_map(str::to_owned).boxed(),
        Kind::OneOf(parse) => {
            let names = [
                "active",
                "completed",
                "running",
                "idle",
                "enabled",
                "disabled",
                "success",
                "failure",
                "exit-code",
                "node-lost",
                "terminating",
                "unknown",
            ];
            let names: Vec<_> = names.into_iter().filter(|name| parse(name).is_ok()).collect();
            select(names).prop_map(str::to_owned).boxed()
        }
        Kind::Integer => (-2_i64..9).prop_map(|number| number.to_string()).boxed(),
        Kind::Time => (0_u8..4).prop_map(|second| format!("2026-01-01T00:00:0{second}Z")).boxed(),
        Kind::Boolean => any::<bool>().prop_map(|truth| truth.to_string()).boxed(),
    }
}

fn comparison<P: Property>() -> impl Strategy<Value = Filter<P>> {
    (select(P::ALL), any::<Index>()).prop_flat_map(|(property, op)| {
        let op = *op.get(property.kind().ops());
        value(property.kind()).prop_map(move |text| {
            // Text with '*' is no id and a prefix drops one: make those values directly.
            let comparison = match property.kind() {
                Kind::Id | Kind::Text | Kind::Path => Comparison::new(property, op, Value::Text(text)),
                Kind::OneOf(_) | Kind::Integer | Kind::Time | Kind::Boolean => {
                    Comparison::from_text(property, op, &text)
                }
            };
            Filter::Compare(comparison.unwrap())
        })
    })
}

fn filter<P: Property>() -> impl Strategy<Value = Filter<P>> {
    comparison().prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 2..4).prop_map(Filter::And),
            vec(inner.clone(), 2..4).prop_map(Filter::Or),
            inner.prop_map(|filter| Filter::Not(Box::new(filter))),
        ]
    })
}

fn query<P: Property>() -> impl Strategy<Value = Query<P>> {
    let orderable: Vec<P> = P::ALL.iter().copied().filter(|property| property.orderable()).collect();
    let term = (select(orderable), any::<bool>())
        .prop_map(|(property, descending)| OrderBy { property, descending });
    (option::weighted(0.9, filter()), vec(term, 0..3), 1_u32..6)
        .prop_map(|(filter, order, page_size)| Query { filter, order, page_size, after: None })
}

prop_compose! {
    fn tasks()(rows in vec(
        (
            (select(IDS), select(TEXTS), times(), select(TaskState::ALL), times(), times()),
            (option::of(select(IDS)), option::of(times()), option::of(-2_i32..3)),
            (option::of(select(ExecutionResult::ALL)), option::of(select(&[Cause::ExitCode, Cause::NodeLost][..]))),
        ),
        0..9,
    )) -> Vec<(TaskSpecRow, TaskStateRow)> {
        let rows = rows.into_iter().enumerate().map(|(index, (a, b, c))| {
            let (id, name, created, state, since, modified) = a;
            let (node, time, code) = b;
            let (result, cause) = c;
            let mut spec = task_spec("j", id, u64::try_from(index).unwrap());
            spec.spec.display_name = name.to_owned();
            spec.created = created;
            let state = TaskStateRow {
                state, state_since: since, modified, result,
                node: node.map(node_id),
                retry_count: code.map_or(0, i32::unsigned_abs),
                requeue_count: u32::from(node.is_some()),
                started: time,
                ended: time.filter(|_| code.is_some()),
                exit_code: code,
                failure: cause.map(|cause| FailureInfo::new(cause, "failed")),
                ..task_state("j", id)
            };
            (spec, state)
        });
        rows.collect()
    }
}

/// What becomes of each member of a sweep: it waits, it ended in one of two groups, it is a task, or it was deleted.
#[derive(Debug, Clone, Copy)]
enum Lot {
    Pending,
    Ended(usize),
    Task(TaskState),
    Deleted,
}

#[derive(Debug, Clone)]
struct SweepCase {
    row: SweepRow,
    lots: Vec<Lot>,
    at: Timestamp,
}

fn lots() -> impl Strategy<Value = Vec<Lot>> {
    let lot = prop_oneof![
        4 => Just(Lot::Pending),
        2 => (0_usize..2).prop_map(Lot::Ended),
        2 => select(TaskState::ALL).prop_map(Lot::Task),
        1 => Just(Lot::Deleted),
    ];
    vec(lot, 1..12)
}

prop_compose! {
    fn sweeps()(cases in vec((lots(), times(), times(), any::<bool>(), 1_u64..5, 0_u64..8), 0..4)) -> Vec<SweepCase> {
        let cases = cases.into_iter().zip(SWEEPS).enumerate().map(|(place, ((lots, created, at, named, step, first), id))| {
            let count = u64::try_from(lots.len()).unwrap();
            // Between the plain tasks, which have every thirtieth sequence number.
            let mut row = sweep_row("j", id, u64::try_from(place).unwrap() * 60 + 35, count);
            row.created = created;
            row.spec.template.display_name = if named { "A{i}".to_owned() } else { "ab".to_owned() };
            let end = first + (count - 1) * step;
            row.spec.axes = vec![muster_model::spec::Axis::Range { name: "i".into(), start: first, end, step }];
            SweepCase { row, lots, at }
        });
        cases.collect()
    }
}

impl SweepCase {
    fn records(&self) -> Vec<Record> {
        let id = self.row.spec.id.as_str();
        let mut state = SweepStateRow { modified: self.at, ..sweep_state("j", id, 0) };
        let results = [ExecutionResult::Success, ExecutionResult::Failure];
        state.ended = results
            .map(|result| EndedMembers {
                members: IndexSet::default(),
                at: self.at,
                result,
                failure: (result == ExecutionResult::Failure)
                    .then(|| FailureInfo::new(Cause::Terminated, "ended")),
            })
            .to_vec();
        let mut records = vec![Record::Sweep(Box::new(self.row.clone()))];
        let mut members = Vec::new();
        for (index, lot) in (0..).zip(&self.lots) {
            match lot {
                Lot::Pending => state.pending.insert(index, index),
                Lot::Ended(group) => state.ended[*group].members.insert(index, index),
                Lot::Deleted => {}
                Lot::Task(task) => {
                    let [member, Record::TaskState(mut row)] = running_member(&self.row, index) else {
                        panic!()
                    };
                    row.state = *task;
                    row.result =
                        (*task == TaskState::Completed).then_some(results[usize::from(index % 2 == 0)]);
                    row.modified = self.at;
                    members.extend([member, Record::TaskState(row)]);
                }
            }
        }
        records.push(Record::SweepState(Box::new(state)));
        records.extend(members);
        records
    }
}

prop_compose! {
    fn job_nodes()(rows in vec((select(IDS), select(IDS), option::of(times()), option::of(-2_i32..3),
        option::of((select(JobNodeTaskState::ALL), option::of(select(ExecutionResult::ALL))))), 0..9)) -> Vec<JobNodeRow> {
        let rows = rows.into_iter().map(|(node, pool, time, exit_code, release)| {
            let mut row = job_node_row("j", node);
            row.pool = pool_id(pool);
            row.preparation = JobNodeTask { started: time, ended: time, exit_code, ..row.preparation };
            row.release = release.map(|(state, result)| JobNodeTask { state, result, ..row.preparation.clone() });
            row
        });
        rows.collect()
    }
}

prop_compose! {
    fn jobs()(rows in vec(
        (select(IDS), select(TEXTS), select(IDS), -2_i32..3, select(JobState::ALL), times(), option::of(times())),
        0..9,
    )) -> Vec<JobRow> {
        let rows = rows.into_iter().enumerate().map(|(index, (id, name, pool, priority, state, time, ended))| {
            let mut row = job_row(id, u64::try_from(index).unwrap());
            row.spec.display_name = name.to_owned();
            row.spec.pool = pool_id(pool);
            row.spec.priority = priority;
            JobRow { state, created: time, state_since: time, modified: time, ended, ..row }
        });
        rows.collect()
    }
}

prop_compose! {
    fn nodes()(rows in vec(
        (select(IDS), select(NodeState::ALL), select(SchedulingState::ALL), times(), times(),
         option::of((select(StartTaskState::ALL), times(), option::of(times()), option::of(-2_i32..3),
                     option::of(select(ExecutionResult::ALL))))),
        0..9,
    )) -> Vec<NodeRow> {
        let rows = rows.into_iter().map(|(id, state, scheduling, since, joined, start)| {
            let mut row = node_row(id, "p");
            row.facts.boot_time = joined;
            let start_task = start.map(|(state, start_time, end_time, exit_code, result)| StartTaskInfo {
                state, start_time, end_time, exit_code, result, retry_count: 0, failure: None,
            });
            NodeRow { state, scheduling, state_since: since, joined, start_task, ..row }
        });
        rows.collect()
    }
}

/// All pages of a list, at most as many as there can be.
fn walk<P: Property, T: Debug>(
    query: &Query<P>,
    list: impl Fn(&Query<P>) -> Result<Page<T>, StoreError>,
) -> Vec<String> {
    let mut query = query.clone();
    let mut all = Vec::new();
    for _ in 0..60 {
        let page = list(&query).unwrap();
        all.extend(page.items.iter().map(|row| format!("{row:?}")));
        query.after = page.next;
        if query.after.is_none() {
            return all;
        }
    }
    panic!("the walk does not end: {query:?}");
}

fn check<P: Property, T: Debug>(
    records: &[Record],
    query: &Query<P>,
    list: impl Fn(&dyn Reader, &Query<P>) -> Result<Page<T>, StoreError>,
) -> Result<(), TestCaseError> {
    let mut memory = MemoryStore::new();
    memory.commit(records).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut sqlite = SqliteStore::open(&folder.path().join("muster.db")).unwrap();
    sqlite.commit(records).unwrap();
    let (memory, sqlite) = (memory.reader(), sqlite.reader());
    let meant = walk(query, |query| list(&*memory, query));
    prop_assert_eq!(walk(query, |query| list(&*sqlite, query)), meant);
    if let Some(filter) = &query.filter {
        let text = filter.to_string();
        prop_assert_eq!(
            parse_filter::<P>(&text).map_err(|error| error.to_string()),
            Ok(query.filter.clone()),
            "{}",
            text
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sql_and_meaning_agree_on_tasks(rows in tasks(), query in query::<TaskProperty>()) {
        let mut records = vec![job("j", 0)];
        for (spec, state) in rows {
            records.push(Record::TaskSpec(Box::new(spec)));
            records.push(Record::TaskState(Box::new(state)));
        }
        check(&records, &query, |reader, query| reader.tasks(&account(), &job_id("j"), query))?;
    }

    #[test]
    fn sql_and_meaning_agree_on_tasks_and_members_of_sweeps(
        rows in tasks(), cases in sweeps(), gone in option::weighted(0.2, 0_usize..3), query in query::<TaskProperty>(),
    ) {
        let mut records = vec![job("j", 0)];
        for (mut spec, state) in rows {
            // Some of them between the sweeps.
            spec.sequence *= 30;
            records.push(Record::TaskSpec(Box::new(spec.clone())));
            // Nothing has happened to some.
            if spec.sequence % 90 != 0 {
                records.push(Record::TaskState(Box::new(state)));
            }
        }
        records.extend(cases.iter().flat_map(SweepCase::records));
        if let Some(case) = gone.and_then(|place| cases.get(place)) {
            records.push(Record::SweepGone(account(), job_id("j"), case.row.spec.id.clone()));
        }
        check(&records, &query, |reader, query| reader.tasks(&account(), &job_id("j"), query))?;
    }

    #[test]
    fn sql_and_meaning_agree_on_sweeps(cases in sweeps(), query in query::<SweepProperty>()) {
        let mut records = vec![job("j", 0)];
        records.extend(cases.iter().flat_map(SweepCase::records));
        check(&records, &query, |reader, query| reader.sweeps(&account(), &job_id("j"), query))?;
    }

    #[test]
    fn sql_and_meaning_agree_on_job_preparations(rows in job_nodes(), query in query::<JobNodeProperty>()) {
        let mut records = vec![job("j", 0)];
        records.extend(rows.into_iter().map(|row| Record::JobNode(Box::new(row))));
        check(&records, &query, |reader, query| reader.job_nodes(&account(), &job_id("j"), query))?;
    }

    #[test]
    fn sql_and_meaning_agree_on_jobs(rows in jobs(), query in query::<JobProperty>()) {
        let records: Vec<_> = rows.into_iter().map(|row| Record::Job(Box::new(row))).collect();
        check(&records, &query, |reader, query| reader.jobs(&account(), query))?;
    }

    #[test]
    fn sql_and_meaning_agree_on_nodes(rows in nodes(), query in query::<NodeProperty>()) {
        let records: Vec<_> = rows.into_iter().map(|row| Record::Node(Box::new(row))).collect();
        check(&records, &query, |reader, query| reader.nodes(&account(), &pool_id("p"), query))?;
    }
}

#[test]
fn a_comparison_of_the_wrong_kind_cannot_be_made() {
    for (op, value) in [
        (Op::Prefix, Value::Integer(1)),
        (Op::Equal, Value::Text("1".into())),
        (Op::Equal, Value::Boolean(true)),
    ] {
        assert!(Comparison::new(TaskProperty::ExitCode, op, value).is_err());
    }
    assert!(Comparison::new(TaskProperty::Id, Op::Equal, Value::Text("a\0b".into())).is_err());
    assert!(Comparison::new(TaskProperty::State, Op::Equal, Value::Name("idle")).is_err());
    assert!(Comparison::new(TaskProperty::CreateTime, Op::Less, Value::Time(Timestamp::FAR_FUTURE)).is_err());
}

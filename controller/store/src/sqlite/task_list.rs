//! Pages of tasks: rows, and members of sweeps that have none, in one order.
//!
//! Members come from `member`, at the cost of what is on the page. Rows are looked for where few are: tasks under way and
//! failures have indexes of their own, a sweep's members lie together in both orders that have an index, and a task whose
//! state has no row is no member, since a member comes with its state. Everything else walks the job's tasks in the list's order.

use super::list::{Source, rows};
use super::resolve::JobAt;
use super::row::{Cells, unreadable};
use super::template::Templates;
use super::{fault::fault, row_sweep, row_task};
use crate::member::{self, Untouched};
use crate::port::StoreError;
use crate::query::{Comparison, Filter, Op, Page, Place, Plan, TaskProperty, Value};
use crate::view::TaskView;
use muster_model::state::{ExecutionResult, TaskState};
use rusqlite::types::Value as Bound;

/// All tasks with rows.
const ALL: &str = "task t LEFT JOIN task_state s ON s.key = t.key";
/// Tasks that something has happened to and that are not completed.
const ALIVE: &str = "task_state s INDEXED BY task_alive CROSS JOIN task t ON t.key = s.key";
/// Tasks that have failed for good.
const FAILED: &str = "task_state s INDEXED BY task_failed CROSS JOIN task t ON t.key = s.key";
/// For filters by sweep.
const WITH_SWEEP: &str = " LEFT JOIN sweep w ON w.key = t.sweep";
/// Leaves out what deleted sweeps have left.
const NO_LEFTOVERS: &str =
    " AND (t.sweep IS NULL OR NOT EXISTS (SELECT 1 FROM dead_sweep d WHERE d.key = t.sweep))";

/// Failures of a job that are sorted rather than found on a walk by id: beyond this they are so many that a walk soon
/// meets them.
const FAILURES_SORTED_MAX: u32 = 20_000;

/// Which part of a job's rows is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    All,
    /// Under way, or waiting after something has happened.
    Alive,
    Failed,
    /// Nothing has happened to them.
    Fresh,
}

/// One page of a job's tasks.
pub(super) fn tasks(
    at: JobAt<'_>,
    templates: &Templates,
    plan: &Plan<'_, TaskProperty>,
) -> Result<Page<TaskView>, StoreError> {
    let lister = Lister { at, templates, plan };
    let sweeps = lister.sweeps()?;
    let members = member::first(plan, &sweeps);
    let until =
        if members.len() > plan.limit { members.last().map(|last| last.places.clone()) } else { None };
    let rows = lister.rows(until.as_deref())?;
    member::page(plan, rows, members, |found| lister.view(found))
}

struct Lister<'r, 'q> {
    at: JobAt<'r>,
    templates: &'r Templates,
    plan: &'r Plan<'q, TaskProperty>,
}

impl Lister<'_, '_> {
    /// The sweeps of the job that have members without rows, as far as they can be on the page.
    fn sweeps(&self) -> Result<Vec<Untouched>, StoreError> {
        const DOING: &str = "reading the sweeps of a job";
        let JobAt { connection, account, id: job, key } = self.at;
        let sql = format!(
            "SELECT {}, {} FROM sweep w JOIN sweep_state x ON x.key = w.key
             WHERE w.job = ?1 AND x.untouched > 0 AND (?2 IS NULL OR w.id = ?2)
              AND (?3 IS NULL OR w.sequence + w.count > ?3) AND (?4 IS NULL OR w.sequence < ?4)",
            row_sweep::OUTLINE,
            row_sweep::SWEEP_STATE
        );
        let names_asked = self.plan.filter.is_some_and(|f| mentions(f, &[TaskProperty::DisplayName]));
        let (behind, before) = self.sequence_bounds();
        let mut statement = connection.prepare_cached(&sql).map_err(fault(DOING))?;
        let mut rows = statement.query((key, self.sweep_asked(), behind, before)).map_err(fault(DOING))?;
        let mut sweeps = Vec::new();
        while let Some(row) = rows.next().map_err(fault(DOING))? {
            let mut cells = Cells::new(row);
            let read = row_sweep::outline(account, job, &mut cells).and_then(|(key, outline)| {
                let state = row_sweep::sweep_state(account, job, &outline.id, &mut cells)?;
                Ok((key, outline, state))
            });
            let (key, outline, state) = read.map_err(|error| unreadable("sweep", row, error))?;
            let template = if names_asked && outline.names_differ() {
                self.templates.get(connection, account, job, key)?
            } else {
                None
            };
            sweeps.push(Untouched { key, outline, state, template });
        }
        Ok(sweeps)
    }

    /// Of which sweep all tasks must be that the filter takes.
    fn sweep_asked(&self) -> Option<&str> {
        fn asked(filter: &Filter<TaskProperty>) -> Option<&str> {
            match filter {
                Filter::Compare(comparison) => {
                    match (comparison.property(), comparison.op(), comparison.value()) {
                        (TaskProperty::SweepId, Op::Equal, Value::Text(sweep)) => Some(sweep),
                        _ => None,
                    }
                }
                Filter::And(parts) => parts.iter().find_map(asked),
                Filter::Or(_) | Filter::Not(_) => None,
            }
        }
        self.plan.filter.and_then(asked)
    }

    fn first_term(&self) -> Option<(TaskProperty, bool)> {
        self.plan.terms.first().map(|term| (term.property, term.descending))
    }

    /// Which sequence numbers the page is behind and before, when the list is in their order.
    fn sequence_bounds(&self) -> (Option<i64>, Option<i64>) {
        let place = self.plan.after.and_then(<[Place]>::first);
        match (self.first_term(), place) {
            (Some((TaskProperty::CreateTime, false)), Some(Place::Integer(place))) => (Some(*place), None),
            (Some((TaskProperty::CreateTime, true)), Some(Place::Integer(place))) => (None, Some(*place)),
            _ => (None, None),
        }
    }

    fn in_sequence(&self) -> bool {
        matches!(self.first_term(), Some((TaskProperty::CreateTime, _)))
    }

    /// The rows of the page, with one more when there is one.
    fn rows(&self, until: Option<&[Place]>) -> Result<Vec<TaskView>, StoreError> {
        let filter = self.plan.filter;
        if filter.is_some_and(|filter| implies(filter, &is_not_completed)) {
            let alive = self.part(Part::Alive, until, &[])?;
            if filter.is_some_and(|filter| implies(filter, &is_under_way)) {
                return Ok(alive);
            }
            let fresh = self.fresh(until)?;
            return Ok(self.merged(alive, fresh));
        }
        let failed = filter.is_some_and(|filter| implies(filter, &is_failure));
        if failed && (self.in_sequence() || self.at.failures(FAILURES_SORTED_MAX)? < FAILURES_SORTED_MAX) {
            return self.part(Part::Failed, until, &[]);
        }
        self.part(Part::All, until, &[])
    }

    fn merged(&self, mut left: Vec<TaskView>, right: Vec<TaskView>) -> Vec<TaskView> {
        left.extend(right);
        left.sort_by_cached_key(|row| InOrder { places: self.plan.places(row), plan: self.plan });
        left.truncate(self.plan.limit.saturating_add(1));
        left
    }

    /// Tasks that nothing has happened to. In the order of creation the sequence numbers of sweeps, where there are none,
    /// are stepped over.
    fn fresh(&self, until: Option<&[Place]>) -> Result<Vec<TaskView>, StoreError> {
        if self.sweep_asked().is_some() {
            // A member that nothing has happened to has no row.
            return Ok(Vec::new());
        }
        if !self.in_sequence() {
            return self.part(Part::Fresh, until, &[]);
        }
        let mut gaps = Vec::new();
        let mut next = i64::MIN;
        for (first, last) in self.at.sweep_ranges()? {
            gaps.push((next, first.saturating_sub(1)));
            next = last.saturating_add(1);
        }
        gaps.push((next, i64::MAX));
        if self.first_term().is_some_and(|(_, descending)| descending) {
            gaps.reverse();
        }
        let (behind, before) = self.sequence_bounds();
        let mut found = Vec::new();
        for (first, last) in gaps {
            let passed = first > last
                || behind.is_some_and(|place| last < place)
                || before.is_some_and(|place| first > place);
            if passed {
                continue;
            }
            found.extend(self.part(Part::Fresh, until, &[(" >= ", first), (" <= ", last)])?);
            if found.len() > self.plan.limit {
                found.truncate(self.plan.limit.saturating_add(1));
                break;
            }
        }
        Ok(found)
    }

    /// The rows of one part, as the filter and the page take them.
    fn part(
        &self,
        part: Part,
        until: Option<&[Place]>,
        sequences: &[(&'static str, i64)],
    ) -> Result<Vec<TaskView>, StoreError> {
        let JobAt { connection, account, id: job, key } = self.at;
        let by_state = matches!(part, Part::Alive | Part::Failed);
        let (parent, sequence) = if by_state { ("s.job", "s.sequence") } else { ("t.job", "t.sequence") };
        let columns = format!("{}, {}", row_task::TASK_SPEC, row_task::TASK_STATE);
        let sweep_asked = self
            .plan
            .filter
            .is_some_and(|f| mentions(f, &[TaskProperty::SweepId, TaskProperty::SweepNumber]));
        let from = match part {
            Part::All | Part::Fresh => ALL,
            Part::Alive => ALIVE,
            Part::Failed => FAILED,
        };
        let from = format!("{from}{}", if sweep_asked { WITH_SWEEP } else { "" });
        let mut source = Source::of("task", &columns, &from, [(parent, Bound::Integer(key))]);
        source.also = conditions(part, self.at.has_leftovers()?);
        source.until = until;
        if by_state {
            source.order = order_by_state;
        }
        source.within.extend(sequences.iter().map(|(op, number)| (sequence, *op, Bound::Integer(*number))));
        if let Some(sweep) = self.sweep_asked() {
            let Some(bounds) = self.at.sweep_bounds(sweep)? else { return Ok(Vec::new()) };
            if matches!(self.first_term(), Some((TaskProperty::Id, _))) && !by_state {
                let text = |id: &muster_model::TaskId| Bound::Text(id.as_str().to_owned());
                source.within.push(("t.id", " >= ", text(&bounds.ids.0)));
                source.within.push(("t.id", " <= ", text(&bounds.ids.1)));
            } else {
                source.within.push((sequence, " >= ", Bound::Integer(bounds.sequences.0)));
                source.within.push((sequence, " <= ", Bound::Integer(bounds.sequences.1)));
            }
        }
        let find = |key| self.templates.get(connection, account, job, key);
        rows(connection, self.plan, &source, |cells| row_task::task(account, job, &find, cells))
    }

    /// A member on the page as a task.
    fn view(&self, found: &member::Found<'_>) -> Result<TaskView, StoreError> {
        let JobAt { connection, account, id: job, .. } = self.at;
        let damaged =
            || StoreError::Damaged { doing: "reading a member whose sweep is not there", cause: None };
        let template = self.templates.get(connection, account, job, found.sweep.key)?.ok_or_else(damaged)?;
        Ok(member::view(&template, found.index, found.fate))
    }
}

/// A row's places, which compare as the list orders.
struct InOrder<'p, 'q> {
    places: Vec<Place>,
    plan: &'p Plan<'q, TaskProperty>,
}

impl Ord for InOrder<'_, '_> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        crate::query::compare_places(&self.plan.terms, &self.places, &other.places)
    }
}

impl PartialOrd for InOrder<'_, '_> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for InOrder<'_, '_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for InOrder<'_, '_> {}

/// What holds for a part beside the parent: what its index is for, and that deleted sweeps' rows are left out.
const fn conditions(part: Part, leftovers: bool) -> [&'static str; 2] {
    let first = match part {
        Part::All => "",
        Part::Alive => " AND s.state <> 4",
        Part::Failed => " AND s.result = 2",
        Part::Fresh => " AND s.key IS NULL",
    };
    [first, if leftovers { NO_LEFTOVERS } else { "" }]
}

/// The partial indexes hold the sequence numbers of their tasks.
fn order_by_state(property: TaskProperty) -> &'static str {
    use super::columns::Stored as _;
    if property == TaskProperty::CreateTime { "s.sequence" } else { property.order_column() }
}

/// Whether a filter can only take rows that satisfy a comparison for which `test` holds.
fn implies(filter: &Filter<TaskProperty>, test: &dyn Fn(&Comparison<TaskProperty>) -> bool) -> bool {
    match filter {
        Filter::Compare(comparison) => test(comparison),
        Filter::And(parts) => parts.iter().any(|part| implies(part, test)),
        Filter::Or(parts) => parts.iter().all(|part| implies(part, test)),
        Filter::Not(_) => false,
    }
}

fn mentions(filter: &Filter<TaskProperty>, properties: &[TaskProperty]) -> bool {
    match filter {
        Filter::Compare(comparison) => properties.contains(&comparison.property()),
        Filter::And(parts) | Filter::Or(parts) => parts.iter().any(|part| mentions(part, properties)),
        Filter::Not(inner) => mentions(inner, properties),
    }
}

fn state_of(comparison: &Comparison<TaskProperty>) -> Option<(Op, TaskState)> {
    match (comparison.property(), comparison.value()) {
        (TaskProperty::State, Value::Name(name)) => Some((comparison.op(), TaskState::parse(name).ok()?)),
        _ => None,
    }
}

fn is_not_completed(comparison: &Comparison<TaskProperty>) -> bool {
    match state_of(comparison) {
        Some((Op::Equal, state)) => state != TaskState::Completed,
        Some((op, state)) => op == Op::NotEqual && state == TaskState::Completed,
        None => false,
    }
}

fn is_under_way(comparison: &Comparison<TaskProperty>) -> bool {
    matches!(state_of(comparison), Some((Op::Equal, TaskState::Preparing | TaskState::Running)))
}

fn is_failure(comparison: &Comparison<TaskProperty>) -> bool {
    comparison.property() == TaskProperty::Result
        && comparison.op() == Op::Equal
        && *comparison.value() == Value::Name(ExecutionResult::Failure.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Coded as _;

    #[test]
    fn the_codes_in_the_texts_of_sql_are_those_of_the_codec() {
        assert_eq!((TaskState::Completed.code(), TaskState::Active.code()), (4, 1));
        assert_eq!(ExecutionResult::Failure.code(), 2);
    }

    #[test]
    fn only_what_every_taken_row_satisfies_is_implied() {
        let filter = |text: &str| crate::query::parse_filter::<TaskProperty>(text).unwrap().unwrap();
        assert!(implies(&filter("id:a AND (state = running OR state = preparing)"), &is_under_way));
        assert!(!implies(&filter("id:a OR state = running"), &is_under_way));
        assert!(!implies(&filter("NOT state = running"), &is_under_way));
        assert!(implies(&filter("state != completed"), &is_not_completed));
        assert!(implies(&filter("execution_info.result = failure"), &is_failure));
        assert!(!implies(&filter("execution_info.result != failure"), &is_failure));
    }
}

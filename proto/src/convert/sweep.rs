//! Sweeps: inwards with all checks, also of how values and template fit together, outwards what users set.
//!
//! Everything about a sweep that can be known at submission is refused here: names, numbers, sizes, placeholders without a
//! parameter, values that leave a directory. What only a single member shows (a path that grew too long) fails that member's
//! attempt. Counts and times of a sweep are added by whoever answers it.

use muster_model::spec::{Axis, FileDestination, FileSource, SweepSpec, TaskSpec};
use muster_model::{FilePath, JobId, RequestId, SweepId, limits};

use super::common::{job_id, request_id};
use super::dependency::{numbers, sweep_id};
use super::task::task_spec;
use super::violation::{Checker, FieldErrors, Problem, shown};
use crate::placeholder::{self, Piece, UnknownPlaceholder};
use crate::{command_line, wire};
use wire::sweep_axis::Values;

/// The parameter of a range that names none.
const PARAMETER_DEFAULT: &str = "i";
/// Starts the name of the environment variable that holds a parameter's value.
const PARAMETER_VARIABLE: &str = "MUSTER_PARAM_";
const NAME_RULE: &str = "1 to 64 letters, digits and '_', not starting with a digit";
const URL_RULE: &str = "no blanks and control characters, and where it begins the URL, https://host";

impl TryFrom<wire::Sweep> for SweepSpec {
    type Error = FieldErrors;

    fn try_from(sweep: wire::Sweep) -> Result<Self, FieldErrors> {
        let mut checker = Checker::new();
        let spec = checker.at("sweep", |c| sweep_spec(c, sweep));
        checker.finish(spec)
    }
}

/// A sweep, with the path of the checker at it.
fn sweep_spec(checker: &mut Checker, sweep: wire::Sweep) -> Option<SweepSpec> {
    let id = checker.at("id", |c| c.keep(SweepId::parse(&sweep.id)));
    let clean = checker.problems();
    let axes = axes(checker, sweep.axes);
    let all_axes = checker.problems() == clean;
    let names: Vec<String> = axes.iter().flat_map(Axis::names).map(str::to_owned).collect();
    let template =
        checker.required("template", sweep.template, "describe the task with {name} where values go");
    let template = template.and_then(|template| template_spec(checker, template, id.as_ref(), &names));
    let (id, template) = (id?, template?);
    // With an axis left out, its parameters would seem to be unknown.
    if all_axes {
        let uses = uses(checker, &template, &names);
        values_fit(checker, &axes, &uses);
    }
    Some(SweepSpec { id, template, axes })
}

/// The template: a task whose id is the sweep's.
fn template_spec(
    checker: &mut Checker,
    mut template: wire::Task,
    id: Option<&SweepId>,
    names: &[String],
) -> Option<TaskSpec> {
    checker.at("template", |c| {
        match id {
            Some(id) => {
                if !template.id.is_empty() && !template.id.eq_ignore_ascii_case(id.as_str()) {
                    c.note_at("id", Problem::Conflict { other: "sweep.id, which names all members" });
                }
                id.as_str().clone_into(&mut template.id);
            }
            // The sweep's own id is wrong and noted: the template is looked at under one that is not.
            None => PARAMETER_DEFAULT.clone_into(&mut template.id),
        }
        c.template(names.to_vec(), |c| task_spec(c, template))
    })
}

// ------------------------------------------------------------------------------------------------ axes

fn axes(checker: &mut Checker, axes: Vec<wire::SweepAxis>) -> Vec<Axis> {
    if axes.is_empty() {
        checker.note_at("axes", Problem::Missing { hint: "give a range or a table of values" });
    }
    let axes: Vec<Axis> = checker.each("axes", axes, limits::SWEEP_PARAMETERS_MAX, |c, axis| {
        match c.required("values", axis.values, "set range or table")? {
            Values::Range(range) => c.at("range", |c| self::range(c, range)),
            Values::Table(table) => c.at("table", |c| self::table(c, table)),
        }
    });
    checker.at("axes", |c| {
        let mut seen = std::collections::BTreeSet::new();
        for name in axes.iter().flat_map(Axis::names) {
            // Their environment variables are in capitals.
            if !seen.insert(name.to_ascii_uppercase()) {
                c.note(Problem::Duplicate { given: format!("the parameter {name:?}") });
            }
        }
        let too_long = |given, max, unit| (given > max).then_some(Problem::TooLong { given, max, unit });
        let count = axes.iter().map(Axis::len).fold(1, u64::saturating_mul);
        let as_size = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        let problems = [
            too_long(seen.len(), limits::SWEEP_PARAMETERS_MAX, "parameters"),
            too_long(
                values_bytes(&axes),
                limits::SWEEP_VALUES_BYTES_MAX,
                "bytes of values in all tables together",
            ),
            too_long(
                as_size(count),
                as_size(limits::SWEEP_TASKS_MAX),
                "combinations, each of which is a task",
            ),
        ];
        problems.into_iter().flatten().for_each(|problem| c.note(problem));
    });
    axes
}

/// The bytes of all values, and one more for each: rows of empty values take room too.
fn values_bytes(axes: &[Axis]) -> usize {
    let rows = axes.iter().flat_map(|axis| match axis {
        Axis::Range { .. } => &[],
        Axis::Table { rows, .. } => rows.as_slice(),
    });
    rows.flatten().map(|value| value.len().saturating_add(1)).fold(0, usize::saturating_add)
}

fn parameter(c: &mut Checker, name: String) -> Option<String> {
    if name.len() <= limits::SWEEP_PARAMETER_CHARS_MAX && placeholder::is_name(&name) {
        return Some(name);
    }
    c.note(Problem::NotName { given: shown(&name), rule: NAME_RULE });
    None
}

fn range(c: &mut Checker, range: wire::SweepRange) -> Option<Axis> {
    let wire::SweepRange { name, start, end, step } = range;
    let name = if name.is_empty() { PARAMETER_DEFAULT.to_owned() } else { name };
    let name = c.at("name", |c| parameter(c, name));
    if end < start {
        c.note(Problem::EmptyRange { start: start.into(), end: end.into() });
        return None;
    }
    if end > limits::SWEEP_NUMBER_MAX {
        let bound = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let (given, max) = (bound(end), bound(limits::SWEEP_NUMBER_MAX));
        c.note_at("end", Problem::OutOfRange { given, min: 0, max });
        return None;
    }
    Some(Axis::Range { name: name?, start, end, step: step.max(1) })
}

fn table(c: &mut Checker, table: wire::SweepTable) -> Option<Axis> {
    let wire::SweepTable { names, rows } = table;
    for (field, is_empty, hint) in [
        ("names", names.is_empty(), "name the columns"),
        ("rows", rows.is_empty(), "give at least one row of values"),
    ] {
        if is_empty {
            c.note_at(field, Problem::Missing { hint });
        }
    }
    let wanted = names.len();
    let names = c.each("names", names, limits::SWEEP_PARAMETERS_MAX, parameter);
    // A variable of the member's environment holds each value.
    let longest = names.iter().map(String::len).max().unwrap_or(0) + PARAMETER_VARIABLE.len();
    let max = limits::ENVIRONMENT_SETTING_BYTES_MAX - longest;
    let most = usize::try_from(limits::SWEEP_TASKS_MAX).unwrap_or(usize::MAX);
    let rows = c.each("rows", rows, most, |c, row| {
        let given = row.values.len();
        if given != wanted {
            c.note(Problem::RowLength { given, wanted });
            return None;
        }
        for (index, value) in row.values.iter().enumerate() {
            if value.len() > max {
                let problem = Problem::TooLong { given: value.len(), max, unit: "bytes in one value" };
                c.at_item("values", index, |c| c.note(problem));
            }
            if value.contains('\0') {
                c.at_item("values", index, |c| c.note(Problem::NulByte));
            }
        }
        Some(row.values)
    });
    // A wrong name is noted, and the table would not fit its rows without it.
    (names.len() == wanted && !names.is_empty() && !rows.is_empty()).then_some(Axis::Table { names, rows })
}

// ------------------------------------------------------------------------------------------------ template and values

/// Where in the template a parameter's values must have a form: the first such place of each kind.
#[derive(Debug, Default, Clone, Copy)]
struct Use {
    /// In a path.
    path: Option<&'static str>,
    /// In a URL.
    url: Option<&'static str>,
    /// At the start of a URL.
    url_start: Option<&'static str>,
}

/// Looks at every text of the template that values go into: notes names that are no parameters, and answers how each
/// parameter is used.
fn uses(checker: &mut Checker, template: &TaskSpec, names: &[String]) -> Vec<Use> {
    let mut walk = Walk { names, uses: vec![Use::default(); names.len()] };
    checker.at("template", |c| walk.task(c, template));
    walk.uses
}

/// What a text of the template becomes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Text {
    Plain,
    Path,
    Url,
}

struct Walk<'n> {
    names: &'n [String],
    uses: Vec<Use>,
}

impl Walk<'_> {
    fn task(&mut self, c: &mut Checker, task: &TaskSpec) {
        c.at("command_line", |c| match command_line::split(&task.command_line) {
            Ok(words) => {
                for word in &words {
                    self.text(c, Text::Plain, "command_line", word);
                }
            }
            Err(error) => c.note(error.into()),
        });
        self.field(c, "display_name", Text::Plain, &task.display_name);
        for (index, setting) in task.environment.iter().enumerate() {
            c.at_item("environment_settings", index, |c| self.field(c, "value", Text::Plain, &setting.value));
        }
        for (index, file) in task.resource_files.iter().enumerate() {
            c.at_item("resource_files", index, |c| {
                match &file.source {
                    FileSource::Http(url) => self.field(c, "http_url", Text::Url, url),
                    FileSource::FileStore { path, .. } => {
                        c.at("file_store", |c| self.field(c, "path", Text::Path, path.as_str()));
                    }
                    FileSource::FileStorePrefix { prefix, .. } => {
                        c.at("file_store_prefix", |c| self.field(c, "prefix", Text::Plain, prefix));
                    }
                }
                let path = file.file_path.as_ref().map_or("", FilePath::as_str);
                self.field(c, "file_path", Text::Path, path);
            });
        }
        for (index, file) in task.output_files.iter().enumerate() {
            c.at_item("output_files", index, |c| {
                self.field(c, "file_pattern", Text::Path, &file.pattern);
                let FileDestination::FileStore { path, .. } = &file.destination;
                let path = path.as_ref().map_or("", FilePath::as_str);
                c.at("file_store", |c| self.field(c, "path", Text::Path, path));
            });
        }
    }

    fn field(&mut self, c: &mut Checker, field: &'static str, kind: Text, text: &str) {
        c.at(field, |c| self.text(c, kind, field, text));
    }

    fn text(&mut self, c: &mut Checker, kind: Text, field: &'static str, text: &str) {
        let known = |name: &str| self.names.iter().any(|known| known == name);
        let pieces: Result<_, UnknownPlaceholder> = placeholder::parse(text, &known);
        let Some(pieces) = c.keep(pieces) else { return };
        for (place, piece) in pieces.into_iter().enumerate() {
            let Piece::Parameter(name) = piece else { continue };
            let used = self.names.iter().zip(&mut self.uses).find(|(known, _)| *known == name);
            let Some((_, used)) = used else { continue };
            match kind {
                Text::Plain => {}
                Text::Path => used.path = used.path.or(Some(field)),
                Text::Url if place == 0 => used.url_start = used.url_start.or(Some(field)),
                Text::Url => used.url = used.url.or(Some(field)),
            }
        }
    }
}

/// Notes every value of a table that cannot be used where the template uses it. Linear in the values.
fn values_fit(checker: &mut Checker, axes: &[Axis], uses: &[Use]) {
    let mut rest = uses;
    for (index, axis) in axes.iter().enumerate() {
        let (of_axis, others) = rest.split_at(axis.names().count().min(rest.len()));
        rest = others;
        let Axis::Table { rows, .. } = axis else { continue };
        let is_free = |used: &Use| used.path.is_none() && used.url.is_none() && used.url_start.is_none();
        if of_axis.iter().all(is_free) {
            continue;
        }
        checker.at_item("axes", index, |c| {
            c.at("table", |c| {
                for (row, values) in rows.iter().enumerate() {
                    for (column, (value, used)) in values.iter().zip(of_axis).enumerate() {
                        if let Some(problem) = misfit(value, *used) {
                            c.at_item("rows", row, |c| c.at_item("values", column, |c| c.note(problem)));
                        }
                    }
                }
            });
        });
    }
}

/// Why a value cannot be used as it is. Paths that are made of such values and a checked template stay inside their
/// folder: no part of one can become empty, `.` or `..`, and none can begin with '/'.
fn misfit(value: &str, used: Use) -> Option<Problem> {
    if let Some(place) = used.path
        && let Err(problem) = FilePath::parse(value)
    {
        return Some(Problem::ValueInPath { place, problem });
    }
    let has_blanks = || value.chars().any(|c| c.is_control() || c.is_whitespace());
    let is_wrong = |place: &'static str, wrong: bool| {
        wrong.then(|| Problem::ValueInUrl { given: shown(value), place, rule: URL_RULE })
    };
    used.url_start
        .and_then(|place| {
            is_wrong(place, super::file::http_url(&mut Checker::new(), value.to_owned()).is_none())
        })
        .or_else(|| used.url.and_then(|place| is_wrong(place, has_blanks())))
}

// ------------------------------------------------------------------------------------------------ outwards

impl From<&Axis> for wire::SweepAxis {
    fn from(axis: &Axis) -> Self {
        let values = match axis {
            Axis::Range { name, start, end, step } => {
                Values::Range(wire::SweepRange { name: name.clone(), start: *start, end: *end, step: *step })
            }
            Axis::Table { names, rows } => Values::Table(wire::SweepTable {
                names: names.clone(),
                rows: rows.iter().map(|values| wire::SweepRow { values: values.clone() }).collect(),
            }),
        };
        Self { values: Some(values) }
    }
}

impl From<&SweepSpec> for wire::Sweep {
    /// The sweep without its job's id, which is not part of the specification.
    fn from(spec: &SweepSpec) -> Self {
        Self {
            id: spec.id.to_string(),
            template: Some((&spec.template).into()),
            axes: spec.axes.iter().map(Into::into).collect(),
            ..Self::default()
        }
    }
}

// ------------------------------------------------------------------------------------------------ requests

/// A checked `CreateSweep`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSweep {
    /// The job.
    pub job: JobId,
    /// The sweep.
    pub spec: SweepSpec,
    /// Names the request.
    pub request_id: Option<RequestId>,
}

impl TryFrom<wire::CreateSweepRequest> for NewSweep {
    type Error = FieldErrors;

    fn try_from(request: wire::CreateSweepRequest) -> Result<Self, FieldErrors> {
        let mut checker = Checker::new();
        let c = &mut checker;
        let job = job_id(c, &request.job_id);
        let request_id = request_id(c, &request.request_id);
        let sweep = c.required("sweep", request.sweep, "describe the sweep");
        let spec = sweep.and_then(|sweep| c.at("sweep", |c| sweep_spec(c, sweep)));
        checker.finish(job.zip(spec).map(|(job, spec)| Self { job, spec, request_id }))
    }
}

/// A checked `TerminateSweep`, `ReactivateSweep` or `DeleteSweep`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweepTarget {
    /// The job.
    pub job: JobId,
    /// The sweep.
    pub sweep: SweepId,
    /// The first and the last number of the members that are meant; `None` for all, and always for a deletion.
    pub numbers: Option<(u64, u64)>,
    /// Names the request.
    pub request_id: Option<RequestId>,
}

impl SweepTarget {
    fn check(
        ids: (&str, &str),
        ends: (Option<u64>, Option<u64>),
        given_request_id: &str,
    ) -> Result<Self, FieldErrors> {
        let mut checker = Checker::new();
        let c = &mut checker;
        let job = job_id(c, ids.0);
        let sweep = sweep_id(c, ids.1);
        let numbers = numbers(c, ends.0, ends.1);
        let request_id = request_id(c, given_request_id);
        let target = job.zip(sweep).zip(numbers);
        checker.finish(target.map(|((job, sweep), numbers)| Self { job, sweep, numbers, request_id }))
    }
}

impl TryFrom<wire::TerminateSweepRequest> for SweepTarget {
    type Error = FieldErrors;

    fn try_from(request: wire::TerminateSweepRequest) -> Result<Self, FieldErrors> {
        let wire::TerminateSweepRequest { job_id, sweep_id, first, last, request_id } = request;
        Self::check((&job_id, &sweep_id), (first, last), &request_id)
    }
}

impl TryFrom<wire::ReactivateSweepRequest> for SweepTarget {
    type Error = FieldErrors;

    fn try_from(request: wire::ReactivateSweepRequest) -> Result<Self, FieldErrors> {
        let wire::ReactivateSweepRequest { job_id, sweep_id, first, last, request_id } = request;
        Self::check((&job_id, &sweep_id), (first, last), &request_id)
    }
}

impl TryFrom<wire::DeleteSweepRequest> for SweepTarget {
    type Error = FieldErrors;

    fn try_from(request: wire::DeleteSweepRequest) -> Result<Self, FieldErrors> {
        let wire::DeleteSweepRequest { job_id, sweep_id, request_id } = request;
        Self::check((&job_id, &sweep_id), (None, None), &request_id)
    }
}

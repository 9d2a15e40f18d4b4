//! A sweep, decoded, and its members' specifications.
//!
//! Values go into the command line, the values of environment settings, the display name, the places of resource files
//! and the patterns and places of output files; nowhere else. Every member also gets its sweep, its number and its values
//! as environment variables. A part that cannot be filled in stays as the template has it, and the first reason is told.

use super::error::ExpandError;
use muster_controller_core::record::{SweepRow, TaskSpecRow};
use muster_model::limits::{
    COMMAND_LINE_BYTES_MAX, DISPLAY_NAME_CHARS_MAX, ENVIRONMENT_SETTING_BYTES_MAX, URL_BYTES_MAX,
};
use muster_model::path::PATH_BYTES_MAX;
use muster_model::spec::{
    Axis, EnvironmentSetting, FileDestination, FileSource, OutputFile, ResourceFile, SweepShape, TaskSpec,
};
use muster_model::{FilePath, SweepId, TaskId};
use muster_proto::placeholder;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The variable that names a member's sweep.
const SWEEP_ID: &str = "MUSTER_SWEEP_ID";
/// The variable that holds a member's number.
const SWEEP_NUMBER: &str = "MUSTER_SWEEP_NUMBER";
/// What the variables of parameters begin with; their names in upper case follow.
const PARAMETER: &str = "MUSTER_PARAM_";

/// A parameter's place.
#[derive(Debug, Clone, Copy)]
struct Slot {
    axis: usize,
    column: usize,
}

/// A decoded sweep.
#[derive(Debug)]
pub(crate) struct Template {
    row: SweepRow,
    shape: SweepShape,
    slots: BTreeMap<String, Slot>,
    /// For each axis, after how many members its value changes.
    strides: Vec<u64>,
}

/// Puts one member's values into texts and keeps the first reason why one cannot be filled in.
struct Filler<'t> {
    template: &'t Template,
    index: u64,
    fault: Option<ExpandError>,
}

impl Template {
    pub(crate) fn new(row: SweepRow) -> Self {
        let mut slots = BTreeMap::new();
        let mut strides = vec![1; row.spec.axes.len()];
        let mut stride = 1_u64;
        for (axis, values) in row.spec.axes.iter().enumerate().rev() {
            strides[axis] = stride;
            stride = stride.saturating_mul(values.len().max(1));
            slots.extend(
                values.names().enumerate().map(|(column, name)| (name.to_owned(), Slot { axis, column })),
            );
        }
        let shape = row.spec.shape();
        Self { row, shape, slots, strides }
    }

    pub(crate) fn row(&self) -> &SweepRow {
        &self.row
    }

    pub(crate) fn id(&self) -> &SweepId {
        &self.row.spec.id
    }

    /// How members are numbered.
    pub(crate) fn shape(&self) -> SweepShape {
        self.shape
    }

    /// A member's id as a task.
    pub(crate) fn task_id(&self, index: u64) -> TaskId {
        self.shape.task_id(self.id(), index)
    }

    /// A member's place in the order of creation.
    pub(crate) fn sequence(&self, index: u64) -> u64 {
        self.row.sequence.saturating_add(index)
    }

    /// A member's display name.
    pub(crate) fn display_name(&self, index: u64) -> String {
        let mut filler = Filler { template: self, index, fault: None };
        filler.display_name(&self.row.spec.template.display_name)
    }

    /// The bytes that the decoded values take, roughly: for the bound of what is remembered.
    pub(crate) fn weight(&self) -> usize {
        const TEXT: usize = size_of::<String>() + 16;
        let axis = |axis: &Axis| match axis {
            Axis::Range { .. } => TEXT,
            Axis::Table { rows, .. } => {
                rows.iter().map(|row| TEXT + row.iter().map(|value| TEXT + value.len()).sum::<usize>()).sum()
            }
        };
        let template = &self.row.spec.template;
        let files = template.resource_files.len() + template.output_files.len();
        4_096 + template.command_line.len() + files * 512 + self.row.spec.axes.iter().map(axis).sum::<usize>()
    }

    /// A member's specification, and why a part of it could not be filled in.
    pub(crate) fn expand(&self, index: u64) -> (TaskSpecRow, Option<ExpandError>) {
        let template = &self.row.spec.template;
        let mut filler = Filler { template: self, index, fault: None };
        let f = &mut filler;
        let spec = TaskSpec {
            id: self.task_id(index),
            display_name: f.display_name(&template.display_name),
            command_line: f.command_line(&template.command_line),
            resource_files: template.resource_files.iter().map(|file| f.resource_file(file)).collect(),
            output_files: template.output_files.iter().map(|file| f.output_file(file)).collect(),
            environment: f.environment(&template.environment),
            ..unfilled(template)
        };
        let row = TaskSpecRow {
            account: self.row.account.clone(),
            job: self.row.job.clone(),
            spec,
            sequence: self.sequence(index),
            created: self.row.created,
        };
        (row, filler.fault)
    }

    /// The value of a parameter for a member.
    fn value(&self, index: u64, slot: Slot) -> Option<Cow<'_, str>> {
        let axis = self.row.spec.axes.get(slot.axis)?;
        let place = index / self.strides.get(slot.axis)?.max(&1) % axis.len().max(1);
        match axis {
            Axis::Range { start, step, .. } => {
                Some(Cow::Owned(start.saturating_add(place.saturating_mul(*step)).to_string()))
            }
            Axis::Table { rows, .. } => {
                let row = rows.get(usize::try_from(place).ok()?)?;
                row.get(slot.column).map(|value| Cow::Borrowed(value.as_str()))
            }
        }
    }
}

/// The parts of a specification that take no values; those that are filled in may be large and are left empty.
fn unfilled(template: &TaskSpec) -> TaskSpec {
    TaskSpec {
        id: template.id.clone(),
        display_name: String::new(),
        command_line: String::new(),
        resource_files: Vec::new(),
        output_files: Vec::new(),
        environment: Vec::new(),
        constraints: template.constraints,
        resources: template.resources.clone(),
        limits: template.limits,
        user_identity: template.user_identity.clone(),
        depends_on: template.depends_on.clone(),
        exit_conditions: template.exit_conditions.clone(),
        affinity: template.affinity.clone(),
    }
}

/// Without a brace there is nothing to fill in.
fn has_braces(text: &str) -> bool {
    text.contains('{')
}

impl<'t> Filler<'t> {
    fn value(&self, name: &str) -> Option<Cow<'t, str>> {
        self.template.value(self.index, *self.template.slots.get(name)?)
    }

    /// The filled text, or the text itself when it cannot be filled in or is too long then.
    fn text(&mut self, field: &'static str, text: &str, max: usize) -> String {
        if !has_braces(text) {
            return text.to_owned();
        }
        match placeholder::expand(text, &|name| self.value(name)) {
            Ok(filled) => self.bounded(field, text, filled, max),
            Err(cause) => {
                self.note(ExpandError::Unknown { field, cause });
                text.to_owned()
            }
        }
    }

    fn bounded(&mut self, field: &'static str, text: &str, filled: String, max: usize) -> String {
        if filled.len() <= max {
            return filled;
        }
        self.note(ExpandError::TooLong { field, bytes: filled.len(), max });
        text.to_owned()
    }

    fn note(&mut self, error: ExpandError) {
        self.fault.get_or_insert(error);
    }

    fn display_name(&mut self, text: &str) -> String {
        const FIELD: &str = "display_name";
        let mut name = self.text(FIELD, text, usize::MAX);
        // A name is for people: one that grew too long is cut and stops nothing.
        if let Some((end, _)) = name.char_indices().nth(DISPLAY_NAME_CHARS_MAX) {
            name.truncate(end);
        }
        name
    }

    fn command_line(&mut self, line: &str) -> String {
        const FIELD: &str = "command_line";
        if !has_braces(line) {
            return line.to_owned();
        }
        match placeholder::expand_command_line(line, &|name| self.value(name)) {
            Ok(filled) => self.bounded(FIELD, line, filled, COMMAND_LINE_BYTES_MAX),
            Err(cause) => {
                self.note(ExpandError::CommandLine { cause });
                line.to_owned()
            }
        }
    }

    fn path(&mut self, field: &'static str, path: &FilePath) -> FilePath {
        if !has_braces(path.as_str()) {
            return path.clone();
        }
        let filled = self.text(field, path.as_str(), usize::MAX);
        FilePath::parse(&filled).unwrap_or_else(|cause| {
            self.note(ExpandError::Path { field, cause });
            path.clone()
        })
    }

    fn resource_file(&mut self, file: &ResourceFile) -> ResourceFile {
        let source = match &file.source {
            FileSource::Http(url) => FileSource::Http(self.text("resource file URL", url, URL_BYTES_MAX)),
            FileSource::FileStore { container, path } => FileSource::FileStore {
                container: container.clone(),
                path: self.path("resource file's path in the file store", path),
            },
            FileSource::FileStorePrefix { container, prefix } => FileSource::FileStorePrefix {
                container: container.clone(),
                prefix: self.text("resource files' prefix", prefix, PATH_BYTES_MAX),
            },
        };
        let file_path = file.file_path.as_ref().map(|path| self.path("resource file's file_path", path));
        ResourceFile { source, file_path, mode: file.mode, digest: file.digest }
    }

    fn output_file(&mut self, file: &OutputFile) -> OutputFile {
        let FileDestination::FileStore { container, path } = &file.destination;
        let path = path.as_ref().map(|path| self.path("output file's destination", path));
        OutputFile {
            pattern: self.text("output file pattern", &file.pattern, PATH_BYTES_MAX),
            destination: FileDestination::FileStore { container: container.clone(), path },
            condition: file.condition,
        }
    }

    /// The template's settings, then those that every member has and the template does not set itself.
    fn environment(&mut self, settings: &[EnvironmentSetting]) -> Vec<EnvironmentSetting> {
        let mut all: Vec<EnvironmentSetting> =
            Vec::with_capacity(settings.len() + 2 + self.template.slots.len());
        for setting in settings {
            let value = self.text("environment setting", &setting.value, ENVIRONMENT_SETTING_BYTES_MAX);
            all.push(EnvironmentSetting { name: setting.name.clone(), value });
        }
        let number = self.template.shape.number(self.index).to_string();
        let fixed =
            [(SWEEP_ID.to_owned(), self.template.id().to_string()), (SWEEP_NUMBER.to_owned(), number)];
        let values = self.template.slots.iter().filter_map(|(name, slot)| {
            let value = self.template.value(self.index, *slot)?;
            Some((format!("{PARAMETER}{}", name.to_ascii_uppercase()), value.into_owned()))
        });
        for (name, value) in fixed.into_iter().chain(values) {
            if all.iter().all(|setting| setting.name != name) {
                all.push(EnvironmentSetting { name, value });
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_model::limits::{PAGE_SIZE_MAX, SWEEP_NUMBER_MAX};
    use muster_model::spec::{SweepSpec, TaskConstraints, TaskLimits, UserIdentity};
    use muster_model::state::UploadCondition;
    use muster_model::{AccountName, ContainerName, JobId, Resources, Timestamp};

    fn template(change: impl FnOnce(&mut TaskSpec), axes: Vec<Axis>) -> Template {
        let id = SweepId::parse("Film").unwrap();
        let mut template = TaskSpec {
            id: id.as_task_id(),
            display_name: String::new(),
            command_line: "render".into(),
            resource_files: Vec::new(),
            output_files: Vec::new(),
            environment: Vec::new(),
            constraints: TaskConstraints::default(),
            resources: Resources { slots: 2, ..Resources::default() },
            limits: TaskLimits::default(),
            user_identity: UserIdentity::default(),
            depends_on: muster_model::spec::DependsOn::default(),
            exit_conditions: None,
            affinity: None,
        };
        change(&mut template);
        Template::new(SweepRow {
            account: AccountName::parse("studio").unwrap(),
            job: JobId::parse("j").unwrap(),
            spec: SweepSpec { id, template, axes },
            sequence: 1_000,
            created: Timestamp::from_micros(5),
        })
    }

    fn range(name: &str, start: u64, end: u64, step: u64) -> Axis {
        Axis::Range { name: name.into(), start, end, step }
    }

    fn table(names: &[&str], rows: &[&[&str]]) -> Axis {
        let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        Axis::Table { names: own(names), rows: rows.iter().map(|row| own(row)).collect() }
    }

    #[test]
    fn the_last_axis_varies_fastest_and_every_combination_comes_once() {
        let axes =
            vec![range("a", 1, 2, 1), table(&["b", "c"], &[&["x", "1"], &["y", "2"]]), range("d", 0, 10, 5)];
        let sweep = template(|spec| spec.command_line = "run {a} {b}{c} {d}".into(), axes);
        assert_eq!(sweep.shape().count, 12);
        let lines: Vec<_> = (0..12).map(|index| sweep.expand(index).0.spec.command_line).collect();
        assert_eq!(lines[..4], ["run 1 x1 0", "run 1 x1 5", "run 1 x1 10", "run 1 y2 0"]);
        assert_eq!(lines[11], "run 2 y2 10");
        let different: std::collections::BTreeSet<_> = lines.iter().collect();
        assert_eq!(different.len(), 12);
    }

    #[test]
    fn a_member_has_its_id_its_place_and_what_the_template_asks_for() {
        let sweep = template(|_| {}, vec![range("i", 8, 12, 1)]);
        let (row, fault) = sweep.expand(3);
        assert_eq!((row.spec.id.as_str(), row.sequence, row.created.as_micros()), ("Film-11", 1_003, 5));
        assert_eq!((row.spec.resources.slots, fault), (2, None));
    }

    #[test]
    fn a_value_with_blanks_and_quotes_stays_one_argument() {
        let axes = vec![table(&["scene"], &[&["the 'wood'; rm -rf $HOME"]])];
        let sweep =
            template(|spec| spec.command_line = "sh -c 'echo \"$1\" ${i}' _ {scene}.pov".into(), axes);
        let (row, fault) = sweep.expand(0);
        let words = muster_proto::command_line::split(&row.spec.command_line).unwrap();
        assert_eq!(words, ["sh", "-c", "echo \"$1\" ${i}", "_", "the 'wood'; rm -rf $HOME.pov"]);
        assert_eq!(fault, None);
    }

    #[test]
    fn a_text_without_braces_stays_as_it_was_written() {
        let line = "sh -c  'a'\"b\"  c";
        let sweep = template(|spec| spec.command_line = line.into(), vec![range("i", 1, 2, 1)]);
        assert_eq!(sweep.expand(1).0.spec.command_line, line);
    }

    #[test]
    fn values_go_into_files_and_variables_and_nowhere_else() {
        let path = |text: &str| FilePath::parse(text).unwrap();
        let films = ContainerName::parse("films").unwrap();
        let change = |spec: &mut TaskSpec| {
            spec.environment = vec![
                EnvironmentSetting { name: "SEED".into(), value: "{i}{{i}}${i}".into() },
                EnvironmentSetting { name: "MUSTER_PARAM_I".into(), value: "mine".into() },
            ];
            let file = |source, file_path| ResourceFile { source, file_path, mode: 0o644, digest: None };
            spec.resource_files = vec![
                file(FileSource::Http("https://files.test/{i}?{x}".into()), Some(path("in/{i}.pov"))),
                file(
                    FileSource::FileStore { container: films.clone(), path: path("{i}/a") },
                    Some(path("a")),
                ),
                file(FileSource::FileStorePrefix { container: films.clone(), prefix: "p{i}/".into() }, None),
            ];
            spec.output_files = vec![OutputFile {
                pattern: "out-{i}.*".into(),
                destination: FileDestination::FileStore {
                    container: films.clone(),
                    path: Some(path("o/{i}")),
                },
                condition: UploadCondition::TaskSuccess,
            }];
        };
        let sweep = template(change, vec![range("i", 7, 9, 1), table(&["x"], &[&["a b"]])]);
        let (row, fault) = sweep.expand(1);
        assert_eq!(fault, None);
        let environment: Vec<_> =
            row.spec.environment.iter().map(|s| format!("{}={}", s.name, s.value)).collect();
        assert_eq!(
            environment,
            [
                "SEED=8{i}${i}",
                "MUSTER_PARAM_I=mine",
                "MUSTER_SWEEP_ID=Film",
                "MUSTER_SWEEP_NUMBER=2",
                "MUSTER_PARAM_X=a b"
            ]
        );
        let files = &row.spec.resource_files;
        assert_eq!(files[0].source, FileSource::Http("https://files.test/8?a b".into()));
        assert_eq!(files[0].file_path, Some(path("in/8.pov")));
        assert_eq!(files[1].source, FileSource::FileStore { container: films.clone(), path: path("8/a") });
        assert_eq!(
            files[2].source,
            FileSource::FileStorePrefix { container: films.clone(), prefix: "p8/".into() }
        );
        assert_eq!(row.spec.output_files[0].pattern, "out-8.*");
        let destination = FileDestination::FileStore { container: films, path: Some(path("o/8")) };
        assert_eq!(row.spec.output_files[0].destination, destination);
    }

    #[test]
    fn what_cannot_be_filled_in_stays_and_is_told() {
        let long = "x".repeat(COMMAND_LINE_BYTES_MAX);
        let axes = || vec![table(&["x"], &[&[long.as_str()]])];
        let change = |spec: &mut TaskSpec| {
            spec.command_line = "run {x}".into();
            spec.display_name = "{x}".into();
        };
        let (row, fault) = template(change, axes()).expand(0);
        assert_eq!(row.spec.command_line, "run {x}");
        assert!(matches!(fault, Some(ExpandError::TooLong { field: "command_line", .. })), "{fault:?}");
        assert_eq!(row.spec.display_name.len(), DISPLAY_NAME_CHARS_MAX, "names are cut and stop nothing");
        let (row, fault) = template(|spec| spec.command_line = "run {y}".into(), axes()).expand(0);
        assert_eq!(row.spec.command_line, "run {y}");
        assert!(matches!(fault, Some(ExpandError::CommandLine { .. })), "{fault:?}");
    }

    #[test]
    fn numbers_far_beyond_the_end_make_no_panic() {
        let sweep = template(
            |spec| spec.command_line = "run {i} {x}".into(),
            vec![range("i", 0, SWEEP_NUMBER_MAX, 1), table(&["x"], &[])],
        );
        for index in [0, u64::from(PAGE_SIZE_MAX), u64::MAX] {
            let _ = sweep.expand(index);
        }
    }
}

//! How sweeps look: their values in a word, their tasks by state.
//!
//! Tables of values are told by their names and their length: there may be four megabytes of them. `-o json` has all.

use muster_proto::wire;
use muster_proto::wire::sweep_axis::Values;

use super::{job, words};
use crate::outlet::{Field, Tone};

/// Headings of a list of sweeps.
pub(crate) const HEADINGS: [&str; 7] =
    ["id", "tasks", "waiting", "running", "succeeded", "failed", "created"];

/// A sweep as a row.
#[must_use]
pub(crate) fn row(sweep: &wire::Sweep) -> Vec<Field> {
    let counts = sweep.counts.unwrap_or_default();
    vec![
        sweep.id.as_str().into(),
        Field::number(sweep.count),
        Field::number(counts.active),
        Field::number(counts.running),
        Field::number(counts.succeeded),
        Field::number(counts.failed),
        words::time(sweep.create_time.as_ref()).into(),
    ]
}

/// A sweep as a record.
#[must_use]
pub(crate) fn record(sweep: &wire::Sweep) -> Vec<(&'static str, Field)> {
    let template = sweep.template.clone().unwrap_or_default();
    let last =
        sweep.first_number.saturating_add(sweep.count.saturating_sub(1).saturating_mul(sweep.number_step));
    let step = if sweep.number_step > 1 { format!(" by {}", sweep.number_step) } else { String::new() };
    let mut fields: Vec<(&'static str, Field)> = vec![
        ("id", sweep.id.as_str().into()),
        ("job", sweep.job_id.as_str().into()),
        ("name", template.display_name.into()),
        ("command", template.command_line.into()),
        ("numbers", format!("{}-{last}{step}", sweep.first_number).into()),
        ("tasks", job::counts_in_words(&sweep.counts.unwrap_or_default()).into()),
        ("created", words::time(sweep.create_time.as_ref()).into()),
        ("changed", words::time(sweep.update_time.as_ref()).into()),
    ];
    fields.extend(sweep.axes.iter().map(|axis| ("values", axis_in_words(axis).into())));
    if sweep.deleting {
        fields.push(("state", Field::toned("deleting", Tone::Busy)));
    }
    fields
}

/// An axis: `i = 1-1000000`, `scene, look: 12 rows`.
fn axis_in_words(axis: &wire::SweepAxis) -> String {
    match &axis.values {
        Some(Values::Range(range)) => {
            let name = if range.name.is_empty() { "i" } else { &range.name };
            let step = if range.step > 1 { format!(" by {}", range.step) } else { String::new() };
            format!("{name} = {}-{}{step}", range.start, range.end)
        }
        Some(Values::Table(table)) => format!("{}: {} rows", table.names.join(", "), table.rows.len()),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_told_in_a_word() {
        let range = wire::SweepRange { name: String::new(), start: 1, end: 9, step: 2 };
        let table = wire::SweepTable { names: vec!["a".into(), "b".into()], rows: vec![Default::default()] };
        let axes = [Values::Range(range), Values::Table(table)].map(|v| wire::SweepAxis { values: Some(v) });
        assert_eq!(axes.each_ref().map(axis_in_words), ["i = 1-9 by 2", "a, b: 1 rows"]);
        let sweep = wire::Sweep {
            count: 5,
            first_number: 1,
            number_step: 2,
            axes: axes.into(),
            ..Default::default()
        };
        let record = record(&sweep);
        assert!(record.contains(&("numbers", Field::from("1-9 by 2"))), "{record:?}");
        assert_eq!(row(&sweep).len(), HEADINGS.len());
    }
}

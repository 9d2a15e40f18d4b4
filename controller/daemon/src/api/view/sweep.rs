//! Sweeps: what was asked for, how their members are numbered, and how many are where.
//!
//! The counts are the core's live ones and are handed in. The rows of tables may be megabytes: whoever answers says whether
//! they are wanted.

use super::job::counts_by_state;
use muster_controller_core::TaskCounts;
use muster_controller_core::record::SweepRow;
use muster_model::spec::Axis;
use muster_proto::convert::{etag_out, timestamp_out};
use muster_proto::wire;
use muster_proto::wire::sweep_axis::Values;
use muster_store::SweepView;

/// A sweep, with the rows of its tables.
pub(in crate::api) fn sweep(view: &SweepView, counts: &TaskCounts) -> wire::Sweep {
    let axes = view.row.spec.axes.iter().map(Into::into).collect();
    wire::Sweep { axes, ..sweep_without_rows(view, counts) }
}

/// A sweep, its tables without rows.
pub(in crate::api) fn sweep_without_rows(view: &SweepView, counts: &TaskCounts) -> wire::Sweep {
    let SweepRow { job, spec, created, .. } = &view.row;
    let shape = spec.shape();
    wire::Sweep {
        job_id: job.to_string(),
        id: spec.id.to_string(),
        template: Some((&spec.template).into()),
        axes: spec.axes.iter().map(head).collect(),
        count: shape.count,
        first_number: shape.first,
        number_step: shape.step,
        counts: Some(counts_by_state(counts)),
        deleting: view.state.deleting,
        create_time: Some(timestamp_out(*created)),
        update_time: Some(timestamp_out(view.state.modified)),
        etag: etag_out(view.state.revision),
    }
}

/// An axis, a table of it with its columns alone.
fn head(axis: &Axis) -> wire::SweepAxis {
    match axis {
        Axis::Range { .. } => axis.into(),
        Axis::Table { names, rows: _ } => {
            let table = wire::SweepTable { names: names.clone(), rows: Vec::new() };
            wire::SweepAxis { values: Some(Values::Table(table)) }
        }
    }
}

//! Rows as a store would keep them: each record put whole or removed, and nothing understood.
//!
//! The laws load them into a second core and compare it with the live one. What writes them to a disk is the store's;
//! that it keeps them like this is shown by its own conformance tests.

use crate::record::{Record, Rows};
use crate::sweep::Sweep;
use crate::task::Task;

/// What a store does with a record: put whole or remove.
pub(crate) fn keep(rows: &mut Rows, record: Record) {
    match record {
        Record::Account(row) => put(&mut rows.accounts, row, |a, b| a.name == b.name),
        Record::Pool(row) => put(&mut rows.pools, *row, |a, b| a.spec.id == b.spec.id),
        Record::PoolGone(_, id) => rows.pools.retain(|row| row.spec.id != id),
        Record::Node(row) => put(&mut rows.nodes, *row, |a, b| a.id == b.id),
        Record::NodeGone(_, id) => rows.nodes.retain(|row| row.id != id),
        Record::Token(row) => put(&mut rows.tokens, row, |a, b| a.id == b.id),
        Record::TokenGone(_, id) => rows.tokens.retain(|row| row.id != id),
        Record::Job(row) => put(&mut rows.jobs, *row, |a, b| a.spec.id == b.spec.id),
        Record::JobGone(_, id) => {
            rows.jobs.retain(|row| row.spec.id != id);
            rows.tasks.retain(|(spec, _)| spec.job != id);
            rows.members.retain(|(member, _)| member.job != id);
            rows.sweeps.retain(|(sweep, _)| sweep.job != id);
            rows.job_nodes.retain(|row| row.job != id);
        }
        Record::Sweep(row) => {
            let state = Sweep::new(&row, std::sync::Arc::default()).row(&row.account, &row.job);
            rows.sweeps.push((*row, state));
        }
        Record::SweepState(state) => {
            let found = rows.sweeps.iter_mut().find(|(s, _)| s.job == state.job && s.spec.id == state.sweep);
            found.unwrap().1 = *state;
        }
        Record::SweepGone(_, job, id) => {
            rows.sweeps.retain(|(sweep, _)| sweep.job != job || sweep.spec.id != id);
            rows.members.retain(|(member, _)| member.job != job || member.sweep != id);
        }
        Record::Member(member) => {
            let mut sweeps = rows.sweeps.iter();
            let (of, _) = sweeps.find(|(s, _)| s.job == member.job && s.spec.id == member.sweep).unwrap();
            let sweep = Sweep::new(of, std::sync::Arc::default());
            let state = sweep.task(member.index).row(&member.account, &member.job);
            rows.members.push((*member, state));
        }
        Record::JobNode(row) => put(&mut rows.job_nodes, *row, |a, b| a.job == b.job && a.node == b.node),
        Record::JobNodeGone(_, job, node) => rows.job_nodes.retain(|r| r.job != job || r.node != node),
        Record::TaskSpec(spec) => {
            let state = Task::new(&spec, std::sync::Arc::default()).row(&spec.account, &spec.job);
            rows.tasks.push((*spec, state));
        }
        Record::TaskState(state) => {
            let key = (state.job.clone(), state.task.clone());
            let plain = rows.tasks.iter_mut().map(|(spec, row)| ((&spec.job, &spec.spec.id), row));
            let members = rows.members.iter_mut().map(|(member, row)| ((&member.job, &member.task), row));
            let found = plain.chain(members).find(|(of, _)| *of == (&key.0, &key.1));
            *found.unwrap().1 = *state;
        }
        Record::TaskGone(_, job, task) => {
            rows.tasks.retain(|(s, _)| s.job != job || s.spec.id != task);
            rows.members.retain(|(m, _)| m.job != job || m.task != task);
        }
        Record::Request(row) => put(&mut rows.requests, row, |a, b| a.id == b.id),
        Record::RequestGone(_, id) => rows.requests.retain(|row| row.id != id),
        Record::NumbersUsed(number) => rows.numbers_used = number,
        Record::Attempt(_) | Record::File(_) | Record::FileGone(..) | Record::ContainerGone(..) => {}
    }
}

fn put<T>(rows: &mut Vec<T>, row: T, same: impl Fn(&T, &T) -> bool) {
    match rows.iter_mut().find(|old| same(old, &row)) {
        Some(old) => *old = row,
        None => rows.push(row),
    }
}

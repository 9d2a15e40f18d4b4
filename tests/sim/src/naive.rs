//! What a task's dependencies amount to, by looking at every task of the job each time.
//!
//! The rules are those of the reference and of the specification's comments, written down as plainly as they can be; the
//! core counts by differences and must come to the same.

use crate::book::{Known, KnownJob};
use muster_model::spec::{DependsOn, ExitConditions, ExitOptions, Quota, TaskSet};
use muster_model::state::{DependencyAction, DependencyCondition, ExecutionResult};
use muster_model::{Cause, TaskId};
use std::collections::{BTreeMap, BTreeSet};

/// Where one who depends on others is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Nothing is missing.
    pub(crate) met: bool,
    /// Something is missing that cannot come unless tasks are reactivated or added.
    pub(crate) hopeless: bool,
}

/// Whether the end of a task lets those run that wait for it to be satisfied.
pub(crate) fn satisfies(known: &Known) -> bool {
    let stand = &known.stand;
    let failed = stand.result == Some(ExecutionResult::Failure);
    let touched = stand.attempt > 0;
    let by_others = matches!(stand.cause, Some(Cause::Terminated | Cause::DependencyFailed));
    if by_others || !touched {
        return !failed;
    }
    let said = known.spec.exit_conditions.as_ref().and_then(|conditions| look_up(conditions, known));
    match said.and_then(|options| options.dependency_action) {
        Some(action) => action == DependencyAction::Satisfy,
        None => !failed,
    }
}

fn look_up(conditions: &ExitConditions, known: &Known) -> Option<ExitOptions> {
    let stand = &known.stand;
    if let Some(code) = stand.exit_code {
        let single = conditions.codes.iter().find(|(own, _)| *own == code).map(|(_, options)| *options);
        let ranges = &conditions.ranges;
        let within = || ranges.iter().find(|(a, b, _)| *a <= code && code <= *b).map(|(_, _, o)| *o);
        if let Some(options) = single.or_else(within) {
            return Some(options);
        }
    }
    let never_ran =
        stand.exit_code.is_none() && stand.signal.is_none() && stand.cause != Some(Cause::NodeLost);
    match stand.cause {
        Some(Cause::UploadFailed) => conditions.file_upload_error.or(conditions.default),
        Some(_) if never_ran => conditions.pre_processing_error.or(conditions.default),
        Some(_) => conditions.default,
        // The default is for ends that are no successes.
        None => None,
    }
}

/// Whether an ended task meets a condition; `None` if it has not ended.
fn verdict(known: &Known, condition: DependencyCondition) -> Option<bool> {
    let result = known.stand.result?;
    Some(match condition {
        DependencyCondition::Satisfied => satisfies(known),
        DependencyCondition::Failed => result == ExecutionResult::Failure,
        DependencyCondition::Completed => true,
    })
}

pub(crate) fn standing(job: &KnownJob, needs: &DependsOn) -> Standing {
    let plain = (!needs.tasks.is_empty())
        .then(|| of_set(job, &needs.tasks, DependencyCondition::Satisfied, Quota::All));
    let groups = needs.groups.iter().map(|group| of_set(job, &group.tasks, group.condition, group.quota));
    plain.into_iter().chain(groups).fold(Standing { met: true, hopeless: false }, |all, one| Standing {
        met: all.met && one.met,
        hopeless: all.hopeless || one.hopeless,
    })
}

/// Whether others may wait for a task: for them a sweep is gone as soon as it is being deleted.
fn is_lasting(job: &KnownJob, known: &Known) -> bool {
    let sweep = known.member.as_ref().map(|(sweep, _)| sweep);
    sweep.is_none_or(|sweep| job.sweeps.get(sweep).is_some_and(|sweep| !sweep.deleting))
}

fn of_set(job: &KnownJob, tasks: &TaskSet, condition: DependencyCondition, quota: Quota) -> Standing {
    let mut verdicts: Vec<Option<bool>> = Vec::new();
    for id in tasks.ids.iter().collect::<BTreeSet<_>>() {
        let found = job.find(id).filter(|(_, known)| is_lasting(job, known));
        verdicts.push(found.and_then(|(_, known)| verdict(known, condition)));
    }
    for number in tasks.ranges.iter().flat_map(|range| range.start..=range.end).collect::<BTreeSet<_>>() {
        let reads = |id: &TaskId| id.as_str().parse() == Ok(number);
        let of_twins =
            job.tasks.iter().filter(|(id, _)| reads(id)).map(|(_, known)| verdict(known, condition));
        let twins: Vec<_> = of_twins.collect();
        let met = twins.contains(&Some(true));
        let over = !twins.is_empty() && !twins.contains(&None);
        verdicts.push(if met || over { Some(met) } else { None });
    }
    let mut members: BTreeMap<&TaskId, Option<bool>> = BTreeMap::new();
    let mut missing = 0;
    for wanted in &tasks.sweeps {
        let Some(sweep) = job.sweeps.get(&wanted.sweep).filter(|sweep| !sweep.deleting) else {
            missing += 1;
            continue;
        };
        let (first, last) = wanted.numbers.unwrap_or((0, u64::MAX));
        for (id, known) in &job.tasks {
            if let Some((of, index)) = &known.member
                && *of == wanted.sweep
                && (first..=last).contains(&sweep.shape.number(*index))
            {
                members.insert(id, verdict(known, condition));
            }
        }
    }
    verdicts.extend(members.into_values());
    let lasting = || job.tasks.iter().filter(|(_, known)| is_lasting(job, known));
    let bare = tasks.globs.iter().any(|glob| !lasting().any(|(id, _)| glob.matches(id.as_str())));
    let matching = |id: &TaskId| tasks.globs.iter().any(|glob| glob.matches(id.as_str()));
    verdicts.extend(lasting().filter(|(id, _)| matching(id)).map(|(_, known)| verdict(known, condition)));
    let count = |wanted| verdicts.iter().filter(|verdict| **verdict == wanted).count() as u64;
    let (total, met, lost) = (verdicts.len() as u64, count(Some(true)), count(Some(false)));
    let complete = missing == 0 && !bare;
    let closed = missing == 0 && tasks.globs.is_empty();
    match quota {
        Quota::All => Standing { met: complete && met == total, hopeless: lost > 0 },
        Quota::AtLeast(needed) => Standing { met: met >= needed, hopeless: closed && needed > total - lost },
        Quota::Percent(share) => {
            let needed = (total * u64::from(share)).div_ceil(100);
            Standing { met: complete && met >= needed, hopeless: closed && needed > total - lost }
        }
    }
}

//! What a seed makes happen: the wishes of clients and the faults of machines, each at its time.
//!
//! The script is drawn before the world begins and names everything by small numbers. A story that fails is told again
//! with parts of its script left out, for as long as it still fails (`story`).

use crate::chance::Chance;
use crate::names::{self, JOBS, MACHINES, PLAIN_TASKS, SWEEPS, TASK_NAMES};
use crate::plight::{self, Fault};
use muster_model::Timestamp;
use muster_model::state::DrainOption;
use std::time::Duration;

/// Wishes and faults come until then; after that everything must come to its end.
pub(crate) const CALM_AFTER: Duration = Duration::from_secs(240);
const WISHES: u64 = 100;

/// What a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    CreateJob {
        job: u8,
        draw: u64,
    },
    UpdateJob {
        job: u8,
        parallel: Option<u32>,
        priority: i32,
    },
    MoveJob {
        job: u8,
        pool: u8,
    },
    DisableJob {
        job: u8,
        how: u8,
    },
    EnableJob {
        job: u8,
    },
    TerminateJob {
        job: u8,
    },
    DeleteJob {
        job: u8,
    },
    AddTasks {
        job: u8,
        first: u8,
        count: u8,
        draw: u64,
    },
    UpdateTask {
        job: u8,
        task: u8,
        seconds: Option<u64>,
        retries: Option<u32>,
    },
    /// One of the tasks that are on nodes, whichever they are then.
    UpdatePlaced {
        job: u8,
        place: u8,
        seconds: Option<u64>,
    },
    TerminateTask {
        job: u8,
        task: u8,
    },
    ReactivateTask {
        job: u8,
        task: u8,
    },
    DeleteTask {
        job: u8,
        task: u8,
    },
    OfSweep {
        job: u8,
        sweep: u8,
        wish: SweepWish,
    },
    OfNode {
        machine: u8,
        wish: NodeWish,
    },
    OfPool {
        pool: u8,
        wish: PoolWish,
    },
}

/// What a client asks for of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NodeWish {
    Disable { option: DrainOption, seconds: Option<u64> },
    Enable,
    Restart { option: DrainOption, reimage: bool },
    Remove { option: DrainOption, seconds: u64 },
}

/// What a client asks for of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PoolWish {
    Resize { target: u32, option: DrainOption, seconds: Option<u64> },
    StopResize,
}

/// What a client asks for of a sweep; `numbers` are the first and the last of the members that are meant, `None` all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SweepWish {
    Add { draw: u64 },
    Terminate { numbers: Option<(u64, u64)> },
    Reactivate { numbers: Option<(u64, u64)> },
    Delete,
}

/// One thing that happens by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Happening {
    /// `stale`: with an etag that nothing has.
    Wish {
        wish: Wish,
        stale: bool,
    },
    Fault(Fault),
}

/// What happens, and when.
pub(crate) type Script = Vec<(Timestamp, Happening)>;

pub(crate) fn script(seed: u64) -> Script {
    let chance = &mut Chance::of(seed, "script");
    let span = CALM_AFTER.as_micros().try_into().unwrap_or(u64::MAX);
    let moment = |chance: &mut Chance, from: u64| {
        let micros = from + chance.below(span - from);
        Timestamp::from_micros(i64::try_from(micros).unwrap_or(i64::MAX))
    };
    let mut script: Script = (0..JOBS)
        .map(|job| {
            let wish = Wish::CreateJob { job, draw: chance.next() };
            (Timestamp::from_micros(1_100_000), Happening::Wish { wish, stale: false })
        })
        .collect();
    for _ in 0..WISHES {
        let at = moment(chance, 1_200_000);
        let wish = wish(chance);
        script.push((at, Happening::Wish { wish, stale: chance.one_in(16) }));
        if let Wish::DisableJob { job, .. } = wish {
            // A disabled job is mostly moved, and enabled again.
            let pool = chance.byte_below(2);
            let mut then = |millis: u64, wish| {
                let at = at.after(Duration::from_millis(chance.below(millis)));
                script.push((at, Happening::Wish { wish, stale: false }));
            };
            then(20_000, Wish::MoveJob { job, pool });
            then(60_000, Wish::EnableJob { job });
        }
        if let Wish::OfPool { pool, wish: PoolWish::Resize { .. } } = wish {
            // Somebody changes his mind while nodes are on their way.
            for (millis, wish) in [(40_000, PoolWish::StopResize), (60_000, resize(chance, pool))] {
                let at = at.after(Duration::from_millis(chance.below(millis)));
                let wish = Wish::OfPool { pool, wish };
                script.push((at, Happening::Wish { wish, stale: chance.one_in(16) }));
            }
        }
        if let Wish::OfNode { machine, wish: NodeWish::Disable { .. } } = wish {
            let at = at.after(Duration::from_millis(chance.below(60_000)));
            let wish = Wish::OfNode { machine, wish: NodeWish::Enable };
            script.push((at, Happening::Wish { wish, stale: false }));
        }
    }
    for _ in 0..plight::how_many(chance) {
        script.push((moment(chance, 3_000_000), Happening::Fault(plight::draw(chance))));
    }
    script.retain(|(at, _)| *at < Timestamp::EPOCH.after(CALM_AFTER));
    script.sort_by_key(|(at, _)| *at);
    script
}

fn wish(chance: &mut Chance) -> Wish {
    let job = chance.byte_below(u64::from(JOBS));
    let task = chance.byte_below(u64::from(TASK_NAMES));
    let sweep = chance.byte_below(u64::from(SWEEPS));
    let numbers = |chance: &mut Chance| {
        chance.maybe(2, |chance| {
            let first = chance.below(8);
            (first, first + chance.below(6))
        })
    };
    let of_sweep = |wish| Wish::OfSweep { job, sweep, wish };
    match chance.below(114) {
        0..=29 => Wish::AddTasks {
            job,
            first: chance.byte_below(u64::from(PLAIN_TASKS)),
            count: chance.byte_below(4) + 1,
            draw: chance.next(),
        },
        30..=41 => of_sweep(SweepWish::Add { draw: chance.next() }),
        42..=46 => of_sweep(SweepWish::Terminate { numbers: numbers(chance) }),
        47..=52 => of_sweep(SweepWish::Reactivate { numbers: numbers(chance) }),
        53..=55 => of_sweep(SweepWish::Delete),
        56..=59 => Wish::UpdatePlaced {
            job,
            place: chance.byte_below(4),
            seconds: (!chance.one_in(4)).then(|| chance.below(60) + 1),
        },
        60..=63 => Wish::UpdateTask {
            job,
            task,
            seconds: (!chance.one_in(4)).then(|| chance.below(120) + 1),
            retries: chance.maybe(2, |chance| u32::from(chance.byte_below(3))),
        },
        64..=67 => Wish::TerminateTask { job, task },
        68..=73 => Wish::ReactivateTask { job, task },
        74..=77 => Wish::DeleteTask { job, task },
        78..=83 => Wish::UpdateJob {
            job,
            parallel: (!chance.one_in(3)).then(|| u32::from(chance.byte_below(4))),
            priority: i32::from(chance.byte_below(5)) - 2,
        },
        84..=86 => Wish::MoveJob { job, pool: chance.byte_below(2) },
        87..=90 => Wish::DisableJob { job, how: chance.byte_below(3) },
        91..=94 => Wish::EnableJob { job },
        95 => Wish::TerminateJob { job },
        96 => Wish::DeleteJob { job },
        97..=108 => Wish::OfNode { machine: chance.byte_below(MACHINES as u64), wish: node_wish(chance) },
        109 | 110 => {
            let pool = u8::from(chance.one_in(3));
            Wish::OfPool { pool, wish: resize(chance, pool) }
        }
        _ => Wish::CreateJob { job, draw: chance.next() },
    }
}

/// Another size for a pool: as likely fewer nodes than it has at first as more.
fn resize(chance: &mut Chance, pool: u8) -> PoolWish {
    let target = u32::from(chance.byte_below(names::machines_of(pool) as u64 * 2));
    let option = chance.pick(DrainOption::ALL);
    PoolWish::Resize { target, option, seconds: (!chance.one_in(8)).then(|| chance.below(60)) }
}

fn node_wish(chance: &mut Chance) -> NodeWish {
    let option = chance.pick(DrainOption::ALL);
    match chance.below(24) {
        0..=11 => NodeWish::Disable { option, seconds: chance.maybe(2, |chance| chance.below(40)) },
        12..=15 => NodeWish::Enable,
        16..=22 => NodeWish::Restart { option, reimage: chance.one_in(3) },
        _ => NodeWish::Remove { option, seconds: chance.below(40) },
    }
}

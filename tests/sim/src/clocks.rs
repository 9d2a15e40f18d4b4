//! Clocks that are not right: each machine's and the controller's own, against the true time of the simulation.
//!
//! A machine's monotonic clock runs up to 1 % fast or slow for ever, and its wall clock is off and jumps. The controller tells its core
//! the time as the real engine does: from its wall clock at the start, then by its monotonic clock, with any gap to the wall
//! clock closed by 2 % at most.
//!
//! Invariant: `when` names the first true moment at which `now` shows what was asked for.

use crate::chance::Chance;
use muster_agent_core::{Monotonic, Now};
use muster_model::Timestamp;
use std::time::Duration;

/// What a clock that runs right counts while a million microseconds pass.
const RIGHT: i64 = 1_000_000;
/// The most that a clock runs fast or slow, in millionths.
const RATE_MAX: i64 = 10_000;
/// How fast the engine's time follows its wall clock, in millionths.
const SLEW: i64 = 20_000;
/// What wall clocks show at the beginning, so that those that are wrong need not go below zero.
const WALL_BEGINS: Duration = Duration::from_secs(10_000_000);

/// A rate between 1 % slow and 1 % fast, one time in four one of the two.
fn rate(chance: &mut Chance) -> i64 {
    match chance.below(8) {
        0 => RIGHT - RATE_MAX,
        1 => RIGHT + RATE_MAX,
        _ => RIGHT - RATE_MAX + i64::try_from(chance.below(20_001)).unwrap_or(0),
    }
}

/// Up to so many seconds, before or after.
fn offset(chance: &mut Chance, seconds: u64) -> i64 {
    let micros = |seconds: u64| i64::try_from(seconds * 1_000_000).unwrap_or(0);
    micros(chance.below(2 * seconds + 1)) - micros(seconds)
}

fn wall(now: Timestamp, offset: i64) -> Timestamp {
    Timestamp::from_micros(now.after(WALL_BEGINS).as_micros().saturating_add(offset))
}

/// What a clock of this rate counts while so much true time passes.
fn counted(passed: Duration, rate: i64) -> Duration {
    let micros = passed.as_micros() * u128::from(rate.unsigned_abs()) / u128::from(RIGHT.unsigned_abs());
    Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
}

/// The true time that passes until a clock of this rate has counted so much.
fn true_time(counted: Duration, rate: i64) -> Duration {
    let micros =
        (counted.as_micros() * u128::from(RIGHT.unsigned_abs())).div_ceil(u128::from(rate.unsigned_abs()));
    Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
}

/// The clocks of a machine.
#[derive(Debug, Clone)]
pub(crate) struct MachineClock {
    rate: i64,
    booted_at: Timestamp,
    wall_offset: i64,
}

impl MachineClock {
    /// Those of the machine of this number.
    pub(crate) fn of(seed: u64, machine: usize) -> Self {
        let mut chance = Chance::of(seed, &format!("clock of {machine}"));
        Self { rate: rate(&mut chance), booted_at: Timestamp::EPOCH, wall_offset: offset(&mut chance, 3_600) }
    }

    /// The machine boots: its monotonic clock begins anew.
    pub(crate) const fn boot(&mut self, now: Timestamp) {
        self.booted_at = now;
    }

    /// Somebody sets the wall clock.
    pub(crate) fn jump(&mut self, chance: &mut Chance) {
        self.wall_offset = offset(chance, 3_600);
    }

    /// This moment on both clocks.
    pub(crate) fn moment(&self, now: Timestamp) -> Now {
        let monotonic = Monotonic::since_boot(counted(now.since(self.booted_at), self.rate));
        Now { monotonic, wall: self.wall(now) }
    }

    /// This moment on the wall clock.
    pub(crate) fn wall(&self, now: Timestamp) -> Timestamp {
        wall(now, self.wall_offset)
    }

    /// When the boot was, by the wall clock.
    pub(crate) fn boot_time(&self) -> Timestamp {
        wall(self.booted_at, self.wall_offset)
    }

    /// When a time of the monotonic clock comes.
    pub(crate) fn when(&self, at: Monotonic) -> Timestamp {
        self.booted_at.after(true_time(at.as_duration(), self.rate))
    }

    /// When the monotonic clock will have counted so much from now on.
    pub(crate) fn after(&self, now: Timestamp, span: Duration) -> Timestamp {
        now.after(true_time(span, self.rate))
    }
}

/// The time that the controller's core is told.
#[derive(Debug, Clone)]
pub(crate) struct EngineClock {
    rate: i64,
    wall_offset: i64,
    /// The engine's time was this at that true time.
    shown: Timestamp,
    since: Timestamp,
    /// Until then it runs at another rate, to come nearer to the wall clock.
    slewing: i64,
    slews_until: Timestamp,
}

impl EngineClock {
    pub(crate) fn of(seed: u64, now: Timestamp) -> Self {
        let mut chance = Chance::of(seed, "clock of the controller");
        let (rate, wall_offset) = (rate(&mut chance), offset(&mut chance, 60));
        let mut clock = Self { rate, wall_offset, shown: now, since: now, slewing: rate, slews_until: now };
        clock.restart(now);
        clock
    }

    /// A controller starts: its time begins at the wall clock.
    pub(crate) fn restart(&mut self, now: Timestamp) {
        (self.shown, self.since) = (wall(now, self.wall_offset), now);
        (self.slewing, self.slews_until) = (self.rate, now);
    }

    /// Somebody sets the wall clock: by little, or by up to a minute.
    pub(crate) fn jump(&mut self, now: Timestamp, chance: &mut Chance) {
        (self.shown, self.since) = (self.now(now), now);
        let seconds = if chance.one_in(2) { 1 } else { 60 };
        self.wall_offset = offset(chance, seconds);
        let gap = wall(now, self.wall_offset).as_micros().saturating_sub(self.shown.as_micros());
        self.slewing = self.rate * (RIGHT + SLEW * gap.signum()) / RIGHT;
        let slews = Duration::from_micros(gap.unsigned_abs()) * u32::try_from(RIGHT / SLEW).unwrap_or(1);
        self.slews_until = now.after(slews);
    }

    /// What the core is told at this true time.
    pub(crate) fn now(&self, now: Timestamp) -> Timestamp {
        let turn = self.slews_until.min(now).max(self.since);
        let slewed = counted(turn.since(self.since), self.slewing);
        self.shown.after(slewed).after(counted(now.since(turn), self.rate))
    }

    /// When the core is told this time, or a later one.
    pub(crate) fn when(&self, at: Timestamp) -> Timestamp {
        let slewing_ends = self.now(self.slews_until.max(self.since));
        if at <= slewing_ends {
            return self.since.after(true_time(at.since(self.shown), self.slewing));
        }
        let turn = self.slews_until.max(self.since);
        turn.after(true_time(at.since(slewing_ends), self.rate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros)
    }

    #[test]
    fn a_deadline_comes_when_the_clock_shows_it_and_not_before() {
        for seed in 0..200 {
            let machine = MachineClock::of(seed, 0);
            let mut engine = EngineClock::of(seed, at(1_000_000));
            let chance = &mut Chance::new(seed);
            for _ in 0..20 {
                let now = at(2_000_000 + i64::try_from(chance.below(50_000_000)).unwrap());
                let until = Monotonic::since_boot(Duration::from_micros(chance.below(90_000_000)));
                let comes = machine.when(until);
                assert!(machine.moment(comes).monotonic >= until);
                if comes > at(0) {
                    let before = at(comes.as_micros() - 1);
                    assert!(machine.moment(before).monotonic < until);
                }
                let shown = engine.now(now).after(Duration::from_micros(chance.below(90_000_000)));
                let comes = engine.when(shown);
                assert!(engine.now(comes) >= shown && engine.now(at(comes.as_micros() - 2)) < shown);
                engine.jump(now, chance);
            }
        }
    }

    #[test]
    fn no_jump_of_the_wall_clock_makes_the_time_of_the_engine_run_more_than_4_percent_fast() {
        for seed in 0..200 {
            let mut engine = EngineClock::of(seed, at(1_000_000));
            let chance = &mut Chance::new(seed);
            let (begin, from) = (engine.now(at(2_000_000)), at(2_000_000));
            for second in 3..60 {
                let now = at(second * 1_000_000);
                let passed = engine.now(now).since(begin);
                assert!(passed <= now.since(from).mul_f64(1.031) && passed >= now.since(from).mul_f64(0.97));
                engine.jump(now, chance);
            }
        }
    }
}

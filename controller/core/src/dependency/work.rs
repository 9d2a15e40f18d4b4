//! A measure of work: steps that the graph takes, counted in tests only.
//!
//! Tests of size compare steps with edges; a clock would say how busy the machine is instead. Every loop over waiters,
//! demands or lists of the graph calls `step` once a round. Outside of tests it is nothing.

#[cfg(test)]
thread_local! {
    static STEPS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// One round of a loop.
#[inline]
pub(super) fn step() {
    #[cfg(test)]
    STEPS.with(|steps| steps.set(steps.get() + 1));
}

/// The steps that this thread has taken so far.
#[cfg(test)]
pub(super) fn steps() -> u64 {
    STEPS.with(std::cell::Cell::get)
}

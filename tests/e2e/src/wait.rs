//! Waiting for a condition with a deadline: the one place of the tests where time passes.
//!
//! What is waited for lives in other processes, which cannot wake us, so the condition is looked at again and again, often at
//! first and then less so. A condition that fails for good should end the wait: return an error from it.

use anyhow::bail;
use std::time::{Duration, Instant};

/// How long anything may take that should take moments: generous, because the machine is shared and small.
pub const SOON: Duration = Duration::from_secs(30);

/// How long a step of real work may take, such as a hundred megabytes through every process.
pub const WORK: Duration = Duration::from_secs(90);

/// Shortest and longest time between two looks: short steps are not delayed, long ones do not eat a core.
const LOOK_MIN: Duration = Duration::from_millis(2);
const LOOK_MAX: Duration = Duration::from_millis(50);

/// Looks at `condition` until it answers something.
///
/// # Errors
/// The condition's own error, at once; or, after `deadline`, an error that says `what` was waited for.
pub fn wait_until<T>(
    deadline: Duration,
    what: &str,
    mut condition: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let start = Instant::now();
    let mut pause = LOOK_MIN;
    loop {
        if let Some(answer) = condition()? {
            return Ok(answer);
        }
        if start.elapsed() >= deadline {
            bail!("waited {} s in vain for: {what}", deadline.as_secs());
        }
        std::thread::park_timeout(pause);
        pause = (pause * 3 / 2).min(LOOK_MAX);
    }
}

/// `Some(())` if the condition holds: the form that [`wait_until`] takes.
#[must_use]
pub fn when(holds: bool) -> Option<()> {
    holds.then_some(())
}

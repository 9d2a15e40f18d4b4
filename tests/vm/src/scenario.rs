//! The list of scenarios that one boot of the guest serves: each named, timed, and told apart from the others' failures.
//!
//! They run in the order of the list, because a reboot comes last; one that fails does not keep the next ones from running,
//! but each leaves the node as it found it.

use crate::site::Site;
use std::time::Instant;

/// One thing to show.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// Its function's name.
    pub name: &'static str,
    /// What shows it.
    pub run: fn(&mut Site) -> anyhow::Result<()>,
}

/// Names scenarios after their functions.
#[macro_export]
macro_rules! scenarios {
    ($($path:path),* $(,)?) => {
        &[$($crate::Scenario { name: stringify!($path), run: $path }),*]
    };
}

/// Runs those whose names contain `filter`; how many failed.
pub fn run_all(site: &mut Site, scenarios: &[Scenario], filter: &str) -> usize {
    let mut failed = 0;
    for scenario in scenarios.iter().filter(|scenario| scenario.name.contains(filter)) {
        let start = Instant::now();
        let result = (scenario.run)(site);
        let seconds = start.elapsed().as_secs_f64();
        match result {
            Ok(()) => eprintln!("ok     {seconds:6.1} s  {}", scenario.name),
            Err(error) => {
                failed += 1;
                eprintln!("FAILED {seconds:6.1} s  {}: {error:#}\n{}", scenario.name, site.logs());
            }
        }
    }
    failed
}

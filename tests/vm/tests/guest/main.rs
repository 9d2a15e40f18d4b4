//! One boot of the guest for all scenarios: `cargo xtask test --vm [FILTER]` builds the binaries and runs it.
//!
//! Without a harness, because the test runner would start each test as a process of its own, with a guest of its own. Where
//! a guest cannot be had it says "skipped" and what is missing. Times of all parts go to stderr.

mod borrowed;
mod custody;
mod isolation;
mod limits;
mod node;
mod reboot;
mod words;

use muster_vm::scenario::run_all;
use muster_vm::{Scenario, Site, means, scenarios};
use std::process::ExitCode;
use std::time::Instant;

/// In the order in which they run: the reboot comes last, because it costs the most.
const SCENARIOS: &[Scenario] = scenarios![
    node::agent_installed_as_a_service_joins_and_says_what_it_can_enforce,
    node::units_are_written_as_systemd_wants_them,
    node::controller_runs_under_its_own_unit,
    limits::limits_of_a_task_are_those_of_its_delegated_group,
    limits::memory_limit_ends_the_whole_attempt_and_nothing_else,
    limits::fork_bomb_is_held_by_the_number_of_processes,
    limits::processor_quota_bounds_the_processor_time,
    limits::deaf_task_is_killed_when_its_time_is_over,
    limits::disk_limit_is_recorded_as_the_cause,
    isolation::task_sees_itself_and_nothing_of_the_node,
    isolation::daemon_of_a_task_ends_with_it,
    borrowed::supervisor_keeps_its_limits_on_v2,
    borrowed::disk_limits_hold_by_every_means_of_this_kernel,
    custody::agent_killed_under_running_tasks_is_restarted_and_takes_them_over,
    custody::supervisor_killed_under_running_tasks_is_replaced_and_their_exit_codes_come,
    custody::both_killed_at_once_come_back_to_the_running_tasks,
    custody::agent_restarted_by_systemd_takes_its_tasks_over,
    custody::upgrade_of_both_programs_leaves_running_tasks_running,
    custody::stopping_the_scope_ends_the_tasks_and_the_node_goes_on,
    reboot::machine_without_power_reports_its_attempts_lost_and_runs_them_again,
];

fn main() -> ExitCode {
    let filter = std::env::args().skip(1).find(|word| !word.starts_with('-')).unwrap_or_default();
    let means = match means::find() {
        Ok(means) => means,
        Err(missing) => {
            eprintln!("skipped: the tests in a virtual machine: this machine has no {missing}");
            return ExitCode::SUCCESS;
        }
    };
    let start = Instant::now();
    let failed = match Site::start(&means) {
        Ok(mut site) => run_all(&mut site, SCENARIOS, &filter),
        Err(error) => {
            eprintln!("FAILED the guest is no node: {error:#}");
            1
        }
    };
    eprintln!("{failed} scenarios failed; all took {:.1} s", start.elapsed().as_secs_f64());
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

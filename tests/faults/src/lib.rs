//! Real faults on real binaries: a site under load is killed, frozen, cut off and filled up, and afterwards everything is
//! compared: what clients were told, what is recorded, and what processes really did.
//!
//! Start at `round/`, one round of one scenario. `site.rs` is the controller and its nodes (on the harness of
//! `tests/e2e`); `load.rs` the clients, who write down what they are told (`told.rs`); `ledger.rs` what tasks themselves
//! write down (the program `labour`); `check/` the judgement, a pure function of the three. Scenarios are in `scenarios/`,
//! each a file; `runner.rs` runs them for minutes (`cargo xtask faults`), `tests/` for seconds each.
//!
//! Invariant: a round leaves no process, mount, group or folder behind but the evidence of a broken promise.

pub mod asker;
pub mod chance;
pub mod check;
pub mod client;
pub mod clock;
pub mod deed;
pub mod disk;
pub mod ledger;
pub mod load;
pub mod net;
pub mod plan;
pub mod read;
pub mod record;
pub mod round;
pub mod runner;
pub mod scenarios;
pub mod site;
pub mod told;
pub mod torn;
pub mod wall;
pub mod wire_call;

pub use chance::Chance;
pub use load::Load;
pub use plan::Plan;
pub use round::{Order, Report, Scenario, Turn};
pub use site::Site;

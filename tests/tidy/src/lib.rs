//! The law of the house, as checks that a test runs over the whole repository.
//!
//! Each check is one file and one pure function from what it looks at (texts, a graph of packages, the law) to
//! findings; a finding says where, what is wrong and what to do. `tests/law.rs` runs them on the repository,
//! one test for each. Only `tree.rs` and `metadata.rs` read anything.
//!
//! The arrows that are allowed stand in `layers.toml`. To add one, add it there: the diff is the question to
//! the reviewer. `cargo run -p muster-tidy --bin arrows` prints what the code does today.

pub mod arrows;
pub mod documents;
pub mod faults;
pub mod files;
pub mod finding;
pub mod habits;
pub mod law;
pub mod manifests;
pub mod metadata;
pub mod modules;
pub mod packages;
pub mod proto;
pub mod purity;
pub mod scan;
pub mod source;
pub mod tree;

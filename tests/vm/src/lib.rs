//! The harness of the tests in a virtual machine: a small Debian guest under QEMU that is a compute node.
//!
//! Its reason is what the machines that run the other tests lack: a whole cgroup v2 tree, systemd, and a reboot. The
//! controller runs on the host with the harness of `tests/e2e`; the agent is installed in the guest as an operator would,
//! with the unit of `deploy/systemd`. Start at `site.rs`; `means.rs` says what the host must have.
//!
//! Invariant: the guest ends with the test, however it ends, and leaves nothing but the cached image below `target/vm`.

pub mod borrowed;
pub mod drive;
pub mod guest;
pub mod image;
pub mod means;
pub mod qemu;
pub mod scenario;
pub mod serial;
pub mod site;
pub mod tool;

pub use guest::Guest;
pub use scenario::Scenario;
pub use site::Site;

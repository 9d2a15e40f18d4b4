//! `cargo xtask test`: every check and every test, in the order in which they fail fastest.
//!
//! Debug builds, one target folder. cargo-nextest runs the tests where it is installed, cargo test otherwise. The tests in
//! a virtual machine come last and alone: they take both processors for some minutes. They skip themselves where a
//! guest cannot be had; `--vm` runs nothing else, `--no-vm` everything else.

use crate::run::{cargo, check, has, install, say, seconds};
use std::path::Path;
use std::time::Instant;

/// What to test.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Skip the format check and the lints
    #[arg(long)]
    no_lint: bool,
    /// Run the tests in a virtual machine alone
    #[arg(long, conflicts_with = "no_vm")]
    vm: bool,
    /// Run all but the tests in a virtual machine
    #[arg(long)]
    no_vm: bool,
    /// Only tests whose names contain this; those in a virtual machine only with --vm
    filter: Option<String>,
}

/// Programs that the tests run, and the Debian packages that bring them.
pub(crate) const NEEDS: &[(&str, &str)] = &[
    ("cc", "gcc"),
    ("python3", "python3-minimal"),
    ("mount", "mount"),
    // Disk limits are shown on file systems of each kind.
    ("mkfs.ext4", "e2fsprogs"),
    ("mkfs.btrfs", "btrfs-progs"),
    ("mkfs.xfs", "xfsprogs"),
    ("setquota", "quota"),
    // Partitions are cut by a firewall's rules, in networks of their own.
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("nsenter", "util-linux"),
];

/// The same for the tests in a virtual machine.
const VM_NEEDS: &[(&str, &str)] = &[
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("mmdebstrap", "mmdebstrap"),
    ("objcopy", "binutils"),
    ("setpriv", "util-linux"),
];

/// What builds the binaries under test.
pub(crate) const BINARIES: [&str; 4] = ["build", "--quiet", "--workspace", "--bins"];

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    install(NEEDS)?;
    let start = Instant::now();
    if !options.vm {
        on_this_machine(options)?;
    }
    if options.vm || (!options.no_vm && options.filter.is_none()) {
        in_a_virtual_machine(options)?;
    }
    say(&format!("all checks and tests passed in {}", seconds(start.elapsed())));
    Ok(())
}

fn on_this_machine(options: &Options) -> anyhow::Result<()> {
    if !options.no_lint {
        step("format", &["fmt", "--all", "--check"])?;
        step("lints", &["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
        let planted = ["--features", "muster-sim/planted", "--package", "muster-sim", "--all-targets"];
        step(
            "lints of planted faults",
            &[&["clippy", "--quiet"], &planted[..], &["--", "-D", "warnings"]].concat(),
        )?;
    }
    // The end-to-end tests run the real binaries, which no test target builds by itself.
    step("binaries", &BINARIES)?;
    let filter: Vec<&str> = options.filter.as_deref().into_iter().collect();
    if has("cargo-nextest") {
        let arguments = ["nextest", "run", "--workspace", "--no-fail-fast"];
        step("tests", &[&arguments[..], &filter].concat())?;
    } else {
        step("tests", &[&["test", "--workspace", "--no-fail-fast", "--"][..], &filter].concat())?;
    }
    if options.filter.is_none() {
        // Of the whole workspace, so that nothing but the cores and the simulation is built a second time.
        let arguments =
            ["test", "--quiet", "--workspace", "--features", "muster-sim/planted", "--test", "planted"];
        step("planted faults", &arguments)?;
        step("documentation tests", &["test", "--quiet", "--workspace", "--doc"])?;
    }
    Ok(())
}

fn in_a_virtual_machine(options: &Options) -> anyhow::Result<()> {
    // Elsewhere the packages have other names, and the tests say what is missing.
    if Path::new("/etc/debian_version").exists() && nix::unistd::geteuid().is_root() {
        install(VM_NEEDS)?;
    }
    step("binaries", &BINARIES)?;
    let filter: Vec<&str> = options.filter.as_deref().into_iter().collect();
    // Of the whole workspace, as the other tests, so that nothing is built a second time with other features.
    let arguments = ["test", "--quiet", "--workspace", "--test", "guest", "--"];
    step("tests in a virtual machine", &[&arguments[..], &filter].concat())
}

fn step(name: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let start = Instant::now();
    say(&format!("== {name}"));
    check(cargo().args(arguments))?;
    say(&format!("== {name}: {}", seconds(start.elapsed())));
    Ok(())
}

//! The binary `muster`.
//!
//! It hands argv to the library and exits with what comes back; there is nothing here that a test could not reach there.

use std::process::ExitCode;

fn main() -> ExitCode {
    muster_cli::start(std::env::args_os())
}

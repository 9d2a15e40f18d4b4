//! Prints the line that docs/api.md must have for the .proto files as they are.
//!
//! It changes nothing: whoever copies the line into the page has looked at the page. The check is
//! `proto.rs`.

use std::process::ExitCode;

use muster_tidy::{proto, tree};

#[expect(clippy::print_stdout, reason = "a tool's result")]
fn main() -> ExitCode {
    match tree::texts(&tree::root()) {
        Ok(texts) => {
            println!("{}", proto::line(&proto::files(&texts)));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

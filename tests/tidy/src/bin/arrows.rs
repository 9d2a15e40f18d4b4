//! Prints the modules of each package and whom they know, in the form of `layers.toml`.
//!
//! With names of packages as arguments it prints those only. It is a help for writing the law, not the law:
//! each line should be read before it is copied.

use std::process::ExitCode;

use muster_tidy::{arrows, law::Law, modules, tree};

#[expect(clippy::print_stdout, reason = "a tool's result")]
fn main() -> ExitCode {
    let root = tree::root();
    let law = std::fs::read_to_string(root.join("tests/tidy/layers.toml"));
    let (texts, law) = match (tree::texts(&root), law.map(|text| Law::parse(&text))) {
        (Ok(texts), Ok(Ok(law))) => (texts, law),
        (Err(error), _) => return failed(&error),
        (_, Err(error)) => return failed(&error),
        (_, Ok(Err(error))) => return failed(&error),
    };
    let sources = tree::sources(&texts);
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    for (name, package) in law.package.iter().filter(|(name, _)| wanted.is_empty() || wanted.contains(name)) {
        let graph = arrows::read(name, &package.folder, &sources);
        let known = modules::top_arrows(&graph);
        println!("[package.{name}.modules]");
        for module in modules::top_modules(&graph) {
            let knows: Vec<&str> =
                known.keys().filter(|(from, _)| *from == module).map(|(_, to)| *to).collect();
            println!("{module} = {knows:?}");
        }
        println!();
    }
    ExitCode::SUCCESS
}

fn failed(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("{error}");
    ExitCode::FAILURE
}

//! What every manifest keeps: the workspace's lints, edition, license and versions; a reason for each crate; and
//! no path of a machine that somebody happened to work on, in any file.
//!
//! The reasons stand in docs/decisions.md, each beside the crate's name in backticks.

use std::collections::BTreeSet;

use crate::finding::Finding;
use crate::law::Law;
use crate::tree::TextFile;

/// What a member's `[package]` takes from the workspace.
const INHERITED: [&str; 6] = ["version", "edition", "rust-version", "license", "publish", "repository"];

/// How an absolute path of a work or home machine starts.
const MACHINE_PATHS: [&str; 4] =
    [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/Us", "ers/")];

/// Where the reasons stand.
pub const DECISIONS: &str = "docs/decisions.md";

/// What one member's manifest does not inherit, and which versions it chooses itself.
#[must_use]
pub fn member(manifest: &TextFile) -> Vec<Finding> {
    let table = match manifest.text.parse::<toml::Table>() {
        Ok(table) => table,
        Err(error) => return vec![Finding::new(&manifest.path, error.message(), "write valid TOML")],
    };
    let inherits = |value: Option<&toml::Value>| {
        value.and_then(|value| value.get("workspace")).and_then(toml::Value::as_bool) == Some(true)
    };
    let mut found = Vec::new();
    let package = table.get("package");
    for key in INHERITED.iter().filter(|key| !inherits(package.and_then(|package| package.get(key)))) {
        let remedy = format!("write '{key}.workspace = true' in [package]");
        found.push(Finding::new(&manifest.path, format!("it does not inherit '{key}'"), remedy));
    }
    if !inherits(table.get("lints")) {
        let remedy = "write 'workspace = true' in [lints]";
        found.push(Finding::new(&manifest.path, "it does not inherit the lints", remedy));
    }
    for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
        let named = table.get(section).and_then(toml::Value::as_table);
        for (name, value) in named.into_iter().flatten().filter(|(_, value)| !inherits(Some(value))) {
            let wrong = format!("it chooses its own version of '{name}' ({value})");
            let remedy = "put the crate into [workspace.dependencies] and write 'workspace = true' here";
            found.push(Finding::new(&manifest.path, wrong, remedy));
        }
    }
    found
}

/// The third-party crates of the workspace's manifest that have no line in docs/decisions.md.
#[must_use]
pub fn reasons(workspace: &str, decisions: Option<&str>) -> Vec<Finding> {
    let Some(decisions) = decisions else {
        let remedy = "write it, with a line for each third-party crate";
        return vec![Finding::new(DECISIONS, "the file is not there", remedy)];
    };
    let table = match workspace.parse::<toml::Table>() {
        Ok(table) => table,
        Err(error) => return vec![Finding::new("Cargo.toml", error.message(), "write valid TOML")],
    };
    let named = table.get("workspace").and_then(|workspace| workspace.get("dependencies"));
    let named = named.and_then(toml::Value::as_table).into_iter().flatten();
    let quoted: BTreeSet<&str> = decisions.split('`').skip(1).step_by(2).collect();
    named
        .filter(|(_, value)| value.get("path").is_none())
        .filter(|(name, _)| !quoted.contains(name.as_str()))
        .map(|(name, _)| {
            let remedy = format!("write `{name}` there: what it is for and what else was looked at");
            Finding::new(DECISIONS, format!("it gives no reason for the crate '{name}'"), remedy)
        })
        .collect()
}

/// Absolute paths of somebody's machine in a file.
#[must_use]
pub fn machine_paths(law: &Law, file: &TextFile) -> Vec<Finding> {
    let mut found = Vec::new();
    for (number, line) in file.text.lines().enumerate() {
        let Some(path) = MACHINE_PATHS.iter().find(|path| starts_a_word(line, path)) else { continue };
        if !law.excepts(&file.path, path) {
            let place = format!("{}:{}", file.path, number + 1);
            let remedy = "make it a setting, or relative to the repository";
            found.push(Finding::new(place, format!("it names a path below '{path}'"), remedy));
        }
    }
    found
}

/// Whether `path` stands in `line` as the beginning of a path, not in the middle of one.
fn starts_a_word(line: &str, path: &str) -> bool {
    let before = |at: usize| line[..at].chars().next_back();
    let in_the_middle =
        |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '}' | '>' | '/' | '~' | '$');
    line.match_indices(path).any(|(at, _)| !before(at).is_some_and(in_the_middle))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::report;

    fn file(path: &str, text: &str) -> TextFile {
        TextFile { path: path.to_owned(), text: text.to_owned() }
    }

    const GOOD: &str = "[package]\nname = 'a'\nversion.workspace = true\nedition.workspace = true\n\
         rust-version.workspace = true\nlicense.workspace = true\npublish.workspace = true\n\
         repository.workspace = true\n[lints]\nworkspace = true\n[dependencies]\nserde.workspace = true\n\
         tokio = { workspace = true, features = ['net'] }\n";

    #[test]
    fn member_inherits_what_is_decided_once() {
        let said = |text: &str| report(&member(&file("a/Cargo.toml", text)));
        assert_eq!(said(GOOD), "");
        for key in INHERITED {
            let without = GOOD.replace(&format!("\n{key}.workspace = true"), &format!("\n{key} = 'x'"));
            assert!(said(&without).contains(&format!("does not inherit '{key}'")), "{without}");
        }
        assert!(said(&GOOD.replace("[lints]\nworkspace", "[lints]\nother")).contains("inherit the lints"));
        assert!(
            said(&GOOD.replace("serde.workspace = true", "serde = '1'")).contains("own version of 'serde'")
        );
        assert!(said("a = = b").contains("write valid TOML"));
    }

    #[test]
    fn each_third_party_crate_needs_its_reason() {
        let workspace = "[workspace.dependencies]\nours = { path = 'o' }\nserde = '1'\n";
        let said = |decisions| report(&reasons(workspace, decisions));
        assert_eq!(said(Some("* `serde`: reads settings")), "");
        assert!(said(Some("* serde: reads settings")).contains("no reason for the crate 'serde'"));
        assert!(said(None).contains("the file is not there"));
    }

    #[test]
    fn path_of_a_machine_is_found_in_any_file() {
        let law = Law::default();
        for path in MACHINE_PATHS {
            let said = |text: String| report(&machine_paths(&law, &file("a.md", &text)));
            assert!(said(format!("see\n{path}x")).contains("a.md:2"), "{path}");
            assert!(said(format!("\"{path}x\"")).contains("names a path"), "{path}");
            assert_eq!(said(format!("url/x{path}y")), "", "{path}");
        }
    }
}

//! The architecture page against the repository: what it names must exist, and what exists must be on its map. Of the other
//! pages the tests that they name must exist.
//!
//! A path is text in backticks that starts with a folder of the repository or ends like a source file. A test is
//! a name in square brackets, `[one_live_attempt]`, which headers of files use too. The code map has for each
//! package a line that names its folder first; its top modules are named from there to the next package's line.

use std::collections::{BTreeMap, BTreeSet};

use crate::finding::Finding;
use crate::source::Source;

/// The page.
pub const ARCHITECTURE: &str = "docs/architecture.md";

/// What exists.
#[derive(Debug, Clone, Default)]
pub struct Repository {
    /// Every file, from the root of the repository.
    pub files: BTreeSet<String>,
    /// Every function name in the sources.
    pub functions: BTreeSet<String>,
    /// The top modules of each package, by the package's folder.
    pub modules: BTreeMap<String, BTreeSet<String>>,
}

/// Where the page and the repository differ.
#[must_use]
pub fn check(page: Option<&str>, repository: &Repository) -> Vec<Finding> {
    let Some(page) = page else {
        let remedy = "write it: one picture, one task's way, a code map, invariants with their tests";
        return vec![Finding::new(ARCHITECTURE, "the file is not there", remedy)];
    };
    let mut found = paths(page, repository);
    found.extend(tests_in(ARCHITECTURE, &without_fences(page), repository));
    found.extend(map(page, repository));
    found
}

/// Tests named in the header of a source file that do not exist.
#[must_use]
pub fn header(source: &Source, repository: &Repository) -> Vec<Finding> {
    let header: Vec<&str> = source.text.lines().take_while(|line| line.starts_with("//!")).collect();
    tests_in(&source.path, &header.join("\n"), repository)
}

/// Tests named on another page, which may name tests and draws no map, that do not exist.
#[must_use]
pub fn page(place: &str, text: &str, repository: &Repository) -> Vec<Finding> {
    tests_in(place, &without_fences(text), repository)
}

/// The page with the lines of its fenced blocks left empty.
fn without_fences(page: &str) -> String {
    let mut inside = false;
    let lines = page.lines().map(|line| {
        let fence = line.trim_start().starts_with("```");
        inside ^= fence;
        if inside || fence { "" } else { line }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Texts in backticks, each with its line.
fn quoted(text: &str) -> Vec<(usize, &str)> {
    let lines = text.lines().enumerate();
    lines
        .flat_map(|(number, line)| line.split('`').skip(1).step_by(2).map(move |word| (number + 1, word)))
        .collect()
}

/// Paths in backticks that do not exist.
fn paths(page: &str, repository: &Repository) -> Vec<Finding> {
    let page = without_fences(page);
    let exists = |path: &str| {
        let path = path.trim_end_matches('/');
        let folder = format!("{path}/");
        repository.files.contains(path) || repository.files.iter().any(|file| file.starts_with(&folder))
    };
    let somewhere = |name: &str| {
        let end = format!("/{name}");
        repository.files.iter().any(|file| file == name || file.ends_with(&end))
    };
    let tops: BTreeSet<&str> =
        repository.files.iter().filter_map(|file| file.split_once('/')).map(|(top, _)| top).collect();
    let mut found = Vec::new();
    for (line, word) in quoted(&page) {
        // A line number or a glob behind a path is not part of it.
        let path = word.split([':', '*']).next().unwrap_or(word);
        let is_plain =
            !path.is_empty() && path.chars().all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c));
        let in_folder = path.split_once('/').is_some_and(|(top, _)| tops.contains(top));
        let is_source = [".rs", ".proto", ".toml", ".md"].iter().any(|end| path.ends_with(end));
        let is_there = if in_folder { exists(path) } else { somewhere(path) };
        if is_plain && (in_folder || is_source) && !is_there {
            let place = format!("{ARCHITECTURE}:{line}");
            found.push(Finding::new(place, format!("'{path}' does not exist"), "name what is there today"));
        }
    }
    found
}

/// Names in square brackets that look like tests and are none.
fn tests_in(place: &str, text: &str, repository: &Repository) -> Vec<Finding> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for (at, _) in line.match_indices('[') {
            let Some((name, behind)) = line[at + 1..].split_once(']') else { continue };
            let is_name = name.contains('_')
                && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
            // `[text](target)` is a link, `#[name]` an attribute.
            let is_link = behind.starts_with('(') || line[..at].ends_with(['#', '!']);
            if is_name && !is_link && !repository.functions.contains(name) {
                let remedy = "name the test that keeps the invariant, or write it";
                let place = format!("{place}:{}", number + 1);
                found.push(Finding::new(place, format!("there is no test '{name}'"), remedy));
            }
        }
    }
    found
}

/// Packages and top modules that are not on the map.
fn map(page: &str, repository: &Repository) -> Vec<Finding> {
    let lines: Vec<&str> = page.lines().collect();
    // The package that a line is about: the one whose folder is the first thing in backticks on it.
    let about = |line: &str| {
        let first = line.split('`').nth(1)?.trim_end_matches('/');
        repository.modules.keys().find(|folder| folder.as_str() == first)
    };
    let mut found = Vec::new();
    for (folder, modules) in &repository.modules {
        let starts: Vec<usize> = (0..lines.len()).filter(|at| about(lines[*at]) == Some(folder)).collect();
        if starts.is_empty() {
            let remedy = format!("give it a line in the code map that starts with `{folder}` in backticks");
            found.push(Finding::new(
                ARCHITECTURE,
                format!("the package '{folder}' is not on the map"),
                remedy,
            ));
            continue;
        }
        let mut named: BTreeSet<String> = BTreeSet::new();
        for start in starts {
            let until =
                (start + 1..lines.len()).find(|at| about(lines[*at]).is_some_and(|other| other != folder));
            let section = lines[start..until.unwrap_or(lines.len())].join("\n");
            named.extend(quoted(&section).into_iter().filter_map(|(_, word)| module_of(folder, word)));
        }
        for module in modules.iter().filter(|module| !named.contains(*module)) {
            let wrong = format!("the module '{module}' of '{folder}' is not on the map");
            let remedy = format!("name `{module}` in backticks below the line of `{folder}`");
            found.push(Finding::new(ARCHITECTURE, wrong, remedy));
        }
    }
    found
}

/// The top module that a word in the section of `folder` means: `task`, `task.rs`, `src/task/x.rs` or a full path.
fn module_of(folder: &str, word: &str) -> Option<String> {
    let word = word.split("::").next().unwrap_or(word);
    let word = word.strip_prefix(folder).unwrap_or(word).trim_start_matches('/');
    let first = word.strip_prefix("src/").unwrap_or(word).split('/').next()?;
    let module = first.strip_suffix(".rs").unwrap_or(first);
    Some(module.to_owned()).filter(|module| !module.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::report;

    fn repository() -> Repository {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        Repository {
            files: set(&[
                "core/src/task.rs",
                "core/src/lib.rs",
                "core/src/place/mod.rs",
                "Cargo.toml",
                "cli/src/lib.rs",
            ]),
            functions: set(&["one_live_attempt"]),
            modules: BTreeMap::from([
                ("core".to_owned(), set(&["task", "place"])),
                ("cli".to_owned(), set(&[])),
            ]),
        }
    }

    const MAP: &str = "* `core`: `task.rs`, then `place`\n* `cli`: the tool\n";

    fn said(more: &str) -> String {
        report(&check(Some(&format!("{more}\n{MAP}")), &repository()))
    }

    #[test]
    fn path_that_does_not_exist_is_found() {
        for good in [
            "`core/src/task.rs`",
            "`core/src/`",
            "`task.rs`",
            "`Cargo.toml`",
            "`core/src/place/*.rs`",
            "`wd/x`",
            "`Core::handle`",
            "`core/src/task.rs:12`",
        ] {
            assert_eq!(said(good), "", "{good}");
        }
        for bad in ["`core/src/job.rs`", "`job.rs`", "`core/bench`", "`x/y.proto`", "`core/src/job/*.rs`"] {
            assert!(said(bad).contains("does not exist"), "{bad}");
        }
        assert_eq!(said("```\n`core/src/job.rs`\n```"), "");
    }

    #[test]
    fn test_that_does_not_exist_is_found_on_the_page_and_in_headers() {
        assert_eq!(said("Attempts only grow. [one_live_attempt]"), "");
        assert!(said("Attempts only grow. [two_live_attempts]").contains("no test 'two_live_attempts'"));
        assert_eq!(said("[a_link](https://example.org) and #[an_attribute] and [text]"), "");
        let other = |text: &str| report(&page("docs/a.md", text, &repository()));
        assert_eq!(other("Kept. [one_live_attempt]\n```\n[not_in_a_fence]\n```"), "");
        assert!(other("Fine.\nKept. [two_live_attempts]").contains("docs/a.md:2: there is no test"));
        let source = |text: &str| report(&header(&Source::new("a.rs", text), &repository()));
        assert_eq!(source("//! Keeps it. [one_live_attempt]\n// [not_in_header]"), "");
        assert!(source("//! One.\n//! Keeps it. [no_such_test]").contains("a.rs:2: there is no test"));
    }

    #[test]
    fn package_or_module_that_is_not_on_the_map_is_found() {
        let said = |page: &str| report(&check(Some(page), &repository()));
        assert!(said("* `core`: `task`, `place`").contains("the package 'cli' is not on the map"));
        assert!(
            said("* `core`: `task`\n* `cli`: `place`")
                .contains("the module 'place' of 'core' is not on the map")
        );
        assert_eq!(said("### `core/`\n`core/src/task.rs` and\n`place/mod.rs`\n### `cli`"), "");
        assert!(report(&check(None, &repository())).contains("the file is not there"));
    }
}

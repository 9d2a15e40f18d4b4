//! What every Rust file owes its reader: a header, a bounded length, functions that fit on a screen, and, in
//! `lib.rs` and `mod.rs`, nothing but docs and re-exports.
//!
//! The length of a file counts all lines; the length of a function counts lines with code, as clippy does.

use crate::finding::Finding;
use crate::scan::{Token, functions, item_end, tokens};
use crate::source::Source;

/// The fewest and the most lines of a header: fewer say nothing, more are a page for `docs/`.
const HEADER_LINES: std::ops::RangeInclusive<usize> = 3..=12;

/// The most lines of a file. We aim at 300; beyond this a file has more than one subject.
const FILE_LINES_MAX: usize = 700;

/// The most lines of code in a function. The same number stands in `clippy.toml`.
const FUNCTION_LINES_MAX: usize = 70;

/// Everything this file checks.
#[must_use]
pub fn check(source: &Source) -> Vec<Finding> {
    let mut found = header(source);
    found.extend(length(source));
    found.extend(long_functions(source));
    // Below a package's `tests`, `mod.rs` is how cargo is told that a file is no test of its own.
    if matches!(source.file_name(), "lib.rs" | "mod.rs") && source.path.contains("src/") {
        found.extend(only_re_exports(source));
    }
    found
}

/// The header must be the first thing in the file.
fn header(source: &Source) -> Vec<Finding> {
    let lines = source.text.lines().take_while(|line| line.starts_with("//!")).count();
    if HEADER_LINES.contains(&lines) {
        return Vec::new();
    }
    vec![Finding::new(
        &source.path,
        format!("its header has {lines} lines"),
        "open the file with 3 to 12 lines of '//!': what it owns, what it never does, the invariant to keep in \
         mind, where to look next",
    )]
}

fn length(source: &Source) -> Vec<Finding> {
    let lines = source.text.lines().count();
    if lines <= FILE_LINES_MAX {
        return Vec::new();
    }
    vec![Finding::new(
        &source.path,
        format!("it has {lines} lines, more than {FILE_LINES_MAX}"),
        "split it by entity or by phase, never by size",
    )]
}

fn long_functions(source: &Source) -> Vec<Finding> {
    functions(&source.code)
        .iter()
        .filter(|function| function.code_lines > FUNCTION_LINES_MAX)
        .map(|function| {
            Finding::new(
                format!("{}:{}", source.path, function.line),
                format!(
                    "'{}' has {} lines, more than {FUNCTION_LINES_MAX}",
                    function.name, function.code_lines
                ),
                "give its parts names of their own",
            )
        })
        .collect()
}

/// In `lib.rs` and `mod.rs` each item must be a `mod x;`, a `use` or an inner attribute.
fn only_re_exports(source: &Source) -> Vec<Finding> {
    let tokens = tokens(&source.production);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if let Some(behind) = attribute_end(&tokens, at) {
            at = behind;
            continue;
        }
        let end = item_end(&tokens, at);
        let item = &tokens[at..end];
        let keyword = item.iter().position(|token| matches!(token.text, "mod" | "use" | "extern"));
        let visible_only = |words: &[Token<'_>]| {
            words
                .iter()
                .all(|token| matches!(token.text, "pub" | "(" | ")" | "crate" | "super" | "in" | "::"))
        };
        let declares = keyword.is_some_and(|word| {
            visible_only(&item[..word])
                && !(item[word].text == "mod" && item.iter().any(|token| token.text == "{"))
        });
        if !declares && let Some(first) = item.first() {
            found.push(Finding::new(
                format!("{}:{}", source.path, first.line),
                format!("an item that starts with '{}' stands here", first.text),
                "lib.rs and mod.rs hold docs, attributes, 'mod x;' and 'use' only: move it to a file of its own",
            ));
        }
        at = end.max(at + 1);
    }
    found
}

/// The index behind the attribute at `at`, if there is one.
fn attribute_end(tokens: &[Token<'_>], at: usize) -> Option<usize> {
    if tokens.get(at)?.text != "#" {
        return None;
    }
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate().skip(at + 1) {
        match token.text {
            "!" if depth == 0 => {}
            "[" => depth += 1,
            "]" if depth == 1 => return Some(index + 1),
            "]" => depth = depth.saturating_sub(1),
            _ if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::report;

    const HEADER: &str = "//! One.\n//! Two.\n//! Three.\n";

    fn said(path: &str, text: &str) -> String {
        report(&check(&Source::new(path, text)))
    }

    #[test]
    fn header_of_three_to_twelve_lines_is_required() {
        assert_eq!(said("a.rs", HEADER), "");
        for text in ["", "//! One.\n//! Two.\n", "use a;\n//! 1\n//! 2\n//! 3\n", "// 1\n// 2\n// 3\n"] {
            assert!(said("a.rs", text).contains("its header has"), "{text}");
        }
        assert_eq!(said("a.rs", &"//!\n".repeat(12)), "");
        assert!(said("a.rs", &"//!\n".repeat(13)).contains("13 lines"));
    }

    #[test]
    fn long_file_is_found() {
        assert_eq!(said("a.rs", &format!("{HEADER}{}", "\n".repeat(697))), "");
        assert!(said("a.rs", &format!("{HEADER}{}", "\n".repeat(698))).contains("701 lines"));
    }

    #[test]
    fn long_function_is_found_and_comments_in_it_do_not_count() {
        let function = |line: &str, count| format!("{HEADER}fn f() {{\n{}}}\n", line.repeat(count));
        assert_eq!(said("a.rs", &function("x();\n", 70)), "");
        assert!(said("a.rs", &function("x();\n", 71)).contains("'f' has 71 lines"));
        assert_eq!(said("a.rs", &function("// x();\n", 71)), "");
    }

    #[test]
    fn root_files_hold_declarations_only() {
        let good = "#![deny(x)]\npub mod a;\npub(crate) mod b;\n#[cfg(feature = \"c\")]\nmod c;\npub use a::{A, b::{C}};\n#[cfg(test)]\nmod laws;\n";
        assert_eq!(said("x/src/lib.rs", &format!("{HEADER}{good}")), "");
        for bad in
            ["pub fn f() {}", "mod a { }", "pub struct A;", "const X: u8 = 1;", "macro_rules! m { () => {} }"]
        {
            let text = format!("{HEADER}mod z;\n{bad}\n");
            assert!(
                said("x/src/a/mod.rs", &text).contains("mod.rs:5"),
                "{bad}: {}",
                said("x/src/a/mod.rs", &text)
            );
            assert_eq!(said("x/src/a.rs", &text), "");
            assert_eq!(said("x/tests/a/mod.rs", &text), "");
        }
    }
}

//! What the pure packages may not name, and where unsafe code may stand.
//!
//! The cores decide the same from the same input, in a test, in the simulation and after a crash. A clock, a
//! random number, a file or the order of a hash map would end that; the words that bring them in stand in the
//! law. Tests of a pure package keep the rule too: a test that reads a clock fails once a year.

use crate::finding::Finding;
use crate::law::Law;
use crate::scan::tokens;
use crate::source::Source;

/// How many lines above unsafe code the comment that proves it sound may start.
const SAFETY_LINES: usize = 8;

/// Everything this file checks.
#[must_use]
pub fn check(law: &Law, source: &Source) -> Vec<Finding> {
    let Some((_, package)) = law.package_of(&source.path) else { return Vec::new() };
    let mut found = unsafe_code(source, package.unsafe_code);
    if package.pure {
        found.extend(banned_words(law, source));
    }
    found
}

/// A banned word is one token (`HashMap`) or a path of them (`std::fs`).
fn banned_words(law: &Law, source: &Source) -> Vec<Finding> {
    let code = tokens(&source.code);
    let mut found = Vec::new();
    for (word, instead) in &law.words_banned_in_pure {
        if law.excepts(&source.path, word) {
            continue;
        }
        let wanted = tokens(word);
        for start in code.windows(wanted.len().max(1)) {
            if !wanted.is_empty() && start.iter().zip(&wanted).all(|(here, wanted)| here.text == wanted.text)
            {
                found.push(Finding::new(
                    format!("{}:{}", source.path, start[0].line),
                    format!("a pure package names '{word}'"),
                    instead.clone(),
                ));
            }
        }
        found.extend(grouped(&code, word, source, instead));
    }
    found
}

/// The second half of a banned path inside the braces of a `use`: `use std::{fs, io}`.
fn grouped(code: &[crate::scan::Token<'_>], word: &str, source: &Source, instead: &str) -> Vec<Finding> {
    let Some((first, last)) = word.split_once("::").filter(|(_, last)| !last.contains("::")) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for (at, words) in code.windows(3).enumerate() {
        if words[0].text != first || words[1].text != "::" || words[2].text != "{" {
            continue;
        }
        let mut depth = 0_usize;
        for (index, token) in code.iter().enumerate().skip(at + 2) {
            match token.text {
                "{" => depth += 1,
                "}" if depth == 1 => break,
                "}" => depth = depth.saturating_sub(1),
                name if name == last && depth == 1 && matches!(code[index - 1].text, "{" | ",") => {
                    let place = format!("{}:{}", source.path, token.line);
                    found.push(Finding::new(place, format!("a pure package names '{word}'"), instead));
                }
                _ => {}
            }
        }
    }
    found
}

/// Unsafe code outside the packages that may have it, or without the proof beside it.
fn unsafe_code(source: &Source, allowed: bool) -> Vec<Finding> {
    let lines: Vec<&str> = source.text.lines().collect();
    let code = tokens(&source.code);
    let mut found = Vec::new();
    for token in code.iter().filter(|token| token.text == "unsafe") {
        let above = &lines[token.line.saturating_sub(SAFETY_LINES + 1)..token.line.min(lines.len())];
        let proved = above.iter().any(|line| line.contains("SAFETY:") || line.contains("# Safety"));
        let place = format!("{}:{}", source.path, token.line);
        if !allowed {
            let remedy = "only the supervisor may: use a safe wrapper, or put it there";
            found.push(Finding::new(place, "unsafe code", remedy));
        } else if !proved {
            let remedy = "write '// SAFETY:' above it and say why it is sound";
            found.push(Finding::new(place, "unsafe code without a proof", remedy));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::report;

    fn said(path: &str, text: &str) -> String {
        let law = Law::parse(
            "[banned]\n[banned_in_pure]\n[words_banned_in_pure]\n\
             HashMap = 'use a BTreeMap'\n'std::fs' = 'no files'\n'Instant::now' = 'time is an argument'\n\
             [[exceptions]]\nfile = 'core/src/index.rs'\nword = 'HashMap'\nreason = 'r'\n\
             [package.core]\nfolder = 'core'\nfloor = 1\nside = 'controller'\npure = true\n\
             [package.custody]\nfolder = 'custody'\nfloor = 1\nside = 'node'\nunsafe_code = true\n",
        )
        .unwrap();
        report(&check(&law, &Source::new(path, text)))
    }

    #[test]
    fn banned_words_are_found_in_pure_packages_only() {
        for text in [
            "use std::collections::HashMap;",
            "fn f() { let a = std::time::Instant::now(); }",
            "use std::fs::File;",
            "use std::{io, fs};",
            "use std::{fs::File, io};",
            "#[cfg(test)]\nmod tests { use std::collections::HashMap; }",
        ] {
            assert!(said("core/src/a.rs", text).contains("a pure package names"), "{text}");
            assert_eq!(said("custody/src/a.rs", text), "", "{text}");
        }
        for text in [
            "// HashMap",
            "let a = \"HashMap\";",
            "use std::fmt;",
            "struct MyHashMap;",
            "use std::{io::{fs}};",
        ] {
            assert_eq!(said("core/src/a.rs", text), "", "{text}");
        }
    }

    #[test]
    fn exception_holds_for_its_file_and_word() {
        let text = "use std::collections::HashMap;";
        assert_eq!(said("core/src/index.rs", text), "");
        assert!(said("core/src/index.rs", "use std::fs;").contains("std::fs"));
    }

    #[test]
    fn unsafe_code_needs_its_place_and_its_proof() {
        let (bare, proved) = ("fn f() { unsafe { g() } }", "// SAFETY: g has no conditions.\nunsafe { g() }");
        assert!(said("core/src/a.rs", proved).contains("only the supervisor may"));
        assert!(said("custody/src/a.rs", bare).contains("without a proof"));
        assert_eq!(said("custody/src/a.rs", proved), "");
        assert_eq!(said("core/src/a.rs", "#![deny(unsafe_code)] // unsafe"), "");
    }
}

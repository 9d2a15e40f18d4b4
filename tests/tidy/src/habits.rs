//! Small habits that erode one exception at a time: no unfinished work, no test that is switched off, no test
//! that sleeps.
//!
//! The words that it looks for are put together from halves here, so that this file does not find itself.

use crate::finding::Finding;
use crate::law::Law;
use crate::scan::tokens;
use crate::source::Source;

/// Words for work that somebody means to do later.
const LATER: [&str; 4] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("HA", "CK")];

/// Macros that stand where code should.
const STUBS: [&str; 2] = [concat!("to", "do"), concat!("unimple", "mented")];

/// Everything this file checks.
#[must_use]
pub fn check(law: &Law, source: &Source) -> Vec<Finding> {
    let mut found = later(source);
    found.extend(stubs(source));
    found.extend(switched_off(source));
    if !law.excepts(&source.path, "sleep") {
        found.extend(sleeping(source));
    }
    found
}

/// Words for later work, in comments too.
fn later(source: &Source) -> Vec<Finding> {
    let mut found = Vec::new();
    for (number, line) in source.text.lines().enumerate() {
        let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
        if let Some(word) = words.find(|word| LATER.contains(word)) {
            let remedy = "do it, or say what is so and why; plans live in the issue tracker";
            found.push(Finding::new(format!("{}:{}", source.path, number + 1), format!("'{word}'"), remedy));
        }
    }
    found
}

fn stubs(source: &Source) -> Vec<Finding> {
    let code = tokens(&source.code);
    let calls = code.windows(2).filter(|words| words[1].text == "!" && STUBS.contains(&words[0].text));
    calls
        .map(|words| {
            let place = format!("{}:{}", source.path, words[0].line);
            Finding::new(place, format!("'{}!' stands for code", words[0].text), "write the code")
        })
        .collect()
}

fn switched_off(source: &Source) -> Vec<Finding> {
    let code = tokens(&source.code);
    let wanted = ["#", "[", "ignore"];
    let attributes = code.windows(3).filter(|words| words.iter().zip(wanted).all(|(a, b)| a.text == b));
    attributes
        .map(|words| {
            let place = format!("{}:{}", source.path, words[0].line);
            Finding::new(place, "a test is switched off", "mend it, or remove it")
        })
        .collect()
}

/// Calls of `sleep` in test code.
fn sleeping(source: &Source) -> Vec<Finding> {
    let code = source.test_code();
    let code = tokens(&code);
    let is_call = |words: &&[crate::scan::Token<'_>]| {
        matches!(words[1].text, "sleep" | "sleep_until") && words[2].text == "(" && words[0].text != "fn"
    };
    code.windows(3)
        .filter(is_call)
        .map(|words| {
            Finding::new(
                format!("{}:{}", source.path, words[1].line),
                "a test sleeps",
                "wait on a condition with a deadline; the one polling helper of a package is an exception in \
                 tests/tidy/layers.toml with word = \"sleep\"",
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::report;

    fn said(path: &str, text: &str) -> String {
        let law = Law::parse(
            "[banned]\n[banned_in_pure]\n[words_banned_in_pure]\n[package]\n\
             [[exceptions]]\nfile = 'tests/e2e/src/wait.rs'\nword = 'sleep'\nreason = 'r'\n",
        );
        report(&check(&law.unwrap(), &Source::new(path, text)))
    }

    #[test]
    fn unfinished_work_is_found_in_comments_and_code() {
        for word in LATER {
            assert!(said("a.rs", &format!("// {word}: more")).contains(word));
            assert_eq!(said("a.rs", &format!("// {}X{word}", word)), "");
        }
        for stub in STUBS {
            assert!(said("a.rs", &format!("fn f() {{ {stub}!() }}")).contains("stands for code"));
            assert_eq!(said("a.rs", &format!("fn {stub}() {{}} // {stub}!()")), "");
        }
    }

    #[test]
    fn test_that_is_switched_off_is_found() {
        for attribute in ["#[ignore]", "#[ignore = \"slow\"]", "# [ ignore ]"] {
            assert!(said("a.rs", &format!("{attribute}\nfn f() {{}}")).contains("switched off"));
        }
        assert_eq!(said("a.rs", "#[serde(ignore)]\nstruct A;"), "");
    }

    #[test]
    fn sleep_is_found_in_tests_and_allowed_in_production_and_in_exceptions() {
        for call in ["std::thread::sleep(d)", "tokio::time::sleep(d).await", "sleep(d)", "sleep_until(d)"] {
            let inline = format!("#[cfg(test)]\nmod tests {{ fn f() {{ {call}; }} }}");
            assert!(said("a/src/b.rs", &inline).contains("a/src/b.rs:2: a test sleeps"), "{call}");
            let text = format!("fn f() {{ {call}; }}");
            assert!(said("a/tests/b.rs", &text).contains("a test sleeps"), "{call}");
            assert_eq!(said("a/src/b.rs", &text), "", "{call}");
            assert_eq!(said("tests/e2e/src/wait.rs", &text), "", "{call}");
        }
    }
}

//! One Rust file as the checks see it: its text, and its code without comments, texts and test code.
//!
//! Blanked parts are replaced by spaces and keep their line breaks, so that a line number is the same in every
//! form. It is a scanner, not a parser: it knows just enough of the language's lexical grammar (nested
//! comments, raw texts, characters against lifetimes) never to take a word in a comment for code.
//!
//! Invariant: `text`, `code` and `production` have the same number of lines.

use crate::scan::{Token, item_end, tokens};

/// A Rust file.
#[derive(Debug, Clone)]
pub struct Source {
    /// The path below the repository, with forward slashes.
    pub path: String,
    /// The whole text.
    pub text: String,
    /// The text without comments and without the content of texts and characters.
    pub code: String,
    /// The code without items that are compiled for tests only.
    pub production: String,
}

impl Source {
    /// Scans a text.
    pub fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        let text = text.into();
        let code = blank_comments_and_texts(&text);
        let production = blank_test_items(&code);
        Self { path: path.into(), text, code, production }
    }

    /// The name of the file without its folder.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// Whether the whole file is test code: it lies below a `tests` or `benches` folder.
    #[must_use]
    pub fn is_test_file(&self) -> bool {
        self.path.split('/').rev().skip(1).any(|folder| folder == "tests" || folder == "benches")
    }

    /// What is compiled for tests only: the code without the production code.
    #[must_use]
    pub fn test_code(&self) -> String {
        if self.is_test_file() {
            return self.code.clone();
        }
        let keep = |(code, production): (char, char)| {
            if code == production && code != '\n' { ' ' } else { code }
        };
        self.code.chars().zip(self.production.chars()).map(keep).collect()
    }
}

/// Replaces comments and the content of texts and characters by spaces.
fn blank_comments_and_texts(text: &str) -> String {
    let mut scan = Scan { chars: text.chars().collect(), at: 0, code: String::with_capacity(text.len()) };
    while scan.at < scan.chars.len() {
        match (scan.peek(0), scan.peek(1)) {
            ('/', '/') => scan.blank_while(|c| c != '\n'),
            ('/', '*') => scan.blank_block_comment(),
            ('"', _) => scan.blank_text(),
            ('\'', _) => scan.blank_character(),
            (first, _) if first.is_alphanumeric() || first == '_' => scan.word(),
            _ => scan.keep(1),
        }
    }
    scan.code
}

/// A pass over the characters of a file that copies or blanks each of them once.
struct Scan {
    chars: Vec<char>,
    at: usize,
    code: String,
}

impl Scan {
    /// The character `ahead` of the current one, or NUL behind the end.
    fn peek(&self, ahead: usize) -> char {
        self.chars.get(self.at + ahead).copied().unwrap_or('\0')
    }

    fn keep(&mut self, count: usize) {
        let end = (self.at + count).min(self.chars.len());
        // What is not ASCII becomes a letter: then every character of the code is one byte.
        self.code.extend(self.chars[self.at..end].iter().map(|c| if c.is_ascii() { *c } else { 'x' }));
        self.at = end;
    }

    fn blank(&mut self, count: usize) {
        let end = (self.at + count).min(self.chars.len());
        self.code.extend(self.chars[self.at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
        self.at = end;
    }

    fn blank_while(&mut self, inside: impl Fn(char) -> bool) {
        while self.at < self.chars.len() && inside(self.peek(0)) {
            self.blank(1);
        }
    }

    fn blank_block_comment(&mut self) {
        let mut depth = 0;
        while self.at < self.chars.len() {
            match (self.peek(0), self.peek(1)) {
                ('/', '*') => depth += 1,
                ('*', '/') => depth -= 1,
                _ => {
                    self.blank(1);
                    continue;
                }
            }
            self.blank(2);
            if depth == 0 {
                return;
            }
        }
    }

    /// A text in double quotes; the quotes stay.
    fn blank_text(&mut self) {
        self.keep(1);
        while self.at < self.chars.len() && self.peek(0) != '"' {
            self.blank(if self.peek(0) == '\\' { 2 } else { 1 });
        }
        self.keep(1);
    }

    /// A character in single quotes; the quote of a lifetime is kept and the rest read as a word.
    fn blank_character(&mut self) {
        let is_character = self.peek(1) == '\\' || self.peek(2) == '\'';
        self.keep(1);
        if is_character {
            while self.at < self.chars.len() && self.peek(0) != '\'' {
                self.blank(if self.peek(0) == '\\' { 2 } else { 1 });
            }
            self.keep(1);
        }
    }

    /// A word; if it is the prefix of a raw text (`r"`, `br#"`), that text too.
    fn word(&mut self) {
        let start = self.at;
        while self.peek(0).is_alphanumeric() || self.peek(0) == '_' {
            self.keep(1);
        }
        let raw = matches!(self.chars[start..self.at], ['r'] | ['b' | 'c', 'r']);
        let hashes = (0..).take_while(|ahead| self.peek(*ahead) == '#').count();
        if raw && self.peek(hashes) == '"' {
            self.keep(hashes + 1);
            let ends = |scan: &Self| scan.peek(0) == '"' && (1..=hashes).all(|i| scan.peek(i) == '#');
            while self.at < self.chars.len() && !ends(self) {
                self.blank(1);
            }
            self.keep(hashes + 1);
        }
    }
}

/// Replaces every item below `#[cfg(test)]` by spaces, the attribute included.
fn blank_test_items(code: &str) -> String {
    let tokens = tokens(code);
    let mut production = code.to_owned();
    let mut from = 0;
    while let Some(start) = (from..tokens.len()).find(|at| is_test_attribute(&tokens[*at..])) {
        let end = item_end(&tokens, start);
        let until = tokens.get(end).map_or(code.len(), |token| token.offset);
        let range = tokens[start].offset..until;
        let blank: String = code[range.clone()].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        production.replace_range(range, &blank);
        from = end;
    }
    production
}

/// Whether the tokens begin with `#[cfg(test)]`.
fn is_test_attribute(tokens: &[Token<'_>]) -> bool {
    let wanted = ["#", "[", "cfg", "(", "test", ")", "]"];
    tokens.len() >= wanted.len() && tokens.iter().zip(wanted).all(|(token, word)| token.text == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        Source::new("a.rs", text).code
    }

    #[test]
    fn comments_and_texts_are_blank_and_code_stays() {
        assert_eq!(code("a // b\nc"), "a     \nc");
        assert_eq!(code("a /* b /* c */ d */ e"), "a                   e");
        assert_eq!(code(r#"f("x // \" y") g"#), r#"f("         ") g"#);
        assert_eq!(code(r###"r#"a " b"# c"###), r###"r#"     "# c"###);
        assert_eq!(code("b'{' '\\'' 'a' &'a str"), "b' ' '  ' ' ' &'a str");
        assert_eq!(code("/* open\n{"), "       \n ");
    }

    #[test]
    fn every_form_has_the_same_lines() {
        let text =
            "//! é\nfn a() {}\n#[cfg(test)]\nmod tests {\n    // \"\n    fn b() { \"\n\" }\n}\nfn c() {}\n";
        let source = Source::new("a.rs", text);
        for form in [&source.code, &source.production, &source.test_code()] {
            assert_eq!(form.lines().count(), text.lines().count(), "{form}");
        }
        assert!(source.production.contains("fn a") && source.production.contains("fn c"));
        assert!(!source.production.contains("fn b") && source.test_code().contains("fn b"));
        assert!(!source.test_code().contains("fn a") && !source.test_code().contains("fn c"));
    }

    #[test]
    fn test_items_of_each_shape_are_not_production() {
        for item in
            ["mod laws;", "use a::{b, c};", "impl A { fn b() {} }", "#[path = \"x\"] mod y { fn z() {} }"]
        {
            let source = Source::new("a.rs", format!("#[cfg(test)]\n{item}\nfn kept() {{}}"));
            assert_eq!(source.production.trim(), "fn kept() {}", "{item}");
        }
        let kept = Source::new("a.rs", "#[cfg(unix)]\nmod a;");
        assert!(kept.production.contains("mod a;"));
    }

    #[test]
    fn files_below_tests_are_test_code_throughout() {
        let source = Source::new("client/tests/a.rs", "fn a() {}");
        assert!(source.is_test_file() && source.test_code().contains("fn a"));
        assert!(Source::new("tests/sim/src/a.rs", "").is_test_file());
        assert!(!Source::new("client/src/tests.rs", "").is_test_file());
    }
}

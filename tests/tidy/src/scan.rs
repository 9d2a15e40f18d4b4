//! Words and signs of scanned code, and the few shapes that the checks look for in them.
//!
//! It works on code whose comments and texts are blank (`source.rs`), so a brace is a brace. It has no grammar:
//! an item ends at its `;` or at the brace that closes its block.

/// A word, a number, `::`, or one other sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token<'a> {
    /// What it is.
    pub text: &'a str,
    /// Where it starts, in bytes.
    pub offset: usize,
    /// Its line, from 1.
    pub line: usize,
}

/// The tokens of blanked code, which is ASCII.
#[must_use]
pub fn tokens(code: &str) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    let (mut offset, mut line) = (0, 1);
    let bytes = code.as_bytes();
    while let Some(byte) = bytes.get(offset) {
        let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        let length = if is_word(byte) {
            bytes[offset..].iter().take_while(|byte| is_word(byte)).count()
        } else if bytes[offset..].starts_with(b"::") {
            2
        } else {
            1
        };
        if *byte == b'\n' {
            line += 1;
        }
        if !byte.is_ascii_whitespace()
            && let Some(text) = code.get(offset..offset + length)
        {
            found.push(Token { text, offset, line });
        }
        offset += length;
    }
    found
}

/// The index behind the item that starts at `start` (attributes included): behind its `;` or its closing brace.
#[must_use]
pub fn item_end(tokens: &[Token<'_>], start: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(start) {
        match token.text {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => {
                depth = depth.saturating_sub(1);
                // A group of a `use` closes before the `;` that ends the item.
                let goes_on = tokens.get(at + 1).is_some_and(|next| next.text == ";");
                if depth == 0 && token.text == "}" && !goes_on {
                    return at + 1;
                }
            }
            ";" if depth == 0 => return at + 1,
            _ => {}
        }
    }
    tokens.len()
}

/// A function with a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function<'a> {
    /// Its name.
    pub name: &'a str,
    /// The line of its `fn`, from 1.
    pub line: usize,
    /// How many lines of its body have code on them, the lines of its braces not counted.
    pub code_lines: usize,
}

/// All functions in blanked code that have a body, nested ones included.
#[must_use]
pub fn functions(code: &str) -> Vec<Function<'_>> {
    let tokens = tokens(code);
    let mut found = Vec::new();
    for (at, pair) in tokens.windows(2).enumerate() {
        // `fn(` is the type of a function pointer.
        let named = pair[1].text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if pair[0].text != "fn" || !named {
            continue;
        }
        let Some(open) = body_start(&tokens, at) else { continue };
        let close = item_end(&tokens, open).saturating_sub(1);
        let mut lines: Vec<usize> =
            tokens[open + 1..close.max(open + 1)].iter().map(|token| token.line).collect();
        lines.dedup();
        let braces = [tokens[open].line, tokens[close].line];
        lines.retain(|line| !braces.contains(line));
        found.push(Function { name: pair[1].text, line: pair[0].line, code_lines: lines.len() });
    }
    found
}

/// The index of the brace that opens the body of the function at `start`; `None` for a declaration.
fn body_start(tokens: &[Token<'_>], start: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(start) {
        match token.text {
            "(" | "[" => depth += 1,
            ")" | "]" => depth = depth.saturating_sub(1),
            "{" if depth == 0 => return Some(at),
            ";" if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_paths_and_signs_are_tokens_with_their_lines() {
        let found: Vec<_> =
            tokens("use a::b_1;\n #[x]").iter().map(|token| (token.text, token.line)).collect();
        let wanted =
            [("use", 1), ("a", 1), ("::", 1), ("b_1", 1), (";", 1), ("#", 2), ("[", 2), ("x", 2), ("]", 2)];
        assert_eq!(found, wanted);
    }

    #[test]
    fn function_is_measured_by_lines_with_code() {
        let code = "impl A {\n    fn one() {\n        a;\n\n        b {\n            c\n        }\n    }\n    fn two();\n    fn three(f: fn(u8)) -> [u8; 3] { x }\n}\n";
        let found: Vec<_> = functions(code).iter().map(|f| (f.name, f.line, f.code_lines)).collect();
        assert_eq!(found, [("one", 2, 4), ("three", 10, 0)]);
    }

    #[test]
    fn code_that_ends_early_does_not_end_the_check() {
        for code in ["fn a() {", "fn a(", "fn", "fn a() { }}}", "}", "fn a() {{{"] {
            let _any = functions(code);
        }
    }
}

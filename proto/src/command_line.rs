//! Command lines and their arguments: the quoting rules of POSIX shells, without anything that a shell would expand.
//!
//! Who starts a command splits its line by these rules, and who changes an argument of a line (a sweep's values) joins it
//! by them again. Nothing here knows where the arguments come from or go to.
//!
//! Invariant: `split(join(words))` is `words`.

use std::fmt::Write as _;

/// Why a text is not a command line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// A quote that is not closed.
    #[error(
        "the quote {quote} in column {column} is never closed: close it, or write \\{quote} for the character"
    )]
    Quote {
        /// The quote.
        quote: char,
        /// Where it opens, in characters from 1.
        column: usize,
    },
    /// A backslash at the end.
    #[error("the backslash in column {column} ends the line: write \\\\ for the character")]
    Backslash {
        /// Where it is, in characters from 1.
        column: usize,
    },
    /// No argument at all.
    #[error("the line has no program: write the program and its arguments")]
    Empty,
}

/// Splits a command line into its arguments, at least one: blanks separate, `'...'` is literal, `"..."` knows the escapes
/// `\" \\ \$ \``, and a backslash elsewhere takes the next character literally. Nothing is expanded, and '#' is a character
/// like others.
///
/// # Errors
/// [`SplitError`] names the place.
pub fn split(line: &str) -> Result<Vec<String>, SplitError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = line.chars().zip(1_usize..);
    while let Some((character, column)) = characters.next() {
        match character {
            ' ' | '\t' | '\n' | '\r' => words.extend(word.take()),
            '\'' | '"' => {
                let text = word.get_or_insert_default();
                quoted(&mut characters, character, text)
                    .ok_or(SplitError::Quote { quote: character, column })?;
            }
            '\\' => match characters.next() {
                Some(('\n', _)) => {}
                Some((escaped, _)) => word.get_or_insert_default().push(escaped),
                None => return Err(SplitError::Backslash { column }),
            },
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    if words.is_empty() { Err(SplitError::Empty) } else { Ok(words) }
}

/// Reads up to the closing quote; `None` when there is none.
fn quoted(
    characters: &mut impl Iterator<Item = (char, usize)>,
    quote: char,
    text: &mut String,
) -> Option<()> {
    loop {
        match characters.next()?.0 {
            end if end == quote => return Some(()),
            '\\' if quote == '"' => match characters.next()?.0 {
                escaped @ ('"' | '\\' | '$' | '`') => text.push(escaped),
                '\n' => {}
                other => text.extend(['\\', other]),
            },
            inner => text.push(inner),
        }
    }
}

/// Joins arguments to a command line; those with characters that mean something are quoted.
#[must_use]
pub fn join<S: AsRef<str>>(words: &[S]) -> String {
    let mut line = String::new();
    for (index, word) in words.iter().map(AsRef::as_ref).enumerate() {
        if index > 0 {
            line.push(' ');
        }
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
        if !word.is_empty() && word.chars().all(is_plain) {
            line.push_str(word);
        } else {
            // Writing to a String cannot fail.
            let _ = write!(line, "'{}'", word.replace('\'', r"'\''"));
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_are_split_as_a_shell_does_and_nothing_is_expanded() {
        let cases: [(&str, &[&str]); 8] = [
            ("a  b\tc\n", &["a", "b", "c"]),
            (r#"sh -c "echo \"$HOME\" \${i} \x""#, &["sh", "-c", r#"echo "$HOME" ${i} \x"#]),
            (r"echo 'a \b' c\ d", &["echo", r"a \b", "c d"]),
            ("echo '' \"\"", &["echo", "", ""]),
            ("a'b'\"c\"d", &["abcd"]),
            ("echo # no comment", &["echo", "#", "no", "comment"]),
            ("a \\\n b", &["a", "b"]),
            ("*.png ~ {a,b}", &["*.png", "~", "{a,b}"]),
        ];
        for (line, words) in cases {
            assert_eq!(split(line).unwrap(), words, "{line}");
        }
    }

    #[test]
    fn what_is_not_closed_is_named_with_its_place() {
        assert_eq!(split("echo 'a"), Err(SplitError::Quote { quote: '\'', column: 6 }));
        assert_eq!(split("echo \"a\\"), Err(SplitError::Quote { quote: '"', column: 6 }));
        assert_eq!(split("a\\"), Err(SplitError::Backslash { column: 2 }));
        assert_eq!(split(" \t"), Err(SplitError::Empty));
    }

    proptest! {
        #[test]
        fn joined_words_split_into_the_same(words in prop::collection::vec("[ -~\n\tä]{0,9}", 1..5)) {
            prop_assert_eq!(split(&join(&words)), Ok(words));
        }

        #[test]
        fn any_text_splits_or_is_refused(line in ".{0,60}") {
            if let Ok(words) = split(&line) {
                prop_assert!(!words.is_empty());
            }
        }
    }
}

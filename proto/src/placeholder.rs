//! Placeholders in the template of a sweep: `{name}` stands for a value, and which braces are only braces.
//!
//! A name is `[A-Za-z_][A-Za-z0-9_]*`. `{name}` is a parameter and must be a known one; `${name}` stays as it is, for
//! shells; `{{name}}` becomes `{name}`; braces around anything else stay. Text is read once, from the left, and values are
//! never read again: a value with braces is a value. Whoever checks a template and whoever fills it in use this file.

use std::borrow::Cow;
use std::fmt;

use crate::command_line::{self, SplitError};

/// A part of a template's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'t> {
    /// Stands for itself.
    Text(&'t str),
    /// Stands for the value of the parameter of this name.
    Parameter(&'t str),
}

/// A placeholder whose name is no parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownPlaceholder {
    /// The name, cut to 80 characters.
    pub name: String,
}

impl fmt::Display for UnknownPlaceholder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        write!(f, "{{{name}}} is no parameter of the sweep: write {{{{{name}}}}} for the text itself")
    }
}

impl std::error::Error for UnknownPlaceholder {}

/// Why values cannot be put into a command line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandLineError {
    /// It has a placeholder that is no parameter.
    #[error("{0}")]
    Unknown(#[from] UnknownPlaceholder),
    /// It does not split into arguments.
    #[error("{0}")]
    Split(#[from] SplitError),
}

/// Parts a text into what stands for itself and its parameters; `known` says which names are parameters. Linear in the text.
///
/// # Errors
/// [`UnknownPlaceholder`] is the first that is not known.
pub fn parse<'t>(text: &'t str, known: &dyn Fn(&str) -> bool) -> Result<Vec<Piece<'t>>, UnknownPlaceholder> {
    let mut pieces = Vec::new();
    let (mut start, mut at) = (0, 0);
    while let Some(found) = text[at..].find(['{', '$']) {
        at += found;
        // '{' and '$' take one byte each, so every place below is the start of a character.
        if text[at..].starts_with('$') {
            at += 1;
            at += name_in(&text[at..], "{", "}").map_or(0, |name| name.len() + 2);
        } else if let Some(name) = name_in(&text[at..], "{{", "}}") {
            push(&mut pieces, &text[start..at]);
            push(&mut pieces, &text[at + 1..at + name.len() + 3]);
            at += name.len() + 4;
            start = at;
        } else if let Some(name) = name_in(&text[at..], "{", "}") {
            if !known(name) {
                return Err(UnknownPlaceholder { name: name.chars().take(80).collect() });
            }
            push(&mut pieces, &text[start..at]);
            pieces.push(Piece::Parameter(name));
            at += name.len() + 2;
            start = at;
        } else {
            at += 1;
        }
    }
    push(&mut pieces, &text[start..]);
    Ok(pieces)
}

fn push<'t>(pieces: &mut Vec<Piece<'t>>, text: &'t str) {
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
}

/// The name at the start of a text between `open` and `close`.
fn name_in<'t>(text: &'t str, open: &str, close: &str) -> Option<&'t str> {
    let inner = text.strip_prefix(open)?;
    let end = inner.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(inner.len());
    let (name, rest) = inner.split_at(end);
    (is_name(name) && rest.starts_with(close)).then_some(name)
}

/// Whether a text can be the name of a parameter.
#[must_use]
pub fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Puts values into a text; `value` answers that of a parameter.
///
/// # Errors
/// [`UnknownPlaceholder`] is the first without a value.
pub fn expand<'v>(
    text: &str,
    value: &dyn Fn(&str) -> Option<Cow<'v, str>>,
) -> Result<String, UnknownPlaceholder> {
    let mut filled = String::with_capacity(text.len());
    for piece in parse(text, &|name| value(name).is_some())? {
        match piece {
            Piece::Text(text) => filled.push_str(text),
            Piece::Parameter(name) => filled.push_str(&value(name).unwrap_or_default()),
        }
    }
    Ok(filled)
}

/// Puts values into the arguments of a command line. A value never becomes more than a part of one argument, whatever it
/// holds; the line is quoted anew.
///
/// # Errors
/// [`CommandLineError`] when the line does not split, or has a placeholder without a value.
pub fn expand_command_line<'v>(
    line: &str,
    value: &dyn Fn(&str) -> Option<Cow<'v, str>>,
) -> Result<String, CommandLineError> {
    let mut words = command_line::split(line)?;
    for word in &mut words {
        *word = expand(word, value)?;
    }
    Ok(command_line::join(&words))
}

#[cfg(test)]
mod tests {
    use super::*;
    use Piece::{Parameter, Text};
    use proptest::prelude::*;

    fn known(name: &str) -> bool {
        matches!(name, "i" | "scene" | "_a1")
    }

    fn value(name: &str) -> Option<Cow<'static, str>> {
        match name {
            "i" => Some(Cow::Borrowed("7")),
            "scene" => Some(Cow::Borrowed("it's a {i} \"day\"; rm -rf $HOME `x` \\")),
            "none" => Some(Cow::Borrowed("")),
            _other => None,
        }
    }

    #[test]
    fn braces_with_a_name_are_parameters_and_all_others_are_text() {
        let cases: [(&str, &[Piece<'_>]); 12] = [
            ("", &[]),
            ("render", &[Text("render")]),
            ("{i}", &[Parameter("i")]),
            ("a{i}b{_a1}", &[Text("a"), Parameter("i"), Text("b"), Parameter("_a1")]),
            ("${i} $i $", &[Text("${i} $i $")]),
            ("$${i}", &[Text("$${i}")]),
            ("a{{i}}b", &[Text("a"), Text("{i}"), Text("b")]),
            ("{{unknown}}", &[Text("{unknown}")]),
            ("{\"a\":{i}}", &[Text("{\"a\":"), Parameter("i"), Text("}")]),
            ("{print $1} {} {1..3} {a-b} {ä}", &[Text("{print $1} {} {1..3} {a-b} {ä}")]),
            ("{{i}", &[Text("{"), Parameter("i")]),
            ("ä{i}{", &[Text("ä"), Parameter("i"), Text("{")]),
        ];
        for (text, pieces) in cases {
            assert_eq!(parse(text, &known).unwrap(), pieces, "{text}");
        }
    }

    #[test]
    fn a_name_that_is_no_parameter_is_refused_with_the_way_out() {
        let error = parse("a {i} {I} {x}", &known).unwrap_err();
        assert_eq!(error.to_string(), "{I} is no parameter of the sweep: write {{I}} for the text itself");
    }

    #[test]
    fn a_value_stays_within_its_argument_whatever_it_holds() {
        let line =
            expand_command_line(r#"sh -c "echo \${HOME} {scene}" x{i} {none} '#{i}'"#, &value).unwrap();
        let words = command_line::split(&line).unwrap();
        let scene = value("scene").unwrap();
        assert_eq!(words, ["sh", "-c", &format!("echo ${{HOME}} {scene}"), "x7", "", "#7"]);
    }

    #[test]
    fn a_line_that_does_not_split_is_refused() {
        assert!(matches!(expand_command_line("echo '{i}", &value), Err(CommandLineError::Split(_))));
        assert!(matches!(expand_command_line("echo {x}", &value), Err(CommandLineError::Unknown(_))));
    }

    proptest! {
        #[test]
        fn pieces_hold_all_text_but_the_braces_of_escapes(text in "[ab{}$i_1]{0,30}") {
            let Ok(pieces) = parse(&text, &|_| true) else { panic!("all names are known") };
            let mut again = String::new();
            for piece in pieces {
                match piece {
                    Text(text) => again.push_str(text),
                    Parameter(name) => again.push_str(&format!("{{{name}}}")),
                }
            }
            let strip = |text: &str| text.replace(['{', '}'], "");
            prop_assert_eq!(strip(&again), strip(&text));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,60}") {
            let _refused_or_not = parse(&text, &known);
        }
    }
}

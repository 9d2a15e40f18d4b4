//! Text to filters and orders: the subset of AIP-160 and AIP-132 that the API documents.
//!
//! `state = completed AND (execution_info.exit_code != 0 OR id:frame-*)`; operators `= != < <= > >=` and `:` (starts
//! with; a trailing `*` may be written); AND, OR, NOT, `-` and parentheses; values as bare words or in quotes.
//! AND and OR in one group need parentheses: AIP-160 and every programming language differ on which binds tighter,
//! and a filter that is misread deletes the wrong tasks.
//!
//! Pure and bounded: length and depth are checked, positions in errors are characters counted from 1.

use super::comparison::{Comparison, ComparisonError};
use super::filter::{FILTER_DEPTH_MAX, Filter, FilterError};
use super::page::{ORDER_TERMS_MAX, OrderBy, orderable};
use super::property::{Op, Property};
use muster_model::limits::FILTER_BYTES_MAX;

/// Why a filter's text is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Too long.
    #[error("the filter has {bytes} bytes: at most {max} are allowed")]
    TooLong {
        /// How long it is.
        bytes: usize,
        /// `FILTER_BYTES_MAX`.
        max: usize,
    },
    /// Too deeply nested, or too many comparisons.
    #[error(transparent)]
    Bounds(#[from] FilterError),
    /// A property was expected.
    #[error("at character {at}: expected a property of {resource}, found {found}: use one of {allowed}")]
    ExpectedProperty {
        /// Where.
        at: usize,
        /// What is there.
        found: String,
        /// What is listed.
        resource: &'static str,
        /// The properties.
        allowed: String,
    },
    /// No such property.
    #[error("at character {at}: {resource} have no property '{name}': use one of {allowed}")]
    UnknownProperty {
        /// Where.
        at: usize,
        /// The name.
        name: String,
        /// What is listed.
        resource: &'static str,
        /// The properties.
        allowed: String,
    },
    /// An operator was expected.
    #[error(
        "at character {at}: expected an operator after '{property}', found {found}: use one of {allowed}"
    )]
    ExpectedOperator {
        /// Where.
        at: usize,
        /// The property before.
        property: &'static str,
        /// What is there.
        found: String,
        /// The operators of this property.
        allowed: String,
    },
    /// A value was expected.
    #[error("at character {at}: expected a value for '{property}', found {found}")]
    ExpectedValue {
        /// Where.
        at: usize,
        /// The property.
        property: &'static str,
        /// What is there.
        found: String,
    },
    /// Operator or value do not suit the property.
    #[error("at character {at}: {source}")]
    Comparison {
        /// Where.
        at: usize,
        /// Why.
        source: ComparisonError,
    },
    /// A quote is not closed.
    #[error("at character {at}: this quote is never closed: end the text with the same quote")]
    OpenQuote {
        /// Where it opens.
        at: usize,
    },
    /// A parenthesis is not closed.
    #[error(
        "at character {at}: expected ')', AND or OR, found {found}: the '(' at character {opened} is open"
    )]
    OpenGroup {
        /// Where the closing was expected.
        at: usize,
        /// What is there.
        found: String,
        /// Where it opens.
        opened: usize,
    },
    /// Text after a complete condition.
    #[error("at character {at}: expected AND, OR or the end, found {found}")]
    ExpectedEnd {
        /// Where.
        at: usize,
        /// What is there.
        found: String,
    },
    /// AND and OR in one group.
    #[error("at character {at}: AND and OR are mixed: say with parentheses what belongs together")]
    Mixed {
        /// Where the second kind begins.
        at: usize,
    },
}

/// Why an order's text is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// No such order.
    #[error("{resource} cannot be ordered by {given:?}: use {allowed}, each with an optional ' desc'")]
    Term {
        /// What is listed.
        resource: &'static str,
        /// The term, cut to 80 characters.
        given: String,
        /// The properties that can.
        allowed: String,
    },
    /// Too many terms.
    #[error("the order has {given} terms: at most {max} are allowed")]
    Terms {
        /// How many.
        given: usize,
        /// `ORDER_TERMS_MAX`.
        max: usize,
    },
}

/// Reads an order such as `priority desc, create_time`; empty text is the resource's default order.
///
/// # Errors
/// [`OrderError`] names the term and what is allowed.
pub fn parse_order<P: Property>(text: &str) -> Result<Vec<OrderBy<P>>, OrderError> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let given = text.split(',').count();
    if given > ORDER_TERMS_MAX {
        return Err(OrderError::Terms { given, max: ORDER_TERMS_MAX });
    }
    text.split(',').map(order_term).collect()
}

fn order_term<P: Property>(term: &str) -> Result<OrderBy<P>, OrderError> {
    let wrong = || OrderError::Term {
        resource: P::RESOURCE,
        given: term.trim().chars().take(80).collect(),
        allowed: orderable::<P>(),
    };
    let mut words = term.split_whitespace();
    let property = words.next().and_then(P::find).filter(|p| p.orderable()).ok_or_else(wrong)?;
    let descending = match words.next() {
        None => false,
        Some(word) if word.eq_ignore_ascii_case("asc") => false,
        Some(word) if word.eq_ignore_ascii_case("desc") => true,
        Some(_) => return Err(wrong()),
    };
    if words.next().is_some() {
        return Err(wrong());
    }
    Ok(OrderBy { property, descending })
}

/// Reads a filter; empty text is no filter.
///
/// # Errors
/// [`ParseError`] names the place, what is there and what is allowed.
pub fn parse_filter<P: Property>(text: &str) -> Result<Option<Filter<P>>, ParseError> {
    if text.len() > FILTER_BYTES_MAX {
        return Err(ParseError::TooLong { bytes: text.len(), max: FILTER_BYTES_MAX });
    }
    let mut parser = Parser { text, at: 0 };
    parser.skip_blanks();
    if parser.rest().is_empty() {
        return Ok(None);
    }
    let filter = parser.group(1)?;
    if !parser.rest().is_empty() {
        return Err(ParseError::ExpectedEnd { at: parser.column(parser.at), found: parser.found() });
    }
    filter.check()?;
    Ok(Some(filter))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Join {
    And,
    Or,
}

struct Parser<'t> {
    text: &'t str,
    /// Byte offset of what comes next; always on a character.
    at: usize,
}

impl<'t> Parser<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn column(&self, at: usize) -> usize {
        self.text.get(..at).unwrap_or("").chars().count() + 1
    }

    fn skip_blanks(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    /// The next token for a message.
    fn found(&self) -> String {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return "the end".to_owned() };
        let word = word_length(rest, |c| c.is_alphanumeric() || matches!(c, '_' | '.' | '/' | '-'));
        let word = rest.get(..word).unwrap_or("");
        let token = if word.is_empty() { first.to_string() } else { word.chars().take(40).collect() };
        format!("'{token}'")
    }

    /// Takes `symbol` if it is next.
    fn symbol(&mut self, symbol: char) -> bool {
        let next = self.rest().starts_with(symbol);
        if next {
            self.at += symbol.len_utf8();
            self.skip_blanks();
        }
        next
    }

    /// Takes `word` if it is next, in any case and as a whole.
    fn keyword(&mut self, word: &str) -> bool {
        let rest = self.rest();
        let length = word_length(rest, is_name);
        let next = rest.get(..length).is_some_and(|found| found.eq_ignore_ascii_case(word));
        if next {
            self.at += length;
            self.skip_blanks();
        }
        next
    }

    /// Conditions joined by AND or by OR, up to a ')' or the end.
    fn group<P: Property>(&mut self, depth: usize) -> Result<Filter<P>, ParseError> {
        let first = self.condition(depth)?;
        let mut parts = vec![first];
        let mut join = None;
        loop {
            let at = self.at;
            let next = if self.keyword("AND") {
                Join::And
            } else if self.keyword("OR") {
                Join::Or
            } else {
                break;
            };
            if join.is_some_and(|known| known != next) {
                return Err(ParseError::Mixed { at: self.column(at) });
            }
            join = Some(next);
            parts.push(self.condition(depth)?);
        }
        Ok(match join {
            Some(Join::And) => Filter::And(parts),
            Some(Join::Or) => Filter::Or(parts),
            None => parts.swap_remove(0),
        })
    }

    fn condition<P: Property>(&mut self, depth: usize) -> Result<Filter<P>, ParseError> {
        if depth > FILTER_DEPTH_MAX {
            return Err(FilterError::TooDeep { max: FILTER_DEPTH_MAX }.into());
        }
        if self.symbol('-') || self.keyword("NOT") {
            return Ok(Filter::Not(Box::new(self.condition(depth + 1)?)));
        }
        let opened = self.at;
        if !self.symbol('(') {
            return self.comparison();
        }
        let inner = self.group(depth + 1)?;
        if self.symbol(')') {
            return Ok(inner);
        }
        let (at, opened) = (self.column(self.at), self.column(opened));
        Err(ParseError::OpenGroup { at, found: self.found(), opened })
    }

    fn comparison<P: Property>(&mut self) -> Result<Filter<P>, ParseError> {
        let property = self.property::<P>()?;
        let op = self.operator(property)?;
        let at = self.column(self.at);
        let value = self.value(property)?;
        Comparison::from_text(property, op, &value)
            .map(Filter::Compare)
            .map_err(|source| ParseError::Comparison { at, source })
    }

    fn property<P: Property>(&mut self) -> Result<P, ParseError> {
        let at = self.column(self.at);
        let allowed = || P::ALL.iter().map(|p| p.name()).collect::<Vec<_>>().join(", ");
        let length = word_length(self.rest(), |c| is_name(c) || matches!(c, '.' | '/'));
        let name = self.rest().get(..length).unwrap_or("");
        if name.is_empty() {
            let (found, resource) = (self.found(), P::RESOURCE);
            return Err(ParseError::ExpectedProperty { at, found, resource, allowed: allowed() });
        }
        let Some(property) = P::find(name) else {
            let name = name.chars().take(80).collect();
            return Err(ParseError::UnknownProperty { at, name, resource: P::RESOURCE, allowed: allowed() });
        };
        self.at += length;
        self.skip_blanks();
        Ok(property)
    }

    fn operator<P: Property>(&mut self, property: P) -> Result<Op, ParseError> {
        // The longer of two that start alike comes first.
        const OPS: [Op; 7] =
            [Op::NotEqual, Op::LessOrEqual, Op::GreaterOrEqual, Op::Equal, Op::Less, Op::Greater, Op::Prefix];
        let Some(op) = OPS.into_iter().find(|op| self.rest().starts_with(op.as_str())) else {
            let allowed = property.kind().ops().iter().map(|op| op.as_str()).collect::<Vec<_>>().join(" ");
            let (at, found) = (self.column(self.at), self.found());
            return Err(ParseError::ExpectedOperator { at, property: property.name(), found, allowed });
        };
        self.at += op.as_str().len();
        self.skip_blanks();
        Ok(op)
    }

    fn value<P: Property>(&mut self, property: P) -> Result<String, ParseError> {
        if let Some(quote) = self.rest().chars().next().filter(|c| matches!(c, '"' | '\'')) {
            return self.quoted(quote);
        }
        let length = word_length(self.rest(), |c| {
            !c.is_whitespace() && !matches!(c, '(' | ')' | '"' | '\'' | '=' | '<' | '>' | '!' | ',')
        });
        if length == 0 {
            let (at, found) = (self.column(self.at), self.found());
            return Err(ParseError::ExpectedValue { at, property: property.name(), found });
        }
        let value = self.rest().get(..length).unwrap_or("").to_owned();
        self.at += length;
        self.skip_blanks();
        Ok(value)
    }

    /// Text in quotes; a backslash takes the next character as it is.
    fn quoted(&mut self, quote: char) -> Result<String, ParseError> {
        let open = ParseError::OpenQuote { at: self.column(self.at) };
        let mut value = String::new();
        let mut chars = self.rest().char_indices().skip(1);
        while let Some((index, c)) = chars.next() {
            if c == quote {
                self.at += index + quote.len_utf8();
                self.skip_blanks();
                return Ok(value);
            }
            let taken = if c == '\\' { chars.next().map(|(_, escaped)| escaped) } else { Some(c) };
            let Some(taken) = taken else { break };
            value.push(taken);
        }
        Err(open)
    }
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Bytes of the run of characters from the start that satisfy `part`.
fn word_length(text: &str, part: impl Fn(char) -> bool) -> usize {
    text.find(|c| !part(c)).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::property::{JobProperty, TaskProperty};
    use proptest::prelude::*;

    fn canonical(text: &str) -> String {
        parse_filter::<TaskProperty>(text).unwrap().map(|f| f.to_string()).unwrap_or_default()
    }

    fn refusal(text: &str) -> String {
        parse_filter::<TaskProperty>(text).unwrap_err().to_string()
    }

    #[test]
    fn conditions_are_read_in_every_way_they_can_be_written() {
        for (text, expected) in [
            ("", ""),
            ("  ", ""),
            ("state=COMPLETED", "state = completed"),
            ("state = 'active'", "state = active"),
            ("id:frame-", "id : \"frame-*\""),
            ("id : frame-*", "id : \"frame-*\""),
            ("execution_info/exit_code >= -1", "execution_info.exit_code >= -1"),
            ("create_time>2026-11-23T10:00:00+01:00", "create_time > 2026-11-23T09:00:00Z"),
            ("NOT state = active", "NOT state = active"),
            ("-(state = active or id = a)", "NOT (state = active OR id = \"a\")"),
            ("id = a AND id = b and id = c", "(id = \"a\" AND id = \"b\" AND id = \"c\")"),
            ("(id = a OR id = b) AND id != c", "((id = \"a\" OR id = \"b\") AND id != \"c\")"),
            (r#"display_name = "say \"hi\" \\""#, r#"display_name = "say \"hi\" \\""#),
            ("display_name = Österreich", "display_name = \"Österreich\""),
            (
                "execution_info.failure_info.cause = out-of-memory",
                "execution_info.failure_info.cause = out-of-memory",
            ),
        ] {
            assert_eq!(canonical(text), expected, "{text}");
        }
    }

    #[test]
    fn refusals_name_the_place_the_token_and_what_is_allowed() {
        for (text, parts) in [
            (
                "stat = active",
                &["character 1", "'stat'", "state_transition_time", "execution_info.exit_code"][..],
            ),
            ("= 5", &["character 1", "expected a property", "'='"]),
            ("state active", &["character 7", "'active'", "= !="]),
            ("state < active", &["'state'", "'<'", "= !="]),
            ("state = done", &["character 9", "\"done\"", "active, preparing, running, completed"]),
            ("state =", &["character 8", "the end"]),
            ("ü = 1", &["character 1", "'ü'"]),
            ("execution_info.exit_code = one", &["character 28", "\"one\"", "a whole number"]),
            ("create_time > yesterday", &["RFC 3339"]),
            ("id = frame-*", &["write ':'"]),
            ("id = 'a", &["character 6", "quote"]),
            ("(id = a", &["character 8", "the end", "'(' at character 1"]),
            ("id = a)", &["character 7", "')'"]),
            ("id = a id = b", &["character 8", "AND, OR"]),
            ("id = a AND id = b OR id = c", &["character 19", "parentheses"]),
            ("id = a,b", &["','"]),
        ] {
            let message = refusal(text);
            assert!(parts.iter().all(|part| message.contains(part)), "{text}: {message}");
        }
    }

    #[test]
    fn length_depth_and_number_of_comparisons_are_bounded() {
        assert!(refusal(&"x".repeat(FILTER_BYTES_MAX + 1)).contains("at most 4096"));
        assert!(refusal(&"(".repeat(4000)).contains("nested deeper"));
        assert!(refusal(&"-".repeat(4000)).contains("nested deeper"));
        let many = vec!["id=a"; 300].join(" AND ");
        assert!(refusal(&many).contains("more than 200"), "{}", refusal(&many));
    }

    #[test]
    fn orders_are_read_and_refused_with_what_is_allowed() {
        let order = parse_order::<JobProperty>("priority desc, create_time").unwrap();
        assert_eq!(
            order,
            [
                OrderBy { property: JobProperty::Priority, descending: true },
                OrderBy { property: JobProperty::CreateTime, descending: false }
            ]
        );
        assert_eq!(parse_order::<JobProperty>(" "), Ok(Vec::new()));
        for bad in ["display_name", "id down", "id desc desc", ",", "nonsense", "id,id,id,id,id"] {
            let message = parse_order::<JobProperty>(bad).unwrap_err().to_string();
            assert!(message.contains("create_time") || message.contains("at most"), "{message}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_without_a_panic(text in "\\PC{0,60}") {
            let _ = parse_filter::<TaskProperty>(&text);
            let _ = parse_order::<TaskProperty>(&text);
        }

        #[test]
        fn text_of_the_grammar_s_own_tokens_never_panics(
            tokens in proptest::collection::vec(
                proptest::sample::select(vec!["id", "=", "state", "active", "(", ")", "AND", "OR", "NOT", "-", ":",
                    "\"", "'", "\\", "*", "a", "1", "execution_info.exit_code", "<=", "é"]),
                0..40,
            )
        ) {
            let _ = parse_filter::<TaskProperty>(&tokens.join(" "));
        }
    }
}

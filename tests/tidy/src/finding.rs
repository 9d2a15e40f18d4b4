//! What a check says: where, what is wrong, and what to do about it.
//!
//! It prints nothing and ends nothing; a test turns findings into its failure with `report`.

use std::fmt;

/// One broken rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// A path below the repository, with a line where that helps; or the name of a package.
    pub place: String,
    /// What is wrong there.
    pub wrong: String,
    /// What to do about it.
    pub remedy: String,
}

impl Finding {
    /// A finding at `place`.
    pub fn new(place: impl fmt::Display, wrong: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { place: place.to_string(), wrong: wrong.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.place, self.wrong, self.remedy)
    }
}

/// All findings as one text, sorted, a line each; empty when there are none.
#[must_use]
pub fn report(findings: &[Finding]) -> String {
    let mut lines: Vec<String> = findings.iter().map(|finding| format!("  {finding}\n")).collect();
    lines.sort();
    lines.dedup();
    lines.concat()
}

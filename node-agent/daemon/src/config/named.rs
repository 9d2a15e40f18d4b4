//! Counts of things that the operator names, such as the licences of a node: a table in the file, `NAME=COUNT,...` elsewhere.
//!
//! The rules are those of a task's request for such things (docs/api.md), so that what a node offers can be asked for.

use muster_model::{NamedCounts, limits};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;

/// The counts as they are given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Named(BTreeMap<String, u64>);

/// Why counts cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NamedError {
    #[error("has {given} names, more than {max}", max = limits::NAMED_RESOURCES_MAX)]
    TooMany { given: usize },
    #[error("has the name '{name}', which is not 1 to {max} letters, digits, '-', '_' and '.'", max = limits::NAMED_RESOURCE_CHARS_MAX)]
    Name { name: String },
}

impl Named {
    /// The counts, if names and number are allowed; those of 0 are left out.
    pub(super) fn check(&self) -> Result<NamedCounts, NamedError> {
        if self.0.len() > limits::NAMED_RESOURCES_MAX {
            return Err(NamedError::TooMany { given: self.0.len() });
        }
        match self.0.keys().find(|name| !is_name(name)) {
            Some(name) => {
                let name = name.chars().take(limits::NAMED_RESOURCE_CHARS_MAX).collect();
                Err(NamedError::Name { name })
            }
            None => Ok(NamedCounts::new(self.0.clone())),
        }
    }
}

fn is_name(name: &str) -> bool {
    (1..=limits::NAMED_RESOURCE_CHARS_MAX).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

impl<'de> Deserialize<'de> for Named {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NamedVisitor)
    }
}

/// Reads a table, or the text of an environment variable or a flag.
struct NamedVisitor;

impl<'de> Visitor<'de> for NamedVisitor {
    type Value = Named;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of counts, or a text such as \"licence=4,tape-drive=1\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Named, E> {
        let mut counts = BTreeMap::new();
        for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            let count = item
                .split_once('=')
                .and_then(|(name, count)| Some((name.trim().to_owned(), count.trim().parse::<u64>().ok()?)));
            let (name, count) =
                count.ok_or_else(|| E::custom(format!("'{item}' is not NAME=COUNT, such as licence=4")))?;
            if counts.insert(name, count).is_some() {
                return Err(E::custom(format!("'{item}' names the same thing a second time")));
            }
        }
        Ok(Named(counts))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Named, A::Error> {
        let mut counts = BTreeMap::new();
        while let Some((name, count)) = map.next_entry()? {
            counts.insert(name, count);
        }
        Ok(Named(counts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(counts: &[(&str, u64)]) -> Result<NamedCounts, NamedError> {
        Named(counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()).check()
    }

    #[test]
    fn names_and_their_number_are_bounded() {
        let counts = checked(&[("licence", 4), ("a.b-c_D", 1), ("none", 0)]).unwrap();
        assert_eq!(counts.iter().collect::<Vec<_>>(), [("a.b-c_D", 1), ("licence", 4)]);
        let long = "x".repeat(65);
        for bad in ["", "two words", "é", long.as_str()] {
            assert!(matches!(checked(&[(bad, 1)]), Err(NamedError::Name { .. })), "{bad}");
        }
        let many: Vec<String> = (0..17).map(|number| format!("n{number}")).collect();
        let many: Vec<_> = many.iter().map(|name| (name.as_str(), 1)).collect();
        assert_eq!(checked(&many), Err(NamedError::TooMany { given: 17 }));
        assert!(checked(&many[..16]).is_ok());
    }
}

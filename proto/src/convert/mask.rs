//! Update masks: which fields a mutation names.
//!
//! Three forms (AIP-134): unset means the fields that are populated in the message; "*" means all that can be updated,
//! so absent ones get their defaults; a list names fields, and one that cannot be updated is noted.

use super::violation::{Checker, Problem, shown};

/// The most paths of a mask: no message has more fields.
const MASK_PATHS_MAX: usize = 100;

/// A checked update mask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mask {
    /// The fields that are populated.
    Populated,
    /// All fields that can be updated.
    All,
    /// These.
    Paths(Vec<String>),
}

impl Mask {
    /// Checks a mask at the field `update_mask` against the fields that can be updated, separated by ", ".
    pub(super) fn read(
        checker: &mut Checker,
        mask: Option<prost_types::FieldMask>,
        updatable: &'static str,
    ) -> Self {
        let paths = match mask {
            Some(mask) if !mask.paths.is_empty() => mask.paths,
            Some(_) | None => return Self::Populated,
        };
        if paths.iter().any(|path| path == "*") {
            if paths.len() > 1 {
                checker.note_at("update_mask", Problem::Conflict { other: "\"*\"" });
            }
            return Self::All;
        }
        Self::Paths(checker.each("update_mask", paths, MASK_PATHS_MAX, |c, path| {
            if updatable.split(", ").any(|known| known == path) {
                return Some(path);
            }
            c.note(Problem::NotUpdatable { given: shown(&path), allowed: updatable });
            None
        }))
    }

    /// Whether the field is to be updated; `populated` says whether the message has a value for it.
    pub(super) fn names(&self, field: &str, populated: bool) -> bool {
        match self {
            Self::Populated => populated,
            Self::All => true,
            Self::Paths(paths) => paths.iter().any(|path| path == field),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(paths: &[&str]) -> Option<prost_types::FieldMask> {
        Some(prost_types::FieldMask { paths: paths.iter().map(ToString::to_string).collect() })
    }

    #[test]
    fn the_three_forms_name_what_they_should() {
        let mut c = Checker::new();
        assert_eq!(Mask::read(&mut c, None, "a, b"), Mask::Populated);
        assert_eq!(Mask::read(&mut c, mask(&["*"]), "a, b"), Mask::All);
        let list = Mask::read(&mut c, mask(&["b"]), "a, b");
        assert!(list.names("b", false) && !list.names("a", true));
        assert!(Mask::Populated.names("a", true) && !Mask::Populated.names("a", false));
        assert!(c.is_clean());
    }

    #[test]
    fn a_field_that_cannot_be_updated_is_noted_with_those_that_can() {
        let mut c = Checker::new();
        Mask::read(&mut c, mask(&["a", "id"]), "a, b");
        let errors = c.finish(Some(())).unwrap_err();
        assert_eq!(errors.to_string(), "update_mask[1]: \"id\" cannot be updated: use a, b");
    }
}

//! How files of the store look.
//!
//! A digest is shortened: in a list it only tells two contents apart. `-o json` has the whole one.

use muster_proto::wire;

use super::words;
use crate::outlet::Field;

/// Headings of a list of files.
pub(crate) const HEADINGS: [&str; 4] = ["path", "size", "changed", "sha256"];

/// Digits of a digest that tell two files of a list apart.
const DIGITS_SHOWN: usize = 12;

/// A file as a row.
#[must_use]
pub(crate) fn row(file: &wire::FileInfo) -> Vec<Field> {
    vec![
        file.name.as_ref().map(|name| name.path.clone()).unwrap_or_default().into(),
        Field::at_right(words::size(file.size_bytes)),
        words::time(file.update_time.as_ref()).into(),
        file.sha256.get(..DIGITS_SHOWN).unwrap_or(&file.sha256).into(),
    ]
}

//! The promise that nobody changes the API without its documentation: docs/api.md carries a hash of the .proto
//! files, and this compares the two.
//!
//! The hash says nothing about what changed. Who updates it says "I have looked at the page".

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use crate::finding::Finding;
use crate::tree::TextFile;

/// The page that documents the API.
pub const API_PAGE: &str = "docs/api.md";

/// The folder whose .proto files count.
pub const PROTO_FOLDER: &str = "proto/muster/v1/";

/// How the line in the page starts.
const MARK: &str = "proto-hash: ";

/// The .proto files of the API among `texts`.
#[must_use]
pub fn files(texts: &[TextFile]) -> Vec<&TextFile> {
    let is_ours = |file: &&TextFile| file.path.starts_with(PROTO_FOLDER) && file.path.ends_with(".proto");
    texts.iter().filter(is_ours).collect()
}

/// SHA-256 over all files in the order of their paths: of each its path and its content, with their lengths.
#[must_use]
pub fn hash(files: &[&TextFile]) -> String {
    let mut files = files.to_vec();
    files.sort_by(|left, right| left.path.cmp(&right.path));
    let mut digest = Sha256::new();
    for file in files {
        for part in [&file.path, &file.text] {
            digest.update(format!("{}\n", part.len()));
            digest.update(part);
        }
    }
    digest.finalize().iter().fold(String::new(), |mut hex, byte| {
        // Writing to a String does not fail.
        let _always_ok = write!(hex, "{byte:02x}");
        hex
    })
}

/// The line that docs/api.md should have.
#[must_use]
pub fn line(files: &[&TextFile]) -> String {
    format!("{MARK}{}", hash(files))
}

/// Whether the page has the line of these files.
#[must_use]
pub fn check(files: &[&TextFile], page: Option<&str>) -> Vec<Finding> {
    let line = line(files);
    let Some(page) = page else {
        let remedy = format!("write the page that documents the API, with the line '{line}'");
        return vec![Finding::new(API_PAGE, "the file is not there", remedy)];
    };
    let is_mark = |candidate: &&str| candidate.trim().trim_matches('`').starts_with(MARK);
    let wrong = match page.lines().find(is_mark) {
        Some(found) if found.trim().trim_matches('`') == line => return Vec::new(),
        Some(_) => "the .proto files have changed since this page was looked at",
        None => "it has no line with the hash of the .proto files",
    };
    let remedy = format!(
        "bring the page up to date, then write the line that `cargo run -p muster-tidy --bin proto-hash` prints: \
         '{line}'"
    );
    vec![Finding::new(API_PAGE, wrong, remedy)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::report;

    fn file(path: &str, text: &str) -> TextFile {
        TextFile { path: format!("{PROTO_FOLDER}{path}"), text: text.to_owned() }
    }

    #[test]
    fn hash_changes_with_every_content_and_name_and_not_with_the_order() {
        let (a, b) = (file("a.proto", "x"), file("b.proto", "y"));
        let first = hash(&[&a, &b]);
        assert_eq!(first.len(), 64);
        assert_eq!(hash(&[&b, &a]), first);
        let changed = [file("a.proto", "xy"), file("a.proto", ""), file("c.proto", "x")];
        for other in &changed {
            assert_ne!(hash(&[other, &b]), first);
        }
        assert_ne!(hash(&[&a]), first);
    }

    #[test]
    fn page_without_the_line_of_today_is_found() {
        let a = file("a.proto", "x");
        let said = |page: Option<&str>| report(&check(&[&a], page));
        let line = line(&[&a]);
        assert_eq!(said(Some(&format!("# API\n\n{line}\n"))), "");
        assert_eq!(said(Some(&format!("`{line}`"))), "");
        assert!(said(Some("proto-hash: 00")).contains("have changed"));
        assert!(said(Some("# API")).contains("no line with the hash") && said(Some("# API")).contains(&line));
        assert!(said(None).contains("the file is not there"));
    }

    #[test]
    fn only_the_files_of_the_api_count() {
        let texts = [
            file("a.proto", ""),
            file("readme.md", ""),
            TextFile { path: "x/a.proto".to_owned(), text: String::new() },
        ];
        assert_eq!(files(&texts), [&texts[0]]);
    }
}

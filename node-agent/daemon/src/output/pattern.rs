//! Finds the files that a pattern names: `*`, `?`, `[a-c]`, `[!x]` within a name, `**` across directories.
//!
//! A leading dot is matched by a dot alone, so `*` and `**` pass over hidden files and directories. Symbolic links are never
//! followed; a plain name that is one is refused with words, one among many is passed over.

use crate::workdir::{Dir, EntryKind};
use globset::{Glob, GlobBuilder, GlobMatcher};
use std::collections::BTreeSet;
use std::io;

/// Most entries that are looked at for one pattern: a million names take a second.
const ENTRIES_MAX: usize = 1_000_000;
/// Deepest directory that is looked into.
const DEPTH_MAX: usize = 100;

/// Why the files of a pattern cannot be told.
#[derive(Debug, thiserror::Error)]
pub(super) enum PatternError {
    #[error("the pattern '{pattern}' is not valid: use *, **, ?, [a-c] and [!x]")]
    Syntax {
        pattern: Box<str>,
        #[source]
        cause: globset::Error,
    },
    #[error("'{path}' is a symbolic link or no regular file, which is never uploaded: let the task copy it")]
    NotRegular { path: Box<str> },
    #[error(
        "the pattern '{pattern}' makes the node look at more than {ENTRIES_MAX} names: make it more exact"
    )]
    TooMany { pattern: Box<str> },
    #[error("cannot look for '{pattern}'")]
    Io {
        pattern: Box<str>,
        #[source]
        cause: io::Error,
    },
}

/// One part of a pattern, between slashes.
enum Part {
    Name(String),
    Glob { matcher: GlobMatcher, dotted: bool },
    AnyDepth,
}

/// Whether a pattern names exactly one path.
pub(super) fn is_plain(pattern: &str) -> bool {
    !pattern.contains(['*', '?', '['])
}

/// The regular files below `root` that the pattern names, sorted, relative to `root`.
pub(super) fn find(root: &Dir, pattern: &str) -> Result<Vec<String>, PatternError> {
    let parts = parse(pattern)?;
    let mut search =
        Search { pattern, plain: is_plain(pattern), budget: ENTRIES_MAX, found: BTreeSet::new() };
    search.walk(root, &parts, "", DEPTH_MAX)?;
    Ok(search.found.into_iter().collect())
}

fn parse(pattern: &str) -> Result<Vec<Part>, PatternError> {
    let mut parts = Vec::new();
    for text in pattern.split('/') {
        if text == "**" {
            parts.push(Part::AnyDepth);
        } else if let Some(rest) = text.strip_prefix("**") {
            // `**.png` is what people write for `**/*.png`.
            parts.push(Part::AnyDepth);
            parts.push(glob(pattern, &format!("*{rest}"))?);
        } else if is_plain(text) {
            parts.push(Part::Name(text.to_owned()));
        } else {
            parts.push(glob(pattern, text)?);
        }
    }
    Ok(parts)
}

fn glob(pattern: &str, text: &str) -> Result<Part, PatternError> {
    // Braces are no part of the reference's patterns, so they stand for themselves.
    let literal = text.replace('{', "[{]").replace('}', "[}]");
    let built: Result<Glob, _> =
        GlobBuilder::new(&literal).literal_separator(true).backslash_escape(false).build();
    let built = built.map_err(|cause| PatternError::Syntax { pattern: pattern.into(), cause })?;
    Ok(Part::Glob { matcher: built.compile_matcher(), dotted: text.starts_with('.') })
}

struct Search<'a> {
    pattern: &'a str,
    plain: bool,
    budget: usize,
    found: BTreeSet<String>,
}

impl Search<'_> {
    fn walk(&mut self, dir: &Dir, parts: &[Part], prefix: &str, depth: usize) -> Result<(), PatternError> {
        let (Some((part, rest)), Some(depth)) = (parts.split_first(), depth.checked_sub(1)) else {
            return Ok(());
        };
        match part {
            Part::Name(name) => match dir.facts(name) {
                Ok(facts) => self.entry(dir, name, facts.kind, rest, prefix, depth),
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
                {
                    Ok(())
                }
                Err(cause) => Err(self.failed(cause)),
            },
            Part::Glob { matcher, dotted } => {
                for (name, kind) in self.entries(dir)? {
                    if (*dotted || !name.starts_with('.')) && matcher.is_match(&name) {
                        self.entry(dir, &name, kind, rest, prefix, depth)?;
                    }
                }
                Ok(())
            }
            Part::AnyDepth => {
                if !rest.is_empty() {
                    self.walk(dir, rest, prefix, depth)?;
                }
                for (name, kind) in self.entries(dir)? {
                    if name.starts_with('.') {
                        continue;
                    }
                    if kind == EntryKind::Directory {
                        self.below(dir, &name, parts, prefix, depth)?;
                    } else if rest.is_empty() {
                        self.entry(dir, &name, kind, &[], prefix, depth)?;
                    }
                }
                Ok(())
            }
        }
    }

    fn entries(&mut self, dir: &Dir) -> Result<Vec<(String, EntryKind)>, PatternError> {
        let entries = dir.entries().map_err(|cause| self.failed(cause))?;
        let left = self.budget.checked_sub(entries.len());
        self.budget = left.ok_or_else(|| PatternError::TooMany { pattern: self.pattern.into() })?;
        Ok(entries)
    }

    fn entry(
        &mut self,
        dir: &Dir,
        name: &str,
        kind: EntryKind,
        rest: &[Part],
        prefix: &str,
        depth: usize,
    ) -> Result<(), PatternError> {
        match kind {
            EntryKind::Directory if !rest.is_empty() => self.below(dir, name, rest, prefix, depth),
            EntryKind::File if rest.is_empty() => {
                self.found.insert(format!("{prefix}{name}"));
                Ok(())
            }
            EntryKind::Other if self.plain => {
                Err(PatternError::NotRegular { path: format!("{prefix}{name}").into() })
            }
            EntryKind::Directory | EntryKind::File | EntryKind::Other => Ok(()),
        }
    }

    fn below(
        &mut self,
        dir: &Dir,
        name: &str,
        parts: &[Part],
        prefix: &str,
        depth: usize,
    ) -> Result<(), PatternError> {
        match dir.open_dir(name) {
            Ok(below) => self.walk(&below, parts, &format!("{prefix}{name}/"), depth),
            // It was there a moment ago: what is left of the task may still be moving.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(cause) => Err(self.failed(cause)),
        }
    }

    fn failed(&self, cause: io::Error) -> PatternError {
        PatternError::Io { pattern: self.pattern.into(), cause }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workdir::Layout;

    fn check(pattern: &str, wanted: &[&str]) {
        let temporary = tempfile::tempdir().unwrap();
        let layout = Layout::open(temporary.path()).unwrap();
        let root = temporary.path().join("batch/shared");
        for path in
            ["a.txt", "b.txt", "c.png", ".hidden.txt", "d/e.txt", "d/f/g.txt", ".git/h.txt", "{x}.txt"]
        {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        std::os::unix::fs::symlink("/etc/passwd", root.join("link.txt")).unwrap();
        std::os::unix::fs::symlink("/etc", root.join("linked")).unwrap();
        let shared = layout.batch().open_dir("shared").unwrap();
        assert_eq!(find(&shared, pattern).unwrap(), wanted, "{pattern}");
    }

    #[test]
    fn patterns_match_as_the_reference_says() {
        check("a.txt", &["a.txt"]);
        check("none.txt", &[]);
        check("d", &[]);
        check("*.txt", &["a.txt", "b.txt", "{x}.txt"]);
        check("[ab].txt", &["a.txt", "b.txt"]);
        check("[!a].*", &["b.txt", "c.png"]);
        check("?.png", &["c.png"]);
        check(".*.txt", &[".hidden.txt"]);
        check("d/*", &["d/e.txt"]);
        check("d/**", &["d/e.txt", "d/f/g.txt"]);
        check("**/*.txt", &["a.txt", "b.txt", "d/e.txt", "d/f/g.txt", "{x}.txt"]);
        check("**.png", &["c.png"]);
        check("**/g.txt", &["d/f/g.txt"]);
        check(".git/*", &[".git/h.txt"]);
        check("{x}*", &["{x}.txt"]);
        check("linked/*", &[]);
    }

    #[test]
    fn a_link_that_is_named_is_refused() {
        let temporary = tempfile::tempdir().unwrap();
        let layout = Layout::open(temporary.path()).unwrap();
        let root = temporary.path().join("batch/shared");
        std::os::unix::fs::symlink("/etc/passwd", root.join("out.txt")).unwrap();
        std::os::unix::fs::symlink("/etc", root.join("dir")).unwrap();
        let shared = layout.batch().open_dir("shared").unwrap();
        for pattern in ["out.txt", "dir/passwd"] {
            assert!(matches!(find(&shared, pattern), Err(PatternError::NotRegular { .. })), "{pattern}");
        }
        assert!(matches!(find(&shared, "a[b"), Err(PatternError::Syntax { .. })));
    }
}

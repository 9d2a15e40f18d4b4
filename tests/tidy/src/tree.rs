//! The files of the repository as texts.
//!
//! It reads and does not judge. Build output, the version control's folder and files that are not text are left
//! out.

use std::path::{Path, PathBuf};

use crate::source::Source;

/// Folders that hold nothing of ours.
const SKIPPED: [&str; 2] = ["target", ".git"];

/// The largest file that is looked at, in bytes. Nothing that people write is larger; generated data may be.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Why the repository cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}")]
pub struct TreeError {
    /// The file or folder.
    path: PathBuf,
    /// What the system said.
    #[source]
    source: std::io::Error,
}

/// A text file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextFile {
    /// Its path from the root of the repository, with forward slashes.
    pub path: String,
    /// What it says.
    pub text: String,
}

/// The root of the repository that this package was built in.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every text file below `root`, sorted by path.
///
/// # Errors
/// When a folder or file cannot be read.
pub fn texts(root: &Path) -> Result<Vec<TextFile>, TreeError> {
    let mut found = Vec::new();
    walk(root, "", &mut found)?;
    found.sort_by(|left, right| left.path.cmp(&right.path));
    Ok(found)
}

/// The Rust files among `texts`, scanned.
#[must_use]
pub fn sources(texts: &[TextFile]) -> Vec<Source> {
    let rust = texts.iter().filter(|file| file.path.ends_with(".rs"));
    rust.map(|file| Source::new(file.path.clone(), file.text.clone())).collect()
}

fn walk(root: &Path, below: &str, found: &mut Vec<TextFile>) -> Result<(), TreeError> {
    let folder = root.join(below);
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| TreeError { path, source }
    };
    for entry in std::fs::read_dir(&folder).map_err(failed(&folder))? {
        let entry = entry.map_err(failed(&folder))?;
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| !SKIPPED.contains(name)) else { continue };
        let path = if below.is_empty() { name.to_owned() } else { format!("{below}/{name}") };
        // A link is looked at where its target is, if that is in the repository at all.
        let about = std::fs::symlink_metadata(entry.path()).map_err(failed(&entry.path()))?;
        if about.is_dir() {
            walk(root, &path, found)?;
        } else if about.is_file() && about.len() <= FILE_BYTES_MAX {
            let bytes = std::fs::read(entry.path()).map_err(failed(&entry.path()))?;
            found.extend(String::from_utf8(bytes).ok().map(|text| TextFile { path, text }));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_found_in_order_and_build_output_is_not() {
        let dir = tempfile::tempdir().unwrap();
        for (path, content) in [
            ("b/src/a.rs", &b"fn a() {}"[..]),
            ("a.md", b"# A"),
            ("target/x.rs", b"x"),
            ("b/image", b"\xff\xfe"),
        ] {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let found = texts(dir.path()).unwrap();
        assert_eq!(found.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["a.md", "b/src/a.rs"]);
        assert_eq!(sources(&found).len(), 1);
        assert!(texts(&dir.path().join("absent")).unwrap_err().to_string().contains("absent"));
    }

    #[test]
    fn root_is_the_workspace() {
        assert!(root().join("Cargo.lock").is_file());
    }
}

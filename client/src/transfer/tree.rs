//! Finds the files below a local path, and the paths that they get in the file store.
//!
//! Links are followed, because their content is what is wanted elsewhere; a link back to a folder above is an error, not
//! an endless walk. The order is that of the names, so that two walks of one tree give one list. Empty folders have no
//! content and are left out.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use muster_model::FilePath;

use super::error::TransferError;

/// The most files of one upload: what the list of them costs stays far below a gigabyte.
const FILES_MAX: usize = 1_000_000;

/// The deepest nesting of folders: a path of 2048 bytes has room for no more than half of it in any case.
const DEPTH_MAX: usize = 512;

/// A local file and the path that it gets in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalFile {
    /// Where it is here.
    pub source: PathBuf,
    /// Where it goes.
    pub dest: FilePath,
    /// Its size when it was found, in bytes.
    pub size: u64,
}

/// The files at `source`: one for a file, all below for a folder. `dest` is the path of the file, or the folder above
/// the files of a folder; empty means the top of the container (for a single file: under its own name).
///
/// # Errors
/// As the variants of [`TransferError`] say.
pub fn find_files(source: &Path, dest: &str) -> Result<Vec<LocalFile>, TransferError> {
    let metadata = fs::metadata(source).map_err(|cause| read(source, cause))?;
    let mut found = Vec::new();
    if metadata.is_dir() {
        let mut walk = Walk { root: source, above: Vec::new(), found: &mut found };
        walk.folder(source, dest.trim_end_matches('/'), (metadata.dev(), metadata.ino()))?;
        return Ok(found);
    }
    let dest = if dest.is_empty() || dest.ends_with('/') {
        let name = source.file_name().ok_or_else(|| TransferError::NotAFile { path: source.to_owned() })?;
        format!("{dest}{}", text(source, name)?)
    } else {
        dest.to_owned()
    };
    found.push(file(source, &dest, &metadata)?);
    Ok(found)
}

struct Walk<'a> {
    root: &'a Path,
    above: Vec<(u64, u64)>,
    found: &'a mut Vec<LocalFile>,
}

impl Walk<'_> {
    fn folder(&mut self, folder: &Path, dest: &str, identity: (u64, u64)) -> Result<(), TransferError> {
        if self.above.contains(&identity) || self.above.len() >= DEPTH_MAX {
            return Err(TransferError::Loop { path: folder.to_owned(), max: DEPTH_MAX });
        }
        self.above.push(identity);
        let mut names = Vec::new();
        for entry in fs::read_dir(folder).map_err(|cause| read(folder, cause))? {
            names.push(entry.map_err(|cause| read(folder, cause))?.file_name());
        }
        names.sort();
        for name in names {
            let path = folder.join(&name);
            let name = text(&path, &name)?;
            let dest = if dest.is_empty() { name.to_owned() } else { format!("{dest}/{name}") };
            let metadata = fs::metadata(&path).map_err(|cause| read(&path, cause))?;
            if metadata.is_dir() {
                self.folder(&path, &dest, (metadata.dev(), metadata.ino()))?;
            } else {
                self.found.push(file(&path, &dest, &metadata)?);
            }
            if self.found.len() > FILES_MAX {
                return Err(TransferError::TooMany { path: self.root.to_owned(), max: FILES_MAX });
            }
        }
        self.above.pop();
        Ok(())
    }
}

fn file(source: &Path, dest: &str, metadata: &fs::Metadata) -> Result<LocalFile, TransferError> {
    if !metadata.is_file() {
        return Err(TransferError::NotAFile { path: source.to_owned() });
    }
    let dest = FilePath::parse(dest)
        .map_err(|cause| TransferError::Name { path: source.to_owned(), source: cause })?;
    Ok(LocalFile { source: source.to_owned(), dest, size: metadata.len() })
}

fn text<'a>(path: &Path, name: &'a std::ffi::OsStr) -> Result<&'a str, TransferError> {
    name.to_str().ok_or_else(|| TransferError::NotUtf8 { path: path.to_owned() })
}

fn read(path: &Path, source: std::io::Error) -> TransferError {
    TransferError::Read { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn tree() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("b/empty")).unwrap();
        fs::write(folder.path().join("b/two"), "22").unwrap();
        fs::write(folder.path().join("a"), "1").unwrap();
        symlink("a", folder.path().join("link")).unwrap();
        folder
    }

    fn paths(files: &[LocalFile]) -> Vec<&str> {
        files.iter().map(|file| file.dest.as_str()).collect()
    }

    #[test]
    fn a_folder_gives_its_files_in_order_and_follows_links() {
        let tree = tree();
        let found = find_files(tree.path(), "").unwrap();
        assert_eq!(paths(&found), ["a", "b/two", "link"]);
        assert_eq!(found.iter().map(|file| file.size).collect::<Vec<_>>(), [1, 2, 1]);
        assert_eq!(paths(&find_files(tree.path(), "in/").unwrap()), ["in/a", "in/b/two", "in/link"]);
    }

    #[test]
    fn a_file_goes_where_it_is_told_or_keeps_its_name() {
        let tree = tree();
        let file = tree.path().join("b/two");
        for (dest, expected) in [("", "two"), ("x/", "x/two"), ("x/y", "x/y")] {
            assert_eq!(paths(&find_files(&file, dest).unwrap()), [expected]);
        }
        assert!(matches!(find_files(&file, "../up"), Err(TransferError::Name { .. })));
        assert!(matches!(find_files(&tree.path().join("none"), ""), Err(TransferError::Read { .. })));
    }

    #[test]
    fn a_link_to_a_folder_above_is_refused() {
        let tree = tree();
        symlink("..", tree.path().join("b/up")).unwrap();
        assert!(matches!(find_files(tree.path(), ""), Err(TransferError::Loop { .. })));
    }
}

//! What is kept on disk of each bounded directory: a small file for each, below the agent's own directory.
//!
//! It is written before the bound is made and removed after it is lifted, so whatever an agent that was killed left behind has a
//! record. A record that cannot be read still tells by its name which directory it is about.

use super::error::DiskError;
use super::means::Spot;
use muster_model::state::DiskLimit;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The ending of a record's file name.
const ENDING: &str = ".limit";

/// A record that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) name: String,
    /// `None`: it cannot be read.
    pub(super) content: Option<Content>,
}

/// What a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) means: DiskLimit,
    pub(super) limit_bytes: u64,
    pub(super) id: u64,
}

fn file(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}{ENDING}"))
}

/// Writes the record of a directory.
pub(super) fn write(folder: &Path, spot: &Spot, means: DiskLimit) -> Result<(), DiskError> {
    let file = file(folder, &spot.name);
    let text = format!("{means} {} {}\n", spot.limit_bytes, spot.id);
    fs::write(&file, text).map_err(DiskError::io("write", &file))
}

/// Removes it. None is fine too.
pub(super) fn remove(folder: &Path, name: &str) -> Result<(), DiskError> {
    let file = file(folder, name);
    match fs::remove_file(&file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(DiskError::io("remove", &file)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// All records, by name.
pub(super) fn all(folder: &Path) -> Result<Vec<Found>, DiskError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(DiskError::io("list", folder))?.flatten() {
        let Ok(file_name) = entry.file_name().into_string() else { continue };
        if let Some(name) = file_name.strip_suffix(ENDING) {
            let content = fs::read_to_string(entry.path()).ok().and_then(|text| parse(&text));
            found.push(Found { name: name.to_owned(), content });
        }
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

fn parse(text: &str) -> Option<Content> {
    let mut words = text.split_whitespace();
    let (means, limit, id) = (words.next()?, words.next()?, words.next()?);
    Some(Content {
        means: DiskLimit::parse(means).ok()?,
        limit_bytes: limit.parse().ok()?,
        id: id.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_found_again_and_a_torn_one_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let spot = Spot { name: "film~job-1~t".to_owned(), path: "/x".into(), limit_bytes: u64::MAX, id: 7 };
        write(folder.path(), &spot, DiskLimit::ProjectQuota).unwrap();
        fs::write(folder.path().join("film~job-1~u.limit"), "loo").unwrap();
        fs::write(folder.path().join("film~job-1~u.img"), "").unwrap();
        let found = all(folder.path()).unwrap();
        let content = Content { means: DiskLimit::ProjectQuota, limit_bytes: u64::MAX, id: 7 };
        assert_eq!(found[0], Found { name: spot.name.clone(), content: Some(content) });
        assert_eq!((found[1].name.as_str(), found[1].content, found.len()), ("film~job-1~u", None, 2));
        remove(folder.path(), &spot.name).unwrap();
        remove(folder.path(), &spot.name).unwrap();
        assert_eq!(all(folder.path()).unwrap().len(), 1);
    }
}

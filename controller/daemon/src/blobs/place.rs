//! Where blobs live: a folder, or an object store by URL. Read from settings once, at start.
//!
//! Clouds are behind cargo features (`s3`, `azure`, `gcs`), because each brings an HTTP client and its signing code
//! into the binary; a URL that needs one that was left out is refused with the feature's name. Credentials come from
//! the environment, as the clouds' own tools read them, and never from the URL.

use super::error::{BlobError, PlaceError};
use muster_model::Digest;
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use url::Url;

/// An object store and where in it our blobs are.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) prefix: ObjectPath,
    /// Where uploads are spooled.
    pub(super) spool: PathBuf,
    /// Whether the spool lies in the store itself, so that publishing is a rename.
    pub(super) spool_is_inside: bool,
}

impl Place {
    /// Where a content lives. Two digits make a folder, so that no folder gets too many entries.
    pub(super) fn path_of(&self, digest: &Digest) -> ObjectPath {
        let hex = digest.to_string();
        let folder = hex.get(..2).unwrap_or_default().to_owned();
        self.prefix.clone().join("sha256").join(folder).join(hex)
    }

    /// The size of a content, or `None` when it is not here.
    pub(super) async fn size(&self, digest: &Digest) -> Result<Option<u64>, BlobError> {
        match self.store.head(&self.path_of(digest)).await {
            Ok(found) => Ok(Some(found.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(cause) => Err(BlobError::Store { action: "look up", digest: *digest, cause }),
        }
    }

    /// A spool file as the store sees it, if the spool lies in the store.
    pub(super) fn spooled(&self, file: &Path) -> Option<ObjectPath> {
        let name = file.file_name()?.to_str()?;
        self.spool_is_inside.then(|| ObjectPath::from(SPOOL).join(name.to_owned()))
    }
}

/// The folder of uploads under way, below the folder of blobs.
const SPOOL: &str = "uploads";

/// The place that the settings name: `url`, or else `folder`. Uploads are spooled below `folder` in both cases.
pub(super) fn open(folder: &Path, url: Option<&str>) -> Result<Place, PlaceError> {
    match url {
        None => local(folder),
        Some(given) => remote(folder, given),
    }
}

fn local(folder: &Path) -> Result<Place, PlaceError> {
    let spool = make_spool(folder)?;
    let refused = |cause| PlaceError::FolderRefused { folder: folder.to_path_buf(), cause };
    let store = LocalFileSystem::new_with_prefix(folder).map_err(refused)?.with_fsync(true);
    Ok(Place { store: Arc::new(store), prefix: ObjectPath::default(), spool, spool_is_inside: true })
}

fn make_spool(folder: &Path) -> Result<PathBuf, PlaceError> {
    let spool = folder.join(SPOOL);
    let unusable = |cause| PlaceError::Folder { folder: folder.to_path_buf(), cause };
    std::fs::create_dir_all(&spool).map_err(unusable)?;
    spool.canonicalize().map_err(unusable)
}

fn remote(folder: &Path, given: &str) -> Result<Place, PlaceError> {
    let given = given.to_owned();
    let url = Url::parse(&given).map_err(|_| PlaceError::NotUrl { given: given.clone() })?;
    let feature = match url.scheme() {
        "file" => {
            let path = url.to_file_path().map_err(|()| PlaceError::NotUrl { given })?;
            return local(&path);
        }
        "s3" | "s3a" => (cfg!(feature = "s3"), "s3"),
        "az" | "azure" | "abfs" | "abfss" | "adl" => (cfg!(feature = "azure"), "azure"),
        "gs" => (cfg!(feature = "gcs"), "gcs"),
        scheme => return Err(PlaceError::Scheme { scheme: scheme.to_owned(), given }),
    };
    if let (false, feature) = feature {
        return Err(PlaceError::Feature { given, feature });
    }
    let (store, prefix) = object_store::parse_url_opts(&url, std::env::vars())
        .map_err(|cause| PlaceError::Refused { given, cause })?;
    Ok(Place { store: store.into(), prefix, spool: make_spool(folder)?, spool_is_inside: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(url: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        open(folder.path(), Some(url)).unwrap_err().to_string()
    }

    #[test]
    fn a_file_url_is_a_folder_like_any_other() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("content");
        let url = Url::from_file_path(&target).unwrap();
        let place = open(folder.path(), Some(url.as_str())).unwrap();
        assert!(place.spool_is_inside && target.join(SPOOL).is_dir());
    }

    #[test]
    fn urls_that_cannot_work_are_refused_with_the_way_out() {
        assert!(refused("data").contains("not a URL"));
        assert!(refused("ftp://host/x").contains("'ftp'"));
        assert!(refused("memory:///").contains("use s3, az, gs or file"));
    }

    #[cfg(not(feature = "s3"))]
    #[test]
    fn a_cloud_that_was_not_built_in_is_named_with_its_feature() {
        let words = refused("s3://bucket/muster");
        assert!(words.contains("'s3'") && words.contains("--features s3"), "{words}");
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, b"").unwrap();
        let words = open(&file, None).unwrap_err().to_string();
        assert!(words.contains("file'") && words.contains("data_dir"), "{words}");
    }
}

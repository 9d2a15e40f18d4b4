//! Content through its door: stored whole or not at all, verified, resumed, read by range.
//!
//! Each rule is tried on a folder and on an object store that is not one, because publishing differs between them.
//! Folders are temporary and looked through for leftovers.

use super::super::publish::Stored;
use super::*;
use bytes::Bytes;
use futures_util::TryStreamExt;
use muster_model::AccountName;
use object_store::memory::InMemory;
use object_store::path::Path as ObjectPath;
use sha2::{Digest as _, Sha256};

fn local() -> (tempfile::TempDir, Blobs) {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(folder.path(), None).unwrap();
    (folder, blobs)
}

fn remote() -> (tempfile::TempDir, Blobs) {
    let folder = tempfile::tempdir().unwrap();
    let place = Place {
        store: Arc::new(InMemory::new()),
        prefix: ObjectPath::from("muster/content"),
        spool: folder.path().to_path_buf(),
        spool_is_inside: false,
    };
    (folder, Blobs::at(place).unwrap())
}

fn digest_of(bytes: &[u8]) -> Digest {
    Digest::from_bytes(Sha256::digest(bytes).into())
}

fn key_of(bytes: &[u8]) -> UploadKey {
    UploadKey { account: AccountName::parse("studio").unwrap(), digest: digest_of(bytes) }
}

fn pattern(bytes: usize) -> Bytes {
    (0..bytes).map(|i| u8::try_from(i % 251).unwrap()).collect()
}

async fn put(blobs: &Blobs, content: &Bytes, announced: Announced) -> Result<Stored, BlobError> {
    let mut upload = blobs.begin(announced, None).await?;
    for chunk in content.chunks(100_000) {
        upload.write(Bytes::copy_from_slice(chunk)).await?;
    }
    upload.finish().await
}

async fn get(blobs: &Blobs, digest: &Digest, range: Range<u64>) -> Vec<u8> {
    let chunks: Vec<Bytes> = blobs.read(digest, range).await.unwrap().try_collect().await.unwrap();
    assert!(chunks.iter().all(|chunk| chunk.len() <= muster_proto::version::CHUNK_BYTES_MAX));
    chunks.concat()
}

fn files_below(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path())
            } else {
                found.push(entry.path())
            }
        }
    }
    found
}

#[tokio::test]
async fn content_is_found_under_its_digest_and_read_by_range() {
    for (folder, blobs) in [local(), remote()] {
        let content = pattern(700_001);
        let digest = digest_of(&content);
        assert_eq!(blobs.size(&digest).await.unwrap(), None);
        let announced = Announced { digest: Some(digest), size: Some(700_001) };
        assert_eq!(put(&blobs, &content, announced).await.unwrap(), Stored { digest, size: 700_001 });
        assert_eq!(blobs.size(&digest).await.unwrap(), Some(700_001));
        assert_eq!(get(&blobs, &digest, 0..700_001).await, content);
        assert_eq!(get(&blobs, &digest, 262_143..262_146).await, content[262_143..262_146]);
        assert_eq!(get(&blobs, &digest, 700_000..u64::MAX).await, content[700_000..]);
        assert!(get(&blobs, &digest, 5..5).await.is_empty());
        assert_eq!(
            put(&blobs, &content, Announced::default()).await.unwrap().digest,
            digest,
            "again changes nothing"
        );
        drop(folder);
    }
}

#[tokio::test]
async fn large_content_reaches_an_object_store_in_parts() {
    let (folder, blobs) = remote();
    let content = pattern(11 * 1024 * 1024 + 3);
    let stored = put(&blobs, &content, Announced::default()).await.unwrap();
    assert_eq!(get(&blobs, &stored.digest, 0..stored.size).await, content);
    assert!(files_below(folder.path()).is_empty(), "nothing is left in the spool");
}

#[tokio::test]
async fn empty_content_is_content() {
    for (_folder, blobs) in [local(), remote()] {
        let stored = put(&blobs, &Bytes::new(), Announced { digest: None, size: Some(0) }).await.unwrap();
        assert_eq!(stored.digest, digest_of(b""));
        assert_eq!(blobs.size(&stored.digest).await.unwrap(), Some(0));
    }
}

#[tokio::test]
async fn what_is_not_as_announced_is_refused_and_leaves_nothing() {
    let (folder, blobs) = local();
    let content = pattern(300_000);
    let lie = Announced { digest: Some(digest_of(b"other")), size: None };
    let words = put(&blobs, &content, lie).await.unwrap_err().to_string();
    assert!(words.contains(&digest_of(&content).to_string()), "{words}");
    let short = Announced { digest: None, size: Some(299_999) };
    assert!(matches!(
        put(&blobs, &content, short).await,
        Err(BlobError::SizeMismatch { announced: 299_999, .. })
    ));
    let long = Announced { digest: None, size: Some(300_001) };
    assert!(matches!(put(&blobs, &content, long).await, Err(BlobError::SizeMismatch { found: 300_000, .. })));
    assert!(files_below(folder.path()).is_empty());
    assert!(matches!(blobs.read(&digest_of(&content), 0..1).await, Err(BlobError::NotFound { .. })));
}

#[tokio::test]
async fn an_interrupted_upload_goes_on_where_it_broke_off() {
    let (folder, blobs) = local();
    let content = pattern(500_000);
    let announced = Announced { digest: Some(digest_of(&content)), size: Some(500_000) };
    let mut upload = blobs.begin(announced, Some(key_of(&content))).await.unwrap();
    upload.write(content.slice(..200_000)).await.unwrap();
    assert_eq!(blobs.left_of(key_of(&content)).await, 0, "it is under way");
    drop(upload);
    assert_eq!(blobs.left_of(key_of(&content)).await, 200_000);

    let reopened = Blobs::open(folder.path(), None).unwrap();
    let mut upload = reopened.resume(announced, key_of(&content), 150_000).await.unwrap();
    assert_eq!(upload.bytes(), 150_000);
    upload.write(content.slice(150_000..)).await.unwrap();
    upload.finish().await.unwrap();
    assert_eq!(get(&reopened, &digest_of(&content), 0..500_000).await, content);
    assert_eq!(reopened.left_of(key_of(&content)).await, 0);
    assert_eq!(files_below(folder.path()).len(), 1, "only the content is left");
}

#[tokio::test]
async fn a_resumed_upload_of_damaged_bytes_is_found_out_and_removed() {
    let (folder, blobs) = local();
    let content = pattern(1_000);
    let announced = Announced { digest: Some(digest_of(&content)), size: Some(1_000) };
    let mut upload = blobs.begin(announced, Some(key_of(&content))).await.unwrap();
    upload.write(Bytes::from(vec![0xee; 400])).await.unwrap();
    drop(upload);
    let mut upload = blobs.resume(announced, key_of(&content), 400).await.unwrap();
    upload.write(content.slice(400..)).await.unwrap();
    assert!(matches!(upload.finish().await, Err(BlobError::DigestMismatch { .. })));
    assert_eq!(blobs.left_of(key_of(&content)).await, 0);
    assert!(files_below(folder.path()).is_empty());
}

#[tokio::test]
async fn a_blob_that_lost_bytes_is_an_error_not_a_short_answer() {
    let (folder, blobs) = local();
    let content = pattern(400_000);
    let stored = put(&blobs, &content, Announced::default()).await.unwrap();
    let mut stream = blobs.read(&stored.digest, 0..400_000).await.unwrap();
    let file = files_below(folder.path()).pop().unwrap();
    std::fs::OpenOptions::new().write(true).open(file).unwrap().set_len(300_000).unwrap();
    assert!(stream.try_next().await.unwrap().is_some());
    assert!(matches!(stream.try_next().await, Err(BlobError::Damaged { missing: 137_856, .. })));
}

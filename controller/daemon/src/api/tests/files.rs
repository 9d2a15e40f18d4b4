//! The file store: uploads that are verified and resumed, names, ranges, and who may see what.
//!
//! Content goes over the wire in chunks as a client sends it. That knowing a digest gives nobody a file is tried here,
//! across accounts.

use super::super::testing::{Client, World, soon};
use bytes::Bytes;
use muster_model::Digest;
use muster_proto::convert::reason_of;
use muster_proto::wire::file_service_client::FileServiceClient;
use muster_proto::wire::put_file_request::Body;
use muster_proto::wire::{self, ErrorReason, get_file_response};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tonic::{Code, Status};

fn name(path: &str) -> wire::FileStorePath {
    wire::FileStorePath { container: "film".into(), path: path.into() }
}

fn sha256(bytes: &[u8]) -> String {
    Digest::from_bytes(Sha256::digest(bytes).into()).to_string()
}

fn header(path: &str) -> wire::PutFileHeader {
    wire::PutFileHeader { name: Some(name(path)), ..Default::default() }
}

/// A header that announces this content.
fn announce(path: &str, content: &[u8]) -> wire::PutFileHeader {
    let size = u64::try_from(content.len()).unwrap();
    wire::PutFileHeader { sha256: sha256(content), size_bytes: Some(size), ..header(path) }
}

async fn put(
    files: &mut FileServiceClient<Client>,
    header: wire::PutFileHeader,
    content: &[u8],
) -> Result<wire::PutFileResponse, Status> {
    let chunks = content.chunks(50_000).map(|chunk| Body::Chunk(Bytes::copy_from_slice(chunk)));
    let messages: Vec<_> = std::iter::once(Body::Header(header))
        .chain(chunks)
        .map(|body| wire::PutFileRequest { body: Some(body) })
        .collect();
    soon(files.put_file(tokio_stream::iter(messages))).await.map(tonic::Response::into_inner)
}

async fn get(
    files: &mut FileServiceClient<Client>,
    request: wire::GetFileRequest,
) -> Result<(wire::FileInfo, Vec<u8>), Status> {
    let mut stream = soon(files.get_file(request)).await?.into_inner();
    let (mut info, mut bytes) = (None, Vec::new());
    while let Some(message) = soon(stream.message()).await? {
        match message.body.unwrap() {
            get_file_response::Body::Header(header) => info = Some(header),
            get_file_response::Body::Chunk(chunk) => bytes.extend_from_slice(&chunk),
        }
    }
    Ok((info.expect("a header comes first"), bytes))
}

fn whole(path: &str) -> wire::GetFileRequest {
    wire::GetFileRequest { name: Some(name(path)), ..Default::default() }
}

fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|i| u8::try_from(i % 241).unwrap()).collect()
}

#[tokio::test]
async fn what_was_put_is_got_whole_or_by_range() {
    let world = World::start().await;
    let mut files = FileServiceClient::new(world.studio());
    let content = pattern(600_000);
    let put = put(&mut files, announce("scene/a.pov", &content), &content).await.unwrap();
    let info = put.file.unwrap();
    assert_eq!(
        (info.sha256.clone(), info.size_bytes, put.already_present),
        (sha256(&content), 600_000, false)
    );
    let (seen, bytes) = get(&mut files, whole("scene/a.pov")).await.unwrap();
    assert!(bytes == content && seen == info);
    let range = wire::GetFileRequest { offset: 599_990, length: 100, ..whole("scene/a.pov") };
    assert_eq!(get(&mut files, range).await.unwrap().1, content[599_990..]);
    let range = wire::GetFileRequest { offset: 10, length: 5, etag: info.etag, ..whole("scene/a.pov") };
    assert_eq!(get(&mut files, range).await.unwrap().1, content[10..15]);
    let beyond = wire::GetFileRequest { offset: 600_001, ..whole("scene/a.pov") };
    let refused = get(&mut files, beyond).await.unwrap_err();
    assert_eq!((refused.code(), reason_of(&refused)), (Code::OutOfRange, Some(ErrorReason::InvalidRange)));
    assert!(refused.message().contains("600000") && refused.message().contains("600001"));
    let stale = wire::GetFileRequest { etag: sha256(b"other"), ..whole("scene/a.pov") };
    assert_eq!(get(&mut files, stale).await.unwrap_err().code(), Code::Aborted);
    let missing = get(&mut files, whole("nope")).await.unwrap_err();
    assert_eq!((missing.code(), reason_of(&missing)), (Code::NotFound, Some(ErrorReason::FileNotFound)));
}

#[tokio::test]
async fn content_that_is_not_as_announced_gets_no_name() {
    let world = World::start().await;
    let mut files = FileServiceClient::new(world.studio());
    let wrong = announce("a", b"announced");
    let refused = put(&mut files, wrong, b"delivered").await.unwrap_err();
    assert_eq!(
        (refused.code(), reason_of(&refused)),
        (Code::InvalidArgument, Some(ErrorReason::ContentMismatch))
    );
    let short = wire::PutFileHeader { size_bytes: Some(5), ..header("a") };
    assert!(put(&mut files, short, b"longer than five").await.is_err());
    assert_eq!(get(&mut files, whole("a")).await.unwrap_err().code(), Code::NotFound);
    for (bad, part) in [
        (header("../a"), "header.name.path"),
        (wire::PutFileHeader { sha256: "xyz".into(), ..header("a") }, "header.sha256"),
        (wire::PutFileHeader { offset: 5, ..header("a") }, "header.sha256"),
        (wire::PutFileHeader { name: None, ..header("a") }, "header.name"),
    ] {
        let refused = put(&mut files, bad, b"x").await.unwrap_err();
        assert!(refused.message().contains(part), "{part}: {}", refused.message());
    }
    let headless = [wire::PutFileRequest { body: Some(Body::Chunk(Bytes::from_static(b"x"))) }];
    let refused = files.put_file(tokio_stream::iter(headless)).await.unwrap_err();
    assert!(refused.message().contains("header"), "{refused:?}");
    let first = wire::PutFileRequest { body: Some(Body::Header(header("a"))) };
    let big = wire::PutFileRequest { body: Some(Body::Chunk(pattern(1_048_577).into())) };
    let refused = files.put_file(tokio_stream::iter([first, big])).await.unwrap_err();
    assert!(refused.message().contains("1048577") && refused.message().contains("1048576"), "{refused:?}");
}

#[tokio::test]
async fn content_that_the_account_has_is_not_sent_again() {
    let world = World::start().await;
    let mut files = FileServiceClient::new(world.studio());
    let content = pattern(1000);
    put(&mut files, header("first"), &content).await.unwrap();
    let again = put(&mut files, announce("second", &content), &[]).await.unwrap();
    assert!(again.already_present);
    assert_eq!(get(&mut files, whole("second")).await.unwrap().1, content);
    let lie = wire::PutFileHeader { size_bytes: Some(7), ..announce("third", &content) };
    assert_eq!(reason_of(&put(&mut files, lie, &[]).await.unwrap_err()), Some(ErrorReason::ContentMismatch));

    let missing = wire::FindMissingFilesRequest { sha256: vec![sha256(&content), sha256(b"new")] };
    let missing = files.find_missing_files(missing).await.unwrap().into_inner().missing;
    assert_eq!(missing, [wire::MissingFile { sha256: sha256(b"new"), resume_offset: 0 }]);
}

#[tokio::test]
async fn knowing_a_digest_gives_nobody_anothers_file() {
    let world = World::start().await;
    let mut files = FileServiceClient::new(world.studio());
    let secret = pattern(1000);
    put(&mut files, header("secret"), &secret).await.unwrap();
    let mut other = FileServiceClient::new(world.with(5, json!({"sub": "other1"})));
    let ask = wire::FindMissingFilesRequest { sha256: vec![sha256(&secret)] };
    assert_eq!(other.find_missing_files(ask).await.unwrap().into_inner().missing.len(), 1);
    let link = wire::FileLink { name: Some(name("mine")), sha256: sha256(&secret) };
    let links = wire::LinkFilesRequest { links: vec![link], ..Default::default() };
    let result = other.link_files(links).await.unwrap().into_inner().results.remove(0);
    assert_eq!(result.error.unwrap().reason(), ErrorReason::ContentMissing);
    let empty = put(&mut other, announce("mine", &secret), &[]).await.unwrap_err();
    assert_eq!(reason_of(&empty), Some(ErrorReason::ContentMismatch), "the bytes have to be sent");
    let sent = put(&mut other, announce("mine", &secret), &secret).await.unwrap();
    assert!(!sent.already_present);
}

#[tokio::test]
async fn a_broken_upload_goes_on_where_it_was() {
    let world = World::start().await;
    let mut files = FileServiceClient::new(world.studio());
    let content = pattern(200_000);
    let refused = put(&mut files, announce("a", &content), &content[..150_000]).await.unwrap_err();
    assert_eq!(reason_of(&refused), Some(ErrorReason::ContentMismatch));
    let ask = wire::FindMissingFilesRequest { sha256: vec![sha256(&content)] };
    let missing = files.find_missing_files(ask.clone()).await.unwrap().into_inner().missing;
    assert_eq!(missing[0].resume_offset, 150_000);
    let too_far = wire::PutFileHeader { offset: 150_001, ..announce("a", &content) };
    let refused = put(&mut files, too_far, &content[150_001..]).await.unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange);
    let rest = wire::PutFileHeader { offset: 150_000, ..announce("a", &content) };
    put(&mut files, rest, &content[150_000..]).await.unwrap();
    assert_eq!(get(&mut files, whole("a")).await.unwrap().1, content);
    assert!(files.find_missing_files(ask).await.unwrap().into_inner().missing.is_empty());
}

#[tokio::test]
async fn names_are_linked_each_for_itself() {
    let world = World::start().await;
    let mut files = FileServiceClient::new(world.studio());
    put(&mut files, header("a"), b"content").await.unwrap();
    let link =
        |path: &str, content: &[u8]| wire::FileLink { name: Some(name(path)), sha256: sha256(content) };
    let links =
        vec![link("b", b"content"), link("/c", b"content"), link("d", b"unknown"), link("e", b"content")];
    let request = wire::LinkFilesRequest { links, request_id: "r1".into() };
    let results = files.link_files(request).await.unwrap().into_inner().results;
    assert_eq!(results[0].file.as_ref().unwrap().name, Some(name("b")));
    let error = results[1].error.as_ref().unwrap();
    assert_eq!(error.violations[0].field, "links[1].name.path");
    assert_eq!(results[2].error.as_ref().unwrap().reason(), ErrorReason::ContentMissing);
    assert_eq!(results[3].file.as_ref().unwrap().size_bytes, 7);
    assert_eq!(get(&mut files, whole("e")).await.unwrap().1, b"content");
    let none = files.link_files(wire::LinkFilesRequest::default()).await.unwrap_err();
    assert!(none.message().contains("links"));
}

#[tokio::test]
async fn names_are_replaced_under_their_etag_listed_and_deleted() {
    let world = World::start().await;
    let mut files = FileServiceClient::new(world.studio());
    let first = put(&mut files, header("a/1"), b"one").await.unwrap().file.unwrap();
    put(&mut files, header("a/2"), b"two").await.unwrap();
    put(&mut files, header("b"), b"three").await.unwrap();
    let replace = wire::PutFileHeader { etag: first.etag.clone(), ..header("a/1") };
    let second = put(&mut files, replace.clone(), b"other").await.unwrap().file.unwrap();
    assert_ne!(second.etag, first.etag);
    let stale = put(&mut files, replace, b"again").await.unwrap_err();
    assert_eq!((stale.code(), reason_of(&stale)), (Code::Aborted, Some(ErrorReason::ConditionNotMet)));

    let list = |prefix: &str| wire::ListFilesRequest {
        container: "film".into(),
        prefix: prefix.into(),
        ..Default::default()
    };
    let paths = |list: wire::ListFilesResponse| -> Vec<String> {
        list.files.into_iter().map(|file| file.name.unwrap().path).collect()
    };
    assert_eq!(paths(files.list_files(list("")).await.unwrap().into_inner()), ["a/1", "a/2", "b"]);
    assert_eq!(paths(files.list_files(list("a/")).await.unwrap().into_inner()), ["a/1", "a/2"]);
    let containers =
        files.list_containers(wire::ListContainersRequest::default()).await.unwrap().into_inner();
    assert_eq!(containers.containers, [wire::Container { name: "film".into() }]);

    let delete = wire::DeleteFilesRequest {
        container: "film".into(),
        paths: vec!["b".into(), "nope".into()],
        prefix: Some("a/".into()),
        ..Default::default()
    };
    assert_eq!(files.delete_files(delete).await.unwrap().into_inner().deleted, 3);
    assert!(files.list_files(list("")).await.unwrap().into_inner().files.is_empty());
    let nothing = wire::DeleteFilesRequest { container: "film".into(), ..Default::default() };
    assert!(files.delete_files(nothing).await.unwrap_err().message().contains("paths"));
}

#[tokio::test]
async fn a_container_with_files_goes_only_by_force() {
    let world = World::start().await;
    let mut files = FileServiceClient::new(world.studio());
    put(&mut files, header("a"), b"one").await.unwrap();
    let delete =
        |force: bool| wire::DeleteContainerRequest { container: "film".into(), force, ..Default::default() };
    let refused = files.delete_container(delete(false)).await.unwrap_err();
    assert_eq!(reason_of(&refused), Some(ErrorReason::ContainerNotEmpty));
    files.delete_container(delete(true)).await.unwrap();
    let gone = files.delete_container(delete(true)).await.unwrap_err();
    assert_eq!((gone.code(), reason_of(&gone)), (Code::NotFound, Some(ErrorReason::ContainerNotFound)));
    let list = wire::ListFilesRequest { container: "film".into(), ..Default::default() };
    assert_eq!(files.list_files(list).await.unwrap_err().code(), Code::NotFound);
}

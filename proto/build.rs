//! Turns `muster/v1/*.proto` into Rust with protox, so that no `protoc` has to be installed.
//!
//! Writes two things to `OUT_DIR`: the generated package (`muster.v1.rs`) and the encoded file descriptor set
//! that the reflection service answers from. Both come from the same parse, so they cannot differ.

use std::{env, error::Error, fs, path::PathBuf};

/// Messages that carry a secret: they get a `Debug` written by hand in `src/redact.rs` instead of the derived one.
const SECRET_MESSAGES: [&str; 7] = [
    ".muster.v1.AccountKeys",
    ".muster.v1.CreateJoinTokenResponse",
    ".muster.v1.JoinRequest",
    ".muster.v1.UserAccount",
    ".muster.v1.EnvironmentSetting",
    ".muster.v1.ContainerRegistry",
    ".muster.v1.CifsMount",
];

/// Fields that carry file content: shared buffers, so that a chunk is never copied between socket and disk.
const CHUNK_FIELDS: [&str; 7] = [
    ".muster.v1.PutFileRequest.chunk",
    ".muster.v1.GetFileResponse.chunk",
    ".muster.v1.ReadFileResponse.chunk",
    ".muster.v1.FetchFileResponse.chunk",
    ".muster.v1.UploadFileRequest.chunk",
    ".muster.v1.ServeFileRequest.chunk",
    ".muster.v1.OutputExcerpt",
];

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let folder = root.join("muster/v1");
    let mut files = Vec::new();
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ext| ext == "proto") {
            files.push(path);
        }
    }
    files.sort();
    println!("cargo:rerun-if-changed={}", folder.display());
    for file in &files {
        println!("cargo:rerun-if-changed={}", file.display());
    }

    let mut compiler = protox::Compiler::new([&root])?;
    compiler.include_imports(true).include_source_info(true).open_files(&files)?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("muster.v1.fds"), compiler.encode_file_descriptor_set())?;

    let mut builder =
        tonic_prost_build::configure().build_client(true).build_server(true).skip_debug(SECRET_MESSAGES);
    for field in CHUNK_FIELDS {
        builder = builder.bytes(field);
    }
    // Maps keep the order of their keys, so that encoding the same value twice gives the same bytes.
    builder.btree_map(".").compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}

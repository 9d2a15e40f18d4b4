//! What an attempt leaves behind, less what has columns: use, excerpts, published outputs.
//!
//! The exit code, the signal, the cause and the times have columns of their own and are not repeated here. Field numbers
//! are part of the format and keep their meaning for ever; a published output is checked again when it is read. The
//! failure's text is in `part`.

use super::error::CodecError;
use super::part::{decode, parsed};
use muster_model::{AttemptResult, ContainerName, Digest, Excerpt, FilePath, OutputEntry, Usage};
use prost::Message;

#[derive(Clone, PartialEq, Message)]
struct ExcerptPart {
    #[prost(bytes = "vec", tag = "1")]
    head: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    tail: Vec<u8>,
    #[prost(uint64, tag = "3")]
    total_bytes: u64,
}

#[derive(Clone, PartialEq, Message)]
struct OutputPart {
    #[prost(string, tag = "1")]
    container: String,
    #[prost(string, tag = "2")]
    path: String,
    #[prost(bytes = "vec", tag = "3")]
    digest: Vec<u8>,
    #[prost(uint64, tag = "4")]
    size: u64,
}

#[derive(Clone, PartialEq, Message)]
struct DetailPart {
    #[prost(uint64, tag = "1")]
    peak_memory_bytes: u64,
    #[prost(uint64, tag = "2")]
    user_cpu_micros: u64,
    #[prost(uint64, tag = "3")]
    kernel_cpu_micros: u64,
    #[prost(uint64, tag = "4")]
    staged_bytes: u64,
    #[prost(uint64, tag = "5")]
    uploaded_bytes: u64,
    #[prost(message, optional, tag = "6")]
    stdout: Option<ExcerptPart>,
    #[prost(message, optional, tag = "7")]
    stderr: Option<ExcerptPart>,
    #[prost(message, repeated, tag = "8")]
    outputs: Vec<OutputPart>,
    #[prost(uint64, tag = "9")]
    read_bytes: u64,
    #[prost(uint64, tag = "10")]
    written_bytes: u64,
    #[prost(uint64, tag = "11")]
    peak_processes: u64,
    #[prost(uint64, tag = "12")]
    peak_disk_bytes: u64,
}

/// The parts of a result that have no column: use, excerpts and outputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AttemptDetail {
    pub(crate) usage: Usage,
    pub(crate) stdout: Excerpt,
    pub(crate) stderr: Excerpt,
    pub(crate) outputs: Vec<OutputEntry>,
}

pub(crate) fn attempt_detail_bytes(result: &AttemptResult) -> Vec<u8> {
    let usage = &result.usage;
    DetailPart {
        peak_memory_bytes: usage.peak_memory_bytes,
        user_cpu_micros: usage.user_cpu_micros,
        kernel_cpu_micros: usage.kernel_cpu_micros,
        staged_bytes: usage.staged_bytes,
        uploaded_bytes: usage.uploaded_bytes,
        stdout: excerpt_out(&result.stdout),
        stderr: excerpt_out(&result.stderr),
        outputs: result.outputs.iter().map(output_out).collect(),
        read_bytes: usage.read_bytes,
        written_bytes: usage.written_bytes,
        peak_processes: usage.peak_processes,
        peak_disk_bytes: usage.peak_disk_bytes,
    }
    .encode_to_vec()
}

fn excerpt_out(excerpt: &Excerpt) -> Option<ExcerptPart> {
    (*excerpt != Excerpt::default()).then(|| ExcerptPart {
        head: excerpt.head.clone(),
        tail: excerpt.tail.clone(),
        total_bytes: excerpt.total_bytes,
    })
}

fn output_out(entry: &OutputEntry) -> OutputPart {
    OutputPart {
        container: entry.container.to_string(),
        path: entry.path.to_string(),
        digest: entry.digest.as_bytes().to_vec(),
        size: entry.size,
    }
}

pub(crate) fn attempt_detail(bytes: &[u8]) -> Result<AttemptDetail, CodecError> {
    let part: DetailPart = decode("attempt result", bytes)?;
    Ok(AttemptDetail {
        usage: Usage {
            peak_memory_bytes: part.peak_memory_bytes,
            user_cpu_micros: part.user_cpu_micros,
            kernel_cpu_micros: part.kernel_cpu_micros,
            staged_bytes: part.staged_bytes,
            uploaded_bytes: part.uploaded_bytes,
            read_bytes: part.read_bytes,
            written_bytes: part.written_bytes,
            peak_processes: part.peak_processes,
            peak_disk_bytes: part.peak_disk_bytes,
        },
        stdout: excerpt_in(part.stdout),
        stderr: excerpt_in(part.stderr),
        outputs: part.outputs.into_iter().map(output_in).collect::<Result<_, _>>()?,
    })
}

fn excerpt_in(part: Option<ExcerptPart>) -> Excerpt {
    part.map(|part| Excerpt { head: part.head, tail: part.tail, total_bytes: part.total_bytes })
        .unwrap_or_default()
}

fn output_in(part: OutputPart) -> Result<OutputEntry, CodecError> {
    const WHAT: &str = "published output";
    let digest: [u8; 32] = parsed(WHAT, part.digest.as_slice().try_into())?;
    Ok(OutputEntry {
        container: parsed(WHAT, ContainerName::parse(&part.container))?,
        path: parsed(WHAT, FilePath::parse(&part.path))?,
        digest: Digest::from_bytes(digest),
        size: part.size,
    })
}

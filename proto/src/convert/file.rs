//! Files: names in the file store, resource files, output files, and the entries of an output manifest.
//!
//! Every path comes in through `FilePath::parse`, so none of them can leave its folder.

use muster_model::spec::{FileDestination, FileSource, OutputFile, ResourceFile};
use muster_model::state::UploadCondition;
use muster_model::{ContainerName, FilePath, OutputEntry, limits, path};

use super::common::{digest, optional_digest};
use super::enums::enumeration;
use super::unsupported::{self, refuse};
use super::violation::{Checker, FieldErrors, Problem, shown};
use crate::wire;
use wire::{output_file, output_manifest_entry, resource_file};

/// Permission bits of a resource file that names none (the reference's default).
const FILE_MODE_DEFAULT: u32 = 0o770;
/// All permission bits that a file may have: no set-user-id, set-group-id or sticky bit.
const FILE_MODE_MAX: u32 = 0o777;
/// The command's own output, which lies beside its working directory.
const STREAM_PATTERNS: [&str; 2] = ["../stdout.txt", "../stderr.txt"];

/// A name in the file store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileName {
    /// The container.
    pub container: ContainerName,
    /// The name in it.
    pub path: FilePath,
}

impl TryFrom<wire::FileStorePath> for FileName {
    type Error = FieldErrors;

    fn try_from(name: wire::FileStorePath) -> Result<Self, FieldErrors> {
        let mut checker = Checker::new();
        let name = checker.at("name", |c| file_name(c, &name));
        checker.finish(name)
    }
}

impl From<&FileName> for wire::FileStorePath {
    fn from(name: &FileName) -> Self {
        Self { container: name.container.to_string(), path: name.path.to_string() }
    }
}

/// A name in the file store, with the path of the checker at it.
pub fn file_name(checker: &mut Checker, name: &wire::FileStorePath) -> Option<FileName> {
    let container = container(checker, &name.container);
    let path = checker.at("path", |c| c.keep(FilePath::parse(&name.path)));
    Some(FileName { container: container?, path: path? })
}

/// The name of a container at the field `container`.
pub fn container(checker: &mut Checker, name: &str) -> Option<ContainerName> {
    checker.at("container", |c| c.keep(ContainerName::parse(name)))
}

/// The resource files of a task or start task.
pub(super) fn resource_files(checker: &mut Checker, files: Vec<wire::ResourceFile>) -> Vec<ResourceFile> {
    checker.each("resource_files", files, limits::RESOURCE_FILES_MAX, resource_file)
}

fn resource_file(checker: &mut Checker, file: wire::ResourceFile) -> Option<ResourceFile> {
    refuse(checker, unsupported::RESOURCE_FILE, &file);
    let is_prefix = matches!(file.source, Some(resource_file::Source::FileStorePrefix(_)));
    let source = checker.required("source", file.source, "set http_url, file_store or file_store_prefix");
    let source = source.and_then(|source| resource_source(checker, source));
    let file_path = if is_prefix && file.file_path.is_empty() {
        Some(None)
    } else {
        checker.at("file_path", |c| c.keep(FilePath::parse(&file.file_path))).map(Some)
    };
    if is_prefix && !file.sha256.is_empty() {
        checker.note_at("sha256", Problem::Conflict { other: "file_store_prefix" });
    }
    let mode = checker.at("file_mode", |c| file_mode(c, &file.file_mode));
    let digest = optional_digest(checker, "sha256", &file.sha256);
    Some(ResourceFile { source: source?, file_path: file_path?, mode: mode?, digest })
}

fn resource_source(checker: &mut Checker, source: resource_file::Source) -> Option<FileSource> {
    match source {
        resource_file::Source::HttpUrl(url) => {
            checker.at("http_url", |c| http_url(c, url)).map(FileSource::Http)
        }
        resource_file::Source::FileStore(name) => {
            let name = checker.at("file_store", |c| file_name(c, &name))?;
            Some(FileSource::FileStore { container: name.container, path: name.path })
        }
        resource_file::Source::FileStorePrefix(prefix) => checker.at("file_store_prefix", |c| {
            let container = container(c, &prefix.container);
            if prefix.prefix.len() > path::PATH_BYTES_MAX {
                let problem =
                    Problem::TooLong { given: prefix.prefix.len(), max: path::PATH_BYTES_MAX, unit: "bytes" };
                c.note_at("prefix", problem);
            }
            Some(FileSource::FileStorePrefix { container: container?, prefix: prefix.prefix })
        }),
        // The table of what is not supported has noted it.
        resource_file::Source::ObjectStoreUrl(_) => None,
    }
}

/// A URL that is fetched by a node: http or https, with a host, without blanks and control characters.
pub(super) fn http_url(checker: &mut Checker, url: String) -> Option<String> {
    if url.len() > limits::URL_BYTES_MAX {
        checker.note(Problem::TooLong { given: url.len(), max: limits::URL_BYTES_MAX, unit: "bytes" });
        return None;
    }
    let rest = ["http://", "https://"].iter().find_map(|scheme| {
        let head = url.get(..scheme.len())?;
        head.eq_ignore_ascii_case(scheme).then(|| &url[scheme.len()..])
    });
    let has_host = rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['/', '?', '#', ':']));
    let is_open = has_host || checker.begins_with_parameter(&url);
    if is_open && !url.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Some(url);
    }
    checker.note(Problem::NotHttpUrl { given: shown(&url) });
    None
}

fn file_mode(checker: &mut Checker, text: &str) -> Option<u32> {
    if text.is_empty() {
        return Some(FILE_MODE_DEFAULT);
    }
    let octal = text.len() <= 8 && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
    let mode = if octal { u32::from_str_radix(text, 8).ok() } else { None };
    let mode = mode.filter(|mode| *mode <= FILE_MODE_MAX);
    if mode.is_none() {
        checker.note(Problem::NotFileMode { given: shown(text) });
    }
    mode
}

/// Permission bits for the wire: four octal digits.
#[must_use]
pub(super) fn file_mode_out(mode: u32) -> String {
    format!("{mode:04o}")
}

impl From<&ResourceFile> for wire::ResourceFile {
    fn from(file: &ResourceFile) -> Self {
        let source = match &file.source {
            FileSource::Http(url) => resource_file::Source::HttpUrl(url.clone()),
            FileSource::FileStore { container, path } => {
                resource_file::Source::FileStore(store_path(container, path.as_str()))
            }
            FileSource::FileStorePrefix { container, prefix } => {
                resource_file::Source::FileStorePrefix(wire::FileStorePrefix {
                    container: container.to_string(),
                    prefix: prefix.clone(),
                })
            }
        };
        Self {
            source: Some(source),
            file_path: file.file_path.as_ref().map(ToString::to_string).unwrap_or_default(),
            file_mode: file_mode_out(file.mode),
            sha256: file.digest.map(|digest| digest.to_string()).unwrap_or_default(),
        }
    }
}

/// The output files of a task.
pub(super) fn output_files(checker: &mut Checker, files: Vec<wire::OutputFile>) -> Vec<OutputFile> {
    checker.each("output_files", files, limits::OUTPUT_FILES_MAX, output_file)
}

fn output_file(checker: &mut Checker, file: wire::OutputFile) -> Option<OutputFile> {
    refuse(checker, unsupported::OUTPUT_FILE, &file);
    let pattern = checker.at("file_pattern", |c| file_pattern(c, file.file_pattern));
    let destination = checker.required("destination", file.destination, "set file_store");
    let destination = match destination {
        Some(output_file::Destination::FileStore(name)) => checker.at("file_store", |c| {
            let container = container(c, &name.container);
            let path = if name.path.is_empty() {
                Some(None)
            } else {
                c.at("path", |c| c.keep(FilePath::parse(&name.path))).map(Some)
            };
            Some(FileDestination::FileStore { container: container?, path: path? })
        }),
        // The table of what is not supported has noted the first.
        Some(output_file::Destination::ObjectStoreUrl(_)) | None => None,
    };
    let condition = checker.at("upload_condition", |c| {
        enumeration::<wire::UploadCondition>(c, file.upload_condition, Some(UploadCondition::TaskCompletion))
    });
    Some(OutputFile { pattern: pattern?, destination: destination?, condition: condition? })
}

/// A pattern is a relative path in which names may hold wildcards, or one of the two streams.
fn file_pattern(checker: &mut Checker, pattern: String) -> Option<String> {
    if STREAM_PATTERNS.contains(&pattern.as_str()) || FilePath::parse(&pattern).is_ok() {
        return Some(pattern);
    }
    if pattern.is_empty() {
        checker.note(Problem::Missing { hint: "name the files, for example *.png or ../stdout.txt" });
    } else if pattern.len() > path::PATH_BYTES_MAX {
        let problem = Problem::TooLong { given: pattern.len(), max: path::PATH_BYTES_MAX, unit: "bytes" };
        checker.note(problem);
    } else {
        checker.note(Problem::NotPattern { given: shown(&pattern) });
    }
    None
}

impl From<&OutputFile> for wire::OutputFile {
    fn from(file: &OutputFile) -> Self {
        let FileDestination::FileStore { container, path } = &file.destination;
        let path = path.as_ref().map_or("", FilePath::as_str);
        Self {
            file_pattern: file.pattern.clone(),
            upload_condition: wire::UploadCondition::from(file.condition).into(),
            destination: Some(output_file::Destination::FileStore(store_path(container, path))),
        }
    }
}

/// One entry of an output manifest, with the path of the checker at it.
pub(super) fn output_entry(checker: &mut Checker, entry: wire::OutputManifestEntry) -> Option<OutputEntry> {
    let digest = digest(checker, "sha256", &entry.sha256);
    let name = match entry.destination {
        Some(output_manifest_entry::Destination::FileStore(name)) => {
            checker.at("file_store", |c| file_name(c, &name))
        }
        Some(output_manifest_entry::Destination::ObjectStoreUrl(_)) => {
            checker.note_at("object_store_url", Problem::NotSupported { instead: "use file_store" });
            None
        }
        None => checker.required("destination", None, "set file_store"),
    }?;
    Some(OutputEntry { container: name.container, path: name.path, digest: digest?, size: entry.size_bytes })
}

impl From<&OutputEntry> for wire::OutputManifestEntry {
    fn from(entry: &OutputEntry) -> Self {
        let name = store_path(&entry.container, entry.path.as_str());
        Self {
            destination: Some(output_manifest_entry::Destination::FileStore(name)),
            sha256: entry.digest.to_string(),
            size_bytes: entry.size,
        }
    }
}

fn store_path(container: &ContainerName, path: &str) -> wire::FileStorePath {
    wire::FileStorePath { container: container.to_string(), path: path.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(file: wire::ResourceFile) -> Vec<String> {
        let mut checker = Checker::new();
        let files = checker.at("task", |c| resource_files(c, vec![file]));
        match checker.finish(Some(files)) {
            Ok(_) => Vec::new(),
            Err(errors) => errors.errors().iter().map(ToString::to_string).collect(),
        }
    }

    fn http(url: &str, path: &str) -> wire::ResourceFile {
        wire::ResourceFile {
            source: Some(resource_file::Source::HttpUrl(url.into())),
            file_path: path.into(),
            ..Default::default()
        }
    }

    #[test]
    fn a_path_that_leaves_the_directory_is_named_with_its_place() {
        let found = problems(http("https://example.org/a", "a/../b"));
        assert_eq!(found.len(), 1);
        assert!(
            found[0].starts_with("task.resource_files[0].file_path: \"a/../b\" has a '.', '..'"),
            "{found:?}"
        );
    }

    #[test]
    fn everything_wrong_with_a_file_is_said_at_once() {
        let mut file = http("ftp://example.org/a", "/etc/passwd");
        file.file_mode = "4755".into();
        file.sha256 = "xyz".into();
        assert_eq!(problems(file).len(), 4);
    }

    #[test]
    fn urls_need_http_and_a_host() {
        for good in ["http://h", "HTTPS://h:8/x?y", "https://[::1]/"] {
            assert!(problems(http(good, "a")).is_empty(), "{good}");
        }
        for bad in
            ["", "http://", "http:///x", "file:///etc/passwd", "https://a b", "https://a\n", "h", "httpſ://x"]
        {
            assert_eq!(problems(http(bad, "a")).len(), 1, "{bad}");
        }
    }

    #[test]
    fn modes_are_octal_and_without_special_bits() {
        for (text, mode) in [("", 0o770), ("0", 0), ("755", 0o755), ("0777", 0o777)] {
            assert_eq!(file_mode(&mut Checker::new(), text), Some(mode));
        }
        for bad in ["8", "+7", "1000", "4755", "0o7", "99999999999", "-1"] {
            assert_eq!(file_mode(&mut Checker::new(), bad), None, "{bad}");
        }
    }

    #[test]
    fn patterns_stay_below_the_working_directory_but_for_the_streams() {
        for good in ["*.png", "**/*.exr", "a/[!x]?", "../stdout.txt", "../stderr.txt"] {
            assert!(file_pattern(&mut Checker::new(), good.into()).is_some(), "{good}");
        }
        for bad in ["", "../*", "/x", "a/../../b", "../wd", "a//b"] {
            assert!(file_pattern(&mut Checker::new(), bad.into()).is_none(), "{bad}");
        }
    }
}

//! The law, applied to this repository: one test for each check.
//!
//! A failure lists every broken rule with its place and what to do. That each check can fail is shown beside it
//! in `src/`, on planted faults. The law itself is `layers.toml`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends by panicking")]

use std::collections::BTreeMap;

use muster_tidy::documents::{self, Repository};
use muster_tidy::finding::{Finding, report};
use muster_tidy::law::{self, Law};
use muster_tidy::source::Source;
use muster_tidy::tree::{self, TextFile};
use muster_tidy::{
    arrows, faults, files, habits, manifests, metadata, modules, packages, proto, purity, scan,
};

fn the_law() -> Law {
    let path = tree::root().join("tests/tidy/layers.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    Law::parse(&text).unwrap_or_else(|error| panic!("layers.toml cannot be read: {error}"))
}

fn texts() -> Vec<TextFile> {
    tree::texts(&tree::root()).unwrap()
}

fn sources() -> Vec<Source> {
    let sources = tree::sources(&texts());
    assert!(sources.len() > 50, "only {} Rust files were found: is the root right?", sources.len());
    sources
}

fn text_of<'a>(texts: &'a [TextFile], path: &str) -> Option<&'a str> {
    texts.iter().find(|file| file.path == path).map(|file| file.text.as_str())
}

#[track_caller]
fn expect_none(findings: &[Finding]) {
    let said = report(findings);
    assert!(said.is_empty(), "\n{said}");
}

#[test]
fn the_law_does_not_contradict_the_drawing() {
    expect_none(&law::check(&the_law()));
}

#[test]
fn packages_know_only_whom_the_law_lists() {
    let facts = metadata::read(&tree::root()).unwrap();
    assert!(facts.values().any(|facts| facts.reached.contains_key("serde")), "the closure is empty");
    expect_none(&packages::check(&the_law(), &facts));
}

#[test]
fn modules_know_only_whom_the_law_lists_and_never_in_a_circle() {
    let (law, sources) = (the_law(), sources());
    let check = |(name, package): (&String, &law::Package)| {
        modules::check(name, package, &arrows::read(name, &package.folder, &sources))
    };
    expect_none(&law.package.iter().flat_map(check).collect::<Vec<_>>());
}

#[test]
fn files_have_headers_and_bounded_lengths() {
    expect_none(&sources().iter().flat_map(files::check).collect::<Vec<_>>());
}

#[test]
fn architecture_page_names_what_exists_and_all_of_it() {
    let (law, texts) = (the_law(), texts());
    let sources = tree::sources(&texts);
    let functions =
        sources.iter().flat_map(|source| scan::functions(&source.code)).map(|f| f.name.to_owned());
    let modules: BTreeMap<_, _> = law
        .package
        .iter()
        .map(|(name, package)| {
            let graph = arrows::read(name, &package.folder, &sources);
            let names = modules::top_modules(&graph).into_iter().map(str::to_owned).collect();
            (package.folder.clone(), names)
        })
        .collect();
    let files = texts.iter().map(|file| file.path.clone()).collect();
    let repository = Repository { files, functions: functions.collect(), modules };
    let mut found = documents::check(text_of(&texts, documents::ARCHITECTURE), &repository);
    found.extend(sources.iter().flat_map(|source| documents::header(source, &repository)));
    let pages = texts.iter().filter(|file| file.path.starts_with("docs/") && file.path.ends_with(".md"));
    let others = pages.filter(|file| file.path != documents::ARCHITECTURE);
    found.extend(others.flat_map(|file| documents::page(&file.path, &file.text, &repository)));
    expect_none(&found);
}

#[test]
fn api_page_has_the_hash_of_the_proto_files() {
    let texts = texts();
    let files = proto::files(&texts);
    assert!(!files.is_empty(), "there is no .proto file below {}", proto::PROTO_FOLDER);
    expect_none(&proto::check(&files, text_of(&texts, proto::API_PAGE)));
}

#[test]
fn pure_packages_name_no_clock_randomness_or_io_and_unsafe_code_is_proved() {
    let law = the_law();
    assert!(
        law.package.values().filter(|package| package.pure).count() >= 3,
        "the pure packages are missing"
    );
    expect_none(&sources().iter().flat_map(|source| purity::check(&law, source)).collect::<Vec<_>>());
}

#[test]
fn nothing_is_unfinished_switched_off_or_asleep() {
    let law = the_law();
    expect_none(&sources().iter().flat_map(|source| habits::check(&law, source)).collect::<Vec<_>>());
}

#[test]
fn manifests_inherit_from_the_workspace() {
    let (law, texts) = (the_law(), texts());
    let mut found = Vec::new();
    for package in law.package.values() {
        let path = format!("{}/Cargo.toml", package.folder);
        let manifest = texts.iter().find(|file| file.path == path);
        let absent =
            || vec![Finding::new(&path, "the file is not there", "correct the folder in layers.toml")];
        found.extend(manifest.map_or_else(absent, manifests::member));
    }
    expect_none(&found);
}

#[test]
fn no_shipped_package_has_the_planted_faults() {
    let united = metadata::united_features(&tree::root()).unwrap();
    let of_core = united.get("muster-controller-core").unwrap();
    assert!(of_core.contains("check"), "the simulation's features are not among {of_core:?}");
    expect_none(&faults::check(&united, &texts()));
}

#[test]
fn no_file_names_a_path_of_somebodys_machine() {
    let law = the_law();
    expect_none(&texts().iter().flat_map(|file| manifests::machine_paths(&law, file)).collect::<Vec<_>>());
}

#[test]
fn each_third_party_crate_has_a_reason() {
    let texts = texts();
    let workspace = text_of(&texts, "Cargo.toml").unwrap();
    expect_none(&manifests::reasons(workspace, text_of(&texts, manifests::DECISIONS)));
}

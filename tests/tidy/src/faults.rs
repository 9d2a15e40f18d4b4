//! The faults that are planted for the simulation to find are in nothing that is shipped.
//!
//! They are lines of the cores behind their feature `planted`. Only muster-sim may turn it on, by its own feature of that name,
//! and only two files may ask for that: the chore that runs the simulation and the step of the tests that builds
//! it apart. So no build of the workspace, of a binary or of a package can have it.

use std::collections::{BTreeMap, BTreeSet};

use crate::finding::Finding;
use crate::tree::TextFile;

/// The feature.
pub const FEATURE: &str = "planted";
/// The one manifest that may forward it.
const FORWARDS: &str = "tests/sim/Cargo.toml";
/// The files that may ask for it.
const ASK: [&str; 2] = ["xtask/src/simulate.rs", "xtask/src/test.rs"];
/// Ways to ask cargo for features beside those of a manifest.
const OPTIONS: [&str; 2] = [concat!("--all", "-features"), concat!("--feat", "ures")];

/// What turns the feature on where it may not be. `united` are the features of each package when the whole workspace is
/// built as it is.
#[must_use]
pub fn check(united: &BTreeMap<String, BTreeSet<String>>, texts: &[TextFile]) -> Vec<Finding> {
    let on = united.iter().filter(|(_, features)| features.contains(FEATURE));
    let mut found: Vec<_> = on
        .map(|(name, _)| {
            let remedy = "find what turns it on: cargo tree --workspace --edges features --invert";
            Finding::new(name, "a build of the workspace has the planted faults", format!("{remedy} {name}"))
        })
        .collect();
    let manifests = texts.iter().filter(|file| file.path.ends_with("Cargo.toml"));
    let mut defined = 0_usize;
    for file in manifests {
        // What cannot be read is found by the check of manifests.
        let Ok(table) = file.text.parse::<toml::Table>() else { continue };
        let features = table.get("features").and_then(toml::Value::as_table);
        defined += usize::from(features.is_some_and(|features| features.contains_key(FEATURE)));
        found.extend(turned_on(file, &table));
    }
    if defined < 3 {
        let remedy = "give this check the feature's new name";
        found.push(Finding::new(
            FORWARDS,
            format!("only {defined} packages have the feature '{FEATURE}'"),
            remedy,
        ));
    }
    found.extend(texts.iter().flat_map(asked_for));
    found
}

/// Where a manifest turns the feature on.
fn turned_on(file: &TextFile, table: &toml::Table) -> Vec<Finding> {
    let mut found = Vec::new();
    let names_it = |feature: &str| feature.rsplit('/').next() == Some(FEATURE);
    let mut look = |key: &str, value: &toml::Value| {
        let listed = value.as_array().into_iter().flatten().filter_map(toml::Value::as_str);
        if listed.into_iter().any(names_it) {
            let wrong = format!("'{key}' turns the planted faults on");
            found.push(Finding::new(&file.path, wrong, format!("leave that to the feature of {FORWARDS}")));
        }
    };
    for (name, value) in table.get("features").and_then(toml::Value::as_table).into_iter().flatten() {
        if name != FEATURE || file.path != FORWARDS {
            look(name, value);
        }
    }
    features_of_dependencies(table, &mut look);
    found
}

/// Each list of features that a manifest asks of a dependency, wherever in it that stands.
fn features_of_dependencies(table: &toml::Table, look: &mut impl FnMut(&str, &toml::Value)) {
    for (name, value) in table {
        if name.ends_with("dependencies") {
            for (dependency, spec) in value.as_table().into_iter().flatten() {
                if let Some(features) = spec.get("features") {
                    look(dependency, features);
                }
            }
        } else if let Some(inner) = value.as_table() {
            features_of_dependencies(inner, look);
        }
    }
}

/// Where a script or a program asks cargo for the feature, or for all there are.
fn asked_for(file: &TextFile) -> Vec<Finding> {
    let is_page = file.path.ends_with(".md");
    let asks =
        |line: &str| line.contains(OPTIONS[0]) || (line.contains(OPTIONS[1]) && line.contains(FEATURE));
    if is_page || ASK.contains(&file.path.as_str()) {
        return Vec::new();
    }
    let lines = file.text.lines().enumerate().filter(|(_, line)| asks(line));
    let found = lines.map(|(number, _)| {
        let remedy = "name the features that are wanted; the planted faults are for the simulation alone";
        Finding::new(format!("{}:{}", file.path, number + 1), "it builds with the planted faults", remedy)
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::report;

    fn file(path: &str, text: &str) -> TextFile {
        TextFile { path: path.to_owned(), text: text.to_owned() }
    }

    fn said(more: &[TextFile]) -> String {
        let own = "[features]\nplanted = []\n";
        let sim = "[features]\nplanted = ['a/planted', 'b/planted']\n";
        let mut texts = vec![file("a/Cargo.toml", own), file("b/Cargo.toml", own), file(FORWARDS, sim)];
        texts.extend_from_slice(more);
        report(&check(&BTreeMap::new(), &texts))
    }

    #[test]
    fn faults_are_planted_only_where_they_are_looked_for() {
        assert_eq!(said(&[]), "");
        assert_eq!(said(&[file(ASK[0], &format!("{} planted", OPTIONS[1]))]), "");
        for text in [
            "[features]\ndefault = ['planted']\n",
            "[features]\nplanted = ['core/planted']\n",
            "[dependencies]\ncore = { workspace = true, features = ['planted'] }\n",
            "[target.x.dev-dependencies]\ncore = { workspace = true, features = ['check', 'planted'] }\n",
            "[workspace.dependencies]\nmuster-sim = { path = 's', features = ['planted'] }\n",
        ] {
            assert!(said(&[file("c/Cargo.toml", text)]).contains("turns the planted faults on"), "{text}");
        }
        let default = "[features]\nplanted = []\ndefault = ['planted']\n";
        assert!(report(&check(&BTreeMap::new(), &[file(FORWARDS, default)])).contains("'default' turns"));
        for script in [format!("cargo build {}", OPTIONS[0]), format!("cargo build {} x/planted", OPTIONS[1])]
        {
            assert!(said(&[file("deploy/build.sh", &script)]).contains("deploy/build.sh:1"), "{script}");
        }
    }

    #[test]
    fn a_workspace_with_the_feature_and_one_without_such_a_feature_are_found() {
        let united = BTreeMap::from([("core".to_owned(), BTreeSet::from([FEATURE.to_owned()]))]);
        assert!(report(&check(&united, &[])).contains("core: a build of the workspace"));
        assert!(report(&check(&BTreeMap::new(), &[])).contains("only 0 packages have the feature"));
    }
}

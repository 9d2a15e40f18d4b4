//! Asks cargo what the packages of the workspace name and reach.
//!
//! What a package reaches is the tree of its normal dependencies with its default features, for the platform that
//! Muster runs on; what only tests, build scripts or other systems need is not in it. `cargo metadata` cannot say
//! that: it unites the features of all packages, so `cargo tree` is asked. It judges nothing: see `packages.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, ExitStatus};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

use crate::packages::Facts;

/// The platform of the tree. Muster runs on Linux; crates for other systems are never built.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";

/// Why cargo cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// The manifests cannot be read.
    #[error("cargo metadata failed; does `cargo check` work here?")]
    Metadata {
        /// What cargo said.
        #[source]
        source: cargo_metadata::Error,
    },
    /// Cargo cannot be run.
    #[error("cargo cannot be run")]
    Run {
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Cargo cannot draw the tree of a package.
    #[error("`cargo tree --package {package}` ended with {status}: {said}")]
    Tree {
        /// The package.
        package: String,
        /// How cargo ended.
        status: ExitStatus,
        /// What cargo said.
        said: String,
    },
}

/// The facts of every package in the workspace at `root`, by name.
///
/// # Errors
/// When cargo cannot be run or refuses a manifest.
pub fn read(root: &Path) -> Result<BTreeMap<String, Facts>, MetadataError> {
    let metadata = MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        .no_deps()
        .exec()
        .map_err(|source| MetadataError::Metadata { source })?;
    let facts = metadata.workspace_packages().into_iter().map(|package| {
        let named = |kind: DependencyKind| -> BTreeSet<String> {
            let of_kind = package.dependencies.iter().filter(|dependency| dependency.kind == kind);
            of_kind.map(|dependency| dependency.name.clone()).collect()
        };
        let facts = Facts {
            folder: folder(&metadata, package),
            normal: named(DependencyKind::Normal),
            dev: named(DependencyKind::Development),
            build: named(DependencyKind::Build),
            reached: reached(&tree(root, &package.name)?),
        };
        Ok((package.name.to_string(), facts))
    });
    facts.collect()
}

/// The features that each package of the workspace at `root` has when all of them are built together as they are.
///
/// # Errors
/// As [`read`].
pub fn united_features(root: &Path) -> Result<BTreeMap<String, BTreeSet<String>>, MetadataError> {
    let metadata = MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        .exec()
        .map_err(|source| MetadataError::Metadata { source })?;
    let nodes = metadata.resolve.iter().flat_map(|resolve| &resolve.nodes);
    let of_ours = nodes.filter_map(|node| {
        let package = metadata.workspace_packages().into_iter().find(|package| package.id == node.id)?;
        Some((package.name.to_string(), node.features.iter().map(ToString::to_string).collect()))
    });
    Ok(of_ours.collect())
}

/// The folder of a package below the root of the workspace.
fn folder(metadata: &Metadata, package: &cargo_metadata::Package) -> String {
    let manifest =
        package.manifest_path.strip_prefix(&metadata.workspace_root).unwrap_or(&package.manifest_path);
    manifest.parent().map(ToString::to_string).unwrap_or_default()
}

/// The tree of normal dependencies as cargo prints it: a line for each, starting with its depth.
fn tree(root: &Path, package: &str) -> Result<String, MetadataError> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let output = Command::new(cargo)
        .current_dir(root)
        .args(["tree", "--quiet", "--package", package, "--edges", "normal", "--target", PLATFORM])
        .args(["--prefix", "depth", "--format", " {p}"])
        .output()
        .map_err(|source| MetadataError::Run { source })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(MetadataError::Tree { package: package.to_owned(), status: output.status, said });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Every package in a tree, with the first way to it: the names from the first step to the last.
fn reached(tree: &str) -> BTreeMap<String, Vec<String>> {
    let mut found = BTreeMap::new();
    let mut way: Vec<String> = Vec::new();
    for line in tree.lines() {
        let mut words = line.split_whitespace();
        let depth = words.next().and_then(|depth| depth.parse::<usize>().ok());
        let (Some(depth), Some(name)) = (depth.filter(|depth| *depth > 0), words.next()) else { continue };
        way.truncate(depth - 1);
        way.push(name.to_owned());
        found.entry(name.to_owned()).or_insert_with(|| way.clone());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn way_to_each_package_is_read_from_the_tree() {
        let tree = "0 core v0.1.0 (path)\n1 model v0.1.0\n2 thiserror v2.0.0\n1 serde v1.0.0\n2 thiserror v2.0.0 (*)\n";
        let found = reached(tree);
        assert_eq!(found.keys().collect::<Vec<_>>(), ["model", "serde", "thiserror"]);
        assert_eq!(found["thiserror"], ["model", "thiserror"]);
        assert_eq!(found["serde"], ["serde"]);
    }

    #[test]
    fn package_that_cargo_does_not_know_is_named() {
        let said = tree(&crate::tree::root(), "no-such-package").unwrap_err().to_string();
        assert!(said.contains("no-such-package"), "{said}");
    }
}

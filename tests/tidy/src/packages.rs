//! The arrows between packages: what each manifest names against the law, and what each pure package reaches
//! through others.
//!
//! It looks at facts that `metadata.rs` reads from cargo. Optional dependencies count as named, whether or not a
//! feature turns them on.

use std::collections::{BTreeMap, BTreeSet};

use crate::finding::Finding;
use crate::law::{Law, Package};

/// What cargo knows about one package of ours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Its folder, from the root of the repository.
    pub folder: String,
    /// The packages that its manifest names for its code.
    pub normal: BTreeSet<String>,
    /// Those for its tests and benches.
    pub dev: BTreeSet<String>,
    /// Those for its build script.
    pub build: BTreeSet<String>,
    /// Every package that its code reaches, with the way there: the names from the first step to the last.
    pub reached: BTreeMap<String, Vec<String>>,
}

/// Where packages and law differ.
#[must_use]
pub fn check(law: &Law, packages: &BTreeMap<String, Facts>) -> Vec<Finding> {
    let mut found = Vec::new();
    for (name, facts) in packages {
        let Some(package) = law.package.get(name) else {
            let remedy =
                format!("add a [package.{name}] with its folder, floor and side to tests/tidy/layers.toml");
            found.push(Finding::new(name, "the law does not know this package", remedy));
            continue;
        };
        if facts.folder != package.folder {
            let wrong = format!("it lies in {}, the law says {}", facts.folder, package.folder);
            found.push(Finding::new(name, wrong, "move it, or change the law"));
        }
        found.extend(named(name, package, facts, packages));
        found.extend(reached(law, name, package, facts));
    }
    for name in law.package.keys().filter(|name| !packages.contains_key(*name)) {
        found.push(Finding::new(
            name,
            "the law has it and the workspace does not",
            "remove it from layers.toml",
        ));
    }
    found
}

/// What a manifest names that the law does not list, and the other way round.
fn named(name: &str, package: &Package, facts: &Facts, packages: &BTreeMap<String, Facts>) -> Vec<Finding> {
    let (ours, theirs): (BTreeSet<&String>, BTreeSet<&String>) =
        facts.normal.iter().partition(|known| packages.contains_key(*known));
    let lists = [
        ("crates", ours, &package.crates),
        ("extern", theirs, &package.third_party),
        // What the code may name, its tests may too.
        ("dev", facts.dev.difference(&facts.normal).collect(), &package.dev),
        ("build", facts.build.iter().collect(), &package.build),
    ];
    let mut found = Vec::new();
    for (list, named, allowed) in lists {
        for known in named.iter().filter(|known| !allowed.contains(**known)) {
            let remedy = format!(
                "remove it from {}/Cargo.toml, or add it to '{list}' of [package.{name}] in tests/tidy/layers.toml \
                 and say why in the commit",
                facts.folder
            );
            found.push(Finding::new(name, format!("{name} may not know {known}"), remedy));
        }
        for idle in allowed.iter().filter(|known| !named.contains(known)) {
            let remedy = format!("remove it from '{list}' of [package.{name}] in tests/tidy/layers.toml");
            found.push(Finding::new(name, format!("the law allows '{idle}', which nobody needs"), remedy));
        }
    }
    found
}

/// Banned crates in the whole closure.
fn reached(law: &Law, name: &str, package: &Package, facts: &Facts) -> Vec<Finding> {
    let pure = law.banned_in_pure.iter().filter(|_| package.pure);
    law.banned
        .iter()
        .chain(pure)
        .filter_map(|(banned, reason)| {
            let way = facts.reached.get(banned)?.join(" -> ");
            let remedy = format!("{reason}: drop the step that brings it, or turn off its feature");
            Some(Finding::new(name, format!("it reaches {banned} by {name} -> {way}"), remedy))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::report;

    fn law() -> Law {
        Law::parse(
            "[banned]\nring = 'one provider'\n[banned_in_pure]\ntokio = 'no async'\n[words_banned_in_pure]\n\
             [package.core]\nfolder = 'core'\nfloor = 1\nside = 'controller'\npure = true\ncrates = ['model']\n\
             extern = ['thiserror']\ndev = ['proptest']\n\
             [package.model]\nfolder = 'model'\nfloor = 0\nside = 'common'\n",
        )
        .unwrap()
    }

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn house(change: impl FnOnce(&mut Facts)) -> String {
        let mut core = Facts {
            folder: "core".to_owned(),
            normal: set(&["model", "thiserror"]),
            dev: set(&["proptest"]),
            ..Facts::default()
        };
        change(&mut core);
        let model = Facts { folder: "model".to_owned(), ..Facts::default() };
        report(&check(&law(), &BTreeMap::from([("core".to_owned(), core), ("model".to_owned(), model)])))
    }

    #[test]
    fn house_that_keeps_the_law_has_no_findings() {
        assert_eq!(house(|_| {}), "");
    }

    #[test]
    fn arrow_that_is_not_listed_is_found() {
        assert!(
            house(|core| core.normal = set(&["model", "thiserror", "rand"]))
                .contains("core may not know rand")
        );
        assert!(house(|core| core.dev = set(&["proptest", "rand"])).contains("core may not know rand"));
        assert!(house(|core| core.build = set(&["cc"])).contains("core may not know cc"));
    }

    #[test]
    fn permission_that_nobody_needs_is_found() {
        assert!(
            house(|core| core.normal = set(&["model"])).contains("allows 'thiserror', which nobody needs")
        );
    }

    #[test]
    fn banned_crate_behind_a_helper_is_found_with_the_way_there() {
        let way = |to: &str| vec!["helper".to_owned(), to.to_owned()];
        let said = house(|core| {
            core.reached.insert("tokio".to_owned(), way("tokio"));
            core.reached.insert("ring".to_owned(), way("ring"));
        });
        assert!(said.contains("it reaches tokio by core -> helper -> tokio"), "{said}");
        assert!(said.contains("it reaches ring by core -> helper -> ring"), "{said}");
    }

    #[test]
    fn package_that_law_or_workspace_lacks_is_found() {
        let alone = BTreeMap::from([("new".to_owned(), Facts::default())]);
        let said = report(&check(&law(), &alone));
        assert!(said.contains("new: the law does not know this package"), "{said}");
        assert!(said.contains("core: the law has it and the workspace does not"), "{said}");
        assert!(house(|core| core.folder = "elsewhere".to_owned()).contains("it lies in elsewhere"));
    }
}

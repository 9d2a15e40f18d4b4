//! The form of `layers.toml`: which packages there are, on which floor, and who may know whom.
//!
//! Reading it checks that the law does not contradict the drawing it stands for: arrows go down, and never from
//! one side of the house to the other. Whether the code keeps the law is for `packages.rs` and `modules.rs`.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::finding::Finding;

/// The whole law.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Law {
    /// Third-party crates that nothing of ours may reach, with the reason.
    pub banned: BTreeMap<String, String>,
    /// Third-party crates that a pure package may not reach, with the reason.
    pub banned_in_pure: BTreeMap<String, String>,
    /// Words that no pure package may name, with what to do instead.
    pub words_banned_in_pure: BTreeMap<String, String>,
    /// Files that may break a rule, with the rule's word and the reason.
    #[serde(default)]
    pub exceptions: Vec<Exception>,
    /// The packages by name.
    pub package: BTreeMap<String, Package>,
}

/// A rule that does not hold in one file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exception {
    /// The file, from the root of the repository.
    pub file: String,
    /// The word that the rule is about: `sleep`, a banned word, a path.
    pub word: String,
    /// Why it must be so.
    pub reason: String,
}

/// One package.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// Its folder, from the root of the repository.
    pub folder: String,
    /// Its floor: it may know packages on lower floors only.
    pub floor: u8,
    /// Its side of the house.
    pub side: Side,
    /// Whether it must stay free of clocks, randomness, I/O and async.
    #[serde(default)]
    pub pure: bool,
    /// Whether it may hold unsafe code.
    #[serde(default)]
    pub unsafe_code: bool,
    /// The packages of ours that it may know.
    #[serde(default)]
    pub crates: BTreeSet<String>,
    /// The third-party crates that it may name.
    #[serde(default, rename = "extern")]
    pub third_party: BTreeSet<String>,
    /// What its tests and benches may name besides.
    #[serde(default)]
    pub dev: BTreeSet<String>,
    /// What its build script may name.
    #[serde(default)]
    pub build: BTreeSet<String>,
    /// Its top modules, each with the top modules that it may know.
    #[serde(default)]
    pub modules: BTreeMap<String, BTreeSet<String>>,
}

/// A side of the house.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Known to every side.
    #[default]
    Common,
    /// The controller.
    Controller,
    /// The compute node.
    Node,
    /// Who uses the API.
    Client,
    /// Tests and tools, which may know every side and are known to none.
    Test,
}

impl Law {
    /// Reads the text of `layers.toml`.
    ///
    /// # Errors
    /// When it is not TOML of this form.
    pub fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    /// Whether `file` may hold `word`.
    #[must_use]
    pub fn excepts(&self, file: &str, word: &str) -> bool {
        self.exceptions.iter().any(|exception| exception.file == file && exception.word == word)
    }

    /// The package that `path` belongs to.
    #[must_use]
    pub fn package_of(&self, path: &str) -> Option<(&str, &Package)> {
        let inside =
            |package: &Package| path.strip_prefix(&package.folder).is_some_and(|rest| rest.starts_with('/'));
        self.package
            .iter()
            .find(|(_, package)| inside(package))
            .map(|(name, package)| (name.as_str(), package))
    }
}

/// Where the law contradicts itself.
#[must_use]
pub fn check(law: &Law) -> Vec<Finding> {
    let mut found = Vec::new();
    for (name, package) in &law.package {
        for known in &package.crates {
            found.extend(arrow(law, name, package, known));
        }
        for (module, knows) in &package.modules {
            for known in knows.iter().filter(|known| !package.modules.contains_key(*known)) {
                let wrong = format!("'{module}' may know '{known}', which is no module of it");
                found.push(Finding::new(name, wrong, "name a module that stands in the same table"));
            }
        }
    }
    for exception in &law.exceptions {
        if exception.reason.trim().is_empty() {
            let wrong = format!("the exception for '{}' has no reason", exception.word);
            found.push(Finding::new(&exception.file, wrong, "say why it must be so"));
        }
    }
    found
}

/// What is wrong with letting `package` know `known`.
fn arrow(law: &Law, name: &str, package: &Package, known: &str) -> Option<Finding> {
    let Some(target) = law.package.get(known) else {
        return Some(Finding::new(
            name,
            format!("it may know '{known}', which is no package"),
            "remove the arrow",
        ));
    };
    if target.floor >= package.floor {
        let wrong =
            format!("it is on floor {} and may know '{known}' on floor {}", package.floor, target.floor);
        return Some(Finding::new(
            name,
            wrong,
            "arrows go down: move one of them, or turn the dependency round",
        ));
    }
    let sideways = target.side != package.side && target.side != Side::Common && package.side != Side::Test;
    if sideways {
        let wrong = format!("it may know '{known}' on the other side of the house");
        return Some(Finding::new(name, wrong, "the sides meet in common/ and proto only"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::report;

    fn law(packages: &str) -> Law {
        let head = "[banned]\n[banned_in_pure]\n[words_banned_in_pure]\n";
        Law::parse(&format!("{head}{packages}")).unwrap()
    }

    #[test]
    fn arrows_go_down_and_not_across() {
        let text = "[package.model]\nfolder = 'm'\nfloor = 0\nside = 'common'\n\
             [package.core]\nfolder = 'c'\nfloor = 1\nside = 'controller'\ncrates = ['model']\n\
             [package.agent]\nfolder = 'a'\nfloor = 2\nside = 'node'\n";
        assert_eq!(report(&check(&law(text))), "");
        let with = |line: &str| report(&check(&law(&format!("{text}{line}"))));
        assert!(with("crates = ['core']").contains("other side of the house"));
        assert!(with("crates = ['gone']").contains("no package"));
        let up = "crates = []\n[package.low]\nfolder = 'l'\nfloor = 0\nside = 'common'\ncrates = ['model']";
        assert!(with(up).contains("arrows go down"));
        assert_eq!(
            with("[package.t]\nfolder = 't'\nfloor = 5\nside = 'test'\ncrates = ['core', 'agent']"),
            ""
        );
    }

    #[test]
    fn unknown_keys_modules_and_reasons_are_refused() {
        assert!(Law::parse("[banned]\n[bannd_in_pure]\n").is_err());
        let text = "[package.m]\nfolder = 'm'\nfloor = 0\nside = 'common'\n[package.m.modules]\na = ['b']\n";
        assert!(report(&check(&law(text))).contains("no module of it"));
        let text = "[[exceptions]]\nfile = 'a.rs'\nword = 'sleep'\nreason = ' '\n[package]\n";
        assert!(report(&check(&law(text))).contains("has no reason"));
    }

    #[test]
    fn file_belongs_to_the_package_of_its_folder() {
        let law = law("[package.m]\nfolder = 'a/m'\nfloor = 0\nside = 'common'\n");
        assert_eq!(law.package_of("a/m/src/x.rs").map(|(name, _)| name), Some("m"));
        assert!(law.package_of("a/mm/src/x.rs").is_none());
    }
}

//! Which module of a package names which: read from `crate::x`, `super::x` and the package's own name in its
//! production code.
//!
//! A name that a parent file re-exports counts as an arrow to the module that it comes from, so a re-export
//! hides nothing. Paths through a glob re-export or a macro cannot be followed and end at their last module.
//!
//! It finds arrows and judges none: see `modules.rs`.

use std::collections::{BTreeMap, BTreeSet};

use crate::scan::{Token, tokens};
use crate::source::Source;

/// A module by its path below the root of its package; the root itself is empty.
pub type ModulePath = Vec<String>;

/// One module names another, at a place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arrow {
    /// The module that names.
    pub from: ModulePath,
    /// The module that is named.
    pub to: ModulePath,
    /// The file and line.
    pub place: String,
}

/// The modules of one package and the arrows between them.
#[derive(Debug, Clone, Default)]
pub struct ModuleGraph {
    /// All modules that are files, test modules excepted.
    pub modules: BTreeSet<ModulePath>,
    /// All arrows between two different modules, the root excepted.
    pub arrows: Vec<Arrow>,
}

/// How deep re-exports of re-exports are followed. Deeper ones do not occur; a cycle of them ends here.
const RE_EXPORTS_MAX: usize = 8;

/// Reads the graph of the package whose sources lie below `folder`/src.
#[must_use]
pub fn read(package: &str, folder: &str, sources: &[Source]) -> ModuleGraph {
    let own_name = package.replace('-', "_");
    let prefix = format!("{folder}/src/");
    let files: Vec<(ModulePath, &Source)> = sources
        .iter()
        .filter_map(|source| Some((module_path(source.path.strip_prefix(&prefix)?)?, source)))
        .collect();
    let tests: BTreeSet<ModulePath> =
        files.iter().flat_map(|(path, source)| test_modules(path, source)).collect();
    let files: Vec<(ModulePath, &Source)> =
        files.into_iter().filter(|(path, _)| !tests.iter().any(|test| path.starts_with(test))).collect();
    let mut house =
        House { modules: files.iter().map(|(path, _)| path.clone()).collect(), exports: BTreeMap::new() };
    let named: Vec<Named> =
        files.iter().flat_map(|(path, source)| named_paths(&own_name, path, source)).collect();
    for export in named.iter().filter(|named| named.is_use) {
        if let Some(name) = export.alias.clone().or_else(|| export.path.last().cloned()) {
            house.exports.insert((export.from.clone(), name), export.path.clone());
        }
    }
    let arrows = named
        .into_iter()
        .filter(|named| named.is_outward)
        .map(|named| Arrow {
            to: house.resolve(&named.path, RE_EXPORTS_MAX),
            from: named.from,
            place: named.place,
        })
        .filter(|arrow| arrow.from != arrow.to && !arrow.to.is_empty() && !arrow.from.is_empty())
        .collect();
    house.modules.remove(&ModulePath::new());
    ModuleGraph { modules: house.modules, arrows }
}

/// The module that a file below `src` is; `None` for further binaries, which are packages of their own in effect.
fn module_path(file: &str) -> Option<ModulePath> {
    let mut path: ModulePath = file.strip_suffix(".rs")?.split('/').map(str::to_owned).collect();
    if path.first().is_some_and(|first| first == "bin") {
        return None;
    }
    if path.last().is_some_and(|last| matches!(last.as_str(), "mod" | "lib" | "main")) {
        path.pop();
    }
    Some(path)
}

/// The modules that a file declares for tests only.
fn test_modules(path: &ModulePath, source: &Source) -> Vec<ModulePath> {
    let test_code = if source.is_test_file() { String::new() } else { source.test_code() };
    let tokens = tokens(&test_code);
    let declared = tokens.windows(3).filter(|words| words[0].text == "mod" && words[2].text == ";");
    declared.map(|words| path.iter().cloned().chain([words[1].text.to_owned()]).collect()).collect()
}

/// The modules that exist and what each file brings into its scope.
struct House {
    modules: BTreeSet<ModulePath>,
    exports: BTreeMap<(ModulePath, String), ModulePath>,
}

impl House {
    /// The deepest module that a path leads to.
    fn resolve(&self, path: &[String], follow: usize) -> ModulePath {
        let mut at = ModulePath::new();
        for (index, segment) in path.iter().enumerate() {
            let mut next = at.clone();
            next.push(segment.clone());
            if self.modules.contains(&next) {
                at = next;
                continue;
            }
            let target = self.exports.get(&(at.clone(), segment.clone())).filter(|_| follow > 0);
            let Some(target) = target.filter(|target| target.as_slice() != &path[..=index]) else { break };
            return self.resolve(target, follow - 1);
        }
        at
    }
}

/// A path that a file names, from the root of the package.
struct Named {
    from: ModulePath,
    path: ModulePath,
    alias: Option<String>,
    place: String,
    /// Whether it stands in a `use` outside any inline module, so that the file's scope has the name.
    is_use: bool,
    /// Whether it starts at the root or above the file: only then can it be an arrow to another module.
    is_outward: bool,
}

/// Every path of a file that starts with `crate`, `super`, `self`, the package's own name, or, in a `use`, with
/// the name of a child.
fn named_paths(own_name: &str, module: &ModulePath, source: &Source) -> Vec<Named> {
    let tokens = tokens(&source.production);
    let mut found = Vec::new();
    // Inline modules around the current token, each with the depth of its brace.
    let mut inline: Vec<(String, usize)> = Vec::new();
    let mut depth = 0_usize;
    let mut in_use = false;
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        match token.text {
            "{" => depth += 1,
            "}" => {
                depth = depth.saturating_sub(1);
                inline.retain(|(_, brace)| *brace <= depth);
            }
            "use" => in_use = true,
            ";" => in_use = false,
            "mod" if tokens.get(at + 2).is_some_and(|brace| brace.text == "{") => {
                inline.push((tokens[at + 1].text.to_owned(), depth + 1));
            }
            _ => {}
        }
        let is_colon =
            |index: Option<usize>| index.and_then(|at| tokens.get(at)).is_some_and(|t| t.text == "::");
        let starts_path = is_colon(Some(at + 1)) && !is_colon(at.checked_sub(1));
        if !starts_path {
            at += 1;
            continue;
        }
        let mut here = module.clone();
        here.extend(inline.iter().map(|(name, _)| name.clone()));
        let (base, is_outward) = match token.text {
            "crate" => (ModulePath::new(), true),
            first if first == own_name => (ModulePath::new(), true),
            "super" => (here.split_last().map(|(_, above)| above.to_vec()).unwrap_or_default(), true),
            "self" => (here, false),
            child if in_use => (here.into_iter().chain([child.to_owned()]).collect(), false),
            _ => {
                at += 1;
                continue;
            }
        };
        let place = format!("{}:{}", source.path, token.line);
        let mut leaves = Vec::new();
        at = use_tree(&tokens, at + 2, base, &mut leaves);
        found.extend(leaves.into_iter().map(|(path, alias)| Named {
            from: module.clone(),
            path,
            alias,
            place: place.clone(),
            is_use: in_use && inline.is_empty(),
            is_outward,
        }));
    }
    found
}

/// Reads the tree of a path from `at`, behind its first `::`; collects full paths with their aliases and gives
/// the index behind it.
fn use_tree(
    tokens: &[Token<'_>],
    mut at: usize,
    mut path: ModulePath,
    leaves: &mut Vec<(ModulePath, Option<String>)>,
) -> usize {
    while let Some(token) = tokens.get(at) {
        match token.text {
            "{" => {
                at += 1;
                while tokens.get(at).is_some_and(|token| token.text != "}") {
                    let next = if tokens[at].text == "," {
                        at + 1
                    } else {
                        use_tree(tokens, at, path.clone(), leaves)
                    };
                    at = next.max(at + 1);
                }
                return at + 1;
            }
            "super" => {
                path.pop();
            }
            "self" | "*" => {}
            word => path.push(word.to_owned()),
        }
        at += 1;
        match tokens.get(at).map(|token| token.text) {
            Some("::") => at += 1,
            Some("as") => {
                leaves.push((path, tokens.get(at + 1).map(|alias| alias.text.to_owned())));
                return at + 2;
            }
            Some(_) | None => break,
        }
    }
    leaves.push((path, None));
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrows(files: &[(&str, &str)]) -> Vec<String> {
        let sources: Vec<Source> =
            files.iter().map(|(path, text)| Source::new(format!("x/src/{path}"), *text)).collect();
        let mut found: Vec<String> = read("muster-x", "x", &sources)
            .arrows
            .iter()
            .map(|arrow| format!("{} > {}", arrow.from.join("::"), arrow.to.join("::")))
            .collect();
        found.sort();
        found.dedup();
        found
    }

    #[test]
    fn paths_of_every_form_are_arrows() {
        let leaf = ("b.rs", "");
        for text in [
            "use crate::b::X;",
            "use crate::{b::X, std};",
            "fn f() { crate::b::g() }",
            "use super::b;",
            "use muster_x::b::{X, Y};",
            "mod inner { use super::super::b::X; }",
            "pub(crate) use crate::b as c;",
            "macro_rules! m { () => { $crate::b::f() } }",
        ] {
            assert_eq!(arrows(&[("a.rs", text), leaf]), ["a > b"], "{text}");
        }
    }

    #[test]
    fn what_is_no_arrow_is_not_taken_for_one() {
        let leaf = ("b.rs", "");
        for text in [
            "// use crate::b::X;",
            "const A: &str = \"crate::b\";",
            "use other::b::X;",
            "pub(crate) fn f() {}",
            "#[cfg(test)]\nmod tests { use crate::b::X; }",
            "mod inner { use super::b::X; }",
            "use std::{fmt, io}; fn b() {}",
        ] {
            assert_eq!(arrows(&[("a.rs", text), leaf]), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn re_export_hides_no_arrow() {
        let root = ("lib.rs", "mod a;\nmod b;\npub use b::{X, deep::Y as Z};");
        let files = [
            root,
            ("b/mod.rs", "mod deep;\nmod other;\npub use self::other::W;"),
            ("b/deep.rs", ""),
            ("b/other.rs", ""),
        ];
        let with = |text: &'static str| {
            let mut files = files.to_vec();
            files.push(("a.rs", text));
            arrows(&files)
        };
        assert_eq!(with("use crate::X;"), ["a > b"]);
        assert_eq!(with("use crate::Z;"), ["a > b::deep"]);
        assert_eq!(with("use crate::b::W;"), ["a > b::other"]);
        assert_eq!(with("use crate::b::V;"), ["a > b"]);
        assert_eq!(with("use crate::Unknown;"), Vec::<String>::new());
    }

    #[test]
    fn sibling_files_of_a_folder_have_arrows_too() {
        let files = [
            ("b/mod.rs", "mod c;\nmod d;"),
            ("b/c.rs", "use super::d::X;\nuse crate::b::d::Y;"),
            ("b/d.rs", ""),
        ];
        assert_eq!(arrows(&files), ["b::c > b::d"]);
    }

    #[test]
    fn test_modules_in_files_of_their_own_are_left_out() {
        let files = [
            ("lib.rs", "mod a;\n#[cfg(test)]\nmod laws;"),
            ("a.rs", ""),
            ("laws/mod.rs", "use crate::a;"),
            ("laws/b.rs", "use crate::a;"),
        ];
        assert_eq!(arrows(&files), Vec::<String>::new());
    }
}

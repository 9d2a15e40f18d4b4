//! The arrows between the modules of a package: each must be listed in the law, and on no level of folders may
//! they run in a circle.
//!
//! The law lists top modules; below them only circles are looked for. A module and those inside it may name each
//! other: they are one thing in several files.

use std::collections::{BTreeMap, BTreeSet};

use crate::arrows::{Arrow, ModuleGraph};
use crate::finding::Finding;
use crate::law::Package;

/// Where the modules of the package `name` and the law differ, and where they run in a circle.
#[must_use]
pub fn check(name: &str, package: &Package, graph: &ModuleGraph) -> Vec<Finding> {
    let mut found = unlisted(name, package, graph);
    let levels: BTreeSet<&[String]> =
        graph.modules.iter().flat_map(|path| (0..path.len()).map(|depth| &path[..depth])).collect();
    for level in levels {
        found.extend(circle(level, &graph.arrows));
    }
    found
}

/// The arrows between top modules, each with the place of one use.
#[must_use]
pub fn top_arrows(graph: &ModuleGraph) -> BTreeMap<(&str, &str), &str> {
    between(&[], &graph.arrows)
}

/// The names of the top modules.
#[must_use]
pub fn top_modules(graph: &ModuleGraph) -> BTreeSet<&str> {
    graph.modules.iter().filter_map(|path| path.first().map(String::as_str)).collect()
}

fn unlisted(name: &str, package: &Package, graph: &ModuleGraph) -> Vec<Finding> {
    let table = format!("[package.{name}.modules] in tests/tidy/layers.toml");
    let (arrows, modules) = (top_arrows(graph), top_modules(graph));
    let mut found = Vec::new();
    for module in modules.iter().filter(|module| !package.modules.contains_key(**module)) {
        let knows: Vec<&str> = arrows.keys().filter(|(from, _)| from == module).map(|(_, to)| *to).collect();
        let remedy =
            format!("add '{module} = {knows:?}' to {table}, if each of these arrows should be there");
        found.push(Finding::new(name, format!("the law does not know the module '{module}'"), remedy));
    }
    for module in package.modules.keys().filter(|module| !modules.contains(module.as_str())) {
        let wrong = format!("the law has the module '{module}', which does not exist");
        found.push(Finding::new(name, wrong, format!("remove it from {table}")));
    }
    for ((from, to), place) in &arrows {
        let listed = package.modules.get(*from).is_none_or(|knows| knows.contains(*to));
        if !listed {
            let remedy = format!("ask why, or add '{to}' to '{from}' of {table}");
            found.push(Finding::new(place, format!("'{from}' may not know '{to}' in {name}"), remedy));
        }
    }
    for (module, knows) in package.modules.iter().filter(|(module, _)| modules.contains(module.as_str())) {
        for idle in knows.iter().filter(|known| !arrows.contains_key(&(module.as_str(), known.as_str()))) {
            let wrong = format!("the law lets '{module}' know '{idle}', which it does not need");
            found.push(Finding::new(name, wrong, format!("remove it from {table}")));
        }
    }
    found
}

/// The arrows between different children of the module `level`, each with the place of one use.
fn between<'a>(level: &[String], arrows: &'a [Arrow]) -> BTreeMap<(&'a str, &'a str), &'a str> {
    let child = |path: &'a [String]| path.strip_prefix(level)?.first().map(String::as_str);
    arrows
        .iter()
        .filter_map(|arrow| Some(((child(&arrow.from)?, child(&arrow.to)?), arrow.place.as_str())))
        .filter(|((from, to), _)| from != to)
        .collect()
}

/// A circle among the children of `level`, if there is one.
fn circle(level: &[String], arrows: &[Arrow]) -> Option<Finding> {
    let arrows = between(level, arrows);
    let mut knows: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (from, to) in arrows.keys() {
        knows.entry(from).or_default().insert(to);
        knows.entry(to).or_default();
    }
    // Take away what knows nothing that is left, until only circles and what leads to them are left.
    loop {
        let left: BTreeSet<&str> = knows.keys().copied().collect();
        let free: Vec<&str> =
            knows.iter().filter(|(_, to)| to.is_disjoint(&left)).map(|(from, _)| *from).collect();
        if free.is_empty() {
            break;
        }
        knows.retain(|module, _| !free.contains(module));
    }
    // Every module that is left knows one that is left: walk until one comes again.
    let left: BTreeSet<&str> = knows.keys().copied().collect();
    let mut way = vec![*left.first()?];
    loop {
        let next = knows.get(way.last()?)?.iter().find(|to| left.contains(**to))?;
        if let Some(start) = way.iter().position(|seen| seen == next) {
            way.drain(..start);
            break;
        }
        way.push(next);
    }
    let back = (*way.last()?, *way.first()?);
    let place = arrows.get(&back)?;
    way.push(back.1);
    let wrong = format!("the modules run in a circle: {}", way.join(" -> "));
    Some(Finding::new(place, wrong, "turn one arrow round, or move what both need below both"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::report;

    fn path(text: &str) -> Vec<String> {
        text.split("::").map(str::to_owned).collect()
    }

    /// The report on modules with these arrows ("a > b") under this law ("a: b c").
    fn said(arrows: &[&str], law: &[&str]) -> String {
        let arrows: Vec<Arrow> = arrows
            .iter()
            .map(|arrow| {
                let (from, to) = arrow.split_once(" > ").unwrap();
                Arrow { from: path(from), to: path(to), place: format!("{}.rs:1", from.replace("::", "/")) }
            })
            .collect();
        let modules = arrows.iter().flat_map(|arrow| [arrow.from.clone(), arrow.to.clone()]).collect();
        let table = law.iter().map(|line| {
            let (module, knows) = line.split_once(':').unwrap();
            (module.to_owned(), knows.split_whitespace().map(str::to_owned).collect())
        });
        let package = Package { modules: table.collect(), ..Package::default() };
        report(&check("x", &package, &ModuleGraph { modules, arrows }))
    }

    #[test]
    fn listed_arrows_pass_and_others_are_found_where_they_are() {
        assert_eq!(said(&["a > b", "a::deep > b"], &["a: b", "b:"]), "");
        assert!(said(&["a > b"], &["a:", "b:"]).contains("a.rs:1: 'a' may not know 'b' in x"));
        assert!(said(&["a::deep > b::low"], &["a:", "b:"]).contains("a/deep.rs:1: 'a' may not know 'b'"));
    }

    #[test]
    fn module_that_is_not_in_the_law_is_found_with_the_line_to_add() {
        let said = said(&["a > b"], &["b:"]);
        assert!(said.contains("add 'a = [\"b\"]' to [package.x.modules]"), "{said}");
    }

    #[test]
    fn law_that_the_code_has_outgrown_is_found() {
        assert!(said(&["a > b"], &["a: b", "b:", "c:"]).contains("'c', which does not exist"));
        assert!(said(&["a > b"], &["a: b", "b: a"]).contains("lets 'b' know 'a', which it does not need"));
    }

    #[test]
    fn circle_on_any_level_is_found_and_named() {
        let said_of = |arrows: &[&str]| said(arrows, &["a: b c", "b: c a", "c: a b", "z: a"]);
        assert!(said_of(&["z > a", "a > b", "b > c", "c > a"]).contains("circle: a -> b -> c -> a"));
        assert!(!said_of(&["z > a", "a > b", "b > c", "a > c"]).contains("circle"));
        assert!(said_of(&["a::x > a::y", "a::y > a::x"]).contains("circle: x -> y -> x"));
        assert!(said_of(&["a::x > b::x", "b::y > a::y"]).contains("circle: a -> b -> a"));
        assert!(!said_of(&["a::x > a", "a > a::x"]).contains("circle"));
    }
}

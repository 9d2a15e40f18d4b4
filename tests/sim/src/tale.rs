//! What is printed of a story: the lines that are about what broke, and the command that tells it again.
//!
//! A story that was shortened still has the lines of every task and machine that happened to be there. What broke names its
//! tasks, so of the lines about tasks those are told; of the others those about machines that had part in it, and whatever
//! came from outside: wishes, faults, restarts.

use crate::names::job;
use crate::planted::Planted;
use crate::script::Script;
use std::collections::BTreeSet;

/// Most lines that are told: the last ones.
const LINES_MAX: usize = 60;
/// Most bytes of a line that are told.
const LINE_MAX: usize = 300;

/// What was seen, as people write it: attempts by their names, and no fields that say nothing.
pub(crate) fn plain(words: &str) -> String {
    const BEGIN: &str = "AttemptId { job: '";
    let (mut told, mut rest) = (String::new(), words);
    while let Some((before, attempt)) = rest.split_once(BEGIN) {
        told.push_str(before);
        let named = attempt.split_once(" }").and_then(|(fields, left)| {
            let (job, fields) = fields.split_once("', task: '")?;
            let (task, number) = fields.split_once("', number: ")?;
            Some((format!("{job}/{task}#{number}"), left))
        });
        match named {
            Some((name, left)) => {
                told.push_str(&name);
                rest = left;
            }
            None => {
                told.push_str(BEGIN);
                rest = attempt;
            }
        }
    }
    told.push_str(rest);
    without_nothing(&told)
}

/// The story in words.
pub(crate) fn told(
    seed: u64,
    planted: Option<Planted>,
    script: &Script,
    log: &[String],
    seen: &str,
) -> String {
    let log: Vec<String> = log.iter().map(|line| plain(line)).collect();
    let tasks = tasks_in(seen);
    let lines = about(&log, &tasks, machine_in(&seen.replace("node-", "machine ")));
    let left_out = lines.len().saturating_sub(LINES_MAX);
    let mut tale = format!("{} things of the script are needed for it:\n", script.len());
    if left_out > 0 {
        tale.push_str(&format!("  ({left_out} earlier lines are left out)\n"));
    }
    for line in &lines[left_out..] {
        tale.push_str(&format!("  {}\n", cut(&without_others(line, &tasks))));
    }
    tale.push_str(&format!("tell it again: {}", command(seed, planted)));
    tale
}

/// What tells the story of a seed again.
pub(crate) fn command(seed: u64, planted: Option<Planted>) -> String {
    let with = planted.map(|planted| format!(" --planted {}", planted.name())).unwrap_or_default();
    format!("cargo xtask simulate --seed {seed}{with}")
}

fn cut(line: &str) -> String {
    match line.char_indices().nth(LINE_MAX) {
        Some((at, _)) => format!("{} ...", &line[..at]),
        None => line.to_owned(),
    }
}

/// A line without the fields that say nothing.
fn without_nothing(line: &str) -> String {
    const NOTHING: [&str; 5] = [": None", ": []", ": {}", ": \"\"", ": 0"];
    let of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let (mut told, mut rest) = (String::new(), line);
    while let Some(at) = rest.find(": ") {
        let (before, after) = rest.split_at(at);
        let start = before.rfind(|c| !of_name(c)).map_or(0, |start| start + 1);
        let head = if start == 0 { told.as_str() } else { &before[..start] };
        let is_field = start < at && (head.ends_with("{ ") || head.ends_with(", "));
        let says_nothing = NOTHING.iter().find_map(|nothing| after.strip_prefix(nothing));
        match says_nothing.filter(|left| is_field && left.starts_with([',', ' ', '}'])) {
            Some(left) => {
                told.push_str(&before[..start]);
                rest = left.strip_prefix(", ").unwrap_or(left);
            }
            None => {
                told.push_str(before);
                told.push_str(": ");
                rest = &after[2..];
            }
        }
    }
    told.push_str(rest);
    told.replace(",  }", " }").replace("{  }", "{}")
}

/// A line that adds tasks without those that the story is not about: each is a line of its own below it.
fn without_others(line: &str, tasks: &BTreeSet<&str>) -> String {
    const ADDS: &str = "add to ";
    let Some((first, added)) = line.split_once('\n').filter(|_| !tasks.is_empty()) else {
        return line.to_owned();
    };
    let job = first.split_once(ADDS).map_or("", |(_, job)| job.trim_end_matches(':'));
    let is_told = |added: &&str| {
        let id = added.split_whitespace().next().unwrap_or_default();
        tasks.contains(format!("{job}/{id}").as_str())
    };
    let told: Vec<&str> = added.lines().filter(is_told).collect();
    let others = added.lines().filter(|line| !line.trim().is_empty()).count() - told.len();
    let told = std::iter::once(first).chain(told).collect::<Vec<_>>().join("\n");
    if others == 0 { told } else { format!("{told} ({others} others)") }
}

/// The tasks that are named in a text, as `job/task`.
fn tasks_in(text: &str) -> BTreeSet<&str> {
    let of_id = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let jobs: Vec<String> = (0..crate::names::JOBS).map(|number| format!("{}/", job(number))).collect();
    let mut found = BTreeSet::new();
    for name in &jobs {
        for (at, _) in text.match_indices(name.as_str()) {
            let task = &text[at + name.len()..];
            let end = task.find(|c| !of_id(c)).unwrap_or(task.len());
            found.insert(&text[at..at + name.len() + end]);
        }
    }
    found
}

/// The first machine that a line names.
fn machine_in(line: &str) -> Option<&str> {
    const MACHINE: &str = "machine ";
    let rest = &line[line.find(MACHINE)?..];
    let number = &rest[MACHINE.len()..];
    let end = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
    (end > 0).then(|| &rest[..MACHINE.len() + end])
}

/// The lines that are about these tasks, or, once one of them is with a machine, about no task and about such machines; without
/// tasks those about this machine; and all that came from outside.
fn about<'a>(log: &'a [String], tasks: &BTreeSet<&str>, machine: Option<&str>) -> Vec<&'a str> {
    let lines: Vec<(&str, BTreeSet<&str>)> = log.iter().map(|line| (line.as_str(), tasks_in(line))).collect();
    if tasks.is_empty() {
        let is_of_it =
            |line: &str| machine_in(line).is_none_or(|other| machine.is_none_or(|own| own == other));
        return lines.into_iter().map(|(line, _)| line).filter(|line| is_of_it(line)).collect();
    }
    let concerns = |named: &BTreeSet<&str>| named.iter().any(|name| tasks.contains(name));
    let machines: BTreeSet<&str> =
        lines.iter().filter(|(_, named)| concerns(named)).filter_map(|(line, _)| machine_in(line)).collect();
    let first = lines.iter().position(|(line, named)| concerns(named) && machine_in(line).is_some());
    let is_told = |(number, (line, named)): &(usize, &(&str, BTreeSet<&str>))| {
        let is_of_outside = line.contains("client: ") || line.contains("fault: ");
        let is_of_place = || match machine_in(line) {
            Some(machine) => machines.contains(machine) && first.is_none_or(|first| *number > first),
            None => true,
        };
        concerns(named) || is_of_outside || (named.is_empty() && is_of_place())
    };
    lines.iter().enumerate().filter(is_told).map(|(_, (line, _))| *line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_about_the_task_that_broke() {
        let log: Vec<String> = [
            "0.900 s  machine 1: the agent starts",
            "1.000 s  client: create job film",
            "1.500 s  fault: Controller",
            "2.000 s  machine 1 hears assign film/3#1, song/4#1",
            "2.100 s  machine 2 hears assign song/4#2",
            "2.200 s  machine 2: the agent starts",
            "2.300 s  machine 1: the agent starts",
            "2.400 s  machine 1: film/31#1 starts",
        ]
        .map(str::to_owned)
        .to_vec();
        let tasks = tasks_in("film/3#2 starts while film/3#1 is alive");
        assert_eq!(tasks, BTreeSet::from(["film/3"]));
        let told: Vec<usize> =
            about(&log, &tasks, None).iter().filter_map(|line| log.iter().rposition(|l| l == line)).collect();
        assert_eq!(told, [1, 2, 3, 6]);
        assert_eq!(about(&log, &BTreeSet::new(), None).len(), log.len());
        assert_eq!(about(&log, &BTreeSet::new(), Some("machine 2")).len(), 4);
    }

    #[test]
    fn attempts_are_told_by_their_names() {
        let words = "alive: [AttemptId { job: 'film', task: 'a-1', number: 2 }, AttemptId { job: 'x', task: 'y', number: 1 }]";
        assert_eq!(plain(words), "alive: [film/a-1#2, x/y#1]");
        assert_eq!(plain("AttemptId { job: 'film"), "AttemptId { job: 'film");
    }

    #[test]
    fn of_added_tasks_those_are_told_that_the_story_is_about() {
        let line = "1.000 s  client wants: add to film:\n   3 takes 1 slots\n   4 takes 2 slots\n ";
        let told = without_others(line, &BTreeSet::from(["film/4", "song/3"]));
        assert_eq!(told, "1.000 s  client wants: add to film:\n   4 takes 2 slots (1 others)");
        assert_eq!(without_others(line, &BTreeSet::new()), line);
    }

    #[test]
    fn fields_that_say_nothing_are_left_out() {
        for (line, told) in [
            (
                "client: Patch { a: None, b_c: Some(None), d: [] } -> Ok(Done)",
                "client: Patch { b_c: Some(None) } -> Ok(Done)",
            ),
            ("x: Set { ids: [], sweeps: [] }, n: 0, m: 07", "x: Set {}, m: 07"),
            ("node-2 is unknown: None, Some(Set { of: None })", "node-2 is unknown: None, Some(Set {})"),
        ] {
            assert_eq!(without_nothing(line), told);
        }
    }
}

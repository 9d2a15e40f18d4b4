//! What is kept of a round that broke a promise, and the short story of the task concerned.
//!
//! The story is what was told, recorded and done, and the faults between, in the order of time. Kept are the whole told-log, the
//! ledger, the faults and the daemons' logs, each a file.

use super::turn::Dealt;
use crate::check::Violation;
use crate::ledger::{Line, Said};
use crate::record::Record;
use crate::site::Site;
use crate::told::Entry;
use anyhow::Context;
use std::fmt::Write;
use std::fs;
use std::path::Path;

/// Lines of a story that a terminal shows without scrolling for long; the kept files have all of them.
const STORY_LINES_MAX: usize = 120;

/// Faults before the first event of a story that are told with it, in microseconds.
const BEFORE_US: u64 = 10_000_000;

/// All that a story is told from.
#[derive(Debug)]
pub(super) struct Evidence<'a> {
    /// What clients were told.
    pub(super) entries: &'a [Entry],
    /// What is recorded.
    pub(super) record: &'a Record,
    /// What tasks wrote down.
    pub(super) lines: &'a [Line],
    /// The faults.
    pub(super) dealt: &'a [Dealt],
}

impl Evidence<'_> {
    /// The story of a broken promise.
    #[must_use]
    pub(super) fn story(&self, violation: &Violation) -> String {
        let mut events: Vec<(u64, String)> = Vec::new();
        let is_ours = |job: &str, task: Option<&str>| {
            job == violation.job
                && (violation.task.is_none() || task.is_none() || task == violation.task.as_deref())
        };
        let sweep = violation.task.as_deref().and_then(|task| task.rsplit_once('-')).map(|(sweep, _)| sweep);
        for entry in self.entries {
            let is_sweep = entry.job == violation.job && sweep.is_some() && entry.task.as_deref() == sweep;
            if is_ours(&entry.job, entry.task.as_deref()) || is_sweep {
                events.push((entry.asked_us, format!("told     {entry}")));
            }
        }
        for line in self.lines {
            // Beats are told by the end of a life in the violation itself.
            if is_ours(&line.job, Some(&line.task)) && line.said != Said::Beat {
                events.push((line.at_us, format!("done     {line}")));
            }
        }
        let from = events.iter().map(|(at, _)| *at).min().unwrap_or(0).saturating_sub(BEFORE_US);
        let faults = self.dealt.iter().filter(|dealt| dealt.at_us >= from);
        events.extend(faults.map(|dealt| (dealt.at_us, format!("fault    {}", dealt.what))));
        events.sort();
        let mut story = format!("{violation}\n");
        let left_out = events.len().saturating_sub(STORY_LINES_MAX);
        for (at_us, event) in events.iter().skip(left_out) {
            // Writing into a text cannot fail.
            let _ = writeln!(story, "  {:>6}.{:03}  {event}", at_us / 1_000_000, at_us / 1000 % 1000);
        }
        if left_out > 0 {
            let _ = writeln!(story, "  ({left_out} earlier events are in the kept files)");
        }
        if let Some(kept) = violation.task.as_deref().and_then(|task| self.record.task(&violation.job, task))
        {
            let _ = writeln!(story, "  recorded: {}", kept.seen);
            for tried in &kept.tried {
                let _ = writeln!(story, "  recorded: {tried:?}");
            }
        }
        story
    }

    /// Keeps everything in a folder.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn keep(&self, site: &Site, folder: &Path, violations: &[Violation]) -> anyhow::Result<()> {
        keep_logs(site, folder, self.dealt)?;
        let text = |lines: Vec<String>| lines.join("\n") + "\n";
        let told = text(self.entries.iter().map(Entry::to_string).collect());
        let stories = violations.iter().map(|violation| self.story(violation)).collect();
        for (name, content) in [("told", told), ("stories", text(stories))] {
            fs::write(folder.join(name), content).with_context(|| format!("cannot keep {name}"))?;
        }
        fs::write(folder.join("record"), format!("{:#?}\n", self.record)).context("cannot keep the record")
    }
}

/// Keeps what there is in any case: the daemons' logs, the ledger and the faults.
///
/// # Errors
/// When it cannot be written.
pub(super) fn keep_logs(site: &Site, folder: &Path, dealt: &[Dealt]) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for entry in fs::read_dir(site.logs())?.flatten() {
        fs::copy(entry.path(), folder.join(entry.file_name()))?;
    }
    if site.ledger().exists() {
        fs::copy(site.ledger(), folder.join("ledger"))?;
    }
    let lines: Vec<String> = dealt.iter().map(|dealt| format!("{} {}", dealt.at_us, dealt.what)).collect();
    fs::write(folder.join("faults"), lines.join("\n") + "\n")?;
    Ok(())
}

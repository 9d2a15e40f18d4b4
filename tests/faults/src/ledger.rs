//! What tasks themselves write down: one line at the start of a life, one every tenth of a second, one at its end.
//!
//! Every line is one write with O_APPEND, so lines of different processes never mix. A life holds a lock on its task for as long as
//! its process is there, which the kernel gives back at the very end of it: a life that cannot take the lock has met another
//! one of its own task, and says so with a line of its own. Times are microseconds since boot.

use anyhow::{Context, bail};
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;

/// What a line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// The life begins, and has its task's lock.
    Start,
    /// The life begins while another process of the task is still there.
    Double,
    /// It lives.
    Beat,
    /// It exits in the next instant with this code.
    End(u8),
}

/// A line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// When.
    pub at_us: u64,
    /// The job.
    pub job: String,
    /// The task.
    pub task: String,
    /// The number of the attempt, as its node names it.
    pub attempt: u32,
    /// A name that no other life has.
    pub life: String,
    /// The node.
    pub node: String,
    /// What is said.
    pub said: Said,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at_us, job, task, attempt, life, node, said } = self;
        let said = match said {
            Said::Start => "start".to_owned(),
            Said::Double => "double".to_owned(),
            Said::Beat => "beat".to_owned(),
            Said::End(code) => format!("end={code}"),
        };
        write!(f, "{at_us} {job} {task} {attempt} {life} {node} {said}")
    }
}

impl Line {
    /// Reads a line. `None` when it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let words: Vec<&str> = text.split(' ').collect();
        let [at, job, task, attempt, life, node, said] = words.as_slice() else { return None };
        let said = match *said {
            "start" => Said::Start,
            "double" => Said::Double,
            "beat" => Said::Beat,
            other => Said::End(other.strip_prefix("end=")?.parse().ok()?),
        };
        let text = |word: &str| word.to_owned();
        Some(Self {
            at_us: at.parse().ok()?,
            job: text(job),
            task: text(task),
            attempt: attempt.parse().ok()?,
            life: text(life),
            node: text(node),
            said,
        })
    }
}

/// Reads a ledger.
///
/// # Errors
/// When it cannot be read, or a line is none: nothing else writes there.
pub fn read(path: &Path) -> anyhow::Result<Vec<Line>> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut lines = Vec::new();
    for line in text.lines() {
        match Line::parse(line) {
            Some(line) => lines.push(line),
            None => bail!("the ledger has a line that is none: {line:?}"),
        }
    }
    Ok(lines)
}

/// One run of a task's command, from its first line to its last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    /// The job.
    pub job: String,
    /// The task.
    pub task: String,
    /// The number of the attempt.
    pub attempt: u32,
    /// Its name.
    pub life: String,
    /// The node.
    pub node: String,
    /// When it began.
    pub first_us: u64,
    /// When it was last seen.
    pub last_us: u64,
    /// With which code it exited; `None` when it was cut short.
    pub exit_code: Option<u8>,
    /// Whether it met another process of its task.
    pub is_double: bool,
}

/// The lives of a ledger, in the order of their beginnings.
#[must_use]
pub fn lives(lines: &[Line]) -> Vec<Life> {
    let mut lives: BTreeMap<&str, Life> = BTreeMap::new();
    for line in lines {
        let life = lives.entry(&line.life).or_insert_with(|| Life {
            job: line.job.clone(),
            task: line.task.clone(),
            attempt: line.attempt,
            life: line.life.clone(),
            node: line.node.clone(),
            first_us: line.at_us,
            last_us: line.at_us,
            exit_code: None,
            is_double: false,
        });
        life.last_us = life.last_us.max(line.at_us);
        match line.said {
            Said::Start | Said::Beat => {}
            Said::Double => life.is_double = true,
            Said::End(code) => life.exit_code = Some(code),
        }
    }
    let mut lives: Vec<Life> = lives.into_values().collect();
    lives.sort_by(|one, other| (one.first_us, &one.life).cmp(&(other.first_us, &other.life)));
    lives
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(at_us: u64, life: &str, said: Said) -> Line {
        let text = |word: &str| word.to_owned();
        Line { at_us, job: text("j"), task: text("t"), attempt: 2, life: text(life), node: text("n"), said }
    }

    #[test]
    fn lines_come_back_as_they_were_written() {
        for said in [Said::Start, Said::Double, Said::Beat, Said::End(7)] {
            let line = line(12, "a", said);
            assert_eq!(Line::parse(&line.to_string()), Some(line));
        }
        for broken in ["", "1 j t 1 l n", "1 j t 1 l n stop", "1 j t 1 l n end=", "x j t 1 l n start"] {
            assert_eq!(Line::parse(broken), None, "{broken}");
        }
    }

    #[test]
    fn a_life_goes_from_its_first_line_to_its_last() {
        let lines = [
            line(1, "a", Said::Start),
            line(2, "b", Said::Double),
            line(3, "a", Said::Beat),
            line(5, "b", Said::End(3)),
        ];
        let lives = lives(&lines);
        assert_eq!(lives.len(), 2);
        assert_eq!(
            (lives[0].first_us, lives[0].last_us, lives[0].exit_code, lives[0].is_double),
            (1, 3, None, false)
        );
        assert_eq!(
            (lives[1].first_us, lives[1].last_us, lives[1].exit_code, lives[1].is_double),
            (2, 5, Some(3), true)
        );
    }
}

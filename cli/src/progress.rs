//! Progress bars, on standard error and only for a person who watches it.
//!
//! Goes in: what transfers and waits tell. Comes out: a bar, or nothing. No result depends on it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use muster_client::transfer::{Progress, Silent};
use muster_client::{JobProgress, Waiting};

use crate::outlet::Outlet;

/// How often a bar is drawn at most: smooth enough, and cheap over a slow terminal.
const DRAWS_PER_SECOND: u8 = 10;

/// Transfers below this size end before a bar could be read.
const BYTES_WORTH_A_BAR: u64 = 1024 * 1024;

/// Waits shorter than this in all are not worth a word.
const WAIT_WORTH_WORDS: Duration = Duration::from_secs(1);

/// How often it is said that something is still waited for.
const WORDS_EVERY: Duration = Duration::from_secs(10);

/// Which waits of the client a person is told of: not the short ones, and not each of the others.
#[derive(Debug, Default)]
pub(crate) struct Patience(Mutex<Option<Instant>>);

impl Patience {
    /// Whether to say that this is waited for.
    pub(crate) fn is_worth_words(&self, waiting: &Waiting) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = last.is_none_or(|last| last.elapsed() >= WORDS_EVERY);
        let is_long = waiting.waited + waiting.wait >= WAIT_WORTH_WORDS;
        if is_news && is_long {
            *last = Some(Instant::now());
        }
        is_news && is_long
    }
}

/// A bar for bytes that move.
struct TransferBar(ProgressBar);

impl Progress for TransferBar {
    fn expect(&self, bytes: u64) {
        let total = self.0.length().unwrap_or_default() + bytes;
        self.0.set_length(total);
        if total >= BYTES_WORTH_A_BAR {
            self.0.set_draw_target(ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND));
        }
    }

    fn moved(&self, bytes: u64) {
        self.0.inc(bytes);
    }

    fn skipped(&self, bytes: u64) {
        self.0.inc(bytes);
    }
}

impl Drop for TransferBar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Progress of a transfer, under a word such as "uploading".
#[must_use]
pub(crate) fn transfer(outlet: &Outlet, word: &'static str) -> Arc<dyn Progress> {
    if !outlet.is_watched() {
        return Arc::new(Silent);
    }
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::hidden());
    let template = "{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_message(word);
    Arc::new(TransferBar(bar))
}

/// A bar for things that are counted.
pub(crate) struct CountBar(ProgressBar);

impl CountBar {
    /// A bar under a word, or nothing when nobody watches.
    #[must_use]
    pub(crate) fn new(outlet: &Outlet, word: &'static str) -> Self {
        let target = if outlet.is_watched() {
            ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND)
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(1), target);
        if let Ok(style) = ProgressStyle::with_template("{prefix} [{bar:30}] {pos}/{len} {msg} {elapsed}") {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(word);
        bar.enable_steady_tick(Duration::from_secs(1));
        Self(bar)
    }

    /// Shows how far a job is.
    pub(crate) fn job(&self, progress: &JobProgress) {
        let counts = &progress.counts;
        self.0.set_length(counts.active + counts.running + counts.completed);
        self.0.set_position(counts.completed);
        let failed = if counts.failed > 0 { format!(", {} failed", counts.failed) } else { String::new() };
        self.0.set_message(format!("tasks, {} running{failed}", counts.running));
    }

    /// Shows so many of so many.
    pub(crate) fn set(&self, done: u64, all: u64, message: String) {
        self.0.set_length(all);
        self.0.set_position(done);
        self.0.set_message(message);
    }

    /// Writes a line above the bar.
    pub(crate) fn above(&self, outlet: &Outlet, text: &str) {
        self.0.suspend(|| outlet.warn(text));
    }
}

impl Drop for CountBar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// A line that says where one thing is, for what has no measure.
pub(crate) struct StateLine(ProgressBar);

impl StateLine {
    /// A line that begins with a text, or nothing when nobody watches.
    #[must_use]
    pub(crate) fn new(outlet: &Outlet, text: String) -> Self {
        let target = if outlet.is_watched() {
            ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND)
        } else {
            ProgressDrawTarget::hidden()
        };
        let line = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template("{prefix} {msg} {elapsed}") {
            line.set_style(style);
        }
        line.set_prefix(text);
        line.enable_steady_tick(Duration::from_secs(1));
        Self(line)
    }

    /// Shows where it is now.
    pub(crate) fn set(&self, state: String) {
        self.0.set_message(state);
    }
}

impl Drop for StateLine {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_wait_is_told_of_once_in_a_while() {
        let patience = Patience::default();
        let waiting = |millis, waited| Waiting {
            why: String::new(),
            wait: Duration::from_millis(millis),
            waited: Duration::from_millis(waited),
        };
        assert!(!patience.is_worth_words(&waiting(100, 0)));
        assert!(patience.is_worth_words(&waiting(100, 900)));
        assert!(!patience.is_worth_words(&waiting(5000, 1000)));
    }
}

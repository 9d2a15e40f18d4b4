//! Ctrl-C during a run: the first press asks, the second one within a few seconds ends the task.
//!
//! A task goes on without this program, so ending it must be meant. SIGTERM is meant at once. After the task was told to
//! end, one more press ends this program without waiting.

use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::outcome::{INTERRUPTED, TERMINATED};
use crate::exit::Exit;
use crate::outlet::Outlet;

/// For how long the question stands.
const ASK_FOR: Duration = Duration::from_secs(5);

/// What the person wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// End the task, then exit so.
    Terminate(Exit),
    /// Exit so, at once.
    Leave(Exit),
}

/// Listens for signals.
pub(super) struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
    presses: Presses,
}

/// The presses so far.
#[derive(Debug, Default)]
struct Presses {
    asked: Option<Instant>,
    is_ending: bool,
}

/// What a press leads to.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Ask,
    Do(Wish),
}

impl Presses {
    fn press(&mut self, now: Instant) -> Answer {
        if self.is_ending {
            return Answer::Do(Wish::Leave(INTERRUPTED));
        }
        if self.asked.is_some_and(|asked| now.duration_since(asked) <= ASK_FOR) {
            self.is_ending = true;
            return Answer::Do(Wish::Terminate(INTERRUPTED));
        }
        self.asked = Some(now);
        Answer::Ask
    }

    fn term(&mut self) -> Wish {
        if std::mem::replace(&mut self.is_ending, true) {
            Wish::Leave(TERMINATED)
        } else {
            Wish::Terminate(TERMINATED)
        }
    }
}

impl Interrupts {
    /// Begins to listen: from here on Ctrl-C does not end the program by itself.
    ///
    /// # Errors
    /// When the system refuses.
    pub(super) fn listen() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            presses: Presses::default(),
        })
    }

    /// Waits until the person wants something. May be dropped and called again.
    pub(super) async fn wish(&mut self, outlet: &Outlet) -> Wish {
        loop {
            tokio::select! {
                Some(()) = self.interrupt.recv() => match self.presses.press(Instant::now()) {
                    Answer::Ask => outlet.warn(&format!(
                        "press Ctrl-C again within {} s to terminate the task; it goes on otherwise",
                        ASK_FOR.as_secs()
                    )),
                    Answer::Do(wish) => return wish,
                },
                Some(()) = self.terminate.recv() => return self.presses.term(),
                else => std::future::pending::<()>().await,
            }
        }
    }

    /// Waits for the first signal before there is a task: nothing is asked then.
    pub(super) async fn any(&mut self) -> Exit {
        tokio::select! {
            Some(()) = self.interrupt.recv() => INTERRUPTED,
            Some(()) = self.terminate.recv() => TERMINATED,
            else => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_press_counts_only_while_the_question_stands() {
        let start = Instant::now();
        let mut presses = Presses::default();
        assert_eq!(presses.press(start), Answer::Ask);
        let late = start + ASK_FOR + Duration::from_millis(1);
        assert_eq!(presses.press(late), Answer::Ask);
        assert_eq!(presses.press(late + ASK_FOR), Answer::Do(Wish::Terminate(INTERRUPTED)));
        assert_eq!(presses.press(late + ASK_FOR), Answer::Do(Wish::Leave(INTERRUPTED)));
    }

    #[test]
    fn sigterm_is_not_asked_about() {
        let mut presses = Presses::default();
        assert_eq!(presses.term(), Wish::Terminate(TERMINATED));
        assert_eq!(presses.term(), Wish::Leave(TERMINATED));
    }
}

//! One output of a process, read by a thread as it comes, so that a test can look at it while the process runs.
//!
//! Goes in: a pipe's reading end. Comes out: the bytes so far, or all of them once the writing end is closed everywhere.
//! The thread ends with the pipe; nobody needs to join it.

use crate::wait::wait_until;
use std::io::Read;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What has come through so far.
#[derive(Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    ended: bool,
}

/// An output that is being read.
#[derive(Debug)]
pub struct Pipe {
    content: Arc<Mutex<Content>>,
}

impl Pipe {
    /// Starts to read. No pipe at all is an empty one.
    pub fn read(pipe: Option<impl Read + Send + 'static>) -> Self {
        let content = Arc::new(Mutex::new(Content::default()));
        let Some(mut pipe) = pipe else {
            lock(&content).ended = true;
            return Self { content };
        };
        let writer = Arc::clone(&content);
        std::thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            loop {
                match pipe.read(&mut buffer) {
                    Ok(0) | Err(_) => break,
                    Ok(count) => lock(&writer).bytes.extend_from_slice(&buffer[..count]),
                }
            }
            lock(&writer).ended = true;
        });
        Self { content }
    }

    /// What has come so far.
    #[must_use]
    pub fn so_far(&self) -> Vec<u8> {
        lock(&self.content).bytes.clone()
    }

    /// Whether `text` has come.
    #[must_use]
    pub fn has(&self, text: &str) -> bool {
        String::from_utf8_lossy(&lock(&self.content).bytes).contains(text)
    }

    /// The first whole line, once there is one.
    #[must_use]
    pub fn first_line(&self) -> Option<String> {
        let content = lock(&self.content);
        let end = content.bytes.iter().position(|byte| *byte == b'\n')?;
        Some(String::from_utf8_lossy(&content.bytes[..end]).into_owned())
    }

    /// Everything.
    ///
    /// # Errors
    /// When the pipe is still open after `deadline`: some other process holds its writing end.
    pub fn all(&self, deadline: Duration) -> anyhow::Result<Vec<u8>> {
        wait_until(deadline, "the end of a pipe that a process left open", || {
            let mut content = lock(&self.content);
            Ok(content.ended.then(|| std::mem::take(&mut content.bytes)))
        })
    }
}

/// A reader that panicked leaves what it had read, which is all there is.
fn lock(content: &Mutex<Content>) -> MutexGuard<'_, Content> {
    content.lock().unwrap_or_else(PoisonError::into_inner)
}

//! A web server of a few lines for resource files: known paths answer their content, others 404, and it counts.
//!
//! It speaks just enough HTTP/1.1 for a GET, with ranges refused by ignoring them, one request for each connection.
//! `/denied` answers 403 and `/broken` promises more bytes than it sends. One path can be held: whoever asks for it waits.

use anyhow::Context;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// A client that stops in the middle of a request must not hold the server.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(10);

/// What holds a path, and how many requests have come to it.
#[derive(Debug, Default)]
struct Gate {
    path: Mutex<Option<String>>,
    released: Condvar,
    held: AtomicUsize,
}

impl Gate {
    /// Waits while `path` is held.
    fn pass(&self, path: &str) {
        let mut held = self.path.lock().unwrap_or_else(PoisonError::into_inner);
        if held.as_deref() == Some(path) {
            self.held.fetch_add(1, Ordering::SeqCst);
        }
        while held.as_deref() == Some(path) {
            held = self.released.wait(held).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// A running server.
#[derive(Debug)]
pub struct HttpServer {
    address: SocketAddr,
    hits: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    gate: Arc<Gate>,
    thread: Option<JoinHandle<()>>,
}

impl HttpServer {
    /// Serves files by path (`/name`) on a free port of the loopback.
    ///
    /// # Errors
    /// When no port can be had.
    pub fn start(files: &[(&str, &[u8])]) -> anyhow::Result<Self> {
        Self::start_at("127.0.0.1:0", files)
    }

    /// Serves files by path at an address: where another server was before.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub fn start_at(address: &str, files: &[(&str, &[u8])]) -> anyhow::Result<Self> {
        let files: BTreeMap<String, Vec<u8>> =
            files.iter().map(|(path, content)| ((*path).to_owned(), content.to_vec())).collect();
        let listener = TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
        let address = listener.local_addr()?;
        let hits = Arc::new(AtomicUsize::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let gate = Arc::new(Gate::default());
        let (counter, ends, holder) = (Arc::clone(&hits), Arc::clone(&stop), Arc::clone(&gate));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ends.load(Ordering::SeqCst) {
                    break;
                }
                // A client that goes away in between is its own affair.
                let _ = stream.and_then(|stream| answer(&stream, &files, &counter, &holder));
            }
        });
        Ok(Self { address, hits, stop, gate, thread: Some(thread) })
    }

    /// The URL of a path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Holds a path from now on: whoever asks for it gets no answer, nor does anybody behind it, until it is released.
    pub fn hold(&self, path: &str) {
        *self.gate.path.lock().unwrap_or_else(PoisonError::into_inner) = Some(path.to_owned());
    }

    /// Answers those who wait, and everybody after them.
    pub fn release(&self) {
        *self.gate.path.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.gate.released.notify_all();
    }

    /// How many requests have come to a held path.
    #[must_use]
    pub fn held(&self) -> usize {
        self.gate.held.load(Ordering::SeqCst)
    }

    /// How many requests have been answered with content.
    #[must_use]
    pub fn hits(&self) -> usize {
        self.hits.load(Ordering::SeqCst)
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.release();
        // The thread waits for a connection: this is the last one.
        let woken = TcpStream::connect(self.address).is_ok();
        if let Some(thread) = self.thread.take().filter(|_| woken) {
            let _ = thread.join();
        }
    }
}

fn answer(
    stream: &TcpStream,
    files: &BTreeMap<String, Vec<u8>>,
    hits: &AtomicUsize,
    gate: &Gate,
) -> std::io::Result<()> {
    stream.set_read_timeout(Some(REQUEST_TIME_MAX))?;
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    // The headers say nothing that changes the answer; they end with an empty line.
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let path = request.split(' ').nth(1).unwrap_or_default();
    gate.pass(path);
    let (status, promised, content) = match (path, files.get(path)) {
        ("/denied", _) => ("403 Forbidden", 0, &[][..]),
        ("/broken", _) => ("200 OK", 1000, &b"cut"[..]),
        (_, Some(content)) => ("200 OK", content.len(), &content[..]),
        (_, None) => ("404 Not Found", 0, &[][..]),
    };
    if promised > 0 {
        hits.fetch_add(1, Ordering::SeqCst);
    }
    let mut out = stream;
    write!(out, "HTTP/1.1 {status}\r\ncontent-length: {promised}\r\nconnection: close\r\n\r\n")?;
    out.write_all(content)
}

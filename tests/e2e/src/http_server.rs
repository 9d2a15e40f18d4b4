//! A web server of a few lines for resource files: known paths answer their content, others 404, and it counts.
//!
//! It speaks just enough HTTP/1.1 for a GET, with ranges refused by ignoring them, one request for each connection.
//! `/denied` answers 403 and `/broken` promises more bytes than it sends.

use anyhow::Context;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// A client that stops in the middle of a request must not hold the server.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(10);

/// A running server.
#[derive(Debug)]
pub struct HttpServer {
    address: SocketAddr,
    hits: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
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
        let (counter, ends) = (Arc::clone(&hits), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ends.load(Ordering::SeqCst) {
                    break;
                }
                // A client that goes away in between is its own affair.
                let _ = stream.and_then(|stream| answer(&stream, &files, &counter));
            }
        });
        Ok(Self { address, hits, stop, thread: Some(thread) })
    }

    /// The URL of a path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
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
        // The thread waits for a connection: this is the last one.
        let woken = TcpStream::connect(self.address).is_ok();
        if let Some(thread) = self.thread.take().filter(|_| woken) {
            let _ = thread.join();
        }
    }
}

fn answer(stream: &TcpStream, files: &BTreeMap<String, Vec<u8>>, hits: &AtomicUsize) -> std::io::Result<()> {
    stream.set_read_timeout(Some(REQUEST_TIME_MAX))?;
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    // The headers say nothing that changes the answer; they end with an empty line.
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let path = request.split(' ').nth(1).unwrap_or_default();
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

//! A tiny HTTP server: files with ETags, ranges, and faults on demand. Counts what it is asked.
//!
//! One request for each connection, and only as much of HTTP as an agent uses.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What is served under a path.
#[derive(Clone)]
pub(crate) struct Page {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    pub(crate) etag: Option<String>,
    pub(crate) location: Option<String>,
    /// The first answer breaks off after so many bytes.
    pub(crate) breaks_once_after: Option<usize>,
}

impl Page {
    pub(crate) fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self { status: 200, body: body.into(), etag: None, location: None, breaks_once_after: None }
    }

    pub(crate) fn status(status: u16) -> Self {
        Self { status, ..Self::ok("") }
    }
}

/// The server.
#[derive(Clone)]
pub(crate) struct Web {
    port: u16,
    pages: Arc<Mutex<BTreeMap<String, Page>>>,
    hits: Arc<Mutex<Vec<String>>>,
}

impl Web {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let web = Self { port, pages: Arc::default(), hits: Arc::default() };
        let server = web.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = server.clone();
                tokio::spawn(async move {
                    // A client that goes away is no fault of the test.
                    let _gone = server.answer(stream).await;
                });
            }
        });
        web
    }

    pub(crate) fn put(&self, path: &str, page: Page) -> String {
        self.pages.lock().unwrap().insert(path.to_owned(), page);
        self.url(path)
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// What was asked: path, then the range or condition if there was one.
    pub(crate) fn hits(&self) -> Vec<String> {
        self.hits.lock().unwrap().clone()
    }

    async fn answer(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut stream = BufReader::new(stream);
        let (mut path, mut range, mut none_match) = (String::new(), None, None);
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 || line == "\r\n" {
                break;
            }
            let line = line.trim();
            if path.is_empty() {
                path = line.split(' ').nth(1).unwrap_or_default().to_owned();
            } else if let Some((name, value)) = line.split_once(": ") {
                match name.to_ascii_lowercase().as_str() {
                    "range" => range = Some(value.to_owned()),
                    "if-none-match" => none_match = Some(value.to_owned()),
                    _ => {}
                }
            }
        }
        let asked = [Some(path.clone()), range.clone(), none_match.clone()];
        self.hits.lock().unwrap().push(asked.into_iter().flatten().collect::<Vec<_>>().join(" "));
        let page = {
            let mut pages = self.pages.lock().unwrap();
            let page = pages.get(&path).cloned().unwrap_or_else(|| Page::status(404));
            if let Some(stored) = pages.get_mut(&path) {
                stored.breaks_once_after = None;
            }
            page
        };
        let (mut status, mut body) = (page.status, page.body.as_slice());
        if none_match.is_some() && none_match == page.etag {
            (status, body) = (304, &[]);
        } else if let Some(from) =
            range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok())
        {
            (status, body) = (206, &page.body[from..]);
        }
        let mut head =
            format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in [("etag", &page.etag), ("location", &page.location)] {
            if let Some(value) = value {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        stream.write_all(format!("{head}\r\n").as_bytes()).await?;
        stream.write_all(&body[..page.breaks_once_after.unwrap_or(body.len()).min(body.len())]).await?;
        stream.shutdown().await
    }
}

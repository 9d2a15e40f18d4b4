//! Accepting TLS connections within limits that hold before anybody is authenticated.
//!
//! A stranger can cost a listener one socket and one handshake at a time: handshakes in progress, their
//! duration, and connections in all are bounded. What is beyond a bound waits in the kernel's queue of the
//! socket, which is bounded too. Who a peer is, and whether it may call anything, is the daemon's business.
//!
//! Invariant: a connection's place is freed when its `TlsConn` is dropped, and dropping `TlsIncoming` closes
//! the listener and ends every handshake in progress.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ServerConfig;
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::Stream;

/// How long to wait before accepting again when the system has no descriptor or memory left. A tenth of a
/// second is long enough not to spin and too short to be noticed by a peer that connects again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The bounds of one listener. Values of zero count as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AcceptLimits {
    /// How many connections may be open at once, handshakes included.
    pub connections_max: usize,
    /// How many handshakes may be in progress at once.
    pub handshakes_max: usize,
    /// How long one handshake may take.
    pub handshake_deadline: Duration,
}

impl Default for AcceptLimits {
    /// 8,192 connections: a pool of the largest size the design aims at, below the usual limit of descriptors
    /// of a service. 128 handshakes: at a third of a millisecond each they are 40 ms of one core. 10 seconds:
    /// a slow mobile link needs two.
    fn default() -> Self {
        Self { connections_max: 8192, handshakes_max: 128, handshake_deadline: Duration::from_secs(10) }
    }
}

/// Connections that have finished their handshake, as a stream that never ends and has no errors.
#[derive(Debug)]
pub struct TlsIncoming {
    local_address: SocketAddr,
    ready: mpsc::Receiver<TlsConn>,
    accepting: JoinHandle<()>,
}

/// One accepted connection: a byte stream that knows its peer.
#[derive(Debug)]
pub struct TlsConn {
    stream: TlsStream<TcpStream>,
    peer_address: SocketAddr,
    /// The connection's place among `connections_max`.
    _place: OwnedSemaphorePermit,
}

impl TlsIncoming {
    /// Accepts on `listener` in a task of its own until it is dropped. To be called inside a tokio runtime.
    ///
    /// # Errors
    /// When the listener's own address cannot be read.
    pub fn new(listener: TcpListener, config: Arc<ServerConfig>, limits: AcceptLimits) -> io::Result<Self> {
        let local_address = listener.local_addr()?;
        // Finished handshakes keep their place among `handshakes_max` until the daemon takes them, so the
        // channel needs no room of its own beyond the least.
        let (sender, ready) = mpsc::channel(1);
        let acceptor = TlsAcceptor::from(config);
        let accepting = tokio::spawn(accept_all(listener, acceptor, limits, sender));
        Ok(Self { local_address, ready, accepting })
    }

    /// The address on which it listens, with the port that the system chose if none was asked for.
    #[must_use]
    pub fn local_address(&self) -> SocketAddr {
        self.local_address
    }

    /// The next connection. `None` only if the accepting task was ended with its runtime.
    pub async fn accept(&mut self) -> Option<TlsConn> {
        self.ready.recv().await
    }
}

impl Stream for TlsIncoming {
    type Item = io::Result<TlsConn>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.ready.poll_recv(context).map(|ready| ready.map(Ok))
    }
}

impl Drop for TlsIncoming {
    fn drop(&mut self) {
        // The task owns the listener and the handshakes; ending it drops them all.
        self.accepting.abort();
    }
}

async fn accept_all(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    limits: AcceptLimits,
    ready: mpsc::Sender<TlsConn>,
) {
    let semaphore = |places: usize| Arc::new(Semaphore::new(places.clamp(1, Semaphore::MAX_PERMITS)));
    let (connections, handshakes) = (semaphore(limits.connections_max), semaphore(limits.handshakes_max));
    let mut in_progress = JoinSet::new();
    loop {
        let place = Arc::clone(&connections).acquire_owned().await;
        let turn = Arc::clone(&handshakes).acquire_owned().await;
        // Neither semaphore is ever closed.
        let (Ok(place), Ok(turn)) = (place, turn) else { return };
        let (stream, peer_address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) if is_about_the_peer(&error) => continue,
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections; trying again");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // What has ended is collected here, so the set never holds more than the handshakes in progress.
        while in_progress.try_join_next().is_some() {}
        let (acceptor, ready) = (acceptor.clone(), ready.clone());
        in_progress.spawn(async move {
            match handshake(acceptor, stream, limits.handshake_deadline).await {
                Ok(stream) => {
                    // An error means that the listener is being dropped, and the connection with it.
                    let _closed = ready.send(TlsConn { stream, peer_address, _place: place }).await;
                }
                Err(error) => tracing::debug!(%peer_address, %error, "TLS handshake failed"),
            }
            drop(turn);
        });
    }
}

async fn handshake(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    deadline: Duration,
) -> io::Result<TlsStream<TcpStream>> {
    stream.set_nodelay(true)?;
    tokio::time::timeout(deadline, acceptor.accept(stream)).await.unwrap_or_else(|_elapsed| {
        Err(io::Error::new(io::ErrorKind::TimedOut, "the handshake took longer than allowed"))
    })
}

/// Whether accepting failed because of one peer that went away, which says nothing about the listener.
fn is_about_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

impl TlsConn {
    /// Where the peer is.
    #[must_use]
    pub fn peer_address(&self) -> SocketAddr {
        self.peer_address
    }

    /// The certificate that the peer showed, verified against the listener's CAs; `None` when it showed none.
    #[must_use]
    pub fn peer_certificate(&self) -> Option<&CertificateDer<'static>> {
        self.stream.get_ref().1.peer_certificates().and_then(|chain| chain.first())
    }
}

impl AsyncRead for TlsConn {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for TlsConn {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

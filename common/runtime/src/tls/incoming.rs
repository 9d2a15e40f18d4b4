//! Accepting TLS connections within limits that hold before anybody is authenticated.
//!
//! A stranger costs a listener one socket and little memory until its first byte comes; then a handshake. How many there
//! are, in all and of one source, how long they may take and who makes room for whom is in `places`. What is beyond
//! waits in the kernel's queue of the socket, which is bounded too. Who a peer is, and whether it may call anything, is the
//! daemon's business; it vouches for those that it knows. A peer whose certificate was verified needs no other word.
//!
//! Invariant: a connection's place is freed when its `TlsConn` is dropped, and dropping `TlsIncoming` closes
//! the listener and ends every handshake in progress.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustls::ServerConfig;
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::Stream;

use super::places::{AcceptLimits, Place, Places, Room, Standing};

/// How long to wait before accepting again when the system has no descriptor or memory left. A tenth of a
/// second is long enough not to spin and too short to be noticed by a peer that connects again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long it takes until a connection that was given up has given its descriptor back.
const CLOSE_PAUSE: Duration = Duration::from_millis(2);

/// How often an operator is told that the system gives no more descriptors.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// How often connections are looked at whose time may be over.
const SWEEP_EVERY: Duration = Duration::from_millis(250);

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
    place: Place,
    /// What a stranger may still send.
    bytes_left: u64,
}

impl TlsIncoming {
    /// Accepts on `listener` in a task of its own until it is dropped. To be called inside a tokio runtime.
    ///
    /// # Errors
    /// When the listener's own address cannot be read.
    pub fn new(listener: TcpListener, config: Arc<ServerConfig>, limits: AcceptLimits) -> io::Result<Self> {
        let local_address = listener.local_addr()?;
        // Finished handshakes keep their place among the strangers until the daemon takes them, so the
        // channel needs no room of its own beyond the least.
        let (sender, ready) = mpsc::channel(1);
        let door = Door { acceptor: TlsAcceptor::from(config), limits, ready: sender };
        let accepting = tokio::spawn(accept_all(listener, door));
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

/// What every connection of a listener goes through.
#[derive(Clone)]
struct Door {
    acceptor: TlsAcceptor,
    limits: AcceptLimits,
    ready: mpsc::Sender<TlsConn>,
}

async fn accept_all(listener: TcpListener, door: Door) {
    let places = Places::new(door.limits);
    let mut in_progress = JoinSet::new();
    let mut complained: Option<Instant> = None;
    let mut sweep = tokio::time::interval(SWEEP_EVERY);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // What has ended is collected here, so the set never holds more than the handshakes in progress.
        while in_progress.try_join_next().is_some() {}
        let room = places.room(Instant::now());
        let wait = if let Room::In(wait) = room { wait } else { Duration::MAX };
        let accepted = tokio::select! {
            accepted = listener.accept(), if room == Room::Yes => accepted,
            () = places.freed(), if room != Room::Yes => continue,
            () = tokio::time::sleep(wait), if room != Room::Yes => continue,
            _tick = sweep.tick() => {
                places.sweep(Instant::now());
                continue;
            }
        };
        let (stream, peer_address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_about_the_peer(&error) => continue,
            Err(error) => {
                if complained.is_none_or(|last| last.elapsed() > COMPLAIN_EVERY) {
                    complained = Some(Instant::now());
                    tracing::warn!(%error, "cannot accept connections, and will go on trying: is the limit of open files (ulimit -n) below the limit of connections?");
                }
                let is_given_up = places.give_up_one(Instant::now());
                tokio::time::sleep(if is_given_up { CLOSE_PAUSE } else { ACCEPT_PAUSE }).await;
                continue;
            }
        };
        let Some(place) = places.take(peer_address, Instant::now()) else {
            tracing::debug!(%peer_address, "a source has its share of connections and more");
            continue;
        };
        in_progress.spawn(door.clone().open(stream, peer_address, place));
    }
}

impl Door {
    /// Takes one connection through its handshake and hands it over.
    async fn open(self, stream: TcpStream, peer_address: SocketAddr, place: Place) {
        let standing = place.0.clone();
        let opened = tokio::select! {
            // Boxed, because most of the connections of a flood never come this far.
            opened = Box::pin(handshake(&self.acceptor, stream, &standing)) => opened,
            () = standing.closed() => return,
        };
        match opened {
            Ok(stream) => {
                let bytes_left = self.limits.stranger_bytes_max;
                let connection = TlsConn { stream, peer_address, place, bytes_left };
                if connection.peer_certificate().is_some() {
                    standing.vouch();
                }
                // An error means that the listener is being dropped, and the connection with it.
                let _closed = self.ready.send(connection).await;
            }
            Err(error) => tracing::debug!(%peer_address, %error, "TLS handshake failed"),
        }
    }
}

async fn handshake(
    acceptor: &TlsAcceptor,
    stream: TcpStream,
    standing: &Standing,
) -> io::Result<TlsStream<TcpStream>> {
    stream.set_nodelay(true)?;
    // Until there is something to read nothing is set up for it. Looked at, because a socket may be called readable that is not.
    if stream.peek(&mut [0]).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    standing.speaks();
    let stream = Box::pin(acceptor.accept(stream)).await?;
    standing.is_up();
    Ok(stream)
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

    /// What may be said of the connection.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.place.0.clone()
    }

    /// An error once the connection is to be closed.
    fn check_open(&self, context: &Context<'_>) -> io::Result<()> {
        match self.place.0.poll_closed(context) {
            Poll::Ready(()) => {
                let words = "the connection had no call for too long, or made room for others";
                Err(io::Error::new(io::ErrorKind::ConnectionAborted, words))
            }
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for TlsConn {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check_open(context)?;
        let standing = &self.place.0;
        let is_stranger = !standing.is_vouched();
        if standing.is_dismissed() || (is_stranger && self.bytes_left == 0) {
            // The task is woken when somebody vouches for the peer, or when its time is over.
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(context, buffer));
        if is_stranger {
            let bytes = u64::try_from(buffer.filled().len() - before).unwrap_or(u64::MAX);
            self.bytes_left = self.bytes_left.saturating_sub(bytes);
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for TlsConn {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check_open(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_open(context)?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_open(context)?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check_open(context)?;
        Pin::new(&mut self.stream).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

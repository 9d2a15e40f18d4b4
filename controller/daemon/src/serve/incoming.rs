//! Connections for tonic: what `muster_runtime::tls` has accepted, with its peer told to every request.
//!
//! The bounds on handshakes and connections are kept there; this is the bridge between its stream and tonic's traits.
//! It decides nothing about anybody.

use super::error::ServeError;
use crate::peer::Peer;
use futures_util::{Stream, StreamExt};
use muster_runtime::tls::{AcceptLimits, ServerConfig, TlsConn, TlsIncoming};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket};
use tonic::transport::server::Connected;

/// Connections that the system keeps for a listener until they are accepted: as many as it keeps at most on most machines.
/// One that comes when these are full is tried again by its own side after a second, and then after three.
const BACKLOG: u32 = 4096;

/// A listener that has its port.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
}

impl Bound {
    /// Takes the port; port 0 takes any.
    ///
    /// # Errors
    /// [`ServeError::Bind`] names the address.
    pub async fn to(address: SocketAddr) -> Result<Self, ServeError> {
        let bind = || {
            let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
            // A controller that starts again does not wait for the last packets of the one before it.
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            let listener = socket.listen(BACKLOG)?;
            let address = listener.local_addr()?;
            Ok(Self { listener, address })
        };
        bind().map_err(|cause| ServeError::Bind { address, cause })
    }

    /// The address with the real port.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts until the stream is dropped.
    pub(super) fn connections(
        self,
        tls: Arc<ServerConfig>,
        limits: AcceptLimits,
    ) -> Result<impl Stream<Item = io::Result<Connection>>, ServeError> {
        let address = self.address;
        let incoming = TlsIncoming::new(self.listener, tls, limits);
        let incoming = incoming.map_err(|cause| ServeError::Bind { address, cause })?;
        Ok(incoming.map(|connection| connection.map(Connection)))
    }
}

/// A connection after its handshake.
#[derive(Debug)]
pub(super) struct Connection(TlsConn);

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        Peer {
            address: self.0.peer_address(),
            certificate: self.0.peer_certificate().cloned(),
            standing: self.0.standing(),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, buffer)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

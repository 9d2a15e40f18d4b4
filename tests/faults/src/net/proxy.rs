//! A peer that stalls: a proxy in front of the controller that goes on accepting and stops forwarding.
//!
//! Both sides keep connections that are open and well; what they send fills buffers until nothing more goes in. No partition
//! looks like this: the kernels answer for each other, only nobody reads.
//!
//! Invariant: bytes of a connection arrive unchanged and in order, or not at all. Threads end with their connections, and all
//! connections with the proxy.

use anyhow::Context;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Connections at one time: agents and clients of one test have a handful each.
const CONNECTIONS_MAX: usize = 256;

/// How long a pump sits in a read before it looks whether it should go on.
const LOOK: Duration = Duration::from_millis(20);

/// What a proxy does with what it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Hands it on.
    Pass,
    /// Reads nothing, and takes connections all the same.
    Stall,
    /// Reads it and throws it away: a peer that takes everything and answers nothing.
    Swallow,
    /// Ends all connections, and each new one at once.
    Close,
}

#[derive(Debug)]
struct Shared {
    flow: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    flow: Flow,
    /// Grows whenever connections that are there must end: one that was swallowed from cannot go on.
    era: u64,
    connections: usize,
    ended: bool,
}

/// A proxy on a free port of the loopback.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Starts one in front of `target`. It listens on the address given, at a free port.
    ///
    /// # Errors
    /// When there is no port.
    pub fn start(listen: &str, target: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((listen, 0)).with_context(|| format!("no port on {listen}"))?;
        let address = listener.local_addr()?;
        let state = State { flow: Flow::Pass, era: 0, connections: 0, ended: false };
        let shared = Arc::new(Shared { flow: Mutex::new(state), changed: Condvar::new() });
        let theirs = Arc::clone(&shared);
        std::thread::spawn(move || accept(&listener, target, &theirs));
        Ok(Self { address, shared })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Has it do something else from now on, on all connections. What was swallowed is missed: those connections end
    /// when it passes again.
    pub fn set(&self, flow: Flow) {
        let mut state = self.shared.state();
        if flow == Flow::Close || (state.flow == Flow::Swallow && flow != Flow::Swallow) {
            state.era += 1;
        }
        state.flow = flow;
        self.shared.changed.notify_all();
    }

    /// How many connections are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.state().connections
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        {
            let mut state = self.shared.state();
            state.ended = true;
            self.shared.changed.notify_all();
        }
        // It wakes the thread that accepts.
        let _ = TcpStream::connect_timeout(&self.address, LOOK);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.flow.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether to forward or to throw away, once it is known; `None` when a connection of `era` must end.
    fn verdict(&self, era: u64) -> Option<Flow> {
        let mut state = self.state();
        loop {
            if state.ended || state.era != era {
                return None;
            }
            match state.flow {
                Flow::Pass | Flow::Swallow => return Some(state.flow),
                Flow::Close => return None,
                Flow::Stall => {
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }
}

fn accept(listener: &TcpListener, target: SocketAddr, shared: &Arc<Shared>) {
    for near in listener.incoming() {
        let Ok(near) = near else { continue };
        let era = {
            let mut state = shared.state();
            if state.ended {
                return;
            }
            if state.flow == Flow::Close || state.connections >= CONNECTIONS_MAX {
                continue;
            }
            state.connections += 1;
            state.era
        };
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            let _ended = serve(&near, target, &shared, era);
            shared.state().connections -= 1;
        });
    }
}

/// One connection to its end: this thread pumps one way, another one the other way.
fn serve(near: &TcpStream, target: SocketAddr, shared: &Shared, era: u64) -> std::io::Result<()> {
    let far = TcpStream::connect(target)?;
    for side in [near, &far] {
        side.set_read_timeout(Some(LOOK))?;
        side.set_write_timeout(Some(LOOK))?;
        side.set_nodelay(true)?;
    }
    std::thread::scope(|scope| {
        scope.spawn(|| pump(near, &far, shared, era));
        pump(&far, near, shared, era);
    });
    Ok(())
}

fn pump(from: &TcpStream, to: &TcpStream, shared: &Shared, era: u64) {
    let mut buffer = vec![0; 16 * 1024];
    while shared.verdict(era).is_some() {
        let count = match { from }.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if is_pause(error.kind()) => continue,
            Err(_) => break,
        };
        // What came while it sat in the read meets what is wanted now.
        let Some(flow) = shared.verdict(era) else { break };
        if flow == Flow::Pass && !hand_on(&buffer[..count], to, shared, era) {
            break;
        }
    }
    // Both halves, so that the other pump ends too.
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

/// Writes all of it, however long the other side takes; false when the connection is over.
fn hand_on(mut bytes: &[u8], mut to: &TcpStream, shared: &Shared, era: u64) -> bool {
    while !bytes.is_empty() {
        match to.write(bytes) {
            Ok(0) => return false,
            Ok(count) => bytes = &bytes[count..],
            Err(error) if is_pause(error.kind()) => {
                let state = shared.state();
                if state.ended || state.era != era {
                    return false;
                }
            }
            Err(_) => return false,
        }
    }
    true
}

fn is_pause(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::ensure;

    #[test]
    fn what_was_stalled_arrives_and_what_was_swallowed_ends_the_connection() -> anyhow::Result<()> {
        let server = TcpListener::bind("127.0.0.1:0")?;
        let proxy = Proxy::start("127.0.0.1", server.local_addr()?)?;
        let mut client = TcpStream::connect(proxy.address())?;
        let (mut peer, _) = server.accept()?;
        let mut word = [0; 4];
        client.write_all(b"pass")?;
        peer.read_exact(&mut word)?;
        ensure!(&word == b"pass");
        proxy.set(Flow::Stall);
        client.write_all(b"wait")?;
        peer.set_read_timeout(Some(Duration::from_millis(200)))?;
        ensure!(peer.read(&mut word).is_err_and(|error| is_pause(error.kind())), "it is held back");
        peer.set_read_timeout(None)?;
        proxy.set(Flow::Pass);
        peer.read_exact(&mut word)?;
        ensure!(&word == b"wait");
        proxy.set(Flow::Swallow);
        client.write_all(b"lost")?;
        proxy.set(Flow::Pass);
        ensure!(peer.read(&mut word)? == 0, "nothing comes after a gap");
        ensure!(client.read(&mut word)? == 0);
        Ok(())
    }
}

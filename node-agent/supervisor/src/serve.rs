//! The event loop: one thread, one place to wait, no wakeup without an event or a deadline.
//!
//! Each round takes what became ready, does what is due, then sends what came of it. Launch reports are taken
//! before ended children, so that a start is answered before its end is told.

use std::collections::BTreeMap;
use std::os::unix::net::UnixListener;
use std::rc::Rc;

use nix::errno::Errno;
use nix::libc;
use nix::sys::epoll::EpollFlags;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::geteuid;

use muster_supervisor::{Message, Reply, Request};

use crate::client::{Client, Closed};
use crate::clock::monotonic_us;
use crate::custodian::{Custodian, Outgoing};
use crate::log;
use crate::watch::{Ready, Token, Watch};

/// Most connections at a time: an agent, its predecessor that is about to go, and a few people with tools.
const CLIENTS_MAX: usize = 16;
/// Requests of one connection that are carried out before others get their turn.
const REQUESTS_IN_A_ROW: usize = 32;
/// Rounds of requests that are taken before the lease is looked at when it has rung: after this process was stopped, or
/// waited for a disk, a renewal stands among what it has not read.
const ROUNDS_BEFORE_LEASE: usize = 64;

/// The supervisor's outside.
pub(crate) struct Server {
    watch: Rc<Watch>,
    listener: UnixListener,
    signals: SignalFd,
    clients: BTreeMap<u64, Client>,
    last_client: u64,
    custodian: Custodian,
}

/// Blocks the signals that the loop reads, and nothing else; to be called before any child exists.
pub(crate) fn take_signals() -> Result<SignalFd, Errno> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        signals.add(signal);
    }
    signals.thread_set_mask()?;
    SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}

impl Server {
    pub(crate) fn new(
        watch: Rc<Watch>,
        listener: UnixListener,
        signals: SignalFd,
        custodian: Custodian,
    ) -> Result<Self, Errno> {
        watch.add(&listener, Token::Listener, EpollFlags::EPOLLIN)?;
        watch.add(&signals, Token::Signals, EpollFlags::EPOLLIN)?;
        Ok(Self { watch, listener, signals, clients: BTreeMap::new(), last_client: 0, custodian })
    }

    /// Serves until it is told to stop.
    pub(crate) fn run(mut self) -> Result<(), Errno> {
        // Children may have ended between an exec of this process over itself and the signal mask.
        self.custodian.reap();
        let mut unread = false;
        loop {
            let now = monotonic_us();
            let deadline = self.custodian.next_look().map(|at| at.saturating_sub(now));
            let timeout = if unread { Some(0) } else { deadline };
            let ready = self.watch.wait(timeout)?;
            let lease_rang = self.take(&ready);
            self.custodian.look(monotonic_us());
            unread = self.take_requests();
            if lease_rang {
                for _ in 0..ROUNDS_BEFORE_LEASE {
                    if !unread {
                        break;
                    }
                    unread = self.take_requests();
                }
                self.custodian.lease_ready();
            }
            let stop = self.custodian.may_exit();
            self.send();
            if stop {
                self.custodian.close();
                return Ok(());
            }
        }
    }

    /// Takes what became ready; `true` if the lease has rung.
    fn take(&mut self, ready: &[Ready]) -> bool {
        let (mut signalled, mut lease_rang) = (false, false);
        for Ready { token, flags } in ready.iter().copied() {
            match token {
                Token::Listener => self.accept(),
                Token::Signals => signalled = true,
                Token::Client(number) => self.client_ready(number, flags),
                Token::Launch(number) => self.custodian.launch_ready(number),
                Token::Process(number) => self.custodian.process_ready(number, flags),
                Token::Memory(number) => self.custodian.memory_ready(number),
                Token::Lease => lease_rang = true,
            }
        }
        if signalled {
            self.take_signals();
        }
        lease_rang
    }

    fn take_signals(&mut self) {
        while let Ok(Some(info)) = self.signals.read_signal() {
            // SIGCHLD is merged with others of its kind, so all ended children are reaped below; SIGHUP means
            // nothing here.
            if let Ok(libc::SIGTERM | libc::SIGINT) = i32::try_from(info.ssi_signo) {
                log::info("told to stop by a signal; tasks run on", &[("from_pid", &info.ssi_pid)]);
                self.custodian.stop(None, false);
            }
        }
        self.custodian.reap();
    }

    fn accept(&mut self) {
        // One at a time: the others keep the listener readable.
        let Ok((stream, _)) = self.listener.accept() else { return };
        let peer = getsockopt(&stream, PeerCredentials).map(|peer| peer.uid());
        let allowed = |uid: libc::uid_t| uid == 0 || uid == geteuid().as_raw();
        if !peer.is_ok_and(allowed) {
            log::warn(
                "a connection of another user was refused",
                &[("uid", &peer.unwrap_or(libc::uid_t::MAX))],
            );
            return;
        }
        if self.clients.len() >= CLIENTS_MAX {
            log::warn("a connection was refused: too many are open", &[("limit", &CLIENTS_MAX)]);
            return;
        }
        let Ok(client) = Client::new(stream) else { return };
        self.last_client += 1;
        let number = self.last_client;
        if self.watch.add(client.stream(), Token::Client(number), client.interest()).is_ok() {
            self.clients.insert(number, client);
        }
    }

    fn client_ready(&mut self, number: u64, flags: EpollFlags) {
        let Some(client) = self.clients.get_mut(&number) else { return };
        let readable = EpollFlags::EPOLLIN | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR;
        if flags.intersects(readable)
            && !client.backlog
            && let Err(closed) = client.read()
        {
            self.close(number, &closed);
        }
    }

    /// Carries out what connections ask; `true` if one has more to ask right away.
    fn take_requests(&mut self) -> bool {
        let mut unread = false;
        let numbers: Vec<_> = self.clients.keys().copied().collect();
        for number in numbers {
            match self.take_requests_of(number) {
                Ok(more) => unread |= more,
                Err(closed) => self.close(number, &closed),
            }
        }
        unread
    }

    fn take_requests_of(&mut self, number: u64) -> Result<bool, Closed> {
        for _ in 0..REQUESTS_IN_A_ROW {
            let Some(client) = self.clients.get_mut(&number) else { return Ok(false) };
            client.backlog = false;
            if !client.is_open() {
                // Its turn comes when it has read its answers.
                return Ok(false);
            }
            let Some(asked) = client.next_request(self.custodian.boot_id())? else { return Ok(false) };
            match asked.request {
                Ok(Request::Subscribe) => {
                    client.send(&Message::Reply { id: asked.id, result: Ok(Reply::Subscribed) })?;
                    for record in self.custodian.unacknowledged() {
                        client.send(&Message::Exited(record.clone()))?;
                    }
                    // Events in the outbox are among those records; they would come twice, which is harmless.
                    client.subscribed = true;
                }
                Ok(request) => self.custodian.request(number, asked.id, request),
                Err(refusal) => client.send(&Message::Reply { id: asked.id, result: Err(refusal) })?,
            }
        }
        if let Some(client) = self.clients.get_mut(&number) {
            client.backlog = true;
        }
        Ok(true)
    }

    /// Hands out the outbox and writes as much as the peers take.
    fn send(&mut self) {
        let mut broken = Vec::new();
        for outgoing in self.custodian.take_outbox() {
            match outgoing {
                Outgoing::To(number, message) => {
                    if let Some(Err(closed)) =
                        self.clients.get_mut(&number).map(|client| client.send(&message))
                    {
                        broken.push((number, closed));
                    }
                }
                Outgoing::Event(record) => {
                    let message = Message::Exited(record);
                    for (number, client) in self.clients.iter_mut().filter(|(_, client)| client.subscribed) {
                        if let Err(closed) = client.send(&message) {
                            broken.push((*number, closed));
                        }
                    }
                }
            }
        }
        for (number, client) in &mut self.clients {
            let before = client.watched;
            match client.write() {
                Ok(()) => {}
                Err(closed) => {
                    broken.push((*number, closed));
                    continue;
                }
            }
            let interest = client.interest();
            if interest != before {
                client.watched = interest;
                if let Err(errno) = self.watch.change(client.stream(), Token::Client(*number), interest) {
                    log::warn("cannot watch a connection", &[("error", &errno)]);
                }
            }
        }
        for (number, closed) in broken {
            self.close(number, &closed);
        }
    }

    fn close(&mut self, number: u64, closed: &Closed) {
        let Some(client) = self.clients.remove(&number) else { return };
        self.watch.remove(client.stream());
        if let Closed::Rule(rule) = closed {
            log::warn("a connection was closed", &[("because", rule)]);
        }
    }
}

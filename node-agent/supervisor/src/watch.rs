//! The one place to wait: epoll with tokens that say what became ready.
//!
//! A descriptor is taken out before it is closed. Closing alone would not do: a child that has not executed
//! yet holds a copy, and epoll would go on reporting the open file behind it.

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

/// Most events that are taken at a time; more simply come with the next call.
const EVENTS_MAX: usize = 256;
/// The bits of a token that hold its number.
const NUMBER_BITS: u32 = 56;

/// What became ready. Numbers are never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token {
    /// Somebody connects.
    Listener,
    /// A signal arrived.
    Signals,
    /// A connection, by its number.
    Client(u64),
    /// The report pipe of the attempt of this number.
    Launch(u64),
    /// The process of an attempt that is not our child.
    Process(u64),
    /// An attempt is short of memory.
    Memory(u64),
    /// The node's lease has ended.
    Lease,
}

impl Token {
    fn pack(self) -> u64 {
        let (kind, number) = match self {
            Self::Listener => (0, 0),
            Self::Signals => (1, 0),
            Self::Client(number) => (2, number),
            Self::Launch(number) => (3, number),
            Self::Process(number) => (4, number),
            Self::Memory(number) => (5, number),
            Self::Lease => (6, 0),
        };
        (kind << NUMBER_BITS) | number
    }

    fn unpack(packed: u64) -> Option<Self> {
        let number = packed & ((1 << NUMBER_BITS) - 1);
        match packed >> NUMBER_BITS {
            0 => Some(Self::Listener),
            1 => Some(Self::Signals),
            2 => Some(Self::Client(number)),
            3 => Some(Self::Launch(number)),
            4 => Some(Self::Process(number)),
            5 => Some(Self::Memory(number)),
            6 => Some(Self::Lease),
            _ => None,
        }
    }
}

/// Something that became ready, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ready {
    pub(crate) token: Token,
    pub(crate) flags: EpollFlags,
}

/// The epoll instance.
#[derive(Debug)]
pub(crate) struct Watch(Epoll);

impl Watch {
    pub(crate) fn new() -> Result<Self, Errno> {
        Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map(Self)
    }

    /// Begins to watch a descriptor.
    pub(crate) fn add(&self, fd: impl AsFd, token: Token, flags: EpollFlags) -> Result<(), Errno> {
        self.0.add(fd, EpollEvent::new(flags, token.pack()))
    }

    /// Changes what is watched for.
    pub(crate) fn change(&self, fd: impl AsFd, token: Token, flags: EpollFlags) -> Result<(), Errno> {
        self.0.modify(fd, &mut EpollEvent::new(flags, token.pack()))
    }

    /// Ends watching a descriptor that is about to be closed.
    pub(crate) fn remove(&self, fd: impl AsFd) {
        // It fails only for a descriptor that is not watched.
        let _ = self.0.delete(fd);
    }

    /// Waits until something is ready or the time (in microseconds, `None` for ever) is over.
    pub(crate) fn wait(&self, timeout_us: Option<u64>) -> Result<Vec<Ready>, Errno> {
        let mut events = [EpollEvent::empty(); EVENTS_MAX];
        let timeout = match timeout_us {
            None => EpollTimeout::NONE,
            // Rounded up, so as not to wake before the deadline; a very long wait is cut and begun again.
            Some(micros) => {
                let millis = i32::try_from(micros.div_ceil(1_000)).unwrap_or(i32::MAX);
                EpollTimeout::try_from(millis).unwrap_or(EpollTimeout::MAX)
            }
        };
        let count = match self.0.wait(&mut events, timeout) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(errno) => return Err(errno),
        };
        let ready = events[..count]
            .iter()
            .filter_map(|event| Some(Ready { token: Token::unpack(event.data())?, flags: event.events() }));
        Ok(ready.collect())
    }
}

//! What a keeper gives back of the memory that it was cloned with, and the name under which people see it.
//!
//! A clone shares the supervisor's pages until one side writes: each keeper would in time hold a copy of its
//! own of what the supervisor's heap once was. So it lets go of the heap and of the stack below its own
//! frame. Where they are is read once, at the supervisor's start.
//!
//! Invariant: a keeper that has let go allocates nothing, and reads nothing but its own frame.
#![allow(unsafe_code)]

use std::fs;

use nix::errno::Errno;
use nix::libc;

/// Bytes of the stack below the keeper's own frame that it keeps: far more than its loop uses.
const STACK_KEPT_BYTES: usize = 32 << 10;
/// Bytes of the stack below those which are let go of: more than the supervisor ever uses.
const STACK_DROPPED_BYTES: usize = 1 << 20;

/// Fields of /proc/self/stat behind the name in brackets, by their place there.
const START_BRK: usize = 44;
const ARG_START: usize = 45;
const ARG_END: usize = 46;

/// Where things are in this process's memory, and so in each clone of it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Layout {
    /// The begin of the heap; 0 if it must not be let go of.
    heap: usize,
    /// The words of the command line, as `ps` shows them.
    words: (usize, usize),
}

impl Layout {
    /// Reads it; where /proc does not tell, nothing is let go of.
    pub(crate) fn of_this_process() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let fields: Vec<&str> =
            stat.rsplit_once(") ").map_or("", |(_, tail)| tail).split_ascii_whitespace().collect();
        let address =
            |field: usize| fields.get(field).and_then(|text| text.parse::<usize>().ok()).unwrap_or(0);
        let heap = address(START_BRK);
        // A statically linked C library keeps its thread's own memory at the begin of the heap.
        // SAFETY: it gives the address of this thread's errno.
        let errno = unsafe { libc::__errno_location() } as usize;
        let holds_errno = (heap..heap_end()).contains(&errno);
        let words = (address(ARG_START), address(ARG_END));
        let words = if words.0 < words.1 { words } else { (0, 0) };
        Self { heap: if holds_errno { 0 } else { heap }, words }
    }

    /// Shows a text in place of the command line.
    pub(crate) fn retitle(self, text: &[u8]) {
        let (start, end) = self.words;
        let bytes = end - start;
        if bytes == 0 {
            return;
        }
        let shown = text.len().min(bytes - 1);
        // SAFETY: the kernel named this range of our stack as the words of the command line; they are writable,
        // and nobody here reads them any more: the arguments were parsed into memory of their own. The text
        // lies elsewhere, in what was allocated since.
        unsafe {
            let words = std::ptr::with_exposed_provenance_mut::<u8>(start);
            words.write_bytes(0, bytes);
            words.copy_from_nonoverlapping(text.as_ptr(), shown);
        }
    }

    /// Lets go of the heap and of the stack below the caller. Nothing that was allocated may be used
    /// afterwards.
    pub(crate) fn shed(self) {
        let page = 4096;
        if self.heap > 0 {
            let start = self.heap.next_multiple_of(page);
            drop_pages(start, heap_end().saturating_sub(start));
        }
        let here = std::ptr::from_ref(&page).expose_provenance();
        let end = (here - STACK_KEPT_BYTES) / page * page;
        drop_pages(end - STACK_DROPPED_BYTES, STACK_DROPPED_BYTES);
    }
}

/// The present end of the heap.
fn heap_end() -> usize {
    // SAFETY: asked for the address 0, brk(2) changes nothing and gives the present end.
    let end = unsafe { libc::syscall(libc::SYS_brk, 0) };
    usize::try_from(end).unwrap_or(0)
}

fn drop_pages(start: usize, bytes: usize) {
    // SAFETY: these pages hold what the caller of `shed` promised not to use again: the heap, and stack below
    // the frames in use. Read again they are zeroes, never another's memory.
    let result =
        unsafe { libc::madvise(std::ptr::with_exposed_provenance_mut(start), bytes, libc::MADV_DONTNEED) };
    // Parts that are not mapped are passed over; whatever else it says, only memory is lost.
    let _ = Errno::result(result);
}

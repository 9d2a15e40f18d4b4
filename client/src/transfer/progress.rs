//! How a transfer tells how far it is.
//!
//! Goes in: nothing but numbers of bytes. What is moved and what is skipped add up to what was expected, unless the
//! transfer fails; no result depends on any of it.

/// What a transfer tells of its progress. Methods are called often and from several tasks: they must be quick.
pub trait Progress: Send + Sync {
    /// So many more bytes are to be moved.
    fn expect(&self, bytes: u64);
    /// So many bytes were moved.
    fn moved(&self, bytes: u64);
    /// So many bytes need not be moved: they are there already.
    fn skipped(&self, bytes: u64);
}

/// Progress that nobody looks at.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn expect(&self, _bytes: u64) {}
    fn moved(&self, _bytes: u64) {}
    fn skipped(&self, _bytes: u64) {}
}

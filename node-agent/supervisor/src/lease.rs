//! Until when tasks may run on this node: the document `muster-lease`, which outlives the supervisor.
//!
//! The agent renews it for as long as the controller grants it; when it passes, every task is ended, so that
//! the controller may place it elsewhere although nobody here answers. The file is replaced with each
//! renewal and read when a supervisor starts. What is done at its end is in the binary half (`expiry.rs`).
//!
//! Invariant: a lease means nothing under another boot than its own, for its clock began anew.

use crate::document::{DecodeError, Reader, Writer, required};

/// Kind of the document.
pub const LEASE_KIND: &str = "muster-lease";
/// Newest version of the document that this build writes and reads.
pub const LEASE_VERSION: u32 = 1;

/// Until when tasks may run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The boot of the kernel whose clock is meant.
    pub boot_id: String,
    /// In microseconds of `CLOCK_BOOTTIME`: since that boot, time spent suspended included. `None` if no lease
    /// is in force and nothing is ended for want of one.
    pub until_us: Option<u64>,
}

impl Lease {
    /// The document.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new(LEASE_KIND, LEASE_VERSION);
        writer.text("boot_id", &self.boot_id).optional("until_us", self.until_us);
        writer.finish()
    }

    /// Reads a lease from a document that is nothing else.
    ///
    /// # Errors
    /// [`DecodeError`] with the field that is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::of_kind(bytes, LEASE_KIND, LEASE_VERSION)?;
        let (mut boot_id, mut until_us) = (None, None);
        while let Some(field) = reader.next_field()? {
            match field.name {
                "boot_id" => boot_id = Some(field.text()?.to_owned()),
                "until_us" => until_us = Some(field.number()?),
                _ => field.skip()?,
            }
        }
        reader.close()?;
        Ok(Self { boot_id: required(boot_id, LEASE_KIND, "boot_id")?, until_us })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_comes_back_equal_with_and_without_an_end() {
        for until_us in [None, Some(0), Some(u64::MAX)] {
            let lease = Lease { boot_id: "b00t".into(), until_us };
            assert_eq!(Lease::decode(&lease.encode()), Ok(lease));
        }
    }

    #[test]
    fn a_lease_that_was_cut_short_is_not_taken_for_one_without_an_end() {
        let bytes = Lease { boot_id: "b00t".into(), until_us: Some(5) }.encode();
        for length in 0..bytes.len() {
            assert_eq!(Lease::decode(&bytes[..length]), Err(DecodeError::Truncated), "{length} bytes");
        }
    }
}

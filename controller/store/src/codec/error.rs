//! Why stored bytes cannot be read.
//!
//! Each case names what was being read; a value that breaks a rule of the model is said by the cause, in the model's own
//! words. The codec does not know where the bytes lay: `sqlite::row` adds which row it was.

use std::error::Error;

/// Why stored bytes cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// A later version has written it.
    #[error(
        "the {what} is in format {found}, this version reads up to {known}: use the version that wrote it"
    )]
    Format {
        /// What is stored.
        what: &'static str,
        /// The format found.
        found: i64,
        /// The newest format that is known.
        known: u8,
    },
    /// The bytes are not a message.
    #[error("the bytes of the {what} are damaged")]
    Bytes {
        /// What is stored.
        what: &'static str,
        /// Why.
        #[source]
        cause: prost::DecodeError,
    },
    /// A value that breaks the model's rules.
    #[error("the stored {what} is not valid")]
    Invalid {
        /// What is stored.
        what: &'static str,
        /// Why.
        #[source]
        cause: Box<dyn Error + Send + Sync>,
    },
    /// A number that is no code of a closed list, or out of its range.
    #[error("the stored {what} has the value {found}, which this version does not know")]
    Code {
        /// What is stored.
        what: &'static str,
        /// The number.
        found: i64,
    },
    /// A part that must be there is not.
    #[error("the stored {what} is missing")]
    Missing {
        /// What is stored.
        what: &'static str,
    },
}

impl CodecError {
    /// A value that breaks the model's rules.
    pub(crate) fn invalid(what: &'static str) -> impl FnOnce(Box<dyn Error + Send + Sync>) -> Self {
        move |cause| Self::Invalid { what, cause }
    }
}

//! Why a member's values make no legal specification.
//!
//! Submission checks templates and values, so that these are rare: a value that is only too long or out of place together
//! with the text around it. The attempt of such a member fails with these words; the other members run.

use muster_model::PathError;
use muster_proto::placeholder::{CommandLineError, UnknownPlaceholder};

/// Why a member's values make no legal specification.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    /// The command line of the template cannot take values.
    #[error("the sweep's command line cannot be filled in: {cause}")]
    CommandLine {
        /// Why.
        #[source]
        cause: CommandLineError,
    },
    /// A text of the template has a placeholder that is no parameter.
    #[error("the sweep's {field} cannot be filled in: {cause}")]
    Unknown {
        /// Which text.
        field: &'static str,
        /// The placeholder.
        #[source]
        cause: UnknownPlaceholder,
    },
    /// A path that leaves its folder or is too long.
    #[error("with the values of this task the sweep's {field} is no path: {cause}")]
    Path {
        /// Which path.
        field: &'static str,
        /// Why.
        #[source]
        cause: PathError,
    },
    /// A text that is too long.
    #[error(
        "with the values of this task the sweep's {field} is {bytes} bytes long: at most {max} are allowed"
    )]
    TooLong {
        /// Which text.
        field: &'static str,
        /// How long it is.
        bytes: usize,
        /// The limit.
        max: usize,
    },
}

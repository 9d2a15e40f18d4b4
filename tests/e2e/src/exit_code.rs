//! The exit codes that `muster --help` promises to scripts, by name.
//!
//! They are written down here once more on purpose: a test must fail when the command line changes them. The harness
//! never takes them from the code under test.

/// The command line or the request is not valid.
pub const INVALID: i32 = 2;
/// What was named does not exist.
pub const NOT_FOUND: i32 = 3;
/// It exists already, has changed meanwhile, or its state does not allow this.
pub const CONFLICT: i32 = 4;
/// The account or its key is refused, or may not do this.
pub const DENIED: i32 = 5;
/// The controller, or a node, cannot be reached.
pub const UNREACHABLE: i32 = 6;
/// Some tasks failed, or some lines of a file were refused.
pub const PARTLY: i32 = 7;

/// `muster run`: Muster ended the command, or could not run it.
pub const RUN_ENDED: i32 = 120;
/// `muster run` itself failed.
pub const RUN_FAILED: i32 = 125;
/// `muster run`: Ctrl-C, twice.
pub const RUN_INTERRUPTED: i32 = 130;
/// `muster run`: nobody reads the output any more.
pub const RUN_UNREAD: i32 = 141;

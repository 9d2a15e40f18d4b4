//! How many files and sockets this process may have open.
//!
//! The system gives a process a soft limit of old, 1024 on most machines, for the sake of programs that cannot do with
//! more, and lets it go up to a hard one by itself. A daemon does so at its start. It holds no number of its own.

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the limit of open files to what the system allows this process, and answers it.
///
/// # Errors
/// What the system said.
pub fn raise_limit() -> Result<u64, Errno> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(getrlimit(Resource::RLIMIT_NOFILE)?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_what_the_system_allows() {
        let raised = raise_limit().unwrap();
        assert_eq!(raised, getrlimit(Resource::RLIMIT_NOFILE).unwrap().1);
        assert_eq!(raise_limit().unwrap(), raised);
    }
}

//! What the database says, as the store's errors.
//!
//! It tells a full disk and a damaged file from everything else, because an operator does something different about
//! each; it decides nothing about going on. Whatever the database said stays below as the cause. What is wrong with a
//! value that was read in order is `row`'s.

use crate::port::StoreError;
use rusqlite::ErrorCode;

/// Turns an error of the database into one of the store; `doing` says what was tried.
pub(super) fn fault(doing: &'static str) -> impl Fn(rusqlite::Error) -> StoreError {
    move |error| {
        let damaged = is_damage(&error);
        let full = error.sqlite_error_code() == Some(ErrorCode::DiskFull);
        let cause = Box::new(error);
        match (full, damaged) {
            (true, _) => StoreError::Full { doing, cause },
            (false, true) => StoreError::Damaged { doing, cause: Some(cause) },
            (false, false) => StoreError::Backend { doing, cause },
        }
    }
}

/// Whether a fault may come of a full disk although the database does not say so: it knows no quotas, and does not tell why
/// it could not make or extend the files beside the database. A failed fsync is not among them: what it lost is not known.
pub(super) fn may_be_want_of_room(error: &rusqlite::Error) -> bool {
    use rusqlite::ffi;
    let code = error.sqlite_extended_error_code();
    code.is_some_and(|code| {
        [
            ffi::SQLITE_IOERR_WRITE,
            ffi::SQLITE_IOERR_SHMOPEN,
            ffi::SQLITE_IOERR_SHMSIZE,
            ffi::SQLITE_IOERR_SHMMAP,
            ffi::SQLITE_CANTOPEN,
        ]
        .contains(&code)
    })
}

/// The same of an error of the store.
pub(super) fn is_full_after_all(error: StoreError, takes_nothing: impl FnOnce() -> bool) -> StoreError {
    let may_be = match &error {
        StoreError::Backend { cause, .. } => cause.downcast_ref().is_some_and(may_be_want_of_room),
        StoreError::Query(_)
        | StoreError::UnknownJob { .. }
        | StoreError::UnknownSweep { .. }
        | StoreError::UnknownTask { .. }
        | StoreError::TooLarge { .. }
        | StoreError::Full { .. }
        | StoreError::Damaged { .. }
        | StoreError::Decode { .. } => false,
    };
    if !may_be || !takes_nothing() {
        return error;
    }
    StoreError::Full { doing: "writing beside the database", cause: Box::new(error) }
}

/// Whether an error means that the file does not hold what was written to it.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    let cell = matches!(
        error,
        rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::Utf8Error(..)
    );
    cell || matches!(code, Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::ffi;

    fn error(code: std::ffi::c_int) -> StoreError {
        fault("a test")(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None))
    }

    #[test]
    fn want_of_room_is_told_from_other_faults() {
        let is_full = |code, takes_nothing| {
            matches!(is_full_after_all(error(code), || takes_nothing), StoreError::Full { .. })
        };
        assert!(is_full(ffi::SQLITE_FULL, false));
        // A quota that is used up is a failed write to the database.
        assert!(is_full(ffi::SQLITE_IOERR_WRITE, true) && !is_full(ffi::SQLITE_IOERR_WRITE, false));
        assert!(is_full(ffi::SQLITE_IOERR_SHMSIZE, true));
        for code in [ffi::SQLITE_IOERR_FSYNC, ffi::SQLITE_IOERR_READ, ffi::SQLITE_CORRUPT] {
            assert!(!is_full(code, true), "{code}");
        }
    }
}

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
